//! The loops that fill a packed buffer.
//!
//! ```text
//! before  packed_weight[oc.o, ic, kh, kw, oc.i]
//! after   for c0, row, t0, c1..: packed_weight[c0, c1, .., t0] = weight[8 c0 + t0, c1, ..]
//! ```
//!
//! requires: the dimensions of the buffer, and their order.
//! gives: each element is copied once; those beyond a short last block stay zero.

use crate::nest::{
    Access, Affine, AxisId, Bound, BufferId, Expr, Leaf, Loop, LoopPath, Nest, Op, Part, Quotient,
    Role, Stmt,
};

use super::{Dimension, Piece};

/// Elements that are copied in a row of each channel of a tile. Rows of as many channels lie far
/// apart; a line of each stays near until all of it is copied.
const ROW: i64 = 128;

/// The part of what a channel has that is copied in a row: the last dimensions, of the first of
/// them so many elements at a time where not all fit.
struct Row {
    /// By position in the packed order.
    dimensions: std::ops::Range<usize>,
    chunk: Option<i64>,
}

impl Row {
    fn of(dimensions: &[Dimension], order: &[(Piece, usize)]) -> Row {
        let is_inside = |(piece, _): &(Piece, usize)| matches!(piece, Piece::First | Piece::Tile);
        let end = order.iter().position(is_inside).unwrap_or(order.len());
        let (mut start, mut len) = (end, 1);
        while let Some((Piece::Block, d)) = start.checked_sub(1).map(|before| order[before]) {
            let Dimension { tile, step, .. } = dimensions[d];
            let all = dimensions[d].blocks();
            let chunk = ROW / len;
            if tile > 1 || chunk < 2 {
                break;
            }
            if all > chunk {
                let cut = step == 1;
                start -= usize::from(cut);
                // One that leaves nothing, if it is not much shorter.
                let whole = (chunk / 2 + 1..=chunk).rev().find(|chunk| all % chunk == 0);
                let chunk = whole.unwrap_or(chunk);
                return Row { dimensions: start..end, chunk: cut.then_some(chunk) };
            }
            (start, len) = (start - 1, len * all);
        }
        Row { dimensions: start..end, chunk: None }
    }
}

/// The loops that fill the packed buffer: blocks and residues outside, where the last one is short;
/// in a leaf the channels of a tile, a row of each.
pub(super) fn copy(
    nest: &mut Nest,
    (from, to): (BufferId, BufferId),
    dimensions: &[Dimension],
    order: &[(Piece, usize)],
) -> Stmt {
    let mut axis = |name: String| nest.add_axis(name, Role::Copy, Part::Whole);
    let names =
        [(Piece::Residue, "r"), (Piece::Block, "c"), (Piece::First, "f"), (Piece::Tile, "t")];
    let axes = names.map(|(piece, letter)| {
        (piece, (0..dimensions.len()).map(|d| axis(format!("{letter}{d}"))).collect::<Vec<_>>())
    });
    let row = Row::of(dimensions, order);
    let chunked = row.chunk.map(|chunk| (order[row.dimensions.start].1, chunk, axis("row".into())));
    let of =
        |piece: Piece, d: usize| axes.iter().find(|a| a.0 == piece).map_or(AxisId(0), |a| a.1[d]);
    let index = |piece: Piece, d: usize| match chunked {
        Some((cut, chunk, first)) if (piece, d) == (Piece::Block, cut) => {
            Affine::axis(first).times(chunk).plus(&Affine::axis(of(piece, d)))
        }
        _ => Affine::axis(of(piece, d)),
    };
    let source = dimensions.iter().enumerate().map(|(d, dimension)| {
        let mut from = index(Piece::Block, d).times(dimension.tile * dimension.step);
        if dimension.in_pairs {
            return from.plus(&index(Piece::Tile, d).times(2)).plus(&index(Piece::First, d));
        }
        for (piece, count) in [(Piece::Tile, dimension.tile), (Piece::Residue, dimension.step)] {
            if count > 1 {
                from = from.plus(&index(piece, d));
            }
        }
        from
    });
    let store = Op::Store {
        to: Access::buffer(to, order.iter().map(|&(piece, d)| index(piece, d))),
        value: Expr::Load(Access::buffer(from, source)),
        when: Vec::new(),
    };
    let (mut loops, mut tiles, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for (at, &(piece, d)) in order.iter().enumerate() {
        let Dimension { extent, tile, step, in_pairs, .. } = dimensions[d];
        let l = match piece {
            Piece::Residue => Loop::serial(of(piece, d), step),
            Piece::Block if step > 1 => {
                short(of(piece, d), &dimensions[d], of(Piece::Residue, d), (extent, step))
            }
            Piece::Block => Loop::serial(of(piece, d), dimensions[d].blocks()),
            Piece::First => {
                let whole = Loop::serial(of(piece, d), 2);
                short_of(whole, of(Piece::Block, d), Affine::constant(0), (extent, tile, 1))
            }
            Piece::Tile if in_pairs => {
                let (whole, first) = (Loop::serial(of(piece, d), tile / 2), of(Piece::First, d));
                short_of(whole, of(Piece::Block, d), Affine::axis(first), (extent, tile, 2))
            }
            Piece::Tile => part(of(piece, d), of(Piece::Block, d), (extent, tile)),
        };
        match (piece, chunked) {
            (Piece::First | Piece::Tile, _) => tiles.push(l),
            (_, Some((cut, chunk, first))) if at == row.dimensions.start => {
                let all = dimensions[cut].blocks();
                loops.push(Loop::serial(first, (all + chunk - 1) / chunk));
                rows.push(part(l.axis, first, (all, chunk)));
            }
            _ if row.dimensions.contains(&at) => rows.push(l),
            _ => loops.push(l),
        }
    }
    let reduce = tiles.into_iter().chain(rows).collect();
    let leaf = Leaf::copy(format!("pack_{}", nest.buffer(from).name), reduce, vec![store]);
    LoopPath { loops, leaf }.into_stmt()
}

/// The elements of one part of a dimension, of which the last may be short.
fn part(axis: AxisId, which: AxisId, (extent, size): (i64, i64)) -> Loop {
    if extent % size == 0 {
        return Loop::serial(axis, size);
    }
    let left = Affine::axis(which).times(-size).plus_constant(extent);
    Loop { hi: Bound::Min(vec![size.into(), Quotient::from(left)]), ..Loop::serial(axis, 0) }
}

/// A loop in steps of some elements from one on, inside a block of which the last may be short.
fn short_of(
    whole: Loop,
    block: AxisId,
    from: Affine,
    (extent, size, step): (i64, i64, i64),
) -> Loop {
    if extent % size == 0 {
        return whole;
    }
    let left = Affine::axis(block).times(-size).plus_constant(extent).plus(&from.times(-1));
    let whole_extent = whole.constant_extent().unwrap_or(0);
    let hi = Bound::Min(vec![whole_extent.into(), Quotient::ceil(left, step)]);
    Loop { hi, ..whole }
}

/// The taps of one residue, of which the last may not exist.
fn short(axis: AxisId, dimension: &Dimension, residue: AxisId, (extent, step): (i64, i64)) -> Loop {
    let left = Quotient::ceil(Affine::axis(residue).times(-1).plus_constant(extent), step);
    Loop { hi: Bound::Min(vec![dimension.blocks().into(), left]), ..Loop::serial(axis, 0) }
}
