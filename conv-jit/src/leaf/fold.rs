//! Loads that become operands of the instruction that needs them.
//!
//! ```text
//! %9 = splat c1[8]                      AVX-512: a broadcast in the operand takes no register
//! %1 = fma(%9, %7, %1)     ->  %1 = fma(splat c1[8], %7, %1)
//! %2 = fma(%9, %8, %2)         %2 = fma(splat c1[8], %8, %2)
//! ```
//!
//! A splat that serves several instructions stays a load of its own where there is a register for
//! it, or where they are more than [`MAX_EMBEDDED_BROADCASTS`]; and so does anything that is used
//! where the instruction set has no memory operand.

use conv_ir::MAX_EMBEDDED_BROADCASTS;
use smallvec::SmallVec;

use super::Shape;
use super::inst::{Arg, Carried, Inst, Kind, Source, Value};

/// Whether each of `users` instructions repeats `source` as a memory operand, beside `sums` that
/// are carried.
fn is_operand(shape: Shape, source: &Source, users: usize, sums: usize) -> bool {
    let machine = shape.machine();
    let has_register = sums + users < machine.vector_registers;
    match source {
        Source::Splat(_) => {
            machine.embeds_splat(users as i64, shape.bytes()) && (users == 1 || !has_register)
        }
        Source::Vector { live, .. } => users == 1 && live.is_all(shape.width),
        Source::Strided { .. }
        | Source::Stored { .. }
        | Source::Slide { .. }
        | Source::Words { .. }
        | Source::Bits(_)
        | Source::Around { .. } => false,
    }
}

/// Folds what can be in a straight line.
pub(super) fn fold(insts: &mut Vec<Inst>, carried: &Carried, shape: Shape) {
    let uses = uses(insts, carried.len());
    let sums = carried.lasting();
    let mut folded: Vec<Option<Source>> = vec![None; carried.len()];
    let mut gone = vec![false; insts.len()];
    for (at, inst) in insts.iter().enumerate() {
        if let Some((value, source)) = inst.load().filter(|(v, _)| !carried[*v])
            && let users = &uses[value.0 as usize]
            && !users.is_empty()
            && is_operand(shape, &source, users.len(), sums)
            && users.iter().all(|&user| takes(&insts[user], value, &source))
            && !insts[at..users[users.len() - 1]].iter().any(Inst::stores)
        {
            folded[value.0 as usize] = Some(source);
            gone[at] = true;
        }
    }
    let mut gone = gone.into_iter();
    insts.retain_mut(|inst| {
        replace(inst, &folded);
        gone.next() != Some(true)
    });
}

/// Where each value is read.
fn uses(insts: &[Inst], values: usize) -> Vec<SmallVec<[usize; MAX_EMBEDDED_BROADCASTS]>> {
    let mut uses = Vec::new();
    uses.resize_with(values, SmallVec::new);
    for (at, inst) in insts.iter().enumerate() {
        inst.each_read(|value| uses[value.0 as usize].push(at));
    }
    uses
}

/// Whether the instruction could read this value from memory: one place for it, and registers in
/// all others. None repeats words.
fn takes(inst: &Inst, value: Value, source: &Source) -> bool {
    let Inst::Set { kind, args, .. } = inst else {
        return false;
    };
    let here = |at: usize| args[at] == Arg::Value(value);
    let others = |at: usize| {
        args.iter().enumerate().all(|(i, a)| i == at || matches!(a, Arg::Value(v) if *v != value))
    };
    match kind {
        Kind::Words if matches!(source, Source::Splat(_)) => false,
        Kind::Fma | Kind::Words | Kind::Add | Kind::Mul | Kind::And | Kind::Or => {
            here(0) && others(0) || here(1) && others(1)
        }
        Kind::Dot => here(1) && others(1),
        Kind::Sub | Kind::Div | Kind::Min | Kind::Max => here(1) && others(1),
        Kind::Copy
        | Kind::Xor
        | Kind::Shift(_)
        | Kind::UpperByte { .. }
        | Kind::RaisedByte
        | Kind::UpperWord
        | Kind::AddWords
        | Kind::PairSums { .. }
        | Kind::Interleave { .. }
        | Kind::Narrow(_)
        | Kind::Halves { .. }
        | Kind::Quarters
        | Kind::Round
        | Kind::Choose
        | Kind::Pick(_)
        | Kind::To(_)
        | Kind::Bytes(_)
        | Kind::Joined(_)
        | Kind::UpperHalf
        | Kind::Scale { .. }
        | Kind::MulHigh
        | Kind::ShiftRound
        | Kind::MulFloor
        | Kind::ShiftUp => false,
    }
}

fn replace(inst: &mut Inst, folded: &[Option<Source>]) {
    if let Inst::Set { args, .. } = inst {
        for arg in args {
            if let Arg::Value(value) = arg
                && let Some(source) = folded[value.0 as usize]
            {
                *arg = Arg::From(source);
            }
        }
    }
}
