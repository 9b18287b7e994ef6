//! Panels that have four channels of bytes side by side, and those of tiles.
//!
//! A tile's rows are fours of channels, so that those of the same columns lie near each other:
//!
//! ```text
//! before  input[ic, row, column]
//! after   panel[ic.q, row, column, ic.b]      for vectors
//!         panel[row, ic.q, column, ic.b]      for tiles
//!         panel[row, kw, ic.q, ow, ic.b]      for tiles under a stride
//! ```
//!
//! gives: columns of the output that lie side by side in tiles, whatever their stride.

use super::{Dimension, Outside, highest, needed};
use crate::nest::{Affine, AxisId, FOUR, Leaf, LoopPath, Nest, Part, Role, Var};
use crate::schedule::{Borders, Pack};
use crate::{Schedule, Target};

/// Channels of the input, four of which lie side by side.
#[derive(Clone, Copy)]
pub(super) struct Woven {
    /// Counts fours.
    pub block: AxisId,
    /// Counts inside of one.
    pub inside: AxisId,
    /// All of them.
    pub channels: i64,
}

/// Whether the panel has four channels side by side.
pub(in crate::passes::borders) fn weaves(
    nest: &Nest,
    schedule: &Schedule,
    target: &Target,
) -> bool {
    let has_lanes = schedule.lanes_of(Role::OutChannel) > 1 || schedule.lanes_of(Role::Out(0)) > 1;
    let is_panel = matches!(schedule.borders, Borders::Panel { .. });
    let packs = schedule.pack.is_of_tiles() && schedule.tile_of(Role::Group) == 1;
    target.dots.are_several() && is_panel && packs && has_lanes && nest.weaves().is_some()
}

/// Whether columns of fours are read as tiles.
pub(super) fn are_of_tiles(schedule: &Schedule) -> bool {
    matches!(schedule.pack, Pack::Blocks { .. }) && schedule.lanes_of(Role::Out(0)) > 1
}

/// Channels in front of columns, behind all others.
pub(super) fn sort_for_tiles(dimensions: &mut Vec<Dimension>, woven: Woven) {
    if let Some(at) = dimensions.iter().position(|d| d.index.of_axis(woven.block) != 0) {
        let channels = dimensions.remove(at);
        dimensions.insert(dimensions.len().saturating_sub(1), channels);
    }
}

/// Rows or columns that a stride steps over, under a window of one, are not copied.
pub(super) fn leave_holes_out(nest: &Nest, path: &LoopPath, dimension: &mut Dimension) {
    if let [(Var::Axis(axis), step)] = *dimension.index.terms()
        && let Role::Out(_) = nest.role(axis)
        && (dimension.index.constant, dimension.scale) == (0, 1)
        && step > 1
    {
        (dimension.scale, dimension.index) = (step, Affine::axis(axis));
        dimension.extent = (dimension.extent - 1) / step + 1;
        dimension.needed = needed(path, &dimension.index);
    }
}

/// Columns that a stride steps over, under a window of several: each tap has columns of its own,
/// side by side. The dimension of taps, which stands before that of columns.
pub(super) fn taps_apart(
    nest: &Nest,
    path: &LoopPath,
    columns: &mut Dimension,
) -> Option<Dimension> {
    let &[(Var::Axis(a), _), (Var::Axis(b), _)] = columns.index.terms() else { return None };
    let find = |role: Role| [a, b].into_iter().find(|axis| nest.role(*axis) == role);
    let (out, tap) = (find(Role::Out(0))?, find(Role::Kernel(0))?);
    let (stride, dilation) = (columns.index.of_axis(out), columns.index.of_axis(tap));
    if stride < 2 || dilation < 1 || columns.scale != 1 {
        return None;
    }
    let taps = highest(path, &Affine::axis(tap))? + 1;
    let index = Affine::axis(out);
    columns.start = columns.start.plus_constant(columns.index.constant);
    (columns.extent, columns.needed) = (highest(path, &index)? + 1, needed(path, &index));
    (columns.scale, columns.index) = (stride, index);
    Some(Dimension {
        of: columns.of,
        extent: taps,
        needed: Vec::new(),
        scale: dilation,
        start: Affine::constant(0),
        limit: columns.limit.clone(),
        outside: Outside::Each,
        pixel: 1,
        index: Affine::axis(tap),
    })
}

/// Columns behind those of a row, whose tiles begin at lines then: no more than are needed for
/// that, but rows that are a multiple of half a page apart would share few sets of the cache.
pub(super) fn spare_of_tiles(columns: i64, width: i64) -> i64 {
    const HALF_PAGE: i64 = 2048;
    let whole = (columns + width - 1) / width * width;
    let crowds = whole * FOUR % HALF_PAGE == 0;
    whole - columns + if crowds { width } else { 0 }
}

/// Cuts the loop over channels of the input in fours.
pub(super) fn weave(nest: &mut Nest, leaf: &mut Leaf) -> Option<Woven> {
    let mut channels = leaf.reduce.iter().filter(|l| nest.role(l.axis) == Role::InChannel);
    let channels = channels.next()?.constant_extent()?;
    let block = nest.add_axis("ic.q", Role::InChannel, Part::Outer);
    let inside = nest.add_axis("ic.b", Role::InChannel, Part::Inner);
    nest.cut_in_fours(leaf, (block, inside));
    Some(Woven { block, inside, channels })
}
