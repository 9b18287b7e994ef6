//! Halo arithmetic: which rows each step of a fused group computes for each strip of the group's
//! output.
//!
//! ```text
//! 3x3 pad 1, then 3x3 pad 1, 10 rows; strips of 4 rows of the output
//!
//!                                 step 1 computes of its output    step 2 computes
//! rows 0..4, padded above         0..5, from rows 0..6             0..4, from rows 0..5
//! rows 4..8, kept                 keeps 3..5, computes 5..9        4..8, from 3..9
//! rows 4..8, recomputed           3..9                             4..8, from 3..9
//! ```
//!
//! In: the steps, strips as ranges of output rows. Out: for each strip what each step needs
//! ([`Halos`]), and with it a list of [`Action`]s in terms of the rows of the buffers they touch
//! ([`Walk`]). Each computation is an ordinary convolution of fewer rows ([`of_rows`]), whose
//! padding is what the image's edge leaves of it.
//!
//! The line buffer of a tensor holds the rows from the first one that its readers still need; rows
//! of the strip before are moved to its front, or computed again.

use crate::conv::Conv;
use crate::{ConvSpec, Error, Padding, Size};

use super::Step;
use super::rows::{RowAxis, Rows};

/// The convolution of one image that computes output rows `rows` from the rows that they need.
///
/// # Errors
/// Where that is none: all of a window lies in the padding, or folded padding reaches rows that are
/// not there.
pub(crate) fn of_rows(conv: &Conv, rows: Rows) -> Result<Conv, Error> {
    let axis = RowAxis::of(conv);
    if let Some(why) = axis.refusal(rows) {
        return Err(Error::Unsupported { route: "fused", message: why.to_owned() });
    }
    let spec = conv.spec();
    let mut padding: Vec<(usize, usize)> = conv.axes().iter().map(|axis| axis.padding).collect();
    let (before, after) = axis.padding(rows);
    padding[0] = (before as usize, after as usize);
    let mut input = spec.input.clone();
    input[0] = Size::Known(axis.needed(rows).len() as usize);
    let strip = Conv::new(ConvSpec {
        batch: Size::Known(1),
        input,
        padding: Padding::Explicit(padding.into()),
        ceil_mode: false,
        ..spec.clone()
    })?;
    Ok(strip.knowing_as(conv))
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

/// What a strip needs of the output of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// The rows that the strip's readers need.
    pub need: Rows,
    /// Of those, the ones that are not in the line buffer yet.
    pub computed: Rows,
    /// Where in the line buffer the rows begin that are moved to its front.
    pub from: i64,
    /// How many are moved.
    pub moved: i64,
}

/// The rows of a group's steps, strip after strip in one thread.
pub(crate) struct Halos {
    pub axes: Vec<RowAxis>,
    /// The step of the group, by position, whose line buffer holds the residual of a step.
    pub residual: Vec<Option<usize>>,
    /// Rows of a step's output are moved, not computed again.
    keep: Vec<bool>,
    /// What each line buffer holds.
    held: Vec<Rows>,
    /// The most rows that each line buffer ever holds.
    pub most: Vec<i64>,
    /// Of the strip at hand, step by step.
    pub parts: Vec<Part>,
}

impl Halos {
    pub fn new(axes: Vec<RowAxis>, residual: Vec<Option<usize>>, keep: Vec<bool>) -> Halos {
        let count = axes.len();
        let (held, most) = (vec![Rows::default(); count], vec![0; count]);
        Halos { axes, residual, keep, held, most, parts: vec![Part::default(); count] }
    }

    /// Forgets what line buffers hold: another thread's strips follow.
    pub fn restart(&mut self) {
        self.held.fill(Rows::default());
    }

    /// Works out the parts of the strip of output rows `rows`: from the last step to the first what
    /// is needed of each output, and what of that is computed now.
    pub fn strip(&mut self, rows: Rows) {
        let last = self.axes.len() - 1;
        self.parts.fill(Part::default());
        self.parts[last].need = rows;
        for at in (0..=last).rev() {
            let need = self.parts[at].need;
            let kept = if at < last { self.kept(at, need) } else { 0 };
            let computed = Rows { lo: need.lo + kept, ..need };
            if need.is_empty() || computed.is_empty() {
                continue;
            }
            self.parts[at].computed = computed;
            if at > 0 {
                let below = self.axes[at].needed(computed);
                self.parts[at - 1].need = self.parts[at - 1].need.hull(below);
            }
            if let Some(of) = self.residual[at] {
                self.parts[of].need = self.parts[of].need.hull(computed);
            }
        }
        for at in 0..last {
            let need = self.parts[at].need;
            if need.is_empty() {
                continue;
            }
            let (kept, held) = (self.kept(at, need), self.held[at]);
            if kept > 0 && need.lo > held.lo {
                (self.parts[at].from, self.parts[at].moved) = (need.lo - held.lo, kept);
            }
            self.most[at] = self.most[at].max(need.len());
            self.held[at] = need;
        }
    }

    /// How many rows of `need` the line buffer holds already, if they are to be kept.
    fn kept(&self, at: usize, need: Rows) -> i64 {
        let held = self.held[at];
        let holds = self.keep[at] && held.lo <= need.lo && need.lo < held.hi;
        if holds { held.hi.min(need.hi) - need.lo } else { 0 }
    }

    /// The first row that a line buffer holds.
    fn start(&self, of: usize) -> i64 {
        self.held[of].lo
    }

    /// How many strips of `each` rows behind this one are this one again, further on: where the
    /// strip before it, whose parts these are, was so already, and until a window reaches the end
    /// of the image.
    pub fn steady(&self, before: &[Part], each: i64) -> i64 {
        let mut by = each;
        let mut most = i64::MAX;
        for at in (0..self.axes.len()).rev() {
            let (axis, part) = (&self.axes[at], &self.parts[at]);
            let moved = Part {
                need: before[at].need.moved(by),
                computed: before[at].computed.moved(by),
                ..before[at]
            };
            if part.computed.is_empty() || *part != moved {
                return 0;
            }
            by *= axis.stride;
            most = most.min((axis.input - axis.window(part.computed).hi) / by);
        }
        most.max(0)
    }

    /// Goes on behind so many such strips.
    pub fn skip(&mut self, strips: i64, each: i64) {
        let mut by = strips * each;
        for at in (0..self.axes.len()).rev() {
            self.held[at] = self.held[at].moved(by);
            self.parts[at].need = self.parts[at].need.moved(by);
            self.parts[at].computed = self.parts[at].computed.moved(by);
            by *= self.axes[at].stride;
        }
    }
}

/// The strips of a group that follow one another in one thread, as actions.
pub(crate) struct Walk<'a> {
    pub steps: &'a [Step],
    pub halos: Halos,
}

impl<'a> Walk<'a> {
    /// For a group that begins with step `first` of its chain.
    pub fn new(steps: &'a [Step], first: usize, keep: &[bool]) -> Self {
        let axes = steps.iter().map(|step| RowAxis::of(&step.conv)).collect();
        // Tensor `k` is the output of step `k`, counted from 1; the group's own are line buffers.
        let residual = steps.iter().map(|step| step.residual?.checked_sub(first + 1)).collect();
        Walk { steps, halos: Halos::new(axes, residual, keep.to_vec()) }
    }

    /// What the strip of output rows `rows` does.
    ///
    /// # Errors
    /// Those of [`of_rows`].
    pub fn strip(&mut self, rows: Rows) -> Result<Vec<Action>, Error> {
        self.halos.strip(rows);
        let (halos, last) = (&self.halos, self.steps.len() - 1);
        let mut actions = Vec::new();
        for (at, part) in halos.parts.iter().enumerate() {
            if part.moved > 0 {
                actions.push(Action::Keep { step: at, from: part.from, rows: part.moved });
            }
            let computed = part.computed;
            if computed.is_empty() {
                continue;
            }
            // Callers' arrays are whole; line buffers start at the first row that they hold.
            let conv = &self.steps[at].conv;
            let first = halos.axes[at].needed(computed).lo;
            let added = || computed.lo - halos.residual[at].map_or(0, |of| halos.start(of));
            actions.push(Action::Compute(Box::new(Compute {
                step: at,
                conv: of_rows(conv, computed)?,
                input: first - if at == 0 { 0 } else { halos.start(at - 1) },
                output: computed.lo - if at == last { 0 } else { halos.start(at) },
                residual: conv.spec().residual.then(added),
            })));
        }
        Ok(actions)
    }
}

#[cfg(test)]
#[path = "strips_tests.rs"]
mod tests;
