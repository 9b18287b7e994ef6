//! The rules inside a leaf.

use super::Checker;
use crate::nest::{
    Access, Affine, AxisId, Base, BufferRole, Cond, Expr, Index, Lanes, Leaf, Loop, LoopKind, Op,
    RegId, Var,
};

impl<'a> Checker<'a> {
    pub(super) fn leaf(&mut self, leaf: &'a Leaf) {
        self.names.leaf = Some(leaf);
        self.set = vec![false; leaf.registers.len()];
        self.shape(leaf);
        match &leaf.lanes {
            Some(lanes) => self.binding(lanes.axis, |c| c.sections(leaf)),
            None => self.sections(leaf),
        }
        self.names.leaf = None;
    }

    /// Tile, lanes and registers.
    fn shape(&mut self, leaf: &Leaf) {
        for (at, tile) in leaf.tile.iter().enumerate() {
            self.require(tile.extent >= 1, 8, |names| {
                format!("tile axis {} has no extent", names.axis(tile.axis))
            });
            let twice = leaf.tile[..at].iter().any(|t| t.axis == tile.axis);
            self.require(!twice, 3, |names| {
                format!("{} is in the tile twice", names.axis(tile.axis))
            });
        }
        if let Some(lanes) = &leaf.lanes {
            self.lanes(leaf, lanes);
        }
        for register in &leaf.registers {
            let distinct =
                register.axes.iter().enumerate().all(|(at, a)| !register.axes[..at].contains(a));
            let of_tile = register.axes.iter().all(|a| leaf.tile_extent(*a).is_some());
            self.require(distinct && of_tile, 5, |_| {
                format!("axes of {} are not distinct tile axes", register.name)
            });
        }
    }

    fn lanes(&mut self, leaf: &Leaf, lanes: &Lanes) {
        self.require(lanes.width >= 1, 8, |_| format!("{} lanes", lanes.width));
        let vectors = lanes.vectors.map_or(Some(1), |axis| leaf.tile_extent(axis));
        self.require(vectors.is_some(), 8, |_| "vectors are not counted by a tile axis".into());
        let all = vectors.unwrap_or(1) * lanes.width;
        let fits = lanes.cut.is_none_or(|cut| (1..=all).contains(&cut));
        self.require(fits, 8, |_| format!("cut {:?} is outside 1..={all}", lanes.cut.unwrap_or(0)));
    }

    fn sections(&mut self, leaf: &'a Leaf) {
        self.ops(leaf, &leaf.init);
        self.reduce(leaf, &leaf.reduce);
        self.ops(leaf, &leaf.finish);
    }

    fn reduce(&mut self, leaf: &'a Leaf, loops: &'a [Loop]) {
        let Some((l, inner)) = loops.split_first() else {
            return self.ops(leaf, &leaf.update);
        };
        self.at(format!("for {}", self.names.axis(l.axis)), |c| {
            for bound in [&l.lo, &l.hi] {
                c.bound(bound);
                bound.quotients().iter().for_each(|q| c.same_in_all_lanes(leaf, &q.numerator));
            }
            c.require(l.kind != LoopKind::Parallel, 10, |_| "a reduce loop is parallel".into());
            let divides =
                [&l.lo, &l.hi].iter().all(|b| b.quotients().iter().all(|q| q.divisor >= 1));
            let constant =
                l.kind != LoopKind::Unrolled || (divides && l.constant_range().is_some());
            c.require(constant, 9, |names| format!("{} has bounds that vary", names.range(l)));
            c.binding(l.axis, |c| c.reduce(leaf, inner));
        });
    }

    fn ops(&mut self, leaf: &'a Leaf, ops: &'a [Op]) {
        for op in ops {
            match op {
                Op::Each(axis, body) => self.each(leaf, *axis, body),
                Op::Set { reg, value, when } => {
                    self.conds(leaf, when);
                    self.expr(leaf, value);
                    self.points(leaf, *reg);
                    self.set[reg.index()] = true;
                }
                Op::Store { to, value, when } => {
                    self.conds(leaf, when);
                    self.expr(leaf, value);
                    self.store(leaf, to);
                }
                Op::StoreBlock { to, reg, along } => self.store_block(leaf, to, *reg, *along),
            }
        }
    }

    fn each(&mut self, leaf: &'a Leaf, axis: AxisId, body: &'a [Op]) {
        let in_tile = leaf.tile_extent(axis).is_some();
        self.require(in_tile, 2, |names| {
            format!("each {} is not over a tile axis", names.axis(axis))
        });
        self.binding(axis, |c| c.ops(leaf, body));
    }

    fn store_block(&mut self, leaf: &'a Leaf, to: &'a Access, reg: RegId, along: AxisId) {
        let indexes =
            leaf.registers[reg.index()].axes.contains(&along) && leaf.tile_extent(along).is_some();
        let free = !self.bound.contains(&along);
        self.require(indexes && free, 11, |names| {
            format!("block store along {}", names.axis(along))
        });
        self.bound.push(along);
        self.read(leaf, reg);
        self.store(leaf, to);
        self.bound.pop();
    }

    fn expr(&mut self, leaf: &'a Leaf, expr: &'a Expr) {
        expr.visit(&mut |expr| match expr {
            Expr::Reg(reg) => self.read(leaf, *reg),
            Expr::Load(access) => self.access(leaf, access),
            Expr::Select { when, .. } if expr.is_masked_load() => {
                when.iter().for_each(|c| self.affine(c.expression()))
            }
            Expr::Select { when, .. } => self.conds(leaf, when),
            Expr::Const(_) | Expr::Unary(..) | Expr::Binary(..) => {}
            Expr::Fma(..) | Expr::Choose { .. } | Expr::Activation(..) => {}
        });
    }

    fn read(&mut self, leaf: &Leaf, reg: RegId) {
        self.points(leaf, reg);
        let set = self.set[reg.index()];
        self.require(set, 6, |names| format!("{} is read before it is set", names.register(reg)));
    }

    /// The axes of a register are bound.
    fn points(&mut self, leaf: &Leaf, reg: RegId) {
        let bound = leaf.registers[reg.index()].axes.iter().all(|a| self.bound.contains(a));
        self.require(bound, 5, |names| format!("{} is used outside its axes", names.register(reg)));
    }

    fn conds(&mut self, leaf: &Leaf, when: &[Cond]) {
        for cond in when {
            self.affine(cond.expression());
            self.same_in_all_lanes(leaf, cond.expression());
            if let Cond::Divides(d, _) = cond {
                self.require(*d >= 1, 18, |names| format!("divisor {d} in {}", names.cond(cond)));
            }
        }
    }

    fn same_in_all_lanes(&mut self, leaf: &Leaf, a: &Affine) {
        let follows = leaf.lanes.is_some_and(|lanes| lanes.width > 1 && a.of_axis(lanes.axis) != 0);
        self.require(!follows, 7, |names| format!("{} depends on the lane", names.affine(a)));
    }

    fn store(&mut self, leaf: &Leaf, to: &Access) {
        self.access(leaf, to);
        let apart = leaf.lanes.is_none_or(|lanes| lanes.width <= 1 || to.follows(lanes.axis));
        self.require(apart, 20, |names| format!("all lanes are stored to {}", names.access(to)));
    }

    fn access(&mut self, leaf: &Leaf, access: &Access) {
        let through_pointer = matches!(access.base, Base::Pointer(_));
        let fits = through_pointer == self.outlined;
        self.require(fits, 16, |names| {
            format!("{} is reached the wrong way", names.access(access))
        });
        self.indices(access, self.nest.buffer_behind(leaf, access.base));
        for index in &access.index {
            match index {
                Index::Affine(_) => {}
                Index::Quotient(q) => self.same_in_all_lanes(leaf, &q.numerator),
                Index::Folded { index, extent, .. } => {
                    self.same_in_all_lanes(leaf, index);
                    self.same_in_all_lanes(leaf, extent);
                }
            }
        }
    }

    /// What the leaf reads and writes fits the phase and the threads.
    pub(super) fn roles(&mut self, leaf: &'a Leaf) {
        for op in leaf.ops() {
            op.visit(&mut |op| match op {
                Op::Each(..) => {}
                Op::Set { value, .. } => self.reads(leaf, value),
                Op::Store { to, value, .. } => {
                    self.reads(leaf, value);
                    self.writes(leaf, to);
                }
                Op::StoreBlock { to, .. } => self.writes(leaf, to),
            });
        }
    }

    fn reads(&mut self, leaf: &Leaf, value: &Expr) {
        value.visit(&mut |expr| {
            if let Expr::Load(access) = expr {
                let buffer = self.nest.buffer(self.nest.buffer_behind(leaf, access.base));
                self.require(self.phase.reads(self.nest, buffer.role), 14, |_| {
                    format!("{} is read here", buffer.name)
                });
            }
        });
    }

    fn writes(&mut self, leaf: &Leaf, to: &Access) {
        let buffer = self.nest.buffer(self.nest.buffer_behind(leaf, to.base));
        self.require(buffer.values.is_none(), 21, |_| {
            format!("{} is known, but stored to", buffer.name)
        });
        self.require(self.phase.writes(buffer.role), 14, |_| {
            format!("{} is written here", buffer.name)
        });
        let shared = buffer.role != BufferRole::Output || self.in_parallel || !self.has_parallel;
        self.require(shared, 19, |_| format!("every thread writes {}", buffer.name));
    }
}

/// Every variable of an index.
pub(super) fn variables(index: &Index) -> Vec<Var> {
    let of = |a: &Affine| a.terms().iter().map(|t| t.0).collect::<Vec<_>>();
    match index {
        Index::Affine(a) => of(a),
        Index::Quotient(q) => of(&q.numerator),
        Index::Folded { index, extent, .. } => [of(index), of(extent)].concat(),
    }
}
