//! Straight-line instructions to machine code: the right form of each instruction for where its
//! operands are, see [`registers`](super::registers).
//!
//! Nothing is ever spilled in or before the loops: a leaf whose accumulators need more registers
//! than there are is refused. Constants that an instruction wants in a register are kept there
//! while there is room, and are the first to go. Only behind the loops, where an activation may
//! need more temporaries than the tile leaves free, accumulators that wait for their turn may go to
//! the stack, if the [frame](super::frame) has room for them.

use std::ops::Range;

use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::Refusal;
use super::codes::{Codes, codes};
use super::encoding::Encoding;
use super::integer_codes;
use super::masks::{Masks, SCRATCH_MASK};
use super::text::{Constant, Text};
use crate::leaf::Shape;
use crate::leaf::inst::{Arg, Inst, Kind, LeafCode, Value};

/// `a < b`, ordered, no exception for quiet NaN.
const LESS: u32 = 0x11;
/// Nearest, ties to even, no exception for an inexact result.
const NEAREST: u32 = 8;
/// A vector register by number.
pub(super) type Reg = u8;

/// A constant that stays in a register while there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// These bits in every lane.
    Bits(u64),
    /// Numbers of every second element, from this one on.
    Alternate(usize),
    /// Where the bytes of a [slide](crate::leaf::inst::Source::Slide) of so many come from, in the
    /// sixteen that its lane has.
    Slide { count: i64, apart: i64, from: Sixteen },
    /// The sixteen bytes of each 128 bits of lanes so many bytes apart, in numbers of 32 bits.
    Chunks(i64),
    /// Where each byte of four lanes of four comes from, if they are turned.
    FourByFour,
    /// Where each lane comes from, if those of two halves take turns.
    Halves,
}

/// Which bytes lanes find theirs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sixteen {
    /// The first, and for the last lanes those that end where the last byte is.
    Ends,
    /// Those from the first lane of their 128 bits on, lanes so many bytes apart.
    Own(i64),
}

/// The third operand of an instruction.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    Reg(Reg),
    Memory(MemoryOperand),
    Constant(MemoryOperand, Constant),
}

impl Shape {
    /// Elements in 128 bits, inside which shuffles stay.
    pub fn chunk(self) -> i64 {
        16 / self.element()
    }
}

/// What the frame around it gives to straight-line code.
pub(super) struct Given {
    /// The general register behind each cursor.
    pub bases: Vec<Register>,
    /// The distance from the stack pointer where vectors may be stored.
    pub first_spill: i64,
    /// How many vectors there is room for.
    pub spills: usize,
}

pub(super) struct Vectors<'a> {
    pub text: Text,
    pub shape: Shape,
    pub encoding: Encoding,
    pub codes: &'static Codes,
    pub masks: Masks,
    /// The general register behind each cursor.
    pub bases: Vec<Register>,
    pub(super) code: &'a LeafCode,
    /// Bit per register.
    pub(super) free: u32,
    /// Not to be evicted by the current instruction.
    pub(super) locked: u32,
    pub(super) homes: Vec<Option<Reg>>,
    /// Values on the stack, by slot.
    pub(super) spilled: Vec<Option<Value>>,
    /// The first slot's distance from the stack pointer.
    pub(super) spills: i64,
    pub(super) may_spill: bool,
    /// Vectors sent to the stack.
    pub spill_count: usize,
    /// In the current section.
    pub(super) last: Vec<usize>,
    pub(super) at: usize,
    pub(super) constants: Vec<(Kept, Reg)>,
    /// Registers ever used.
    pub used: u32,
    /// The bytes of the innermost loop.
    pub hot: Range<usize>,
}

impl<'a> Vectors<'a> {
    pub fn new(
        code: &'a LeafCode,
        (shape, encoding): (Shape, Encoding),
        masks: Masks,
        given: Given,
    ) -> Self {
        let registers = shape.machine().vector_registers;
        Vectors {
            text: Text::new(),
            shape,
            encoding,
            codes: match shape.dtype.is_integer() {
                true => integer_codes::codes(encoding, shape.bytes()),
                false => codes(encoding, shape.bytes(), shape.dtype),
            },
            masks,
            bases: given.bases,
            code,
            free: if registers == 32 { u32::MAX } else { (1 << registers) - 1 },
            locked: 0,
            homes: vec![None; code.carried.len()],
            spilled: vec![None; given.spills],
            spills: given.first_spill,
            may_spill: false,
            spill_count: 0,
            last: Vec::new(),
            at: 0,
            constants: Vec::new(),
            used: 0,
            hot: 0..0,
        }
    }

    /// Sets the masks that the leaf uses.
    pub fn set_masks(&mut self) {
        self.masks.set(&mut self.text);
    }

    /// Emits a straight line. Carried values keep their registers, except in the last section.
    pub fn section(&mut self, insts: &[Inst], is_last: bool) -> Result<(), Refusal> {
        self.last = self.lifetimes(insts, is_last);
        self.may_spill = is_last;
        for (at, inst) in insts.iter().enumerate() {
            self.at = at;
            self.call_back(inst)?;
            match inst {
                Inst::Set { to, kind, args } => self.set(*to, *kind, args)?,
                Inst::Prefetch { place, is_soon } => {
                    let line = self.memory(*place, false)?;
                    let code = if *is_soon { Code::Prefetcht0_m8 } else { Code::Prefetcht1_m8 };
                    self.text.push(Instruction::with1(code, line));
                }
                Inst::Turned { to, place, step, live } => {
                    self.load_turned(to, *place, *step, *live)?
                }
                Inst::Store { dtype, place, step, live, value } => {
                    self.store(*dtype, *place, (*step, *live), *value)?
                }
                Inst::Tile(op) => self.tile(*op)?,
                Inst::Block { dtype, place, step, along, live, values } => {
                    self.block(*dtype, *place, (*step, *along), *live, values)?
                }
            }
            self.locked = 0;
            inst.each_value(|value| self.bury(value));
        }
        for (_, reg) in std::mem::take(&mut self.constants) {
            self.give(reg);
        }
        Ok(())
    }

    fn set(&mut self, to: Value, kind: Kind, args: &[Arg]) -> Result<(), Refusal> {
        let codes = self.codes;
        match (kind, args) {
            (Kind::Copy, &[Arg::Value(from)]) => self.copy(to, from),
            (Kind::Copy, &[Arg::From(source)]) => {
                let reg = self.destination(to)?;
                self.load(reg, source)
            }
            (Kind::Fma, &[a, b, c]) => self.fma(to, a, b, c),
            (Kind::Words, &[a, b, c]) => self.products_of_words(to, a, b, c),
            (Kind::Dot, &[a, b, c]) => self.dot(self.dot_of_bytes(), to, [a, b, c]),
            (Kind::Add, &[a, b]) => self.commutative(codes.add, to, a, b),
            (Kind::Mul, &[a, b]) => self.commutative(codes.mul, to, a, b),
            (Kind::And, &[a, b]) => self.commutative(codes.and, to, a, b),
            (Kind::Or, &[a, b]) => self.commutative(codes.or, to, a, b),
            (Kind::Xor, &[a, b]) => self.commutative(codes.xor, to, a, b),
            (Kind::Sub, &[a, b]) => self.binary(codes.sub, to, a, b),
            (Kind::Div, &[a, b]) => self.binary(codes.div, to, a, b),
            (Kind::Min, &[a, b]) => self.binary(codes.min, to, a, b),
            (Kind::Max, &[a, b]) => self.binary(codes.max, to, a, b),
            (Kind::Shift(by), &[a]) => self.immediate(codes.shift, to, a, by as u32),
            (Kind::UpperByte { has_sign }, &[a]) => {
                self.immediate(self.shift_of_words(true, has_sign), to, a, 8)
            }
            (Kind::RaisedByte, &[a]) => self.immediate(self.shift_of_words(false, false), to, a, 8),
            (Kind::UpperWord, &[a]) => self.immediate(integer_codes::UPPER_WORD, to, a, 16),
            (Kind::Quarters, &[a]) => {
                self.immediate(integer_codes::QUARTERS, to, a, integer_codes::EXCHANGED)
            }
            (Kind::Halves { upper }, &[a, b]) => self.halves(to, upper, (a, b)),
            (
                Kind::AddWords | Kind::PairSums { .. } | Kind::Interleave { .. } | Kind::Narrow(_),
                &[a, b],
            ) => self.binary(integer_codes::of_two(kind)?, to, a, b),
            (Kind::Round, &[a]) => self.immediate(codes.round, to, a, NEAREST),
            (Kind::Scale { is_small }, &[a, b]) => self.scale(to, (a, b), is_small),
            (Kind::MulHigh, &[a, b]) => self.multiply_high(to, a, b),
            (Kind::ShiftRound, &[a, b]) => self.shift_rounded(to, a, b),
            (Kind::MulFloor, &[a, b]) => self.multiply_floor(to, a, b),
            (Kind::ShiftUp, &[a, b]) => self.shift_up(to, a, b),
            (Kind::To(dtype), &[a]) => self.nearest_stored(to, dtype, a),
            (Kind::Bytes(dtype), &[a, b, c, d]) => {
                self.narrowed_to_bytes(to, dtype, ([a, b, c, d], false))
            }
            (Kind::Joined(dtype), &[a, b, c, d]) => {
                self.narrowed_to_bytes(to, dtype, ([a, b, c, d], true))
            }
            (Kind::UpperHalf, &[a]) => self.upper_half(to, a),
            (Kind::Pick(parity), &[a, b]) => self.pick(to, parity, a, b),
            (Kind::Choose, &[a, b, then, otherwise]) => self.choose(to, [a, b, then, otherwise]),
            (kind, _) => Err(Refusal::Operation(format!("{kind:?} of {} operands", args.len()))),
        }
    }

    fn copy(&mut self, to: Value, from: Value) -> Result<(), Refusal> {
        if self.dies(from) && self.homes[to.0 as usize].is_none() {
            self.inherit(to, from);
            return Ok(());
        }
        let (from, to) = (self.home(from)?, self.destination(to)?);
        self.two(self.codes.copy, to, from);
        Ok(())
    }

    fn fma(&mut self, to: Value, a: Arg, b: Arg, c: Arg) -> Result<(), Refusal> {
        if self.shape.dtype.is_integer() {
            return self.multiply_add(to, a, b, c);
        }
        let (a, b) = if matches!(b, Arg::Value(_)) { (b, a) } else { (a, b) };
        if let Some(sum) = self.reusable(to, c) {
            return self.accumulate(to, sum, a, b);
        }
        for (factor, other) in [(a, b), (b, a)] {
            if let Some(factor) = self.reusable(to, factor) {
                let (other, is_mine) = self.register(other)?;
                let (c, temporary) = self.operand(c)?;
                self.inherit(to, factor);
                let reg = self.home(to)?;
                self.three(self.codes.fma213, reg, other, c);
                self.release(temporary);
                self.release(is_mine.then_some(other));
                return Ok(());
            }
        }
        let reg = self.destination(to)?;
        match c {
            Arg::Value(c) => {
                let c = self.home(c)?;
                self.two(self.codes.copy, reg, c);
            }
            Arg::From(source) => self.load(reg, source)?,
        }
        self.accumulate(to, to, a, b)
    }

    /// The value of an operand whose register may become the result's.
    pub(super) fn reusable(&self, to: Value, arg: Arg) -> Option<Value> {
        let Arg::Value(value) = arg else { return None };
        let home = self.homes[to.0 as usize];
        let fits = home.is_some() && home == self.homes[value.0 as usize]
            || home.is_none() && self.dies(value);
        fits.then_some(value)
    }

    fn accumulate(&mut self, to: Value, sum: Value, a: Arg, b: Arg) -> Result<(), Refusal> {
        let (a, is_mine) = self.register(a)?;
        let (b, temporary) = self.operand(b)?;
        self.inherit(to, sum);
        let reg = self.home(to)?;
        self.three(self.codes.fma231, reg, a, b);
        self.release(temporary);
        self.release(is_mine.then_some(a));
        Ok(())
    }

    fn commutative(&mut self, code: Code, to: Value, a: Arg, b: Arg) -> Result<(), Refusal> {
        match (a, b) {
            (Arg::From(_), Arg::Value(_)) => self.binary(code, to, b, a),
            _ => self.binary(code, to, a, b),
        }
    }

    fn binary(&mut self, code: Code, to: Value, a: Arg, b: Arg) -> Result<(), Refusal> {
        let (left, is_mine) = self.register(a)?;
        let (right, temporary) = self.operand(b)?;
        self.release(temporary);
        self.release(is_mine.then_some(left));
        let reg = self.result(to, &[a, b])?;
        self.three(code, reg, left, right);
        Ok(())
    }

    /// A register for the result of an instruction that is the last to read some of its operands.
    pub(super) fn result(&mut self, to: Value, args: &[Arg]) -> Result<Reg, Refusal> {
        for arg in args {
            if let Arg::Value(value) = arg
                && *value != to
            {
                self.bury(*value);
            }
        }
        self.destination(to)
    }

    fn immediate(&mut self, code: Code, to: Value, a: Arg, immediate: u32) -> Result<(), Refusal> {
        let (from, is_mine) = self.register(a)?;
        self.release(is_mine.then_some(from));
        let reg = self.result(to, &[a])?;
        let instruction = Instruction::with3(code, self.name(reg), self.name(from), immediate);
        self.text.push(instruction);
        Ok(())
    }

    fn choose(&mut self, to: Value, args: [Arg; 4]) -> Result<(), Refusal> {
        let mut regs = [0; 4];
        let mut temporaries = Vec::new();
        for (reg, arg) in regs.iter_mut().zip(args) {
            let (found, is_mine) = self.register(arg)?;
            *reg = found;
            temporaries.extend(is_mine.then_some(found));
        }
        let [a, b, then, otherwise] = regs.map(|r| self.name(r));
        let mask = match self.encoding {
            Encoding::Evex => None,
            Encoding::Vex => Some(self.take()?),
        };
        let condition = mask.map_or(SCRATCH_MASK, |m| self.name(m));
        self.text.push(Instruction::with4(self.codes.compare, condition, a, b, LESS));
        temporaries.into_iter().chain(mask).for_each(|reg| self.give(reg));
        let reg = self.result(to, &args)?;
        let to = self.name(reg);
        self.text.push(match self.encoding {
            Encoding::Evex => {
                masked(Instruction::with3(self.codes.blend, to, otherwise, then), condition)
            }
            Encoding::Vex => Instruction::with4(self.codes.blend, to, otherwise, then, condition),
        });
        Ok(())
    }

    /// Every second element of two registers.
    fn pick(&mut self, to: Value, parity: usize, a: Arg, b: Arg) -> Result<(), Refusal> {
        let (left, left_is_mine) = self.register(a)?;
        self.locked |= 1 << left;
        if self.encoding == Encoding::Evex {
            // The instruction overwrites its first table.
            let index = self.kept(Kept::Alternate(parity))?;
            let right = self.operand(b)?;
            let table = match self.reusable(to, a) {
                Some(value) => {
                    self.inherit(to, value);
                    left
                }
                None => {
                    let table = self.destination(to)?;
                    self.two(self.codes.copy, table, left);
                    table
                }
            };
            self.three(self.codes.pick, table, index, right.0);
            self.release(right.1);
            self.release(left_is_mine.then_some(left));
            return Ok(());
        }
        let (right, right_is_mine) = self.register(b)?;
        self.release(left_is_mine.then_some(left));
        self.release(right_is_mine.then_some(right));
        let reg = self.result(to, &[a, b])?;
        self.pick_in_chunks(reg, parity, (left, right));
        Ok(())
    }
}

/// The instruction, on the lanes of the mask only.
pub(super) fn masked(
    instruction: Result<Instruction, IcedError>,
    mask: Register,
) -> Result<Instruction, IcedError> {
    instruction.map(|mut i| {
        i.set_op_mask(mask);
        i
    })
}
