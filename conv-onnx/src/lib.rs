//! ONNX models whose convolutions are machine code of conv-jit.
//!
//! ```text
//! model.onnx --tract--> graph --shapes--> regions --fold--> compiled nodes, and the rest
//! ```
//!
//! tract reads the file and infers shapes. Every convolution, transposed ones too, becomes a node
//! that we compile, with what follows it folded in: factors and summands per channel, activations,
//! residuals. So do matrix products with known numbers, and pooling. tract runs what is left.
//! [`Model::explain`] says which is which.
//!
//! Results differ from the graph's, computed as it stands, by rounding: sums run in another order,
//! and weights are multiplied by factors that stood behind them.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod activations;
mod compiled;
mod crops;
mod error;
mod explain;
mod fold;
mod found;
mod halves;
mod join;
mod matmul;
mod model;
mod node;
mod normalise;
mod options;
mod outputs;
mod picks;
mod pools;
mod quantised;
mod reader;
mod region;
mod resize;
mod scale;
mod sized;
mod spelling;
mod tensor;
mod transposed;

pub use conv_jit::{Accuracy, Target};
pub use error::Error;
pub use explain::{Explanation, Group, Node};
pub use found::Left;
pub use model::{MOST_SHAPES, Model, Port};
pub use options::{Options, Route};
pub use tensor::{Number, Tensor};
/// The numbers of a tensor of f16.
pub use tract_onnx::prelude::f16;
