//! NumPy arrays as slices.
//!
//! An array must hold the element type and lie row by row: one in Fortran order is contiguous too,
//! but its elements come in another order. Borrows are counted, so that an output which is also
//! read is an error. Arrays of `float16` and `bfloat16` come as the `uint16` of their bits.

use conv_jit::{Array, BF16, DType, F16, Stored};
use numpy::{
    Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// What every type of the compiler's arrays is to NumPy.
pub trait Number: Stored {
    /// What the arrays hold that come here: itself, or its bits as `uint16`.
    type Held: Element;
    /// NumPy's name of the type.
    const NAME: &str;
    fn of(held: &[Self::Held]) -> &[Self];
    fn of_mut(held: &mut [Self::Held]) -> &mut [Self];
}

macro_rules! numbers {
    ($($t:ident $held:ident $name:literal $numbers:expr, $numbers_mut:expr;)*) => {$(
        impl Number for $t {
            type Held = $held;
            const NAME: &str = $name;
            fn of(held: &[$held]) -> &[$t] {
                $numbers(held)
            }
            fn of_mut(held: &mut [$held]) -> &mut [$t] {
                $numbers_mut(held)
            }
        }
    )*};
}

numbers! {
    f32 f32 "float32" |held| held, |held| held;
    f64 f64 "float64" |held| held, |held| held;
    F16 u16 "float16" conv_jit::f16s, conv_jit::f16s_mut;
    BF16 u16 "bfloat16" conv_jit::bf16s, conv_jit::bf16s_mut;
    i32 i32 "int32" |held| held, |held| held;
    i8 i8 "int8" |held| held, |held| held;
    u8 u8 "uint8" |held| held, |held| held;
    i16 i16 "int16" |held| held, |held| held;
    u16 u16 "uint16" |held| held, |held| held;
}

/// NumPy's name of a type.
pub fn numpy_name(dtype: DType) -> &'static str {
    conv_ir::with_stored!(dtype, T => T::NAME)
}

/// An array of a type that is known at run time, while it is borrowed.
pub struct Given<'py> {
    array: Box<dyn AsArray + 'py>,
}

impl<'py> Given<'py> {
    pub fn read(name: &str, dtype: DType, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        conv_ir::with_stored!(dtype, T => {
            let array = Box::new(Of::<T>(read::<T>(name, array)?));
            Ok(Given { array })
        })
    }

    pub fn array(&self) -> PyResult<Array<'_>> {
        self.array.array()
    }
}

struct Of<'py, T: Number>(PyReadonlyArrayDyn<'py, T::Held>);

trait AsArray {
    fn array(&self) -> PyResult<Array<'_>>;
}

impl<T: Number> AsArray for Of<'_, T> {
    fn array(&self) -> PyResult<Array<'_>> {
        let numbers = T::of(self.0.as_slice()?);
        T::array(numbers).ok_or_else(|| PyTypeError::new_err("an array of no type"))
    }
}

/// An array that is read.
pub fn read<'py, T: Number>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArrayDyn<'py, T::Held>> {
    let array = of_type::<T>(name, array)?;
    array.try_readonly().map_err(|_| {
        PyValueError::new_err(format!("{name} is written by another call at the same time"))
    })
}

/// An array that is written.
pub fn write<'py, T: Number>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadwriteArrayDyn<'py, T::Held>> {
    let array = of_type::<T>(name, array)?;
    array.try_readwrite().map_err(|error| {
        PyValueError::new_err(match error {
            numpy::BorrowError::NotWriteable => format!("{name} is read-only"),
            _ => format!("{name} shares memory with an array that this or another call uses"),
        })
    })
}

fn of_type<'a, 'py, T: Number>(
    name: &str,
    array: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyArrayDyn<T::Held>>> {
    let Ok(array) = array.cast::<PyUntypedArray>() else {
        let kind = array.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} is no NumPy array, but a {kind}")));
    };
    if !array.is_c_contiguous() {
        return Err(PyValueError::new_err(format!(
            "the elements of {name} do not lie row by row: give numpy.ascontiguousarray({name})"
        )));
    }
    array.cast::<PyArrayDyn<T::Held>>().map_err(|_| wrong_type(name, array, T::NAME))
}

fn wrong_type(name: &str, array: &Bound<'_, PyUntypedArray>, needed: &str) -> PyErr {
    let found = array.dtype();
    PyTypeError::new_err(format!(
        "{name} holds {found}, but the convolution takes {needed}: convert it by \
         {name}.astype('{needed}'), or describe the other type"
    ))
}
