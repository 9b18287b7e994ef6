//! Rules V17 and V22: accesses that leave their buffers, by interval arithmetic.
//!
//! Where every axis of an index has constant bounds, the loops span a box, an affine index takes
//! its extremes at corners, and the interval is exact. Everything else is left to the interpreter,
//! which sees each access: axes whose bounds depend on others, run-time sizes, and whatever a
//! condition guards. Dead lanes may overhang: the dimension by any number, the buffer by its slack.

use super::Violation;
use crate::nest::{
    Access, Affine, AxisId, Base, BufferId, Call, Expr, Index, Lanes, Leaf, Loop, Names, Nest, Op,
    Stmt, Var,
};

/// Smallest and largest value.
type Interval = (i64, i64);

/// One violation per access and dimension that leaves its buffer.
pub(super) fn leaving_accesses(nest: &Nest) -> Vec<Violation> {
    let ranges = vec![None; nest.axes.len()];
    let slack = nest.slack();
    let mut boxes = Boxes { nest, slack, ranges, lanes: None, found: Vec::new() };
    boxes.stmts(&nest.setup);
    boxes.stmts(&nest.body);
    boxes.found.dedup();
    boxes.found
}

struct Boxes<'a> {
    nest: &'a Nest,
    /// By buffer.
    slack: Vec<i64>,
    /// By axis: its values, where they are known.
    ranges: Vec<Option<Interval>>,
    lanes: Option<Lanes>,
    found: Vec<Violation>,
}

/// By pointer and dimension: the address, where it is known.
type Addresses = Vec<Vec<Option<Interval>>>;

impl<'a> Boxes<'a> {
    fn stmts(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => self.inside(l, |boxes| boxes.stmts(body)),
                Stmt::Leaf(leaf) => self.leaf(leaf, &Vec::new()),
                Stmt::Call(call) => self.call(call),
            }
        }
    }

    /// Runs `check` with the range of a loop, unless the loop surely does nothing.
    fn inside(&mut self, l: &Loop, check: impl FnOnce(&mut Self)) {
        let range = l.constant_range().map(|(lo, hi)| (lo, hi - 1));
        if range.is_some_and(|(first, last)| last < first) {
            return;
        }
        let outer = std::mem::replace(&mut self.ranges[l.axis.index()], range);
        check(self);
        self.ranges[l.axis.index()] = outer;
    }

    fn call(&mut self, call: &'a Call) {
        let address = |access: &Access| access.index.iter().map(|i| self.index(i)).collect();
        let addresses: Addresses = call.pointers.iter().map(address).collect();
        let outer = std::mem::replace(&mut self.ranges, vec![None; self.nest.axes.len()]);
        self.leaf(&self.nest.leaves[call.leaf.index()], &addresses);
        self.ranges = outer;
    }

    fn leaf(&mut self, leaf: &'a Leaf, addresses: &Addresses) {
        let outer = self.ranges.clone();
        for tile in &leaf.tile {
            self.ranges[tile.axis.index()] = Some((0, tile.extent - 1));
        }
        if let Some(lanes) = &leaf.lanes {
            self.ranges[lanes.axis.index()] = Some((0, lanes.width - 1));
        }
        self.lanes = leaf.lanes;
        self.ops(leaf, addresses, &leaf.init);
        self.reduce(leaf, addresses, &leaf.reduce);
        self.ops(leaf, addresses, &leaf.finish);
        self.lanes = None;
        self.ranges = outer;
    }

    fn reduce(&mut self, leaf: &'a Leaf, addresses: &Addresses, loops: &'a [Loop]) {
        match loops.split_first() {
            None => self.ops(leaf, addresses, &leaf.update),
            Some((l, inner)) => self.inside(l, |boxes| boxes.reduce(leaf, addresses, inner)),
        }
    }

    fn ops(&mut self, leaf: &'a Leaf, addresses: &Addresses, ops: &'a [Op]) {
        for op in ops {
            match op {
                Op::Each(_, body) => self.ops(leaf, addresses, body),
                Op::Set { value, when, .. } if when.is_empty() => {
                    self.loads(leaf, addresses, value)
                }
                Op::Store { to, value, when } if when.is_empty() => {
                    self.loads(leaf, addresses, value);
                    self.access(leaf, addresses, to);
                }
                Op::Set { .. } | Op::Store { .. } => {}
                Op::StoreBlock { to, .. } => self.access(leaf, addresses, to),
            }
        }
    }

    fn loads(&mut self, leaf: &Leaf, addresses: &Addresses, expr: &Expr) {
        match expr {
            Expr::Const(_) | Expr::Reg(_) | Expr::Select { .. } => {}
            Expr::Load(access) => {
                self.access(leaf, addresses, access);
                self.dead_lanes(leaf, addresses, access);
            }
            Expr::Unary(_, a) | Expr::Activation(_, a) => self.loads(leaf, addresses, a),
            Expr::Binary(_, a, b) => {
                [a, b].into_iter().for_each(|e| self.loads(leaf, addresses, e))
            }
            Expr::Fma(a, b, c) => {
                [a, b, c].into_iter().for_each(|e| self.loads(leaf, addresses, e))
            }
            Expr::Choose { a, b, then, otherwise } => {
                [a, b, then, otherwise].into_iter().for_each(|e| self.loads(leaf, addresses, e));
            }
        }
    }

    fn access(&mut self, leaf: &Leaf, addresses: &Addresses, access: &Access) {
        let buffer = self.nest.buffer_behind(leaf, access.base);
        for (dimension, index) in access.index.iter().enumerate() {
            let start = match access.base {
                Base::Buffer(_) => Some((0, 0)),
                Base::Pointer(p) => {
                    addresses.get(p.index()).and_then(|a| a.get(dimension).copied().flatten())
                }
            };
            let Some(((lo, hi), start)) = self.index(index).zip(start) else {
                continue;
            };
            let span = (lo + start.0, hi + start.1);
            let extent = self.extent(buffer, dimension);
            if extent.is_some_and(|extent| span.0 < 0 || span.1 >= extent) {
                let (lo, hi) = span;
                let what =
                    format!("spans {lo}..={hi} along dimension {dimension}, outside its buffer");
                self.report(17, leaf, access, &what);
            }
        }
    }

    fn extent(&self, buffer: BufferId, dimension: usize) -> Option<i64> {
        self.nest.buffer(buffer).extents.get(dimension)?.as_constant()
    }

    /// What is touched of vectors that the cut divides, counted in elements of the buffer.
    fn dead_lanes(&mut self, leaf: &Leaf, addresses: &Addresses, access: &Access) {
        let memory = self.nest.memory_of(self.nest.buffer_behind(leaf, access.base));
        let span = self.touched(leaf, addresses, access);
        let Some((span, len)) = span.zip(self.nest.constant_len(memory)) else {
            return;
        };
        let slack = self.slack[memory.index()];
        if span.0 < 0 || span.1 >= len + slack {
            let what = format!("touches {}..={} of {len} elements, slack {slack}", span.0, span.1);
            self.report(22, leaf, access, &what);
        }
    }

    /// The elements that whole vectors reach: all lanes of each vector with a live one. `None`
    /// where dead lanes are not touched, or not all is known.
    fn touched(&self, leaf: &Leaf, addresses: &Addresses, access: &Access) -> Option<Interval> {
        let lanes = leaf.lanes?;
        let cut = lanes.cut?;
        let buffer = self.nest.buffer_behind(leaf, access.base);
        let reach = self.nest.reach(leaf, access);
        if self.nest.buffer(buffer).touched(lanes.width, 1, reach) < lanes.width {
            return None;
        }
        let (mut start, mut all) = ((0, 0), Affine::default());
        let mut stride = 1;
        for dimension in (0..access.index.len()).rev() {
            all = all.plus(&access.index[dimension].as_affine()?.times(stride));
            if let Base::Pointer(p) = access.base {
                let (lo, hi) = addresses.get(p.index())?.get(dimension).copied()??;
                start = (start.0 + lo * stride, start.1 + hi * stride);
            }
            stride *= self.extent(buffer, dimension)?;
        }
        let vectors = |axis| Some(axis) == lanes.vectors;
        let of_vector = lanes.vectors.map_or(0, |v| all.of_axis(v)) * ((cut - 1) / lanes.width);
        let (_, rest) = all.split(vectors);
        let (lo, hi) = self.corners(&rest)?;
        Some((start.0 + lo + of_vector.min(0), start.1 + hi + of_vector.max(0)))
    }

    fn report(&mut self, rule: u32, leaf: &Leaf, access: &Access, what: &str) {
        let text = Names { nest: self.nest, leaf: Some(leaf) }.access(access);
        let place = format!("leaf {}", leaf.name);
        self.found.push(Violation { rule, place, message: format!("{text} {what}") });
    }

    fn index(&self, index: &Index) -> Option<Interval> {
        match index {
            Index::Affine(a) => self.affine(a),
            // A guard says when it is used.
            Index::Quotient(_) => None,
            Index::Folded { index, extent, pixel, .. } => {
                let extent = extent.as_constant()?;
                Some(self.folded(index, extent - extent % pixel))
            }
        }
    }

    /// Anywhere inside, unless nothing is folded.
    fn folded(&self, index: &Affine, extent: i64) -> Interval {
        let inside = |&(lo, hi): &Interval| 0 <= lo && hi < extent;
        self.affine(index).filter(inside).unwrap_or((0, extent - 1))
    }

    fn affine(&self, a: &Affine) -> Option<Interval> {
        let (live, rest) = self.live_lanes(a)?;
        let (lo, hi) = self.corners(&rest)?;
        Some((lo + live.0, hi + live.1))
    }

    /// The extremes over the box.
    fn corners(&self, a: &Affine) -> Option<Interval> {
        let (mut lo, mut hi) = (a.constant, a.constant);
        for (var, c) in a.terms() {
            let Var::Axis(axis) = var else { return None };
            let (first, last) = self.ranges[axis.index()]?;
            lo += (c * first).min(c * last);
            hi += (c * first).max(c * last);
        }
        Some((lo, hi))
    }

    /// The part of an index that counts lanes and vectors up to the cut, and what remains of the
    /// index.
    fn live_lanes(&self, a: &Affine) -> Option<(Interval, Affine)> {
        let Some((lanes, cut)) = self.lanes.and_then(|lanes| Some((lanes, lanes.cut?))) else {
            return Some(((0, 0), a.clone()));
        };
        let by_lane = a.of_axis(lanes.axis);
        let by_vector = lanes.vectors.map_or(0, |v| a.of_axis(v));
        let (coefficient, last) = match (by_lane, by_vector) {
            (lane, vector) if vector == lane * lanes.width => (lane, cut - 1),
            (lane, 0) => (lane, cut.min(lanes.width) - 1),
            (0, vector) => (vector, (cut - 1) / lanes.width),
            _ => return None,
        };
        let counted = |axis: AxisId| axis == lanes.axis || Some(axis) == lanes.vectors;
        let (_, rest) = a.split(counted);
        Some(((0.min(coefficient * last), 0.max(coefficient * last)), rest))
    }
}
