//! Lane masks of AVX-512: which lanes a leaf cuts to, and the register for each. The first six are
//! set once, at the entry; others where they are used.

use conv_ir::DType;
use iced_x86::{Code, Instruction, Register};

use super::encoding::Encoding;
use super::text::Text;
use crate::leaf::Shape;
use crate::leaf::inst::{Arg, Inst, LeafCode, Live, Source};

/// Never holds a lane mask: comparisons write it, gathers use it up.
pub(super) const SCRATCH_MASK: Register = Register::K7;

/// A bit per lane, or per byte of a slide.
pub(super) type Lanes = u64;

/// The last 128 bits of sixteen lanes.
pub(super) const LAST_CHUNK: Lanes = 0xf000;

/// `k1` is the first of these, and so on.
#[derive(Default)]
pub(super) struct Masks(Vec<Lanes>);

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
                Inst::Store { dtype, step, live, value, .. } => {
                    match Spread::of(shape, *dtype, *step) {
                        Some(spread) => spread.masks(*live).for_each(|m| masks.add_bits(m)),
                        None => masks.add(Live::first(*live), shape),
                    }
                    masks.source(value, shape);
                }
                Inst::Turned { .. } | Inst::Prefetch { .. } | Inst::Tile(_) => {}
                Inst::Block { dtype, along, values, .. } => {
                    let columns = values.len() as i64;
                    let last = columns % shape.width;
                    match Spread::of(shape, *dtype, *along) {
                        Some(spread) => [columns.min(shape.width), last]
                            .into_iter()
                            .flat_map(|columns| spread.masks(columns))
                            .for_each(|mask| masks.add_bits(mask)),
                        None => masks.add(Live::first(last), shape),
                    }
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
        if let Arg::From(Source::Slide { step, count, live, .. }) = arg {
            self.add_bits(match is_plain_slide(shape, *step, *count, *live) {
                true => LAST_CHUNK,
                false => bits(*live),
            });
        }
    }

    fn add(&mut self, live: Live, shape: Shape) {
        if !live.is_empty() && !live.is_all(shape.width) {
            self.add_bits(bits(live));
        }
    }

    fn add_bits(&mut self, lanes: Lanes) {
        if !self.0.contains(&lanes) && self.0.len() < KEPT {
            self.0.push(lanes);
        }
    }

    /// The register that holds the mask of these lanes all along, if one does.
    pub fn kept(&self, lanes: Lanes) -> Option<Register> {
        let at = self.0.iter().position(|l| *l == lanes);
        at.map(|at| Register::K1 + at as u32)
    }

    /// Sets all, by way of `rax`.
    pub fn set(&self, text: &mut Text) {
        for (at, lanes) in self.0.iter().enumerate() {
            set(text, Register::K1 + at as u32, *lanes);
        }
    }
}

/// Lanes that are stored `by` elements apart, as whole vectors under a mask.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    by: i64,
    width: i64,
}

impl Spread {
    /// For lanes `step` bytes apart, of buffers with elements of `dtype`: where masks are, and each
    /// of the vectors to store takes whole chunks of the register.
    pub fn of(shape: Shape, dtype: DType, step: i64) -> Option<Spread> {
        let by = step / shape.element();
        let is_spread = shape.isa.machine().mask_registers
            && dtype == shape.dtype
            && step % shape.element() == 0
            && matches!(by, 2 | 4)
            && shape.width / by >= shape.chunk();
        is_spread.then_some(Spread { by, width: shape.width })
    }

    /// Lanes that stand in one of the vectors to store.
    pub fn part(self) -> i64 {
        self.width / self.by
    }

    /// The mask of each vector to store, of the first `live` lanes.
    pub fn masks(self, live: i64) -> impl Iterator<Item = Lanes> {
        let counts = (0..self.by).map(move |at| (live - at * self.part()).min(self.part()));
        let mask = move |count: i64| (0..count).fold(0, |mask, at| mask | 1 << (at * self.by));
        counts.take_while(|count| *count > 0).map(mask)
    }
}

/// The lanes of a range.
pub(super) fn bits(live: Live) -> Lanes {
    let (from, to) = live.range();
    ((1u64 << to) - (1u64 << from)) as Lanes
}

/// Whether a slide needs no byte left out, of neighbouring lanes: two loads and a shuffle.
pub(super) fn is_plain_slide(shape: Shape, step: i64, count: i64, live: Live) -> bool {
    step == 1 && live == Live::first(shape.width - 1 + count)
}

/// Sets a mask, by way of `rax`.
pub(super) fn set(text: &mut Text, mask: Register, lanes: Lanes) {
    let Ok(lanes) = u16::try_from(lanes).map(u32::from) else {
        text.push(Instruction::with2(Code::Mov_r64_imm64, Register::RAX, lanes));
        text.push(Instruction::with2(Code::VEX_Kmovq_kr_r64, mask, Register::RAX));
        return;
    };
    text.push(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, lanes));
    text.push(Instruction::with2(Code::VEX_Kmovw_kr_r32, mask, Register::EAX));
}
