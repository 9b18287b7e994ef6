//! Activations, and the straight-line program each one is.
//!
//! In: an [`Activation`] and an element type. Out: [`Instruction`]s, each one operation that every
//! route has with the same bits. A route translates them one by one and in order, so all routes
//! agree on every bit of `tanh` or `gelu`, which no two mathematical libraries do.
//!
//! The formulas, in exact arithmetic (constants in [`coefficients`], where their sources are):
//!
//! ```text
//! e^(-m y) = 2^k * e^(-m w)      k = round(-m y / ln 2), w = y + k * ln 2 / m
//! sigmoid  = 1 / (1 + e^(-x))    tanh = u / (1 - u), u = (1 - e^(-2|x|)) / 2 without cancellation
//! silu     = x / (1 + e^(-x))    gelu = max(0, x) - |x| * P(|x|) / Q(|x|) * e^(-x^2 / 2)
//! relu6    = min(6, max(0, x))   hardsigmoid = min(6, max(-3, x) + 3) * (1 / 6)
//!                                hardswish = max(-3, x) * hardsigmoid(x)
//! elu(a)   = a * (e^x - 1)       below zero, else x; without cancellation, as in tanh
//! softplus = max(0, x) + log(1 + e^(-|x|))    log(1 + u) = 2 atanh(u / (2 + u))
//! mish     = x * n / (n + 2)     n = e^x * (e^x + 2), which is tanh of softplus
//! prelu = leaky_relu by channel: its slopes are a table of the nest, which [`Binary::Prelu`] reads
//! ```
//!
//! `e^(-m w)` is a polynomial in `w`; `m` is 1, -1, 2 or 1/2, so that scaling is exact. PyTorch
//! divides hardswish by 6 last, and overflows.
//!
//! Largest error measured over all finite `x`, in units in the last place, and what becomes of
//! results too small for that:
//!
//! | | f32 | f64 | tiny results |
//! |---|---|---|---|
//! | sigmoid | 2.3 | 2.3 | zero below `2^-128` (f64 `2^-1024`), which is subnormal |
//! | tanh | 2.6 | 2.6 | |
//! | silu | 2.3 | 2.3 | zero below `x = -88.7` (f64 `-709.7`): smaller than `2.7e-37` (`4e-306`) |
//! | gelu (with erf, not the tanh form), `x > -1` | 4 | 4 | |
//! | gelu, below | 6 | 6 | zero below `x = -13.2` (f64 `-37.63`), from where on it is subnormal |
//! | hardsigmoid, hardswish | 1.5, 2.6 | 1.5, 2.6 | |
//! | elu(1) | 1 | 1.5 | |
//! | softplus | 3.5 | 4 | zero below `x = -87` (f64 `-708`): smaller than `1.7e-38` (`3.4e-308`) |
//! | mish | 3.7 | 4 | zero below the same: smaller than `1.5e-36` (`2.4e-305`) |
//!
//! At infinities:
//!
//! | | `x` = -inf | `x` = +inf |
//! |---|---|---|
//! | relu | 0 | +inf |
//! | relu6 | 0 | 6 |
//! | leaky_relu(s) | -inf | +inf |
//! | clamp(lo, hi) | lo | hi |
//! | sigmoid, hardsigmoid | 0 | 1 |
//! | tanh | -1 | 1 |
//! | silu, hardswish | -0 | +inf |
//! | gelu, softplus | 0 | +inf |
//! | elu(a) | -a | +inf |
//! | mish | -0 | +inf |
//!
//! That is the limit, but for leaky_relu at -inf, which is `s * -inf` whatever `s` is: +inf for a
//! slope below zero, NaN for a slope of zero. NaN gives NaN, everywhere. Nothing here knows vectors
//! or loops.

pub mod coefficients;
mod program;

use crate::dtype::DType;
use crate::values::Values;

pub use program::{Instruction, Operand, binary, eval, program, unary};

/// Applied to each output element, last.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
    /// `x` where positive, else `alpha * (exp(x) - 1)`.
    Elu(f64),
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `x` where positive, else `slope * x`: one slope for each output channel, or one for all,
    /// which is a [`LeakyRelu`](Self::LeakyRelu). Made by [`Activation::prelu`].
    Prelu(Values),
}

impl Activation {
    /// One of each kind that is the same for all channels, for tests that walk over all.
    pub const EACH: [Activation; 13] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(0.01),
        Activation::Clamp(-0.3, 2.7),
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::Gelu,
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Elu(0.8),
        Activation::Softplus,
        Activation::Mish,
    ];

    /// `x` where positive, else its channel's slope times `x`: a slope for each output channel, or
    /// one for all of them. They are part of the description, and compiled in.
    ///
    /// ```
    /// use conv_ir::{Activation, Conv};
    /// let conv: Conv = "conv1d oc2 in 3 kernel 1, prelu(0.5,-1)".parse()?;
    /// assert_eq!(conv.spec().activation, Some(Activation::prelu(&[0.5, -1.0])));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn prelu(slopes: &[f64]) -> Activation {
        match slopes {
            [slope] => Activation::LeakyRelu(*slope),
            slopes => Activation::Prelu(Values::exact(slopes)),
        }
    }

    /// What it is of one output channel.
    pub(crate) fn of_channel(&self, channel: usize) -> Activation {
        match self {
            Activation::Prelu(slopes) => Activation::LeakyRelu(slopes[channel]),
            other => other.clone(),
        }
    }
}

/// One operand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x`.
    Neg,
    /// The sign bit cleared.
    Abs,
    /// The nearest integer, ties to even.
    Round,
    /// `2^x` for an integer `x` whose power is a normal number.
    Exp2Int,
    /// The nearest value of a narrower type that is computed in this one, ties to even; NaN stays
    /// NaN.
    To(DType),
}

/// Two operands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// `if a < b { a } else { b }`: the second operand where either is NaN.
    Min,
    /// `if a > b { a } else { b }`: the second operand where either is NaN.
    Max,
    /// The magnitude of `a` with the sign of `b`.
    CopySign,
    /// `if a < 0 { a * b } else { a }`, until pass `epilogue` spells it out.
    Prelu,
    /// Of integers: `a` as f32, times the f32 whose bits `b` is, to the nearest integer, ties to
    /// even; at most 2^30 away from zero.
    Scale,
    /// Of integers: `a * b / 2^31`, of 64 bits, to the nearest integer, ties up; `b` is not
    /// negative.
    MulHigh,
    /// Of integers: `a / 2^b`, to the nearest integer, ties away from zero; `b` is 0 to 31.
    ShiftRound,
    /// Of integers: `a * b / 2^31`, of 64 bits, rounded down; `b` is not negative.
    MulFloor,
    /// Of integers: `a / 2^b`, to the nearest integer, ties up; `b` is 1 to 31, and `a` not the
    /// largest integer.
    ShiftUp,
}

#[cfg(test)]
mod tests;
