//! The products: at every point a 1x1 convolution of a strip's tiles, lowered through every pass
//! like any other, and repeated over the points.

use super::{Making, Sizes, constants, least};
use crate::lower::Layouts;
use crate::nest::{Affine, Base, BufferId, BufferRole, Embedding, Loop, Stmt, for_pointers};
use crate::program::fuse::Lower;
use crate::winograd::Tiles;
use crate::{Conv, ConvSpec, Error, Layout, Schedule, Values};

impl Making<'_> {
    /// The products of every strip; of the last one, where it has fewer rows, by a nest of its own.
    pub(super) fn product(
        &mut self,
        tiles: &Tiles,
        lower: &mut Lower<'_>,
    ) -> Result<Vec<Stmt>, Error> {
        let Sizes { strip, strips, tiles: [_, columns], .. } = self.sizes;
        let last = self.sizes.last();
        let mut shared = Shared::default();
        let mut stmts = self.products(strip * columns, (tiles, &mut shared), lower)?;
        if last == strip {
            return Ok(stmts);
        }
        let rest = self.products(last * columns, (tiles, &mut shared), lower)?;
        let (before, behind) = (self.axis("before"), self.axis("behind"));
        // Whether it is the last strip: `strip - (strips - 1)` is 0, else less.
        let left = self.strip.times(-1).plus_constant(strips - 1);
        let before = Loop { hi: least(&[1.into(), left.clone()]), ..Loop::serial(before, 1) };
        let behind = Loop { lo: least(&[1.into(), left]), ..Loop::serial(behind, 1) };
        stmts = vec![Stmt::For(before, stmts), Stmt::For(behind, rest)];
        Ok(stmts)
    }

    fn products(
        &mut self,
        count: i64,
        (tiles, shared): (&Tiles, &mut Shared),
        lower: &mut Lower<'_>,
    ) -> Result<Vec<Stmt>, Error> {
        let Sizes { channels, out_channels, .. } = self.sizes;
        let conv = self.one_point(count)?;
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
        let point = self.axis("point");
        let points = self.sizes.all_points();
        let (mut steps, mut packed, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
        for buffer in &lowered.nest.buffers {
            let extents: Vec<i64> = buffer.extents.iter().filter_map(Affine::as_constant).collect();
            let len = match buffer.role {
                BufferRole::Input => self.sizes.count() * channels,
                BufferRole::Output => self.sizes.count() * out_channels,
                _ => extents.iter().product(),
            };
            let (step, extents) = repeated(&extents, len, points);
            let id = match buffer.role {
                BufferRole::Input => self.view(self.left, "transformed_tiles", &extents),
                BufferRole::Output => self.view(self.right, "products", &extents),
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
            steps.push((id, step));
            buffers.push(id);
        }
        let embedded = shared.embedding.embed(&mut self.nest, &lowered.nest, &buffers, "");
        let setup = at_each(embedded.setup, Loop::serial(point, points), &steps);
        if packed != known {
            self.nest.setup.extend(setup);
            shared.packed = packed;
        }
        Ok(at_each(embedded.body, Loop::serial(point, points), &steps))
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
            dtype: spec.dtype,
            layout: Layout::ChannelsLast,
            in_channels: spec.in_channels,
            out_channels: spec.out_channels,
            ..ConvSpec::new([count as usize], [1])
        })
    }
}

/// What the nests of several strips share.
#[derive(Default)]
struct Shared {
    weight: Option<BufferId>,
    schedule: Option<Schedule>,
    packed: Vec<BufferId>,
    embedding: Embedding,
}

/// A buffer of these extents so many times, each `len` elements behind the one before: how far that
/// is along the first dimension, and the extents of all.
fn repeated(extents: &[i64], len: i64, count: i64) -> (i64, Vec<i64>) {
    let rest: i64 = extents[1..].iter().product();
    assert_eq!(len % rest, 0, "tiled: {extents:?} do not repeat every {len} elements");
    let step = len / rest;
    let mut all = extents.to_vec();
    all[0] = step * count;
    (step, all)
}

/// `for point: stmts`, with each buffer's pointers that far apart.
fn at_each(mut stmts: Vec<Stmt>, points: Loop, steps: &[(BufferId, i64)]) -> Vec<Stmt> {
    let point = Affine::axis(points.axis);
    for_pointers(&mut stmts, &mut |pointer| {
        let step = steps.iter().find(|(id, _)| pointer.base == Base::Buffer(*id));
        let index = pointer.index[0].as_affine();
        if let (Some((_, step)), Some(index)) = (step, index) {
            pointer.index[0] = index.plus(&point.times(*step)).into();
        }
    });
    if stmts.is_empty() { stmts } else { vec![Stmt::For(points, stmts)] }
}
