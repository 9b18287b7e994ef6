//! Convolutions compiled to machine code at run time.
//!
//! ```text
//! Builder, Conv --passes (conv-ir)--> Nest --emit--> Cranelift IR --isa--> Code, in memory --pack--> PackedConv --run
//! ```
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
//! Vectors are as wide as the CPU has them where it is an x86-64 ([`x86`]), and 128 bits on every
//! other machine that Cranelift knows. Lengths are checked at the door; the code behind it tests
//! nothing. Results have the same bits as the interpreter's and the reference's wherever the CPU
//! has a fused multiply-add; where it has not, each multiply-add rounds twice ([`Isa::has_fma`]).
//!
//! This is the only crate of the workspace with `unsafe`: executable memory (`pages`), the calls
//! into machine code (`packed`, `engine`, `chain`, `code`) and the instruction chains of [`peak`].

#![deny(clippy::undocumented_unsafe_blocks)]

mod builder;
pub mod cache;
mod chain;
mod choose;
mod code;
mod compiled;
mod emit;
mod engine;
mod error;
mod executor;
mod host;
mod isa;
mod link;
mod listing;
mod memory;
mod packed;
mod pages;
pub mod peak;
mod share;
#[cfg(test)]
mod tests;
#[cfg(feature = "ndarray")]
mod views;
pub mod x86;

pub use builder::{
    Builder, conv_nd, conv_transpose_nd, conv_transpose1d, conv_transpose2d, conv_transpose3d,
    conv1d, conv2d, conv3d,
};
pub use chain::{
    ChainBuilder, ChainOptions, CompiledChain, PackedChain, StepWeights, chain, nest as chain_nest,
    plan as chain_plan, whole_nest as chain_whole_nest,
};
pub use choose::choose;
pub use code::{CompileTime, FunctionSize, Maker};
pub use compiled::{CompiledConv, Options, route_name};
pub use error::Error;
#[cfg(feature = "rayon")]
pub use executor::Rayon;
pub use executor::{CurrentThread, Executor};
pub use host::{TARGETS, as_here, host_target, targets_here};
pub use isa::Isa;
pub use listing::{clif, clif_for, disassembly, disassembly_for};
pub use packed::{Call, PackedConv, Scratch};
