//! The instructions that leaves of integers are made of: [`Codes`] for lanes of 32 bits, whose
//! moves are those for f32. There is no multiply-add among them; `integers` makes it of two.

use conv_ir::DType;
use iced_x86::Code;

use super::Refusal;
use super::codes::{self, Codes};
use super::encoding::Encoding;
use crate::leaf::inst::Kind;

/// The instructions for lanes of i32 of one vector shape: those for f32 that only move, and these.
macro_rules! codes {
    ($($name:ident from $floats:ident: $add:ident $sub:ident $mul:ident $min:ident $max:ident;)*) => {
        $(
            pub(super) const $name: Codes = Codes {
                add: Code::$add,
                sub: Code::$sub,
                mul: Code::$mul,
                min: Code::$min,
                max: Code::$max,
                ..codes::$floats
            };
        )*
    };
}

codes! {
    EVEX_Z from EVEX_Z_32: EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32 EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32
        EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32 EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32
        EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32;
    EVEX_Y from EVEX_Y_32: EVEX_Vpaddd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpsubd_ymm_k1z_ymm_ymmm256b32
        EVEX_Vpmulld_ymm_k1z_ymm_ymmm256b32 EVEX_Vpminsd_ymm_k1z_ymm_ymmm256b32
        EVEX_Vpmaxsd_ymm_k1z_ymm_ymmm256b32;
    EVEX_X from EVEX_X_32: EVEX_Vpaddd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpsubd_xmm_k1z_xmm_xmmm128b32
        EVEX_Vpmulld_xmm_k1z_xmm_xmmm128b32 EVEX_Vpminsd_xmm_k1z_xmm_xmmm128b32
        EVEX_Vpmaxsd_xmm_k1z_xmm_xmmm128b32;
    VEX_Y from VEX_Y_32: VEX_Vpaddd_ymm_ymm_ymmm256 VEX_Vpsubd_ymm_ymm_ymmm256
        VEX_Vpmulld_ymm_ymm_ymmm256 VEX_Vpminsd_ymm_ymm_ymmm256 VEX_Vpmaxsd_ymm_ymm_ymmm256;
    VEX_X from VEX_X_32: VEX_Vpaddd_xmm_xmm_xmmm128 VEX_Vpsubd_xmm_xmm_xmmm128
        VEX_Vpmulld_xmm_xmm_xmmm128 VEX_Vpminsd_xmm_xmm_xmmm128 VEX_Vpmaxsd_xmm_xmm_xmmm128;
}

/// The table for vectors of `bytes` bytes.
pub(super) fn codes(encoding: Encoding, bytes: i64) -> &'static Codes {
    encoding.form(bytes, [&EVEX_Z, &EVEX_Y, &EVEX_X, &VEX_Y, &VEX_X])
}

/// The upper word of a lane, by a shift.
pub(super) const UPPER_WORD: Code = Code::VEX_Vpsrad_ymm_ymm_imm8;
/// Quarters as an immediate says.
pub(super) const QUARTERS: Code = Code::VEX_Vpermq_ymm_ymmm256_imm8;
/// The second and third exchanged.
pub(super) const EXCHANGED: u32 = 0xd8;

/// Of two registers of 256 bits: sums of products of neighbours, and what brings them together and
/// apart. All stay inside 128 bits.
pub(super) fn of_two(kind: Kind) -> Result<Code, Refusal> {
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
