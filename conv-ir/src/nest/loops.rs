//! Loops: an axis, its bounds, and how it runs.

use super::{Affine, AxisId, Quotient, Var};

/// A bound of a loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// The largest of these (lower bounds).
    Max(Vec<Quotient>),
    /// The smallest of these (upper bounds).
    Min(Vec<Quotient>),
}

impl Bound {
    /// The quotients inside.
    pub fn quotients(&self) -> &[Quotient] {
        match self {
            Bound::Max(of) | Bound::Min(of) => of,
        }
    }

    /// The same choice between other quotients.
    pub fn map(&self, f: &mut impl FnMut(&Affine) -> Affine) -> Bound {
        let mut each = |of: &[Quotient]| {
            of.iter().map(|q| Quotient { numerator: f(&q.numerator), divisor: q.divisor }).collect()
        };
        match self {
            Bound::Max(of) => Bound::Max(each(of)),
            Bound::Min(of) => Bound::Min(each(of)),
        }
    }

    /// The number, if nothing varies.
    pub fn as_constant(&self) -> Option<i64> {
        let all: Option<Vec<i64>> = self.quotients().iter().map(Quotient::as_constant).collect();
        self.pick(all?)
    }

    /// The value where `value` gives each variable's.
    pub fn eval(&self, value: impl Fn(Var) -> i64) -> i64 {
        let all = self.quotients().iter().map(|q| q.eval(&value));
        self.pick(all).expect("a bound has a quotient")
    }

    fn pick(&self, of: impl IntoIterator<Item = i64>) -> Option<i64> {
        match self {
            Bound::Max(_) => of.into_iter().max(),
            Bound::Min(_) => of.into_iter().min(),
        }
    }
}

impl From<Quotient> for Bound {
    fn from(q: Quotient) -> Self {
        Bound::Min(vec![q])
    }
}

impl From<Affine> for Bound {
    fn from(a: Affine) -> Self {
        Bound::Min(vec![a.into()])
    }
}

impl From<i64> for Bound {
    fn from(constant: i64) -> Self {
        Affine::constant(constant).into()
    }
}

/// How a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// In order.
    Serial,
    /// Iterations are independent: thread `part` of `parts` takes `lo + len * part / parts .. lo +
    /// len * (part + 1) / parts`. Driver loops only.
    Parallel,
    /// In order, repeated in the code. Reduce loops with constant bounds only.
    Unrolled,
}

/// `for axis in lo..hi`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    /// The axis.
    pub axis: AxisId,
    /// First value.
    pub lo: Bound,
    /// One past the last value; a loop with `hi <= lo` runs not at all.
    pub hi: Bound,
    /// How it runs.
    pub kind: LoopKind,
}

impl Loop {
    /// `for axis in 0..extent`, in order.
    pub fn serial(axis: AxisId, extent: impl Into<Bound>) -> Loop {
        Loop { axis, lo: Bound::Max(vec![0.into()]), hi: extent.into(), kind: LoopKind::Serial }
    }

    /// `(lo, hi)` where both are constants.
    pub fn constant_range(&self) -> Option<(i64, i64)> {
        Some((self.lo.as_constant()?, self.hi.as_constant()?))
    }

    /// The number of iterations, where it is a constant.
    pub fn constant_extent(&self) -> Option<i64> {
        self.constant_range().map(|(lo, hi)| (hi - lo).max(0))
    }

    /// The only value, where there is one.
    pub fn one_turn(&self) -> Option<i64> {
        self.constant_range().filter(|(lo, hi)| lo + 1 == *hi).map(|(lo, _)| lo)
    }
}
