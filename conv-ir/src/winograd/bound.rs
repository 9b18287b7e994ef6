//! How far a convolution in tiles may be from the exact sum.
//!
//! The numbers on the way to output `i` of a tile are `|A|_ik |V_c|_k (|B| |d_c|)_k`, summed over
//! channels `c` and points `k`, where `V` are the transformed weights and `d` the inputs of the
//! tile. No product meets more than `n` roundings: one for each term of a row of `B`, one of `V`,
//! one for each channel, one for each term of a row of `A`, and what is added at the end. So the
//! error is at most `gamma_n = n u / (1 - n u)` times that sum (Higham, Accuracy and Stability of
//! Numerical Algorithms, 3.1), `u` half the distance of 1 and the next number.
//!
//! It depends on all inputs of the tile, not only on those under the output's own window: no bound
//! of the form "a constant times the sum of |input * weight|" holds for it.

use super::{Tiles, Transform};
use crate::{Conv, Element};

/// The bound of each output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// By output channel, where no input is larger than 1.
    factors: Vec<f64>,
    /// By output channel, whatever the input: what rounds the bias.
    fixed: Vec<f64>,
}

impl Bound {
    /// Of a convolution with these transformed weights, the weights that they were made of, and its
    /// bias where it adds one.
    pub fn of<T: Element>(
        tiles: &Tiles,
        conv: &Conv,
        (transformed, weight): (&[T], &[T]),
        bias: Option<&[T]>,
    ) -> Bound {
        let spec = conv.spec();
        let axes = tiles.transforms();
        let terms = |matrix: &[Vec<f64>]| {
            let count = |row: &Vec<f64>| row.iter().filter(|x| **x != 0.0).count();
            matrix.iter().map(count).max().unwrap_or(0)
        };
        let roundings: usize = axes.iter().map(|axis| terms(&axis.a) + terms(&axis.b)).sum();
        let added = usize::from(spec.bias) + usize::from(spec.residual);
        let roundings = roundings + 1 + spec.in_channels + added;
        let gamma = gamma(roundings, spec.dtype.epsilon() / 2.0);
        // The transform of weights in f64, and its matrix, which is rounded as well.
        let finer = gamma_of_weights(&axes);
        let channels = spec.in_channels;
        let pairs = spec.out_channels * channels;
        let most = spread(&axes);
        let factor = |channel: usize| {
            let sum = |of: &[T]| of.iter().map(|x| x.to_f64().abs()).sum::<f64>();
            let of_point =
                |point: usize| &transformed[point * pairs + channel * channels..][..channels];
            let sums: Vec<f64> = (0..tiles.points()).map(|point| sum(of_point(point))).collect();
            let each = most.iter().map(|most| most.iter().zip(&sums).map(|(a, b)| a * b).sum());
            let largest = each.fold(0.0f64, |largest, sum: f64| largest.max(sum));
            let window = conv.kernel_volume() * channels;
            let weights = sum(&weight[channel * window..][..window]);
            let residual = f64::from(u8::from(spec.residual));
            gamma * (largest + residual) + finer * weights
        };
        let fixed = |channel: usize| bias.map_or(0.0, |bias| gamma * bias[channel].to_f64().abs());
        Bound {
            factors: (0..spec.out_channels).map(factor).collect(),
            fixed: (0..spec.out_channels).map(fixed).collect(),
        }
    }

    /// How far the outputs of each channel may be from the exact sum (before the activation), where
    /// no input, nor residual, is larger than `largest`, and nothing is so large or so small that
    /// it leaves the range of normal numbers.
    pub fn at(&self, largest: f64) -> Vec<f64> {
        self.factors.iter().zip(&self.fixed).map(|(by, fixed)| by * largest + fixed).collect()
    }
}

/// `n u / (1 - n u)`; infinite where so many roundings leave nothing.
fn gamma(roundings: usize, unit: f64) -> f64 {
    let sum = roundings as f64 * unit;
    if sum < 1.0 { sum / (1.0 - sum) } else { f64::INFINITY }
}

/// For each output of a tile: `|A|_ik` times the sum of row `k` of `|B|`, over all points.
fn spread([rows, columns]: &[Transform; 2]) -> Vec<Vec<f64>> {
    let one = |axis: &Transform| -> Vec<Vec<f64>> {
        let size = |row: &Vec<f64>| row.iter().map(|x| x.abs()).sum::<f64>();
        let inputs: Vec<f64> = axis.b.iter().map(size).collect();
        let of = |row: &Vec<f64>| row.iter().zip(&inputs).map(|(a, b)| a.abs() * b).collect();
        axis.a.iter().map(of).collect()
    };
    let (rows, columns) = (one(rows), one(columns));
    let both = |(i, j): (&Vec<f64>, &Vec<f64>)| {
        i.iter().flat_map(|a| j.iter().map(move |b| a * b)).collect()
    };
    rows.iter().flat_map(|i| columns.iter().map(move |j| (i, j))).map(both).collect()
}

/// What rounding in f64 adds, times the largest weight's way through all matrices.
fn gamma_of_weights([rows, columns]: &[Transform; 2]) -> f64 {
    let roundings = 2 * (rows.taps() + columns.taps() + 1);
    gamma(roundings, f64::EPSILON / 2.0) * rows.worst() * columns.worst()
}
