//! What integers do their own way, in any width. Written for eight i32.

use super::*;
use ::core::arch::x86_64::*;

pub(super) type V = __m256i;

/// `W` elements in a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load(from: &[i32], at: usize) -> V {
    unsafe { _mm256_loadu_si256(from.as_ptr().add(at).cast()) }
}

/// Writes `W` elements in a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store(to: &mut [i32], at: usize, value: V) {
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().add(at).cast(), value) }
}

/// Elements that are `step` apart in the first `live` lanes, zeros in the others. Checked: it is
/// slow anyway.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn gather(from: &[i32], at: usize, step: isize, live: usize) -> V {
    from_lanes(::core::array::from_fn(|lane| {
        if lane < live { from[(at as isize + lane as isize * step) as usize] } else { 0 }
    }))
}

/// `a * b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul(a: V, b: V) -> V {
    _mm256_mullo_epi32(a, b)
}

/// `a * b + c`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn fma(a: V, b: V, c: V) -> V {
    _mm256_add_epi32(_mm256_mullo_epi32(a, b), c)
}

/// `-a`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn neg(a: V) -> V {
    _mm256_sub_epi32(_mm256_set1_epi32(0), a)
}

/// The magnitude.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn abs(a: V) -> V {
    _mm256_abs_epi32(a)
}
