//! Index arithmetic: affine expressions over loop axes and run-time symbols, and the few ways to
//! bend them.
//!
//! All arithmetic is `i64`. Descriptions are checked so that no index of a legal nest comes near
//! its limits.

use super::{AxisId, SymbolId};
use smallvec::{SmallVec, smallvec};

/// What an affine expression may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Var {
    /// The value of a loop axis.
    Axis(AxisId),
    /// A size known only at run time.
    Symbol(SymbolId),
}

/// `constant + sum of coefficient * variable`. Kept canonical: sorted by variable, no zero
/// coefficients, so that `==` is equality of functions.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Affine {
    /// The constant part.
    pub constant: i64,
    // Hardly ever more than three; on the heap they were most of the time of every pass.
    terms: SmallVec<[(Var, i64); 3]>,
}

impl Clone for Affine {
    /// The derived one would copy term by term, and every pass copies thousands.
    fn clone(&self) -> Self {
        Affine { constant: self.constant, terms: SmallVec::from_slice(&self.terms) }
    }
}

impl Affine {
    /// A constant.
    pub fn constant(constant: i64) -> Self {
        Affine { constant, terms: SmallVec::new() }
    }

    /// The value of an axis.
    pub fn axis(axis: AxisId) -> Self {
        Affine { constant: 0, terms: smallvec![(Var::Axis(axis), 1)] }
    }

    /// The value of a symbol.
    pub fn symbol(symbol: SymbolId) -> Self {
        Affine { constant: 0, terms: smallvec![(Var::Symbol(symbol), 1)] }
    }

    /// The variables with their coefficients, sorted, none zero.
    pub fn terms(&self) -> &[(Var, i64)] {
        &self.terms
    }

    /// The coefficient of a variable, 0 where it does not occur.
    pub fn coefficient(&self, var: Var) -> i64 {
        self.terms.iter().find(|(v, _)| *v == var).map_or(0, |t| t.1)
    }

    /// The coefficient of an axis.
    pub fn of_axis(&self, axis: AxisId) -> i64 {
        self.coefficient(Var::Axis(axis))
    }

    /// The axes that occur.
    pub fn axes(&self) -> impl Iterator<Item = AxisId> + '_ {
        self.terms.iter().filter_map(|(v, _)| match v {
            Var::Axis(a) => Some(*a),
            Var::Symbol(_) => None,
        })
    }

    /// The number, if nothing varies.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// `self + coefficient * var`.
    pub fn plus_term(mut self, var: Var, coefficient: i64) -> Self {
        self.add_term(var, coefficient);
        self
    }

    fn add_term(&mut self, var: Var, coefficient: i64) {
        match self.terms.binary_search_by_key(&var, |t| t.0) {
            Ok(at) => {
                self.terms[at].1 += coefficient;
                if self.terms[at].1 == 0 {
                    self.terms.remove(at);
                }
            }
            Err(at) if coefficient != 0 => self.terms.insert(at, (var, coefficient)),
            Err(_) => {}
        }
    }

    /// `self + other`.
    pub fn plus(&self, other: &Affine) -> Self {
        self.plus_scaled(other, 1)
    }

    /// `self - other`.
    pub fn minus(&self, other: &Affine) -> Self {
        self.plus_scaled(other, -1)
    }

    /// `self + constant`.
    pub fn plus_constant(&self, constant: i64) -> Self {
        Affine { constant: self.constant + constant, ..self.clone() }
    }

    /// `self * factor`.
    pub fn times(&self, factor: i64) -> Self {
        Affine::default().plus_scaled(self, factor)
    }

    fn plus_scaled(&self, other: &Affine, factor: i64) -> Self {
        let mut sum = self.clone();
        sum.add_scaled(other, factor);
        sum
    }

    fn add_scaled(&mut self, other: &Affine, factor: i64) {
        self.constant += other.constant * factor;
        for (var, coefficient) in &other.terms {
            self.add_term(*var, coefficient * factor);
        }
    }

    /// Every occurrence of `var` replaced by `by`.
    pub fn substitute(&self, var: Var, by: &Affine) -> Self {
        let mut result = self.clone();
        result.put(var, by);
        result
    }

    /// Puts `by` in the place of `var`.
    pub fn put(&mut self, var: Var, by: &Affine) {
        let coefficient = self.coefficient(var);
        if coefficient != 0 {
            self.add_term(var, -coefficient);
            self.add_scaled(by, coefficient);
        }
    }

    /// Calls every axis by another name.
    pub fn rename(&mut self, name: impl Fn(AxisId) -> AxisId) {
        for (var, _) in &mut self.terms {
            if let Var::Axis(axis) = var {
                *axis = name(*axis);
            }
        }
        self.terms.sort_unstable_by_key(|t| t.0);
    }

    /// The part made of the axes that `keep` accepts (no constant, no symbols), and the rest.
    pub fn split(&self, keep: impl Fn(AxisId) -> bool) -> (Affine, Affine) {
        let (mut kept, mut rest) = (Affine::default(), Affine::constant(self.constant));
        for &(var, coefficient) in &self.terms {
            let part = match var {
                Var::Axis(axis) if keep(axis) => &mut kept,
                _ => &mut rest,
            };
            part.terms.push((var, coefficient));
        }
        (kept, rest)
    }

    /// The value where `value` gives each variable's.
    pub fn eval(&self, value: impl Fn(Var) -> i64) -> i64 {
        self.terms
            .iter()
            .fold(self.constant, |sum, &(var, coefficient)| sum + coefficient * value(var))
    }
}

impl From<i64> for Affine {
    fn from(constant: i64) -> Self {
        Affine::constant(constant)
    }
}

/// `floor(numerator / divisor)`, the divisor positive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quotient {
    /// What is divided.
    pub numerator: Affine,
    /// Divides, rounding down; at least 1.
    pub divisor: i64,
}

impl Quotient {
    /// `floor(numerator / divisor)`.
    pub fn floor(numerator: Affine, divisor: i64) -> Self {
        Quotient { numerator, divisor }
    }

    /// `ceil(numerator / divisor)`.
    pub fn ceil(numerator: Affine, divisor: i64) -> Self {
        Quotient { numerator: numerator.plus_constant(divisor - 1), divisor }
    }

    /// The number, if nothing varies.
    pub fn as_constant(&self) -> Option<i64> {
        self.numerator.as_constant().map(|n| n.div_euclid(self.divisor))
    }

    /// The value where `value` gives each variable's.
    pub fn eval(&self, value: impl Fn(Var) -> i64) -> i64 {
        self.numerator.eval(value).div_euclid(self.divisor)
    }
}

impl From<Affine> for Quotient {
    fn from(numerator: Affine) -> Self {
        Quotient { numerator, divisor: 1 }
    }
}

impl From<i64> for Quotient {
    fn from(constant: i64) -> Self {
        Affine::constant(constant).into()
    }
}

/// How an index that may fall outside `0..extent` is folded back, however far outside it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// `-1 -> 1`, `extent -> extent - 2`, mirrored again at either end.
    Reflect,
    /// `-1 -> 0`, `extent -> extent - 1`, mirrored again at either end.
    Symmetric,
    /// `-1 -> 0`, `extent -> extent - 1`, and all beyond likewise.
    Replicate,
    /// `-1 -> extent - 1`, `extent -> 0`.
    Circular,
}

impl Fold {
    /// The folded index, in `0..extent`.
    pub fn apply(self, index: i64, extent: i64) -> i64 {
        match self {
            _ if (0..extent).contains(&index) => index,
            Fold::Replicate => index.clamp(0, extent - 1),
            Fold::Circular => index.rem_euclid(extent),
            Fold::Reflect => {
                let period = (2 * (extent - 1)).max(1);
                let at = index.rem_euclid(period);
                at.min(period - at)
            }
            Fold::Symmetric => {
                let at = index.rem_euclid(2 * extent);
                at.min(2 * extent - 1 - at)
            }
        }
    }

    /// The same of pixels of so many elements, each of which stays where it is in its pixel.
    ///
    /// ```
    /// use conv_ir::nest::Fold;
    /// // The green of the pixel before the first of three is that of the second.
    /// assert_eq!(Fold::Reflect.apply_to_pixels(-2, 9, 3), 4);
    /// ```
    pub fn apply_to_pixels(self, index: i64, extent: i64, pixel: i64) -> i64 {
        pixel * self.apply(index.div_euclid(pixel), extent / pixel) + index.rem_euclid(pixel)
    }

    /// Whether one turn at either end brings all of `lo..=hi` back inside.
    pub fn is_one_turn(self, (lo, hi): (i64, i64), extent: i64) -> bool {
        let reach = match self {
            Fold::Reflect => extent - 1,
            Fold::Symmetric | Fold::Circular => extent,
            Fold::Replicate => return true,
        };
        -reach <= lo && hi < extent + reach
    }
}

/// The index along one dimension of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// Plain.
    Affine(Affine),
    /// Divided, rounding down. Only before pass `phases`, where a guard says that it divides.
    Quotient(Quotient),
    /// Folded back into `0..extent`.
    Folded {
        /// The index as it came.
        index: Affine,
        /// The dimension's extent; in a box, since most indices are not folded.
        extent: Box<Affine>,
        /// How.
        fold: Fold,
        /// Elements that fold together, as channels that stand innermost do: the index counts
        /// elements, what folds is the pixel. It divides the extent.
        pixel: i64,
    },
}

impl Index {
    /// The affine expression, where there is nothing else to it.
    pub fn as_affine(&self) -> Option<&Affine> {
        match self {
            Index::Affine(a) => Some(a),
            Index::Quotient(_) | Index::Folded { .. } => None,
        }
    }

    /// Whether it varies with the axis.
    pub fn follows(&self, axis: AxisId) -> bool {
        let names = |a: &Affine| a.of_axis(axis) != 0;
        match self {
            Index::Affine(a) => names(a),
            Index::Quotient(q) => names(&q.numerator),
            Index::Folded { index, extent, .. } => names(index) || names(extent),
        }
    }

    /// Visits every affine expression inside.
    pub fn visit(&self, f: &mut dyn FnMut(&Affine)) {
        match self {
            Index::Affine(a) => f(a),
            Index::Quotient(q) => f(&q.numerator),
            Index::Folded { index, extent, .. } => {
                f(index);
                f(extent);
            }
        }
    }

    /// Applies `f` to every affine expression inside.
    pub fn map(&self, f: &mut impl FnMut(&Affine) -> Affine) -> Index {
        match self {
            Index::Affine(a) => Index::Affine(f(a)),
            Index::Quotient(q) => {
                Index::Quotient(Quotient { numerator: f(&q.numerator), divisor: q.divisor })
            }
            Index::Folded { index, extent, fold, pixel } => {
                let (index, extent) = (f(index), Box::new(f(extent)));
                Index::Folded { index, extent, fold: *fold, pixel: *pixel }
            }
        }
    }

    /// The value where `value` gives each variable's.
    pub fn eval(&self, value: impl Fn(Var) -> i64) -> i64 {
        match self {
            Index::Affine(a) => a.eval(value),
            Index::Quotient(q) => q.eval(value),
            Index::Folded { index, extent, fold, pixel } => {
                fold.apply_to_pixels(index.eval(&value), extent.eval(&value), *pixel)
            }
        }
    }
}

impl From<Affine> for Index {
    fn from(a: Affine) -> Self {
        Index::Affine(a)
    }
}

/// A condition on index values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    /// `expression >= 0`.
    NonNegative(Affine),
    /// `expression` is a multiple of the divisor. Only before pass `phases`.
    Divides(i64, Affine),
}

impl Cond {
    /// Its truth, if nothing varies.
    pub fn as_constant(&self) -> Option<bool> {
        self.expression().as_constant().map(|value| self.holds_for(value))
    }

    /// Its truth where the expression is `value`.
    pub(super) fn holds_for(&self, value: i64) -> bool {
        match self {
            Cond::NonNegative(_) => value >= 0,
            Cond::Divides(d, _) => value % d == 0,
        }
    }

    /// The affine expression inside.
    pub fn expression(&self) -> &Affine {
        match self {
            Cond::NonNegative(a) | Cond::Divides(_, a) => a,
        }
    }

    /// The same condition on another expression.
    pub fn map(&self, f: &mut impl FnMut(&Affine) -> Affine) -> Cond {
        match self {
            Cond::NonNegative(a) => Cond::NonNegative(f(a)),
            Cond::Divides(d, a) => Cond::Divides(*d, f(a)),
        }
    }

    /// Its truth where `value` gives each variable's.
    pub fn eval(&self, value: impl Fn(Var) -> i64) -> bool {
        self.holds_for(self.expression().eval(value))
    }
}
