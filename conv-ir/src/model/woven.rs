//! Bytes with columns innermost: rows of the input are copied into a panel that has four channels
//! side by side, so that an instruction multiplies them at once. Which tile then: columns in the
//! lanes, which load and store as vectors, or channels, whose lanes are stored one by one.
//!
//! Both are priced by counting, in cycles of a plane, all channels and steps.

use super::channels::{self, channel_lanes};
use super::order;
use super::shape::{Shape, is_known, product};
use super::{
    CROWDED, L2_RATE, LATENCY, PAIR_CYCLES, channels_of, counted, dots, fma_cycles, step_of_dots,
    taps, tiles, with_dots,
};
use crate::Target;
use crate::nest::{FOUR, Role};
use crate::schedule::{Borders, Choice, MOST, Pack, Schedule};

/// Cycles of a byte that is stored beside others of its row, whose lanes are channels: turning, and
/// its part of an extraction and a store.
const STORED_ALONE: f64 = 0.25;
/// Cycles of a vector of sums that is scaled, narrowed and stored.
const STORED: f64 = 6.0;
/// Of the cycles that vectors from the second-level cache take, what is not hidden. Measured on
/// Granite Rapids, 1x1 over 14x14, 1024 to 512 channels: 5 x 5 channels and vectors take 1.17 times
/// as long as 14 x 2.
const FAR: f64 = 0.3;
/// Rows of the highest tile.
const HIGHEST: i64 = 8;

/// Columns in the lanes.
#[derive(Clone, Copy)]
struct Tile {
    channels: i64,
    rows: i64,
    vectors: i64,
}

/// The schedule; none where no such panel can be, or it leaves the second-level cache.
pub(super) fn choose_woven(shape: &Shape, target: &Target) -> Option<Choice> {
    let is_known = is_known(shape.columns()) && is_known(shape.rows());
    let can =
        shape.woven.is_some() && target.dots.are_several() && target.packs && shape.panel.is_none();
    if !can || !is_known || shape.phases > 1 || shape.columns() < 2 {
        return None;
    }
    // What a stride steps over is not copied.
    let dense = |taps: i64, step: i64| if taps == 1 { step.min(1) } else { step };
    let column_step = dense(shape.taps[0], shape.column_step);
    let row_step = dense(shape.taps.get(1).copied().unwrap_or(1), shape.row_step);
    let shape = &Shape { column_step, row_step, ..shape.clone() };
    let fours = &Shape { keeps_sums: false, ..shape.in_dots(target) };
    let target = &with_dots(target);
    if let Some(mut choice) = tiles::of_columns(shape, target) {
        copied(&mut choice, shape, target)?;
        order::order(&mut choice, fours, target);
        return Some(choice);
    }
    let lanes = target.lanes(shape.bytes) as i64;
    let columns = if shape.column_step == 1 { best(fours, target) } else { None };
    let alone = product([shape.out_channels, shape.rows(), shape.columns()]) as f64 * STORED_ALONE;
    let by_channels = channels::best(fours, target).map(|best| best.0 + alone);
    let mut choice = Choice { schedule: Schedule::default(), reasons: Vec::new() };
    match (columns, by_channels) {
        (Some((cycles, tile)), other) if other.is_none_or(|other| cycles <= other) => {
            let Tile { channels, rows, vectors } = tile;
            choice.schedule.lanes = Some((Role::Out(0), lanes));
            let tile = [
                (Role::OutChannel, channels),
                (Role::Out(1), rows),
                (Role::Out(0), vectors * lanes),
            ];
            choice.schedule.tile = tile.into_iter().filter(|t| t.1 > 1).collect();
            choice.reasons.push(format!(
                "lanes ow:{lanes}: columns load and store as vectors, four weights are a splat"
            ));
            choice.reasons.push(format!(
                "tile {} x {} x {}: {} accumulators",
                counted(channels, "channel"),
                counted(rows, "row"),
                counted(vectors, "vector"),
                channels * rows * vectors
            ));
        }
        (_, Some(_)) => channel_lanes(&mut choice, fours, target),
        (_, None) => return None,
    }
    choice.schedule.pack = Pack::Tiles;
    copied(&mut choice, shape, target)?;
    taps(&mut choice, fours, target);
    choice.reasons.push(dots(target));
    choice.schedule.step = step_of_dots(choice.schedule.step, target);
    order::order(&mut choice, fours, target);
    Some(choice)
}

/// The rows of the panel; none where it leaves the second-level cache.
fn copied(choice: &mut Choice, shape: &Shape, target: &Target) -> Option<()> {
    let tile_rows = choice.schedule.tile_of(Role::Out(1));
    // In tiles each tap under a stride has columns of its own.
    let are_apart = choice.schedule.pack != Pack::Tiles && shape.column_step > 1;
    let (rows, bytes) = panel(shape, target, tile_rows, are_apart)?;
    choice.schedule.borders = Borders::Panel { rows, columns: None };
    choice.reasons.push(format!(
        "borders panel:{rows}: padded rows of the input are copied for {}, {FOUR} channels side by side, {} KiB in cache",
        counted(rows, "output row"),
        bytes / 1024
    ));
    Some(())
}

/// Output rows of a panel that stays in the second-level cache, and its bytes: all of them, or as
/// many tiles as divide them, or as fit.
fn panel(shape: &Shape, target: &Target, high: i64, are_apart: bool) -> Option<(i64, i64)> {
    let blocks = (shape.in_channels + FOUR - 1) / FOUR;
    let row = match are_apart {
        true => shape.columns().saturating_mul(shape.taps[0]),
        false => shape.columns().saturating_mul(shape.column_step).saturating_add(shape.span(0)),
    };
    let row = product([blocks, FOUR, shape.planes(), row]);
    let window = shape.span(1);
    let bytes = |rows: i64| {
        (rows - 1).saturating_mul(shape.row_step).saturating_add(window).saturating_mul(row)
    };
    let fits = |rows: &i64| *rows <= MOST && bytes(*rows) <= target.l2_bytes as i64 / 4 * 3;
    let all = shape.rows();
    let mut some = (1..all / high).rev().map(|tiles| tiles * high).filter(fits);
    let rows = match fits(&all) {
        true => Some(all),
        false => {
            let most = some.next();
            some.take_while(|rows| 2 * rows >= most.unwrap_or(0))
                .find(|rows| all % rows == 0)
                .or(most)
        }
    };
    rows.map(|rows| (rows, bytes(rows)))
}

/// The best tile of columns, and its cycles.
fn best(shape: &Shape, target: &Target) -> Option<(f64, Tile)> {
    let lanes = target.lanes(shape.bytes) as i64;
    let across = shape.vectors_across(lanes);
    let mut best: Option<(f64, Tile)> = None;
    for channels in 1..=shape.out_channels.min(28) {
        for (rows, vectors) in
            (1..=shape.rows().min(HIGHEST)).flat_map(|r| (1..=across.min(8)).map(move |v| (r, v)))
        {
            let tile = Tile { channels, rows, vectors };
            let sums = rows * vectors * channels;
            let others = match shape.in_pairs {
                true => 0,
                false => channels.min(rows * vectors) + shape.beside * channels,
            };
            if rows > 1 && vectors < across || !target.fits(sums, others) {
                continue;
            }
            let cycles = tile.cycles(shape, target, across);
            if best.is_none_or(|b| cycles < b.0) {
                best = Some((cycles, tile));
            }
        }
    }
    best
}

impl Tile {
    fn cycles(self, shape: &Shape, target: &Target, across: i64) -> f64 {
        let cut = |extent: i64, tile: i64| [(tile, extent / tile), (extent % tile, 1)];
        let mut cycles = 0.0;
        for (channels, blocks) in cut(shape.out_channels, self.channels) {
            for (rows, tall) in cut(shape.rows(), self.rows) {
                for (vectors, wide) in cut(across, self.vectors) {
                    let tile = Tile { channels, rows, vectors };
                    if channels * rows * vectors > 0 {
                        cycles += (blocks * tall * wide) as f64 * tile.all_steps(shape, target);
                    }
                }
            }
        }
        cycles
    }

    fn all_steps(self, shape: &Shape, target: &Target) -> f64 {
        let fma = fma_cycles(target, target.vector_bytes as i64);
        let (sums, vectors) = (self.channels * self.rows * self.vectors, self.rows * self.vectors);
        let beside = shape.beside * (self.channels + vectors);
        // Most vectors lie across two lines.
        let loads = (2 * vectors + self.channels) as f64 / 2.0;
        // Under a window rows stay near while its taps pass.
        let panel =
            product([shape.in_channels, channels_of(target), shape.rows(), shape.columns()]);
        let near = product(shape.taps.iter().take(2).copied()).max(1);
        let from_l2 = match panel > target.l1_bytes as i64 / 2 {
            true => (vectors * target.vector_bytes as i64) as f64 / near as f64 / L2_RATE,
            false => 0.0,
        };
        let (busy, loads) = match shape.in_pairs {
            // Each product has the weights as a splat of its own, and vectors are halved.
            true => {
                let loads = (vectors + sums) as f64 / 2.0;
                (((2 * sums + vectors) as f64 * PAIR_CYCLES).max(loads), loads)
            }
            false => (((sums + beside) as f64 * fma).max(loads).max(LATENCY), loads),
        };
        let step = busy.max(from_l2) + CROWDED * loads + FAR * from_l2;
        step * shape.steps() as f64 + STORED * sums as f64 + 30.0
    }
}
