//! How the portable version reaches what is stored in another type: everything is checked.

use super::*;

/// One element.
#[inline(always)]
pub(super) fn read_stored(from: &[Stored], at: usize) -> Stored {
    from[at]
}

/// Writes one.
#[inline(always)]
pub(super) fn write_stored(to: &mut [Stored], at: usize, value: Stored) {
    to[at] = value;
}

/// A vector of these lanes.
#[inline(always)]
pub(super) fn from_lanes(lanes: [f32; W]) -> V {
    lanes
}

/// Its lanes.
#[inline(always)]
pub(super) fn to_lanes(vector: V) -> [f32; W] {
    vector
}
