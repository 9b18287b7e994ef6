//! Drivers: the loops around the leaves.
//!
//! In: the statements of `setup` or `body`. Out: a function that calls leaves with addresses. It is
//! not tuned: a leaf does hundreds of multiply-adds for each address worked out here.

use std::collections::{BTreeMap, BTreeSet};

use conv_ir::Nest;
use conv_ir::nest::{Base, BufferId, BufferRole, Call, LeafId, Loop, LoopKind, Stmt};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, StackSlot,
    StackSlotData, StackSlotKind, UserExternalName, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use rustc_hash::FxHashMap as HashMap;

use super::Asking;
use super::address::Detail;
use super::emitter::{Emitter, Span};
use super::terms::Int;
use super::tile::Tile;
use crate::ahead::Ahead;
use crate::backend::Backend;

/// What a driver knows besides the emitter's state.
struct Driver<'a> {
    nest: &'a Nest,
    leaves: HashMap<LeafId, FuncRef>,
    asking: &'a Asking,
    /// By buffer of weights: how much of the next ones was asked for.
    phases: BTreeMap<BufferId, StackSlot>,
    symbols: Value,
    part: Value,
    parts: Value,
}

pub(super) fn driver<'a>(
    nest: &'a Nest,
    stmts: &'a [Stmt],
    backend: &Backend,
    (conventions, asking): (&[CallConv], &'a Asking),
    function: &mut Function,
    context: &mut FunctionBuilderContext,
) {
    let leaves = declare(nest, stmts, (conventions, asking), function);
    let mut e = Emitter::new(FunctionBuilder::new(function, context), nest, backend.facts);
    let params = e.enter();
    let &[buffers, symbols, scratch, part, parts] = params.as_slice() else {
        unreachable!("drivers have five parameters")
    };
    e.load_symbols(symbols);
    for at in 0..nest.buffers.len() {
        load_base(&mut e, buffers, scratch, BufferId(at as u32));
    }
    let phases = phases(&mut e, asking, &leaves);
    let driver = Driver { nest, leaves, asking, phases, symbols, part, parts };
    driver.stmts(&mut e, stmts);
    e.leave(backend.target.frontend_config());
}

/// Imports every leaf that is called, each by its convention.
fn declare(
    nest: &Nest,
    stmts: &[Stmt],
    (conventions, asking): (&[CallConv], &Asking),
    function: &mut Function,
) -> HashMap<LeafId, FuncRef> {
    let mut called = Vec::new();
    super::called(stmts, &mut called);
    let mut import = |leaf: LeafId| {
        let name = function
            .declare_imported_user_function(UserExternalName { namespace: 0, index: leaf.0 });
        let more = usize::from(asking.contains_key(&leaf));
        let convention = conventions[leaf.index()];
        let signature = super::leaf_signature(nest, &nest.leaves[leaf.index()], convention, more);
        let signature = function.import_signature(signature);
        let data = ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        };
        (leaf, function.import_function(data))
    };
    called.into_iter().map(&mut import).collect()
}

/// Room for what was asked for, of each buffer that calls ask for parts of.
fn phases(
    e: &mut Emitter<'_, '_>,
    asking: &Asking,
    called: &HashMap<LeafId, FuncRef>,
) -> BTreeMap<BufferId, StackSlot> {
    let asked = asking.iter().filter(|(leaf, _)| called.contains_key(leaf));
    let buffers: BTreeSet<BufferId> = asked.map(|(_, ahead)| ahead.buffer).collect();
    let mut room = |buffer| {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3);
        let slot = e.b.create_sized_stack_slot(data);
        let zero = e.value(Int::Known(0));
        e.b.ins().stack_store(types::I64, zero, slot, 0);
        (buffer, slot)
    };
    buffers.into_iter().map(&mut room).collect()
}

/// What the table says is an address, or, of scratch, an offset in this thread's block.
fn load_base(e: &mut Emitter<'_, '_>, table: Value, scratch: Value, id: BufferId) {
    e.load_strides(id);
    let mut base = e.b.ins().load(types::I64, MemFlagsData::trusted(), table, 8 * id.0 as i32);
    if e.nest.buffer(id).role == BufferRole::Scratch {
        base = e.b.ins().iadd(scratch, base);
    }
    e.bases.insert(Base::Buffer(id), base);
}

impl<'a> Driver<'a> {
    fn stmts(&self, e: &mut Emitter<'a, '_>, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => self.each(e, l, body),
                Stmt::Leaf(leaf) => Tile::new(e, leaf).emit(e),
                Stmt::Call(call) => self.call(e, call),
            }
        }
    }

    fn each(&self, e: &mut Emitter<'a, '_>, l: &Loop, body: &'a [Stmt]) {
        let (lo, hi) = (e.bound(&l.lo), e.bound(&l.hi));
        let (lo, hi) = match l.kind {
            LoopKind::Serial | LoopKind::Unrolled => (lo, hi),
            LoopKind::Parallel => self.share(e, lo, hi),
        };
        let span = Span { axis: l.axis, lo, hi, cursors: &[] };
        e.each(span, Vec::new(), |e, carried| {
            self.stmts(e, body);
            carried
        });
    }

    /// This thread's part of `lo..hi`.
    fn share(&self, e: &mut Emitter<'a, '_>, lo: Int, hi: Int) -> (Int, Int) {
        let minus = e.mul(lo, Int::Known(-1));
        let len = e.add(hi, minus);
        let len = e.larger(len, Int::Known(0));
        let mut cut = |part: Int| {
            let scaled = e.mul(len, part);
            let scaled = e.value(scaled);
            let offset = e.b.ins().udiv(scaled, self.parts);
            e.add(lo, Int::Value(offset))
        };
        let start = cut(Int::Value(self.part));
        let next = e.add(Int::Value(self.part), Int::Known(1));
        let scaled = e.mul(len, next);
        let scaled = e.value(scaled);
        let offset = e.b.ins().udiv(scaled, self.parts);
        (start, e.add(lo, Int::Value(offset)))
    }

    fn call(&self, e: &mut Emitter<'a, '_>, call: &Call) {
        let mut args = Vec::with_capacity(call.pointers.len() + call.ints.len() + 1);
        for access in &call.pointers {
            let place = e.place(None, access, Detail::Full);
            let (pointer, displacement) = e.address(&place);
            let pointer = e.add(Int::Value(pointer), Int::Known(displacement.into()));
            args.push(e.value(pointer));
        }
        if let Some(ahead) = self.asking.get(&call.leaf) {
            args.push(self.next(e, ahead, args[ahead.pointer]));
        }
        for int in &call.ints {
            let int = e.bound(int);
            args.push(e.value(int));
        }
        if !self.nest.symbols.is_empty() {
            args.push(self.symbols);
        }
        e.b.ins().call(self.leaves[&call.leaf], &args);
    }

    /// Where a call's share of the next weights begins, and one share more is asked for.
    fn next(&self, e: &mut Emitter<'a, '_>, ahead: &Ahead, weights: Value) -> Value {
        let slot = self.phases[&ahead.buffer];
        let phase = e.b.ins().stack_load(types::I64, types::I64, slot, 0);
        let asked = e.add(Int::Value(phase), Int::Known(ahead.share));
        let asked = e.value(asked);
        let (zero, panel) = (e.value(Int::Known(0)), e.value(Int::Known(ahead.panel)));
        let is_all = e.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, asked, panel);
        let left = e.b.ins().select(is_all, zero, asked);
        e.b.ins().stack_store(types::I64, left, slot, 0);
        let next = e.add(Int::Value(weights), Int::Known(ahead.panel));
        let next = e.add(next, Int::Value(phase));
        e.value(next)
    }
}
