//! The compiled half of the Python package `convc`.
//!
//! ```text
//! text --Program--> machine code --pack--> Packed --run--> NumPy arrays
//! ```
//!
//! In: texts and NumPy arrays of the element type. Out: errors as
//! `ValueError`, `TypeError` and `MemoryError` with the compiler's sentences. What is SciPy's or
//! PyTorch's manner (defaults, axes, types of integers, copies) is Python's half, in
//! `python/convc`: here is nothing that Python can do as well.
//!
//! The interpreter's lock is released while anything is compiled, packed or computed.

mod arrays;
mod blocks;
mod error;
mod packed;
mod program;
mod threads;

use pyo3::prelude::*;

/// The compiled half of `convc`.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<program::Program>()?;
    module.add_class::<packed::Packed>()?;
    module.add_function(wrap_pyfunction!(program::without_zero_point, module)?)?;
    module.add_function(wrap_pyfunction!(threads::before_fork, module)?)?;
    module.add_function(wrap_pyfunction!(threads::after_fork, module)?)?;
    module.add_function(wrap_pyfunction!(target, module)?)?;
    module.add_function(wrap_pyfunction!(forget, module)?)
}

/// What code is made for on this machine: its instructions and caches.
#[pyfunction]
fn target() -> String {
    conv_jit::host_target().to_string()
}

/// Forgets the compiled code that nobody holds.
#[pyfunction]
fn forget() {
    conv_jit::cache::clear();
}
