//! The order of the driver loops: where the loop over output channels stands among those over the
//! image, by the memory traffic of each place; and whether input channels are in blocks.
//!
//! Outermost, each tile of channels reads the whole input again; innermost, each tile of the image
//! reads all weights again, and stores to as many places as there are channels. Between, a row or a
//! plane of the input stays near while all channels use it. The loops over channels can also be
//! two: blocks outermost, whose weights stay near while the tiles of a block run innermost. Where
//! not even the weights of one tile of channels stay near, a few input channels at a time are
//! summed, and the sums wait until all tiles of the image have had them. Each is priced in cycles,
//! by what is read again and from where.

use super::counted;
use super::panel::{Panel, Tiles};
use super::shape::{STREAMS, Shape, is_known, product};
use crate::Target;
use crate::nest::Role;
use crate::schedule::{Choice, MOST};

/// Cycles of a run of memory that is stored where nothing continues it soon: half a line, and often
/// a page that is not at hand. Measured on a Sapphire Rapids with 1x1 windows: 7 to 25. A row of
/// each channel is one as well: 5x5 over 256x256, one to 64 channels, takes 0.7 of the time with
/// all of a channel's rows one after the other (Granite Rapids).
const RUN: f64 = 15.0;

/// Cycles of a leaf that goes on with sums, beside moving them: a call, and a start without loads
/// in flight.
const RESUMED: f64 = 60.0;

/// The fewest input channels of a block: with fewer, sums are moved too often.
const FEWEST_CHANNELS: i64 = 32;

/// Bytes of sums that wait, at most: more leave no room for weights and input.
const MOST_WAITING: f64 = (1 << 20) as f64;

/// A place of the loop over output channels: so many of the loops over the image are outside it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside(usize),
    /// Blocks of so many channels outermost, the tiles of a block innermost.
    Blocks(i64),
    /// The same, and inside them blocks of so many input channels.
    Sums {
        channels: i64,
        input: i64,
    },
}

/// What the loops move.
struct Loops<'a> {
    shape: &'a Shape,
    target: &'a Target,
    /// Tiles along the image's axes, outermost first.
    tiles: Vec<i64>,
    /// Tiles of channels.
    blocks: i64,
    tile: i64,
    /// Sums may wait: channels are in the lanes.
    waits: bool,
    /// Rows and columns of a tile.
    tall: i64,
    wide: i64,
    /// The input's rows are copied.
    panel: Option<Panel>,
}

pub(super) fn order(choice: &mut Choice, shape: &Shape, target: &Target) {
    let loops = Loops::of(choice, shape, target);
    let loops = match loops.waits.then(|| Panel::of(shape, target, &loops.cut())).flatten() {
        // A panel of sums that wait would be copied again for each block of them.
        panel @ Some(_) => Loops { panel, waits: false, ..loops },
        None => loops,
    };
    let place = loops.best();
    loops.put(choice, place);
}

/// The same for each place that is not dearer beyond doubt, the cheapest first.
pub(super) fn orders(choice: &Choice, shape: &Shape, target: &Target) -> Vec<Choice> {
    let loops = Loops::of(choice, shape, target);
    let mut places: Vec<_> = loops.places().map(|place| (loops.cycles(place), place)).collect();
    places.retain(|(cycles, _)| cycles.is_finite());
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    let put = |(_, place): (f64, Place)| {
        let mut choice = choice.clone();
        loops.put(&mut choice, place);
        choice
    };
    places.into_iter().map(put).collect()
}

/// The axis whose tiles threads share: the first with enough of them.
fn parallel(choice: &Choice, shape: &Shape) -> Option<Role> {
    let tiles = |role: Role, extent: i64| extent / choice.schedule.tile_of(role).max(1);
    let candidates = [
        (Role::OutChannel, shape.out_channels),
        (Role::Group, shape.groups),
        (Role::Out(1), shape.rows()),
        (Role::Out(0), shape.columns()),
    ];
    let enough = candidates.iter().find(|c| tiles(c.0, c.1) >= 16);
    let most = candidates.iter().max_by_key(|c| tiles(c.0, c.1));
    enough.or(most).map(|c| c.0)
}

/// Whether sums may wait while other tiles have the same input channels.
pub(super) fn can_wait(shape: &Shape, target: &Target) -> bool {
    let is_known = shape.out.iter().all(|&extent| is_known(extent));
    shape.keeps_sums && target.packs && is_known && shape.in_channels >= 2 * FEWEST_CHANNELS
}

impl<'a> Loops<'a> {
    fn of(choice: &Choice, shape: &'a Shape, target: &'a Target) -> Loops<'a> {
        let count = |role: Role, extent: i64| {
            let tile = choice.schedule.tile_of(role).max(1);
            (extent + tile - 1) / tile
        };
        let along = shape.out.iter().enumerate().rev();
        Loops {
            shape,
            target,
            tiles: along.map(|(at, extent)| count(Role::Out(at), *extent)).collect(),
            blocks: count(Role::OutChannel, shape.out_channels),
            tile: choice.schedule.tile_of(Role::OutChannel).max(1),
            waits: choice.schedule.lanes_of(Role::OutChannel) > 1 && can_wait(shape, target),
            tall: choice.schedule.tile_of(Role::Out(1)).max(1),
            wide: choice.schedule.tile_of(Role::Out(0)).max(1),
            panel: None,
        }
    }

    /// The tiles, for a panel.
    fn cut(&self) -> Tiles {
        let Loops { blocks, tall, wide, .. } = *self;
        let count = self.tiles.iter().map(|tiles| *tiles as f64).product();
        Tiles { blocks, tall, wide, count }
    }

    /// Writes a place down, and why.
    fn put(&self, choice: &mut Choice, place: Place) {
        let outside = match place {
            Place::Outside(outside) => outside,
            Place::Blocks(_) | Place::Sums { .. } => 0,
        };
        let spatial: Vec<Role> = (0..self.shape.out.len()).rev().map(Role::Out).collect();
        let mut order = vec![Role::Batch, Role::Group];
        order.extend(&spatial[..outside]);
        order.push(Role::OutChannel);
        order.extend(&spatial[outside..]);
        choice.schedule.order = order;
        choice.reasons.extend(self.reason(place));
        match place {
            Place::Blocks(block) => choice.schedule.cache = block,
            Place::Sums { channels, input } => {
                choice.schedule.cache = if channels > self.tile { channels } else { 0 };
                choice.schedule.cache_in = input;
            }
            Place::Outside(_) => {}
        }
        choice.schedule.parallel = parallel(choice, self.shape);
        if let Some(panel) = &self.panel {
            panel.put(choice, self.shape);
        }
    }

    /// Those that there are.
    fn places(&self) -> impl Iterator<Item = Place> + use<> {
        // Reading all weights again is for those that are packed in the order of their use.
        let places = match self.blocks > 1 && self.target.packs {
            true => self.tiles.len(),
            false => 0,
        };
        let block = self.near_block();
        let blocks = (places > 0 && block > self.tile && 2 * block <= self.shape.out_channels)
            .then_some(Place::Blocks(block));
        (0..=places).map(Place::Outside).chain(blocks).chain(self.sums())
    }

    fn best(&self) -> Place {
        let mut best = (f64::INFINITY, Place::Outside(0));
        for place in self.places() {
            let cycles = self.cycles(place);
            if cycles < 0.98 * best.0 {
                best = (cycles, place);
            }
        }
        best.1
    }

    /// Blocks of input channels, of halves, quarters and so on, and with each a tile of channels,
    /// two, and so on.
    fn sums(&self) -> impl Iterator<Item = Place> + use<> {
        let Shape { in_channels, out_channels, .. } = *self.shape;
        // Sums that come and go take 1 to 25 % where the weights of a tile stay near without,
        // beside the rows that pass by (Granite Rapids); where they do not, they leave a quarter of
        // the time.
        let is_far = !self.is_near(self.weights() / self.blocks as f64 + self.passing());
        let is_far = is_far || self.stays_nowhere();
        // Of one tile each weight is read once.
        let can = self.waits && is_far && self.tiles.iter().any(|tiles| *tiles > 1);
        let halves = std::iter::successors(Some(in_channels), |n| Some((n + 1) / 2)).skip(1);
        let halves = halves.map(|n| (n + 7) / 8 * 8).take_while(|n| *n >= FEWEST_CHANNELS);
        let inputs: Vec<i64> = if can { halves.take(8).collect() } else { Vec::new() };
        let doubles = std::iter::successors(Some(self.tile), |n| n.checked_mul(2));
        let most = out_channels.min(MOST);
        let outs: Vec<i64> = doubles.take_while(|n| *n <= most).take(8).collect();
        let pairs = inputs.into_iter().filter(|n| *n <= MOST);
        pairs.flat_map(move |input| {
            outs.clone().into_iter().map(move |channels| Place::Sums { channels, input })
        })
    }

    /// Whether neither all weights nor the input stay near, so that one of them comes from far
    /// again and again: 3x3 with dilation 4 over 28x28, 512 to 512 channels, takes 0.92 of the time
    /// with sums that wait, three taps over 1599 columns with stride 2 0.94, but 1x1 over 19x19,
    /// 728 to 728, 1.03 (Granite Rapids).
    fn stays_nowhere(&self) -> bool {
        let is_large = self.weights() >= 1.5 * self.target.l2_bytes as f64;
        let taps = product(self.shape.taps.iter().copied());
        taps > 1 && is_large && !self.is_near(self.input())
    }

    /// Cycles of traffic over a group with sums that wait.
    fn waiting(&self, channels: i64, input_channels: i64) -> f64 {
        let ceil = |a: i64, b: i64| ((a + b - 1) / b) as f64;
        let rounds = ceil(self.shape.out_channels, channels);
        let parts = ceil(self.shape.in_channels, input_channels);
        let tiles = self.tiles.iter().map(|tiles| *tiles as f64).product::<f64>();
        let (weights, input) = (self.weights(), self.input());
        let outputs = product(self.shape.out.iter().copied()) as f64;
        let sums = channels as f64 * outputs * self.shape.bytes as f64;
        if sums > MOST_WAITING {
            return f64::INFINITY;
        }
        let near = self.rate((weights / rounds + input) / parts + sums);
        let inputs = rounds * input * self.of_input(input);
        let moved = 2.0 * (parts - 1.0) * rounds;
        let resumed = (parts - 1.0) * tiles * self.blocks as f64 * RESUMED;
        inputs + (tiles - 1.0) * weights * near + moved * sums * near + resumed
    }

    /// Cycles of traffic over a group.
    fn cycles(&self, place: Place) -> f64 {
        let (outside, rounds) = match place {
            Place::Sums { channels, input } => return self.waiting(channels, input),
            Place::Outside(outside) => (outside, 1.0),
            Place::Blocks(block) => {
                (self.tiles.len(), self.shape.out_channels as f64 / block as f64)
            }
        };
        let weights = self.weights() / rounds;
        let blocks = self.blocks as f64 / rounds;
        let count = |tiles: &[i64]| tiles.iter().map(|tiles| *tiles as f64).product::<f64>();
        let panels = self.panel.as_ref().map_or(1.0, |panel| panel.blocks);
        let (times, tiles) = (count(&self.tiles[..outside]).max(panels), count(&self.tiles));
        let input = self.input();
        let chunk = self.chunk(outside).min(input / panels);
        // Once from where it is; what neighbouring windows share, and what other channels read
        // again, from where a chunk stays.
        let inputs = input * self.of_input(input)
            + (blocks * times * chunk - input).max(0.0) * self.of_input(chunk);
        // All weights each time, and in between a block's own for each tile.
        let again = (times - 1.0) * weights * self.rate(weights + chunk)
            + (tiles - times) * weights * self.rate(weights / blocks);
        let runs = match outside > 0 && blocks > 1.0 && !self.shape.channels_last {
            true => RUN * times * blocks * self.tile as f64,
            false => 0.0,
        };
        rounds * (inputs + again + runs)
    }

    /// Cycles of a byte out of so many that are read again and again.
    fn rate(&self, bytes: f64) -> f64 {
        let cycles = match bytes as usize {
            bytes if bytes <= self.target.l1_bytes / 2 => 0,
            _ if self.is_near(bytes) => self.target.l2_cycles,
            // Twice what a stream takes: channels are read in short runs, each of them elsewhere.
            _ => 2 * self.target.far_cycles,
        };
        cycles as f64 / 1024.0
    }

    /// The same of the input. A row of each channel and of each row under the window is a stream:
    /// of more than a prefetcher follows, each line is waited for. Measured on Granite Rapids, in
    /// cycles a byte beyond the near ones: 0.54 of 64 streams, 1.1 of 432, where a stream takes
    /// 0.14.
    fn of_input(&self, bytes: f64) -> f64 {
        let rows = self.shape.rows_under();
        let waits = !self.is_near(bytes) && self.shape.in_channels.saturating_mul(rows) > STREAMS;
        self.rate(bytes) * if waits { 2.0 } else { 1.0 }
    }

    /// Whether so many bytes stay in the second-level cache.
    fn is_near(&self, bytes: f64) -> bool {
        bytes as usize <= self.target.l2_bytes / 4 * 3
    }

    /// Bytes of all channels' weights, of a transposed convolution those of one phase.
    fn weights(&self) -> f64 {
        self.shape.weight_elements() as f64 * self.shape.bytes as f64 / self.shape.phases as f64
    }

    /// Bytes of the input that pass by until a tile of channels needs its weights again: the rows
    /// under the window, of all channels; under a window of one row no other row needs them, and
    /// what passes is a tile.
    fn passing(&self) -> f64 {
        let Shape { in_channels, column_step, bytes, .. } = *self.shape;
        let rows = self.shape.rows_under();
        let all = self.shape.columns().saturating_mul(column_step.max(1));
        let columns = match (rows, self.tiles.last()) {
            (1, Some(&tiles)) => (all / tiles.max(1)).saturating_add(self.shape.span(0)).min(all),
            _ => all,
        };
        product([in_channels, rows, columns, bytes as i64]) as f64
    }

    fn input(&self) -> f64 {
        self.shape.input_elements() as f64 * self.shape.bytes as f64
    }

    /// Bytes of the input under one round of the loops inside: whole axes there, a window along
    /// those outside.
    fn chunk(&self, outside: usize) -> f64 {
        self.input() * self.part(outside)
    }

    /// The part of the input that windows over a tile of each axis outside see.
    fn part(&self, outside: usize) -> f64 {
        let axes =
            self.tiles.iter().zip(self.shape.out.iter().rev()).zip(self.shape.taps.iter().rev());
        let seen = |((tiles, extent), taps): ((&i64, &i64), &i64)| {
            let outputs = (extent + tiles - 1) / tiles;
            ((outputs + taps - 1) as f64 / *extent as f64).min(1.0)
        };
        axes.take(outside).map(seen).product()
    }

    /// Channels whose weights stay near: within half the second-level cache, or twice the first
    /// where vectors are narrow, whose tiles read each weight more often.
    fn near_block(&self) -> i64 {
        let near = match self.target.vector_bytes > 16 {
            true => self.target.l2_bytes / 2,
            false => 2 * self.target.l1_bytes,
        };
        let channel = (self.weights() / self.shape.out_channels as f64).max(1.0);
        let channels = ((near as f64 / channel) as i64).min(MOST);
        (channels / self.tile * self.tile).max(self.tile)
    }

    fn reason(&self, place: Place) -> Option<String> {
        let kib = |bytes: f64| (bytes / 1024.0) as i64;
        match place {
            Place::Outside(0) => None,
            Place::Outside(outside) if outside == self.tiles.len() => Some(format!(
                "order oc innermost: all weights, {} KiB, stay near while a tile of the input is used",
                kib(self.weights())
            )),
            Place::Outside(outside) => Some(format!(
                "order oc inside {} over the image: {} KiB of the input stay near while all channels use them",
                counted(outside as i64, "loop"),
                kib(self.chunk(outside))
            )),
            Place::Sums { channels, input } => Some(format!(
                "cache ic:{input}: their weights for {channels} output channels, {} KiB, stay near for all of the image; sums wait in scratch",
                kib(self.weights() / self.shape.out_channels as f64 * channels as f64
                    / self.shape.in_channels as f64
                    * input as f64)
            )),
            Place::Blocks(block) => Some(format!(
                "cache oc:{block}: their weights, {} KiB, stay near while a tile of the input is used",
                kib(self.weights() * block as f64 / self.shape.out_channels as f64)
            )),
        }
    }
}
