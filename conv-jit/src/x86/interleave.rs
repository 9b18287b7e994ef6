//! Two products of neighbours at a time, of what is interleaved, in 256 bits.
//!
//! ```text
//! interleave  vpunpcklbw, vpunpckhbw, vpunpcklwd, vpunpckhwd
//! pair sums   vpmaddubsw, vpmaddwd
//! narrow      vpackssdw, vpackusdw, vpacksswb, vpackuswb
//! ```
//!
//! All of them stay inside 128 bits; `halves` and `quarters` do not.

use conv_ir::DType;
use iced_x86::{Code, Instruction};

use super::Refusal;
use super::vectors::Vectors;
use crate::leaf::inst::{Arg, Kind, Value};

/// The upper word of a lane, by a shift.
pub(super) const UPPER_WORD: Code = Code::VEX_Vpsrad_ymm_ymm_imm8;
/// Quarters as an immediate says.
pub(super) const QUARTERS: Code = Code::VEX_Vpermq_ymm_ymmm256_imm8;
/// The second and third exchanged.
pub(super) const EXCHANGED: u32 = 0xd8;

/// The instruction of two registers.
pub(super) fn code(kind: Kind) -> Result<Code, Refusal> {
    Ok(match kind {
        Kind::AddWords => Code::VEX_Vpaddw_ymm_ymm_ymmm256,
        Kind::PairSums { element: 1 } => Code::VEX_Vpmaddubsw_ymm_ymm_ymmm256,
        Kind::PairSums { .. } => Code::VEX_Vpmaddwd_ymm_ymm_ymmm256,
        Kind::Interleave { element: 1, upper: false } => Code::VEX_Vpunpcklbw_ymm_ymm_ymmm256,
        Kind::Interleave { element: 1, upper: true } => Code::VEX_Vpunpckhbw_ymm_ymm_ymmm256,
        Kind::Interleave { upper: false, .. } => Code::VEX_Vpunpcklwd_ymm_ymm_ymmm256,
        Kind::Interleave { upper: true, .. } => Code::VEX_Vpunpckhwd_ymm_ymm_ymmm256,
        Kind::Narrow(DType::U8) => Code::VEX_Vpackuswb_ymm_ymm_ymmm256,
        Kind::Narrow(DType::I8) => Code::VEX_Vpacksswb_ymm_ymm_ymmm256,
        Kind::Narrow(DType::U16) => Code::VEX_Vpackusdw_ymm_ymm_ymmm256,
        Kind::Narrow(DType::I16) => Code::VEX_Vpackssdw_ymm_ymm_ymmm256,
        kind => return Err(Refusal::Operation(format!("{kind:?} of two vectors"))),
    })
}

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
