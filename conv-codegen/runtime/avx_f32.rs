//! What depends on the element, of f32 in any width. Written for 256 bits.

use super::*;
use ::core::arch::x86_64::*;

pub(super) type V = __m256;

/// A vector's parts of 128 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn parts(value: V) -> [__m128; W / SQUARE] {
    unsafe { ::core::mem::transmute::<V, [__m128; W / SQUARE]>(value) }
}

/// The even lanes of `low` and the odd lanes of `high`, 128 bits by 128 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn alternate(low: V, high: V) -> V {
    _mm256_shuffle_ps::<0b11_01_10_00>(low, high)
}

/// `2^a` for an integer `a`, by writing the exponent field.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn exp2(a: V) -> V {
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
}

/// Writes the first `live` lanes in a row, without a masked store, which AVX2 has but AMD's CPUs
/// are slow at: four, two, and one.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_first(to: &mut [f32], at: usize, live: usize, value: V) {
    let mut to = unsafe { to.as_mut_ptr().add(at) };
    if live >= W {
        return unsafe { _mm256_storeu_ps(to, value) };
    }
    let parts = parts(value);
    let mut part = parts[0];
    if W > SQUARE && live & SQUARE != 0 {
        unsafe { _mm_storeu_ps(to, part) };
        part = parts[parts.len() - 1];
        to = to.wrapping_add(SQUARE);
    }
    if live & 2 != 0 {
        unsafe { _mm_store_sd(to.cast(), _mm_castps_pd(part)) };
        part = _mm_movehl_ps(part, part);
        to = to.wrapping_add(2);
    }
    if live & 1 != 0 {
        unsafe { _mm_store_ss(to, part) };
    }
}

/// Writes the first `live` lanes, `step` apart, straight from the register.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn scatter(to: &mut [f32], at: usize, step: usize, live: usize, value: V) {
    let to = unsafe { to.as_mut_ptr().add(at) };
    let parts = parts(value);
    for group in 0..parts.len() {
        let (lane, part) = (SQUARE * group, parts[group]);
        if lane < live {
            unsafe { *to.add(lane * step) = f32::from_bits(_mm_extract_ps::<0>(part) as u32) };
        }
        if lane + 1 < live {
            unsafe {
                *to.add((lane + 1) * step) = f32::from_bits(_mm_extract_ps::<1>(part) as u32)
            };
        }
        if lane + 2 < live {
            unsafe {
                *to.add((lane + 2) * step) = f32::from_bits(_mm_extract_ps::<2>(part) as u32)
            };
        }
        if lane + 3 < live {
            unsafe {
                *to.add((lane + 3) * step) = f32::from_bits(_mm_extract_ps::<3>(part) as u32)
            };
        }
    }
}

/// Writes columns, transposed: lane `l` of `tile[i]` goes to `at + l * step + i`, for the first
/// `live` lanes. Transposed in registers, in squares of 128 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_square(
    to: &mut [f32],
    at: usize,
    step: usize,
    live: usize,
    tile: [V; SQUARE],
) {
    let (a, b) = (_mm256_unpacklo_ps(tile[0], tile[1]), _mm256_unpacklo_ps(tile[2], tile[3]));
    let (c, d) = (_mm256_unpackhi_ps(tile[0], tile[1]), _mm256_unpackhi_ps(tile[2], tile[3]));
    let columns = [
        _mm256_shuffle_ps::<0x44>(a, b),
        _mm256_shuffle_ps::<0xEE>(a, b),
        _mm256_shuffle_ps::<0x44>(c, d),
        _mm256_shuffle_ps::<0xEE>(c, d),
    ];
    for i in 0..SQUARE {
        let parts = parts(columns[i]);
        for group in 0..parts.len() {
            let lane = SQUARE * group + i;
            if lane < live {
                unsafe { _mm_storeu_ps(to.as_mut_ptr().add(at + lane * step), parts[group]) };
            }
        }
    }
}
