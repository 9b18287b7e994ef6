//! The activations in f64 from the standard library's functions, each accurate to `1e-13` of its
//! value: the judge of accuracy, not of bits.

use crate::Activation;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// One activation of one number.
pub(super) fn apply(activation: &Activation, x: f64) -> f64 {
    match *activation {
        _ if x.is_nan() => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu(slope) => x * if x < 0.0 { slope } else { 1.0 },
        Activation::Clamp(lo, hi) => x.max(lo).min(hi),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Silu if x == f64::NEG_INFINITY => 0.0,
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu if x == f64::NEG_INFINITY => 0.0,
        Activation::Gelu => x * normal(x),
        Activation::HardSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
        Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Elu(alpha) if x < 0.0 => alpha * x.exp_m1(),
        Activation::Elu(_) => x,
        Activation::Softplus => softplus(x),
        Activation::Mish if x == f64::NEG_INFINITY => 0.0,
        Activation::Mish => x * softplus(x).tanh(),
        Activation::Prelu(_) => unreachable!("reference: a channel of prelu is a leaky relu"),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The normal distribution function, `(1 + erf(x / sqrt 2)) / 2`.
fn normal(x: f64) -> f64 {
    let z = x.abs() * FRAC_1_SQRT_2;
    // In the tail, half of x^2 and not z^2: the exponent's rounding errors would show.
    let tail = if z < 1.0 {
        0.5 - 0.5 * erf_series(z)
    } else {
        0.5 * erfc_fraction(z) * (-0.5 * x * x).exp()
    };
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// `erf(z) = 2 / sqrt(pi) * e^(-z^2) * sum of 2^n z^(2n+1) / (1 * 3 * .. * (2n+1))`; all terms are
/// positive.
fn erf_series(z: f64) -> f64 {
    let (mut term, mut sum) = (z, z);
    for n in 1..60 {
        term *= 2.0 * z * z / (2 * n + 1) as f64;
        sum += term;
    }
    2.0 / PI.sqrt() * (-z * z).exp() * sum
}

/// `e^(z^2) * erfc(z) = 1 / sqrt(pi) / (z + (1/2) / (z + (2/2) / (z + (3/2) / (z + ...))))`.
fn erfc_fraction(z: f64) -> f64 {
    let innermost_first = (1..=400).rev();
    1.0 / PI.sqrt() / innermost_first.fold(z, |below, n| z + n as f64 / 2.0 / below)
}

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::*;

    #[test]
    fn agrees_with_known_values() {
        let tables = [
            (Activation::Sigmoid, &known::SIGMOID[..]),
            (Activation::Tanh, &known::TANH),
            (Activation::Silu, &known::SILU),
            (Activation::Gelu, &known::GELU),
            (Activation::Elu(1.0), &known::ELU),
            (Activation::Softplus, &known::SOFTPLUS),
            (Activation::Mish, &known::MISH),
        ];
        for (activation, table) in tables {
            for &(x, exact) in table {
                let found = apply(&activation, x);
                assert!(
                    (found - exact).abs() <= 1e-13 * exact.abs(),
                    "{activation:?}({x}) = {found:e}, not {exact:e}"
                );
            }
        }
    }
}
