//! Why a command has no result: one enum, printed after `error: ` as one or a few lines.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Standard input, as a file's name.
pub const STDIN: &str = "-";

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file: which, and what about it.
    #[error("{}: {message}", path.display())]
    File {
        /// As the user wrote it.
        path: PathBuf,
        /// What is wrong, and the rule.
        message: String,
    },
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
    /// An array in a file.
    #[error(transparent)]
    Array(#[from] conv_files::Error),
    /// The description breaks a rule, or a route cannot do it.
    #[error(transparent)]
    Conv(#[from] conv_ir::Error),
    /// Compiling or running machine code.
    #[error(transparent)]
    Jit(#[from] conv_jit::Error),
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Stdout(#[from] io::Error),
}

impl Failure {
    /// Something about a file, or about standard input, whose name is `-`.
    pub fn file(path: &Path, message: impl Display) -> Failure {
        let path = if path == Path::new(STDIN) { Path::new("standard input") } else { path };
        Failure::File { path: path.to_owned(), message: message.to_string() }
    }

    /// Arguments that do not go together.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }
}
