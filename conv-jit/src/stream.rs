//! A program whose input comes piece by piece along one axis.
//!
//! ```text
//! Program, weights --Stream::new--> code for pieces of each step (Placed)
//!   --state--> push, push, .. flush
//! ```
//!
//! Each tensor is in memory for as long as it is read, twice, so that any stretch of it lies in one
//! piece and nothing is moved:
//!
//! ```text
//! positions 5 6 7 of a memory of 4        slots  0 1 2 3 | 4 5 6 7
//! (4 is the oldest that is there)                4 5 6 7 | 4 5 6 7
//! ```
//!
//! A step computes what became known in pieces of the lengths that its code has. A shorter piece is
//! computed as a longer one, whose last outputs are not used: what they read is there, though not
//! yet known. So a call runs the same code for every length of block, and the sums are those of the
//! whole run. What lies before the first position, or behind the last one, is written into memory
//! as the number that the reader finds in its padding.
//!
//! A call allocates nothing and takes no lock: memory is the state's.

use std::ops::Range;

use conv_ir::lower::Within;
use conv_ir::program::stream as plan;
use conv_ir::{Element, Layout, Program, with_element};

use crate::Error;
use crate::builder::Builder;
use crate::engine::Work;
use crate::executor::CurrentThread;
use crate::memory::Block;
use crate::options::Options;
use crate::placed::Placed;
use crate::weights::{self, StepWeights, check_len};

/// Positions that code is made for, where nothing is said: of blocks that audio comes in, of the
/// rest of other ones, and one.
pub const PIECES: [usize; 3] = [64, 8, 1];

/// Bytes of the state of a stream in pieces of so many positions.
///
/// ```
/// use conv_ir::program::stream::Stream;
/// let sum: conv_jit::Program = "conv1d in T kernel 3 padding causal".parse()?;
/// // An input is there for two more, and there is room for a piece: twice 80 of them, 64 outputs.
/// assert_eq!(conv_jit::state_bytes(&sum, &Stream::new(&sum, 0, &[64])?)?, 4 * (2 * 80 + 64));
/// # Ok::<(), conv_jit::Error>(())
/// ```
///
/// # Errors
/// [`Error::Memory`] where there is no such number.
pub fn state_bytes(program: &Program, stream: &plan::Stream) -> Result<usize, Error> {
    with_element!(program.dtype(), T => {
        let tensors = tensors::<T>(program, stream)?;
        Ok(elements(&tensors) * size_of::<T>())
    })
}

fn elements<T: Element>(tensors: &[Tensor<T>]) -> usize {
    tensors.last().map_or(0, |last| last.at + last.len())
}

/// A program with its weights, along an axis that has no length.
///
/// Its input comes in blocks of any length, and each call gives the outputs that became known.
/// Their bits are those of a run of the whole.
///
/// ```
/// use conv_jit::{Padding, conv1d};
/// let sum = conv1d(1, 1, 3).input(["T"]).padding(Padding::Causal);
/// let sum = sum.stream(0, &[[1.0f32, 1.0, 1.0][..].into()])?;
/// let mut state = sum.state()?;
/// let mut output = [0.0; 2];
/// sum.push(&mut state, &[1.0, 10.0], &mut output)?;
/// assert_eq!(output, [1.0, 11.0]);
/// sum.push(&mut state, &[100.0, 1000.0], &mut output)?;
/// assert_eq!(output, [111.0, 1110.0]);
/// assert_eq!(sum.left(&state), 0, "nothing is left to flush: no output looks ahead");
/// # Ok::<(), conv_jit::Error>(())
/// ```
pub struct Stream<T> {
    described: Program,
    stream: plan::Stream,
    steps: Vec<Code>,
    /// Of the input first.
    tensors: Vec<Tensor<T>>,
}

/// The code of a step, most outputs first.
struct Code {
    pieces: Vec<(i64, Placed)>,
    /// The tensor that it adds.
    residual: Option<usize>,
}

/// How a tensor lies in memory.
struct Tensor<T> {
    /// Of an array of no positions.
    shape: Vec<usize>,
    /// The dimension of the positions.
    dimension: usize,
    /// Of its first element in the state's memory.
    at: usize,
    /// Blocks of positions: images, channels, axes outside the streamed one.
    outer: usize,
    /// Elements at a position of a block.
    inner: usize,
    /// Positions that are there, and as many once more behind them. Of the output there is no more
    /// than a piece, once.
    ring: i64,
    /// What lies outside.
    fill: T,
    /// The steps that read it.
    readers: Vec<Reader>,
}

#[derive(Clone, Copy)]
enum Reader {
    Convolves(usize),
    Adds(usize),
}

impl<T: Element> Tensor<T> {
    /// Positions in memory.
    fn length(&self) -> usize {
        self.ring as usize * if self.readers.is_empty() { 1 } else { 2 }
    }

    fn len(&self) -> usize {
        self.outer * self.length() * self.inner
    }

    /// Where a position of the first block is, in positions.
    fn slot(&self, position: i64) -> usize {
        if self.readers.is_empty() { 0 } else { position.rem_euclid(self.ring) as usize }
    }

    /// Its memory, of the state's, a block of positions at a time.
    fn blocks<'m>(&self, memory: &'m mut [T]) -> impl Iterator<Item = &'m mut [T]> {
        memory[self.at..][..self.len()].chunks_exact_mut(self.length() * self.inner)
    }

    /// Writes what lies outside to these positions, where they are written and read first.
    fn erase(&self, memory: &mut [T], positions: Range<i64>) {
        let (slot, count) = (self.slot(positions.start), positions.end - positions.start);
        let place = slot * self.inner..(slot + count as usize) * self.inner;
        self.blocks(memory).for_each(|block| block[place.clone()].fill(self.fill));
    }

    /// Writes these positions, which are there once, to where they are a second time.
    fn repeat(&self, memory: &mut [T], positions: Range<i64>) {
        let (inner, ring) = (self.inner, self.ring as usize);
        let start = self.slot(positions.start);
        let end = start + (positions.end - positions.start) as usize;
        let wrap = end.min(ring).max(start);
        for block in self.blocks(memory) {
            block.copy_within(start * inner..wrap * inner, (start + ring) * inner);
            if end > wrap {
                block.copy_within(wrap * inner..end * inner, (wrap - ring) * inner);
            }
        }
    }
}

/// What a stream remembers between calls. Its size does not change.
pub struct State<T> {
    memory: Block,
    work: Work,
    /// One past the last position of each tensor.
    ends: Vec<i64>,
    /// One past the last position that has the padding behind the end in it.
    padded: Vec<i64>,
    /// Lengths of the tensors, once the input has ended.
    totals: Vec<i64>,
    ended: bool,
    /// Outputs that were given.
    given: i64,
    element: std::marker::PhantomData<T>,
}

impl<T> std::fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.described.to_string()).finish()
    }
}

impl<T> std::fmt::Debug for State<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Builder {
    /// The program with its weights, along a spatial axis whose extent is a name: its input comes
    /// in blocks. See [`Stream`].
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn stream<T: Element>(
        &self,
        axis: usize,
        weights: &[StepWeights<'_, T>],
    ) -> Result<Stream<T>, Error> {
        Stream::new(&self.describe()?, (axis, &PIECES), weights, &self.options)
    }
}

impl<T: Element> Stream<T> {
    /// Compiles code for pieces of so many inputs along an axis, counted from the outermost, and
    /// packs the weights. Blocks of other lengths are put together of those pieces.
    ///
    /// # Errors
    /// [`Error::Conv`] for what cannot be known as a stream goes on (see
    /// [`plan::Stream::new`](conv_ir::program::stream::Stream::new)); [`Error::Unsupported`] where
    /// a weight over the padding is infinite or NaN; those of compiling and packing.
    pub fn new(
        program: &Program,
        (axis, pieces): (usize, &[usize]),
        weights: &[StepWeights<'_, T>],
        options: &Options,
    ) -> Result<Stream<T>, Error> {
        weights::check(program, weights)?;
        let rewritten = program.rewritten(options.accuracy);
        let stream = plan::Stream::new(&rewritten.program, axis, pieces)?;
        let given = weights::kept(&rewritten, weights)?;
        let tensors = tensors(&rewritten.program, &stream)?;
        let options = &Options { target: options.made_for(), ..options.as_decided() };
        let backend = options.backend()?;
        let mut steps = Vec::with_capacity(stream.steps.len());
        for (at, step) in stream.steps.iter().enumerate() {
            let given = given[at].as_given();
            let known = rewritten.program.steps()[at].conv.known();
            let is_finite = given.weight.iter().all(|w| w.to_f64().is_finite())
                && known.is_none_or(|known| known.weight.iter().all(|w| w.is_finite()));
            if step.multiplies_padding && !is_finite {
                return Err(Error::Unsupported(format!(
                    "a weight of step {} is infinite or NaN, and a stream multiplies its padding",
                    rewritten.origins[at] + 1
                )));
            }
            let options =
                Options { finite_weights: options.finite_weights && is_finite, ..options.clone() };
            let around = |tensor: usize, conv: &conv_ir::Conv, is_input: bool| {
                let axes = conv.axes().iter();
                let known = |axis: &conv_ir::conv::ConvAxis| match is_input {
                    true => axis.input.known(),
                    false => axis.output.known(),
                };
                let mut extents: Vec<i64> =
                    axes.map(|axis| known(axis).unwrap_or(0) as i64).collect();
                extents[axis] = tensors[tensor].length() as i64;
                extents
            };
            let mut pieces = Vec::with_capacity(step.convs.len());
            for (outputs, conv) in &step.convs {
                let within = Within {
                    input: around(at, conv, true),
                    residual: step.residual.map_or_else(Vec::new, |from| around(from, conv, false)),
                    output: around(at + 1, conv, false),
                };
                pieces.push((*outputs, Placed::new(conv, &within, given, (&options, &backend))?));
            }
            steps.push(Code { pieces, residual: step.residual });
        }
        Ok(Stream { described: program.clone(), stream, steps, tensors })
    }

    /// The description.
    pub fn program(&self) -> &Program {
        &self.described
    }

    /// Bytes of the memory of a state: the positions of all tensors that are still read.
    pub fn state_bytes(&self) -> usize {
        self.elements() * size_of::<T>()
    }

    /// The input with which the first output is known, counted from 1: 1 where no output looks
    /// ahead.
    pub fn first(&self) -> i64 {
        self.stream.first()
    }

    fn elements(&self) -> usize {
        elements(&self.tensors)
    }

    /// A state at the start of a stream. It holds all memory that calls use.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn state(&self) -> Result<State<T>, Error> {
        let mut memory = Block::default();
        memory.grow_for::<T>(self.elements())?;
        let mut state = State {
            memory,
            work: Work::default(),
            ends: vec![0; self.tensors.len()],
            padded: vec![0; self.tensors.len()],
            totals: vec![0; self.tensors.len()],
            ended: false,
            given: 0,
            element: std::marker::PhantomData,
        };
        // Each piece once, so that working memory is as large as it gets.
        for (at, step) in self.steps.iter().enumerate() {
            for (_, code) in &step.pieces {
                self.run(&mut state, at, code)?;
            }
        }
        self.reset(&mut state);
        Ok(state)
    }

    /// Begins anew.
    pub fn reset(&self, state: &mut State<T>) {
        let memory = state.memory.elements::<T>(self.elements());
        for (at, tensor) in self.tensors.iter().enumerate() {
            memory[tensor.at..][..tensor.len()].fill(tensor.fill);
            let start = at.checked_sub(1).map_or(0, |step| self.stream.steps[step].start());
            (state.ends[at], state.padded[at]) = (start, 0);
        }
        (state.ended, state.given) = (false, 0);
    }

    /// Outputs along the axis that become known with so many more inputs.
    pub fn next(&self, state: &State<T>, inputs: usize) -> usize {
        let known = self.stream.known(state.ends[0] + inputs as i64);
        (known - state.given).max(0) as usize
    }

    /// Outputs along the axis that [`flush`](Self::flush) gives, if the input ends now.
    pub fn left(&self, state: &State<T>) -> usize {
        (self.stream.total(state.ends[0]) - state.given).max(0) as usize
    }

    /// Takes a block of the input, of any length along the axis, and gives the outputs that became
    /// known: as many positions as [`next`](Self::next) says. Both are arrays of the program's
    /// layout.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] after the end.
    pub fn push(&self, state: &mut State<T>, input: &[T], output: &mut [T]) -> Result<(), Error> {
        not_ended(state.ended)?;
        let first = &self.tensors[0];
        let each = first.outer * first.inner;
        let positions = input.len() / each;
        self.check("input", input.len(), (0, positions))?;
        self.check("output", output.len(), (self.steps.len(), self.next(state, positions)))?;
        self.work(state, (input, positions), output)
    }

    /// Ends the stream: gives the outputs that look into the padding behind the end, as many
    /// positions as [`left`](Self::left) says.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] after the end.
    pub fn flush(&self, state: &mut State<T>, output: &mut [T]) -> Result<(), Error> {
        not_ended(state.ended)?;
        self.check("output", output.len(), (self.steps.len(), self.left(state)))?;
        state.ended = true;
        state.totals[0] = state.ends[0];
        for (at, step) in self.stream.steps.iter().enumerate() {
            let inputs = state.totals[at];
            state.totals[at + 1] = if inputs > 0 { step.total(inputs).max(0) } else { 0 };
        }
        state.padded.clone_from(&state.ends);
        self.work(state, (&[], 0), output)
    }

    fn check(&self, name: &'static str, found: usize, of: (usize, usize)) -> Result<(), Error> {
        let tensor = &self.tensors[of.0];
        if found == tensor.outer * tensor.inner * of.1 {
            return Ok(());
        }
        let mut shape = tensor.shape.clone();
        shape[tensor.dimension] = of.1;
        check_len(name, found, shape)
    }

    /// Takes the input and computes what becomes known, piece by piece, until nothing more does.
    fn work(
        &self,
        state: &mut State<T>,
        (input, positions): (&[T], usize),
        output: &mut [T],
    ) -> Result<(), Error> {
        let given = state.given;
        let mut taken = 0;
        loop {
            let more = self.take(state, (input, positions), taken);
            let mut moved = more > 0;
            taken += more;
            for at in 0..self.steps.len() {
                self.pad(state, at);
                moved |= self.step(state, at, (&mut *output, given))?;
            }
            if !moved {
                let row = self.tensors.last().map_or(1, |last| last.outer * last.inner) as i64;
                let (found, wanted) = ((state.given - given) * row, output.len() as i64);
                let is_all = (taken, found) == (positions, wanted);
                assert!(is_all, "stream: it waits for memory, {state:?}\n{}", self.described);
                return Ok(());
            }
        }
    }

    /// Takes as many positions of the input as there is room for.
    fn take(&self, state: &mut State<T>, (input, positions): (&[T], usize), taken: usize) -> usize {
        let tensor = &self.tensors[0];
        let most = self.room(state, 0).min(self.stream.pieces[0]).max(0) as usize;
        let count = most.min(positions - taken);
        if count == 0 {
            return 0;
        }
        let inner = tensor.inner;
        let end = state.ends[0];
        let slot = tensor.slot(end);
        let memory = state.memory.elements::<T>(self.elements());
        for (block, from) in tensor.blocks(memory).zip(input.chunks_exact(positions * inner)) {
            let from = &from[taken * inner..(taken + count) * inner];
            block[slot * inner..(slot + count) * inner].copy_from_slice(from);
        }
        tensor.repeat(memory, end..end + count as i64);
        state.ends[0] += count as i64;
        count
    }

    /// The first position of a tensor that is still read.
    fn needed(&self, state: &State<T>, tensor: usize) -> i64 {
        let first = |reader: &Reader| {
            let (Reader::Convolves(step) | Reader::Adds(step)) = *reader;
            let end = state.ends[step + 1];
            let is_done = state.ended && end >= state.totals[step + 1];
            (!is_done).then(|| match reader {
                Reader::Convolves(step) => self.stream.steps[*step].first_input(end),
                Reader::Adds(_) => end,
            })
        };
        let first = self.tensors[tensor].readers.iter().filter_map(first).min();
        first.unwrap_or(state.ends[tensor])
    }

    /// How many positions of a tensor can be written.
    fn room(&self, state: &State<T>, tensor: usize) -> i64 {
        match self.tensors[tensor].readers.is_empty() {
            true => i64::MAX,
            false => self.needed(state, tensor) + self.tensors[tensor].ring - state.ends[tensor],
        }
    }

    /// Writes the padding behind the end of a step's input, as far as there is room.
    fn pad(&self, state: &mut State<T>, at: usize) {
        if !state.ended || state.ends[at] < state.totals[at] {
            return;
        }
        let tensor = &self.tensors[at];
        let wanted = self.stream.steps[at].end_input(state.totals[at + 1]);
        let start = state.padded[at].max(state.ends[at]);
        let end = wanted.min(self.needed(state, at) + tensor.ring);
        // No stretch is longer than the memory.
        let end = end.min(start + tensor.ring);
        if end > start {
            let memory = state.memory.elements::<T>(self.elements());
            tensor.erase(memory, start..end);
            tensor.repeat(memory, start..end);
            state.padded[at] = end;
        }
    }

    /// Computes a piece of a step's outputs; whether there was one.
    fn step(
        &self,
        state: &mut State<T>,
        at: usize,
        (output, given): (&mut [T], i64),
    ) -> Result<bool, Error> {
        let (step, code) = (&self.stream.steps[at], &self.steps[at]);
        let is_whole = state.ended && state.ends[at] >= state.totals[at];
        let known = match is_whole {
            true => {
                let inputs = state.padded[at].max(state.ends[at]);
                step.read_before(inputs).min(state.totals[at + 1])
            }
            false => step.known(state.ends[at]),
        };
        let known = code.residual.map_or(known, |from| known.min(state.ends[from]));
        let end = state.ends[at + 1];
        let Some((piece, code)) = chosen(&code.pieces, known - end, self.room(state, at + 1))
        else {
            return Ok(false);
        };
        let count = piece.min(known - end);
        self.run(state, at, code)?;
        let tensor = &self.tensors[at + 1];
        let memory = state.memory.elements::<T>(self.elements());
        state.ends[at + 1] = end + count;
        if tensor.readers.is_empty() {
            let skipped = (-end).clamp(0, count);
            if skipped < count {
                let (inner, start) = (tensor.inner, (end + skipped - given) as usize);
                let row = output.len() / tensor.outer;
                for (block, to) in tensor.blocks(memory).zip(output.chunks_exact_mut(row)) {
                    let from = &block[skipped as usize * inner..count as usize * inner];
                    to[start * inner..][..from.len()].copy_from_slice(from);
                }
            }
            state.given += count - skipped;
        } else {
            if end < 0 {
                tensor.erase(memory, end..(end + count).min(0));
            }
            tensor.repeat(memory, end..end + count);
        }
        Ok(true)
    }

    /// Runs a step's code for a piece of its outputs from their end on.
    fn run(&self, state: &mut State<T>, at: usize, code: &Placed) -> Result<(), Error> {
        let end = state.ends[at + 1];
        let memory = state.memory.elements::<T>(self.elements());
        let mut place = |tensor: usize, position: i64| {
            let tensor = &self.tensors[tensor];
            let start = tensor.at + tensor.slot(position) * tensor.inner;
            memory[start..].as_mut_ptr().expose_provenance()
        };
        let input = place(at, self.stream.steps[at].first_input(end));
        let output = place(at + 1, end);
        let residual = self.steps[at].residual.map_or(0, |from| place(from, end));
        let addresses = [input, output, residual];
        // SAFETY: the memory is the state's, which is borrowed for us alone, and holds each tensor
        // as long as `Within` said when this code was made. A box begins within the first ring of
        // two, and none is longer than a ring (`rings` of the plan); the output's is written where
        // no tensor that is read lies.
        unsafe { code.run(addresses, (None, 1), &CurrentThread, &mut state.work) }
    }
}

/// The piece to compute next, of so many outputs that are known, where there is room: a longer one
/// that is at least half full, or the longest that is full.
fn chosen(pieces: &[(i64, Placed)], known: i64, room: i64) -> Option<(i64, &Placed)> {
    if known <= 0 {
        return None;
    }
    let fitting = || pieces.iter().filter(|(piece, _)| *piece <= room);
    let longer = fitting().rfind(|(piece, _)| *piece >= known);
    let full = fitting().find(|(piece, _)| *piece <= known);
    let found = match (longer, full) {
        (Some(longer), Some(_)) if longer.0 <= 2 * known => longer,
        (longer, full) => full.or(longer)?,
    };
    Some((found.0, &found.1))
}

fn not_ended(ended: bool) -> Result<(), Error> {
    match ended {
        true => Err(Error::Argument("the stream has ended: `reset` its state".to_owned())),
        false => Ok(()),
    }
}

/// How the tensors of a program lie in a state's memory.
fn tensors<T: Element>(program: &Program, stream: &plan::Stream) -> Result<Vec<Tensor<T>>, Error> {
    let mut tensors: Vec<Tensor<T>> = Vec::new();
    let mut at = 0usize;
    let last = stream.steps.len();
    for number in 0..=last {
        let conv = &program.steps()[number.saturating_sub(1)].conv;
        let spec = conv.spec();
        let (channels, axes): (usize, Vec<usize>) = match number {
            0 => (
                spec.in_channels,
                conv.axes().iter().map(|a| a.input.known().unwrap_or(0)).collect(),
            ),
            _ => (
                spec.out_channels,
                conv.axes().iter().map(|a| a.output.known().unwrap_or(0)).collect(),
            ),
        };
        let mut shape = vec![program.batch()];
        shape.extend(axes);
        let (channel, dimension) = match spec.layout {
            Layout::ChannelsFirst => (1, stream.axis + 2),
            Layout::ChannelsLast => (shape.len(), stream.axis + 1),
        };
        shape.insert(channel, channels);
        shape[dimension] = 0;
        let adds = (0..last).filter(|&step| stream.steps[step].residual == Some(number));
        let convolves = (number < last).then_some(Reader::Convolves(number));
        let tensor = Tensor {
            at,
            outer: shape[..dimension].iter().product(),
            inner: shape[dimension + 1..].iter().product(),
            shape,
            dimension,
            ring: stream.rings[number],
            fill: T::from_f64(stream.steps.get(number).map_or(0.0, |step| step.fill)),
            readers: convolves.into_iter().chain(adds.map(Reader::Adds)).collect(),
        };
        let positions = tensor.length() as u128 * tensor.outer as u128 * tensor.inner as u128;
        if (positions + at as u128) * size_of::<T>() as u128 > isize::MAX as u128 {
            return Err(Error::Memory("the state of the stream".to_owned()));
        }
        // Each tensor begins at a cache line.
        at = (at + tensor.len()).next_multiple_of(64 / size_of::<T>());
        tensors.push(tensor);
    }
    Ok(tensors)
}
