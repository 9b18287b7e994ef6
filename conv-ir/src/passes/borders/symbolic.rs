//! Cuts an axis whose extent is known only at run time.
//!
//! ```text
//! before  for ow in 0..W: ..                              (tiles of 5)
//! after   for ow in 0..min(W, 5): .. when inside
//!         for ow in 5..tiles * 5 + 5: ..                  tiles is a symbol: whole tiles inside
//!         for ow in max(5, tiles * 5 + 5)..W: .. when inside
//! ```
//!
//! requires: conditions that move one way along the axis, whose bounds are one quotient each.
//! gives: an interior of whole tiles that tests nothing, and edges that test at run time.

use super::inside::drop_tests;
use super::{Edge, single};
use crate::nest::{Affine, Bound, Loop, LoopPath, Nest, Quotient, Var};

/// The output extent is known only at run time: edge, interior in whole tiles, edge; the edges test
/// at run time.
pub(super) fn cut(
    nest: &mut Nest,
    path: &LoopPath,
    edge: &Edge,
    out: usize,
    tile: i64,
) -> Vec<LoopPath> {
    let l = &path.loops[out];
    let taps = edge
        .tap
        .and_then(|t| path.leaf.reduce.iter().find(|l| l.axis == t))
        .and_then(Loop::constant_range);
    let (Some(taps), Some(hi)) = (taps.or(Some((0, 1))), single(&l.hi)) else {
        return vec![path.clone()];
    };
    let Some(numerator) = least(path, &hi.numerator) else {
        return vec![path.clone()];
    };
    // First and last output for which every tap is inside, per condition, of every residue.
    let (mut start, mut ends) = (0i64, vec![Quotient { numerator, divisor: hi.divisor }]);
    for inside in &edge.inside {
        for tap in [taps.0, taps.1 - 1] {
            let inside =
                edge.tap.map_or(inside.clone(), |t| inside.substitute(Var::Axis(t), &tap.into()));
            let a = inside.of_axis(l.axis);
            let rest = least(path, &inside.substitute(Var::Axis(l.axis), &Affine::constant(0)));
            match (a, rest.as_ref().and_then(Affine::as_constant), rest) {
                (a, Some(c), _) if a > 0 => start = start.max((-c + a - 1).div_euclid(a)),
                (a, _, Some(rest)) if a < 0 => {
                    ends.push(Quotient::floor(rest.plus_constant(-a), -a));
                }
                _ => return vec![path.clone()],
            }
        }
    }
    let start = (start + tile - 1) / tile * tile;
    let whole = |end: Quotient| Quotient {
        numerator: end.numerator.plus_constant(-start * end.divisor),
        divisor: end.divisor * tile,
    };
    let tiles = Bound::Min(ends.into_iter().map(whole).collect());
    let end = nest.add_symbol("tiles", tiles).times(tile).plus_constant(start);
    let [mut low, mut inner, mut high] = [path.clone(), path.clone(), path.clone()];
    low.loops[out].hi = Bound::Min(vec![hi.clone(), start.into()]);
    inner.loops[out].lo = Bound::Max(vec![start.into()]);
    inner.loops[out].hi = end.clone().into();
    high.loops[out].lo = Bound::Max(vec![start.into(), end.into()]);
    high.loops[out].hi = Bound::Min(vec![hi]);
    inner.leaf = drop_tests(&inner.leaf, &edge.inside);
    vec![low, inner, high]
}

/// The expression with the axes of constant driver loops (residues) where they make it least.
fn least(path: &LoopPath, a: &Affine) -> Option<Affine> {
    a.axes().try_fold(a.clone(), |a, axis| {
        let (lo, hi) = path.loops[path.find(axis)?].constant_range()?;
        let at = if a.of_axis(axis) > 0 { lo } else { hi - 1 };
        Some(a.substitute(Var::Axis(axis), &at.into()))
    })
}
