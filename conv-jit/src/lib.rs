//! Convolutions, one or several in a row, compiled to machine code at run time.
//!
//! ```text
//! Builder, Conv, Program --rewrite, plan, passes (conv-ir)--> Lowered: a Nest a group of steps
//!   --emit--> Cranelift IR --isa--> Compiled: code in memory --pack--> Packed --call--> a run
//! ```
//!
//! A convolution is a program of one step, and goes the same way as a chain.
//!
//! ```
//! let conv = conv_jit::conv2d(3, 8, 3).input([32, 32]).padding(1).bias(true).compile()?;
//! let (weight, bias) = (vec![0.1f32; 8 * 3 * 3 * 3], vec![0.0; 8]);
//! let conv = conv.pack(&weight, Some(&bias))?;
//! let (input, mut output) = (vec![1.0; 3 * 32 * 32], vec![0.0; 8 * 32 * 32]);
//! conv.run(&input, &mut output)?;
//! assert!((output[33] - 2.7).abs() < 1e-6);
//! # Ok::<(), conv_jit::Error>(())
//! ```
//!
//! Every word that a [`Builder`] takes is here too. With feature `macros` so is `conv!`, which
//! makes Rust source when a program is built, for sizes that are known then.
//!
//! ```
//! use conv_jit::{Accuracy, Activation, Layout, Padding, PaddingMode, Target, conv2d};
//! let words = conv2d(3, 8, 3).input([32, 32]).layout(Layout::ChannelsLast);
//! let words = words.padding(Padding::SameUpper).padding_mode(PaddingMode::Reflect);
//! let words = words.activation(Activation::Relu).accuracy(Accuracy::Exact);
//! let conv: conv_jit::Conv = "conv2d ic3 oc8 in 32x32 kernel 3x3".parse()?;
//! assert_eq!(words.target(Target::CRANELIFT).compile()?.program().steps().len(), 1);
//! assert_eq!(conv.dtype(), conv_jit::DType::F32);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Vectors are as wide as the CPU has them where it is an x86-64 ([`x86`]), and 128 bits on every
//! other machine that Cranelift knows. Lengths are checked at the door; the code behind it tests
//! nothing. Results have the same bits as the interpreter's and the reference's wherever the CPU
//! has a fused multiply-add; where it has not, each multiply-add rounds twice
//! ([`Backend::has_fma`]).
//!
//! This is the only crate of the workspace with `unsafe`: executable memory (`pages`), the calls
//! into machine code (`packed`, `engine`, `call`, `code`), the instruction chains of [`peak`], and
//! slices of other types (`halves`), runs on views (`views`), loops in wide vectors (`loops`).

#![deny(clippy::undocumented_unsafe_blocks)]

mod ahead;
mod backend;
mod boxes;
mod builder;
mod by_size;
pub mod cache;
mod call;
mod code;
mod compiled;
mod emit;
mod engine;
mod error;
mod executor;
mod explain;
mod fft;
mod halves;
mod host;
mod leaf;
mod lens;
mod link;
mod listing;
mod loops;
mod lowered;
mod memo;
mod memory;
mod options;
mod packed;
mod pages;
pub mod peak;
mod placed;
mod scratch;
mod share;
mod shared;
mod stream;
#[cfg(feature = "ndarray")]
mod strided;
#[cfg(test)]
mod tests;
#[cfg(feature = "ndarray")]
mod views;
mod weights;
mod windows;
pub mod x86;

// The words of a description, and of how it is computed: a user needs no other crate.
pub use conv_ir::program::plan::Plan;
pub use conv_ir::program::{Program, Step};
pub use conv_ir::separate::Accuracy;
pub use conv_ir::{
    Activation, Array, BF16, Conv, ConvSpec, DType, Element, F16, Isa, Layout, Padding,
    PaddingMode, PerAxis, Reduction, Schedule, Size, Stored, Target, Types,
};
pub use conv_ir::{requantise, zero_point};
/// The items are Rust source that needs no crate:
///
/// ```
/// conv_jit::conv! {
///     fn blur(input: [f32; 1, 1, 4]) -> [f32; 1, 1, 4];
///     padding: 1, weight: [1, 2, 1]
/// }
/// let mut output = [0.0; 4];
/// blur(&[1.0, 0.0, 0.0, 1.0], &mut output);
/// assert_eq!(output, [2.0, 1.0, 1.0, 2.0]);
/// ```
#[cfg(feature = "macros")]
pub use conv_macros::conv;

pub use backend::Backend;
pub use builder::{
    Builder, Graph, Residual, Tensor, chain, conv_nd, conv_transpose_nd, conv_transpose1d,
    conv_transpose2d, conv_transpose3d, conv1d, conv2d, conv3d, graph,
};
pub use call::Call;
pub use code::{CompileTime, FunctionSize, Maker};
pub use compiled::{Compiled, route_name};
pub use error::Error;
#[cfg(feature = "rayon")]
pub use executor::Rayon;
pub use executor::{CurrentThread, Executor};
#[cfg(feature = "ndarray")]
pub use halves::{bf16_view, bf16_view_mut, f16_view, f16_view_mut};
pub use halves::{bf16s, bf16s_mut, f16s, f16s_mut};
pub use host::{TARGETS, as_here, cpu, host_target, is_here, targets_here};
pub use listing::{clif, clif_for, disassembly, disassembly_for};
pub use loops::{Loop, in_vectors};
pub use lowered::{Lowered, LoweredGroup};
pub use options::Options;
pub use packed::Packed;
pub use scratch::Scratch;
pub use stream::{PIECES, State, Stream, state_bytes};
#[cfg(feature = "ndarray")]
pub use views::{StepViews, ViewCall};
pub use weights::{StepArrays, StepWeights};
pub use windows::{WindowCall, Windows};
