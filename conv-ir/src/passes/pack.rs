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
//! of the input are cut in blocks of four, which are innermost; where they are multiplied in pairs,
//! as words, the first and third channel of a block stand in one vector, as words of its lanes, and
//! the second and fourth in the next. Taps that a phase of a transposed
//! convolution visits in steps (`3 - 2 kw.q`) are put together: their residue comes before the
//! input channels.
//!
//! Blocks are register tiles, or, where several machines with tiles of their own share one packed
//! weight, panels of a width that all can read. Those are cut by lanes rather than by the tile (`oc
//! = 32 oc.o + 16 oc.v + oc.l` in panels of 16 is `[2 oc.o + oc.v, .., oc.l]`), so they are packed
//! after pass `vectorise`.

mod copy;

use std::convert::Infallible;

use crate::nest::{
    Access, Affine, Base, Buffer, BufferId, BufferRole, FOUR, Leaf, Loop, Nest, Part, Role,
    for_leaves,
};
use crate::schedule::Pack;
use crate::{DType, Dots, Error, Machine, Schedule, Target};

pub(super) fn pack(nest: &mut Nest, schedule: &Schedule, target: &Target) -> Result<(), Error> {
    match schedule.pack {
        Pack::Tiles | Pack::Blocks { .. } if multiplies_fours(nest, schedule, target) => {
            split_channels(nest, target);
            let rows = match schedule.pack {
                Pack::Blocks { channels } => split_rows(nest, channels, target),
                _ => None,
            };
            // Where channels of the output are in the lanes, rows are those of the input.
            let by_columns = schedule.lanes_of(Role::OutChannel) == 1;
            let inside = rows.filter(|_| by_columns).unwrap_or(FOUR);
            let width =
                |role| if role == Role::InChannel { inside } else { schedule.tile_of(role) };
            pack_in(nest, &width, target)
        }
        Pack::Tiles | Pack::Blocks { .. } => pack_in(nest, &|role| schedule.tile_of(role), target),
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
    target.dots.are_several() && (by_channels || are_woven()) && nest.fours().is_some()
}

/// Cuts the loops over the channels of the input in blocks of four, which are whole: packed weights
/// are, and what a panel has under zeros does not count.
fn split_channels(nest: &mut Nest, target: &Target) {
    let block = nest.add_axis("ic.q", Role::InChannel, Part::Outer);
    let inside = nest.add_axis("ic.b", Role::InChannel, Part::Inner);
    let pairs = (target.dots == Dots::Pairs)
        .then(|| ["ic.p", "ic.f"].map(|name| nest.add_axis(name, Role::InChannel, Part::Inner)));
    each_leaf(nest, |nest, leaf| {
        nest.cut_in_fours(leaf, (block, inside));
        for l in leaf.reduce.iter_mut().filter(|l| nest.is_block(l)) {
            l.hi = FOUR.into();
        }
        if let Some([inside, first]) = pairs {
            nest.cut_in_pairs(leaf, (inside, first));
        }
    });
}

/// Cuts the loops over blocks of four channels once more, in rows of up to so many channels: the
/// channels of a row, where all leaves have as many.
fn split_rows(nest: &mut Nest, most: i64, target: &Target) -> Option<i64> {
    if !target.has_tiles() {
        return None;
    }
    let is_blocks = |nest: &Nest, l: &Loop| {
        let axis = nest.axis(l.axis);
        axis.role == Role::InChannel && axis.part == Part::Outer
    };
    let leaves = nest.all_leaves();
    let all = leaves.iter().flat_map(|leaf| leaf.reduce.iter().filter(|l| is_blocks(nest, l)));
    let mut extents: Vec<i64> = all.map(|l| l.constant_extent().unwrap_or(1)).collect();
    extents.dedup();
    let &[blocks] = &extents[..] else { return None };
    let row = (2..=most.min(Machine::TILE_ROW) / FOUR).rev().find(|row| blocks % row == 0)?;
    let outer = nest.add_axis("ic.t", Role::InChannel, Part::Outer);
    let inner = nest.add_axis("ic.r", Role::InChannel, Part::Outer);
    each_leaf(nest, |nest, leaf| {
        if let Some(at) = leaf.reduce.iter().position(|l| is_blocks(nest, l)) {
            let by = Affine::axis(outer).times(row).plus(&Affine::axis(inner));
            leaf.substitute(leaf.reduce[at].axis, &by);
            leaf.reduce[at] = Loop::serial(outer, blocks / row);
            leaf.reduce.insert(at + 1, Loop::serial(inner, row));
        }
    });
    Some(row * FOUR)
}

/// Changes every leaf that is in place.
fn each_leaf(nest: &mut Nest, mut change: impl FnMut(&Nest, &mut Leaf)) {
    let mut body = std::mem::take(&mut nest.body);
    let Ok(()) = for_leaves(&mut body, &mut |leaf| {
        change(nest, leaf);
        Ok::<_, Infallible>(())
    });
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
            pack_buffer(nest, width, buffer, target)?;
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
    /// Blocks are fours of channels that are multiplied in pairs.
    in_pairs: bool,
}

impl Dimension {
    /// Extent of its main part: blocks of a tile, or one residue's taps.
    fn blocks(&self) -> i64 {
        (self.extent + self.tile * self.step - 1) / (self.tile * self.step)
    }

    /// Extent of what is innermost of a block.
    fn inside(&self) -> i64 {
        if self.in_pairs { self.tile / 2 } else { self.tile }
    }
}

fn pack_buffer(
    nest: &mut Nest,
    width: &dyn Fn(Role) -> i64,
    from: BufferId,
    target: &Target,
) -> Result<(), Error> {
    let Some(dimensions) = dimensions(nest, width, from, target) else {
        return Ok(());
    };
    let order = packed_order(&dimensions);
    let dtype = match dimensions.iter().any(|d| d.in_pairs) {
        true => DType::I16,
        false => packed_type(nest, from, target),
    };
    let extents = order.iter().map(|&(part, d)| {
        Affine::constant(match part {
            Piece::Residue => dimensions[d].step,
            Piece::Block => dimensions[d].blocks(),
            Piece::First => 2,
            Piece::Tile => dimensions[d].inside(),
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
    let copy = copy::copy(nest, (from, to), &dimensions, &order);
    nest.setup.push(copy);
    Ok(())
}

fn dimensions(
    nest: &Nest,
    width: &dyn Fn(Role) -> i64,
    buffer: BufferId,
    target: &Target,
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
            let in_pairs =
                target.dots == Dots::Pairs && role == Some(Role::InChannel) && tile == FOUR;
            Some(Dimension { extent, role, tile, step: step.min(extent.max(1)), in_pairs })
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
    /// Of a block in pairs: whether its first and third, or its second and fourth.
    First,
    Tile,
}

/// The packed dimensions: blocks of groups and of output channels, residues of taps, the rest as it
/// was, the halves of blocks in pairs, tiles.
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
    let firsts = all.clone().filter(|&d| dimensions[d].in_pairs).map(|d| (Piece::First, d));
    let channels = of(Role::Group).chain(of(Role::OutChannel));
    channels.chain(residues).chain(rest).chain(firsts).chain(tiles).collect()
}

fn packed_access(
    access: &Access,
    to: BufferId,
    dimensions: &[Dimension],
    order: &[(Piece, usize)],
) -> Access {
    let index = order.iter().map(|&(piece, d)| {
        let index = access.index[d].as_affine().expect("pack: an index of a weight is affine");
        let Dimension { tile, step, in_pairs, .. } = dimensions[d];
        let (outer, inner) = split(index, tile);
        let (pairs, first) = split(&inner, 2);
        match piece {
            Piece::Residue => index.constant.rem_euclid(step).into(),
            Piece::Block if tile == 1 => divided(index, step),
            Piece::Block => divided(&outer, tile),
            Piece::First => first,
            Piece::Tile if in_pairs => divided(&pairs, 2),
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
