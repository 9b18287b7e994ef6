//! Tiles of one axis, and which of them share code.
//!
//! ```text
//! before  for ow in 0..56: for kw in 0..3:                 (tiles of 5)
//!           acc = fma(..) when ow + kw - 1 >= 0, 56 - ow - kw >= 0
//! after   ow in  0.. 5    tap 0 mixed, taps 1 and 2 inside: it tests, and stands alone
//!         ow in  5..55    all taps inside: ten tiles share code that tests nothing
//!         ow in 55..56    tap 2 outside: it is left out
//! ```
//!
//! gives: pieces in order, each whole tiles, with the taps that it needs. The states of tiles
//! follow from the positions where each tap goes in and out. Where there are many taps, or many
//! pieces, the first and the last tap alone tell where the interior is, so that no work grows with
//! the window.

use super::inside::drop_tests;
use super::{Edge, Reach, SEPARATE, all_inside, interval, reach};
use crate::nest::{Affine, AxisId, Bound, LoopPath, Var};

/// Taps of one axis that are looked at one by one, to tell tiles apart in which all taps are inside
/// or outside. Of more taps only the first and the last are looked at.
const TAPS: i64 = 256;

/// Pieces of one axis, beyond which it is cut in three.
const PIECES: usize = 64;

/// What a tile does with one tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TapState {
    In,
    Out,
    Mixed,
}

/// Neighbouring tiles that share code.
struct Piece {
    /// Half-open, in tiles.
    tiles: (i64, i64),
    /// Half-open: the others are outside.
    taps: (i64, i64),
    /// Nothing is to be tested.
    is_sure: bool,
}

/// The pieces of an axis of constant extent.
pub(super) fn cut(
    path: &LoopPath,
    edge: &Edge,
    out: usize,
    extent: i64,
    tile: i64,
) -> Vec<LoopPath> {
    let axis = path.loops[out].axis;
    let taps =
        edge.tap.and_then(|t| path.leaf.reduce.iter().find(|l| l.axis == t)).map_or((0, 1), |l| {
            // A condition that holds for no tap at all still needs a tap loop to bound.
            l.constant_range().unwrap_or((0, 1))
        });
    let by_tap = match taps.1 - taps.0 <= TAPS {
        true => pieces_by_tap(path, edge, axis, taps, (extent, tile)),
        false => None,
    };
    let pieces = by_tap
        .filter(|pieces| pieces.len() <= PIECES)
        .or_else(|| three_pieces(path, edge, axis, taps, (extent, tile)));
    let Some(pieces) = pieces else {
        return vec![path.clone()];
    };
    let range = |(lo, hi): (i64, i64)| (lo * tile, (hi * tile).min(extent));
    pieces.iter().map(|p| piece(path, edge, out, range(p.tiles), p)).collect()
}

/// Tiles with the same state of every tap together. Beyond [`SEPARATE`] of them that are mixed,
/// neighbours that are share one.
fn pieces_by_tap(
    path: &LoopPath,
    edge: &Edge,
    axis: AxisId,
    taps: (i64, i64),
    (extent, tile): (i64, i64),
) -> Option<Vec<Piece>> {
    let reaches: Vec<Reach> =
        (taps.0..taps.1).map(|tap| reach(path, edge, axis, tap, extent)).collect::<Option<_>>()?;
    let tiles = (extent + tile - 1) / tile;
    let mut cuts = vec![0, tiles];
    for r in &reaches {
        for position in [r.sure.0, r.sure.1, r.may.0, r.may.1] {
            cuts.extend([position / tile, position / tile + 1].map(|t| t.clamp(0, tiles)));
        }
    }
    cuts.sort_unstable();
    cuts.dedup();
    let state = |first: i64, last: i64| -> Vec<TapState> {
        let (lo, hi) = (first * tile, (last * tile).min(extent));
        let within = |range: (i64, i64)| range.0 <= lo && hi <= range.1;
        let apart = |range: (i64, i64)| range.0 >= range.1 || hi <= range.0 || range.1 <= lo;
        reaches
            .iter()
            .map(|r| match (within(r.sure), apart(r.may)) {
                (true, _) => TapState::In,
                (false, true) => TapState::Out,
                (false, false) => TapState::Mixed,
            })
            .collect()
    };
    let mut pieces: Vec<((i64, i64), Vec<TapState>)> = Vec::new();
    for pair in cuts.windows(2) {
        let states = state(pair[0], pair[1]);
        match pieces.last_mut() {
            Some(last) if last.1 == states && mergeable(edge, &states) => last.0.1 = pair[1],
            _ => pieces.push(((pair[0], pair[1]), states)),
        }
    }
    let pieces: Vec<Piece> = pieces
        .into_iter()
        .map(|(tiles, states)| Piece {
            tiles,
            taps: used_taps(taps.0, &states),
            is_sure: mergeable(edge, &states),
        })
        .collect();
    let mixed = pieces.iter().filter(|p| !p.is_sure).count();
    Some(if mixed > SEPARATE { lump(pieces, taps) } else { pieces })
}

/// Whether neighbouring tiles with these states may share code: nothing to test in them.
fn mergeable(edge: &Edge, states: &[TapState]) -> bool {
    states.iter().all(|&s| s == TapState::In || (edge.skips && s == TapState::Out))
}

/// From the first tap to the last that is not outside.
fn used_taps(first: i64, states: &[TapState]) -> (i64, i64) {
    let used = |s: &&TapState| **s != TapState::Out;
    let before = states.iter().take_while(|s| !used(s)).count() as i64;
    let after = states.iter().rev().take_while(|s| !used(s)).count() as i64;
    (first + before, (first + states.len() as i64 - after).max(first + before))
}

/// Runs of tiles that test become one piece each.
fn lump(pieces: Vec<Piece>, taps: (i64, i64)) -> Vec<Piece> {
    let mut lumped: Vec<Piece> = Vec::new();
    for piece in pieces {
        match lumped.last_mut() {
            Some(last) if !last.is_sure && !piece.is_sure => {
                last.tiles.1 = piece.tiles.1;
                last.taps = taps;
            }
            _ => lumped.push(piece),
        }
    }
    lumped
}

/// The tiles for which every tap is inside, and those before and after.
fn three_pieces(
    path: &LoopPath,
    edge: &Edge,
    axis: AxisId,
    taps: (i64, i64),
    (extent, tile): (i64, i64),
) -> Option<Vec<Piece>> {
    let inside = all_inside(path, edge, axis, taps, extent)?;
    let tiles = (extent + tile - 1) / tile;
    let first = (inside.0 + tile - 1) / tile;
    let last = if inside.1 == extent { tiles } else { inside.1 / tile };
    let (first, last) = if first < last { (first, last) } else { (tiles, tiles) };
    let all = [((0, first), false), ((first, last), true), ((last, tiles), false)];
    let pieces = all.into_iter().filter(|(tiles, _)| tiles.0 < tiles.1).map(|(tiles, is_sure)| {
        let outputs = (tiles.0 * tile, (tiles.1 * tile).min(extent));
        let taps = if is_sure { taps } else { taps_under(path, edge, axis, taps, outputs) };
        Piece { tiles, taps, is_sure }
    });
    Some(pieces.collect())
}

/// From the first tap to the last that may be inside for some of the outputs.
fn taps_under(
    path: &LoopPath,
    edge: &Edge,
    axis: AxisId,
    taps: (i64, i64),
    outputs: (i64, i64),
) -> (i64, i64) {
    let mut under = taps;
    for inside in &edge.inside {
        let by_tap = edge.tap.map_or(0, |tap| inside.of_axis(tap));
        let rest = edge
            .tap
            .map_or(inside.clone(), |tap| inside.substitute(Var::Axis(tap), &Affine::constant(0)));
        let at = |o: i64| interval(path, &rest.substitute(Var::Axis(axis), &o.into()));
        let (Some(first), Some(last)) = (at(outputs.0), at(outputs.1 - 1)) else { continue };
        let most = first.1.max(last.1);
        // by_tap * tap + most >= 0
        match by_tap {
            0 => {}
            by if by > 0 => under.0 = under.0.max((-most + by - 1).div_euclid(by)),
            by => under.1 = under.1.min(most.div_euclid(-by) + 1),
        }
    }
    (under.0.min(taps.1), under.1.max(under.0.min(taps.1)))
}

/// The path restricted to output positions `range`.
fn piece(path: &LoopPath, edge: &Edge, out: usize, range: (i64, i64), piece: &Piece) -> LoopPath {
    let mut path = path.clone();
    path.loops[out].lo = Bound::Max(vec![range.0.into()]);
    path.loops[out].hi = range.1.into();
    if edge.skips
        && let Some(tap) = edge.tap
    {
        let (lo, hi) = piece.taps;
        for l in path.leaf.reduce.iter_mut().filter(|l| l.axis == tap) {
            (l.lo, l.hi) = (Bound::Max(vec![lo.into()]), hi.into());
        }
    }
    if piece.is_sure {
        path.leaf = drop_tests(&path.leaf, &edge.inside);
    }
    path
}
