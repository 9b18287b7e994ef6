//! The order of the driver loops: where the loop over output channels stands among those over the
//! image, by the memory traffic of each place.
//!
//! Outermost, each tile of channels reads the whole input again; innermost, each tile of the image
//! reads all weights again, and stores to as many places as there are channels. Between, a row or a
//! plane of the input stays near while all channels use it. The loops over channels can also be
//! two: blocks outermost, whose weights stay near while the tiles of a block run innermost. Each is
//! priced in cycles, by what is read again and from where.

use super::counted;
use super::shape::Shape;
use crate::Target;
use crate::nest::Role;
use crate::schedule::{Choice, MOST};

/// Cycles of a run of memory that a tile stores where no other tile continues it soon: half a line,
/// and often a page that is not at hand. Measured on a Sapphire Rapids with 1x1 windows: 7 to 25.
const RUN: f64 = 15.0;

/// A place of the loop over output channels: so many of the loops over the image are outside it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside(usize),
    /// Blocks of so many channels outermost, the tiles of a block innermost.
    Blocks(i64),
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
}

pub(super) fn order(choice: &mut Choice, shape: &Shape, target: &Target) {
    let spatial: Vec<Role> = (0..shape.out.len()).rev().map(Role::Out).collect();
    let count = |role: Role, extent: i64| {
        let tile = choice.schedule.tile_of(role).max(1);
        (extent + tile - 1) / tile
    };
    let loops = Loops {
        shape,
        target,
        tiles: spatial
            .iter()
            .zip(shape.out.iter().rev())
            .map(|(role, extent)| count(*role, *extent))
            .collect(),
        blocks: count(Role::OutChannel, shape.out_channels),
        tile: choice.schedule.tile_of(Role::OutChannel).max(1),
    };
    let place = loops.best();
    let outside = match place {
        Place::Outside(outside) => outside,
        Place::Blocks(_) => 0,
    };
    let mut order = vec![Role::Batch, Role::Group];
    order.extend(&spatial[..outside]);
    order.push(Role::OutChannel);
    order.extend(&spatial[outside..]);
    choice.schedule.order = order;
    choice.reasons.extend(loops.reason(place));
    if let Place::Blocks(block) = place {
        choice.schedule.cache = block;
    }
    choice.schedule.parallel = parallel(choice, shape);
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

impl Loops<'_> {
    fn best(&self) -> Place {
        let mut best = (f64::INFINITY, Place::Outside(0));
        // Reading all weights again is for those that are packed in the order of their use.
        let places = match self.blocks > 1 && self.target.packs {
            true => self.tiles.len(),
            false => 0,
        };
        let block = self.near_block();
        let blocks = (places > 0 && block > self.tile && 2 * block <= self.shape.out_channels)
            .then_some(Place::Blocks(block));
        for place in (0..=places).map(Place::Outside).chain(blocks) {
            let cycles = self.cycles(place);
            if cycles < 0.98 * best.0 {
                best = (cycles, place);
            }
        }
        best.1
    }

    /// Cycles of traffic over a group.
    fn cycles(&self, place: Place) -> f64 {
        let (outside, rounds) = match place {
            Place::Outside(outside) => (outside, 1.0),
            Place::Blocks(block) => {
                (self.tiles.len(), self.shape.out_channels as f64 / block as f64)
            }
        };
        let weights = self.weights() / rounds;
        let blocks = self.blocks as f64 / rounds;
        let count = |tiles: &[i64]| tiles.iter().map(|tiles| *tiles as f64).product::<f64>();
        let (times, tiles) = (count(&self.tiles[..outside]), count(&self.tiles));
        let (input, chunk) = (self.input(), self.chunk(outside));
        // Once from where it is; what neighbouring windows share, and what other channels read
        // again, from where a chunk stays.
        let inputs =
            input * self.rate(input) + (blocks * times * chunk - input).max(0.0) * self.rate(chunk);
        // All weights each time, and in between a block's own for each tile.
        let again = (times - 1.0) * weights * self.rate(weights + chunk)
            + (tiles - times) * weights * self.rate(weights / blocks);
        let runs = match outside == self.tiles.len() && blocks > 1.0 && !self.shape.channels_last {
            true => RUN * tiles * blocks * self.tile as f64,
            false => 0.0,
        };
        rounds * (inputs + again + runs)
    }

    /// Cycles of a byte out of so many that are read again and again.
    fn rate(&self, bytes: f64) -> f64 {
        let cycles = match bytes as usize {
            bytes if bytes <= self.target.l1_bytes / 2 => 0,
            bytes if bytes <= self.target.l2_bytes / 4 * 3 => self.target.l2_cycles,
            // Twice what a stream takes: channels are read in short runs, each of them elsewhere.
            _ => 2 * self.target.far_cycles,
        };
        cycles as f64 / 1024.0
    }

    /// Bytes of all channels' weights, of a transposed convolution those of one phase.
    fn weights(&self) -> f64 {
        self.shape.weight_elements() as f64 * self.shape.bytes as f64 / self.shape.phases as f64
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
            Place::Blocks(block) => Some(format!(
                "cache oc:{block}: their weights, {} KiB, stay near while a tile of the input is used",
                kib(self.weights() * block as f64 / self.shape.out_channels as f64)
            )),
        }
    }
}
