//! The loop nest: the *program*. Every pass maps one to another; the interpreter runs it in any
//! state; every way out prints it.
//!
//! The whole grammar:
//!
//! ```text
//! nest    := axis* symbol* buffer* leaf*
//!            setup: stmt*                               fills the packed buffers, once
//!            body: stmt*                                runs per call
//! stmt    := for axis in bound..bound [parallel] { stmt* }                      a driver loop
//!          | leaf                                       inline, until pass outline
//!          | call leaf(pointer*, int*)                  after pass outline
//! leaf    := tile: axis*, lanes?                        registers are arrays over tile axes, each
//!                                                       element a vector of lanes
//!            init: op*                                  once
//!            for each reduce loop [unrolled] { update: op* }
//!            finish: op*                                once
//! op      := each tile axis { op* }                     always unrolled
//!          | register = expr [when cond*]
//!          | store access = expr [when cond*]
//!          | store block access = register[along], lanes x along
//!                                                       lanes are not contiguous, `along` is
//! expr    := const | register | load access | select cond* expr else expr
//!          | unary expr | binary expr expr | fma expr expr expr
//!          | choose a < b ? expr : expr | activation expr
//! access  := (buffer | pointer)[index*]                 one index per dimension, last contiguous
//! index   := affine | affine / n | fold(affine)
//! bound   := max(quotient*) | min(quotient*)
//! ```
//!
//! How a load reads lanes follows from its index: an index without the lane axis is one scalar in
//! every lane (splat); with it, the lanes are that far apart. Conditions and folds never depend on
//! the lane axis, except that `select cond* load else c` is a masked load, tested lane by lane,
//! where `c` is zero or an infinity.
//!
//! A convolution's nest has one input, weight and output. Fused convolutions have several weights,
//! biases and residuals: the n-th buffer of a role, of those whose numbers are not known, takes the
//! n-th array of a run. A buffer may be a *view*: the memory of another buffer of its role, seen
//! with other extents.
//!
//! A leaf is a future micro-kernel: one register tile and a reduction. Everything it needs from
//! outside is, after pass `outline`, a pointer or an int.

mod affine;
pub mod bill;
mod edit;
mod embed;
mod fours;
mod leaf;
mod loops;
mod op;
mod point;
mod print;
mod reach;
mod rewrite;
#[cfg(test)]
pub(crate) mod samples;
mod slack;
mod verify;
pub mod work;

pub use affine::{Affine, Cond, Fold, Index, Quotient, Var};
pub(crate) use embed::{Embedding, add_unit_dimension, for_pointers};
pub(crate) use fours::{FOUR, Signs};
pub use leaf::{Lanes, Leaf, Register, TileAxis};
pub use loops::{Bound, Loop, LoopKind};
pub use op::{Access, Base, Expr, Op};
pub use print::Names;
pub use reach::Reach;
pub use rewrite::{LoopPath, for_leaves, fuse, map_paths, map_runs, substitute};
pub use verify::{Violation, verify};

pub use crate::activation::{Binary, Unary};
use crate::dtype::DType;
use crate::values::Values;

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
    /// A legal value that is given is at least this; 0 where it follows from others.
    pub least: i64,
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
    /// Its numbers, where they are known when code is made. Then nobody passes or fills it,
    /// whatever its role, and it is only read.
    pub values: Option<Values>,
    /// The buffer of the same role whose memory this is, seen with other extents; itself no view,
    /// and at least as long.
    pub view_of: Option<BufferId>,
}

impl Buffer {
    /// Whether the caller of the code passes it.
    pub fn is_callers(&self) -> bool {
        match self.role {
            BufferRole::Input
            | BufferRole::Weight
            | BufferRole::Bias
            | BufferRole::Residual
            | BufferRole::Output => self.values.is_none(),
            BufferRole::Packed | BufferRole::Scratch => false,
        }
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

/// A program: what one convolution runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Nest {
    /// Type of everything in registers, and of buffers of our own unless they say otherwise. A
    /// load from a buffer of another type widens; a store to one takes values of that type alone.
    pub dtype: DType,
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
    /// Padding of zeros is multiplied by weights that come later. That skips it, as it should be,
    /// where they are finite; for others there must be a nest without.
    pub needs_finite_weights: bool,
}

impl Nest {
    /// Nothing yet, over so many spatial axes.
    pub fn new(dtype: DType, rank: usize) -> Nest {
        Nest {
            dtype,
            rank,
            axes: Vec::new(),
            symbols: Vec::new(),
            buffers: Vec::new(),
            leaves: Vec::new(),
            setup: Vec::new(),
            body: Vec::new(),
            needs_finite_weights: false,
        }
    }

    /// Adds an axis.
    pub fn add_axis(&mut self, name: impl Into<String>, role: Role, part: Part) -> AxisId {
        self.axes.push(Axis { name: name.into(), role, part });
        AxisId(self.axes.len() as u32 - 1)
    }

    /// Adds a buffer of the nest's type.
    pub fn add_buffer(
        &mut self,
        name: impl Into<String>,
        role: BufferRole,
        extents: Vec<Affine>,
    ) -> BufferId {
        self.buffers.push(Buffer {
            name: name.into(),
            role,
            dtype: self.dtype,
            extents,
            values: None,
            view_of: None,
        });
        BufferId(self.buffers.len() as u32 - 1)
    }

    /// Gives a buffer another type, which is computed in the nest's.
    pub fn store_as(&mut self, id: BufferId, dtype: DType) {
        self.buffers[id.index()].dtype = dtype;
    }

    /// Adds a buffer that is another one's memory, seen with other extents.
    pub fn add_view(&mut self, of: BufferId, extents: Vec<Affine>) -> BufferId {
        let base = self.buffer(of);
        let name = format!("{}_view", base.name);
        let id = self.add_buffer(name, base.role, extents);
        self.buffers[id.index()].dtype = self.buffers[of.index()].dtype;
        self.buffers[id.index()].view_of = Some(of);
        id
    }

    /// The buffer that has the memory: itself, or what it is a view of.
    pub fn memory_of(&self, id: BufferId) -> BufferId {
        self.buffer(id).view_of.unwrap_or(id)
    }

    /// The buffers of a role that have memory of their own, in order: the n-th takes the n-th array
    /// of a run.
    pub fn buffers_of(&self, role: BufferRole) -> impl Iterator<Item = BufferId> + '_ {
        let ids = (0..self.buffers.len() as u32).map(BufferId);
        ids.filter(move |&id| self.buffer(id).role == role && self.buffer(id).view_of.is_none())
    }

    /// Which array of its role a buffer takes, of those whose numbers are not known.
    pub fn position_in_role(&self, id: BufferId) -> usize {
        let memory = self.memory_of(id);
        self.buffers_of(self.buffer(id).role)
            .filter(|&id| self.buffer(id).values.is_none())
            .position(|known| known == memory)
            .unwrap_or_else(|| panic!("no array is passed for `{}`\n{self}", self.buffer(id).name))
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

    /// A symbol that follows from others: the one that is there, or a new one.
    pub fn add_symbol(&mut self, name: impl Into<String>, value: impl Into<Bound>) -> Affine {
        let symbol = Symbol { name: name.into(), value: Some(value.into()), least: 0 };
        let at = self.symbols.iter().position(|known| *known == symbol);
        let at = at.unwrap_or_else(|| {
            self.symbols.push(symbol);
            self.symbols.len() - 1
        });
        Affine::symbol(SymbolId(at as u32))
    }

    /// The first buffer of that role.
    pub fn buffer_of(&self, role: BufferRole) -> Option<BufferId> {
        self.buffers.iter().position(|b| b.role == role).map(|at| BufferId(at as u32))
    }

    /// Whether several tensors are given, some of which later steps may read.
    pub fn has_several_outputs(&self) -> bool {
        let outputs = self.buffers_of(BufferRole::Output);
        outputs.filter(|&id| self.buffer(id).view_of.is_none()).count() > 1
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
