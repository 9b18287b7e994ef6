//! Numbers that are computed with.
//!
//! Code that computes is generic over [`Element`]; [`with_element!`](crate::with_element) goes from
//! the name of a type that sums are computed in to the type.

use crate::dtype::DType;
use crate::stored::{Array, Sealed, Stored};

/// A machine number that a convolution can be computed in.
///
/// The operations are those that every route offers with the same bits: the four basic ones, the
/// fused multiply-add, rounding to the nearest integer (ties to even), and scaling by a power of
/// two. The types that sums are computed in have it, and [`Unfused`], which judges code. Integers
/// wrap; what divides or scales is not described of them.
pub trait Element: Stored + PartialOrd {
    /// What nobody may use: NaN, or an integer that is as good as any.
    fn poison() -> Self {
        Self::from_f64(f64::NAN)
    }
    /// `self + y`.
    fn add(self, y: Self) -> Self;
    /// `self - y`.
    fn sub(self, y: Self) -> Self;
    /// `self * y`.
    fn mul(self, y: Self) -> Self;
    /// `self / y`.
    fn div(self, y: Self) -> Self;
    /// `self * y + z` with one rounding.
    fn fma(self, y: Self, z: Self) -> Self;
    /// The nearest integer, ties to even.
    fn round_even(self) -> Self;
    /// `2^self`, where `self` is an integer whose power of two is a normal number of this type.
    fn exp2_int(self) -> Self;
    /// The sign bit cleared.
    fn abs(self) -> Self;
    /// The magnitude of `self` with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// As [`Binary::Scale`](crate::activation::Binary::Scale) says, of integers alone.
    fn scaled(self, _: Self) -> Self {
        unreachable!("{} is not requantised", Self::DTYPE)
    }
    /// As [`Binary::MulHigh`](crate::activation::Binary::MulHigh) says, of integers alone.
    fn mul_high(self, _: Self) -> Self {
        unreachable!("{} is not requantised", Self::DTYPE)
    }
    /// As [`Binary::ShiftRound`](crate::activation::Binary::ShiftRound) says, of integers alone.
    fn shift_round(self, _: Self) -> Self {
        unreachable!("{} is not requantised", Self::DTYPE)
    }
    /// As [`Binary::MulFloor`](crate::activation::Binary::MulFloor) says, of integers alone.
    fn mul_floor(self, _: Self) -> Self {
        unreachable!("{} is not requantised", Self::DTYPE)
    }
    /// As [`Binary::ShiftUp`](crate::activation::Binary::ShiftUp) says, of integers alone.
    fn shift_up(self, _: Self) -> Self {
        unreachable!("{} is not requantised", Self::DTYPE)
    }
    /// The nearest value of a type that is computed in this one.
    fn rounded_to(self, dtype: DType) -> Self {
        if dtype == Self::DTYPE { self } else { Self::from_f64(dtype.round(self.to_f64())) }
    }
}

macro_rules! elements {
    ($($t:ident $bits:ident;)*) => {
        $(
            impl Element for $t {
                fn add(self, y: Self) -> Self {
                    self + y
                }
                fn sub(self, y: Self) -> Self {
                    self - y
                }
                fn mul(self, y: Self) -> Self {
                    self * y
                }
                fn div(self, y: Self) -> Self {
                    self / y
                }
                fn fma(self, y: Self, z: Self) -> Self {
                    self.mul_add(y, z)
                }
                fn round_even(self) -> Self {
                    self.round_ties_even()
                }
                fn exp2_int(self) -> Self {
                    let format = Self::DTYPE.format();
                    let exponent = self as i64 + format.bias;
                    $t::from_bits((exponent as $bits) << format.mantissa)
                }
                fn abs(self) -> Self {
                    $t::abs(self)
                }
                fn copysign(self, sign: Self) -> Self {
                    $t::copysign(self, sign)
                }
            }
        )*
    };
}

elements! {
    f32 u32;
    f64 u64;
}

impl Element for i32 {
    fn poison() -> Self {
        0x5a5a_a5a5
    }
    fn add(self, y: Self) -> Self {
        self.wrapping_add(y)
    }
    fn sub(self, y: Self) -> Self {
        self.wrapping_sub(y)
    }
    fn mul(self, y: Self) -> Self {
        self.wrapping_mul(y)
    }
    fn div(self, y: Self) -> Self {
        if y == 0 { 0 } else { self.wrapping_div(y) }
    }
    fn fma(self, y: Self, z: Self) -> Self {
        self.wrapping_mul(y).wrapping_add(z)
    }
    fn round_even(self) -> Self {
        self
    }
    fn exp2_int(self) -> Self {
        1i32.wrapping_shl(self as u32)
    }
    fn abs(self) -> Self {
        self.wrapping_abs()
    }
    fn copysign(self, sign: Self) -> Self {
        if (self < 0) == (sign < 0) { self } else { self.wrapping_neg() }
    }
    fn scaled(self, scale: Self) -> Self {
        let most = (1 << 30) as f32;
        (self as f32 * f32::from_bits(scale as u32)).clamp(-most, most).round_ties_even() as i32
    }
    fn mul_high(self, multiplier: Self) -> Self {
        ((i64::from(self) * i64::from(multiplier) + (1 << 30)) >> 31) as i32
    }
    fn mul_floor(self, multiplier: Self) -> Self {
        ((i64::from(self) * i64::from(multiplier)) >> 31) as i32
    }
    fn shift_up(self, shift: Self) -> Self {
        // Lanes that nobody reads may have a shift that is none.
        self.wrapping_shr(shift.wrapping_sub(1) as u32).wrapping_add(1) >> 1
    }
    fn shift_round(self, shift: Self) -> Self {
        // Lanes that nobody reads may have a shift that is none.
        let below = (1i64.wrapping_shl(shift as u32) - 1) as i32;
        let tie = (below >> 1).wrapping_add(i32::from(self < 0));
        self.wrapping_shr(shift as u32).wrapping_add(i32::from(self & below > tie))
    }
}

/// An expression in which `T` is the [`Element`] of a type that sums are computed in.
///
/// ```
/// use conv_ir::{DType, Stored, with_element};
/// let largest = |dtype: DType| with_element!(dtype, T => T::from_f64(f64::MAX).to_f64());
/// assert_eq!(largest(DType::F32), f64::INFINITY);
/// ```
#[macro_export]
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {{
        let dtype: $crate::DType = $dtype;
        if dtype == $crate::DType::F32 {
            type $T = f32;
            $body
        } else if dtype == $crate::DType::F64 {
            type $T = f64;
            $body
        } else if dtype == $crate::DType::I32 {
            type $T = i32;
            $body
        } else {
            unreachable!("nothing is computed in {dtype}")
        }
    }};
}

/// A number whose multiply-adds round twice, product and sum, and that is otherwise the same. The
/// reference and the interpreter judge [`Accuracy::Unfused`](crate::separate::Accuracy) by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct Unfused<T>(pub T);

impl<T: Element> Sealed for Unfused<T> {}

impl<T: Element> Stored for Unfused<T> {
    const DTYPE: DType = T::DTYPE;
    fn from_f64(x: f64) -> Self {
        Unfused(T::from_f64(x))
    }
    fn to_f64(self) -> f64 {
        self.0.to_f64()
    }
    fn from_bits(bits: u64) -> Self {
        Unfused(T::from_bits(bits))
    }
    fn bits(self) -> u64 {
        self.0.bits()
    }
    fn array(_: &[Self]) -> Option<Array<'_>> {
        None
    }
    fn numbers<'a>(_: &'a Array<'_>) -> Option<&'a [Self]> {
        None
    }
}

impl<T: Element> Element for Unfused<T> {
    fn add(self, y: Self) -> Self {
        Unfused(self.0.add(y.0))
    }
    fn sub(self, y: Self) -> Self {
        Unfused(self.0.sub(y.0))
    }
    fn mul(self, y: Self) -> Self {
        Unfused(self.0.mul(y.0))
    }
    fn div(self, y: Self) -> Self {
        Unfused(self.0.div(y.0))
    }
    fn fma(self, y: Self, z: Self) -> Self {
        self.mul(y).add(z)
    }
    fn round_even(self) -> Self {
        Unfused(self.0.round_even())
    }
    fn exp2_int(self) -> Self {
        Unfused(self.0.exp2_int())
    }
    fn abs(self) -> Self {
        Unfused(self.0.abs())
    }
    fn copysign(self, sign: Self) -> Self {
        Unfused(self.0.copysign(sign.0))
    }
    fn scaled(self, scale: Self) -> Self {
        Unfused(self.0.scaled(scale.0))
    }
    fn mul_high(self, multiplier: Self) -> Self {
        Unfused(self.0.mul_high(multiplier.0))
    }
    fn shift_round(self, shift: Self) -> Self {
        Unfused(self.0.shift_round(shift.0))
    }
    fn mul_floor(self, multiplier: Self) -> Self {
        Unfused(self.0.mul_floor(multiplier.0))
    }
    fn shift_up(self, shift: Self) -> Self {
        Unfused(self.0.shift_up(shift.0))
    }
}
