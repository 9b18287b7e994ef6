//! Integers, in the place of what floating-point numbers do: modulo 2^32. Written for eight i32.

use super::*;

/// `a * b + c`.
#[inline(always)]
pub(super) fn fma_scalar(a: i32, b: i32, c: i32) -> i32 {
    a.wrapping_mul(b).wrapping_add(c)
}

/// `a + b`.
#[inline(always)]
pub(super) fn add(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
}

/// `a - b`.
#[inline(always)]
pub(super) fn sub(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane].wrapping_sub(b[lane]))
}

/// `a * b`.
#[inline(always)]
pub(super) fn mul(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane].wrapping_mul(b[lane]))
}

/// `-a`.
#[inline(always)]
pub(super) fn neg(a: V) -> V {
    ::core::array::from_fn(|lane| a[lane].wrapping_neg())
}

/// The magnitude.
#[inline(always)]
pub(super) fn abs(a: V) -> V {
    ::core::array::from_fn(|lane| a[lane].wrapping_abs())
}
