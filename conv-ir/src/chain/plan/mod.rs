//! The plan: which steps of a chain are fused, and how. Plain data, chosen by a model or given by
//! the user.
//!
//! The model prices every run of neighbouring steps under every strip height that cuts the output
//! evenly, and takes the cheapest way to cut the chain into runs. Fusing must promise to gain
//! something, and line buffers never hold a whole tensor.

mod cost;

pub use cost::Cost;

use std::ops::Range;

use super::Chain;
use super::fuse::{Lower, Strips, fuse};
use crate::lower::Layouts;
use crate::{Error, Nest, Target};

/// Steps that are one nest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The steps, by position.
    pub steps: Range<usize>,
    /// How they are fused; one step alone is not cut into strips.
    pub strips: Option<Strips>,
}

/// The groups of a chain, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each step is in one of them. Tensors between groups exist as a whole.
    pub groups: Vec<Group>,
    /// One sentence per decision.
    pub reasons: Vec<String>,
}

impl Plan {
    /// Whether its groups are the chain's steps in order, and what is read from before a group
    /// exists as a whole.
    ///
    /// # Errors
    /// [`Error::Argument`] with the group and the step.
    pub fn check(&self, chain: &Chain) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::Argument(format!("plan: {message}")));
        let mut next = 0;
        for group in &self.groups {
            let Range { start, end } = group.steps;
            if start != next || end <= start || end > chain.steps().len() {
                return wrong(format!("steps {start}..{end} are no group that begins at {next}"));
            }
            match &group.strips {
                None if end - start > 1 => {
                    return wrong(format!("steps {start}..{end} have no strips"));
                }
                Some(strips)
                    if strips.keep.len() != end - start || strips.layouts.len() != end - start =>
                {
                    return wrong(format!(
                        "steps {start}..{end} have {} words on halos",
                        strips.keep.len()
                    ));
                }
                _ => {}
            }
            next = end;
        }
        if next != chain.steps().len() {
            return wrong(format!("it ends at step {next} of {}", chain.steps().len()));
        }
        self.check_residuals(chain)
    }

    fn check_residuals(&self, chain: &Chain) -> Result<(), Error> {
        let whole = |tensor: usize| {
            tensor == 0 || self.groups.iter().any(|group| group.steps.end == tensor)
        };
        for group in &self.groups {
            for step in group.steps.clone() {
                let from = chain.steps()[step].residual.filter(|from| *from <= group.steps.start);
                if let Some(from) = from.filter(|from| !whole(*from)) {
                    let message = format!(
                        "step {} adds tensor {from}, which no group gives as a whole",
                        step + 1
                    );
                    return Err(Error::Argument(format!("plan: {message}")));
                }
            }
        }
        Ok(())
    }

    /// Every step by itself.
    pub fn unfused(chain: &Chain) -> Plan {
        let alone = |at| Group { steps: at..at + 1, strips: None };
        Plan { groups: (0..chain.steps().len()).map(alone).collect(), reasons: Vec::new() }
    }
}

/// Bytes of a nest's scratch, of one thread: line buffers, and the panels of the strips' own nests.
pub fn scratch_bytes(nest: &Nest) -> u64 {
    let scratch = nest.buffers_of(crate::nest::BufferRole::Scratch);
    scratch
        .map(|id| nest.constant_len(id).unwrap_or(0) as u64 * nest.buffer(id).dtype.bytes() as u64)
        .sum()
}

/// Bytes that the tensors inside a group would take as a whole.
pub fn whole_bytes(chain: &Chain, group: &Group) -> u64 {
    let inside = group.steps.start + 1..group.steps.end;
    inside.map(|tensor| (chain.len_of(tensor) * chain.dtype().bytes()) as u64).sum()
}

/// What is left of the unfused cost where fusing is worth it: less is within what the model does
/// not know.
const WORTH: f64 = 0.985;

/// The cheapest way to compute a run of steps, or why there is none.
struct Priced {
    group: Group,
    cost: Cost,
}

impl Plan {
    /// The model's choice for so many threads.
    ///
    /// ```
    /// use conv_ir::{Chain, Target, chain::plan::Plan};
    /// let block: Chain = "conv2d ic16 oc96 in 112 kernel 1, relu6; conv2d g96 oc96 kernel 3 pad 1 stride 2, relu6; conv2d oc24 kernel 1".parse()?;
    /// let plan = Plan::choose(&block, &Target::AVX512, 1);
    /// assert_eq!(plan.groups.len(), 1, "all three steps are fused");
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn choose(chain: &Chain, target: &Target, threads: usize) -> Plan {
        let count = chain.steps().len();
        // The cheapest cut of the steps before each position.
        let mut best: Vec<(f64, Vec<Group>)> = vec![(0.0, Vec::new())];
        let mut reasons = Vec::new();
        for end in 1..=count {
            let mut cheapest: Option<(f64, Vec<Group>)> = None;
            for start in (0..end).rev() {
                if start > 0 && best[start].1.is_empty() {
                    continue;
                }
                let Some(priced) = run(chain, start..end, target, threads, &mut reasons) else {
                    continue;
                };
                let between =
                    if start > 0 { cost::whole(chain, start, target).total() } else { 0.0 };
                let total = best[start].0 + priced.cost.total() + between;
                if cheapest.as_ref().is_none_or(|known| total < known.0) {
                    let groups = best[start].1.iter().cloned().chain([priced.group]).collect();
                    cheapest = Some((total, groups));
                }
            }
            best.push(cheapest.unwrap_or((f64::INFINITY, Vec::new())));
        }
        let (fused, groups) = best.pop().unwrap_or_default();
        let unfused = Plan::unfused(chain);
        let apart = unfused.cost(chain, target).map_or(f64::INFINITY, |cost| cost.total());
        let plan = Plan { groups, reasons };
        if plan.groups.len() == count || fused > WORTH * apart || plan.check(chain).is_err() {
            let mut reasons = plan.reasons;
            if plan.groups.len() < count {
                reasons.push(format!(
                    "not fused: {fused:.0} cycles an image are not enough less than {apart:.0} step by step"
                ));
            }
            return Plan { reasons, ..unfused };
        }
        plan.explained(chain, target, (fused, apart))
    }

    /// What the model expects of an image, `None` where a strip cannot be.
    pub fn cost(&self, chain: &Chain, target: &Target) -> Option<Cost> {
        let mut sum = Cost::default();
        for group in &self.groups {
            sum += match &group.strips {
                Some(strips) => cost::fused(chain, group.steps.clone(), strips, target).ok()?.0,
                None => cost::alone(&chain.steps()[group.steps.start].conv, target),
            };
            if group.steps.start > 0 {
                sum += cost::whole(chain, group.steps.start, target);
            }
        }
        Some(sum)
    }

    fn explained(mut self, chain: &Chain, target: &Target, (fused, apart): (f64, f64)) -> Plan {
        self.reasons.push(format!(
            "fused: {fused:.0} cycles an image, {apart:.0} step by step ({:.2}x)",
            apart / fused
        ));
        for group in &self.groups {
            let Some(strips) = &group.strips else { continue };
            let Ok((cost, most)) = cost::fused(chain, group.steps.clone(), strips, target) else {
                continue;
            };
            let lines = (group.steps.start..group.steps.end - 1).map(|at| {
                let rows = most[at - group.steps.start];
                let of = super::strips::extents(&chain.steps()[at].conv).1;
                let halo =
                    if strips.keep[at - group.steps.start] { "kept" } else { "computed again" };
                format!("{rows} of {of} rows of tensor {} (halo {halo})", at + 1)
            });
            let lines = lines.collect::<Vec<_>>().join(", ");
            self.reasons.push(format!(
                "steps {} to {}: strips of {} rows; lines of {lines}; cycles: {:.0} multiply-adds ({:.0} again), {:.0} moved rows, {:.0} traffic, {:.0} strips",
                group.steps.start + 1,
                group.steps.end,
                strips.rows,
                cost.compute,
                cost.again,
                cost.moved,
                cost.traffic,
                cost.strips
            ));
        }
        self
    }
}

/// The cheapest strips of a run of steps; why not goes to the reasons.
fn run(
    chain: &Chain,
    steps: Range<usize>,
    target: &Target,
    threads: usize,
    reasons: &mut Vec<String>,
) -> Option<Priced> {
    let group = &chain.steps()[steps.clone()];
    if let [step] = group {
        return Some(Priced {
            group: Group { steps, strips: None },
            cost: cost::alone(&step.conv, target),
        });
    }
    let last = steps.end - 1;
    if let Some(at) = steps.clone().find(|&at| chain.steps()[at].conv.spec().transposed) {
        if at == steps.start || at == last {
            reasons.push(format!("step {} is transposed: it has a group of its own", at + 1));
            reasons.dedup();
        }
        return None;
    }
    let rows = super::strips::extents(&chain.steps()[last].conv).1;
    let mut best: Option<Priced> = None;
    let mut refused = None;
    // With several images threads take whole images.
    let chunks = if chain.batch() > 1 { 1 } else { threads.max(1) };
    for height in heights(rows) {
        for keep in [true, false] {
            let strips = Strips {
                rows: height as usize,
                keep: vec![keep; group.len()],
                layouts: cost::layouts(group, target),
                chunks,
            };
            match cost::fused(chain, steps.clone(), &strips, target) {
                Ok((cost, most)) => {
                    let is_line = |at: usize| most[at] < super::strips::extents(&group[at].conv).1;
                    let cheaper =
                        best.as_ref().is_none_or(|known| cost.total() < known.cost.total());
                    if cheaper && (0..group.len() - 1).all(is_line) {
                        let steps = steps.clone();
                        best = Some(Priced { group: Group { steps, strips: Some(strips) }, cost });
                    }
                }
                Err(error) => refused = Some(error),
            }
        }
    }
    if let (None, Some(why), 2) = (&best, refused, group.len()) {
        reasons.push(format!("steps {} and {} stay apart: {why}", steps.start + 1, steps.end));
    }
    best
}

/// Strip heights that cut so many rows evenly: any number of strips up to 32, then an eighth more
/// each time.
fn heights(rows: i64) -> Vec<i64> {
    let counts = std::iter::successors(Some(2), |&count| Some(count + (count / 8).max(1)));
    let mut heights: Vec<i64> =
        counts.take_while(|&count| count <= rows).map(|count| (rows + count - 1) / count).collect();
    heights.dedup();
    heights
}

/// The nest of a group.
///
/// # Errors
/// Why there is none: those of [`fuse`] and of `lower`.
pub fn nest(
    chain: &Chain,
    group: &Group,
    target: &Target,
    lower: &mut Lower<'_>,
) -> Result<Nest, Error> {
    match &group.strips {
        Some(strips) => fuse(chain, group.steps.clone(), strips, target, lower),
        None => {
            let conv = &chain.steps()[group.steps.start].conv;
            Ok(lower(conv, Layouts::of(conv), None)?.nest)
        }
    }
}
