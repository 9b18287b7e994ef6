//! The leaf assembler: the straight-line code of an outlined leaf becomes x86-64 machine code at
//! full width.
//!
//! ```text
//! LeafCode (../leaf) --frame: general registers and loops--+
//!                    --vectors: registers, instructions----+--> bytes
//! ```
//!
//! One lowering serves AVX2 (16 registers of 256 bits) and AVX-512 (32 of 512, masks, broadcasts as
//! operands); the differences are a table of instructions and a few numbers. Emission knows
//! registers and addresses, not convolutions: what a leaf computes, and in which order, is all in
//! its code.
//!
//! The code is position-independent and calls nothing: `extern "sysv64" fn(pointers.., ints..)`,
//! pointers being byte addresses in the order of [`Leaf::pointers`](conv_ir::nest::Leaf), ints
//! following. Constants lie behind `ret`. It keeps the convention's registers and ends with
//! `vzeroupper`.
//!
//! A leaf that needs what this route does not have is refused with the reason ([`Refusal`]), and
//! Cranelift compiles it.

mod bill;
mod block;
mod codes;
mod encoding;
mod frame;
mod integer_codes;
mod integers;
mod interleave;
mod masks;
mod memory;
mod operands;
mod registers;
mod requantise;
mod spread;
mod stored;
mod taps;
#[cfg(test)]
mod tests;
mod text;
mod tiles;
mod vectors;

use std::ops::Range;

use conv_ir::nest::Leaf;
use conv_ir::{Isa, Nest};

pub use crate::leaf::Refusal;
pub use bill::Bill;

use crate::leaf::{self, Shape, inst::LeafCode};
use encoding::Encoding;
use frame::{Frame, Room};
use masks::Masks;
use vectors::Vectors;

/// A leaf as machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MicroKernel {
    /// The leaf's name.
    pub name: String,
    /// Instructions, then constants. Wants an address that is a multiple of 64.
    pub code: Vec<u8>,
    /// Where instructions end.
    instructions: usize,
    /// The innermost loop.
    hot: Range<usize>,
    /// Vector registers that are ever used.
    registers: u32,
    /// Vectors sent to the stack, all behind the loops.
    spills: usize,
    /// Bytes that it asks for of what a pointer behind the leaf's own is to, where it takes one.
    pub(crate) share: Option<i64>,
}

/// Kernels of some leaves of a nest, each with its leaf's position.
pub(crate) type Kernels = Vec<(usize, MicroKernel)>;

/// Assembles an outlined leaf of `nest`.
///
/// # Errors
/// A [`Refusal`] where this route cannot; then another must.
pub fn assemble(nest: &Nest, leaf: &Leaf, isa: Isa) -> Result<MicroKernel, Refusal> {
    assemble_asking(nest, leaf, isa, None)
}

/// The same, which asks for so many bytes of what a pointer behind the leaf's own is to.
pub(crate) fn assemble_asking(
    nest: &Nest,
    leaf: &Leaf,
    isa: Isa,
    share: Option<i64>,
) -> Result<MicroKernel, Refusal> {
    let encoding = Encoding::of(isa)?;
    let kernel = leaf::lower(nest, leaf, (isa, share), |code, shape| {
        match emit(leaf, code, (shape, encoding), 0) {
            Err(Refusal::Registers) => emit(leaf, code, (shape, encoding), SPILLS),
            result => result,
        }
    })?;
    Ok(MicroKernel { share, ..kernel })
}

/// Vectors on the stack, at most, while an activation is computed.
const SPILLS: usize = 16;

fn emit(
    leaf: &Leaf,
    code: &LeafCode,
    (shape, encoding): (Shape, Encoding),
    spills: usize,
) -> Result<MicroKernel, Refusal> {
    let tiles = code.sums_in_tiles();
    let room = Room { vectors: spills, bytes: shape.bytes(), tiles };
    let frame = Frame::new(code, leaf.ints.len(), room)?;
    frame.check()?;
    let masks = Masks::of(code, shape, encoding);
    let mut vectors = Vectors::new(code, (shape, encoding), masks, frame.given());
    frame.enter(&mut vectors.text);
    vectors.set_masks();
    vectors.set_tiles();
    vectors.section(&code.init, false)?;
    if !code.update.is_empty() {
        frame.start(&mut vectors.text);
        frame.loops(&mut vectors, 0)?;
    }
    vectors.section(&code.finish, true)?;
    vectors.release_tiles();
    frame.leave(&mut vectors.text);
    let (hot, registers) = (vectors.hot, vectors.used.count_ones());
    let bytes = vectors.text.finish()?;
    Ok(MicroKernel {
        name: leaf.name.clone(),
        code: bytes.code,
        instructions: bytes.instructions,
        hot,
        registers,
        spills: vectors.spill_count,
        share: None,
    })
}
