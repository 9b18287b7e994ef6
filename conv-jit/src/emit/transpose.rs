//! Blocks of lanes x `along`, stored where `along` is contiguous in memory and lanes are not:
//! transposed in registers.
//!
//! ```text
//! f32  4 registers along, 4 lanes each -> 4 vectors, one a lane    8 shuffles, 4 stores, not 16
//!      2 left over                     -> 4 pairs                  2 shuffles, 4 stores of 8 bytes
//!      1 left over                     -> 4 scalars
//! f64  2 x 2                           -> 2 vectors                2 shuffles
//! ```
//!
//! The shuffles are the patterns that Cranelift lowers to one interleaving instruction each.
//! Anything irregular is stored lane by lane.

use conv_ir::nest::{Access, AxisId, RegId};
use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};

use super::emitter::Emitter;
use super::memory::store_at;
use super::stored::is_stored;
use super::terms::Int;
use super::tile::Tile;
use super::vector::{Chunk, bitcast};

/// Interleaves 32-bit elements of the low halves: a0 b0 a1 b1.
const LOW_32: u128 = 0x17161514_07060504_13121110_03020100;
/// The same of the high halves: a2 b2 a3 b3.
const HIGH_32: u128 = 0x1f1e1d1c_0f0e0d0c_1b1a1918_0b0a0908;
/// Both low 64-bit halves.
const LOW_64: u128 = 0x17161514_13121110_07060504_03020100;
/// Both high 64-bit halves.
const HIGH_64: u128 = 0x1f1e1d1c_1b1a1918_0f0e0d0c_0b0a0908;

impl Tile<'_> {
    pub(super) fn store_block(
        &mut self,
        e: &mut Emitter<'_, '_>,
        to: &Access,
        reg: RegId,
        along: AxisId,
    ) {
        let (extent, live) = (self.leaf.extent(along), self.live(e));
        // Neighbours along the axis are neighbours in memory.
        let buffer = e.nest.buffer_behind(self.leaf, to.base);
        let is_row = e.nest.step_along(buffer, to, along) == Some(1);
        let stores_bits = is_stored(e, e.nest.buffer(buffer).dtype);
        for at in 0..self.chunks.len() {
            let chunk = self.chunks[at];
            let live = (live - chunk.first).clamp(0, chunk.lanes);
            let neighbours = chunk.lanes > 1 && is_row && !stores_bits;
            let mut done = 0;
            while live > 0 && done < extent {
                let step = match neighbours {
                    true => block(extent - done, chunk.lanes, e.facts.little_endian),
                    false => 1,
                };
                let values = (done..done + step)
                    .map(|x| self.value_along(e, reg, along, x, at))
                    .collect::<Vec<_>>();
                e.env.insert(along, Int::Known(done));
                self.store_rows(e, to, chunk, live, &values);
                done += step;
            }
        }
        e.env.remove(&along);
    }

    fn value_along(
        &self,
        e: &mut Emitter<'_, '_>,
        reg: RegId,
        along: AxisId,
        x: i64,
        chunk: usize,
    ) -> Value {
        e.env.insert(along, Int::Known(x));
        let slot = self.slot(e, reg);
        self.register(e, slot)[chunk]
    }

    /// Stores `values`, consecutive along the block's axis, of the first `live` lanes.
    fn store_rows(
        &self,
        e: &mut Emitter<'_, '_>,
        to: &Access,
        chunk: Chunk,
        live: i64,
        values: &[Value],
    ) {
        let rows = match (chunk.lanes, values) {
            (4, &[a, b, c, d]) => transpose4(e, [a, b, c, d]).to_vec(),
            (4, &[a, b]) => pairs(e, a, b).to_vec(),
            (2, &[a, b]) => [LOW_64, HIGH_64].map(|mask| shuffle(e, a, b, mask)).to_vec(),
            (_, rest) => {
                return rest.iter().for_each(|&value| self.store_chunk(e, to, chunk, live, value));
            }
        };
        for (lane, row) in rows.into_iter().take(live as usize).enumerate() {
            let place = self.place_of(e, to, chunk.first + lane as i64);
            store_at(e, row, &place);
        }
    }
}

/// The next step along an axis of which `left` are left. Pairs travel as 64-bit integers, whose
/// halves a big-endian store would swap.
fn block(left: i64, lanes: i64, little_endian: bool) -> i64 {
    match left {
        left if left >= lanes => lanes,
        left if lanes == 4 && left >= 2 && little_endian => 2,
        _ => 1,
    }
}

fn shuffle(e: &mut Emitter<'_, '_>, a: Value, b: Value, mask: u128) -> Value {
    let ty = e.b.func.dfg.value_type(a);
    let (a, b) = (bitcast(e, types::I8X16, a), bitcast(e, types::I8X16, b));
    let mask = e.b.func.dfg.immediates.push(ConstantData::from(&mask.to_le_bytes()[..]));
    let mixed = e.b.ins().shuffle(a, b, mask);
    bitcast(e, ty, mixed)
}

fn transpose4(e: &mut Emitter<'_, '_>, [a, b, c, d]: [Value; 4]) -> [Value; 4] {
    let (low_ab, low_cd) = (shuffle(e, a, b, LOW_32), shuffle(e, c, d, LOW_32));
    let (high_ab, high_cd) = (shuffle(e, a, b, HIGH_32), shuffle(e, c, d, HIGH_32));
    [
        shuffle(e, low_ab, low_cd, LOW_64),
        shuffle(e, low_ab, low_cd, HIGH_64),
        shuffle(e, high_ab, high_cd, LOW_64),
        shuffle(e, high_ab, high_cd, HIGH_64),
    ]
}

/// `a` and `b` of each lane, as eight bytes.
fn pairs(e: &mut Emitter<'_, '_>, a: Value, b: Value) -> [Value; 4] {
    let halves = [LOW_32, HIGH_32].map(|mask| {
        let mixed = shuffle(e, a, b, mask);
        bitcast(e, types::I64X2, mixed)
    });
    [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(half, lane)| e.b.ins().extractlane(halves[half], lane))
}
