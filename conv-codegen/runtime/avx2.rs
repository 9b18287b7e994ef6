//! What AVX2 does its own way, for f64 and 128 bits as well. Written for eight f32.

use super::*;
use ::core::arch::x86_64::*;

/// No lane, all lanes, no lane: a window of it is a mask.
const STEPS: [f32; 3 * W] = {
    let mut steps = [0.0; 3 * W];
    let mut lane = W;
    while lane < 2 * W {
        steps[lane] = f32::from_bits(!0);
        lane += 1;
    }
    steps
};

/// All bits set in the lanes before `lane`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn lanes_below(lane: isize) -> V {
    unsafe { _mm256_loadu_ps(STEPS.as_ptr().add(2 * W - lane.clamp(0, W as isize) as usize)) }
}

/// All bits set in the lanes from `lane` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn lanes_from(lane: isize) -> V {
    unsafe { _mm256_loadu_ps(STEPS.as_ptr().add(W - lane.clamp(0, W as isize) as usize)) }
}

/// Elements in a row in lanes `first..end`, zeros in the others, which touch nothing.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_between(from: &[f32], at: isize, first: isize, end: isize) -> V {
    let lanes = _mm256_castps_si256(_mm256_and_ps(lanes_below(end), lanes_from(first)));
    unsafe { _mm256_maskload_ps(from.as_ptr().wrapping_offset(at), lanes) }
}

/// Lanes `first..end` of `value`, `fill` in the others.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn between(value: V, first: isize, end: isize, fill: f32) -> V {
    let lanes = _mm256_and_ps(lanes_below(end), lanes_from(first));
    _mm256_blendv_ps(_mm256_set1_ps(fill), value, lanes)
}

/// The even lanes of `low`, then the odd lanes of `high`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn pick_pairs(low: V, high: V) -> V {
    let parts = _mm256_castps_si256(alternate(low, high));
    _mm256_castsi256_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(parts))
}

/// The nearest integer, ties to even.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn round(a: V) -> V {
    _mm256_round_ps::<8>(a)
}

/// Lane by lane: `then` where `a < b`, else `otherwise`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn choose(a: V, b: V, then: V, otherwise: V) -> V {
    _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<1>(a, b))
}
