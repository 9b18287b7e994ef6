//! Schedules and plans that nobody should write: legal ones with a few words changed, numbers as
//! large and as small as there are, and texts of random words.
//!
//! The rule that they are for: `check` accepts exactly what compiles to the right bits. What it
//! refuses, it refuses with a message; nothing panics, and nothing takes long.

use crate::drawn::{Drawn, drawn};
use crate::random_chains::{DrawnChain, drawn_chains};
use conv_ir::nest::Role;
use conv_ir::program::fuse::Strips;
use conv_ir::schedule::{Borders, Pack};
use conv_ir::{Layout, Schedule};
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt::Write;

/// Numbers around every limit.
const NUMBERS: [i64; 24] = [
    i64::MIN,
    -(1 << 40),
    -1,
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    15,
    16,
    64,
    65,
    512,
    1000,
    65535,
    65536,
    1 << 31,
    1 << 32,
    1 << 47,
    i64::MAX - 1,
    i64::MAX,
];

fn number() -> impl Strategy<Value = i64> {
    select(NUMBERS.to_vec())
}

fn role() -> impl Strategy<Value = Role> {
    let spatial = (0..9).flat_map(|at| [Role::Out(at), Role::Kernel(at)]);
    let others =
        [Role::Batch, Role::Group, Role::OutChannel, Role::InChannel, Role::Copy, Role::Param];
    // Those that mean something, more often than not.
    let usual = [Role::OutChannel, Role::Out(0), Role::Out(1), Role::Group, Role::InChannel];
    prop_oneof![2 => select(usual.to_vec()), 1 => select(spatial.chain(others).collect::<Vec<_>>())]
}

/// A change of one word, with a role and a number.
fn changed(mut schedule: Schedule, word: usize, role: Role, number: i64) -> Schedule {
    let index = |len: usize| number.unsigned_abs() as usize % len.max(1);
    match word {
        0 => schedule.lanes = Some((role, number)),
        1 => schedule.lanes = schedule.lanes.map(|(role, _)| (role, number)),
        2 => schedule.tile.push((role, number)),
        3 => {
            let at = index(schedule.tile.len());
            schedule.tile.iter_mut().skip(at).take(1).for_each(|t| t.1 = number);
        }
        4 => schedule.order.push(role),
        5 => schedule.order.reverse(),
        6 => schedule.cache = number,
        7 => schedule.borders = Borders::Panel { rows: number, columns: None },
        8 => schedule.borders = Borders::Mask,
        9 => schedule.borders = Borders::Exact,
        10 => schedule.unroll.push(role),
        11 => schedule.step = Some((role, number)),
        12 => schedule.pack = Pack::Panels { role, width: number },
        13 => schedule.pack = Pack::Tiles,
        14 => schedule.parallel = Some(role),
        15 => schedule.cache_in = number,
        16 => schedule.pack = Pack::Blocks { channels: number },
        _ => schedule.tile.retain(|t| t.0 != role),
    }
    schedule
}

/// A random convolution, and a schedule with up to three changes.
pub fn changed_schedules() -> impl Strategy<Value = Drawn> {
    let change = (0usize..18, role(), number());
    (drawn(), proptest::collection::vec(change, 1..=3)).prop_map(|(drawn, changes)| {
        let schedule =
            changes.into_iter().fold(drawn.schedule, |schedule, (word, role, number)| {
                changed(schedule, word, role, number)
            });
        Drawn { conv: drawn.conv, schedule }
    })
}

/// Texts of a schedule's words in any order, with axes and numbers where there may be some.
pub fn texts() -> impl Strategy<Value = String> {
    let words = [
        "lanes", "tile", "order", "cache", "borders", "unroll", "step", "pack", "parallel", "none",
        "exact", "mask", "oc", "ow", "oh", "g", "ic", "kh", "kw", "n", "od", "o7", "k7", ":", ",",
        "panel", "é", "",
    ];
    let item = prop_oneof![
        3 => select(words.to_vec()).prop_map(str::to_owned),
        3 => (select(words.to_vec()), number()).prop_map(|(word, n)| format!("{word}:{n}")),
        2 => (role(), 1i64..9).prop_map(|(role, n)| format!("{role}:{n}")),
    ];
    proptest::collection::vec((item, any::<bool>()), 0..12).prop_map(|items| {
        items.iter().fold(String::new(), |mut text, (item, apart)| {
            let _ = write!(text, "{item}{}", if *apart { " " } else { "" });
            text
        })
    })
}

/// Numbers of strips and chunks around every limit.
fn count() -> impl Strategy<Value = usize> {
    select(vec![
        0,
        1,
        2,
        3,
        7,
        100,
        4096,
        1 << 28,
        1 << 32,
        i64::MAX as usize,
        (i64::MAX as usize).wrapping_add(1),
        usize::MAX,
    ])
}

/// A random chain, and a plan with up to two changes.
pub fn changed_plans() -> impl Strategy<Value = DrawnChain> {
    let change = (0usize..9, 0usize..5, count());
    (drawn_chains(), proptest::collection::vec(change, 1..=2)).prop_map(|(mut drawn, changes)| {
        for (word, at, number) in changes {
            let groups = &mut drawn.plan.groups;
            let (count, at) = (groups.len(), at % groups.len().max(1));
            let Some(group) = groups.get_mut(at) else { continue };
            let alone = || Strips {
                rows: number,
                keep: vec![true; group.steps.len().min(8)],
                layouts: vec![Layout::ChannelsFirst; group.steps.len().min(8)],
                chunks: 1,
            };
            match (word, &mut group.strips) {
                (0, Some(strips)) => strips.rows = number,
                (1, Some(strips)) => strips.chunks = number,
                (2, Some(strips)) => strips.keep.resize(number % 6, false),
                (3, Some(strips)) => strips.layouts.resize(number % 6, Layout::ChannelsLast),
                (4, _) => group.steps.end = number,
                (5, _) => group.steps.start = number,
                (6, Some(_)) => group.strips = None,
                (6, None) => group.strips = Some(alone()),
                (7, _) if count > 1 => drop(groups.remove(at)),
                (8, _) => {
                    let twice = group.clone();
                    groups.push(twice);
                }
                _ => {}
            }
        }
        drawn
    })
}
