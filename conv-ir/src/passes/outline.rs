//! Leaves become functions of pointers and ints; equal ones are one function.
//!
//! ```text
//! before  for oh, ow.o: leaf:
//!           .. load input[ic, oh + kh - 1, 5 ow.o + ow.i + kw - 1] .. for kh in max(0, 1 - oh)..
//! after   leaf tile(in, .., lo, ..): .. load in[ic, kh, ow.i + kw] .. for kh in lo..
//!         for oh, ow.o: call tile(input[0, oh - 1, 5 ow.o - 1], .., max(0, 1 - oh), ..)
//! ```
//!
//! requires: everything above.
//! gives: inside a leaf, only its pointers, ints and own axes; at a call, what they are.
//!
//! This is the border of the machine routes: whoever compiles a leaf knows registers and addresses,
//! and no convolution. An address at a call may lie outside its buffer (`oh - 1` above); the
//! elements that the leaf reaches from it do not.

use crate::nest::{
    Access, Affine, AxisId, Base, Bound, Call, Index, Leaf, LeafId, Nest, Part, PointerId, Role,
    Stmt, Var,
};
use crate::{Error, Schedule, Target};

pub(super) fn outline(nest: &mut Nest, _: &Schedule, _: &Target) -> Result<(), Error> {
    let mut outlining = Outlining { pool: Vec::new(), once: Vec::new(), left: MOST_PLACED };
    let setup = std::mem::take(&mut nest.setup);
    nest.setup = outlining.stmts(nest, setup);
    let body = std::mem::take(&mut nest.body);
    nest.body = outlining.stmts(nest, body);
    Ok(())
}

/// Axes local to leaves, shared between leaves so that equal leaves are equal values: the n-th axis
/// of that name, role and part.
struct Outlining {
    pool: Vec<AxisId>,
    /// The loops around that are gone through once, and their value.
    once: Vec<(AxisId, i64)>,
    /// Multiply-adds that leaves of one place may still have.
    left: i64,
}

/// Multiply-adds in all leaves of one place: about 80 KiB of code. A volume has hundreds of edges.
const MOST_PLACED: i64 = 8192;

impl Outlining {
    fn stmts(&mut self, nest: &mut Nest, stmts: Vec<Stmt>) -> Vec<Stmt> {
        let mut out = Vec::new();
        for stmt in stmts {
            out.push(match stmt {
                Stmt::For(l, body) => {
                    let around = self.once.len();
                    let range = l.constant_range().filter(|(lo, hi)| hi - lo == 1);
                    self.once.extend(range.map(|(lo, _)| (l.axis, lo)));
                    let body = self.stmts(nest, body);
                    self.once.truncate(around);
                    Stmt::For(l, body)
                }
                Stmt::Leaf(leaf) => Stmt::Call(self.leaf(nest, *leaf)),
                Stmt::Call(call) => Stmt::Call(call),
            });
        }
        out
    }

    fn leaf(&mut self, nest: &mut Nest, leaf: Leaf) -> Call {
        let own = own_axes(&leaf);
        let once = self.places(&leaf);
        let mut signature =
            Signature { own: own.clone(), once, pointers: Vec::new(), ints: Vec::new() };
        let mut leaf = signature.rewrite(nest, &leaf);
        leaf.ints = signature.ints.iter().map(|i| i.0).collect();
        let mut names: Vec<(AxisId, AxisId)> = Vec::new();
        for axis in own.into_iter().chain(leaf.ints.clone()) {
            let local = self.local(nest, axis, &names);
            names.push((axis, local));
        }
        let id = |axis: AxisId| names.iter().find(|n| n.0 == axis).map_or(axis, |n| n.1);
        let mut leaf = leaf.rename_axes(&id);
        leaf.pointers = signature.pointers.iter().map(|p| buffer_of(p.base)).collect();
        let id = intern(nest, leaf);
        Call {
            leaf: id,
            pointers: signature.pointers,
            ints: signature.ints.into_iter().map(|i| i.1).collect(),
        }
    }

    /// The values around the leaf that say where all its indices fold; none, where a loop or
    /// another axis around moves a fold, so that such leaves stay equal, or there are too many.
    fn places(&mut self, leaf: &Leaf) -> Vec<(AxisId, i64)> {
        let is_around = |axis| self.once.iter().any(|once| once.0 == axis);
        let mut indices = leaf.accesses().into_iter().flat_map(|access| &access.index);
        let folds = indices.any(|index| {
            index.as_affine().is_none() && self.once.iter().any(|once| index.follows(once.0))
        });
        let straight = (0..leaf.reduce.len()).find(|depth| leaf.is_straight_from(*depth));
        let repeats = leaf.repeats_from(straight.unwrap_or(leaf.reduce.len())).unwrap_or(i64::MAX);
        if !folds || repeats > self.left || !leaf.folds_are_known(is_around) {
            return Vec::new();
        }
        self.left -= repeats;
        self.once.clone()
    }

    /// A pooled axis like `axis`, not yet taken by this leaf.
    fn local(&mut self, nest: &mut Nest, axis: AxisId, taken: &[(AxisId, AxisId)]) -> AxisId {
        let free =
            |id: &&AxisId| !taken.iter().any(|t| t.1 == **id) && nest.axis(**id) == nest.axis(axis);
        if let Some(&known) = self.pool.iter().find(free) {
            return known;
        }
        let like = nest.axis(axis).clone();
        let id = nest.add_axis(like.name, like.role, like.part);
        self.pool.push(id);
        id
    }
}

fn buffer_of(base: Base) -> crate::nest::BufferId {
    match base {
        Base::Buffer(id) => id,
        Base::Pointer(pointer) => unreachable!("outline: {pointer:?} before outlining"),
    }
}

/// The axes that the leaf itself binds.
fn own_axes(leaf: &Leaf) -> Vec<AxisId> {
    let tile = leaf.tile.iter().map(|t| t.axis);
    tile.chain(leaf.lanes.map(|l| l.axis)).chain(leaf.reduce.iter().map(|l| l.axis)).collect()
}

/// The leaf's parameters as they are found.
struct Signature {
    own: Vec<AxisId>,
    once: Vec<(AxisId, i64)>,
    pointers: Vec<Access>,
    ints: Vec<(AxisId, Bound)>,
}

impl Signature {
    fn rewrite(&mut self, nest: &mut Nest, leaf: &Leaf) -> Leaf {
        let this = std::cell::RefCell::new((self, nest));
        leaf.map(
            &mut |access| {
                let (signature, nest) = &mut *this.borrow_mut();
                signature.access(nest, access)
            },
            &mut |cond| {
                let (signature, nest) = &mut *this.borrow_mut();
                cond.map(&mut |a| signature.affine(nest, a))
            },
            &mut |bound| {
                let (signature, nest) = &mut *this.borrow_mut();
                signature.bound(nest, bound)
            },
        )
    }

    /// Own and outer part; the constant goes outside.
    fn split(&self, a: &Affine) -> (Affine, Affine) {
        a.split(|axis| self.own.contains(&axis))
    }

    /// The pointer from outside, the rest relative to it: to an earlier one, where they are a
    /// constant apart. A folded index stays whole, with an int for what comes from outside; an edge
    /// of one row or column knows its place, so nothing folds at run time.
    fn access(&mut self, nest: &mut Nest, access: &Access) -> Access {
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        for index in &access.index {
            match index {
                Index::Affine(a) => {
                    let (own, rest) = self.split(a);
                    outer.push(Index::Affine(rest));
                    inner.push(Index::Affine(own));
                }
                Index::Quotient(_) | Index::Folded { .. } => {
                    outer.push(Index::Affine(Affine::constant(0)));
                    inner.push(index.map(&mut |a| self.affine(nest, &self.at_once(a))));
                }
            }
        }
        let outer = Access { base: access.base, index: outer };
        let known =
            self.pointers.iter().enumerate().find_map(|(at, p)| Some((at, apart(p, &outer)?)));
        let (at, apart) = known.unwrap_or_else(|| {
            let none = vec![0; outer.index.len()];
            self.pointers.push(outer);
            (self.pointers.len() - 1, none)
        });
        let shift = |(index, by): (&Index, i64)| index.map(&mut |a: &Affine| a.plus_constant(by));
        Access {
            base: Base::Pointer(PointerId(at as u32)),
            index: inner.iter().zip(apart).map(shift).collect(),
        }
    }

    fn at_once(&self, a: &Affine) -> Affine {
        let constant = |a: Affine, &(axis, at): &(AxisId, i64)| {
            a.substitute(Var::Axis(axis), &Affine::constant(at))
        };
        self.once.iter().fold(a.clone(), constant)
    }

    /// The expression with one int for all that varies outside.
    fn affine(&mut self, nest: &mut Nest, a: &Affine) -> Affine {
        let (own, rest) = self.split(a);
        match rest.as_constant() {
            Some(_) => a.clone(),
            None => own.plus(&Affine::axis(self.int(nest, rest.into()))),
        }
    }

    /// A bound as one int, unless it is a constant or made of own axes.
    fn bound(&mut self, nest: &mut Nest, bound: &Bound) -> Bound {
        let own =
            |q: &crate::nest::Quotient| q.numerator.axes().any(|axis| self.own.contains(&axis));
        if bound.as_constant().is_some() || bound.quotients().iter().any(own) {
            return bound.map(&mut |a| self.affine(nest, a));
        }
        Affine::axis(self.int(nest, bound.clone())).into()
    }

    fn int(&mut self, nest: &mut Nest, value: Bound) -> AxisId {
        if let Some(known) = self.ints.iter().find(|i| i.1 == value) {
            return known.0;
        }
        let axis = nest.add_axis(format!("i{}", self.ints.len()), Role::Param, Part::Whole);
        self.ints.push((axis, value));
        axis
    }
}

/// How far `to` is from `from` along each dimension, where that is a constant.
fn apart(from: &Access, to: &Access) -> Option<Vec<i64>> {
    let along = |(a, b): (&Index, &Index)| match (a.as_affine(), b.as_affine()) {
        (Some(a), Some(b)) => b.minus(a).as_constant(),
        _ => (a == b).then_some(0),
    };
    let same = from.base == to.base && from.index.len() == to.index.len();
    from.index.iter().zip(&to.index).map(along).collect::<Option<_>>().filter(|_| same)
}

/// The id of an equal leaf, or of this one, added.
fn intern(nest: &mut Nest, mut leaf: Leaf) -> LeafId {
    let stem = leaf.name.clone();
    let mut twins = 0;
    for (at, known) in nest.leaves.iter().enumerate() {
        if known.name == leaf.name
            || known.name.strip_prefix(&stem).is_some_and(|rest| rest.starts_with("_v"))
        {
            twins += 1;
            leaf.name.clone_from(&known.name);
            if *known == leaf {
                return LeafId(at as u32);
            }
            leaf.name.clone_from(&stem);
        }
    }
    if twins > 0 {
        leaf.name = format!("{stem}_v{}", twins + 1);
    }
    nest.leaves.push(leaf);
    LeafId(nest.leaves.len() as u32 - 1)
}
