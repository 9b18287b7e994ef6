//! Rows of tensors: which rows of its input a step needs for rows of its output.
//!
//! Rows are positions along the outermost spatial axis. A [`RowAxis`] is all that halos depend on:
//! plain numbers, so that a plan is priced without making a convolution.

use crate::{Conv, PaddingMode};

/// Rows `lo..hi` of a tensor; empty where `hi` is not above `lo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub lo: i64,
    pub hi: i64,
}

impl Rows {
    pub fn len(self) -> i64 {
        (self.hi - self.lo).max(0)
    }

    pub fn is_empty(self) -> bool {
        self.hi <= self.lo
    }

    /// The smallest range that holds both; an empty one adds nothing.
    pub fn hull(self, other: Rows) -> Rows {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Rows { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) },
        }
    }

    /// The same number of rows, so much further on.
    pub fn moved(self, by: i64) -> Rows {
        Rows { lo: self.lo + by, hi: self.hi + by }
    }
}

/// Where padding is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fold {
    /// Not from the image, or from its edge.
    No,
    /// From the rows beside the edge: at most as many as there are, less so many.
    Beside(i64),
    /// From the other end of the image.
    Around,
}

/// A step that is not transposed, along its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowAxis {
    /// Rows of the input.
    pub input: i64,
    /// Rows of the output.
    pub output: i64,
    /// Rows of the input between neighbouring rows of the output.
    pub stride: i64,
    kernel: i64,
    dilation: i64,
    pad_lo: i64,
    fold: Fold,
    /// Whether the rows of a strip can be told from those of the image, see
    /// [`Conv::counts_overhang`].
    counts_overhang: bool,
}

impl RowAxis {
    pub fn of(conv: &Conv) -> RowAxis {
        let axis = &conv.axes()[0];
        let (input, output) = extents(conv);
        RowAxis {
            input,
            output,
            stride: axis.stride as i64,
            kernel: axis.kernel as i64,
            dilation: axis.dilation as i64,
            pad_lo: axis.padding.0 as i64,
            counts_overhang: conv.counts_overhang(),
            fold: match conv.spec().padding_mode {
                PaddingMode::Zeros | PaddingMode::Constant(_) | PaddingMode::Replicate => Fold::No,
                PaddingMode::Reflect => Fold::Beside(1),
                PaddingMode::Symmetric => Fold::Beside(0),
                PaddingMode::Circular => Fold::Around,
            },
        }
    }

    /// The rows under the windows of output rows `rows`, which may begin before the image and end
    /// behind it.
    pub fn window(&self, rows: Rows) -> Rows {
        let first = |row: i64| row * self.stride - self.pad_lo;
        Rows { lo: first(rows.lo), hi: first(rows.hi - 1) + (self.kernel - 1) * self.dilation + 1 }
    }

    /// The rows of the input that output rows `rows` need.
    pub fn needed(&self, rows: Rows) -> Rows {
        let window = self.window(rows);
        let lo = window.lo.clamp(0, self.input);
        Rows { lo, hi: window.hi.clamp(lo, self.input) }
    }

    /// Rows of padding before and after those.
    pub fn padding(&self, rows: Rows) -> (i64, i64) {
        let (window, inside) = (self.window(rows), self.needed(rows));
        (inside.lo - window.lo, window.hi - inside.hi)
    }

    /// Why output rows `rows` are no convolution of the rows that they need, where they are none.
    pub fn refusal(&self, rows: Rows) -> Option<&'static str> {
        let (before, after) = self.padding(rows);
        let there = self.needed(rows).len();
        match self.fold {
            _ if there == 0 => Some("all rows under a window are padding"),
            _ if self.counts_overhang => Some("its divisor leaves out what ceil_mode adds"),
            // Around the strip they would come from its other end.
            Fold::Around if (before, after) != (0, 0) => {
                Some("circular padding reads rows from the other end of the image")
            }
            Fold::Beside(less) if before.max(after) > there - less => {
                Some("folded padding reads rows that a strip does not have")
            }
            Fold::No | Fold::Beside(_) | Fold::Around => None,
        }
    }
}

/// Rows of the input and of the output of a convolution.
pub(crate) fn extents(conv: &Conv) -> (i64, i64) {
    let axis = &conv.axes()[0];
    let known = |n: Option<usize>| n.unwrap_or(0) as i64;
    (known(axis.input.known()), known(axis.output.known()))
}
