//! Arrays that go in and come out: a shape, and numbers in C order.

use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayView, Dimension, IxDyn};
use tract_onnx::prelude::Tensor as TractTensor;
use tract_onnx::prelude::{DatumType, f16};

use crate::Error;

/// A number type that a tensor can hold.
pub trait Number: tract_onnx::prelude::Datum + Copy {}

macro_rules! numbers {
    ($($t:ty)*) => { $(impl Number for $t {})* };
}

numbers!(f16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 bool);

/// A tensor. Clones share the numbers.
///
/// ```
/// use conv_onnx::Tensor;
/// let tensor = Tensor::new(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
/// assert_eq!((tensor.shape(), tensor.dtype()), (&[2, 2][..], "f32".to_owned()));
/// assert_eq!(tensor.values::<f32>(), Some(&[1.0, 2.0, 3.0, 4.0][..]));
/// assert_eq!(tensor.values::<i64>(), None);
/// let array = ndarray::arr2(&[[1.0f32, 3.0], [2.0, 4.0]]);
/// assert_eq!(Tensor::from(array.t()).values::<f32>(), tensor.values::<f32>());
/// # Ok::<(), conv_onnx::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(pub(crate) Arc<TractTensor>);

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype(), self.shape())
    }
}

impl Tensor {
    /// A copy of numbers in C order.
    ///
    /// # Errors
    /// [`Error::Tensor`] where there are more or fewer than the shape says.
    pub fn new<T: Number>(shape: &[usize], values: &[T]) -> Result<Tensor, Error> {
        let needed = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if needed != Some(values.len()) {
            let found = values.len();
            return Err(Error::Tensor(format!("shape {shape:?} does not hold {found} numbers")));
        }
        let copy = TractTensor::from_shape(shape, values);
        let copy = copy.map_err(|error| Error::Tensor(format!("{error:#}")))?;
        Ok(Tensor(Arc::new(copy)))
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// The type of its numbers: `f32`, `i64`, ..
    pub fn dtype(&self) -> String {
        dtype_name(self.0.datum_type())
    }

    /// The numbers in C order; none where they are of another type.
    pub fn values<T: Number>(&self) -> Option<&[T]> {
        self.0.try_as_plain_ram().ok()?.as_slice::<T>().ok()
    }

    /// A copy as an array; none where the numbers are of another type.
    pub fn to_array<T: Number>(&self) -> Option<ArrayD<T>> {
        ArrayD::from_shape_vec(IxDyn(self.shape()), self.values::<T>()?.to_vec()).ok()
    }
}

impl<T: Number, D: Dimension> From<ArrayView<'_, T, D>> for Tensor {
    /// A copy in C order, whatever the order of the array.
    fn from(array: ArrayView<'_, T, D>) -> Tensor {
        let values: Vec<T> = array.iter().copied().collect();
        // The array has as many elements as its shape says, so that nothing is refused.
        let tensor = TractTensor::from_shape(array.shape(), &values);
        Tensor(Arc::new(tensor.unwrap_or_default()))
    }
}

pub(crate) fn dtype_name(dtype: DatumType) -> String {
    format!("{dtype:?}").to_lowercase()
}
