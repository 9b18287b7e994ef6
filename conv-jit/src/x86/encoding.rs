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
    pub fn of(isa: Isa) -> Result<Encoding, Refusal> {
        match isa {
            Isa::Portable => Err(Refusal::Machine),
            Isa::Avx2 => Ok(Encoding::Vex),
            Isa::Avx512 | Isa::Avx512Vnni => Ok(Encoding::Evex),
        }
    }
}
