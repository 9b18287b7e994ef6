//! The bill of a leaf: what one run of its inner loop costs, before any code is made.
//!
//! In: a leaf in any state. Out: tile, lanes, vector registers, and the operations of one *step*:
//! one iteration of the innermost loop that stays a loop, with all unrolled loops inside it.
//! Counted from the text of the leaf, not from code, so it is the same for every route; a load that
//! does not follow an unrolled axis is counted once for all its values. A route that does worse has
//! spilled or recomputed.

use super::{Access, AxisId, Binary, Expr, Leaf, LoopKind, Op, RegId};
use std::fmt;

/// What a leaf holds and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Extents of the register tile.
    pub tile: Vec<i64>,
    /// Lanes of a vector.
    pub lanes: i64,
    /// Vector registers that the reduction carries.
    pub accumulators: i64,
    /// Vector registers live at the peak of a step, counted as if every register set in it lived
    /// through it, and one for a passing operand.
    pub live: i64,
    /// Fused multiply-adds of a step.
    pub fmas: i64,
    /// Additions and subtractions of a step: known taps of 1 and -1.
    pub adds: i64,
    /// Loads of a step that read different elements for the lanes (all loads of a scalar leaf).
    pub loads: i64,
    /// Loads of a step that read one element for all lanes.
    pub splats: i64,
    /// Vectors stored before and after the reduction, and by a step (a copy stores in steps).
    pub stores: i64,
}

impl Bill {
    /// Counts.
    pub fn of(leaf: &Leaf) -> Bill {
        let carried = carried(leaf);
        let accumulators: i64 = carried.iter().map(|r| size(leaf, *r)).sum();
        let unrolled = unrolled(leaf);
        let mut step =
            Count { leaf, around: unrolled, fmas: 0, adds: 0, loads: 0, splats: 0, stores: 0 };
        step.ops(&leaf.update);
        let mut rest =
            Count { around: Vec::new(), fmas: 0, adds: 0, loads: 0, splats: 0, stores: 0, ..step };
        rest.ops(&leaf.init);
        rest.ops(&leaf.finish);
        Bill {
            tile: leaf.tile.iter().map(|t| t.extent).collect(),
            lanes: leaf.width(),
            accumulators,
            live: accumulators + others(leaf, carried) + 1,
            fmas: step.fmas,
            adds: step.adds,
            loads: step.loads,
            splats: step.splats,
            stores: rest.stores + step.stores,
        }
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tile: Vec<String> = self.tile.iter().map(i64::to_string).collect();
        let tile = if tile.is_empty() { "1".into() } else { tile.join(" x ") };
        write!(
            f,
            "tile {tile}, lanes {}: {} acc, {} live; ",
            self.lanes, self.accumulators, self.live
        )?;
        let adds = match self.adds {
            0 => String::new(),
            adds => format!(", {adds} add"),
        };
        write!(
            f,
            "a step: {} fma{adds}, {} load, {} splat; {} store",
            self.fmas, self.loads, self.splats, self.stores
        )
    }
}

/// Vector registers of an array.
fn size(leaf: &Leaf, reg: RegId) -> i64 {
    leaf.registers.get(reg.index()).map_or(1, |r| leaf.points(&r.axes))
}

/// Registers set by `init` and read by `update`.
fn carried(leaf: &Leaf) -> Vec<RegId> {
    let mut read = Vec::new();
    let mut reads = |value: &Expr| {
        value.visit(&mut |expr| {
            if let Expr::Reg(reg) = expr {
                read.push(*reg);
            }
        });
    };
    for op in &leaf.update {
        op.visit(&mut |op| match op {
            Op::Set { value, .. } | Op::Store { value, .. } => reads(value),
            Op::Each(..) | Op::StoreBlock { .. } => {}
        });
    }
    leaf.accumulators().into_iter().filter(|reg| read.contains(reg)).collect()
}

/// Vector registers set in `update` that the reduction does not carry.
fn others(leaf: &Leaf, mut seen: Vec<RegId>) -> i64 {
    let mut sum = 0;
    for op in &leaf.update {
        op.visit(&mut |op| {
            if let Op::Set { reg, .. } = op
                && !seen.contains(reg)
            {
                seen.push(*reg);
                sum += size(leaf, *reg);
            }
        });
    }
    sum
}

/// The unrolled loops inside the innermost real one, with their extents.
fn unrolled(leaf: &Leaf) -> Vec<(AxisId, i64)> {
    let inner = leaf.reduce.iter().rev().take_while(|l| l.kind == LoopKind::Unrolled);
    inner.map(|l| (l.axis, l.constant_extent().unwrap_or(1))).collect()
}

struct Count<'a> {
    leaf: &'a Leaf,
    /// Everything unrolled around here, with its extent.
    around: Vec<(AxisId, i64)>,
    fmas: i64,
    adds: i64,
    loads: i64,
    splats: i64,
    stores: i64,
}

impl Count<'_> {
    fn ops(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Each(axis, body) => {
                    self.around.push((*axis, self.leaf.extent(*axis)));
                    self.ops(body);
                    self.around.pop();
                }
                Op::Set { value, .. } => self.expr(value),
                Op::Store { value, .. } => {
                    self.expr(value);
                    self.stores += self.times();
                }
                Op::StoreBlock { along, .. } => {
                    self.stores += self.times() * self.leaf.extent(*along)
                }
            }
        }
    }

    /// How often an operation here happens.
    fn times(&self) -> i64 {
        self.around.iter().map(|(_, extent)| extent).product()
    }

    fn expr(&mut self, expr: &Expr) {
        expr.visit(&mut |expr| match expr {
            Expr::Fma(..) => self.fmas += self.times(),
            Expr::Binary(Binary::Add | Binary::Sub, ..) => self.adds += self.times(),
            Expr::Load(access) => self.load(access),
            Expr::Const(_) | Expr::Reg(_) | Expr::Select { .. } | Expr::Unary(..) => {}
            Expr::Binary(..) | Expr::Choose { .. } | Expr::Activation(..) => {}
        });
    }

    fn load(&mut self, access: &Access) {
        let followed = self.around.iter().filter(|(axis, _)| access.follows(*axis));
        let times: i64 = followed.map(|(_, extent)| extent).product();
        match self.leaf.lanes {
            Some(lanes) if lanes.width > 1 && !access.follows(lanes.axis) => self.splats += times,
            _ => self.loads += times,
        }
    }
}
