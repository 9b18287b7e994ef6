//! Blocks of lanes x `along`, stored where `along` is contiguous, or near, and lanes are not:
//! transposed in registers.
//!
//! ```text
//! 4 registers, lanes l0 l1 .. l15     4 x 4 of one register a column, in chunks of 128 bits each
//!   -> register j                     chunk i = lane 4 i + j, columns 0..4
//!                                     2 unpacks a register; chunks can be stored as they are
//!
//! 4 such quartets -> 16 rows          4 x 4 of chunks
//!   -> register of lane 4 i + j       columns 0..16
//!                                     2 more shuffles a register make whole rows
//! ```
//!
//! The same network serves f64 (2 x 2 in a chunk) and 256 bits (2 x 2 of chunks). Columns that are
//! not there are stood in for by any register and masked off, or, without masks, stored chunk by
//! chunk. Needs two free registers; the stored ones are used up, unless something reads them later:
//! then lanes are stored one by one.

use iced_x86::{Code, Instruction, MemoryOperand};

use conv_ir::DType;

use super::Refusal;
use super::codes::codes;
use super::encoding::Encoding;
use super::masks::Spread;
use super::vectors::{Reg, Vectors};
use crate::leaf::inst::{Live, Place, Value};

/// How two registers are mixed.
#[derive(Clone, Copy)]
enum Mix {
    /// By an instruction for it.
    Plain(Code),
    /// Chunks picked by an immediate.
    Chunks(u32),
}

/// Where rows go.
#[derive(Clone, Copy)]
struct Rows {
    /// Of lane 0.
    place: Place,
    /// Bytes between lanes.
    step: i64,
    /// Lanes to store.
    live: i64,
    /// Columns to store.
    columns: i64,
    /// Bytes between columns.
    along: i64,
}

impl Vectors<'_> {
    /// Stores `values`, `along` bytes apart, their lanes `step` bytes apart.
    pub(super) fn block(
        &mut self,
        dtype: DType,
        place: Place,
        (step, along): (i64, i64),
        live: i64,
        values: &[Value],
    ) -> Result<(), Refusal> {
        let element = self.shape.element();
        let is_used_up = values.iter().all(|v| self.dies(*v));
        if dtype != self.shape.dtype {
            for (at, value) in values.iter().enumerate() {
                let (reg, place) = (self.home(*value)?, place.offset(at as i64 * along));
                self.store_stored(dtype, place, (step, live), reg)?;
                self.bury(*value);
            }
            return Ok(());
        }
        let has_rows = along == element || Spread::of(self.shape, dtype, along).is_some();
        if !has_rows || step == element || self.shape.width == 1 || !is_used_up {
            for (at, value) in values.iter().enumerate() {
                let reg = self.home(*value)?;
                self.store_lanes(place.offset(at as i64 * along), step, live, reg)?;
                self.bury(*value);
            }
            return Ok(());
        }
        for (at, columns) in values.chunks(self.shape.width as usize).enumerate() {
            let place = place.offset(at as i64 * self.shape.width * along);
            let columns_here = columns.len() as i64;
            self.rows(columns, Rows { place, step, live, columns: columns_here, along })?;
        }
        Ok(())
    }

    /// Loads rows of 128 bits, one a lane, and turns them: a value for each column.
    pub(super) fn load_turned(
        &mut self,
        to: &[Option<Value>],
        place: Place,
        step: i64,
        live: Live,
    ) -> Result<(), Refusal> {
        let (from, end) = live.range();
        let per = self.shape.chunk();
        let mut regs = Vec::new();
        for j in 0..per {
            let reg = self.take()?;
            let is_live = |chunk: &i64| (from..end).contains(&(chunk * per + j));
            if !is_live(&0) {
                self.shuffle(self.codes.xor, reg, reg, reg);
            }
            for chunk in (0..self.shape.width / per).filter(is_live) {
                let row = self.memory(place.offset((chunk * per + j) * step), false)?;
                self.load_chunk(reg, chunk, row);
            }
            regs.push(reg);
        }
        let columns = self.turn(&regs)?;
        for (reg, value) in columns.into_iter().zip(to) {
            match value {
                Some(value) => self.homes[value.0 as usize] = Some(reg),
                None => self.give(reg),
            }
        }
        Ok(())
    }

    /// 128 bits of memory, as a chunk of a register; the first makes zeros of those behind it.
    fn load_chunk(&mut self, reg: Reg, chunk: i64, from: MemoryOperand) {
        let name = self.name(reg);
        let code = match (self.encoding, self.shape.bytes()) {
            _ if chunk == 0 => {
                let load = codes(self.encoding, 16, DType::F32).load;
                self.text.push(Instruction::with2(load, self.sized(reg, 16), from));
                return;
            }
            (Encoding::Evex, 64) => Code::EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8,
            (Encoding::Evex, _) => Code::EVEX_Vinsertf32x4_ymm_k1z_ymm_xmmm128_imm8,
            (Encoding::Vex, _) => Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8,
        };
        self.text.push(Instruction::with4(code, name, name, from, chunk as u32));
    }

    /// At most as many columns as there are lanes.
    fn rows(&mut self, columns: &[Value], to: Rows) -> Result<(), Refusal> {
        let per = self.shape.chunk();
        let mut groups: Vec<Vec<Reg>> = Vec::new();
        for (at, group) in columns.chunks(per as usize).enumerate() {
            let regs = self.group(group)?;
            let is_row = self.encoding == Encoding::Evex || to.columns == self.shape.width;
            let has_rows = to.columns > per && is_row || to.along != self.shape.element();
            if has_rows {
                groups.push(regs);
                continue;
            }
            let to =
                Rows { place: to.place.offset(16 * at as i64), columns: group.len() as i64, ..to };
            for (j, reg) in regs.into_iter().enumerate() {
                self.store_chunks(reg, j as i64, to)?;
                self.give(reg);
            }
        }
        match groups.len() {
            0 => Ok(()),
            _ => (0..per as usize).try_for_each(|j| {
                self.whole_rows(&groups.iter().map(|g| g[j]).collect::<Vec<_>>(), j as i64, to)
            }),
        }
    }

    /// Transposes a few columns inside each chunk. The registers are the caller's from now on.
    fn group(&mut self, columns: &[Value]) -> Result<Vec<Reg>, Refusal> {
        let regs = columns.iter().map(|v| self.abandon(*v)).collect::<Result<Vec<_>, _>>()?;
        self.turn(&regs)
    }

    /// The same of registers, which are used up.
    fn turn(&mut self, regs: &[Reg]) -> Result<Vec<Reg>, Refusal> {
        let codes = self.codes;
        // Columns that are not there: any register will do.
        let column = |at: usize| regs.get(at).or(regs.get(at & 2)).copied();
        let pairs = (Mix::Plain(codes.pair_low), Mix::Plain(codes.pair_high));
        let first = column(0).zip(column(1)).ok_or(Refusal::Registers)?;
        if self.shape.chunk() == 2 {
            return Ok(self.mix(pairs, first)?.to_vec());
        }
        let unpacks = (Mix::Plain(codes.unpack_low), Mix::Plain(codes.unpack_high));
        let [low, high] = self.mix(unpacks, first)?;
        let [low2, high2] = match column(2).zip(column(3)) {
            Some(second) => self.mix(unpacks, second)?,
            None => [low, high],
        };
        let even = self.mix(pairs, (low, low2))?;
        Ok([even, self.mix(pairs, (high, high2))?].concat())
    }

    /// Two mixtures of two registers, which are given back. Takes one register more than it gives.
    fn mix(
        &mut self,
        (first, second): (Mix, Mix),
        (a, b): (Reg, Reg),
    ) -> Result<[Reg; 2], Refusal> {
        let low = self.take()?;
        self.mixture(first, low, a, b);
        self.give(a);
        self.give(b);
        let high = self.take()?;
        self.mixture(second, high, a, b);
        Ok([low, high])
    }

    fn mixture(&mut self, mix: Mix, to: Reg, a: Reg, b: Reg) {
        let (code, to, a, b) = (self.codes.chunks, self.name(to), self.name(a), self.name(b));
        self.text.push(match mix {
            Mix::Plain(code) => Instruction::with3(code, to, a, b),
            Mix::Chunks(pick) => Instruction::with4(code, to, a, b, pick),
        });
    }

    /// Register `j` of a group: chunk `i` belongs to lane `per * i + j`.
    fn store_chunks(&mut self, reg: Reg, j: i64, to: Rows) -> Result<(), Refusal> {
        let per = self.shape.chunk();
        for chunk in 0..self.shape.width / per {
            let lane = chunk * per + j;
            if lane < to.live {
                self.store_chunk(to.place.offset(lane * to.step), reg, chunk, to.columns)?;
            }
        }
        Ok(())
    }

    /// Register `j` of all groups: whole rows of lanes `per * i + j`. The registers are given back.
    fn whole_rows(&mut self, parts: &[Reg], j: i64, to: Rows) -> Result<(), Refusal> {
        let part = |at: usize| parts.get(at).or(parts.get(at & 2)).copied();
        let first = part(0).zip(part(1)).ok_or(Refusal::Registers)?;
        let rows = match (self.shape.width / self.shape.chunk(), self.encoding) {
            (4, _) => {
                let halves = (Mix::Chunks(0x44), Mix::Chunks(0xee));
                let picks = (Mix::Chunks(0x88), Mix::Chunks(0xdd));
                let [low, high] = self.mix(halves, first)?;
                let [low2, high2] = match part(2).zip(part(3)) {
                    Some(second) => self.mix(halves, second)?,
                    None => [low, high],
                };
                let front = self.mix(picks, (low, low2))?;
                [front, self.mix(picks, (high, high2))?].concat()
            }
            (_, Encoding::Evex) => self.mix((Mix::Chunks(0), Mix::Chunks(3)), first)?.to_vec(),
            (_, Encoding::Vex) => self.mix((Mix::Chunks(0x20), Mix::Chunks(0x31)), first)?.to_vec(),
        };
        for (chunk, row) in rows.into_iter().enumerate() {
            self.store_row(row, chunk as i64, j, to)?;
            self.give(row);
        }
        Ok(())
    }

    fn store_row(&mut self, row: Reg, chunk: i64, j: i64, to: Rows) -> Result<(), Refusal> {
        let lane = chunk * self.shape.chunk() + j;
        if lane < to.live {
            self.store_lanes(to.place.offset(lane * to.step), to.along, to.columns, row)?;
        }
        Ok(())
    }
}
