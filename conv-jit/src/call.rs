//! One run of a program.
//!
//! In: the caller's arrays, and what he says of the run. Lengths are checked before anything runs.
//! A run of known sizes allocates nothing after the first one on as many threads: scratch is kept
//! in a pool, or passed in. Nor does one of sizes for which there is code; new ones are checked in
//! a program of their own.

mod arguments;

use std::sync::Arc;

use conv_ir::{Conv, Program, Size, Stored};
use smallvec::SmallVec;

pub(crate) use self::arguments::{check_inputs, check_outputs, check_residual};
use crate::engine::Run;
use crate::executor::team::together;
use crate::executor::{self, Executor};
use crate::fft::Ends;
use crate::lens::Lens;
use crate::packed::Packed;
use crate::placed::Placed;
use crate::scratch::{Callers, Scratch};
use crate::weights::{Inner, check_len};
use crate::{Error, share};

impl<I: Stored, O: Stored> Packed<I, O> {
    /// Computes the output.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] where the description
    /// asks for a residual or has free sizes.
    pub fn run(&self, input: &[I], output: &mut [O]) -> Result<(), Error> {
        self.call(input, output).run()
    }

    /// The same with a residual of the caller's, added before the activation.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_residual(&self, input: &[I], residual: &[O], output: &mut [O]) -> Result<(), Error> {
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
        input: &[I],
        output: &mut [O],
        sizes: &[(&str, usize)],
    ) -> Result<(), Error> {
        self.call(input, output).sizes(sizes).run()
    }

    /// A run about which more can be said before it starts.
    pub fn call<'a>(&'a self, input: &'a [I], output: &'a mut [O]) -> Call<'a, I, O> {
        Call::new(self, input, output)
    }
}

/// One run, with everything that can be said about it.
///
/// ```
/// use conv_jit::{CurrentThread, Scratch, conv1d};
/// let conv = conv1d(1, 1, 3).input([4]).padding(1).residual(true).compile()?;
/// let conv = conv.pack(&[1.0f32; 3], None)?;
/// let (input, residual, mut output) = ([1.0; 4], [0.5; 4], [0.0; 4]);
/// let mut scratch = Scratch::new(); // kept between runs
/// conv.call(&input, &mut output)
///     .residual(&residual)
///     .scratch(&mut scratch)
///     .executor(&CurrentThread)
///     .run()?;
/// assert_eq!(output, [2.5, 3.5, 3.5, 2.5]);
/// # Ok::<(), conv_jit::Error>(())
/// ```
#[must_use = "nothing runs before `run`"]
pub struct Call<'a, I, O = I> {
    packed: &'a Packed<I, O>,
    input: &'a [I],
    /// Those behind the first.
    inputs: SmallVec<[&'a [I]; 4]>,
    output: &'a mut [O],
    /// Those behind the first.
    others: SmallVec<[&'a mut [O]; 4]>,
    residual: Option<&'a [O]>,
    sizes: &'a [(&'a str, usize)],
    scratch: Option<&'a mut Scratch>,
    executor: &'a dyn Executor,
    /// `None`: as many as there is work for, up to those that the options say.
    threads: Option<usize>,
    watch: Option<&'a (dyn Fn(usize) + Sync)>,
}

impl<'a, I: Stored, O: Stored> Call<'a, I, O> {
    pub(crate) fn new(packed: &'a Packed<I, O>, input: &'a [I], output: &'a mut [O]) -> Self {
        Call {
            packed,
            input,
            inputs: SmallVec::new(),
            output,
            others: SmallVec::new(),
            residual: None,
            sizes: &[],
            scratch: None,
            executor: executor::default_executor(),
            threads: None,
            watch: None,
        }
    }

    /// Added before the activation, where the program adds a residual that is none of its tensors.
    pub fn residual(self, residual: &'a [O]) -> Self {
        Call { residual: Some(residual), ..self }
    }

    /// The inputs behind the first, of a program that takes several, in their order
    /// ([`Program::inputs`]). A run with more than four of them allocates a list.
    ///
    /// ```
    /// let (mut net, x) = conv_jit::graph(1, [4]);
    /// let y = net.input(2, [4]);
    /// net.step([x, y], |step| step.pointwise(1));
    /// let net = net.compile()?.pack_steps(&[
    ///     Default::default(), // the inputs have no weight
    ///     Default::default(),
    ///     [1.0f32, 10.0, 100.0][..].into(),
    /// ])?;
    /// let (x, y, mut output) = ([1.0; 4], [2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0], [0.0; 4]);
    /// net.call(&x, &mut output).other_inputs([&y[..]]).run()?;
    /// assert_eq!(output, [321.0; 4]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn other_inputs(self, inputs: impl IntoIterator<Item = &'a [I]>) -> Self {
        Call { inputs: inputs.into_iter().collect(), ..self }
    }

    /// The outputs behind the first, of a program that gives several tensors, in their order. A run
    /// with more than four outputs allocates a list of them.
    ///
    /// ```
    /// let both = conv_jit::chain(1, [4]).conv(1, 2).conv(1, 2).outputs([1, 2]).compile()?;
    /// let both = both.pack_steps(&[[1.0f32, 1.0][..].into(), [1.0, 1.0][..].into()])?;
    /// let (mut first, mut second) = ([0.0; 3], [0.0; 2]);
    /// both.call(&[1.0, 2.0, 3.0, 4.0], &mut first).other_outputs([&mut second[..]]).run()?;
    /// assert_eq!((first, second), ([3.0, 5.0, 7.0], [8.0, 12.0]));
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn other_outputs(self, outputs: impl IntoIterator<Item = &'a mut [O]>) -> Self {
        Call { others: outputs.into_iter().collect(), ..self }
    }

    /// Values for the free sizes, by name.
    pub fn sizes(self, sizes: &'a [(&'a str, usize)]) -> Self {
        Call { sizes, ..self }
    }

    /// Working memory, instead of the pool's.
    pub fn scratch(self, scratch: &'a mut Scratch) -> Self {
        Call { scratch: Some(scratch), ..self }
    }

    /// Into how many parts the work is cut, however little it is; 1024 at most. The bits do not
    /// depend on it.
    pub fn threads(self, threads: usize) -> Self {
        Call { threads: Some(threads.clamp(1, share::MOST_THREADS)), ..self }
    }

    /// Who runs the parts, instead of rayon (the calling thread without feature `rayon`).
    pub fn executor(self, executor: &'a dyn Executor) -> Self {
        Call { executor, ..self }
    }

    /// What is called before each group of the plan, with its number, and behind the last with
    /// their count: to measure them. Any thread of the executor's may call it.
    ///
    /// ```
    /// # use std::{sync::Mutex, time::Instant};
    /// let two = conv_jit::chain(1, [4]).conv(1, 2).conv(1, 2).compile()?;
    /// let two = two.pack_steps(&[[1.0f32, 1.0][..].into(), [1.0, 1.0][..].into()])?;
    /// let times = Mutex::new(Vec::new());
    /// let watch = |_| times.lock().unwrap().push(Instant::now());
    /// two.call(&[1.0, 2.0, 3.0, 4.0], &mut [0.0; 2]).watched(&watch).run()?;
    /// let times = times.into_inner().unwrap();
    /// assert_eq!(times.windows(2).count(), two.compiled().plan().groups.len());
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn watched(self, watch: &'a (dyn Fn(usize) + Sync)) -> Self {
        Call { watch: Some(watch), ..self }
    }

    /// Runs.
    ///
    /// # Errors
    /// As [`Packed::run_sized`].
    pub fn run(self) -> Result<(), Error> {
        let Packed { inner, by_size, .. } = self.packed;
        let program = inner.shared.lowered.program();
        if let (Some(lens), []) = (&inner.shared.lens, self.sizes) {
            return self.check(lens, program).and_then(|()| self.run_of(inner, lens, None));
        }
        if let Some(met) = by_size.as_ref().and_then(|by_size| by_size.find(self.sizes)) {
            return self.run_met(&met);
        }
        let sized = program.with_sizes(self.sizes)?;
        let Some(lens) = Lens::of(&sized, &inner.shared.lowered.plan, &[]) else {
            return Err(Error::Memory("arrays of these sizes".to_owned()));
        };
        self.check(&lens, &sized)?;
        if self.output.is_empty() {
            return Ok(());
        }
        match by_size.as_ref().and_then(|by_size| by_size.find_or_make(self.sizes, &sized)) {
            Some(made) => self.run_met(&made),
            None => self.run_of(inner, &lens, Some(&sized)),
        }
    }

    /// Runs what was compiled for these sizes.
    fn run_met(self, met: &Inner) -> Result<(), Error> {
        let Some(lens) = &met.shared.lens else {
            return Err(Error::Memory("arrays of these sizes".to_owned()));
        };
        self.check(lens, met.shared.lowered.program())?;
        self.run_of(met, lens, None)
    }

    /// Every array has the length that the program says. Allocates only to report.
    fn check(&self, lens: &Lens, program: &Program) -> Result<(), Error> {
        let residual = self.residual.map(<[O]>::len);
        let inputs = std::iter::once(self.input.len());
        let inputs = inputs.chain(self.inputs.iter().map(|input| input.len()));
        let outputs = std::iter::once(self.output.len());
        let outputs = outputs.chain(self.others.iter().map(|output| output.len()));
        let are = |found: &mut dyn Iterator<Item = usize>, needed: &[usize]| {
            needed.iter().copied().eq(found)
        };
        if residual == lens.residual
            && are(&mut inputs.clone(), &lens.inputs)
            && are(&mut outputs.clone(), &lens.outputs)
        {
            return Ok(());
        }
        check_inputs(program, 1 + self.inputs.len())?;
        for (len, &tensor) in inputs.zip(program.inputs()) {
            check_len("input", len, program.shape(tensor))?;
        }
        check_outputs(program, 1 + self.others.len())?;
        for (len, &tensor) in outputs.zip(program.outputs()) {
            check_len("output", len, program.shape(tensor))?;
        }
        check_residual(program, residual)
    }

    /// Runs in the caller's scratch or the pool's. `sized`: the program with its free sizes filled
    /// in, where it has some.
    fn run_of(mut self, inner: &Inner, lens: &Lens, sized: Option<&Program>) -> Result<(), Error> {
        if self.output.is_empty() {
            return Ok(());
        }
        if let Some(scratch) = self.scratch.take() {
            return self.run_in(inner, scratch, (lens, sized));
        }
        let pool = &self.packed.inner.pool;
        let mut scratch = pool.take();
        let result = self.run_in(inner, &mut scratch, (lens, sized));
        pool.give_back(scratch);
        result
    }

    fn run_in(
        &mut self,
        inner: &Inner,
        scratch: &mut Scratch,
        (lens, sized): (&Lens, Option<&Program>),
    ) -> Result<(), Error> {
        let outputs = std::iter::once(&mut self.output).chain(&mut self.others);
        let outputs: SmallVec<[usize; 4]> =
            outputs.map(|output| output.as_mut_ptr().expose_provenance()).collect();
        let inputs = std::iter::once(&self.input).chain(&self.inputs);
        let inputs: SmallVec<[usize; 4]> =
            inputs.map(|input| input.as_ptr().expose_provenance()).collect();
        let callers = Callers {
            inputs: &inputs,
            outputs: &outputs,
            residual: self.residual.map_or(0, |r| r.as_ptr().expose_provenance()),
        };
        let threads = (self.threads, self.packed.threads);
        let Call { executor, watch, .. } = *self;
        let groups = Groups { inner, placed: &[], threads, executor, watch };
        // SAFETY: these are the caller's arrays, whose lengths `check` compared and whose outputs
        // are borrowed for us alone.
        unsafe { groups.run(&callers, scratch, (lens, sized)) }
    }
}

/// A run of all groups.
pub(crate) struct Groups<'a> {
    pub inner: &'a Inner,
    /// Instead of the code of some.
    pub placed: &'a [(usize, Arc<Placed>)],
    /// Parts that were asked for, and the most otherwise.
    pub threads: (Option<usize>, usize),
    pub executor: &'a dyn Executor,
    pub watch: Option<&'a (dyn Fn(usize) + Sync)>,
}

impl Groups<'_> {
    /// Runs. `sized`: the program with its free sizes filled in, where it has some.
    ///
    /// # Safety
    /// The addresses are exposed ones of inputs, outputs and the residual of the caller's, where
    /// there is one: arrays as long as `lens` says, or such as their code in `placed` was made for.
    /// Those of the outputs are nobody else's.
    pub(crate) unsafe fn run(
        &self,
        callers: &Callers<'_>,
        scratch: &mut Scratch,
        of: (&Lens, Option<&Program>),
    ) -> Result<(), Error> {
        let (asked, most) = self.threads;
        let parts = self.inner.shared.codes.iter().map(|code| code.parts(asked, most));
        let (threads, shared) = parts
            .filter(|parts| *parts > 1)
            .fold((1, 0), |(threads, shared), parts| (parts.max(threads), shared + 1));
        if shared < 2 {
            // SAFETY: as the caller says.
            return unsafe { self.one_by_one(callers, scratch, of) };
        }
        let lead = |team: &dyn Executor| {
            let groups = Groups { executor: team, ..*self };
            // SAFETY: as the caller says.
            unsafe { groups.one_by_one(callers, scratch, of) }
        };
        together(self.executor, threads, lead).unwrap_or(Ok(()))
    }

    /// Runs one group after the other.
    ///
    /// # Safety
    /// As of [`run`](Self::run).
    unsafe fn one_by_one(
        &self,
        callers: &Callers<'_>,
        scratch: &mut Scratch,
        (lens, sized): (&Lens, Option<&Program>),
    ) -> Result<(), Error> {
        let Groups { inner, executor, threads: (asked, most), .. } = *self;
        scratch.place(lens, callers)?;
        let mut copies = lens.copies.iter().peekable();
        let lowered = &inner.shared.lowered;
        let groups = lowered.groups.iter().zip(&inner.shared.codes).zip(&inner.constants);
        let groups = groups.zip(&inner.spectra).enumerate();
        let watch = |number: usize| self.watch.into_iter().for_each(|watch| watch(number));
        for (number, (((group, compiled), constants), spectra)) in groups {
            watch(number);
            while let Some((_, joined)) = copies.next_if(|(before, _)| *before == number) {
                // SAFETY: both tensors have memory of their own, or are ranges of a joined one that
                // do not meet; they are as long as their shapes say.
                unsafe { joined.copy(&scratch.addresses) };
            }
            if let Some((_, placed)) = self.placed.iter().find(|(of, _)| *of == number) {
                let Scratch { addresses, work, .. } = &mut *scratch;
                // SAFETY: the caller's arrays lie as the code was made for (his word), and others
                // are whole, as it was told; as below.
                unsafe { placed.run(addresses, self.threads, executor, work)? };
                continue;
            }
            let parts = compiled.parts(asked, most);
            if let Some(spectra) = spectra {
                let [input, output] = [compiled.arrays.input, compiled.arrays.output];
                let [input, output] = [input, output].map(|tensor| scratch.addresses[tensor]);
                let ends = Ends { input, output };
                // SAFETY: as below.
                let finite = unsafe { spectra.run(ends, &mut scratch.work, (parts, executor))? };
                if finite {
                    continue;
                }
            }
            // Where sizes are free a group is one step.
            let at = group.group.steps.start;
            let sizes = sized.map_or_else(Vec::new, |sized| {
                values(&lowered.program().steps()[at].conv, &sized.steps()[at].conv)
            });
            let run = Run {
                nest: &group.nest,
                code: &compiled.code,
                constants,
                sizes: &sizes,
                addresses: &scratch.addresses,
                parts,
                executor,
            };
            // SAFETY: every address is a tensor of the program: the caller's arrays (his word), or
            // blocks that `place` made as long as their shapes say. No group writes a tensor that
            // it reads.
            unsafe { run.run(&mut scratch.work)? };
        }
        watch(lowered.groups.len());
        Ok(())
    }
}

/// A step's free sizes, by the names it has for them.
fn values<'a>(free: &'a Conv, sized: &Conv) -> Vec<(&'a str, usize)> {
    let names = std::iter::once(&free.spec().batch).chain(&free.spec().input);
    let numbers = std::iter::once(&sized.spec().batch).chain(&sized.spec().input);
    let value = |(name, number): (&'a Size, &Size)| match name {
        Size::Free(name) => Some((name.as_str(), number.known()?)),
        Size::Known(_) => None,
    };
    names.zip(numbers).filter_map(value).collect()
}
