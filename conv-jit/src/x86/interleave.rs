//! The halves of two vectors as one; what else is interleaved has an instruction of two registers.

use iced_x86::{Code, Instruction};

use super::Refusal;
use super::vectors::Vectors;
use crate::leaf::inst::{Arg, Value};

impl Vectors<'_> {
    /// The lower, or the upper, halves of two vectors.
    pub(super) fn halves(
        &mut self,
        to: Value,
        upper: bool,
        (a, b): (Arg, Arg),
    ) -> Result<(), Refusal> {
        let (left, left_is_mine) = self.register(a)?;
        let (right, right_is_mine) = self.register(b)?;
        self.release(left_is_mine.then_some(left));
        self.release(right_is_mine.then_some(right));
        let reg = self.result(to, &[a, b])?;
        let pick = if upper { 0x31 } else { 0x20 };
        let code = Code::VEX_Vperm2i128_ymm_ymm_ymmm256_imm8;
        let (to, left, right) = (self.name(reg), self.name(left), self.name(right));
        self.text.push(Instruction::with4(code, to, left, right, pick));
        Ok(())
    }
}
