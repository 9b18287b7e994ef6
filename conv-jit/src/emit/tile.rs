//! The register tile of a leaf: what its registers hold, and a walk over its points.

use std::collections::{BTreeMap, VecDeque};

use conv_ir::nest::{AxisId, Cond, Leaf, Op, RegId};

use super::emitter::Emitter;
use super::terms::Int;
use super::vector::{self, Chunk, Vector};

/// One register of an array of registers: the array, and the point of its tile axes.
pub(super) type Slot = (RegId, i64);

/// Whether the first and the second factor die.
pub(super) type Dying = [bool; 2];

pub(super) struct Tile<'a> {
    pub leaf: &'a Leaf,
    /// The depth from which on unrolled loops are repeated in the code; those around stay loops.
    pub straight: usize,
    /// How a vector is cut into machine registers.
    pub chunks: Vec<Chunk>,
    /// What the registers hold now.
    pub registers: BTreeMap<Slot, Vector>,
    /// Answers for the operations of `update` that are still to be emitted.
    pub dying: VecDeque<Dying>,
    /// The answer for the current one.
    pub now: Dying,
}

impl<'a> Tile<'a> {
    pub(super) fn new(e: &Emitter<'_, '_>, leaf: &'a Leaf) -> Self {
        let chunks = vector::chunks(e.nest.dtype, leaf.width(), e.facts.simd);
        let (registers, dying) = (BTreeMap::new(), VecDeque::new());
        Tile { leaf, straight: straight(leaf), chunks, registers, dying, now: [false; 2] }
    }

    /// For each value of a tile axis.
    pub(super) fn each<'e, 'n, 'f>(
        &mut self,
        e: &'e mut Emitter<'n, 'f>,
        axis: AxisId,
        mut body: impl FnMut(&mut Self, &mut Emitter<'n, 'f>),
    ) {
        for at in 0..self.leaf.extent(axis) {
            e.env.insert(axis, Int::Known(at));
            body(self, e);
        }
        e.env.remove(&axis);
    }

    /// The register at the current point of its tile axes.
    pub(super) fn slot(&self, e: &Emitter<'_, '_>, reg: RegId) -> Slot {
        (reg, self.leaf.register_at(reg, |axis| e.known(axis)))
    }

    /// Lanes that count at the current point of the tile, `0..live`.
    pub(super) fn live(&self, e: &Emitter<'_, '_>) -> i64 {
        self.leaf.live_lanes(|axis| e.known(axis))
    }

    /// Makes `lane` the value of the lane axis.
    pub(super) fn at_lane(&self, e: &mut Emitter<'_, '_>, lane: i64) {
        if let Some(lanes) = self.leaf.lanes {
            e.env.insert(lanes.axis, Int::Known(lane));
        }
    }

    /// Every operation at every point of the tile axes, without code.
    pub(super) fn walk(
        &mut self,
        e: &mut Emitter<'_, '_>,
        ops: &'a [Op],
        f: &mut dyn FnMut(&mut Self, &mut Emitter<'_, '_>, &'a Op),
    ) {
        for op in ops {
            match op {
                Op::Each(axis, body) => {
                    for at in 0..self.leaf.extent(*axis) {
                        e.env.insert(*axis, Int::Known(at));
                        self.walk(e, body, f);
                    }
                    e.env.remove(axis);
                }
                Op::Set { .. } | Op::Store { .. } | Op::StoreBlock { .. } => f(self, e, op),
            }
        }
    }
}

/// Loads that fold at run time are many instructions each; a few of them are enough in one line.
const MOST_FOLDED: i64 = 64;

/// The depth from which on unrolled loops are repeated.
fn straight(leaf: &Leaf) -> usize {
    if leaf.folds_are_known(|_| false) {
        return 0;
    }
    let few = |at: &usize| leaf.repeats_from(*at).is_some_and(|repeats| repeats <= MOST_FOLDED);
    (0..leaf.reduce.len()).find(few).unwrap_or(leaf.reduce.len())
}

/// The truth of conditions where every variable is known, without code.
pub(super) fn holds(e: &Emitter<'_, '_>, when: &[Cond]) -> Option<bool> {
    Cond::all_at(when, |axis| e.known(axis))
}
