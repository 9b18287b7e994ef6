//! The work of a call: input in, what becomes known out, piece by piece.

use conv_ir::Element;

use super::memory::Reader;
use super::{State, Stream};
use crate::Error;
use crate::executor::CurrentThread;
use crate::placed::Placed;

impl<T: Element> Stream<T> {
    /// Takes the input and computes what becomes known, piece by piece, until nothing more does.
    pub(super) fn work(
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
                self.begin(state, at);
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
                Reader::Convolves(step) => {
                    let step = &self.stream.steps[*step];
                    // The padding behind the end repeats some of the last positions.
                    let repeated = state.ends[tensor] - step.back();
                    step.first_input(end).min(if step.back() > 0 { repeated } else { i64::MAX })
                }
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

    /// Writes the padding before a step's input that repeats it, once what it repeats is there.
    fn begin(&self, state: &mut State<T>, at: usize) {
        let step = &self.stream.steps[at];
        let is_whole = state.ended && state.ends[at] >= state.totals[at];
        let is_there = is_whole || step.front().is_none_or(|front| state.ends[at] >= front);
        if let (false, true, Some(fold)) =
            (state.begun[at], is_there && state.ends[at] > 0, step.fold)
        {
            // Of an input whose end is far away, or known.
            let extent = if is_whole { state.totals[at] } else { i64::MAX / 4 };
            let memory = state.memory.elements::<T>(self.elements());
            for position in -step.before()..0 {
                self.tensors[at].copy(memory, fold.apply(position, extent), position);
            }
            state.begun[at] = true;
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
            match self.stream.steps[at].fold {
                None => {
                    tensor.erase(memory, start..end);
                    tensor.repeat(memory, start..end);
                }
                Some(fold) => {
                    for position in start..end {
                        tensor.copy(memory, fold.apply(position, state.totals[at]), position);
                    }
                }
            }
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
        let known = if state.begun[at] { known } else { step.start() };
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
    pub(super) fn run(&self, state: &mut State<T>, at: usize, code: &Placed) -> Result<(), Error> {
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
