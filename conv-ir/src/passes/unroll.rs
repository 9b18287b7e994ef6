//! Taps that the schedule names, and steps of the loop around them, are repeated in the code.
//!
//! ```text
//! before  for ic in 0..64, kh in 0..3, kw in 0..3: update
//! after   for ic in 0..64, kh in 0..3, kw in 0..3 unrolled: update
//!
//! before  for ic in 0..64: update
//! after   for ic.o in 0..16, ic.i in 0..4 unrolled: update
//! ```
//!
//! Integers may be summed in any order. Blocks of channels that are multiplied at a time go inside:
//!
//! ```text
//! before  for ic.q in 0..16, ic.b in 0..4, kh in 0..3, kw in 0..3: update
//! after   for ic.q in 0..16, kh in 0..3, kw in 0..3, ic.b in 0..4 unrolled: update
//! ```
//!
//! requires: reduce loops.
//! gives: innermost loops marked as unrolled, within a budget of multiply-adds; the rest stay
//! loops.
//!
//! The mark is all: ways out repeat the body while they walk it, with the tap as a constant, so the
//! nest stays as small as it was.

use crate::nest::{Affine, AxisId, Leaf, Loop, LoopKind, Nest, Part, Role, for_leaves};
use crate::{Error, Schedule, Target};

/// Multiply-add instructions in one unrolled body. Beyond a few hundred the loop's own cost is long
/// gone and code size is all that grows.
const BUDGET: i64 = 512;

pub(super) fn unroll(nest: &mut Nest, schedule: &Schedule, _: &Target) -> Result<(), Error> {
    if let Some((role, _)) =
        schedule.step.filter(|s| !matches!(s.0, Role::InChannel | Role::Kernel(_)))
    {
        return Err(Error::IllegalSchedule(format!(
            "step {role}: only axes that are summed over have steps: ic, kd, kh, kw"
        )));
    }
    let mut body = std::mem::take(&mut nest.body);
    for_leaves(&mut body, &mut |leaf| {
        put_blocks_inside(nest, leaf);
        if let Some(at) = unroll_taps(nest, schedule, leaf) {
            unroll_steps(nest, schedule, leaf, at);
        }
        Ok::<_, Error>(())
    })?;
    nest.body = body;
    Ok(())
}

/// Puts channels that are multiplied at a time inside, into the code. Bounds of other loops do not
/// name channels, and no test does.
fn put_blocks_inside(nest: &Nest, leaf: &mut Leaf) {
    leaf.reduce.sort_by_key(|l| nest.is_block(l));
    for l in leaf.reduce.iter_mut().filter(|l| nest.is_block(l)) {
        l.kind = LoopKind::Unrolled;
    }
}

/// Multiply-adds of one step, as the code has them now.
fn points(nest: &Nest, leaf: &Leaf) -> i64 {
    let unrolled = leaf
        .reduce
        .iter()
        .filter(|l| l.kind == LoopKind::Unrolled && !nest.is_block(l))
        .filter_map(Loop::constant_extent);
    leaf.tile.iter().map(|t| t.extent).chain(unrolled).product()
}

/// Marks the innermost loops; the position of the innermost loop that is left.
fn unroll_taps(nest: &Nest, schedule: &Schedule, leaf: &mut Leaf) -> Option<usize> {
    for at in (0..leaf.reduce.len()).rev() {
        if nest.is_block(&leaf.reduce[at]) {
            continue;
        }
        let wanted = schedule.unroll.contains(&nest.role(leaf.reduce[at].axis));
        let fits = |extent: &i64| wanted && points(nest, leaf).saturating_mul(*extent) <= BUDGET;
        if leaf.reduce[at].constant_extent().filter(fits).is_none() {
            return Some(at);
        }
        leaf.reduce[at].kind = LoopKind::Unrolled;
    }
    None
}

/// Splits the innermost loop that is left in steps, where it is the one that the schedule names.
fn unroll_steps(nest: &mut Nest, schedule: &Schedule, leaf: &mut Leaf, at: usize) {
    let axis: AxisId = leaf.reduce[at].axis;
    let role = nest.role(axis);
    let Some((0, extent)) = leaf.reduce[at].constant_range() else {
        return;
    };
    let Some((_, most)) = schedule.step.filter(|step| step.0 == role) else {
        return;
    };
    let blocks = leaf.reduce.iter().filter(|l| nest.is_block(l) && role == Role::InChannel);
    let most = most / blocks.filter_map(Loop::constant_extent).product::<i64>().max(1);
    let most = most.min(BUDGET / points(nest, leaf).max(1));
    let Some(step) = (2..=most).rev().find(|step| extent % step == 0) else {
        return;
    };
    let outer = nest.add_axis(format!("{role}.o"), role, Part::Outer);
    let inner = nest.add_axis(format!("{role}.i"), role, Part::Inner);
    let by = Affine::axis(outer).times(step).plus(&Affine::axis(inner));
    leaf.substitute(axis, &by);
    leaf.reduce[at] = Loop::serial(outer, extent / step);
    leaf.reduce.insert(at + 1, Loop { kind: LoopKind::Unrolled, ..Loop::serial(inner, step) });
}
