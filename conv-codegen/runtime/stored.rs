//! Arrays of another type than the one that is computed in, for any vectors: what is read is
//! widened, and what is written narrowed, lane by lane, which rustc makes vectors of. Written for
//! eight f32, and numbers that are `Stored`; arrays of i32 beside vectors go this way too.
//!
//! What is written was rounded before ([`to_stored`]).

use super::*;
use ::core::arch::x86_64::*;

/// One element in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn splat_stored(from: &[Stored], at: usize) -> V {
    unsafe { every(widen_stored(read_stored(from, at))) }
}

/// `W` elements in a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_stored(from: &[Stored], at: usize) -> V {
    from_lanes(::core::array::from_fn(|lane| unsafe { widen_stored(read_stored(from, at + lane)) }))
}

/// Elements in a row in lanes `first..end`, zeros in the others, which touch nothing.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_between_stored(
    from: &[Stored],
    at: isize,
    first: isize,
    end: isize,
) -> V {
    from_lanes(::core::array::from_fn(|lane| {
        let lane = lane as isize;
        match first <= lane && lane < end {
            true => unsafe { widen_stored(read_stored(from, (at + lane) as usize)) },
            false => 0.0,
        }
    }))
}

/// Every second of `2 W - 1` elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_pairs_stored(from: &[Stored], at: usize) -> V {
    from_lanes(::core::array::from_fn(|lane| unsafe {
        widen_stored(read_stored(from, at + 2 * lane))
    }))
}

/// Every second element in lanes `first..end`, zeros in the others, which touch nothing.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_pairs_between_stored(
    from: &[Stored],
    at: isize,
    first: isize,
    end: isize,
) -> V {
    from_lanes(::core::array::from_fn(|lane| {
        let lane = lane as isize;
        match first <= lane && lane < end {
            true => unsafe { widen_stored(read_stored(from, (at + 2 * lane) as usize)) },
            false => 0.0,
        }
    }))
}

/// Elements that are `step` apart in the first `live` lanes, zeros in the others. Checked: it is
/// slow anyway.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn gather_stored(from: &[Stored], at: usize, step: isize, live: usize) -> V {
    from_lanes(::core::array::from_fn(|lane| {
        match lane < live {
            true => widen_stored(from[(at as isize + lane as isize * step) as usize]),
            false => 0.0,
        }
    }))
}

/// Asks for the line of memory at `at`, which need not be inside.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn prefetch_stored(from: &[Stored], at: usize) {
    unsafe { _mm_prefetch::<3>(from.as_ptr().wrapping_add(at).cast()) }
}

/// Writes `W` elements in a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_stored(to: &mut [Stored], at: usize, value: V) {
    let value = to_lanes(value);
    for lane in 0..W {
        unsafe { write_stored(to, at + lane, narrow_stored(value[lane])) };
    }
}

/// Writes the first `live` lanes in a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_first_stored(to: &mut [Stored], at: usize, live: usize, value: V) {
    unsafe { scatter_stored(to, at, 1, live, value) };
}

/// Writes the first `live` lanes, `step` apart.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn scatter_stored(
    to: &mut [Stored],
    at: usize,
    step: usize,
    live: usize,
    value: V,
) {
    let value = to_lanes(value);
    for lane in 0..W {
        if lane < live {
            unsafe { write_stored(to, at + lane * step, narrow_stored(value[lane])) };
        }
    }
}

/// Writes columns, transposed: lane `l` of `tile[i]` goes to `at + l * step + i`, for the first
/// `live` lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_square_stored(
    to: &mut [Stored],
    at: usize,
    step: usize,
    live: usize,
    tile: [V; SQUARE],
) {
    for i in 0..SQUARE {
        unsafe { scatter_stored(to, at + i, step, live, tile[i]) };
    }
}

/// The nearest number of the type.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn to_stored(value: V) -> V {
    let value = to_lanes(value);
    from_lanes(::core::array::from_fn(|lane| to_scalar_stored(value[lane])))
}
