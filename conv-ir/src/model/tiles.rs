//! Bytes in tiles: sixteen rows of 64 bytes times sixteen columns are one instruction, where a
//! machine has it. What it takes is counted beside what vectors take.
//!
//! Where columns are innermost, the rows are weights, so many channels of the input side by side,
//! and the columns are those of a panel of fours. Where channels are, rows are the input's own
//! pixels.

use super::counted;
use super::shape::{Shape, product};
use crate::Target;
use crate::nest::{FOUR, Role};
use crate::schedule::{Choice, Pack, Schedule};

/// Rows of a tile, and its columns.
const ROWS: i64 = 16;
/// Bytes of a row.
const ROW: i64 = 64;
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
        let down = (self.rows + ROWS - 1) / ROWS;
        let across = (self.columns + ROWS - 1) / ROWS;
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

/// Cycles of all leaves where so many channels and columns are cut in tiles; the best tile.
fn best(shape: &Shape, row: i64, by_columns: bool) -> Option<(f64, Tile)> {
    let steps = product([shape.in_channels / row, product(shape.taps.iter().copied())]);
    let (channels, columns) = (shape.out_channels, shape.columns());
    let cut = |extent: i64, tile: i64| [(tile, extent / tile), (extent % tile, 1)];
    // As even as they can be.
    let sizes = (1..=MOST_SUMS).map(|tiles| {
        let parts = (channels + tiles * ROWS - 1) / (tiles * ROWS);
        (channels + parts - 1) / parts
    });
    let mut best: Option<(f64, Tile)> = None;
    for of_channels in sizes {
        for of_columns in (1..=MOST_SUMS).map(|tiles| tiles * ROWS) {
            let of_columns = if by_columns { of_columns } else { of_columns.min(columns) };
            let tiles = |extent: i64| (extent + ROWS - 1) / ROWS;
            if tiles(of_channels) * tiles(of_columns) > MOST_SUMS {
                continue;
            }
            let mut cycles = 0.0;
            for (some_channels, blocks) in cut(channels, of_channels) {
                for (some_columns, wide) in cut(columns, of_columns) {
                    if some_channels * some_columns * blocks * wide > 0 {
                        let tile = match by_columns {
                            true => Tile { rows: some_channels, columns: some_columns },
                            false => Tile { rows: some_columns, columns: some_channels },
                        };
                        cycles += (blocks * wide) as f64 * tile.cycles(steps, row);
                    }
                }
            }
            let tile = Tile { rows: of_channels, columns: of_columns };
            if best.is_none_or(|best| cycles < best.0) {
                best = Some((cycles, tile));
            }
        }
    }
    let others = product(shape.out.iter().skip(1).copied()) as f64;
    best.map(|(cycles, tile)| (cycles * others, tile))
}

/// Whether so many cycles are fewer than those of vectors.
fn pays(shape: &Shape, cycles: f64) -> bool {
    let outputs = product(shape.out.iter().copied());
    let products = product([shape.steps(), shape.out_channels, outputs]) as f64;
    CLEARLY * cycles < products / OF_VECTORS
}

/// Columns in the lanes, if that is worth it: lanes and tile of a schedule, and its rows.
pub(super) fn of_columns(shape: &Shape, target: &Target) -> Option<Choice> {
    let row = row(shape).filter(|_| target.has_tiles() && shape.column_step == 1)?;
    let (cycles, tile) = best(shape, row, true)?;
    pays(shape, cycles).then(|| {
        let lanes = Some((Role::Out(0), ROWS));
        let reason = format!(
            "lanes ow:{ROWS}: columns load and store as vectors, weights are rows of tiles"
        );
        choice(tile, row, lanes, reason)
    })
}

fn choice(tile: Tile, row: i64, lanes: Option<(Role, i64)>, reason: String) -> Choice {
    let tiles = |extent: i64| (extent + ROWS - 1) / ROWS;
    let extents = vec![(Role::OutChannel, tile.rows), (Role::Out(0), tile.columns)];
    let schedule = Schedule {
        lanes,
        tile: extents,
        pack: Pack::Blocks { channels: row },
        ..Schedule::default()
    };
    let sums = counted(tiles(tile.rows) * tiles(tile.columns), "tile");
    let reasons = vec![
        reason,
        format!("tile oc:{} x ow:{}: {sums} of sums", tile.rows, tile.columns),
        format!("pack ic:{row}: {row} channels lie side by side and are multiplied at once"),
    ];
    Choice { schedule, reasons }
}
