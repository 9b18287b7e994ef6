//! Unit axes out, contiguous axes merged: the same convolution with as few axes as it has.
//!
//! ```text
//! before  for n in 0..1: for oc, oh in 0..56, ow in 0..56:                                  (1x1)
//!           .. input[n, 0, ic, oh, ow] .. output[n, 0, oc, oh, ow]
//! after   for oc, ow in 0..3136:
//!           .. input[ic, ow] .. output[oc, ow]
//! ```
//!
//! requires: one chain, as lowered.
//! gives: no driver loop of extent 1, no kernel axis of extent 1 (unless a condition needs it: its
//! loop bounds will carry that condition), no two output axes that every buffer stores side by
//! side; known weights that are the same in every group kept once; no few groups under such a
//! window that stand innermost: they are columns.
//!
//! A 1x1 convolution of a 7x7 image becomes one row of 49, which tiles better than seven rows of 7.

use crate::nest::{
    Access, Affine, AxisId, Base, Buffer, BufferId, Cond, Index, Leaf, Loop, LoopPath, Nest, Part,
    Role, Var, map_paths,
};
use crate::{Error, Schedule, Target, Values};
use std::convert::Infallible;

pub(super) fn canonicalise(nest: &mut Nest, _: &Schedule, _: &Target) -> Result<(), Error> {
    merge_axes(nest);
    Ok(())
}

/// The pass, without a schedule: what the model looks at.
pub(super) fn merge_axes(nest: &mut Nest) {
    let body = std::mem::take(&mut nest.body);
    let result = map_paths(body, &mut |chain| {
        let mut chain = drop_unit_axes(chain);
        share_groups(nest, &mut chain.leaf);
        drop_unit_dimensions(nest, &mut chain.leaf);
        if let Some(merged) = merge_channels(nest, &chain) {
            chain = merged;
        }
        while let Some(merged) = merge_one_pair(nest, &chain) {
            chain = merged;
        }
        Ok::<_, Infallible>(vec![chain])
    });
    nest.body = result.unwrap_or_else(|never| match never {});
}

fn drop_unit_axes(mut chain: LoopPath) -> LoopPath {
    while let Some(at) = chain.loops.iter().position(|l| l.constant_range() == Some((0, 1))) {
        chain = chain.without(at, &Affine::constant(0));
    }
    let unit = |leaf: &Leaf| {
        let free = |axis| leaf.conditions().iter().all(|c| c.expression().of_axis(axis) == 0);
        leaf.reduce.iter().position(|l| l.constant_range() == Some((0, 1)) && free(l.axis))
    };
    while let Some(at) = unit(&chain.leaf) {
        let axis = chain.leaf.reduce.remove(at).axis;
        chain.leaf.substitute(axis, &Affine::constant(0));
    }
    chain
}

/// A picture's planes under one known window: the groups' weights are equal, so one is kept, and no
/// place in it depends on the group.
fn share_groups(nest: &mut Nest, leaf: &mut Leaf) {
    for at in 0..nest.buffers.len() {
        let base = Base::Buffer(BufferId(at as u32));
        let index = |leaf: &Leaf| {
            leaf.accesses().iter().find(|a| a.base == base).map(|a| a.index[0].clone())
        };
        let groups = |i: &Index| {
            i.as_affine().is_some_and(|a| a.axes().any(|axis| nest.role(axis) == Role::Group))
        };
        let by_group = index(leaf).is_some_and(|i| groups(&i));
        let Buffer { values, extents, .. } = &nest.buffers[at];
        let (Some(values), Some(count), true) =
            (values, extents.first().and_then(Affine::as_constant), by_group)
        else {
            continue;
        };
        let share = values.len() / count.max(1) as usize;
        if count < 2
            || share == 0
            || values.chunks(share).any(|part| !are_same(part, &values[..share]))
        {
            continue;
        }
        let values = Values::exact(&values[..share]);
        nest.buffers[at].values = Some(values);
        nest.buffers[at].extents[0] = Affine::constant(1);
        leaf.edit_accesses(&mut |access| {
            if access.base == base {
                access.index[0] = Affine::constant(0).into();
            }
        });
    }
}

/// To the last bit: zeros of two signs are not the same.
fn are_same(a: &[f64], b: &[f64]) -> bool {
    a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
}

fn drop_unit_dimensions(nest: &mut Nest, leaf: &mut Leaf) {
    for id in 0..nest.buffers.len() {
        for dim in (0..nest.buffers[id].extents.len()).rev() {
            let zero = |i: &Index| i.as_affine().and_then(Affine::as_constant) == Some(0);
            let unit = nest.buffers[id].extents[dim].as_constant() == Some(1);
            let base = Base::Buffer(BufferId(id as u32));
            let unused =
                leaf.accesses().iter().filter(|a| a.base == base).all(|a| zero(&a.index[dim]));
            if unit && unused && nest.buffers[id].extents.len() > 1 {
                nest.buffers[id].extents.remove(dim);
                leaf.edit_accesses(&mut |access| {
                    if access.base == base {
                        access.index.remove(dim);
                    }
                });
            }
        }
    }
}

/// The chain with two driver loops merged into one, if two can be.
fn merge_one_pair(nest: &mut Nest, chain: &LoopPath) -> Option<LoopPath> {
    let mergeable = |l: &&Loop| matches!(nest.role(l.axis), Role::Batch | Role::Out(_));
    let loops: Vec<&Loop> = chain.loops.iter().filter(mergeable).collect();
    let pair = loops.windows(2).find(|pair| side_by_side(nest, chain, pair[0], pair[1]))?;
    let (outer, inner) = (pair[0].clone(), pair[1].clone());
    let width = inner.constant_extent()?;
    let extent = outer.hi.quotients().first()?.numerator.times(width);
    let role = nest.role(inner.axis);
    let merged = nest.add_axis(role.to_string(), role, Part::Whole);
    let mut leaf = chain.leaf.clone();
    leaf.edit_accesses(&mut |access| {
        if let Some(dim) = dimension_of(access, outer.axis) {
            access.index[dim] = Affine::axis(merged).into();
            access.index.remove(dim + 1);
        }
    });
    for access in chain.leaf.accesses() {
        if let (Some(dim), Base::Buffer(id)) = (dimension_of(access, outer.axis), access.base) {
            let extents = &mut nest.buffers[id.index()].extents;
            if extents[dim + 1].as_constant() == Some(width) {
                extents[dim] = extents[dim].times(width);
                extents.remove(dim + 1);
            }
        }
    }
    let mut loops = chain.loops.clone();
    loops.retain(|l| l.axis != outer.axis);
    loops
        .iter_mut()
        .filter(|l| l.axis == inner.axis)
        .for_each(|l| *l = Loop::serial(merged, extent.clone()));
    Some(LoopPath { loops, leaf })
}

/// Groups from which on they fill the widest lanes themselves.
const MANY_GROUPS: i64 = 16;

/// Channels that stand innermost under one window, as those of a picture's pixels, become columns:
///
/// ```text
/// before  for g in 0..3: for ow in 0..8: .. input[ow + kw - 1, g], when ow + kw - 1 >= 0
/// after   for ow in 0..24: .. input[ow + 3*kw - 3], when ow + 3*kw - 3 >= 0
/// ```
///
/// The same sums in the same order, of full vectors. Columns must be a step of one apart. Where
/// what lies outside folds, pixels do: each channel stays in its place.
fn merge_channels(nest: &mut Nest, chain: &LoopPath) -> Option<LoopPath> {
    let find = |role| chain.loops.iter().find(|l| nest.role(l.axis) == role);
    let (group, column) = (find(Role::Group)?, find(Role::Out(0))?);
    let width = group.constant_extent().filter(|width| *width < MANY_GROUPS)?;
    if !are_columns(nest, chain, group, column) {
        return None;
    }
    let (group, column) = (group.axis, column.axis);
    let merged = nest.add_axis(Role::Out(0).to_string(), Role::Out(0), Part::Whole);
    // `c*column + rest` is `c*merged + width*rest` in elements, and with `c` of -1 it is not
    // negative as long as the last channel is not.
    let stretched = |a: &Affine| match a.of_axis(column) {
        0 => a.clone(),
        sign => {
            let rest = a.substitute(Var::Axis(column), &Affine::constant(0)).times(width);
            let last = if sign < 0 { width - 1 } else { 0 };
            rest.plus_term(Var::Axis(merged), sign).plus_constant(last)
        }
    };
    let mut stretched_buffers: Vec<BufferId> = Vec::new();
    let mut access = |access: &Access| {
        let mut access = access.clone();
        if let (Some(at), Base::Buffer(id)) = (dimension_of(&access, group), access.base) {
            access.index.remove(at);
            access.index[at - 1] = match &access.index[at - 1] {
                Index::Folded { index, extent, fold, pixel } => {
                    let (index, extent) = (stretched(index), Box::new(extent.times(width)));
                    Index::Folded { index, extent, fold: *fold, pixel: pixel * width }
                }
                index => index.map(&mut { stretched }),
            };
            stretched_buffers.push(id);
        }
        access
    };
    let mut condition = |c: &Cond| c.map(&mut { stretched });
    let leaf = chain.leaf.map(&mut access, &mut condition, &mut |b| b.clone());
    stretched_buffers.sort_unstable();
    stretched_buffers.dedup();
    for id in stretched_buffers {
        let extents = &mut nest.buffers[id.index()].extents;
        extents.pop();
        if let Some(columns) = extents.last_mut() {
            *columns = columns.times(width);
        }
    }
    let mut loops = chain.loops.clone();
    loops.retain(|l| l.axis != group);
    let at = loops.iter().position(|l| l.axis == column)?;
    let extent = loops[at].hi.quotients().first()?.numerator.times(width);
    loops[at] = Loop::serial(merged, extent);
    Some(LoopPath { loops, leaf })
}

/// Whether every access that uses either axis ends in columns, a step of one apart, and then the
/// group, over its full extent; and conditions tell nothing but sides of the image.
fn are_columns(nest: &Nest, chain: &LoopPath, group: &Loop, column: &Loop) -> bool {
    let mentions = |a: &Affine| a.of_axis(group.axis) != 0 || a.of_axis(column.axis) != 0;
    let uses = |index: &Index| {
        let mut uses = false;
        index.visit(&mut |a| uses |= mentions(a));
        uses
    };
    let ends_in_both = |access: &Access| {
        let (Base::Buffer(id), [others @ .., columns, last]) = (access.base, &access.index[..])
        else {
            return false;
        };
        let step = |a: &Affine| (a.of_axis(column.axis), a.of_axis(group.axis));
        let columns = match columns {
            Index::Affine(a) => Some(a),
            Index::Folded { index, extent, .. } => Some(index).filter(|_| !mentions(extent)),
            Index::Quotient(_) => None,
        };
        !others.iter().any(uses)
            && columns.map(step) == Some((1, 0))
            && last.as_affine() == Some(&Affine::axis(group.axis))
            && nest.buffer(id).extents.last().and_then(Affine::as_constant)
                == group.constant_extent()
    };
    let is_side = |c: &Cond| match c {
        Cond::NonNegative(a) => a.of_axis(group.axis) == 0 && a.of_axis(column.axis).abs() <= 1,
        Cond::Divides(_, a) => !mentions(a),
    };
    let bounds = chain.loops.iter().flat_map(|l| [&l.lo, &l.hi]).flat_map(|b| b.quotients());
    chain.leaf.accesses().iter().all(|a| !a.index.iter().any(uses) || ends_in_both(a))
        && chain.leaf.conditions().iter().all(|c| is_side(c))
        && !bounds.into_iter().any(|q| mentions(&q.numerator))
}

/// The dimension that is indexed by just `axis`.
fn dimension_of(access: &Access, axis: AxisId) -> Option<usize> {
    access.index.iter().position(|i| i.as_affine() == Some(&Affine::axis(axis)))
}

/// Whether every access that uses either axis has them as neighbouring dimensions, the inner one
/// over its full extent.
fn side_by_side(nest: &Nest, chain: &LoopPath, outer: &Loop, inner: &Loop) -> bool {
    let mentions = |a: &Affine| a.of_axis(outer.axis) != 0 || a.of_axis(inner.axis) != 0;
    let mut mentioned = 0;
    chain.leaf.visit_affine(&mut |a| {
        mentioned +=
            usize::from(a.of_axis(outer.axis) != 0) + usize::from(a.of_axis(inner.axis) != 0);
    });
    let mut paired = 0;
    for access in chain.leaf.accesses() {
        let Base::Buffer(id) = access.base else {
            return false;
        };
        if let Some(dim) = dimension_of(access, outer.axis) {
            let next = access.index.get(dim + 1).and_then(Index::as_affine);
            let full = nest.buffer(id).extents.get(dim + 1).and_then(Affine::as_constant);
            if next != Some(&Affine::axis(inner.axis))
                || full != inner.constant_extent()
                || full.is_none()
            {
                return false;
            }
            paired += 2;
        }
    }
    let bounds = chain.loops.iter().flat_map(|l| [&l.lo, &l.hi]).flat_map(|b| b.quotients());
    paired == mentioned && !bounds.into_iter().any(|q| mentions(&q.numerator))
}
