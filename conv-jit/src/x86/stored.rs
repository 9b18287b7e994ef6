//! Elements of narrower types: widened as they are loaded, narrowed as they are stored.
//!
//! ```text
//! f16   vcvtph2ps, vcvtps2ph                         registers or memory, masked with AVX-512
//! bf16  vpmovzxwd and a shift; a shift and vpmovusdw, or vpackusdw
//! i8 .. in `integers`, where instructions have other names
//! ```
//!
//! What is stored was rounded before (`Kind::To`), so that narrowing is exact. One element for all
//! lanes is a broadcast of it; elements that are apart are inserted and extracted one by one, those
//! beside each other that AVX2 cannot mask as numbers of up to 8 bytes.

use std::ops::Range;

use conv_ir::DType;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::Refusal;
use super::encoding::Encoding;
use super::masks::SCRATCH_MASK;
use super::vectors::{Kept, Operand, Reg, Vectors, masked};
use crate::leaf::inst::{Arg, Live, Place, Value};

/// `a` or `b` is NaN, no exception for quiet NaN.
const UNORDERED: u32 = 3;
/// Round as the immediate says: to nearest even.
const NEAREST_EVEN: u32 = 0;
/// Bytes of f16 and bf16.
const WORD: i64 = 2;

/// The instructions for words of one vector shape.
struct Words {
    from_f16: Code,
    to_f16: Code,
    extend: Code,
    splat: Code,
    shift_right: Code,
    add: Code,
}

const EVEX_Z: Words = Words {
    from_f16: Code::EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae,
    to_f16: Code::EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae,
    extend: Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256,
    splat: Code::EVEX_Vpbroadcastw_ymm_k1z_xmmm16,
    shift_right: Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8,
    add: Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
};

const EVEX_Y: Words = Words {
    from_f16: Code::EVEX_Vcvtph2ps_ymm_k1z_xmmm128,
    to_f16: Code::EVEX_Vcvtps2ph_xmmm128_k1z_ymm_imm8,
    extend: Code::EVEX_Vpmovzxwd_ymm_k1z_xmmm128,
    splat: Code::EVEX_Vpbroadcastw_xmm_k1z_xmmm16,
    shift_right: Code::EVEX_Vpsrld_ymm_k1z_ymmm256b32_imm8,
    add: Code::EVEX_Vpaddd_ymm_k1z_ymm_ymmm256b32,
};

const EVEX_X: Words = Words {
    from_f16: Code::EVEX_Vcvtph2ps_xmm_k1z_xmmm64,
    to_f16: Code::EVEX_Vcvtps2ph_xmmm64_k1z_xmm_imm8,
    extend: Code::EVEX_Vpmovzxwd_xmm_k1z_xmmm64,
    splat: Code::EVEX_Vpbroadcastw_xmm_k1z_xmmm16,
    shift_right: Code::EVEX_Vpsrld_xmm_k1z_xmmm128b32_imm8,
    add: Code::EVEX_Vpaddd_xmm_k1z_xmm_xmmm128b32,
};

const VEX_Y: Words = Words {
    from_f16: Code::VEX_Vcvtph2ps_ymm_xmmm128,
    to_f16: Code::VEX_Vcvtps2ph_xmmm128_ymm_imm8,
    extend: Code::VEX_Vpmovzxwd_ymm_xmmm128,
    splat: Code::VEX_Vpbroadcastw_xmm_xmmm16,
    shift_right: Code::VEX_Vpsrld_ymm_ymm_imm8,
    add: Code::VEX_Vpaddd_ymm_ymm_ymmm256,
};

const VEX_X: Words = Words {
    from_f16: Code::VEX_Vcvtph2ps_xmm_xmmm64,
    to_f16: Code::VEX_Vcvtps2ph_xmmm64_xmm_imm8,
    extend: Code::VEX_Vpmovzxwd_xmm_xmmm64,
    splat: Code::VEX_Vpbroadcastw_xmm_xmmm16,
    shift_right: Code::VEX_Vpsrld_xmm_xmm_imm8,
    add: Code::VEX_Vpaddd_xmm_xmm_xmmm128,
};

/// A range of the bytes of a register as numbers of 8, 4, 2 and 1 bytes in their places: where
/// each is, and its size.
fn pieces(bytes: Range<i64>) -> impl Iterator<Item = (i64, i64)> {
    let Range { start, end } = bytes;
    let size = move |at: i64| [8, 4, 2, 1].into_iter().find(|s| at % s == 0 && at + s <= end);
    let piece = move |at: i64| size(at).map(|size| (at, size));
    std::iter::successors(piece(start), move |(at, size)| piece(at + size))
}

impl Vectors<'_> {
    fn words(&self) -> &'static Words {
        self.encoding.form(self.shape.bytes(), [&EVEX_Z, &EVEX_Y, &EVEX_X, &VEX_Y, &VEX_X])
    }

    /// The name of a register that holds an element of so many bytes for each lane.
    pub(super) fn narrow(&self, reg: Reg, element: i64) -> Register {
        self.sized(reg, (self.shape.width * element).max(16))
    }

    /// One of two instructions.
    fn either(&self, evex: Code, vex: Code) -> Code {
        if self.encoding == Encoding::Evex { evex } else { vex }
    }

    /// Loads and widens.
    pub(super) fn load_stored(
        &mut self,
        reg: Reg,
        dtype: DType,
        place: Place,
        (step, live): (i64, Live),
    ) -> Result<(), Refusal> {
        let (width, element) = (self.shape.width, dtype.bytes() as i64);
        let (from_memory, repeat) = match dtype {
            DType::F16 => (self.words().from_f16, self.words().splat),
            DType::BF16 => (self.words().extend, self.words().splat),
            _ => (self.widening(dtype), self.repeating(dtype)),
        };
        if step == element && live.is_all(width) && width > 1 {
            let operand = self.memory(place, false)?;
            self.text.push(Instruction::with2(from_memory, self.name(reg), operand));
            self.moved_up(reg, dtype);
            return Ok(());
        }
        if step == element && width > 1 && self.encoding == Encoding::Evex {
            let (operand, mask) = (self.memory(place, false)?, self.mask(live));
            let load = masked(Instruction::with2(from_memory, self.name(reg), operand), mask);
            self.text.push(load.map(|mut i| {
                i.set_zeroing_masking(true);
                i
            }));
            self.moved_up(reg, dtype);
            return Ok(());
        }
        if step == 0 && width > 1 {
            let operand = self.memory(place, false)?;
            let splat = Instruction::with2(repeat, self.narrow(reg, element), operand);
            self.text.push(splat);
        } else {
            let live = if width == 1 { Live::first(1) } else { live };
            self.insert(reg, place, (step, live), element)?;
        }
        let widen = Instruction::with2(from_memory, self.name(reg), self.narrow(reg, element));
        self.text.push(widen);
        self.moved_up(reg, dtype);
        Ok(())
    }

    /// The upper half of a number is all that bf16 has of it.
    fn moved_up(&mut self, reg: Reg, dtype: DType) {
        if dtype == DType::BF16 {
            let name = self.name(reg);
            self.text.push(Instruction::with3(self.codes.shift, name, name, 16));
        }
    }

    /// Elements of so many bytes one by one into a register, zeros in other lanes.
    fn insert(
        &mut self,
        reg: Reg,
        place: Place,
        (step, live): (i64, Live),
        element: i64,
    ) -> Result<(), Refusal> {
        let code = match element {
            1 => self.either(
                Code::EVEX_Vpinsrb_xmm_xmm_r32m8_imm8,
                Code::VEX_Vpinsrb_xmm_xmm_r32m8_imm8,
            ),
            _ => self.either(
                Code::EVEX_Vpinsrw_xmm_xmm_r32m16_imm8,
                Code::VEX_Vpinsrw_xmm_xmm_r32m16_imm8,
            ),
        };
        let (from, to) = live.range();
        let per = 16 / element;
        if step == element && self.encoding == Encoding::Vex && self.shape.width <= per {
            let bytes = from.max(0) * element..to.min(self.shape.width) * element;
            return self.insert_pieces(reg, place, bytes);
        }
        let high = if self.shape.width > per { Some(self.take()?) } else { None };
        for part in [Some(reg), high].into_iter().flatten() {
            self.shuffle(self.codes.xor, part, part, part);
        }
        for lane in from.max(0)..to.min(self.shape.width) {
            let part = if lane < per { reg } else { high.unwrap_or(reg) };
            let (name, operand) =
                (self.sized(part, 16), self.memory(place.offset(lane * step), false)?);
            let at = (lane % per) as u32;
            self.text.push(Instruction::with4(code, name, name, operand, at));
        }
        if let Some(high) = high {
            let (whole, part) = (self.sized(reg, 32), self.sized(high, 16));
            let code = Code::EVEX_Vinserti32x4_ymm_k1z_ymm_xmmm128_imm8;
            self.text.push(Instruction::with4(code, whole, whole, part, 1));
            self.give(high);
        }
        Ok(())
    }

    /// Bytes that lie as they do in the register, zeros around them.
    fn insert_pieces(&mut self, reg: Reg, place: Place, bytes: Range<i64>) -> Result<(), Refusal> {
        let name = self.sized(reg, 16);
        self.shuffle(self.codes.xor, reg, reg, reg);
        for (at, size) in pieces(bytes) {
            let operand = self.memory(place.offset(at), false)?;
            let code = match size {
                8 => Code::VEX_Vpinsrq_xmm_xmm_rm64_imm8,
                4 => Code::VEX_Vpinsrd_xmm_xmm_rm32_imm8,
                2 => Code::VEX_Vpinsrw_xmm_xmm_r32m16_imm8,
                _ => Code::VEX_Vpinsrb_xmm_xmm_r32m8_imm8,
            };
            self.text.push(Instruction::with4(code, name, name, operand, (at / size) as u32));
        }
        Ok(())
    }

    /// The first bytes of a register.
    fn extract_pieces(&mut self, reg: Reg, place: Place, count: i64) -> Result<(), Refusal> {
        let name = self.sized(reg, 16);
        for (at, size) in pieces(0..count) {
            let operand = self.memory(place.offset(at), false)?;
            let code = match (size, at) {
                (8, 0) => self.codes.store_low,
                (4, 0) => self.codes.store_one,
                (8, _) => Code::VEX_Vpextrq_rm64_xmm_imm8,
                (4, _) => Code::VEX_Vpextrd_rm32_xmm_imm8,
                (2, _) => Code::VEX_Vpextrw_r32m16_xmm_imm8,
                (_, _) => Code::VEX_Vpextrb_r32m8_xmm_imm8,
            };
            self.text.push(match (size, at) {
                (8 | 4, 0) => Instruction::with2(code, operand, name),
                _ => Instruction::with3(code, operand, name, (at / size) as u32),
            });
        }
        Ok(())
    }

    /// `to` is the nearest number of the type.
    pub(super) fn nearest_stored(
        &mut self,
        to: Value,
        dtype: DType,
        a: Arg,
    ) -> Result<(), Refusal> {
        let (from, is_mine) = self.register(a)?;
        let rounded = self.take()?;
        match dtype {
            DType::F16 => {
                let (words, name) = (self.words(), self.name(rounded));
                let (narrow, from) = (self.narrow(rounded, WORD), self.name(from));
                self.text.push(Instruction::with3(words.to_f16, narrow, from, NEAREST_EVEN));
                self.text.push(Instruction::with2(words.from_f16, name, narrow));
            }
            _ => self.round_to_upper_half(rounded, from)?,
        }
        self.release(is_mine.then_some(from));
        let reg = self.result(to, &[a])?;
        self.two(self.codes.copy, reg, rounded);
        self.give(rounded);
        Ok(())
    }

    /// Half a unit of the last bit that stays is added, less one where that bit is even. NaN keeps
    /// its upper half, and is quiet.
    fn round_to_upper_half(&mut self, rounded: Reg, from: Reg) -> Result<(), Refusal> {
        let (words, codes) = (self.words(), self.codes);
        let (to, value) = (self.name(rounded), self.name(from));
        self.text.push(Instruction::with3(words.shift_right, to, value, 16));
        let one = self.kept(Kept::Bits(1))?;
        self.three(codes.and, rounded, rounded, Operand::Reg(one));
        self.three(words.add, rounded, rounded, Operand::Reg(from));
        let half = self.kept(Kept::Bits(0x7fff))?;
        self.three(words.add, rounded, rounded, Operand::Reg(half));
        let quiet = self.kept(Kept::Bits(0x40_0000))?;
        let nan = self.take()?;
        self.three(codes.or, nan, from, Operand::Reg(quiet));
        let (nan_name, value) = (self.name(nan), self.name(from));
        match self.encoding {
            Encoding::Evex => {
                let compare =
                    Instruction::with4(codes.compare, SCRATCH_MASK, value, value, UNORDERED);
                self.text.push(compare);
                let blend = Instruction::with3(codes.blend, to, to, nan_name);
                self.text.push(masked(blend, SCRATCH_MASK));
            }
            Encoding::Vex => {
                let mask = self.take()?;
                let mask_name = self.name(mask);
                let compare = Instruction::with4(codes.compare, mask_name, value, value, UNORDERED);
                self.text.push(compare);
                self.text.push(Instruction::with4(codes.blend, to, to, nan_name, mask_name));
                self.give(mask);
            }
        }
        self.give(nan);
        let upper = self.kept(Kept::Bits(0xffff_0000))?;
        self.three(codes.and, rounded, rounded, Operand::Reg(upper));
        Ok(())
    }

    /// Narrows and stores the first `live` lanes, `step` bytes apart. The register keeps its value.
    pub(super) fn store_stored(
        &mut self,
        dtype: DType,
        place: Place,
        (step, live): (i64, i64),
        reg: Reg,
    ) -> Result<(), Refusal> {
        if dtype.is_integer() {
            return self.store_integers(dtype, place, (step, live), reg);
        }
        let (width, evex) = (self.shape.width, self.encoding == Encoding::Evex);
        let is_row = step == dtype.bytes() as i64 && width > 1;
        let whole = is_row && live == width;
        let name = self.name(reg);
        if dtype == DType::F16 && (whole || is_row && evex) {
            let operand = self.memory(place, false)?;
            let store = Instruction::with3(self.words().to_f16, operand, name, NEAREST_EVEN);
            return self.push_row(store, whole, live);
        }
        let words = self.take()?;
        if dtype == DType::F16 {
            let (to_f16, narrow) = (self.words().to_f16, self.narrow(words, WORD));
            self.text.push(Instruction::with3(to_f16, narrow, name, NEAREST_EVEN));
            self.store_narrowed(words, place, (step, live), WORD)?;
        } else {
            let shifted = self.name(words);
            self.text.push(Instruction::with3(self.words().shift_right, shifted, name, 16));
            self.store_integers(DType::U16, place, (step, live), words)?;
        }
        self.give(words);
        Ok(())
    }

    /// A store of a row, of its first lanes only where it is not whole.
    pub(super) fn push_row(
        &mut self,
        store: Result<Instruction, iced_x86::IcedError>,
        whole: bool,
        live: i64,
    ) -> Result<(), Refusal> {
        let store = if whole { store } else { masked(store, self.mask(Live::first(live))) };
        self.text.push(store);
        Ok(())
    }

    /// Elements of so many bytes one by one to memory.
    pub(super) fn extract(
        &mut self,
        words: Reg,
        place: Place,
        (step, live): (i64, i64),
        element: i64,
    ) -> Result<(), Refusal> {
        let code = match element {
            1 => self.either(Code::EVEX_Vpextrb_r32m8_xmm_imm8, Code::VEX_Vpextrb_r32m8_xmm_imm8),
            _ => self.either(Code::EVEX_Vpextrw_r32m16_xmm_imm8, Code::VEX_Vpextrw_r32m16_xmm_imm8),
        };
        let per = 16 / element;
        if step == element && self.encoding == Encoding::Vex && live <= per {
            return self.extract_pieces(words, place, live * element);
        }
        for lane in 0..live {
            if lane == per {
                let (xmm, whole) = (self.sized(words, 16), self.sized(words, 32));
                let high = Code::EVEX_Vextracti32x4_xmmm128_k1z_ymm_imm8;
                self.text.push(Instruction::with3(high, xmm, whole, 1));
            }
            let operand: MemoryOperand = self.memory(place.offset(lane * step), false)?;
            let at = (lane % per) as u32;
            self.text.push(Instruction::with3(code, operand, self.sized(words, 16), at));
        }
        Ok(())
    }
}
