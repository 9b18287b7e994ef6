//! The leaf assembler: an outlined leaf becomes x86-64 machine code at full width.
//!
//! ```text
//! Leaf --plan--> straight lines of instructions on values --pairs, regroup, fold--> fewer loads, and loads inside operands --frame, vectors--> bytes
//! ```
//!
//! One lowering serves AVX2 (16 registers of 256 bits) and AVX-512 (32 of 512, masks, broadcasts as
//! operands); the differences are a table of instructions and a few numbers. Emission knows
//! registers and addresses, not convolutions: what a leaf computes, and in which order, is all in
//! the nest.
//!
//! The code is position-independent and calls nothing: `extern "sysv64" fn(pointers.., ints..)`,
//! pointers being byte addresses in the order of [`Leaf::pointers`](conv_ir::nest::Leaf), ints
//! following. Constants lie behind `ret`. It keeps the convention's registers and ends with
//! `vzeroupper`.
//!
//! A leaf that needs what this route does not have is refused with the reason ([`Refusal`]), and
//! Cranelift compiles it.

mod access;
mod bill;
mod block;
mod codes;
mod fold;
mod frame;
mod inst;
mod loops;
mod masks;
mod memory;
mod pairs;
mod plan;
mod prefetch;
mod registers;
mod regroup;
#[cfg(test)]
mod tests;
mod text;
mod vectors;

use std::fmt;
use std::ops::Range;

use conv_ir::nest::Leaf;
use conv_ir::{Nest, Target};

pub use bill::Bill;

use fold::Folding;
use frame::{Frame, Room};
use inst::Plan;
use masks::Masks;
use vectors::{Shape, Vectors};

/// Which instructions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, VL and DQ.
    Avx512,
}

impl Level {
    /// The level whose vectors a target has; none where Cranelift's are wide enough.
    pub fn of(target: &Target) -> Option<Level> {
        [Level::Avx2, Level::Avx512]
            .into_iter()
            .find(|level| level.bytes() == target.vector_bytes as i64)
    }

    /// Whether this CPU has it.
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Level::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The instruction sets by name.
    pub fn needs(self) -> &'static str {
        match self {
            Level::Avx2 => "AVX2 and FMA",
            Level::Avx512 => "AVX-512 F, VL and DQ",
        }
    }

    /// Vector registers.
    pub fn registers(self) -> u32 {
        match self {
            Level::Avx2 => 16,
            Level::Avx512 => 32,
        }
    }

    /// Bytes of the widest vector.
    pub fn bytes(self) -> i64 {
        match self {
            Level::Avx2 => 32,
            Level::Avx512 => 64,
        }
    }
}

/// Why a leaf is not assembled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A condition depends on an int or on a loop that stays one.
    Condition,
    /// An index depends on an int, or folds at a place known only at run time.
    Index,
    /// A stride is known only at run time.
    Stride,
    /// A loop's form.
    Loop(String),
    /// An operation's form.
    Operation(String),
    /// So many lanes are no vector of this level.
    Width(i64),
    /// The values do not fit in the vector or mask registers.
    Registers,
    /// The pointers do not fit in the general registers.
    Integers,
    /// A distance does not fit in an instruction.
    Far,
    /// Our bug: an instruction that does not exist.
    Encoding(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Condition => f.write_str("a condition is known only at run time"),
            Refusal::Index => f.write_str("an index folds at a place known only at run time"),
            Refusal::Stride => f.write_str("a stride is known only at run time"),
            Refusal::Loop(what) | Refusal::Operation(what) => f.write_str(what),
            Refusal::Width(width) => write!(f, "{width} lanes are no vector of this machine"),
            Refusal::Registers => {
                f.write_str("the register tile does not fit in the vector registers")
            }
            Refusal::Integers => f.write_str("the pointers do not fit in the general registers"),
            Refusal::Far => f.write_str("a distance does not fit in 32 bits"),
            Refusal::Encoding(what) => write!(f, "no such instruction: {what}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// A leaf as machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
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
}

/// Assembles an outlined leaf of `nest`.
///
/// # Errors
/// A [`Refusal`] where this route cannot; then another must.
pub fn assemble(nest: &Nest, leaf: &Leaf, level: Level) -> Result<Machine, Refusal> {
    let shape = shape(nest, leaf, level)?;
    let mut plan = plan::plan(nest, leaf)?;
    pairs::pair(&mut plan.update, &mut plan.carried, shape.element(), shape.width);
    let registers = level.registers() as usize;
    if let Some((update, carried)) = regroup::regrouped(&plan.update, &plan.carried, registers) {
        // What is shared waits in a register: a tile that leaves few of them loads it again.
        match encode(leaf, Plan { update, carried, ..plan.clone() }, shape) {
            Err(Refusal::Registers) => {}
            result => return result,
        }
    }
    encode(leaf, plan, shape)
}

/// From a plan in its order.
fn encode(leaf: &Leaf, mut plan: Plan, shape: Shape) -> Result<Machine, Refusal> {
    let folding = Folding { level: shape.level, width: shape.width, bytes: shape.bytes() };
    for section in [&mut plan.init, &mut plan.update, &mut plan.finish] {
        folding.run(section, &plan.carried);
    }
    prefetch::prefetch(&mut plan);
    let emit = |vectors| emit(leaf, &plan, shape, vectors);
    match emit(0) {
        Err(Refusal::Registers) => emit(SPILLS),
        result => result,
    }
}

/// Vectors on the stack, at most, while an activation is computed.
const SPILLS: usize = 16;

fn emit(leaf: &Leaf, plan: &Plan, shape: Shape, spills: usize) -> Result<Machine, Refusal> {
    let frame = Frame::new(plan, leaf.ints.len(), Room { vectors: spills, bytes: shape.bytes() })?;
    frame.check()?;
    let mut vectors = Vectors::new(plan, shape, Masks::of(plan, shape), &frame);
    frame.enter(&mut vectors.text);
    vectors.set_masks();
    vectors.section(&plan.init, false)?;
    if !plan.update.is_empty() {
        frame.start(&mut vectors.text);
        frame.loops(&mut vectors, 0)?;
    }
    vectors.section(&plan.finish, true)?;
    frame.leave(&mut vectors.text);
    let (hot, registers) = (vectors.hot, vectors.used.count_ones());
    let bytes = vectors.text.finish()?;
    Ok(Machine {
        name: leaf.name.clone(),
        code: bytes.code,
        instructions: bytes.instructions,
        hot,
        registers,
        spills: vectors.spill_count,
    })
}

fn shape(nest: &Nest, leaf: &Leaf, level: Level) -> Result<Shape, Refusal> {
    if nest.dtype != nest.accumulator {
        return Err(Refusal::Operation(format!(
            "{} accumulated in {}",
            nest.dtype, nest.accumulator
        )));
    }
    let shape = Shape { level, dtype: nest.dtype, width: leaf.width() };
    let bytes = shape.width * shape.element();
    let is_vector = [16, 32, 64].contains(&bytes) && bytes <= level.bytes();
    if shape.width == 1 || is_vector { Ok(shape) } else { Err(Refusal::Width(shape.width)) }
}
