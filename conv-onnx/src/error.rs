//! What can go wrong between a file and the outputs of a run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use tract_onnx::prelude::{TractError, TractResult};

/// Why there is no model, or no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read, or is no model.
    #[error("{}: {message}", path.display())]
    File {
        /// As the caller wrote it.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An input is missing, unknown, or has the wrong type or shape.
    #[error("{0}")]
    Input(String),
    /// The shape of a tensor and its numbers do not go together.
    #[error("{0}")]
    Tensor(String),
    /// tract cannot read the model, infer its shapes or run what is left to it.
    #[error("{doing}: {message}")]
    Model {
        /// What was being done.
        doing: &'static str,
        /// tract's words.
        message: String,
    },
    /// A convolution that was taken cannot be compiled or run.
    #[error(transparent)]
    Jit(#[from] conv_jit::Error),
}

/// Calls tract, whose errors become ours, as do its panics: a model is a stranger's file.
pub(crate) fn tract<T>(
    doing: &'static str,
    run: impl FnOnce() -> TractResult<T>,
) -> Result<T, Error> {
    let message = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => chain(&error),
        Err(panic) => format!("tract panicked: {}", words(&*panic)),
    };
    Err(Error::Model { doing, message })
}

/// The causes of an error, outermost first, in one line. Those of our own speak for themselves.
fn chain(error: &TractError) -> String {
    let causes: Vec<String> = error.chain().map(|cause| cause.to_string()).collect();
    causes.join(": ").replace('\n', " ")
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
