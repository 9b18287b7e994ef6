//! Which blocks, and whether they pay.
//!
//! All blocks of up to [`MOST_POINTS`] are priced, in operations of the direct sums. The answer
//! follows from the description alone, as the bits do: it is the same for every machine and number
//! of threads.

use super::{BlockAxis, Blocks, Reach, pads_zeros, radices, reaches};
use crate::Conv;

/// Taps below which no price is asked for.
pub(crate) const FEWEST_TAPS: usize = 32;

/// The most complex points of a block's input channels together, one block in each lane of a cache
/// line: 32 MiB.
const MOST_POINTS: usize = 1 << 18;

/// Bytes of a point: a cache line of real parts, one of imaginary parts.
const POINT: usize = 128;

/// The most bytes that transformed weights may have.
const MOST_WEIGHTS: usize = 1 << 28;

/// Bytes of blocks that still lie in a second-level cache.
const NEAR: f64 = (1 << 19) as f64;

/// What a point of a block costs in operations of the direct sums of one channel, measured on Zen 5
/// with AVX-512, where those take 7.7 ps: a step of its transforms there and back, its way in and
/// out, its product for each pair of channels.
const A_STEP: f64 = 19.0;
const A_MOVE: f64 = 125.0;
const A_PRODUCT: f64 = 10.0;

/// How much faster direct sums are with output channels in the lanes, where the input is not read
/// anew for every row of the window.
const CHANNELS: f64 = 2.5;

/// What is left of the direct cost where blocks pay: less is within what the model does not know.
const WORTH: f64 = 0.7;

/// The blocks of a convolution, where they are expected to be faster than its direct sums and their
/// [relative bound](Blocks::relative_bound) is at most so large.
///
/// # Errors
/// Why not.
pub fn choose(conv: &Conv, most: f64) -> Result<Blocks, String> {
    if conv.spec().multiplies() {
        return Err("it is multiplied by a tensor, of which the bound says nothing".to_owned());
    }
    let reaches = reaches(conv)?;
    let taps = conv.kernel_volume();
    if taps < FEWEST_TAPS {
        return Err(format!("windows below {FEWEST_TAPS} taps have direct sums"));
    }
    let zeros = pads_zeros(conv);
    let options: Vec<Vec<BlockAxis>> =
        reaches.iter().enumerate().map(|(at, reach)| lengths(reach, at == 0, zeros)).collect();
    let mut best: Option<(f64, Blocks)> = None;
    let mut at = vec![0; options.len()];
    'all: loop {
        let axes = at.iter().zip(&options).map(|(&at, options)| options.get(at).copied());
        let Some(axes) = axes.collect::<Option<Vec<_>>>() else { break };
        let blocks = Blocks { axes };
        if fits(conv, &blocks) && blocks.relative_bound(conv) <= most {
            let cost = cost(conv, &blocks);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, blocks));
            }
        }
        for axis in (0..at.len()).rev() {
            at[axis] += 1;
            if at[axis] < options[axis].len() {
                continue 'all;
            }
            at[axis] = 0;
        }
        break;
    }
    let direct = direct(conv);
    match best {
        Some((cost, blocks)) if cost < WORTH * direct => Ok(blocks),
        Some((cost, blocks)) => Err(format!(
            "blocks of {blocks} would cost as much as {cost:.1e} operations of the direct sums, \
             which are {direct:.1e}"
        )),
        None => Err("no block is small enough and within the accuracy".to_owned()),
    }
}

/// What direct sums cost, in operations of those of one channel.
fn direct(conv: &Conv) -> f64 {
    let taps = (conv.kernel_volume() * conv.in_channels_per_group()) as f64;
    let operations = 2.0 * taps * conv.output_len().unwrap_or(0) as f64;
    operations / if conv.out_channels_per_group() < 8 { 1.0 } else { CHANNELS }
}

/// Blocks along an axis: those that the window fits in, up to the first that is the only one, or
/// 16 times the window.
fn lengths(reach: &Reach, folded: bool, zeros: bool) -> Vec<BlockAxis> {
    let mut found = Vec::new();
    let longest = reach.window.saturating_mul(16).max(64);
    let complex = (2..=18u32).flat_map(|log| [1usize << log, (1 << log) / 2 * 3]);
    for points in complex.map(|n| if folded { 2 * n } else { n }) {
        debug_assert!(radices(points).is_some());
        if let Some(axis) = reach.in_blocks(points, zeros) {
            found.push(axis);
            if axis.blocks == 1 || points > longest {
                break;
            }
        }
    }
    found
}

/// Whether a block and its transformed weights stay small.
fn fits(conv: &Conv, blocks: &Blocks) -> bool {
    let spec = conv.spec();
    let pairs = conv.in_channels_per_group().checked_mul(spec.out_channels);
    let bytes = pairs.and_then(|pairs| {
        pairs.checked_mul(blocks.points())?.checked_mul(2 * spec.types.accumulator.bytes())
    });
    bytes.is_some_and(|bytes| bytes <= MOST_WEIGHTS) && held(conv, blocks) <= MOST_POINTS
}

/// Complex points that a run holds at a time, of each block.
fn held(conv: &Conv, blocks: &Blocks) -> usize {
    let channels = match (conv.in_channels_per_group(), conv.out_channels_per_group()) {
        (1, 1) => 1,
        (channels, _) => channels.saturating_add(1),
    };
    blocks.points().saturating_mul(channels)
}

/// In operations of the direct sums.
fn cost(conv: &Conv, blocks: &Blocks) -> f64 {
    let spec = conv.spec();
    let images = spec.batch.known().unwrap_or(1);
    let (input, output) = (conv.in_channels_per_group(), conv.out_channels_per_group());
    let lanes = (POINT / 2 / spec.types.accumulator.bytes()) as f64;
    // Blocks of a group lie side by side in the lanes, or the channels of a block.
    let items = (images * blocks.count()) as f64;
    let groups = spec.groups as f64;
    let mut full = groups * (items / lanes).ceil() * lanes;
    if (input, output) == (1, 1) {
        full = full.min(items * (groups / lanes).ceil() * lanes);
    }
    let points = blocks.points() as f64;
    let weight = |radix: &usize| if *radix == 2 { 0.7 } else { 1.0 };
    let of_length = |n: usize| radices(n).unwrap_or_default().iter().map(weight).sum::<f64>();
    let steps: f64 = blocks.complex().map(of_length).sum();
    let far = (held(conv, blocks) * POINT) as f64 / NEAR;
    let there_and_back = (input + output) as f64 / 2.0 * (steps * A_STEP + A_MOVE);
    let there_and_back = there_and_back * far.clamp(1.0, 2.0);
    let products = (input * output) as f64 * A_PRODUCT;
    full * points * (there_and_back + products)
}
