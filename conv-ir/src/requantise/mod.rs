//! Requantisation: from the sum of an integer convolution to a number of few bits.
//!
//! ```text
//! sum (i32) --times a scale, rounded--> + zero point --saturated--> u8, i8, ..
//! ```
//!
//! Sums of integers are exact, so this is where runtimes differ: how the product is rounded. Each
//! way has a [name](Rounding) here, and is defined to the bit:
//!
//! - `onnx`: the sum as f32, times the scale as f32, to the nearest integer, ties to even. ONNX
//!   Runtime's `MlasRequantizeOutput`.
//! - `xnnpack-f32`: the same; XNNPACK's `fp32` micro-kernels.
//! - `tflite-double`: the sum times a multiplier of 31 bits, rounded twice: behind 31 bits, ties
//!   up, then behind the shift, ties away from zero. TensorFlow Lite's
//!   `MultiplyByQuantizedMultiplier` on gemmlowp's `SaturatingRoundingDoublingHighMul` and
//!   `RoundingDivideByPOT`.
//! - `tflite-single`: the same product, rounded once, ties up. TensorFlow Lite where it is built
//!   with `TFLITE_SINGLE_ROUNDING`.
//!
//! `xnnpack-f32` saturates before it rounds and `onnx` behind that; the ends of a range are
//! integers, so both give the same bits and are one [`Rounding`]. The fixed-point ways need no
//! floating point once their [`Fixed`] is made.
//!
//! This does no convolution and knows none.

use std::fmt;
use std::str::FromStr;

use crate::{Error, cut};

#[cfg(test)]
mod tests;

/// How the product of a sum and a scale becomes an integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rounding {
    /// Multiplied as f32, rounded to nearest, ties to even: ONNX Runtime's, and XNNPACK's `fp32`.
    #[default]
    Onnx,
    /// In fixed point, rounded twice: TensorFlow Lite's reference.
    TfliteDouble,
    /// In fixed point, rounded once: TensorFlow Lite where it is built with single rounding.
    TfliteSingle,
}

/// Names and what they mean; the first of a rounding is printed.
const NAMES: [(&str, Rounding); 4] = [
    ("onnx", Rounding::Onnx),
    ("xnnpack-f32", Rounding::Onnx),
    ("tflite-double", Rounding::TfliteDouble),
    ("tflite-single", Rounding::TfliteSingle),
];

impl Rounding {
    /// The name of each way to round.
    pub const NAMES: [&str; NAMES.len()] = {
        let mut names = [""; NAMES.len()];
        let mut at = 0;
        while at < NAMES.len() {
            names[at] = NAMES[at].0;
            at += 1;
        }
        names
    };

    /// The way to round of that name.
    pub fn named(name: &str) -> Option<Rounding> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, rounding)| *rounding)
    }

    /// The scale of a convolution, which its operands' and its output's make up: `input * weight /
    /// output`, computed as the runtime of that name does, in f32 or in f64.
    pub fn scale(self, input: f32, weight: f32, output: f32) -> f64 {
        match self {
            Rounding::Onnx => f64::from(input * weight / output),
            Rounding::TfliteDouble | Rounding::TfliteSingle => {
                f64::from(input) * f64::from(weight) / f64::from(output)
            }
        }
    }

    /// What multiplies sums.
    ///
    /// # Errors
    /// [`Error::Argument`] where the scale is no number above 0, or none of f32.
    pub fn rescale(self, scale: f64) -> Result<Rescale, Error> {
        let finite = scale > 0.0 && scale <= f64::from(f32::MAX);
        if !finite {
            let most = f32::MAX;
            return Err(Error::Argument(format!(
                "scale {scale}: a scale must be larger than 0 and at most {most:e}"
            )));
        }
        Ok(match self {
            Rounding::Onnx => Rescale::Float(scale as f32),
            Rounding::TfliteDouble => Rescale::Double(Fixed::new(scale)),
            Rounding::TfliteSingle => Rescale::Single(Fixed::new(scale)),
        })
    }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, rounding)| rounding == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl FromStr for Rounding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rounding, Error> {
        Rounding::named(text).ok_or_else(|| {
            let names = Rounding::NAMES.join(", ");
            let message = format!("'{}' is no rounding; there are {names}", cut(text));
            Error::Parse { what: "a rounding", column: 1, message }
        })
    }
}

/// A positive number as TensorFlow Lite has it: `multiplier * 2^(shift - 31)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fixed {
    /// At least 2^30, or 0 where the scale is too small for any sum to count.
    pub multiplier: i32,
    /// From -31 to 30; below 0 to the right.
    pub shift: i32,
}

impl Fixed {
    /// The nearest one to a positive scale, ties away from zero: TensorFlow Lite's
    /// `QuantizeMultiplier`. A scale below 2^-32 is none, one of 2^30 and more is the largest.
    fn new(scale: f64) -> Fixed {
        // Subnormal scales are far too small, so the field is the exponent.
        let exponent = (scale.to_bits() >> 52) as i32 - 1022;
        let significand = f64::from_bits((scale.to_bits() & ((1 << 52) - 1)) | (1022 << 52));
        let (multiplier, shift) = match (significand * 2f64.powi(31)).round() as i64 {
            over if over == 1 << 31 => (1 << 30, exponent + 1),
            multiplier => (multiplier as i32, exponent),
        };
        match shift {
            ..-31 => Fixed { multiplier: 0, shift: 0 },
            -31..=30 => Fixed { multiplier, shift },
            31.. => Fixed { multiplier: i32::MAX, shift: 30 },
        }
    }
}

/// A scale, ready to multiply sums by, and how to round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rescale {
    /// [`Rounding::Onnx`].
    Float(f32),
    /// [`Rounding::TfliteDouble`].
    Double(Fixed),
    /// [`Rounding::TfliteSingle`].
    Single(Fixed),
}

impl Rescale {
    /// The sum times the scale, rounded. Beyond i32 it may be another number that is beyond i32 too
    /// or at its end: it saturates all the same.
    ///
    /// ```
    /// use conv_ir::requantise::Rounding;
    /// let of = |name: &str| -> Result<i64, conv_ir::Error> {
    ///     Ok(name.parse::<Rounding>()?.rescale(0.25)?.apply(-6))
    /// };
    /// // -1.5: to even, away from zero, up.
    /// assert_eq!((of("onnx")?, of("tflite-double")?, of("tflite-single")?), (-2, -2, -1));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn apply(self, sum: i32) -> i64 {
        match self {
            Rescale::Float(scale) => (sum as f32 * scale).round_ties_even() as i64,
            Rescale::Double(Fixed { multiplier, shift }) => {
                // Where it overflows in TensorFlow Lite, it saturates here.
                let sum = i64::from(sum) << shift.max(0);
                let sum = sum.clamp(i32::MIN.into(), i32::MAX.into());
                let high = half_up(sum * i64::from(multiplier), 31);
                half_away(high, -shift.min(0))
            }
            Rescale::Single(Fixed { multiplier, shift }) => {
                half_up(i64::from(sum) * i64::from(multiplier), 31 - shift)
            }
        }
    }

    /// The output: rounded, the zero point added, and saturated.
    ///
    /// ```
    /// use conv_ir::requantise::Rounding;
    /// let rescale = Rounding::TfliteSingle.rescale(0.1)?;
    /// assert_eq!(rescale.output(96, 128, (0, 255)), 138);
    /// assert_eq!(rescale.output(-5000, 128, (0, 255)), 0);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn output(self, sum: i32, zero_point: i32, (least, most): (i32, i32)) -> i32 {
        let value = self.apply(sum).saturating_add(zero_point.into());
        value.max(least.into()).min(most.into()) as i32
    }
}

/// `x / 2^shift` for a shift of 1 to 62, ties up.
fn half_up(x: i64, shift: i32) -> i64 {
    (x + (1 << (shift - 1))) >> shift
}

/// `x / 2^shift` for a shift of 0 to 31, ties away from zero.
fn half_away(x: i64, shift: i32) -> i64 {
    let rest = x & ((1 << shift) - 1);
    let threshold = (((1i64 << shift) - 1) >> 1) + i64::from(x < 0);
    (x >> shift) + i64::from(rest > threshold)
}
