//! A leaf that moves elements from one buffer to another, or within one.

use crate::nest::{
    Access, Affine, Base, BufferId, Expr, Lanes, Leaf, LeafId, Loop, Nest, Op, Part, PointerId,
    Role,
};

/// Adds a leaf that moves `count` vectors of so many elements along the last dimension, from its
/// first pointer to its second; of one element, single ones.
pub(super) fn moving(
    nest: &mut Nest,
    [from, to]: [BufferId; 2],
    (width, count): (i64, i64),
    name: String,
) -> LeafId {
    let vector = nest.add_axis("x.o", Role::Copy, Part::Outer);
    let lane = nest.add_axis("x.l", Role::Copy, Part::Lane);
    let at = Affine::axis(vector).times(width).plus(&match width {
        1 => Affine::constant(0),
        _ => Affine::axis(lane),
    });
    let access = |pointer: u32, id: BufferId| {
        let outer = nest.buffer(id).extents.len() - 1;
        let mut index = vec![Affine::constant(0).into(); outer];
        index.push(at.clone().into());
        Access { base: Base::Pointer(PointerId(pointer)), index }
    };
    let (load, stored) = (Expr::Load(access(0, from)), access(1, to));
    let store = Op::Store { to: stored, value: load, when: Vec::new() };
    let mut leaf = Leaf::copy(name, vec![Loop::serial(vector, count)], vec![store]);
    leaf.pointers = vec![from, to];
    leaf.lanes = (width > 1).then_some(Lanes { axis: lane, width, vectors: None, cut: None });
    nest.leaves.push(leaf);
    LeafId(nest.leaves.len() as u32 - 1)
}

/// The vectors of `width` elements that `len` elements are, or single ones, and where the last one
/// begins that overlaps the one before and moves the rest: where each begins, with how many follow.
pub(super) fn vectors(len: i64, width: i64) -> impl Iterator<Item = (i64, i64)> {
    let last = (len % width != 0).then_some((len - width, 1));
    std::iter::once((0, len / width)).chain(last)
}
