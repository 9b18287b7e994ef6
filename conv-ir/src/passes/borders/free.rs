//! Edges in the lanes where the image is as wide as it is at run time.
//!
//! ```text
//! before  for ow in 0..W
//! after   for ow in 0..16                       the first tile: only the left edge is tested
//!         for ow in 16..16 * tiles + 16         whole tiles that test nothing
//!         for ow in W - 16..W                   the last ones, counted from the right edge
//!         for ow in from..W                     images too narrow for that, column by column
//! ```
//!
//! requires: zeros outside; neighbouring columns of the output read neighbouring columns of the
//! input. gives: edge paths of one tile whose tests are constants once lanes are numbered, as in
//! images of known width. The last tile is counted from the right edge, so that its tests are the
//! same in every image. Some columns are computed twice, with the same bits.
//!
//! A narrow image skips the first three by bounds, and a wide one the fourth: `fits` is 1 where the
//! image is wide enough, else 0.

use super::inside::drop_tests;
use super::{Edge, SEPARATE, bound_taps, mask, single};
use crate::nest::{Affine, Bound, Loop, LoopPath, Nest, Part, Quotient, Var};

/// More columns than images have, and still an index where addresses have 32 bits. Of a wider image
/// the columns beyond are computed twice.
const BEYOND: i64 = i32::MAX as i64;

/// Where the interior is, in columns from the left and from the right edge.
struct Interior {
    left: i64,
    right: i64,
}

fn interior(path: &LoopPath, edge: &Edge, out: usize, width: &Affine) -> Option<Interior> {
    let axis = path.loops[out].axis;
    let tap = edge.tap?;
    let taps = path.leaf.reduce.iter().find(|l| l.axis == tap)?.constant_range()?;
    let mut found = Interior { left: 0, right: 0 };
    for inside in &edge.inside {
        for tap_at in [taps.0, taps.1 - 1] {
            let inside = inside.substitute(Var::Axis(tap), &tap_at.into());
            let rest = inside.substitute(Var::Axis(axis), &Affine::constant(0));
            match inside.of_axis(axis) {
                1 => found.left = found.left.max(-rest.as_constant()?),
                // rest - ow >= 0, so ow < rest + 1
                -1 => {
                    found.right =
                        found.right.max(width.minus(&rest).plus_constant(-1).as_constant()?)
                }
                _ => return None,
            }
        }
    }
    Some(found)
}

/// The width in terms of what is given: an output's width follows from the input's, and conditions
/// speak of that.
fn spelled_out(nest: &Nest, width: &Affine) -> Affine {
    let symbols = width.terms().iter().filter_map(|&(var, _)| match var {
        Var::Symbol(symbol) => Some((var, &nest.symbols[symbol.index()])),
        Var::Axis(_) => None,
    });
    symbols.fold(width.clone(), |width, (var, symbol)| {
        let value = symbol.value.as_ref().and_then(single).filter(|value| value.divisor == 1);
        value.map_or(width.clone(), |value| width.substitute(var, &value.numerator))
    })
}

/// The paths above; `None` where edges do not follow from the width like that.
pub(super) fn columns(
    nest: &mut Nest,
    path: &LoopPath,
    edge: &Edge,
    out: usize,
    tile: i64,
    lanes: i64,
) -> Option<Vec<LoopPath>> {
    let width = single(&path.loops[out].hi)
        .filter(|q| q.divisor == 1 && path.loops[out].lo.as_constant() == Some(0))?;
    let width = spelled_out(nest, &width.numerator);
    let Interior { left, right } = interior(path, edge, out, &width)?;
    if left > tile {
        return None;
    }
    // What whole tiles may leave over, in whole vectors.
    let last = (tile - 1 + right + lanes - 1) / lanes * lanes;
    if last / tile > SEPARATE as i64 {
        return None;
    }
    let least = last.max(tile) + left.max(right);
    let fits =
        nest.add_symbol("fits", Bound::Min(vec![1.into(), Quotient::floor(width.clone(), least)]));
    let inner_end = Quotient::floor(width.plus_constant(-right - tile), tile);
    let tiles = nest.add_symbol("tiles", Bound::Min(vec![inner_end, fits.times(BEYOND).into()]));
    let from =
        nest.add_symbol("from", Bound::Min(vec![width.clone().into(), fits.times(BEYOND).into()]));
    let sides: Vec<Affine> = edge.inside.clone();
    let (lefts, rights): (Vec<Affine>, Vec<Affine>) =
        sides.into_iter().partition(|a| a.of_axis(path.loops[out].axis) > 0);

    let mut paths = vec![first(nest, path, edge, (out, tile), &rights, &fits)];
    let mut inner = path.clone();
    inner.loops[out].lo = Bound::Max(vec![tile.into()]);
    inner.loops[out].hi = tiles.times(tile).plus_constant(tile).into();
    inner.leaf = drop_tests(&inner.leaf, &edge.inside);
    paths.push(inner);
    let mut at = last;
    while at > 0 {
        let columns = at.min(tile);
        paths.push(from_the_right(
            nest,
            path,
            edge,
            (out, columns),
            (&width.plus_constant(-at), &lefts),
            &fits,
        ));
        at -= columns;
    }
    let mut narrow = path.clone();
    narrow.loops[out].lo = Bound::Max(vec![from.into()]);
    paths.push(bound_taps(narrow, edge));
    Some(paths)
}

/// A loop that runs once in images that are wide enough.
fn once(nest: &mut Nest, path: &mut LoopPath, out: usize, fits: &Affine) {
    let role = nest.role(path.loops[out].axis);
    let axis = nest.add_axis(format!("{role}.o"), role, Part::Outer);
    path.loops.insert(out, Loop::serial(axis, fits.clone()));
}

fn first(
    nest: &mut Nest,
    path: &LoopPath,
    edge: &Edge,
    (out, tile): (usize, i64),
    rights: &[Affine],
    fits: &Affine,
) -> LoopPath {
    let mut path = path.clone();
    path.loops[out].hi = tile.into();
    path.leaf = drop_tests(&path.leaf, rights);
    let mut path = mask::mask(path, edge, out, tile);
    once(nest, &mut path, out, fits);
    path
}

/// The path for `columns` columns from `start` on, which is counted from the right edge.
fn from_the_right(
    nest: &mut Nest,
    path: &LoopPath,
    edge: &Edge,
    (out, columns): (usize, i64),
    (start, lefts): (&Affine, &[Affine]),
    fits: &Affine,
) -> LoopPath {
    let mut path = path.clone();
    path.leaf = drop_tests(&path.leaf, lefts);
    let axis = path.loops[out].axis;
    path.loops[out].hi = columns.into();
    let place = start.plus(&Affine::axis(axis));
    path.substitute(axis, &place);
    let inside = edge.inside.iter().filter(|a| !lefts.contains(a));
    let edge = Edge {
        inside: inside.map(|a| a.substitute(Var::Axis(axis), &place)).collect(),
        out: edge.out,
        tap: edge.tap,
        skips: edge.skips,
    };
    path = mask::mask(path, &edge, out, columns);
    once(nest, &mut path, out, fits);
    path
}
