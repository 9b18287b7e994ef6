//! Schedules that are worth timing, beside the model's choice.
//!
//! The model is right to a few percent, and knows only what it counts. What it thinks nearly as
//! good is tried on the machine: the best tiles with channels and with columns in the lanes, the
//! places of the loop over channels, and shorter or longer steps. All are legal to the model;
//! a route may refuse some.

use super::shape::Shape;
use super::{can_mask, channels, choose_for, columns, order, spelled_where_cheap, taps, with_room};
use crate::lower::Layouts;
use crate::schedule::{Choice, Pack, Schedule};
use crate::{Conv, Target, passes};

/// A tile that is expected to take more than this many times the best one's cycles is not tried.
const FAR_OFF: f64 = 1.5;

/// Places of the loop over channels that are tried for a tile.
const PLACES: usize = 4;

/// Tiles of each kind of lanes.
const TILES: usize = 10;

impl Schedule {
    /// Schedules to be timed, the model's choice first, then by what the model expects of them; at
    /// most so many, each of them once.
    ///
    /// ```
    /// use conv_ir::{Conv, Schedule, Target};
    /// let conv: Conv = "conv2d ic64 oc64 in 56 kernel 3 pad 1".parse()?;
    /// let all = Schedule::candidates(&conv, &Target::AVX2, 40);
    /// assert_eq!(all[0], Schedule::choose(&conv, &Target::AVX2).schedule);
    /// assert!(all.len() > 10);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn candidates(conv: &Conv, target: &Target, most: usize) -> Vec<Schedule> {
        let canonical = passes::canonical_as(conv, Layouts::of(conv));
        let first = choose_for(conv, &canonical, target).schedule;
        let target = &with_room(&canonical, target);
        let shape = &spelled_where_cheap(Shape::of(&canonical), target);
        let mut all = vec![first.clone()];
        let mut add = |schedule: Schedule| {
            if !all.contains(&schedule) {
                all.push(schedule);
            }
        };
        // Integers that are multiplied four at a time have one way.
        if !shape.is_integer {
            // The choice's own tile elsewhere, then every tile where it is best; in turns, so that
            // a short list has some of each.
            let own = places(&first, shape, target).into_iter();
            let others = tiles(shape, target).into_iter().flat_map(|choice| {
                let orders = order::orders(&choice, shape, target);
                orders.into_iter().take(2).map(|choice| choice.schedule)
            });
            own.chain(others).for_each(&mut add);
            steps(&first).into_iter().for_each(&mut add);
        }
        all.truncate(most.max(1));
        all
    }
}

/// The same tile with the loop over channels in other places.
fn places(schedule: &Schedule, shape: &Shape, target: &Target) -> Vec<Schedule> {
    let plain = Schedule { order: Vec::new(), cache: 0, cache_in: 0, ..schedule.clone() };
    let choice = Choice { schedule: plain, reasons: Vec::new() };
    let orders = order::orders(&choice, shape, target).into_iter();
    orders.take(PLACES).map(|choice| choice.schedule).collect()
}

/// Shorter and longer steps of the loop around the repeated taps.
fn steps(schedule: &Schedule) -> Vec<Schedule> {
    let Some((role, step)) = schedule.step else { return Vec::new() };
    let others = [step / 2, step * 2].into_iter().filter(|step| (1..=64).contains(step));
    let others = others.map(|step| Some((role, step)).filter(|_| step > 1));
    others.map(|step| Schedule { step, ..schedule.clone() }).collect()
}

/// The best tiles of each kind of lanes, in turns.
fn tiles(shape: &Shape, target: &Target) -> Vec<Choice> {
    let by_channels = match shape.out_channels > 1 {
        true => near(channels::tiles(shape, target)),
        false => Vec::new(),
    };
    let by_columns = match can_mask(shape, target) {
        true => near(columns::tiles(shape, target)),
        false => Vec::new(),
    };
    let mut all = Vec::new();
    for at in 0..by_channels.len().max(by_columns.len()) {
        if let Some(tile) = by_channels.get(at) {
            all.push(finished(shape, target, |choice| {
                channels::tiled(choice, shape, target, *tile);
            }));
        }
        if let Some(tile) = by_columns.get(at) {
            all.push(finished(shape, target, |choice| {
                columns::masked(choice, shape, target, *tile);
            }));
        }
    }
    all
}

/// Those that the model thinks near the best of their kind, the best first.
fn near<T>(mut tiles: Vec<(f64, T)>) -> Vec<T> {
    tiles.sort_by(|a, b| a.0.total_cmp(&b.0));
    let most = tiles.first().map_or(0.0, |tile| FAR_OFF * tile.0);
    tiles.into_iter().take_while(|tile| tile.0 <= most).take(TILES).map(|tile| tile.1).collect()
}

/// A schedule of a tile without the order of its loops.
fn finished(shape: &Shape, target: &Target, tile: impl FnOnce(&mut Choice)) -> Choice {
    let mut choice = Choice { schedule: Schedule::default(), reasons: Vec::new() };
    tile(&mut choice);
    if target.packs {
        choice.schedule.pack = Pack::Tiles;
    }
    taps(&mut choice, shape, target);
    choice.schedule.step = choice.schedule.step.filter(|step| step.1 > 1);
    choice
}
