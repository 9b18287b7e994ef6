//! The halo arithmetic: which inputs a range of outputs needs, along one axis of one step.
//!
//! Receptive fields, tiles and streams ask [`Window::needed`], a step at a time. Strips of fused
//! steps have arithmetic of their own (`program/rows.rs`): they need the padding of an edge too.
//!
//! Output `p` and tap `k` meet input `q` where, as in the equation of [`crate::conv`],
//!
//! ```text
//! q * lhs_dilation = p * stride + k * dilation - pad_lo
//! ```
//!
//! Forward (`lhs_dilation` 1) outputs `a..b` need the inputs from `a * stride - pad_lo` to
//! `(b - 1) * stride + reach - pad_lo`, where `reach = dilation * (kernel - 1)`. A transposed step
//! has holes: a tap meets an input at some outputs only, so the first and the last are found tap by
//! tap or output by output, whichever are fewer, each from one linear congruence. A range may be
//! empty: an output that only ever meets holes needs nothing.

use std::ops::Range;

use crate::PaddingMode;
use crate::conv::EquationAxis;
use crate::numbers::{congruent, gcd};

/// The numbers of a sliding window along one axis, of a convolution (either direction) or of a
/// pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Taps.
    pub kernel: i64,
    /// Outputs are this far apart.
    pub stride: i64,
    /// Taps are this far apart.
    pub dilation: i64,
    /// Position of the first tap of the first output, negated.
    pub pad_lo: i64,
    /// Inputs are this far apart: the stride of a transposed step, else 1.
    pub lhs_dilation: i64,
}

/// Taps, or outputs, that are looked at one by one: more of them that all fall into holes of
/// their own, and as many of the other, are too many.
const MOST_LOOKED_AT: i128 = 1 << 14;

impl Window {
    /// Sees what it is at, and nothing else.
    pub const IDENTITY: Window =
        Window { kernel: 1, stride: 1, dilation: 1, pad_lo: 0, lhs_dilation: 1 };

    /// From the first tap to the last.
    pub fn reach(&self) -> i64 {
        self.dilation * (self.kernel - 1)
    }

    /// What the window covers, holes between its taps included: `dilation * (kernel - 1) + 1`.
    pub fn effective_kernel(&self) -> i64 {
        self.reach() + 1
    }

    /// The inputs from the first to the last that these outputs meet, as if the input went on for
    /// ever. `None` if a position is too large to count or too many taps fall into different holes.
    ///
    /// ```
    /// use conv_ir::analysis::Window;
    /// let strided = Window { kernel: 3, stride: 2, pad_lo: 1, ..Window::IDENTITY };
    /// assert_eq!(strided.needed(0..4), Some(-1..8));
    /// ```
    pub fn needed(&self, outputs: Range<i64>) -> Option<Range<i64>> {
        if outputs.is_empty() {
            return Some(0..0);
        }
        if self.lhs_dilation == 1 {
            let first = self.position(outputs.start, 0);
            let last = self.position(outputs.end - 1, self.kernel - 1);
            return Some(i64::try_from(first).ok()?..i64::try_from(last + 1).ok()?);
        }
        let outputs = Line::new(outputs, self.stride);
        let taps = Line::new(0..self.kernel, self.dilation);
        let [few, many] = match taps.period(self.lhs_dilation) < outputs.period(self.lhs_dilation) {
            true => [taps, outputs],
            false => [outputs, taps],
        };
        // What is a period further on meets the same, moved: the first ones come first.
        let count = few.period(self.lhs_dilation);
        if count > MOST_LOOKED_AT {
            return None;
        }
        let met = |at: i128| self.met(few.by * at - i128::from(self.pad_lo), &many);
        let first = (few.start..few.start + count).filter_map(met).map(|met| met.first).min();
        let last = (few.end - count..few.end).filter_map(met).map(|met| met.last()).max();
        match (first, last) {
            (Some(first), Some(last)) => {
                Some(i64::try_from(first).ok()?..i64::try_from(last + 1).ok()?)
            }
            _ => Some(0..0),
        }
    }

    /// The inputs that one output meets, tap by tap.
    pub(super) fn met_by(&self, output: i64) -> Option<Met> {
        let fixed = i128::from(output) * i128::from(self.stride) - i128::from(self.pad_lo);
        self.met(fixed, &Line::new(0..self.kernel, self.dilation))
    }

    /// Where a tap of an output is, in the input with its holes.
    fn position(&self, output: i64, tap: i64) -> i128 {
        output as i128 * self.stride as i128 + tap as i128 * self.dilation as i128
            - self.pad_lo as i128
    }

    /// The inputs at `(fixed + by * at) / lhs_dilation`, where that is a whole number.
    fn met(&self, fixed: i128, line: &Line) -> Option<Met> {
        let holes = i128::from(self.lhs_dilation);
        let (at, apart) = congruent(line.by, fixed + line.by * line.start, holes)?;
        let count = (line.end - line.start - at + apart - 1).div_euclid(apart);
        let first = (fixed + line.by * (line.start + at)) / holes;
        (count > 0).then_some(Met { first, apart: line.by * apart / holes, count })
    }
}

/// Taps or outputs, and how far apart they are.
struct Line {
    start: i128,
    end: i128,
    by: i128,
}

impl Line {
    fn new(range: Range<i64>, by: i64) -> Line {
        Line { start: range.start.into(), end: range.end.into(), by: by.into() }
    }

    /// As many of them as fall into different holes.
    fn period(&self, holes: i64) -> i128 {
        let holes = i128::from(holes);
        (self.end - self.start).min(holes / gcd(self.by, holes))
    }
}

/// Inputs, evenly apart.
pub(super) struct Met {
    pub first: i128,
    pub apart: i128,
    pub count: i128,
}

impl Met {
    fn last(&self) -> i128 {
        self.first + self.apart * (self.count - 1)
    }
}

impl From<&EquationAxis> for Window {
    fn from(axis: &EquationAxis) -> Self {
        Window {
            kernel: axis.kernel,
            stride: axis.stride,
            dilation: axis.dilation,
            pad_lo: axis.pad_lo,
            lhs_dilation: axis.lhs_dilation,
        }
    }
}

/// What a range of outputs needs of an input that ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Needed {
    /// The part inside the input.
    pub inside: Range<i64>,
    /// Positions before the input's start, in the padding.
    pub before: i64,
    /// Positions after its end, in the padding.
    pub after: i64,
}

impl Needed {
    /// Cuts a range at the ends of an input of this extent. What lies wholly in the padding leaves
    /// an empty part inside.
    pub fn cut(range: Range<i64>, extent: i64) -> Needed {
        if range.is_empty() {
            return Needed::default();
        }
        let inside = range.start.clamp(0, extent)..range.end.clamp(0, extent);
        Needed {
            before: range.end.min(0) - range.start.min(0),
            after: range.end.max(extent) - range.start.max(extent),
            inside: if inside.is_empty() { 0..0 } else { inside },
        }
    }

    /// Nothing at all is needed, not even padding.
    pub fn is_empty(&self) -> bool {
        self.inside.is_empty() && self.before == 0 && self.after == 0
    }
}

/// The inputs from the first to the last that are really read, once padding that repeats the input
/// (`reflect`, `circular`, ..) is looked up: what a tile must have at hand.
///
/// ```
/// use conv_ir::{PaddingMode, analysis::read};
/// assert_eq!(read(-2..3, 10, PaddingMode::Zeros), 0..3);
/// assert_eq!(read(-2..2, 10, PaddingMode::Reflect), 0..3);
/// assert_eq!(read(-2..3, 10, PaddingMode::Circular), 0..10);
/// ```
pub fn read(range: Range<i64>, extent: i64, mode: PaddingMode) -> Range<i64> {
    let needed = Needed::cut(range.clone(), extent);
    let outside = [
        (needed.before > 0).then(|| range.start..range.end.min(0)),
        (needed.after > 0).then(|| range.start.max(extent)..range.end),
    ];
    let parts = outside.into_iter().flatten().flat_map(|part| ends(&part, extent, mode));
    parts.fold(needed.inside, |all, at| hull(all, at..at + 1))
}

/// Where a stretch of padding is read from at its ends, and next to every place where it turns or
/// starts over: the first and the last element that it reads are among them.
fn ends(part: &Range<i64>, extent: i64, mode: PaddingMode) -> Vec<i64> {
    let period = match mode {
        PaddingMode::Reflect => (2 * (extent - 1)).max(1),
        PaddingMode::Symmetric => 2 * extent,
        PaddingMode::Circular => extent,
        PaddingMode::Zeros | PaddingMode::Constant(_) | PaddingMode::Replicate => 1,
    };
    let turns =
        [-1, 0, extent - 1, extent].map(|at| part.start + (at - part.start).rem_euclid(period));
    let places = turns.into_iter().filter(|at| part.contains(at)).chain([part.start, part.end - 1]);
    places.filter_map(|at| fold(at, extent, mode)).collect()
}

/// Where the padding is read from; `None` where it is not read.
pub(super) fn fold(at: i64, extent: i64, mode: PaddingMode) -> Option<i64> {
    crate::lower::fold(mode).map(|fold| fold.apply(at, extent))
}

/// The smallest range that holds both; an empty one adds nothing.
pub(super) fn hull(a: Range<i64>, b: Range<i64>) -> Range<i64> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.start.min(b.start)..a.end.max(b.end),
    }
}
