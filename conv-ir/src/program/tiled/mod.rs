//! One nest of a convolution in tiles ([`crate::winograd`]): strip by strip through scratch.
//!
//! ```text
//! for strip:                     of two axes, rows and columns:
//!   padded[row, column, ic]        the strip's part of the input, zeros around it
//!   down[k, row, column, ic]       B down the columns of each tile
//!   transformed[kl, tile, ic]      B along the rows of each tile
//!   for some output channels:
//!     for each point kl:             a 1x1 convolution through every pass:
//!       products[kl, tile, oc]         sum of transformed[kl, tile, ic] * weight[kl, oc, ic]
//!     up[i, l, tile, oc]             A back down the columns
//!     done[row, column, oc]          A back along the rows
//!     output[oc, row, column]        activation(done + bias + residual)
//! ```
//!
//! Channels stand last inside, whatever the caller's layout: transforms and products then have full
//! vectors for any width, and no edge but the padding, which is written once. Of any number of axes
//! each is transformed in its turn, the outermost first on both ways; images of the batch are an
//! axis that is left alone. A strip is a box of tiles, as many as leave the scratch small (by
//! `sizes.rs`); weights are read once a strip. Each array is dead when the next but one is
//! written, so a few pieces of memory hold all of them in turns. Under a dilated window the inputs
//! of a tile are as far apart as its taps, so are its outputs, and tiles lie in one another.
//!
//! Each number of a transform is one chain of multiply-adds over a tile's inputs in order, each
//! product one over the channels. So the bits follow from the description and [`Tiles`] alone; no
//! schedule, strip, machine or number of threads changes them.

mod choose;
mod leaves;
mod moves;
mod product;
mod sizes;
mod transforms;

pub use choose::{Weights, choose, chosen, direct, price};

use std::ops::Range;

use super::fuse::Lower;
use super::moves::moving;
use crate::lower::{Layouts, prelu};
use crate::nest::{
    Access, Affine, AxisId, Bound, BufferId, BufferRole, Call, Loop, LoopKind, Nest, Part,
    Quotient, Role, Stmt,
};
use crate::winograd::{Tiles, Transform};
use crate::{Conv, Error, Layout, Target, passes};
use sizes::Sizes;

/// What a convolution in tiles may take.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Threads that share it.
    pub threads: usize,
    /// Bytes of scratch of each at most; `None` is a MiB, more where no cache holds the weights.
    pub scratch: Option<usize>,
}

/// The nest of `conv`, whose arrays lie like this and which `tiles` fits. The one weight buffer has
/// the transformed weights ([`Tiles::weights`]).
///
/// # Errors
/// [`Error::Unsupported`] where one tile needs too much scratch; those of `lower`, which makes the
/// product.
pub fn nest(
    (conv, layouts): (&Conv, Layouts),
    tiles: &Tiles,
    (target, room): (&Target, Room),
    lower: &mut Lower<'_>,
) -> Result<Nest, Error> {
    let Some(sizes) = Sizes::of(conv, tiles, room) else {
        let message = format!("one tile of {tiles} needs too much scratch");
        return Err(Error::Unsupported { route: "tiles", message });
    };
    let mut making = Making::new((conv, layouts), tiles.transforms(), sizes, target);
    let body = making.body(tiles, lower)?;
    let mut nest = making.nest;
    nest.body = body;
    nest.needs_finite_weights = true;
    passes::finish(&mut nest, target)?;
    Ok(nest)
}

struct Making<'a> {
    conv: &'a Conv,
    layouts: Layouts,
    transforms: Vec<&'static Transform>,
    sizes: Sizes,
    lanes: i64,
    nest: Nest,
    /// Pieces of scratch ([`Sizes::scratch`]).
    scratch: Vec<BufferId>,
    /// Which strip along each axis, and which block of output channels.
    strip: Vec<Affine>,
    block: Affine,
}

impl<'a> Making<'a> {
    fn new(
        (conv, layouts): (&'a Conv, Layouts),
        transforms: Vec<&'static Transform>,
        sizes: Sizes,
        target: &Target,
    ) -> Self {
        let mut nest = Nest::new(conv.dtype(), conv.rank());
        let pieces = ["left", "right", "back"].into_iter().zip(sizes.scratch());
        let scratch = pieces
            .filter(|(_, len)| *len > 0)
            .map(|(name, len)| nest.add_buffer(name, BufferRole::Scratch, constants(&[len])));
        Making {
            conv,
            layouts,
            transforms,
            scratch: scratch.collect(),
            lanes: target.lanes(conv.dtype().bytes()) as i64,
            nest,
            strip: vec![Affine::constant(0); sizes.axes.len()],
            block: Affine::constant(0),
            sizes,
        }
    }

    /// An image's or a residual's buffer, with the extents of each axis, images first.
    fn image(&mut self, name: &str, role: BufferRole, channels: i64, sizes: &[i64]) -> BufferId {
        let mut extents = sizes.to_vec();
        let Layouts { input, residual, output, gaps } = self.layouts;
        let (layout, gap) = match role {
            BufferRole::Residual => (residual, gaps.residual),
            BufferRole::Output => (output, gaps.output),
            _ => (input, gaps.input),
        };
        match layout {
            Layout::ChannelsFirst => extents.insert(1, channels),
            Layout::ChannelsLast => extents.push(channels + gap as i64),
        }
        self.nest.add_buffer(name, role, constants(&extents))
    }

    /// A piece of scratch as an array.
    fn array(&mut self, piece: usize, name: &str, extents: &[i64]) -> BufferId {
        self.view(self.scratch[piece], name, extents)
    }

    fn view(&mut self, of: BufferId, name: &str, extents: &[i64]) -> BufferId {
        let id = self.nest.add_view(of, constants(extents));
        self.nest.buffers[id.index()].name = name.to_owned();
        id
    }

    fn axis(&mut self, name: &str) -> AxisId {
        self.nest.add_axis(name, Role::Copy, Part::Outer)
    }

    /// A driver loop, where there is more than one to count.
    fn counted(&mut self, name: &str, count: i64, loops: &mut Vec<Loop>) -> Affine {
        if count == 1 {
            return Affine::constant(0);
        }
        let axis = self.axis(name);
        loops.push(Loop::serial(axis, count));
        Affine::axis(axis)
    }

    /// The bias: as it is known, or packed beside the weights.
    fn bias(&mut self) -> BufferId {
        let extents = constants(&[self.sizes.out_channels]);
        let bias = self.nest.add_buffer("bias", BufferRole::Bias, extents.clone());
        let known = self.conv.known().and_then(|known| known.bias.clone());
        if known.is_some() {
            self.nest.buffers[bias.index()].values = known;
            return bias;
        }
        let packed = self.nest.add_buffer("packed_bias", BufferRole::Packed, extents);
        let (both, count) = ([bias, packed], (1, self.sizes.out_channels));
        let leaf = moving(&mut self.nest, both, count, "pack_bias".to_owned());
        let pointers = both.map(|id| Access::buffer(id, [Affine::constant(0)])).to_vec();
        self.nest.setup.push(Stmt::Call(Call { leaf, pointers, ints: Vec::new() }));
        packed
    }

    /// Every strip of every image.
    fn body(&mut self, tiles: &Tiles, lower: &mut Lower<'_>) -> Result<Vec<Stmt>, Error> {
        let spec = self.conv.spec();
        let (channels, out_channels) = (self.sizes.channels, self.sizes.out_channels);
        let sizes = |output: bool| -> Vec<i64> {
            let of = self.sizes.axes.iter();
            of.map(|axis| if output { axis.output } else { axis.input }).collect()
        };
        let (input, output) = (sizes(false), sizes(true));
        let from = self.image("input", BufferRole::Input, channels, &input);
        let residual = spec
            .residual
            .then(|| self.image("residual", BufferRole::Residual, out_channels, &output));
        let bias = spec.bias.then(|| self.bias());
        let slopes = prelu::slopes(self.conv, &mut self.nest, &[out_channels]);
        let to = self.image("output", BufferRole::Output, out_channels, &output);
        let strips = self.loops_over_strips();
        let mut blocks = Vec::new();
        self.block = self.counted("block", self.sizes.out_blocks(), &mut blocks);
        let mut stmts = self.padded(from);
        stmts.extend(self.transformed());
        let mut back = self.product(tiles, lower)?;
        back.extend(self.done());
        back.extend(self.finished([bias, slopes], residual, to));
        stmts.extend(inside(&blocks, back));
        Ok(inside(&strips, stmts))
    }

    /// Over the strips of each axis; threads share the first of which there are several.
    fn loops_over_strips(&mut self) -> Vec<Loop> {
        let mut loops = Vec::new();
        for at in 0..=self.sizes.cut {
            let strips = self.sizes.axes[at].strips();
            self.strip[at] = self.counted(&format!("strip{at}"), strips, &mut loops);
        }
        if loops.is_empty() {
            loops.push(Loop::serial(self.axis("strip"), 1));
        }
        loops[0].kind = LoopKind::Parallel;
        loops
    }

    /// How many tiles a strip has along the axis that is cut, each with loops around what is done
    /// for such strips: the last may have fewer.
    fn each_count(&mut self) -> Vec<(Vec<Loop>, i64)> {
        let axis = self.sizes.axes[self.sizes.cut];
        if axis.last() == axis.strip {
            return vec![(Vec::new(), axis.strip)];
        }
        let (before, behind) = (self.axis("before"), self.axis("behind"));
        // Whether it is the last strip: `strip - (strips - 1)` is 0, else less.
        let left = self.strip[self.sizes.cut].times(-1).plus_constant(axis.strips() - 1);
        let before = Loop { hi: least(&[1.into(), left.clone()]), ..Loop::serial(before, 1) };
        let behind = Loop { lo: least(&[1.into(), left]), ..Loop::serial(behind, 1) };
        vec![(vec![before], axis.strip), (vec![behind], axis.last())]
    }

    /// One of the tiles of these axes in a strip, counted through, and the loops over them. Of the
    /// axis that is cut the last strip has fewer.
    fn each_tile(&mut self, axes: Range<usize>, loops: &mut Vec<Loop>) -> Affine {
        let mut tile = Affine::constant(0);
        for at in axes {
            tile = tile.times(self.sizes.axes[at].count()).plus(&self.tile_along(at, loops).number);
        }
        tile
    }

    fn tile_along(&mut self, at: usize, loops: &mut Vec<Loop>) -> Tile {
        let axis = self.sizes.axes[at];
        let clump = self.counted("tile", axis.strip, loops);
        if let Some(each) = loops.last_mut().filter(|_| axis.strip > 1 && axis.strips() > 1) {
            let left = self.strip[at].times(-axis.strip).plus_constant(axis.tiles);
            each.hi = least(&[axis.strip.into(), left]);
        }
        self.tile_of_clump(at, &clump, loops)
    }

    /// One of the tiles of a clump, counted through.
    fn tile_of_clump(&mut self, at: usize, clump: &Affine, loops: &mut Vec<Loop>) -> Tile {
        let axis = self.sizes.axes[at];
        let one = self.counted("apart", axis.apart, loops);
        Tile {
            number: clump.times(axis.apart).plus(&one),
            first: clump.times(axis.further()).plus(&one),
        }
    }
}

/// A tile along an axis: which one of a strip, and its first input and output.
struct Tile {
    number: Affine,
    first: Affine,
}

/// These loops around.
fn inside(loops: &[Loop], body: Vec<Stmt>) -> Vec<Stmt> {
    loops.iter().rev().fold(body, |body, each| vec![Stmt::For(each.clone(), body)])
}

fn constants(of: &[i64]) -> Vec<Affine> {
    of.iter().map(|&c| Affine::constant(c)).collect()
}

/// The smallest of these.
fn least(of: &[Affine]) -> Bound {
    bound(of, Bound::Min)
}

/// The largest of these.
fn largest(of: &[Affine]) -> Bound {
    bound(of, Bound::Max)
}

/// One number where all of them are.
fn bound(of: &[Affine], choice: fn(Vec<Quotient>) -> Bound) -> Bound {
    let bound = choice(of.iter().cloned().map(Quotient::from).collect());
    match bound.as_constant() {
        Some(constant) => choice(vec![constant.into()]),
        None => bound,
    }
}
