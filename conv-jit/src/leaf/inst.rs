//! A leaf with everything repeated that is repeated: straight lines of instructions on values, and
//! the loops around the middle one.
//!
//! ```text
//! init:    %0 = load p0[0]; %1 = %0; ...
//! update:  %9 = splat c1[8]; %1 = fma(%9, %8, %1) ...
//! finish:  store p3[64] = %1
//! ```
//!
//! There is one value per register of the leaf and point of its tile, and one per intermediate
//! result; only those that outlive a section are set twice.
//!
//! No axis, no condition and no index is left: a place is a cursor and a number of bytes.

use conv_ir::DType;
use smallvec::SmallVec;

pub(crate) use super::source::{Carried, Cursor, Live, Place, Source, Value};

/// An operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arg {
    Value(Value),
    From(Source),
}

/// What an instruction does with its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// `a`: a load or a move.
    Copy,
    /// `a * b + c`.
    Fma,
    /// `c` and the sum of the products of the two words in each lane of `a` and `b`, with a sign:
    /// [`Fma`](Kind::Fma) of factors that 16 bits hold, where the upper word of one is zero.
    Words,
    /// `c` and the sum of the products of four bytes in each lane of `a`, which are not negative,
    /// and of `b`, which may be.
    Dot,
    Add,
    Sub,
    Mul,
    Div,
    /// `a < b ? a : b`, as the machine has it.
    Min,
    /// `a > b ? a : b`.
    Max,
    And,
    Or,
    Xor,
    /// Integer lanes shifted left.
    Shift(i32),
    /// The upper byte of each word, as a word.
    UpperByte {
        has_sign: bool,
    },
    /// The lower byte of each word, as its upper one.
    RaisedByte,
    /// The upper word of each lane, with its sign.
    UpperWord,
    /// Words added to words.
    AddWords,
    /// The products of two neighbours, and their sum, in as many bits as both have: of bytes of
    /// `a`, which have no sign, and of `b`, saturating; of words.
    PairSums {
        element: u8,
    },
    /// Elements of so many bytes of two vectors in turns, of the lower or the upper half of each
    /// 128 bits.
    Interleave {
        element: u8,
        upper: bool,
    },
    /// Numbers of two vectors as the nearest ones of a type that has half their bits: in each 128
    /// bits first those of `a`.
    Narrow(DType),
    /// The lower, or the upper, 128 bits of two vectors.
    Halves {
        upper: bool,
    },
    /// The four quarters of a vector, the second and third exchanged.
    Quarters,
    /// To the nearest integer, ties to even.
    Round,
    /// `a < b ? c : d`.
    Choose,
    /// Every second element of two vectors side by side, from the first (0) or second (1) on.
    Pick(usize),
    /// The nearest number of a narrower type.
    To(DType),
    /// The bytes of four values side by side in each lane, the first lowest: what is outside the
    /// type's range becomes its end.
    Bytes(DType),
    /// The same bytes value by value: those of the first fill the first lanes.
    Joined(DType),
    /// The upper half of the lanes, as the lower.
    UpperHalf,
    /// As `Binary` says. Small ones leave no number beyond those limits.
    Scale {
        is_small: bool,
    },
    MulHigh,
    ShiftRound,
    MulFloor,
    ShiftUp,
}

/// What a tile register is: so many rows of so many bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub rows: u8,
    pub bytes: u8,
}

/// What is done with tile registers, which are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileOp {
    Zero {
        tile: u8,
    },
    /// Rows `step` bytes apart.
    Load {
        tile: u8,
        place: Place,
        step: i64,
    },
    /// Adds to each sum the products of the bytes of a row of `a` and of as many of `b`, four of
    /// which are beside each other; whether those of either have a sign.
    Dot {
        has_sign: [bool; 2],
        sum: u8,
        a: u8,
        b: u8,
    },
    /// Rows `step` bytes apart.
    Store {
        tile: u8,
        place: Place,
        step: i64,
    },
}

impl TileOp {
    /// Where in memory.
    pub fn place(&self) -> Option<Place> {
        match *self {
            TileOp::Load { place, .. } | TileOp::Store { place, .. } => Some(place),
            TileOp::Zero { .. } | TileOp::Dot { .. } => None,
        }
    }
}

/// A straight-line instruction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inst {
    /// `to = kind(args)`.
    Set { to: Value, kind: Kind, args: SmallVec<[Arg; 3]> },
    /// The first `live` lanes, `step` bytes apart, as numbers of a type that has them.
    Store { dtype: DType, place: Place, step: i64, live: i64, value: Arg },
    /// Neighbouring elements, one for each of `to`, of lanes `step` bytes apart, of which those of
    /// `live` may be touched; other lanes are zero. What has no name is not asked for.
    Turned { to: SmallVec<[Option<Value>; 4]>, place: Place, step: i64, live: Live },
    /// A line that will be read: soon, or by a later call.
    Prefetch { place: Place, is_soon: bool },
    /// Lanes `step` bytes apart, values `along` bytes apart.
    Block { dtype: DType, place: Place, step: i64, along: i64, live: i64, values: Vec<Value> },
    /// Of tiles.
    Tile(TileOp),
}

impl Clone for Inst {
    /// The derived one would copy operand by operand, and code is copied for each way to share its
    /// loads.
    fn clone(&self) -> Inst {
        match self {
            Inst::Set { to, kind, args } => {
                Inst::Set { to: *to, kind: *kind, args: SmallVec::from_slice(args) }
            }
            &Inst::Store { dtype, place, step, live, value } => {
                Inst::Store { dtype, place, step, live, value }
            }
            &Inst::Turned { ref to, place, step, live } => {
                Inst::Turned { to: SmallVec::from_slice(to), place, step, live }
            }
            &Inst::Prefetch { place, is_soon } => Inst::Prefetch { place, is_soon },
            &Inst::Tile(op) => Inst::Tile(op),
            &Inst::Block { dtype, place, step, along, live, ref values } => {
                Inst::Block { dtype, place, step, along, live, values: values.clone() }
            }
        }
    }
}

impl Inst {
    /// The operands that are values.
    pub fn reads(&self) -> SmallVec<[Value; 4]> {
        let mut reads = SmallVec::new();
        self.each_read(|value| reads.push(value));
        reads
    }

    /// Calls `f` with each operand that is a value.
    pub fn each_read(&self, mut f: impl FnMut(Value)) {
        let mut arg = |arg: &Arg| {
            if let Arg::Value(value) = arg {
                f(*value);
            }
        };
        match self {
            Inst::Set { args, .. } => args.iter().for_each(arg),
            Inst::Store { value, .. } => arg(value),
            Inst::Block { values, .. } => values.iter().for_each(|value| f(*value)),
            Inst::Prefetch { .. } | Inst::Turned { .. } | Inst::Tile(_) => {}
        }
    }

    /// Puts what `by` says in the place of operands that are values; those of a block stay values.
    pub fn map_reads(&mut self, by: impl Fn(Value) -> Arg) {
        let arg = |arg: &mut Arg| {
            if let Arg::Value(value) = *arg {
                *arg = by(value);
            }
        };
        match self {
            Inst::Set { args, .. } => args.iter_mut().for_each(arg),
            Inst::Store { value, .. } => arg(value),
            Inst::Block { values, .. } => values.iter_mut().for_each(|value| {
                if let Arg::Value(new) = by(*value) {
                    *value = new;
                }
            }),
            Inst::Prefetch { .. } | Inst::Turned { .. } | Inst::Tile(_) => {}
        }
    }

    /// Calls `f` with each value that is read, then with each that is set.
    pub fn each_value(&self, mut f: impl FnMut(Value)) {
        self.each_read(&mut f);
        match self {
            Inst::Set { to, .. } => f(*to),
            Inst::Turned { to, .. } => to.iter().flatten().for_each(|value| f(*value)),
            Inst::Store { .. } | Inst::Block { .. } | Inst::Prefetch { .. } | Inst::Tile(_) => {}
        }
    }

    /// The load that this is: what it sets, and from where.
    pub fn load(&self) -> Option<(Value, Source)> {
        match self {
            Inst::Set { to, kind: Kind::Copy, args } => match args[0] {
                Arg::From(source) => Some((*to, source)),
                Arg::Value(_) => None,
            },
            _ => None,
        }
    }

    /// The values that are set.
    pub fn sets(&self) -> SmallVec<[Value; 4]> {
        match self {
            Inst::Set { to, .. } => SmallVec::from_slice(&[*to]),
            Inst::Turned { to, .. } => to.iter().copied().flatten().collect(),
            Inst::Store { .. } | Inst::Block { .. } | Inst::Prefetch { .. } | Inst::Tile(_) => {
                SmallVec::new()
            }
        }
    }

    /// Whether memory is written.
    pub fn stores(&self) -> bool {
        matches!(self, Inst::Store { .. } | Inst::Block { .. })
    }
}

/// A number that a loop starts or ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoopEnd {
    Known(i64),
    /// An int parameter, by position, plus a constant.
    Int(usize, i64),
}

/// A loop that stays one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SerialLoop {
    pub lo: LoopEnd,
    pub hi: LoopEnd,
}

impl SerialLoop {
    /// Iterations, where they are a constant.
    pub fn count(&self) -> Option<i64> {
        match (self.lo, self.hi) {
            (LoopEnd::Known(lo), LoopEnd::Known(hi)) => Some((hi - lo).max(0)),
            _ => None,
        }
    }
}

/// A pointer parameter and how it moves: bytes per iteration, for each loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Motion {
    pub pointer: usize,
    pub moves: SmallVec<[i64; 4]>,
}

impl Motion {
    /// Whether this is the parameter itself.
    pub fn is_still(&self) -> bool {
        self.moves.iter().all(|m| *m == 0)
    }
}

/// The whole leaf.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeafCode {
    pub init: Vec<Inst>,
    pub update: Vec<Inst>,
    pub finish: Vec<Inst>,
    /// Outermost first.
    pub loops: Vec<SerialLoop>,
    pub cursors: Vec<Motion>,
    pub pointers: usize,
    /// Per pointer: whether it is to a buffer that is too large to stay near.
    pub far: Vec<bool>,
    /// Moves over what later calls read, of which each turn of the innermost loop asks for so many
    /// bytes.
    pub ahead: Option<(Cursor, i64)>,
    pub carried: Carried,
    /// The tile registers; none where it has no tiles.
    pub tiles: Vec<Form>,
}

impl LeafCode {
    /// Tiles that are stored behind the loops.
    pub fn sums_in_tiles(&self) -> i64 {
        let is_stored = |inst: &&Inst| matches!(inst, Inst::Tile(TileOp::Store { .. }));
        self.finish.iter().filter(is_stored).count() as i64
    }

    /// All instructions, in order.
    pub fn all(&self) -> impl Iterator<Item = &Inst> {
        self.init.iter().chain(&self.update).chain(&self.finish)
    }
}

/// Whether instructions name a cursor.
pub(crate) fn names(insts: &[Inst], cursor: usize) -> bool {
    let is = |place: &Place| place.cursor == Cursor(cursor as u32);
    let reads = |arg: &Arg| match arg {
        Arg::Value(_) => false,
        Arg::From(source) => source.place().is_some_and(|place| is(&place)),
    };
    insts.iter().any(|inst| match inst {
        Inst::Set { args, .. } => args.iter().any(reads),
        Inst::Store { place, value, .. } => is(place) || reads(value),
        Inst::Block { place, .. } | Inst::Turned { place, .. } | Inst::Prefetch { place, .. } => {
            is(place)
        }
        Inst::Tile(tile) => tile.place().as_ref().is_some_and(is),
    })
}
