//! Edges inside a vector: the lanes outside the image load zeros.
//!
//! ```text
//! before  for ow in 0..16 (one tile):
//!           acc = fma(in[ow + kw - 1], w[kw], acc) when ow + kw - 1 >= 0
//! after   for ow in 0..16 (one tile):
//!           acc = fma(if ow + kw - 1 >= 0 then in[ow + kw - 1] else 0, w[kw], acc)
//! ```
//!
//! gives: masked loads, whose tests may differ from lane to lane. A product of zero and
//! a finite weight changes no sum but the sign of a zero. A maximum or a minimum is refused.

use super::Edge;
use crate::nest::{Affine, Binary, Chain, Cond, Expr, Leaf, Nest, Op, Role};
use crate::{Error, Schedule, Target};

/// Whether the target makes such loads, of so many lanes.
pub(super) fn check(nest: &Nest, schedule: &Schedule, target: &Target) -> Result<(), Error> {
    let illegal = |why: String| Err(Error::IllegalSchedule(format!("borders mask: {why}")));
    if !target.masks {
        return illegal(format!("target {target} cannot mask loads by lane"));
    }
    let is_zero =
        |leaf: &&Leaf| leaf.neutral() == 0.0 || !leaf.update.iter().any(tests_columns(nest));
    if !nest.all_leaves().iter().all(is_zero) {
        return illegal(
            "lanes outside the image load zeros, which a maximum or a minimum must not see".into(),
        );
    }
    let lanes = schedule.lanes_of(Role::Out(0));
    let bytes = lanes * nest.dtype.bytes() as i64;
    let is_vector = bytes >= 16 && bytes <= target.vector_bytes as i64 && bytes & (bytes - 1) == 0;
    match lanes == 1 || is_vector {
        true => Ok(()),
        false => {
            illegal(format!("{lanes} lanes of {} are no vector of target {target}", nest.dtype))
        }
    }
}

/// Whether an operation is left out at some columns.
fn tests_columns(nest: &Nest) -> impl Fn(&Op) -> bool {
    |op| {
        let about = |c: &Cond| c.expression().axes().any(|axis| nest.role(axis) == Role::Out(0));
        matches!(op, Op::Set { when, .. } if when.iter().any(about))
    }
}

/// A tile at the edge of the columns: what lies outside is loaded as zero, lane by lane, instead of
/// being left out.
pub(super) fn mask(mut chain: Chain, edge: &Edge, out: usize, tile: i64) -> Chain {
    let column = chain.loops[out].axis;
    let is_single = chain.loops[out].constant_extent().is_some_and(|extent| extent <= tile);
    let knows = |a: &Affine| a.axes().all(|axis| axis == column || Some(axis) == edge.tap);
    if !is_single || !edge.inside.iter().all(knows) {
        return chain; // where the tests are known only at run time
    }
    for op in &mut chain.leaf.update {
        let Op::Set { value, when, .. } = op else { continue };
        let (columns, others): (Vec<Cond>, Vec<Cond>) =
            when.drain(..).partition(|c| edge.inside.contains(c.expression()));
        *when = others;
        if let Expr::Fma(input, ..) | Expr::Binary(Binary::Add, input, _) = value
            && !columns.is_empty()
        {
            let then = std::mem::replace(&mut **input, Expr::Const(0.0));
            **input = Expr::Select {
                when: columns,
                then: Box::new(then),
                otherwise: Box::new(Expr::Const(0.0)),
            };
        }
    }
    chain
}
