//! Bytes of two taps as the words of each lane.
//!
//! ```text
//! a splat                     vpbroadcastw, vpmovsxbw
//! neighbouring lanes          two loads of eight bytes, vpunpcklbw, vpmovzxbw
//! every second lane           vpmovzxbw of sixteen bytes, where the taps are beside each other
//! some lanes left out, ..     the first and the last eight bytes (or four), vpshufb, vpmovzxbw
//! what is further apart       both as lanes of 32 bits, vpslld, vpblendw
//! ```

use std::ops::Range;

use conv_ir::{DType, Kind};
use iced_x86::{Code, Instruction};

use super::Refusal;
use super::encoding::Encoding;
use super::vectors::{Reg, Vectors};
use crate::leaf::inst::{Live, Place};

/// The words of a register that are odd.
const ODD: u32 = 0xaa;
/// Bytes of which `vpshufb` makes as many.
const SIXTEEN: i64 = 16;

impl Vectors<'_> {
    /// Two bytes of each lane as words.
    pub(super) fn load_words(
        &mut self,
        reg: Reg,
        (dtype, place): (DType, Place),
        (step, apart): (i64, i64),
        live: [Live; 2],
    ) -> Result<(), Refusal> {
        if self.encoding == Encoding::Evex {
            return Err(Refusal::Operation("pairs of taps with masks".into()));
        }
        let width = self.shape.width;
        let are_whole = live.iter().all(|live| live.is_all(width));
        let xmm = self.sized(reg, 16);
        let widen = match (self.shape.bytes(), dtype.format().kind) {
            (32, Kind::Signed) => Code::VEX_Vpmovsxbw_ymm_xmmm128,
            (32, _) => Code::VEX_Vpmovzxbw_ymm_xmmm128,
            (_, Kind::Signed) => Code::VEX_Vpmovsxbw_xmm_xmmm64,
            (..) => Code::VEX_Vpmovzxbw_xmm_xmmm64,
        };
        match (step, apart) {
            (0, 1) if are_whole => {
                let both = self.memory(place, false)?;
                let repeat = Code::VEX_Vpbroadcastw_xmm_xmmm16;
                self.text.push(Instruction::with2(repeat, xmm, both));
            }
            (2, 1) if are_whole => {
                let all = self.memory(place, false)?;
                self.text.push(Instruction::with2(widen, self.name(reg), all));
                return Ok(());
            }
            (1, _) if are_whole => self.load_beside(reg, place, apart)?,
            _ => match touched(live, step, apart).filter(|_| step > 0) {
                Some(bytes) => self.load_in_order(reg, place, bytes, (step, apart, live))?,
                None => return self.load_apart(reg, (dtype, place), (step, apart), live),
            },
        }
        self.text.push(Instruction::with2(widen, self.name(reg), xmm));
        Ok(())
    }

    /// The bytes of neighbouring lanes, and between them those behind.
    fn load_beside(&mut self, reg: Reg, place: Place, apart: i64) -> Result<(), Refusal> {
        let code = match self.shape.width {
            8 => Code::VEX_Vmovq_xmm_xmmm64,
            _ => Code::VEX_Vmovd_xmm_rm32,
        };
        let other = self.take()?;
        let (first, second) = (self.sized(reg, 16), self.sized(other, 16));
        for (to, place) in [(first, place), (second, place.offset(apart))] {
            let bytes = self.memory(place, false)?;
            self.text.push(Instruction::with2(code, to, bytes));
        }
        let unpack = Code::VEX_Vpunpcklbw_xmm_xmm_xmmm128;
        self.text.push(Instruction::with3(unpack, first, first, second));
        self.give(other);
        Ok(())
    }

    /// Any of a few bytes: from the first ones and the last ones, which may be the same.
    fn load_in_order(
        &mut self,
        reg: Reg,
        place: Place,
        bytes: Range<i64>,
        (step, apart, live): (i64, i64, [Live; 2]),
    ) -> Result<(), Refusal> {
        const ZERO: u8 = 0x80;
        let (load, insert, size) = match bytes.end - bytes.start {
            8.. => (Code::VEX_Vmovq_xmm_xmmm64, Code::VEX_Vpinsrq_xmm_xmm_rm64_imm8, 8),
            _ => (Code::VEX_Vmovd_xmm_rm32, Code::VEX_Vpinsrd_xmm_xmm_rm32_imm8, 4),
        };
        let name = self.sized(reg, 16);
        let last = bytes.end - size;
        let first = self.memory(place.offset(bytes.start), false)?;
        self.text.push(Instruction::with2(load, name, first));
        if last > bytes.start {
            let last = self.memory(place.offset(last), false)?;
            self.text.push(Instruction::with4(insert, name, name, last, 1));
        }
        let from = |at: i64| {
            let (lane, word) = (at / 2, at % 2);
            let byte = lane * step + word * apart;
            let (start, end) = live[word as usize].range();
            match byte - bytes.start {
                _ if !(start..end).contains(&lane) => ZERO,
                near if near < size => near as u8,
                _ => (size + byte - last) as u8,
            }
        };
        let order = self.text.constant((0..SIXTEEN).map(from).collect());
        let operand = self.text.constant_operand(false);
        let shuffle = Instruction::with3(Code::VEX_Vpshufb_xmm_xmm_xmmm128, name, name, operand);
        self.text.push_with_constant(shuffle, order);
        Ok(())
    }

    /// Both as numbers of 32 bits, of which the lower halves are put together.
    fn load_apart(
        &mut self,
        reg: Reg,
        (dtype, place): (DType, Place),
        (step, apart): (i64, i64),
        [first, second]: [Live; 2],
    ) -> Result<(), Refusal> {
        let other = self.take()?;
        for (to, place, live) in [(reg, place, first), (other, place.offset(apart), second)] {
            match live.is_empty() {
                true => self.shuffle(self.codes.xor, to, to, to),
                false => self.load_stored(to, dtype, place, (step, live))?,
            }
        }
        let (to, from) = (self.name(reg), self.name(other));
        self.text.push(Instruction::with3(self.codes.shift, from, from, 16));
        let blend = match self.shape.bytes() {
            32 => Code::VEX_Vpblendw_ymm_ymm_ymmm256_imm8,
            _ => Code::VEX_Vpblendw_xmm_xmm_xmmm128_imm8,
        };
        self.text.push(Instruction::with4(blend, to, to, from, ODD));
        self.give(other);
        Ok(())
    }
}

/// The bytes from the first to the last, where a shuffle has them all and two loads do.
fn touched(live: [Live; 2], step: i64, apart: i64) -> Option<Range<i64>> {
    let ranges = live.into_iter().zip([0, apart]).filter(|(live, _)| !live.is_empty());
    let bytes = |(live, at): (Live, i64)| {
        let (from, to) = live.range();
        (at + from * step, at + (to - 1) * step + 1)
    };
    let (starts, ends): (Vec<i64>, Vec<i64>) = ranges.map(bytes).unzip();
    let (start, end) = (*starts.iter().min()?, *ends.iter().max()?);
    (4..=SIXTEEN).contains(&(end - start)).then_some(start..end)
}
