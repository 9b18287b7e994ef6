//! Element types: what a number is, said once.
//!
//! A [`DType`] names a type at run time, and its [`Format`] is everything that a program needs to
//! know of it: size, kind, bits of a value, and the type that sums are *computed in*. Types that
//! are computed in are [`Element`]s; [`with_element!`](crate::with_element) goes from the name to
//! the type. Others are stored: they are widened when they are loaded, and a result is rounded to
//! them ([`DType::round`]), to nearest even, or to the end of an integer's range. A new type is a
//! row of [`DType::format`], and instructions for it in conv-codegen and conv-jit.
//!
//! Integers are computed in i32, modulo 2^32, as ONNX's `ConvInteger` says: so any order gives the
//! same sum.

use std::fmt;

use crate::half::{BF16, F16};

/// What the bits of a type mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A floating-point number (an interchange format of IEEE 754, or one like it).
    Float,
    /// A two's complement integer.
    Signed,
    /// An integer that is not negative.
    Unsigned,
}

/// What an element type looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Format {
    /// The name in descriptions, which is Rust's.
    pub name: &'static str,
    /// Size of one element.
    pub bytes: usize,
    /// What its bits mean.
    pub kind: Kind,
    /// Bits of the fraction, the leading one not counted. Of an integer: bits below the largest
    /// power of two that it holds.
    pub mantissa: u32,
    /// What the exponent field holds for `2^0`; 0 for integers.
    pub bias: i64,
    /// The type that sums of such numbers are computed in.
    pub computed: DType,
}

/// The type of the numbers in a buffer or a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16. Stored; computed in f32.
    F16,
    /// The upper half of a binary32. Stored; computed in f32.
    BF16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 8 bits. Stored; computed in i32.
    I8,
    /// Not negative, 8 bits. Stored; computed in i32.
    U8,
    /// Signed, 16 bits. Stored; computed in i32.
    I16,
    /// Not negative, 16 bits. Stored; computed in i32.
    U16,
}

impl DType {
    /// All of them.
    pub const ALL: &[DType] = &[
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I32,
        DType::I8,
        DType::U8,
        DType::I16,
        DType::U16,
    ];

    /// What the type looks like.
    pub const fn format(self) -> &'static Format {
        const fn float(
            name: &'static str,
            bytes: usize,
            (mantissa, bias): (u32, i64),
            computed: DType,
        ) -> Format {
            Format { name, bytes, kind: Kind::Float, mantissa, bias, computed }
        }
        const fn signed(name: &'static str, bytes: usize) -> Format {
            let mantissa = 8 * bytes as u32 - 2;
            Format { name, bytes, kind: Kind::Signed, mantissa, bias: 0, computed: DType::I32 }
        }
        const fn unsigned(name: &'static str, bytes: usize) -> Format {
            let mantissa = 8 * bytes as u32 - 1;
            Format { name, bytes, kind: Kind::Unsigned, mantissa, bias: 0, computed: DType::I32 }
        }
        match self {
            DType::F32 => const { &float("f32", 4, (23, 127), DType::F32) },
            DType::F64 => const { &float("f64", 8, (52, 1023), DType::F64) },
            DType::F16 => const { &float("f16", 2, (10, 15), DType::F32) },
            DType::BF16 => const { &float("bf16", 2, (7, 127), DType::F32) },
            DType::I32 => const { &signed("i32", 4) },
            DType::I8 => const { &signed("i8", 1) },
            DType::U8 => const { &unsigned("u8", 1) },
            DType::I16 => const { &signed("i16", 2) },
            DType::U16 => const { &unsigned("u16", 2) },
        }
    }
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

    /// The names of all, in a sentence.
    pub fn names() -> String {
        let names: Vec<String> = DType::ALL.iter().map(|dtype| format!("`{dtype}`")).collect();
        let (last, before) = names.split_last().expect("there are types");
        format!("{} or {last}", before.join(", "))
    }

    /// Whether sums are computed in it.
    pub fn is_computed(self) -> bool {
        self.format().computed == self
    }

    /// Whether its values are integers.
    pub fn is_integer(self) -> bool {
        self.format().kind != Kind::Float
    }

    /// The least and the greatest value of an integer type.
    ///
    /// ```
    /// use conv_ir::DType;
    /// assert_eq!(DType::I8.range(), Some((-128, 127)));
    /// assert_eq!((DType::U16.range(), DType::F32.range()), (Some((0, 65535)), None));
    /// ```
    pub fn range(self) -> Option<(i64, i64)> {
        let bits = 8 * self.bytes() as u32;
        match self.format().kind {
            Kind::Float => None,
            Kind::Signed => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            Kind::Unsigned => Some((0, (1 << bits) - 1)),
        }
    }

    /// The nearest value to `x`, ties to even. What is too large becomes infinite, or the end of an
    /// integer's range, where NaN is 0.
    pub fn round(self, x: f64) -> f64 {
        if let Some((least, greatest)) = self.range() {
            return (x.round_ties_even() as i64).clamp(least, greatest) as f64;
        }
        match self {
            // Integers, which have a range.
            DType::I32 | DType::I8 | DType::U8 | DType::I16 | DType::U16 => x,
            DType::F32 => f64::from(x as f32),
            DType::F64 => x,
            DType::F16 => F16::from_f64(x).to_f64(),
            DType::BF16 => BF16::from_f64(x).to_f64(),
        }
    }

    /// The bits of the nearest value to `x`. NaN is a quiet one.
    pub fn bits_of(self, x: f64) -> u64 {
        match self {
            DType::F32 => u64::from((x as f32).to_bits()),
            DType::F64 => x.to_bits(),
            DType::F16 => F16::from_f64(x).to_bits().into(),
            DType::BF16 => BF16::from_f64(x).to_bits().into(),
            DType::I32 | DType::I8 | DType::U8 | DType::I16 | DType::U16 => {
                self.round(x) as i64 as u64 & (u64::MAX >> (64 - 8 * self.bytes()))
            }
        }
    }

    /// The value whose bits are the lowest of these.
    pub fn value_of(self, bits: u64) -> f64 {
        match self {
            DType::I32 => f64::from(bits as i32),
            DType::I8 => f64::from(bits as i8),
            DType::U8 => f64::from(bits as u8),
            DType::I16 => f64::from(bits as i16),
            DType::U16 => f64::from(bits as u16),
            DType::F32 => f64::from(f32::from_bits(bits as u32)),
            DType::F64 => f64::from_bits(bits),
            DType::F16 => F16::from_bits(bits as u16).to_f64(),
            DType::BF16 => BF16::from_bits(bits as u16).to_f64(),
        }
    }

    /// The nearest value to `x` in digits that read back exactly as a number of the type that it
    /// is computed in: the shortest of those.
    pub fn digits(self, x: f64) -> String {
        let x = self.round(x);
        match self.format().computed {
            DType::F64 => format!("{x:?}"),
            DType::I32 => format!("{x}"),
            _ => format!("{:?}", x as f32),
        }
    }

    /// Distance from 1 to the next larger value: the unit in the last place of 1.
    pub fn epsilon(self) -> f64 {
        if self.is_integer() { 1.0 } else { 0.5f64.powi(self.format().mantissa as i32) }
    }

    /// The most that an operation rounds by, relative to its result; integers are never rounded.
    pub(crate) fn unit(self) -> f64 {
        if self.is_integer() { 0.0 } else { self.epsilon() / 2.0 }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_the_types() {
        let of = |dtype: DType| (dtype.bytes(), dtype.format().mantissa, dtype.format().bias);
        let all = DType::ALL.iter().map(|&dtype| (dtype.to_string(), of(dtype)));
        let all: Vec<_> = all.collect();
        let named = |name: &str, of| (name.to_owned(), of);
        assert_eq!(all[..2], [named("f32", (4, 23, 127)), named("f64", (8, 52, 1023))]);
        assert_eq!(all[2..4], [named("f16", (2, 10, 15)), named("bf16", (2, 7, 127))]);
        for &dtype in DType::ALL {
            assert_eq!(DType::named(&dtype.to_string()), Some(dtype));
            assert_eq!(dtype.round(1.0 + dtype.epsilon()), 1.0 + dtype.epsilon());
            if dtype.is_integer() {
                continue;
            }
            assert_eq!(dtype.round(1.0 + dtype.epsilon() / 2.0), 1.0);
            let one = dtype.format().bias as u64;
            assert_eq!(dtype.bits_of(1.0), one << dtype.format().mantissa);
        }
        assert_eq!((DType::F32.digits(0.1), DType::F64.digits(0.1)), ("0.1".into(), "0.1".into()));
    }

    #[test]
    fn integers_end_at_their_range() {
        for (dtype, least, greatest, bytes) in [
            (DType::I8, f64::from(i8::MIN), f64::from(i8::MAX), 1),
            (DType::U8, 0.0, f64::from(u8::MAX), 1),
            (DType::I16, f64::from(i16::MIN), f64::from(i16::MAX), 2),
            (DType::U16, 0.0, f64::from(u16::MAX), 2),
            (DType::I32, f64::from(i32::MIN), f64::from(i32::MAX), 4),
        ] {
            assert_eq!((dtype.bytes(), dtype.format().computed), (bytes, DType::I32));
            assert_eq!((dtype.round(-1e300), dtype.round(f64::INFINITY)), (least, greatest));
            assert_eq!(dtype.round(f64::NAN), 0.0);
            let ties = [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (2.51, 3.0)];
            ties.iter().for_each(|(x, to)| assert_eq!(dtype.round(*x), *to));
            for x in [least, greatest, 1.0, least / 2.0] {
                let x = dtype.round(x);
                assert_eq!(dtype.value_of(dtype.bits_of(x)), x, "{dtype}");
                assert!(dtype.bits_of(x) >> (8 * bytes) == 0);
            }
        }
        assert_eq!((DType::I8.digits(-3.4), DType::U8.digits(-3.4)), ("-3".into(), "0".into()));
    }

    /// Every f16 and bf16, the points half-way to the next one, and those beside.
    #[test]
    fn sixteen_bits_round_to_nearest_even() {
        for dtype in [DType::F16, DType::BF16] {
            let infinity = dtype.bits_of(f64::INFINITY);
            for bits in 0..infinity {
                let (x, next) = (dtype.value_of(bits), dtype.value_of(bits + 1));
                assert_eq!(dtype.bits_of(x), bits);
                assert_eq!(dtype.bits_of(-x), bits | 0x8000);
                let next =
                    if bits + 1 == infinity { 2.0 * x - dtype.value_of(bits - 1) } else { next };
                let half = (x + next) / 2.0;
                assert_eq!(dtype.bits_of(half), bits + (bits & 1), "{dtype} {bits:#x}");
                assert_eq!(dtype.bits_of(half.next_down()), bits);
                assert_eq!(dtype.bits_of(half.next_up()), bits + 1);
            }
            assert!(dtype.round(f64::NAN).is_nan() && dtype.value_of(infinity + 1).is_nan());
            assert!(dtype.value_of(dtype.bits_of(f64::NAN)).is_nan());
            assert_eq!(dtype.value_of(infinity | 0x8000), f64::NEG_INFINITY);
            assert!(dtype.round(-0.0).is_sign_negative() && dtype.value_of(0x8000) == 0.0);
        }
        assert_eq!(
            (DType::F16.round(65519.9), DType::F16.round(65520.0)),
            (65504.0, f64::INFINITY)
        );
        assert_eq!(DType::F16.round(2f64.powi(-25)), 0.0);
        assert_eq!(DType::F16.round(2f64.powi(-25) * 1.001), 2f64.powi(-24));
    }
}
