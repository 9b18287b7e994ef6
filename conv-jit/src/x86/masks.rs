//! Lane masks of AVX-512: which lanes a leaf cuts to, and the register for each. The first six are
//! set once, at the entry; others where they are used.

use iced_x86::{Code, Instruction, Register};

use super::encoding::Encoding;
use super::text::Text;
use crate::leaf::Shape;
use crate::leaf::inst::{Arg, Inst, LeafCode, Live, Source};

/// Never holds a lane mask: comparisons write it, gathers use it up.
pub(super) const SCRATCH_MASK: Register = Register::K7;

/// `k1` is the first of these, and so on.
#[derive(Default)]
pub(super) struct Masks(Vec<Live>);

/// k0 means no mask, and the last one is scratch.
const KEPT: usize = 6;

impl Masks {
    /// The masks of a leaf; none where the machine has none.
    pub fn of(code: &LeafCode, shape: Shape, encoding: Encoding) -> Masks {
        let mut masks = Masks::default();
        if encoding == Encoding::Vex || shape.width == 1 {
            return masks;
        }
        for inst in code.all() {
            match inst {
                Inst::Set { args, .. } => args.iter().for_each(|a| masks.source(a, shape)),
                Inst::Store { live, value, .. } => {
                    masks.add(Live::first(*live), shape);
                    masks.source(value, shape);
                }
                Inst::Prefetch { .. } => {}
                Inst::Block { values, .. } => {
                    masks.add(Live::first(values.len() as i64 % shape.width), shape)
                }
            }
        }
        masks
    }

    fn source(&mut self, arg: &Arg, shape: Shape) {
        if let Arg::From(
            Source::Vector { live, .. }
            | Source::Strided { live, .. }
            | Source::Stored { live, .. },
        ) = arg
        {
            self.add(*live, shape);
        }
    }

    fn add(&mut self, live: Live, shape: Shape) {
        let is_some = !live.is_empty() && !live.is_all(shape.width);
        if is_some && !self.0.contains(&live) && self.0.len() < KEPT {
            self.0.push(live);
        }
    }

    /// The register that holds the mask of these lanes all along, if one does.
    pub fn kept(&self, live: Live) -> Option<Register> {
        let at = self.0.iter().position(|l| *l == live);
        at.map(|at| Register::K1 + at as u32)
    }

    /// Sets all, by way of `eax`.
    pub fn set(&self, text: &mut Text) {
        for (at, live) in self.0.iter().enumerate() {
            set(text, Register::K1 + at as u32, *live);
        }
    }
}

/// Sets a mask, by way of `eax`.
pub(super) fn set(text: &mut Text, mask: Register, live: Live) {
    let (from, to) = live.range();
    let bits = ((1u64 << to) - (1u64 << from)) as u32;
    text.push(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, bits));
    text.push(Instruction::with2(Code::VEX_Kmovw_kr_r32, mask, Register::EAX));
}
