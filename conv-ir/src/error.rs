//! What can go wrong: the user's mistakes, and what a route cannot do. Our own bugs panic, with the
//! pass's name and the dump.

use std::borrow::Cow;
use std::fmt;

/// One broken rule of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The field: `stride`, `padding`, `groups`, ...
    pub field: &'static str,
    /// The spatial axis, where it is about one (0 is the outermost).
    pub axis: Option<usize>,
    /// Number of spatial axes, which decides what the axis is called.
    pub rank: usize,
    /// The value, the rule, and the arithmetic.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.axis {
            Some(axis) => {
                write!(f, "{} ({}): {}", self.field, axis_name(self.rank, axis), self.message)
            }
            None => write!(f, "{}: {}", self.field, self.message),
        }
    }
}

/// What people call a spatial axis: `width`; `height`, `width`; `depth`, `height`, `width`; else
/// `axis i`.
pub fn axis_name(rank: usize, axis: usize) -> Cow<'static, str> {
    const NAMES: [&str; 3] = ["depth", "height", "width"];
    match NAMES.get((3 + axis).wrapping_sub(rank)) {
        Some(name) if rank <= 3 => Cow::Borrowed(name),
        _ => Cow::Owned(format!("axis {axis}")),
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The description breaks rules; all of them are listed.
    #[error("{}", list(.0))]
    Invalid(Vec<Issue>),
    /// A text form could not be read.
    #[error("cannot read {what} at column {column}: {}", shortened(.message))]
    Parse {
        /// What was read: a convolution, a schedule, a problem string.
        what: &'static str,
        /// Where, counted from 1.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// A schedule does not fit the convolution.
    #[error("schedule: {}", shortened(.0))]
    IllegalSchedule(String),
    /// A slice has the wrong length.
    #[error("{name} has {found} elements, but its shape {shape} needs {needed}")]
    Length {
        /// Which argument.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        needed: usize,
        /// The shape as text.
        shape: String,
    },
    /// An argument that the description asks for is missing, or one it does not know is there.
    #[error("{}", shortened(.0))]
    Argument(String),
    /// Valid, but this route cannot do it.
    #[error("route {route} cannot run this: {message}")]
    Unsupported {
        /// The route.
        route: &'static str,
        /// What it cannot do, and which route can.
        message: String,
    },
    /// An array does not fit in memory.
    #[error("no memory: {0}")]
    Memory(String),
}

/// Characters of a message at most, and lines of a list. Messages quote what was given, which may
/// be of any length.
const LONGEST: usize = 1000;
const MOST_ISSUES: usize = 20;

/// Characters of a user's text that an error shows.
const SHOWN: usize = 60;

/// A user's text as errors show it, on one line: its beginning, and `..` for the rest.
///
/// ```
/// assert_eq!(conv_ir::cut("stride"), "stride");
/// assert_eq!(conv_ir::cut(&"9".repeat(100_000)).len(), 62);
/// ```
pub fn cut(text: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(SHOWN).map(line).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("..");
    }
    shown
}

fn list(issues: &[Issue]) -> String {
    let mut lines: Vec<(&Issue, Vec<Cow<str>>)> = Vec::new();
    for issue in issues.iter().take(MOST_ISSUES) {
        let axis = issue.axis.map(|axis| axis_name(issue.rank, axis));
        let is_same = |(first, axes): &(&Issue, Vec<Cow<str>>)| {
            !axes.is_empty() && first.field == issue.field && first.message == issue.message
        };
        // What is wrong in the same way along several axes was mostly written once.
        match lines.last_mut().filter(|line| axis.is_some() && is_same(line)) {
            Some((_, axes)) => axes.extend(axis),
            None => lines.push((issue, axis.into_iter().collect())),
        }
    }
    let line = |(issue, axes): &(&Issue, Vec<Cow<str>>)| {
        let axes = if axes.is_empty() { String::new() } else { format!(" ({})", axes.join(", ")) };
        shortened(&format!("{}{axes}: {}", issue.field, issue.message)).into_owned()
    };
    let mut lines: Vec<String> = lines.iter().map(line).collect();
    if let Some(more) = issues.len().checked_sub(MOST_ISSUES).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// The message, or its beginning and its end.
fn shortened(message: &str) -> Cow<'_, str> {
    let count = message.chars().count();
    if count <= LONGEST {
        return message.into();
    }
    let begin: String = message.chars().take(LONGEST / 2).collect();
    let end: String = message.chars().skip(count - LONGEST / 2).collect();
    format!("{begin} .. {end}").into()
}

#[cfg(test)]
mod tests {
    use crate::{Activation, Conv, Program, Schedule, analysis::Network, conv};

    /// Whatever a text is, an error about it is a short line.
    #[test]
    fn errors_are_short_whatever_the_text() {
        let long = ["x", "9", "N", "é", "-", "'"].map(|part| part.repeat(100_000));
        for long in &long {
            let forms = [
                "{}",
                "conv2d {} in 8 kernel 3",
                "conv2d in 8 kernel {}",
                "conv2d in {} kernel 3",
                "conv2d n{} in 8 kernel 3",
                "conv2d ic{} in 8 kernel 3",
                "conv2d in 8 kernel 3 pad {}",
                "conv2d in 8 kernel 3 mode constant({})",
                "conv2d in 8 kernel 3 + {}",
                "conv2d in 8 kernel 3, {}",
                "conv2d in {} kernel 3; conv2d kernel {}",
                "lanes {}",
                "lanes {}:8",
                "tile oc:{}",
                "borders {}",
                "pack {}:1",
                "mb1ic{}",
                "input {}",
                "input 3 conv {}",
                "input 3 {}",
                "input 3 conv 3x3 8 }} {}",
                "input 3 add {{ :{} }}",
            ];
            for form in forms {
                let text = form.replace("{{", "{").replace("}}", "}").replace("{}", long);
                let errors = [
                    text.parse::<Conv>().err(),
                    text.parse::<Program>().err(),
                    text.parse::<Schedule>().err(),
                    text.parse::<Network>().err(),
                    text.parse::<Activation>().err(),
                    conv::parse_benchdnn(&text).err(),
                ];
                for error in errors.into_iter().flatten().map(|error| error.to_string()) {
                    assert!(error.len() < 1_000, "{form}: {}", &error[..error.len().min(2_000)]);
                }
            }
        }
    }
}
