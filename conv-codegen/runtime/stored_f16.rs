//! The bits of f16, IEEE 754's binary16.

use super::*;

/// As f32, exactly.
#[inline(always)]
pub(super) const fn widen_stored(x: Stored) -> f32 {
    widen_half(x as u32, 10)
}

/// The nearest one, ties to even.
#[inline(always)]
pub(super) const fn narrow_stored(x: f32) -> Stored {
    narrow_half(x, 10)
}
