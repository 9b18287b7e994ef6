//! A convolution with its weights: what runs.
//!
//! In: weights, once; then input and output, often. Every length is checked at the door and the machine code trusts it. A run of known sizes allocates nothing after
//! the first one on as many threads: scratch is kept in a pool, or passed in. Sizes given at run time are checked in a description of their own.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use conv_ir::nest::{BufferId, BufferRole, Var};
use conv_ir::{Conv, DType, Element, Nest};

use crate::code::Entry;
use crate::compiled::{CompiledConv, First, Lens, Shared};
use crate::emit::scratch::{SLACK, block_bytes, bytes};
use crate::executor::{self, Executor};
use crate::memory::Block;
use crate::{Error, share};

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
    /// Owns what `addresses` points to.
    _blocks: Vec<Block>,
    addresses: Addresses,
    /// Scratch of runs that have ended.
    pool: Mutex<Vec<Scratch>>,
}

/// The address of each buffer that does not change between runs; null for the others.
struct Addresses(Vec<*mut u8>);

// SAFETY: after packing, these addresses are only read through, and the memory behind them belongs to the same `Inner`.
unsafe impl Send for Addresses {}
// SAFETY: as above; reading from several threads is no conflict.
unsafe impl Sync for Addresses {}

/// Working memory of one run at a time. Grows to what a run needs and stays so.
#[derive(Default)]
pub struct Scratch {
    block: Block,
    /// Room for the buffer table and the symbol table.
    table: Vec<usize>,
    symbols: Vec<i64>,
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
    pub(crate) fn new(compiled: &CompiledConv, weight: &[T], bias: Option<&[T]>) -> Result<Self, Error> {
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
        check_dtype::<T>(&shared.conv)?;
        match (shared.conv.known(), weight) {
            (None, weight) => check_len("weight", weight.len(), shared.conv.weight_shape())?,
            (Some(_), []) => {}
            (Some(_), _) => {
                let message = "weights were given, but this convolution has its weights compiled in";
                return Err(Error::Argument(message.to_owned()));
            }
        }
        check_bias(&shared.conv, bias.map(<[T]>::len))?;
        let (blocks, addresses) = pack(&shared, weight, bias.unwrap_or(&[]))?;
        let inner = Inner {
            shared,
            _blocks: blocks,
            addresses,
            pool: Mutex::default(),
        };
        Ok(PackedConv {
            inner: Arc::new(inner),
            first,
            threads: compiled.threads,
            dtype: PhantomData,
        })
    }

    /// The description.
    pub fn conv(&self) -> &Conv {
        self.first
            .as_ref()
            .map_or(&self.inner.shared.conv, |first| &first.from.whole)
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
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] where the description asks for a residual or has free sizes.
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

    /// The same with values for free sizes.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Error::Conv`] where sizes are missing, unknown or break a rule.
    pub fn run_sized(&self, input: &[T], output: &mut [T], sizes: &[(&str, usize)]) -> Result<(), Error> {
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
        Call {
            residual: Some(residual),
            ..self
        }
    }

    /// Values for the free sizes, by name.
    pub fn sizes(self, sizes: &'a [(&'a str, usize)]) -> Self {
        Call { sizes, ..self }
    }

    /// Working memory, instead of the pool's.
    pub fn scratch(self, scratch: &'a mut Scratch) -> Self {
        Call {
            scratch: Some(scratch),
            ..self
        }
    }

    /// Into how many parts the work is cut, however little it is. The bits do not depend on it.
    pub fn threads(self, threads: usize) -> Self {
        Call {
            threads: threads.max(1),
            ..self
        }
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
        if (self.input.len(), self.output.len()) != (lens.input, lens.output) || !self.sizes.is_empty() {
            self.check(&before.from.whole.with_sizes(self.sizes)?)?;
        }
        let mut between = before.take();
        let pass = before.pass.call(self.input, &mut between);
        pass.executor(self.executor).threads(self.threads).run()?;
        let second = Call {
            input: &between,
            scratch: self.scratch,
            output: self.output,
            ..self
        };
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
            (true, Some(residual)) => check_len("residual", residual.len(), conv.residual_shape().unwrap_or_default()),
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
        let Shared {
            nest, code, divisible, ..
        } = &*self.conv.inner.shared;
        let parts = if *divisible { self.threads } else { 1 };
        scratch.fill_symbols(nest, self.sizes)?;
        let block = block_bytes(nest, &scratch.symbols).and_then(|b| usize::try_from(b).ok());
        let total = block.and_then(|b| b.checked_mul(parts));
        let (Some(block), Some(total)) = (block, total) else {
            return Err(Error::Memory(format!("scratch for {parts} threads")));
        };
        scratch.block.grow(total)?;
        scratch.table.clear();
        scratch
            .table
            .extend((0..nest.buffers.len()).map(|at| self.address(nest, BufferId(at as u32)).expose_provenance()));
        let start = scratch.block.start().expose_provenance();
        let (table, symbols) = (&scratch.table, &scratch.symbols);
        let job = |part: usize| {
            // SAFETY: `check` compared every length with the nest's description; addresses in the table are those arrays or our packed ones, in
            // the nest's order; this part's scratch is `block` bytes nobody else uses; parts write different elements (`is_divisible`).
            unsafe {
                let buffers = std::slice::from_raw_parts(table.as_ptr().cast::<*mut u8>(), table.len());
                let scratch = std::ptr::with_exposed_provenance_mut(start + part * block);
                code.call(Entry::Run, buffers, symbols, scratch, (part, parts));
            }
        };
        match parts {
            1 => job(0),
            parts => run_once_each(self.executor, parts, &job),
        }
        Ok(())
    }

    fn address(&mut self, nest: &Nest, buffer: BufferId) -> *mut u8 {
        match nest.buffer(buffer).role {
            BufferRole::Input => self.input.as_ptr().cast_mut().cast(),
            BufferRole::Residual => self
                .residual
                .map_or(std::ptr::null_mut(), |r| r.as_ptr().cast_mut().cast()),
            BufferRole::Output => self.output.as_mut_ptr().cast(),
            BufferRole::Weight | BufferRole::Bias | BufferRole::Packed | BufferRole::Scratch => {
                self.conv.inner.addresses.0[buffer.index()]
            }
        }
    }
}

/// Guards against an executor of the user's that repeats a part, or invents one: two threads in one part would share scratch.
fn run_once_each(executor: &dyn Executor, parts: usize, job: &(dyn Fn(usize) + Sync)) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let done = AtomicUsize::new(0);
    // Parts are handed out here and not by the executor's number, so that each is run exactly once whatever the executor does.
    executor.run(parts, &|_| {
        let part = done.fetch_add(1, Ordering::Relaxed);
        if part < parts {
            job(part);
        }
    });
    // An executor that called too rarely leaves the rest to us.
    while done.load(Ordering::Relaxed) < parts {
        job(done.fetch_add(1, Ordering::Relaxed));
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
        self.pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    fn return_scratch(&self, scratch: Scratch) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}

impl Scratch {
    /// Empty; the first run fills it.
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Works out every symbol's value.
    fn fill_symbols(&mut self, nest: &Nest, sizes: &[(&str, usize)]) -> Result<(), Error> {
        self.symbols.clear();
        for symbol in &nest.symbols {
            let value = match &symbol.value {
                Some(quotient) => quotient.eval(|var| match var {
                    Var::Symbol(earlier) => self.symbols.get(earlier.index()).copied().unwrap_or(0),
                    Var::Axis(_) => 0,
                }),
                None => given(&symbol.name, sizes)?,
            };
            self.symbols.push(value);
        }
        Ok(())
    }
}

fn given(name: &str, sizes: &[(&str, usize)]) -> Result<i64, Error> {
    let found = sizes
        .iter()
        .find(|(known, _)| *known == name)
        .and_then(|(_, size)| i64::try_from(*size).ok());
    found.ok_or_else(|| Error::Argument(format!("the size {name} is missing")))
}

/// Runs `setup`: the packed buffers, and copies of weight and bias where the body reads them as they are.
fn pack<T: Element>(shared: &Shared, weight: &[T], bias: &[T]) -> Result<(Vec<Block>, Addresses), Error> {
    let nest = &shared.nest;
    let mut blocks = Vec::new();
    let (mut during, mut after) = (Vec::new(), Vec::new());
    for at in 0..nest.buffers.len() {
        let id = BufferId(at as u32);
        let null = std::ptr::null_mut();
        if let Some(values) = &nest.buffer(id).values {
            let start = known_block::<T>(values, &mut blocks)?;
            during.push(start);
            after.push(start);
            continue;
        }
        let (now, later) = match nest.buffer(id).role {
            BufferRole::Packed => {
                let start = packed_block(nest, id, &mut blocks)?;
                (start, start)
            }
            BufferRole::Weight => (weight.as_ptr().cast_mut().cast(), copy(nest, id, weight, &mut blocks)?),
            BufferRole::Bias => (bias.as_ptr().cast_mut().cast(), copy(nest, id, bias, &mut blocks)?),
            BufferRole::Input | BufferRole::Residual | BufferRole::Output | BufferRole::Scratch => (null, null),
        };
        during.push(now);
        after.push(later);
    }
    let symbols = vec![0; nest.symbols.len()];
    // SAFETY: weight and bias have the lengths of their shapes (checked by the caller) and are only read; packed buffers are ours and as long as the
    // nest says; `setup` touches no other buffer and, as `packed_block` checked, no symbol's value matters to it.
    unsafe {
        shared
            .code
            .call(Entry::Setup, &during, &symbols, std::ptr::null_mut(), (0, 1))
    };
    Ok((blocks, Addresses(after)))
}

/// Known numbers that the code reads from memory.
fn known_block<T: Element>(values: &[f64], blocks: &mut Vec<Block>) -> Result<*mut u8, Error> {
    let numbers: Vec<T> = values.iter().map(|&x| T::from_f64(x)).collect();
    // Vector loads may read beyond the last one, as in every buffer of ours.
    let mut block = Block::new(size_of_val(&numbers[..]) + SLACK as usize)?;
    let start = block.start();
    // SAFETY: the block is fresh and longer than the numbers, which are plain.
    unsafe { std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), start, size_of_val(&numbers[..])) };
    blocks.push(block);
    Ok(start)
}

fn packed_block(nest: &Nest, id: BufferId, blocks: &mut Vec<Block>) -> Result<*mut u8, Error> {
    let buffer = nest.buffer(id);
    if nest.constant_len(id).is_none() {
        return Err(Error::Unsupported(format!(
            "packed buffer {} has a size known only at run time",
            buffer.name
        )));
    }
    let len = bytes(buffer, &[]).and_then(|b| usize::try_from(b).ok());
    let len = len.ok_or_else(|| Error::Memory(format!("packed buffer {}", buffer.name)))?;
    let mut block = Block::new(len)?;
    let start = block.start();
    blocks.push(block);
    Ok(start)
}

/// A copy of the caller's array, where the body needs one after packing.
fn copy<T: Element>(nest: &Nest, id: BufferId, from: &[T], blocks: &mut Vec<Block>) -> Result<*mut u8, Error> {
    if !share::body_reads(nest, id) {
        return Ok(std::ptr::null_mut());
    }
    let mut block = Block::new(size_of_val(from))?;
    let start = block.start();
    // SAFETY: the block is fresh and at least as long as `from`, whose elements are plain numbers.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr().cast::<u8>(), start, size_of_val(from)) };
    blocks.push(block);
    Ok(start)
}

fn check_dtype<T: Element>(conv: &Conv) -> Result<(), Error> {
    let (found, needed): (DType, DType) = (T::DTYPE, conv.dtype());
    // Anybody may implement `Element`; the machine code must see the number that it was made for.
    let is = match needed {
        DType::F32 => TypeId::of::<T>() == TypeId::of::<f32>(),
        DType::F64 => TypeId::of::<T>() == TypeId::of::<f64>(),
    };
    if is {
        Ok(())
    } else {
        Err(Error::DType { found, needed })
    }
}

fn check_bias(conv: &Conv, found: Option<usize>) -> Result<(), Error> {
    let comes_later = conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none());
    match (comes_later, found) {
        (true, Some(found)) => check_len("bias", found, conv.bias_shape()),
        (false, None) => Ok(()),
        (true, None) => Err(Error::Argument(
            "the convolution adds a bias, but none was given".to_owned(),
        )),
        (false, Some(_)) => Err(Error::Argument(
            "a bias was given, but the convolution adds none".to_owned(),
        )),
    }
}

fn check_len(name: &'static str, found: usize, shape: Vec<usize>) -> Result<(), Error> {
    let needed = shape.iter().product();
    if found == needed {
        Ok(())
    } else {
        Err(Error::Length {
            name,
            found,
            needed,
            shape,
        })
    }
}
