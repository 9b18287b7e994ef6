//! What depends on the element, of f64 in any width. Written for 256 bits.

use super::*;
use ::core::arch::x86_64::*;

pub(super) type V = __m256d;

pub(super) const W: usize = 4;

/// Columns that are transposed at a time: those of 128 bits.
pub(super) const SQUARE: usize = 2;

/// Even lanes of one vector, odd lanes of the next.
pub(super) const PAIRS: [i64; W] = {
    let mut lanes = [0; W];
    let mut lane = 0;
    while lane < W {
        lanes[lane] = (2 * lane + (2 * lane >= W) as usize) as i64;
        lane += 1;
    }
    lanes
};

/// A vector's parts of 128 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn parts(value: V) -> [__m128d; W / SQUARE] {
    unsafe { ::core::mem::transmute::<V, [__m128d; W / SQUARE]>(value) }
}

/// The even lanes of `low` and the odd lanes of `high`, 128 bits by 128 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn alternate(low: V, high: V) -> V {
    _mm256_shuffle_pd::<0b1010>(low, high)
}

/// `2^a` for an integer `a`, by writing the exponent field.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn exp2(a: V) -> V {
    // The sum's lowest bits are the exponent field.
    let sum = _mm256_add_pd(a, _mm256_set1_pd(4503599627370496.0 + 1023.0));
    _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(sum)))
}

/// Writes the first `live` lanes in a row, without a masked store, which AVX2 has but AMD's CPUs
/// are slow at: two, and one.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_first(to: &mut [f64], at: usize, live: usize, value: V) {
    let mut to = unsafe { to.as_mut_ptr().add(at) };
    if live >= W {
        return unsafe { _mm256_storeu_pd(to, value) };
    }
    let parts = parts(value);
    let mut part = parts[0];
    if W > SQUARE && live & SQUARE != 0 {
        unsafe { _mm_storeu_pd(to, part) };
        part = parts[parts.len() - 1];
        to = to.wrapping_add(SQUARE);
    }
    if live & 1 != 0 {
        unsafe { _mm_store_sd(to, part) };
    }
}

/// Writes the first `live` lanes, `step` apart, straight from the register.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn scatter(to: &mut [f64], at: usize, step: usize, live: usize, value: V) {
    let to = unsafe { to.as_mut_ptr().add(at) };
    let parts = parts(value);
    for group in 0..parts.len() {
        let (lane, part) = (SQUARE * group, parts[group]);
        if lane < live {
            unsafe { *to.add(lane * step) = _mm_cvtsd_f64(part) };
        }
        if lane + 1 < live {
            unsafe { *to.add((lane + 1) * step) = _mm_cvtsd_f64(_mm_unpackhi_pd(part, part)) };
        }
    }
}

/// Writes columns, transposed: lane `l` of `tile[i]` goes to `at + l * step + i`, for the first
/// `live` lanes. Transposed in registers, in squares of 128 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_square(
    to: &mut [f64],
    at: usize,
    step: usize,
    live: usize,
    tile: [V; SQUARE],
) {
    let columns = [_mm256_unpacklo_pd(tile[0], tile[1]), _mm256_unpackhi_pd(tile[0], tile[1])];
    for i in 0..SQUARE {
        let parts = parts(columns[i]);
        for group in 0..parts.len() {
            let lane = SQUARE * group + i;
            if lane < live {
                unsafe { _mm_storeu_pd(to.as_mut_ptr().add(at + lane * step), parts[group]) };
            }
        }
    }
}
