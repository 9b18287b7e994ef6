//! Sums that become integers of few bits. `Float` is the only floating-point type beside integers,
//! in `scale` alone. Written for eight i32.

use super::*;

/// The nearest integer to the sum times the f32 with the bits `by`, at most 2^30 away from zero.
#[inline(always)]
pub(super) fn scale_scalar(sum: i32, by: i32) -> i32 {
    let most = 1073741824.0;
    let product = (sum as Float * Float::from_bits(by as u32)).clamp(-most, most);
    // From here on all numbers are whole; below, adding it rounds, ties to even.
    let (magnitude, whole) = (product.abs(), 8388608.0);
    let nearest = if magnitude < whole { magnitude + whole - whole } else { magnitude };
    let nearest = nearest as i32;
    if product.is_sign_negative() { -nearest } else { nearest }
}

/// `a * b / 2^31`, to the nearest integer, ties up.
#[inline(always)]
pub(super) fn mul_high_scalar(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64 + (1 << 30)) >> 31) as i32
}

/// `a / 2^b`, to the nearest integer, ties away from zero.
#[inline(always)]
pub(super) fn shift_round_scalar(a: i32, b: i32) -> i32 {
    // Lanes that nobody reads may have a shift that is none.
    let below = 1u32.wrapping_shl(b as u32).wrapping_sub(1) as i32;
    let tie = (below >> 1).wrapping_add((a < 0) as i32);
    a.wrapping_shr(b as u32).wrapping_add((a & below > tie) as i32)
}

/// `a * b / 2^31`, rounded down.
#[inline(always)]
pub(super) fn mul_floor_scalar(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64) >> 31) as i32
}

/// `a / 2^b`, to the nearest integer, ties up.
#[inline(always)]
pub(super) fn shift_up_scalar(a: i32, b: i32) -> i32 {
    // Lanes that nobody reads may have a shift that is none.
    a.wrapping_shr(b.wrapping_sub(1) as u32).wrapping_add(1) >> 1
}

/// The nearest integers to products with the f32 whose bits are `b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn scale(a: V, b: V) -> V {
    let (a, b) = (to_lanes(a), to_lanes(b));
    from_lanes(::core::array::from_fn(|lane| scale_scalar(a[lane], b[lane])))
}

/// `a * b / 2^31`, to the nearest integer, ties up.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_high(a: V, b: V) -> V {
    let (a, b) = (to_lanes(a), to_lanes(b));
    from_lanes(::core::array::from_fn(|lane| mul_high_scalar(a[lane], b[lane])))
}

/// `a / 2^b`, to the nearest integer, ties away from zero.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn shift_round(a: V, b: V) -> V {
    let (a, b) = (to_lanes(a), to_lanes(b));
    from_lanes(::core::array::from_fn(|lane| shift_round_scalar(a[lane], b[lane])))
}

/// `a * b / 2^31`, rounded down.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_floor(a: V, b: V) -> V {
    let (a, b) = (to_lanes(a), to_lanes(b));
    from_lanes(::core::array::from_fn(|lane| mul_floor_scalar(a[lane], b[lane])))
}

/// `a / 2^b`, to the nearest integer, ties up.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn shift_up(a: V, b: V) -> V {
    let (a, b) = (to_lanes(a), to_lanes(b));
    from_lanes(::core::array::from_fn(|lane| shift_up_scalar(a[lane], b[lane])))
}
