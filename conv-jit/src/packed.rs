//! A program with its weights: what runs.
//!
//! In: weights, once; then input and output, often. Every length is checked at the door and the
//! machine code trusts it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use conv_ir::{Element, Program};

use crate::Error;
use crate::by_size::BySize;
use crate::compiled::Compiled;
use crate::weights::{Inner, StepWeights, bias_comes_later};

/// A compiled program with packed weights. Cheap to clone; clones share code, weights and pool.
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
pub struct Packed<T> {
    pub(crate) inner: Arc<Inner>,
    /// Where sizes are free.
    pub(crate) by_size: Option<Arc<BySize<T>>>,
    pub(crate) threads: usize,
    dtype: PhantomData<fn() -> T>,
}

impl<T> Clone for Packed<T> {
    fn clone(&self) -> Self {
        let (inner, by_size) = (self.inner.clone(), self.by_size.clone());
        Packed { inner, by_size, threads: self.threads, dtype: PhantomData }
    }
}

impl<T: Element> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packed").field(&self.compiled()).finish()
    }
}

impl<T: Element> Packed<T> {
    pub(crate) fn new(compiled: &Compiled, weights: &[StepWeights<'_, T>]) -> Result<Self, Error> {
        let inner = Arc::new(Inner::new(compiled.shared.clone(), weights)?);
        let by_size = BySize::new(compiled, weights)?.map(Arc::new);
        Ok(Packed { inner, by_size, threads: compiled.threads, dtype: PhantomData })
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
        Packed::new(compiled, &vec![StepWeights::default(); program.steps().len()])
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
    /// assert!(bound.len() == 32 && bound[0] < 0.02, "{bound:?}");
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
                "a bound is known of one convolution under accuracy fast or within(..), but there \
                 are {steps} step(s) under {accuracy}"
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
    pub fn ready<T: Element>(&self) -> Result<Packed<T>, Error> {
        Packed::ready(self)
    }

    /// Copies weight and bias of a program of one step into the order of their use. Done once; the
    /// result runs. A weight that is infinite or NaN may ask for other code
    /// ([`crate::Options::finite_weights`]), which is compiled here.
    ///
    /// # Errors
    /// [`Error::DType`], [`Error::Length`], or [`Error::Argument`] where a bias is missing or not
    /// asked for, or there are several steps; those of compiling.
    pub fn pack<T: Element>(&self, weight: &[T], bias: Option<&[T]>) -> Result<Packed<T>, Error> {
        self.pack_steps(&[StepWeights { weight, bias }])
    }

    /// [`pack`](Self::pack) of a program with any number of steps.
    ///
    /// # Errors
    /// As [`pack`](Self::pack), with the step's number.
    pub fn pack_steps<T: Element>(
        &self,
        weights: &[StepWeights<'_, T>],
    ) -> Result<Packed<T>, Error> {
        Packed::new(self, weights)
    }
}
