//! Activations are spelled out in the primitive operations that every route has.
//!
//! ```text
//! before  acc = silu(acc)
//! after   t1 = ..exp..; acc = acc / t1        (straight-line, a register per value used twice)
//! ```
//!
//! requires: leaves.
//! gives: no activation and no `prelu` in an expression.

use crate::activation::{Instruction, program};
use crate::nest::{Binary, Expr, Leaf, Nest, Op, RegId, Register, for_leaves};
use crate::{Activation, DType, Error, Schedule, Target};

pub(super) fn epilogue(nest: &mut Nest, _: &Schedule, _: &Target) -> Result<(), Error> {
    let dtype = nest.dtype;
    for_leaves(&mut nest.body, &mut |leaf: &mut Leaf| {
        let finish = std::mem::take(&mut leaf.finish);
        leaf.finish = finish.into_iter().flat_map(|op| spell_out(leaf, op, dtype)).collect();
        Ok(())
    })
}

fn spell_out(leaf: &mut Leaf, op: Op, dtype: DType) -> Vec<Op> {
    match op {
        Op::Each(axis, body) => {
            vec![Op::Each(
                axis,
                body.into_iter().flat_map(|op| spell_out(leaf, op, dtype)).collect(),
            )]
        }
        Op::Set { reg, value, when } => {
            let (mut ops, value) = spelled_out(leaf, value, dtype);
            ops.push(Op::Set { reg, value, when });
            ops
        }
        Op::Store { to, value, when } => {
            let (mut ops, value) = spelled_out(leaf, value, dtype);
            ops.push(Op::Store { to, value, when });
            ops
        }
        Op::StoreBlock { .. } => vec![op],
    }
}

/// The operations before the last, and the last as an expression: of an activation, or of what is
/// made of one.
fn spelled_out(leaf: &mut Leaf, value: Expr, dtype: DType) -> (Vec<Op>, Expr) {
    match value {
        Expr::Activation(which, x) => expand(leaf, which, *x, dtype),
        Expr::Unary(op, inner) => {
            let (ops, inner) = spelled_out(leaf, *inner, dtype);
            (ops, Expr::Unary(op, Box::new(inner)))
        }
        Expr::Binary(Binary::Prelu, inner, slope) => {
            let (mut ops, x) = spelled_out(leaf, *inner, dtype);
            let x = match x {
                x @ Expr::Reg(_) => x,
                other => {
                    let reg = temporary(leaf, 0);
                    ops.push(Op::set(reg, other));
                    Expr::Reg(reg)
                }
            };
            (ops, leaky(x, *slope))
        }
        Expr::Binary(op, inner, other) => {
            let (ops, inner) = spelled_out(leaf, *inner, dtype);
            (ops, Expr::Binary(op, Box::new(inner), other))
        }
        other => (Vec::new(), other),
    }
}

/// `x`, times the slope where it is below zero.
fn leaky(x: Expr, slope: Expr) -> Expr {
    let scaled = Expr::Binary(Binary::Mul, Box::new(slope), Box::new(x.clone()));
    Expr::Choose {
        a: Box::new(x.clone()),
        b: Box::new(Expr::Const(0.0)),
        then: Box::new(scaled),
        otherwise: Box::new(x),
    }
}

/// The operations before the last, and the last as an expression.
fn expand(leaf: &mut Leaf, which: Activation, x: Expr, dtype: DType) -> (Vec<Op>, Expr) {
    let instructions = program(&which, dtype);
    let uses = uses(&instructions);
    let mut ops = Vec::new();
    let mut values: Vec<Expr> = Vec::new();
    for (at, instruction) in instructions.iter().enumerate() {
        let value = expression(instruction, &x, &values);
        let constant =
            matches!(instruction, Instruction::Const(_)) || matches!(value, Expr::Reg(_));
        if constant || uses[at] < 2 {
            values.push(value);
            continue;
        }
        let reg = temporary(leaf, at);
        ops.push(Op::set(reg, value));
        values.push(Expr::Reg(reg));
    }
    (ops, values.pop().unwrap_or(x))
}

fn temporary(leaf: &mut Leaf, at: usize) -> RegId {
    let name = format!("t{at}");
    let known = leaf.registers.iter().position(|r| r.name == name);
    let at = known.unwrap_or_else(|| {
        leaf.registers.push(Register { name, axes: Vec::new() });
        leaf.registers.len() - 1
    });
    RegId(at as u32)
}

fn operands(instruction: &Instruction) -> Vec<usize> {
    match *instruction {
        Instruction::Input | Instruction::Const(_) => Vec::new(),
        Instruction::Unary(_, a) => vec![a],
        Instruction::Binary(_, a, b) => vec![a, b],
        Instruction::Fma(a, b, c) => vec![a, b, c],
        Instruction::Choose { a, b, then, otherwise } => vec![a, b, then, otherwise],
    }
}

fn uses(instructions: &[Instruction]) -> Vec<usize> {
    let mut uses = vec![0; instructions.len()];
    instructions.iter().flat_map(operands).for_each(|operand| uses[operand] += 1);
    uses
}

fn expression(instruction: &Instruction, x: &Expr, values: &[Expr]) -> Expr {
    let at = |operand: usize| Box::new(values[operand].clone());
    match *instruction {
        Instruction::Input => x.clone(),
        Instruction::Const(c) => Expr::Const(c),
        Instruction::Unary(op, a) => Expr::Unary(op, at(a)),
        Instruction::Binary(op, a, b) => Expr::Binary(op, at(a), at(b)),
        Instruction::Fma(a, b, c) => Expr::Fma(at(a), at(b), at(c)),
        Instruction::Choose { a, b, then, otherwise } => {
            Expr::Choose { a: at(a), b: at(b), then: at(then), otherwise: at(otherwise) }
        }
    }
}
