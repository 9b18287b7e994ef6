//! How far a convolution in tiles may be from the exact sum.
//!
//! The numbers on the way to output `i` of a tile are `|A|_ik |V_c|_k (|B| |d_c|)_k`, summed over
//! channels `c` and points `k`, where `V` are the transformed weights and `d` the inputs of the
//! tile. No product meets more than `n` roundings: one for each term of a row of `B`, one of `V`,
//! one for each channel, one for each term of a row of `A`, and what is added at the end. So the
//! error is at most [`gamma`] of `n` times that sum. Multiply-adds may be fused or not: no chain
//! begins with a number, so where a product is rounded by itself there is one sum less to round.
//!
//! It depends on all inputs of the tile, not only on those under the output's own window: no bound
//! of the form "a constant times the sum of |input * weight|" holds for it. With the largest input
//! in the place of `d` it is a number for each output channel ([`Tiles::bound`]); with `|G| |w|` in
//! the place of `V`, which is as large at least, one relative to the sum of the |weights|
//! ([`Tiles::relative_bound`]), for any weights.

use super::{Tiles, Transform};
use crate::accuracy::{gamma, sum_of_sizes, sums_of_weights};
use crate::{Bound, Conv, Element, Error};

impl Tiles {
    /// Of a convolution with these transformed weights, the weights that they were made of, and its
    /// bias where it adds one.
    ///
    /// # Errors
    /// Where these are not the arrays, or not tiles, of `conv`.
    pub fn bound<T: Element>(
        &self,
        conv: &Conv,
        (transformed, weight): (&[T], &[T]),
        bias: Option<&[T]>,
    ) -> Result<Bound, Error> {
        let spec = conv.spec();
        let axes = self.transforms();
        self.check(conv, "weight", weight.len(), conv.weight_shape())?;
        let channels = conv.in_channels_per_group();
        let of_points = vec![self.points(), spec.out_channels, channels];
        self.check(conv, "transformed weight", transformed.len(), of_points)?;
        if let Some(bias) = bias {
            self.check(conv, "bias", bias.len(), conv.bias_shape())?;
        }
        let (gamma, finer) = gammas(conv, &axes);
        let pairs = spec.out_channels * channels;
        let spread = spread(&axes);
        let residual = f64::from(u8::from(spec.residual));
        let factor = |(channel, weights): (usize, f64)| {
            let sum = |point: usize| {
                sum_of_sizes(&transformed[point * pairs + channel * channels..][..channels])
            };
            let sums: Vec<f64> = (0..self.points()).map(sum).collect();
            let outputs = spread.iter().map(|by| by.iter().zip(&sums).map(|(a, b)| a * b).sum());
            let largest = outputs.fold(0.0f64, |largest, sum: f64| largest.max(sum));
            gamma * (largest + residual) + finer * weights
        };
        let fixed = |channel: usize| bias.map_or(0.0, |bias| gamma * bias[channel].to_f64().abs());
        let weights = sums_of_weights(conv, weight).into_iter().enumerate();
        let fixed = (0..spec.out_channels).map(fixed).collect();
        Ok(Bound::new(weights.map(factor).collect(), fixed))
    }

    /// How far off an output may be for any weights, relative to the largest input times the sum of
    /// its channel's |weights|, bias and residual added.
    ///
    /// ```
    /// use conv_ir::{Conv, winograd::Tiles};
    /// let conv: Conv = "conv2d ic64 oc64 in 56x56 kernel 3x3 pad 1".parse()?;
    /// let bound = |m| Tiles::new(&conv, &[m, m]).unwrap().relative_bound(&conv);
    /// // The direct sum of 576 products has 3.4e-5.
    /// assert!(bound(4) < 8e-4 && bound(2) < 8e-5, "{} {}", bound(4), bound(2));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn relative_bound(&self, conv: &Conv) -> f64 {
        let axes = self.transforms();
        let (gamma, finer) = gammas(conv, &axes);
        let unit = conv.dtype().epsilon();
        gamma * (1.0 + unit) * self.worst() + finer
    }
}

/// What roundings amount to: of the computation, and, with the worst way through all matrices, of
/// the transform of weights in f64, whose own matrix is rounded as well.
fn gammas(conv: &Conv, axes: &[&Transform]) -> (f64, f64) {
    let spec = conv.spec();
    let terms = |matrix: &[Vec<f64>]| {
        let count = |row: &Vec<f64>| row.iter().filter(|x| **x != 0.0).count();
        matrix.iter().map(count).max().unwrap_or(0)
    };
    let transformed = || axes.iter().filter(|axis| !axis.is_identity());
    let transforms: usize = transformed().map(|axis| terms(&axis.a) + terms(&axis.b)).sum();
    let added = usize::from(spec.bias) + usize::from(spec.residual);
    let roundings = transforms + 1 + conv.in_channels_per_group() + added;
    let weights = 2 * (transformed().map(|axis| axis.taps()).sum::<usize>() + 1);
    let worst: f64 = axes.iter().map(|axis| axis.worst()).product();
    let finer = gamma(weights, f64::EPSILON / 2.0) * worst;
    (gamma(roundings, spec.types.accumulator.unit()), finer)
}

/// For each output of a tile: `|A|_ik` times the sum of row `k` of `|B|`, over all points.
fn spread(axes: &[&Transform]) -> Vec<Vec<f64>> {
    let one = |axis: &Transform| -> Vec<Vec<f64>> {
        let size = |row: &Vec<f64>| row.iter().map(|x| x.abs()).sum::<f64>();
        let inputs: Vec<f64> = axis.b.iter().map(size).collect();
        let of = |row: &Vec<f64>| row.iter().zip(&inputs).map(|(a, b)| a.abs() * b).collect();
        axis.a.iter().map(of).collect()
    };
    let both = |i: &[f64], j: &[f64]| i.iter().flat_map(|a| j.iter().map(move |b| a * b)).collect();
    axes.iter().fold(vec![vec![1.0]], |outer, axis| {
        let inner = one(axis);
        outer.iter().flat_map(|i| inner.iter().map(move |j| both(i, j))).collect()
    })
}
