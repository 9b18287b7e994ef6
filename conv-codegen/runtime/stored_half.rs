//! f16 and bf16 by their bits, beside f32: widened exactly, narrowed to nearest even.

use super::*;

/// The f32 of a number with so many bits of fraction.
#[inline(always)]
pub(super) const fn widen_half(bits: u32, mantissa: u32) -> f32 {
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    let infinity = 0x8000 - (1 << mantissa);
    let (up, bias) = (23 - mantissa, 127 - (infinity >> (mantissa + 1)));
    let wide = if magnitude >= infinity {
        let quiet = ((magnitude > infinity) as u32) << 22;
        0x7f80_0000 | (magnitude << up & 0x7f_ffff) | quiet
    } else if magnitude >> mantissa > 0 || bias == 0 {
        (magnitude << up) + (bias << 23)
    } else if magnitude > 0 {
        // Below the smallest normal number, but f32 has a normal one for it.
        let leading = 31 - magnitude.leading_zeros();
        (bias + 1 + leading - mantissa) << 23 | (magnitude << (23 - leading) & 0x7f_ffff)
    } else {
        0
    };
    f32::from_bits(sign | wide)
}

/// The nearest number with so many bits of fraction, ties to even.
#[inline(always)]
pub(super) const fn narrow_half(x: f32, mantissa: u32) -> u16 {
    let bits = x.to_bits();
    let (sign, magnitude) = ((bits >> 16 & 0x8000) as u16, bits & 0x7fff_ffff);
    let infinity = 0x8000 - (1 << mantissa);
    let (down, bias) = (23 - mantissa, 127 - (infinity >> (mantissa + 1)));
    let exponent = magnitude >> 23;
    let narrow = if magnitude > 0x7f80_0000 {
        infinity | (magnitude & 0x7f_ffff) >> down | 1 << (mantissa - 1)
    } else if exponent > bias || bias == 0 {
        // A carry out of the fraction raises the exponent, up to infinity.
        let rounded = to_even(magnitude - (bias << 23), down);
        if rounded < infinity { rounded } else { infinity }
    } else if exponent + mantissa < bias {
        // Less than half of the smallest number.
        0
    } else {
        to_even(magnitude & 0x7f_ffff | 0x80_0000, down + 1 + bias - exponent)
    };
    sign | narrow as u16
}

/// `bits / 2^down`, rounded to nearest, ties to even.
#[inline(always)]
pub(super) const fn to_even(bits: u32, down: u32) -> u32 {
    let floor = bits >> down;
    let (rest, half) = (bits - (floor << down), 1 << (down - 1));
    floor + (rest > half || rest == half && floor & 1 == 1) as u32
}

/// The nearest number of the type.
#[inline(always)]
pub(super) const fn to_scalar_stored(x: f32) -> f32 {
    widen_stored(narrow_stored(x))
}
