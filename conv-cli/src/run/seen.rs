//! What the axes of the input are. People leave out a batch and a channel that are one; the output
//! then leaves them out too.

use std::path::Path;

use conv_ir::{Layout, Program, Size};

use super::{Named, several};
use crate::failure::Failure;

/// The input's axes.
pub struct Seen {
    /// `None` where it is left out.
    pub batch: Option<usize>,
    /// `None` where it is left out.
    pub channels: Option<usize>,
    /// Extents.
    pub spatial: Vec<usize>,
    layout: Layout,
}

impl Seen {
    /// Beside a weight; and the weight's shape with both axes of channels.
    pub fn beside(
        input: &Named,
        weight: &Named,
        layout: Layout,
    ) -> Result<(Seen, Vec<usize>), Failure> {
        let (shape, given) = (&input.array.shape[..], &weight.array.shape[..]);
        let full = match (shape.len(), given.len()) {
            // A lone window over a plane or a line.
            (1 | 2, axes) if axes == shape.len() => [&[1, 1], given].concat(),
            // A linear layer's weight.
            (axes, 2) if axes >= 3 => [given, &vec![1; axes - 2]].concat(),
            _ => given.to_vec(),
        };
        let rank = full.len().checked_sub(2).filter(|rank| *rank > 0);
        let seen = rank.and_then(|rank| Seen::split(shape, rank, layout)).ok_or_else(|| {
            let message = format!(
                "the weight has {} axes {given:?}, but the input has {} {shape:?}; both need two, and one per spatial axis \
                 (an input may leave out its batch, and its only channel)",
                given.len(),
                shape.len()
            );
            Failure::file(weight.path, message)
        })?;
        Ok((seen, full))
    }

    /// As the program takes them.
    pub fn of(input: &Named, program: &Program) -> Result<Seen, Failure> {
        let (shape, conv) = (&input.array.shape[..], &program.steps()[0].conv);
        Seen::split(shape, conv.rank(), conv.spec().layout).ok_or_else(|| {
            let message = format!(
                "the input has {} axes {shape:?}, but {} spatial axes, a batch and channels are described \
                 (an input may leave out its batch, and its only channel)",
                shape.len(),
                conv.rank()
            );
            Failure::file(input.path, message)
        })
    }

    /// Of an array with at most two axes more than spatial ones.
    fn split(shape: &[usize], rank: usize, layout: Layout) -> Option<Seen> {
        let mut rest = shape;
        let mut take = |first: bool| -> Option<usize> {
            let (one, others) = if first { rest.split_first()? } else { rest.split_last()? };
            rest = others;
            Some(*one)
        };
        let channels_first = layout == Layout::ChannelsFirst;
        let (batch, channels) = match shape.len().checked_sub(rank)? {
            2 => (take(true), take(channels_first)),
            1 => (None, take(channels_first)),
            0 => (None, None),
            _ => return None,
        };
        Some(Seen { batch, channels, spatial: rest.to_vec(), layout })
    }

    /// The program with the input's sizes for its names, if the input then is what it takes.
    pub fn sized(
        &self,
        input: &Named,
        others: &[Named],
        program: &Program,
    ) -> Result<Program, Failure> {
        let first = program.steps()[0].conv.spec();
        let batch = self.batch.unwrap_or(1);
        let names = std::iter::once(&first.batch).chain(&first.input);
        let value = |(name, value): (&'_ Size, usize)| match name {
            Size::Free(name) => Some((name.clone(), value)),
            Size::Known(_) => None,
        };
        let found = std::iter::once(batch).chain(self.spatial.iter().copied());
        let values: Vec<(String, usize)> = names.zip(found).filter_map(value).collect();
        let mut values: Vec<(String, usize, &Path)> =
            values.into_iter().map(|(name, value)| (name, value, input.path)).collect();
        for (name, value, path) in several::sizes(others, program) {
            match values.iter().find(|(known, ..)| *known == name) {
                None => values.push((name, value, path)),
                Some(&(_, other, _)) if other == value => {}
                Some((_, other, first)) => {
                    let message = format!(
                        "{name} is {value} here, but {other} in {}: a name is one size of all \
                         inputs",
                        first.display()
                    );
                    return Err(Failure::file(path, message));
                }
            }
        }
        let values: Vec<(&str, usize)> =
            values.iter().map(|(name, value, _)| (name.as_str(), *value)).collect();
        let program = program.with_sizes(&values)?;
        let (needed, found) = (program.input_shape(), self.full(batch));
        if needed != found {
            let message = format!(
                "the input has shape {:?}, but must have {needed:?}: the first step is {}",
                input.array.shape,
                program.steps()[0].conv
            );
            return Err(Failure::file(input.path, message));
        }
        Ok(program)
    }

    fn full(&self, batch: usize) -> Vec<usize> {
        let mut shape = self.spatial.clone();
        let place = if self.layout == Layout::ChannelsFirst { 0 } else { shape.len() };
        shape.insert(place, self.channels.unwrap_or(1));
        shape.insert(0, batch);
        shape
    }

    /// The output's shape, without what the input leaves out.
    pub fn output_shape(&self, program: &Program) -> Vec<usize> {
        self.shape_of(program, program.steps().len())
    }

    /// A tensor's shape, likewise.
    pub fn shape_of(&self, program: &Program, tensor: usize) -> Vec<usize> {
        let mut shape = program.shape(tensor);
        let place = if self.layout == Layout::ChannelsFirst { 1 } else { shape.len() - 1 };
        if self.channels.is_none() && shape[place] == 1 {
            shape.remove(place);
        }
        if self.batch.is_none() {
            shape.remove(0);
        }
        shape
    }
}
