//! What a group costs, by counting: cycles of one image on one core.
//!
//! In: steps, strips, a target. Out: [`Cost`], cycles by cause. Only differences between plans
//! matter, so that what every plan pays (a step's own loads, the ends' traffic) is left
//! out. Constants were measured on a Zen 4 with MobileNet's blocks and say so.

use std::ops::Range;

use crate::chain::fuse::Strips;
use crate::chain::strips::{Action, Rows, Walk, extents};
use crate::chain::{Chain, Step};
use crate::{Conv, Error, Layout, Target};

/// Cycles a byte of weights that each strip reads again. Measured between 2 and 4 strips of 14x14
/// and 7x7 blocks.
const WEIGHTS: f64 = 0.01;
/// Cycles a byte of a row that is moved: a load and a store of 32 bytes a cycle.
const MOVED: f64 = 2.0 / 32.0;
/// Cycles an element that a tile with channels in the lanes turns around to store it along columns.
/// Measured on 1x1 with 16 to 96 input channels: 0.17 to 0.4.
const TURNED: f64 = 0.2;
/// Cycles of a strip's calls, by step: loops, and a pipeline that runs empty.
const CALL: f64 = 400.0;
/// Cycles of an output of a depthwise step between two layouts, whose vectors are stored an element
/// at a time. Measured on 14x14 from channels last to channels first.
const SCATTERED: f64 = 14.0;
/// Columns of the usual wide tile, and of the narrowest that costs little more.
const TILES: std::ops::RangeInclusive<i64> = 7..=14;
/// What each column less than the widest costs, as a part of the whole: weights are loaded for
/// fewer of them.
const NARROWER: f64 = 0.006;

/// Rows up to which a tile of columns is as high as the image; above, a high window's rows come
/// from the second-level cache for each row of tiles, which takes so much longer.
const HIGHEST: i64 = 24;
const AGAIN: f64 = 1.3;

/// Cycles by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Multiply-adds, with what tiles leave over.
    pub compute: f64,
    /// Of those, rows that are computed again.
    pub again: f64,
    /// Rows moved in line buffers.
    pub moved: f64,
    /// Tensors between steps, written and read.
    pub traffic: f64,
    /// Weights read again, and calls, for each strip.
    pub strips: f64,
}

impl Cost {
    /// All together.
    pub fn total(&self) -> f64 {
        self.compute + self.moved + self.traffic + self.strips
    }
}

impl Cost {
    fn times(self, count: i64) -> Cost {
        let count = count as f64;
        Cost {
            compute: self.compute * count,
            again: self.again * count,
            moved: self.moved * count,
            traffic: self.traffic * count,
            strips: self.strips * count,
        }
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.compute += other.compute;
        self.again += other.again;
        self.moved += other.moved;
        self.traffic += other.traffic;
        self.strips += other.strips;
    }
}

/// From this strip on (but for the last, which may be shorter) all do the same: it is counted as
/// often as there are more.
const STEADY: i64 = 5;

fn is_depthwise(conv: &Conv) -> bool {
    conv.in_channels_per_group() == 1 && conv.groups() > 1
}

/// The layouts of a group's line buffers: channels last where a step with channels in the lanes
/// writes them, as its tile lies in registers, and as long as depthwise steps go on.
pub(super) fn layouts(group: &[Step], target: &Target) -> Vec<Layout> {
    let mut before = group[0].conv.spec().layout;
    let mut all = Vec::new();
    for step in group {
        let conv = &step.conv;
        let lanes = target.lanes(conv.dtype().bytes());
        let channels = conv.spec().out_channels;
        let full = channels % lanes == 0 || channels >= 4 * lanes;
        let vectors = if is_depthwise(conv) {
            before == Layout::ChannelsLast && full && conv.out_channels_per_group() == 1
        } else {
            full && conv.groups() == 1 && target.packs
        };
        before = if vectors { Layout::ChannelsLast } else { conv.spec().layout };
        all.push(before);
    }
    all
}

/// Cycles of a convolution's multiply-adds on arrays of these layouts.
fn compute(conv: &Conv, input: Layout, output: Layout, target: &Target) -> f64 {
    let bytes = conv.dtype().bytes();
    let known = |axis: &crate::conv::ConvAxis| axis.output.known().unwrap_or(0) as i64;
    let outputs = conv.output_len().unwrap_or(0) as f64
        / conv.spec().batch.known().unwrap_or(1).max(1) as f64;
    let sums = outputs * (conv.in_channels_per_group() * conv.kernel_volume()) as f64;
    let cycles = sums * bytes as f64 / target.fma_bytes.min(target.vector_bytes * 2) as f64;
    let lanes = target.lanes(bytes) as i64;
    let columns = conv.axes().last().map_or(1, known).max(1);
    let whole = |extent: i64, tile: i64| ((extent + tile - 1) / tile * tile) as f64 / extent as f64;
    if is_depthwise(conv) {
        // Channels in the lanes fill them; columns leave lanes over, and load each vector at
        // several places. Between two layouts elements are stored one by one.
        return match (input, output) {
            (Layout::ChannelsLast, Layout::ChannelsLast) => 1.15 * cycles,
            (Layout::ChannelsFirst, Layout::ChannelsFirst) => 1.3 * cycles * whole(columns, lanes),
            _ => cycles + SCATTERED * outputs,
        };
    }
    let channels = conv.out_channels_per_group() as i64;
    let window = conv.spec().kernel[0];
    let tall = window >= 8 && known(&conv.axes()[0]) > HIGHEST && channels * 4 < lanes;
    let cycles = if tall { AGAIN * cycles } else { cycles };
    // A window of one element sees rows as one.
    let merged: i64 = match conv.kernel_volume() {
        1 => conv.axes().iter().map(known).product::<i64>().max(1),
        _ => columns,
    };
    let turned = if output == Layout::ChannelsFirst && conv.spec().out_channels as i64 >= lanes {
        TURNED * outputs
    } else {
        0.0
    };
    let tiles =
        TILES.map(|tile| whole(merged, tile) * (1.0 + NARROWER * (TILES.end() - tile) as f64));
    cycles * tiles.fold(f64::INFINITY, f64::min) + turned
}

/// Cycles a byte for a tensor that is written as a whole and read again, where it fits in half of
/// the second-level cache.
fn near(target: &Target) -> f64 {
    target.l2_cycles as f64 / 1024.0
}

/// And where it does not.
fn far(target: &Target) -> f64 {
    target.far_cycles as f64 / 1024.0
}

fn bytes(conv: &Conv, elements: usize) -> f64 {
    (elements * conv.dtype().bytes()) as f64
}

/// Cycles of a tensor that exists as a whole between two groups.
pub(super) fn whole(chain: &Chain, tensor: usize, target: &Target) -> Cost {
    let conv = &chain.steps()[tensor - 1].conv;
    let size = bytes(conv, chain.len_of(tensor));
    let rate = if size as usize > target.l2_bytes / 2 { far(target) } else { near(target) };
    Cost { traffic: 2.0 * size * rate / chain.batch().max(1) as f64, ..Cost::default() }
}

/// Cycles of a step by itself.
pub(super) fn alone(conv: &Conv, target: &Target) -> Cost {
    let layout = conv.spec().layout;
    Cost { compute: compute(conv, layout, layout, target), strips: CALL, ..Cost::default() }
}

/// What strips of a group would do: their cost, and the most rows of each line buffer.
///
/// # Errors
/// Why these strips cannot be.
pub(super) fn fused(
    chain: &Chain,
    steps: Range<usize>,
    strips: &Strips,
    target: &Target,
) -> Result<(Cost, Vec<i64>), Error> {
    let (group, first) = (&chain.steps()[steps.clone()], steps.start);
    let residual = |at: usize| group[at].residual.and_then(|from| from.checked_sub(first + 1));
    let mut walk = Walk::new(group, &residual, &strips.keep);
    let (rows, each) = (extents(&group[group.len() - 1].conv).1, strips.rows.max(1) as i64);
    let layout = |at: usize| {
        let inside = at + 1 < group.len();
        if inside { strips.layouts[at] } else { group[0].conv.spec().layout }
    };
    let mut cost = Cost::default();
    let mut computed = vec![0; group.len()];
    let count = (rows + each - 1) / each;
    for at in 0..count.min(STEADY) {
        let strip = Rows { lo: at * each, hi: ((at + 1) * each).min(rows) };
        let times = if at + 1 == STEADY { count - at } else { 1 };
        for action in walk.strip(strip)? {
            let mut one = Cost::default();
            match action {
                Action::Keep { step, rows, .. } => {
                    one.moved = MOVED * rows as f64 * row_bytes(&group[step].conv)
                }
                Action::Compute(strip) => {
                    let conv = &group[strip.step].conv;
                    let before = match strip.step {
                        0 => group[0].conv.spec().layout,
                        step => layout(step - 1),
                    };
                    computed[strip.step] += times * extents(&strip.conv).1;
                    one.compute = compute(&strip.conv, before, layout(strip.step), target);
                    one.strips = CALL + WEIGHTS * bytes(conv, conv.weight_len());
                }
            }
            cost += one.times(times);
        }
    }
    for (at, step) in group.iter().enumerate() {
        let rows = extents(&step.conv).1.max(1);
        let more = (computed[at] - rows).max(0) as f64 / rows as f64;
        cost.again += more * alone(&step.conv, target).compute;
    }
    let lines: f64 =
        (0..group.len() - 1).map(|at| walk.most[at] as f64 * row_bytes(&group[at].conv)).sum();
    let weights: f64 = group.iter().map(|step| bytes(&step.conv, step.conv.weight_len())).sum();
    let rate = line_rate((lines + weights) as usize, target);
    for step in &group[..group.len() - 1] {
        let (_, rows) = extents(&step.conv);
        cost.traffic += 2.0 * rate * rows as f64 * row_bytes(&step.conv);
    }
    Ok((cost, walk.most))
}

/// Cycles a byte of line buffers that share the caches with weights and go round through them: the
/// more of a cache they fill, the more the ends push them out.
fn line_rate(bytes: usize, target: &Target) -> f64 {
    match bytes {
        bytes if bytes <= 2 * target.l1_bytes => near(target) / 4.0,
        bytes if bytes <= target.l2_bytes / 4 => near(target) / 2.0,
        bytes if bytes <= target.l2_bytes => near(target),
        _ => far(target),
    }
}

/// Bytes of a row of one image of the output.
pub(super) fn row_bytes(conv: &Conv) -> f64 {
    let rows = extents(conv).1.max(1);
    let images = conv.spec().batch.known().unwrap_or(1).max(1);
    bytes(conv, conv.output_len().unwrap_or(0)) / (rows as f64 * images as f64)
}
