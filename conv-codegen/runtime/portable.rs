//! Vectors as arrays, for any CPU, everything checked: the meaning of the others. Written for eight
//! f32.

use super::*;

pub(super) type V = [f32; W];

pub(super) const W: usize = 8;

/// Columns that are transposed at a time: those of 128 bits.
pub(super) const SQUARE: usize = 16 / ::core::mem::size_of::<f32>();

/// `x` in every lane.
#[inline(always)]
pub(super) fn every(x: f32) -> V {
    [x; W]
}

/// One element in every lane.
#[inline(always)]
pub(super) fn splat(from: &[f32], at: usize) -> V {
    [from[at]; W]
}

/// `W` elements in a row.
#[inline(always)]
pub(super) fn load(from: &[f32], at: usize) -> V {
    let row = &from[at..at + W];
    ::core::array::from_fn(|lane| row[lane])
}

/// Elements in a row in lanes `first..end`, zeros in the others, which touch nothing.
#[inline(always)]
pub(super) fn load_between(from: &[f32], at: isize, first: isize, end: isize) -> V {
    ::core::array::from_fn(|lane| {
        let lane = lane as isize;
        if first <= lane && lane < end { from[(at + lane) as usize] } else { 0.0 }
    })
}

/// Every second of `2 W - 1` elements.
#[inline(always)]
pub(super) fn load_pairs(from: &[f32], at: usize) -> V {
    ::core::array::from_fn(|lane| from[at + 2 * lane])
}

/// Every second element in lanes `first..end`, zeros in the others, which touch nothing.
#[inline(always)]
pub(super) fn load_pairs_between(from: &[f32], at: isize, first: isize, end: isize) -> V {
    ::core::array::from_fn(|lane| {
        let lane = lane as isize;
        if first <= lane && lane < end { from[(at + 2 * lane) as usize] } else { 0.0 }
    })
}

/// Lanes `first..end` of `value`, `fill` in the others.
#[inline(always)]
pub(super) fn between(value: V, first: isize, end: isize, fill: f32) -> V {
    ::core::array::from_fn(|lane| {
        let at = lane as isize;
        if first <= at && at < end { value[lane] } else { fill }
    })
}

/// Elements that are `step` apart in the first `live` lanes, zeros in the others.
#[inline(always)]
pub(super) fn gather(from: &[f32], at: usize, step: isize, live: usize) -> V {
    ::core::array::from_fn(|lane| {
        if lane < live { from[(at as isize + lane as isize * step) as usize] } else { 0.0 }
    })
}

/// Writes `W` elements in a row.
#[inline(always)]
pub(super) fn store(to: &mut [f32], at: usize, value: V) {
    to[at..at + W].copy_from_slice(&value);
}

/// Writes the first `live` lanes in a row.
#[inline(always)]
pub(super) fn store_first(to: &mut [f32], at: usize, live: usize, value: V) {
    for lane in 0..W {
        if lane < live {
            to[at + lane] = value[lane];
        }
    }
}

/// Writes the first `live` lanes, `step` apart.
#[inline(always)]
pub(super) fn scatter(to: &mut [f32], at: usize, step: usize, live: usize, value: V) {
    for lane in 0..W {
        if lane < live {
            to[at + lane * step] = value[lane];
        }
    }
}

/// Writes columns, transposed: lane `l` of `tile[i]` goes to `at + l * step + i`, for the first
/// `live` lanes.
#[inline(always)]
pub(super) fn store_square(to: &mut [f32], at: usize, step: usize, live: usize, tile: [V; SQUARE]) {
    for lane in 0..W {
        if lane < live {
            let row = &mut to[at + lane * step..at + lane * step + SQUARE];
            for i in 0..SQUARE {
                row[i] = tile[i][lane];
            }
        }
    }
}

/// `a * b + c`, one rounding.
#[inline(always)]
pub(super) fn fma(a: V, b: V, c: V) -> V {
    ::core::array::from_fn(|lane| fma_scalar(a[lane], b[lane], c[lane]))
}

/// `a + b`.
#[inline(always)]
pub(super) fn add(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane] + b[lane])
}

/// `a - b`.
#[inline(always)]
pub(super) fn sub(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane] - b[lane])
}

/// `a * b`.
#[inline(always)]
pub(super) fn mul(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane] * b[lane])
}

/// `a / b`.
#[inline(always)]
pub(super) fn div(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane] / b[lane])
}

/// The smaller; `b` where either is NaN.
#[inline(always)]
pub(super) fn min(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
}

/// The larger; `b` where either is NaN.
#[inline(always)]
pub(super) fn max(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
}

/// The magnitude of `a` with the sign of `b`.
#[inline(always)]
pub(super) fn copysign(a: V, b: V) -> V {
    ::core::array::from_fn(|lane| a[lane].copysign(b[lane]))
}

/// `-a`.
#[inline(always)]
pub(super) fn neg(a: V) -> V {
    ::core::array::from_fn(|lane| -a[lane])
}

/// The sign bit cleared.
#[inline(always)]
pub(super) fn abs(a: V) -> V {
    ::core::array::from_fn(|lane| a[lane].abs())
}

/// The nearest integer, ties to even.
#[inline(always)]
pub(super) fn round(a: V) -> V {
    ::core::array::from_fn(|lane| round_scalar(a[lane]))
}

/// `2^a` for an integer `a`, by writing the exponent field.
#[inline(always)]
pub(super) fn exp2(a: V) -> V {
    ::core::array::from_fn(|lane| exp2_scalar(a[lane]))
}

/// Lane by lane: `then` where `a < b`, else `otherwise`.
#[inline(always)]
pub(super) fn choose(a: V, b: V, then: V, otherwise: V) -> V {
    ::core::array::from_fn(|lane| if a[lane] < b[lane] { then[lane] } else { otherwise[lane] })
}
