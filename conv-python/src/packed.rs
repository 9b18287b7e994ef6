//! A compiled program with its weights: what runs.

use conv_ir::with_stored;
use conv_jit::{Compiled, Conv, StepArrays};
use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;

use crate::arrays::{Given, Number, check_axes, read, write};
use crate::error::to_python;
use crate::threads::{Pool, apart};

/// Weight and bias of a step, where they are not compiled in.
type Weights<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// A program with packed weights. Made by `Program.pack`.
#[pyclass(frozen, module = "convc._native")]
pub struct Packed {
    of: Box<dyn Run>,
}

impl Packed {
    pub fn new(py: Python<'_>, compiled: &Compiled, weights: &[Weights<'_>]) -> PyResult<Self> {
        let program = compiled.program();
        let mut borrowed = Vec::with_capacity(weights.len());
        // How many there should be is said by `pack_arrays`.
        let convs = program.convs().map(Some).chain(std::iter::repeat(None));
        for (conv, (weight, bias)) in convs.zip(weights) {
            borrowed.push(match conv {
                Some(conv) => borrow(conv, weight.as_ref(), bias.as_ref())?,
                None => (None, None),
            });
        }
        let mut steps = Vec::with_capacity(weights.len());
        for (weight, bias) in &borrowed {
            let weight = weight.as_ref().map(Given::array).transpose()?;
            let bias = bias.as_ref().map(Given::array).transpose()?;
            steps.push(StepArrays { weight, bias });
        }
        let (input, output) = (program.type_of(0), program.type_of(program.steps().len()));
        let of = with_stored!(input, I => with_stored!(output, O => {
            let packed = apart(py, || compiled.pack_arrays::<I, O>(&steps)).map_err(to_python)?;
            Box::new(packed) as Box<dyn Run>
        }));
        Ok(Packed { of })
    }
}

/// Weight and bias of a step while they are borrowed.
type Borrowed<'py> = (Option<Given<'py>>, Option<Given<'py>>);

fn borrow<'py>(
    conv: &Conv,
    weight: Option<&Bound<'py, PyAny>>,
    bias: Option<&Bound<'py, PyAny>>,
) -> PyResult<Borrowed<'py>> {
    let types = conv.types();
    let weight = weight.map(|weight| Given::read("weight", types.weight, weight)).transpose()?;
    let bias = bias.map(|bias| Given::read("bias", types.bias, bias)).transpose()?;
    Ok((weight, bias))
}

#[pymethods]
impl Packed {
    /// Computes `out` from `x`. Arrays that lie row by row have as many elements as their shapes
    /// say; whose shape they have is not looked at. Others have their shapes, and those whose rows
    /// do are used as they lie.
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
        self.of.run(py, (x, out), &said)
    }
}

/// What a call says beside its two arrays.
struct Said<'a, 'py> {
    residual: Option<&'a Bound<'py, PyAny>>,
    sizes: Vec<(String, usize)>,
    threads: Option<usize>,
}

/// Packed weights whose input and output are of any types.
trait Run: Send + Sync {
    fn run<'py>(
        &self,
        py: Python<'py>,
        arrays: (&Bound<'py, PyAny>, &Bound<'py, PyAny>),
        said: &Said<'_, 'py>,
    ) -> PyResult<()>;
}

impl<I: Number, O: Number> Run for conv_jit::Packed<I, O> {
    fn run<'py>(
        &self,
        py: Python<'py>,
        (x, out): (&Bound<'py, PyAny>, &Bound<'py, PyAny>),
        said: &Said<'_, 'py>,
    ) -> PyResult<()> {
        let x = read::<I>("x", x)?;
        let residual = said.residual.map(|residual| read::<O>("residual", residual)).transpose()?;
        let mut out = write::<O>("out", out)?;
        let rows = residual.as_ref().is_none_or(|residual| residual.is_c_contiguous());
        let result = match rows && x.is_c_contiguous() && out.is_c_contiguous() {
            true => {
                let (x, out) = (I::of(x.as_slice()?), O::of_mut(out.as_slice_mut()?));
                let residual = residual.as_ref().map(|residual| residual.as_slice()).transpose()?;
                let sizes = said.sizes.iter().map(|(name, size)| (name.as_str(), *size));
                let sizes: Vec<_> = sizes.collect();
                let mut call = self.call(x, out).sizes(&sizes).executor(&Pool);
                if let Some(residual) = residual {
                    call = call.residual(O::of(residual));
                }
                if let Some(threads) = said.threads {
                    call = call.threads(threads);
                }
                apart(py, move || call.run())
            }
            false => {
                check_axes("x", x.ndim())?;
                check_axes("out", out.ndim())?;
                if let Some(residual) = &residual {
                    check_axes("residual", residual.ndim())?;
                }
                let (x, out) = (I::view(x.as_array()), O::view_mut(out.as_array_mut()));
                let mut call = self.call_view(x, out).executor(&Pool);
                if let Some(residual) = &residual {
                    call = call.residual(O::view(residual.as_array()));
                }
                if let Some(threads) = said.threads {
                    call = call.threads(threads);
                }
                apart(py, move || call.run())
            }
        };
        result.map_err(to_python)
    }
}
