//! The leaf that does most of the work: an item names it, with its bill, so that a reader knows
//! where to look first.

use conv_ir::Nest;
use conv_ir::nest::bill::Bill;
use conv_ir::nest::{Leaf, LoopKind, Stmt};

use super::Version;
use super::scope::identifier;

/// Turns of a driver's loop whose number is known only at run time: enough to count as the inside
/// of an image.
const MANY: i64 = 64;

/// The same of a loop inside a leaf, which is over taps.
const TAPS: i64 = 3;

/// A line for each version: the leaf, and what a step of it costs.
pub(crate) fn bills(versions: &[Version]) -> Vec<String> {
    let line = |version: &Version| {
        let leaf = hottest(&version.nest)?;
        let (module, name) = (version.module(), identifier(&leaf.name));
        Some(format!("- {module}, mostly in `{name}`: {}", Bill::of(leaf)))
    };
    versions.iter().filter_map(line).collect()
}

fn hottest(nest: &Nest) -> Option<&Leaf> {
    let mut work = vec![0; nest.leaves.len()];
    count(nest, &nest.body, 1, &mut work);
    let (at, _) =
        work.iter().enumerate().max_by_key(|(at, work)| (**work, std::cmp::Reverse(*at)))?;
    nest.leaves.get(at)
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
