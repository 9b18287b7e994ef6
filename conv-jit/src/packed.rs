//! A convolution with its weights: what runs.
//!
//! In: weights, once; then input and output, often. Every length is checked at the door and the
//! machine code trusts it. A run of known sizes allocates nothing after the first one on as many
//! threads: scratch is kept in a pool, or passed in. Sizes given at run time are checked in a
//! description of their own.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use conv_ir::{Conv, DType, Element};

use crate::Error;
use crate::compiled::{CompiledConv, First, Lens, Shared};
use crate::engine::{self, Constants, Places, Run};
use crate::executor::{self, Executor};

pub use crate::engine::Scratch;

/// A compiled convolution with packed weights. Cheap to clone; clones share code, weights and pool.
pub struct PackedConv<T> {
    inner: Arc<Inner>,
    first: Option<Arc<Before<T>>>,
    threads: usize,
    dtype: PhantomData<fn() -> T>,
}

impl<T> Clone for PackedConv<T> {
    fn clone(&self) -> Self {
        PackedConv {
            inner: self.inner.clone(),
            first: self.first.clone(),
            threads: self.threads,
            dtype: PhantomData,
        }
    }
}

/// The first of two passes.
struct Before<T> {
    from: Arc<First>,
    pass: PackedConv<T>,
    /// Of both passes together.
    lens: Lens,
    /// Arrays between the passes, of runs that have ended.
    pool: Mutex<Vec<Vec<T>>>,
}

struct Inner {
    shared: Arc<Shared>,
    constants: Constants,
    /// Scratch of runs that have ended.
    pool: Mutex<Vec<Scratch>>,
}

/// One run, with everything that can be said about it.
#[must_use = "nothing runs before `run`"]
pub struct Call<'a, T> {
    conv: &'a PackedConv<T>,
    input: &'a [T],
    output: &'a mut [T],
    residual: Option<&'a [T]>,
    sizes: &'a [(&'a str, usize)],
    scratch: Option<&'a mut Scratch>,
    executor: &'a dyn Executor,
    threads: usize,
}

impl<T: Element> PackedConv<T> {
    pub(crate) fn new(
        compiled: &CompiledConv,
        weight: &[T],
        bias: Option<&[T]>,
    ) -> Result<Self, Error> {
        let first = compiled.first.as_ref().map(|from| {
            let pass = PackedConv::new(&from.pass, &[], None)?;
            let (from, pool) = (from.clone(), Mutex::default());
            let lens = Lens {
                input: from.whole.input_len().unwrap_or(0),
                output: from.whole.output_len().unwrap_or(0),
            };
            Ok::<_, Error>(Arc::new(Before { from, pass, lens, pool }))
        });
        let first = first.transpose()?;
        let shared = compiled.shared.clone();
        check_dtype::<T>(shared.conv.dtype())?;
        match (shared.conv.known(), weight) {
            (None, weight) => check_len("weight", weight.len(), shared.conv.weight_shape())?,
            (Some(_), []) => {}
            (Some(_), _) => {
                let message =
                    "weights were given, but this convolution has its weights compiled in";
                return Err(Error::Argument(message.to_owned()));
            }
        }
        check_bias(&shared.conv, bias.map(<[T]>::len))?;
        // SAFETY: both have the lengths of their shapes, which are those of the nest's buffers.
        let constants =
            unsafe { engine::pack(&shared.nest, &shared.code, &[weight], &[bias.unwrap_or(&[])])? };
        let inner = Inner { shared, constants, pool: Mutex::default() };
        Ok(PackedConv {
            inner: Arc::new(inner),
            first,
            threads: compiled.threads,
            dtype: PhantomData,
        })
    }

    /// The description.
    pub fn conv(&self) -> &Conv {
        self.first.as_ref().map_or(&self.inner.shared.conv, |first| &first.from.whole)
    }

    /// The code, without the weights.
    pub fn compiled(&self) -> CompiledConv {
        CompiledConv {
            shared: self.inner.shared.clone(),
            first: self.first.as_ref().map(|first| first.from.clone()),
            threads: self.threads,
        }
    }

    /// Computes the output.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] where the description
    /// asks for a residual or has free sizes.
    pub fn run(&self, input: &[T], output: &mut [T]) -> Result<(), Error> {
        self.call(input, output).run()
    }

    /// The same with a residual, added before the activation.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_residual(&self, input: &[T], residual: &[T], output: &mut [T]) -> Result<(), Error> {
        self.call(input, output).residual(residual).run()
    }

    /// The same with values for free sizes. A batch may be 0, and nothing is computed; extents of
    /// input and output are at least 1, as known ones are.
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
        Call {
            conv: self,
            input,
            output,
            residual: None,
            sizes: &[],
            scratch: None,
            executor: executor::default_executor(),
            threads: self.inner.shared.worth(self.threads),
        }
    }
}

impl<'a, T: Element> Call<'a, T> {
    /// Added before the activation.
    pub fn residual(self, residual: &'a [T]) -> Self {
        Call { residual: Some(residual), ..self }
    }

    /// Values for the free sizes, by name.
    pub fn sizes(self, sizes: &'a [(&'a str, usize)]) -> Self {
        Call { sizes, ..self }
    }

    /// Working memory, instead of the pool's.
    pub fn scratch(self, scratch: &'a mut Scratch) -> Self {
        Call { scratch: Some(scratch), ..self }
    }

    /// Into how many parts the work is cut, however little it is. The bits do not depend on it.
    pub fn threads(self, threads: usize) -> Self {
        Call { threads: threads.max(1), ..self }
    }

    /// Who runs the parts, instead of rayon (the calling thread without feature `rayon`).
    pub fn executor(self, executor: &'a dyn Executor) -> Self {
        Call { executor, ..self }
    }

    /// Runs.
    ///
    /// # Errors
    /// As [`PackedConv::run_sized`].
    pub fn run(self) -> Result<(), Error> {
        let Some(before) = &self.conv.first else {
            return self.run_pass();
        };
        // Before anything runs, so that a wrong length is told in the words of the whole.
        let lens = before.lens;
        if (self.input.len(), self.output.len()) != (lens.input, lens.output)
            || !self.sizes.is_empty()
        {
            self.check(&before.from.whole.with_sizes(self.sizes)?)?;
        }
        let mut between = before.take();
        let pass = before.pass.call(self.input, &mut between);
        pass.executor(self.executor).threads(self.threads).run()?;
        let second = Call { input: &between, scratch: self.scratch, output: self.output, ..self };
        let result = second.run_pass();
        before.pool.lock().unwrap_or_else(PoisonError::into_inner).push(between);
        result
    }

    fn run_pass(mut self) -> Result<(), Error> {
        let inner = &self.conv.inner;
        if let (Some(lens), []) = (inner.shared.lens, self.sizes) {
            self.check_fast(lens)?;
        } else {
            self.check(&inner.shared.conv.with_sizes(self.sizes)?)?;
        }
        if self.output.is_empty() {
            return Ok(());
        }
        match self.scratch.take() {
            Some(scratch) => self.run_in(scratch),
            None => {
                let mut scratch = inner.take_scratch();
                let result = self.run_in(&mut scratch);
                inner.return_scratch(scratch);
                result
            }
        }
    }

    /// [`check`](Self::check) against lengths worked out before; it allocates only to report.
    fn check_fast(&self, lens: Lens) -> Result<(), Error> {
        let residual = self.conv.inner.shared.conv.spec().residual.then_some(lens.output);
        let found = (self.input.len(), self.output.len(), self.residual.map(<[T]>::len));
        if found == (lens.input, lens.output, residual) {
            Ok(())
        } else {
            self.check(&self.conv.inner.shared.conv)
        }
    }

    /// Every array has the length that the description, its sizes filled in, says.
    fn check(&self, conv: &Conv) -> Result<(), Error> {
        check_len("input", self.input.len(), conv.input_shape().unwrap_or_default())?;
        check_len("output", self.output.len(), conv.output_shape().unwrap_or_default())?;
        match (conv.spec().residual, self.residual) {
            (true, Some(residual)) => {
                check_len("residual", residual.len(), conv.residual_shape().unwrap_or_default())
            }
            (false, None) => Ok(()),
            (true, None) => Err(Error::Argument(
                "the convolution adds a residual, but none was given".to_owned(),
            )),
            (false, Some(_)) => Err(Error::Argument(
                "a residual was given, but the convolution adds none".to_owned(),
            )),
        }
    }

    fn run_in(&mut self, scratch: &mut Scratch) -> Result<(), Error> {
        let Shared { nest, code, divisible, .. } = &*self.conv.inner.shared;
        let run = Run {
            nest,
            code,
            constants: &self.conv.inner.constants,
            sizes: self.sizes,
            parts: if *divisible { self.threads } else { 1 },
            executor: self.executor,
        };
        let residual = self.residual.map_or(std::ptr::null_mut(), |r| r.as_ptr().cast_mut().cast());
        let places = Places {
            input: self.input.as_ptr().cast_mut().cast(),
            output: self.output.as_mut_ptr().cast(),
            residuals: &[residual],
        };
        // SAFETY: `check` compared every length with the nest's description, and the output is
        // borrowed for us alone.
        unsafe { run.run(&places, scratch) }
    }
}

impl<T: Element> Before<T> {
    fn take(&self) -> Vec<T> {
        let used = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| vec![T::default(); self.pass.conv().output_len().unwrap_or(0)])
    }
}

impl Inner {
    fn take_scratch(&self) -> Scratch {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn return_scratch(&self, scratch: Scratch) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}

pub(crate) fn check_dtype<T: Element>(needed: DType) -> Result<(), Error> {
    let found = T::DTYPE;
    // Anybody may implement `Element`; the machine code must see the number that it was made for.
    let is = match needed {
        DType::F32 => TypeId::of::<T>() == TypeId::of::<f32>(),
        DType::F64 => TypeId::of::<T>() == TypeId::of::<f64>(),
    };
    if is { Ok(()) } else { Err(Error::DType { found, needed }) }
}

pub(crate) fn check_bias(conv: &Conv, found: Option<usize>) -> Result<(), Error> {
    let comes_later = conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none());
    match (comes_later, found) {
        (true, Some(found)) => check_len("bias", found, conv.bias_shape()),
        (false, None) => Ok(()),
        (true, None) => {
            Err(Error::Argument("the convolution adds a bias, but none was given".to_owned()))
        }
        (false, Some(_)) => {
            Err(Error::Argument("a bias was given, but the convolution adds none".to_owned()))
        }
    }
}

pub(crate) fn check_len(name: &'static str, found: usize, shape: Vec<usize>) -> Result<(), Error> {
    let needed = shape.iter().product();
    if found == needed { Ok(()) } else { Err(Error::Length { name, found, needed, shape }) }
}
