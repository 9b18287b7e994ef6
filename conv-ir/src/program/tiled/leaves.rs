//! The leaves that transform: channels in the lanes, a tile's inputs in registers, each row of a
//! matrix a straight line.

use std::ops::Range;

use super::Making;
use crate::nest::{
    Access, Affine, AxisId, Binary, BufferId, Expr, Lanes, Leaf, Loop, LoopPath, Op, Part, RegId,
    Register, Role, Stmt,
};

/// Elements in a row, vector by vector: whole ones, then what is left.
pub(super) struct Run {
    pub start: i64,
    pub vectors: i64,
    /// Lanes that count, where not all do.
    pub cut: Option<i64>,
}

pub(super) fn runs(len: i64, lanes: i64) -> impl Iterator<Item = Run> {
    let (whole, rest) = (len / lanes, len % lanes);
    let whole_run = (whole > 0).then_some(Run { start: 0, vectors: whole, cut: None });
    let rest = (rest > 0).then_some(Run { start: whole * lanes, vectors: 1, cut: Some(rest) });
    whole_run.into_iter().chain(rest)
}

/// Where input `k` and output `j` of an element of a tile are: the indices of what is read and of
/// what is written.
pub(super) type Indices<'a> = dyn Fn(i64, i64, &Affine, &Affine) -> [Vec<Affine>; 2] + 'a;

/// A transform of elements in a row, for so many tiles in a row.
pub(super) struct Transform<'a> {
    pub name: &'a str,
    pub matrix: &'a [Vec<f64>],
    pub len: i64,
    pub tiles: i64,
    pub from: BufferId,
    pub to: BufferId,
}

/// One chain of multiply-adds over the inputs of a tile in order, from the first that counts.
fn sum(row: &[f64], inputs: &[RegId]) -> Expr {
    let mut terms = row.iter().zip(inputs).filter(|(c, _)| **c != 0.0);
    let reg = |at: &RegId| Box::new(Expr::Reg(*at));
    let Some((first, input)) = terms.next() else { return Expr::Const(0.0) };
    let start = match *first {
        1.0 => Expr::Reg(*input),
        c => Expr::Binary(Binary::Mul, reg(input), Box::new(Expr::Const(c))),
    };
    terms.fold(start, |sum, (c, input)| {
        let sum = Box::new(sum);
        match *c {
            1.0 => Expr::Binary(Binary::Add, sum, reg(input)),
            -1.0 => Expr::Binary(Binary::Sub, sum, reg(input)),
            c => Expr::Fma(reg(input), Box::new(Expr::Const(c)), sum),
        }
    })
}

impl Making<'_> {
    pub(super) fn lane(&mut self) -> AxisId {
        self.nest.add_axis("lane", Role::Copy, Part::Lane)
    }

    pub(super) fn lanes(&self, axis: AxisId, cut: Option<i64>) -> Option<Lanes> {
        Some(Lanes { axis, width: self.lanes, vectors: None, cut })
    }

    /// A loop over the vectors of a run, and the element that a lane is.
    pub(super) fn vectors(&mut self, run: &Run, lane: AxisId) -> (Vec<Loop>, Affine) {
        let element = Affine::axis(lane).plus_constant(run.start);
        if run.vectors == 1 {
            return (Vec::new(), element);
        }
        let axis = self.nest.add_axis("vector", Role::Copy, Part::Inner);
        let element = element.plus(&Affine::axis(axis).times(self.lanes));
        (vec![Loop::serial(axis, run.vectors)], element)
    }

    /// Each row of a matrix times the inputs of a tile, inside these loops.
    pub(super) fn transform(
        &mut self,
        Transform { name, matrix, len, tiles, from, to }: Transform<'_>,
        loops: &[Loop],
        indices: &Indices<'_>,
    ) -> Vec<Stmt> {
        let inputs: Vec<RegId> = (0..matrix[0].len() as u32).map(RegId).collect();
        let mut stmts = Vec::new();
        for run in runs(len, self.lanes) {
            let lane = self.lane();
            let (inner, element) = self.vectors(&run, lane);
            let tile = self.nest.add_axis("tile", Role::Copy, Part::Inner);
            let over = std::iter::once(Loop::serial(tile, tiles));
            let tile = Affine::axis(tile);
            let mut leaf = Leaf::copy(name, over.chain(inner).collect(), Vec::new());
            leaf.lanes = self.lanes(lane, run.cut);
            for (k, &reg) in inputs.iter().enumerate() {
                leaf.registers.push(Register { name: format!("d{k}"), axes: Vec::new() });
                let [index, _] = indices(k as i64, 0, &element, &tile);
                leaf.update.push(Op::set(reg, Expr::Load(Access::buffer(from, index))));
            }
            for (j, row) in matrix.iter().enumerate() {
                let [_, index] = indices(0, j as i64, &element, &tile);
                let (to, value) = (Access::buffer(to, index), sum(row, &inputs));
                leaf.update.push(Op::Store { to, value, when: Vec::new() });
            }
            stmts.push(LoopPath { loops: loops.to_vec(), leaf }.into_stmt());
        }
        stmts
    }

    /// Zeros in these elements of a row, inside these loops.
    pub(super) fn zeros(
        &mut self,
        loops: &[Loop],
        (buffer, row): (BufferId, &[Affine]),
        elements: Range<i64>,
    ) -> Vec<Stmt> {
        let mut stmts = Vec::new();
        for run in runs(elements.end - elements.start, self.lanes) {
            let lane = self.lane();
            let (inner, element) = self.vectors(&run, lane);
            let element = element.plus_constant(elements.start);
            let index = row.iter().cloned().chain([element]);
            let to = Access::buffer(buffer, index.collect::<Vec<_>>());
            let store = Op::Store { to, value: Expr::Const(0.0), when: Vec::new() };
            let mut leaf = Leaf::copy("zeros", inner, vec![store]);
            leaf.lanes = self.lanes(lane, run.cut);
            stmts.push(LoopPath { loops: loops.to_vec(), leaf }.into_stmt());
        }
        stmts
    }
}
