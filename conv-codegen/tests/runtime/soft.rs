//! The emitted fused multiply-adds against the CPU's, or the C library's, which `mul_add` is.

use super::soft::*;

/// Bits of every kind: special values, their neighbours, all exponents, few and many ones.
fn patterns(state: &mut u64, width: u32, mantissa: u32) -> u64 {
    let mut next = || {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *state >> 20 ^ *state << 40
    };
    let exponents = (1u64 << (width - 1 - mantissa)) - 1;
    let (kind, random) = (next() % 8, next());
    let sign = (next() & 1) << (width - 1);
    let middle = exponents / 2;
    let (exponent, fraction) = match kind {
        0 => ([0, 1, exponents - 1, exponents, middle][random as usize % 5], 0),
        1 => (random % (exponents + 1), [0, 1, 2, u64::MAX][next() as usize % 4]),
        2 => (0, next() >> (random % 64)),
        3 => (random % (exponents + 1), next()),
        4 => (middle + random % 8, 1 << (next() % mantissa as u64)),
        _ => (middle - 30 + random % 60, next()),
    };
    sign | exponent << mantissa | fraction & ((1 << mantissa) - 1)
}

#[test]
fn f32_bits_are_those_of_one_rounding() {
    let mut state = 1;
    for _ in 0..3_000_000 {
        let [a, b, c] = [0; 3].map(|_| f32::from_bits(patterns(&mut state, 32, 23) as u32));
        // Often the addend nearly cancels the product.
        let c = if state >> 60 < 5 { -(a * b) * (1.0 + f32::EPSILON * (c.abs() % 2.0)) } else { c };
        let (found, expected) = (fma_soft_f32(a, b, c), a.mul_add(b, c));
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{a:e} * {b:e} + {c:e} = {expected:e}, not {found:e}");
    }
}

#[test]
fn f64_bits_are_those_of_one_rounding() {
    let mut state = 2;
    for _ in 0..3_000_000 {
        let [a, b, c] = [0; 3].map(|_| f64::from_bits(patterns(&mut state, 64, 52)));
        let c = if state >> 60 < 5 { -(a * b) * (1.0 + f64::EPSILON * (c.abs() % 2.0)) } else { c };
        let (found, expected) = (fma_soft_f64(a, b, c), a.mul_add(b, c));
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{a:e} * {b:e} + {c:e} = {expected:e}, not {found:e}");
    }
}
