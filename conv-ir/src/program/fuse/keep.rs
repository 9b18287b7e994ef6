//! Rows that the next strip needs as well, moved to the front of their line buffer.

use super::{Fusing, Tensor};
use crate::nest::{
    Access, Affine, Base, BufferId, Call, Expr, Lanes, Leaf, LeafId, Loop, Op, Part, PointerId,
    Role, Stmt,
};

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
        // A last vector that overlaps the one before moves the rest.
        let ends = if len % width == 0 { vec![] } else { vec![len - width] };
        let pieces = std::iter::once((0, len / width)).chain(ends.into_iter().map(|at| (at, 1)));
        let channel = self.nest.add_axis("c", Role::Copy, Part::Whole);
        let calls = pieces.map(|(start, count)| {
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
        let vector = self.nest.add_axis("x.o", Role::Copy, Part::Outer);
        let lane = self.nest.add_axis("x.l", Role::Copy, Part::Lane);
        let at = Affine::axis(vector).times(width).plus(&match width {
            1 => Affine::constant(0),
            _ => Affine::axis(lane),
        });
        let access = |pointer: u32| Access {
            base: Base::Pointer(PointerId(pointer)),
            index: vec![Affine::constant(0).into(), at.clone().into()],
        };
        let store = Op::Store { to: access(1), value: Expr::Load(access(0)), when: Vec::new() };
        let mut leaf = Leaf::copy(
            format!("keep_{}x{count}", width),
            vec![Loop::serial(vector, count)],
            vec![store],
        );
        leaf.name = format!("{}_{}", leaf.name, self.keeps.len() + 1);
        leaf.pointers = vec![view, view];
        leaf.lanes = (width > 1).then_some(Lanes { axis: lane, width, vectors: None, cut: None });
        self.nest.leaves.push(leaf);
        let id = LeafId(self.nest.leaves.len() as u32 - 1);
        self.keeps.push((key.0, key.1, id));
        id
    }
}
