//! Affine expressions changed where they stand: most of what passes do is to put something in the
//! place of an axis, and a copy of a leaf is a hundred allocations.

use super::{Access, Affine, AxisId, Bound, Cond, Expr, Index, Leaf, Loop, Op, Var};
use smallvec::{SmallVec, smallvec};

type Edit<'a> = &'a mut dyn FnMut(&mut Affine);

impl Leaf {
    /// Puts `by` in the place of `axis`, everywhere.
    pub fn substitute(&mut self, axis: AxisId, by: &Affine) {
        self.edit(&mut |a| a.put(Var::Axis(axis), by));
    }

    /// The leaf with its axes called by other names.
    pub fn rename_axes(mut self, id: &dyn Fn(AxisId) -> AxisId) -> Leaf {
        self.edit(&mut |a| a.rename(id));
        self.tile.iter_mut().for_each(|t| t.axis = id(t.axis));
        self.ints.iter_mut().for_each(|i| *i = id(*i));
        self.reduce.iter_mut().for_each(|l| l.axis = id(l.axis));
        self.registers.iter_mut().flat_map(|r| &mut r.axes).for_each(|a| *a = id(*a));
        if let Some(lanes) = &mut self.lanes {
            lanes.axis = id(lanes.axis);
            lanes.vectors = lanes.vectors.map(id);
        }
        for ops in [&mut self.init, &mut self.update, &mut self.finish] {
            ops.iter_mut().for_each(|op| rename(op, id));
        }
        self
    }

    fn edit(&mut self, f: Edit<'_>) {
        self.reduce.iter_mut().for_each(|l| l.edit(f));
        for ops in [&mut self.init, &mut self.update, &mut self.finish] {
            ops.iter_mut().for_each(|o| op(o, f));
        }
    }

    /// Changes every access.
    pub fn edit_accesses(&mut self, f: &mut dyn FnMut(&mut Access)) {
        for ops in [&mut self.init, &mut self.update, &mut self.finish] {
            ops.iter_mut().for_each(|op| accesses(op, f));
        }
    }

    /// Visits every affine expression, of loops, accesses and conditions.
    pub fn visit_affine(&self, f: &mut dyn FnMut(&Affine)) {
        let bounds = self.reduce.iter().flat_map(|l| [&l.lo, &l.hi]);
        bounds.flat_map(Bound::quotients).for_each(|q| f(&q.numerator));
        self.accesses().into_iter().flat_map(|a| &a.index).for_each(|index| index.visit(f));
        self.conditions().into_iter().for_each(|c| f(c.expression()));
    }
}

impl Loop {
    /// Puts `by` in the place of `axis` in the bounds.
    pub(super) fn substitute(&mut self, axis: AxisId, by: &Affine) {
        self.edit(&mut |a| a.put(Var::Axis(axis), by));
    }

    fn edit(&mut self, f: Edit<'_>) {
        for bound in [&mut self.lo, &mut self.hi] {
            let (Bound::Max(of) | Bound::Min(of)) = bound;
            of.iter_mut().for_each(|q| f(&mut q.numerator));
        }
    }
}

impl Expr {
    /// What it is computed from.
    pub fn operands_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let operands: SmallVec<[&mut Box<Expr>; 4]> = match self {
            Expr::Const(_) | Expr::Reg(_) | Expr::Load(_) => SmallVec::new(),
            Expr::Unary(_, a) | Expr::Activation(_, a) => smallvec![a],
            Expr::Binary(_, a, b) => smallvec![a, b],
            Expr::Fma(a, b, c) => smallvec![a, b, c],
            Expr::Choose { a, b, then, otherwise } => smallvec![a, b, then, otherwise],
            Expr::Select { then, otherwise, .. } => smallvec![then, otherwise],
        };
        operands.into_iter().map(|e| &mut **e)
    }
}

fn accesses(op: &mut Op, f: &mut dyn FnMut(&mut Access)) {
    match op {
        Op::Each(_, body) => body.iter_mut().for_each(|op| accesses(op, f)),
        Op::Set { value, .. } => loads(value, f),
        Op::Store { to, value, .. } => {
            f(to);
            loads(value, f);
        }
        Op::StoreBlock { to, .. } => f(to),
    }
}

fn loads(e: &mut Expr, f: &mut dyn FnMut(&mut Access)) {
    if let Expr::Load(access) = e {
        f(access);
    }
    e.operands_mut().for_each(|e| loads(e, f));
}

fn op(op: &mut Op, f: Edit<'_>) {
    match op {
        Op::Each(_, body) => body.iter_mut().for_each(|o| self::op(o, f)),
        Op::Set { value, when, .. } => {
            expr(value, f);
            conds(when, f);
        }
        Op::Store { to, value, when } => {
            access(to, f);
            expr(value, f);
            conds(when, f);
        }
        Op::StoreBlock { to, .. } => access(to, f),
    }
}

fn expr(e: &mut Expr, f: Edit<'_>) {
    match e {
        Expr::Load(a) => access(a, f),
        Expr::Select { when, .. } => conds(when, f),
        _ => {}
    }
    e.operands_mut().for_each(|e| expr(e, f));
}

fn conds(when: &mut [Cond], f: Edit<'_>) {
    for cond in when {
        let (Cond::NonNegative(a) | Cond::Divides(_, a)) = cond;
        f(a);
    }
}

fn access(access: &mut Access, f: Edit<'_>) {
    for index in &mut access.index {
        match index {
            Index::Affine(a) => f(a),
            Index::Quotient(q) => f(&mut q.numerator),
            Index::Folded { index, extent, .. } => {
                f(index);
                f(extent);
            }
        }
    }
}

fn rename(op: &mut Op, id: &dyn Fn(AxisId) -> AxisId) {
    match op {
        Op::Each(axis, body) => {
            *axis = id(*axis);
            body.iter_mut().for_each(|op| rename(op, id));
        }
        Op::StoreBlock { along, .. } => *along = id(*along),
        Op::Set { .. } | Op::Store { .. } => {}
    }
}
