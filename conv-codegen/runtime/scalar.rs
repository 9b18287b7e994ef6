//! Functions of single numbers and of indices: the same in every version, and for f64.

/// `a * b + c`, one rounding.
#[inline(always)]
pub(super) fn fma_scalar(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

/// The nearest integer, ties to even.
#[inline(always)]
pub(super) fn round_scalar(a: f32) -> f32 {
    a.round_ties_even()
}

/// The smaller; `b` where either is NaN.
#[inline(always)]
pub(super) fn min_scalar(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger; `b` where either is NaN.
#[inline(always)]
pub(super) fn max_scalar(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// `2^a` for an integer `a`, by writing the exponent field.
#[inline(always)]
pub(super) fn exp2_scalar(a: f32) -> f32 {
    let exponent = a as i64 + f32::MAX_EXP as i64 - 1;
    f32::from_bits((exponent << (f32::MANTISSA_DIGITS - 1)) as _)
}

/// The same offset, of which rustc knows nothing: it would keep neighbouring taps' elements in
/// registers, and there are not enough.
#[inline(always)]
pub(super) fn opaque<I>(at: I) -> I {
    ::core::hint::black_box(at)
}

/// Back into `0..extent` by mirroring, the edge not repeated.
#[inline(always)]
pub(super) fn reflect(index: isize, extent: isize) -> usize {
    if 0 <= index && index < extent {
        index as usize
    } else {
        let at = index.rem_euclid((2 * (extent - 1)).max(1));
        at.min(2 * (extent - 1) - at) as usize
    }
}

/// Back into `0..extent` by mirroring, the edge repeated.
#[inline(always)]
pub(super) fn symmetric(index: isize, extent: isize) -> usize {
    if 0 <= index && index < extent {
        index as usize
    } else {
        let at = index.rem_euclid(2 * extent);
        at.min(2 * extent - 1 - at) as usize
    }
}

/// The nearest index of `0..extent`.
#[inline(always)]
pub(super) fn replicate(index: isize, extent: isize) -> usize {
    (if index < 0 {
        0
    } else if index < extent {
        index
    } else {
        extent - 1
    }) as usize
}

/// Back into `0..extent` from the other end.
#[inline(always)]
pub(super) fn circular(index: isize, extent: isize) -> usize {
    if 0 <= index && index < extent { index as usize } else { index.rem_euclid(extent) as usize }
}
