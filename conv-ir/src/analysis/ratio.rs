//! A fraction in lowest terms: the stride of a stack with transposed steps, and the centre of a
//! field, are not whole numbers.

use std::fmt;

use crate::numbers::gcd;

/// `numerator / denominator`, in lowest terms, the denominator positive.
///
/// ```
/// use conv_ir::analysis::Ratio;
/// let half = Ratio::from(3).over(6).unwrap();
/// assert_eq!(half.to_string(), "1/2");
/// assert_eq!(half.times(4), Some(Ratio::from(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    numerator: i64,
    denominator: i64,
}

impl Ratio {
    /// Nothing.
    pub const ZERO: Ratio = Ratio { numerator: 0, denominator: 1 };
    /// A whole.
    pub const ONE: Ratio = Ratio { numerator: 1, denominator: 1 };

    /// The fraction of two integers; `None` for a denominator of zero, or where a part does not
    /// fit.
    fn new(numerator: i128, denominator: i128) -> Option<Ratio> {
        if denominator == 0 {
            return None;
        }
        let by = gcd(numerator, denominator) * denominator.signum();
        Some(Ratio {
            numerator: i64::try_from(numerator / by).ok()?,
            denominator: i64::try_from(denominator / by).ok()?,
        })
    }

    /// Above the line.
    pub fn numerator(self) -> i64 {
        self.numerator
    }

    /// Below the line; positive.
    pub fn denominator(self) -> i64 {
        self.denominator
    }

    /// The whole number, where it is one.
    pub fn whole(self) -> Option<i64> {
        (self.denominator == 1).then_some(self.numerator)
    }

    /// Times an integer.
    pub fn times(self, by: i64) -> Option<Ratio> {
        Ratio::new(self.numerator as i128 * by as i128, self.denominator.into())
    }

    /// Over an integer.
    pub fn over(self, by: i64) -> Option<Ratio> {
        Ratio::new(self.numerator.into(), self.denominator as i128 * by as i128)
    }

    /// The product.
    pub fn times_ratio(self, by: Ratio) -> Option<Ratio> {
        let below = self.denominator as i128 * by.denominator as i128;
        Ratio::new(self.numerator as i128 * by.numerator as i128, below)
    }

    /// The quotient; `None` by zero.
    pub fn divided_by(self, by: Ratio) -> Option<Ratio> {
        let below = self.denominator as i128 * by.numerator as i128;
        Ratio::new(self.numerator as i128 * by.denominator as i128, below)
    }

    /// The sum.
    pub fn plus(self, other: Ratio) -> Option<Ratio> {
        let (a, b) = (self.denominator as i128, other.denominator as i128);
        Ratio::new(self.numerator as i128 * b + other.numerator as i128 * a, a * b)
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl From<i64> for Ratio {
    fn from(whole: i64) -> Self {
        Ratio { numerator: whole, denominator: 1 }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whole() {
            Some(whole) => write!(f, "{whole}"),
            None => write!(f, "{}/{}", self.numerator, self.denominator),
        }
    }
}

/// The least common multiple of two positive numbers.
pub(crate) fn lcm(a: i64, b: i64) -> Option<i64> {
    i64::try_from(a as i128 / gcd(a.into(), b.into()) * b as i128).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_in_lowest_terms() {
        let third = Ratio::new(-4, -12).unwrap();
        assert_eq!((third.numerator(), third.denominator()), (1, 3));
        assert_eq!(third.plus(Ratio::new(-1, 3).unwrap()), Some(Ratio::from(0)));
        assert_eq!(Ratio::new(1, -2).unwrap().to_string(), "-1/2");
        assert_eq!(third.times(6).and_then(Ratio::whole), Some(2));
        assert_eq!(Ratio::from(i64::MAX).times(2), None);
        assert_eq!(Ratio::from(1).over(0), None);
        assert_eq!(third.times_ratio(third).map(|x| x.to_string()), Some("1/9".to_owned()));
        assert_eq!(Ratio::ONE.divided_by(third), Some(Ratio::from(3)));
        assert_eq!(third.divided_by(Ratio::ZERO), None);
        assert_eq!((gcd(0, 0), lcm(4, 6)), (1, Some(12)));
    }
}
