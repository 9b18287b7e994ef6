//! The types of a convolution's arrays, operand by operand.
//!
//! ```text
//! f16                all of them; sums are in the type that f16 is computed in, f32
//! f32 x f16          input and weight; the output is as the input, the bias as the weight
//! f32 x f16 -> bf16  input, weight, output
//! u8 x i8            integers, summed in i32; output and bias are i32
//! u8 x i8 -> u8      the sum, or the end of u8's range that is nearest to it
//! ```
//!
//! Every element is widened to the type of the sums, which are computed as if the arrays had been
//! of that type, and each output is rounded once, last of all. The residual is of the type of the
//! output.

use std::fmt;

use crate::dtype::DType;

/// The type of each array of a convolution, and of its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Types {
    /// Of the input.
    pub input: DType,
    /// Of the weight.
    pub weight: DType,
    /// Of the bias.
    pub bias: DType,
    /// Of the output and of the residual.
    pub output: DType,
    /// What sums, residual and activation are computed in.
    pub accumulator: DType,
}

impl From<DType> for Types {
    /// All arrays are of one type; of integers, input and weight, and the others of the sums'.
    fn from(all: DType) -> Types {
        let (sums, accumulator) = (beside(all), all.format().computed);
        Types { input: all, weight: all, bias: sums, output: sums, accumulator }
    }
}

/// The type of what is added to sums of `factor`s, or made of them, unless it is said: that of
/// floating-point factors, and i32 beside integers.
fn beside(factor: DType) -> DType {
    if factor.is_integer() { factor.format().computed } else { factor }
}

impl Types {
    /// Input and weight, the rest as it follows: an output as the input, a bias as the weight; both
    /// i32 beside integers.
    pub fn of(input: DType, weight: DType) -> Types {
        Types { weight, bias: beside(weight), ..Types::from(input) }
    }

    /// The same with another type of the output, and of the residual.
    pub fn giving(self, output: DType) -> Types {
        Types { output, ..self }
    }

    /// The same with another type of the bias.
    pub fn adding(self, bias: DType) -> Types {
        Types { bias, ..self }
    }

    /// Whether the bias is of the type that it has unless it is said.
    pub(crate) fn has_plain_bias(self) -> bool {
        self.bias == beside(self.weight)
    }

    /// The one floating-point type of all arrays and sums, where there is one.
    pub fn single(self) -> Option<DType> {
        let is_single = self == self.accumulator.into() && !self.accumulator.is_integer();
        is_single.then_some(self.accumulator)
    }

    /// What a next step has, unless it says otherwise.
    pub fn next(self) -> Types {
        Types { input: self.output, ..self }
    }

    /// Why there are no such sums.
    pub(crate) fn fault(self) -> Option<String> {
        let arrays = [
            ("input", self.input),
            ("weight", self.weight),
            ("bias", self.bias),
            ("output", self.output),
        ];
        let computed = |dtype: DType| dtype.format().computed;
        let other = arrays.iter().find(|(_, dtype)| computed(*dtype) != self.accumulator)?;
        Some(format!(
            "sums are computed in {}, but the {} is {}, which is computed in {}: f32, f16 and bf16 \
             go together, f64 with f64, integers with integers",
            self.accumulator,
            other.0,
            other.1,
            computed(other.1)
        ))
    }
}

impl fmt::Display for Types {
    /// Without the bias.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Types { input, weight, output, .. } = *self;
        match (input == weight, output == beside(input)) {
            (true, true) => write!(f, "{input}"),
            (false, true) => write!(f, "{input} x {weight}"),
            (_, false) => write!(f, "{input} x {weight} -> {output}"),
        }
    }
}
