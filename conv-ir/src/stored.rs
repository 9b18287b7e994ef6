//! Numbers as they lie in arrays.
//!
//! A [`Stored`] type is one of [`DType`]'s as Rust has it, or as we have it where Rust does not.

use std::borrow::Cow;
use std::fmt;

use crate::dtype::DType;
use crate::error::Error;
use crate::half::{BF16, F16};

mod sealed {
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;

/// A number that an array may hold.
pub trait Stored: Sealed + Copy + fmt::Debug + Default + PartialEq + Send + Sync + 'static {
    /// The type's name in descriptions and buffers.
    const DTYPE: DType;
    /// The nearest value to `x`, as [`DType::round`] has it.
    fn from_f64(x: f64) -> Self;
    /// The value as f64, exactly.
    fn to_f64(self) -> f64;
    /// The value whose bits are the lowest of these.
    fn from_bits(bits: u64) -> Self;
    /// The bits, zeros above them.
    fn bits(self) -> u64;
    /// The array, by the name of its type; none of what only judges code.
    fn array(numbers: &[Self]) -> Option<Array<'_>>;
    /// The numbers of an array of this type.
    fn numbers<'a>(array: &'a Array<'_>) -> Option<&'a [Self]>;
}

macro_rules! arrays {
    ($($name:ident $t:ident;)*) => {
        /// Numbers of a type known at run time, borrowed or owned.
        #[derive(Clone, Debug)]
        pub enum Array<'a> {
            $(
                /// Of the type of that name.
                $name(Cow<'a, [$t]>),
            )*
        }

        $(
            impl<'a> From<&'a [$t]> for Array<'a> {
                fn from(numbers: &'a [$t]) -> Self {
                    Array::$name(Cow::Borrowed(numbers))
                }
            }

            impl From<Vec<$t>> for Array<'_> {
                fn from(numbers: Vec<$t>) -> Self {
                    Array::$name(Cow::Owned(numbers))
                }
            }
        )*

        impl Array<'_> {
            /// The type of its numbers.
            pub fn dtype(&self) -> DType {
                match self {
                    $(Array::$name(_) => DType::$name,)*
                }
            }

            /// How many there are.
            pub fn len(&self) -> usize {
                match self {
                    $(Array::$name(numbers) => numbers.len(),)*
                }
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The same, borrowed.
            pub fn borrowed(&self) -> Array<'_> {
                match self {
                    $(Array::$name(numbers) => Array::$name(Cow::Borrowed(numbers)),)*
                }
            }

            /// A copy.
            ///
            /// # Errors
            /// [`Error::Memory`] where there is no room for it.
            pub fn copied(&self) -> Result<Array<'static>, Error> {
                Ok(match self {
                    $(Array::$name(numbers) => {
                        let mut copy = Vec::new();
                        let refused = |e| Error::Memory(format!("a copy of an array: {e}"));
                        copy.try_reserve_exact(numbers.len()).map_err(refused)?;
                        copy.extend_from_slice(numbers);
                        Array::$name(Cow::Owned(copy))
                    })*
                })
            }

            /// Its values, exactly.
            pub fn values(&self) -> Vec<f64> {
                match self {
                    $(Array::$name(numbers) => numbers.iter().map(|x| x.to_f64()).collect(),)*
                }
            }

            /// Whether none is infinite or NaN.
            pub fn is_finite(&self) -> bool {
                match self {
                    $(Array::$name(numbers) => numbers.iter().all(|x| x.to_f64().is_finite()),)*
                }
            }
        }
    };
}

arrays! {
    F32 f32;
    F64 f64;
    F16 F16;
    BF16 BF16;
    I32 i32;
    I8 i8;
    U8 u8;
    I16 i16;
    U16 u16;
}

/// How a type's own arrays are told from those of others.
macro_rules! own_arrays {
    ($name:ident) => {
        fn array(numbers: &[Self]) -> Option<Array<'_>> {
            Some(Array::from(numbers))
        }
        fn numbers<'a>(array: &'a Array<'_>) -> Option<&'a [Self]> {
            match array {
                Array::$name(numbers) => Some(numbers),
                _ => None,
            }
        }
    };
}

macro_rules! machine_floats {
    ($($t:ident $name:ident $bits:ident;)*) => {$(
        impl Sealed for $t {}

        impl Stored for $t {
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
            own_arrays!($name);
        }
    )*};
}

machine_floats! {
    f32 F32 u32;
    f64 F64 u64;
}

macro_rules! integers {
    ($($t:ident $name:ident $bits:ident;)*) => {$(
        impl Sealed for $t {}

        impl Stored for $t {
            const DTYPE: DType = DType::$name;
            fn from_f64(x: f64) -> Self {
                x.round_ties_even() as $t
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn from_bits(bits: u64) -> Self {
                bits as $t
            }
            fn bits(self) -> u64 {
                (self as $bits).into()
            }
            own_arrays!($name);
        }
    )*};
}

integers! {
    i32 I32 u32;
    i8 I8 u8;
    u8 U8 u8;
    i16 I16 u16;
    u16 U16 u16;
}

macro_rules! halves {
    ($($t:ident;)*) => {$(
        impl Sealed for $t {}

        impl Stored for $t {
            const DTYPE: DType = DType::$t;
            fn from_f64(x: f64) -> Self {
                $t::from_f64(x)
            }
            fn to_f64(self) -> f64 {
                $t::to_f64(self)
            }
            fn from_bits(bits: u64) -> Self {
                $t::from_bits(bits as u16)
            }
            fn bits(self) -> u64 {
                self.to_bits().into()
            }
            own_arrays!($t);
        }
    )*};
}

halves! {
    F16;
    BF16;
}

/// An expression in which `T` is the [`Stored`] type of any [`DType`].
///
/// ```
/// use conv_ir::{DType, Stored, with_stored};
/// let largest = |dtype: DType| with_stored!(dtype, T => T::from_f64(65519.0).to_f64());
/// assert_eq!((largest(DType::F16), largest(DType::F32)), (65504.0, 65519.0));
/// ```
#[macro_export]
macro_rules! with_stored {
    ($dtype:expr, $T:ident => $body:expr) => {{
        let dtype: $crate::DType = $dtype;
        match dtype {
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::F16 => {
                type $T = $crate::F16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = $crate::BF16;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::DType::U16 => {
                type $T = u16;
                $body
            }
        }
    }};
}
