//! Weights known when code is made: they are part of *what* is computed, so they belong to the
//! description.
//!
//! In: a checked description and its numbers. Out: the same description with the numbers in it
//! ([`Conv::with_weights`]), for which nobody passes a weight any more. Code made of it
//! has the numbers compiled in: taps of zero vanish, taps of one add or subtract. The text form
//! does not show them.
//!
//! Numbers are kept as f64, which holds every f32 exactly. They are finite: a tap that is no number
//! would make leaving out a zero tap visible, and is never meant.

use super::Conv;
use crate::{Element, Error, Values, repeated};

/// What is known of a convolution's constant arrays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// Of the weight's shape.
    pub weight: Values,
    /// One per output channel. `None` where there is no bias, or it comes later.
    pub bias: Option<Values>,
}

impl Conv {
    /// The same convolution with its weight, and its bias where given, compiled in. Numbers are
    /// rounded to the types of weight and bias.
    ///
    /// ```
    /// use conv_ir::Conv;
    /// let conv: Conv = "conv2d in 8x8 kernel 3x3 pad 1".parse()?;
    /// let sobel = conv.with_weights(&[-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0], None)?;
    /// assert!(sobel.known().is_some());
    /// assert!(conv.with_weights(&[f64::NAN; 9], None).is_err());
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] where a length is not the shape's; [`Error::Argument`] where a number is
    /// not finite, a bias is given that the convolution does not add, or pooling is given a weight.
    pub fn with_weights<T: Element>(
        &self,
        weight: &[T],
        bias: Option<&[T]>,
    ) -> Result<Conv, Error> {
        let check =
            |name: &'static str, found: usize, shape: Vec<usize>| match shape.iter().product() {
                needed if needed == found => Ok(()),
                needed => Err(Error::Length { name, found, needed, shape: format!("{shape:?}") }),
            };
        if !self.has_weight() && weight.is_empty() && bias.is_none() {
            return Ok(self.clone());
        }
        if !self.has_weight() {
            let message = format!("{} has no weight", self.spec.reduction.name());
            return Err(Error::Argument(message));
        }
        check("weight", weight.len(), self.weight_shape())?;
        if let Some(bias) = bias {
            if !self.spec.bias {
                let message = "a bias was given, but the convolution adds none";
                return Err(Error::Argument(message.to_owned()));
            }
            check("bias", bias.len(), self.bias_shape())?;
        }
        let types = self.types();
        let known = Known {
            weight: Values::rounded("weight", types.weight, weight)?,
            bias: bias.map(|bias| Values::rounded("bias", types.bias, bias)).transpose()?,
        };
        Ok(Conv { known: Some(known), ..self.clone() })
    }

    /// The same convolution with a weight of ones, compiled in: a transposed depthwise one repeats
    /// each element, which is upsampling.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no weight, or one of more than 2^27 numbers.
    pub fn with_ones(&self) -> Result<Conv, Error> {
        self.with_weights(&repeated(&[1.0], self.weight_len())?, None)
    }

    /// Whether this is nearest upsampling: each element of each channel repeated.
    pub(super) fn repeats(&self) -> bool {
        let spec = &self.spec;
        let is_each = spec.groups == spec.in_channels && spec.groups == spec.out_channels;
        let is_apart = self
            .axes
            .iter()
            .all(|axis| (axis.kernel, axis.dilation, axis.output_padding) == (axis.stride, 1, 0));
        let ones =
            |known: &Known| known.bias.is_none() && known.weight.iter().all(|tap| *tap == 1.0);
        spec.transposed && is_each && is_apart && self.known.as_ref().is_some_and(ones)
    }

    /// This description with what is known of `other`, whose weights are of the same shape, and its
    /// scales.
    pub(crate) fn knowing_as(self, other: &Conv) -> Conv {
        assert_eq!(self.weight_shape(), other.weight_shape(), "known: weights of another shape");
        Conv { known: other.known.clone(), ..self }.requantised_as(other)
    }

    /// The numbers that are compiled in.
    pub fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }
}

impl Conv {
    /// What there is to find in weights that are compiled in: "6 of 9 taps are not zero, 4 of them
    /// 1 or -1". Nothing where they come later, or where there are none.
    pub fn found_in_weights(&self) -> Option<String> {
        let known = self.known.as_ref().filter(|_| self.has_weight())?;
        Some(known.found(self.weight_shape()[0]))
    }
}

impl Known {
    /// Of what has no weight.
    pub(super) fn nothing() -> Known {
        Known { weight: Values::exact(Vec::new()), bias: None }
    }

    /// Equal windows of the channels count once.
    fn found(&self, windows: usize) -> String {
        let window = self.weight.len() / windows.max(1);
        let same = window > 0 && self.weight.chunks(window).all(|w| *w == self.weight[..window]);
        let taps = if same { &self.weight[..window] } else { &self.weight[..] };
        let count = |wanted: &dyn Fn(f64) -> bool| taps.iter().filter(|tap| wanted(**tap)).count();
        let (some, ones) = (count(&|tap| tap != 0.0), count(&|tap| tap.abs() == 1.0));
        let ones = match ones {
            0 => String::new(),
            ones => format!(", {ones} of them 1 or -1"),
        };
        let windows =
            if same && windows > 1 { " of a window that every channel shares" } else { "" };
        format!("{some} of {} taps{windows} are not zero{ones}", taps.len())
    }
}
