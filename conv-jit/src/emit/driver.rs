//! Drivers: the loops around the leaves.
//!
//! In: the statements of `setup` or `body`. Out: a function that calls leaves with addresses. It is
//! not tuned: a leaf does hundreds of multiply-adds for each address worked out here.

use std::collections::HashMap;

use conv_ir::Nest;
use conv_ir::nest::{Base, BufferId, BufferRole, Call, LeafId, Loop, LoopKind, Stmt};
use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, UserExternalName,
    Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::address::Detail;
use super::emitter::{Emitter, Span};
use super::terms::Int;
use super::tile::Tile;
use crate::backend::Backend;

/// What a driver knows besides the emitter's state.
struct Driver<'a> {
    nest: &'a Nest,
    leaves: HashMap<LeafId, FuncRef>,
    symbols: Value,
    part: Value,
    parts: Value,
}

pub(super) fn driver(
    nest: &Nest,
    stmts: &[Stmt],
    backend: &Backend,
    conventions: &[CallConv],
    function: &mut Function,
    context: &mut FunctionBuilderContext,
) {
    let leaves = declare(nest, stmts, conventions, function);
    let mut e = Emitter::new(FunctionBuilder::new(function, context), nest, backend.facts);
    let params = e.enter();
    let &[buffers, symbols, scratch, part, parts] = params.as_slice() else {
        unreachable!("drivers have five parameters")
    };
    e.load_symbols(symbols);
    for at in 0..nest.buffers.len() {
        load_base(&mut e, buffers, scratch, BufferId(at as u32));
    }
    let driver = Driver { nest, leaves, symbols, part, parts };
    driver.stmts(&mut e, stmts);
    e.leave(backend.target.frontend_config());
}

/// Imports every leaf that is called, each by its convention.
fn declare(
    nest: &Nest,
    stmts: &[Stmt],
    conventions: &[CallConv],
    function: &mut Function,
) -> HashMap<LeafId, FuncRef> {
    let mut called = Vec::new();
    super::called(stmts, &mut called);
    let mut import = |leaf: LeafId| {
        let name = function
            .declare_imported_user_function(UserExternalName { namespace: 0, index: leaf.0 });
        let signature =
            super::leaf_signature(nest, &nest.leaves[leaf.index()], conventions[leaf.index()]);
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
        for int in &call.ints {
            let int = e.bound(int);
            args.push(e.value(int));
        }
        if !self.nest.symbols.is_empty() {
            args.push(self.symbols);
        }
        e.b.ins().call(self.leaves[&call.leaf], &args);
    }
}
