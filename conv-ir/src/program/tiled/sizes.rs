//! How a convolution is cut into strips of tiles, and what that takes.

use super::Room;
use crate::Conv;
use crate::winograd::Tiles;

/// Bytes of a thread's scratch at most, where a cache holds the weights: the transformed inputs,
/// which wait for the products of all points, and those stay in a second-level cache.
const MOST_SCRATCH: i64 = 1 << 20;

/// Bytes of weights that a third-level cache still holds where others use it too: of 32 MiB, on
/// Zen 5.
pub(super) const HELD: i64 = 14 << 20;

/// Larger transformed weights are so many times as large as a thread's scratch may be at least:
/// they come from memory once a strip, so few strips are worth more than a scratch that stays near.
const OF_WEIGHTS: i64 = 8;

/// Output channels that are computed at a time are so many times as many, and at least twice as
/// many: full vectors and registers on every machine.
const CHANNELS: i64 = 16;

/// One axis: images of the batch, which stand first and are left alone, or positions.
#[derive(Clone, Copy)]
pub(super) struct Along {
    pub input: i64,
    pub output: i64,
    /// Zeros before the input; less than none where its start is not seen.
    pub pad: i64,
    /// How far apart the inputs of a tile are, and its outputs: of a dilated window its dilation.
    /// So many tiles lie in one another, a clump of them: what is counted in tiles below.
    pub apart: i64,
    /// Outputs of a tile.
    pub outputs: i64,
    /// Points, and inputs of a tile.
    pub points: i64,
    /// Clumps of all of it; without dilation, tiles.
    pub tiles: i64,
    /// Clumps of a strip.
    pub strip: i64,
}

impl Along {
    /// Inputs of a strip.
    pub fn padded(&self) -> i64 {
        (self.strip - 1) * self.further() + self.points * self.apart
    }

    /// Outputs of a strip, some of them beyond the last.
    pub fn done(&self) -> i64 {
        self.strip * self.further()
    }

    /// Outputs of a clump.
    pub fn further(&self) -> i64 {
        self.outputs * self.apart
    }

    /// Tiles of a strip.
    pub fn count(&self) -> i64 {
        self.strip * self.apart
    }

    /// Strips along it.
    pub fn strips(&self) -> i64 {
        ceil(self.tiles, self.strip)
    }

    /// Clumps of the last strip.
    pub fn last(&self) -> i64 {
        self.tiles - (self.strips() - 1) * self.strip
    }

    /// The input's first position that a strip sees is this, and so many further on each strip.
    pub fn first(&self) -> (i64, i64) {
        (-self.pad, self.done())
    }

    /// Whether a strip sees the input's end.
    pub fn sees_end(&self) -> bool {
        let (first, apart) = self.first();
        first + (self.strips() - 1) * apart + self.padded() > self.input
    }
}

/// The numbers of a convolution in tiles. A strip is a box of tiles: one of each axis before the
/// one that is cut, all of each behind it.
pub(super) struct Sizes {
    /// Images, then the spatial axes.
    pub axes: Vec<Along>,
    pub channels: i64,
    pub out_channels: i64,
    pub groups: i64,
    /// Output channels that are computed at a time; they divide all.
    pub block: i64,
    /// The axis along which strips have not one tile, nor all.
    pub cut: usize,
}

impl Sizes {
    /// With strips as large as scratch allows, and as many as there are threads to share an image;
    /// `None` where not even one tile fits.
    pub fn of(conv: &Conv, tiles: &Tiles, room: Room) -> Option<Sizes> {
        let (spec, equation) = (conv.spec(), conv.equation());
        let extent = |size: Option<usize>| size.and_then(|n| i64::try_from(n).ok());
        let images = extent(spec.batch.known())?;
        let batch = Along {
            input: images,
            output: images,
            pad: 0,
            apart: 1,
            outputs: 1,
            points: 1,
            tiles: images,
            strip: 1,
        };
        let mut axes = vec![batch];
        for (axis, transform) in equation.iter().zip(tiles.transforms()) {
            let (output, outputs) = (extent(axis.output.known())?, transform.outputs() as i64);
            let apart = if transform.is_identity() { 1 } else { axis.dilation };
            axes.push(Along {
                input: extent(axis.input.known())?,
                output,
                pad: axis.pad_lo,
                apart,
                outputs,
                points: transform.inputs() as i64,
                tiles: ceil(output, outputs * apart),
                strip: 1,
            });
        }
        let sizes = Sizes {
            axes,
            channels: extent(Some(spec.in_channels))?,
            out_channels: extent(Some(spec.out_channels))?,
            groups: extent(Some(spec.groups))?,
            block: extent(Some(spec.out_channels))?,
            cut: 0,
        };
        let bytes = conv.dtype().bytes() as i64;
        let weights = elements(&[sizes.all_points(), sizes.pairs()]).saturating_mul(bytes);
        let is_far = weights > HELD;
        let usual = if is_far { MOST_SCRATCH.max(weights / OF_WEIGHTS) } else { MOST_SCRATCH };
        let most = room.scratch.map_or(usual, |n| i64::try_from(n).unwrap_or(i64::MAX)) / bytes;
        let cut = sizes.blocks().filter_map(|block| sizes.with_block(block).cut_to(most));
        // Of as few strips those that stay nearest, then those with the largest blocks.
        let near = MOST_SCRATCH / bytes;
        let mut sizes = cut.min_by_key(|sizes| (sizes.strips(), sizes.all_scratch().max(near)))?;
        sizes.share(i64::try_from(room.threads).unwrap_or(i64::MAX));
        Some(sizes)
    }

    /// How many output channels may be computed at a time, the most first.
    fn blocks(&self) -> impl Iterator<Item = i64> + use<> {
        let all = self.out_channels;
        let most = if self.groups == 1 { all / (2 * CHANNELS) } else { 1 };
        let fits = move |count: &i64| all % count == 0 && (all / count) % CHANNELS == 0;
        std::iter::once(all).chain((2..=most).filter(fits).map(move |count| all / count))
    }

    fn with_block(&self, block: i64) -> Sizes {
        Sizes { axes: self.axes.clone(), block, ..*self }
    }

    /// Strips that take at most so many elements of scratch: as many tiles as there is room for of
    /// the last axis, then of the one before.
    fn cut_to(mut self, most: i64) -> Option<Sizes> {
        let fits = |sizes: &Sizes| sizes.all_scratch() <= most;
        if !fits(&self) {
            return None;
        }
        for at in (0..self.axes.len()).rev() {
            self.cut = at;
            // The most that fit are in `fit..beyond`.
            let (mut fit, mut beyond) = (1, self.axes[at].tiles.max(1) + 1);
            while beyond - fit > 1 {
                let strip = fit + (beyond - fit) / 2;
                self.axes[at].strip = strip;
                if fits(&self) {
                    fit = strip;
                } else {
                    beyond = strip;
                }
            }
            self.axes[at].strip = fit;
            if fit < self.axes[at].tiles {
                break;
            }
        }
        Some(self)
    }

    /// As many strips as threads, where there are tiles for them, and all about as large.
    fn share(&mut self, threads: i64) {
        // Where all of an image, or all images, are one strip, the axis that threads share.
        let several = |at: &usize| self.axes[*at].tiles > 1;
        self.cut = (self.cut..self.axes.len()).find(several).unwrap_or(self.cut);
        let before = self.axes[..self.cut].iter().any(|axis| axis.tiles > 1);
        let cut = &mut self.axes[self.cut];
        let shared = if before { 1 } else { threads.min(cut.tiles) };
        let strips = ceil(cut.tiles, cut.strip).max(shared).max(1);
        cut.strip = ceil(cut.tiles, strips).max(1);
    }

    /// Strips of the whole batch.
    pub fn strips(&self) -> i64 {
        elements(&self.axes[..=self.cut].iter().map(Along::strips).collect::<Vec<_>>())
    }

    /// Tiles of a strip.
    pub fn count(&self) -> i64 {
        self.axes.iter().map(Along::count).product()
    }

    /// Points of a tile.
    pub fn all_points(&self) -> i64 {
        self.axes.iter().map(|axis| axis.points).product()
    }

    /// Pairs of an input and an output channel.
    pub fn pairs(&self) -> i64 {
        elements(&[self.channels / self.groups, self.out_channels])
    }

    /// How often the output channels of a block are all of them.
    pub fn out_blocks(&self) -> i64 {
        self.out_channels / self.block
    }

    /// The axes that are transformed, by position.
    pub fn transformed(&self) -> Vec<usize> {
        (0..self.axes.len()).filter(|at| self.axes[*at].points > 1).collect()
    }

    /// Elements of the input where the axes before `at` are transformed.
    fn there(&self, at: usize) -> i64 {
        let (before, behind) = self.axes.split_at(at);
        let before = before.iter().flat_map(|axis| [axis.points, axis.count()]);
        let all = before.chain(behind.iter().map(Along::padded)).chain([self.channels]);
        elements(&all.collect::<Vec<_>>())
    }

    /// Elements of the output where the axes before `at` are transformed back.
    fn back(&self, at: usize) -> i64 {
        let (before, behind) = self.axes.split_at(at);
        let before = before.iter().map(|axis| axis.outputs);
        let all = before.chain(behind.iter().map(|axis| axis.points));
        elements(&all.chain([self.count(), self.block]).collect::<Vec<_>>())
    }

    /// Elements of each piece of scratch. The first has the transformed input, the second the
    /// products; both take turns on the way there, and the last two on the way back. Where all
    /// output channels are computed at a time the first is the last as well.
    pub fn scratch(&self) -> [i64; 3] {
        let mut most = [0; 3];
        let axes = self.transformed();
        let mut take = |piece: usize, len: i64| most[piece] = len.max(most[piece]);
        let count = axes.len();
        for (step, at) in axes.iter().enumerate() {
            take(self.piece_there(count - step), self.there(*at));
            take(self.piece_back(step), self.back(*at));
        }
        let end = self.axes.len();
        take(0, self.there(end));
        // The output's tiles and, beside them, a residual.
        take(self.piece_back(count), self.back(end));
        take(self.piece_back(count + 1), self.back(end));
        most
    }

    /// Elements of all scratch.
    pub fn all_scratch(&self) -> i64 {
        self.scratch().iter().fold(0, |all: i64, n| all.saturating_add(*n))
    }

    /// Where the input is so many transforms before the last.
    pub fn piece_there(&self, left: usize) -> usize {
        left % 2
    }

    /// Where the output is after so many transforms.
    pub fn piece_back(&self, step: usize) -> usize {
        match (step % 2, self.out_blocks()) {
            (0, _) => 1,
            (_, 1) => 0,
            _ => 2,
        }
    }
}

pub(super) fn ceil(a: i64, b: i64) -> i64 {
    a / b + i64::from(a % b > 0)
}

/// The product, or the largest number.
pub(super) fn elements(of: &[i64]) -> i64 {
    of.iter().fold(1, |all, &n| all.saturating_mul(n))
}
