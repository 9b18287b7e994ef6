//! Integers that are stored, beside those that are computed in. Written for i32, and numbers that
//! are `Stored`.

use super::*;

/// The same number.
#[inline(always)]
pub(super) const fn widen_stored(x: Stored) -> i32 {
    x as i32
}

/// The same number, of those that the type has.
#[inline(always)]
pub(super) const fn narrow_stored(x: i32) -> Stored {
    x as Stored
}

/// The number, or the end of the type's range that is nearest to it.
#[inline(always)]
pub(super) fn to_scalar_stored(x: i32) -> i32 {
    x.clamp(Stored::MIN as i32, Stored::MAX as i32)
}
