//! What AVX-512 does its own way, for f64 and other widths as well. Written for eight f32.

use super::*;
use ::core::arch::x86_64::*;

/// The lanes before `lane`.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
pub(super) fn lanes_below(lane: isize) -> __mmask8 {
    ((1u32 << lane.clamp(0, W as isize)) - 1) as __mmask8
}

/// Elements in a row in lanes `first..end`, zeros in the others, which touch nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
pub(super) unsafe fn load_between(from: &[f32], at: isize, first: isize, end: isize) -> V {
    let lanes = lanes_below(end) & !lanes_below(first);
    unsafe { _mm256_maskz_loadu_ps(lanes, from.as_ptr().wrapping_offset(at)) }
}

/// Lanes `first..end` of `value`, `fill` in the others.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
pub(super) fn between(value: V, first: isize, end: isize, fill: f32) -> V {
    let lanes = lanes_below(end) & !lanes_below(first);
    _mm256_mask_blend_ps(lanes, _mm256_set1_ps(fill), value)
}

/// The even lanes of `low`, then the odd lanes of `high`.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
pub(super) fn pick_pairs(low: V, high: V) -> V {
    let lanes = unsafe { _mm256_loadu_si256(PAIRS.as_ptr().cast()) };
    _mm256_permutex2var_ps(low, lanes, high)
}

/// Writes the first `live` lanes in a row.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
pub(super) unsafe fn store_first(to: &mut [f32], at: usize, live: usize, value: V) {
    let lanes = ((1u32 << live.min(W)) - 1) as __mmask8;
    unsafe { _mm256_mask_storeu_ps(to.as_mut_ptr().add(at), lanes, value) }
}

/// The nearest integer, ties to even.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
pub(super) fn round(a: V) -> V {
    _mm256_roundscale_ps::<8>(a)
}

/// Lane by lane: `then` where `a < b`, else `otherwise`.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
pub(super) fn choose(a: V, b: V, then: V, otherwise: V) -> V {
    _mm256_mask_blend_ps(_mm256_cmp_ps_mask::<1>(a, b), otherwise, then)
}
