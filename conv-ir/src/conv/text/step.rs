//! A step of a program as text: a convolution that may say which tensors it reads and adds, and
//! whose input follows from those.

use super::{IN, Reader};
use crate::error::Error;
use crate::{Conv, ConvSpec, Layout, Size, Types};

/// A tensor that a step reads: what the step does not say of its input follows from it.
#[derive(Clone, Debug)]
pub struct Given {
    /// Of a step that reads it.
    pub types: Types,
    /// Where its channels stand.
    pub layout: Layout,
    /// Images.
    pub batch: Size,
    /// Of all that are read joined.
    pub channels: usize,
    /// Spatial, outermost first.
    pub extents: Vec<Size>,
}

/// The tensors of those numbers, joined along the channels, or why they are not there. Of no number
/// the one before the step; none before the first step.
pub(crate) type Tensors<'a> = dyn Fn(&[usize]) -> Result<Option<Given>, String> + 'a;

/// What a step of a program says.
pub(crate) struct StepText {
    /// The convolution.
    pub conv: Conv,
    /// The tensors that it reads; none where it says nothing of them.
    pub from: Vec<usize>,
    /// The tensor that it adds.
    pub residual: Option<usize>,
}

/// One step of a chain. What it does not say of its input follows from what it reads.
pub(crate) fn parse_step<'a>(text: &'a str, tensors: &'a Tensors<'a>) -> Result<StepText, Error> {
    let before = tensors(&[]).unwrap_or_default();
    let mut spec = ConvSpec::new([], []);
    if let Some(before) = &before {
        spec.input = before.extents.clone();
    }
    let mut reader = Reader::new(text, spec)?;
    reader.residual = Some(None);
    reader.tensors = Some(tensors);
    let is_first = before.is_none();
    let rank = before.as_ref().map_or(0, |before| before.extents.len());
    if let Some(before) = before {
        reader.reads(before);
    }
    reader.clauses()?;
    reader.epilogue()?;
    match is_first {
        false if !reader.seen.contains(&"in") => reader.same_rank(rank)?,
        false => {}
        true => reader.missing("in", IN)?,
    }
    let conv = reader.conv()?;
    Ok(StepText { conv, from: reader.from, residual: reader.residual.flatten() })
}

impl Reader<'_> {
    /// `from 1,3`, the tensors that a step reads. A space may follow the comma.
    pub(super) fn sources(&mut self, at: usize) -> Result<(), Error> {
        self.once(at, "from")?;
        self.scan.skip_spaces();
        let start = self.scan.position();
        self.from.push(self.scan.number()?);
        while self.scan.eat_before_digit(',') {
            self.scan.skip_spaces();
            self.from.push(self.scan.number()?);
        }
        let found = self.tensors.map_or(Ok(None), |tensors| tensors(&self.from));
        match found.map_err(|why| self.scan.error(start, why))? {
            Some(found) => self.reads(found),
            None => {
                let message = "the first step reads the input: leave `from` out".to_owned();
                return Err(self.scan.error(at, message));
            }
        }
        Ok(())
    }

    /// What follows from what is read, and was not said.
    fn reads(&mut self, found: Given) {
        let said = |word| self.seen.contains(&word);
        if !said("the element type") {
            self.spec.types = found.types;
        }
        if !said("the layout") {
            self.spec.layout = found.layout;
        }
        if !said("n") {
            self.spec.batch = found.batch;
        }
        if !said("ic") {
            self.spec.in_channels = found.channels;
        }
        if !said("in") {
            self.spec.input = found.extents;
        }
    }
}
