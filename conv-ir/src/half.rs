//! Numbers of sixteen bits, which are stored and not computed with: [`F16`] and [`BF16`].
//!
//! Widening is exact. Narrowing rounds once, to nearest, ties to even, as F16C, AVX-512 and Arm do;
//! so hardware and this code agree in every bit. A NaN keeps the upper bits of its payload and
//! becomes quiet both ways, as it does there.
//!
//! Rust has no such types yet, and the crate that has them is no smaller than this page; its types
//! and ours exchange bits.

use std::fmt;

macro_rules! half {
    ($(#[$doc:meta])* $name:ident, $mantissa:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default)]
        #[repr(transparent)]
        pub struct $name(u16);

        impl $name {
            /// The number with these bits.
            pub const fn from_bits(bits: u16) -> Self {
                $name(bits)
            }

            /// Its bits.
            pub const fn to_bits(self) -> u16 {
                self.0
            }

            /// The nearest number to `x`, ties to even; infinite where `x` is too large.
            pub fn from_f32(x: f32) -> Self {
                $name(narrow::<$mantissa>(x.to_bits()))
            }

            /// The nearest number to `x`, ties to even, with one rounding.
            pub fn from_f64(x: f64) -> Self {
                Self::from_f32(to_odd(x))
            }

            /// The number as f32, exactly.
            pub fn to_f32(self) -> f32 {
                f32::from_bits(widen::<$mantissa>(self.0))
            }

            /// The number as f64, exactly.
            pub fn to_f64(self) -> f64 {
                f64::from(self.to_f32())
            }
        }

        impl From<$name> for f32 {
            fn from(x: $name) -> f32 {
                x.to_f32()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.to_f32(), f)
            }
        }
    };
}

half! {
    /// IEEE 754 binary16: 11 bits of precision, up to 65504.
    ///
    /// ```
    /// use conv_ir::F16;
    /// assert_eq!(F16::from_f32(1.0 / 3.0).to_f32(), 0.33325195);
    /// assert_eq!(F16::from_f32(65519.9).to_f32(), 65504.0);
    /// assert_eq!(F16::from_f32(65520.0).to_f32(), f32::INFINITY);
    /// ```
    F16, 10
}

half! {
    /// The upper half of an f32: 8 bits of precision, the range of f32.
    ///
    /// ```
    /// use conv_ir::BF16;
    /// assert_eq!(BF16::from_f32(1.0 / 3.0).to_f32(), 0.33398438);
    /// ```
    BF16, 7
}

/// Bits of the fraction of f32.
const FRACTION: u32 = 23;

/// Bits of an f32's infinity, without the sign.
const INFINITY: u32 = 0x7f80_0000;

/// The f32 of a number with so many bits of fraction.
const fn widen<const MANTISSA: u32>(bits: u16) -> u32 {
    let sign = (bits as u32 & 0x8000) << 16;
    let magnitude = bits as u32 & 0x7fff;
    let infinity = 0x8000 - (1 << MANTISSA);
    let up = FRACTION - MANTISSA;
    // What the exponent fields differ by; of bf16 nothing.
    let bias = 127 - (infinity >> (MANTISSA + 1));
    let wide = if magnitude > infinity {
        INFINITY | (magnitude << up & 0x7f_ffff) | 0x40_0000
    } else if magnitude == infinity {
        INFINITY
    } else if magnitude >> MANTISSA == 0 && bias > 0 && magnitude > 0 {
        // Below the smallest normal number, but f32 has a normal one for it.
        let leading = 31 - magnitude.leading_zeros();
        let exponent = bias + 1 + leading - MANTISSA;
        exponent << FRACTION | (magnitude << (FRACTION - leading) & 0x7f_ffff)
    } else if magnitude == 0 {
        0
    } else {
        (magnitude << up) + (bias << FRACTION)
    };
    sign | wide
}

/// The nearest number with so many bits of fraction, ties to even.
const fn narrow<const MANTISSA: u32>(bits: u32) -> u16 {
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let infinity = 0x8000 - (1 << MANTISSA);
    let down = FRACTION - MANTISSA;
    let bias = 127 - (infinity >> (MANTISSA + 1));
    let exponent = magnitude >> FRACTION;
    let narrow = if magnitude > INFINITY {
        infinity | (magnitude & 0x7f_ffff) >> down | 1 << (MANTISSA - 1)
    } else if exponent > bias || bias == 0 {
        // A carry out of the fraction raises the exponent, up to infinity.
        let rounded = to_even(magnitude - (bias << FRACTION), down);
        if rounded < infinity { rounded } else { infinity }
    } else if exponent + MANTISSA < bias {
        // Less than half of the smallest number.
        0
    } else {
        to_even(magnitude & 0x7f_ffff | 0x80_0000, down + 1 + bias - exponent)
    };
    sign | narrow as u16
}

/// `bits / 2^down`, rounded to nearest, ties to even.
const fn to_even(bits: u32, down: u32) -> u32 {
    let floor = bits >> down;
    let rest = bits - (floor << down);
    let half = 1 << (down - 1);
    floor + (rest > half || rest == half && floor & 1 == 1) as u32
}

/// `x` as f32, rounded to the neighbour with an odd fraction where there is none: another rounding
/// behind it to fewer bits is that of `x` itself.
fn to_odd(x: f64) -> f32 {
    let near = x as f32;
    let wide = f64::from(near);
    if wide == x || near.is_nan() || near.to_bits() & 1 == 1 {
        return near;
    }
    let bits = near.to_bits();
    f32::from_bits(if wide.abs() > x.abs() { bits - 1 } else { bits + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the bits of a finite number mean, from the standard.
    fn meaning(bits: u16, mantissa: u32, bias: i32) -> f64 {
        let fraction = f64::from(bits & ((1 << mantissa) - 1)) / f64::from(1u32 << mantissa);
        let exponent = i32::from(bits & 0x7fff) >> mantissa;
        let magnitude = match exponent {
            0 => fraction * 2f64.powi(1 - bias),
            _ => (1.0 + fraction) * 2f64.powi(exponent - bias),
        };
        if bits >> 15 == 1 { -magnitude } else { magnitude }
    }

    /// All 65,536 numbers widen to what they mean and come back; between each two neighbours the
    /// middle goes to the even one, and what is next to the middle to the nearer one.
    macro_rules! exhaustive {
        ($t:ident, $mantissa:literal, $bias:literal) => {{
            let infinity: u16 = 0x8000 - (1 << $mantissa);
            for bits in 0..=u16::MAX {
                let x = $t::from_bits(bits);
                let (magnitude, wide) = (bits & 0x7fff, x.to_f32());
                if magnitude > infinity {
                    let quiet = bits | 1 << ($mantissa - 1);
                    assert!(wide.is_nan() && x.to_f64().is_nan(), "{bits:#x}");
                    assert_eq!($t::from_f32(wide).to_bits(), quiet);
                    continue;
                }
                if magnitude < infinity {
                    assert_eq!(f64::from(wide), meaning(bits, $mantissa, $bias), "{bits:#x}");
                } else {
                    assert_eq!(wide.abs(), f32::INFINITY);
                }
                assert_eq!(wide.is_sign_negative(), bits >> 15 == 1);
                assert_eq!($t::from_f32(wide).to_bits(), bits);
                assert_eq!($t::from_f64(f64::from(wide)).to_bits(), bits);
                if magnitude >= infinity {
                    continue;
                }
                // The number behind the largest one is where infinity would stand.
                let next = meaning(bits + 1, $mantissa, $bias);
                let middle = (f64::from(wide) + next) / 2.0;
                let even = bits + (bits & 1);
                assert_eq!($t::from_f64(middle).to_bits(), even, "{bits:#x}");
                let (below, above) = (middle.abs().next_down(), middle.abs().next_up());
                let signed = |x: f64| if bits >> 15 == 1 { -x } else { x };
                assert_eq!($t::from_f64(signed(below)).to_bits(), bits);
                assert_eq!($t::from_f64(signed(above)).to_bits(), bits + 1);
                // The middle is an f32 unless it lies below the smallest of them.
                if f64::from(middle as f32) == middle {
                    let near = middle.abs() as f32;
                    let signed = |x: f32| if bits >> 15 == 1 { -x } else { x };
                    assert_eq!($t::from_f32(signed(near)).to_bits(), even);
                    assert_eq!($t::from_f32(signed(near.next_down())).to_bits(), bits);
                    assert_eq!($t::from_f32(signed(near.next_up())).to_bits(), bits + 1);
                }
            }
        }};
    }

    #[test]
    fn every_number_widens_exactly_and_every_middle_goes_to_the_even_one() {
        exhaustive!(F16, 10, 15);
        exhaustive!(BF16, 7, 127);
    }

    #[test]
    fn what_is_too_large_is_infinite_and_what_is_too_small_zero() {
        for x in [1e6, f64::MAX, f64::INFINITY] {
            assert_eq!(F16::from_f64(x).to_bits(), 0x7c00);
            assert_eq!(F16::from_f64(-x).to_bits(), 0xfc00);
        }
        assert_eq!(BF16::from_f64(f64::MAX).to_bits(), 0x7f80);
        assert_eq!(BF16::from_f32(f32::MAX).to_bits(), 0x7f80);
        for x in [1e-10, 2f64.powi(-25), f64::MIN_POSITIVE, 5e-324] {
            assert_eq!(F16::from_f64(x).to_bits(), 0);
            assert_eq!(F16::from_f64(-x).to_bits(), 0x8000);
        }
        assert_eq!(BF16::from_f64(-1e-42).to_bits(), 0x8000);
        assert!(F16::from_f64(f64::NAN).to_f32().is_nan());
    }

    #[test]
    fn a_second_rounding_would_be_another() {
        // Through f32 this would be a tie, and go down.
        let x = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(F16::from_f64(x).to_bits(), 0x3c01);
        assert_eq!(F16::from_f32(x as f32).to_bits(), 0x3c00);
    }
}
