//! Edges inside a vector: the lanes outside the image load what changes nothing.
//!
//! ```text
//! before  for ow in 0..16 (one tile):
//!           acc = fma(in[ow + kw - 1], w[kw], acc) when ow + kw - 1 >= 0
//! after   for ow in 0..16 (one tile):
//!           acc = fma(if ow + kw - 1 >= 0 then in[ow + kw - 1] else 0, w[kw], acc)
//! ```
//!
//! gives: masked loads, whose tests may differ from lane to lane. A product of zero and
//! a finite weight changes no sum but the sign of a zero. In a maximum the lanes outside are minus
//! infinity, in a minimum infinity, which never win.

use super::Edge;
use crate::nest::{Affine, Cond, Expr, LoopPath, Nest, Op, Role};
use crate::{Error, Schedule, Target};

/// Whether the target makes such loads, of so many lanes.
pub(super) fn check(nest: &Nest, schedule: &Schedule, target: &Target) -> Result<(), Error> {
    let illegal = |why: String| Err(Error::IllegalSchedule(format!("borders mask: {why}")));
    if !target.masks {
        return illegal(format!("target {target} cannot mask loads by lane"));
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

/// A tile at the edge of the columns: in the place of what lies outside stands, lane by lane, what
/// changes nothing, instead of its being left out.
pub(super) fn mask(mut path: LoopPath, edge: &Edge, out: usize, tile: i64) -> LoopPath {
    let column = path.loops[out].axis;
    let is_single = path.loops[out].constant_extent().is_some_and(|extent| extent <= tile);
    let knows = |a: &Affine| a.axes().all(|axis| axis == column || Some(axis) == edge.tap);
    if !is_single || !edge.inside.iter().all(knows) {
        return path; // where the tests are known only at run time
    }
    let fill = path.leaf.neutral();
    for op in &mut path.leaf.update {
        let Op::Set { value, when, .. } = op else { continue };
        let Some(input) = first_load(value) else { continue };
        let (columns, others): (Vec<Cond>, Vec<Cond>) =
            when.drain(..).partition(|c| edge.inside.contains(c.expression()));
        *when = others;
        if !columns.is_empty() {
            let then = Box::new(std::mem::replace(input, Expr::Const(fill)));
            *input = Expr::Select { when: columns, then, otherwise: Box::new(Expr::Const(fill)) };
        }
    }
    path
}

/// The element of the input in an update, which stands first in it.
fn first_load(value: &mut Expr) -> Option<&mut Expr> {
    match value {
        Expr::Load(_) => Some(value),
        Expr::Fma(input, ..) | Expr::Binary(_, input, _) => first_load(input),
        _ => None,
    }
}
