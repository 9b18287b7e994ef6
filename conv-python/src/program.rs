//! A description and its machine code.

use conv_ir::{Conv, Error as IrError};
use conv_jit::{Compiled, Layout, Options, Size, zero_point};
use numpy::{PyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Given, elements, numpy_name, read};
use crate::blocks;
use crate::error::{of_description, to_python};
use crate::packed::Packed;
use crate::threads::apart;

/// Weight and bias of a step; none where they come later.
type StepArrays<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// What of a step's arrays is looked at: shape of its weight, length of its bias, whether they are
/// compiled in, and their types.
type StepShape = (Vec<usize>, Option<usize>, bool, bool, (&'static str, &'static str));

/// A compiled program. `Program(text, known, threads, accuracy)`.
#[pyclass(frozen, module = "convc._native")]
pub struct Program {
    compiled: Compiled,
}

#[pymethods]
impl Program {
    /// Compiles a text. `known`: weight and bias of each step as float64 arrays, where they are
    /// compiled in; empty where none are.
    #[new]
    #[pyo3(signature = (text, known, threads, accuracy))]
    fn new(
        py: Python<'_>,
        text: &str,
        known: Vec<StepArrays<'_>>,
        threads: usize,
        accuracy: &str,
    ) -> PyResult<Program> {
        let described = apart(py, || parse(text)).map_err(of_description)?;
        let described = with_known(described, &known)?;
        let accuracy = accuracy.parse().map_err(of_description)?;
        let options = Options { threads, accuracy, ..Options::default() };
        let compiled = apart(py, || Compiled::new(described, options)).map_err(to_python)?;
        Ok(Program { compiled })
    }

    /// The description, everything said.
    #[getter]
    fn text(&self) -> String {
        self.compiled.program().to_string()
    }

    /// NumPy's names of the types of input and output.
    #[getter]
    fn dtypes(&self) -> (&'static str, &'static str) {
        let program = self.compiled.program();
        (numpy_name(program.type_of(0)), numpy_name(program.type_of(program.steps().len())))
    }

    /// Shape of the input with sizes for the free ones; empty names where all are known.
    fn shapes(&self, sizes: Vec<(String, usize)>) -> PyResult<(Vec<usize>, Vec<usize>)> {
        let program = self.compiled.program();
        if sizes.is_empty() && program.free_sizes().is_empty() {
            return Ok((program.input_shape(), program.output_shape()));
        }
        let sizes: Vec<_> = sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        let program = program.with_sizes(&sizes).map_err(of_description)?;
        Ok((program.input_shape(), program.output_shape()))
    }

    /// The input's shape: of each axis a name where the size is free, else none, and the size.
    fn input(&self) -> Vec<(Option<String>, usize)> {
        input_sizes(&self.compiled.program().steps()[0].conv)
    }

    /// Of each step: shape of its weight, length of its bias, which of them are compiled in, and
    /// NumPy's names of their types.
    fn steps(&self) -> Vec<StepShape> {
        let of = |conv: &Conv| {
            let known = conv.known();
            let bias = conv.spec().bias.then(|| conv.bias_len());
            let has_bias = known.is_some_and(|known| known.bias.is_some());
            let types = (numpy_name(conv.types().weight), numpy_name(conv.types().bias));
            (conv.weight_shape(), bias, known.is_some(), has_bias, types)
        };
        self.compiled.program().convs().map(of).collect()
    }

    /// A block of the output as a program of its own, and the inputs that it needs: batch, and a
    /// range of outputs for each spatial axis.
    fn block(&self, batch: usize, outputs: Vec<(i64, i64)>) -> PyResult<(Vec<(i64, i64)>, String)> {
        let ranges: Vec<_> = outputs.iter().map(|&(start, end)| start..end).collect();
        let made = blocks::block(self.compiled.program(), batch, &ranges);
        let (inputs, program) = made.map_err(PyValueError::new_err)?;
        let inputs = inputs.iter().map(|range| (range.start, range.end)).collect();
        Ok((inputs, program.to_string()))
    }

    /// Whether channels stand last in input and output.
    fn is_channels_last(&self) -> bool {
        self.compiled.program().steps()[0].conv.spec().layout == Layout::ChannelsLast
    }

    /// Whether a run takes a residual.
    fn takes_residual(&self) -> bool {
        let mut steps = self.compiled.program().steps().iter();
        steps.any(|step| step.conv.spec().residual && step.residual.is_none())
    }

    /// What was compiled, for a person to read.
    fn explain(&self, py: Python<'_>) -> String {
        apart(py, || self.compiled.explain())
    }

    /// Copies weights into the order of their use: weight and bias of each step, `None` where they
    /// are compiled in or not asked for.
    fn pack(&self, py: Python<'_>, weights: Vec<StepArrays<'_>>) -> PyResult<Packed> {
        Packed::new(py, &self.compiled, &weights)
    }
}

/// The description of what takes an input whose zero point is still in it, and the bias that takes
/// it out of the sums.
#[pyfunction]
#[pyo3(signature = (text, zero, weight, bias=None))]
pub fn without_zero_point<'py>(
    py: Python<'py>,
    text: &str,
    zero: i32,
    weight: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
) -> PyResult<(String, Bound<'py, PyArray1<i32>>)> {
    let conv: Conv = text.parse().map_err(of_description)?;
    if let Ok(array) = weight.cast::<PyUntypedArray>()
        && array.shape() != conv.weight_shape()
    {
        let (found, needed) = (array.shape(), conv.weight_shape());
        let message = format!("weight has shape {found:?}, but the convolution needs {needed:?}");
        return Err(PyValueError::new_err(message));
    }
    let weight = Given::read("weight", conv.types().weight, weight)?;
    let bias = bias.map(|bias| read::<i32>("bias", bias)).transpose()?;
    let bias = bias.as_ref().map(|bias| elements("bias", bias)).transpose()?;
    let weight = weight.array()?;
    let made = conv_ir::with_stored!(conv.types().weight, W => {
        let weight = <W as conv_ir::Stored>::numbers(&weight).unwrap_or_default();
        zero_point::without(&conv, zero, weight, bias)
    });
    let (raw, bias) = made.map_err(of_description)?;
    Ok((raw.to_string(), PyArray1::from_vec(py, bias)))
}

/// A convolution in either form, or several.
fn parse(text: &str) -> Result<conv_jit::Program, IrError> {
    match text.trim().contains([';', '\n']) {
        false => Ok(text.parse::<Conv>()?.into()),
        true => text.parse(),
    }
}

fn with_known(program: conv_jit::Program, known: &[StepArrays<'_>]) -> PyResult<conv_jit::Program> {
    if known.iter().all(|(weight, _)| weight.is_none()) {
        return Ok(program);
    }
    let mut steps = program.steps().to_vec();
    if known.len() != steps.len() {
        let message = format!(
            "weights for {} steps were given, but the program has {}",
            known.len(),
            steps.len()
        );
        return Err(PyValueError::new_err(message));
    }
    for (step, (weight, bias)) in steps.iter_mut().zip(known) {
        let Some(weight) = weight else { continue };
        let weight = read::<f64>("weight", weight)?;
        let bias = bias.as_ref().map(|bias| read::<f64>("bias", bias)).transpose()?;
        let bias = bias.as_ref().map(|bias| elements("bias", bias)).transpose()?;
        let weight = elements("weight", &weight)?;
        step.conv = step.conv.with_weights(weight, bias).map_err(of_description)?;
    }
    program.with_steps(steps).map_err(of_description)
}

fn input_sizes(conv: &Conv) -> Vec<(Option<String>, usize)> {
    let spec = conv.spec();
    let size = |size: &Size| match size {
        Size::Free(name) => (Some(name.clone()), 0),
        Size::Known(number) => (None, *number),
    };
    let mut sizes = vec![size(&spec.batch)];
    sizes.extend(spec.input.iter().map(size));
    let at = match spec.layout {
        Layout::ChannelsFirst => 1,
        Layout::ChannelsLast => sizes.len(),
    };
    sizes.insert(at, (None, spec.in_channels));
    sizes
}
