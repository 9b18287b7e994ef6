//! Which reduce loops stay loops, and where they begin and end.

use conv_ir::nest::{AxisId, Bound, Index, Leaf, Loop, LoopKind, Var};

use super::Refusal;
use super::inst::{LoopEnd, SerialLoop};

/// How many of the loops stay loops: those before the first unrolled one, and before the first that
/// a condition or a fold names, if repeating that is not too long.
pub(super) fn serial(leaf: &Leaf) -> usize {
    let asked =
        leaf.reduce.iter().position(|l| l.kind == LoopKind::Unrolled).unwrap_or(leaf.reduce.len());
    let named = leaf.reduce.iter().position(|l| decides(leaf, l.axis));
    named.filter(|at| *at < asked && leaf.is_straight_from(*at)).unwrap_or(asked)
}

/// Whether the loops that stay may have so many turns, before anything is made of the leaf.
pub(super) fn may_turn(leaf: &Leaf, least: i64) -> bool {
    let counts = leaf.reduce[..serial(leaf)].iter().map(Loop::constant_extent);
    counts.fold(1i64, |turns, count| turns.saturating_mul(count.unwrap_or(i64::MAX))) >= least
}

/// Whether what happens, or where, depends on the axis otherwise than by a stride.
fn decides(leaf: &Leaf, axis: AxisId) -> bool {
    let folds = |index: &Index| index.as_affine().is_none() && index.follows(axis);
    leaf.conditions().iter().any(|c| c.expression().of_axis(axis) != 0)
        || leaf.accesses().iter().any(|a| a.index.iter().any(folds))
}

/// Its ends.
pub(super) fn around(leaf: &Leaf, l: &Loop) -> Result<SerialLoop, Refusal> {
    Ok(SerialLoop { lo: end(leaf, &l.lo)?, hi: end(leaf, &l.hi)? })
}

fn end(leaf: &Leaf, bound: &Bound) -> Result<LoopEnd, Refusal> {
    if let Some(known) = bound.as_constant() {
        return Ok(LoopEnd::Known(known));
    }
    let [q] = bound.quotients() else {
        return Err(Refusal::Loop("a bound of several parts".into()));
    };
    let (&[(Var::Axis(axis), 1)], 1) = (q.numerator.terms(), q.divisor) else {
        return Err(Refusal::Loop("a bound that is not an int".into()));
    };
    let int = leaf.ints.iter().position(|i| *i == axis);
    int.map(|at| LoopEnd::Int(at, q.numerator.constant))
        .ok_or_else(|| Refusal::Loop("a bound that follows another loop".into()))
}
