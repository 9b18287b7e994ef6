//! The model: a schedule from (convolution, target), with a reason for each decision.
//!
//! It looks at the canonical nest, so that it speaks of the axes that schedules speak of. The rules
//! come from register and load counting; constants that were measured say so. It never fails: what
//! fits no rule gets the scalar schedule.

mod candidates;
mod channels;
mod columns;
mod order;
mod panel;
mod shape;
#[cfg(test)]
mod tests;
mod tiles;
mod unroll;
mod woven;

use crate::lower::{Layouts, Within};
use crate::nest::{FOUR, Nest, Role};
use crate::schedule::{Choice, Pack, Schedule};
use crate::{Conv, Dots, Target, passes};
use channels::channel_lanes;
use columns::column_lanes;
use shape::{Shape, is_known};
use unroll::taps;

impl Schedule {
    /// The model's choice.
    ///
    /// ```
    /// use conv_ir::{Conv, Schedule, Target};
    /// let conv: Conv = "conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 pad 1".parse()?;
    /// let choice = Schedule::choose(&conv, &Target::CRANELIFT);
    /// assert_eq!(choice.schedule.tile_of(conv_ir::nest::Role::OutChannel), 8);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn choose(conv: &Conv, target: &Target) -> Choice {
        Schedule::choose_as(conv, Layouts::of(conv), target)
    }

    /// The model's choice where arrays are laid out like this.
    pub fn choose_as(conv: &Conv, layouts: Layouts, target: &Target) -> Choice {
        choose_for(conv, &passes::canonical_as(conv, layouts), target)
    }

    /// The model's choice where arrays are boxes of larger ones; none where one is smaller than its
    /// box.
    pub fn choose_within(conv: &Conv, within: &Within, target: &Target) -> Option<Choice> {
        Some(choose_for(conv, &passes::canonical_within(conv, within)?, target))
    }

    /// The model's choices for several machines that read the same packed weights, in panels as
    /// wide as the first machine's lanes.
    ///
    /// ```
    /// use conv_ir::{Conv, Schedule, Target};
    /// let conv: Conv = "conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 pad 1".parse()?;
    /// let [wide, narrow] = Schedule::choose_together(&conv, [&Target::AVX512, &Target::AVX2]);
    /// assert_eq!(wide.schedule.pack, narrow.schedule.pack);
    /// assert!(narrow.schedule.to_string().contains("lanes oc:8 tile oc:16"));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn choose_together<const N: usize>(conv: &Conv, targets: [&Target; N]) -> [Choice; N] {
        Schedule::choose_together_as(conv, Layouts::of(conv), targets)
    }

    /// The same where arrays are laid out like this.
    pub fn choose_together_as<const N: usize>(
        conv: &Conv,
        layouts: Layouts,
        targets: [&Target; N],
    ) -> [Choice; N] {
        choose_for_all(conv, &passes::canonical_as(conv, layouts), targets)
    }

    /// The same where arrays are boxes of larger ones; none where one is smaller than its box.
    pub fn choose_together_within<const N: usize>(
        conv: &Conv,
        within: &Within,
        targets: [&Target; N],
    ) -> Option<[Choice; N]> {
        Some(choose_for_all(conv, &passes::canonical_within(conv, within)?, targets))
    }
}

fn choose_for_all<const N: usize>(
    conv: &Conv,
    canonical: &Nest,
    targets: [&Target; N],
) -> [Choice; N] {
    // Emitted code has its scratch on the stack, and its caches are any machine's.
    let shape = Shape { keeps_sums: false, ..Shape::of(canonical) };
    let targets = targets.map(|target| with_room(canonical, target));
    let shape = match targets.first() {
        Some(target) => spelled_where_cheap(shape, target),
        None => shape,
    };
    let mut first: Option<(LanesOn, Pack)> = None;
    targets.each_ref().map(|target| {
        let on = first.map_or_else(|| pick_lanes(&shape, target), |f| f.0);
        let mut shape = shape.clone();
        shape.panel = first.and_then(|(_, pack)| pack.panel());
        let mut choice = choose(&shape, target, on);
        choice.reasons.splice(0..0, interleaved(conv, &shape));
        if choice.schedule.pack != Pack::No {
            choice.schedule.pack = first.get_or_insert((on, choice.schedule.panels())).1;
        }
        choice
    })
}

/// Registers that integers need beside: the product, which is no part of a multiply-add, and the
/// splat, which is widened and so no operand in memory.
const INTEGERS_NEED: usize = 2;

/// The target, with as many registers as are left for a tile.
fn with_room(canonical: &Nest, target: &Target) -> Target {
    let need = if canonical.dtype.is_integer() { INTEGERS_NEED } else { 0 };
    Target { vector_registers: target.vector_registers.saturating_sub(need), ..*target }
}

fn choose_for(conv: &Conv, canonical: &Nest, target: &Target) -> Choice {
    let target = &with_room(canonical, target);
    let shape = spelled_where_cheap(Shape::of(canonical), target);
    let on =
        if is_in_columns(&shape, target) { LanesOn::Columns } else { pick_lanes(&shape, target) };
    let mut choice = choose(&shape, target, on);
    choice.reasons.splice(0..0, interleaved(conv, &shape));
    choice
}

/// What `canonicalise` made of channels that stand innermost.
fn interleaved(conv: &Conv, shape: &Shape) -> Option<String> {
    let groups = conv.spec().groups;
    (groups > 1 && shape.groups == 1).then(|| {
        format!("canonical: {groups} interleaved channels under one window are columns of one")
    })
}

fn choose(shape: &Shape, target: &Target, on: LanesOn) -> Choice {
    if let Some(choice) = woven::choose_woven(shape, target) {
        return choice;
    }
    let mut choice = Choice { schedule: Schedule::default(), reasons: Vec::new() };
    if matches!(on, LanesOn::Channels) && takes_fours(shape, target) {
        let in_tiles = tiles::of_channels(shape, target);
        return in_tiles.unwrap_or_else(|| choose_fours(choice, shape, target));
    }
    match on {
        LanesOn::Channels => channel_lanes(&mut choice, shape, target),
        LanesOn::Groups => group_lanes(&mut choice, shape, target),
        LanesOn::Columns => column_lanes(&mut choice, shape, target),
        LanesOn::Nothing => {
            choice.reasons.push("scalar: no axis is as long as a vector".to_owned())
        }
    }
    if target.packs {
        choice.schedule.pack = Pack::Tiles;
    }
    taps(&mut choice, shape, target);
    // One at a time is no step.
    choice.schedule.step = choice.schedule.step.filter(|step| step.1 > 1);
    order::order(&mut choice, shape, target);
    choice
}

/// Whether four bytes are multiplied at a time where channels are in the lanes.
fn takes_fours(shape: &Shape, target: &Target) -> bool {
    target.dots.are_several() && target.packs && shape.fours.is_some() && shape.panel.is_none()
}

/// Channels in the lanes, and in each of them four channels of the input at a time: priced as sums
/// of elements of 32 bits.
fn choose_fours(mut choice: Choice, shape: &Shape, target: &Target) -> Choice {
    let (shape, target) = (&shape.in_dots(target), &with_dots(target));
    channel_lanes(&mut choice, shape, target);
    choice.schedule.pack = Pack::Tiles;
    taps(&mut choice, shape, target);
    choice.reasons.push(dots(target));
    choice.schedule.step = step_of_dots(choice.schedule.step, target);
    order::order(&mut choice, shape, target);
    choice.schedule.cache_in *= channels_of(target);
    choice
}

/// Registers beside the sums of products of words: the bytes of a splat, half of them as words, and
/// the product of those with weights, which are an operand in memory.
const PAIRS_NEED: usize = 3;

/// The target as sums of several products at a time see it. An instruction for four adds to its
/// sum, so that its product needs no register; the splat has one.
fn with_dots(target: &Target) -> Target {
    let vector_registers = target.vector_registers + INTEGERS_NEED;
    let step_registers = if target.dots == Dots::Pairs { PAIRS_NEED } else { 1 };
    Target { vector_registers, step_registers, ..*target }
}

/// Channels of the input in a lane of an instruction.
const fn channels_of(target: &Target) -> i64 {
    if matches!(target.dots, Dots::Pairs) { FOUR / 2 } else { FOUR }
}

/// Why channels lie side by side.
fn dots(target: &Target) -> String {
    let products = match target.dots {
        Dots::Pairs => "two products of words",
        Dots::One | Dots::Fours => "one product",
    };
    format!("dots: {FOUR} channels lie side by side and make {products}")
}

/// Steps of lanes as steps of channels.
fn step_of_dots(step: Option<(Role, i64)>, target: &Target) -> Option<(Role, i64)> {
    let channels = |(role, step)| match role {
        Role::InChannel => (role, channels_of(target) * step),
        _ => (role, step),
    };
    step.filter(|step| step.1 > 1).map(channels)
}

#[derive(Clone, Copy)]
enum LanesOn {
    Channels,
    Groups,
    Columns,
    Nothing,
}

fn pick_lanes(shape: &Shape, target: &Target) -> LanesOn {
    let lanes = target.lanes(shape.bytes) as i64;
    let depthwise = shape.in_channels == 1 && shape.groups > 1;
    if !target.packs && shape.columns() >= lanes {
        return LanesOn::Columns;
    }
    // Known taps that are spelled out cost less than lanes full of channels.
    if shape.spelled_taps().is_some() && shape.columns() >= lanes {
        return LanesOn::Columns;
    }
    let masks = can_mask(shape, target) && shape.columns() > 1;
    let few = shape.out_channels * 4 < lanes * 3;
    if target.vector_bytes > 16 && shape.out_channels > 1 && few && !shape.channels_last {
        return cheaper(shape, target, masks);
    }
    // Three channels of four lanes still beat columns that must be gathered or scattered.
    if shape.out_channels * 4 >= lanes * 3
        && !(depthwise && (masks || shape.column_step == 1) && !shape.channels_last)
    {
        return LanesOn::Channels;
    }
    if shape.channels_last
        && shape.groups >= lanes
        && shape.out_channels == 1
        && shape.in_channels == 1
    {
        return LanesOn::Groups;
    }
    if masks || shape.columns() >= lanes {
        return LanesOn::Columns;
    }
    if shape.out_channels > 1 { LanesOn::Channels } else { LanesOn::Nothing }
}

/// Sums of so few steps that turning a tile of channels, to store its rows, takes long beside them.
const SHORT: i64 = 32;
/// Sums for which turning is still dear enough to be compared with columns, of which no tile is
/// turned.
const SOME: i64 = 96;

/// Whether channels that could be in the lanes fill them badly, or are stored too often, and
/// columns are cheaper: where a splat of each weight is an operand, a tile may have many channels.
/// Those of integers are widened, and so no operands.
///
/// Measured on Zen 5, with channels and with columns in the lanes: 1x1 over 56x56, 144 to 24
/// channels, 73 and 97 % of the peak; 3x3 over 160x160, 96 to 24, 69 and 89 %; 1x1 over 112x112,
/// 16 to 96, 74 and 84 %. With AVX2: 1x1 over 64 columns, 8 to 8 channels, 24 and 56 %; over
/// 112x112, 32 to 16, 82 and 99 %; 3x3 over 160x160, 16 to 20, 84 and 98 %; over 56x56, 16 groups
/// of 9 channels, 52 and 95 %; over 14x14, where columns fill vectors badly as well, 64 to 36, 85
/// and 76 %. On Granite Rapids, times with columns by those with channels: two taps over 4000
/// columns, 32 to 64, 0.90; 3x3x3 over 16x112x112, 3 to 64, 0.88; of longer sums 9x9 over 256x256,
/// 3 to 64, 1.06, and of more channels 1x1 over 56x56, 64 to 256, 1.12.
fn is_in_columns(shape: &Shape, target: &Target) -> bool {
    let lanes = target.lanes(shape.bytes) as i64;
    let fill = |extent: i64| {
        let padded = extent.saturating_add(lanes - 1) / lanes * lanes;
        extent.saturating_mul(10) > padded.saturating_mul(9)
    };
    let steps = shape.steps() / shape.phases;
    let is_short = steps <= SHORT;
    let embeds = target.isa.machine().embeds_broadcasts;
    // The price of a turn is that of several vectors, which go through the ports side by side.
    let turns_one = !embeds && is_short && shape.out_channels <= lanes;
    // Tiles of AVX2 are hardly wider than a line either way.
    let is_far = embeds && shape.waits(target, 1) > 0.0;
    let pays = match embeds {
        _ if is_far => true,
        true => {
            // A tile has few channels, so that many of them read the image often.
            let few = steps <= SOME && shape.out_channels <= 4 * lanes && fill(shape.columns());
            !fill(shape.out_channels) || is_short || shape.phases > 1 || few
        }
        false if is_short => fill(shape.columns()),
        false => !fill(shape.out_channels),
    };
    // Nor is it known how far apart the rows of channels are, which those of a phase read often: in
    // the same sets of the cache 3x3 with stride 2, transposed, takes 0.86 of the time with
    // channels.
    let is_clear = fill(shape.columns()) && (!embeds || shape.phases == 1) && !is_far;
    let margin = if is_clear { 1.0 } else { CLEARLY };
    pays && shape.out_channels * 4 >= lanes * 3
        && shape.in_channels > 1
        && !shape.is_integer
        && shape.column_step == 1
        && can_mask(shape, target)
        && shape.columns() >= lanes
        && (turns_one || by_columns(shape, target, true) * margin < by_channels(shape, target))
}

/// Taps that are spelled out leave room for few outputs in a leaf: where little of them is zero,
/// and multiply-adds would wait for each other, known weights are packed as others are.
fn spelled_where_cheap(shape: Shape, target: &Target) -> Shape {
    let (Some(all), Some(some)) = (shape.spelled_taps(), shape.known_taps) else {
        return shape;
    };
    let all = (all * shape.out_channels) as f64;
    let packed = Shape { known_taps: None, ..shape.clone() };
    let cycles = |shape: &Shape| match can_mask(shape, target) {
        true => columns::best(shape, target).map_or(f64::INFINITY, |best| best.0),
        false => columns::plain_cycles(shape, target),
    };
    match cycles(&shape) * some as f64 / all > CLEARLY * cycles(&packed) {
        true => packed,
        false => shape,
    }
}

/// `1 row`, `6 rows`.
fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A model that is a tenth off decides nothing.
const CLEARLY: f64 = 1.1;

/// Few channels or columns in wide vectors, which a bad fit makes dear: by the cycles of the best
/// tile of each.
fn cheaper(shape: &Shape, target: &Target, masks: bool) -> LanesOn {
    match by_columns(shape, target, masks) < by_channels(shape, target) {
        true => LanesOn::Columns,
        false => LanesOn::Channels,
    }
}

/// Cycles with channels in the lanes.
fn by_channels(shape: &Shape, target: &Target) -> f64 {
    channels::best(shape, target).map_or(f64::INFINITY, |best| best.0)
}

/// Cycles with columns in the lanes.
fn by_columns(shape: &Shape, target: &Target, masks: bool) -> f64 {
    let lanes = target.lanes(shape.bytes) as i64;
    match masks {
        // Masked lanes multiply the zeros that channels leave out; under a window wider than the
        // image they are most of it.
        true => {
            let outside = (shape.taps[0] as f64 / shape.columns() as f64).max(1.0);
            columns::best(shape, target).map_or(f64::INFINITY, |best| best.0) * outside
        }
        // Through a panel, which is not priced: worth it where few channels would fill a vector
        // badly. Columns further apart would be gathered.
        false
            if shape.column_step == 1
                && shape.columns() >= lanes
                && shape.out_channels * 4 < lanes =>
        {
            0.0
        }
        false => f64::INFINITY,
    }
}

/// Whether columns can be in the lanes with their edges masked.
fn can_mask(shape: &Shape, target: &Target) -> bool {
    let is_known = is_known(shape.columns()) && is_known(shape.rows());
    let zeros = !(shape.folds && (shape.ragged || shape.has_many_taps()));
    // Rows of bytes are copied with what lies outside, and no load is in part.
    let in_pairs = shape.ragged && target.packs && shape.interleaves_on(target).is_some();
    let is_known = is_known || target.masks_free && shape.column_step == 1;
    target.masks
        && zeros
        && !in_pairs
        && is_known
        && !shape.channels_last
        && matches!(shape.column_step, 1 | 2)
}

/// Cycles from a multiply-add to the next one of the same sum (Zen 4; Intel is the same since
/// Skylake).
const LATENCY: f64 = 4.0;

/// The same, and what is lost where as many sums as hide it must not wait for a load once: measured
/// on Zen 5 with AVX2, 8 sums reach 81 % of the peak, 10 sums 91 %, 12 sums all of it.
fn latency(target: &Target) -> f64 {
    if target.isa.is_avx2() { 1.2 * LATENCY } else { LATENCY }
}

/// Bytes a cycle that the second-level cache gives, as measured on a Sapphire Rapids; of Zen 4's 32
/// about as much.
const L2_RATE: f64 = 28.0;

/// What a load adds where it is not the bottleneck: prefetches and misses take turns with it.
/// Measured on a Sapphire Rapids, where 28 x 1 vectors reach 89 % of the peak and 14 x 2, with half
/// the loads, 94 %.
const CROWDED: f64 = 0.05;

/// Multiply-adds in flight that hide it, on 2 pipes.
const IN_FLIGHT: i64 = 8;

/// Cycles of one of the instructions of products of words, which are a product, its sum, and half
/// the bytes of a splat as words: three ports take them (Intel up to Raptor Lake, of which the
/// products have two; AMD has as many or more).
const PAIR_CYCLES: f64 = 1.0 / 3.0;

/// Cycles of a multiply-add of `bytes`; however narrow, no more than two start at a time.
fn fma_cycles(target: &Target, bytes: i64) -> f64 {
    (bytes as f64 / target.fma_bytes as f64).max(0.5)
}

/// Multiply-adds that a leaf may repeat in its code: about 4 KiB, an eighth of the first-level
/// instruction cache.
const REPEATS: i64 = 512;

fn group_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
    let lanes = target.lanes(shape.bytes) as i64;
    let vectors = match shape.panel {
        Some(width) if width > lanes => width / lanes,
        _ if shape.groups >= 2 * lanes => 2,
        _ => 1,
    };
    let points = (1..=5)
        .filter(|&p| target.fits(vectors * p, vectors))
        .max()
        .unwrap_or(1)
        .min(shape.columns());
    choice.schedule.lanes = Some((Role::Group, lanes));
    choice.schedule.tile = vec![(Role::Group, vectors * lanes), (Role::Out(0), points)];
    choice.reasons.push(format!(
        "lanes g:{lanes}: depthwise with channels innermost, so neighbouring channels are one load"
    ));
}
