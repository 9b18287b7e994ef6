//! Activations.

use crate::element::DType;

/// Applied to each output element, last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(0, x)`.
    Relu,
    /// `min(max(0, x), 6)`.
    Relu6,
    /// `x` where positive, else `slope * x`.
    LeakyRelu(f64),
    /// `min(max(lo, x), hi)`.
    Clamp(f64, f64),
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x / 2 * (1 + erf(x / sqrt 2))`.
    Gelu,
    /// `x * relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
}

/// An operand of a [`Step`]: the position of an earlier step.
pub type Operand = usize;

/// One step of a straight-line program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The argument `x`. Always step 0, and only there.
    Input,
    /// A constant.
    Const(f64),
    /// One operand.
    Unary(crate::nest::Unary, Operand),
    /// Two operands.
    Binary(crate::nest::Binary, Operand, Operand),
    /// `a * b + c`, one rounding.
    Fma(Operand, Operand, Operand),
    /// `if a < b { then } else { otherwise }`.
    Choose {
        /// Left of the comparison.
        a: Operand,
        /// Right of the comparison.
        b: Operand,
        /// Taken where `a < b`.
        then: Operand,
        /// Taken elsewhere.
        otherwise: Operand,
    },
}

/// The activation spelled out in operations that every route has: the steps in order, the last one is the result.
pub fn program(activation: Activation, dtype: DType) -> Vec<Step> {
    let _ = (activation, dtype);
    todo!()
}
