//! Fewer multiplications: short convolutions by evaluation at points (Cook and Toom; Winograd).
//!
//! ```text
//! y = A^T ((G w) * (B^T d))        m outputs of an r-tap window from m + r - 1 inputs,
//!                                  with m + r - 1 multiplications in the place of m r
//! ```
//!
//! In: how many outputs and taps. Out: the three matrices, made of exact fractions and scaled so
//! that `A` and `B` have entries that floats hold exactly; what they were scaled by is in `G`,
//! which is applied once, to the weights. In several dimensions each axis has its own.
//!
//! Points are chosen by the worst case of the rounding error that they allow
//! ([`Transform::worst`]), not by the simplicity of their powers: for four outputs of three taps
//! the usual 0, 1, -1, 2, -2 have 29.3 (860 in two dimensions), 0, 2/3, -2/3, 3/2, -3/2 have 12.3
//! (152), at the same number of multiplications. The last point is always infinity (Barabasz et
//! al., arXiv 1803.10986).
//!
//! Which convolutions are computed so is said by [`Tiles`], their nest is made by
//! [`crate::program::tiled`], and how far off they may be by [`Tiles::bound`].

mod bound;
mod tiles;
mod weights;

pub use tiles::Tiles;

use std::sync::OnceLock;

use crate::analysis::Ratio;

/// The finite points, as numerators and denominators, where there are `1 + at` of them: those with
/// the smallest worst case among fractions of numbers up to eight, zero and pairs of both signs.
const POINTS: [&[(i64, i64)]; 7] = [
    &[(0, 1)],
    &[(0, 1), (-1, 1)],
    &[(0, 1), (1, 1), (-1, 1)],
    &[(2, 5), (-2, 5), (4, 3), (-4, 3)],
    &[(0, 1), (2, 3), (-2, 3), (3, 2), (-3, 2)],
    &[(1, 3), (-1, 3), (7, 8), (-7, 8), (8, 5), (-8, 5)],
    &[(0, 1), (1, 2), (-1, 2), (1, 1), (-1, 1), (2, 1), (-2, 1)],
];

/// The longest window, and the most outputs of a tile along an axis: with two of the other, there
/// are eight points.
pub(crate) const MOST_TAPS: usize = POINTS.len();
pub(crate) const MOST_OUTPUTS: usize = POINTS.len();

/// The matrices of one axis, row by row.
///
/// ```
/// let axis = conv_ir::winograd::Transform::new(2, 3).unwrap();
/// assert_eq!((axis.inputs(), axis.worst()), (4, 4.0));
/// let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
/// let (input, window) = ([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0]);
/// let product: Vec<f64> =
///     axis.g.iter().zip(&axis.b).map(|(g, b)| dot(g, &window) * dot(b, &input)).collect();
/// assert_eq!(axis.a.iter().map(|row| dot(row, &product)).collect::<Vec<_>>(), [140.0, 200.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// Outputs by points: sums of products to outputs. Whole numbers over a power of two.
    pub a: Vec<Vec<f64>>,
    /// Points by taps: the window's transform, rounded to f64 once.
    pub g: Vec<Vec<f64>>,
    /// Points by inputs: the input's transform. Whole numbers over a power of two.
    pub b: Vec<Vec<f64>>,
    worst: f64,
}

impl Transform {
    /// `outputs` results of a window of `taps`, from `outputs + taps - 1` inputs. `None` where that
    /// saves nothing (one output or one tap) or takes more than eight points, whose worst case is
    /// too large for single precision. One output of one tap is the input itself.
    pub fn new(outputs: usize, taps: usize) -> Option<Transform> {
        if (outputs, taps) == (1, 1) {
            let one = || vec![vec![1.0]];
            return Some(Transform { a: one(), g: one(), b: one(), worst: 1.0 });
        }
        if outputs < 2 || taps < 2 {
            return None;
        }
        let finite = outputs.checked_add(taps)?.checked_sub(2)?;
        let points = POINTS.get(finite - 1)?;
        let points: Option<Vec<Ratio>> =
            points.iter().map(|&(above, below)| Ratio::from(above).over(below)).collect();
        Exact::new(outputs, taps, &points?)?.scaled()
    }

    /// The same, made once.
    pub fn of(outputs: usize, taps: usize) -> Option<&'static Transform> {
        static MADE: [[OnceLock<Option<Transform>>; MOST_TAPS + 1]; MOST_OUTPUTS + 1] =
            [const { [const { OnceLock::new() }; MOST_TAPS + 1] }; MOST_OUTPUTS + 1];
        MADE.get(outputs)?.get(taps)?.get_or_init(|| Transform::new(outputs, taps)).as_ref()
    }

    /// Whether nothing is transformed.
    pub fn is_identity(&self) -> bool {
        self.inputs() == 1
    }

    /// Inputs that a tile reads, which is the number of points and of multiplications.
    pub fn inputs(&self) -> usize {
        self.b.len()
    }

    /// Outputs of a tile.
    pub fn outputs(&self) -> usize {
        self.a.len()
    }

    /// Taps of the window.
    pub fn taps(&self) -> usize {
        self.g.first().map_or(0, Vec::len)
    }

    /// The largest sum, over outputs `i` and taps `j`, of `|A_ik| |G_kj| |B_kl|` over `k` and `l`:
    /// how much larger than the result of one tap the numbers on the way may be. 1 is a direct
    /// convolution; of several axes, the product.
    pub fn worst(&self) -> f64 {
        self.worst
    }
}

type Matrix = Vec<Vec<Ratio>>;

/// The matrices before scaling.
struct Exact {
    a: Matrix,
    g: Matrix,
    b: Matrix,
}

impl Exact {
    /// Evaluation at the points (`A`, `G`) and the way back (`B`), by transposition: row `k` of `B`
    /// is the polynomial that vanishes at all points but `k`, which `G` divides by its value there.
    fn new(outputs: usize, taps: usize, points: &[Ratio]) -> Option<Exact> {
        let infinity = |len: usize| -> Vec<Ratio> {
            (0..len).map(|at| Ratio::from(i64::from(at + 1 == len))).collect()
        };
        let mut evaluated = Vec::new();
        let (mut g, mut b) = (Vec::new(), Vec::new());
        for (at, &point) in points.iter().enumerate() {
            let others: Vec<Ratio> = [&points[..at], &points[at + 1..]].concat();
            let mut roots = polynomial(&others)?;
            let value = horner(&roots, point)?;
            roots.push(Ratio::ZERO);
            b.push(roots);
            evaluated.push(powers(point, outputs)?);
            let window = powers(point, taps)?;
            g.push(window.into_iter().map(|x| x.divided_by(value)).collect::<Option<_>>()?);
        }
        b.push(polynomial(points)?);
        g.push(infinity(taps));
        evaluated.push(infinity(outputs));
        let a = (0..outputs).map(|i| evaluated.iter().map(|row| row[i]).collect()).collect();
        Some(Exact { a, g, b })
    }

    /// Each point's row of `B` and column of `A` times what makes them whole numbers over a power
    /// of two, its row of `G` divided by both.
    fn scaled(&self) -> Option<Transform> {
        let mut scaled = Transform {
            a: vec![Vec::new(); self.a.len()],
            g: Vec::new(),
            b: Vec::new(),
            worst: self.worst(),
        };
        for (k, (g, b)) in self.g.iter().zip(&self.b).enumerate() {
            let column: Vec<Ratio> = self.a.iter().map(|row| row[k]).collect();
            let (by_a, by_b) = (odd_denominator(&column)?, odd_denominator(b)?);
            let exact = |x: &Ratio, by: i64| x.times(by).map(Ratio::to_f64);
            for (row, x) in scaled.a.iter_mut().zip(&column) {
                row.push(exact(x, by_a)?);
            }
            scaled.b.push(b.iter().map(|x| exact(x, by_b)).collect::<Option<_>>()?);
            let rounded = |x: &Ratio| x.over(by_a)?.over(by_b).map(Ratio::to_f64);
            scaled.g.push(g.iter().map(rounded).collect::<Option<_>>()?);
        }
        Some(scaled)
    }

    fn worst(&self) -> f64 {
        let sizes = |row: &[Ratio]| row.iter().map(|x| x.to_f64().abs()).sum::<f64>();
        let inputs: Vec<f64> = self.b.iter().map(|row| sizes(row)).collect();
        let mut worst = 0.0f64;
        for row in &self.a {
            for tap in 0..self.g[0].len() {
                let points = row.iter().zip(&self.g).zip(&inputs);
                let sum = points.map(|((a, g), b)| a.to_f64().abs() * g[tap].to_f64().abs() * b);
                worst = worst.max(sum.sum());
            }
        }
        worst
    }
}

/// Coefficients, the constant first, of the product of `x - root`.
fn polynomial(roots: &[Ratio]) -> Option<Vec<Ratio>> {
    let mut coefficients = vec![Ratio::ONE];
    for root in roots {
        let minus = root.times(-1)?;
        let mut next = vec![Ratio::ZERO; coefficients.len() + 1];
        for (at, &c) in coefficients.iter().enumerate() {
            next[at] = next[at].plus(c.times_ratio(minus)?)?;
            next[at + 1] = next[at + 1].plus(c)?;
        }
        coefficients = next;
    }
    Some(coefficients)
}

fn horner(coefficients: &[Ratio], x: Ratio) -> Option<Ratio> {
    coefficients.iter().rev().try_fold(Ratio::ZERO, |sum, &c| sum.times_ratio(x)?.plus(c))
}

/// `1, x, x^2, ..`, so many of them.
fn powers(x: Ratio, count: usize) -> Option<Vec<Ratio>> {
    let next = |power: &Option<Ratio>| power.map(|power| power.times_ratio(x));
    std::iter::successors(Some(Some(Ratio::ONE)), |power| next(power)).take(count).collect()
}

/// The least number that makes all of them whole, but for powers of two.
fn odd_denominator(numbers: &[Ratio]) -> Option<i64> {
    numbers.iter().try_fold(1i64, |common, x| {
        let odd = x.denominator() >> x.denominator().trailing_zeros();
        crate::analysis::ratio::lcm(common, odd)
    })
}

#[cfg(test)]
mod tests;
