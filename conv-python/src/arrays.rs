//! NumPy arrays as slices.
//!
//! An array must hold the element type and lie row by row: one in Fortran order is contiguous too,
//! but its elements come in another order. Borrows are counted, so that an output which is also
//! read is an error.

use conv_jit::DType;
use numpy::{
    Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// What every element type of the compiler is to NumPy.
pub trait Number: conv_jit::Element + Element {}

impl<T: conv_jit::Element + Element> Number for T {}

/// NumPy's name of a type.
pub fn numpy_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::F64 => "float64",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
    }
}

/// An array that is read.
pub fn read<'py, T: Number>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let array = of_type::<T>(name, array)?;
    array.try_readonly().map_err(|_| {
        PyValueError::new_err(format!("{name} is written by another call at the same time"))
    })
}

/// An array that is written.
pub fn write<'py, T: Number>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadwriteArrayDyn<'py, T>> {
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
) -> PyResult<&'a Bound<'py, PyArrayDyn<T>>> {
    let Ok(array) = array.cast::<PyUntypedArray>() else {
        let kind = array.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} is no NumPy array, but a {kind}")));
    };
    if !array.is_c_contiguous() {
        return Err(PyValueError::new_err(format!(
            "the elements of {name} do not lie row by row: give numpy.ascontiguousarray({name})"
        )));
    }
    array.cast::<PyArrayDyn<T>>().map_err(|_| wrong_type(name, array, T::DTYPE))
}

fn wrong_type(name: &str, array: &Bound<'_, PyUntypedArray>, dtype: DType) -> PyErr {
    let (found, needed) = (array.dtype(), numpy_name(dtype));
    PyTypeError::new_err(format!(
        "{name} holds {found}, but the convolution computes in {needed}: convert it by \
         {name}.astype(numpy.{needed}), or describe the other type"
    ))
}
