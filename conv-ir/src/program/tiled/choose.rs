//! Which tiles a convolution has, by what they cost.

use super::Room;
use super::sizes::{HELD, Sizes};
use crate::analysis::multiply_adds_inside;
use crate::winograd::Tiles;
use crate::{Conv, Program};

/// What an operation of a transform costs, in multiply-adds of the products: one for each number
/// that is read, written, or multiplied. They run at the pace of the second-level cache. This and
/// what follows was fitted to all tiles of ResNet's 3x3 layers on Zen 5.
const AN_OPERATION: f64 = 1.5;

/// What a number costs that is moved between the caller's array and the strip.
const A_MOVE: f64 = 6.0;

/// What a weight costs that is read once a strip, from a third-level cache as far as that holds so
/// many bytes ([`HELD`]); more for each MiB beyond; and at most this, from memory.
const A_WEIGHT: f64 = 2.0;
const A_WEIGHT_BEYOND: f64 = 0.3;
const A_WEIGHT_OF_MEMORY: f64 = 11.0;

/// The same where no run of the step before has left any of them in a cache: nothing is computed
/// until they come. Measured with ResNet-50 on Granite Rapids, whose core reads 13 GB/s of memory:
/// direct sums of its 3x3 layers take 27 to 54 multiply-adds longer for each weight than alone.
const A_WEIGHT_FIRST_READ: f64 = 25.0;

/// How many weights tiles make of one, about: a network whose weights just fit in a cache has no
/// room for them. YOLOv8n, of 12 MiB: 3x3 over 10x10, 128 channels, takes 0.169 ms in it directly
/// and 0.227 in tiles (Granite Rapids).
const TRANSFORMED: usize = 4;

/// What is left of the direct cost where tiles pay: less is within what the model does not know.
const WORTH: f64 = 0.95;

/// Of tiles whose prices differ by no more, those with the fewest points are taken: they have the
/// fewest transformed weights and mostly the smaller bound. Measured on Granite Rapids: F(4x4, 3x3)
/// takes 0.75 of the time of F(6x4, 3x3), which is priced 0.94 of it, of 28x28 with 512 channels.
const ALIKE: f64 = 1.07;

/// The tiles of a convolution, where they are expected to be faster than its direct sums: the
/// cheapest of those whose [relative bound](Tiles::relative_bound) is at most so large.
///
/// The answer follows from the description alone, as the bits do: it is the same for every machine
/// and number of threads.
///
/// # Errors
/// Why not.
pub fn choose(conv: &Conv, most: f64) -> Result<Tiles, String> {
    chosen(conv, most, Weights::Cached)
}

/// Where weights are when a step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// In a cache, as far as that holds them: the step has run before, and little since.
    Cached,
    /// In memory: the steps between two runs read more than caches hold.
    InMemory,
}

impl Weights {
    /// Those of the steps of a program.
    pub fn of(program: &Program) -> Weights {
        let bytes = |conv: &Conv| conv.weight_len().saturating_mul(conv.types().weight.bytes());
        let all = program.convs().map(bytes).fold(0, usize::saturating_add);
        match program.single().is_none() && all > HELD as usize / TRANSFORMED {
            true => Weights::InMemory,
            false => Weights::Cached,
        }
    }
}

/// [`choose`], of a step whose weights are there.
///
/// # Errors
/// Why not.
pub fn chosen(conv: &Conv, most: f64, weights: Weights) -> Result<Tiles, String> {
    let tiles = Tiles::of(conv)?;
    let (mut costs, mut smallest, mut why) = (Vec::new(), f64::MAX, None);
    for tiles in tiles {
        let bound = tiles.relative_bound(conv);
        smallest = bound.min(smallest);
        if bound > most {
            continue;
        }
        match priced(conv, &tiles, weights) {
            Ok(cost) => costs.push((cost, tiles)),
            Err(refused) => why = why.or(Some(refused)),
        }
    }
    let least = costs.iter().fold(f64::INFINITY, |least, (cost, _)| least.min(*cost));
    let alike = costs.into_iter().filter(|(cost, _)| *cost <= ALIKE * least);
    let best = alike.min_by(|(a, x), (b, y)| x.points().cmp(&y.points()).then(a.total_cmp(b)));
    let Some((cost, tiles)) = best else {
        return Err(why.unwrap_or_else(|| {
            format!(
                "their bound, {smallest:.1e} of the largest input times the |weights|, is larger"
            )
        }));
    };
    let direct = sums(conv, weights);
    match cost < WORTH * direct {
        true => Ok(tiles),
        false => Err(format!(
            "tiles {tiles} would cost {cost:.0} multiply-adds instead of {direct:.0}, transforms \
             and weights counted"
        )),
    }
}

/// What tiles cost, in multiply-adds, or why there are none.
///
/// # Errors
/// Why not.
pub fn price(conv: &Conv, tiles: &Tiles) -> Result<f64, String> {
    priced(conv, tiles, Weights::Cached)
}

fn priced(conv: &Conv, tiles: &Tiles, weights: Weights) -> Result<f64, String> {
    if conv.known().is_some_and(|known| !tiles.keeps_finite(&known.weight)) {
        return Err("the weights are so large that their transform would overflow".to_owned());
    }
    let Some(sizes) = Sizes::of(conv, tiles, Room { threads: 1, scratch: None }) else {
        return Err(format!("one tile of {tiles} needs more scratch than there is"));
    };
    let (points, pairs) = (sizes.all_points() as f64, sizes.pairs() as f64);
    let count: f64 = sizes.axes.iter().map(|axis| (axis.tiles * axis.apart) as f64).product();
    let [there, back] = operations(&sizes, tiles);
    let channels = sizes.channels as f64 * there + sizes.out_channels as f64 * back;
    let again = (sizes.strips() - 1) as f64 * reading(conv, points * pairs, Weights::Cached);
    let weights = again + reading(conv, points * pairs, weights);
    Ok(count * (points * pairs + channels) + weights)
}

/// What it costs to read so many weights once.
fn reading(conv: &Conv, weights: f64, are: Weights) -> f64 {
    if are == Weights::InMemory {
        return weights * A_WEIGHT_FIRST_READ;
    }
    let beyond = (weights * conv.dtype().bytes() as f64 - HELD as f64) / (1 << 20) as f64;
    let each = (A_WEIGHT + A_WEIGHT_BEYOND * beyond.max(0.0)).min(A_WEIGHT_OF_MEMORY);
    weights * each
}

/// The same of direct sums, which skip taps over padding.
pub fn direct(conv: &Conv) -> f64 {
    sums(conv, Weights::Cached)
}

fn sums(conv: &Conv, weights: Weights) -> f64 {
    let products = multiply_adds_inside(conv).unwrap_or(0) as f64;
    products + reading(conv, conv.weight_len() as f64, weights)
}

/// What the transforms of a tile cost for each input channel, and for each output channel.
fn operations(sizes: &Sizes, tiles: &Tiles) -> [f64; 2] {
    let axes = &sizes.axes[1..];
    let transforms = tiles.transforms();
    let terms = |matrix: &[Vec<f64>]| {
        let counted = matrix.iter().flatten().filter(|x| **x != 0.0).count();
        (counted + matrix.len() + matrix[0].len()) as f64
    };
    // Inputs that a tile takes along an axis: some are its neighbours' as well.
    let taken = |at: usize| axes[at].padded() as f64 / axes[at].count() as f64;
    let all = |range: std::ops::Range<usize>, of: &dyn Fn(usize) -> f64| -> f64 {
        range.map(of).product()
    };
    let (points, outputs) =
        (|at: usize| axes[at].points as f64, |at: usize| axes[at].outputs as f64);
    let count = axes.len();
    let mut there = A_MOVE * all(0..count, &taken);
    let mut back = A_MOVE * all(0..count, &outputs);
    for (at, transform) in transforms.iter().enumerate().filter(|(_, t)| !t.is_identity()) {
        let behind = at + 1..count;
        there +=
            AN_OPERATION * terms(&transform.b) * all(0..at, &points) * all(behind.clone(), &taken);
        back += AN_OPERATION * terms(&transform.a) * all(0..at, &outputs) * all(behind, &points);
    }
    [there, back]
}
