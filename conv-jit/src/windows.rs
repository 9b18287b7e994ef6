//! Parts of a program's output: a window of it, or what a change of the input reaches.
//!
//! ```text
//! ranges of the output --Program::window--> a convolution of a part for each step
//!   --met before?--> code for boxes of arrays (Placed) --where they begin--> the caller's output
//! ```
//!
//! Code depends on how large the parts are, and on the padding that the ends leave of them; not on
//! where they are. So windows inside the image share their code. Input, output and a residual of
//! the caller's are read and written where they lie; in between there is as much of each tensor as
//! the window needs.

mod tensors;

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conv_ir::lower::Within;
use conv_ir::program::window::{Part, Window};
use conv_ir::{Conv, Program, Stored};

use crate::compiled::Compiled;
use crate::engine::Work;
use crate::executor::{self, Executor};
use crate::memory::Block;
use crate::options::Options;
use crate::placed::{self, Made, Placed};
use crate::shared::Shared;
use crate::weights::{self, StepArrays, StepWeights, check_len};
use crate::{Error, share};
use tensors::{Added, Tensors, starts};

/// Windows that are remembered: the nine kinds of an image with edges, and some more.
const MOST_WINDOWS: usize = 16;

/// Bytes of packed weights for them all. One window may have more.
const MOST_BYTES: usize = 64 << 20;

/// A program with its weights, of which parts of the output are computed.
///
/// The bits are those of the whole run. A window costs what the steps need of each tensor for it,
/// and not more: of a whole output of 4096 columns, here, 66 inputs.
///
/// ```
/// let blur = conv_jit::conv1d(1, 1, 3).input([4096]).padding(1).conv(1, 3).padding(1).compile()?;
/// let ones = [1.0f32; 3];
/// let blur = blur.windows(&[ones[..].into(), ones[..].into()])?;
/// let (mut input, mut output) = (vec![1.0; 4096], vec![0.0; 4096]);
/// blur.run_window(&input, &mut output, &[0..64])?;
/// assert_eq!((output[0], output[1], output[63], output[64]), (5.0, 8.0, 9.0, 0.0));
/// input[40] = 2.0;
/// let reached = blur.run_changed(&input, &mut output, &[40..41])?;
/// assert_eq!((reached, output[40]), (Some(vec![38..43]), 12.0));
/// # Ok::<(), conv_jit::Error>(())
/// ```
pub struct Windows<T> {
    shared: Arc<Shared>,
    /// Of the steps that are computed.
    weights: Vec<StepArrays<'static>>,
    options: Options,
    threads: usize,
    /// The last used first.
    met: Mutex<Vec<Arc<Met>>>,
    rooms: Mutex<Vec<Room>>,
    dtype: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Windows<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Windows").field(&self.shared.described.to_string()).finish()
    }
}

/// What is compiled for windows of some size.
struct Met {
    steps: Vec<(Conv, Within)>,
    code: Vec<Arc<Placed>>,
}

impl Met {
    fn bytes(&self) -> usize {
        self.code.iter().map(|step| step.bytes()).sum()
    }
}

/// Working memory of one run at a time.
#[derive(Default)]
struct Room {
    /// The parts of the tensors between the input and the output, and of the output where more
    /// than the window is computed.
    tensors: Vec<Block>,
    /// A step's input with padding in it.
    copy: Block,
    work: Work,
}

impl Compiled {
    /// Keeps the weights, to compute parts of the output. Weights are as for
    /// [`pack_steps`](Compiled::pack_steps).
    ///
    /// # Errors
    /// As [`pack_steps`](Compiled::pack_steps); [`Error::Unsupported`] for a step in tiles or
    /// blocks, whose bits depend on where those begin, for a step that reads several tensors, and
    /// for several outputs.
    pub fn windows<T: Stored>(&self, weights: &[StepWeights<'_, T>]) -> Result<Windows<T>, Error> {
        let shared = self.shared.clone();
        let program = &shared.described;
        let weights = weights::of_one_type::<T>(program, weights, "windows")?;
        let rewritten = &shared.lowered.rewritten;
        let tiled = rewritten.tiled.iter().map(|(step, _)| (step, "tiles"));
        let all = tiled.chain(rewritten.in_blocks.iter().map(|(step, _)| (step, "blocks by FFT")));
        if let Some((step, how)) = all.min() {
            return Err(Error::Unsupported(format!(
                "step {} is computed in {how}, which begin elsewhere in a window: its bits would \
                 be others. Compile with `accuracy exact`",
                step + 1
            )));
        }
        if let Some(at) = program.steps().iter().position(|step| step.from.len() > 1) {
            return Err(Error::Unsupported(format!(
                "step {} reads tensors that are joined: windows are of programs whose steps read \
                 one tensor each",
                at + 1
            )));
        }
        if let Some(at) = program.convs().position(conv_ir::Conv::scales) {
            return Err(Error::Unsupported(format!(
                "step {} scales by a number for each channel, of which no part is a window's",
                at + 1
            )));
        }
        if program.inputs() != [0] {
            return Err(Error::Unsupported(
                "the program declares inputs, but a window is computed from the first step's"
                    .to_owned(),
            ));
        }
        if program.outputs().len() > 1 {
            return Err(Error::Unsupported(
                "the program gives several tensors, but a window is a part of one".to_owned(),
            ));
        }
        let finite_weights =
            shared.options.finite_weights && weights::are_finite(&shared, &weights);
        Ok(Windows {
            weights: weights::kept(&shared.lowered.rewritten, &weights)?,
            options: Options { finite_weights, ..shared.options.as_decided() },
            threads: self.threads,
            met: Mutex::default(),
            rooms: Mutex::default(),
            dtype: PhantomData,
            shared,
        })
    }
}

impl<T: Stored> Windows<T> {
    /// The description.
    pub fn program(&self) -> &Program {
        &self.shared.described
    }

    /// Multiply-adds for a window of the output, those over padding left out.
    ///
    /// # Errors
    /// As [`run_window`](Self::run_window).
    pub fn multiply_adds(&self, ranges: &[Range<usize>]) -> Result<u128, Error> {
        Ok(self.computed().window(ranges)?.multiply_adds())
    }

    /// Computes a window of the output, given as a range for each spatial axis, outermost first, in
    /// all images and channels. Input and output are whole arrays; the rest of the output stays as
    /// it is.
    ///
    /// A window of a new size, or at another edge, is compiled within its run; the last 16 are
    /// kept. Each run works its ranges out anew, in some short lists that it allocates.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Conv`] for ranges that are none
    /// of the output, or a free size; [`Error::Argument`] where the program adds a residual of the
    /// caller's.
    pub fn run_window(
        &self,
        input: &[T],
        output: &mut [T],
        ranges: &[Range<usize>],
    ) -> Result<(), Error> {
        self.call(input, output).run_window(ranges)
    }

    /// Brings an output up to date, of which only the inputs in these ranges changed since it was
    /// computed. Gives the ranges of the outputs that were computed again; `None` if no output sees
    /// the change.
    ///
    /// # Errors
    /// As [`run_window`](Self::run_window), of ranges of the input.
    pub fn run_changed(
        &self,
        input: &[T],
        output: &mut [T],
        ranges: &[Range<usize>],
    ) -> Result<Option<Vec<Range<usize>>>, Error> {
        self.call(input, output).run_changed(ranges)
    }

    /// A run about which more can be said before it starts.
    pub fn call<'a>(&'a self, input: &'a [T], output: &'a mut [T]) -> WindowCall<'a, T> {
        WindowCall {
            windows: self,
            input,
            output,
            residual: None,
            executor: executor::default_executor(),
            threads: None,
        }
    }

    /// What is computed.
    fn computed(&self) -> &Program {
        self.shared.lowered.program()
    }

    /// The code for these steps, made now where there is none. Two threads that meet the same
    /// window at once may both make it.
    fn find_or_make(&self, steps: Vec<(Conv, Within)>) -> Result<Arc<Met>, Error> {
        let known: Vec<Arc<Met>> = {
            let mut met = self.lock();
            if let Some(at) = met.iter().position(|met| met.steps == steps) {
                met[..=at].rotate_right(1);
                return Ok(met[0].clone());
            }
            met.clone()
        };
        let mut code = Vec::with_capacity(steps.len());
        for (at, step) in steps.iter().enumerate() {
            let same = known.iter().find(|met| met.steps[at] == *step);
            code.push(match same {
                Some(met) => met.code[at].clone(),
                None => {
                    let weights = self.weights[at].borrowed();
                    let how = (&self.options, &self.shared.backend);
                    let made = Arc::new(Made::new(&step.0, &step.1, how)?);
                    Arc::new(Placed::new(made, &step.0, weights)?)
                }
            });
        }
        let made = Arc::new(Met { steps, code });
        let mut met = self.lock();
        met.insert(0, made.clone());
        let bytes = |met: &[Arc<Met>]| met.iter().map(|met| met.bytes()).sum::<usize>();
        while met.len() > MOST_WINDOWS || (met.len() > 1 && bytes(&met) > MOST_BYTES) {
            met.pop();
        }
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Met>>> {
        // Nothing panics while the lock is held; if it did, the list would still be whole.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One run of a window, with everything that can be said about it.
///
/// ```
/// let conv = conv_jit::conv1d(1, 1, 1).input([4]).residual(true).compile()?;
/// let conv = conv.windows(&[[2.0f32][..].into()])?;
/// let (input, residual, mut output) = ([1.0; 4], [0.5; 4], [0.0; 4]);
/// conv.call(&input, &mut output).residual(&residual).run_window(&[1..3])?;
/// assert_eq!(output, [0.0, 2.5, 2.5, 0.0]);
/// # Ok::<(), conv_jit::Error>(())
/// ```
#[must_use = "nothing runs before `run_window` or `run_changed`"]
pub struct WindowCall<'a, T> {
    windows: &'a Windows<T>,
    input: &'a [T],
    output: &'a mut [T],
    residual: Option<&'a [T]>,
    executor: &'a dyn Executor,
    threads: Option<usize>,
}

impl<'a, T: Stored> WindowCall<'a, T> {
    /// Added before the activation, where the program adds a residual that is none of its tensors:
    /// the whole array.
    pub fn residual(self, residual: &'a [T]) -> Self {
        WindowCall { residual: Some(residual), ..self }
    }

    /// Into how many parts the work of a step is cut; 1024 at most. The bits do not depend on it.
    pub fn threads(self, threads: usize) -> Self {
        WindowCall { threads: Some(threads.clamp(1, share::MOST_THREADS)), ..self }
    }

    /// Who runs the parts, instead of rayon (the calling thread without feature `rayon`).
    pub fn executor(self, executor: &'a dyn Executor) -> Self {
        WindowCall { executor, ..self }
    }

    /// See [`Windows::run_changed`].
    ///
    /// # Errors
    /// As there.
    pub fn run_changed(self, ranges: &[Range<usize>]) -> Result<Option<Vec<Range<usize>>>, Error> {
        let reached = self.windows.computed().changed(ranges)?;
        match &reached {
            Some(outputs) => self.run_window(outputs)?,
            None => self.check()?,
        }
        Ok(reached)
    }

    /// See [`Windows::run_window`].
    ///
    /// # Errors
    /// As there.
    pub fn run_window(mut self, ranges: &[Range<usize>]) -> Result<(), Error> {
        let window = self.windows.computed().window(ranges)?;
        self.check()?;
        if self.output.is_empty() {
            return Ok(());
        }
        let arrays = Tensors::new(self.windows.computed(), &window, ranges);
        let steps = window.steps.iter().enumerate();
        let steps = steps.map(|(at, step)| (step.conv.clone(), arrays.around(at, step))).collect();
        let met = self.windows.find_or_make(steps)?;
        let rooms = &self.windows.rooms;
        let room = rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut room = room.unwrap_or_default();
        let result = self.run_in(&window, (&arrays, &met), &mut room);
        rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        result
    }

    /// Every array has the length that the program says.
    fn check(&self) -> Result<(), Error> {
        let program = self.windows.program();
        check_len("input", self.input.len(), program.input_shape())?;
        check_len("output", self.output.len(), program.output_shape())?;
        let outside =
            |step: &&conv_ir::program::Step| step.conv.spec().residual && step.residual.is_none();
        match (program.steps().iter().find(outside), self.residual) {
            (Some(step), Some(residual)) => {
                let shape = step.conv.residual_shape().unwrap_or_default();
                check_len("residual", residual.len(), shape)
            }
            (None, None) => Ok(()),
            (Some(_), None) => {
                Err(Error::Argument("the program adds a residual, but none was given".to_owned()))
            }
            (None, Some(_)) => {
                Err(Error::Argument("a residual was given, but the program adds none".to_owned()))
            }
        }
    }

    fn run_in(
        &mut self,
        window: &Window,
        (arrays, met): (&Tensors, &Met),
        room: &mut Room,
    ) -> Result<(), Error> {
        let last = window.steps.len();
        room.tensors.resize_with(last.max(room.tensors.len()), Block::default);
        for at in 0..last {
            if !arrays.is_callers(at + 1) {
                room.tensors[at].grow_for::<T>(arrays.held[at + 1].len())?;
            }
        }
        for (at, (step, code)) in window.steps.iter().zip(&met.code).enumerate() {
            let input = match &step.copy {
                None => self.address(room, arrays, arrays.reads[at], &step.input),
                Some(positions) => self.copied(room, arrays, arrays.reads[at], positions)?,
            };
            let output = self.address(room, arrays, at + 1, &step.output);
            let residual = match arrays.residuals[at] {
                None => 0,
                Some(Added::Tensor(from)) => self.address(room, arrays, from, &step.output),
                Some(Added::Outside) => {
                    let start = arrays.whole[at + 1].offset(starts(&step.output));
                    self.residual.map_or(0, |array| array[start..].as_ptr().expose_provenance())
                }
            };
            let threads = (self.threads, self.windows.threads);
            let addresses = [input, output, residual];
            // SAFETY: each address is that of the box's first element, in an array of the extents
            // that `Tensors::around` gave for this step: the caller's, whose lengths were checked
            // and whose output is borrowed for us alone, or a block of this room, as long as its
            // tensor's part or copy. No step writes what it reads.
            unsafe { code.run(&addresses, threads, self.executor, &mut room.work)? };
        }
        if !arrays.is_callers(last) {
            let held = &arrays.held[last];
            let computed = room.tensors[last - 1].elements::<T>(held.len());
            let positions: Vec<Vec<i64>> =
                arrays.wanted.iter().cloned().map(Range::collect).collect();
            let start: Vec<i64> = starts(&arrays.wanted).collect();
            placed::copy((held, computed), &positions, (&arrays.whole[last], self.output), &start);
        }
        Ok(())
    }

    /// Where a part of a tensor begins.
    fn address(&mut self, room: &mut Room, arrays: &Tensors, tensor: usize, part: &Part) -> usize {
        let held = &arrays.held[tensor];
        let start = held.offset(starts(part));
        match arrays.is_callers(tensor) {
            true if tensor == 0 => self.input[start..].as_ptr().expose_provenance(),
            true => self.output[start..].as_mut_ptr().expose_provenance(),
            false => {
                let elements = room.tensors[tensor - 1].elements::<T>(held.len());
                elements[start..].as_mut_ptr().expose_provenance()
            }
        }
    }

    /// The elements at these positions of a tensor, copied.
    fn copied(
        &self,
        room: &mut Room,
        arrays: &Tensors,
        tensor: usize,
        positions: &[Vec<i64>],
    ) -> Result<usize, Error> {
        let from = &arrays.held[tensor];
        let part: Part = positions.iter().map(|listed| 0..listed.len() as i64).collect();
        let to = arrays.like(tensor, &part);
        let source = match tensor {
            0 => self.input,
            _ => &*room.tensors[tensor - 1].elements::<T>(from.len()),
        };
        room.copy.grow_for::<T>(to.len())?;
        let target = room.copy.elements::<T>(to.len());
        placed::copy((from, source), positions, (&to, &mut *target), &vec![0; part.len()]);
        Ok(target.as_mut_ptr().expose_provenance())
    }
}
