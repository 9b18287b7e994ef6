//! Weight and bias are copied once into the order in which leaves read them.
//!
//! ```text
//! before  weight[8 oc.o + oc.i, ic, kh, kw]
//! after   packed_weight[oc.o, ic, kh, kw, oc.i]
//! setup   for oc.o, ic, kh, kw, oc.i: packed_weight[..] = weight[..]
//! ```
//!
//! requires: tiles, of the schedule's extents or tails that start at a multiple of them.
//! gives: weight and bias read from packed buffers, which are whole tiles (channels beyond the last
//! are zero), filled by `setup`.
//!
//! Blocks of channels come first, the tile itself last, so that a leaf walks one contiguous run of
//! memory and a vector of channels is one load. Where bytes are multiplied four at a time, channels
//! of the input are cut in blocks of four, which are innermost. Taps that a phase of a transposed
//! convolution visits in steps (`3 - 2 kw.q`) are put together: their residue comes before the
//! input channels.
//!
//! Blocks are register tiles, or, where several machines with tiles of their own share one packed
//! weight, panels of a width that all can read. Those are cut by lanes rather than by the tile (`oc
//! = 32 oc.o + 16 oc.v + oc.l` in panels of 16 is `[2 oc.o + oc.v, .., oc.l]`), so they are packed
//! after pass `vectorise`.

use crate::nest::{
    Access, Affine, AxisId, Base, Bound, Buffer, BufferId, BufferRole, Expr, FOUR, Leaf, Loop,
    Nest, Op, Part, Quotient, Role, for_leaves,
};
use crate::schedule::Pack;
use crate::{DType, Error, Schedule, Target};

pub(super) fn pack(nest: &mut Nest, schedule: &Schedule, target: &Target) -> Result<(), Error> {
    match schedule.pack {
        Pack::Tiles if multiplies_fours(nest, schedule, target) => {
            split_channels(nest);
            let width = |role| if role == Role::InChannel { FOUR } else { schedule.tile_of(role) };
            pack_in(nest, &width, target)
        }
        Pack::Tiles => pack_in(nest, &|role| schedule.tile_of(role), target),
        Pack::No if is_widened(nest, target) => pack_in(nest, &|_| 1, target),
        Pack::Panels { .. } | Pack::No => Ok(()),
    }
}

/// Whether four channels of the input, which lie side by side, are multiplied at a time, with those
/// of the output in the lanes, or with columns of a panel that has such blocks.
fn multiplies_fours(nest: &Nest, schedule: &Schedule, target: &Target) -> bool {
    let by_channels = schedule.lanes_of(Role::OutChannel) > 1;
    let are_woven =
        || nest.all_leaves().iter().any(|leaf| leaf.reduce.iter().any(|l| nest.is_block(l)));
    target.isa.machine().dots && (by_channels || are_woven()) && nest.fours().is_some()
}

/// Cuts the loops over the channels of the input in blocks of four, which are whole: packed weights
/// are, and what a panel has under zeros does not count.
fn split_channels(nest: &mut Nest) {
    let mut body = std::mem::take(&mut nest.body);
    let block = nest.add_axis("ic.q", Role::InChannel, Part::Outer);
    let inside = nest.add_axis("ic.b", Role::InChannel, Part::Inner);
    for_leaves(&mut body, &mut |leaf| {
        nest.cut_in_fours(leaf, (block, inside));
        for l in leaf.reduce.iter_mut().filter(|l| nest.is_block(l)) {
            l.hi = FOUR.into();
        }
        Ok::<_, Error>(())
    })
    .expect("nothing fails");
    nest.body = body;
}

/// Whether packing widens what leaves would widen at each use.
fn is_widened(nest: &Nest, target: &Target) -> bool {
    let mut arrays =
        [BufferRole::Weight, BufferRole::Bias].into_iter().flat_map(|role| nest.buffer_of(role));
    arrays.any(|buffer| nest.buffer(buffer).dtype != packed_type(nest, buffer, target))
}

/// The type of a packed buffer. Weights that do not stay in a cache are read from further away
/// each time, which takes longer than to widen them; others are widened once, when they are packed.
/// Integers stay narrow: a leaf that knows that its factors are can multiply them faster.
fn packed_type(nest: &Nest, from: BufferId, target: &Target) -> DType {
    let Buffer { role, dtype, .. } = *nest.buffer(from);
    let bytes = nest.constant_len(from).unwrap_or(0) * nest.dtype.bytes() as i64;
    let streams = role == BufferRole::Weight && bytes > target.l2_bytes as i64;
    if streams || dtype.is_integer() { dtype } else { nest.dtype }
}

pub(super) fn pack_panels(
    nest: &mut Nest,
    schedule: &Schedule,
    target: &Target,
) -> Result<(), Error> {
    let Pack::Panels { role, width } = schedule.pack else {
        return Ok(());
    };
    let (lanes, tile) = (schedule.lanes_of(role), schedule.tile_of(role));
    if lanes != width && (tile != width || tile % lanes != 0) {
        return Err(Error::IllegalSchedule(format!(
            "pack {role}:{width}: panels are as wide as the lanes along {role}, here {lanes}, or as the tile, here {tile}"
        )));
    }
    pack_in(nest, &|of| if of == role { width } else { 1 }, target)
}

/// Weight and bias in blocks of `width` channels or groups.
fn pack_in(nest: &mut Nest, width: &dyn Fn(Role) -> i64, target: &Target) -> Result<(), Error> {
    for role in [BufferRole::Weight, BufferRole::Bias] {
        if let Some(buffer) = nest.buffer_of(role) {
            let dtype = packed_type(nest, buffer, target);
            pack_buffer(nest, width, buffer, dtype)?;
        }
    }
    Ok(())
}

/// One dimension of the buffer as it was, and what becomes of it.
struct Dimension {
    extent: i64,
    role: Option<Role>,
    /// Split into blocks of this many; 1 is not split.
    tile: i64,
    /// Visited in steps of this many; 1 is one after the other.
    step: i64,
}

impl Dimension {
    /// Extent of its main part: blocks of a tile, or one residue's taps.
    fn blocks(&self) -> i64 {
        (self.extent + self.tile * self.step - 1) / (self.tile * self.step)
    }
}

fn pack_buffer(
    nest: &mut Nest,
    width: &dyn Fn(Role) -> i64,
    from: BufferId,
    dtype: DType,
) -> Result<(), Error> {
    let Some(dimensions) = dimensions(nest, width, from) else {
        return Ok(());
    };
    let order = packed_order(&dimensions);
    let extents = order.iter().map(|&(part, d)| {
        Affine::constant(match part {
            Piece::Residue => dimensions[d].step,
            Piece::Block => dimensions[d].blocks(),
            Piece::Tile => dimensions[d].tile,
        })
    });
    let extents = extents.collect();
    let name = format!("packed_{}", nest.buffer(from).name);
    let to = nest.add_buffer(name, BufferRole::Packed, extents);
    nest.store_as(to, dtype);
    let mut body = std::mem::take(&mut nest.body);
    for_leaves(&mut body, &mut |leaf| {
        *leaf = leaf.map(
            &mut |access| match access.base == Base::Buffer(from) {
                true => packed_access(access, to, &dimensions, &order),
                false => access.clone(),
            },
            &mut |c| c.clone(),
            &mut |b| b.clone(),
        );
        Ok::<_, Error>(())
    })?;
    nest.body = body;
    let copy = copy(nest, (from, to), &dimensions, &order);
    nest.setup.push(copy);
    Ok(())
}

fn dimensions(
    nest: &Nest,
    width: &dyn Fn(Role) -> i64,
    buffer: BufferId,
) -> Option<Vec<Dimension>> {
    let Buffer { extents, .. } = nest.buffer(buffer);
    let leaves = nest.all_leaves();
    let accesses: Vec<&Access> = leaves
        .iter()
        .flat_map(|l| l.accesses())
        .filter(|a| a.base == Base::Buffer(buffer))
        .collect();
    extents
        .iter()
        .enumerate()
        .map(|(at, extent)| {
            let axes = accesses
                .iter()
                .filter_map(|a| a.index[at].as_affine())
                .flat_map(|i| i.axes().collect::<Vec<_>>());
            let role = axes.map(|axis| nest.role(axis)).next();
            let tile = match role {
                Some(role @ (Role::OutChannel | Role::Group | Role::InChannel)) => width(role),
                _ => 1,
            };
            let indices =
                accesses.iter().map(|a| a.index[at].as_affine().cloned().unwrap_or_default());
            let step = match role {
                Some(Role::Kernel(_)) => common_step(nest, indices),
                _ => 1,
            };
            let extent = extent.as_constant()?;
            // Fewer taps than a step has have a residue each.
            Some(Dimension { extent, role, tile, step: step.min(extent.max(1)) })
        })
        .collect()
}

/// The step that every visit of a kernel dimension takes, where the rest of the index is a
/// constant.
fn common_step(nest: &Nest, indices: impl Iterator<Item = Affine>) -> i64 {
    let mut step = None;
    for index in indices {
        let simple = index.axes().all(|axis| matches!(nest.role(axis), Role::Kernel(_)));
        let by = match index.terms() {
            [] => continue,
            [(_, coefficient)] if simple => coefficient.abs(),
            _ => 1,
        };
        if step.is_some_and(|known| known != by) {
            return 1;
        }
        step = Some(by);
    }
    step.unwrap_or(1)
}

/// A part of a dimension of the buffer as it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Residue,
    Block,
    Tile,
}

/// The packed dimensions: blocks of groups and of output channels, residues of taps, the rest as it
/// was, tiles.
fn packed_order(dimensions: &[Dimension]) -> Vec<(Piece, usize)> {
    let all = 0..dimensions.len();
    let of = |role: Role| {
        all.clone().filter(move |&d| dimensions[d].role == Some(role)).map(|d| (Piece::Block, d))
    };
    let residues = all.clone().filter(|&d| dimensions[d].step > 1).map(|d| (Piece::Residue, d));
    let channels = |d: &usize| matches!(dimensions[*d].role, Some(Role::Group | Role::OutChannel));
    let rest = all.clone().filter(|d| !channels(d)).map(|d| (Piece::Block, d));
    // Those of the input, of which a product has several, are innermost.
    let inside = |d: &usize| dimensions[*d].role == Some(Role::InChannel);
    let tiles = all.clone().filter(|d| !inside(d)).chain(all.clone().filter(inside));
    let tiles = tiles.filter(|&d| dimensions[d].tile > 1).map(|d| (Piece::Tile, d));
    of(Role::Group).chain(of(Role::OutChannel)).chain(residues).chain(rest).chain(tiles).collect()
}

fn packed_access(
    access: &Access,
    to: BufferId,
    dimensions: &[Dimension],
    order: &[(Piece, usize)],
) -> Access {
    let index = order.iter().map(|&(piece, d)| {
        let index = access.index[d].as_affine().expect("pack: an index of a weight is affine");
        let Dimension { tile, step, .. } = dimensions[d];
        let (outer, inner) = split(index, tile);
        match piece {
            Piece::Residue => index.constant.rem_euclid(step).into(),
            Piece::Block if tile == 1 => divided(index, step),
            Piece::Block => divided(&outer, tile),
            Piece::Tile => inner,
        }
    });
    Access::buffer(to, index)
}

/// The part of an index that steps from block to block, and the part inside one.
fn split(a: &Affine, block: i64) -> (Affine, Affine) {
    let inside = a.constant.rem_euclid(block);
    let start = (Affine::constant(a.constant - inside), Affine::constant(inside));
    a.terms().iter().fold(start, |(outer, inner), &(var, coefficient)| match coefficient % block {
        0 => (outer.plus_term(var, coefficient), inner),
        _ => (outer, inner.plus_term(var, coefficient)),
    })
}

/// `a / tile`, where every varying part divides.
fn divided(a: &Affine, tile: i64) -> Affine {
    let start = Affine::constant(a.constant.div_euclid(tile));
    a.terms().iter().fold(start, |sum, &(var, coefficient)| sum.plus_term(var, coefficient / tile))
}

/// Elements that are copied in a row of each channel of a tile. Rows of as many channels lie far
/// apart; a line of each stays near until all of it is copied.
const ROW: i64 = 128;

/// The part of what a channel has that is copied in a row: the last dimensions, of the first of
/// them so many elements at a time where not all fit.
struct Row {
    /// By position in the packed order.
    dimensions: std::ops::Range<usize>,
    chunk: Option<i64>,
}

impl Row {
    fn of(dimensions: &[Dimension], order: &[(Piece, usize)]) -> Row {
        let end = order.iter().position(|(piece, _)| *piece == Piece::Tile).unwrap_or(order.len());
        let (mut start, mut len) = (end, 1);
        while let Some((Piece::Block, d)) = start.checked_sub(1).map(|before| order[before]) {
            let Dimension { tile, step, .. } = dimensions[d];
            let all = dimensions[d].blocks();
            let chunk = ROW / len;
            if tile > 1 || chunk < 2 {
                break;
            }
            if all > chunk {
                let cut = step == 1;
                start -= usize::from(cut);
                // One that leaves nothing, if it is not much shorter.
                let whole = (chunk / 2 + 1..=chunk).rev().find(|chunk| all % chunk == 0);
                let chunk = whole.unwrap_or(chunk);
                return Row { dimensions: start..end, chunk: cut.then_some(chunk) };
            }
            (start, len) = (start - 1, len * all);
        }
        Row { dimensions: start..end, chunk: None }
    }
}

/// The loops that fill the packed buffer: blocks and residues outside, where the last one is short;
/// in a leaf the channels of a tile, a row of each.
fn copy(
    nest: &mut Nest,
    (from, to): (BufferId, BufferId),
    dimensions: &[Dimension],
    order: &[(Piece, usize)],
) -> crate::nest::Stmt {
    let mut axis = |name: String| nest.add_axis(name, Role::Copy, Part::Whole);
    let names = [(Piece::Residue, "r"), (Piece::Block, "c"), (Piece::Tile, "t")];
    let axes = names.map(|(piece, letter)| {
        (piece, (0..dimensions.len()).map(|d| axis(format!("{letter}{d}"))).collect::<Vec<_>>())
    });
    let row = Row::of(dimensions, order);
    let chunked = row.chunk.map(|chunk| (order[row.dimensions.start].1, chunk, axis("row".into())));
    let of =
        |piece: Piece, d: usize| axes.iter().find(|a| a.0 == piece).map_or(AxisId(0), |a| a.1[d]);
    let index = |piece: Piece, d: usize| match chunked {
        Some((cut, chunk, first)) if (piece, d) == (Piece::Block, cut) => {
            Affine::axis(first).times(chunk).plus(&Affine::axis(of(piece, d)))
        }
        _ => Affine::axis(of(piece, d)),
    };
    let source = dimensions.iter().enumerate().map(|(d, dimension)| {
        let mut from = index(Piece::Block, d).times(dimension.tile * dimension.step);
        for (piece, count) in [(Piece::Tile, dimension.tile), (Piece::Residue, dimension.step)] {
            if count > 1 {
                from = from.plus(&index(piece, d));
            }
        }
        from
    });
    let store = Op::Store {
        to: Access::buffer(to, order.iter().map(|&(piece, d)| index(piece, d))),
        value: Expr::Load(Access::buffer(from, source)),
        when: Vec::new(),
    };
    let (mut loops, mut tiles, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for (at, &(piece, d)) in order.iter().enumerate() {
        let Dimension { extent, tile, step, .. } = dimensions[d];
        let l = match piece {
            Piece::Residue => Loop::serial(of(piece, d), step),
            Piece::Block if step > 1 => {
                short(of(piece, d), &dimensions[d], of(Piece::Residue, d), (extent, step))
            }
            Piece::Block => Loop::serial(of(piece, d), dimensions[d].blocks()),
            Piece::Tile => part(of(piece, d), of(Piece::Block, d), (extent, tile)),
        };
        match (piece, chunked) {
            (Piece::Tile, _) => tiles.push(l),
            (_, Some((cut, chunk, first))) if at == row.dimensions.start => {
                let all = dimensions[cut].blocks();
                loops.push(Loop::serial(first, (all + chunk - 1) / chunk));
                rows.push(part(l.axis, first, (all, chunk)));
            }
            _ if row.dimensions.contains(&at) => rows.push(l),
            _ => loops.push(l),
        }
    }
    let reduce = tiles.into_iter().chain(rows).collect();
    let leaf = Leaf::copy(format!("pack_{}", nest.buffer(from).name), reduce, vec![store]);
    crate::nest::LoopPath { loops, leaf }.into_stmt()
}

/// The elements of one part of a dimension, of which the last may be short.
fn part(axis: AxisId, which: AxisId, (extent, size): (i64, i64)) -> Loop {
    if extent % size == 0 {
        return Loop::serial(axis, size);
    }
    let left = Affine::axis(which).times(-size).plus_constant(extent);
    Loop { hi: Bound::Min(vec![size.into(), Quotient::from(left)]), ..Loop::serial(axis, 0) }
}

/// The taps of one residue, of which the last may not exist.
fn short(axis: AxisId, dimension: &Dimension, residue: AxisId, (extent, step): (i64, i64)) -> Loop {
    let left = Quotient::ceil(Affine::axis(residue).times(-1).plus_constant(extent), step);
    Loop { hi: Bound::Min(vec![dimension.blocks().into(), left]), ..Loop::serial(axis, 0) }
}
