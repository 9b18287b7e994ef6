//! What AVX2 does its own way with 128 bits, in the place of what it does with 256. Any type.

use super::*;
use ::core::arch::x86_64::*;

/// The even lanes of `low`, then the odd lanes of `high`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn pick_pairs(low: V, high: V) -> V {
    alternate(low, high)
}
