//! Runs on `ndarray` views, shapes checked as well as lengths.
//!
//! Arrays are not copied: each must be in standard layout (row-major, no gaps), and the error for
//! any other names its strides.

use conv_ir::{Conv, Stored};
use ndarray::{ArrayViewD, ArrayViewMutD};

use crate::Error;
use crate::compiled::Compiled;
use crate::packed::Packed;
use crate::weights::StepWeights;

/// Weight and bias of a step. The weight has no elements where it is compiled in.
pub type StepViews<'a, T> = (ArrayViewD<'a, T>, Option<ArrayViewD<'a, T>>);

impl Compiled {
    /// [`pack`](Self::pack) with views.
    ///
    /// # Errors
    /// As there, and [`Error::Shape`], [`Error::Strides`].
    pub fn pack_view<T: Stored>(
        &self,
        weight: ArrayViewD<'_, T>,
        bias: Option<ArrayViewD<'_, T>>,
    ) -> Result<Packed<T>, Error> {
        self.pack_step_views(&[(weight, bias)])
    }

    /// [`pack_steps`](Self::pack_steps) with views.
    ///
    /// # Errors
    /// As there, and [`Error::Shape`], [`Error::Strides`].
    pub fn pack_step_views<T: Stored>(
        &self,
        steps: &[StepViews<'_, T>],
    ) -> Result<Packed<T>, Error> {
        for (conv, (weight, bias)) in self.program().convs().zip(steps) {
            if conv.known().is_none() {
                check_shape("weight", weight.shape(), &conv.weight_shape())?;
            }
            if let Some(bias) = bias {
                check_shape("bias", bias.shape(), &conv.bias_shape())?;
            }
        }
        let slices = steps.iter().map(|(weight, bias)| step(weight, bias));
        let slices: Vec<StepWeights<'_, T>> = slices.collect::<Result<_, _>>()?;
        self.pack_steps(&slices)
    }
}

fn step<'a, T>(
    weight: &'a ArrayViewD<'_, T>,
    bias: &'a Option<ArrayViewD<'_, T>>,
) -> Result<StepWeights<'a, T>, Error> {
    let bias = bias.as_ref().map(|bias| elements("bias", bias)).transpose()?;
    Ok(StepWeights { weight: elements("weight", weight)?, bias })
}

impl<I: Stored, O: Stored> Packed<I, O> {
    /// [`run`](Self::run) with views. Free sizes are read off the input's shape.
    ///
    /// # Errors
    /// As there, and [`Error::Shape`], [`Error::Strides`].
    pub fn run_view(
        &self,
        input: ArrayViewD<'_, I>,
        mut output: ArrayViewMutD<'_, O>,
    ) -> Result<(), Error> {
        let sizes = sizes(&self.program().steps()[0].conv, input.shape());
        let sizes: Vec<(&str, usize)> =
            sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        let program = self.program().with_sizes(&sizes)?;
        check_shape("input", input.shape(), &program.input_shape())?;
        check_shape("output", output.shape(), &program.output_shape())?;
        let strides = output.strides().to_vec();
        let output = output.as_slice_mut().ok_or(Error::Strides { name: "output", strides })?;
        self.call(elements("input", &input)?, output).sizes(&sizes).run()
    }
}

/// The free sizes as the input's shape has them.
fn sizes(conv: &Conv, shape: &[usize]) -> Vec<(String, usize)> {
    let spec = conv.spec();
    let spatial = match spec.layout {
        conv_ir::Layout::ChannelsFirst => shape.iter().skip(2),
        conv_ir::Layout::ChannelsLast => shape.iter().skip(1),
    };
    let pairs = std::iter::once((&spec.batch, shape.first()))
        .chain(spec.input.iter().zip(spatial.map(Some)));
    let mut found: Vec<(String, usize)> = Vec::new();
    for (size, extent) in pairs {
        if let (conv_ir::Size::Free(name), Some(extent)) = (size, extent)
            && !found.iter().any(|(known, _)| known == name)
        {
            found.push((name.clone(), *extent));
        }
    }
    found
}

fn check_shape(name: &'static str, found: &[usize], needed: &[usize]) -> Result<(), Error> {
    if found == needed {
        return Ok(());
    }
    Err(Error::Shape { name, found: found.to_vec(), needed: needed.to_vec() })
}

fn elements<'a, T>(name: &'static str, view: &'a ArrayViewD<'_, T>) -> Result<&'a [T], Error> {
    view.as_slice().ok_or_else(|| Error::Strides { name, strides: view.strides().to_vec() })
}
