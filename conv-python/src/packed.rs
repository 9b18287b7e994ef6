//! A compiled program with its weights: what runs.

use conv_jit::{Compiled, DType, StepWeights};
use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;

use crate::arrays::{Number, read, write};
use crate::error::to_python;
use crate::threads::Pool;

/// Weight and bias of a step, where they are not compiled in.
type StepArrays<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// Arrays of a step while they are borrowed.
type Borrowed<'py, T> = (Option<PyReadonlyArrayDyn<'py, T>>, Option<PyReadonlyArrayDyn<'py, T>>);

/// A program with packed weights. Made by `Program.pack`.
#[pyclass(frozen, module = "convc._native")]
pub struct Packed {
    of: Of,
}

enum Of {
    F32(conv_jit::Packed<f32>),
    F64(conv_jit::Packed<f64>),
}

impl Packed {
    pub fn new(py: Python<'_>, compiled: &Compiled, weights: &[StepArrays<'_>]) -> PyResult<Self> {
        let of = match compiled.dtype() {
            DType::F64 => Of::F64(pack(py, compiled, weights)?),
            // Arrays of narrower types are refused there.
            _ => Of::F32(pack(py, compiled, weights)?),
        };
        Ok(Packed { of })
    }
}

#[pymethods]
impl Packed {
    /// Computes `out` from `x`. Arrays lie row by row and have as many elements as their shapes
    /// say; whose shape they have is not looked at.
    #[pyo3(signature = (x, out, residual=None, sizes=None, threads=None))]
    fn run(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        out: &Bound<'_, PyAny>,
        residual: Option<&Bound<'_, PyAny>>,
        sizes: Option<Vec<(String, usize)>>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let said = Said { residual, sizes: sizes.unwrap_or_default(), threads };
        match &self.of {
            Of::F32(packed) => run(py, packed, x, out, &said),
            Of::F64(packed) => run(py, packed, x, out, &said),
        }
    }
}

/// What a call says beside its two arrays.
struct Said<'a, 'py> {
    residual: Option<&'a Bound<'py, PyAny>>,
    sizes: Vec<(String, usize)>,
    threads: Option<usize>,
}

fn run<T: Number>(
    py: Python<'_>,
    packed: &conv_jit::Packed<T>,
    x: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
    said: &Said<'_, '_>,
) -> PyResult<()> {
    let x = read::<T>("x", x)?;
    let residual = said.residual.map(|residual| read::<T>("residual", residual)).transpose()?;
    let mut out = write::<T>("out", out)?;
    let (x, out) = (x.as_slice()?, out.as_slice_mut()?);
    let residual = residual.as_ref().map(|residual| residual.as_slice()).transpose()?;
    let sizes: Vec<_> = said.sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    let threads = said.threads;
    let compute = move || {
        let mut call = packed.call(x, out).sizes(&sizes).executor(&Pool);
        if let Some(residual) = residual {
            call = call.residual(residual);
        }
        if let Some(threads) = threads {
            call = call.threads(threads);
        }
        call.run()
    };
    py.detach(compute).map_err(to_python)
}

fn pack<T: Number>(
    py: Python<'_>,
    compiled: &Compiled,
    weights: &[StepArrays<'_>],
) -> PyResult<conv_jit::Packed<T>> {
    let mut borrowed: Vec<Borrowed<'_, T>> = Vec::with_capacity(weights.len());
    for (weight, bias) in weights {
        let weight = weight.as_ref().map(|weight| read("weight", weight)).transpose()?;
        let bias = bias.as_ref().map(|bias| read("bias", bias)).transpose()?;
        borrowed.push((weight, bias));
    }
    let mut steps: Vec<StepWeights<'_, T>> = Vec::with_capacity(weights.len());
    for (weight, bias) in &borrowed {
        let weight = weight.as_ref().map(|weight| weight.as_slice()).transpose()?;
        let bias = bias.as_ref().map(|bias| bias.as_slice()).transpose()?;
        steps.push(StepWeights { weight: weight.unwrap_or_default(), bias });
    }
    py.detach(|| compiled.pack_steps(&steps)).map_err(to_python)
}
