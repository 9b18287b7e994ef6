//! The leaf: a future micro-kernel.

use super::{Access, Affine, AxisId, Binary, Bound, BufferId, Cond, Expr, Loop, Op, RegId};

/// One axis of the register tile: `0..extent`, always unrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileAxis {
    /// The axis.
    pub axis: AxisId,
    /// Its extent.
    pub extent: i64,
}

/// The vector shape of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lanes {
    /// The axis whose values are the lanes, `0..width`.
    pub axis: AxisId,
    /// Lanes of a vector; 1 is a scalar leaf.
    pub width: i64,
    /// The tile axis that counts vectors along the same split, where there is one.
    pub vectors: Option<AxisId>,
    /// Where the tile sticks out of the domain: lanes with `vectors * width + lane >= cut` are
    /// dead. They hold anything, and touch no buffer of the caller; of ours, its slack at most
    /// ([`Nest::slack`](super::Nest::slack)).
    pub cut: Option<i64>,
}

/// An array of vector registers, one per point of the tile axes it is indexed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// Printed name.
    pub name: String,
    /// The tile axes that index it.
    pub axes: Vec<AxisId>,
}

/// A future micro-kernel: one register tile and a reduction.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// Printed name.
    pub name: String,
    /// After pass `outline`: the buffer behind each pointer parameter.
    pub pointers: Vec<BufferId>,
    /// After pass `outline`: the int parameters, axes of role [`Role::Param`](super::Role::Param).
    pub ints: Vec<AxisId>,
    /// The register tile.
    pub tile: Vec<TileAxis>,
    /// The vector shape; none before pass `vectorise`, and in scalar leaves.
    pub lanes: Option<Lanes>,
    /// All registers.
    pub registers: Vec<Register>,
    /// Before the reduction.
    pub init: Vec<Op>,
    /// The reduction loops, outermost first. Empty: `update` runs once.
    pub reduce: Vec<Loop>,
    /// The body of the reduction.
    pub update: Vec<Op>,
    /// After the reduction.
    pub finish: Vec<Op>,
}

/// The most multiply-adds in a straight line. A few hundred more than schedules ask for, and still
/// a quarter of the first-level instruction cache.
const LONGEST: i64 = 1024;

impl Leaf {
    /// A scalar leaf that only moves elements: `ops` for every iteration of the loops.
    pub fn copy(name: impl Into<String>, loops: Vec<Loop>, ops: Vec<Op>) -> Leaf {
        Leaf {
            name: name.into(),
            pointers: Vec::new(),
            ints: Vec::new(),
            tile: Vec::new(),
            lanes: None,
            registers: Vec::new(),
            init: Vec::new(),
            reduce: loops,
            update: ops,
            finish: Vec::new(),
        }
    }

    /// All top-level operations, in order.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.init.iter().chain(&self.update).chain(&self.finish)
    }

    /// Lanes of a vector, 1 in a scalar leaf.
    pub fn width(&self) -> i64 {
        self.lanes.map_or(1, |l| l.width)
    }

    /// Every access and condition replaced through the two functions, in operations; loop bounds
    /// through `bound`.
    pub fn map(
        &self,
        access: &mut impl FnMut(&Access) -> Access,
        cond: &mut impl FnMut(&Cond) -> Cond,
        bound: &mut impl FnMut(&Bound) -> Bound,
    ) -> Leaf {
        let reduce = self
            .reduce
            .iter()
            .map(|l| Loop { lo: bound(&l.lo), hi: bound(&l.hi), ..l.clone() })
            .collect();
        let mut ops = |ops: &[Op]| ops.iter().map(|op| op.map(access, cond)).collect();
        Leaf {
            name: self.name.clone(),
            pointers: self.pointers.clone(),
            ints: self.ints.clone(),
            tile: self.tile.clone(),
            lanes: self.lanes,
            registers: self.registers.clone(),
            reduce,
            init: ops(&self.init),
            update: ops(&self.update),
            finish: ops(&self.finish),
        }
    }

    /// Visits every expression of every operation, outermost first.
    pub fn visit_exprs<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        for op in self.ops() {
            op.visit(&mut |op| match op {
                Op::Set { value, .. } | Op::Store { value, .. } => value.visit(f),
                Op::Each(..) | Op::StoreBlock { .. } => {}
            });
        }
    }

    /// Multiply-adds of the reduce loop at that depth, with those inside it, at all points of the
    /// tile; `None` where a loop is of unknown length.
    pub fn repeats_from(&self, depth: usize) -> Option<i64> {
        let loops = self.reduce[depth..].iter().map(Loop::constant_extent);
        let mut extents = self.tile.iter().map(|t| Some(t.extent)).chain(loops);
        extents.try_fold(1, |product: i64, extent| Some(product.saturating_mul(extent?)))
    }

    /// Whether the reduce loop at that depth, with those inside it, can be a straight line of code.
    pub fn is_straight_from(&self, depth: usize) -> bool {
        self.repeats_from(depth).is_some_and(|repeats| repeats <= LONGEST)
    }

    /// Whether it is known where every index folds, from the values that the leaf's code repeats
    /// and those of the axes `around`.
    pub fn folds_are_known(&self, around: impl Fn(AxisId) -> bool) -> bool {
        let straight = (0..self.reduce.len()).filter(|&at| self.is_straight_from(at));
        let own = self.tile.iter().map(|t| t.axis).chain(self.lanes.map(|l| l.axis));
        let own: Vec<AxisId> = own.chain(straight.map(|at| self.reduce[at].axis)).collect();
        let known = |axis| (own.contains(&axis) || around(axis)).then_some(0);
        let mut indices = self.accesses().into_iter().flat_map(|access| &access.index);
        indices.all(|index| index.as_affine().is_some() || index.at(known).is_some())
    }

    /// Every access, loads and stores.
    pub fn accesses(&self) -> Vec<&Access> {
        let mut found = Vec::new();
        self.visit_exprs(&mut |e| {
            if let Expr::Load(access) = e {
                found.push(access);
            }
        });
        for op in self.ops() {
            op.visit(&mut |op| match op {
                Op::Store { to, .. } | Op::StoreBlock { to, .. } => found.push(to),
                Op::Each(..) | Op::Set { .. } => {}
            });
        }
        found
    }

    /// Every condition, of operations and of selects.
    pub fn conditions(&self) -> Vec<&Cond> {
        let mut found = Vec::new();
        self.visit_exprs(&mut |e| {
            if let Expr::Select { when, .. } = e {
                found.extend(when);
            }
        });
        for op in self.ops() {
            op.visit(&mut |op| match op {
                Op::Set { when, .. } | Op::Store { when, .. } => found.extend(when),
                Op::Each(..) | Op::StoreBlock { .. } => {}
            });
        }
        found
    }

    /// Whether what is computed, or where, depends on an axis otherwise than by the place of an
    /// element: through a condition or a fold. Masked loads do not count.
    pub fn tests_depend_on(&self, axis: impl Fn(AxisId) -> bool) -> bool {
        let depends = |a: &Affine| a.axes().any(&axis);
        let folds = |a: &Access| {
            a.index
                .iter()
                .any(|i| matches!(i, super::Index::Folded { index, .. } if depends(index)))
        };
        let tests = |when: &[Cond]| when.iter().any(|c| depends(c.expression()));
        let mut found = self.accesses().into_iter().any(folds);
        self.visit_exprs(&mut |e| {
            found |= matches!(e, Expr::Select { when, .. } if tests(when) && !e.is_masked_load());
        });
        for op in self.ops() {
            op.visit(&mut |op| match op {
                Op::Set { when, .. } | Op::Store { when, .. } => found |= tests(when),
                Op::Each(..) | Op::StoreBlock { .. } => {}
            });
        }
        found
    }

    /// Whether a masked load tests the lanes.
    pub fn has_masked_loads(&self) -> bool {
        let Some(lanes) = self.lanes.filter(|l| l.width > 1) else {
            return false;
        };
        let mut found = false;
        self.visit_exprs(&mut |e| {
            found |=
                matches!(e, Expr::Select { when, .. } if when.iter().any(|c| c.expression().of_axis(lanes.axis) != 0));
        });
        found
    }

    /// What changes nothing if it is read in the place of an element that is left out: zero in a
    /// sum, and in a maximum or a minimum what never wins.
    pub fn neutral(&self) -> f64 {
        let mut neutral = 0.0;
        for op in &self.update {
            op.visit(&mut |op| match op {
                Op::Set { value: Expr::Binary(Binary::Max, ..), .. } => neutral = f64::NEG_INFINITY,
                Op::Set { value: Expr::Binary(Binary::Min, ..), .. } => neutral = f64::INFINITY,
                _ => {}
            });
        }
        neutral
    }

    /// The registers that the reduction carries: written by `init` and read by `update`.
    pub fn accumulators(&self) -> Vec<RegId> {
        let mut regs = Vec::new();
        for op in &self.init {
            op.visit(&mut |op| {
                if let Op::Set { reg, .. } = op
                    && !regs.contains(reg)
                {
                    regs.push(*reg);
                }
            });
        }
        regs
    }
}
