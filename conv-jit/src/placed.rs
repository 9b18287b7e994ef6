//! A convolution whose arrays are boxes of larger ones with its weights, and where those lie.
//!
//! In: code for such boxes, the weights. Out: [`Placed`], which runs. [`Held`] knows where an
//! element of a tensor lies that is in memory as a whole, or in part.

use std::ops::Range;
use std::sync::Arc;

use conv_ir::{Conv, Layout};

use crate::Error;
pub(crate) use crate::boxes::{Made, Placed};
use crate::engine::{self, Arrays};
use crate::memory::Room;
use crate::weights::{StepArrays, bias_comes_later};

/// The order of the addresses of a run.
const ARRAYS: [usize; 3] = [0, 1, 2];

impl Placed {
    /// Packs the weights of the convolution that the code was made for; they were checked.
    pub fn new(made: Arc<Made>, conv: &Conv, given: StepArrays<'_>) -> Result<Placed, Error> {
        let Made { nest, code, .. } = &*made;
        let [input, output, residual] = ARRAYS;
        let arrays = Arrays { input, output, residuals: vec![residual] };
        let weight = given.weight.filter(|_| conv.known().is_none());
        let bias = given.bias.filter(|_| bias_comes_later(conv));
        let (weights, biases) = (Vec::from_iter(weight), Vec::from_iter(bias));
        let mut room = Room::new(engine::packed_bytes(nest, &code.slack))?;
        // SAFETY: the arrays have the lengths of the convolution's shapes, which are those of the
        // step that it computes a part of, and stand in the order of the nest's buffers.
        let constants =
            unsafe { engine::pack(nest, (code, &arrays), (&weights, &biases), &mut room)? };
        Ok(Placed::of(made, constants))
    }
}

/// A tensor, or a part of it that lies in memory by itself.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The position of its first element, an axis each.
    pub origin: Vec<i64>,
    /// Spatial extents.
    pub extents: Vec<i64>,
    /// Blocks of these extents: images, or channels of images.
    blocks: usize,
    /// Elements at a position.
    inner: usize,
}

impl Held {
    /// A part of a tensor of so many images and channels.
    pub fn new(part: &[Range<i64>], layout: Layout, images: usize, channels: usize) -> Held {
        let (blocks, inner) = match layout {
            Layout::ChannelsFirst => (images * channels, 1),
            Layout::ChannelsLast => (images, channels),
        };
        Held {
            origin: part.iter().map(|range| range.start).collect(),
            extents: part.iter().map(|range| range.end - range.start).collect(),
            blocks,
            inner,
        }
    }

    /// Elements of a block.
    fn block(&self) -> usize {
        self.extents.iter().product::<i64>() as usize * self.inner
    }

    /// Elements in memory.
    pub fn len(&self) -> usize {
        self.block() * self.blocks
    }

    /// Elements between neighbours along an axis.
    fn stride(&self, axis: usize) -> usize {
        self.extents[axis + 1..].iter().product::<i64>() as usize * self.inner
    }

    /// Elements before a position, in its block.
    pub fn offset(&self, at: impl IntoIterator<Item = i64>) -> usize {
        let along =
            |(axis, at): (usize, i64)| (at - self.origin[axis]) as usize * self.stride(axis);
        at.into_iter().enumerate().map(along).sum()
    }
}

/// Copies the elements at these positions, which are listed for each axis, to those from `start` on
/// of another tensor of as many images and channels.
pub(crate) fn copy<T: Copy>(
    (from, source): (&Held, &[T]),
    positions: &[Vec<i64>],
    (to, target): (&Held, &mut [T]),
    start: &[i64],
) {
    for block in 0..from.blocks {
        let source = &source[block * from.block()..][..from.block()];
        let target = &mut target[block * to.block()..][..to.block()];
        along((from, source), positions, (to, target), (0, 0, to.offset(start.iter().copied())));
    }
}

/// The same along one axis and those inside it, of a block.
fn along<T: Copy>(
    (from, source): (&Held, &[T]),
    positions: &[Vec<i64>],
    (to, target): (&Held, &mut [T]),
    (axis, source_at, target_at): (usize, usize, usize),
) {
    let Some(listed) = positions.get(axis) else {
        target[target_at..][..to.inner].copy_from_slice(&source[source_at..][..to.inner]);
        return;
    };
    let at =
        |position: i64| source_at + (position - from.origin[axis]) as usize * from.stride(axis);
    if axis + 1 == positions.len() {
        let mut done = 0;
        for run in listed.chunk_by(|a, b| a + 1 == *b) {
            let len = run.len() * to.inner;
            let target = &mut target[target_at + done * to.inner..][..len];
            target.copy_from_slice(&source[at(run[0])..][..len]);
            done += run.len();
        }
        return;
    }
    for (number, &position) in listed.iter().enumerate() {
        let inner = (axis + 1, at(position), target_at + number * to.stride(axis));
        along((from, source), positions, (to, &mut *target), inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_copied_in_their_order() {
        let part = |from, to| vec![0..2, from..to];
        for (layout, wanted) in [
            (Layout::ChannelsFirst, [2, 3, 3, 6, 7, 7, 10, 11, 11, 14, 15, 15].map(|at| at - 1)),
            (Layout::ChannelsLast, [2, 3, 4, 5, 4, 5, 10, 11, 12, 13, 12, 13]),
        ] {
            let from = Held::new(&part(4, 8), layout, 1, 2);
            let to = Held::new(&part(10, 13), layout, 1, 2);
            let source: Vec<i32> = (0..16).collect();
            let mut target = [0; 12];
            copy((&from, &source), &[vec![0, 1], vec![5, 6, 6]], (&to, &mut target), &[0, 10]);
            assert_eq!(target, wanted, "{layout:?}");
        }
    }
}
