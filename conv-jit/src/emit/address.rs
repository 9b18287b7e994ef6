//! Addresses: an access becomes a pointer and a displacement.
//!
//! ```text
//! input[ic, kh, ow.i + kw]    f32, strides 3136, 56, 1; ow.i and kw known: 3 and 1
//! key   base input + 12544 ic + 224 kh      what varies: a pointer, carried by the loops over both
//! disp  16                                  what does not: in the instruction
//! ```
//!
//! Accesses with equal keys share a pointer. Indices that no linear form describes (folds,
//! quotients) are added to it where they are used. Addresses may pass outside their buffer on the
//! way; all arithmetic wraps.

use std::collections::BTreeMap;

use conv_ir::nest::{Access, Affine, AxisId, Base, BufferId, Index, Leaf, Var};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::{Emitter, Memo};
use super::terms::{Int, Key, Term};

/// An element's address, before any code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    base: Base,
    terms: BTreeMap<Term, i64>,
    /// Values to be added, times bytes.
    opaque: BTreeMap<Value, i64>,
    bytes: i64,
}

impl Address {
    /// The shared pointer, and the displacement from it.
    pub(super) fn split(&self) -> (Key, i32) {
        // A quarter of the range: vectors and blocks add a little to it, and pointers should not
        // multiply at the edge.
        const FAR: i64 = 1 << 29;
        let near = (self.bytes + FAR / 2).rem_euclid(FAR) - FAR / 2;
        let key = Key { base: self.base, far: self.bytes - near, terms: self.terms.clone() };
        (key, near as i32)
    }

    fn add(&mut self, term: Term, bytes: i64) {
        let sum = self.terms.entry(term).or_insert(0);
        *sum += bytes;
        if *sum == 0 {
            self.terms.remove(&term);
        }
    }
}

/// How far [`Emitter::place`] goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Everything.
    Full,
    /// Leaves folds and quotients out and emits no code in the current block for them: for finding
    /// keys ahead of a loop.
    Linear,
}

impl Emitter<'_, '_> {
    /// The address of an access at the current values of the axes.
    pub(super) fn place(
        &mut self,
        leaf: Option<&Leaf>,
        access: &Access,
        detail: Detail,
    ) -> Address {
        let buffer = match (access.base, leaf) {
            (Base::Buffer(buffer), _) => buffer,
            (base, Some(leaf)) => self.nest.buffer_behind(leaf, base),
            (Base::Pointer(pointer), None) => unreachable!("emit: {pointer:?} in a driver"),
        };
        let mut place = Address {
            base: access.base,
            terms: BTreeMap::new(),
            opaque: BTreeMap::new(),
            bytes: 0,
        };
        for (dimension, index) in access.index.iter().enumerate() {
            let stride = self.stride(buffer, dimension);
            match index {
                Index::Affine(a) => self.add_affine(&mut place, a, stride),
                Index::Quotient(_) | Index::Folded { .. } if detail == Detail::Linear => {}
                Index::Quotient(_) | Index::Folded { .. } => {
                    self.add_opaque(&mut place, index, stride)
                }
            }
        }
        place
    }

    /// In bytes.
    fn stride(&mut self, buffer: BufferId, dimension: usize) -> (Int, i64) {
        let bytes = self.nest.buffer(buffer).dtype.bytes() as i64;
        match self.strides[&buffer][dimension] {
            Int::Known(stride) => (Int::Known(1), stride * bytes),
            value @ Int::Value(_) => (value, bytes),
        }
    }

    fn add_affine(&mut self, place: &mut Address, a: &Affine, (stride, bytes): (Int, i64)) {
        self.add_scaled(place, None, a.constant * bytes, stride);
        for &(var, coefficient) in a.terms() {
            let bytes = coefficient * bytes;
            match var {
                Var::Axis(axis) => match self.env.get(&axis) {
                    Some(Int::Known(at)) => self.add_scaled(place, None, at * bytes, stride),
                    Some(Int::Value(_)) | None => self.add_scaled(place, Some(axis), bytes, stride),
                },
                Var::Symbol(symbol) => {
                    let symbol = self.symbols[symbol.index()];
                    let factor = match stride {
                        Int::Known(_) => symbol,
                        Int::Value(stride) => self.product(symbol, stride),
                    };
                    place.add(Term { axis: None, by: Some(factor) }, bytes);
                }
            }
        }
    }

    fn add_scaled(&mut self, place: &mut Address, axis: Option<AxisId>, bytes: i64, stride: Int) {
        match (axis, stride) {
            (None, Int::Known(_)) => place.bytes += bytes,
            (axis, Int::Known(_)) => place.add(Term { axis, by: None }, bytes),
            (axis, Int::Value(stride)) => place.add(Term { axis, by: Some(stride) }, bytes),
        }
    }

    fn add_opaque(&mut self, place: &mut Address, index: &Index, (stride, bytes): (Int, i64)) {
        match self.index(index) {
            Int::Known(at) => self.add_scaled(place, None, at * bytes, stride),
            Int::Value(at) => {
                let at = match stride {
                    Int::Known(_) => at,
                    Int::Value(stride) => self.product(at, stride),
                };
                *place.opaque.entry(at).or_insert(0) += bytes;
            }
        }
    }

    /// The address of a place, as pointer and displacement.
    pub(super) fn address(&mut self, place: &Address) -> (Value, i32) {
        let (key, displacement) = place.split();
        let pointer = self.pointer(&key);
        if place.opaque.is_empty() {
            return (pointer, displacement);
        }
        let memo = Memo::Sum(key, place.opaque.iter().map(|(v, b)| (*v, *b)).collect());
        if let Some(&known) = self.memo.get(&memo) {
            return (known, displacement);
        }
        let mut sum = Int::Value(pointer);
        for (&value, &bytes) in &place.opaque {
            let offset = self.mul(Int::Value(value), Int::Known(bytes));
            sum = self.add(sum, offset);
        }
        let sum = self.value(sum);
        self.memo.insert(memo, sum);
        (sum, displacement)
    }

    /// The pointer behind a key: a cursor of a loop around us, remembered, or worked out now.
    pub(super) fn pointer(&mut self, key: &Key) -> Value {
        let memo = Memo::Pointer(key.clone());
        if let Some(&known) = self.memo.get(&memo) {
            return known;
        }
        let mut sum = Int::Value(self.bases[&key.base]);
        for (term, &bytes) in &key.terms {
            let axis = term.axis.map_or(Int::Known(1), |axis| self.var(Var::Axis(axis)));
            let factor = match (axis, term.by) {
                (Int::Value(axis), Some(by)) => Int::Value(self.b.ins().imul(axis, by)),
                (axis, by) => self.mul(axis, by.map_or(Int::Known(1), Int::Value)),
            };
            let offset = self.mul(factor, Int::Known(bytes));
            sum = self.add(sum, offset);
        }
        let sum = self.add(sum, Int::Known(key.far));
        let pointer = self.value(sum);
        self.memo.insert(memo, pointer);
        pointer
    }
}
