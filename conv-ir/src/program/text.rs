//! The text form of a chain: the text forms of its steps, a line each.
//!
//! ```text
//! chain = step ((";" | NEWLINE) step)*
//! step  = convolution, whose residual is `residual from` NUMBER
//! ```
//!
//! After the first step `in`, `n`, `ic`, the element type and the layout may be left out: they
//! follow from the step before. Writing says everything, and reading gives the same [`Program`]
//! back. Lines that are empty are skipped. Columns of errors count within the line.

use std::fmt;
use std::str::FromStr;

use super::{Program, Step, of_step};
use crate::conv::parse_step;
use crate::error::Error;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.residual {
            // The word stands once: names of free sizes are upper case.
            Some(from) => {
                let text = self.conv.to_string();
                f.write_str(&text.replacen("+ residual", &format!("+ residual from {from}"), 1))
            }
            None => self.conv.fmt(f),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            let end = if at + 1 < self.steps.len() { "\n" } else { "" };
            write!(f, "{step}{end}")?;
        }
        Ok(())
    }
}

impl FromStr for Program {
    type Err = Error;

    fn from_str(text: &str) -> Result<Program, Error> {
        let mut steps: Vec<Step> = Vec::new();
        for line in text.lines() {
            let mut start = 0;
            for piece in line.split(';') {
                if !piece.trim().is_empty() {
                    steps.push(step(piece, start, &steps)?);
                }
                start += piece.chars().count() + 1;
            }
        }
        Program::new(steps)
    }
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
    let before = before.last().map(|step| (before.len(), &step.conv));
    let (conv, residual) = parse_step(text, before).map_err(placed)?;
    Ok(Step { conv, residual })
}
