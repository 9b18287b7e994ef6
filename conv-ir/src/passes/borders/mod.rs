//! The interior of the image is cut from its edges, so that the interior tests nothing and no tap
//! in the padding is multiplied.
//!
//! ```text
//! before  for ow in 0..56: for kw in 0..3:                 (tiles of 5)
//!           acc = fma(in[ow + kw - 1], ..) when ow + kw - 1 >= 0, 56 - ow - kw >= 0
//! after   for ow in  0.. 5: for kw in 0..3: acc = fma(..) when ow + kw - 1 >= 0
//!         for ow in  5..55: for kw in 0..3: acc = fma(..)
//!         for ow in 55..56: for kw in 0..2: acc = fma(..)
//! ```
//!
//! The first tile tests, but `ow` becomes a constant there. The taps of an axis that is not tiled
//! get bounds, `for kh in max(0, 1 - oh)..min(3, 57 - oh)`; if they are to be unrolled, only at the
//! edge.
//!
//! requires: conditions and folds are about one output axis and one kernel axis each (plus a
//! residue of `phases`). gives: no condition or fold in inner paths; edge paths of one tile,
//! whose conditions are constants once the tile is unrolled.
//!
//! A tile is *inner* for a tap if the tap is inside the image for all its outputs, *outer* if for
//! none. Tiles that are one or the other for every tap are merged with their neighbours of the same
//! kind, whatever the dilation; a tile that is mixed stands alone.
//!
//! With `borders mask` a mixed tile of columns that are in the lanes stays one of vectors: the taps
//! outside read zeros in those lanes.
//!
//! With `borders panel` all this is done by copying instead: see [`panel`].
//!
//! Zeros that are loaded or copied are multiplied by weights. The nest says so
//! ([`Nest::needs_finite_weights`]): an infinity times zero is no number.

mod free;
mod inside;
mod mask;
mod panel;
mod pieces;
mod symbolic;

use crate::nest::{
    Affine, AxisId, Bound, BufferRole, Cond, Expr, Index, LoopPath, Nest, Op, Quotient, Role, Stmt,
    Var, map_paths,
};
use crate::schedule::Borders;
use crate::{Error, Schedule, Target};

use inside::drop_tests;

/// Mixed tiles of one axis that get a path of their own. Beyond it the edge is one path that
/// tests at run time.
const SEPARATE: usize = 16;

/// Chains over all axes: three pieces along each of three, in eight phases. Beyond it the outermost
/// axes are not cut, but tested at run time.
const CHAINS: usize = 8 * 27;

pub(super) fn borders(nest: &mut Nest, schedule: &Schedule, target: &Target) -> Result<(), Error> {
    if schedule.borders == Borders::Mask {
        mask::check(nest, schedule, target)?;
    }
    let weaves = panel::weaves(nest, schedule, target);
    // A row of bytes is what neighbouring taps are multiplied on at a time.
    let are_together = target.slides() || target.interleaves() && nest.interleaves().is_some();
    let stays = are_together && schedule.lanes_of(Role::Out(0)) > 1;
    let body = std::mem::take(&mut nest.body);
    let most = (CHAINS / leaves(&body).max(1)).max(1);
    let mut multiplies = false;
    nest.body = match schedule.borders {
        Borders::Panel { rows, columns } => map_paths(body, &mut |path| {
            multiplies |= skips(&path);
            panel::panel(nest, schedule, path, panel::Copying { rows, columns, weaves, stays })
        })?,
        Borders::Exact | Borders::Mask => map_paths(body, &mut |path| {
            let skips = skips(&path);
            let paths = cut_all(nest, schedule, &path, most);
            multiplies |= skips && paths.iter().any(loads_zeros);
            Ok::<_, Error>(paths)
        })?,
    };
    let weight = nest.buffer_of(BufferRole::Weight);
    let comes_later = weight.is_some_and(|weight| nest.buffer(weight).values.is_none());
    // Zero times an integer is zero.
    nest.needs_finite_weights = multiplies && comes_later && !nest.dtype.is_integer();
    Ok(())
}

/// Whether taps in the padding are left out. In other modes something is read there.
fn skips(path: &LoopPath) -> bool {
    let skips = |op: &Op| matches!(op, Op::Set { when, .. } if !when.is_empty());
    path.leaf.update.iter().any(skips)
}

/// Whether a load gives zero outside, which is multiplied.
fn loads_zeros(path: &LoopPath) -> bool {
    let mut found = false;
    path.leaf.visit_exprs(&mut |e| found |= e.is_masked_load());
    found && path.leaf.neutral() == 0.0
}

fn leaves(stmts: &[Stmt]) -> usize {
    let of = |stmt: &Stmt| match stmt {
        Stmt::For(_, body) => leaves(body),
        Stmt::Leaf(_) | Stmt::Call(_) => 1,
    };
    stmts.iter().map(of).sum()
}

/// The pieces along all axes, or along as many of the inner ones as make at most `most` paths.
fn cut_all(nest: &mut Nest, schedule: &Schedule, path: &LoopPath, most: usize) -> Vec<LoopPath> {
    let (axes, symbols) = (nest.axes.len(), nest.symbols.len());
    for cut in (1..=nest.rank).rev() {
        if let Some(paths) = cut_inner(nest, schedule, path, cut, most) {
            return paths;
        }
        nest.axes.truncate(axes);
        nest.symbols.truncate(symbols);
    }
    cut_inner(nest, schedule, path, 0, usize::MAX).expect("an uncut path is within any bound")
}

fn cut_inner(
    nest: &mut Nest,
    schedule: &Schedule,
    path: &LoopPath,
    cut: usize,
    most: usize,
) -> Option<Vec<LoopPath>> {
    let mut paths = vec![path.clone()];
    // Outer axes first: the pieces of a row then stand side by side, and share the loop over rows.
    for at in (0..nest.rank).rev() {
        let pieces = |path| match at < cut {
            true => cut_axis(nest, schedule, path, at),
            false => vec![uncut(nest, path, at)],
        };
        paths = paths.into_iter().flat_map(pieces).collect();
        if paths.len() > most {
            return None;
        }
    }
    Some(paths)
}

/// The path with taps that are bounded by position along an axis, where that is possible.
fn uncut(nest: &Nest, path: LoopPath, at: usize) -> LoopPath {
    match edge_of(nest, &path, at) {
        Some(edge) => bound_taps(path, &edge),
        None => path,
    }
}

/// What the borders of one spatial axis look like.
struct Edge {
    out: Option<AxisId>,
    tap: Option<AxisId>,
    /// Inside the image if all of these hold.
    inside: Vec<Affine>,
    /// Outside means skipped (zeros), so that tap bounds can say it. Otherwise something else is
    /// read there.
    skips: bool,
}

fn cut_axis(nest: &mut Nest, schedule: &Schedule, path: LoopPath, at: usize) -> Vec<LoopPath> {
    let Some(edge) = edge_of(nest, &path, at) else {
        return vec![path];
    };
    let tile = schedule.tile_of(Role::Out(at)).max(schedule.lanes_of(Role::Out(at)));
    let Some(out) = edge.out.and_then(|out| path.find(out)) else {
        return vec![bound_taps(path, &edge)];
    };
    let repeats = schedule.unroll.contains(&Role::Kernel(at));
    // Masked tiles whose rows of taps stay a loop have no constants to test: their edges are single
    // rows, with bounds for that loop. So are those of a high image: less code for little time.
    let high = path.loops[out].constant_extent().is_none_or(|extent| extent >= 8 * tile);
    let by_row = schedule.borders == Borders::Mask && at > 0 && (!repeats || high);
    if edge.skips && (tile == 1 || by_row) {
        return match inner_rows(&path, &edge, out).filter(|_| repeats || by_row) {
            Some(rows) => peel(path, &edge, out, rows, if by_row { tile } else { 1 }),
            None if by_row && path.loops[out].constant_extent().is_none() => {
                peel_free(nest, path, &edge, out, tile)
            }
            None => vec![bound_taps(path, &edge)],
        };
    }
    match path.loops[out].constant_range() {
        Some((0, extent)) => {
            let pieces = pieces::cut(&path, &edge, out, extent, tile);
            let masks = schedule.borders == Borders::Mask && schedule.lanes_of(Role::Out(at)) > 1;
            match masks && edge.skips {
                true => pieces.into_iter().map(|p| mask::mask(p, &edge, out, tile)).collect(),
                false => pieces,
            }
        }
        _ => {
            let lanes = schedule.lanes_of(Role::Out(at));
            let masks = schedule.borders == Borders::Mask && lanes > 1 && edge.skips;
            masks
                .then(|| free::columns(nest, &path, &edge, out, tile, lanes))
                .flatten()
                .unwrap_or_else(|| symbolic::cut(nest, &path, &edge, out, tile))
        }
    }
}

/// The conditions about spatial axis `at`, in operations, selects and folds.
fn edge_of(nest: &Nest, path: &LoopPath, at: usize) -> Option<Edge> {
    let mine = |a: &Affine| {
        a.axes().any(|axis| matches!(nest.role(axis), Role::Out(i) | Role::Kernel(i) if i == at))
    };
    let mut edge = Edge { out: None, tap: None, inside: Vec::new(), skips: true };
    let mut add = |a: Affine| {
        if mine(&a) && !edge.inside.contains(&a) {
            edge.inside.push(a);
        }
    };
    for condition in path.leaf.conditions() {
        add(condition.expression().clone());
    }
    let mut folds = false;
    for access in path.leaf.accesses() {
        for index in &access.index {
            if let Index::Folded { index, extent, .. } = index {
                folds |= mine(index);
                add(index.clone());
                add(extent.plus_constant(-1).minus(index));
            }
        }
    }
    path.leaf.visit_exprs(&mut |e| {
        folds |=
            matches!(e, Expr::Select { when, .. } if when.iter().any(|c| mine(c.expression())));
    });
    edge.skips = !folds;
    for axis in edge.inside.iter().flat_map(|a| a.axes().collect::<Vec<_>>()) {
        match nest.role(axis) {
            Role::Out(_)
                if path.find(axis).is_some_and(|l| path.loops[l].axis == axis)
                    && !is_residue(nest, axis) =>
            {
                edge.out = Some(axis);
            }
            Role::Kernel(_) => edge.tap = Some(axis),
            _ => {}
        }
    }
    (!edge.inside.is_empty()).then_some(edge)
}

/// A loop over residues is made by `phases`; it moves conditions but is no output axis of its own.
fn is_residue(nest: &Nest, axis: AxisId) -> bool {
    nest.axis(axis).part == crate::nest::Part::Inner
}

/// Conditions `rest + b * tap >= 0` become bounds of the tap's loop.
fn bound_taps(mut path: LoopPath, edge: &Edge) -> LoopPath {
    let Some(tap) = edge.tap else { return path };
    let Some(at) = path.leaf.reduce.iter().position(|l| l.axis == tap) else {
        return path;
    };
    if !edge.skips {
        return path;
    }
    let (mut lo, mut hi) = (
        path.leaf.reduce[at].lo.quotients().to_vec(),
        path.leaf.reduce[at].hi.quotients().to_vec(),
    );
    let mut moved = Vec::new();
    for inside in &edge.inside {
        let b = inside.of_axis(tap);
        let rest = inside.substitute(Var::Axis(tap), &Affine::constant(0));
        match b {
            0 => continue,
            b if b > 0 => lo.push(Quotient::ceil(rest.times(-1), b)),
            b => hi.push(Quotient::floor(rest.plus_constant(-b), -b)),
        }
        moved.push(Cond::NonNegative(inside.clone()));
    }
    path.leaf.reduce[at].lo = Bound::Max(lo);
    path.leaf.reduce[at].hi = Bound::Min(hi);
    for op in &mut path.leaf.update {
        if let Op::Set { when, .. } = op {
            when.retain(|c| !moved.contains(c));
        }
    }
    path
}

/// Positions of an untiled axis for which every tap is inside: half-open, and most of the axis.
fn inner_rows(path: &LoopPath, edge: &Edge, out: usize) -> Option<(i64, i64)> {
    let (0, extent) = path.loops[out].constant_range()? else {
        return None;
    };
    let taps = path.leaf.reduce.iter().find(|l| Some(l.axis) == edge.tap)?.constant_range()?;
    let rows = all_inside(path, edge, path.loops[out].axis, taps, extent)?;
    (2 * (rows.1 - rows.0) > extent).then_some(rows)
}

/// Positions for which every tap is inside. Each condition moves one way from tap to tap, so the
/// first and the last tap tell.
fn all_inside(
    path: &LoopPath,
    edge: &Edge,
    axis: AxisId,
    taps: (i64, i64),
    extent: i64,
) -> Option<(i64, i64)> {
    let mut inside = (0, extent);
    for tap in [taps.0, taps.1 - 1].into_iter().filter(|tap| (taps.0..taps.1).contains(tap)) {
        let sure = reach(path, edge, axis, tap, extent)?.sure;
        inside = (inside.0.max(sure.0), inside.1.min(sure.1));
    }
    Some(inside)
}

/// Edge, interior, edge: taps of the interior have constant bounds, so that they can be unrolled;
/// those of the edges get bounds by position.
///
/// Rows of the interior that are no whole tile stand alone, before columns are cut: then all pieces
/// of a row of tiles share the loop over those, and memory is walked through once.
fn peel(path: LoopPath, edge: &Edge, out: usize, rows: (i64, i64), tile: i64) -> Vec<LoopPath> {
    let extent = path.loops[out].constant_range().map_or(rows.1, |range| range.1);
    let part = |lo: i64, hi: i64| {
        let mut part = path.clone();
        (part.loops[out].lo, part.loops[out].hi) = (Bound::Max(vec![lo.into()]), hi.into());
        part
    };
    let whole = rows.1 - (rows.1 - rows.0) % tile;
    let mut parts = Vec::new();
    if rows.0 > 0 {
        parts.push(bound_taps(part(0, rows.0), edge));
    }
    for (lo, hi) in [(rows.0, whole), (whole, rows.1)] {
        if lo < hi {
            let mut inner = part(lo, hi);
            inner.leaf = drop_tests(&inner.leaf, &edge.inside);
            parts.push(inner);
        }
    }
    if rows.1 < extent {
        parts.push(bound_taps(part(rows.1, extent), edge));
    }
    parts
}

/// The same where the number of rows is known at run time only.
fn peel_free(nest: &mut Nest, path: LoopPath, edge: &Edge, out: usize, tile: i64) -> Vec<LoopPath> {
    let Ok([low, inner, high]) =
        <[LoopPath; 3]>::try_from(symbolic::cut(nest, &path, edge, out, 1))
    else {
        return vec![bound_taps(path, edge)];
    };
    let (Some(start), Some(end)) =
        (inner.loops[out].lo.as_constant(), single(&inner.loops[out].hi))
    else {
        return vec![bound_taps(low, edge), inner, bound_taps(high, edge)];
    };
    let tiles =
        Bound::Max(vec![0.into(), Quotient::floor(end.numerator.plus_constant(-start), tile)]);
    let whole = nest.add_symbol("row_tiles", tiles).times(tile).plus_constant(start);
    let (mut tiled, mut rest) = (inner.clone(), inner);
    tiled.loops[out].hi = whole.clone().into();
    rest.loops[out].lo = Bound::Max(vec![whole.into()]);
    vec![bound_taps(low, edge), tiled, rest, bound_taps(high, edge)]
}

/// Where one tap is inside for sure, and where it may be: half-open ranges of output positions.
struct Reach {
    sure: (i64, i64),
    may: (i64, i64),
}

/// Ranges of the output axis in which `tap` is inside, over all values of the other axes
/// (residues).
fn reach(path: &LoopPath, edge: &Edge, out: AxisId, tap: i64, extent: i64) -> Option<Reach> {
    let mut reach = Reach { sure: (0, extent), may: (0, extent) };
    for inside in &edge.inside {
        let inside =
            edge.tap.map_or(inside.clone(), |t| inside.substitute(Var::Axis(t), &tap.into()));
        let a = inside.of_axis(out);
        let rest = inside.substitute(Var::Axis(out), &Affine::constant(0));
        let (low, high) = interval(path, &rest)?;
        for (range, c) in [(&mut reach.sure, low), (&mut reach.may, high)] {
            // a * o + c >= 0
            match a {
                0 if c < 0 => *range = (0, 0),
                0 => {}
                a if a > 0 => range.0 = range.0.max((-c + a - 1).div_euclid(a)),
                a => range.1 = range.1.min(c.div_euclid(-a) + 1),
            }
        }
    }
    for range in [&mut reach.sure, &mut reach.may] {
        *range = (range.0.min(extent), range.1.max(0));
    }
    Some(reach)
}

/// The least and greatest value of an expression over constant driver loops.
fn interval(path: &LoopPath, a: &Affine) -> Option<(i64, i64)> {
    let (mut low, mut high) = (a.constant, a.constant);
    for &(var, coefficient) in a.terms() {
        let Var::Axis(axis) = var else { return None };
        let (lo, hi) = path.loops[path.find(axis)?].constant_range()?;
        let ends = [coefficient * lo, coefficient * (hi - 1)];
        low += ends[0].min(ends[1]);
        high += ends[0].max(ends[1]);
    }
    Some((low, high))
}

/// The only quotient of a bound.
fn single(bound: &Bound) -> Option<Quotient> {
    match bound.quotients() {
        [one] => Some(one.clone()),
        _ => None,
    }
}
