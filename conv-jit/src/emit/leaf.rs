//! Leaves: a register tile and its operations.
//!
//! In: a leaf in place or outlined. Out: straight code for `init` and `finish`, and (in
//! [`super::reduce`]) loops for `update`. Tile axes and unrolled loops are walked, each point with
//! its own constants, so what a condition or an index says about them costs nothing in the code.
//!
//! A register is one SSA value per chunk of lanes, replaced at every set. There is no register
//! assignment here: tiles are chosen so that the allocator need not spill.

use std::collections::BTreeSet;

use conv_ir::Nest;
use conv_ir::nest::{Access, Base, Expr, Leaf, Op, PointerId, RegId};
use cranelift_codegen::ir::{Function, Value};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::emitter::Emitter;
use super::int::Truth;
use super::terms::Int;
use super::tile::{Slot, Tile};
use super::vector::Vector;
use crate::backend::Facts;

/// Emits an outlined leaf as a function.
pub(super) fn outlined(
    nest: &Nest,
    leaf: &Leaf,
    facts: Facts,
    function: &mut Function,
    context: &mut FunctionBuilderContext,
    frontend: TargetFrontendConfig,
) {
    let mut e = Emitter::new(FunctionBuilder::new(function, context), nest, facts);
    let params = e.enter();
    let (pointers, rest) = params.split_at(leaf.pointers.len());
    let (ints, symbols) = rest.split_at(leaf.ints.len());
    if let Some(&table) = symbols.first() {
        e.load_symbols(table);
    }
    for (at, (&buffer, &pointer)) in leaf.pointers.iter().zip(pointers).enumerate() {
        e.load_strides(buffer);
        e.bases.insert(Base::Pointer(PointerId(at as u32)), pointer);
    }
    e.env.extend(leaf.ints.iter().zip(ints).map(|(&axis, &value)| (axis, Int::Value(value))));
    Tile::new(&e, leaf).emit(&mut e);
    e.leave(frontend);
}

impl<'a> Tile<'a> {
    pub(super) fn emit(mut self, e: &mut Emitter<'_, '_>) {
        let leaf = self.leaf;
        self.ops(e, &leaf.init);
        self.reduce(e, 0);
        self.ops(e, &leaf.finish);
    }

    pub(super) fn ops(&mut self, e: &mut Emitter<'_, '_>, ops: &'a [Op]) {
        for op in ops {
            match op {
                Op::Each(axis, body) => self.each(e, *axis, |tile, e| tile.ops(e, body)),
                Op::Set { .. } | Op::Store { .. } | Op::StoreBlock { .. } => {
                    self.now = self.dying.pop_front().unwrap_or_default();
                    self.op(e, op);
                }
            }
        }
    }

    fn op(&mut self, e: &mut Emitter<'_, '_>, op: &'a Op) {
        match op {
            Op::Set { reg, value, when } => match e.truth(when) {
                Truth::Always => self.set(e, *reg, value),
                Truth::Never => {}
                Truth::When(holds) => self.set_where(e, holds, *reg, value),
            },
            Op::Store { to, value, when } => match e.truth(when) {
                Truth::Always => self.store(e, to, value),
                Truth::Never => {}
                Truth::When(holds) => self.store_where(e, holds, to, value),
            },
            Op::StoreBlock { to, reg, along } => self.store_block(e, to, *reg, *along),
            Op::Each(..) => unreachable!("`ops` goes through `each`"),
        }
    }

    fn store_where(&mut self, e: &mut Emitter<'_, '_>, holds: Value, to: &Access, value: &Expr) {
        let then = |e: &mut Emitter<'_, '_>| {
            self.store(e, to, value);
            Vec::new()
        };
        e.branch(holds, then, |_| Vec::new());
    }

    /// What a register holds; zero where nothing was ever set.
    pub(super) fn register(&self, e: &mut Emitter<'_, '_>, slot: Slot) -> Vector {
        match self.registers.get(&slot) {
            Some(vector) => vector.clone(),
            None => self.constant(e, 0.0),
        }
    }

    fn set(&mut self, e: &mut Emitter<'_, '_>, reg: RegId, value: &Expr) {
        let value = self.eval(e, value);
        let slot = self.slot(e, reg);
        self.registers.insert(slot, value);
    }

    fn set_where(&mut self, e: &mut Emitter<'_, '_>, holds: Value, reg: RegId, value: &Expr) {
        let slot = self.slot(e, reg);
        let old = self.register(e, slot);
        let merged = e.branch(holds, |e| self.eval(e, value), |_| old);
        self.registers.insert(slot, merged);
    }

    /// The registers that `update` sets.
    pub(super) fn updated(&mut self, e: &mut Emitter<'_, '_>) -> BTreeSet<Slot> {
        let mut slots = BTreeSet::new();
        self.walk(e, &self.leaf.update, &mut |tile, e, op| {
            if let Op::Set { reg, .. } = op {
                slots.insert(tile.slot(e, *reg));
            }
        });
        slots
    }
}
