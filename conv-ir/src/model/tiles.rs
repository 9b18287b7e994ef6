//! Bytes in tiles: sixteen rows of 64 bytes times sixteen columns are one instruction, where a
//! machine has it. What it takes is counted beside what vectors take.
//!
//! Where columns are innermost, the rows are weights, so many channels of the input side by side,
//! and the columns are those of a panel of fours. Where channels are, rows are the input's own
//! pixels.

use super::shape::{Shape, is_known, product};
use super::{counted, order};
use crate::nest::{FOUR, Role};
use crate::schedule::{Choice, Pack, Schedule};
use crate::{Machine, Target};

/// Rows of a tile, and its columns.
const ROWS: i64 = Machine::TILE_ROWS;
/// Bytes of a row.
const ROW: i64 = Machine::TILE_ROW;
/// Tiles of sums: two rows and two columns of them leave as many registers for factors.
const MOST_SUMS: i64 = 4;
/// Channels of a row, and steps of a sum, below which tiles are not worth their form.
const FEWEST: i64 = 32;
/// Cycles from a tile of products to the next one of the same sums.
const LATENCY: f64 = 52.0;
/// Cycles of a leaf beside its steps: the forms of tiles, which are given back, and waits for the
/// first tiles and the last.
const LEAF: f64 = 150.0;
/// Cycles of a tile of sums that is stored and loaded as vectors.
const STORED: f64 = 40.0;
/// Multiply-adds a cycle of vectors: two of 64 bytes, of which the best leaves reach nine tenths.
const OF_VECTORS: f64 = 115.0;
/// A model that is a tenth off decides nothing.
const CLEARLY: f64 = 1.1;

/// Bytes a cycle from the second-level cache: those that wait in line. Measured on Granite Rapids,
/// 3x3 over 14x14, 256 to 256 channels, in tiles of 64 x 16 and of 32 x 2 x 16.
const FAR_RATE: f64 = 36.0;
/// The widest window that a stride steps under: each of its taps has a copy of the columns.
const MOST_TAPS: i64 = 5;

/// Rows and columns of the sums of a leaf, in elements and in tiles.
#[derive(Clone, Copy)]
struct Tile {
    rows: i64,
    /// Rows of the image, each with its own columns.
    high: i64,
    columns: i64,
}

/// What the factors of a tile take of memory.
struct Factors<'a> {
    shape: &'a Shape,
    /// Bytes of a row.
    row: i64,
    steps: i64,
    lanes: Lanes,
    /// Bytes that stay in the first-level cache.
    near: i64,
}

impl Factors<'_> {
    /// Bytes a step that come from the second-level cache: the weights' and the image's, but those
    /// that are read leaf by leaf from the first.
    fn far(&self, tile: Tile) -> f64 {
        let (steps, row) = (self.steps as f64, self.row as f64);
        let columns = (tile.high * tile.columns) as f64;
        let (weights, image) = match self.lanes {
            Lanes::Columns => (tile.rows as f64, columns),
            Lanes::Channels => (columns, tile.rows as f64),
        };
        let (weights, image) = (weights * row, image * row);
        // Under a window rows and columns are near once one tap has met them.
        let taps = self.shape.taps.iter().take(2).product::<i64>() as f64;
        let rows = self.shape.taps.get(1).copied().unwrap_or(1);
        let under = (tile.high + rows - 1) as f64 / tile.high as f64;
        let image = if self.shape.column_step == 1 { image * under / taps } else { image };
        let near = [weights, image].map(|bytes| bytes * steps <= self.near as f64);
        match near {
            [true, true] => weights.min(image),
            [true, false] => image,
            [false, true] => weights,
            [false, false] => weights + image,
        }
    }
}

impl Tile {
    /// Cycles of a leaf.
    fn cycles(self, factors: &Factors) -> f64 {
        let (down, across) = (tiles(self.rows), self.high * tiles(self.columns));
        // A row of products a cycle; rows are loaded two at a time, columns lie across two lines.
        let products = (self.rows * across) as f64;
        let loads = self.rows as f64 / 2.0 + (across * factors.row / FOUR) as f64;
        let step = products.max(loads).max(LATENCY).max(factors.far(self) / FAR_RATE);
        step * factors.steps as f64 + LEAF + STORED * (down * across) as f64
    }
}

/// Bytes of a row: the largest multiple of four that divides the channels.
fn row(shape: &Shape) -> Option<i64> {
    let blocks = (shape.in_channels % FOUR == 0).then_some(shape.in_channels / FOUR)?;
    (FEWEST / FOUR..=ROW / FOUR).rev().find(|row| blocks % row == 0).map(|row| row * FOUR)
}

/// Which of both stand in the lanes, and so are the columns of tiles.
#[derive(Clone, Copy, PartialEq)]
enum Lanes {
    Channels,
    Columns,
}

/// Elements of a leaf's tile along the axis of rows, of so many rows: as even as they can be, in
/// up to so many tiles.
fn even(extent: i64) -> impl Iterator<Item = i64> {
    (1..=MOST_SUMS).map(move |tiles| {
        let parts = (extent + tiles * ROWS - 1) / (tiles * ROWS);
        (extent + parts - 1) / parts
    })
}

/// Cycles of all leaves in the best of tiles, and that.
fn best(shape: &Shape, row: i64, lanes: Lanes, target: &Target) -> Option<(f64, Tile)> {
    let steps = product([shape.in_channels / row, product(shape.taps.iter().copied())]);
    let near = target.l1_bytes as i64 / 4 * 3;
    let factors = Factors { shape, row, steps, lanes, near };
    let (rows, high, columns) = match lanes {
        Lanes::Columns => (shape.out_channels, shape.rows(), shape.columns()),
        Lanes::Channels => (shape.columns(), 1, shape.out_channels),
    };
    let mut best: Option<(f64, Tile)> = None;
    for tile_rows in even(rows) {
        let highs = 1..=MOST_SUMS.min(high);
        let wides = (1..=MOST_SUMS).map(|tiles| tiles * ROWS);
        for (high, columns_of_tile) in highs.flat_map(|h| wides.clone().map(move |w| (h, w))) {
            let tile = Tile { rows: tile_rows, high, columns: columns_of_tile };
            // A column alone is no vector.
            let is_one = lanes == Lanes::Columns && columns % columns_of_tile == 1;
            if is_one || tiles(tile_rows) * high * tiles(columns_of_tile) > MOST_SUMS {
                continue;
            }
            let cycles = tile.all(&factors, (rows, columns));
            if best.is_none_or(|best| cycles < best.0) {
                best = Some((cycles, tile));
            }
        }
    }
    let others = match lanes {
        Lanes::Columns => product(shape.out.iter().skip(2).copied()),
        Lanes::Channels => product(shape.out.iter().skip(1).copied()),
    };
    best.map(|(cycles, tile)| (cycles * others as f64, tile))
}

impl Tile {
    /// Cycles of all leaves of a plane, or of a row where pixels are rows of tiles.
    fn all(self, factors: &Factors, (rows, columns): (i64, i64)) -> f64 {
        let cut = |extent: i64, tile: i64| [(tile, extent / tile), (extent % tile, 1)];
        let high = if factors.lanes == Lanes::Columns { factors.shape.rows() } else { 1 };
        let mut cycles = 0.0;
        for (rows, down) in cut(rows, self.rows) {
            for (high, below) in cut(high, self.high) {
                for (columns, across) in cut(columns, self.columns) {
                    let tile = Tile { rows, high, columns };
                    if rows * high * columns > 0 {
                        cycles += (down * below * across) as f64 * tile.cycles(factors);
                    }
                }
            }
        }
        cycles
    }
}

/// Tiles of so many elements.
fn tiles(extent: i64) -> i64 {
    (extent + ROWS - 1) / ROWS
}

/// Whether so many cycles are fewer than those of vectors.
fn pays(shape: &Shape, cycles: f64) -> bool {
    let outputs = product(shape.out.iter().copied());
    let products = product([shape.steps(), shape.out_channels, outputs]) as f64;
    CLEARLY * cycles < products / OF_VECTORS
}

/// Columns in the lanes, if that is worth it: lanes and tile of a schedule, and its rows.
pub(super) fn of_columns(shape: &Shape, target: &Target) -> Option<Choice> {
    let steps_over = shape.column_step > 1 && shape.taps[0] > MOST_TAPS;
    let can = target.has_tiles() && !steps_over && shape.spelled_taps().is_none();
    let row = row(shape).filter(|_| can)?;
    let (cycles, tile) = best(shape, row, Lanes::Columns, target)?;
    pays(shape, cycles).then(|| {
        let reason = format!(
            "lanes ow:{ROWS}: columns load and store as vectors, weights are rows of tiles"
        );
        choice(tile, row, (Role::Out(0), Role::OutChannel), reason)
    })
}

/// Channels in the lanes, where those of the input are innermost, if that is worth it.
pub(super) fn of_channels(shape: &Shape, target: &Target) -> Option<Choice> {
    let row = row(shape).filter(|_| target.has_tiles() && shape.fours.is_some())?;
    let is_known = is_known(shape.columns()) && is_known(shape.rows());
    // Tiles at an edge would be vectors, of which no registers hold as many.
    let is_whole = !shape.ragged && !shape.folds && shape.phases == 1;
    if !(is_known && is_whole && shape.channels_last) || shape.spelled_taps().is_some() {
        return None;
    }
    let (cycles, tile) = best(shape, row, Lanes::Channels, target)?;
    pays(shape, cycles).then(|| {
        let reason = format!(
            "lanes oc:{ROWS}: channels lie side by side, pixels of the input are rows of tiles"
        );
        let mut choice = choice(tile, row, (Role::OutChannel, Role::Out(0)), reason);
        if shape.taps[0] > 1 {
            choice.schedule.unroll = vec![Role::Kernel(0)];
        }
        let shape = &Shape { keeps_sums: false, ..shape.in_dots(target) };
        order::order(&mut choice, shape, target);
        choice
    })
}

/// The schedule of a tile, which lanes and rows run along these axes.
fn choice(tile: Tile, row: i64, (lanes, rows): (Role, Role), reason: String) -> Choice {
    let Tile { rows: tall, high, columns: wide } = tile;
    let mut extents = vec![(rows, tall), (lanes, wide)];
    extents.sort_by_key(|(role, _)| *role != Role::OutChannel);
    if high > 1 {
        extents.insert(1, (Role::Out(1), high));
    }
    let schedule = Schedule {
        lanes: Some((lanes, ROWS)),
        tile: extents,
        pack: Pack::Blocks { channels: row },
        ..Schedule::default()
    };
    let sums = counted(tiles(tall) * high * tiles(wide), "tile");
    let by_rows = if high > 1 { format!(" of {high} rows of the image") } else { String::new() };
    let reasons = vec![
        reason,
        format!(
            "tile of {tall} rows along {rows} and {wide} columns along {lanes}{by_rows}: {sums} of sums"
        ),
        format!("pack ic:{row}: {row} channels lie side by side and are multiplied at once"),
    ];
    Choice { schedule, reasons }
}
