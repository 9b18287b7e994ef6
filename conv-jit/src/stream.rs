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

mod memory;
mod run;

use std::sync::Arc;

use conv_ir::lower::Within;
use conv_ir::program::stream as plan;
use conv_ir::{Array, Conv, Element, Program, with_element};

use crate::Error;
use crate::builder::Builder;
use crate::engine::Work;
use crate::memory::Block;
use crate::options::Options;
use crate::placed::{Made, Placed};
use crate::weights::{self, StepWeights, check_len};
use memory::{Tensor, elements, tensors};

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

/// What a stream remembers between calls. Its size does not change.
pub struct State<T> {
    memory: Block,
    work: Work,
    /// One past the last position of each tensor.
    ends: Vec<i64>,
    /// One past the last position that has the padding behind the end in it.
    padded: Vec<i64>,
    /// Whether the padding before the first position is there.
    begun: Vec<bool>,
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
        let weights = weights::of_one_type(program, weights, "streams")?;
        let rewritten = program.rewritten(options.accuracy);
        let stream = plan::Stream::new(&rewritten.program, axis, pieces)?;
        let given = weights::kept(&rewritten, &weights)?;
        let tensors = tensors(&rewritten.program, &stream)?;
        let options = &Options { target: options.made_for(), ..options.as_decided() };
        let backend = options.backend()?;
        let mut steps = Vec::with_capacity(stream.steps.len());
        // Steps that are alike share their code.
        let mut made: Vec<(Conv, Within, bool, Arc<Made>)> = Vec::new();
        for (at, step) in stream.steps.iter().enumerate() {
            let given = given[at].borrowed();
            let known = rewritten.program.steps()[at].conv.known();
            let is_finite = given.weight.iter().all(Array::is_finite)
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
                let finite = options.finite_weights;
                let same = made.iter().find(|m| (&m.0, &m.1, m.2) == (conv, &within, finite));
                let code = match same {
                    Some((.., code)) => code.clone(),
                    None => {
                        let code = Arc::new(Made::new(conv, &within, (&options, &backend))?);
                        made.push((conv.clone(), within, finite, code.clone()));
                        code
                    }
                };
                pieces.push((*outputs, Placed::new(code, conv, given.borrowed())?));
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
            begun: vec![false; self.tensors.len()],
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
        let repeats = |at: usize| self.stream.steps.get(at).is_some_and(|step| step.fold.is_some());
        state.begun.iter_mut().enumerate().for_each(|(at, begun)| *begun = !repeats(at));
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
}

fn not_ended(ended: bool) -> Result<(), Error> {
    match ended {
        true => Err(Error::Argument("the stream has ended: `reset` its state".to_owned())),
        false => Ok(()),
    }
}
