//! The transforms of a strip, axis by axis.
//!
//! ```text
//! there  [points before, tiles before, inputs, behind]  to  [points before, points, tiles, behind]
//! back   [outputs before, points, points behind, tiles] to  [outputs before, outputs, .., tiles]
//! ```
//!
//! What stands behind an axis lies in a row, channels last; the last transform back puts each
//! output to its place.

use super::leaves::Transform;
use super::sizes::{Along, elements};
use super::{Making, Tile};
use crate::nest::{Affine, Loop, Stmt};

fn product(axes: &[Along], of: impl Fn(&Along) -> i64) -> i64 {
    elements(&axes.iter().map(of).collect::<Vec<_>>())
}

impl Making<'_> {
    /// The input's transform from the padded one.
    pub(super) fn transformed(&mut self) -> Vec<Stmt> {
        let axes = self.sizes.transformed();
        let count = axes.len();
        let there = |(step, at)| self.there(at, count - step);
        axes.into_iter().enumerate().flat_map(there).collect()
    }

    /// The tiles of the output from the products.
    pub(super) fn done(&mut self) -> Vec<Stmt> {
        let axes = self.sizes.transformed();
        let last = axes.len() - 1;
        let back = |(step, at)| match step == last {
            true => self.back_to_places(at, step),
            false => self.back(at, step),
        };
        axes.into_iter().enumerate().flat_map(back).collect()
    }

    /// Whether the axis that is cut is the last, so that what stands behind it in a row is short.
    fn cuts_last(&self) -> bool {
        self.sizes.cut + 1 == self.sizes.axes.len()
    }

    /// The first of the tiles of an axis that a leaf counts through, one of each clump, and how
    /// many there are: one, where what stands behind the axis that is cut is long.
    fn in_leaf(&mut self, at: usize, loops: &mut Vec<Loop>) -> (Tile, i64) {
        match at == self.sizes.cut && !self.cuts_last() {
            true => (self.tile_along(at, loops), 1),
            false => {
                let first = self.tile_of_clump(at, &Affine::constant(0), loops);
                (first, self.sizes.axes[at].strip)
            }
        }
    }

    /// Of one axis of the input, with so many to come.
    fn there(&mut self, at: usize, left: usize) -> Vec<Stmt> {
        let axis = self.sizes.axes[at];
        let (before, behind) = (&self.sizes.axes[..at], &self.sizes.axes[at + 1..]);
        let points = product(before, |axis| axis.points);
        let tiles = product(before, Along::count);
        let len = product(behind, Along::padded) * self.sizes.channels;
        let (from, to) = (self.sizes.piece_there(left), self.sizes.piece_there(left - 1));
        let from = self.array(from, "inputs", &[points, tiles, axis.padded(), len]);
        let to = self.array(to, "points", &[points, axis.points, tiles, axis.count(), len]);
        let mut loops = Vec::new();
        let k = self.counted("point", points, &mut loops);
        let tile = self.each_tile(0..at, &mut loops);
        let (first, count) = self.in_leaf(at, &mut loops);
        let transform = self.transforms[at - 1];
        let matrix = &transform.b;
        let transform = Transform { name: "there", matrix, len, tiles: count, from, to };
        self.transform(transform, &loops, &|l, j, e, within| {
            let here = first.number.plus(&within.times(axis.apart));
            let input = first.first.plus(&within.times(axis.further()));
            let input = input.plus_constant(l * axis.apart);
            let from = vec![k.clone(), tile.clone(), input, e.clone()];
            [from, vec![k.clone(), j.into(), tile.clone(), here, e.clone()]]
        })
    }

    /// Of one axis of the output that is not the last, in place of so many.
    fn back(&mut self, at: usize, step: usize) -> Vec<Stmt> {
        let axis = self.sizes.axes[at];
        let outputs = product(&self.sizes.axes[..at], |axis| axis.outputs);
        let points = product(&self.sizes.axes[at + 1..], |axis| axis.points);
        // Tiles of the axis that is cut one by one, if there is something in a row behind.
        let each = self.sizes.cut + usize::from(!self.cuts_last());
        let tiles = product(&self.sizes.axes[..each], Along::count);
        let len = product(&self.sizes.axes[each..], Along::count) * self.sizes.block;
        let (from, to) = (self.sizes.piece_back(step), self.sizes.piece_back(step + 1));
        let from = self.array(from, "sums", &[outputs, axis.points, points, tiles, len]);
        let to = self.array(to, "back", &[outputs, axis.outputs, points, tiles, len]);
        let mut stmts = Vec::new();
        let cut = self.strip_cut();
        for (mut loops, along) in self.each_end(self.cuts_last()) {
            let output = self.counted("output", outputs, &mut loops);
            let point = self.counted("point", points, &mut loops);
            let tile = self.each_tile(0..each, &mut loops);
            let matrix = &self.transforms[at - 1].a;
            // All of them, where they are not in the row.
            let len = if self.cuts_last() { len / cut * along } else { len };
            let transform = Transform { name: "back", matrix, len, tiles: 1, from, to };
            stmts.extend(self.transform(transform, &loops, &|k, i, e, _| {
                [k, i].map(|here| {
                    vec![output.clone(), here.into(), point.clone(), tile.clone(), e.clone()]
                })
            }));
        }
        stmts
    }

    /// [`each_count`](Self::each_count) where the driver does not count these tiles.
    fn each_end(&mut self, is_in_leaf: bool) -> Vec<(Vec<Loop>, i64)> {
        match is_in_leaf {
            true => self.each_count(),
            false => vec![(Vec::new(), self.strip_cut())],
        }
    }

    /// Clumps of a strip along the axis that is cut.
    fn strip_cut(&self) -> i64 {
        self.sizes.axes[self.sizes.cut].strip
    }

    /// Of the last axis of the output that is transformed.
    fn back_to_places(&mut self, at: usize, step: usize) -> Vec<Stmt> {
        let axis = self.sizes.axes[at];
        let before = self.sizes.axes[..at].to_vec();
        let outputs = product(&before, |axis| axis.outputs);
        let tiles = product(&before, Along::count);
        let len = product(&self.sizes.axes[at + 1..], Along::count) * self.sizes.block;
        let (from, to) = (self.sizes.piece_back(step), self.sizes.piece_back(step + 1));
        let from = self.array(from, "sums", &[outputs, axis.points, tiles, axis.count(), len]);
        let to = self.array(to, "places", &[product(&before, Along::done), axis.done(), len]);
        let (is_cut, cut) = (at == self.sizes.cut, self.strip_cut());
        let mut stmts = Vec::new();
        // Where an axis behind is cut, there are fewer in a row.
        let is_in_leaf = at < self.sizes.cut || is_cut && self.cuts_last();
        for (mut loops, along) in self.each_end(is_in_leaf) {
            let [mut output, mut tile, mut place] = [0; 3].map(Affine::constant);
            for (at, axis) in before.iter().enumerate() {
                let one = self.tile_along(at, &mut loops);
                let i = self.counted("output", axis.outputs, &mut loops);
                output = output.times(axis.outputs).plus(&i);
                tile = tile.times(axis.count()).plus(&one.number);
                let i = i.times(axis.apart);
                place = place.times(axis.done()).plus(&one.first).plus(&i);
            }
            let (first, count) = self.in_leaf(at, &mut loops);
            let matrix = &self.transforms[at - 1].a;
            let (tiles, len) = match is_cut {
                true => (count.min(along), len),
                false => (count, if is_in_leaf { len / cut * along } else { len }),
            };
            let transform = Transform { name: "places", matrix, len, tiles, from, to };
            stmts.extend(self.transform(transform, &loops, &|k, i, e, within| {
                let here = first.number.plus(&within.times(axis.apart));
                let column = first.first.plus(&within.times(axis.further()));
                let column = column.plus_constant(i * axis.apart);
                let from = vec![output.clone(), k.into(), tile.clone(), here, e.clone()];
                [from, vec![place.clone(), column, e.clone()]]
            }));
        }
        stmts
    }
}
