//! The products: at every point a 1x1 convolution of a strip's tiles, lowered through every pass
//! like any other, and repeated over the points.

use super::sizes::Along;
use super::{Making, constants, inside};
use crate::lower::Layouts;
use crate::nest::{Affine, Base, BufferId, BufferRole, Embedding, Loop, Stmt, for_pointers};
use crate::program::fuse::Lower;
use crate::winograd::Tiles;
use crate::{Conv, ConvSpec, Error, Layout, Schedule, Values};

impl Making<'_> {
    /// The products of every strip, for a block of output channels; of a strip that is the last
    /// along the axis that is cut, where that has fewer tiles, by a nest of its own.
    pub(super) fn product(
        &mut self,
        tiles: &Tiles,
        lower: &mut Lower<'_>,
    ) -> Result<Vec<Stmt>, Error> {
        let mut shared = Shared::default();
        let mut stmts = Vec::new();
        let (before, _) = self.sizes.axes.split_at(self.sizes.cut);
        let rows: i64 = before.iter().map(Along::count).product();
        let strip = self.sizes.axes[self.sizes.cut].strip;
        for (around, along) in self.each_count() {
            // Fewer tiles along the axis that is cut are the first of each row of them.
            let rows = if along < strip { rows } else { 1 };
            let (mut loops, apart) = (around, self.sizes.count() / rows);
            let first = self.counted("row", rows, &mut loops).times(apart);
            let row = TileRow { first, last: (rows - 1) * apart, count: apart / strip * along };
            let products = self.products(&row, (tiles, &mut shared), lower)?;
            stmts.extend(inside(&loops, products));
        }
        Ok(stmts)
    }

    fn products(
        &mut self,
        row: &TileRow,
        (tiles, shared): (&Tiles, &mut Shared),
        lower: &mut Lower<'_>,
    ) -> Result<Vec<Stmt>, Error> {
        let conv = self.one_point(row.count)?;
        let layouts = Layouts::of(&conv);
        let lowered = match &shared.schedule {
            Some(schedule) => {
                lower(&conv, layouts, Some(schedule)).or_else(|_| lower(&conv, layouts, None))?
            }
            None => lower(&conv, layouts, None)?,
        };
        let is_same = shared.schedule.as_ref() == Some(&lowered.schedule);
        let known = if is_same { shared.packed.clone() } else { Vec::new() };
        shared.schedule.get_or_insert(lowered.schedule);
        let points = self.sizes.all_points();
        let (block, blocks) = (self.axis("block"), self.sizes.out_blocks());
        let point = Loop::serial(self.axis("point"), points);
        let every = [Loop::serial(block, blocks), point.clone()];
        let (mut steps, mut packed, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
        for buffer in &lowered.nest.buffers {
            let extents: Vec<i64> = buffer.extents.iter().filter_map(Affine::as_constant).collect();
            let all: i64 = extents.iter().product();
            let tiles_of = |channels: i64| self.sizes.count() * channels;
            // How far apart it is at each point, of each block, and of each tile.
            let (apart, of_block, of_tile) = match buffer.role {
                BufferRole::Input => (tiles_of(self.sizes.channels), 0, self.sizes.channels),
                BufferRole::Output => (tiles_of(self.sizes.block), 0, self.sizes.block),
                BufferRole::Weight => (blocks * all, all, 0),
                _ => (all, points * all, 0),
            };
            let rest: i64 = extents[1..].iter().product();
            let fits =
                [apart, of_block, of_tile * row.last.min(1)].iter().all(|step| step % rest == 0);
            assert!(fits, "tiled: {extents:?} do not repeat every {apart} or {of_block} elements");
            let len = (points - 1) * apart + (blocks - 1) * of_block + of_tile * row.last + all;
            let first = row.first.times(of_tile / rest);
            let extents = repeated(&extents, len);
            let id = match buffer.role {
                BufferRole::Input => self.array(0, "transformed_tiles", &extents),
                BufferRole::Output => self.array(1, "products", &extents),
                BufferRole::Weight => self.weight(&mut shared.weight, tiles, &extents)?,
                BufferRole::Packed => {
                    let same = |id: &BufferId| self.nest.buffer(*id).extents == constants(&extents);
                    let id = known.get(packed.len()).copied().filter(same).unwrap_or_else(|| {
                        self.nest.add_buffer(buffer.name.clone(), buffer.role, constants(&extents))
                    });
                    packed.push(id);
                    id
                }
                role => {
                    let message = format!("a product has a buffer of role {role:?}");
                    return Err(Error::Unsupported { route: "tiles", message });
                }
            };
            let at = |block: &Affine| {
                let here = Affine::axis(point.axis).times(apart / rest).plus(&first);
                here.plus(&block.times(of_block / rest))
            };
            steps.push((id, at(&self.block), at(&Affine::axis(block))));
            buffers.push(id);
        }
        let embedded = shared.embedding.embed(&mut self.nest, &lowered.nest, &buffers, "");
        let further = steps.iter().map(|(id, _, setup)| (*id, setup.clone())).collect::<Vec<_>>();
        let setup = at_each(embedded.setup, &every, &further);
        if packed != known {
            self.nest.setup.extend(setup);
            shared.packed = packed;
        }
        let further = steps.into_iter().map(|(id, body, _)| (id, body)).collect::<Vec<_>>();
        Ok(at_each(embedded.body, &[point], &further))
    }

    /// The transformed weights with these extents: what comes later or, of known ones, numbers.
    fn weight(
        &mut self,
        known: &mut Option<BufferId>,
        tiles: &Tiles,
        extents: &[i64],
    ) -> Result<BufferId, Error> {
        let values = match (*known, self.conv.known()) {
            (Some(id), _) if self.nest.buffer(id).extents == constants(extents) => return Ok(id),
            (Some(id), _) => self.nest.buffer(id).values.clone(),
            (None, Some(of)) => {
                let made = tiles.weights(self.conv, &of.weight)?;
                Some(Values::rounded("transformed weight", self.conv.dtype(), &made)?)
            }
            (None, None) => None,
        };
        let id = match (*known, &values) {
            (Some(id), None) => self.view(id, "weight_points", extents),
            _ => self.nest.add_buffer("weight", BufferRole::Weight, constants(extents)),
        };
        self.nest.buffers[id.index()].values = values;
        known.get_or_insert(id);
        Ok(id)
    }

    /// The convolution at one point.
    fn one_point(&self, count: i64) -> Result<Conv, Error> {
        let spec = self.conv.spec();
        Conv::new(ConvSpec {
            types: spec.types,
            layout: Layout::ChannelsLast,
            in_channels: spec.in_channels,
            out_channels: self.sizes.block as usize,
            groups: spec.groups,
            ..ConvSpec::new([count as usize], [1])
        })
    }
}

/// Tiles that stand in a row of a strip: the first of them, that of the last row, and how many.
struct TileRow {
    first: Affine,
    last: i64,
    count: i64,
}

/// What the nests of several strips share.
#[derive(Default)]
struct Shared {
    weight: Option<BufferId>,
    schedule: Option<Schedule>,
    packed: Vec<BufferId>,
    embedding: Embedding,
}

/// Extents of so many elements, longer than these in the first dimension alone.
fn repeated(extents: &[i64], len: i64) -> Vec<i64> {
    let rest: i64 = extents[1..].iter().product();
    let mut all = extents.to_vec();
    all[0] = len / rest;
    all
}

/// These statements in loops, with each buffer's pointers so much further along the first
/// dimension.
fn at_each(mut stmts: Vec<Stmt>, loops: &[Loop], further: &[(BufferId, Affine)]) -> Vec<Stmt> {
    for_pointers(&mut stmts, &mut |pointer| {
        let step = further.iter().find(|(id, _)| pointer.base == Base::Buffer(*id));
        let index = pointer.index[0].as_affine();
        if let (Some((_, step)), Some(index)) = (step, index) {
            pointer.index[0] = index.plus(step).into();
        }
    });
    if stmts.is_empty() { stmts } else { inside(loops, stmts) }
}
