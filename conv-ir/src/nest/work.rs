//! How much of a nest's work each leaf does, counted from the text of the nest.

use super::bill::Bill;
use super::{Leaf, LoopKind, Nest, Stmt};

/// Turns of a driver's loop whose number is known only at run time: enough to count as the inside
/// of an image.
const MANY: i64 = 64;

/// The same of a loop inside a leaf, which is over taps.
const TAPS: i64 = 3;

/// Multiply-adds and additions of each leaf in one run of the body, in order of the leaves. A leaf
/// that packs weights or copies has none.
pub fn work(nest: &Nest) -> Vec<i64> {
    let mut work = vec![0; nest.leaves.len()];
    count(nest, &nest.body, 1, &mut work);
    work
}

/// Adds what each leaf does in statements that run so many times.
fn count(nest: &Nest, stmts: &[Stmt], times: i64, work: &mut [i64]) {
    for stmt in stmts {
        match stmt {
            Stmt::For(l, body) => {
                count(nest, body, times.saturating_mul(l.constant_extent().unwrap_or(MANY)), work)
            }
            Stmt::Leaf(_) => {}
            Stmt::Call(call) => {
                let once = of(&nest.leaves[call.leaf.index()]);
                let sum = &mut work[call.leaf.index()];
                *sum = sum.saturating_add(times.saturating_mul(once));
            }
        }
    }
}

/// Multiply-adds and additions of one run.
fn of(leaf: &Leaf) -> i64 {
    let bill = Bill::of(leaf);
    let steps = leaf
        .reduce
        .iter()
        .filter(|l| l.kind != LoopKind::Unrolled)
        .map(|l| l.constant_extent().unwrap_or(TAPS));
    let step = (bill.fmas + bill.adds).saturating_mul(bill.lanes);
    steps.fold(step, i64::saturating_mul)
}
