//! What AVX2 does its own way with integers, in any width. Written for eight i32.

use super::*;
use ::core::arch::x86_64::*;

/// The even lanes of `low`, then the odd lanes of `high`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn pick_pairs(low: V, high: V) -> V {
    let (low, high) = (to_lanes(low), to_lanes(high));
    from_lanes(::core::array::from_fn(|lane| match 2 * lane < W {
        true => low[2 * lane],
        false => high[2 * lane + 1 - W],
    }))
}

/// Lanes `first..end` of `value`, `fill` in the others.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn between(value: V, first: isize, end: isize, fill: i32) -> V {
    let value = to_lanes(value);
    from_lanes(::core::array::from_fn(|lane| {
        let at = lane as isize;
        if first <= at && at < end { value[lane] } else { fill }
    }))
}

/// Lane by lane: `then` where `a < b`, else `otherwise`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn choose(a: V, b: V, then: V, otherwise: V) -> V {
    _mm256_blendv_epi8(otherwise, then, _mm256_cmpgt_epi32(b, a))
}
