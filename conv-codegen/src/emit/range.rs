//! Intervals of index values: what is known of an expression without running it.
//!
//! Needed for one question only: may this be a `usize`, or can it be negative on the way? Where the
//! answer is unsure the emitted code uses `isize`, which is always right. Loops contribute their
//! bounds, run-time sizes are taken to be at least zero. Not a solver: variables are taken to be
//! independent.

use conv_ir::nest::Bound;

/// All values from `lo` to `hi`, both included; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub lo: Option<i64>,
    pub hi: Option<i64>,
}

impl Range {
    pub fn exactly(value: i64) -> Range {
        Range { lo: Some(value), hi: Some(value) }
    }

    /// `0..extent`.
    pub fn below(extent: i64) -> Range {
        Range { lo: Some(0), hi: Some(extent - 1) }
    }

    /// A size: zero or more.
    pub fn size() -> Range {
        Range { lo: Some(0), hi: None }
    }

    /// The one value, where it is one.
    pub fn value(self) -> Option<i64> {
        self.lo.filter(|_| self.lo == self.hi)
    }

    pub fn non_negative(self) -> bool {
        self.lo.is_some_and(|lo| lo >= 0)
    }

    pub fn plus(self, other: Range) -> Range {
        let add = |a: Option<i64>, b: Option<i64>| a?.checked_add(b?);
        Range { lo: add(self.lo, other.lo), hi: add(self.hi, other.hi) }
    }

    pub fn times(self, factor: i64) -> Range {
        let scale = |a: Option<i64>| a?.checked_mul(factor);
        let (lo, hi) = if factor < 0 { (self.hi, self.lo) } else { (self.lo, self.hi) };
        Range { lo: scale(lo), hi: scale(hi) }
    }

    /// The product; known only where neither is negative.
    pub fn multiply(self, other: Range) -> Range {
        let product = |a: Option<i64>, b: Option<i64>| a?.checked_mul(b?);
        if self.non_negative() && other.non_negative() {
            Range { lo: product(self.lo, other.lo), hi: product(self.hi, other.hi) }
        } else {
            Range { lo: None, hi: None }
        }
    }

    pub fn floor_div(self, divisor: i64) -> Range {
        let div = |a: Option<i64>| a.map(|a| a.div_euclid(divisor));
        Range { lo: div(self.lo), hi: div(self.hi) }
    }

    /// The smallest range that holds both.
    pub fn union(self, other: Range) -> Range {
        let both = |a: Option<i64>, b: Option<i64>, pick: fn(i64, i64) -> i64| Some(pick(a?, b?));
        Range { lo: both(self.lo, other.lo, i64::min), hi: both(self.hi, other.hi, i64::max) }
    }

    fn max(self, other: Range) -> Range {
        let either = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).max();
        Range { lo: either(self.lo, other.lo), hi: self.union(other).hi }
    }

    fn min(self, other: Range) -> Range {
        let either = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        Range { lo: self.union(other).lo, hi: either(self.hi, other.hi) }
    }

    /// The range of a bound whose quotients have these ranges.
    pub fn of_bound(bound: &Bound, quotients: impl Iterator<Item = Range>) -> Range {
        let pick = match bound {
            Bound::Max(_) => Range::max,
            Bound::Min(_) => Range::min,
        };
        quotients.reduce(pick).unwrap_or(Range::exactly(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_with_zero_is_not_negative_whatever_else_is_unknown() {
        let unknown = Range { lo: None, hi: Some(5) };
        let bound = Bound::Max(Vec::new());
        let range = Range::of_bound(&bound, [Range::exactly(0), unknown].into_iter());
        assert_eq!(range, Range { lo: Some(0), hi: Some(5) });
    }

    #[test]
    fn a_negative_factor_swaps_the_ends() {
        assert_eq!(Range::below(4).times(-2), Range { lo: Some(-6), hi: Some(0) });
        assert_eq!(Range::size().times(-1), Range { lo: None, hi: Some(0) });
    }
}
