//! A chain with its weights: what runs.
//!
//! In: weights of all steps, once; then input and output, often. Lengths are checked at the door.
//! Tensors between groups, and scratch, are kept in a pool, so that a run allocates nothing after
//! the first one on as many threads.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use conv_ir::{Chain, Conv, Element};

use super::{CompiledChain, CompiledGroup, Shared};
use crate::Error;
use crate::engine::{self, Constants, Places, Run, Scratch};
use crate::executor::{self, Executor};
use crate::memory::Block;
use crate::packed::{check_bias, check_dtype, check_len};

/// The weights of one step; those that are compiled in are not looked at.
#[derive(Clone, Copy, Debug)]
pub struct StepWeights<'a, T> {
    /// `[out, in/groups, k..]`; transposed `[in, out/groups, k..]`.
    pub weight: &'a [T],
    /// One per output channel, where the step has a bias that is not compiled in.
    pub bias: Option<&'a [T]>,
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

/// A compiled chain with packed weights. Cheap to clone; clones share code, weights and pool.
pub struct PackedChain<T> {
    inner: Arc<Inner>,
    threads: usize,
    dtype: PhantomData<fn() -> T>,
}

impl<T> Clone for PackedChain<T> {
    fn clone(&self) -> Self {
        PackedChain { inner: self.inner.clone(), threads: self.threads, dtype: PhantomData }
    }
}

struct Inner {
    shared: Arc<Shared>,
    /// One per group.
    constants: Vec<Constants>,
    /// Memory of runs that have ended.
    pool: Mutex<Vec<Memory>>,
}

/// Working memory of one run at a time.
#[derive(Default)]
struct Memory {
    /// The tensors between groups, by number; blocks of the others are empty.
    tensors: Vec<Block>,
    scratch: Scratch,
    /// Room for a group's residuals.
    residuals: Vec<usize>,
}

impl<T: Element> PackedChain<T> {
    pub(super) fn new(
        compiled: &CompiledChain,
        weights: &[StepWeights<'_, T>],
    ) -> Result<Self, Error> {
        let shared = compiled.shared.clone();
        check_dtype::<T>(shared.chain.dtype())?;
        let steps = shared.chain.steps();
        if weights.len() != steps.len() {
            let message = format!(
                "there are weights for {} steps, but the chain has {}",
                weights.len(),
                steps.len()
            );
            return Err(Error::Argument(message));
        }
        for (at, (conv, weights)) in shared.chain.convs().zip(weights).enumerate() {
            check_step(conv, weights).map_err(|error| of_step(at + 1, error))?;
        }
        let mut constants = Vec::new();
        for CompiledGroup { group, nest, code, .. } in &shared.groups {
            let own = || {
                shared.chain.convs().zip(weights).skip(group.steps.start).take(group.steps.len())
            };
            // What is compiled in has no buffer of its own.
            let weights: Vec<&[T]> =
                own().filter_map(|(conv, w)| conv.known().is_none().then_some(w.weight)).collect();
            let bias_is_asked = |conv: &Conv| conv.known().is_none_or(|known| known.bias.is_none());
            let biases: Vec<&[T]> =
                own().filter(|(conv, _)| bias_is_asked(conv)).filter_map(|(_, w)| w.bias).collect();
            // SAFETY: every array has the length of its shape, and they stand in the order of the
            // group's steps, which is that of its nest's buffers.
            constants.push(unsafe { engine::pack(nest, code, &weights, &biases)? });
        }
        let inner = Inner { shared, constants, pool: Mutex::default() };
        Ok(PackedChain { inner: Arc::new(inner), threads: compiled.threads, dtype: PhantomData })
    }

    /// The code, without the weights.
    pub fn compiled(&self) -> CompiledChain {
        CompiledChain { shared: self.inner.shared.clone(), threads: self.threads }
    }

    /// Computes the output.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length.
    pub fn run(&self, input: &[T], output: &mut [T]) -> Result<(), Error> {
        self.run_on(input, output, self.threads, executor::default_executor())
    }

    /// The same in so many parts, run by an executor of yours. The bits do not depend on either.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_on(
        &self,
        input: &[T],
        output: &mut [T],
        threads: usize,
        executor: &dyn Executor,
    ) -> Result<(), Error> {
        let Shared { chain, lens, .. } = &*self.inner.shared;
        if (input.len(), Some(output.len())) != (lens[0], lens.last().copied()) {
            check_len("input", input.len(), chain.input_shape())?;
            check_len("output", output.len(), chain.output_shape())?;
        }
        if output.is_empty() {
            return Ok(());
        }
        let mut memory = self.inner.take();
        let ends =
            Ends { input: input.as_ptr().cast_mut().cast(), output: output.as_mut_ptr().cast() };
        // SAFETY: both arrays have the lengths of their shapes, and the output is borrowed for us
        // alone.
        let result = unsafe { self.inner.run(ends, &mut memory, threads.max(1), executor) };
        self.inner.give_back(memory);
        result
    }
}

/// The caller's arrays.
#[derive(Clone, Copy)]
struct Ends {
    input: *mut u8,
    output: *mut u8,
}

impl Inner {
    /// Runs group after group.
    ///
    /// # Safety
    /// The ends have the lengths of the chain's input and output, the output nobody else's.
    unsafe fn run(
        &self,
        ends: Ends,
        memory: &mut Memory,
        threads: usize,
        executor: &dyn Executor,
    ) -> Result<(), Error> {
        let Shared { chain, groups, lens, .. } = &*self.shared;
        memory.reserve(lens, chain.dtype().bytes(), groups)?;
        for (group, constants) in groups.iter().zip(&self.constants) {
            let CompiledGroup { group, nest, code, divisible } = group;
            let (start, end) = (group.steps.start, group.steps.end);
            memory.residuals.clear();
            for from in chain.steps()[group.steps.clone()].iter().filter_map(|step| step.residual) {
                if from <= start {
                    let place = memory.place(from, chain, ends).expose_provenance();
                    memory.residuals.push(place);
                }
            }
            let (input, output) =
                (memory.place(start, chain, ends), memory.place(end, chain, ends));
            let Memory { scratch, residuals, .. } = memory;
            // SAFETY: addresses are as large as pointers and have their layout.
            let residuals = unsafe {
                std::slice::from_raw_parts(residuals.as_ptr().cast::<*mut u8>(), residuals.len())
            };
            let run = Run {
                nest,
                code,
                constants,
                sizes: &[],
                parts: if *divisible { threads } else { 1 },
                executor,
            };
            let places = Places { input, output, residuals };
            // SAFETY: every place is a tensor of the chain: the caller's arrays, or blocks that
            // `reserve` made as long as their shapes say. No group writes a tensor that it reads.
            unsafe { run.run(&places, scratch)? };
        }
        Ok(())
    }

    fn take(&self) -> Memory {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.pop().unwrap_or_default()
    }

    fn give_back(&self, memory: Memory) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

impl Memory {
    /// Room for the tensors between groups.
    fn reserve(
        &mut self,
        lens: &[usize],
        bytes: usize,
        groups: &[CompiledGroup],
    ) -> Result<(), Error> {
        self.tensors.resize_with(lens.len() - 1, Block::default);
        for group in groups {
            let tensor = group.group.steps.end;
            if let Some(block) = self.tensors.get_mut(tensor) {
                block.grow(lens[tensor] * bytes)?;
            }
        }
        Ok(())
    }

    /// Where a tensor is: 0 is the input, the last one the output.
    fn place(&mut self, tensor: usize, chain: &Chain, ends: Ends) -> *mut u8 {
        match tensor {
            0 => ends.input,
            last if last == chain.steps().len() => ends.output,
            between => self.tensors[between].start(),
        }
    }
}

fn check_step<T: Element>(conv: &Conv, weights: &StepWeights<'_, T>) -> Result<(), Error> {
    check_len("weight", weights.weight.len(), conv.weight_shape())?;
    check_bias(conv, weights.bias.map(<[T]>::len))
}

fn of_step(number: usize, error: Error) -> Error {
    Error::Argument(format!("step {number}: {error}"))
}
