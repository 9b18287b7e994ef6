//! The weights of a convolution in tiles.
//!
//! ```text
//! weight[pair, tap]   ->   for some pairs of channels side by side:
//!                            window[tap, pair]     as f64
//!                            points[point, pair]   G along one axis after the other
//!                          transformed[point, pair]   rounded once
//! ```
//!
//! Pairs stand in rows, so that every line of it is a loop over neighbours, which compilers make
//! vectors of. Packing is most of what tiles cost that are used once.

use super::{Tiles, Transform};
use crate::values::room;
use crate::{Conv, Element, Error};

/// Pairs of channels side by side: the numbers of all points of one block of them lie in a
/// first-level cache.
const PAIRS: usize = 32;

/// A number of each pair.
type Row = [f64; PAIRS];

impl Tiles {
    /// The transformed weights, `[points, out, in / groups]`: computed in f64, rounded once.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Length`] and [`Error::Argument`] where these are not the
    /// weights, or not tiles, of `conv`.
    pub fn weights<T: Element>(&self, conv: &Conv, weight: &[T]) -> Result<Vec<T>, Error> {
        self.check(conv, "weight", weight.len(), conv.weight_shape())?;
        let volume = conv.kernel_volume();
        let (points, pairs) = (self.points(), weight.len() / volume);
        let mut made = room("transformed weights", points.saturating_mul(pairs))?;
        made.resize(points * pairs, T::default());
        let axes = self.transforms();
        let (mut window, mut next) = (Vec::new(), Vec::new());
        for (block, taps) in weight.chunks(PAIRS * volume).enumerate() {
            side_by_side(taps, volume, &mut window);
            if conv.spec().flip {
                window.reverse();
            }
            let mut behind = volume;
            for axis in &axes {
                behind /= axis.taps();
                along(&window, (axis, behind), &mut next);
                std::mem::swap(&mut window, &mut next);
            }
            let count = taps.len() / volume;
            for (row, to) in window.iter().zip(made.chunks_mut(pairs)) {
                let to = &mut to[block * PAIRS..][..count];
                to.iter_mut().zip(row).for_each(|(to, x)| *to = T::from_f64(*x));
            }
        }
        Ok(made)
    }
}

/// Each tap of all pairs in a row: `[pairs, taps]` turned.
fn side_by_side<T: Element>(from: &[T], taps: usize, to: &mut Vec<Row>) {
    to.clear();
    to.resize(taps, [0.0; PAIRS]);
    for (pair, window) in from.chunks(taps).enumerate() {
        window.iter().zip(to.iter_mut()).for_each(|(x, row)| row[pair] = x.to_f64());
    }
}

/// Rows of dimensions `[before, taps, behind]` by a matrix of `points` times `taps`:
/// `[before, points, behind]`.
fn along(from: &[Row], (axis, behind): (&Transform, usize), to: &mut Vec<Row>) {
    to.clear();
    for block in from.chunks(axis.taps() * behind) {
        for row in &axis.g {
            for at in 0..behind {
                let taps = block[at..].iter().step_by(behind);
                to.push(sum(row, taps));
            }
        }
    }
}

/// The sum of numbers times rows, term by term in order.
fn sum<'a>(by: &[f64], rows: impl Iterator<Item = &'a Row>) -> Row {
    // What no term changes, whatever its sign.
    let mut sum = [-0.0; PAIRS];
    for (by, row) in by.iter().zip(rows) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += by * x);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, pair by pair.
    fn one_by_one(tiles: &Tiles, conv: &Conv, weight: &[f32]) -> Vec<f32> {
        let axes = tiles.transforms();
        let (taps, points) = (conv.kernel_volume(), tiles.points());
        let pairs = weight.len() / taps;
        let mut all = vec![0.0; points * pairs];
        for (pair, window) in weight.chunks(taps).enumerate() {
            let mut numbers: Vec<f64> = window.iter().map(|x| f64::from(*x)).collect();
            let mut behind = taps;
            for axis in &axes {
                behind /= axis.taps();
                let mut next = Vec::new();
                for block in numbers.chunks(axis.taps() * behind) {
                    for row in &axis.g {
                        for at in 0..behind {
                            let terms = row.iter().zip(block[at..].iter().step_by(behind));
                            next.push(terms.map(|(g, x)| g * x).sum());
                        }
                    }
                }
                numbers = next;
            }
            for (point, x) in numbers.into_iter().enumerate() {
                all[point * pairs + pair] = x as f32;
            }
        }
        all
    }

    #[test]
    fn blocks_of_pairs_have_the_numbers_of_each() {
        // Pairs in whole blocks, fewer than a block, and with some left.
        for (text, outputs) in [
            ("conv2d ic8 oc8 in 9 kernel 3 pad 1", &[4, 4][..]),
            ("conv2d ic5 oc3 in 9 kernel 3 pad 1", &[6, 4]),
            ("conv1d ic7 oc11 in 40 kernel 5", &[4]),
            ("conv2d g4 ic12 oc8 in 9x9 kernel 1x5", &[1, 2]),
            ("conv3d ic4 oc9 in 6 kernel 3", &[2, 2, 2]),
        ] {
            let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let tiles = Tiles::new(&conv, outputs).unwrap_or_else(|| panic!("{text}: tiles"));
            let weight: Vec<f32> =
                (0..conv.weight_len()).map(|at| ((at * 37 % 101) as f32).sin()).collect();
            let made = tiles.weights(&conv, &weight).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(made, one_by_one(&tiles, &conv, &weight), "{text}");
        }
    }
}
