//! Rows that the next strip needs as well, moved to the front of their line buffer.

use super::{Fusing, Tensor};
use crate::nest::{Access, Affine, BufferId, Call, LeafId, Loop, Part, Role, Stmt};
use crate::program::moves::{moving, vectors};

impl Fusing<'_> {
    /// Moves rows of a line buffer to its front, in vectors where they do not overlap.
    pub(super) fn keep(&mut self, step: usize, from: i64, rows: i64) -> Vec<Stmt> {
        let of = self.memory(Tensor::Line(step));
        let shape = self.shape(of);
        let dimension = self.row_dimension(Tensor::Line(step));
        let row: i64 = shape[dimension + 1..].iter().product();
        let outer: i64 = shape[..dimension].iter().product();
        let extents = [outer, shape[dimension] * row].map(Affine::constant);
        let view = self.view(of, &extents);
        let lanes = self.target.lanes(self.nest.dtype.bytes()) as i64;
        let (len, far) = (rows * row, from * row);
        let width = if len >= lanes && far >= lanes { lanes } else { 1 };
        let channel = self.nest.add_axis("c", Role::Copy, Part::Whole);
        let calls = vectors(len, width).map(|(start, count)| {
            let leaf = self.keep_leaf(view, width, count);
            let pointer =
                |at: i64| Access::buffer(view, [Affine::axis(channel), Affine::constant(at)]);
            Stmt::Call(Call {
                leaf,
                pointers: vec![pointer(far + start), pointer(start)],
                ints: Vec::new(),
            })
        });
        let calls: Vec<Stmt> = calls.collect();
        vec![Stmt::For(Loop::serial(channel, outer), calls)]
    }

    /// A leaf that moves `count` vectors.
    fn keep_leaf(&mut self, view: BufferId, width: i64, count: i64) -> LeafId {
        let key = (view, width * count);
        if let Some(known) = self.keeps.iter().find(|k| (k.0, k.1) == key) {
            return known.2;
        }
        let name = format!("keep_{width}x{count}_{}", self.keeps.len() + 1);
        let id = moving(&mut self.nest, [view, view], (width, count), name);
        self.keeps.push((key.0, key.1, id));
        id
    }
}
