//! Unit axes out, contiguous axes merged: the same convolution with as few axes as it has.
//!
//! ```text
//! before  for n in 0..1: for oc, oh in 0..56, ow in 0..56: .. input[n, 0, ic, oh, ow] .. output[n, 0, oc, oh, ow]     (1x1)
//! after   for oc, ow in 0..3136: .. input[ic, ow] .. output[oc, ow]
//! ```
//!
//! requires: one chain, as lowered.
//! gives: no driver loop of extent 1, no kernel axis of extent 1 (unless a condition needs it: its
//! loop bounds will carry that condition), no two output axes that every buffer stores side by
//! side; known weights that are the same in every group kept once.
//!
//! A 1x1 convolution of a 7x7 image becomes one row of 49, which tiles better than seven rows of 7.

use crate::nest::{
    Access, Affine, AxisId, Buffer, Chain, Index, Leaf, Loop, Nest, Part, Role, Var, map_chains,
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
    let result = map_chains(body, &mut |chain| {
        let mut chain = drop_unit_axes(chain);
        share_groups(nest, &mut chain.leaf);
        drop_unit_dimensions(nest, &mut chain.leaf);
        while let Some(merged) = merge_one_pair(nest, &chain) {
            chain = merged;
        }
        Ok::<_, Infallible>(vec![chain])
    });
    nest.body = result.unwrap_or_else(|never| match never {});
}

fn drop_unit_axes(mut chain: Chain) -> Chain {
    while let Some(at) = chain.loops.iter().position(|l| l.constant_range() == Some((0, 1))) {
        chain = chain.without(at, &Affine::constant(0));
    }
    let unit = |leaf: &Leaf| {
        let free = |axis| leaf.conditions().iter().all(|c| c.expression().of_axis(axis) == 0);
        leaf.reduce.iter().position(|l| l.constant_range() == Some((0, 1)) && free(l.axis))
    };
    while let Some(at) = unit(&chain.leaf) {
        let axis = chain.leaf.reduce.remove(at).axis;
        chain.leaf =
            chain.leaf.map_affine(&mut |a| a.substitute(Var::Axis(axis), &Affine::constant(0)));
    }
    chain
}

/// A picture's planes under one known window: the groups' weights are equal, so one is kept, and no
/// place in it depends on the group.
fn share_groups(nest: &mut Nest, leaf: &mut Leaf) {
    for at in 0..nest.buffers.len() {
        let base = crate::nest::Base::Buffer(crate::nest::BufferId(at as u32));
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
        if count < 2 || share == 0 || values.chunks(share).any(|part| *part != values[..share]) {
            continue;
        }
        let values = Values::exact(&values[..share]);
        nest.buffers[at].values = Some(values);
        nest.buffers[at].extents[0] = Affine::constant(1);
        *leaf = map_accesses(leaf, |access| {
            if access.base == base {
                access.index[0] = Affine::constant(0).into();
            }
        });
    }
}

fn drop_unit_dimensions(nest: &mut Nest, leaf: &mut Leaf) {
    for id in 0..nest.buffers.len() {
        for dim in (0..nest.buffers[id].extents.len()).rev() {
            let zero = |i: &Index| i.as_affine().and_then(Affine::as_constant) == Some(0);
            let unit = nest.buffers[id].extents[dim].as_constant() == Some(1);
            let base = crate::nest::Base::Buffer(crate::nest::BufferId(id as u32));
            let unused =
                leaf.accesses().iter().filter(|a| a.base == base).all(|a| zero(&a.index[dim]));
            if unit && unused && nest.buffers[id].extents.len() > 1 {
                nest.buffers[id].extents.remove(dim);
                *leaf = map_accesses(leaf, |access| {
                    if access.base == base {
                        access.index.remove(dim);
                    }
                });
            }
        }
    }
}

fn map_accesses(leaf: &Leaf, mut f: impl FnMut(&mut Access)) -> Leaf {
    let mut edit = |access: &Access| {
        let mut access = access.clone();
        f(&mut access);
        access
    };
    leaf.map(&mut edit, &mut |c| c.clone(), &mut |b| b.clone())
}

/// The chain with two driver loops merged into one, if two can be.
fn merge_one_pair(nest: &mut Nest, chain: &Chain) -> Option<Chain> {
    let mergeable = |l: &&Loop| matches!(nest.role(l.axis), Role::Batch | Role::Out(_));
    let loops: Vec<&Loop> = chain.loops.iter().filter(mergeable).collect();
    let pair = loops.windows(2).find(|pair| side_by_side(nest, chain, pair[0], pair[1]))?;
    let (outer, inner) = (pair[0].clone(), pair[1].clone());
    let width = inner.constant_extent()?;
    let extent = outer.hi.quotients().first()?.numerator.times(width);
    let role = nest.role(inner.axis);
    let merged = nest.add_axis(role.to_string(), role, Part::Whole);
    let leaf = map_accesses(&chain.leaf, |access| {
        if let Some(dim) = dimension_of(access, outer.axis) {
            access.index[dim] = Affine::axis(merged).into();
            access.index.remove(dim + 1);
        }
    });
    for access in chain.leaf.accesses() {
        if let (Some(dim), crate::nest::Base::Buffer(id)) =
            (dimension_of(access, outer.axis), access.base)
        {
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
    Some(Chain { loops, leaf })
}

/// The dimension that is indexed by just `axis`.
fn dimension_of(access: &Access, axis: AxisId) -> Option<usize> {
    access.index.iter().position(|i| i.as_affine() == Some(&Affine::axis(axis)))
}

/// Whether every access that uses either axis has them as neighbouring dimensions, the inner one
/// over its full extent.
fn side_by_side(nest: &Nest, chain: &Chain, outer: &Loop, inner: &Loop) -> bool {
    let mentions = |a: &Affine| a.of_axis(outer.axis) != 0 || a.of_axis(inner.axis) != 0;
    let mut mentioned = 0;
    chain.leaf.map_affine(&mut |a| {
        mentioned +=
            usize::from(a.of_axis(outer.axis) != 0) + usize::from(a.of_axis(inner.axis) != 0);
        a.clone()
    });
    let mut paired = 0;
    for access in chain.leaf.accesses() {
        let crate::nest::Base::Buffer(id) = access.base else {
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
