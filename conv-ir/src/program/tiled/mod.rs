//! One nest of a convolution in tiles ([`crate::winograd`]): strip by strip through scratch.
//!
//! ```text
//! for strip:
//!   padded[row, column, ic]     = the strip's rows of the input, zeros around them
//!   down[k, row, column, ic]    = B down the columns of each tile
//!   transformed[kl, tile, ic]   = B along the rows of each tile
//!   for each point kl:            a 1x1 convolution through every pass:
//!     products[kl, tile, oc]    = sum over ic of transformed[kl, tile, ic] * weight[kl, oc, ic]
//!   up[i, l, tile, oc]          = A back down the columns
//!   tiles[row, column, oc]      = A back along the rows
//!   output[oc, row, column]     = activation(tiles + bias + residual)
//! ```
//!
//! Channels stand last inside, whatever the caller's layout: transforms and products then have full
//! vectors for any width, and no edge but the padding, which is written once. A strip is some rows
//! of tiles, as many as leave the scratch small. Each array is dead when the next but one is
//! written, so two pieces of memory hold all of them in turns.
//!
//! Each number of a transform is one chain of multiply-adds over a tile's inputs in order, each
//! product one over the channels. So the bits follow from the description and [`Tiles`] alone; no
//! schedule, strip, machine or number of threads changes them.

mod leaves;
mod moves;
mod product;
mod sizes;

pub use sizes::choose;

use super::fuse::Lower;
use crate::nest::{
    Affine, AxisId, Bound, BufferId, BufferRole, Loop, LoopKind, Nest, Part, Quotient, Role, Stmt,
};
use crate::winograd::{Tiles, Transform};
use crate::{Conv, Error, Layout, Target, passes};
use leaves::Row;
use sizes::Sizes;

/// The nest of `conv`, which `tiles` fits, for so many threads. The one weight buffer has the
/// transformed weights ([`Tiles::weights`]).
///
/// # Errors
/// [`Error::Unsupported`] where a row of tiles needs too much scratch; those of `lower`, which
/// makes the product.
pub fn nest(
    conv: &Conv,
    tiles: &Tiles,
    (target, threads): (&Target, usize),
    lower: &mut Lower<'_>,
) -> Result<Nest, Error> {
    let Some(sizes) = Sizes::of(conv, tiles, threads) else {
        let message = format!("a row of tiles {tiles} needs too much scratch");
        return Err(Error::Unsupported { route: "tiles", message });
    };
    let mut making = Making::new(conv, tiles.transforms(), sizes, target);
    let body = making.body(tiles, lower)?;
    let mut nest = making.nest;
    nest.body = body;
    nest.needs_finite_weights = true;
    passes::finish(&mut nest, target)?;
    Ok(nest)
}

struct Making<'a> {
    conv: &'a Conv,
    transforms: [Transform; 2],
    sizes: Sizes,
    lanes: i64,
    nest: Nest,
    left: BufferId,
    right: BufferId,
    image: Affine,
    strip: Affine,
}

impl<'a> Making<'a> {
    fn new(conv: &'a Conv, transforms: [Transform; 2], sizes: Sizes, target: &Target) -> Self {
        let mut nest = Nest::new(conv.dtype(), conv.rank());
        let scratch = |nest: &mut Nest, name: &str, len: i64| {
            nest.add_buffer(name, BufferRole::Scratch, constants(&[len]))
        };
        let left = scratch(&mut nest, "left", sizes.left());
        let right = scratch(&mut nest, "right", sizes.right());
        Making {
            conv,
            transforms,
            lanes: target.lanes(conv.dtype().bytes()) as i64,
            nest,
            left,
            right,
            image: Affine::constant(0),
            strip: Affine::constant(0),
            sizes,
        }
    }

    /// An image's or a residual's buffer.
    fn image(&mut self, name: &str, role: BufferRole, channels: i64, size: [i64; 2]) -> BufferId {
        let [rows, columns] = size;
        let extents = match self.conv.spec().layout {
            Layout::ChannelsFirst => [self.sizes.images, channels, rows, columns],
            Layout::ChannelsLast => [self.sizes.images, rows, columns, channels],
        };
        self.nest.add_buffer(name, role, constants(&extents))
    }

    fn view(&mut self, of: BufferId, name: &str, extents: &[i64]) -> BufferId {
        let id = self.nest.add_view(of, constants(extents));
        self.nest.buffers[id.index()].name = name.to_owned();
        id
    }

    fn axis(&mut self, name: &str) -> AxisId {
        self.nest.add_axis(name, Role::Copy, Part::Outer)
    }

    /// The bias, as it is known or comes later.
    fn bias(&mut self) -> BufferId {
        let extents = constants(&[self.sizes.out_channels]);
        let bias = self.nest.add_buffer("bias", BufferRole::Bias, extents);
        let known = self.conv.known().and_then(|known| known.bias.clone());
        self.nest.buffers[bias.index()].values = known;
        bias
    }

    /// Every strip of every image.
    fn body(&mut self, tiles: &Tiles, lower: &mut Lower<'_>) -> Result<Vec<Stmt>, Error> {
        let spec = self.conv.spec();
        let Sizes { input, output, channels, out_channels, .. } = self.sizes;
        let from = self.image("input", BufferRole::Input, channels, input);
        let residual = spec
            .residual
            .then(|| self.image("residual", BufferRole::Residual, out_channels, output));
        let bias = spec.bias.then(|| self.bias());
        let to = self.image("output", BufferRole::Output, out_channels, output);
        let (image, strip) = (self.axis("image"), self.axis("strip"));
        (self.image, self.strip) = (Affine::axis(image), Affine::axis(strip));
        let mut stmts = self.padded(from);
        stmts.extend(self.transformed());
        stmts.extend(self.product(tiles, lower)?);
        stmts.extend(self.tiles());
        stmts.extend(self.finished((bias, residual), to));
        let kind = |shared: bool| if shared { LoopKind::Parallel } else { LoopKind::Serial };
        let by_images = self.sizes.images > 1;
        let around = |axis, extent: i64, shared, body| {
            vec![Stmt::For(Loop { kind: kind(shared), ..Loop::serial(axis, extent) }, body)]
        };
        let stmts = around(strip, self.sizes.strips, !by_images, stmts);
        Ok(around(image, self.sizes.images, by_images, stmts))
    }

    /// `for row of tiles in the strip`.
    fn rows_of_tiles(&mut self) -> (Affine, Loop) {
        let axis = self.axis("row");
        let left = self.strip.times(-self.sizes.strip).plus_constant(self.sizes.tiles[0]);
        (
            Affine::axis(axis),
            Loop { hi: least(&[self.sizes.strip.into(), left]), ..Loop::serial(axis, 0) },
        )
    }

    /// The input's transform from the padded one.
    fn transformed(&mut self) -> Vec<Stmt> {
        let Sizes { channels, tiles, outputs, points, strip, .. } = self.sizes;
        let [rows, columns] = self.sizes.padded();
        let [vertical, horizontal] = self.transforms.clone().map(|axis| axis.b);
        let width = columns * channels;
        let from = self.view(self.left, "padded_rows", &[rows, width]);
        let to = self.view(self.right, "down", &[points[0], strip, width]);
        let (row, each) = self.rows_of_tiles();
        let down = Row { name: "down", matrix: &vertical, len: width, tiles: 1, from, to };
        let mut stmts = self.transform(down, &[each], &|k, j, e, _| {
            let from = vec![row.times(outputs[0]).plus_constant(k), e.clone()];
            [from, vec![j.into(), row.clone(), e.clone()]]
        });
        let down = [points[0], strip, columns, channels];
        let from = self.view(self.right, "down_tiles", &down);
        let to = [points[0], points[1], self.sizes.count(), channels];
        let to = self.view(self.left, "transformed", &to);
        let point = self.axis("k");
        let (row, each) = self.rows_of_tiles();
        let loops = [Loop::serial(point, points[0]), each];
        let (k, len) = (Affine::axis(point), channels);
        let along = Row { name: "along", matrix: &horizontal, len, tiles: tiles[1], from, to };
        stmts.extend(self.transform(along, &loops, &|l, j, e, tile| {
            let column = tile.times(outputs[1]).plus_constant(l);
            let tile = row.times(tiles[1]).plus(tile);
            let from = vec![k.clone(), row.clone(), column, e.clone()];
            [from, vec![k.clone(), j.into(), tile, e.clone()]]
        }));
        stmts
    }

    /// The tiles of the output from the products.
    fn tiles(&mut self) -> Vec<Stmt> {
        let Sizes { out_channels, tiles, outputs, points, strip, .. } = self.sizes;
        let [vertical, horizontal] = self.transforms.clone().map(|axis| axis.a);
        let width = tiles[1] * out_channels;
        let from = self.view(self.right, "product_rows", &[points[0], points[1], strip, width]);
        let to = self.view(self.left, "up", &[outputs[0], points[1], strip, width]);
        let point = self.axis("l");
        let (row, each) = self.rows_of_tiles();
        let loops = [Loop::serial(point, points[1]), each];
        let l = Affine::axis(point);
        let up = Row { name: "up", matrix: &vertical, len: width, tiles: 1, from, to };
        let mut stmts = self.transform(up, &loops, &|k, i, e, _| {
            [k, i].map(|at| vec![at.into(), l.clone(), row.clone(), e.clone()])
        });
        let up = [outputs[0], points[1], self.sizes.count(), out_channels];
        let from = self.view(self.left, "up_tiles", &up);
        let to = [strip * outputs[0], tiles[1] * outputs[1], out_channels];
        let to = self.view(self.right, "tiles", &to);
        let output = self.axis("i");
        let (row, each) = self.rows_of_tiles();
        let loops = [each, Loop::serial(output, outputs[0])];
        let (i, len) = (Affine::axis(output), out_channels);
        let across = Row { name: "across", matrix: &horizontal, len, tiles: tiles[1], from, to };
        stmts.extend(self.transform(across, &loops, &|l, j, e, tile| {
            let from = row.times(tiles[1]).plus(tile);
            let to = row.times(outputs[0]).plus(&i);
            let column = tile.times(outputs[1]).plus_constant(j);
            [vec![i.clone(), l.into(), from, e.clone()], vec![to, column, e.clone()]]
        }));
        stmts
    }
}

fn constants(of: &[i64]) -> Vec<Affine> {
    of.iter().map(|&c| Affine::constant(c)).collect()
}

/// The smallest of these.
fn least(of: &[Affine]) -> Bound {
    Bound::Min(of.iter().cloned().map(Quotient::from).collect())
}

/// The largest of these.
fn largest(of: &[Affine]) -> Bound {
    Bound::Max(of.iter().cloned().map(Quotient::from).collect())
}
