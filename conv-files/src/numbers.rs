//! The types of numbers in files.
//!
//! [`Kind`] names a type at run time, [`Number`] is the Rust type. What reads and writes is generic
//! over it: a new type is a row of each table.

use std::fmt;

use conv_ir::{BF16, DType, F16};

/// The type of the numbers of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Signed bytes.
    I8,
    /// Bytes.
    U8,
    /// Signed, of 16 bits.
    I16,
    /// Not signed, of 16 bits.
    U16,
    /// Signed, of 32 bits.
    I32,
    /// Signed, of 64 bits: in files alone, [convolved](crate::Array::convolved) as `i32`.
    I64,
    /// True or false, a byte: in files alone, convolved as `u8`.
    Bool,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Kind] = &[
        Kind::I8,
        Kind::U8,
        Kind::I16,
        Kind::U16,
        Kind::I32,
        Kind::I64,
        Kind::Bool,
        Kind::F16,
        Kind::BF16,
        Kind::F32,
        Kind::F64,
    ];

    /// The name: `f16`. In capitals it is that of `.safetensors`.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Size of a number in bytes.
    pub const fn bytes(self) -> usize {
        self.row().1
    }

    /// Whether numbers of this type are convolved as they are.
    pub const fn is_convolved(self) -> bool {
        self.range().is_some() || self.widened().is_some()
    }

    /// The least and the greatest of integers that are convolved.
    pub const fn range(self) -> Option<(i32, i32)> {
        match self {
            Kind::I8 => Some((i8::MIN as i32, i8::MAX as i32)),
            Kind::U8 => Some((0, u8::MAX as i32)),
            Kind::I16 => Some((i16::MIN as i32, i16::MAX as i32)),
            Kind::U16 => Some((0, u16::MAX as i32)),
            Kind::I32 => Some((i32::MIN, i32::MAX)),
            Kind::I64 | Kind::Bool => None,
            Kind::F16 | Kind::BF16 | Kind::F32 | Kind::F64 => None,
        }
    }

    const fn row(self) -> (&'static str, usize) {
        match self {
            Kind::I8 => ("i8", 1),
            Kind::U8 => ("u8", 1),
            Kind::I16 => ("i16", 2),
            Kind::U16 => ("u16", 2),
            Kind::I32 => ("i32", 4),
            Kind::I64 => ("i64", 8),
            Kind::Bool => ("bool", 1),
            Kind::F16 => ("f16", 2),
            Kind::BF16 => ("bf16", 2),
            Kind::F32 => ("f32", 4),
            Kind::F64 => ("f64", 8),
        }
    }

    /// The name in `.npy` files, without the order of bytes; NumPy has no bf16.
    pub(crate) fn npy(self) -> Option<String> {
        let letter = self.name().chars().next().filter(|_| self != Kind::BF16)?;
        Some(format!("{letter}{}", self.bytes()))
    }

    /// The name in `.safetensors` files.
    pub(crate) fn safetensors(self) -> String {
        self.name().to_ascii_uppercase()
    }

    /// The floating-point type that these numbers are computed in, or become exactly before they
    /// are; integers have none.
    pub const fn widened(self) -> Option<DType> {
        match self {
            Kind::F16 | Kind::BF16 | Kind::F32 => Some(DType::F32),
            Kind::F64 => Some(DType::F64),
            Kind::I8 | Kind::U8 | Kind::I16 | Kind::U16 | Kind::I32 | Kind::I64 | Kind::Bool => {
                None
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number that files hold.
pub trait Number: Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Its type's name.
    const KIND: Kind;
    /// The number whose bits are the lowest of these.
    fn from_bits(bits: u64) -> Self;
    /// Its bits, zeros above them.
    fn bits(self) -> u64;
    /// The nearest number to `x`.
    fn nearest(x: f64) -> Self;
    /// The number as f64: exactly, but for whole numbers beyond 2^53.
    fn exact(self) -> f64;
}

macro_rules! integers {
    ($($t:ident of $unsigned:ident $kind:ident,)*) => {$(
        impl Number for $t {
            const KIND: Kind = Kind::$kind;
            fn from_bits(bits: u64) -> Self {
                bits as $t
            }
            fn bits(self) -> u64 {
                u64::from(self as $unsigned)
            }
            fn nearest(x: f64) -> Self {
                x.round_ties_even() as $t
            }
            fn exact(self) -> f64 {
                self as f64
            }
        }
    )*};
}

macro_rules! floats {
    ($($t:ident of $unsigned:ident $kind:ident: $from_f64:expr, $to_f64:expr,)*) => {$(
        impl Number for $t {
            const KIND: Kind = Kind::$kind;
            fn from_bits(bits: u64) -> Self {
                $t::from_bits(bits as $unsigned)
            }
            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }
            fn nearest(x: f64) -> Self {
                $from_f64(x)
            }
            fn exact(self) -> f64 {
                $to_f64(self)
            }
        }
    )*};
}

integers! {
    i8 of u8 I8,
    u8 of u8 U8,
    i16 of u16 I16,
    u16 of u16 U16,
    i32 of u32 I32,
    i64 of u64 I64,
}

impl Number for bool {
    const KIND: Kind = Kind::Bool;
    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
    fn bits(self) -> u64 {
        u64::from(self)
    }
    fn nearest(x: f64) -> Self {
        x != 0.0
    }
    fn exact(self) -> f64 {
        f64::from(self)
    }
}

floats! {
    F16 of u16 F16: F16::from_f64, F16::to_f64,
    BF16 of u16 BF16: BF16::from_f64, BF16::to_f64,
    f32 of u32 F32: |x: f64| x as f32, f64::from,
    f64 of u64 F64: |x: f64| x, f64::from,
}

/// An expression in which `$T` is the [`Number`] of a [`Kind`].
macro_rules! with_number {
    ($kind:expr, $T:ident => $body:expr) => {{
        use $crate::Kind;
        macro_rules! of {
            ($t:ty) => {{
                type $T = $t;
                $body
            }};
        }
        match $kind {
            Kind::I8 => of!(i8),
            Kind::U8 => of!(u8),
            Kind::I16 => of!(i16),
            Kind::U16 => of!(u16),
            Kind::I32 => of!(i32),
            Kind::I64 => of!(i64),
            Kind::Bool => of!(bool),
            Kind::F16 => of!(conv_ir::F16),
            Kind::BF16 => of!(conv_ir::BF16),
            Kind::F32 => of!(f32),
            Kind::F64 => of!(f64),
        }
    }};
}
pub(crate) use with_number;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_agree_and_bits_come_back() {
        for &kind in Kind::ALL {
            with_number!(kind, T => {
                assert_eq!((T::KIND, size_of::<T>()), (kind, kind.bytes()));
                let all = u64::MAX >> (64 - 8 * kind.bytes());
                // Any byte but 0 is true.
                let bits: &[u64] = if kind == Kind::Bool { &[0, 1] } else { &[0, 1, all / 2, all / 2 + 1] };
                for &bits in bits {
                    let number = <T as Number>::from_bits(bits);
                    assert_eq!(number.bits(), bits, "{kind}");
                }
                for x in [0.0, 1.0, 100.0].into_iter().filter(|&x| kind != Kind::Bool || x < 2.0) {
                    assert_eq!(T::nearest(x).exact(), x, "{kind}");
                }
            });
        }
        let names: Vec<String> = Kind::ALL.iter().filter_map(|kind| kind.npy()).collect();
        assert_eq!(names, ["i1", "u1", "i2", "u2", "i4", "i8", "b1", "f2", "f4", "f8"]);
        assert_eq!((i8::nearest(-1e9), u8::nearest(2.5), u8::nearest(-0.5)), (-128, 2, 0));
    }
}
