//! Weight and bias are copied once into the order in which leaves read them.
//!
//! ```text
//! before  weight[8 oc.o + oc.i, ic, kh, kw]
//! after   packed_weight[oc.o, ic, kh, kw, oc.i]             setup: for oc.o, ic, kh, kw, oc.i: packed_weight[..] = weight[..]
//! ```
//!
//! requires: tiles, of the schedule's extents or tails that start at a multiple of them.
//! gives: weight and bias read from packed buffers, which are whole tiles (channels beyond the last are zero), filled by `setup`.
//!
//! Blocks of channels come first, the tile itself last, so that a leaf walks one contiguous run of memory and a vector of channels is one load.

use crate::nest::{
    Access, Affine, AxisId, Base, Bound, Buffer, BufferId, BufferRole, Expr, Index, Leaf, Loop, Nest, Op, Part,
    Quotient, Role, for_leaves,
};
use crate::{Error, Schedule, Target};

pub(super) fn pack(nest: &mut Nest, schedule: &Schedule, _: &Target) -> Result<(), Error> {
    if !schedule.pack {
        return Ok(());
    }
    for role in [BufferRole::Weight, BufferRole::Bias] {
        if let Some(buffer) = nest.buffer_of(role) {
            pack_buffer(nest, schedule, buffer)?;
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
}

fn pack_buffer(nest: &mut Nest, schedule: &Schedule, from: BufferId) -> Result<(), Error> {
    let Some(dimensions) = dimensions(nest, schedule, from) else { return Ok(()) };
    let order = packed_order(&dimensions);
    let tiled = |d: &Dimension| d.tile > 1;
    let blocks = order.iter().map(|&d| &dimensions[d]).map(|d| (d.extent + d.tile - 1) / d.tile);
    let tiles = dimensions.iter().filter(|d| tiled(d)).map(|d| d.tile);
    let extents = blocks.chain(tiles).map(Affine::constant).collect();
    let name = format!("packed_{}", nest.buffer(from).name);
    let to = nest.add_buffer(name, BufferRole::Packed, extents);
    let roles: Vec<Part> = nest.axes.iter().map(|a| a.part).collect();
    let mut body = std::mem::take(&mut nest.body);
    for_leaves(&mut body, &mut |leaf| {
        *leaf = leaf.map(
            &mut |access| match access.base == Base::Buffer(from) {
                true => packed_access(access, to, &dimensions, &order, &roles),
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

fn dimensions(nest: &Nest, schedule: &Schedule, buffer: BufferId) -> Option<Vec<Dimension>> {
    let Buffer { extents, .. } = nest.buffer(buffer);
    let leaves = nest.all_leaves();
    let accesses: Vec<&Access> =
        leaves.iter().flat_map(|l| l.accesses()).filter(|a| a.base == Base::Buffer(buffer)).collect();
    extents
        .iter()
        .enumerate()
        .map(|(at, extent)| {
            let axes = accesses.iter().filter_map(|a| a.index[at].as_affine()).flat_map(|i| i.axes().collect::<Vec<_>>());
            let role = axes.map(|axis| nest.role(axis)).next();
            let tile = match role {
                Some(role @ (Role::OutChannel | Role::Group)) => schedule.tile_of(role),
                _ => 1,
            };
            Some(Dimension { extent: extent.as_constant()?, role, tile })
        })
        .collect()
}

/// Blocks in this order: groups, output channels, then the rest as it was.
fn packed_order(dimensions: &[Dimension]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dimensions.len()).collect();
    order.sort_by_key(|&d| match dimensions[d].role {
        Some(Role::Group) => 0,
        Some(Role::OutChannel) => 1,
        _ => 2,
    });
    order
}

fn packed_access(access: &Access, to: BufferId, dimensions: &[Dimension], order: &[usize], parts: &[Part]) -> Access {
    let index = |d: usize| access.index[d].as_affine().cloned().unwrap_or_default();
    let is_inner = |axis: AxisId| matches!(parts[axis.index()], Part::Inner | Part::Lane);
    let split = |d: usize| index(d).split(is_inner);
    let block = |d: usize| match dimensions[d].tile {
        1 => index(d),
        tile => divided(&split(d).1, tile),
    };
    let inner = (0..dimensions.len()).filter(|&d| dimensions[d].tile > 1).map(|d| {
        let rest = split(d).1.constant.rem_euclid(dimensions[d].tile);
        split(d).0.plus_constant(rest)
    });
    Access::buffer(to, order.iter().map(|&d| block(d)).chain(inner))
}

/// `a / tile`, where every varying part divides.
fn divided(a: &Affine, tile: i64) -> Affine {
    let start = Affine::constant(a.constant.div_euclid(tile));
    a.terms().iter().fold(start, |sum, &(var, coefficient)| sum.plus_term(var, coefficient / tile))
}

/// The loops that fill the packed buffer: blocks outside, where the last one is short; the rest in one leaf.
fn copy(nest: &mut Nest, (from, to): (BufferId, BufferId), dimensions: &[Dimension], order: &[usize]) -> crate::nest::Stmt {
    let mut axis = |name: String| nest.add_axis(name, Role::Copy, Part::Whole);
    let block: Vec<AxisId> = (0..dimensions.len()).map(|d| axis(format!("c{d}"))).collect();
    let inner: Vec<AxisId> = (0..dimensions.len()).map(|d| axis(format!("c{d}.i"))).collect();
    let tiled = |d: &usize| dimensions[*d].tile > 1;
    let blocks = |d: usize| (dimensions[d].extent + dimensions[d].tile - 1) / dimensions[d].tile;
    let source = (0..dimensions.len()).map(|d| match tiled(&d) {
        true => Affine::axis(block[d]).times(dimensions[d].tile).plus(&Affine::axis(inner[d])),
        false => Affine::axis(block[d]),
    });
    let target = order.iter().map(|&d| block[d]).chain((0..dimensions.len()).filter(tiled).map(|d| inner[d]));
    let store = Op::Store {
        to: Access { base: Base::Buffer(to), index: target.map(|a| Index::Affine(Affine::axis(a))).collect() },
        value: Expr::Load(Access::buffer(from, source)),
        when: Vec::new(),
    };
    let left = |d: usize| Affine::axis(block[d]).times(-dimensions[d].tile).plus_constant(dimensions[d].extent);
    let short = |d: usize| Loop {
        hi: Bound::Min(vec![dimensions[d].tile.into(), Quotient::from(left(d))]),
        ..Loop::serial(inner[d], 0)
    };
    let whole = order.iter().filter(|d| !tiled(d)).map(|&d| Loop::serial(block[d], blocks(d)));
    let reduce = whole.chain((0..dimensions.len()).filter(tiled).map(short)).collect();
    let leaf = Leaf::copy(format!("pack_{}", nest.buffer(from).name), reduce, vec![store]);
    let loops = order.iter().filter(|d| tiled(d)).map(|&d| Loop::serial(block[d], blocks(d))).collect();
    crate::nest::Chain { loops, leaf }.into_stmt()
}
