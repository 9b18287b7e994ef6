//! Loads and stores of less than a vector: masked, gathered, scattered, or in pieces.
//!
//! AVX-512 masks lanes; AVX2 masks loads and stores in pieces of 16, 8 and 4 bytes (its masked
//! stores are microcoded on AMD). Lanes that are apart in memory are gathered by index, and stored
//! one by one where they are not [spread](super::spread).

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use conv_ir::DType;

use super::Refusal;
use super::codes::codes;
use super::encoding::Encoding;
use super::masks::{self, Lanes, SCRATCH_MASK, Spread};
use super::vectors::{Kept, Reg, Sixteen, Vectors, masked};
use crate::leaf::inst::{Arg, Live, Place};

impl Vectors<'_> {
    /// The mask of these lanes, in a register of its own or for the next instruction only.
    pub(super) fn mask(&mut self, live: Live) -> Register {
        self.mask_of(masks::bits(live))
    }

    /// The same of any lanes.
    pub(super) fn mask_of(&mut self, lanes: Lanes) -> Register {
        self.masks.kept(lanes).unwrap_or_else(|| {
            masks::set(&mut self.text, SCRATCH_MASK, lanes);
            SCRATCH_MASK
        })
    }

    /// Loads the lanes of `live`; the others become zero.
    pub(super) fn load_masked(
        &mut self,
        reg: Reg,
        place: Place,
        live: Live,
    ) -> Result<(), Refusal> {
        let (name, operand) = (self.name(reg), self.memory(place, false)?);
        match self.encoding {
            Encoding::Evex => {
                let mask = self.mask(live);
                let load = masked(Instruction::with2(self.codes.load, name, operand), mask);
                self.text.push(load.map(|mut i| {
                    i.set_zeroing_masking(true);
                    i
                }));
            }
            Encoding::Vex => {
                self.load_mask(reg, live);
                self.text.push(Instruction::with3(self.codes.masked_load, name, name, operand));
            }
        }
        Ok(())
    }

    /// All bits of the lanes of `live`.
    fn load_mask(&mut self, reg: Reg, live: Live) {
        let (element, bytes) = (self.shape.element(), self.shape.bytes());
        let (from, to) = live.range();
        let is_live = |at: &i64| (from * element..to * element).contains(at);
        let mask = (0..bytes).map(|at| if is_live(&at) { 0xff } else { 0 }).collect();
        self.load_constant(self.codes.load, self.name(reg), mask);
    }

    /// `bits` in the lanes outside `live`, zeros in those of it.
    pub(super) fn load_around(&mut self, reg: Reg, live: Live, bits: u64) {
        let element = self.shape.element();
        let (from, to) = live.range();
        let lane = |at: i64| if (from..to).contains(&at) { 0 } else { bits };
        let bytes = (0..self.shape.bytes() / element)
            .flat_map(|at| lane(at).to_le_bytes()[..element as usize].to_vec());
        self.load_constant(self.codes.load, self.name(reg), bytes.collect());
    }

    fn load_constant(&mut self, code: Code, to: Register, bytes: Vec<u8>) {
        let constant = self.text.constant(bytes);
        let operand = self.text.constant_operand(false);
        self.text.push_with_constant(Instruction::with2(code, to, operand), constant);
    }

    /// The numbers of every second element of two registers.
    pub(super) fn load_alternate(&mut self, reg: Reg, first: usize) {
        let element = self.shape.element();
        let numbers = (0..self.shape.bytes() / element).map(|at| 2 * at + first as i64);
        let constant = numbers.flat_map(|n| n.to_le_bytes()[..element as usize].to_vec()).collect();
        self.load_constant(self.codes.load, self.name(reg), constant);
    }

    /// Four neighbouring bytes in each lane, or fewer. The last lanes reach beyond sixteen bytes,
    /// so they take theirs from the sixteen that end where the last byte is: none is touched that
    /// is not asked for.
    pub(super) fn load_slid(&mut self, reg: Reg, place: Place, count: i64) -> Result<(), Refusal> {
        let name = self.name(reg);
        let ends = [place, place.offset(count - 1)].map(|place| self.memory(place, false));
        let [first, last] = ends;
        let repeat = Code::EVEX_Vbroadcasti32x4_zmm_k1z_m128;
        self.text.push(Instruction::with2(repeat, name, first?));
        let mask = self.mask_of(masks::LAST_CHUNK);
        self.text.push(masked(Instruction::with2(repeat, name, last?), mask));
        let order = self.kept(Kept::Slide { count, apart: 1, from: Sixteen::Ends })?;
        let order = self.name(order);
        let shuffle = Code::EVEX_Vpshufb_zmm_k1z_zmm_zmmm512;
        self.text.push(Instruction::with3(shuffle, name, name, order));
        Ok(())
    }

    /// The same of bytes that are apart or of which some are left out, or of lanes that are: one
    /// masked load, of which each 128 bits get the sixteen bytes that their lanes look into.
    pub(super) fn load_slid_of(
        &mut self,
        reg: Reg,
        place: Place,
        (step, (count, apart), live): (i64, (i64, i64), Live),
    ) -> Result<(), Refusal> {
        let from = Sixteen::Own(step);
        let [chunks, order] = [Kept::Chunks(step), Kept::Slide { count, apart, from }];
        let (chunks, order) = (self.kept(chunks)?, self.kept(order)?);
        let (load, bytes) = match live.range().1 {
            ..=32 => (Code::EVEX_Vmovdqu8_ymm_k1z_ymmm256, 32),
            _ => (Code::EVEX_Vmovdqu8_zmm_k1z_zmmm512, 64),
        };
        let (operand, mask) = (self.memory(place, false)?, self.mask(live));
        let load = masked(Instruction::with2(load, self.sized(reg, bytes), operand), mask);
        self.text.push(load.map(|mut i| {
            i.set_zeroing_masking(true);
            i
        }));
        let (name, chunks, order) = (self.name(reg), self.name(chunks), self.name(order));
        let permute = Code::EVEX_Vpermd_zmm_k1z_zmm_zmmm512b32;
        self.text.push(Instruction::with3(permute, name, chunks, name));
        let shuffle = Code::EVEX_Vpshufb_zmm_k1z_zmm_zmmm512;
        self.text.push(Instruction::with3(shuffle, name, name, order));
        Ok(())
    }

    /// The numbers of the four words that each 128 bits look into.
    pub(super) fn load_chunks_of(&mut self, reg: Reg, step: i64) {
        let per = self.shape.chunk();
        let word = |at: i64| (at / per * step + at % per) as u32;
        let words = (0..self.shape.width).flat_map(|at| word(at).to_le_bytes());
        let words = words.collect();
        self.load_constant(self.codes.load, self.name(reg), words);
    }

    /// The place of each byte of four lanes that are turned, in the sixteen of their 128 bits.
    pub(super) fn load_four_by_four(&mut self, reg: Reg) {
        let bytes = (0..self.shape.bytes()).map(|at| (at % 4 * 4 + at % 16 / 4) as u8);
        let bytes = bytes.collect();
        self.load_constant(self.codes.load, self.name(reg), bytes);
    }

    /// The number of each lane where those of the lower and of the upper half take turns.
    pub(super) fn load_halves(&mut self, reg: Reg) {
        let half = self.shape.width / 2;
        let lanes = (0..self.shape.width).map(|at| (at % 2 * half + at / 2) as u32);
        let bytes = lanes.flat_map(u32::to_le_bytes).collect();
        self.load_constant(self.codes.load, self.name(reg), bytes);
    }

    /// The place of each byte of a slide in the sixteen that its lane has; zero for those that do
    /// not count.
    pub(super) fn load_order(&mut self, reg: Reg, (count, apart): (i64, i64), from: Sixteen) {
        const ZERO: u8 = 0x80;
        let (width, chunk) = (self.shape.width, self.shape.chunk());
        let first = |lane: i64| match from {
            Sixteen::Ends if lane >= width - chunk => lane - (count - 1),
            Sixteen::Ends => lane,
            Sixteen::Own(step) => lane % chunk * step,
        };
        let byte =
            |lane: i64, at: i64| if at < count { (first(lane) + at * apart) as u8 } else { ZERO };
        let bytes = (0..width).flat_map(|lane| (0..4).map(move |at| byte(lane, at)));
        let bytes = bytes.collect();
        self.load_constant(self.codes.load, self.name(reg), bytes);
    }

    /// Every second element of two registers, without an instruction that crosses 128 bits freely.
    pub(super) fn pick_in_chunks(&mut self, reg: Reg, parity: usize, (a, b): (Reg, Reg)) {
        let pattern = match (self.shape.element(), parity) {
            (4, 0) => 0x88,
            (4, _) => 0xdd,
            (_, 0) => 0,
            (_, _) => 0xf,
        };
        let (name, a, b) = (self.name(reg), self.name(a), self.name(b));
        self.text.push(Instruction::with4(self.codes.pick, name, a, b, pattern));
        if self.shape.bytes() == 32 {
            // Halves of 64 bits stand as a, b, a, b.
            let order = Instruction::with3(Code::VEX_Vpermpd_ymm_ymmm256_imm8, name, name, 0xd8);
            self.text.push(order);
        }
    }

    /// Loads the lanes of `live`, `step` bytes apart; the others become zero.
    pub(super) fn gather(
        &mut self,
        reg: Reg,
        place: Place,
        step: i64,
        live: Live,
    ) -> Result<(), Refusal> {
        let offset = |lane: i64| i32::try_from(lane * step).map_err(|_| Refusal::Far);
        let offsets = (0..self.shape.width).map(offset).collect::<Result<Vec<i32>, _>>()?;
        let bytes = (4 * self.shape.width).max(16);
        let mut constant: Vec<u8> = offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
        constant.resize(bytes as usize, 0);
        let index = self.take()?;
        let index_name = self.sized(index, bytes);
        let load = codes(self.encoding, bytes, conv_ir::DType::F32).load;
        self.load_constant(load, index_name, constant);
        let plain = self.memory(place, false)?;
        let operand = MemoryOperand { index: index_name, ..plain };
        // The instruction leaves the other lanes as they were, and waits for what was there even
        // where it loads all.
        self.shuffle(self.codes.xor, reg, reg, reg);
        match self.encoding {
            Encoding::Evex => {
                masks::set(&mut self.text, SCRATCH_MASK, masks::bits(live));
                self.text.push(masked(
                    Instruction::with2(self.codes.gather, self.name(reg), operand),
                    SCRATCH_MASK,
                ));
            }
            Encoding::Vex => {
                let mask = self.take()?;
                self.load_mask(mask, live);
                self.text.push(Instruction::with3(
                    self.codes.gather,
                    self.name(reg),
                    operand,
                    self.name(mask),
                ));
                self.give(mask);
            }
        }
        self.give(index);
        Ok(())
    }

    /// Stores the first `live` lanes, `step` bytes apart.
    pub(super) fn store(
        &mut self,
        dtype: DType,
        place: Place,
        (step, live): (i64, i64),
        value: Arg,
    ) -> Result<(), Refusal> {
        let (reg, is_mine) = self.register(value)?;
        match dtype == self.shape.dtype {
            true => self.store_lanes(place, step, live, reg)?,
            false => self.store_stored(dtype, place, (step, live), reg)?,
        }
        self.release(is_mine.then_some(reg));
        Ok(())
    }

    pub(super) fn store_lanes(
        &mut self,
        place: Place,
        step: i64,
        live: i64,
        reg: Reg,
    ) -> Result<(), Refusal> {
        let (shape, name, operand) = (self.shape, self.name(reg), self.memory(place, false)?);
        if shape.width == 1 {
            self.text.push(Instruction::with2(self.codes.store_one, operand, name));
        } else if let Some(spread) = Spread::of(shape, shape.dtype, step) {
            self.spread(spread, place, live, reg)?;
        } else if step != shape.element() {
            self.scatter(place, step, live, reg)?;
        } else if live == shape.width {
            self.text.push(Instruction::with2(self.codes.store, operand, name));
        } else if self.encoding == Encoding::Evex {
            let mask = self.mask(Live::first(live));
            self.text.push(masked(Instruction::with2(self.codes.store, operand, name), mask));
        } else {
            self.store_pieces(place, live, reg)?;
        }
        Ok(())
    }

    /// The first `live` lanes, 128 bits at a time.
    fn store_pieces(&mut self, place: Place, live: i64, reg: Reg) -> Result<(), Refusal> {
        let per = self.shape.chunk();
        for chunk in 0..(live + per - 1) / per {
            let place = place.offset(16 * chunk);
            self.store_chunk(place, reg, chunk, (live - chunk * per).min(per))?;
        }
        Ok(())
    }

    /// The first `count` elements of a 128-bit chunk of a register.
    pub(super) fn store_chunk(
        &mut self,
        place: Place,
        reg: Reg,
        chunk: i64,
        count: i64,
    ) -> Result<(), Refusal> {
        if chunk > 0 && count == self.shape.chunk() {
            let (operand, name) = (self.memory(place, false)?, self.name(reg));
            self.text.push(Instruction::with3(self.codes.extract, operand, name, chunk as u32));
            return Ok(());
        }
        let (xmm, temporary) = self.chunk(reg, chunk)?;
        self.store_partly(place, xmm, count)?;
        self.release(temporary);
        Ok(())
    }

    /// A 128-bit chunk as a register, and the temporary that is.
    fn chunk(&mut self, reg: Reg, chunk: i64) -> Result<(Register, Option<Reg>), Refusal> {
        if chunk == 0 {
            return Ok((self.sized(reg, 16), None));
        }
        let temporary = self.take()?;
        let xmm = self.sized(temporary, 16);
        let name = self.name(reg);
        self.text.push(Instruction::with3(self.codes.extract, xmm, name, chunk as u32));
        Ok((xmm, Some(temporary)))
    }

    fn store_partly(&mut self, place: Place, xmm: Register, count: i64) -> Result<(), Refusal> {
        let codes = self.codes;
        let bytes = count * self.shape.element();
        let (operand, third) = (self.memory(place, false)?, self.memory(place.offset(8), false)?);
        match bytes {
            16 => self.text.push(Instruction::with2(codes.store_128, operand, xmm)),
            12 => {
                self.text.push(Instruction::with2(codes.store_low, operand, xmm));
                self.text.push(Instruction::with3(codes.store_lane, third, xmm, 2));
            }
            8 => self.text.push(Instruction::with2(codes.store_low, operand, xmm)),
            _ => self.text.push(Instruction::with2(codes.store_one, operand, xmm)),
        }
        Ok(())
    }

    /// Lanes one by one.
    fn scatter(&mut self, place: Place, step: i64, live: i64, reg: Reg) -> Result<(), Refusal> {
        let per = self.shape.chunk();
        for chunk in 0..(live + per - 1) / per {
            let (xmm, temporary) = self.chunk(reg, chunk)?;
            for lane in chunk * per..(chunk * per + per).min(live) {
                let operand = self.memory(place.offset(lane * step), false)?;
                self.store_lane(operand, xmm, lane % per);
            }
            self.release(temporary);
        }
        Ok(())
    }

    fn store_lane(&mut self, operand: MemoryOperand, xmm: Register, lane: i64) {
        let codes = self.codes;
        self.text.push(match (self.shape.element(), lane) {
            (4, 0) => Instruction::with2(codes.store_one, operand, xmm),
            (4, _) => Instruction::with3(codes.store_lane, operand, xmm, lane as u32),
            (_, 0) => Instruction::with2(codes.store_low, operand, xmm),
            (_, _) => Instruction::with2(codes.store_high, operand, xmm),
        });
    }
}
