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
    /// It is an input, of the shape that the convolution takes.
    pub given: bool,
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
    match before {
        // Its type, layout and batch are those of the program.
        Some(_) if reader.declares => {
            let first = tensors(&[0]).unwrap_or_default();
            reader.spec.input.clear();
            first.into_iter().for_each(|first| {
                let spec = &mut reader.spec;
                (spec.types, spec.layout, spec.batch) = (first.types, first.layout, first.batch);
            });
        }
        Some(before) => reader.reads(before),
        None => {}
    }
    reader.clauses()?;
    reader.epilogue()?;
    match is_first {
        _ if reader.declares => reader.missing("in", IN)?,
        false if !reader.seen.contains(&"in") => reader.same_rank(rank)?,
        false => {}
        true => reader.missing("in", IN)?,
    }
    let conv = reader.conv()?;
    let (residual, given) = (reader.residual.flatten(), reader.declares);
    Ok(StepText { conv, from: reader.from, residual, given })
}

impl Reader<'_> {
    /// What is said of an input: its shape alone, which is that of a window of one element.
    pub(super) fn declared(&mut self) -> Result<(), Error> {
        const SHAPE: [&str; 5] = ["the element type", "the layout", "n", "ic", "in"];
        if self.tensors.is_none() {
            let message = "an input is declared in a program of several steps".to_owned();
            return Err(self.scan.error(0, message));
        }
        let spec = &self.spec;
        let behind = spec.bias || spec.residual || spec.activation.is_some();
        let other = self.seen.iter().find(|word| !SHAPE.contains(word));
        let other = other.copied().or(behind.then_some("what stands behind the clauses"));
        if let Some(other) = other.or(self.requantised.as_ref().map(|_| "requantise")) {
            let message = format!(
                "an input computes nothing, it has a shape: `n`, `ic`, `in`, type and layout; \
                 leave {other} out"
            );
            return Err(self.scan.error(0, message));
        }
        self.missing("ic", "the channels of the input, such as `ic8`")?;
        self.spec.kernel = vec![1; self.spec.input.len()];
        Ok(())
    }

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
        if self.scan.eat_last(',') {
            return Err(self.scan.expected("the number of another tensor, or an activation"));
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
