//! How a convolution is cut into strips of tiles, what that takes, and where it pays.

use crate::Conv;
use crate::winograd::Tiles;

/// Bytes of a thread's scratch at most. Half of it are the transformed inputs, which wait for the
/// products of all points, so they stay in a second-level cache of 1 MiB; and the more tiles a
/// strip has, the less often the weights come from further away.
const MOST_SCRATCH: i64 = 5 << 18;

/// The numbers of a convolution in tiles; of pairs, rows first.
pub(super) struct Sizes {
    pub images: i64,
    pub channels: i64,
    pub out_channels: i64,
    pub input: [i64; 2],
    pub output: [i64; 2],
    /// Zeros before the input; less than none where its start is not seen.
    pub pad: [i64; 2],
    /// Outputs of a tile.
    pub outputs: [i64; 2],
    /// Points, and inputs of a tile.
    pub points: [i64; 2],
    /// Tiles of an image.
    pub tiles: [i64; 2],
    /// Rows of tiles in a strip.
    pub strip: i64,
    pub strips: i64,
}

impl Sizes {
    /// With strips as high as scratch allows, and as many as there are threads to share an image;
    /// `None` where not even one row of tiles fits.
    pub fn of(conv: &Conv, tiles: &Tiles, threads: usize) -> Option<Sizes> {
        let [rows, columns] = &tiles.transforms();
        let (spec, equation) = (conv.spec(), conv.equation());
        let extent = |size: Option<usize>| size.and_then(|n| i64::try_from(n).ok());
        let output = equation.iter().map(|axis| extent(axis.output.known()));
        let input = equation.iter().map(|axis| extent(axis.input.known()));
        let both = |of: Vec<i64>| <[i64; 2]>::try_from(of).ok();
        let output = both(output.collect::<Option<_>>()?)?;
        let outputs = [rows.outputs() as i64, columns.outputs() as i64];
        let mut sizes = Sizes {
            images: extent(spec.batch.known())?,
            channels: extent(Some(spec.in_channels))?,
            out_channels: extent(Some(spec.out_channels))?,
            input: both(input.collect::<Option<_>>()?)?,
            output,
            pad: [equation[0].pad_lo, equation[1].pad_lo],
            outputs,
            points: [rows.inputs() as i64, columns.inputs() as i64],
            tiles: [0, 1].map(|at| (output[at] + outputs[at] - 1) / outputs[at]),
            strip: 1,
            strips: 1,
        };
        let most = MOST_SCRATCH / conv.dtype().bytes() as i64;
        let fits = |sizes: &Sizes| sizes.left().saturating_add(sizes.right()) <= most;
        if !fits(&sizes) {
            return None;
        }
        // One row of tiles has 36 points or more of each channel, so these are a few steps.
        while fits(&sizes) && sizes.strip < sizes.tiles[0] {
            sizes.strip += 1;
        }
        sizes.strip -= i64::from(!fits(&sizes));
        let shared = if sizes.images > 1 { 1 } else { threads.min(1 << 16) as i64 };
        let strips = ceil(sizes.tiles[0], sizes.strip).max(shared.min(sizes.tiles[0]));
        sizes.strip = ceil(sizes.tiles[0], strips);
        sizes.strips = ceil(sizes.tiles[0], sizes.strip);
        Some(sizes)
    }

    /// Rows and columns of the padded input of a strip.
    pub fn padded(&self) -> [i64; 2] {
        let along = |at: usize, tiles: i64| (tiles - 1) * self.outputs[at] + self.points[at];
        [along(0, self.strip), along(1, self.tiles[1])]
    }

    /// Tiles of a strip.
    pub fn count(&self) -> i64 {
        self.strip * self.tiles[1]
    }

    /// Rows of tiles of the last strip.
    pub fn last(&self) -> i64 {
        self.tiles[0] - (self.strips - 1) * self.strip
    }

    /// Points of a tile.
    pub fn all_points(&self) -> i64 {
        self.points[0] * self.points[1]
    }

    /// Elements of the padded input, its transform, half of the way back, and a residual.
    pub fn left(&self) -> i64 {
        let [rows, columns] = self.padded();
        let transformed = elements(&[self.all_points(), self.count(), self.channels]);
        let up = elements(&[self.outputs[0], self.points[1], self.count(), self.out_channels]);
        elements(&[rows, columns, self.channels]).max(transformed).max(up)
    }

    /// Elements of half of the way there, the products, and the tiles of the output.
    pub fn right(&self) -> i64 {
        let down = elements(&[self.points[0], self.strip, self.padded()[1], self.channels]);
        down.max(elements(&[self.all_points(), self.count(), self.out_channels]))
    }
}

fn ceil(a: i64, b: i64) -> i64 {
    (a + b - 1) / b
}

/// The product, or the largest number.
fn elements(of: &[i64]) -> i64 {
    of.iter().fold(1, |all, &n| all.saturating_mul(n))
}

/// What the transforms cost a point of a tile and channel, and what a weight costs that comes from
/// memory or a third-level cache once a strip, in multiply-adds. Measured on Zen 5 with 16 to 512
/// channels: 16 to 22, and 9.
const A_POINT: f64 = 20.0;
const A_WEIGHT: f64 = 9.0;

/// What is left of the direct cost where tiles pay: less is within what the model does not know.
const WORTH: f64 = 0.95;

/// The tiles of a convolution, where they are expected to be faster than its direct sums: the
/// cheapest of those whose [relative bound](Tiles::relative_bound) is at most so large.
///
/// The answer follows from the description alone, as the bits do: it is the same for every machine
/// and number of threads.
///
/// # Errors
/// Why not.
pub fn choose(conv: &Conv, most: f64) -> Result<Tiles, String> {
    let tiles = Tiles::of(conv)?;
    let fitting = tiles.into_iter().filter(|tiles| tiles.relative_bound(conv) <= most);
    let priced: Vec<_> = fitting.map(|tiles| (tiles, priced(conv, &tiles))).collect();
    let costs = priced.iter().filter_map(|(tiles, cost)| Some((*tiles, cost.as_ref().ok()?)));
    match costs.min_by(|a, b| a.1.total_cmp(b.1)) {
        Some((tiles, _)) => Ok(tiles),
        None => Err(priced.into_iter().find_map(|(_, cost)| cost.err()).unwrap_or_else(|| {
            let [_, smallest] = tiles.map(|tiles| tiles.relative_bound(conv));
            format!(
                "their bound, {smallest:.1e} of the largest input times the |weights|, is larger"
            )
        })),
    }
}

/// What tiles cost, in multiply-adds, or why they are not worth it.
fn priced(conv: &Conv, tiles: &Tiles) -> Result<f64, String> {
    if conv.known().is_some_and(|known| !tiles.keeps_finite(&known.weight)) {
        return Err("the weights are so large that their transform would overflow".to_owned());
    }
    let Some(sizes) = Sizes::of(conv, tiles, 1) else {
        let most = MOST_SCRATCH >> 10;
        return Err(format!("a row of tiles {tiles} needs more than {most} KiB of scratch"));
    };
    let [direct, tiled] = multiply_adds(conv, &sizes);
    match tiled < WORTH * direct {
        true => Ok(tiled),
        false => Err(format!(
            "tiles {tiles} would cost {tiled:.0} multiply-adds an image instead of {direct:.0}, \
             transforms and weights counted"
        )),
    }
}

/// Multiply-adds of an image, direct and in tiles, with what else the latter cost.
fn multiply_adds(conv: &Conv, sizes: &Sizes) -> [f64; 2] {
    let pairs = (sizes.channels * sizes.out_channels) as f64;
    let outputs = (sizes.output[0] * sizes.output[1]) as f64;
    let tiles = (sizes.tiles[0] * sizes.tiles[1]) as f64;
    let points = sizes.all_points() as f64;
    let channels = (sizes.channels + sizes.out_channels) as f64;
    let weights = sizes.strips as f64 * points * pairs * A_WEIGHT;
    let direct = outputs * conv.kernel_volume() as f64 * pairs;
    [direct, tiles * points * (pairs + A_POINT * channels) + weights]
}
