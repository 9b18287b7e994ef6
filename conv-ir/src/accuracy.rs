//! How exact a result is: what is asked for, and what is known of it.
//!
//! In: [`Accuracy`], as users write it. Out of an algorithm that puts sums together in another
//! order: a [`Bound`] for each output channel, with weights in hand, or one relative to them.

use std::fmt;
use std::str::FromStr;

use crate::{Conv, Element, Error};

/// How exact a result must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Accuracy {
    /// The contract's bits.
    #[default]
    Exact,
    /// Sums may be put together in another order, within a stated bound.
    Fast,
    /// The same, where the bound is this small; else the contract's bits.
    Within(Tolerance),
    /// Every multiply-add rounds twice, product and sum, those of activations too: the bits that
    /// [`reference::run`](crate::reference::run) has for numbers of type
    /// [`Unfused`](crate::Unfused). For CPUs without a fused multiply-add, where one rounding is
    /// 25 to 550 times the work.
    Unfused,
}

/// The most that an output may be off, before the activation, relative to the largest input times
/// the sum of its channel's |weights|, the bias and the residual added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tolerance {
    bits: u64,
}

impl Tolerance {
    /// # Errors
    /// [`Error::Argument`] for what is not larger than 0 and finite.
    pub fn new(most: f64) -> Result<Tolerance, Error> {
        match most > 0.0 && most.is_finite() {
            true => Ok(Tolerance { bits: most.to_bits() }),
            false => Err(Error::Argument(format!(
                "within({most}): the tolerance must be larger than 0, as in `within(1e-4)`"
            ))),
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.bits)
    }
}

impl Accuracy {
    /// [`Accuracy::Within`] so much.
    ///
    /// ```
    /// use conv_ir::Accuracy;
    /// assert_eq!(Accuracy::within(1e-4)?, "within(1e-4)".parse()?);
    /// assert!(Accuracy::within(0.0).is_err());
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Tolerance::new`].
    pub fn within(most: f64) -> Result<Accuracy, Error> {
        Tolerance::new(most).map(Accuracy::Within)
    }

    /// How far off an algorithm may be that puts sums together in another order, relative to the
    /// largest input times the sum of the |weights|; `None` where none is admitted.
    pub fn admits(self) -> Option<f64> {
        match self {
            Accuracy::Exact | Accuracy::Unfused => None,
            Accuracy::Fast => Some(f64::INFINITY),
            Accuracy::Within(most) => Some(most.get()),
        }
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accuracy::Exact => f.write_str("exact"),
            Accuracy::Fast => f.write_str("fast"),
            Accuracy::Within(most) => write!(f, "within({:e})", most.get()),
            Accuracy::Unfused => f.write_str("unfused"),
        }
    }
}

impl FromStr for Accuracy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Accuracy, Error> {
        let tolerance = text.strip_prefix("within(").and_then(|rest| rest.strip_suffix(')'));
        match (text, tolerance.map(str::parse)) {
            ("exact", _) => Ok(Accuracy::Exact),
            ("fast", _) => Ok(Accuracy::Fast),
            ("unfused", _) => Ok(Accuracy::Unfused),
            (_, Some(Ok(most))) => Accuracy::within(most),
            _ => Err(Error::Argument(format!(
                "found `{}`, expected `exact`, `fast`, `within(1e-4)` or `unfused`",
                crate::cut(text)
            ))),
        }
    }
}

/// How far the outputs of each channel may be from the exact sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// By output channel, where no input is larger than 1.
    factors: Vec<f64>,
    /// By output channel, whatever the input: what rounds the bias.
    fixed: Vec<f64>,
}

impl Bound {
    /// With so much for each channel where no input is larger than 1, and so much whatever it is.
    pub(crate) fn new(factors: Vec<f64>, fixed: Vec<f64>) -> Bound {
        Bound { factors, fixed }
    }

    /// The same for every channel.
    pub fn everywhere(channels: usize, factor: f64, fixed: f64) -> Bound {
        Bound { factors: vec![factor; channels], fixed: vec![fixed; channels] }
    }

    /// Of the contract's sums: one chain of fused multiply-adds from the bias; where a residual
    /// multiplies, of the sums before it.
    ///
    /// ```
    /// use conv_ir::{Bound, Conv};
    /// let conv: Conv = "conv2d in 8x8 kernel 3x3".parse()?;
    /// let bound = Bound::direct(&conv, &[0.5f32; 9], None).at(2.0);
    /// assert!(bound[0] > 9.0 * 2.0f64.powi(-24) * 9.0 && bound[0] < 1e-5);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn direct<T: Element>(conv: &Conv, weight: &[T], bias: Option<&[T]>) -> Bound {
        let spec = conv.spec();
        let adds = spec.residual && !spec.multiplies();
        let added = usize::from(spec.bias) + usize::from(adds);
        let terms = conv.in_channels_per_group() * conv.kernel_volume() + added;
        let gamma = gamma(terms, spec.types.accumulator.unit());
        let residual = f64::from(u8::from(adds));
        let sums = sums_of_weights(conv, weight).into_iter();
        let fixed = |channel: usize| bias.map_or(0.0, |bias| gamma * bias[channel].to_f64().abs());
        Bound {
            factors: sums.map(|sum| gamma * (sum + residual)).collect(),
            fixed: (0..spec.out_channels).map(fixed).collect(),
        }
    }

    /// By output channel, before the activation, where no input, nor residual, is larger than
    /// `largest`, and nothing is so large or so small that it leaves the range of normal numbers.
    pub fn at(&self, largest: f64) -> Vec<f64> {
        self.factors.iter().zip(&self.fixed).map(|(by, fixed)| by * largest + fixed).collect()
    }
}

/// The sum of |weights| of each output channel.
pub(crate) fn sums_of_weights<T: Element>(conv: &Conv, weight: &[T]) -> Vec<f64> {
    let spec = conv.spec();
    let mut sums = vec![0.0; spec.out_channels];
    let (channels, taps) = (spec.out_channels / spec.groups, conv.kernel_volume());
    for (window, taps) in weight.chunks(taps.max(1)).enumerate() {
        // A transposed convolution's weights have the output channels inside.
        let channel = match spec.transposed {
            true => {
                let input = spec.in_channels / spec.groups;
                window / channels / input * channels + window % channels
            }
            false => window / conv.in_channels_per_group(),
        };
        sums[channel] += sum_of_sizes(taps);
    }
    sums
}

/// The sum of their absolute values, in eight sums side by side: one after the other would wait for
/// each addition.
pub(crate) fn sum_of_sizes<T: Element>(of: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    let size = |x: &T| x.to_f64().abs();
    let chunks = of.chunks_exact(sums.len());
    let rest: f64 = chunks.remainder().iter().map(size).sum();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += size(x));
    }
    sums.iter().sum::<f64>() + rest
}

/// `n u / (1 - n u)`: how far a sum may be off, relative to the sizes of its terms, each of which
/// meets `n` roundings (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). Infinite
/// where so many leave nothing.
pub(crate) fn gamma(roundings: usize, unit: f64) -> f64 {
    let sum = roundings as f64 * unit;
    if sum < 1.0 { sum / (1.0 - sum) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for text in ["exact", "fast", "within(1e-4)", "within(2.5e-3)", "unfused"] {
            let accuracy: Accuracy = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(accuracy.to_string(), text);
        }
        for text in ["within", "within()", "within(0)", "within(-1)", "within(nan)", "within(inf)"]
        {
            assert!(text.parse::<Accuracy>().is_err(), "{text}");
        }
        assert_eq!(
            "within(0)".parse::<Accuracy>().unwrap_err().to_string(),
            "within(0): the tolerance must be larger than 0, as in `within(1e-4)`"
        );
    }

    #[test]
    fn sums_are_of_each_output_channel() {
        let weight: Vec<f32> = (1..=12).map(|x| x as f32).collect();
        let conv: Conv = "conv1d g2 ic4 oc2 in 9 kernel 3".parse().expect("legal");
        assert_eq!(sums_of_weights(&conv, &weight), [21.0, 57.0]);
        let conv: Conv = "conv1d-transposed g2 ic2 oc4 in 9 kernel 3".parse().expect("legal");
        assert_eq!(sums_of_weights(&conv, &weight), [6.0, 15.0, 24.0, 33.0]);
        let conv: Conv = "conv1d-transposed ic2 oc2 in 9 kernel 3".parse().expect("legal");
        assert_eq!(sums_of_weights(&conv, &weight), [1.0 + 2.0 + 3.0 + 7.0 + 8.0 + 9.0, 48.0]);
    }
}
