//! The instructions that leaves of integers are made of: [`Codes`] for lanes of 32 bits, whose
//! moves are those for f32. There is no multiply-add among them; `integers` makes it of two.

use iced_x86::Code;

use super::codes::{self, Codes};
use super::encoding::Encoding;

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
