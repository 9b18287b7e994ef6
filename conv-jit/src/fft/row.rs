//! The transform of one block whose numbers lie in the lanes, side by side.
//!
//! ```text
//! vectors    steps between vectors, as of any block ([`super::transform`])
//! lanes      two vectors at a time: halves are exchanged, and each half is one step of radix 2
//! ```
//!
//! A stream has one block at a time, and it is needed now: there are no others to fill the lanes.
//! While a polynomial is longer than a vector, its halves are whole vectors. Then two of them
//! change halves, quarters and so on, so that both numbers of a sum stand in the same lane. What
//! comes out is in no natural order; the way back undoes it.
//!
//! Each lane computes what one number needs, in products and sums of one rounding each, so the bits
//! are the same on every machine.

use super::roots::root;
use super::transform::{Axis, Lines, Pair, Point};
use super::vector::{Real, Vector};

/// Of `x^points - i`, in `points / L` vectors.
pub(super) struct Row<T, const L: usize> {
    /// Between vectors.
    between: Axis<T>,
    /// Of each pair of vectors, the root of every lane in each step.
    within: Vec<Point<T, L>>,
}

impl<T: Real, const L: usize> Row<T, L> {
    /// Steps within a vector.
    const STEPS: usize = L.ilog2() as usize;

    /// Of a power of two of points, at least `2 L`.
    pub fn new(points: usize) -> Self {
        assert!(points.is_power_of_two() && points >= 2 * L, "fft: no row of {points}");
        let (between, nodes, of) = Axis::grown(points / L, true);
        let mut within = Vec::with_capacity(nodes.len() / 2 * Self::STEPS);
        for pair in nodes.chunks_exact(2) {
            // The node that each lane is of.
            let (mut low, mut high, mut of) = ([pair[0]; L], [pair[1]; L], of);
            let mut apart = L / 2;
            while apart > 0 {
                for lane in (0..L).filter(|lane| lane & apart == 0) {
                    std::mem::swap(&mut low[lane + apart], &mut high[lane]);
                }
                debug_assert_eq!(low, high, "fft: lanes of other nodes");
                let mut roots = Point::zero();
                for lane in 0..L {
                    let (re, im) = root(low[lane], 2 * of);
                    (roots.re[lane], roots.im[lane]) = (T::of(re), T::of(im));
                }
                within.push(roots);
                high = high.map(|turn| turn + of);
                (apart, of) = (apart / 2, 2 * of);
            }
        }
        Row { between, within }
    }

    /// The values of a block's polynomial.
    #[inline(always)]
    pub fn forward<V: Vector<T, L>>(&self, data: &mut [Point<T, L>]) {
        self.between.forward::<V, L>(data, Lines { start: 0, stride: 1, run: 1 });
        for (pair, roots) in data.chunks_exact_mut(2).zip(self.within.chunks_exact(Self::STEPS)) {
            let mut both = (pair[0].get::<V>(), pair[1].get::<V>());
            let roots = |apart: usize| roots[(L / apart).ilog2() as usize - 1].get::<V>();
            if L > 8 {
                both = cut::<T, V, L, 8>(both, roots(8));
            }
            both = cut::<T, V, L, 4>(both, roots(4));
            both = cut::<T, V, L, 2>(both, roots(2));
            both = cut::<T, V, L, 1>(both, roots(1));
            pair[0].set(both.0);
            pair[1].set(both.1);
        }
    }

    /// The polynomial of a block's values, times the number of points.
    #[inline(always)]
    pub fn back<V: Vector<T, L>>(&self, data: &mut [Point<T, L>]) {
        for (pair, roots) in data.chunks_exact_mut(2).zip(self.within.chunks_exact(Self::STEPS)) {
            let mut both = (pair[0].get::<V>(), pair[1].get::<V>());
            let roots = |apart: usize| roots[(L / apart).ilog2() as usize - 1].get::<V>();
            both = joined::<T, V, L, 1>(both, roots(1));
            both = joined::<T, V, L, 2>(both, roots(2));
            both = joined::<T, V, L, 4>(both, roots(4));
            if L > 8 {
                both = joined::<T, V, L, 8>(both, roots(8));
            }
            pair[0].set(both.0);
            pair[1].set(both.1);
        }
        self.between.back::<V, L>(data, Lines { start: 0, stride: 1, run: 1 });
    }
}

/// A step of radix 2 of the numbers of two vectors that are so many lanes apart.
#[inline(always)]
fn cut<T: Real, V: Vector<T, L>, const L: usize, const APART: usize>(
    (a, b): (Pair<V>, Pair<V>),
    root: Pair<V>,
) -> (Pair<V>, Pair<V>) {
    let (low, high) = a.exchanged::<T, L, APART>(b);
    let turned = high.by(root);
    (low.plus(turned), low.minus(turned))
}

/// The way back.
#[inline(always)]
fn joined<T: Real, V: Vector<T, L>, const L: usize, const APART: usize>(
    (a, b): (Pair<V>, Pair<V>),
    root: Pair<V>,
) -> (Pair<V>, Pair<V>) {
    a.plus(b).exchanged::<T, L, APART>(a.minus(b).back_by(root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fft::vector::Plain;

    /// Products modulo `x^points - i`, from there and back.
    fn multiplies<const L: usize>(points: usize) {
        let number = |i: usize| ((i * 7919 % 97) as f64 - 48.0) / 97.0;
        let filled = |seed: usize| {
            let mut data = vec![Point::<f64, L>::zero(); points / L];
            for at in 0..points {
                data[at / L].re[at % L] = number(at + seed);
                data[at / L].im[at % L] = number(3 * at + seed + 5);
            }
            data
        };
        let of =
            |data: &[Point<f64, L>], at: usize| (data[at / L].re[at % L], data[at / L].im[at % L]);
        let (a, b) = (filled(1), filled(1000));
        let mut wanted = vec![(0.0, 0.0); points];
        for i in 0..points {
            for j in 0..points {
                let ((re, im), (other, turned)) = (of(&a, i), of(&b, j));
                let (re, im) = (re * other - im * turned, re * turned + im * other);
                let to = &mut wanted[(i + j) % points];
                let (re, im) = if i + j < points { (re, im) } else { (-im, re) };
                (to.0, to.1) = (to.0 + re, to.1 + im);
            }
        }
        let row = Row::<f64, L>::new(points);
        let (mut x, mut y) = (a, b);
        row.forward::<Plain<f64, L>>(&mut x);
        row.forward::<Plain<f64, L>>(&mut y);
        for (x, y) in x.iter_mut().zip(&y) {
            x.set(x.get::<Plain<f64, L>>().by(y.get()));
        }
        row.back::<Plain<f64, L>>(&mut x);
        for (at, wanted) in wanted.iter().enumerate() {
            let (re, im) = of(&x, at);
            let off = (re / points as f64 - wanted.0).abs() + (im / points as f64 - wanted.1).abs();
            assert!(off < 1e-12, "{points} points, {L} lanes, at {at}: {off}");
        }
    }

    #[test]
    fn rows_multiply_polynomials() {
        for points in [32, 64, 128, 256, 512] {
            multiplies::<16>(points);
            multiplies::<8>(points);
        }
    }
}
