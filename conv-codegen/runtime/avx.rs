//! What AVX2 and AVX-512 have in common, for f64 and any width as well: the intrinsics of others
//! differ in `_mm256` and `ps`. Written for eight f32.
//!
//! Functions that touch memory are `unsafe`: a leaf asserts first how far it reaches.

use super::*;
use ::core::arch::x86_64::*;

/// `x` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn every(x: f32) -> V {
    _mm256_set1_ps(x)
}

/// One element in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn splat(from: &[f32], at: usize) -> V {
    unsafe { _mm256_set1_ps(*from.as_ptr().add(at)) }
}

/// `W` elements in a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load(from: &[f32], at: usize) -> V {
    unsafe { _mm256_loadu_ps(from.as_ptr().add(at)) }
}

/// Every second of `2 W - 1` elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_pairs(from: &[f32], at: usize) -> V {
    unsafe { pick_pairs(load(from, at), load(from, at + W - 1)) }
}

/// Every second element in lanes `first..end`, zeros in the others, which touch nothing.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_pairs_between(from: &[f32], at: isize, first: isize, end: isize) -> V {
    let (first, end, high) = (2 * first, 2 * end - 1, W as isize - 1);
    unsafe {
        pick_pairs(
            load_between(from, at, first, end),
            load_between(from, at + high, first - high, end - high),
        )
    }
}

/// Elements that are `step` apart in the first `live` lanes, zeros in the others. Checked: it is
/// slow anyway.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn gather(from: &[f32], at: usize, step: isize, live: usize) -> V {
    let lanes: [f32; W] = ::core::array::from_fn(|lane| {
        if lane < live { from[(at as isize + lane as isize * step) as usize] } else { 0.0 }
    });
    unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
}

/// Asks for the line of memory at `at`, which need not be inside.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn prefetch(from: &[f32], at: usize) {
    unsafe { _mm_prefetch::<3>(from.as_ptr().wrapping_add(at).cast()) }
}

/// Writes `W` elements in a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store(to: &mut [f32], at: usize, value: V) {
    unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(at), value) }
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn add(a: V, b: V) -> V {
    _mm256_add_ps(a, b)
}

/// `a - b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn sub(a: V, b: V) -> V {
    _mm256_sub_ps(a, b)
}

/// `a * b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul(a: V, b: V) -> V {
    _mm256_mul_ps(a, b)
}

/// `a / b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn div(a: V, b: V) -> V {
    _mm256_div_ps(a, b)
}

/// `a * b + c`, one rounding.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn fma(a: V, b: V, c: V) -> V {
    _mm256_fmadd_ps(a, b, c)
}

/// The smaller; `b` where either is NaN.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn min(a: V, b: V) -> V {
    _mm256_min_ps(a, b)
}

/// The larger; `b` where either is NaN.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn max(a: V, b: V) -> V {
    _mm256_max_ps(a, b)
}

/// The magnitude of `a` with the sign of `b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn copysign(a: V, b: V) -> V {
    let sign = _mm256_set1_ps(-0.0);
    _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
}

/// `-a`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn neg(a: V) -> V {
    _mm256_xor_ps(_mm256_set1_ps(-0.0), a)
}

/// The sign bit cleared.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn abs(a: V) -> V {
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), a)
}
