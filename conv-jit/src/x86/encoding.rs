//! How instructions are written, by what a machine has.

use conv_ir::Isa;

use super::Refusal;

/// How instructions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// AVX2: no masks, three operands.
    Vex,
    /// AVX-512: masks, broadcasts as operands.
    Evex,
}

impl Encoding {
    /// What vectors of `bytes` bytes have, of `[EVEX 64, 32 and 16 bytes, VEX 32 and 16 bytes]`.
    pub fn form<T: Copy>(self, bytes: i64, forms: [T; 5]) -> T {
        forms[match (self, bytes) {
            (Encoding::Evex, 64) => 0,
            (Encoding::Evex, 32) => 1,
            (Encoding::Evex, _) => 2,
            (Encoding::Vex, 32) => 3,
            (Encoding::Vex, _) => 4,
        }]
    }

    pub fn of(isa: Isa) -> Result<Encoding, Refusal> {
        match isa {
            Isa::Portable => Err(Refusal::Machine),
            Isa::Avx2 | Isa::AvxVnni => Ok(Encoding::Vex),
            Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx => Ok(Encoding::Evex),
        }
    }
}
