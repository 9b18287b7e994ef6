//! Where the tensors of a window are: the caller's, or a part by itself.

use std::ops::Range;

use conv_ir::lower::Within;
use conv_ir::program::window::{Part, Window, WindowStep};
use conv_ir::{Layout, Program};

use crate::placed::Held;

/// The first position of a part.
pub(super) fn starts(part: &Part) -> impl Iterator<Item = i64> + '_ {
    part.iter().map(|range| range.start)
}

/// What a step adds.
#[derive(Clone, Copy)]
pub(super) enum Added {
    Tensor(usize),
    Outside,
}

/// Where the tensors of a window are.
pub(super) struct Tensors {
    /// What is in memory of each.
    pub held: Vec<Held>,
    /// All of each.
    pub whole: Vec<Held>,
    /// The tensor that each step reads.
    pub reads: Vec<usize>,
    /// By step.
    pub residuals: Vec<Option<Added>>,
    /// Of the output, what was asked for.
    pub wanted: Part,
    /// It is computed where the caller's output is.
    in_place: bool,
    likes: Vec<(Layout, usize, usize)>,
}

impl Tensors {
    pub fn new(program: &Program, window: &Window, ranges: &[Range<usize>]) -> Tensors {
        let wanted: Part = ranges.iter().map(|r| r.start as i64..r.end as i64).collect();
        let last = window.steps.len();
        let spec = |tensor: usize| program.steps()[tensor.saturating_sub(1)].conv.spec();
        let channels = |tensor: usize| match tensor {
            0 => spec(0).in_channels,
            _ => spec(tensor).out_channels,
        };
        let likes: Vec<_> =
            (0..=last).map(|at| (spec(at).layout, program.batch(), channels(at))).collect();
        let made =
            |part: &Part, (layout, images, channels)| Held::new(part, layout, images, channels);
        let all = |tensor: usize| -> Part {
            program.extents(tensor).unwrap_or_default().into_iter().map(|n| 0..n).collect()
        };
        let whole: Vec<Held> = (0..=last).map(|at| made(&all(at), likes[at])).collect();
        let in_place = window.needed[last] == wanted;
        let is_callers = |at: usize| at == 0 || (at == last && in_place);
        let held = (0..=last).map(|at| match is_callers(at) {
            true => whole[at].clone(),
            false => made(&window.needed[at], likes[at]),
        });
        let residuals = program.steps().iter().map(|step| match step.residual {
            Some(from) => Some(Added::Tensor(from)),
            None => step.conv.spec().residual.then_some(Added::Outside),
        });
        let (held, residuals) = (held.collect(), residuals.collect());
        let reads = (0..last).map(|at| program.input_of(at)).collect();
        Tensors { held, whole, reads, residuals, wanted, in_place, likes }
    }

    pub fn is_callers(&self, tensor: usize) -> bool {
        tensor == 0 || (tensor + 1 == self.held.len() && self.in_place)
    }

    /// A part by itself, of as many images and channels as a tensor.
    pub fn like(&self, tensor: usize, part: &Part) -> Held {
        let (layout, images, channels) = self.likes[tensor];
        Held::new(part, layout, images, channels)
    }

    /// The arrays around the boxes of a step.
    pub fn around(&self, at: usize, step: &WindowStep) -> Within {
        let input = match &step.copy {
            Some(positions) => positions.iter().map(|listed| listed.len() as i64).collect(),
            None => self.held[self.reads[at]].extents.clone(),
        };
        let residual = match self.residuals[at] {
            Some(Added::Tensor(from)) => self.held[from].extents.clone(),
            Some(Added::Outside) => self.whole[at + 1].extents.clone(),
            None => Vec::new(),
        };
        Within { input, residual, output: self.held[at + 1].extents.clone() }
    }
}
