//! How far a convolution in blocks may be from the exact sum.
//!
//! A step of a transform is a unitary matrix times the square root of its radix. What its roundings
//! add to the vector of a block is at most a small number of units of its Euclidean norm: that of
//! products by rounded roots, and that of its additions ([`step`]). Those of all steps add up
//! (Higham, Accuracy and Stability of Numerical Algorithms, 24.1). The product of two spectra
//! lengthens no vector by more than the largest number of the window's spectrum, which is at most
//! the sum of its |weights|.
//!
//! So the bound is one of norms: `|error| <= e * sqrt(inputs of a block) * largest input *
//! largest number of the spectrum`. It says nothing relative to an output: one of small numbers
//! beside large ones in its block is off by what those are rounded to. No bound of the form "a
//! constant times the sum of |input * weight|" holds.

use super::{Blocks, radices};
use crate::accuracy::{gamma, sums_of_weights};
use crate::{Bound, Conv, Element};

impl Blocks {
    /// Of a convolution with these weights, and its bias where it adds one. `gains`: for each
    /// output channel, the largest number of the window's spectrum, summed over input channels.
    pub fn bound<T: Element>(
        &self,
        conv: &Conv,
        (gains, weight): (&[f64], &[T]),
        bias: Option<&[T]>,
    ) -> Bound {
        let spec = conv.spec();
        let (of_blocks, added) = self.errors(conv);
        let residual = f64::from(u8::from(spec.residual));
        let sums = sums_of_weights(conv, weight).into_iter().zip(gains);
        let factor =
            |(sum, gain): (f64, &f64)| of_blocks * (1.0 + added) * gain + added * (sum + residual);
        let fixed = |channel: usize| bias.map_or(0.0, |bias| added * bias[channel].to_f64().abs());
        let fixed = (0..spec.out_channels).map(fixed).collect();
        Bound::new(sums.map(factor).collect(), fixed)
    }

    /// How far off an output may be for any weights, relative to the largest input times the sum of
    /// its channel's |weights|, bias and residual added.
    ///
    /// ```
    /// use conv_ir::{Conv, fft};
    /// let conv: Conv = "conv2d in 1080x1920 kernel 31x31 pad 15".parse()?;
    /// let bound = fft::choose(&conv, f64::INFINITY)?.relative_bound(&conv);
    /// assert!(bound > 1e-5 && bound < 2e-3, "{bound}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn relative_bound(&self, conv: &Conv) -> f64 {
        let (of_blocks, added) = self.errors(conv);
        of_blocks * (1.0 + added) + added
    }

    /// Of the transforms and products, relative to the largest input times the largest numbers of
    /// the spectra; and of what is added to their results.
    fn errors(&self, conv: &Conv) -> (f64, f64) {
        let spec = conv.spec();
        let unit = spec.types.accumulator.unit();
        let inputs: f64 = self.axes.iter().map(|axis| axis.points as f64).product();
        let sums = conv.in_channels_per_group();
        let relative = Roundings { complex: self.complex().collect(), inputs, sums, unit };
        let added = gamma(1 + usize::from(spec.bias) + usize::from(spec.residual), unit);
        (relative.relative(), added)
    }
}

/// What is rounded from a block's inputs to its outputs.
pub(super) struct Roundings {
    /// Complex points of the transforms, one behind the other.
    pub complex: Vec<usize>,
    /// Real numbers of a block.
    pub inputs: f64,
    /// Products that are summed at a point.
    pub sums: usize,
    pub unit: f64,
}

impl Roundings {
    /// How far off an output may be, relative to the largest input times the largest numbers of the
    /// windows' spectra, summed.
    pub fn relative(&self) -> f64 {
        let all = |unit: f64| self.complex.iter().map(|n| transform(*n, unit)).sum::<f64>();
        // The spectrum of the window is computed in f64, scaled, and rounded once. Its error is
        // bounded by its norm, which may be the root of so many points times its largest number.
        let finer = all(f64::EPSILON / 2.0) * self.inputs.sqrt();
        let product = 2f64.sqrt() * gamma(2 + self.sums, self.unit);
        let steps = (1.0 + all(self.unit)).powi(2);
        let relative = steps * (1.0 + product) * (1.0 + self.unit) * (1.0 + finer) - 1.0;
        relative * self.inputs.sqrt()
    }
}

/// How far a transform of so many complex numbers may be off, relative to the norm of its result.
fn transform(points: usize, unit: f64) -> f64 {
    let all = radices(points).unwrap_or_default();
    all.into_iter().map(|radix| 1.0 + step(radix, unit)).product::<f64>() - 1.0
}

/// The same of one step.
fn step(radix: usize, unit: f64) -> f64 {
    // A complex product of two roundings a part, by a root that is off by two units at most.
    let product = 2f64.sqrt() * gamma(2, unit) + 2.0 * unit;
    let sums = match radix {
        // Additions of two numbers each, one behind the other: one unit of their result each.
        2 => gamma(1, unit),
        4 => gamma(2, unit),
        // Five roundings at most on the way of a term. Terms have factors of up to 1.37 where they
        // are taken one by one, so the matrix of their sizes has a norm of 3.74 at most.
        _ => gamma(5, unit) * 3.74 / 3f64.sqrt(),
    };
    (1.0 + product) * (1.0 + sums) - 1.0
}
