//! Why a command has no result: printed after `error: `.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

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
    /// The model cannot be read, compiled or run.
    #[error(transparent)]
    Model(#[from] conv_onnx::Error),
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Stdout(#[from] io::Error),
}

impl Failure {
    /// Something about a file.
    pub fn file(path: &Path, message: impl Display) -> Failure {
        Failure::File { path: path.to_owned(), message: message.to_string() }
    }

    /// Arguments that do not go together.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }
}
