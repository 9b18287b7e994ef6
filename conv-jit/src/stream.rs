//! A program whose input comes piece by piece along one axis.
//!
//! ```text
//! Program, weights --Stream::new--> code for pieces of each step (Placed)
//!   --state--> push, push, .. flush
//! ```
//!
//! How tensors lie in memory, and what is computed when, is the plan's
//! ([`driver`](conv_ir::program::stream::driver)). Here is the code of the pieces.
//!
//! A call allocates nothing and takes no lock: memory is the state's.

mod parts;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use conv_ir::lower::Within;
use conv_ir::program::stream as plan;
use conv_ir::program::stream::driver::{self, Place, Step, Tensor};
use conv_ir::{Array, Conv, Element, Program, with_element};

use crate::Error;
use crate::builder::Builder;
use crate::engine::Work;
use crate::memory::Block;
use crate::options::Options;
use crate::placed::{Made, Placed};
use crate::weights::{self, StepWeights, check_len};
use parts::{Cut, Kept};

pub use conv_ir::program::stream::PIECES;

/// Bytes of the state of a stream in pieces of so many positions.
///
/// ```
/// use conv_ir::program::stream::Stream;
/// let sum: conv_jit::Program = "conv1d in T kernel 3 padding causal".parse()?;
/// // There is room for eight pieces of the input. The first 80 positions are there twice, so that
/// // no window wraps around; and there are 64 outputs.
/// assert_eq!(conv_jit::state_bytes(&sum, &Stream::new(&sum, 0, &[64])?)?, 4 * (512 + 80 + 64));
/// # Ok::<(), conv_jit::Error>(())
/// ```
///
/// # Errors
/// [`Error::Memory`] where there is no such number; [`Error::Unsupported`] of types that streams do
/// not take.
pub fn state_bytes(program: &Program, stream: &plan::Stream) -> Result<usize, Error> {
    weights::one_type(program, "streams")?;
    with_element!(program.dtype(), T => {
        let tensors = stream.tensors::<T>(program)?;
        let elements = plan::Stream::elements(&tensors) + stream.part_elements(program)?;
        Ok(elements * size_of::<T>())
    })
}

/// A program with its weights, along an axis that has no length.
///
/// Its input comes in blocks of any length, and each call gives the outputs that became known.
/// Their bits are those of a run of the whole; where the accuracy admits long windows in parts by
/// FFT ([`Partitions`](conv_ir::fft::Partitions)), they are those of any other blocks.
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
    lines: Vec<Step<Vec<i64>>>,
    /// Of the input first.
    tensors: Vec<Tensor<T>>,
    /// Elements that steps in parts hold.
    in_parts: usize,
    /// No other stream has it.
    number: u64,
}

/// Streams that were made.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// The code of a step, most outputs first.
struct Code {
    pieces: Vec<(i64, Placed)>,
    /// Where its window is in parts.
    cut: Option<Cut>,
}

/// What a stream remembers between calls. Its size does not change. No other stream takes it.
pub struct State<T> {
    /// The number of its stream.
    of: u64,
    memory: Block,
    work: Work,
    /// How far each tensor has come.
    places: Vec<Place>,
    /// Of each step, where its window is in parts.
    kept: Vec<Option<Kept<T>>>,
    ended: bool,
}

impl<T> std::fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.described.to_string()).finish()
    }
}

impl<T> std::fmt::Debug for State<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("places", &self.places).finish_non_exhaustive()
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
        let stream = stream.in_partitions(&rewritten.program, options.accuracy)?;
        let given = weights::kept(&rewritten, &weights)?;
        let tensors = stream.tensors(&rewritten.program)?;
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
                extents[axis] = (tensors[tensor].ring + tensors[tensor].twin) as i64;
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
            // What is not finite has no finite spectrum, and direct sums at once.
            let cut = step.cut.as_ref().filter(|_| is_finite).map(|cut| {
                let conv = &rewritten.program.steps()[at].conv;
                let within = Within {
                    input: around(at, conv, true),
                    residual: Vec::new(),
                    output: around(at + 1, conv, false),
                };
                Cut::new((step, cut), conv, &within, &given, (&options, &backend))
            });
            steps.push(Code { pieces, cut: cut.transpose()? });
        }
        let (lines, in_parts) = (stream.driven(), stream.part_elements(&rewritten.program)?);
        let described = program.clone();
        let number = STREAMS.fetch_add(1, Ordering::Relaxed);
        Ok(Stream { described, stream, steps, lines, tensors, in_parts, number })
    }

    /// The description.
    pub fn program(&self) -> &Program {
        &self.described
    }

    /// Bytes of the memory of a state: the positions of all tensors that are still read.
    pub fn state_bytes(&self) -> usize {
        (self.elements() + self.in_parts) * size_of::<T>()
    }

    /// The input with which the first output is known, counted from 1: 1 where no output looks
    /// ahead.
    pub fn first(&self) -> i64 {
        self.stream.first()
    }

    fn elements(&self) -> usize {
        plan::Stream::elements(&self.tensors)
    }

    /// A state at the start of a stream. It holds all memory that calls use.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn state(&self) -> Result<State<T>, Error> {
        let mut memory = Block::default();
        memory.grow_for::<T>(self.elements())?;
        let mut kept = Vec::with_capacity(self.steps.len());
        for (at, Code { cut, .. }) in self.steps.iter().enumerate() {
            let tensor = &self.tensors[at + 1];
            let piece = self.stream.pieces[at + 1] as usize * tensor.outer * tensor.inner;
            kept.push(cut.as_ref().map(|cut| cut.kept::<T>(piece)).transpose()?);
        }
        let mut state = State {
            of: self.number,
            memory,
            work: Work::default(),
            places: vec![Place::default(); self.tensors.len()],
            kept,
            ended: false,
        };
        // Each piece once, so that working memory is as large as it gets.
        let (driven, kept, work) = state.driven(self.elements());
        for (at, step) in self.steps.iter().enumerate() {
            let residual = self.lines[at].residual;
            let starts = [at, at + 1, residual.unwrap_or(0)].map(|tensor| self.tensors[tensor].at);
            let residual = residual.map(|_| driven.memory[starts[2]..].as_mut_ptr());
            let residual = residual.map(|residual| residual.expose_provenance());
            for (_, code) in &step.pieces {
                self.run((code, residual), starts, driven.memory, work)?;
            }
            self.try_cut((at, starts), driven.memory, (&mut kept[at], work))?;
        }
        self.begin(&mut state);
        Ok(state)
    }

    /// Begins anew.
    ///
    /// # Errors
    /// [`Error::Argument`] for the state of another stream.
    pub fn reset(&self, state: &mut State<T>) -> Result<(), Error> {
        self.owns(state)?;
        self.begin(state);
        state.ended = false;
        Ok(())
    }

    /// Code runs on the memory of a state without further checks: it must be as large as this
    /// stream made it.
    fn owns(&self, state: &State<T>) -> Result<(), Error> {
        match state.of == self.number {
            true => Ok(()),
            false => Err(Error::Argument(
                "the state is of another stream: `state()` of this one makes its own".to_owned(),
            )),
        }
    }

    /// Outputs along the axis that become known with so many more inputs.
    pub fn next(&self, state: &State<T>, inputs: usize) -> usize {
        let known = self.stream.known(state.places[0].end + inputs as i64);
        (known - state.given()).max(0) as usize
    }

    /// Outputs along the axis that [`flush`](Self::flush) gives, if the input ends now.
    pub fn left(&self, state: &State<T>) -> usize {
        (self.stream.total(state.places[0].end) - state.given()).max(0) as usize
    }

    /// Takes a block of the input, of any length along the axis, and gives the outputs that became
    /// known: as many positions as [`next`](Self::next) says. Both are arrays of the program's
    /// layout.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] after the end, and
    /// for the state of another stream.
    pub fn push(&self, state: &mut State<T>, input: &[T], output: &mut [T]) -> Result<(), Error> {
        self.owns(state)?;
        not_ended(state.ended)?;
        let first = &self.tensors[0];
        let each = first.outer * first.inner;
        let positions = input.len() / each;
        let next = self.next(state, positions);
        self.check("input", input.len(), positions)?;
        self.check("output", output.len(), next)?;
        self.work(state, (input, positions), (output, next))
    }

    /// Ends the stream: gives the outputs that look into the padding behind the end, as many
    /// positions as [`left`](Self::left) says.
    ///
    /// # Errors
    /// [`Error::Length`] for a slice of the wrong length; [`Error::Argument`] after the end, and
    /// for the state of another stream.
    pub fn flush(&self, state: &mut State<T>, output: &mut [T]) -> Result<(), Error> {
        self.owns(state)?;
        not_ended(state.ended)?;
        let left = self.left(state);
        self.check("output", output.len(), left)?;
        self.driver().end(&mut state.driven(self.elements()).0);
        state.ended = true;
        self.work(state, (&[], 0), (output, left))
    }

    fn check(&self, name: &'static str, found: usize, positions: usize) -> Result<(), Error> {
        let is_output = name == "output";
        let tensor = &self.tensors[if is_output { self.steps.len() } else { 0 }];
        if found == tensor.outer * tensor.inner * positions {
            return Ok(());
        }
        let (mut shape, dimension) = self.stream.shape(&self.described, is_output);
        shape[dimension] = positions;
        check_len(name, found, shape)
    }
}

impl<T: Element> State<T> {
    /// What the driver changes, what steps in parts remember, and working memory of code.
    fn driven(&mut self, elements: usize) -> Driven<'_, T> {
        let memory = self.memory.elements::<T>(elements);
        let driven = driver::State { memory, places: &mut self.places, ended: self.ended };
        (driven, &mut self.kept, &mut self.work)
    }

    /// Outputs along the axis that were given.
    fn given(&self) -> i64 {
        self.places.last().map_or(0, |last| last.end.max(0))
    }
}

type Driven<'a, T> = (driver::State<'a, T>, &'a mut [Option<Kept<T>>], &'a mut Work);

fn not_ended(ended: bool) -> Result<(), Error> {
    match ended {
        true => Err(Error::Argument("the stream has ended: `reset` its state".to_owned())),
        false => Ok(()),
    }
}
