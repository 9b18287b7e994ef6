//! The activations once more, as scalar code in textbook form. It shares the published constants
//! with the program of steps that the other routes run, and no code: each checks the other bit for
//! bit.
//!
//! Signs and powers of two are placed differently here (`e^r` where the program has `e^(-m w)`);
//! both are exact, so the bits agree.

use crate::activation::coefficients::Coefficients;
use crate::{Activation, Element};

/// One activation of one number, in the contract's order of operations.
pub(super) fn apply<T: Element>(activation: &Activation, x: T) -> T {
    match *activation {
        Activation::Relu => max(c(0.0), x),
        Activation::Relu6 => min(c(6.0), max(c(0.0), x)),
        Activation::LeakyRelu(slope) if x < c(0.0) => c::<T>(slope).mul(x),
        Activation::LeakyRelu(_) => x,
        Activation::Clamp(lo, hi) => min(c(hi), max(c(lo), x)),
        Activation::Sigmoid => c::<T>(1.0).div(one_plus_exp_minus(x)),
        Activation::Tanh => tanh(x),
        Activation::Silu => max(c(table::<T>().sigmoid_lo), x).div(one_plus_exp_minus(x)),
        Activation::Gelu => gelu(x),
        Activation::HardSwish => max(c(-3.0), x).mul(hard_sigmoid(x)),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::Elu(alpha) if x < c(0.0) => c::<T>(alpha).mul(exp_minus_one(x)),
        Activation::Elu(_) => x,
        Activation::Softplus => softplus(x),
        Activation::Mish => mish(x),
        Activation::Prelu(_) => unreachable!("reference: a channel of prelu is a leaky relu"),
    }
}

fn table<T: Element>() -> &'static Coefficients {
    Coefficients::of(T::DTYPE)
}

fn c<T: Element>(constant: f64) -> T {
    T::from_f64(constant)
}

/// `x` where either is NaN.
fn max<T: Element>(bound: T, x: T) -> T {
    if bound > x { bound } else { x }
}

/// `x` where either is NaN.
fn min<T: Element>(bound: T, x: T) -> T {
    if bound < x { bound } else { x }
}

fn negated<T: Element>(x: T) -> T {
    x.mul(c(-1.0))
}

/// `a0 + x * (a1 + x * (a2 + ...))`.
fn polynomial<T: Element>(coefficients: &[f64], x: T) -> T {
    match coefficients {
        [] => c(0.0),
        [last] => c(*last),
        [first, rest @ ..] => polynomial(rest, x).fma(x, c(*first)),
    }
}

/// `(k, r)` with `t = k * ln 2 + r` and `r` at most half of `ln 2`.
fn reduced<T: Element>(t: T) -> (T, T) {
    let table = table::<T>();
    let k = t.mul(c(table.log2_e)).round_even();
    let r = k.fma(c(-table.ln2_hi), t);
    (k, k.fma(c(-table.ln2_lo), r))
}

/// `1 + e^(-x)`, infinite where it is too large.
fn one_plus_exp_minus<T: Element>(x: T) -> T {
    let table = table::<T>();
    let (k, r) = reduced(negated(min(c(table.sigmoid_hi), max(c(table.sigmoid_lo), x))));
    let twice = polynomial(table.exp, r).mul(c(2.0));
    twice.fma(k.sub(c(1.0)).exp2_int(), c(1.0))
}

/// `e = 1 - e^(-2|x|)`, then `e / (2 - e)`.
fn tanh<T: Element>(x: T) -> T {
    let table = table::<T>();
    let e = negated(exp_minus_one(min(c(table.tanh_hi), x.abs()).mul(c(-2.0))));
    e.div(c::<T>(2.0).sub(e)).copysign(x)
}

/// `max(0, x) - |x| * tail(|x|)`, where `tail(y) = erfc(y / sqrt 2) / 2 = P(y) / Q(y) * e^(-y^2 /
/// 2)`.
fn gelu<T: Element>(x: T) -> T {
    let table = table::<T>();
    if x < c(-table.gelu_hi) {
        return c(0.0);
    }
    let y = min(c(table.gelu_hi), x.abs());
    let square = y.mul(y);
    let lost = y.fma(y, negated(square));
    let (k, r) = reduced(square.mul(c(-0.5)));
    let exp = polynomial(table.exp, lost.fma(c(-0.5), r)).mul(k.exp2_int());
    let ratio = y.mul(polynomial(table.gelu_p, y)).div(polynomial(table.gelu_q, y));
    negated(ratio).fma(exp, max(c(0.0), x))
}

/// `e^t`.
fn exp<T: Element>(t: T) -> T {
    let (k, r) = reduced(t);
    polynomial(table::<T>().exp, r).mul(k.exp2_int())
}

/// `e^t - 1`, for a `t` that is not positive.
fn exp_minus_one<T: Element>(t: T) -> T {
    let table = table::<T>();
    let (k, r) = reduced(max(c(-table.sigmoid_hi), t));
    let power = k.exp2_int();
    r.mul(r).fma(polynomial(&table.exp[2..], r), r).fma(power, power.sub(c(1.0)))
}

/// `max(0, x) + 2 atanh(u / (2 + u))`, `u = e^(-|x|)`.
fn softplus<T: Element>(x: T) -> T {
    let table = table::<T>();
    if x < c(table.exp_lo) {
        return c(0.0);
    }
    let u = exp(negated(min(c(-table.exp_lo), x.abs())));
    let s = u.div(u.add(c(2.0)));
    s.fma(polynomial(table.atanh, s.mul(s)), max(c(0.0), x))
}

/// `x * tanh(softplus(x))`, and `tanh(log(1 + e)) = n / (n + 2)` with `n = e * (e + 2)`.
fn mish<T: Element>(x: T) -> T {
    let table = table::<T>();
    if x < c(table.exp_lo) {
        return c(-0.0);
    }
    let e = exp(min(c(table.tanh_hi), x));
    let n = e.mul(e.add(c(2.0)));
    x.mul(n.div(n.add(c(2.0))))
}

/// `min(max(x + 3, 0), 6) / 6`, as a product.
fn hard_sigmoid<T: Element>(x: T) -> T {
    min(c(6.0), max(c(0.0), x.add(c(3.0)))).mul(c(1.0 / 6.0))
}

#[cfg(test)]
mod tests {
    use super::super::{known, oracle};
    use super::*;
    use crate::DType;
    use crate::activation::{eval, program};

    fn agrees<T: Element>(activation: Activation, xs: impl Iterator<Item = T>) {
        let steps = program(&activation, T::DTYPE);
        for x in xs {
            let (ours, theirs) = (apply(&activation, x).to_f64(), eval(&steps, x).to_f64());
            let same = ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan());
            assert!(same, "{activation:?} of {x:?}: reference {ours:e}, program {theirs:e}");
        }
    }

    /// Zeros, subnormals, infinities and NaN among them: every 4,099th f32, and as many f64 spread
    /// over all bits.
    #[test]
    fn equals_the_program_bit_for_bit() {
        for activation in Activation::EACH {
            agrees(activation.clone(), (0..=u32::MAX / 4099).map(|i| f32::from_bits(i * 4099)));
            agrees(
                activation.clone(),
                (0..1 << 20).map(|i: u64| f64::from_bits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))),
            );
            agrees(activation.clone(), (0..200_000).map(|i| (i - 100_000) as f32 * 1.5e-3));
            agrees(activation.clone(), (0..200_000).map(|i| (i - 100_000) as f64 * 8e-3));
        }
    }

    #[test]
    fn infinities_and_nan_are_as_the_table_says() {
        let inf = f64::INFINITY;
        let table = [
            (Activation::Relu, 0.0, inf),
            (Activation::Relu6, 0.0, 6.0),
            (Activation::LeakyRelu(0.01), -inf, inf),
            (Activation::LeakyRelu(-0.5), inf, inf),
            (Activation::LeakyRelu(0.0), f64::NAN, inf),
            (Activation::Clamp(-0.5, 2.5), -0.5, 2.5),
            (Activation::Sigmoid, 0.0, 1.0),
            (Activation::Tanh, -1.0, 1.0),
            (Activation::Silu, -0.0, inf),
            (Activation::Gelu, 0.0, inf),
            (Activation::HardSwish, -0.0, inf),
            (Activation::HardSigmoid, 0.0, 1.0),
            (Activation::Elu(0.75), -0.75, inf),
            (Activation::Softplus, 0.0, inf),
            (Activation::Mish, -0.0, inf),
        ];
        // NaN has many bits.
        let bits = |x: f64| if x.is_nan() { 0 } else { x.to_bits() };
        for (activation, low, high) in table {
            for (x, limit) in [(-inf, low), (inf, high), (f64::NAN, f64::NAN)] {
                let found = [
                    apply(&activation, x),
                    apply(&activation, x as f32).into(),
                    eval(&program(&activation, DType::F64), x),
                    eval(&program(&activation, DType::F32), x as f32).into(),
                ];
                assert_eq!(found.map(bits), [bits(limit); 4], "{activation:?} of {x}: {found:?}");
            }
        }
    }

    /// The largest error over every 1,021st finite f32 from `from` on (below it results underflow),
    /// and where.
    fn worst_f32(activation: Activation, from: f32) -> (f64, f32) {
        let xs = (0..=u32::MAX / 1021)
            .map(|i| f32::from_bits(i * 1021))
            .filter(|x| x.is_finite() && *x >= from);
        let error = |x| {
            let (found, exact) = (apply(&activation, x), oracle::apply(&activation, f64::from(x)));
            let nearest = exact.abs() as f32;
            (f64::from(found) - exact).abs() / f64::from(nearest.next_up() - nearest)
        };
        xs.map(|x| (error(x), x))
            .fold((0.0, 0.0), |worst, at| if at.0 > worst.0 { at } else { worst })
    }

    #[test]
    fn f32_is_as_accurate_as_stated() {
        let bounds = [
            (Activation::Sigmoid, -88.7, 2.3),
            (Activation::Tanh, f32::MIN, 2.6),
            (Activation::Silu, -88.7, 2.3),
            (Activation::Gelu, -1.0, 4.0),
            (Activation::Gelu, -13.2, 6.0),
            (Activation::HardSigmoid, f32::MIN, 1.5),
            (Activation::HardSwish, f32::MIN, 2.6),
            (Activation::Elu(1.0), f32::MIN, 1.0),
            (Activation::Softplus, -87.0, 3.5),
            (Activation::Mish, -87.0, 3.7),
        ];
        for (activation, from, bound) in bounds {
            let (error, x) = worst_f32(activation.clone(), from);
            println!("{activation:?} {error} ulp at {x:e}");
            assert!(error <= bound, "{activation:?} of {x:e} is {error} ulp off");
        }
    }

    #[test]
    fn f64_is_as_accurate_as_stated() {
        let tables = [
            (Activation::Sigmoid, &known::SIGMOID[..], 2.3),
            (Activation::Tanh, &known::TANH, 2.6),
            (Activation::Silu, &known::SILU, 2.3),
            (Activation::Gelu, &known::GELU, 6.0),
            (Activation::Elu(1.0), &known::ELU, 1.5),
            (Activation::Softplus, &known::SOFTPLUS, 4.0),
            (Activation::Mish, &known::MISH, 6.0),
        ];
        for (activation, table, bound) in tables {
            for &(x, exact) in table {
                let error =
                    (apply(&activation, x) - exact).abs() / (exact.abs().next_up() - exact.abs());
                // The table is rounded itself.
                assert!(error <= bound + 0.5, "{activation:?} of {x:e} is {error} ulp off");
            }
        }
    }

    /// Between the known values: against the standard library, which is off by a few units itself.
    #[test]
    fn f64_has_no_outliers() {
        use Activation::*;
        for activation in [Sigmoid, Tanh, Silu, Gelu, Elu(1.0), Softplus, Mish] {
            for x in (0..400_000).map(|i| f64::from(i) * 1e-4 - 20.0) {
                let (found, exact) = (apply(&activation, x), oracle::apply(&activation, x));
                assert!(
                    (found - exact).abs() <= 1e-13 * exact.abs(),
                    "{activation:?} of {x}: {found:e}, not {exact:e}"
                );
            }
        }
    }
}
