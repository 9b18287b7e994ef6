//! What the older taps of a long window add to the outputs of a stream, block by block
//! ([`Partitions`](conv_ir::fft::Partitions)).
//!
//! ```text
//! at output b P:    the last 2 P inputs -> load -> forward -> spectra, the newest first
//!                   for each output channel: sum over parts and input channels of
//!                   spectrum * spectrum -> back -> the last P numbers
//! ```
//!
//! A block is computed when its first output is known: all that it reads is there by then. Blocks
//! begin at multiples of `P`, so their bits do not depend on the calls. [`Past`] is what is
//! remembered; its size does not change.

mod block;

use conv_ir::fft::Partitions;
use conv_ir::{Conv, DType, Isa, Layout};

use super::filled;
use super::row::Row;
use super::transform::Point;
use super::vector::Vectors;
use crate::Error;

/// The older taps of a window.
pub(crate) struct Tail {
    shape: Shape,
    of: OfType,
}

/// As many lanes as a cache line has numbers.
enum OfType {
    F32(Spectra<f32, 16>),
    F64(Spectra<f64, 8>),
}

/// Numbers of a step.
#[derive(Clone, Copy, Debug)]
struct Shape {
    parts: Partitions,
    taps: usize,
    images: usize,
    groups: usize,
    /// Of a group.
    in_channels: usize,
    /// Of a group.
    out_channels: usize,
    layout: Layout,
    /// Blocks of outputs that are remembered.
    blocks: usize,
    /// Everything before the first output is zero.
    begins_with_zeros: bool,
    isa: Isa,
}

/// The spectra of the parts.
struct Spectra<T, const L: usize> {
    row: Row<T, L>,
    /// `[out, part, in/groups, vector]`.
    all: Vec<Point<T, L>>,
}

/// What is remembered of the inputs, and what the parts add to some blocks of outputs.
pub(crate) struct Past {
    /// Outputs that the parts were computed for: a multiple of `P`.
    done: i64,
    /// The first output that is remembered.
    first: i64,
    /// Whether what the parts add to a block is finite.
    finite: Vec<bool>,
    of: Held,
}

enum Held {
    F32(Memory<f32, 16>),
    F64(Memory<f64, 8>),
}

struct Memory<T, const L: usize> {
    /// `[slot, image, in, vector]`: the newest in a slot that goes down by one from block to block.
    spectra: Vec<Point<T, L>>,
    newest: usize,
    sums: Vec<Point<T, L>>,
    /// As the output lies: `blocks * P` positions.
    outputs: Vec<T>,
}

/// Where a box of inputs lies: that of the first output of a run.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// Its first element, an exposed address.
    pub address: usize,
    /// Elements between images, or between the channels of all images.
    pub block: usize,
    /// Outputs of the run: the first one, and how many are known.
    pub outputs: [i64; 2],
}

impl Tail {
    /// Of weights that are as many as the convolution says, for a CPU that has these vectors, where
    /// so many outputs are computed at a time.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(
        conv: &Conv,
        (parts, piece): (Partitions, usize),
        isa: Isa,
        weight: &[f64],
    ) -> Result<Tail, Error> {
        let spec = conv.spec();
        let taps = conv.kernel_volume();
        let is_padded = conv.axes()[0].padding.0 + 1 >= taps;
        let shape = Shape {
            parts,
            taps,
            images: spec.batch.known().unwrap_or(1),
            groups: spec.groups,
            in_channels: conv.in_channels_per_group(),
            out_channels: conv.out_channels_per_group(),
            layout: spec.layout,
            blocks: parts.blocks(piece),
            begins_with_zeros: is_padded && spec.padding_mode == conv_ir::PaddingMode::Zeros,
            isa,
        };
        let of = match conv.dtype() {
            DType::F32 => OfType::F32(Spectra::new(conv, &shape, weight)?),
            DType::F64 => OfType::F64(Spectra::new(conv, &shape, weight)?),
            other => unreachable!("fft: {conv} has parts, but is of {other}"),
        };
        Ok(Tail { shape, of })
    }

    /// Memory at the start of a stream.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn past(&self) -> Result<Past, Error> {
        let of = match &self.of {
            OfType::F32(_) => Held::F32(Memory::new(&self.shape)?),
            OfType::F64(_) => Held::F64(Memory::new(&self.shape)?),
        };
        Ok(Past { done: 0, first: 0, finite: filled(true, self.shape.blocks)?, of })
    }

    /// Positions of the array that [`Past::residual`] lies in.
    pub fn positions(&self) -> usize {
        self.shape.blocks * self.shape.parts.points
    }

    /// Elements from the box of a window to that of its newest taps.
    pub fn to_newest(&self) -> usize {
        let inner = match self.shape.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => self.shape.groups * self.shape.in_channels,
        };
        (self.shape.taps - self.shape.parts.points) * inner
    }

    /// Computes what the parts add to the outputs of a run, as far as it is not there yet.
    ///
    /// # Safety
    /// From the window's address on lies what the outputs that are known read, in rows that are
    /// `block` elements apart, and nobody writes there.
    pub unsafe fn advance(&self, past: &mut Past, window: Window) {
        let Shape { parts, blocks, .. } = self.shape;
        let [first, count] = window.outputs;
        let points = parts.points as i64;
        let start = first.div_euclid(points) * points;
        let gone = (((start - past.first) / points) as usize).min(blocks);
        if gone > 0 {
            past.finite.rotate_left(gone);
            match &mut past.of {
                Held::F32(memory) => memory.forget(&self.shape, gone),
                Held::F64(memory) => memory.forget(&self.shape, gone),
            }
        }
        past.first = start;
        while past.done < first + count {
            let at = ((past.done - start) / points) as usize;
            // SAFETY: the caller's word; compiling for vectors that the CPU does not have was
            // refused elsewhere.
            past.finite[at] = unsafe {
                match (&self.of, &mut past.of) {
                    (OfType::F32(spectra), Held::F32(memory)) => {
                        spectra.block_here(&self.shape, memory, (past.done, window), at)
                    }
                    (OfType::F64(spectra), Held::F64(memory)) => {
                        spectra.block_here(&self.shape, memory, (past.done, window), at)
                    }
                    _ => unreachable!("fft: the memory of a stream of another type"),
                }
            };
            past.done += points;
        }
    }

    /// The stretches of outputs in a run whose parts are finite, and those whose are not: positions
    /// from the first output of the run on.
    pub fn stretches(
        &self,
        past: &Past,
        [first, count]: [i64; 2],
    ) -> impl Iterator<Item = (std::ops::Range<usize>, bool)> {
        let (points, start) = (self.shape.parts.points as i64, past.first);
        let of = move |at: usize| {
            let from = (start + at as i64 * points - first).clamp(0, count);
            let to = (start + (at as i64 + 1) * points - first).clamp(0, count);
            from as usize..to as usize
        };
        past.finite.iter().enumerate().map(move |(at, finite)| (of(at), *finite))
    }
}

impl Past {
    /// Begins a stream.
    pub fn begin(&mut self) {
        (self.done, self.first) = (0, 0);
        self.finite.fill(true);
        match &mut self.of {
            Held::F32(memory) => memory.spectra.fill(Point::zero()),
            Held::F64(memory) => memory.spectra.fill(Point::zero()),
        }
    }

    /// Where what the parts add to an output lies, an exposed address.
    pub fn residual(&mut self, tail: &Tail, output: i64) -> usize {
        let inner = match tail.shape.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => tail.shape.groups * tail.shape.out_channels,
        };
        let at = (output - self.first) as usize * inner;
        match &mut self.of {
            Held::F32(memory) => memory.outputs[at..].as_mut_ptr().expose_provenance(),
            Held::F64(memory) => memory.outputs[at..].as_mut_ptr().expose_provenance(),
        }
    }
}

impl<T: Vectors<L>, const L: usize> Memory<T, L> {
    fn new(shape: &Shape) -> Result<Self, Error> {
        let vectors = shape.parts.points / L;
        let inputs = shape.images * shape.groups * shape.in_channels;
        let outputs = shape.images * shape.groups * shape.out_channels;
        Ok(Memory {
            spectra: filled(Point::zero(), shape.parts.count * inputs * vectors)?,
            newest: 0,
            sums: filled(Point::zero(), vectors)?,
            outputs: filled(T::default(), outputs * shape.blocks * shape.parts.points)?,
        })
    }

    /// Drops the first blocks of outputs.
    fn forget(&mut self, shape: &Shape, gone: usize) {
        let rows = shape.rows_of_outputs();
        let inner = self.outputs.len() / rows / (shape.blocks * shape.parts.points);
        for row in self.outputs.chunks_exact_mut(shape.blocks * shape.parts.points * inner) {
            row.copy_within(gone * shape.parts.points * inner.., 0);
        }
    }
}

impl Shape {
    /// Blocks of positions of an output.
    fn rows_of_outputs(&self) -> usize {
        match self.layout {
            Layout::ChannelsFirst => self.images * self.groups * self.out_channels,
            Layout::ChannelsLast => self.images,
        }
    }
}
