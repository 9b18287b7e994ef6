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

/// Rows and columns of the sums of a leaf, in elements and in tiles.
#[derive(Clone, Copy)]
struct Tile {
    rows: i64,
    columns: i64,
}

impl Tile {
    /// Cycles of a leaf of so many steps, whose rows have so many bytes.
    fn cycles(self, steps: i64, row: i64) -> f64 {
        let (down, across) = (tiles(self.rows), tiles(self.columns));
        // A row of products a cycle; rows are loaded two at a time, columns lie across two lines.
        let products = (self.rows * across) as f64;
        let loads = self.rows as f64 / 2.0 + (across * row / FOUR) as f64;
        let step = products.max(loads).max(LATENCY);
        step * steps as f64 + LEAF + STORED * (down * across) as f64
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
fn best(shape: &Shape, row: i64, lanes: Lanes) -> Option<(f64, Tile)> {
    let steps = product([shape.in_channels / row, product(shape.taps.iter().copied())]);
    let (rows, columns) = match lanes {
        Lanes::Columns => (shape.out_channels, shape.columns()),
        Lanes::Channels => (shape.columns(), shape.out_channels),
    };
    let cut = |extent: i64, tile: i64| [(tile, extent / tile), (extent % tile, 1)];
    let mut best: Option<(f64, Tile)> = None;
    for tile_rows in even(rows) {
        for tile_columns in (1..=MOST_SUMS).map(|tiles| tiles * ROWS) {
            if tiles(tile_rows) * tiles(tile_columns) > MOST_SUMS {
                continue;
            }
            let mut cycles = 0.0;
            for (rows, down) in cut(rows, tile_rows) {
                for (columns, across) in cut(columns, tile_columns) {
                    if rows * columns * down * across > 0 {
                        let tile = Tile { rows, columns };
                        cycles += (down * across) as f64 * tile.cycles(steps, row);
                    }
                }
            }
            if best.is_none_or(|best| cycles < best.0) {
                best = Some((cycles, Tile { rows: tile_rows, columns: tile_columns }));
            }
        }
    }
    let others = product(shape.out.iter().skip(1).copied()) as f64;
    best.map(|(cycles, tile)| (cycles * others, tile))
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
    let can = target.has_tiles() && shape.column_step == 1 && shape.spelled_taps().is_none();
    let row = row(shape).filter(|_| can)?;
    let (cycles, tile) = best(shape, row, Lanes::Columns)?;
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
    let (cycles, tile) = best(shape, row, Lanes::Channels)?;
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
    let Tile { rows: tall, columns: wide } = tile;
    let mut extents = vec![(rows, tall), (lanes, wide)];
    extents.sort_by_key(|(role, _)| *role != Role::OutChannel);
    let schedule = Schedule {
        lanes: Some((lanes, ROWS)),
        tile: extents,
        pack: Pack::Blocks { channels: row },
        ..Schedule::default()
    };
    let sums = counted(tiles(tall) * tiles(wide), "tile");
    let reasons = vec![
        reason,
        format!(
            "tile of {tall} rows along {rows} and {wide} columns along {lanes}: {sums} of sums"
        ),
        format!("pack ic:{row}: {row} channels lie side by side and are multiplied at once"),
    ];
    Choice { schedule, reasons }
}
