//! The state of one function under construction, and its loops and branches.
//!
//! Values that are worked out once and used again (addresses, products of strides) are remembered
//! in `memo`. What is remembered inside a loop or a branch is forgotten behind it, so that every
//! remembered value dominates its uses.

use conv_ir::Nest;
use conv_ir::nest::{AxisId, Base, BufferId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::FunctionBuilder;
use rustc_hash::FxHashMap as HashMap;

use super::terms::{Int, Key, Term};
use crate::backend::Facts;

/// Something worked out before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Memo {
    Pointer(Key),
    Sum(Key, Vec<(Value, i64)>),
    Product(Value, Value),
}

pub(super) struct Emitter<'a, 'f> {
    pub b: FunctionBuilder<'f>,
    pub nest: &'a Nest,
    pub facts: Facts,
    /// Axes that a loop has bound.
    pub env: HashMap<AxisId, Int>,
    pub memo: HashMap<Memo, Value>,
    /// One per symbol of the nest.
    pub symbols: Vec<Value>,
    /// The address behind each base that this function can name.
    pub bases: HashMap<Base, Value>,
    /// Distance of neighbours along each dimension of a buffer, in elements.
    pub strides: HashMap<BufferId, Vec<Int>>,
}

/// A loop about to be emitted.
pub(super) struct Span<'k> {
    pub axis: AxisId,
    pub lo: Int,
    pub hi: Int,
    /// Addresses that move with the axis: carried from one iteration to the next.
    pub cursors: &'k [Key],
}

impl<'a, 'f> Emitter<'a, 'f> {
    pub(super) fn new(b: FunctionBuilder<'f>, nest: &'a Nest, facts: Facts) -> Self {
        Emitter {
            b,
            nest,
            facts,
            env: HashMap::default(),
            memo: HashMap::default(),
            symbols: Vec::new(),
            bases: HashMap::default(),
            strides: HashMap::default(),
        }
    }

    /// The value of an axis, where it is a number now.
    pub(super) fn known(&self, axis: AxisId) -> Option<i64> {
        match self.env.get(&axis) {
            Some(Int::Known(at)) => Some(*at),
            Some(Int::Value(_)) | None => None,
        }
    }

    /// Starts the function; its parameters.
    pub(super) fn enter(&mut self) -> Vec<Value> {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        self.b.block_params(entry).to_vec()
    }

    pub(super) fn leave(mut self, frontend: cranelift_codegen::isa::TargetFrontendConfig) {
        self.b.ins().return_(&[]);
        self.b.seal_all_blocks();
        self.b.finalize(frontend);
    }

    /// Reads every symbol's value.
    pub(super) fn load_symbols(&mut self, table: Value) {
        let flags = MemFlagsData::trusted();
        for at in 0..self.nest.symbols.len() {
            let value = self.b.ins().load(types::I64, flags, table, 8 * at as i32);
            self.symbols.push(value);
        }
    }

    /// Works out the strides of a buffer, innermost dimension last.
    pub(super) fn load_strides(&mut self, buffer: BufferId) {
        if self.strides.contains_key(&buffer) {
            return;
        }
        let nest = self.nest;
        let mut stride = Int::Known(1);
        let mut strides = Vec::new();
        for (at, extent) in nest.buffer(buffer).extents.iter().enumerate().rev() {
            strides.push(stride);
            if at > 0 {
                let extent = self.affine(extent);
                stride = self.mul(stride, extent);
            }
        }
        strides.reverse();
        self.strides.insert(buffer, strides);
    }

    pub(super) fn product(&mut self, x: Value, y: Value) -> Value {
        let memo = Memo::Product(x.min(y), x.max(y));
        if let Some(&known) = self.memo.get(&memo) {
            return known;
        }
        let product = self.b.ins().imul(x, y);
        self.memo.insert(memo, product);
        product
    }

    /// Runs `body` and forgets what it remembered.
    pub(super) fn scope<R>(&mut self, body: impl FnOnce(&mut Self) -> R) -> R {
        let saved = self.memo.clone();
        let result = body(self);
        self.memo = saved;
        result
    }

    pub(super) fn jump(&mut self, to: Block, values: &[Value]) {
        self.b.ins().jump(to, &args(values));
    }

    /// A new block with parameters of these values' types.
    pub(super) fn block_like(&mut self, values: &[Value]) -> Block {
        let block = self.b.create_block();
        for &value in values {
            let ty = self.b.func.dfg.value_type(value);
            self.b.append_block_param(block, ty);
        }
        block
    }

    /// `then()` where `cond` is not zero, else `otherwise()`: two branches that meet. Each returns
    /// as many values of the same types.
    pub(super) fn branch(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self) -> Vec<Value>,
        otherwise: impl FnOnce(&mut Self) -> Vec<Value>,
    ) -> Vec<Value> {
        let (yes, no) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(cond, yes, &[], no, &[]);
        self.b.switch_to_block(yes);
        let values = self.scope(then);
        let join = self.block_like(&values);
        self.jump(join, &values);
        self.b.switch_to_block(no);
        let values = self.scope(otherwise);
        self.jump(join, &values);
        self.b.switch_to_block(join);
        self.b.block_params(join).to_vec()
    }

    /// `body` for each value of the axis. `carried` goes in, through every iteration and out.
    pub(super) fn each(
        &mut self,
        span: Span<'_>,
        carried: Vec<Value>,
        body: impl FnOnce(&mut Self, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        if let (Int::Known(lo), Int::Known(hi)) = (span.lo, span.hi) {
            if lo >= hi {
                return carried;
            }
            if lo + 1 == hi {
                return self.once(span, carried, body);
            }
        }
        self.repeat(span, carried, body)
    }

    fn once(
        &mut self,
        span: Span<'_>,
        carried: Vec<Value>,
        body: impl FnOnce(&mut Self, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        self.env.insert(span.axis, span.lo);
        let carried = body(self, carried);
        self.env.remove(&span.axis);
        carried
    }

    /// A loop with its test at the bottom: counter, cursors and carried values are parameters of
    /// its block.
    fn repeat(
        &mut self,
        span: Span<'_>,
        carried: Vec<Value>,
        body: impl FnOnce(&mut Self, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        let mut first = vec![self.value(span.lo)];
        first.extend(span.cursors.iter().map(|key| self.cursor_start(key, &span)));
        let steps: Vec<Int> = span.cursors.iter().map(|key| self.step(key, span.axis)).collect();
        first.extend(&carried);
        let (head, exit) = (self.block_like(&first), self.block_like(&carried));
        match (span.lo, span.hi) {
            (Int::Known(_), Int::Known(_)) => self.jump(head, &first),
            _ => self.branch_if_less(first[0], span.hi, (head, &first), (exit, &carried)),
        }
        self.b.switch_to_block(head);
        let params = self.b.block_params(head).to_vec();
        let (cursors, inside) = params[1..].split_at(span.cursors.len());
        let saved = self.memo.clone();
        self.env.insert(span.axis, Int::Value(params[0]));
        for (key, &cursor) in span.cursors.iter().zip(cursors) {
            self.memo.insert(Memo::Pointer(key.clone()), cursor);
        }
        let after = body(self, inside.to_vec());
        let mut next = vec![self.b.ins().iadd_imm_s(params[0], 1)];
        for (&cursor, &step) in cursors.iter().zip(&steps) {
            let moved = self.add(Int::Value(cursor), step);
            next.push(self.value(moved));
        }
        next.extend(&after);
        self.branch_if_less(next[0], span.hi, (head, &next), (exit, &after));
        self.memo = saved;
        self.env.remove(&span.axis);
        self.b.switch_to_block(exit);
        self.b.block_params(exit).to_vec()
    }

    fn branch_if_less(&mut self, x: Value, y: Int, yes: (Block, &[Value]), no: (Block, &[Value])) {
        let less = match y {
            Int::Known(y) => self.b.ins().icmp_imm_s(IntCC::SignedLessThan, x, y),
            Int::Value(y) => self.b.ins().icmp(IntCC::SignedLessThan, x, y),
        };
        self.b.ins().brif(less, yes.0, &args(yes.1), no.0, &args(no.1));
    }

    /// Where a cursor stands at the loop's first iteration.
    fn cursor_start(&mut self, key: &Key, span: &Span<'_>) -> Value {
        let before = self.pointer(&key.without(span.axis));
        let step = self.step(key, span.axis);
        let offset = self.mul(span.lo, step);
        let start = self.add(Int::Value(before), offset);
        self.value(start)
    }

    /// Bytes from one value of the axis to the next.
    fn step(&mut self, key: &Key, axis: AxisId) -> Int {
        let mut step = Int::Known(0);
        for (term, bytes) in key.along(axis) {
            let Term { by, .. } = term;
            let stride = self.mul(by.map_or(Int::Known(1), Int::Value), Int::Known(bytes));
            step = self.add(step, stride);
        }
        step
    }
}

fn args(values: &[Value]) -> Vec<BlockArg> {
    values.iter().map(|&v| BlockArg::Value(v)).collect()
}
