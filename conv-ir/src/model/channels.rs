//! Output channels in the lanes: weights are vectors, the input is splat. Which tile of channels,
//! rows and columns.
//!
//! Each tile that fits is priced by counting: multiply-adds, loads, the latency of short tiles,
//! tails, where weights and input come from, and the runs of memory that the output is stored in.
//! The cheapest wins.

use super::order::can_wait;
use super::shape::{Shape, is_known, product};
use super::{CROWDED, L2_RATE, PAIR_CYCLES, REPEATS, SHORT, counted, fma_cycles, latency};
use crate::nest::Role;
use crate::schedule::Choice;
use crate::{MAX_EMBEDDED_BROADCASTS, Target};

/// Cycles of an output that is stored alone, in a line of its own.
const ALONE: f64 = 2.5;

/// Channels in the lanes, and a tile of the image's rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    lanes: i64,
    vectors: i64,
    rows: i64,
    columns: i64,
}

/// The extent in whole tiles and what is left: (size, how many).
fn cut(extent: i64, tile: i64) -> [(i64, i64); 2] {
    [(tile, extent / tile), (extent % tile, 1)]
}

impl Channels {
    fn points(self) -> i64 {
        self.rows * self.columns
    }

    /// Cycles of one tap and input channel over a plane and all output channels, by counting
    /// multiply-adds, loads (two a cycle), latency, and what weights cost that come from far
    /// away.
    fn cycles(self, shape: &Shape, target: &Target) -> f64 {
        let whole = self.vectors * self.lanes;
        let rest = (shape.out_channels % whole + self.lanes - 1) / self.lanes;
        let mut cycles = 0.0;
        for (vectors, blocks) in [(self.vectors, shape.out_channels / whole), (rest, 1)] {
            for (rows, tall) in cut(shape.rows(), self.rows) {
                for (columns, wide) in cut(shape.columns_of_class(), self.columns) {
                    if vectors * rows * columns > 0 {
                        cycles += (blocks * tall * wide * shape.apart) as f64
                            * self.tile(shape, target, (vectors, rows, columns));
                    }
                }
            }
        }
        cycles
    }

    /// Instructions that turn a vector of channels of so many columns and store them, one of which
    /// starts in a cycle, where stores have no masks: whole vectors of columns are rows, others
    /// are stored 128 bits at a time, and fewer columns than that, for which half of the lanes
    /// are extracted, in one store or two. So 24 x 4 channels and columns take 48 where 16 x 6
    /// take 72 and 8 x 14 as many for some more outputs: measured on Zen 5 with AVX2, 1x1 over
    /// 112x112, 16 to 96 channels, the first are 1.22 times as fast as the last.
    fn turned(self, columns: i64, shape: &Shape) -> i64 {
        let chunk = (16 / shape.bytes as i64).clamp(1, self.lanes);
        let shuffles = |registers: i64| registers * i64::from(registers.ilog2());
        let (rows, rest) = (columns / self.lanes, columns % self.lanes);
        let (chunks, few) = (rest / chunk, rest % chunk);
        let tail = match few {
            0 => 0,
            few => shuffles(chunk) + self.lanes / 2 + self.lanes * if few == 3 { 2 } else { 1 },
        };
        rows * (shuffles(self.lanes) + self.lanes) + chunks * (shuffles(chunk) + self.lanes) + tail
    }

    fn tile(
        self,
        shape: &Shape,
        target: &Target,
        (vectors, rows, columns): (i64, i64, i64),
    ) -> f64 {
        let bytes = self.lanes * shape.bytes as i64;
        let points = rows * columns;
        let fma = match shape.in_pairs {
            true => ((2 * vectors + 1) * points) as f64 * PAIR_CYCLES,
            false => ((vectors + shape.beside) * points) as f64 * fma_cycles(target, bytes),
        };
        let weights = vectors as f64 * (2.0 * bytes as f64 / target.load_bytes as f64).max(1.0);
        // A splat inside each multiply-add, or one for all vectors in a register, where one is
        // free: with three vectors by nine columns 1x7 and 7x1 over 17x17, 192 channels, take 0.93
        // of the time that they take with two by nine (Granite Rapids).
        let has_register = vectors > 1 && target.fits(vectors * points, vectors + 1);
        let inside = target.step_registers == 0
            && target.isa.machine().embeds_splat(vectors, bytes)
            && !has_register;
        let splats = if inside { points * vectors } else { points };
        let loads = match shape.in_pairs {
            // Weights are operands in memory, and a splat is of two steps.
            true => (vectors * points) as f64 / 2.0 + points as f64 / 4.0,
            false => (weights + splats as f64) / 2.0,
        };
        // Weights of a block of channels are read again for each tile, of a transposed convolution
        // those of one phase, from where they fit. Measured on Zen 4.
        let block = product([vectors, bytes, shape.steps()]) / shape.phases;
        let far = match block as usize {
            block if block <= target.l1_bytes / 2 => 0.05,
            // Sums wait where they would not fit.
            block if block <= target.l2_bytes / 2 || can_wait(shape, target) => 0.1,
            _ => 0.6,
        };
        // So is the input for each block of channels, once for all taps of a plane.
        let input = shape.input_elements().saturating_mul(shape.bytes as i64);
        let near = (product(shape.taps.iter().take(2).copied()) / shape.phases).max(1);
        let lines =
            (points * shape.column_step.max(1) * shape.bytes as i64) as f64 / 32.0 / near as f64;
        // Where all weights stay near, they are read again for each part of the input, and the
        // input once (`order.rs`).
        let weights_near = target.packs
            && shape.weight_elements().saturating_mul(shape.bytes as i64)
                <= target.l2_bytes as i64 / 2;
        let again = if weights_near || input as usize <= target.l2_bytes / 2 { 0.2 } else { 1.5 };
        // A channel's outputs are a run of memory each: some cycles for it and for each of its
        // lines, over all steps of the sum.
        let along = if shape.spreads(self.lanes, target) { shape.apart } else { 1 };
        let runs = (vectors * self.lanes * rows) as f64
            * (1.0 + (columns * along * shape.bytes as i64) as f64 / 64.0);
        let steps = (shape.steps() / shape.phases).max(1);
        let stores = match shape.channels_last {
            true => 0.0,
            // Columns of a class, which no vector spreads, are stored one by one.
            false if shape.apart > 1 && along == 1 => {
                ALONE * (vectors * self.lanes * points) as f64
            }
            // Long sums hide it: 3x3 over 224x224, 64 to 64 channels, 16 x 6 is 1.07 times as fast
            // as 24 x 4, and two taps of 64 channels 1.16 times as fast as 16 x 4.
            false if target.isa.is_avx2() && steps <= SHORT && shape.stores_sums => {
                (vectors * rows * self.turned(columns, shape)) as f64
            }
            false => 3.0 * runs,
        };
        let stores = stores / steps as f64;
        let from_l2 =
            if block as usize > target.l1_bytes / 2 { (vectors * bytes) as f64 } else { 0.0 }
                + 32.0 * lines;
        let latency = if shape.in_pairs { 1.0 } else { latency(target) };
        fma.max(loads).max(latency).max(from_l2 / L2_RATE)
            + CROWDED * loads
            + far * weights
            + again * lines
            + stores
    }
}

/// The tiles of channels that fit.
fn channel_tiles(shape: &Shape, target: &Target) -> Vec<Channels> {
    let native = target.lanes(shape.bytes) as i64;
    let is_wide = target.vector_bytes > 16;
    let widths = if is_wide { vec![native, native / 2, native / 4] } else { vec![native] };
    let is_vector = |lanes: &i64| *lanes == native || lanes * shape.bytes as i64 >= 16;
    let taps = product(shape.taps.iter().copied());
    let mut all = Vec::new();
    for lanes in widths.into_iter().filter(is_vector) {
        let in_panels = |vectors: &i64| {
            shape.panel.is_none_or(|width| lanes == width || vectors * lanes == width)
        };
        let few = (1..=6).take_while(|v| {
            *v == 1 || (v - 1) * lanes < shape.out_channels || shape.panel.is_some()
        });
        for vectors in few.filter(in_panels) {
            let shared = i64::from(
                target.step_registers == 0
                    && (lanes < native || vectors > MAX_EMBEDDED_BROADCASTS as i64),
            );
            let fits = |points: i64| {
                let sums = (vectors + shape.beside) * points;
                let held = if shape.in_pairs { 0 } else { vectors * (1 + shared) + shape.beside };
                target.fits(sums, held)
            };
            for columns in (1..=shape.columns_of_class()).take_while(|&c| fits(c)) {
                // Rows share a tile where a row is short; their edges are tests of constants, so
                // all taps must be in the code.
                let several = |rows: &i64| {
                    *rows == 1
                        || is_wide
                            && columns == shape.columns()
                            && product([vectors, *rows, columns, taps]) <= REPEATS
                };
                for rows in (1..=shape.rows()).take_while(|r| fits(r * columns)).take_while(several)
                {
                    all.push(Channels { lanes, vectors, rows, columns });
                }
            }
        }
    }
    all
}

/// All tiles of channels that fit, with their cycles by the model above.
pub(super) fn tiles(shape: &Shape, target: &Target) -> Vec<(f64, Channels)> {
    let sums = shape.steps() as f64 / shape.phases as f64;
    let priced = |tile: Channels| {
        (tile.cycles(shape, target) * sums + shape.waits(target, tile.columns), tile)
    };
    channel_tiles(shape, target).into_iter().map(priced).collect()
}

/// The best of them.
pub(super) fn best(shape: &Shape, target: &Target) -> Option<(f64, Channels)> {
    tiles(shape, target).into_iter().reduce(|best, tile| if tile.0 < best.0 { tile } else { best })
}

pub(super) fn channel_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
    let native = target.lanes(shape.bytes) as i64;
    let one = Channels {
        lanes: native,
        vectors: shape.panel.map_or(1, |width| (width / native).max(1)),
        rows: 1,
        columns: 1,
    };
    let tile = best(shape, target).map_or(one, |b| b.1);
    tiled(choice, shape, target, tile);
}

/// Writes a tile down, and why.
pub(super) fn tiled(choice: &mut Choice, shape: &Shape, target: &Target, tile: Channels) {
    let Channels { lanes, vectors, rows, columns } = tile;
    choice.schedule.lanes = Some((Role::OutChannel, lanes));
    choice.schedule.tile =
        vec![(Role::OutChannel, vectors * lanes), (Role::Out(1), rows), (Role::Out(0), columns)];
    choice.schedule.tile.retain(|t| t.0 != Role::Out(1) || t.1 > 1);
    let fill = match shape.out_channels % lanes {
        0 => "fill vectors".to_owned(),
        rest => format!("leave {} lanes of the last vector empty", lanes - rest),
    };
    choice.reasons.push(format!(
        "lanes oc:{lanes}: {} output channels a group {fill}; weights load as vectors, the input is splat, and any stride or dilation costs nothing",
        shape.out_channels
    ));
    let tail = match shape.columns() {
        all if !is_known(all) => "a row is as long as its run says".to_owned(),
        all => format!("{all} columns leave a tail of {}", all % columns),
    };
    choice.reasons.push(format!(
        "tile oc:{} x {} x {}: {} accumulators, {vectors} weights and {} for the input in {} registers; {tail}",
        vectors * lanes,
        counted(rows, "row"),
        counted(columns, "column"),
        vectors * tile.points(),
        target.step_registers,
        target.vector_registers,
    ));
}
