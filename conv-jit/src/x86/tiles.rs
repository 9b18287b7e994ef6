//! Tile registers: their forms, and the instructions on them.
//!
//! Forms are set at the entry of a leaf, where tiles are zero, and given back at its end: a thread
//! that has tiles has more to save when it waits.

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::Refusal;
use super::text::Text;
use super::vectors::Vectors;
use crate::leaf::inst::{Form, Place, TileOp};

/// Bytes of the table of forms.
const TABLE: usize = 64;
/// Where in it bytes of a row begin, two for each register, and where rows do.
const BYTES_AT: usize = 16;
const ROWS_AT: usize = 48;

/// Bytes of a tile of sums.
const TILE: i64 = 1024;
/// Bytes of a line of the cache.
const LINE: i64 = 64;

/// Bytes of a frame that has room for so many tiles, which begin at a line.
pub(super) fn room_bytes(tiles: i64) -> i64 {
    if tiles > 0 { LINE + TILE * tiles } else { 0 }
}

/// Touches the pages of a frame of so many bytes in turn before it is taken, so that the stack
/// grows, or ends, as it should.
pub(super) fn touch_pages(text: &mut Text, bytes: i64, page: i64) {
    for at in (1..).map(|count| count * page).take_while(|at| *at <= bytes) {
        let at = MemoryOperand::with_base_displ(Register::RSP, -at);
        text.push(Instruction::with2(Code::Mov_r64_rm64, STEP, at));
    }
}

/// Finds where tiles begin: behind so many bytes of the frame, at a line.
pub(super) fn find_room(text: &mut Text, tiles: Register, before: i64) {
    let at = MemoryOperand::with_base_displ(Register::RSP, before + LINE - 1);
    text.push(Instruction::with2(Code::Lea_r64_m, tiles, at));
    text.push(Instruction::with2(Code::And_rm64_imm8, tiles, -LINE as i32));
}

/// Rows are this far apart, in bytes, for one instruction.
const STEP: Register = Register::RAX;

impl Vectors<'_> {
    /// Says what tile registers are, where there are any.
    pub(super) fn set_tiles(&mut self) {
        if self.code.tiles.is_empty() {
            return;
        }
        let constant = self.text.constant(table(&self.code.tiles));
        let operand = self.text.constant_operand(false);
        let load = Instruction::with1(Code::VEX_Ldtilecfg_m512, operand);
        self.text.push_with_constant(load, constant);
    }

    /// Gives them back.
    pub(super) fn release_tiles(&mut self) {
        if !self.code.tiles.is_empty() {
            self.text.push(Ok(Instruction::with(Code::VEX_Tilerelease)));
        }
    }

    pub(super) fn tile(&mut self, op: TileOp) -> Result<(), Refusal> {
        let name = |tile: u8| Register::TMM0 + u32::from(tile);
        let instruction = match op {
            TileOp::Zero { tile } => Instruction::with1(Code::VEX_Tilezero_tmm, name(tile)),
            TileOp::Load { tile, place, step } => {
                let from = self.tile_rows(place, step)?;
                Instruction::with2(Code::VEX_Tileloadd_tmm_sibmem, name(tile), from)
            }
            TileOp::Store { tile, place, step } => {
                let to = self.tile_rows(place, step)?;
                Instruction::with2(Code::VEX_Tilestored_sibmem_tmm, to, name(tile))
            }
            TileOp::Dot { has_sign, sum, a, b } => {
                let code = match has_sign {
                    [true, true] => Code::VEX_Tdpbssd_tmm_tmm_tmm,
                    [true, false] => Code::VEX_Tdpbsud_tmm_tmm_tmm,
                    [false, true] => Code::VEX_Tdpbusd_tmm_tmm_tmm,
                    [false, false] => Code::VEX_Tdpbuud_tmm_tmm_tmm,
                };
                Instruction::with3(code, name(sum), name(a), name(b))
            }
        };
        self.text.push(instruction);
        Ok(())
    }

    /// Rows `step` bytes apart from a place on.
    fn tile_rows(&mut self, place: Place, step: i64) -> Result<MemoryOperand, Refusal> {
        let step = i32::try_from(step).map_err(|_| Refusal::Far)?;
        self.text.push(Instruction::with2(Code::Mov_rm64_imm32, STEP, step));
        let bytes = i32::try_from(place.bytes).map_err(|_| Refusal::Far)?;
        let base = self.bases[place.cursor.0 as usize];
        let size = u32::from(bytes != 0);
        Ok(MemoryOperand::new(base, STEP, 1, bytes.into(), size, false, Register::None))
    }
}

/// The table of forms as the instruction reads it.
fn table(forms: &[Form]) -> Vec<u8> {
    let mut table = vec![0; TABLE];
    table[0] = 1;
    for (at, form) in forms.iter().enumerate() {
        table[BYTES_AT + 2 * at] = form.bytes;
        table[ROWS_AT + at] = form.rows;
    }
    table
}
