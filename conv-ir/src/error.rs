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
            Some(axis) => write!(
                f,
                "{} ({}): {}",
                self.field,
                crate::conv::axis_name(self.rank, axis),
                self.message
            ),
            None => write!(f, "{}: {}", self.field, self.message),
        }
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
    #[error("cannot read {what} at column {column}: {}", cut(.message))]
    Parse {
        /// What was read: a convolution, a schedule, a problem string.
        what: &'static str,
        /// Where, counted from 1.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// A schedule does not fit the convolution.
    #[error("schedule: {}", cut(.0))]
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
    #[error("{}", cut(.0))]
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

/// Characters of a message at most, and lines of a list. Messages quote what was given, which may be
/// of any length.
const LONGEST: usize = 1000;
const MOST_ISSUES: usize = 20;

fn list(issues: &[Issue]) -> String {
    let texts = issues.iter().take(MOST_ISSUES).map(Issue::to_string);
    let mut lines: Vec<String> = texts.map(|text| cut(&text).into_owned()).collect();
    if let Some(more) = issues.len().checked_sub(MOST_ISSUES).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// The message, or its beginning and its end.
fn cut(message: &str) -> Cow<'_, str> {
    let count = message.chars().count();
    if count <= LONGEST {
        return message.into();
    }
    let begin: String = message.chars().take(LONGEST / 2).collect();
    let end: String = message.chars().skip(count - LONGEST / 2).collect();
    format!("{begin} .. {end}").into()
}
