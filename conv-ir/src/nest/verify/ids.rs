//! Rule V1: ids that are in no table. Everything else may then index tables freely.

use super::Violation;
use super::leaf::variables;
use crate::nest::{
    Access, Affine, AxisId, Base, Bound, BufferId, Cond, Expr, Leaf, Loop, Nest, Op, RegId, Stmt,
    Var,
};

/// One violation per id that is in no table.
pub(super) fn unknown_ids(nest: &Nest) -> Vec<Violation> {
    let mut ids = Ids { nest, found: Vec::new(), place: String::new() };
    for symbol in &nest.symbols {
        ids.place = format!("size {}", symbol.name);
        symbol.value.iter().for_each(|value| ids.bound(value));
    }
    for buffer in &nest.buffers {
        ids.place = format!("buffer {}", buffer.name);
        buffer.extents.iter().for_each(|e| ids.affine(e));
        buffer.view_of.iter().for_each(|of| ids.buffer(*of));
    }
    nest.leaves.iter().for_each(|leaf| ids.leaf(leaf));
    ids.stmts(&nest.setup);
    ids.stmts(&nest.body);
    ids.found
}

struct Ids<'a> {
    nest: &'a Nest,
    found: Vec<Violation>,
    place: String,
}

impl Ids<'_> {
    fn known(&mut self, at: usize, len: usize, what: &str) {
        if at >= len {
            let message = format!("{what} {at} of {len}");
            self.found.push(Violation { rule: 1, place: self.place.clone(), message });
        }
    }

    fn axis(&mut self, axis: AxisId) {
        self.known(axis.index(), self.nest.axes.len(), "axis");
    }

    fn buffer(&mut self, buffer: BufferId) {
        self.known(buffer.index(), self.nest.buffers.len(), "buffer");
    }

    fn var(&mut self, var: Var) {
        match var {
            Var::Axis(axis) => self.axis(axis),
            Var::Symbol(s) => self.known(s.index(), self.nest.symbols.len(), "size"),
        }
    }

    fn affine(&mut self, a: &Affine) {
        a.terms().iter().for_each(|(var, _)| self.var(*var));
    }

    fn bound(&mut self, bound: &Bound) {
        bound.quotients().iter().for_each(|q| self.affine(&q.numerator));
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.place = "statements".into();
            match stmt {
                Stmt::For(l, body) => {
                    self.range(l);
                    self.stmts(body);
                }
                Stmt::Leaf(leaf) => self.leaf(leaf),
                Stmt::Call(call) => {
                    self.known(call.leaf.index(), self.nest.leaves.len(), "leaf");
                    call.pointers.iter().for_each(|p| self.access(p, 0));
                    call.ints.iter().for_each(|int| self.bound(int));
                }
            }
        }
    }

    fn range(&mut self, l: &Loop) {
        self.axis(l.axis);
        self.bound(&l.lo);
        self.bound(&l.hi);
    }

    fn leaf(&mut self, leaf: &Leaf) {
        self.place = format!("leaf {}", leaf.name);
        leaf.pointers.iter().for_each(|b| self.buffer(*b));
        leaf.ints.iter().for_each(|a| self.axis(*a));
        leaf.tile.iter().for_each(|t| self.axis(t.axis));
        if let Some(lanes) = &leaf.lanes {
            self.axis(lanes.axis);
            lanes.vectors.iter().for_each(|a| self.axis(*a));
        }
        leaf.registers.iter().flat_map(|r| &r.axes).for_each(|a| self.axis(*a));
        leaf.reduce.iter().for_each(|l| self.range(l));
        for op in leaf.ops() {
            op.visit(&mut |op| self.op(leaf, op));
        }
    }

    fn op(&mut self, leaf: &Leaf, op: &Op) {
        match op {
            Op::Each(axis, _) => self.axis(*axis),
            Op::Set { reg, value, when } => {
                self.register(leaf, *reg);
                self.expr(leaf, value);
                self.conds(when);
            }
            Op::Store { to, value, when } => {
                self.access(to, leaf.pointers.len());
                self.expr(leaf, value);
                self.conds(when);
            }
            Op::StoreBlock { to, reg, along } => {
                self.access(to, leaf.pointers.len());
                self.register(leaf, *reg);
                self.axis(*along);
            }
        }
    }

    fn register(&mut self, leaf: &Leaf, reg: RegId) {
        self.known(reg.index(), leaf.registers.len(), "register");
    }

    fn conds(&mut self, when: &[Cond]) {
        when.iter().for_each(|c| self.affine(c.expression()));
    }

    fn access(&mut self, access: &Access, pointers: usize) {
        match access.base {
            Base::Buffer(buffer) => self.buffer(buffer),
            Base::Pointer(pointer) => self.known(pointer.index(), pointers, "pointer"),
        }
        access.index.iter().flat_map(variables).for_each(|var| self.var(var));
    }

    fn expr(&mut self, leaf: &Leaf, expr: &Expr) {
        expr.visit(&mut |expr| match expr {
            Expr::Reg(reg) => self.register(leaf, *reg),
            Expr::Load(access) => self.access(access, leaf.pointers.len()),
            Expr::Select { when, .. } => self.conds(when),
            Expr::Const(_) | Expr::Unary(..) | Expr::Binary(..) => {}
            Expr::Fma(..) | Expr::Choose { .. } | Expr::Activation(..) => {}
        });
    }
}
