//! A leaf below all machines: what it computes as straight lines of instructions on values.
//!
//! ```text
//! Leaf --walk--> straight lines --slide, dots, words, taps--> several products of bytes at a time
//!        tiles: all products of bytes of a turn and more at a time
//!      --pairs, regroup, flow, turned--> fewer loads --fold--> loads inside operands
//!      --prefetch--> LeafCode --a machine's encoder--> bytes
//! ```
//!
//! Nothing here knows a register or an instruction by name. What differs from machine to machine is
//! data, [`Machine`]: how wide vectors are, how many registers there are, whether a broadcast may
//! be an operand, whether loads are masked.
//!
//! A leaf that needs what there is not is refused with the reason ([`Refusal`]), and Cranelift
//! compiles it.

mod access;
mod dots;
mod flow;
mod fold;
pub(crate) mod inst;
mod interleave;
mod loops;
mod moved;
mod pairs;
mod prefetch;
mod regroup;
mod saturate;
mod slide;
mod source;
mod taps;
mod tiles;
mod turned;
mod walk;
mod weave;
mod words;

use std::fmt;

use conv_ir::nest::{Buffer, BufferRole, Leaf};
use conv_ir::{DType, Dots, Isa, Machine, Nest};

use inst::{Cursor, LeafCode, Motion};
pub(crate) use slide::BEHIND;
use smallvec::SmallVec;

/// Why a leaf is not assembled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody assembles for this machine.
    Machine,
    /// A condition depends on an int or on a loop that stays one.
    Condition,
    /// An index depends on an int, or folds at a place known only at run time.
    Index,
    /// A stride is known only at run time.
    Stride,
    /// A loop's form.
    Loop(String),
    /// An operation's form.
    Operation(String),
    /// So many lanes are no vector of this machine.
    Width(i64),
    /// The values do not fit in the vector or mask registers.
    Registers,
    /// The pointers do not fit in the general registers.
    Integers,
    /// A distance does not fit in an instruction.
    Far,
    /// Our bug: an instruction that does not exist.
    Encoding(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Machine => f.write_str("there is no assembler for this machine"),
            Refusal::Condition => f.write_str("a condition is known only at run time"),
            Refusal::Index => f.write_str("an index folds at a place known only at run time"),
            Refusal::Stride => f.write_str("a stride is known only at run time"),
            Refusal::Loop(what) | Refusal::Operation(what) => f.write_str(what),
            Refusal::Width(width) => write!(f, "{width} lanes are no vector of this machine"),
            Refusal::Registers => {
                f.write_str("the register tile does not fit in the vector registers")
            }
            Refusal::Integers => f.write_str("the pointers do not fit in the general registers"),
            Refusal::Far => f.write_str("a distance does not fit in 32 bits"),
            Refusal::Encoding(what) => write!(f, "no such instruction: {what}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The vector shape of a leaf.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub isa: Isa,
    pub dtype: DType,
    pub width: i64,
}

impl Shape {
    fn of(nest: &Nest, leaf: &Leaf, isa: Isa) -> Result<Shape, Refusal> {
        let shape = Shape { isa, dtype: nest.dtype, width: leaf.width() };
        let is_vector = shape.machine().has_vector(shape.width * shape.element());
        if shape.width == 1 || is_vector { Ok(shape) } else { Err(Refusal::Width(shape.width)) }
    }

    /// What the instructions give.
    pub fn machine(self) -> &'static Machine {
        self.isa.machine()
    }

    /// Bytes of an element.
    pub fn element(self) -> i64 {
        self.dtype.bytes() as i64
    }

    /// Bytes of a register as the instructions use it.
    pub fn bytes(self) -> i64 {
        (self.width * self.element()).max(16)
    }
}

/// The straight-line code of an outlined leaf of `nest`, handed to `encode`. With a share, it has a
/// pointer more, behind its own, and asks for so many bytes from there on. Where its registers do
/// not hold the code that shares loads, or that adds four products of bytes at a time, it gets the
/// code that does not.
pub(crate) fn lower<T>(
    nest: &Nest,
    leaf: &Leaf,
    (isa, share): (Isa, Option<i64>),
    encode: impl Fn(&LeafCode, Shape) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let shape = Shape::of(nest, leaf, isa)?;
    if share.is_some() && !loops::may_turn(leaf, FEWEST_TURNS) {
        return Err(too_few_turns());
    }
    let mut code = walk::straight(nest, leaf, shape.machine())?;
    code.far = leaf.pointers.iter().map(|&buffer| prefetch::is_far(nest, buffer)).collect();
    if let Some(share) = share {
        ask_ahead(&mut code, share)?;
    }
    if nest.dtype != DType::I32 || shape.width == 1 {
        return shared(code, shape, encode);
    }
    if let Some(interleaved) = interleave::interleaved(&code, shape) {
        match shared(dots::one_by_one(interleaved), shape, &encode) {
            Err(Refusal::Registers) => {}
            result => return result,
        }
    }
    moved::joined(&mut code, shape.width);
    let cursors = code.cursors.clone();
    let is_packed = |place: inst::Place| {
        let pointer = cursors[place.cursor.0 as usize].pointer;
        nest.buffer(leaf.pointers[pointer]).role == BufferRole::Packed
    };
    let masks = shape.machine().mask_registers;
    if let Some(mut woven) = weave::woven(&code, slide::can_slide(shape), !masks) {
        saturate::stored(&mut woven, masks);
        match of_integers(&woven, shape, &is_packed, &encode) {
            Err(Refusal::Registers) => {}
            result => return result,
        }
    }
    saturate::stored(&mut code, masks);
    if !masks {
        saturate::joined(&mut code, shape.width);
    }
    of_integers(&code, shape, &is_packed, &encode)
}

/// Whether a buffer is a table of scales, as bits of f32, that leave half of a sum at most: less
/// than [`Scale`](conv_ir::nest::Binary::Scale) cuts off.
pub(crate) fn scales_down(buffer: &Buffer) -> bool {
    let is_small = |bits: &f64| f32::from_bits(*bits as i32 as u32).abs() <= 0.5;
    buffer.values.as_ref().is_some_and(|values| values.iter().all(is_small))
}

/// Adds a cursor over what later calls read.
fn ask_ahead(code: &mut LeafCode, share: i64) -> Result<(), Refusal> {
    let none = too_few_turns;
    let counts: Option<Vec<i64>> = code.loops.iter().map(|l| l.count()).collect();
    let counts = counts.ok_or_else(none)?;
    let turns = counts.iter().try_fold(1i64, |turns, count| turns.checked_mul(*count));
    let turns = turns.filter(|turns| *turns >= FEWEST_TURNS).ok_or_else(none)?;
    let mut each = (share + turns - 1) / turns;
    let bytes = each;
    let mut moves: SmallVec<[i64; 4]> = SmallVec::new();
    for count in counts.iter().rev() {
        moves.insert(0, each);
        each = each.checked_mul(*count).ok_or_else(none)?;
    }
    code.ahead = Some((Cursor(code.cursors.len() as u32), bytes));
    code.cursors.push(Motion { pointer: code.pointers, moves });
    code.pointers += 1;
    Ok(())
}

fn too_few_turns() -> Refusal {
    Refusal::Loop("too few turns to ask for later weights in".to_owned())
}

/// Turns of a leaf's loops below which nothing is asked for.
const FEWEST_TURNS: i64 = 8;

fn of_integers<T>(
    code: &LeafCode,
    shape: Shape,
    is_packed: &impl Fn(inst::Place) -> bool,
    encode: &impl Fn(&LeafCode, Shape) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    if shape.machine().tiles
        && let Some(mut tiled) = tiles::in_tiles(code, shape.width)
    {
        fold::fold(&mut tiled.finish, &tiled.carried, shape);
        match encode(&tiled, shape) {
            Err(Refusal::Registers | Refusal::Integers) => {}
            result => return result,
        }
    }
    // Where loads are masked, taps are no pairs: VNNI slides them, or they come one by one.
    let in_pairs_of_taps = |mut code: LeafCode| {
        if !shape.machine().mask_registers {
            taps::in_pairs(&mut code, shape.width);
        }
        code
    };
    let several = match shape.machine().dots {
        Dots::One => None,
        Dots::Pairs => Some(dots::one_by_one(in_pairs_of_taps(words::by_pairs(code.clone())))),
        Dots::Fours => {
            if let Some(slid) = slide::slid(code, shape, is_packed) {
                match shared(dots::by_fours(slid), shape, encode) {
                    Err(Refusal::Registers) => {}
                    result => return result,
                }
            }
            Some(dots::by_fours(in_pairs_of_taps(code.clone())))
        }
    };
    if let Some(several) = several {
        match shared(several, shape, encode) {
            Err(Refusal::Registers) => {}
            result => return result,
        }
    }
    shared(dots::one_by_one(code.clone()), shape, encode)
}

fn shared<T>(
    mut code: LeafCode,
    shape: Shape,
    encode: impl Fn(&LeafCode, Shape) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    pairs::pair(&mut code.update, &mut code.carried, shape.element(), shape.width);
    let Some(sums) = regroup::Shared::of(&code.update, &code.carried) else {
        return turned(code, shape, encode);
    };
    if let Some(flowing) = flow::flowing(&code, &sums, shape.machine()) {
        match turned(flowing, shape, &encode) {
            Err(Refusal::Registers) => {}
            result => return result,
        }
    }
    if let Some((update, carried)) = regroup::regrouped(&code, &sums, shape) {
        let (init, finish) = (code.init.clone(), code.finish.clone());
        let (loops, cursors) = (code.loops.clone(), code.cursors.clone());
        let (pointers, ahead, far) = (code.pointers, code.ahead, code.far.clone());
        let regrouped = LeafCode {
            init,
            update,
            finish,
            loops,
            cursors,
            pointers,
            far,
            ahead,
            carried,
            tiles: Vec::new(),
        };
        match turned(regrouped, shape, &encode) {
            Err(Refusal::Registers) => {}
            result => return result,
        }
    }
    turned(code, shape, encode)
}

fn turned<T>(
    mut code: LeafCode,
    shape: Shape,
    encode: impl Fn(&LeafCode, Shape) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let (mut finish, mut carried) = (code.finish.clone(), code.carried.clone());
    let mut is_quicker = pairs::pair(&mut finish, &mut carried, shape.element(), shape.width);
    if shape.width > 1
        && let Some(turned) = turned::turned(&finish, &mut carried, shape.element())
    {
        (finish, is_quicker) = (turned, true);
    }
    for section in [&mut code.init, &mut code.update] {
        fold::fold(section, &code.carried, shape);
    }
    prefetch::prefetch(&mut code, shape.dtype);
    prefetch::prefetch_end(&mut code, &finish, shape);
    if is_quicker {
        fold::fold(&mut finish, &carried, shape);
        let plain = std::mem::replace(&mut code.finish, finish);
        let carried = std::mem::replace(&mut code.carried, carried);
        match encode(&code, shape) {
            Err(Refusal::Registers) => (code.finish, code.carried) = (plain, carried),
            result => return result,
        }
    }
    fold::fold(&mut code.finish, &code.carried, shape);
    encode(&code, shape)
}
