//! Element types: what a number is, for the description, the interpreter and the reference.
//!
//! Only f32 and f64 exist today. Everything that computes is generic over [`Element`], and a
//! description names the value type and the accumulator type separately, so that int8 (accumulating
//! in i32) and half types can join without a change of shape.

use std::fmt;

/// The type of the numbers in a buffer or a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
        })
    }
}

/// A machine number that a convolution can be computed in.
///
/// The operations are those that every route offers with the same bits: the four basic ones, the
/// fused multiply-add, rounding to the nearest integer (ties to even), and scaling by a power of
/// two.
pub trait Element: Copy + PartialOrd + fmt::Debug + Default + Send + Sync + 'static {
    /// The type's name in descriptions and buffers.
    const DTYPE: DType;
    /// The nearest value to `x`.
    fn from_f64(x: f64) -> Self;
    /// The value as f64, exactly.
    fn to_f64(self) -> f64;
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

macro_rules! element {
    ($t:ty, $dtype:expr, $bits:ty, $mantissa:expr, $bias:expr) => {
        impl Element for $t {
            const DTYPE: DType = $dtype;
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
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
                <$t>::from_bits((((self as i64) + $bias) as $bits) << $mantissa)
            }
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            fn copysign(self, sign: Self) -> Self {
                <$t>::copysign(self, sign)
            }
        }
    };
}

element!(f32, DType::F32, u32, 23, 127);
element!(f64, DType::F64, u64, 52, 1023);
