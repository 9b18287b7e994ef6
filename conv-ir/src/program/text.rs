//! The text form of a program: the text forms of its steps, a line each.
//!
//! ```text
//! program = step ((";" | NEWLINE) step)* [(";" | NEWLINE) "outputs" NUMBER ("," NUMBER)*]
//! step    = input | convolution, which may say `from` NUMBER ("," NUMBER)*,
//!           and whose residual is `residual from` NUMBER, or `scale from` NUMBER
//! input = `input` RANK `d` with `ic`, `in` and, where they are other than the first input's, `n`,
//!           type and layout: a tensor that the caller gives
//! ```
//!
//! After the first step `in`, `n`, `ic`, the element type and the layout may be left out: they
//! follow from what the step reads. That is the tensor before it, or those behind `from`, joined
//! along the channels. A run gives the last step's output, or those behind `outputs`. Writing says
//! everything, and reading gives the same [`Program`] back. Lines that are empty are skipped.
//! Columns of errors count within the line.

use std::fmt;
use std::str::FromStr;

use super::check::{self, numbers};
use super::{Program, Step, of_step};
use crate::conv::{StepText, parse_step};
use crate::error::Error;

impl fmt::Display for Step {
    /// With `from` where the step says what it reads; a program says that where it is not the
    /// tensor before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(self, !self.from.is_empty()))
    }
}

impl Program {
    /// The text form of the step at this position, as the program's has it.
    pub fn line(&self, at: usize) -> String {
        let step = &self.steps[at];
        written(step, !step.reads_before(at))
    }
}

fn written(step: &Step, says_from: bool) -> String {
    let mut text = step.conv.to_string();
    if step.given {
        let shape = text.split(" kernel ").next().unwrap_or_default();
        return shape.replacen("maxpool", "input", 1);
    }
    // The word stands once: names of free sizes are upper case.
    if let Some(from) = step.residual {
        let word = step.conv.spec().combine.word();
        text = text.replacen(word, &format!("{word} from {from}"), 1);
    }
    if says_from {
        // The clauses end where something is added, or before the activation.
        let added = text.find(" + ").into_iter().chain(text.find(" * ")).min();
        let end = added.or_else(|| text.find(", ")).unwrap_or(text.len());
        text.insert_str(end, &format!(" from {}", numbers(&step.from)));
    }
    text
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for at in 0..self.steps.len() {
            let end = if at + 1 < self.steps.len() { "\n" } else { "" };
            write!(f, "{}{end}", self.line(at))?;
        }
        match self.outputs() == [self.steps.len()] {
            true => Ok(()),
            false => write!(f, "\noutputs {}", numbers(self.outputs())),
        }
    }
}

impl FromStr for Program {
    type Err = Error;

    fn from_str(text: &str) -> Result<Program, Error> {
        let mut steps: Vec<Step> = Vec::new();
        let mut outputs: Option<Vec<usize>> = None;
        for line in text.lines() {
            let mut start = 0;
            for piece in line.split(';') {
                if let Some(given) = outputs.as_ref().filter(|_| !piece.trim().is_empty()) {
                    let message = format!("nothing stands behind `outputs {}`", numbers(given));
                    return Err(unread(start, message));
                }
                match piece.trim().strip_prefix("outputs") {
                    Some(list) if !list.starts_with(char::is_alphanumeric) => {
                        outputs = Some(named(list, start)?);
                    }
                    _ if is_output(piece) => {
                        let message = "what a run gives is named by `outputs`, as in `outputs 1`";
                        return Err(unread(start, message.to_owned()));
                    }
                    _ if !piece.trim().is_empty() => steps.push(step(piece, start, &steps)?),
                    _ => {}
                }
                start += piece.chars().count() + 1;
            }
        }
        let outputs = outputs.unwrap_or_else(|| vec![steps.len()]);
        Program::new_giving(steps, outputs)
    }
}

/// The error of a piece that stands `offset` characters into its line.
fn unread(offset: usize, message: String) -> Error {
    Error::Parse { what: "the chain", column: offset + 1, message }
}

/// Whether a piece begins with `output`, which is no word.
fn is_output(piece: &str) -> bool {
    let behind = piece.trim().strip_prefix("output");
    behind.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// The numbers behind `outputs`, in a piece that stands `offset` characters into its line.
fn named(list: &str, offset: usize) -> Result<Vec<usize>, Error> {
    let number = |item: &str| {
        item.trim().parse().map_err(|_| {
            let message = "expected the numbers of the tensors that are given: `outputs 2,5`";
            unread(offset, message.to_owned())
        })
    };
    list.split(',').map(number).collect()
}

/// One step, which stands `offset` characters into its line.
fn step(text: &str, offset: usize, before: &[Step]) -> Result<Step, Error> {
    let number = before.len() + 1;
    let placed = |error| match error {
        Error::Parse { column, message, .. } => Error::Parse {
            what: "the chain",
            column: column + offset,
            message: format!("step {number}: {message}"),
        },
        other => of_step(number, other),
    };
    let tensors = |from: &[usize]| match from.iter().find(|&&from| from > before.len()) {
        _ if before.is_empty() => Ok(None),
        Some(late) => {
            Err(format!("it reads tensor {late}, but only {}", check::there(before.len())))
        }
        None => match check::read(before, from, before.len()) {
            None => Err("more channels than can be counted".to_owned()),
            read => Ok(read),
        },
    };
    let StepText { conv, from, residual, given } = parse_step(text, &tensors).map_err(placed)?;
    Ok(Step { conv, from, residual, given })
}
