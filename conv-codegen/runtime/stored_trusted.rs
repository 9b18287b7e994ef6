//! How versions with vectors reach what is stored in another type: a leaf asserts first how far it
//! reaches.

use super::*;

/// One element.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn read_stored(from: &[Stored], at: usize) -> Stored {
    unsafe { *from.as_ptr().add(at) }
}

/// Writes one.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn write_stored(to: &mut [Stored], at: usize, value: Stored) {
    unsafe { *to.as_mut_ptr().add(at) = value }
}

/// A vector of these lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn from_lanes(lanes: [f32; W]) -> V {
    unsafe { ::core::mem::transmute::<[f32; W], V>(lanes) }
}

/// Its lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn to_lanes(vector: V) -> [f32; W] {
    unsafe { ::core::mem::transmute::<V, [f32; W]>(vector) }
}
