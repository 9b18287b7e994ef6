//! How the tensors of a stream lie in its state: each for as long as it is read, and twice, so that
//! any stretch of it lies in one piece and nothing is moved.

use std::ops::Range;

use conv_ir::program::stream as plan;
use conv_ir::{Element, Layout, Program};

use crate::Error;

/// How a tensor lies in memory.
pub(super) struct Tensor<T> {
    /// Of an array of no positions.
    pub shape: Vec<usize>,
    /// The dimension of the positions.
    pub dimension: usize,
    /// Of its first element in the state's memory.
    pub at: usize,
    /// Blocks of positions: images, channels, axes outside the streamed one.
    pub outer: usize,
    /// Elements at a position of a block.
    pub inner: usize,
    /// Positions that are there, and as many once more behind them. Of the output there is no more
    /// than a piece, once.
    pub ring: i64,
    /// What lies outside.
    pub fill: T,
    /// The steps that read it.
    pub readers: Vec<Reader>,
}

#[derive(Clone, Copy)]
pub(super) enum Reader {
    Convolves(usize),
    Adds(usize),
}

impl<T: Element> Tensor<T> {
    /// Positions in memory.
    pub fn length(&self) -> usize {
        self.ring as usize * if self.readers.is_empty() { 1 } else { 2 }
    }

    pub fn len(&self) -> usize {
        self.outer * self.length() * self.inner
    }

    /// Where a position of the first block is, in positions.
    pub fn slot(&self, position: i64) -> usize {
        if self.readers.is_empty() { 0 } else { position.rem_euclid(self.ring) as usize }
    }

    /// Its memory, of the state's, a block of positions at a time.
    pub fn blocks<'m>(&self, memory: &'m mut [T]) -> impl Iterator<Item = &'m mut [T]> {
        memory[self.at..][..self.len()].chunks_exact_mut(self.length() * self.inner)
    }

    /// Writes what lies outside to these positions, where they are written and read first.
    pub fn erase(&self, memory: &mut [T], positions: Range<i64>) {
        let (slot, count) = (self.slot(positions.start), positions.end - positions.start);
        let place = slot * self.inner..(slot + count as usize) * self.inner;
        self.blocks(memory).for_each(|block| block[place.clone()].fill(self.fill));
    }

    /// Copies a position to another one, which is then there twice.
    pub fn copy(&self, memory: &mut [T], from: i64, to: i64) {
        let (from, place) = (self.slot(from) * self.inner, self.slot(to) * self.inner);
        self.blocks(memory).for_each(|block| block.copy_within(from..from + self.inner, place));
        self.repeat(memory, to..to + 1);
    }

    /// Writes these positions, which are there once, to where they are a second time.
    pub fn repeat(&self, memory: &mut [T], positions: Range<i64>) {
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

/// How the tensors of a program lie in a state's memory.
pub(super) fn tensors<T: Element>(
    program: &Program,
    stream: &plan::Stream,
) -> Result<Vec<Tensor<T>>, Error> {
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

/// Elements of the memory of all of them.
pub(super) fn elements<T: Element>(tensors: &[Tensor<T>]) -> usize {
    tensors.last().map_or(0, |last| last.at + last.len())
}
