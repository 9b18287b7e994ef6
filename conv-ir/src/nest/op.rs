//! What a leaf does: accesses, expressions, operations.

use super::{Affine, AxisId, BufferId, Cond, Index, PointerId, RegId};
use crate::activation::{Activation, Binary, Unary};

/// What an access starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// The start of a buffer.
    Buffer(BufferId),
    /// A pointer parameter of the leaf: an element of a buffer. Indices are relative to it, along
    /// that buffer's dimensions.
    Pointer(PointerId),
}

/// An element, or a vector of elements, of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Where indices count from.
    pub base: Base,
    /// One index per dimension.
    pub index: Vec<Index>,
}

impl Access {
    /// An element of a buffer, all indices affine.
    pub fn buffer(buffer: BufferId, index: impl IntoIterator<Item = Affine>) -> Access {
        Access { base: Base::Buffer(buffer), index: index.into_iter().map(Index::Affine).collect() }
    }

    /// Whether it varies with the axis.
    pub fn follows(&self, axis: AxisId) -> bool {
        self.index.iter().any(|index| index.follows(axis))
    }

    /// Applies `f` to every affine expression inside.
    pub fn map(&self, f: &mut impl FnMut(&Affine) -> Affine) -> Access {
        Access { base: self.base, index: self.index.iter().map(|i| i.map(f)).collect() }
    }
}

/// A value: one scalar or vector.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// The nearest value to this, in every lane.
    Const(f64),
    /// A register, at the current point of its tile axes.
    Reg(RegId),
    /// Elements of a buffer.
    Load(Access),
    /// `then` where all conditions hold, else `otherwise`. What is not taken is not evaluated.
    /// Scalar conditions, except those of a [masked load](Expr::is_masked_load).
    Select {
        /// All must hold.
        when: Vec<Cond>,
        /// Taken if they do.
        then: Box<Expr>,
        /// Taken if one does not.
        otherwise: Box<Expr>,
    },
    /// One operand in.
    Unary(Unary, Box<Expr>),
    /// Two operands in.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `a * b + c`, one rounding.
    Fma(Box<Expr>, Box<Expr>, Box<Expr>),
    /// Lane by lane: `then` where `a < b`, else `otherwise`.
    Choose {
        /// Left of the comparison.
        a: Box<Expr>,
        /// Right of the comparison.
        b: Box<Expr>,
        /// Taken where `a < b`.
        then: Box<Expr>,
        /// Taken elsewhere.
        otherwise: Box<Expr>,
    },
    /// The activation as one word, until pass `epilogue` spells it out.
    Activation(Activation, Box<Expr>),
}

impl Expr {
    /// A copy with `access` and `cond` applied to every access and condition.
    pub fn map(
        &self,
        access: &mut impl FnMut(&Access) -> Access,
        cond: &mut impl FnMut(&Cond) -> Cond,
    ) -> Expr {
        let mut go = |e: &Expr| Box::new(e.map(access, cond));
        match self {
            Expr::Const(_) | Expr::Reg(_) => self.clone(),
            Expr::Unary(op, a) => Expr::Unary(*op, go(a)),
            Expr::Binary(op, a, b) => Expr::Binary(*op, go(a), go(b)),
            Expr::Fma(a, b, c) => Expr::Fma(go(a), go(b), go(c)),
            Expr::Choose { a, b, then, otherwise } => {
                Expr::Choose { a: go(a), b: go(b), then: go(then), otherwise: go(otherwise) }
            }
            Expr::Activation(which, a) => Expr::Activation(which.clone(), go(a)),
            Expr::Load(a) => Expr::Load(access(a)),
            Expr::Select { when, then, otherwise } => {
                let (then, otherwise) = (go(then), go(otherwise));
                Expr::Select { when: when.iter().map(cond).collect(), then, otherwise }
            }
        }
    }

    /// A load that gives zero or an infinity, what changes no sum or never wins, where a test
    /// fails: the one expression whose tests may differ from lane to lane.
    pub fn is_masked_load(&self) -> bool {
        let Expr::Select { then, otherwise, .. } = self else { return false };
        let is_neutral =
            matches!(**otherwise, Expr::Const(fill) if fill == 0.0 || fill.is_infinite());
        matches!(**then, Expr::Load(_)) && is_neutral
    }

    /// Visits this expression and everything inside, outermost first.
    pub fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        f(self);
        match self {
            Expr::Const(_) | Expr::Reg(_) | Expr::Load(_) => {}
            Expr::Unary(_, a) | Expr::Activation(_, a) => a.visit(f),
            Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|e| e.visit(f)),
            Expr::Fma(a, b, c) => [a, b, c].into_iter().for_each(|e| e.visit(f)),
            Expr::Choose { a, b, then, otherwise } => {
                [a, b, then, otherwise].into_iter().for_each(|e| e.visit(f))
            }
            Expr::Select { then, otherwise, .. } => {
                [then, otherwise].into_iter().for_each(|e| e.visit(f))
            }
        }
    }
}

/// An operation of a leaf.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// For each value of a tile axis, unrolled.
    Each(AxisId, Vec<Op>),
    /// `register = value`, left alone where a condition fails.
    Set {
        /// What is written, at the current point of its tile axes.
        reg: RegId,
        /// The value.
        value: Expr,
        /// All must hold, or nothing happens.
        when: Vec<Cond>,
    },
    /// `to = value`.
    Store {
        /// Where to.
        to: Access,
        /// The value.
        value: Expr,
        /// All must hold, or nothing happens.
        when: Vec<Cond>,
    },
    /// `to = register` for all values of tile axis `along`, which is contiguous (or nearly so)
    /// where the lanes are not: a block of lanes x along, to be transposed in registers or
    /// scattered as the route likes.
    StoreBlock {
        /// Where to.
        to: Access,
        /// The registers; indexed by `along`.
        reg: RegId,
        /// The tile axis that this operation itself runs over.
        along: AxisId,
    },
}

impl Op {
    /// `register = value`, always.
    pub fn set(reg: RegId, value: Expr) -> Op {
        Op::Set { reg, value, when: Vec::new() }
    }

    /// This operation with every access and condition replaced through the two functions.
    pub fn map(
        &self,
        access: &mut impl FnMut(&Access) -> Access,
        cond: &mut impl FnMut(&Cond) -> Cond,
    ) -> Op {
        match self {
            Op::Each(axis, body) => {
                Op::Each(*axis, body.iter().map(|op| op.map(access, cond)).collect())
            }
            Op::Set { reg, value, when } => Op::Set {
                reg: *reg,
                value: value.map(access, cond),
                when: when.iter().map(cond).collect(),
            },
            Op::Store { to, value, when } => Op::Store {
                to: access(to),
                value: value.map(access, cond),
                when: when.iter().map(cond).collect(),
            },
            Op::StoreBlock { to, reg, along } => {
                Op::StoreBlock { to: access(to), reg: *reg, along: *along }
            }
        }
    }

    /// Visits this operation and those inside `each`, outermost first.
    pub fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Op)) {
        f(self);
        if let Op::Each(_, body) = self {
            body.iter().for_each(|op| op.visit(f));
        }
    }
}
