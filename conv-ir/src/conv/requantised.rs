//! Sums that become integers of few bits where they are computed.
//!
//! ```text
//! output = saturated(rounded(activation(sum) * scale) + zero point)
//! ```
//!
//! In: a description of integers, a [`Rounding`] and its scales. Out: the same description with
//! them in it ([`Conv::requantised`]), which the text form says behind the activation. Lowering
//! makes tables of them, one number for each output channel, and of the rounding a few operations
//! that every route has.

use super::{Conv, Reduction};
use crate::activation::Binary;
use crate::requantise::{Rescale, Rounding};
use crate::{DType, Error, Values};

/// What sums are multiplied by, and how they are rounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requantised {
    rounding: Rounding,
    /// One for each output channel.
    scales: Values,
    zero_point: i32,
}

impl Conv {
    /// The same convolution whose sums, behind the activation, are multiplied by a scale (one, or
    /// one for each output channel), rounded, moved by the zero point of the output and saturated
    /// to its type. [`Rounding::scale`] makes one scale of those of the arrays.
    ///
    /// ```
    /// use conv_ir::requantise::Rounding;
    /// use conv_ir::{Conv, reference};
    /// let conv: Conv = "conv1d u8 x i8 -> u8 in 3 kernel 1".parse()?;
    /// let conv = conv.requantised(Rounding::TfliteDouble, &[0.25], 10)?;
    /// let (input, weight) = ([2, 10, 255], [-3]);
    /// let (bias, residual) = (None, None);
    /// let arrays = reference::Arguments { input: &input, weight: &weight, bias, residual };
    /// // -1.5 is rounded away from zero.
    /// assert_eq!(reference::run(&conv, arrays, &[])?, [8, 2, 0]);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where sums are not of integers or the output has 32 bits, a residual is
    /// added, there is another number of scales, one is no positive number, or the zero point is no
    /// number of the output.
    pub fn requantised(
        &self,
        rounding: Rounding,
        scales: &[f64],
        zero_point: i32,
    ) -> Result<Conv, Error> {
        let wrong = |message: String| Err(Error::Argument(format!("requantising: {message}")));
        let (spec, channels) = (&self.spec, self.spec.out_channels);
        if !spec.types.accumulator.is_integer() || spec.reduction != Reduction::Sum {
            return wrong(format!("{self} has no sums of integers"));
        }
        if spec.types.output == DType::I32 {
            return wrong(
                "the output is i32: say a type of 8 or 16 bits, as in `-> u8`".to_owned(),
            );
        }
        if spec.residual {
            return wrong(
                "a residual is of the output's scale, and sums are not: add it to the \
                          output"
                    .to_owned(),
            );
        }
        if scales.len() != 1 && scales.len() != channels {
            return wrong(format!(
                "{} scales, but there are {channels} output channels: give one for all, or one each",
                scales.len()
            ));
        }
        let output = spec.types.output;
        if output.round(zero_point.into()) != f64::from(zero_point) {
            return wrong(format!("the zero point {zero_point} is no {output}"));
        }
        for &scale in scales {
            rounding.rescale(scale)?;
        }
        let scales = match scales {
            [one] => vec![*one; channels],
            each => each.to_vec(),
        };
        let requantised = Requantised { rounding, scales: Values::exact(scales), zero_point };
        Ok(Conv { requantised: Some(requantised), ..self.clone() })
    }

    /// What its sums are multiplied by, where they are.
    pub fn requantisation(&self) -> Option<&Requantised> {
        self.requantised.as_ref()
    }

    /// This description, requantised as another of as many output channels.
    pub(crate) fn requantised_as(self, other: &Conv) -> Conv {
        Conv { requantised: other.requantised.clone(), ..self }
    }
}

impl Requantised {
    /// How products are rounded.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// One scale for each output channel.
    pub fn scales(&self) -> &[f64] {
        &self.scales
    }

    /// What is added to the rounded product.
    pub fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// What multiplies the sums of an output channel.
    pub(crate) fn of_channel(&self, channel: usize) -> Rescale {
        self.rounding.rescale(self.scales[channel]).expect("scales were checked")
    }

    /// The operations that make a product of a sum, and each one's second operand by channel.
    pub(crate) fn tables(&self) -> Vec<(&'static str, Binary, Values)> {
        let of = |number: &dyn Fn(Rescale) -> i32| {
            let channels = 0..self.scales.len();
            let numbers = channels.map(|channel| f64::from(number(self.of_channel(channel))));
            Values::exact(numbers.collect::<Vec<f64>>())
        };
        let bits = |rescale: Rescale| match rescale {
            Rescale::Float(scale) => scale.to_bits() as i32,
            Rescale::Double(fixed) | Rescale::Single(fixed) => fixed.multiplier,
        };
        let (multiply, round) = match self.rounding {
            Rounding::Onnx => return vec![("scale", Binary::Scale, of(&bits))],
            Rounding::TfliteDouble => (Binary::MulHigh, Binary::ShiftRound),
            Rounding::TfliteSingle => (Binary::MulFloor, Binary::ShiftUp),
        };
        // Bits to the left before, of what saturates: such a sum is far beyond the output's type.
        let left = |rescale: Rescale| before(rescale).0;
        let most = |rescale: Rescale| i32::MAX >> before(rescale).0;
        let least = |rescale: Rescale| i32::MIN >> before(rescale).0;
        let mut tables = Vec::new();
        if (0..self.scales.len()).any(|channel| left(self.of_channel(channel)) > 0) {
            tables.push(("most", Binary::Min, of(&most)));
            tables.push(("least", Binary::Max, of(&least)));
            tables.push(("left", Binary::Mul, of(&|rescale| 1 << left(rescale))));
        }
        tables.push(("multiplier", multiply, of(&bits)));
        tables.push(("shift", round, of(&|rescale| before(rescale).1)));
        tables
    }
}

/// Bits that a sum is shifted to the left before it is multiplied, and to the right behind it.
/// Rounding once needs one bit at least on the right; 30 on the left move 1 beyond any output.
fn before(rescale: Rescale) -> (i32, i32) {
    match rescale {
        Rescale::Float(_) => (0, 0),
        Rescale::Double(fixed) => (fixed.shift.max(0), (-fixed.shift).max(0)),
        Rescale::Single(fixed) => ((fixed.shift + 1).clamp(0, 30), (-fixed.shift).max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::binary;

    fn conv(text: &str) -> Conv {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// The operations of the nest give the named rounding's numbers, for sums up to the ends of i32
    /// and scales from what is too small to count to what makes an end of every sum.
    #[test]
    fn operations_are_the_named_roundings() {
        let mut state = 9u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 32
        };
        for rounding in [Rounding::Onnx, Rounding::TfliteDouble, Rounding::TfliteSingle] {
            for exponent in -40..=40 {
                // Neighbours are in another power of two.
                let scales: Vec<f64> = (0..8)
                    .map(|at| {
                        2f64.powi(exponent + at % 3) * (1.0 + random() as f64 / 2f64.powi(32))
                    })
                    .collect();
                let zero_point = (random() % 256) as i32 - 128;
                let conv = conv("conv1d i8 x i8 -> i8 oc8 in 4 kernel 1");
                let conv = conv.requantised(rounding, &scales, zero_point).unwrap();
                let requantised = conv.requantisation().unwrap();
                let tables = requantised.tables();
                for at in 0..2000 {
                    let ends = [0, 1, -1, i32::MAX, i32::MIN, i32::MAX - 1, 1 << 30, -(1 << 30)];
                    let sum = *ends.get(at).unwrap_or(&((random() as i32) >> (random() % 32)));
                    let channel = at / 8 % 8;
                    let value = tables.iter().fold(sum, |value, (_, op, table)| {
                        binary(*op, value, table[channel] as i32)
                    });
                    let found = (i64::from(value) + i64::from(zero_point)).clamp(-128, 127) as i32;
                    let wanted = requantised.of_channel(channel);
                    let wanted = wanted.output(sum, zero_point, (-128, 127));
                    assert_eq!(found, wanted, "{rounding} {} {sum}", scales[channel]);
                }
            }
        }
    }

    #[test]
    fn what_is_not_there_is_refused_with_a_way_out() {
        let bytes = "conv1d u8 x i8 -> u8 ic2 oc2 in 4 kernel 1";
        for (text, rounding, scales, zero_point, why) in [
            ("conv1d f32 in 4 kernel 1", Rounding::Onnx, &[0.5][..], 0, "has no sums of integers"),
            ("conv1d u8 x i8 in 4 kernel 1", Rounding::Onnx, &[0.5], 0, "say a type of 8 or 16"),
            ("maxpool1d u8 in 4 kernel 1", Rounding::Onnx, &[0.5], 0, "has no sums of integers"),
            (bytes, Rounding::Onnx, &[0.5; 3], 0, "3 scales, but there are 2 output channels"),
            (bytes, Rounding::Onnx, &[0.5], -1, "the zero point -1 is no u8"),
            (bytes, Rounding::Onnx, &[-0.5], 0, "a scale must be larger than 0"),
            (
                "conv1d u8 x i8 -> u8 in 4 kernel 1 + residual",
                Rounding::Onnx,
                &[0.5],
                0,
                "add it to the output",
            ),
        ] {
            let error =
                conv(text).requantised(rounding, scales, zero_point).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn derived_descriptions_keep_it() {
        let conv = conv("conv1d u8 x i8 -> u8 in N kernel 3 pad 1");
        let conv = conv.requantised(Rounding::Onnx, &[0.5], 3).unwrap();
        let sized = conv.with_sizes(&[("N", 8)]).unwrap();
        assert_eq!(sized.requantisation(), conv.requantisation());
        let (raw, _) = crate::zero_point::without(&sized, 3, &[1i8, 2, 3], None).unwrap();
        assert_eq!(raw.requantisation(), conv.requantisation());
        let other = conv.requantised(Rounding::Onnx, &[0.25], 3).unwrap();
        assert_ne!(conv, other);
    }
}
