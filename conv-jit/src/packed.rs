//! A program with its weights: what runs.
//!
//! In: weights, once; then input and output, often. Every length is checked at the door and the
//! machine code trusts it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use conv_ir::{Conv, DType, Element, Program};

use crate::Error;
use crate::by_size::BySize;
use crate::call::Call;
use crate::compiled::{Compiled, Shared};
use crate::engine::{self, Constants};
use crate::scratch::Pool;

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

pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    /// One per group.
    pub constants: Vec<Constants>,
    pub pool: Pool,
}

/// The weights of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepWeights<'a, T> {
    /// `[out, in/groups, k..]`; transposed `[in, out/groups, k..]`. Empty where the weights are
    /// compiled in: others would have no meaning, and are refused.
    pub weight: &'a [T],
    /// One per output channel, where the step has a bias that is not compiled in.
    pub bias: Option<&'a [T]>,
}

impl<T> Default for StepWeights<'_, T> {
    /// Of a step that has all of them compiled in.
    fn default() -> Self {
        StepWeights { weight: &[], bias: None }
    }
}

impl<'a, T> From<&'a [T]> for StepWeights<'a, T> {
    fn from(weight: &'a [T]) -> Self {
        StepWeights { weight, bias: None }
    }
}

impl<'a, T> From<(&'a [T], &'a [T])> for StepWeights<'a, T> {
    /// Weight and bias.
    fn from((weight, bias): (&'a [T], &'a [T])) -> Self {
        StepWeights { weight, bias: Some(bias) }
    }
}

impl Inner {
    /// Packs the weights of every step as it was described.
    pub fn new<T: Element>(
        shared: Arc<Shared>,
        weights: &[StepWeights<'_, T>],
    ) -> Result<Inner, Error> {
        check_dtype::<T>(shared.described.dtype())?;
        check_weights(&shared.described, weights)?;
        let shared = match shared.needs_finite_weights() && !are_finite(weights) {
            true => shared.for_any_weights()?,
            false => shared,
        };
        let rewritten = &shared.lowered.rewritten;
        let mut constants = Vec::new();
        for (lowered, compiled) in shared.lowered.groups.iter().zip(&shared.codes) {
            let steps = lowered.group.steps.clone();
            let origins = rewritten.origins[steps.clone()].iter();
            let own = || rewritten.program.convs().skip(steps.start).zip(origins.clone());
            // What is compiled in has no buffer of its own.
            let asked = own().filter(|(conv, _)| conv.known().is_none());
            let weight: Vec<&[T]> = asked.map(|(_, &origin)| weights[origin].weight).collect();
            let asked = own().filter(|(conv, _)| bias_comes_later(conv));
            let bias: Vec<&[T]> = asked.filter_map(|(_, &origin)| weights[origin].bias).collect();
            let to = (&compiled.code, &compiled.arrays);
            // SAFETY: every array has the length of its shape, and they stand in the order of the
            // group's steps, which is that of its nest's buffers. Rewriting leaves the shapes of
            // weights that come later.
            constants.push(unsafe { engine::pack(&lowered.nest, to, &weight, &bias)? });
        }
        Ok(Inner { shared, constants, pool: Pool::default() })
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

    /// The code, without the weights.
    pub fn compiled(&self) -> Compiled {
        Compiled { shared: self.inner.shared.clone(), threads: self.threads }
    }

    /// Computes the output.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] where the description
    /// asks for a residual or has free sizes.
    pub fn run(&self, input: &[T], output: &mut [T]) -> Result<(), Error> {
        self.call(input, output).run()
    }

    /// The same with a residual of the caller's, added before the activation.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_residual(&self, input: &[T], residual: &[T], output: &mut [T]) -> Result<(), Error> {
        self.call(input, output).residual(residual).run()
    }

    /// The same with values for free sizes. A batch may be 0, and nothing is computed; extents of
    /// input and output are at least 1, as known ones are.
    ///
    /// Sizes that are met are compiled as if they had been known, within that run: when they come
    /// the second time, or the first time with more than 8 million multiply-adds. That takes some
    /// milliseconds; then a run is as fast as with known sizes. The last 8 sizes are kept, each
    /// with its packed weights (64 MiB for all, or one size), and the weights once more as they
    /// were given. A given schedule or plan is kept to instead: its code serves all sizes.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Error::Conv`] where sizes are missing, unknown or break a rule.
    pub fn run_sized(
        &self,
        input: &[T],
        output: &mut [T],
        sizes: &[(&str, usize)],
    ) -> Result<(), Error> {
        self.call(input, output).sizes(sizes).run()
    }

    /// A run about which more can be said before it starts.
    pub fn call<'a>(&'a self, input: &'a [T], output: &'a mut [T]) -> Call<'a, T> {
        Call::new(self, input, output)
    }
}

fn check_dtype<T: Element>(needed: DType) -> Result<(), Error> {
    let found = T::DTYPE;
    if found == needed { Ok(()) } else { Err(Error::DType { found, needed }) }
}

/// Every array that comes later is there and has the length of its shape, and no other is.
fn check_weights<T: Element>(
    program: &Program,
    weights: &[StepWeights<'_, T>],
) -> Result<(), Error> {
    let count = program.steps().len();
    if weights.len() != count {
        let given = weights.len();
        let message = format!("there are weights for {given} steps, but the program has {count}");
        return Err(Error::Argument(message));
    }
    for (at, (conv, weights)) in program.convs().zip(weights).enumerate() {
        check_step(conv, weights).map_err(|error| match count {
            1 => error,
            _ => Error::Argument(format!("step {}: {error}", at + 1)),
        })?;
    }
    Ok(())
}

fn check_step<T: Element>(conv: &Conv, given: &StepWeights<'_, T>) -> Result<(), Error> {
    match (conv.known(), given.weight) {
        (None, weight) => check_len("weight", weight.len(), conv.weight_shape())?,
        (Some(_), []) => {}
        (Some(_), _) => {
            let message = "weights were given, but this convolution has its weights compiled in";
            return Err(Error::Argument(message.to_owned()));
        }
    }
    match (bias_comes_later(conv), given.bias) {
        (true, Some(bias)) => check_len("bias", bias.len(), conv.bias_shape()),
        (false, None) => Ok(()),
        (true, None) => {
            Err(Error::Argument("the convolution adds a bias, but none was given".to_owned()))
        }
        (false, Some(_)) => {
            Err(Error::Argument("a bias was given, but the convolution adds none".to_owned()))
        }
    }
}

fn are_finite<T: Element>(weights: &[StepWeights<'_, T>]) -> bool {
    weights.iter().flat_map(|step| step.weight).all(|w| w.to_f64().is_finite())
}

pub(crate) fn bias_comes_later(conv: &Conv) -> bool {
    conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none())
}

pub(crate) fn check_len(name: &'static str, found: usize, shape: Vec<usize>) -> Result<(), Error> {
    let needed = shape.iter().product();
    if found == needed { Ok(()) } else { Err(Error::Length { name, found, needed, shape }) }
}
