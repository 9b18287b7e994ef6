//! Runs on `ndarray` views, shapes checked as well as lengths.
//!
//! Views that lie row by row are used as they are. So are others whose rows do, where there is code
//! for their strides (see `strided`): a crop, planes, some of the channels. The rest is copied.

mod copies;
mod ends;

use std::borrow::Cow;

use conv_ir::{Conv, Stored};
use ndarray::{ArrayView, ArrayViewD, ArrayViewMut, ArrayViewMutD, Dimension};

use crate::Error;
use crate::call::{Groups, check_inputs, check_outputs, check_residual};
use crate::compiled::Compiled;
use crate::executor::{self, Executor};
use crate::lens::Lens;
use crate::packed::Packed;
use crate::scratch::Callers;
use crate::share;
use crate::strided::Lies;
use crate::weights::{Inner, StepWeights};
use copies::{by_rows, write, zeros};
use ends::Ends;

/// Weight and bias of a step. The weight has no elements where it is compiled in.
pub type StepViews<'a, T> = (ArrayViewD<'a, T>, Option<ArrayViewD<'a, T>>);

impl Compiled {
    /// [`pack`](Self::pack) with views.
    ///
    /// # Errors
    /// As there, and [`Error::Shape`].
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
    /// As there, and [`Error::Shape`].
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
        let weights = steps.iter().map(|(weight, _)| by_rows(weight));
        let biases = steps.iter().map(|(_, bias)| bias.as_ref().map(by_rows).transpose());
        let weights = weights.collect::<Result<Vec<_>, _>>()?;
        let biases = biases.collect::<Result<Vec<_>, _>>()?;
        let pairs = weights.iter().zip(&biases);
        let steps = pairs.map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() });
        self.pack_steps(&steps.collect::<Vec<_>>())
    }
}

impl<I: Stored, O: Stored> Packed<I, O> {
    /// [`run`](Self::run) with views. Free sizes are read off the input's shape.
    ///
    /// # Errors
    /// As there, and [`Error::Shape`].
    pub fn run_view(
        &self,
        input: ArrayView<'_, I, impl Dimension>,
        output: ArrayViewMut<'_, O, impl Dimension>,
    ) -> Result<(), Error> {
        self.call_view(input, output).run()
    }

    /// A run with views about which more can be said before it starts.
    ///
    /// ```
    /// use ndarray::{Array, s};
    /// let sum = conv_jit::conv2d(1, 1, 2).input([3, 3]).compile()?.pack(&[1.0f32; 4], None)?;
    /// let picture = Array::from_shape_fn((1, 1, 5, 8), |(_, _, y, x)| (10 * y + x) as f32);
    /// let mut output = Array::zeros((1, 1, 2, 2));
    /// let crop = picture.slice(s![.., .., 1..4, 2..5]);
    /// sum.call_view(crop, output.view_mut()).threads(1).run()?;
    /// assert_eq!(output, ndarray::array![[[[70.0, 74.0], [110.0, 114.0]]]]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn call_view<'a>(
        &'a self,
        input: ArrayView<'a, I, impl Dimension>,
        output: ArrayViewMut<'a, O, impl Dimension>,
    ) -> ViewCall<'a, I, O> {
        ViewCall {
            packed: self,
            input: input.into_dyn(),
            output: output.into_dyn(),
            residual: None,
            executor: executor::default_executor(),
            threads: None,
        }
    }
}

/// One run on views, with everything that can be said about it. Made by [`Packed::call_view`].
#[must_use = "nothing runs before `run`"]
pub struct ViewCall<'a, I, O = I> {
    packed: &'a Packed<I, O>,
    input: ArrayViewD<'a, I>,
    output: ArrayViewMutD<'a, O>,
    residual: Option<ArrayViewD<'a, O>>,
    executor: &'a dyn Executor,
    threads: Option<usize>,
}

impl<'a, I: Stored, O: Stored> ViewCall<'a, I, O> {
    /// Added before the activation, where the program adds a residual that is none of its tensors.
    pub fn residual(self, residual: ArrayView<'a, O, impl Dimension>) -> Self {
        ViewCall { residual: Some(residual.into_dyn()), ..self }
    }

    /// Into how many parts the work is cut; 1024 at most. The bits do not depend on it.
    pub fn threads(self, threads: usize) -> Self {
        ViewCall { threads: Some(threads.clamp(1, share::MOST_THREADS)), ..self }
    }

    /// Who runs the parts, instead of rayon (the calling thread without feature `rayon`).
    pub fn executor(self, executor: &'a dyn Executor) -> Self {
        ViewCall { executor, ..self }
    }

    /// Runs.
    ///
    /// # Errors
    /// As [`Packed::run_view`].
    pub fn run(mut self) -> Result<(), Error> {
        let packed = self.packed;
        check_inputs(packed.program(), 1)?;
        let sizes = sizes(&packed.program().steps()[0].conv, self.input.shape());
        let sizes: Vec<(&str, usize)> =
            sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        let program = packed.program().with_sizes(&sizes)?;
        check_shape("input", self.input.shape(), &program.input_shape())?;
        check_outputs(&program, 1)?;
        check_shape("output", self.output.shape(), &program.output_shape())?;
        let residual = self.residual.take();
        if let Some(residual) = &residual {
            check_shape("residual", residual.shape(), &program.output_shape())?;
        }
        check_residual(&program, residual.as_ref().map(|residual| residual.len()))?;
        if self.output.is_empty() {
            return Ok(());
        }
        let residual = residual.as_ref().map(by_rows).transpose()?;
        // Code for sizes that came at run time may have some for strides.
        let met = packed.by_size.as_ref().and_then(|by_size| by_size.find(&sizes));
        let inner = met.as_deref().unwrap_or(&packed.inner);
        let ends = self.ends(inner);
        let mut copy = match ends.output || self.output.is_standard_layout() {
            true => Vec::new(),
            false => zeros::<O>(self.output.len())?,
        };
        let seen = self.input.clone();
        let input = if ends.input { Cow::default() } else { by_rows(&seen)? };
        let given = (&input[..], residual.as_deref());
        match &inner.shared.lens {
            Some(lens) if !ends.placed.is_empty() => {
                self.run_as_it_lies((inner, lens), &ends, given, &mut copy)?;
            }
            _ => self.run_by_rows(given, &mut copy, &sizes)?,
        }
        if !copy.is_empty() {
            write(&copy, self.output);
        }
        Ok(())
    }

    /// With code for what lies otherwise. `input` and `copy` are empty where it takes the views.
    fn run_as_it_lies(
        &mut self,
        (inner, lens): (&Inner, &Lens),
        ends: &Ends,
        (input, residual): (&[I], Option<&[O]>),
        copy: &mut [O],
    ) -> Result<(), Error> {
        let input = if ends.input { self.input.as_ptr() } else { input.as_ptr() };
        let output = if copy.is_empty() { self.output.as_mut_ptr() } else { copy.as_mut_ptr() };
        let residual = residual.map_or(0, |residual| residual.as_ptr().expose_provenance());
        let callers = Callers {
            inputs: &[input.expose_provenance()],
            outputs: &[output.expose_provenance()],
            residual,
        };
        let threads = (self.threads, self.packed.threads);
        let (placed, executor) = (&ends.placed, self.executor);
        let groups = Groups { inner, placed, threads, executor, watch: None };
        let pool = &self.packed.inner.pool;
        let mut scratch = pool.take();
        // SAFETY: shapes were compared. What `ends` takes as it lies is a view with the strides
        // that its code was made for; others lie row by row, as they are or as copies. The output
        // is borrowed for us alone, or our copy.
        let done = unsafe { groups.run(&callers, &mut scratch, (lens, None)) };
        pool.give_back(scratch);
        done
    }

    /// With elements that lie row by row. `copy` is empty where the output's do.
    fn run_by_rows(
        &mut self,
        (input, residual): (&[I], Option<&[O]>),
        copy: &mut [O],
        sizes: &[(&str, usize)],
    ) -> Result<(), Error> {
        let output = match copy.is_empty() {
            true => self.output.as_slice_mut().unwrap_or_default(),
            false => copy,
        };
        let mut call = self.packed.call(input, output).sizes(sizes).executor(self.executor);
        if let Some(residual) = residual {
            call = call.residual(residual);
        }
        if let Some(threads) = self.threads {
            call = call.threads(threads);
        }
        call.run()
    }

    /// What code takes as it lies, of arrays that do not lie row by row.
    fn ends(&self, inner: &Inner) -> Ends {
        fn lies<'a, T>(shape: &'a [usize], strides: &'a [isize]) -> Lies<'a> {
            Lies {
                shape,
                strides,
                bytes: shape.iter().product::<usize>().saturating_mul(size_of::<T>()),
            }
        }
        let (input, output) = (&self.input, &self.output);
        let is_input = !input.is_standard_layout();
        let is_output = !output.is_standard_layout();
        if inner.shared.lens.is_none() || !(is_input || is_output) {
            return Ends::default();
        }
        let input = is_input.then(|| lies::<I>(input.shape(), input.strides()));
        let output = is_output.then(|| lies::<O>(output.shape(), output.strides()));
        Ends::of(inner, input, output)
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
