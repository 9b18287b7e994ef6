//! How the tensors of a stream lie in its state.

use super::driver::{Step, Tensor};
use super::{Stream, StreamStep};
use crate::{Element, Error, Layout, Program};

/// How many positions of a tensor are in memory: those held, a piece, and what a piece reads. The
/// output is there for a piece alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Positions until one takes the place of another.
    pub positions: i64,
    /// As many of the first ones once more behind them, so that a window never wraps around.
    pub twin: i64,
    /// Nothing of it stays between calls.
    pub passes: bool,
}

/// Small rings have room for so many pieces, up to so many bytes: the twin is a part of them, and
/// only what lies in that part is written twice.
const PIECES: i64 = 8;
const SMALL: i64 = 16 << 10;

fn whole_lines(positions: i64) -> i64 {
    (positions + 15) / 16 * 16
}

/// How long the memory of each tensor is, in positions.
pub(super) fn rings(
    program: &Program,
    axis: usize,
    (steps, held, pieces): (&[StreamStep], &[i64], &[i64]),
) -> Vec<Ring> {
    let read = |tensor: usize| {
        let behind = steps.get(tensor).and_then(|step| step.convs.first());
        let inputs = behind.map_or(0, |(_, conv)| conv.axes()[axis].input.known().unwrap_or(0));
        let adding =
            steps.iter().zip(&pieces[1..]).filter(|(step, _)| step.residual == Some(tensor));
        adding.map(|(_, piece)| *piece).fold(inputs as i64, i64::max)
    };
    let ring = |tensor: usize| {
        let piece = pieces[tensor];
        let Some(held) = held.get(tensor) else {
            return Ring { positions: piece, twin: 0, passes: true };
        };
        // Rows begin alike, at cache lines of f32.
        let twin = whole_lines(piece.max(read(tensor)));
        let line = &steps[tensor].line;
        let passes = (*held, line.lo, line.hi, line.transposed) == (0, 0, 0, false);
        let least = (held + piece).max(read(tensor));
        let bytes = program.dtype().bytes() as i64 * of_position(program, axis, tensor);
        let roomy = if passes { 0 } else { (PIECES * piece).min(SMALL / bytes.max(1)) };
        let positions = whole_lines(least.max(roomy));
        // Not all in the same few places of a cache: an odd number of lines.
        let even = (positions + twin) / 16 % 2 == 0;
        Ring { positions: positions + if even { 16 } else { 0 }, twin, passes }
    };
    (0..pieces.len()).map(ring).collect()
}

/// Elements of a tensor at a position along the axis.
fn of_position(program: &Program, axis: usize, tensor: usize) -> i64 {
    let (shape, dimension) = shape(program, axis, tensor);
    let others = shape.iter().enumerate().filter(|(at, _)| *at != dimension);
    others.fold(1i64, |product, (_, extent)| product.saturating_mul(*extent as i64))
}

/// The shape of a tensor of no positions, and the dimension of those.
fn shape(program: &Program, axis: usize, tensor: usize) -> (Vec<usize>, usize) {
    let conv = &program.steps()[tensor.saturating_sub(1)].conv;
    let spec = conv.spec();
    let axes = conv.axes().iter();
    let (channels, extents): (usize, Vec<_>) = match tensor {
        0 => (spec.in_channels, axes.map(|axis| axis.input.known()).collect()),
        _ => (spec.out_channels, axes.map(|axis| axis.output.known()).collect()),
    };
    let mut shape = vec![program.batch()];
    shape.extend(extents.into_iter().map(|extent| extent.unwrap_or(0)));
    let (channel, dimension) = match spec.layout {
        Layout::ChannelsFirst => (1, axis + 2),
        Layout::ChannelsLast => (shape.len(), axis + 1),
    };
    shape.insert(channel, channels);
    shape[dimension] = 0;
    (shape, dimension)
}

impl Stream {
    /// The shape of the input, or of the output, of no positions, and the dimension of those.
    pub fn shape(&self, program: &Program, is_output: bool) -> (Vec<usize>, usize) {
        shape(program, self.axis, if is_output { program.steps().len() } else { 0 })
    }

    /// How the tensors lie in memory.
    ///
    /// # Errors
    /// [`Error::Memory`] where no memory is that large.
    pub fn tensors<T: Element>(&self, program: &Program) -> Result<Vec<Tensor<T>>, Error> {
        let mut tensors: Vec<Tensor<T>> = Vec::new();
        let mut at = 0usize;
        for (number, ring) in self.rings.iter().enumerate() {
            let (shape, dimension) = shape(program, self.axis, number);
            let reads =
                |step: &usize| *step == number || self.steps[*step].residual == Some(number);
            let tensor = Tensor {
                at,
                outer: shape[..dimension].iter().product(),
                inner: shape[dimension + 1..].iter().product(),
                ring: ring.positions as usize,
                twin: ring.twin as usize,
                passes: ring.passes,
                last_reader: (0..self.steps.len()).rfind(reads),
                fill: T::from_f64(self.steps.get(number).map_or(0.0, |step| step.fill)),
            };
            let positions = (tensor.ring + tensor.twin) as u128;
            let len = positions * tensor.outer as u128 * tensor.inner as u128;
            if (len + at as u128) * size_of::<T>() as u128 > isize::MAX as u128 {
                return Err(Error::Memory("the state of the stream".to_owned()));
            }
            // Each tensor begins at a cache line.
            at = (at + len as usize).next_multiple_of(64 / size_of::<T>());
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    /// Elements of the memory of these tensors.
    pub fn elements<T: Copy>(tensors: &[Tensor<T>]) -> usize {
        tensors.last().map_or(0, |last| last.at + last.outer * last.block())
    }

    /// What a driver is told of the steps.
    pub fn driven(&self) -> Vec<Step<Vec<i64>>> {
        let pieces = |step: &StreamStep| step.convs.iter().map(|(piece, _)| *piece).collect();
        let step = |step: &StreamStep| Step {
            line: step.line,
            residual: step.residual,
            pieces: pieces(step),
        };
        self.steps.iter().map(step).collect()
    }
}
