//! The loop nest: the *program*. Every pass maps one to another; the interpreter runs it in any state; every way out prints it.
//!
//! The whole grammar:
//!
//! ```text
//! nest    := axis* symbol* buffer* leaf* ; setup: stmt* ; body: stmt*     setup fills the packed buffers once, body runs per call
//! stmt    := for axis in bound..bound [parallel] { stmt* }                 driver loops
//!          | leaf                                                          inline, until pass outline
//!          | call leaf(pointer*, int*)                                     after pass outline
//! leaf    := tile: axis*, lanes?                                           registers are arrays over tile axes, each a vector of lanes
//!            init: op*                                                     once
//!            for each reduce loop [unrolled] { update: op* }
//!            finish: op*                                                   once
//! op      := each tile axis { op* }                                        always unrolled
//!          | register = expr [when cond*]
//!          | store access = expr [when cond*]
//!          | store block access = register[along], lanes x along           lanes are not contiguous, `along` is
//! expr    := const | register | load access | select cond* expr else expr
//!          | unary expr | binary expr expr | fma expr expr expr | choose a < b ? expr : expr | activation expr
//! access  := (buffer | pointer)[index*]                                    one index per dimension, last one contiguous
//! index   := affine | affine / n | fold(affine)
//! bound   := max(quotient*) | min(quotient*)
//! ```
//!
//! How a load reads lanes follows from its index: an index without the lane axis is one scalar in every lane (splat); with it, the lanes are
//! that far apart. Conditions and folds never depend on the lane axis.
//!
//! A leaf is a future micro-kernel: one register tile and a reduction. Everything it needs from outside is, after pass `outline`, a pointer or an int.

mod affine;
pub mod bill;
mod print;
mod rewrite;
#[cfg(test)]
pub(crate) mod samples;
mod verify;

pub use affine::{Affine, Cond, Fold, Index, Quotient, Var};
pub use print::Names;
pub use rewrite::{Chain, for_leaves, fuse, map_chains, substitute};
pub use verify::{Violation, verify};

use crate::activation::Activation;
use crate::element::DType;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// Position in its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids!(
    /// Names an [`Axis`] of a nest.
    AxisId,
    /// Names a [`Symbol`] of a nest.
    SymbolId,
    /// Names a [`Buffer`] of a nest.
    BufferId,
    /// Names a [`Register`] of a leaf.
    RegId,
    /// Names an outlined [`Leaf`] of a nest.
    LeafId,
    /// Names a pointer parameter of an outlined leaf.
    PointerId
);

/// What an axis iterates over, whatever has been split off it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Images of the batch.
    Batch,
    /// Groups.
    Group,
    /// Output channels of a group.
    OutChannel,
    /// Input channels of a group.
    InChannel,
    /// Output positions along a spatial axis, counted from the innermost: 0 is the width.
    Out(usize),
    /// Taps along a spatial axis, counted from the innermost.
    Kernel(usize),
    /// Anything else: rows and columns of a copy.
    Copy,
    /// An int parameter of an outlined leaf.
    Param,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const LETTERS: [&str; 3] = ["w", "h", "d"];
        let spatial = |f: &mut std::fmt::Formatter<'_>, prefix, at: usize| match LETTERS.get(at) {
            Some(letter) => write!(f, "{prefix}{letter}"),
            None => write!(f, "{prefix}{at}"),
        };
        match *self {
            Role::Batch => f.write_str("n"),
            Role::Group => f.write_str("g"),
            Role::OutChannel => f.write_str("oc"),
            Role::InChannel => f.write_str("ic"),
            Role::Out(at) => spatial(f, "o", at),
            Role::Kernel(at) => spatial(f, "k", at),
            Role::Copy => f.write_str("copy"),
            Role::Param => f.write_str("param"),
        }
    }
}

/// Which part of a split axis this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Never split.
    Whole,
    /// Counts tiles.
    Outer,
    /// Counts inside a tile (vectors, where there are lanes).
    Inner,
    /// Counts lanes.
    Lane,
}

/// An axis: a name and what it stands for. Axes are only ever added to a nest's table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Printed name: `oc`, `oc.o`, `oc.i`, ...
    pub name: String,
    /// What it iterates over.
    pub role: Role,
    /// Which part of it.
    pub part: Part,
}

/// A size known only at run time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// Printed name.
    pub name: String,
    /// `None`: given by the caller. `Some`: follows from symbols before it.
    pub value: Option<Bound>,
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferRole {
    /// Read, the caller's.
    Input,
    /// Read, the caller's.
    Weight,
    /// Read, the caller's.
    Bias,
    /// Read, the caller's.
    Residual,
    /// Written once per element, the caller's.
    Output,
    /// Written by `setup`, read by `body`. Starts as zeros.
    Packed,
    /// Written and read by `body`, one per thread. Starts as anything.
    Scratch,
}

/// A dense array, last dimension contiguous.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// Printed name.
    pub name: String,
    /// What it is for.
    pub role: BufferRole,
    /// Type of its elements.
    pub dtype: DType,
    /// Extents, constants and symbols only.
    pub extents: Vec<Affine>,
}

/// A bound of a loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// The largest of these (lower bounds).
    Max(Vec<Quotient>),
    /// The smallest of these (upper bounds).
    Min(Vec<Quotient>),
}

impl Bound {
    /// The quotients inside.
    pub fn quotients(&self) -> &[Quotient] {
        match self {
            Bound::Max(of) | Bound::Min(of) => of,
        }
    }

    /// The same choice between other quotients.
    pub fn map(&self, f: &mut impl FnMut(&Affine) -> Affine) -> Bound {
        let mut each = |of: &[Quotient]| {
            of.iter()
                .map(|q| Quotient {
                    numerator: f(&q.numerator),
                    divisor: q.divisor,
                })
                .collect()
        };
        match self {
            Bound::Max(of) => Bound::Max(each(of)),
            Bound::Min(of) => Bound::Min(each(of)),
        }
    }

    /// The number, if nothing varies.
    pub fn as_constant(&self) -> Option<i64> {
        let all: Option<Vec<i64>> = self.quotients().iter().map(Quotient::as_constant).collect();
        self.pick(all?)
    }

    /// The value where `value` gives each variable's.
    pub fn eval(&self, value: impl Fn(Var) -> i64) -> i64 {
        let all = self.quotients().iter().map(|q| q.eval(&value));
        self.pick(all).unwrap_or(0)
    }

    fn pick(&self, of: impl IntoIterator<Item = i64>) -> Option<i64> {
        match self {
            Bound::Max(_) => of.into_iter().max(),
            Bound::Min(_) => of.into_iter().min(),
        }
    }
}

impl From<Quotient> for Bound {
    fn from(q: Quotient) -> Self {
        Bound::Min(vec![q])
    }
}

impl From<Affine> for Bound {
    fn from(a: Affine) -> Self {
        Bound::Min(vec![a.into()])
    }
}

impl From<i64> for Bound {
    fn from(constant: i64) -> Self {
        Affine::constant(constant).into()
    }
}

/// How a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// In order.
    Serial,
    /// Iterations are independent: thread `part` of `parts` takes `lo + len * part / parts .. lo + len * (part + 1) / parts`. Driver loops only.
    Parallel,
    /// In order, repeated in the code. Reduce loops with constant bounds only.
    Unrolled,
}

/// `for axis in lo..hi`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    /// The axis.
    pub axis: AxisId,
    /// First value.
    pub lo: Bound,
    /// One past the last value; a loop with `hi <= lo` runs not at all.
    pub hi: Bound,
    /// How it runs.
    pub kind: LoopKind,
}

impl Loop {
    /// `for axis in 0..extent`, in order.
    pub fn serial(axis: AxisId, extent: impl Into<Bound>) -> Loop {
        Loop {
            axis,
            lo: Bound::Max(vec![0.into()]),
            hi: extent.into(),
            kind: LoopKind::Serial,
        }
    }

    /// `(lo, hi)` where both are constants.
    pub fn constant_range(&self) -> Option<(i64, i64)> {
        Some((self.lo.as_constant()?, self.hi.as_constant()?))
    }

    /// The number of iterations, where it is a constant.
    pub fn constant_extent(&self) -> Option<i64> {
        self.constant_range().map(|(lo, hi)| (hi - lo).max(0))
    }
}

/// A statement of the driver.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// A loop.
    For(Loop, Vec<Stmt>),
    /// A leaf in place.
    Leaf(Box<Leaf>),
    /// A call of an outlined leaf.
    Call(Call),
}

/// `call leaf(pointers, ints)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The callee.
    pub leaf: LeafId,
    /// One element address per pointer of the leaf, of the same buffers in the same order.
    pub pointers: Vec<Access>,
    /// One value per int of the leaf.
    pub ints: Vec<Bound>,
}

/// One axis of the register tile: `0..extent`, always unrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileAxis {
    /// The axis.
    pub axis: AxisId,
    /// Its extent.
    pub extent: i64,
}

/// The vector shape of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lanes {
    /// The axis whose values are the lanes, `0..width`.
    pub axis: AxisId,
    /// Lanes of a vector; 1 is a scalar leaf.
    pub width: i64,
    /// The tile axis that counts vectors along the same split, where there is one.
    pub vectors: Option<AxisId>,
    /// Where the tile sticks out of the domain: lanes with `vectors * width + lane >= cut` are dead. They hold anything, and touch no buffer of the caller.
    pub cut: Option<i64>,
}

/// An array of vector registers, one per point of the tile axes it is indexed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// Printed name.
    pub name: String,
    /// The tile axes that index it.
    pub axes: Vec<AxisId>,
}

/// What an access starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// The start of a buffer.
    Buffer(BufferId),
    /// A pointer parameter of the leaf: an element of a buffer. Indices are relative to it, along that buffer's dimensions.
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
        Access {
            base: Base::Buffer(buffer),
            index: index.into_iter().map(Index::Affine).collect(),
        }
    }

    /// Applies `f` to every affine expression inside.
    pub fn map(&self, f: &mut impl FnMut(&Affine) -> Affine) -> Access {
        Access {
            base: self.base,
            index: self.index.iter().map(|i| i.map(f)).collect(),
        }
    }
}

/// One operand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x`.
    Neg,
    /// The sign bit cleared.
    Abs,
    /// The nearest integer, ties to even.
    Round,
    /// `2^x` for an integer `x` whose power is a normal number.
    Exp2Int,
}

/// Two operands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// `if a < b { a } else { b }`: the second operand where either is NaN.
    Min,
    /// `if a > b { a } else { b }`: the second operand where either is NaN.
    Max,
    /// The magnitude of `a` with the sign of `b`.
    CopySign,
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
    /// `then` where all conditions hold, else `otherwise`. What is not taken is not evaluated. Scalar conditions.
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
    /// `self` by every access and condition replaced through the two functions.
    pub fn map(&self, access: &mut impl FnMut(&Access) -> Access, cond: &mut impl FnMut(&Cond) -> Cond) -> Expr {
        let mut go = |e: &Expr| Box::new(e.map(access, cond));
        match self {
            Expr::Const(_) | Expr::Reg(_) => self.clone(),
            Expr::Unary(op, a) => Expr::Unary(*op, go(a)),
            Expr::Binary(op, a, b) => Expr::Binary(*op, go(a), go(b)),
            Expr::Fma(a, b, c) => Expr::Fma(go(a), go(b), go(c)),
            Expr::Choose { a, b, then, otherwise } => Expr::Choose {
                a: go(a),
                b: go(b),
                then: go(then),
                otherwise: go(otherwise),
            },
            Expr::Activation(which, a) => Expr::Activation(*which, go(a)),
            Expr::Load(a) => Expr::Load(access(a)),
            Expr::Select { when, then, otherwise } => {
                let (then, otherwise) = (go(then), go(otherwise));
                Expr::Select {
                    when: when.iter().map(cond).collect(),
                    then,
                    otherwise,
                }
            }
        }
    }

    /// Visits this expression and everything inside, outermost first.
    pub fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        f(self);
        match self {
            Expr::Const(_) | Expr::Reg(_) | Expr::Load(_) => {}
            Expr::Unary(_, a) | Expr::Activation(_, a) => a.visit(f),
            Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|e| e.visit(f)),
            Expr::Fma(a, b, c) => [a, b, c].into_iter().for_each(|e| e.visit(f)),
            Expr::Choose { a, b, then, otherwise } => [a, b, then, otherwise].into_iter().for_each(|e| e.visit(f)),
            Expr::Select { then, otherwise, .. } => [then, otherwise].into_iter().for_each(|e| e.visit(f)),
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
    /// `to = register` for all values of tile axis `along`, which is contiguous (or nearly so) where the lanes are not: a block of lanes x along,
    /// to be transposed in registers or scattered as the route likes.
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
        Op::Set {
            reg,
            value,
            when: Vec::new(),
        }
    }

    /// This operation with every access and condition replaced through the two functions.
    pub fn map(&self, access: &mut impl FnMut(&Access) -> Access, cond: &mut impl FnMut(&Cond) -> Cond) -> Op {
        match self {
            Op::Each(axis, body) => Op::Each(*axis, body.iter().map(|op| op.map(access, cond)).collect()),
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
            Op::StoreBlock { to, reg, along } => Op::StoreBlock {
                to: access(to),
                reg: *reg,
                along: *along,
            },
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

/// A future micro-kernel: one register tile and a reduction.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// Printed name.
    pub name: String,
    /// After pass `outline`: the buffer behind each pointer parameter.
    pub pointers: Vec<BufferId>,
    /// After pass `outline`: the int parameters, axes of role [`Role::Param`].
    pub ints: Vec<AxisId>,
    /// The register tile.
    pub tile: Vec<TileAxis>,
    /// The vector shape; none before pass `vectorise`, and in scalar leaves.
    pub lanes: Option<Lanes>,
    /// All registers.
    pub registers: Vec<Register>,
    /// Before the reduction.
    pub init: Vec<Op>,
    /// The reduction loops, outermost first. Empty: `update` runs once.
    pub reduce: Vec<Loop>,
    /// The body of the reduction.
    pub update: Vec<Op>,
    /// After the reduction.
    pub finish: Vec<Op>,
}

impl Leaf {
    /// A scalar leaf that only moves elements: `ops` for every iteration of the loops.
    pub fn copy(name: impl Into<String>, loops: Vec<Loop>, ops: Vec<Op>) -> Leaf {
        Leaf {
            name: name.into(),
            pointers: Vec::new(),
            ints: Vec::new(),
            tile: Vec::new(),
            lanes: None,
            registers: Vec::new(),
            init: Vec::new(),
            reduce: loops,
            update: ops,
            finish: Vec::new(),
        }
    }

    /// All top-level operations, in order.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.init.iter().chain(&self.update).chain(&self.finish)
    }

    /// Lanes of a vector, 1 in a scalar leaf.
    pub fn width(&self) -> i64 {
        self.lanes.map_or(1, |l| l.width)
    }

    /// Every access and condition replaced through the two functions, in operations; loop bounds through `bound`.
    pub fn map(
        &self,
        access: &mut impl FnMut(&Access) -> Access,
        cond: &mut impl FnMut(&Cond) -> Cond,
        bound: &mut impl FnMut(&Bound) -> Bound,
    ) -> Leaf {
        let reduce = self
            .reduce
            .iter()
            .map(|l| Loop {
                lo: bound(&l.lo),
                hi: bound(&l.hi),
                ..l.clone()
            })
            .collect();
        let mut ops = |ops: &[Op]| ops.iter().map(|op| op.map(access, cond)).collect();
        Leaf {
            reduce,
            init: ops(&self.init),
            update: ops(&self.update),
            finish: ops(&self.finish),
            ..self.clone()
        }
    }

    /// The leaf with `f` applied to every affine expression.
    pub fn map_affine(&self, f: &mut dyn FnMut(&Affine) -> Affine) -> Leaf {
        let f = std::cell::RefCell::new(f);
        let apply = |a: &Affine| (*f.borrow_mut())(a);
        self.map(
            &mut |a| a.map(&mut { apply }),
            &mut |c| c.map(&mut { apply }),
            &mut |b| b.map(&mut { apply }),
        )
    }

    /// Visits every expression of every operation, outermost first.
    pub fn visit_exprs<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        for op in self.ops() {
            op.visit(&mut |op| match op {
                Op::Set { value, .. } | Op::Store { value, .. } => value.visit(f),
                Op::Each(..) | Op::StoreBlock { .. } => {}
            });
        }
    }

    /// Every access, loads and stores.
    pub fn accesses(&self) -> Vec<&Access> {
        let mut found = Vec::new();
        self.visit_exprs(&mut |e| {
            if let Expr::Load(access) = e {
                found.push(access);
            }
        });
        for op in self.ops() {
            op.visit(&mut |op| match op {
                Op::Store { to, .. } | Op::StoreBlock { to, .. } => found.push(to),
                Op::Each(..) | Op::Set { .. } => {}
            });
        }
        found
    }

    /// Every condition, of operations and of selects.
    pub fn conditions(&self) -> Vec<&Cond> {
        let mut found = Vec::new();
        self.visit_exprs(&mut |e| {
            if let Expr::Select { when, .. } = e {
                found.extend(when);
            }
        });
        for op in self.ops() {
            op.visit(&mut |op| match op {
                Op::Set { when, .. } | Op::Store { when, .. } => found.extend(when),
                Op::Each(..) | Op::StoreBlock { .. } => {}
            });
        }
        found
    }

    /// The registers that the reduction carries: written by `init` and read by `update`.
    pub fn accumulators(&self) -> Vec<RegId> {
        let mut regs = Vec::new();
        for op in &self.init {
            op.visit(&mut |op| {
                if let Op::Set { reg, .. } = op
                    && !regs.contains(reg)
                {
                    regs.push(*reg);
                }
            });
        }
        regs
    }
}

/// A program: what one convolution runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Nest {
    /// Type of the numbers in buffers.
    pub dtype: DType,
    /// Type of the accumulators and of everything in registers.
    pub accumulator: DType,
    /// Number of spatial axes.
    pub rank: usize,
    /// All axes ever used.
    pub axes: Vec<Axis>,
    /// All run-time sizes, given ones first.
    pub symbols: Vec<Symbol>,
    /// All buffers.
    pub buffers: Vec<Buffer>,
    /// Outlined leaves.
    pub leaves: Vec<Leaf>,
    /// Fills the packed buffers from weight and bias.
    pub setup: Vec<Stmt>,
    /// Computes the output.
    pub body: Vec<Stmt>,
}

impl Nest {
    /// Adds an axis.
    pub fn add_axis(&mut self, name: impl Into<String>, role: Role, part: Part) -> AxisId {
        self.axes.push(Axis {
            name: name.into(),
            role,
            part,
        });
        AxisId(self.axes.len() as u32 - 1)
    }

    /// Adds a buffer of the nest's value type.
    pub fn add_buffer(&mut self, name: impl Into<String>, role: BufferRole, extents: Vec<Affine>) -> BufferId {
        self.buffers.push(Buffer {
            name: name.into(),
            role,
            dtype: self.dtype,
            extents,
        });
        BufferId(self.buffers.len() as u32 - 1)
    }

    /// The axis behind an id.
    pub fn axis(&self, id: AxisId) -> &Axis {
        &self.axes[id.index()]
    }

    /// The buffer behind an id.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.index()]
    }

    /// What an axis iterates over.
    pub fn role(&self, id: AxisId) -> Role {
        self.axis(id).role
    }

    /// Adds a symbol that follows from others.
    pub fn add_symbol(&mut self, name: impl Into<String>, value: impl Into<Bound>) -> Affine {
        self.symbols.push(Symbol {
            name: name.into(),
            value: Some(value.into()),
        });
        Affine::symbol(SymbolId(self.symbols.len() as u32 - 1))
    }

    /// The first buffer of that role.
    pub fn buffer_of(&self, role: BufferRole) -> Option<BufferId> {
        self.buffers
            .iter()
            .position(|b| b.role == role)
            .map(|at| BufferId(at as u32))
    }

    /// The buffer that an access of `leaf` reaches into.
    pub fn buffer_behind(&self, leaf: &Leaf, base: Base) -> BufferId {
        match base {
            Base::Buffer(buffer) => buffer,
            Base::Pointer(pointer) => leaf.pointers[pointer.index()],
        }
    }

    /// Elements of a buffer, where the sizes are constants.
    pub fn constant_len(&self, id: BufferId) -> Option<i64> {
        self.buffer(id).extents.iter().map(Affine::as_constant).product()
    }

    /// Every leaf of the body and the setup, in place or outlined.
    pub fn all_leaves(&self) -> Vec<&Leaf> {
        fn walk<'a>(stmts: &'a [Stmt], found: &mut Vec<&'a Leaf>) {
            for stmt in stmts {
                match stmt {
                    Stmt::For(_, body) => walk(body, found),
                    Stmt::Leaf(leaf) => found.push(leaf),
                    Stmt::Call(_) => {}
                }
            }
        }
        let mut found: Vec<&Leaf> = self.leaves.iter().collect();
        walk(&self.setup, &mut found);
        walk(&self.body, &mut found);
        found
    }
}
