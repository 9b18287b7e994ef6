//! Element types: what a number is, said once.
//!
//! A [`DType`] names a type at run time, and its [`Format`] is everything that a program needs to
//! know of it: size, fields, bits of a value. Code that computes is generic over [`Element`];
//! [`with_element!`](crate::with_element) goes from the name to the type. A new type is a line of
//! `elements!`, and instructions for it in conv-codegen and conv-jit.

use std::fmt;

/// What a floating-point type looks like (an interchange format of IEEE 754).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Format {
    /// The name in descriptions, which is Rust's.
    pub name: &'static str,
    /// Size of one element.
    pub bytes: usize,
    /// Bits of the fraction, the leading one not counted.
    pub mantissa: u32,
    /// What the exponent field holds for `2^0`.
    pub bias: i64,
}

/// A machine number that a convolution can be computed in.
///
/// The operations are those that every route offers with the same bits: the four basic ones, the
/// fused multiply-add, rounding to the nearest integer (ties to even), and scaling by a power of
/// two. The types of [`DType`] have it, for which machine code is made, and [`Unfused`], which
/// judges code.
pub trait Element:
    sealed::Sealed + Copy + PartialOrd + fmt::Debug + Default + Send + Sync + 'static
{
    /// The type's name in descriptions and buffers.
    const DTYPE: DType;
    /// The nearest value to `x`.
    fn from_f64(x: f64) -> Self;
    /// The value as f64, exactly.
    fn to_f64(self) -> f64;
    /// The value whose bits are the lowest of these.
    fn from_bits(bits: u64) -> Self;
    /// The bits, zeros above them.
    fn bits(self) -> u64;
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
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($(#[$doc:meta])* $name:ident $t:ident $bits:ident;)*) => {
        /// The type of the numbers in a buffer or a register.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType {
            $($(#[$doc])* $name,)*
        }

        impl DType {
            /// All of them.
            pub const ALL: &[DType] = &[$(DType::$name),*];

            /// What the type looks like.
            pub const fn format(self) -> &'static Format {
                match self {
                    $(DType::$name => &Format {
                        name: stringify!($t),
                        bytes: size_of::<$t>(),
                        mantissa: $t::MANTISSA_DIGITS - 1,
                        bias: $t::MAX_EXP as i64 - 1,
                    },)*
                }
            }
        }

        $(
            impl sealed::Sealed for $t {}

            impl Element for $t {
                const DTYPE: DType = DType::$name;
                fn from_f64(x: f64) -> Self {
                    x as $t
                }
                fn to_f64(self) -> f64 {
                    self as f64
                }
                fn from_bits(bits: u64) -> Self {
                    $t::from_bits(bits as $bits)
                }
                fn bits(self) -> u64 {
                    $t::to_bits(self) as u64
                }
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
    /// IEEE 754 binary32.
    F32 f32 u32;
    /// IEEE 754 binary64.
    F64 f64 u64;
}

/// An expression in which `T` is the [`Element`] of a [`DType`] known at run time.
///
/// ```
/// use conv_ir::{DType, Element, with_element};
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
        } else {
            unreachable!("{dtype} is no element type of this macro")
        }
    }};
}

impl DType {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        self.format().bytes
    }

    /// The type of that name.
    pub fn named(name: &str) -> Option<DType> {
        DType::ALL.iter().copied().find(|dtype| dtype.format().name == name)
    }

    /// The nearest value to `x`, which is infinite where `x` is too large.
    pub fn round(self, x: f64) -> f64 {
        with_element!(self, T => T::from_f64(x).to_f64())
    }

    /// The bits of the nearest value to `x`.
    pub fn bits_of(self, x: f64) -> u64 {
        with_element!(self, T => T::from_f64(x).bits())
    }

    /// The nearest value to `x` in its shortest digits that read back exactly.
    pub fn digits(self, x: f64) -> String {
        with_element!(self, T => format!("{:?}", T::from_f64(x)))
    }

    /// Distance from 1 to the next larger value: the unit in the last place of 1.
    pub fn epsilon(self) -> f64 {
        0.5f64.powi(self.format().mantissa as i32)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format().name)
    }
}

/// A number whose multiply-adds round twice, product and sum, and that is otherwise the same. The
/// reference and the interpreter judge [`Accuracy::Unfused`](crate::separate::Accuracy) by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct Unfused<T>(pub T);

impl<T: Element> sealed::Sealed for Unfused<T> {}

impl<T: Element> Element for Unfused<T> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_ieee_754() {
        let formats = DType::ALL.iter().map(|dtype| *dtype.format());
        let named = |name, bytes, mantissa, bias| Format { name, bytes, mantissa, bias };
        assert!(formats.eq([named("f32", 4, 23, 127), named("f64", 8, 52, 1023)]));
        for &dtype in DType::ALL {
            assert_eq!(DType::named(&dtype.to_string()), Some(dtype));
            assert_eq!(with_element!(dtype, T => T::DTYPE), dtype);
            assert_eq!(dtype.round(1.0 + dtype.epsilon()), 1.0 + dtype.epsilon());
            assert_eq!(dtype.round(1.0 + dtype.epsilon() / 2.0), 1.0);
            let one = dtype.format().bias as u64;
            assert_eq!(dtype.bits_of(1.0), one << dtype.format().mantissa);
        }
        assert_eq!((DType::F32.digits(0.1), DType::F64.digits(0.1)), ("0.1".into(), "0.1".into()));
    }
}
