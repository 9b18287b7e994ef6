//! Multiply-adds of two roundings, in the place of the others', for any type and any width.

use super::*;

/// `a * b + c`, the product rounded, then the sum.
#[inline(always)]
pub(super) fn fma_scalar(a: f32, b: f32, c: f32) -> f32 {
    a * b + c
}

/// `a * b + c`, the product rounded, then the sum.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn fma(a: V, b: V, c: V) -> V {
    add(mul(a, b), c)
}
