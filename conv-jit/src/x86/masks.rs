//! Lane masks of AVX-512: which counts of lanes a leaf cuts to, and the register for each. Set once, at the entry.

use iced_x86::{Code, Instruction, Register};

use super::inst::{Arg, Inst, Plan, Source};
use super::text::Text;
use super::vectors::Shape;
use super::{Level, Refusal};

/// Never holds a lane mask: comparisons write it, gathers use it up.
pub(super) const SCRATCH_MASK: Register = Register::K7;

/// `k1` is the first of these counts, and so on.
#[derive(Default)]
pub(super) struct Masks(Vec<i64>);

impl Masks {
    /// The masks of a plan; none where the machine has none.
    pub fn of(plan: &Plan, shape: Shape) -> Result<Masks, Refusal> {
        let mut masks = Masks::default();
        if shape.level == Level::Avx2 || shape.width == 1 {
            return Ok(masks);
        }
        for inst in plan.all() {
            match inst {
                Inst::Set { args, .. } => args.iter().for_each(|a| masks.source(a, shape)),
                Inst::Store { live, value, .. } => {
                    masks.add(*live, shape);
                    masks.source(value, shape);
                }
                Inst::Block { values, .. } => masks.add(values.len() as i64 % shape.width, shape),
            }
        }
        // k0 means no mask, k7 is scratch.
        if masks.0.len() > 6 {
            Err(Refusal::Registers)
        } else {
            Ok(masks)
        }
    }

    fn source(&mut self, arg: &Arg, shape: Shape) {
        if let Arg::From(Source::Vector { live, .. } | Source::Strided { live, .. }) = arg {
            self.add(*live, shape);
        }
    }

    fn add(&mut self, live: i64, shape: Shape) {
        if live > 0 && live < shape.width && !self.0.contains(&live) {
            self.0.push(live);
        }
    }

    /// The mask of the first `live` lanes.
    pub fn first(&self, live: i64) -> Result<Register, Refusal> {
        let at = self.0.iter().position(|l| *l == live);
        at.map(|at| Register::K1 + at as u32).ok_or(Refusal::Registers)
    }

    /// Sets all, by way of `eax`.
    pub fn set(&self, text: &mut Text) {
        for (at, live) in self.0.iter().enumerate() {
            text.push(Instruction::with2(
                Code::Mov_r32_imm32,
                Register::EAX,
                (1u32 << live) - 1,
            ));
            text.push(Instruction::with2(
                Code::VEX_Kmovw_kr_r32,
                Register::K1 + at as u32,
                Register::EAX,
            ));
        }
    }
}
