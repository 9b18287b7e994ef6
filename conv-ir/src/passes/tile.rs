//! Output axes are split into tiles, and the tile moves inside the leaf: one accumulator per point
//! of it.
//!
//! ```text
//! before  for oc in 0..64: for ow in 0..56:
//!           leaf: acc = ..; for ic: acc = fma(in[ow], w[oc], acc); out[oc, ow] = acc
//! after   for oc.o in 0..8: for ow.o in 0..11:                              (oc = 8 oc.o + oc.i)
//!           leaf tile oc.i 8 x ow.i 5: each oc.i, ow.i: acc[oc.i, ow.i] = ..
//!         for oc.o in 0..8:                                                 (the tail: ow = 55)
//!           leaf tile oc.i 8 x ow.i 1: ..
//! ```
//!
//! requires: paths of whole output axes.
//! gives: leaves with a register tile, operations under `each`; a main path of whole tiles and a
//! tail path per tiled axis, each exact.
//!
//! A tail is a tile of just the rest, so nothing is computed twice or beyond the end. Where a
//! condition or fold depends on the axis that would be the lanes, it is different in each lane:
//! that edge path gets a scalar tile (lanes of 1), and no more than a vector's worth of it.
//! An extent known only at run time has a tail loop of single elements.

use crate::nest::{
    Affine, AxisId, Bound, Cond, Leaf, Loop, LoopPath, Nest, Op, Part, Quotient, Role, TileAxis,
    map_paths,
};
use crate::schedule::Borders;
use crate::{Error, Schedule, Target};

/// Vectors of one register tile. Registers hold at most 32; a tile beyond this only makes code, and
/// the time to compile it, that grow without bound.
const MAX_VECTORS: i64 = 64;

pub(super) fn tile(nest: &mut Nest, schedule: &Schedule, target: &Target) -> Result<(), Error> {
    check(nest, schedule)?;
    check_size(nest, schedule, target)?;
    let body = std::mem::take(&mut nest.body);
    nest.body = map_paths(body, &mut |path| {
        if path.is_copy() {
            return Ok(vec![path]);
        }
        let tiles = tiles_for(nest, schedule, &path);
        let mut paths = vec![path];
        for tile in tiles {
            paths = paths.into_iter().flat_map(|path| split(nest, path, tile)).collect();
        }
        Ok::<_, Error>(paths.into_iter().map(|path| fission(nest, path)).collect())
    })?;
    Ok(())
}

fn check(nest: &Nest, schedule: &Schedule) -> Result<(), Error> {
    let tileable = |role: Role| match role {
        Role::Group | Role::OutChannel => true,
        Role::Out(at) => at < nest.rank,
        Role::Batch | Role::InChannel | Role::Kernel(_) | Role::Copy | Role::Param => false,
    };
    let named = schedule.tile.iter().chain(&schedule.lanes).map(|t| t.0);
    if let Some(role) = named.into_iter().find(|&role| !tileable(role)) {
        return Err(Error::IllegalSchedule(format!(
            "axis {role} cannot be tiled; oc, g and the output's spatial axes can"
        )));
    }
    match schedule.lanes {
        Some((role @ Role::Out(at), _)) if at > 0 => Err(Error::IllegalSchedule(format!(
            "lanes {role}: of the spatial axes only the innermost, ow, can be in the lanes"
        ))),
        Some((role, width)) if schedule.tile_of(role) % width != 0 => {
            Err(Error::IllegalSchedule(format!(
                "tile {role}:{} is no multiple of lanes {role}:{width}",
                schedule.tile_of(role)
            )))
        }
        _ => Ok(()),
    }
}

/// The tile must be of a size that code can be made of. Lanes beyond the target's count as the
/// several vectors that they become.
fn check_size(nest: &Nest, schedule: &Schedule, target: &Target) -> Result<(), Error> {
    let points = schedule.tile.iter().fold(1, |points: i64, t| points.saturating_mul(t.1));
    let native = (target.vector_bytes / nest.dtype.bytes()).max(1) as i64;
    let width = schedule.lanes.map_or(1, |l| l.1);
    let vectors = (points / width).saturating_mul((width + native - 1) / native);
    if vectors > MAX_VECTORS {
        return Err(Error::IllegalSchedule(format!(
            "the register tile takes {vectors} vectors (an element without lanes counts as one), but the limit is {MAX_VECTORS}"
        )));
    }
    Ok(())
}

/// How an axis is split.
#[derive(Clone, Copy)]
struct Split {
    role: Role,
    extent: i64,
    /// The inner part becomes a driver loop instead of a register tile (packed weights still count
    /// in whole tiles).
    in_driver: bool,
}

/// The tile that this path gets.
fn tiles_for(nest: &Nest, schedule: &Schedule, path: &LoopPath) -> Vec<Split> {
    let scalar = schedule
        .lanes
        .map(|l| l.0)
        .filter(|&lanes| masks_are_not_enough(nest, schedule, &path.leaf, lanes));
    let mut tiles: Vec<Split> = schedule
        .tile
        .iter()
        .filter(|t| t.1 > 1)
        .map(|&(role, extent)| Split {
            role,
            extent,
            in_driver: scalar.is_some_and(|lanes| lanes != role),
        })
        .collect();
    // Channels outermost in the tile, then rows, then columns: the order in which `each` is
    // written.
    tiles.sort_by_key(|t| (matches!(t.role, Role::Out(_)), std::cmp::Reverse(t.role)));
    tiles
}

/// Whether lanes would differ in more than what masked loads see to.
fn masks_are_not_enough(nest: &Nest, schedule: &Schedule, leaf: &Leaf, lanes: Role) -> bool {
    let is_lanes = |axis: AxisId| nest.role(axis) == lanes;
    let tests = |c: &Cond| c.expression().axes().any(is_lanes);
    leaf.tests_depend_on(is_lanes)
        || schedule.borders != Borders::Mask && leaf.conditions().into_iter().any(tests)
}

fn split(nest: &mut Nest, path: LoopPath, tile: Split) -> Vec<LoopPath> {
    let is_it = |l: &Loop| nest.role(l.axis) == tile.role && nest.axis(l.axis).part == Part::Whole;
    let Some(at) = path.loops.iter().position(is_it) else {
        return vec![path];
    };
    let axis = path.loops[at].axis;
    let depends = |b: &Bound| b.quotients().iter().any(|q| q.numerator.of_axis(axis) != 0);
    if path.leaf.reduce.iter().any(|l| depends(&l.lo) || depends(&l.hi)) {
        return vec![path]; // its taps have bounds by position, which a tile does not have
    }
    match path.loops[at].constant_range() {
        Some((lo, hi)) => split_constant(nest, &path, at, (lo, hi), tile),
        None => split_symbolic(nest, path, at, tile),
    }
}

fn split_constant(
    nest: &mut Nest,
    path: &LoopPath,
    at: usize,
    (lo, hi): (i64, i64),
    tile: Split,
) -> Vec<LoopPath> {
    let extent = tile.extent;
    let (tiles, rest) = ((hi - lo).max(0) / extent, (hi - lo).max(0) % extent);
    let mut paths = Vec::new();
    if tiles > 0 {
        paths.push(main(nest, path, at, (lo.into(), tiles.into()), tile));
    }
    if rest > 0 {
        paths.push(main(
            nest,
            path,
            at,
            ((lo + tiles * extent).into(), 1.into()),
            Split { extent: rest, ..tile },
        ));
    }
    paths
}

fn split_symbolic(nest: &mut Nest, path: LoopPath, at: usize, tile: Split) -> Vec<LoopPath> {
    let extent = tile.extent;
    let l = &path.loops[at];
    let (Some(lo), [hi]) = (l.lo.as_constant(), l.hi.quotients()) else {
        return vec![path];
    };
    if hi.numerator.axes().next().is_some() {
        return vec![path]; // depends on another loop: not worth a tile of its own
    }
    let length = hi.numerator.plus_constant(-lo * hi.divisor);
    let exact = hi.divisor == 1
        && length.constant % extent == 0
        && length.terms().iter().all(|t| t.1 % extent == 0);
    let tiles = nest.add_symbol("tiles", Quotient::floor(length, hi.divisor * extent));
    let whole = main(nest, &path, at, (lo.into(), tiles.clone().into()), tile);
    if exact {
        return vec![whole];
    }
    let mut rest = path;
    rest.loops[at].lo = Bound::Max(vec![lo.into(), tiles.times(extent).plus_constant(lo).into()]);
    vec![whole, rest]
}

/// `tiles` whole tiles from `lo` on.
fn main(
    nest: &mut Nest,
    path: &LoopPath,
    at: usize,
    (lo, tiles): (Affine, Bound),
    tile: Split,
) -> LoopPath {
    let extent = tile.extent;
    let axis = path.loops[at].axis;
    let (name, role) = (nest.role(axis).to_string(), nest.role(axis));
    let inner = nest.add_axis(format!("{name}.i"), role, Part::Inner);
    let single = tiles.as_constant() == Some(1);
    let mut start = lo;
    let mut split = path.clone();
    if single {
        split.loops.remove(at);
    } else {
        let outer = nest.add_axis(format!("{name}.o"), role, Part::Outer);
        start = start.plus(&Affine::axis(outer).times(extent));
        split.loops[at] = Loop::serial(outer, tiles);
    }
    split.substitute(axis, &start.plus(&Affine::axis(inner)));
    if tile.in_driver {
        let at = split.loops.len();
        split.loops.insert(at, Loop::serial(inner, extent));
    } else {
        split.leaf.tile.push(TileAxis { axis: inner, extent });
    }
    split
}

/// The tile moves inside: accumulators become arrays over it, and every operation runs for each
/// point.
fn fission(nest: &Nest, mut path: LoopPath) -> LoopPath {
    let axes: Vec<AxisId> = path.leaf.tile.iter().map(|t| t.axis).collect();
    if axes.is_empty() {
        path.leaf.name = name(nest, &path.leaf);
        return path;
    }
    for register in &mut path.leaf.registers {
        register.axes = axes.clone();
    }
    let each = |ops: Vec<Op>| {
        axes.iter()
            .rev()
            .fold(ops, |ops, &axis| if ops.is_empty() { ops } else { vec![Op::Each(axis, ops)] })
    };
    let leaf = &mut path.leaf;
    leaf.init = each(std::mem::take(&mut leaf.init));
    leaf.update = each(std::mem::take(&mut leaf.update));
    leaf.finish = each(std::mem::take(&mut leaf.finish));
    leaf.name = name(nest, leaf);
    path
}

/// `tile_oc8_ow5`: what it computes at once.
fn name(nest: &Nest, leaf: &Leaf) -> String {
    let part = |t: &TileAxis| format!("_{}{}", nest.role(t.axis), t.extent);
    let parts: String = leaf.tile.iter().map(part).collect();
    if parts.is_empty() { "point".to_owned() } else { format!("tile{parts}") }
}
