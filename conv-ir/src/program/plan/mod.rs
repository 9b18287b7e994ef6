//! The plan: which steps of a chain are fused, and how. Plain data, chosen by a model or given by
//! the user.
//!
//! The model prices runs of neighbouring steps under every strip height that cuts the output
//! evenly, and takes the cheapest way to cut the chain into runs. Each group that is
//! fused must promise to gain something, and line buffers never hold a whole tensor.

mod choose;
mod cost;
mod numbers;
mod reasons;

pub use cost::Cost;
pub(super) use cost::whole_rate;

use std::ops::Range;

use super::fuse::{Lower, Strips, fuse};
use super::{Program, Rewritten, Step};
use crate::accuracy::Accuracy;
use crate::lower::Layouts;
use crate::nest::BufferRole;
use crate::{Error, Nest, Target};
use choose::Steps;
use numbers::Numbers;

/// Steps that are one nest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The steps, by position.
    pub steps: Range<usize>,
    /// How they are fused; one step alone is not cut into strips.
    pub strips: Option<Strips>,
}

/// The groups of a chain, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Each step is in one of them. Tensors between groups exist as a whole.
    pub groups: Vec<Group>,
    /// One sentence per decision.
    pub reasons: Vec<String>,
}

impl Plan {
    /// The model's choice for so many threads.
    ///
    /// ```
    /// use conv_ir::{Program, Target, program::plan::Plan};
    /// let block: Program = "conv2d ic16 oc96 in 112 kernel 1, relu6; \
    ///     conv2d g96 oc96 kernel 3 pad 1 stride 2, relu6; conv2d oc24 kernel 1"
    ///     .parse()?;
    /// let plan = Plan::choose(&block, &Target::AVX512, 1);
    /// assert_eq!(plan.groups.len(), 1, "all three steps are fused");
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn choose(chain: &Program, target: &Target, threads: usize) -> Plan {
        Plan::choose_around(chain, &[], target, threads)
    }

    /// The same, where the steps at these positions, in order, have groups of their own.
    pub fn choose_around(
        chain: &Program,
        alone: &[usize],
        target: &Target,
        threads: usize,
    ) -> Plan {
        if chain.steps().len() == 1 || !chain.free_sizes().is_empty() {
            return Plan::unfused(chain);
        }
        let steps = Steps::of(chain, alone, target);
        let found = steps.cheapest(chain, threads);
        let reasons = reasons::reasons(chain, &steps, &found, target);
        Plan { groups: found.groups, reasons }
    }

    /// What is computed in the place of a program whose plan somebody gives: its strides stay where
    /// this is no plan of it otherwise, as strips may see other rows then.
    pub fn rewritten(&self, program: &Program, accuracy: Accuracy) -> Rewritten {
        let rewritten = program.rewritten(accuracy);
        match rewritten.skips && self.check(&rewritten.program).is_err() {
            true => program.with_strides_kept(accuracy),
            false => rewritten,
        }
    }

    /// Whether its groups are the chain's steps in order, and what is read from before a group
    /// exists as a whole.
    ///
    /// # Errors
    /// [`Error::Argument`] with the group and the step.
    pub fn check(&self, chain: &Program) -> Result<(), Error> {
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
                Some(strips) => {
                    if let Err(why) = strips.check(chain, start..end) {
                        return wrong(format!("steps {start}..{end}: {why}"));
                    }
                }
                None => {}
            }
            next = end;
        }
        if next != chain.steps().len() {
            return wrong(format!("it ends at step {next} of {}", chain.steps().len()));
        }
        self.check_readers(chain)
    }

    /// What a group reads, adds or gives, but for what it adds of its own, exists as a whole.
    fn check_readers(&self, chain: &Program) -> Result<(), Error> {
        let mut whole = vec![false; chain.steps().len() + 1];
        whole[0] = true;
        self.groups.iter().for_each(|group| whole[group.steps.end] = true);
        let missing = |tensor: &&usize| !whole[**tensor];
        let wrong = |why: String| Err(Error::Argument(format!("plan: {why}")));
        for group in &self.groups {
            let start = group.steps.start;
            if let Some(from) = chain.steps()[start].from.iter().find(missing) {
                return wrong(format!(
                    "step {} reads tensor {from}, which no group gives as a whole",
                    start + 1
                ));
            }
            for step in group.steps.clone() {
                let added = chain.steps()[step].residual.filter(|from| *from <= start);
                if let Some(from) = added.iter().find(missing) {
                    return wrong(format!(
                        "step {} adds tensor {from}, which no group gives as a whole",
                        step + 1
                    ));
                }
            }
        }
        match chain.outputs().iter().find(missing) {
            Some(output) => wrong(format!("no group gives output {output} as a whole")),
            None => Ok(()),
        }
    }

    /// Every step by itself.
    pub fn unfused(chain: &Program) -> Plan {
        let alone = |at| Group { steps: at..at + 1, strips: None };
        Plan { groups: (0..chain.steps().len()).map(alone).collect(), reasons: Vec::new() }
    }
}

/// Bytes of a nest's scratch, of one thread: line buffers, and the panels of the strips' own nests.
pub fn scratch_bytes(nest: &Nest) -> u64 {
    let scratch = nest.buffers_of(BufferRole::Scratch);
    scratch
        .map(|id| nest.constant_len(id).unwrap_or(0) as u64 * nest.buffer(id).dtype.bytes() as u64)
        .sum()
}

/// Bytes that the tensors inside a group would take as a whole.
pub fn whole_bytes(chain: &Program, group: &Group) -> u64 {
    let inside = group.steps.start + 1..group.steps.end;
    inside.map(|tensor| (chain.len_of(tensor) * chain.type_of(tensor).bytes()) as u64).sum()
}

impl Plan {
    /// What the model expects of an image, `None` where a strip cannot be.
    pub fn cost(&self, chain: &Program, target: &Target) -> Option<Cost> {
        let mut sum = Cost::default();
        for group in &self.groups {
            sum += Plan::group_cost(chain, group, target)?.0;
            if let Some(before) = group.steps.start.checked_sub(1) {
                let before = Numbers::of(&chain.steps()[before].conv);
                sum += cost::whole(&before, chain.batch().max(1), target);
            }
        }
        Some(sum)
    }

    /// Cycles of an image that fusing a group is expected to save.
    pub(super) fn saved(chain: &Program, group: &Group, target: &Target) -> Option<f64> {
        let fused = Plan::group_cost(chain, group, target)?.0.total();
        let steps = chain.steps().get(group.steps.clone())?;
        let numbers: Vec<_> = steps.iter().map(|step| Numbers::of(&step.conv)).collect();
        let alone: f64 = numbers.iter().map(|step| cost::alone(step, target).total()).sum();
        let images = chain.batch().max(1);
        let inside = numbers.split_last().map_or(&[][..], |(_, inside)| inside);
        let whole = inside.iter().map(|step| cost::whole(step, images, target).total());
        Some(alone + whole.sum::<f64>() - fused)
    }

    /// The same plan whose group at a position is as many as it has steps.
    pub(super) fn apart(&self, at: usize) -> Plan {
        let mut plan = self.clone();
        let steps = self.groups[at].steps.clone();
        let alone = steps.map(|step| Group { steps: step..step + 1, strips: None });
        plan.groups.splice(at..at + 1, alone);
        plan
    }

    /// The same of a group, and the most rows of each line buffer.
    fn group_cost(chain: &Program, group: &Group, target: &Target) -> Option<(Cost, Vec<i64>)> {
        let steps = chain.steps().get(group.steps.clone())?;
        let numbers: Vec<_> = steps.iter().map(|step| Numbers::of(&step.conv)).collect();
        let Some(strips) = &group.strips else {
            return Some((cost::alone(numbers.first()?, target), Vec::new()));
        };
        if strips.keep.len() != steps.len() || strips.layouts.len() != steps.len() {
            return None;
        }
        let within = |step: &Step| step.residual?.checked_sub(group.steps.start + 1);
        let numbers: Vec<_> = numbers.iter().collect();
        cost::fused(&numbers, steps.iter().map(within).collect(), strips, target).ok()
    }
}

/// The nest of a group.
///
/// # Errors
/// Why there is none: those of [`fuse`] and of `lower`.
pub fn nest(
    chain: &Program,
    group: &Group,
    target: &Target,
    lower: &mut Lower<'_>,
) -> Result<Nest, Error> {
    match &group.strips {
        None if chain.steps()[group.steps.start].given => Ok(given(chain, group.steps.start)),
        Some(strips) => fuse(chain, group.steps.clone(), strips, target, lower),
        None => {
            let conv = &chain.steps()[group.steps.start].conv;
            Ok(lower(conv, Layouts::of(conv), None)?.nest)
        }
    }
}

/// The nest of an input, which computes nothing: its buffers are the caller's array, both.
pub fn given(chain: &Program, step: usize) -> Nest {
    let conv = &chain.steps()[step].conv;
    let mut nest = Nest::new(conv.dtype(), conv.rank());
    let shape = chain.shape(step + 1).into_iter().map(|n| (n as i64).into()).collect::<Vec<_>>();
    for (name, role) in [("input", BufferRole::Input), ("output", BufferRole::Output)] {
        let id = nest.add_buffer(name, role, shape.clone());
        nest.store_as(id, conv.types().input);
    }
    nest
}
