//! Halo arithmetic: which rows each step of a fused group computes for each strip of the group's
//! output.
//!
//! ```text
//! rows 0..4 of the output, 3x3 pad 1 then 3x3 pad 1, 10 rows           rows 4..8, kept                     recomputed
//! step 1 computes 0..5 of its output, from rows 0..6 (padded above)    keeps 3..5, computes 5..9           computes 3..9
//! step 2 computes 0..4, from rows 0..5 (padded above)                  computes 4..8 from 3..9             the same
//! ```
//!
//! In: the steps, strips as ranges of output rows. Out: for each strip a list of [`Action`]s in
//! terms of the rows of the buffers they touch. Rows are positions along the outermost spatial
//! axis. Each computation is an ordinary convolution of fewer rows ([`of_rows`]), whose padding is
//! what the image's edge leaves of it.
//!
//! The line buffer of a tensor holds the rows from the first one that its readers still need; rows
//! of the strip before are moved to its front, or computed again.

use crate::conv::{Conv, EquationAxis};
use crate::{ConvSpec, Error, Padding, PaddingMode, Size};

use super::Step;

/// Rows `lo..hi` of a tensor, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub lo: i64,
    pub hi: i64,
}

impl Rows {
    pub fn len(self) -> i64 {
        (self.hi - self.lo).max(0)
    }

    fn union(self, other: Rows) -> Rows {
        Rows { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }
}

/// The rows under the windows of output rows `rows`, which may begin before the image and end
/// behind it.
fn window(axis: &EquationAxis, rows: Rows) -> Rows {
    Rows {
        lo: rows.lo * axis.stride - axis.pad_lo,
        hi: (rows.hi - 1) * axis.stride - axis.pad_lo + (axis.kernel - 1) * axis.dilation + 1,
    }
}

fn clamped(rows: Rows, extent: i64) -> Rows {
    let lo = rows.lo.clamp(0, extent);
    Rows { lo, hi: rows.hi.clamp(lo, extent) }
}

/// Rows of the input and of the output of a convolution.
pub(crate) fn extents(conv: &Conv) -> (i64, i64) {
    let axis = &conv.axes()[0];
    let known = |n: Option<usize>| n.unwrap_or(0) as i64;
    (known(axis.input.known()), known(axis.output.known()))
}

/// The rows of the input that output rows `rows` need.
pub(crate) fn needed(conv: &Conv, rows: Rows) -> Rows {
    clamped(window(&conv.equation()[0], rows), extents(conv).0)
}

/// The convolution of one image that computes output rows `rows` from the rows that they need.
///
/// # Errors
/// Where that is none: all of a window lies in the padding, or folded padding reaches rows that are
/// not there.
pub(crate) fn of_rows(conv: &Conv, rows: Rows) -> Result<Conv, Error> {
    let (window, inside) = (window(&conv.equation()[0], rows), needed(conv, rows));
    let spec = conv.spec();
    let mut padding: Vec<(usize, usize)> = conv.axes().iter().map(|axis| axis.padding).collect();
    padding[0] = ((inside.lo - window.lo) as usize, (window.hi - inside.hi) as usize);
    // Rows that fold back do so within the strip; around the image they would come from its other
    // end.
    if spec.padding_mode == PaddingMode::Circular && padding[0] != (0, 0) {
        return Err(Error::Unsupported {
            route: "fused",
            message: "circular padding reads rows from the other end of the image".to_owned(),
        });
    }
    let mut input = spec.input.clone();
    input[0] = Size::Known(inside.len() as usize);
    let rows = Conv::new(ConvSpec {
        batch: Size::Known(1),
        input,
        padding: Padding::Explicit(padding.into()),
        ..spec.clone()
    })?;
    match conv.known() {
        Some(known) => rows.with_weights(&known.weight, known.bias.as_deref()),
        None => Ok(rows),
    }
}

/// What a strip does, in order. Steps are counted within the group; the line buffer of a step holds
/// its output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Moves rows to the front of a line buffer.
    Keep { step: usize, from: i64, rows: i64 },
    /// Computes rows of a step's output.
    Compute(Box<Compute>),
}

/// The rows of one computation, counted in the buffers that it touches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compute {
    pub step: usize,
    /// The convolution of so many rows.
    pub conv: Conv,
    /// Where the input's rows start.
    pub input: i64,
    /// Where the output's rows start.
    pub output: i64,
    /// Where the residual's rows start.
    pub residual: Option<i64>,
}

/// The strips of a group that follow one another in one thread.
pub(crate) struct Walk<'a> {
    pub steps: &'a [Step],
    /// The step of the group, by position, whose line buffer holds the residual of a step.
    pub residual: &'a dyn Fn(usize) -> Option<usize>,
    /// Rows of a step's output are moved, not computed again.
    pub keep: &'a [bool],
    /// What each line buffer holds.
    held: Vec<Option<Rows>>,
    /// The most rows that each line buffer ever holds.
    pub most: Vec<i64>,
}

impl<'a> Walk<'a> {
    pub fn new(
        steps: &'a [Step],
        residual: &'a dyn Fn(usize) -> Option<usize>,
        keep: &'a [bool],
    ) -> Self {
        Walk { steps, residual, keep, held: vec![None; steps.len()], most: vec![0; steps.len()] }
    }

    /// Forgets what line buffers hold: another thread's strips follow.
    pub fn restart(&mut self) {
        self.held.fill(None);
    }

    /// What the strip of output rows `rows` does.
    ///
    /// # Errors
    /// Those of [`of_rows`].
    pub fn strip(&mut self, rows: Rows) -> Result<Vec<Action>, Error> {
        let last = self.steps.len() - 1;
        // From the last step to the first: what is needed of each output, and what of that is
        // computed now.
        let mut needs: Vec<Option<Rows>> = vec![None; self.steps.len()];
        let mut computes: Vec<Option<Rows>> = vec![None; self.steps.len()];
        needs[last] = Some(rows);
        for at in (0..=last).rev() {
            let Some(need) = needs[at] else { continue };
            let compute = match self.kept(at, need) {
                Some(kept) if at < last => Rows { lo: kept.hi, ..need },
                _ => need,
            };
            if compute.len() == 0 {
                continue;
            }
            computes[at] = Some(compute);
            let mut also = |of: usize, rows: Rows| {
                needs[of] = Some(needs[of].map_or(rows, |known| known.union(rows)));
            };
            if at > 0 {
                also(at - 1, needed(&self.steps[at].conv, compute));
            }
            if let Some(of) = (self.residual)(at) {
                also(of, compute);
            }
        }
        self.actions(&needs, &computes)
    }

    /// The rows of `need` that the line buffer holds already, if they are to be kept.
    fn kept(&self, at: usize, need: Rows) -> Option<Rows> {
        let held = self.held[at]
            .filter(|held| self.keep[at] && held.lo <= need.lo && need.lo < held.hi)?;
        Some(Rows { lo: need.lo, hi: held.hi.min(need.hi) })
    }

    fn actions(
        &mut self,
        needs: &[Option<Rows>],
        computes: &[Option<Rows>],
    ) -> Result<Vec<Action>, Error> {
        let last = self.steps.len() - 1;
        let mut actions = Vec::new();
        for (at, (need, compute)) in needs.iter().zip(computes).enumerate() {
            let Some(need) = *need else { continue };
            let kept = self.kept(at, need);
            if at < last {
                if let (Some(kept), Some(held)) = (kept, self.held[at])
                    && need.lo > held.lo
                {
                    actions.push(Action::Keep {
                        step: at,
                        from: need.lo - held.lo,
                        rows: kept.len(),
                    });
                }
                self.most[at] = self.most[at].max(need.len());
                self.held[at] = Some(need);
            }
            let Some(compute) = *compute else { continue };
            // Callers' arrays are whole; line buffers start at the first row that they hold.
            let start = |of: usize| self.held[of].map_or(0, |held| held.lo);
            let conv = &self.steps[at].conv;
            let input = needed(conv, compute).lo - if at == 0 { 0 } else { start(at - 1) };
            actions.push(Action::Compute(Box::new(Compute {
                step: at,
                conv: of_rows(conv, compute)?,
                input,
                output: compute.lo - if at == last { 0 } else { start(at) },
                residual: conv
                    .spec()
                    .residual
                    .then(|| compute.lo - (self.residual)(at).map_or(0, start)),
            })));
        }
        Ok(actions)
    }
}

/// Strips that do the same `count` times, each time `by` rows further on.
#[derive(Clone, Debug)]
pub(crate) struct Repeated {
    pub count: i64,
    pub first: Vec<Action>,
    /// How far each action moves from one strip to the next.
    pub by: Vec<Moves>,
}

/// Rows from one strip to the next, in each buffer of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub input: i64,
    pub output: i64,
    pub residual: i64,
}

/// Neighbours that differ by the same moves become one.
pub(crate) fn repeated(strips: Vec<Vec<Action>>) -> Vec<Repeated> {
    let mut runs: Vec<Repeated> = Vec::new();
    for strip in strips {
        if let Some(run) = runs.last_mut() {
            let at = |by: &[Moves]| shifted(&run.first, by, run.count);
            let by = match run.count {
                1 => moves(&run.first, &strip),
                _ => Some(run.by.clone()),
            };
            if let Some(by) = by.filter(|by| at(by) == strip) {
                run.by = by;
                run.count += 1;
                continue;
            }
        }
        runs.push(Repeated { count: 1, by: vec![Moves::default(); strip.len()], first: strip });
    }
    runs
}

fn moves(from: &[Action], to: &[Action]) -> Option<Vec<Moves>> {
    let one = |pair: (&Action, &Action)| match pair {
        (Action::Compute(a), Action::Compute(b)) => Some(Moves {
            input: b.input - a.input,
            output: b.output - a.output,
            residual: b.residual.unwrap_or(0) - a.residual.unwrap_or(0),
        }),
        (Action::Keep { .. }, Action::Keep { .. }) => Some(Moves::default()),
        _ => None,
    };
    (from.len() == to.len()).then(|| from.iter().zip(to).map(one).collect())?
}

fn shifted(actions: &[Action], by: &[Moves], times: i64) -> Vec<Action> {
    let one = |(action, by): (&Action, &Moves)| match action {
        Action::Compute(compute) => Action::Compute(Box::new(Compute {
            input: compute.input + times * by.input,
            output: compute.output + times * by.output,
            residual: compute.residual.map(|at| at + times * by.residual),
            ..(**compute).clone()
        })),
        keep => keep.clone(),
    };
    actions.iter().zip(by).map(one).collect()
}

#[cfg(test)]
#[path = "strips_tests.rs"]
mod tests;
