//! Taps that the schedule names are repeated in the code.
//!
//! ```text
//! before  for ic in 0..64, kh in 0..3, kw in 0..3: update
//! after   for ic in 0..64, kh in 0..3, kw in 0..3 unrolled: update
//! ```
//!
//! requires: reduce loops.
//! gives: innermost loops marked as unrolled, within a budget of multiply-adds; the rest stay loops.
//!
//! The mark is all: ways out repeat the body while they walk it, with the tap as a constant, so the nest stays as small as it was.

use crate::nest::{Leaf, LoopKind, Nest, for_leaves};
use crate::{Error, Schedule, Target};

/// Multiply-add instructions in one unrolled body. Beyond a few hundred the loop's own cost is long gone and code size is all that grows.
const BUDGET: i64 = 256;

pub(super) fn unroll(nest: &mut Nest, schedule: &Schedule, _: &Target) -> Result<(), Error> {
    let roles: Vec<_> = nest.axes.iter().map(|a| a.role).collect();
    for_leaves(&mut nest.body, &mut |leaf: &mut Leaf| {
        let mut body: i64 = leaf.tile.iter().map(|t| t.extent).product();
        for l in leaf.reduce.iter_mut().rev() {
            let wanted = schedule.unroll.contains(&roles[l.axis.index()]);
            let Some(extent) = l.constant_extent().filter(|&e| wanted && body * e <= BUDGET) else { break };
            body *= extent;
            l.kind = LoopKind::Unrolled;
        }
        Ok(())
    })
}
