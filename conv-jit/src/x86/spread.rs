//! Stores of every second or fourth element: lanes move apart in a register, and whole vectors are
//! stored under a mask, which leaves the elements between as they are.
//!
//! ```text
//! %1 = l0 l1 .. l15, to every second element     scatter: sixteen stores of an element
//!   -> expand the first half    l0 . l1 . l2 ..  stored under 0101..
//!      expand the second half   l8 . l9 . ..     stored under 0101.., a vector further
//! ```
//!
//! Transposed convolutions store so, a phase after the other. With masks alone: AVX2 stores lanes
//! one by one.

use iced_x86::{Code, Instruction};

use super::Refusal;
use super::masks::Spread;
use super::vectors::{Reg, Vectors, masked};
use crate::leaf::inst::Place;

impl Vectors<'_> {
    /// Stores the first `live` lanes apart. The register keeps its value.
    pub(super) fn spread(
        &mut self,
        spread: Spread,
        place: Place,
        live: i64,
        reg: Reg,
    ) -> Result<(), Refusal> {
        let apart = self.take()?;
        for (at, lanes) in (0..).zip(spread.masks(live)) {
            let from = match at {
                0 => reg,
                _ => {
                    self.part(apart, reg, (at, spread.part() / self.shape.chunk()));
                    apart
                }
            };
            let (to, from) = (self.name(apart), self.name(from));
            let operand = self.memory(place.offset(at * self.shape.bytes()), false)?;
            let mask = self.mask_of(lanes);
            let expand = Instruction::with2(self.expand(), to, from);
            self.text.push(masked(expand, mask).map(|mut i| {
                i.set_zeroing_masking(true);
                i
            }));
            let store = Instruction::with2(self.codes.store, operand, to);
            self.text.push(masked(store, mask));
        }
        self.give(apart);
        Ok(())
    }

    /// The `at`-th part of a register, of so many chunks, at the front of another.
    fn part(&mut self, to: Reg, from: Reg, (at, chunks): (i64, i64)) {
        let (code, bytes) = match chunks {
            1 => (self.codes.extract, 16),
            _ => (Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8, 32),
        };
        let (to, from) = (self.sized(to, bytes), self.name(from));
        self.text.push(Instruction::with3(code, to, from, at as u32));
    }

    fn expand(&self) -> Code {
        match (self.shape.element(), self.shape.bytes()) {
            (4, 64) => Code::EVEX_Vexpandps_zmm_k1z_zmmm512,
            (4, _) => Code::EVEX_Vexpandps_ymm_k1z_ymmm256,
            (_, 64) => Code::EVEX_Vexpandpd_zmm_k1z_zmmm512,
            (_, _) => Code::EVEX_Vexpandpd_ymm_k1z_ymmm256,
        }
    }
}
