//! Driver loops in the schedule's order; chains that start with the same loops share them; one loop
//! around every store is parallel.
//!
//! ```text
//! before  for n, oc.o, oh, ow.o in 0..11: leaf tile oc.i 8 x ow.i 5
//!         for n, oc.o, oh:                leaf tile oc.i 8 x ow.i 1
//! after   for n: for oc.o parallel: for oh:
//!           for ow.o in 0..11:            leaf tile oc.i 8 x ow.i 5
//!                                         leaf tile oc.i 8 x ow.i 1
//! ```
//!
//! Loops count as equal where they run over the same range of the same kind of axis, whichever
//! chain it was split in.
//!
//! requires: chains.
//! gives: loops as ordered, equal outer loops shared, exactly one parallel loop around every leaf
//! that stores output.
//!
//! Every driver loop is over output positions, so any order is legal, as long as a bound that
//! depends on another loop stays inside it.

use crate::nest::{
    Affine, AxisId, Bound, BufferRole, Loop, LoopKind, LoopPath, Nest, Part, Quotient, Role, Stmt,
    fuse, map_runs,
};
use crate::{Error, Schedule, Target};

pub(super) fn reorder(nest: &mut Nest, schedule: &Schedule, _: &Target) -> Result<(), Error> {
    let body = std::mem::take(&mut nest.body);
    let body = map_runs(body, &mut |mut run| {
        for path in run.iter_mut().filter(|path| !path.is_copy()) {
            path.loops = order(nest, schedule, std::mem::take(&mut path.loops));
            keep_in_cache(nest, schedule, path);
            check(nest, path)?;
        }
        Ok::<_, Error>(shared(nest, by_channels(nest, schedule, run)))
    })?;
    nest.body = fuse(body);
    let mut body = std::mem::take(&mut nest.body);
    for stmt in &mut body {
        parallelise(nest, stmt, schedule.parallel);
    }
    nest.body = body.into_iter().map(|stmt| wrap(nest, stmt)).collect();
    Ok(())
}

/// Position of a loop: unnamed ones first, residues of an axis just outside it.
fn order(nest: &Nest, schedule: &Schedule, mut loops: Vec<Loop>) -> Vec<Loop> {
    let rank = |l: &Loop| {
        let named = schedule.order.iter().position(|&role| role == nest.role(l.axis));
        (named.map_or(0, |at| at + 1), nest.axis(l.axis).part != Part::Inner)
    };
    loops.sort_by_key(rank);
    loops
}

/// The loop over tiles of output channels in two: blocks where it stood, the tiles of a block
/// innermost.
fn keep_in_cache(nest: &mut Nest, schedule: &Schedule, chain: &mut LoopPath) {
    let tiles = schedule.cache / schedule.tile_of(Role::OutChannel);
    let is_it =
        |l: &Loop| nest.role(l.axis) == Role::OutChannel && nest.axis(l.axis).part == Part::Outer;
    let Some(at) = chain.loops.iter().position(is_it) else {
        return;
    };
    let Some((0, count)) = chain.loops[at].constant_range() else {
        return;
    };
    if tiles < 1 || count <= tiles || at + 1 == chain.loops.len() {
        return;
    }
    let block = nest.add_axis("oc.c", Role::OutChannel, Part::Outer);
    let tile = nest.add_axis("oc.o", Role::OutChannel, Part::Outer);
    let start = Affine::axis(block).times(tiles);
    chain.substitute(chain.loops[at].axis, &start.plus(&Affine::axis(tile)));
    let left = Quotient::from(start.times(-1).plus_constant(count));
    let hi = if count % tiles == 0 { tiles.into() } else { Bound::Min(vec![tiles.into(), left]) };
    chain.loops[at] = Loop::serial(block, (count + tiles - 1) / tiles);
    chain.loops.push(Loop { hi, ..Loop::serial(tile, 0) });
}

/// Paths side by side under the same loops outside that over channels: those over the same tiles of
/// channels come together, so that a tile's weights are read in one go for the whole image below.
/// Measured with AVX2 on a Granite Rapids, 3x3 over 7x7, 512 to 512 channels in tiles of 24, which
/// leave 8: 3.23 ms with a sweep over all weights for each edge and column tail, 1.90 ms so.
fn by_channels(nest: &Nest, schedule: &Schedule, run: Vec<LoopPath>) -> Vec<LoopPath> {
    let rank = |role: Role| schedule.order.iter().position(|&named| named == role);
    let Some(channels) = rank(Role::OutChannel) else { return run };
    let range = |l: &Loop| (nest.role(l.axis), nest.axis(l.axis).part, l.constant_range());
    let outside = |path: &LoopPath| -> Vec<_> {
        let is_outside = |l: &&Loop| rank(nest.role(l.axis)).is_none_or(|at| at < channels);
        path.loops.iter().take_while(is_outside).map(range).collect()
    };
    let tiles = |path: &LoopPath| {
        let is_it = |l: &&Loop| nest.role(l.axis) == Role::OutChannel;
        let tile = path.leaf.tile.iter().find(|t| nest.role(t.axis) == Role::OutChannel);
        (path.loops.iter().find(is_it).map(range), tile.map(|t| t.extent))
    };
    let mut sorted: Vec<usize> = Vec::with_capacity(run.len());
    for side_by_side in
        run.chunk_by(|a, b| !a.is_copy() && !b.is_copy() && outside(a) == outside(b))
    {
        let mut seen = Vec::new();
        let mut ranked: Vec<(usize, usize)> = Vec::new();
        for (path, place) in side_by_side.iter().zip(sorted.len()..) {
            let tiles = tiles(path);
            let at = seen.iter().position(|s| *s == tiles).unwrap_or(seen.len());
            if at == seen.len() {
                seen.push(tiles);
            }
            ranked.push((at, place));
        }
        ranked.sort_unstable();
        sorted.extend(ranked.into_iter().map(|r| r.1));
    }
    let mut run: Vec<Option<LoopPath>> = run.into_iter().map(Some).collect();
    sorted.into_iter().filter_map(|at| run[at].take()).collect()
}

/// Paths with the names of the loops of the one before them, as far as their own are the same.
fn shared(nest: &Nest, run: Vec<LoopPath>) -> Vec<LoopPath> {
    let mut before = Vec::new();
    let mut named = |path: LoopPath| {
        if path.is_copy() {
            before.clear();
            return path;
        }
        let path = share(nest, path, &before);
        before.clone_from(&path.loops);
        path
    };
    run.into_iter().map(&mut named).collect()
}

/// The chain with the names of the loops before it, as far as its own are the same: each piece of a
/// row of tiles has been split by itself, but shares the walk down the image, so that
/// memory is walked through once. Measured on Sobel over 1080p: 0.60 ms, and 0.70 with each edge a
/// walk of its own, where a copy takes 0.56 (Sapphire Rapids).
fn share(nest: &Nest, mut chain: LoopPath, before: &[Loop]) -> LoopPath {
    for (at, outer) in before.iter().enumerate() {
        let Some(own) = chain.loops.get(at).cloned() else { break };
        if own == *outer {
            continue;
        }
        let renamed = Loop { axis: outer.axis, ..own.clone() };
        let [one, other] =
            [outer.axis, own.axis].map(|axis| (nest.role(axis), nest.axis(axis).part));
        if renamed != *outer || one != other || chain.find(outer.axis).is_some() {
            break;
        }
        chain.substitute(own.axis, &Affine::axis(outer.axis));
        chain.loops[at] = renamed;
    }
    chain
}

fn check(nest: &Nest, chain: &LoopPath) -> Result<(), Error> {
    for (at, l) in chain.loops.iter().enumerate() {
        let used =
            [&l.lo, &l.hi].into_iter().flat_map(|b| b.quotients()).flat_map(|q| q.numerator.axes());
        let bound = |axis: AxisId| chain.loops[..at].iter().any(|outer| outer.axis == axis);
        let inside = |axis: AxisId| chain.loops[at..].iter().any(|inner| inner.axis == axis);
        if let Some(axis) = used.into_iter().find(|&axis| !bound(axis) && inside(axis)) {
            let [inner, outer] = [axis, l.axis].map(|a| nest.axis(a).name.clone());
            return Err(Error::IllegalSchedule(format!(
                "order: the bounds of {outer} depend on {inner}, which must be outside it"
            )));
        }
    }
    Ok(())
}

/// Marks the loop named by the schedule, or else the outermost, on every path to a leaf that stores
/// output.
fn parallelise(nest: &Nest, stmt: &mut Stmt, wanted: Option<Role>) -> bool {
    let Stmt::For(l, body) = stmt else { return false };
    if wanted == Some(nest.role(l.axis)) {
        l.kind = LoopKind::Parallel;
        return true;
    }
    let mut marked = false;
    for inner in body.iter_mut() {
        marked |= parallelise(nest, inner, wanted);
    }
    marked
}

/// Statements with a store that no parallel loop surrounds: their outermost loop becomes parallel,
/// or they are wrapped in one of extent 1.
fn wrap(nest: &mut Nest, stmt: Stmt) -> Stmt {
    if !stores(nest, &stmt) || matches!(&stmt, Stmt::For(l, _) if l.kind == LoopKind::Parallel) {
        return stmt;
    }
    match stmt {
        Stmt::For(l, body) if body.iter().any(has_parallel) => {
            Stmt::For(l, body.into_iter().map(|inner| wrap(nest, inner)).collect())
        }
        Stmt::For(l, body) => Stmt::For(Loop { kind: LoopKind::Parallel, ..l }, body),
        other => {
            let once = nest.add_axis("once", Role::Copy, Part::Whole);
            Stmt::For(Loop { kind: LoopKind::Parallel, ..Loop::serial(once, 1) }, vec![other])
        }
    }
}

fn has_parallel(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::For(l, body) => l.kind == LoopKind::Parallel || body.iter().any(has_parallel),
        Stmt::Leaf(_) | Stmt::Call(_) => false,
    }
}

fn stores(nest: &Nest, stmt: &Stmt) -> bool {
    match stmt {
        Stmt::For(_, body) => body.iter().any(|inner| stores(nest, inner)),
        Stmt::Call(_) => false,
        Stmt::Leaf(leaf) => leaf
            .accesses()
            .iter()
            .any(|a| nest.buffer(nest.buffer_behind(leaf, a.base)).role == BufferRole::Output),
    }
}
