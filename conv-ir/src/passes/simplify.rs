//! What is known is said: constant bounds folded, tests that always hold dropped, code that never
//! runs gone.
//!
//! ```text
//! before  for ow.o in 0..1: for kh in max(0, -1)..min(3, 56): acc = fma(..) when kh + 2 >= 0
//! after   for kh in 0..3: acc = fma(..)
//! ```
//!
//! requires: nothing. gives: the same nest, smaller.

use crate::nest::{
    Affine, AxisId, Bound, Cond, Expr, Leaf, Loop, Nest, Op, Quotient, Stmt, Var, substitute,
};
use crate::{Error, Schedule, Target};

pub(super) fn simplify(nest: &mut Nest, _: &Schedule, _: &Target) -> Result<(), Error> {
    nest.setup = stmts(std::mem::take(&mut nest.setup));
    nest.body = stmts(std::mem::take(&mut nest.body));
    nest.leaves.iter_mut().for_each(leaf);
    Ok(())
}

fn stmts(of: Vec<Stmt>) -> Vec<Stmt> {
    of.into_iter().flat_map(stmt).collect()
}

fn stmt(stmt: Stmt) -> Vec<Stmt> {
    match stmt {
        Stmt::Leaf(mut l) => {
            leaf(&mut l);
            vec![Stmt::Leaf(l)]
        }
        Stmt::Call(mut call) => {
            call.ints = call.ints.into_iter().map(|b| bound(&b)).collect();
            vec![Stmt::Call(call)]
        }
        Stmt::For(l, body) => {
            let l = Loop { lo: bound(&l.lo), hi: bound(&l.hi), ..l };
            match (l.constant_range(), l.kind) {
                (Some((lo, hi)), _) if hi <= lo => Vec::new(),
                (Some((lo, hi)), crate::nest::LoopKind::Serial) if hi == lo + 1 => {
                    stmts(substitute(&body, l.axis, &Affine::constant(lo)))
                }
                _ => vec![Stmt::For(l, stmts(body))],
            }
        }
    }
}

/// Constants among the choices become one; a single constant choice decides nothing more.
fn bound(b: &Bound) -> Bound {
    let (constant, varying): (Vec<&Quotient>, Vec<&Quotient>) =
        b.quotients().iter().partition(|q| q.as_constant().is_some());
    let constants = constant.iter().filter_map(|q| q.as_constant());
    let best = match b {
        Bound::Max(_) => constants.max(),
        Bound::Min(_) => constants.min(),
    };
    let all = best.map(Quotient::from).into_iter().chain(varying.into_iter().map(whole)).collect();
    match b {
        Bound::Max(_) => Bound::Max(all),
        Bound::Min(_) => Bound::Min(all),
    }
}

/// A quotient whose every part divides is none.
fn whole(q: &Quotient) -> Quotient {
    if q.divisor == 1 || q.numerator.terms().iter().any(|t| t.1 % q.divisor != 0) {
        return q.clone();
    }
    let start = Affine::constant(q.numerator.constant.div_euclid(q.divisor));
    let sum = q.numerator.terms().iter().fold(start, |sum, t| sum.plus_term(t.0, t.1 / q.divisor));
    Quotient::from(sum)
}

fn leaf(leaf: &mut Leaf) {
    for l in &mut leaf.reduce {
        (l.lo, l.hi) = (bound(&l.lo), bound(&l.hi));
    }
    let ranges = ranges(leaf);
    for part in [&mut leaf.init, &mut leaf.update, &mut leaf.finish] {
        ops(part, &ranges);
    }
}

/// The values that each own axis takes: half-open, constant ones only.
fn ranges(leaf: &Leaf) -> Vec<(AxisId, i64, i64)> {
    let tile = leaf.tile.iter().map(|t| (t.axis, 0, t.extent));
    let lanes = leaf.lanes.map(|l| (l.axis, 0, l.width));
    let reduce =
        leaf.reduce.iter().filter_map(|l| l.constant_range().map(|(lo, hi)| (l.axis, lo, hi)));
    tile.chain(lanes).chain(reduce).filter(|r| r.1 < r.2).collect()
}

/// Whether a condition holds for all values of the axes, or for none.
fn decided(cond: &Cond, ranges: &[(AxisId, i64, i64)]) -> Option<bool> {
    let Cond::NonNegative(a) = cond else {
        return cond.as_constant();
    };
    let (mut low, mut high) = (a.constant, a.constant);
    for &(var, coefficient) in a.terms() {
        let Var::Axis(axis) = var else { return None };
        let &(_, lo, hi) = ranges.iter().find(|r| r.0 == axis)?;
        let ends = [coefficient * lo, coefficient * (hi - 1)];
        low += ends[0].min(ends[1]);
        high += ends[0].max(ends[1]);
    }
    match (low >= 0, high < 0) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn ops(of: &mut Vec<Op>, ranges: &[(AxisId, i64, i64)]) {
    of.retain_mut(|op| match op {
        Op::Each(_, body) => {
            ops(body, ranges);
            !body.is_empty()
        }
        Op::Set { value, when, .. } | Op::Store { value, when, .. } => {
            let is_live = when.iter().all(|c| decided(c, ranges) != Some(false));
            if is_live {
                when.retain(|c| decided(c, ranges) != Some(true));
                expr(value, ranges);
            }
            is_live
        }
        Op::StoreBlock { .. } => true,
    });
}

/// Selects whose conditions are decided are what they choose.
fn expr(e: &mut Expr, ranges: &[(AxisId, i64, i64)]) {
    match e {
        Expr::Select { when, then, otherwise } => {
            let is_never = when.iter().any(|c| decided(c, ranges) == Some(false));
            when.retain(|c| decided(c, ranges) != Some(true));
            let chosen = match (is_never, when.is_empty()) {
                (true, _) => otherwise,
                (false, true) => then,
                (false, false) => return,
            };
            *e = std::mem::replace(&mut **chosen, Expr::Const(0.0));
        }
        Expr::Fma(..) | Expr::Binary(..) => e.operands_mut().for_each(|e| expr(e, ranges)),
        _ => {}
    }
}
