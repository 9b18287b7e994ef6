//! A program with its weights: what runs.
//!
//! In: weights, once; then input and output, often. Every length is checked at the door and the
//! machine code trusts it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use conv_ir::{Program, Stored};

use crate::Error;
use crate::by_size::BySize;
use crate::compiled::Compiled;
use crate::weights::{Inner, StepArrays, StepWeights, bias_comes_later, check_dtype};

/// A compiled program with packed weights, which takes an input of `I` and gives an output of `O`.
/// Cheap to clone; clones share code, weights and pool.
///
/// ```
/// let conv = conv_jit::conv2d(1, 2, 1).input(["H", "W"]).compile()?.pack(&[2.0f32, 3.0], None)?;
/// let mut output = [0.0; 2 * 2];
/// conv.run_sized(&[1.0, 10.0], &mut output, &[("H", 1), ("W", 2)])?;
/// assert_eq!(output, [2.0, 20.0, 3.0, 30.0]);
/// let error = conv.run_sized(&[1.0], &mut output, &[("H", 1), ("W", 2)]).unwrap_err();
/// assert_eq!(error.to_string(), "input has 1 elements, but its shape [1, 1, 1, 2] needs 2");
/// # Ok::<(), conv_jit::Error>(())
/// ```
pub struct Packed<I, O = I> {
    pub(crate) inner: Arc<Inner>,
    /// Where sizes are free.
    pub(crate) by_size: Option<Arc<BySize>>,
    pub(crate) threads: usize,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O> Clone for Packed<I, O> {
    fn clone(&self) -> Self {
        let (inner, by_size) = (self.inner.clone(), self.by_size.clone());
        Packed { inner, by_size, threads: self.threads, types: PhantomData }
    }
}

impl<I: Stored, O: Stored> fmt::Debug for Packed<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packed").field(&self.compiled()).finish()
    }
}

impl<I: Stored, O: Stored> Packed<I, O> {
    pub(crate) fn new(compiled: &Compiled, weights: &[StepArrays<'_>]) -> Result<Self, Error> {
        let program = compiled.program();
        for &input in program.inputs() {
            check_dtype::<I>(program.type_of(input))?;
        }
        for &output in program.outputs() {
            check_dtype::<O>(program.type_of(output))?;
        }
        let inner = Arc::new(Inner::new(compiled.shared.clone(), weights)?);
        let by_size = BySize::new(compiled, weights)?.map(Arc::new);
        Ok(Packed { inner, by_size, threads: compiled.threads, types: PhantomData })
    }

    /// With everything compiled in.
    pub(crate) fn ready(compiled: &Compiled) -> Result<Self, Error> {
        let program = compiled.program();
        for (at, conv) in program.convs().enumerate() {
            let missing = match conv.known() {
                None => "weight",
                Some(_) if bias_comes_later(conv) => "bias",
                Some(_) => continue,
            };
            let step = at + 1;
            let message = format!("the {missing} of step {step} is not compiled in: `pack` it");
            return Err(Error::Argument(message));
        }
        Packed::new(compiled, &vec![StepArrays::default(); program.steps().len()])
    }

    /// The description.
    pub fn program(&self) -> &Program {
        &self.inner.shared.described
    }

    /// How far the outputs of each channel may be from the exact sum, before the activation, where
    /// no input, nor residual, is larger than `largest`, and nothing leaves the range of normal
    /// numbers. Of a program of one step under [`Accuracy::Fast`](conv_ir::Accuracy) or `Within`.
    ///
    /// ```
    /// use conv_ir::Accuracy;
    /// let conv = conv_jit::conv2d(32, 32, 3).input([24, 24]).accuracy(Accuracy::Fast).compile()?;
    /// let conv = conv.pack(&[0.25f32; 32 * 32 * 9], None)?;
    /// let bound = conv.bound(1.0)?;
    /// assert!(bound.len() == 32 && bound[0] < 0.03, "{bound:?}");
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for several steps, or another accuracy. Of the contract's sums
    /// [`Bound::direct`](conv_ir::Bound::direct) speaks.
    pub fn bound(&self, largest: f64) -> Result<Vec<f64>, Error> {
        let steps = self.program().steps().len();
        let accuracy = self.inner.shared.options.accuracy;
        let refused = || {
            format!(
                "a bound is known of one convolution under accuracy fast or within(..): the steps \
                 here are {steps}, and the accuracy {accuracy}"
            )
        };
        let bound = self.inner.bound.as_ref();
        bound.map(|bound| bound.at(largest)).ok_or_else(|| Error::Argument(refused()))
    }

    /// The code, without the weights.
    pub fn compiled(&self) -> Compiled {
        Compiled { shared: self.inner.shared.clone(), threads: self.threads }
    }
}

impl Compiled {
    /// What runs, of a program whose weights are known (and biases, where it adds some): nothing
    /// is left to pack.
    ///
    /// # Errors
    /// [`Error::DType`]; [`Error::Argument`] where a weight or bias comes later.
    pub fn ready<T: Stored>(&self) -> Result<Packed<T>, Error> {
        Packed::ready(self)
    }

    /// [`ready`](Self::ready) where input and output are of two types.
    ///
    /// # Errors
    /// As there.
    pub fn ready_as<I: Stored, O: Stored>(&self) -> Result<Packed<I, O>, Error> {
        Packed::ready(self)
    }

    /// Copies weight and bias of a program of one step into the order of their use. Done once; the
    /// result runs. A weight that is infinite or NaN may ask for other code
    /// ([`crate::Options::finite_weights`]), which is compiled here.
    ///
    /// # Errors
    /// [`Error::DType`], [`Error::Length`], or [`Error::Argument`] where a bias is missing or not
    /// asked for, or there are several steps; those of compiling.
    pub fn pack<T: Stored>(&self, weight: &[T], bias: Option<&[T]>) -> Result<Packed<T>, Error> {
        self.pack_steps(&[StepWeights { weight, bias }])
    }

    /// [`pack`](Self::pack) of a program with any number of steps.
    ///
    /// # Errors
    /// As [`pack`](Self::pack), with the step's number.
    pub fn pack_steps<T: Stored>(
        &self,
        weights: &[StepWeights<'_, T>],
    ) -> Result<Packed<T>, Error> {
        let arrays = weights.iter().map(StepWeights::arrays).collect::<Result<Vec<_>, _>>()?;
        Packed::new(self, &arrays)
    }

    /// [`pack_steps`](Self::pack_steps) where arrays are of several types, as
    /// [`Types`](conv_ir::Types) says for each step.
    ///
    /// ```
    /// use conv_jit::{Array, DType, F16, Packed, StepArrays, Stored, Types, conv2d};
    /// let types = Types::of(DType::F32, DType::F16);
    /// let conv = conv2d(1, 1, 1).input([1, 2]).dtype(types).compile()?;
    /// let weight = [F16::from_f64(0.5)];
    /// let step = StepArrays { weight: Some(Array::from(&weight[..])), bias: None };
    /// let conv: Packed<f32> = conv.pack_arrays(&[step])?;
    /// let mut output = [0.0; 2];
    /// conv.run(&[1.0, 3.0], &mut output)?;
    /// assert_eq!(output, [0.5, 1.5]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`pack_steps`](Self::pack_steps).
    pub fn pack_arrays<I: Stored, O: Stored>(
        &self,
        weights: &[StepArrays<'_>],
    ) -> Result<Packed<I, O>, Error> {
        Packed::new(self, weights)
    }
}
