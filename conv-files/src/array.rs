//! An array as a file holds it.

use crate::claims::room;
use crate::numbers::with_number;
use crate::{Kind, Number};

/// A file's contents: what the header says, and the numbers' bytes.
pub struct Array {
    /// The type of the numbers.
    pub kind: Kind,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    pub(crate) order: Order,
    pub(crate) bytes: Vec<u8>,
}

/// How the bytes lie.
#[derive(Clone, Copy, Default)]
pub(crate) struct Order {
    /// The highest byte of a number comes first.
    pub big_endian: bool,
    /// The first axis is the innermost.
    pub columns_first: bool,
}

impl Array {
    /// Of these numbers in C order, each rounded to the nearest of that type.
    ///
    /// # Errors
    /// How much memory it would take.
    pub fn of(kind: Kind, shape: Vec<usize>, numbers: &[f64]) -> Result<Array, String> {
        let mut bytes = room(numbers.len().saturating_mul(kind.bytes()))?;
        with_number!(kind, T => numbers.iter().for_each(|&x| push(&[T::nearest(x)], &mut bytes)));
        Ok(Array { kind, shape, order: Order::default(), bytes })
    }

    /// As it can be convolved: whole numbers of 64 bits, NumPy's default, become `i32`, and `bool`
    /// becomes `u8`.
    ///
    /// # Errors
    /// The first number that `i32` does not hold.
    pub fn convolved(self) -> Result<Array, String> {
        match self.kind {
            Kind::I64 => {
                let numbers = self.values::<i64>();
                if let Some(beyond) = numbers.iter().find(|&&x| i32::try_from(x).is_err()) {
                    return Err(format!(
                        "holds {beyond} as int64; whole numbers are convolved as int32, up to {} \
                         (in NumPy: x.astype('float64') for larger ones)",
                        i32::MAX
                    ));
                }
                let numbers: Vec<f64> = numbers.into_iter().map(|x| x as f64).collect();
                Array::of(Kind::I32, self.shape, &numbers)
            }
            Kind::Bool => Array::of(Kind::U8, self.shape.clone(), &self.exact()),
            _ => Ok(self),
        }
    }

    /// The numbers as f64, which holds them all exactly but whole numbers beyond 2^53.
    pub fn exact(&self) -> Vec<f64> {
        with_number!(self.kind, T => self.mapped(|x: T| x.exact()))
    }

    /// The numbers in C order, as `T` where they are of another type. f32 holds each f16 and bf16.
    pub fn values<T: Number>(&self) -> Vec<T> {
        if self.kind == T::KIND {
            return self.mapped(|x| x);
        }
        with_number!(self.kind, S => self.mapped(|x: S| T::nearest(x.exact())))
    }

    fn mapped<T: Number, U: Copy>(&self, map: impl Fn(T) -> U) -> Vec<U> {
        let chunks = self.bytes.chunks_exact(size_of::<T>());
        let number = |chunk: &[u8]| {
            let mut bytes = [0; 8];
            bytes[..size_of::<T>()].copy_from_slice(chunk);
            map(T::from_bits(u64::from_le_bytes(bytes)))
        };
        let turned = |chunk: &[u8]| {
            let mut bytes = [0; 8];
            bytes[8 - size_of::<T>()..].copy_from_slice(chunk);
            map(T::from_bits(u64::from_be_bytes(bytes)))
        };
        let values = match self.order.big_endian {
            true => chunks.map(turned).collect(),
            false => chunks.map(number).collect(),
        };
        if self.order.columns_first { rows_first(&self.shape, values) } else { values }
    }
}

/// Appends the bytes of numbers, the lowest byte of each first.
pub(crate) fn push<T: Number>(values: &[T], bytes: &mut Vec<u8>) {
    for value in values {
        bytes.extend_from_slice(&value.bits().to_le_bytes()[..size_of::<T>()]);
    }
}

/// Elements of a Fortran-ordered array, put into C order.
fn rows_first<T: Copy>(shape: &[usize], values: Vec<T>) -> Vec<T> {
    if values.is_empty() {
        return values;
    }
    let mut strides = Vec::with_capacity(shape.len());
    shape.iter().fold(1, |stride, extent| {
        strides.push(stride);
        stride * extent
    });
    let mut index = vec![0; shape.len()];
    let place = |_| {
        let at: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        for (i, extent) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *extent {
                break;
            }
            *i = 0;
        }
        values[at]
    };
    (0..values.len()).map(place).collect()
}
