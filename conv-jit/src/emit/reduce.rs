//! The reduction: loops whose blocks carry the accumulators, the counter and one pointer per group
//! of accesses.
//!
//! ```text
//! for ic, kh: acc = fma(input[ic, kh, ..], w[ic, kh, ..], acc)
//!
//! head(ic, in0, w0, acc..)                    pointers start at ic's first value
//!   inner(kh, in1, w1, acc..)                 and here at the outer loop's
//!     .. load in1 + 16 ..
//!     kh + 1, in1 + 224, w1 + 128 -> inner
//!   ic + 1, in0 + 12544, w0 + 384 -> head
//! ```
//!
//! Which pointers a loop needs is found by walking its body once without emitting code.

use std::collections::HashSet;

use conv_ir::nest::{Access, AxisId, Expr, Loop, LoopKind, Op};

use super::address::Detail;
use super::emitter::{Emitter, Span};
use super::terms::{Int, Key};
use super::tile::{Slot, Tile, holds};
use super::vector::Vector;

impl<'a> Tile<'a> {
    /// The reduce loops from `depth` inwards.
    pub(super) fn reduce(&mut self, e: &mut Emitter<'_, '_>, depth: usize) {
        let leaf = self.leaf;
        let Some(l) = leaf.reduce.get(depth) else {
            return self.update(e);
        };
        match (l.kind, l.constant_range()) {
            (LoopKind::Unrolled, Some((lo, hi))) if depth >= self.straight => {
                self.unrolled(e, l.axis, lo..hi, depth)
            }
            (LoopKind::Unrolled | LoopKind::Serial | LoopKind::Parallel, _) => {
                self.looped(e, l, depth)
            }
        }
    }

    fn update(&mut self, e: &mut Emitter<'_, '_>) {
        self.dying = self.dying(e);
        self.ops(e, &self.leaf.update);
        self.dying.clear();
    }

    fn unrolled(
        &mut self,
        e: &mut Emitter<'_, '_>,
        axis: AxisId,
        range: std::ops::Range<i64>,
        depth: usize,
    ) {
        for at in range {
            e.env.insert(axis, Int::Known(at));
            self.reduce(e, depth + 1);
        }
        e.env.remove(&axis);
    }

    fn looped(&mut self, e: &mut Emitter<'_, '_>, l: &Loop, depth: usize) {
        let (lo, hi) = (e.bound(&l.lo), e.bound(&l.hi));
        let updated = self.updated(e);
        let carried: Vec<Slot> =
            self.registers.keys().copied().filter(|slot| updated.contains(slot)).collect();
        let values = carried.iter().flat_map(|slot| self.registers[slot].clone()).collect();
        let cursors = self.cursors(e, l.axis, depth);
        let span = Span { axis: l.axis, lo, hi, cursors: &cursors };
        let after = e.each(span, values, |e, inside| {
            self.fill(&carried, &inside);
            self.reduce(e, depth + 1);
            carried.iter().flat_map(|slot| self.registers[slot].clone()).collect()
        });
        // What only the body has set does not outlive it.
        self.registers.retain(|slot, _| carried.contains(slot) || !updated.contains(slot));
        self.fill(&carried, &after);
    }

    fn fill(&mut self, slots: &[Slot], values: &[cranelift_codegen::ir::Value]) {
        for (slot, chunks) in slots.iter().zip(values.chunks(self.chunks.len())) {
            self.registers.insert(*slot, Vector::from(chunks));
        }
    }

    /// The keys that move along `axis`, over everything inside its loop; in order of first use.
    fn cursors(&mut self, e: &mut Emitter<'_, '_>, axis: AxisId, depth: usize) -> Vec<Key> {
        let mut found = Found { axis, keys: Vec::new(), seen: HashSet::new() };
        self.find(e, depth + 1, &mut found);
        found.keys
    }

    fn find(&mut self, e: &mut Emitter<'_, '_>, depth: usize, found: &mut Found) {
        let leaf = self.leaf;
        let Some(l) = leaf.reduce.get(depth) else {
            return self.walk(e, &leaf.update, &mut |tile, e, op| tile.find_op(e, op, found));
        };
        match (l.kind, l.constant_range()) {
            (LoopKind::Unrolled, Some((lo, hi))) if depth >= self.straight => {
                for at in lo..hi {
                    e.env.insert(l.axis, Int::Known(at));
                    self.find(e, depth + 1, found);
                }
                e.env.remove(&l.axis);
            }
            (LoopKind::Unrolled | LoopKind::Serial | LoopKind::Parallel, _) => {
                self.find(e, depth + 1, found)
            }
        }
    }

    fn find_op(&mut self, e: &mut Emitter<'_, '_>, op: &'a Op, found: &mut Found) {
        match op {
            Op::Set { when, .. } | Op::Store { when, .. } if holds(e, when) == Some(false) => {}
            Op::Set { value, .. } => self.find_expr(e, value, found),
            Op::Store { to, value, .. } => {
                self.find_access(e, to, found);
                self.find_expr(e, value, found);
            }
            Op::StoreBlock { to, along, .. } => {
                for at in 0..self.leaf.extent(*along) {
                    e.env.insert(*along, Int::Known(at));
                    self.find_access(e, to, found);
                }
                e.env.remove(along);
            }
            Op::Each(..) => unreachable!("walk goes through `each`"),
        }
    }

    fn find_expr(&mut self, e: &mut Emitter<'_, '_>, expr: &Expr, found: &mut Found) {
        match expr {
            Expr::Const(_) | Expr::Reg(_) => {}
            Expr::Load(access) => self.find_access(e, access, found),
            Expr::Unary(_, a) | Expr::Activation(_, a) => self.find_expr(e, a, found),
            Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|x| self.find_expr(e, x, found)),
            Expr::Fma(a, b, c) => [a, b, c].into_iter().for_each(|x| self.find_expr(e, x, found)),
            Expr::Choose { a, b, then, otherwise } => {
                [a, b, then, otherwise].into_iter().for_each(|x| self.find_expr(e, x, found));
            }
            Expr::Select { when, then, otherwise } => {
                let known = holds(e, when);
                if known != Some(false) {
                    self.find_expr(e, then, found);
                }
                if known != Some(true) {
                    self.find_expr(e, otherwise, found);
                }
            }
        }
    }

    /// The keys of all lanes; they differ only where lanes are a run-time stride apart.
    fn find_access(&mut self, e: &mut Emitter<'_, '_>, access: &Access, found: &mut Found) {
        let lanes = match e.nest.reach(self.leaf, access).step() {
            Some(_) => 1,
            None => self.leaf.width(),
        };
        for lane in 0..lanes {
            self.at_lane(e, lane);
            let place = e.place(Some(self.leaf), access, Detail::Linear);
            found.add(e, place.split().0);
        }
        self.at_lane(e, 0);
    }
}

/// Keys along one axis.
struct Found {
    axis: AxisId,
    keys: Vec<Key>,
    seen: HashSet<Key>,
}

impl Found {
    fn add(&mut self, e: &Emitter<'_, '_>, key: Key) {
        let key = key.keeping(|axis| axis == self.axis || e.env.contains_key(&axis));
        if key.along(self.axis).next().is_some() && self.seen.insert(key.clone()) {
            self.keys.push(key);
        }
    }
}
