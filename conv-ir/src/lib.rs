//! A small IR for any convolution, and the passes that lower it.
//!
//! ```text
//! Conv (what) --lower--> Nest --passes under a Schedule (how)--> Nest --emit--> Rust, machine code
//!                                                                  '--> interp, the judge
//! Program (one or several in a row) --rewrite, plan, fuse--> Nest, of the nests of its strips
//! ```
//!
//! Rust is emitted as tokens. The interpreter judges the nest after every pass.
//!
//! Everything here is a pure function of its arguments: no clock, no environment, no threads, no
//! CPU detection.

#![forbid(unsafe_code)]

pub mod accuracy;
pub mod activation;
pub mod analysis;
pub mod conv;
mod dtype;
mod element;
mod error;
pub mod fft;
mod half;
pub mod interp;
pub mod lower;
mod model;
pub mod nest;
mod numbers;
pub mod passes;
pub mod program;
pub mod reference;
pub mod requantise;
pub mod schedule;
pub mod separate;
mod stored;
mod target;
mod types;
mod values;
pub mod winograd;
pub mod zero_point;

pub use accuracy::{Accuracy, Bound, Tolerance};
pub use activation::Activation;
pub use conv::{Conv, ConvSpec, Layout, Padding, PaddingMode, PerAxis, Reduction, Size};
pub use dtype::{DType, Format, Kind};
pub use element::{Element, Unfused};
pub use error::{Error, Issue, cut};
pub use half::{BF16, F16};
pub use nest::Nest;
pub use program::Program;
pub use schedule::Schedule;
pub use stored::{Array, Stored};
pub use target::{Dots, Isa, MAX_EMBEDDED_BROADCASTS, Machine, Target};
pub use types::Types;
pub use values::{Values, repeated};
