//! The work of a call: input in, what becomes known out, piece by piece.
//!
//! A tensor is in memory for as long as it is read: a ring of positions, and some of the first ones
//! once more behind it, so that any stretch of it lies in one piece and nothing is moved:
//!
//! ```text
//! positions 5 6 7 8 of a ring of 6 and a twin of 3       slots  0 1 2 3 4 5 | 6 7 8
//! (3 is the oldest that is there)                               6 7 8 3 4 5 | 6 7 8
//! ```
//!
//! A tensor of which nothing stays between calls begins anew where all of it has been read, and has
//! no twin. A step computes what became known in pieces of the lengths that its code has. A shorter
//! piece is computed as a longer one, whose last outputs are not used: what they read is in memory,
//! though not yet known. So the same code runs for every length of block, and the sums are those of
//! the whole run. What lies before the first position, or behind the last one, is written into
//! memory as what the reader finds in its padding.
//!
//! It needs nothing but `core`, as [`line`](super::line) does: emitted Rust has both as they stand
//! here.

use super::line::Line;

/// How a tensor lies in the memory of a stream: blocks of positions, each `inner` elements.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<T> {
    /// Of its first element.
    pub at: usize,
    /// Blocks of positions: images, channels, axes outside the streamed one.
    pub outer: usize,
    /// Elements at a position of a block.
    pub inner: usize,
    /// Positions until one takes the place of another.
    pub ring: usize,
    /// Positions behind the ring.
    pub twin: usize,
    /// Nothing of it stays between calls.
    pub passes: bool,
    /// The last step that reads it, where one does.
    pub last_reader: Option<usize>,
    /// What lies outside.
    pub fill: T,
}

/// What computes a tensor from the one before it.
#[derive(Clone, Copy, Debug)]
pub struct Step<P> {
    /// Its numbers along the axis.
    pub line: Line,
    /// The tensor that it adds.
    pub residual: Option<usize>,
    /// Outputs that are computed at a time; most first.
    pub pieces: P,
}

/// How far a tensor has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// One past its last position.
    pub end: i64,
    /// Where position `end` lies, in positions.
    pub slot: usize,
    /// One past the last position that has the padding behind the end in it.
    pub padded: i64,
    /// Its length, once the input has ended.
    pub total: i64,
    /// Whether the padding before the first position is there.
    pub begun: bool,
}

/// What changes in a call.
#[derive(Debug)]
pub struct State<'a, T> {
    /// Of all tensors.
    pub memory: &'a mut [T],
    /// Of each tensor.
    pub places: &'a mut [Place],
    /// Whether the input is over.
    pub ended: bool,
}

/// A stream whose code is somebody else's: it is asked to run a step's piece, by number, for the
/// outputs from a position on, of which so many are known, on memory where input, output and
/// residual begin at some elements.
#[derive(Clone, Copy, Debug)]
pub struct Driver<'a, T, P> {
    /// The input, then the output of each step.
    pub tensors: &'a [Tensor<T>],
    /// In order.
    pub steps: &'a [Step<P>],
    /// Positions of the input that are taken at a time.
    pub take: usize,
}

impl<T: Copy> Tensor<T> {
    /// Elements of a block.
    pub const fn block(&self) -> usize {
        (self.ring + self.twin) * self.inner
    }

    /// Where a position lies, no further than a ring from the end.
    #[inline]
    fn slot(&self, place: &Place, position: i64) -> usize {
        let slot = place.slot as i64 + (position - place.end);
        let ring = if self.passes { 0 } else { self.ring as i64 };
        (if slot < 0 {
            slot + ring
        } else if slot >= ring {
            slot - ring
        } else {
            slot
        }) as usize
    }

    /// Copies positions of all blocks to another slot.
    fn copy(&self, memory: &mut [T], (from, count, to): (usize, usize, usize)) {
        let (from, to) = (from * self.inner..(from + count) * self.inner, to * self.inner);
        let all = &mut memory[self.at..self.at + self.outer * self.block()];
        all.chunks_exact_mut(self.block()).for_each(|block| block.copy_within(from.clone(), to));
    }

    /// Writes positions from a slot on, which are there once, to where they are a second time.
    fn repeat(&self, memory: &mut [T], slot: usize, count: usize) {
        let end = slot + count;
        if self.passes {
            return;
        }
        if slot < self.twin {
            let end = if end < self.twin { end } else { self.twin };
            self.copy(memory, (slot, end - slot, slot + self.ring));
        }
        if end > self.ring {
            self.copy(memory, (self.ring, end - self.ring, 0));
        }
    }

    /// Writes what lies outside to positions from a slot on.
    fn erase(&self, memory: &mut [T], slot: usize, count: usize) {
        let part = slot * self.inner..(slot + count) * self.inner;
        let all = &mut memory[self.at..self.at + self.outer * self.block()];
        all.chunks_exact_mut(self.block()).for_each(|block| block[part.clone()].fill(self.fill));
        self.repeat(memory, slot, count);
    }
}

impl<T: Copy, P: AsRef<[i64]>> Driver<'_, T, P> {
    /// Begins a stream, in memory of any contents.
    pub fn begin(&self, state: &mut State<'_, T>) {
        for tensor in self.tensors {
            let end = tensor.at + tensor.outer * tensor.block();
            state.memory[tensor.at..end].fill(tensor.fill);
        }
        state.ended = false;
        self.resume(state, 0);
    }

    /// Finds the places of a stream that has had so many inputs.
    pub fn resume(&self, state: &mut State<'_, T>, inputs: i64) {
        let mut end = inputs;
        for (at, tensor) in self.tensors.iter().enumerate() {
            let slot = if tensor.passes { 0 } else { end.rem_euclid(tensor.ring as i64) };
            let line = self.steps.get(at).map(|step| step.line);
            let begun = line.is_none_or(|line| line.repeat.is_none() || is_there(&line, end));
            let slot = slot as usize;
            state.places[at] = Place { end, slot, padded: 0, total: 0, begun };
            let Some(line) = line else { continue };
            end = line.known(end);
            if let Some(from) = self.steps[at].residual {
                end = end.min(state.places[from].end);
            }
        }
    }

    /// The input is over: what looks into the padding behind it becomes known.
    pub fn end(&self, state: &mut State<'_, T>) {
        state.ended = true;
        let mut total = state.places[0].end;
        for (at, place) in state.places.iter_mut().enumerate() {
            (place.total, place.padded) = (total, place.end);
            let Some(step) = self.steps.get(at) else { continue };
            total = if total > 0 { step.line.total(total).max(0) } else { 0 };
        }
    }

    /// Takes the input and computes what becomes known, until nothing more does. Input and output
    /// are blocks of as many positions as their tensors have, each with so many of them.
    ///
    /// # Errors
    /// What `run` gives.
    ///
    /// # Panics
    /// Where memory is not as the tensors say.
    pub fn work<E>(
        &self,
        state: &mut State<'_, T>,
        (input, positions): (&[T], usize),
        (output, outputs): (&mut [T], usize),
        run: &mut impl FnMut([usize; 2], [i64; 2], [usize; 3], &mut [T]) -> Result<(), E>,
    ) -> Result<(), E> {
        let given = state.places[self.steps.len()].end.max(0);
        let mut taken = 0;
        loop {
            let more = self.take(state, (input, positions), taken);
            let mut moved = more > 0;
            taken += more;
            let mut waits = taken < positions;
            for at in 0..self.steps.len() {
                loop {
                    self.pad(state, at);
                    let unknown = self.unknown(state, at);
                    if unknown <= 0 {
                        break;
                    }
                    let Some(count) = self.step(state, (at, unknown), run)? else {
                        waits = true;
                        break;
                    };
                    moved = true;
                    if at + 1 == self.steps.len() {
                        self.give(state, (&mut *output, outputs), given);
                    }
                    // Only the end of the input makes more known without inputs.
                    if count == unknown && !state.ended {
                        break;
                    }
                }
            }
            if !waits {
                let found = state.places[self.steps.len()].end.max(0) - given;
                assert!(found == outputs as i64, "the stream gave {found} outputs of {outputs}");
                return Ok(());
            }
            assert!(moved, "the stream waits for memory");
        }
    }

    /// Takes as many positions of the input as there is room for.
    fn take(
        &self,
        state: &mut State<'_, T>,
        (input, positions): (&[T], usize),
        taken: usize,
    ) -> usize {
        let tensor = &self.tensors[0];
        let room = self.room(state, 0).min(self.take as i64).max(0) as usize;
        let count = room.min(positions - taken);
        if count == 0 {
            return 0;
        }
        let (inner, slot) = (tensor.inner, state.places[0].slot);
        let all = &mut state.memory[tensor.at..][..tensor.outer * tensor.block()];
        let blocks = all.chunks_exact_mut(tensor.block());
        for (block, from) in blocks.zip(input.chunks_exact(positions * inner)) {
            let from = &from[taken * inner..(taken + count) * inner];
            block[slot * inner..(slot + count) * inner].copy_from_slice(from);
        }
        tensor.repeat(state.memory, slot, count);
        self.advance(state, 0, count as i64);
        count
    }

    /// Some positions more are there.
    #[inline]
    fn advance(&self, state: &mut State<'_, T>, at: usize, count: i64) {
        let (tensor, place) = (&self.tensors[at], &mut state.places[at]);
        place.end += count;
        place.slot += count as usize;
        if !tensor.passes && place.slot >= tensor.ring {
            place.slot -= tensor.ring;
        }
    }

    /// The first position of a tensor that is still read.
    #[inline]
    fn needed(&self, state: &State<'_, T>, tensor: usize) -> i64 {
        let own = state.places[tensor].end;
        let mut first = i64::MAX;
        let Some(last) = self.tensors[tensor].last_reader else { return own };
        for at in tensor..=last {
            let (step, Place { end, total, .. }) = (&self.steps[at], state.places[at + 1]);
            if state.ended && end >= total {
                continue;
            }
            if at == tensor {
                first = first.min(step.line.first_input(end));
                // The padding behind the end repeats some of the last positions.
                let back = step.line.back();
                first = if back > 0 { first.min(own - back) } else { first };
            }
            if step.residual == Some(tensor) {
                first = first.min(end);
            }
        }
        if first == i64::MAX { own } else { first }
    }

    /// How many positions of a tensor can be written.
    #[inline]
    fn room(&self, state: &mut State<'_, T>, at: usize) -> i64 {
        let needed = self.needed(state, at);
        let (tensor, place) = (&self.tensors[at], &mut state.places[at]);
        if !tensor.passes {
            return needed + tensor.ring as i64 - place.end;
        }
        if needed >= place.end {
            place.slot = 0;
        }
        (tensor.ring - place.slot) as i64
    }

    /// Writes the padding of a step's input: that before it once what it repeats is there, and that
    /// behind it as far as there is room.
    #[inline]
    fn pad(&self, state: &mut State<'_, T>, at: usize) {
        if state.ended || !state.places[at].begun {
            self.pad_now(state, at);
        }
    }

    fn pad_now(&self, state: &mut State<'_, T>, at: usize) {
        let line = &self.steps[at].line;
        let (tensor, place) = (&self.tensors[at], state.places[at]);
        let is_whole = state.ended && place.end >= place.total;
        let begins = !place.begun && place.end > 0 && (is_whole || is_there(line, place.end));
        if let Some(repeat) = line.repeat.filter(|_| begins) {
            // Of an input whose end is far away, or known.
            let extent = if is_whole { place.total } else { i64::MAX / 4 };
            for position in -line.lo..0 {
                let from = tensor.slot(&place, repeat.of(position, extent));
                let to = tensor.slot(&place, position);
                tensor.copy(state.memory, (from, 1, to));
                tensor.repeat(state.memory, to, 1);
            }
            state.places[at].begun = true;
        }
        if !is_whole {
            return;
        }
        let start = place.padded.max(place.end);
        // No stretch is longer than the memory.
        let end = (self.needed(state, at) + tensor.ring as i64).min(start + tensor.ring as i64);
        let end = end.min(line.end_input(state.places[at + 1].total));
        for position in start..end {
            let to = tensor.slot(&place, position);
            match line.repeat {
                None => tensor.erase(state.memory, to, 1),
                Some(repeat) => {
                    let from = tensor.slot(&place, repeat.of(position, place.total));
                    tensor.copy(state.memory, (from, 1, to));
                    tensor.repeat(state.memory, to, 1);
                }
            }
        }
        state.places[at].padded = end.max(start);
    }

    /// Outputs of a step that can be computed and are not yet.
    #[inline]
    fn unknown(&self, state: &State<'_, T>, at: usize) -> i64 {
        let (step, place, next) = (&self.steps[at], state.places[at], state.places[at + 1]);
        let known = if !place.begun {
            step.line.start()
        } else if state.ended && place.end >= place.total {
            step.line.read_before(place.padded.max(place.end)).min(next.total)
        } else {
            step.line.known(place.end)
        };
        known.min(step.residual.map_or(i64::MAX, |from| state.places[from].end)) - next.end
    }

    /// Computes a piece of a step's outputs; how many of them, where there is room for one.
    fn step<E>(
        &self,
        state: &mut State<'_, T>,
        (at, unknown): (usize, i64),
        run: &mut impl FnMut([usize; 2], [i64; 2], [usize; 3], &mut [T]) -> Result<(), E>,
    ) -> Result<Option<i64>, E> {
        let (step, tensor) = (&self.steps[at], &self.tensors[at + 1]);
        let pieces = step.pieces.as_ref();
        let Some(piece) = chosen(pieces, unknown, self.room(state, at + 1)) else {
            return Ok(None);
        };
        let count = pieces[piece].min(unknown);
        let Place { end, slot, .. } = state.places[at + 1];
        let place = |tensor: usize, position: i64| {
            let (tensor, place) = (&self.tensors[tensor], &state.places[tensor]);
            tensor.at + tensor.slot(place, position) * tensor.inner
        };
        let input = place(at, step.line.first_input(end));
        let residual = step.residual.map_or(0, |from| place(from, end));
        let output = tensor.at + slot * tensor.inner;
        run([at, piece], [end, count], [input, output, residual], &mut *state.memory)?;
        if end < 0 {
            tensor.erase(state.memory, slot, count.min(-end) as usize);
        }
        tensor.repeat(state.memory, slot, count as usize);
        self.advance(state, at + 1, count);
        Ok(Some(count))
    }

    /// Copies what the last step computed to the caller, whose first position is `given`.
    fn give(&self, state: &State<'_, T>, (output, outputs): (&mut [T], usize), given: i64) {
        let (last, place) = (self.steps.len(), state.places[self.steps.len()]);
        let tensor = &self.tensors[last];
        // All that is there came with this piece, but for what lies before the first position.
        let count = (place.slot as i64).min(place.end.max(0));
        let start = (place.end.max(0) - count - given) as usize;
        let (inner, count, slot) = (tensor.inner, count as usize, place.slot - count as usize);
        let all = &state.memory[tensor.at..][..tensor.outer * tensor.block()];
        let blocks = all.chunks_exact(tensor.block());
        for (block, to) in blocks.zip(output.chunks_exact_mut((outputs * inner).max(1))) {
            let from = &block[slot * inner..(slot + count) * inner];
            to[start * inner..][..from.len()].copy_from_slice(from);
        }
    }
}

/// Whether what the padding before the first position repeats is there.
fn is_there(line: &Line, end: i64) -> bool {
    end > 0 && end >= line.front()
}

/// The piece to compute next, of so many outputs that are known, where there is room: a longer one
/// that is at least half full, or the longest that is full.
#[inline]
fn chosen(pieces: &[i64], known: i64, room: i64) -> Option<usize> {
    if pieces[0] <= room && pieces[0] == known {
        return Some(0);
    }
    let longer = pieces.iter().rposition(|piece| *piece <= room && *piece >= known);
    let full = pieces.iter().position(|piece| *piece <= room && *piece <= known);
    match (longer, full) {
        (Some(longer), Some(_)) if pieces[longer] <= 2 * known => Some(longer),
        (longer, full) => full.or(longer),
    }
}
