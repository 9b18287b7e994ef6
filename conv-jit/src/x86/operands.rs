//! Operands of instructions: in a register, in memory where an instruction takes it there, or a
//! constant, and the instructions that are all operands.

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::Refusal;
use super::encoding::Encoding;
use super::masks::is_plain_slide;
use super::text::Constant;
use super::vectors::{Kept, Operand, Reg, Vectors};
use crate::leaf::inst::{Arg, Place, Source};

/// Constants move into registers while so many stay free.
const ROOM: u32 = 3;

impl Vectors<'_> {
    /// Gives a temporary back.
    pub fn release(&mut self, temporary: Option<Reg>) {
        if let Some(reg) = temporary {
            self.give(reg);
        }
    }

    /// The operand in a register, and whether that is a temporary of the caller's.
    pub fn register(&mut self, arg: Arg) -> Result<(Reg, bool), Refusal> {
        match arg {
            Arg::Value(value) => Ok((self.home(value)?, false)),
            Arg::From(Source::Bits(bits)) => Ok((self.kept(Kept::Bits(bits))?, false)),
            Arg::From(source) => {
                let reg = self.take()?;
                self.load(reg, source)?;
                Ok((reg, true))
            }
        }
    }

    /// The register that a constant is kept in.
    pub(super) fn kept(&mut self, constant: Kept) -> Result<Reg, Refusal> {
        let reg = match self.constants.iter().find(|(known, _)| *known == constant) {
            Some((_, reg)) => *reg,
            None => {
                let reg = self.take()?;
                match constant {
                    Kept::Bits(bits) => self.load(reg, Source::Bits(bits))?,
                    Kept::Alternate(first) => self.load_alternate(reg, first),
                    Kept::Slide { count, apart, from } => {
                        self.load_order(reg, (count, apart), from)
                    }
                    Kept::Chunks(step) => self.load_chunks_of(reg, step),
                    Kept::FourByFour => self.load_four_by_four(reg),
                    Kept::Halves => self.load_halves(reg),
                }
                self.constants.push((constant, reg));
                reg
            }
        };
        self.locked |= 1 << reg;
        Ok(reg)
    }

    /// The operand as the instruction's last, in memory where it can be, and the temporary it took.
    pub(super) fn operand(&mut self, arg: Arg) -> Result<(Operand, Option<Reg>), Refusal> {
        let evex = self.encoding == Encoding::Evex;
        match arg {
            Arg::From(Source::Splat(place)) if evex => {
                Ok((Operand::Memory(self.memory(place, true)?), None))
            }
            Arg::From(Source::Vector { place, live }) if live.is_all(self.shape.width) => {
                Ok((Operand::Memory(self.memory(place, false)?), None))
            }
            Arg::From(Source::Bits(bits)) if self.is_better_in_memory(bits) => {
                let repeat = if evex { 1 } else { self.shape.bytes() / self.shape.element() };
                let constant = self.constant(bits, repeat);
                Ok((Operand::Constant(self.text.constant_operand(evex), constant), None))
            }
            arg => {
                let (reg, is_mine) = self.register(arg)?;
                Ok((Operand::Reg(reg), is_mine.then_some(reg)))
            }
        }
    }

    fn is_better_in_memory(&self, bits: u64) -> bool {
        bits != 0
            && self.free.count_ones() <= ROOM
            && !self.constants.iter().any(|(known, _)| *known == Kept::Bits(bits))
    }

    fn constant(&mut self, bits: u64, repeat: i64) -> Constant {
        let one = &bits.to_le_bytes()[..self.shape.element() as usize];
        self.text.constant(one.repeat(repeat as usize))
    }

    /// The memory operand of a place.
    pub fn memory(&self, place: Place, broadcast: bool) -> Result<MemoryOperand, Refusal> {
        let bytes = i32::try_from(place.bytes).map_err(|_| Refusal::Far)?;
        let base = self.bases[place.cursor.0 as usize];
        Ok(MemoryOperand::with_base_displ_size_bcst_seg(
            base,
            bytes.into(),
            u32::from(bytes != 0),
            broadcast,
            Register::None,
        ))
    }

    /// The register's name at the leaf's width.
    pub fn name(&self, reg: Reg) -> Register {
        self.sized(reg, self.shape.bytes())
    }

    /// The register's name at a width in bytes.
    pub fn sized(&self, reg: Reg, bytes: i64) -> Register {
        let first = match bytes {
            64 => Register::ZMM0,
            32 => Register::YMM0,
            _ => Register::XMM0,
        };
        first + u32::from(reg)
    }

    /// `code to, from`.
    pub fn two(&mut self, code: Code, to: Reg, from: Reg) {
        let instruction = Instruction::with2(code, self.name(to), self.name(from));
        self.text.push(instruction);
    }

    /// `code to, a, b`, all registers.
    pub fn shuffle(&mut self, code: Code, to: Reg, a: Reg, b: Reg) {
        self.three(code, to, a, Operand::Reg(b));
    }

    pub(super) fn three(&mut self, code: Code, to: Reg, a: Reg, b: Operand) {
        let (to, a) = (self.name(to), self.name(a));
        match b {
            Operand::Reg(b) => self.text.push(Instruction::with3(code, to, a, self.name(b))),
            Operand::Memory(b) => self.text.push(Instruction::with3(code, to, a, b)),
            Operand::Constant(b, constant) => {
                self.text.push_with_constant(Instruction::with3(code, to, a, b), constant)
            }
        }
    }

    /// Loads into a register.
    pub fn load(&mut self, reg: Reg, source: Source) -> Result<(), Refusal> {
        let name = self.name(reg);
        match source {
            Source::Bits(0) => self.shuffle(self.codes.xor, reg, reg, reg),
            Source::Bits(bits) => {
                let constant = self.constant(bits, 1);
                let operand = self.text.constant_operand(false);
                self.text
                    .push_with_constant(Instruction::with2(self.one(), name, operand), constant);
            }
            Source::Splat(place) => {
                let operand = self.memory(place, false)?;
                self.text.push(Instruction::with2(self.one(), name, operand));
            }
            Source::Vector { place, live } if live.is_all(self.shape.width) => {
                let operand = self.memory(place, false)?;
                self.text.push(Instruction::with2(self.codes.load, name, operand));
            }
            Source::Vector { place, live } => self.load_masked(reg, place, live)?,
            Source::Strided { place, step, live } => self.gather(reg, place, step, live)?,
            Source::Slide { place, step, count, apart, live } => {
                match is_plain_slide(self.shape, step, count, live) {
                    true => self.load_slid(reg, place, count)?,
                    false => self.load_slid_of(reg, place, (step, (count, apart), live))?,
                }
            }
            Source::Words { dtype, place, step, apart, live } => {
                self.load_words(reg, (dtype, place), (step, apart), live)?
            }
            Source::Around { live, bits } => self.load_around(reg, live, bits),
            Source::Stored { dtype, place, step, live } => {
                self.load_stored(reg, dtype, place, (step, live))?
            }
        }
        Ok(())
    }

    /// The instruction that reads one element into all lanes, or into the only one.
    fn one(&self) -> Code {
        if self.shape.width == 1 { self.codes.load_one } else { self.codes.splat }
    }
}
