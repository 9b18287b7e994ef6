//! What can go wrong between a description and its machine code, and at the door of a run.

/// Why there is no machine code, or no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The description, its schedule or its sizes are wrong.
    #[error(transparent)]
    Conv(conv_ir::Error),
    /// Valid, but this route cannot do it.
    #[error("this machine or route cannot run it: {0}")]
    Unsupported(String),
    /// A slice has the wrong length.
    #[error("{name} has {found} elements, but its shape {shape:?} needs {needed}")]
    Length {
        /// Which argument.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        needed: usize,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An array has the wrong shape.
    #[error("{name} has shape {found:?}, but the convolution needs {needed:?}")]
    Shape {
        /// Which argument.
        name: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        needed: Vec<usize>,
    },
    /// The arrays hold another type than the convolution computes in.
    #[error("the convolution computes in {needed}, but the arrays hold {found}")]
    DType {
        /// The arrays' type.
        found: conv_ir::DType,
        /// The convolution's type.
        needed: conv_ir::DType,
    },
    /// An argument that the description asks for is missing, or one that it does not know is there.
    #[error("{0}")]
    Argument(String),
    /// The operating system gave no executable memory, or the scratch does not fit in memory.
    #[error("no memory: {0}")]
    Memory(String),
}

impl From<conv_ir::Error> for Error {
    fn from(error: conv_ir::Error) -> Error {
        match error {
            conv_ir::Error::Memory(what) => Error::Memory(what),
            error => Error::Conv(error),
        }
    }
}
