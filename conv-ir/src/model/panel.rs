//! Panels of the input: where columns are in the lanes, for edges that are no masks; where channels
//! are, for rows of channels whose own places push each other out of the cache.

use super::shape::{Shape, is_known, product};
use super::{LATENCY, counted};
use crate::Target;
use crate::nest::Role;
use crate::schedule::{Borders, Choice, MOST};

/// Cycles that a tile of channels waits for a row of a channel that others have pushed out of the
/// cache. Measured on Granite Rapids with AVX-512, 1x1 over 32x32, 512 to 512 channels, and 3x3
/// over 64x64, 256 to 256: 16 to 40. In a panel they take 0.57 and 0.7 of the time.
const CROWDED_OUT: f64 = 18.0;

/// Cycles of a row that is copied into a panel, beside its bytes.
const COPIED: f64 = 40.0;

/// Bytes a cycle that are copied there.
const COPY_RATE: f64 = 16.0;

/// Axes of a panel whose parts before, inside and behind the image are copied one by one.
const MOST_FOLDED: usize = 5;
/// Bytes of the largest panel, of which each thread has one. A picture of 4000 columns under a
/// window as high as 500 fits.
const LARGEST_PANEL: i64 = 16 << 20;
/// Bytes a cycle that are copied into a panel that leaves the second-level cache.
const FAR_RATE: f64 = 8.0;

/// Register tiles of a group.
pub(super) struct Tiles {
    /// Of channels.
    pub blocks: i64,
    /// Rows and columns of one.
    pub tall: i64,
    pub wide: i64,
    /// Of the image.
    pub count: f64,
}

/// Rows that are copied.
pub(super) struct Panel {
    /// Output rows whose input it holds, and columns where not all.
    rows: i64,
    columns: Option<i64>,
    /// How many panels a group's input fills.
    pub blocks: f64,
}

impl Panel {
    /// The panel that costs less than what it saves.
    pub(super) fn of(shape: &Shape, target: &Target, tiles: &Tiles) -> Option<Panel> {
        let Shape { in_channels, is_integer, phases, folds, .. } = *shape;
        let can = !is_integer && phases == 1 && !folds && !shape.channels_last;
        if !(can && tiles.blocks > 1 && shape.crowds(target)) {
            return None;
        }
        let (rows, columns) = near_rows(shape, target, tiles)?;
        let across = columns.unwrap_or(shape.columns());
        let down = (shape.rows() + rows - 1) / rows;
        let planes = product(shape.out.iter().skip(2).copied());
        let blocks = product([down, shape.columns() / across, planes]);
        let runs = product([blocks, in_channels, shape.planes(), high(shape, rows)]) as f64;
        let each = product([tiles.blocks, in_channels, shape.rows_under()]) as f64;
        let copy = runs * (COPIED + line(shape, across) as f64 / COPY_RATE);
        let blocks = blocks as f64;
        (copy < CROWDED_OUT * tiles.count * each).then_some(Panel { rows, columns, blocks })
    }

    /// Writes it down, and why.
    pub(super) fn put(&self, choice: &mut Choice, shape: &Shape) {
        let Panel { rows, columns, .. } = *self;
        choice.schedule.borders = Borders::Panel { rows, columns };
        choice.schedule.parallel = Some(Role::Out(usize::from(columns.is_none())));
        choice.reasons.push(format!(
            "borders panel:{rows}{}: {} input channels lie {} bytes apart and push each other out of the cache; their rows are copied side by side",
            columns.map_or(String::new(), |columns| format!("x{columns}")),
            shape.in_channels,
            shape.channel_step * shape.bytes as i64,
        ));
    }
}

/// Input rows under windows over so many output rows.
fn high(shape: &Shape, rows: i64) -> i64 {
    (rows - 1).saturating_mul(shape.row_step).saturating_add(shape.span(1))
}

/// Bytes of a row of a channel under windows over so many columns.
fn line(shape: &Shape, columns: i64) -> i64 {
    let elements = (columns - 1).saturating_mul(shape.column_step.max(1));
    elements.saturating_add(shape.span(0)).saturating_mul(shape.bytes as i64)
}

/// Output rows, and columns where those of whole rows are too many, whose input fills no more than
/// a quarter of the second-level cache: as many as there are, in even blocks.
fn near_rows(shape: &Shape, target: &Target, tiles: &Tiles) -> Option<(i64, Option<i64>)> {
    let Tiles { tall, wide, .. } = *tiles;
    let (rows, columns) = (shape.rows(), shape.columns());
    if !(is_known(rows) && is_known(columns)) {
        return None;
    }
    let fits = |rows: i64, columns: i64| {
        let all = [shape.in_channels, shape.planes(), high(shape, rows), line(shape, columns)];
        product(all) <= target.l2_bytes as i64 / 4
    };
    if !fits(tall, columns) {
        let mut parts = (4 * wide..=(columns / 2).min(MOST)).rev();
        let part = parts.find(|&n| columns % n == 0 && fits(tall, n));
        return part.map(|n| (tall, Some(n)));
    }
    let most = (1..=rows.min(MOST) / tall).rev().map(|n| n * tall);
    let most = most.into_iter().find(|&n| fits(n, columns)).unwrap_or(tall);
    let blocks = (rows + most - 1) / most;
    let even = (rows + blocks - 1) / blocks;
    Some(((even + tall - 1) / tall * tall, None))
}

/// Where lanes run along the columns, an edge inside a vector must be a panel or a scalar tile.
pub(super) fn borders(choice: &mut Choice, shape: &Shape, target: &Target, tile_rows: i64) {
    if !(shape.ragged || shape.folds) || !target.packs {
        return;
    }
    if !is_known(shape.columns()) {
        choice.reasons.push("borders exact: a row is as long as its run says".to_owned());
        return;
    }
    let window = shape.span(1);
    let row =
        shape.columns().saturating_mul(shape.column_step.max(1)).saturating_add(shape.span(0));
    let row_bytes = product([shape.in_channels, shape.planes(), row, shape.copied_bytes(target)]);
    let panel_bytes = |rows: i64| {
        // One row at a time, the rows between taps are left out.
        let window = if rows == 1 { shape.taps.get(1).copied().unwrap_or(1) } else { window };
        let rows = rows.saturating_mul(shape.row_step).saturating_add(window);
        rows.saturating_mul(row_bytes)
    };
    let room = target.l2_bytes as i64 / 2;
    if shape.folds && shape.taps.len() > MOST_FOLDED {
        choice.reasons.push(format!(
            "borders exact: a panel of more than {MOST_FOLDED} axes that fold takes too many copies"
        ));
        return;
    }
    if panel_bytes(tile_rows) > room {
        // A higher window reads the image from beyond the cache, too. Half a window of rows at a
        // time are copied three times.
        let rows = ((window / 2).min(shape.rows()).min(MOST) / tile_rows).max(1) * tile_rows;
        let copied = panel_bytes(rows) / rows;
        let edges = scalar_edges(shape);
        if panel_bytes(rows) > LARGEST_PANEL {
            let why = "borders exact: rows are too long for a panel; edges get scalar tiles";
            choice.reasons.push(why.to_owned());
        } else if copied as f64 / FAR_RATE > edges {
            choice.reasons.push(format!(
                "borders exact: edges get scalar tiles, {edges:.0} cycles a row; a panel would copy {copied} bytes"
            ));
        } else {
            choice.schedule.borders = Borders::Panel { rows, columns: None };
            choice.reasons.push(format!(
                "borders panel:{rows}: padded rows of {row_bytes} bytes are copied for {}, {} KiB beyond L2; scalar tiles at the edges would take {edges:.0} cycles a row",
                counted(rows, "output row"),
                panel_bytes(rows) / 1024
            ));
        }
        return;
    }
    // More rows copy their common rows once; half of L1 is enough to make that cheap, L2 is the
    // limit.
    let whole_tiles = |rows: i64| rows.min(shape.rows()).min(MOST) / tile_rows * tile_rows;
    let within = |bytes: i64| whole_tiles((bytes / row_bytes - window) / shape.row_step);
    let (high, low) = (within(target.l1_bytes as i64 / 2), within(room));
    let most = match high > 4 * window {
        true => high,
        false => low.min(whole_tiles(4 * window)).max(tile_rows),
    };
    let rows =
        if most * 2 > shape.rows() && shape.rows() <= MOST && panel_bytes(shape.rows()) <= room {
            shape.rows()
        } else {
            most
        };
    choice.schedule.borders = Borders::Panel { rows, columns: None };
    choice.reasons.push(format!(
        "borders panel:{rows}: padded rows of {row_bytes} bytes are copied once for {}, {} KiB in cache",
        counted(rows, "output row"),
        panel_bytes(rows) / 1024
    ));
}

/// Cycles of the outputs of a row, of all channels, whose windows reach over an edge, where each is
/// a tile of its own: one sum, whose multiply-adds wait for each other.
fn scalar_edges(shape: &Shape) -> f64 {
    let outside = (shape.taps[0] - 1).min(shape.columns());
    LATENCY * outside as f64 * shape.out_channels as f64 * shape.steps() as f64
}
