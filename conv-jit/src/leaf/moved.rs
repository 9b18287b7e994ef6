//! Bytes or words that are moved as they are: neighbouring vectors of them become one of 32 bits.
//!
//! ```text
//! %1 = u8 c1[0]; .. %4 = u8 c1[48]                          %5 = c1[0]
//! store u8 c2[0] = %1; .. store u8 c2[48] = %4       ->     store c2[0] = %5
//! ```
//!
//! They are not widened on the way, and a vector has four times as many. Rows of a picture are
//! copied so.

use rustc_hash::FxHashMap as HashMap;
use smallvec::smallvec;

use conv_ir::DType;

use super::dots::without_unread;
use super::inst::{Arg, Inst, Kind, LeafCode, Live, Place, Source, Value};

/// Bytes of a lane.
const LANE: i64 = 4;

/// Joins them in the update.
pub(super) fn joined(code: &mut LeafCode, width: i64) {
    let loads: HashMap<Value, Source> = code.update.iter().filter_map(Inst::load).collect();
    let is_plain = code.update.iter().all(|inst| inst.load().is_some() || inst.stores());
    if !is_plain || loads.is_empty() {
        return;
    }
    let moves = |inst: &Inst| match *inst {
        Inst::Store { dtype, place, step, live, value: Arg::Value(value) } => {
            let bytes = dtype.bytes() as i64;
            match *loads.get(&value)? {
                Source::Stored { dtype: same, place: from, step: also, live: all }
                    if (same, also) == (dtype, step) =>
                {
                    let is_whole = live == width && all.is_all(width) && step == bytes;
                    (is_whole && bytes < LANE).then_some((bytes, from, place))
                }
                _ => None,
            }
        }
        _ => None,
    };
    let update = std::mem::take(&mut code.update);
    let mut left = &update[..];
    while let Some(first) = left.first() {
        match moves(first) {
            Some(found) if are_together(left.iter().map(moves), found, width) => {
                let (bytes, place, to) = found;
                let value = code.carried.fresh(false);
                let source = Source::Vector { place, live: Live::first(width) };
                let args = smallvec![Arg::From(source)];
                code.update.push(Inst::Set { to: value, kind: Kind::Copy, args });
                let (dtype, value) = (DType::I32, Arg::Value(value));
                code.update.push(Inst::Store { dtype, place: to, step: LANE, live: width, value });
                left = &left[(LANE / bytes) as usize..];
            }
            _ => {
                code.update.push(first.clone());
                left = &left[1..];
            }
        }
    }
    code.update = without_unread(std::mem::take(&mut code.update), &code.carried);
}

/// Bytes of an element, from where and to where.
type Move = (i64, Place, Place);

/// Whether as many moves as fill a lane are of vectors side by side.
fn are_together(
    mut moves: impl Iterator<Item = Option<Move>>,
    (bytes, from, to): Move,
    width: i64,
) -> bool {
    let next = |at: i64| (bytes, from.offset(at * width * bytes), to.offset(at * width * bytes));
    (0..LANE / bytes).all(|at| moves.next().flatten() == Some(next(at)))
}
