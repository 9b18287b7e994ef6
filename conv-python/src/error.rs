//! The compiler's errors as Python's.

use conv_jit::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};

/// A wrong type is a `TypeError`, no memory a `MemoryError`, all else a `ValueError`.
pub fn to_python(error: Error) -> PyErr {
    let sentence = error.to_string();
    match error {
        Error::DType { .. } => PyTypeError::new_err(sentence),
        Error::Memory(_) => PyMemoryError::new_err(sentence),
        _ => PyValueError::new_err(sentence),
    }
}

/// Those of a description.
pub fn of_description(error: conv_ir::Error) -> PyErr {
    to_python(error.into())
}
