//! Columns in the lanes: the input is loaded in vectors, weights are splat. For few output channels
//! a group: depthwise, grouped, filters.
//!
//! Where the target masks loads, edges are lanes that load what changes nothing, and rows that
//! share a vector under their windows load it once: the tile is priced by counting both. Elsewhere
//! rows are copied into a padded panel.

use super::shape::{LINE, Shape, TOGETHER, product};
use super::{
    CROWDED, IN_FLIGHT, L2_RATE, LATENCY, REPEATS, can_mask, counted, fma_cycles, latency,
};
use crate::Target;
use crate::nest::Role;
use crate::schedule::{Borders, Choice};

/// Bytes of a page.
const PAGE: i64 = 4096;
/// Rows of a window that no first-level cache holds for a row of tiles.
const TALL: i64 = 8;
/// Masks that have registers of their own.
const MASKS: i64 = 7;
/// Cycles of a mask that has none. Measured on Granite Rapids: depthwise 13x13 over 14x14 takes
/// 0.49 of the time with 3 rows, which share their loads, of what it takes with 14, which do not.
const A_MASK: f64 = 1.0;
/// Channels whose splats stay in registers while a row of vectors passes.
const MOST_HELD: i64 = 4;
/// Channels of a tile whose splats are operands in memory: 14 x 2 vectors fill 32 registers.
const MOST_EMBEDDED: i64 = 14;
/// Channels of a row whose splats are loads: 6 x 2 vectors fill 16 registers.
const MOST_IN_A_ROW: i64 = 6;
/// Rows of the highest tile.
const HIGHEST: i64 = 24;
/// Registers beside sums where two taps are multiplied at a time, of those that integers do not
/// need anyway.
const PAIRS_BESIDE: i64 = 1;
/// Ports that take vector instructions.
const PORTS: f64 = 3.0;

/// Whether sums can be made tap by tap: the taps of several input channels stay in no registers,
/// and where a splat is no operand, it is better loaded once for all rows than for each again.
fn goes_by_taps(shape: &Shape, target: &Target) -> bool {
    target.isa.is_avx2()
        && shape.in_channels > 1
        && shape.column_step == 1
        && !shape.is_integer
        && shape.spelled_taps().is_none()
}

/// Columns in the lanes, edges masked.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    lanes: i64,
    channels: i64,
    rows: i64,
    vectors: i64,
}

impl Columns {
    fn said(self) -> String {
        let (channels, rows) = (counted(self.channels, "channel"), counted(self.rows, "row"));
        format!("{channels} x {rows} x {}", counted(self.vectors, "vector"))
    }

    fn accumulators(self) -> i64 {
        self.channels * self.rows * self.vectors
    }

    /// Columns of a tile.
    fn across(self) -> i64 {
        self.vectors * self.lanes
    }

    fn extents(self) -> Vec<(Role, i64)> {
        let all = [
            (Role::OutChannel, self.channels),
            (Role::Out(1), self.rows),
            (Role::Out(0), self.across()),
        ];
        all.into_iter().filter(|tile| tile.1 > 1).collect()
    }

    /// Whether the weights of all taps of a channel stay in registers; then nothing but the input
    /// is loaded.
    fn keeps(self, shape: &Shape, target: &Target) -> bool {
        let taps = shape.taps.iter().product::<i64>();
        // AVX-512 has registers for the weights beside all sums of its tiles, and known weights of
        // one channel are no splats where they are spelled out. Depthwise, AVX2 has been measured.
        let flows =
            target.isa.is_avx2() && shape.groups > 1 && self.accumulators() * taps <= REPEATS;
        self.keeps_beside(self.accumulators(), shape, target)
            || flows && self.keeps_beside(self.alive(shape), shape, target)
    }

    /// The same where so many sums are alive.
    fn keeps_beside(self, sums: i64, shape: &Shape, target: &Target) -> bool {
        let weights = self.channels * shape.taps.iter().product::<i64>();
        shape.in_channels == 1 && target.isa.machine().keeps_splats(sums, weights)
    }

    /// Sums that are alive at once where all taps are in the code: row by row of the input, each is
    /// complete when the window has passed.
    fn alive(self, shape: &Shape) -> i64 {
        let under_one = (shape.span(1).saturating_add(shape.row_step - 1)) / shape.row_step;
        match shape.planes() {
            1 => self.channels * self.vectors * self.rows.min(under_one),
            _ => self.accumulators(),
        }
    }

    /// Cycles for all tiles of a plane, by a model of a core that loads two vectors a cycle, at
    /// half that rate where they cross a cache line (measured on Zen 4).
    fn cycles(self, shape: &Shape, target: &Target) -> f64 {
        let bytes = self.lanes * shape.bytes as i64;
        let fma = fma_cycles(target, bytes);
        let across_lines = if bytes >= 64 { 2.0 } else { 1.44 };
        let load = across_lines * (bytes as f64 / target.load_bytes as f64).max(0.5);
        let across = shape.vectors_across(self.lanes);
        let down = shape.rows();
        let blocks = (shape.out_channels + self.channels - 1) / self.channels;
        let mut cycles = 0.0;
        // Whole tiles, and those at the end of rows and columns.
        for (rows, tall) in [(self.rows, down / self.rows), (down % self.rows, 1)] {
            for (vectors, wide) in
                [(self.vectors, across / self.vectors), (across % self.vectors, 1)]
            {
                if rows * vectors > 0 {
                    cycles += (tall * wide) as f64
                        * self.tile(shape, target, (rows, vectors), (fma, load));
                }
            }
        }
        cycles * blocks as f64 * shape.apart as f64
    }

    /// Whether a tap's splats, each loaded once, and its vectors fit beside the sums, tap by tap:
    /// either stay while the others pass, in a row; of several rows, the splats.
    fn fits_by_taps(self, target: &Target) -> bool {
        let held = if self.rows == 1 { self.channels.min(self.vectors) } else { self.channels };
        self.accumulators() + held < target.vector_registers as i64
    }

    /// Whether sums fit where two taps are multiplied at a time: those of bytes take half the
    /// registers. Beside them are what is loaded, what is interleaved, and a product.
    fn fits_in_pairs(self, bytes: i64, across: i64, target: &Target) -> bool {
        let registers = self.accumulators() * bytes / 2;
        // Vectors that are left over have sums as others have, and a tile of their own.
        let left = self.channels * self.rows * (across % TOGETHER);
        self.vectors % TOGETHER == 0
            && target.fits(registers, PAIRS_BESIDE)
            && (left == 0 || self.vectors == TOGETHER && target.fits(left, 3 + self.channels))
    }

    /// Cycles of a tile where two taps are multiplied at a time: of four vectors of sums a pair
    /// takes two to four products, as many sums, and as many shuffles that rows share.
    fn pairs(self, shape: &Shape, bytes: i64, (rows, vectors): (i64, i64)) -> f64 {
        let units = (self.channels * rows * vectors.max(TOGETHER) * bytes / 2) as f64;
        let window = shape.taps.get(1).copied().unwrap_or(1);
        let lines = ((rows - 1) * shape.row_step + window).min(rows * window) * shape.planes();
        let pairs = (lines * shape.taps[0] + 1) / 2;
        let shuffles = (pairs * bytes * 2 * (vectors.max(TOGETHER) / TOGETHER)) as f64;
        let taps = shape.known_taps.unwrap_or(0).max(1) as f64;
        // Each has a load that may cross a line, and so has the one beside it.
        let loads = 1.5 * shuffles;
        let all = units * (taps + 1.0) + shuffles + 6.0 * units;
        (all / PORTS).max(shuffles).max(loads / 2.0) + 30.0
    }

    fn tile(
        self,
        shape: &Shape,
        target: &Target,
        (rows, vectors): (i64, i64),
        (fma, load): (f64, f64),
    ) -> f64 {
        if let Some(bytes) = shape.interleaves_on(target) {
            return self.pairs(shape, bytes, (rows, vectors));
        }
        let (window, taps) =
            (shape.taps.get(1).copied().unwrap_or(1), shape.taps.iter().product::<i64>());
        let sums = (self.channels * rows * vectors) as f64;
        let steps = (shape.in_channels * taps) as f64 / shape.phases as f64;
        // Rows that outputs share under their windows, as far as taps are repeated in the code.
        let room = REPEATS / (self.accumulators() * shape.taps[0]);
        let repeated = (1..=window.min(room)).rev().find(|r| window % r == 0).unwrap_or(1);
        let shared = ((rows - 1) * shape.row_step + repeated).min(rows * repeated);
        let lines = window / repeated * shared * shape.planes();
        let reads =
            (shape.in_channels * lines * shape.taps[0] * vectors) as f64 / shape.phases as f64;
        let per_read = if shape.column_step == 2 { 1.5 * load + 0.5 } else { load };
        // Where a row is a vector or two, the lanes of each tap have their own mask.
        let is_edge = shape.vectors_across(self.lanes) <= 2 && shape.ragged;
        let per_read = per_read + if is_edge && shape.taps[0] > MASKS { A_MASK } else { 0.0 };
        let splats = match self.keeps(shape, target) {
            true => 0.0,
            // A splat in a register serves all vectors of a row.
            false if self.channels > MOST_HELD && target.fits(self.accumulators(), vectors + 1) => {
                0.5 * self.channels as f64 * steps
            }
            false => 0.5 * sums * steps,
        };
        let shared = reads * per_read + splats;
        // Tap by tap rows share no vectors, but its splats.
        let each = (rows * vectors) as f64 * per_read + 0.5 * self.channels as f64;
        let is_by_taps = goes_by_taps(shape, target) && self.fits_by_taps(target);
        let by_taps = Some(steps * each).filter(|taps| is_by_taps && *taps < shared);
        let (loads, crowded) = by_taps.map_or((shared, 0.0), |taps| (taps, CROWDED * taps));
        let latency = if by_taps.is_some() { latency(target) } else { LATENCY } * steps;
        // Rows that the first-level cache does not hold until the next row of tiles come from the
        // second.
        let held = product([rows + window, shape.columns(), shape.bytes as i64]);
        let from_l2 = match held as usize <= target.l1_bytes {
            true => 0.0,
            false => reads / shape.taps[0] as f64 * (self.lanes * shape.bytes as i64) as f64,
        };
        let busy = (sums * steps * fma).max(latency).max(loads).max(from_l2 / L2_RATE) + crowded;
        let busy = busy + self.again(shape, target, (rows, vectors));
        // Outputs of one phase are apart: where vectors cannot be spread, lanes are stored one by
        // one.
        let stores = match shape.phases > 1 {
            true if shape.spreads(self.lanes, target) => 2.0 * shape.apart as f64,
            true => 1.5 * self.lanes as f64,
            false => 2.0 * fma,
        };
        busy + stores * sums + 30.0
    }
}

impl Columns {
    /// Cycles that a tile waits for its input, where that is of so many channels that it has left
    /// the first-level cache when the next tile of channels comes. Measured on Granite Rapids:
    /// with 12 channels x 2 vectors of 16 the 3x3 over 25x25, 256 to 36 channels, takes 0.81 of the
    /// time that it takes with 6 x 2, seven taps over 2048 columns, 100 to 100 channels, 0.86 with
    /// 10 x 2 of what they take with 5 x 2.
    fn again(self, shape: &Shape, target: &Target, (rows, vectors): (i64, i64)) -> f64 {
        if shape.in_channels == 1 {
            return 0.0;
        }
        let is_phase = shape.phases > 1;
        let window = shape.taps.get(1).map_or(1, |taps| if is_phase { 1 } else { *taps });
        let lines = ((rows - 1) * shape.row_step + window).min(rows * window) * shape.planes();
        let columns = vectors * self.lanes * shape.column_step.max(1);
        let beside = if is_phase { 0 } else { shape.span(0) - 1 };
        let columns = columns.saturating_add(beside).min(columns.saturating_mul(shape.taps[0]));
        // Beside a window's taps, a run of memory begins and ends inside a line.
        let around = if shape.taps[0] > 1 { LINE - 1 } else { 0 };
        let run = columns.saturating_mul(shape.bytes as i64).saturating_add(around);
        let seen = product([shape.in_channels, lines, run]);
        match seen as usize > target.l1_bytes / 2 {
            true => seen as f64 * target.l2_cycles as f64 / 1024.0,
            false => 0.0,
        }
    }
}

/// All tiles of columns that fit, with their cycles by the model above.
pub(super) fn tiles(shape: &Shape, target: &Target) -> Vec<(f64, Columns)> {
    let native = target.lanes(shape.bytes) as i64;
    let mut all: Vec<(f64, Columns)> = Vec::new();
    // Taps slide in whole registers alone, where dead lanes cost less than more instructions.
    let pairs = shape.interleaves_on(target);
    let slides = shape.slides_on(target) || pairs.is_some();
    let fits = |lanes: &i64| *lanes > 1 && (*lanes == native || !slides);
    for lanes in [native, native / 2, native / 4].into_iter().filter(fits) {
        let by_taps = goes_by_taps(shape, target);
        let most = match lanes == native && target.isa.machine().embeds_broadcasts {
            true => MOST_EMBEDDED,
            false if by_taps => MOST_IN_A_ROW,
            false => MOST_HELD,
        };
        for channels in 1..=shape.out_channels.min(most) {
            let highest = if channels > MOST_HELD { 1 } else { HIGHEST };
            for (rows, vectors) in (1..=highest).flat_map(|r| (1..=8).map(move |v| (r, v))) {
                let columns = Columns { lanes, channels, rows, vectors };
                let across = shape.vectors_across(lanes);
                // Two vectors and what is picked of them, a splat for each channel, and numbers for
                // picking. Of more channels than are held, the input is, and each splat is an
                // operand of one multiply-add after the other.
                let held = if channels > MOST_HELD { vectors.max(3) } else { 3 + channels };
                let others = held + if shape.column_step == 2 { 2 } else { 0 };
                let fits = match pairs {
                    Some(bytes) => columns.fits_in_pairs(bytes, across, target),
                    None => {
                        target.fits(columns.accumulators(), others)
                            || by_taps && columns.fits_by_taps(target)
                    }
                };
                // Known taps are spelled out for every output of the tile.
                let has_room = |taps: i64| columns.accumulators() * taps <= REPEATS;
                let fits = fits && shape.spelled_taps().is_none_or(has_room);
                // With all weights at hand little is left to share, and more rows are more code.
                // Where each row is a page or more away from the next, a tall tile
                // touches more pages and sets of the first-level cache than there are: 5x5 over
                // 1920 columns takes 2.5 ms with 22 rows, 1.0 with 8 (Zen 4).
                let apart = shape.columns() * shape.bytes as i64 >= PAGE;
                let keeps = columns.keeps_beside(columns.accumulators(), shape, target);
                let most = if keeps || apart { 8 } else { HIGHEST };
                let rows_fit = rows <= shape.rows().min(most);
                if lanes * (shape.bytes as i64) < 16 || !rows_fit || vectors > across || !fits {
                    continue;
                }
                let waits = shape.waits(target, columns.across());
                all.push((columns.cycles(shape, target) + waits, columns));
            }
        }
    }
    all
}

/// The best of them.
pub(super) fn best(shape: &Shape, target: &Target) -> Option<(f64, Columns)> {
    let all = tiles(shape, target);
    // Of tiles that are about as good the smallest makes the least code, and with few rows reads
    // the fewest places at a time. But where an image is no higher than a tile can be, as
    // strips of fused chains are, and the window is high, a tile as high as the image reads each
    // row once, and not from the second-level cache again: a quarter less time measured.
    let is_tall = shape.taps.get(1).is_some_and(|&taps| taps >= TALL);
    let best = all.iter().fold(f64::INFINITY, |best, (cycles, _)| best.min(*cycles));
    let good = all.iter().filter(|(cycles, _)| *cycles <= 1.02 * best);
    let again = |c: &Columns| is_tall && shape.rows() <= HIGHEST && c.rows < shape.rows();
    let good =
        good.filter(|(cycles, c)| *cycles <= 1.01 * best || (is_tall && c.rows == shape.rows()));
    // Where a core starts two multiply-adds a cycle, fewer than 8 at a time wait for each other.
    let waits = |c: &Columns| c.accumulators() < IN_FLIGHT;
    // Tap by tap code is short, and the largest tile reads the image least often.
    let size = |c: &Columns| match goes_by_taps(shape, target) {
        true => (-c.accumulators(), -c.channels),
        false => (c.accumulators(), c.rows),
    };
    let smallest = good.min_by_key(|(_, c)| (again(c), waits(c), size(c), c.lanes));
    smallest.copied()
}

/// How two taps are multiplied at a time.
fn in_pairs(shape: &Shape, target: &Target) -> Option<String> {
    Some(match shape.interleaves_on(target)? {
        1 => "pairs: two taps are one product, and sums of bytes fit in 16 bits".to_owned(),
        _ => "pairs: two taps are one product of words".to_owned(),
    })
}

fn masked_columns(choice: &mut Choice, shape: &Shape, target: &Target) {
    if let Some((_, columns)) = best(shape, target) {
        masked(choice, shape, target, columns);
    }
}

/// Writes a tile with masked edges down, and why.
pub(super) fn masked(choice: &mut Choice, shape: &Shape, target: &Target, columns: Columns) {
    let stay = if columns.keeps(shape, target) { ", and weights stay in registers" } else { "" };
    let loads = format!("; a vector is loaded once for all rows under whose windows it lies{stay}");
    put(choice, shape, target, columns, &loads);
    choice.schedule.borders = Borders::Mask;
    choice.reasons.push(
        "borders mask: lanes outside the image load what changes nothing, and nothing is copied"
            .to_owned(),
    );
}

/// Writes lanes and tile down, and why; of the tile also what is said of its loads.
fn put(choice: &mut Choice, shape: &Shape, target: &Target, columns: Columns, loads: &str) {
    choice.schedule.lanes = Some((Role::Out(0), columns.lanes));
    choice.schedule.tile = columns.extents();
    choice.reasons.push(format!(
        "lanes ow:{}: with {} a group, columns cost less in the lanes: they load and store as vectors, weights are splat",
        columns.lanes,
        counted(shape.out_channels, "output channel")
    ));
    choice.reasons.extend(in_pairs(shape, target));
    let (tile, sums) = (columns.said(), columns.accumulators());
    choice.reasons.push(format!("tile {tile}: {sums} accumulators{loads}"));
}

/// The tile where edges are not masked.
///
/// A splat weight serves every column vector and row of the tile; each of those loads its input
/// once. One accumulator per load leaves registers for 12 of them; 8 hide the latency, and more
/// rows share more taps only where the panel holds them.
fn plain(shape: &Shape, target: &Target) -> Columns {
    let lanes = target.lanes(shape.bytes) as i64;
    let across = (shape.columns() + lanes - 1) / lanes;
    let channels = shape.out_channels.clamp(1, 4);
    let most = shape.spelled_taps().map_or(8, |taps| (REPEATS / taps).min(8));
    let vectors = across.min(most / channels).max(1);
    let rows = if shape.out_channels == 1 && target.packs {
        (most / vectors).clamp(1, shape.rows())
    } else {
        1
    };
    Columns { lanes, channels, rows, vectors }
}

/// Cycles of a multiply-add in that tile, which loads its input.
pub(super) fn plain_cycles(shape: &Shape, target: &Target) -> f64 {
    let columns = plain(shape, target);
    let fma = fma_cycles(target, columns.lanes * shape.bytes as i64);
    fma.max(LATENCY / columns.accumulators() as f64)
}

pub(super) fn column_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
    if can_mask(shape, target) {
        return masked_columns(choice, shape, target);
    }
    let is_near = shape.slides_on(target) || shape.interleaves_on(target).is_some();
    let is_near = is_near && !shape.channels_last && target.packs;
    let shared = is_near.then(|| best(shape, target)).flatten();
    let columns = shared.map_or_else(|| plain(shape, target), |(_, columns)| columns);
    let hides = format!(", at least {IN_FLIGHT} to hide the latency");
    put(choice, shape, target, columns, &hides);
    super::panel::borders(choice, shape, target, columns.rows);
}
