//! Known taps beside each other on a row of bytes: four products become one instruction.
//!
//! ```text
//! %4 = u8 c1[0]; %9 = fma(%4, -1, %9) %20 = slide c1[0], 3 bytes 0 1 2 2, 1 2 3 3, .. %5 = u8
//! c1[1]; %9 = fma(%5, 2, %9) -> %9 = dot(%20, [-1 2 3 0], %9) %6 = u8 c1[2]; %9 = fma(%6, 3, %9)
//! ```
//!
//! Columns are in the lanes, so neighbouring taps of one output are neighbouring bytes. One load
//! gives each lane its own byte and those behind it; all sums of the tile that have taps there
//! share it, each with its own four numbers. What a sum has no tap for is multiplied by 0.
//!
//! Sums of integers are modulo 2^32, in any order, and no product of bytes, nor four of them,
//! leaves 32 bits: nothing needs a proof that sums are small. Bytes of the picture have no sign,
//! those of the window have one, as the instruction wants it.
//!
//! Nothing is touched that was not touched before. Vectors of which lanes are left out (at an edge)
//! stay as they are.

use rustc_hash::FxHashMap as HashMap;

use conv_ir::DType;
use smallvec::smallvec;

use super::Shape;
use super::dots::without_unread;
use super::inst::{Arg, Inst, Kind, LeafCode, Live, Place, Source, Value};

/// Products in an instruction.
const FOUR: i64 = 4;
/// Only whole registers of 512 bits: that is where a lane's neighbours are found.
const BYTES: i64 = 64;

/// A byte in each lane times a known number.
#[derive(Clone, Copy)]
struct Tap {
    /// Where the instruction stands.
    at: usize,
    sum: Value,
    place: Place,
    weight: i8,
}

/// Taps of one sum that one instruction takes.
struct Group {
    sum: Value,
    /// The first and how many bytes there are from it to the last.
    place: Place,
    count: i64,
    weights: [i8; FOUR as usize],
}

/// The leaf with such products four at a time; none where there are no two of them.
pub(super) fn slid(code: &LeafCode, shape: Shape) -> Option<LeafCode> {
    if shape.bytes() != BYTES || shape.width * FOUR != BYTES {
        return None;
    }
    let taps = taps(code, shape.width);
    let mut groups = groups(&taps);
    if groups.iter().all(|group| group.count == 1) {
        return None;
    }
    widen(&mut groups);
    let mut is_replaced = vec![false; code.update.len()];
    taps.iter().for_each(|tap| is_replaced[tap.at] = true);
    let mut code = code.clone();
    let kept = std::mem::take(&mut code.update).into_iter().zip(is_replaced);
    let kept: Vec<Inst> = kept.filter(|(_, gone)| !gone).map(|(inst, _)| inst).collect();
    code.update = without_unread(kept, &code.carried);
    groups.sort_by_key(|group| (group.place.cursor.0, group.place.bytes, group.count));
    let mut loaded: Option<((Place, i64), Value)> = None;
    for Group { sum, place, count, weights } in groups {
        let value = match loaded {
            Some((known, value)) if known == (place, count) => value,
            _ => {
                code.carried.push(false);
                Value(code.carried.len() as u32 - 1)
            }
        };
        if loaded.is_none_or(|(known, _)| known != (place, count)) {
            let source = match count {
                1 => {
                    let live = Live::first(shape.width);
                    Source::Stored { dtype: DType::U8, place, step: 1, live }
                }
                _ => Source::Slide { place, count },
            };
            let args = smallvec![Arg::From(source)];
            code.update.push(Inst::Set { to: value, kind: Kind::Copy, args });
            loaded = Some(((place, count), value));
        }
        let bits = u32::from_le_bytes(weights.map(|weight| weight as u8));
        let args =
            smallvec![Arg::Value(value), Arg::From(Source::Bits(bits.into())), Arg::Value(sum)];
        code.update.push(Inst::Set { to: sum, kind: Kind::Dot, args });
    }
    Some(code)
}

/// Every product, and every byte that is added or subtracted, of the update.
fn taps(code: &LeafCode, width: i64) -> Vec<Tap> {
    let mut loads: HashMap<Value, Source> = HashMap::default();
    let mut found = Vec::new();
    for (at, inst) in code.update.iter().enumerate() {
        if let Some((value, source)) = inst.load().filter(|(v, _)| !code.carried[v.0 as usize]) {
            loads.insert(value, source);
        }
        let Inst::Set { to, kind, args } = inst else { continue };
        if !code.carried[to.0 as usize] {
            continue;
        }
        let source = |arg: Arg| match arg {
            Arg::Value(value) => loads.get(&value).copied(),
            Arg::From(source) => Some(source),
        };
        let place = |arg: Arg| match source(arg) {
            Some(Source::Stored { dtype: DType::U8, place, step: 1, live }) => {
                live.is_all(width).then_some(place)
            }
            _ => None,
        };
        let number = |arg: Arg| match source(arg) {
            Some(Source::Bits(bits)) => i8::try_from(bits as u32 as i32).ok(),
            _ => None,
        };
        let sum = Arg::Value(*to);
        let tap = match (kind, &args[..]) {
            (Kind::Fma, &[a, b, c]) if c == sum => {
                place(a).zip(number(b)).or_else(|| place(b).zip(number(a)))
            }
            (Kind::Add, &[a, b]) if a == sum => place(b).zip(Some(1)),
            (Kind::Add, &[a, b]) if b == sum => place(a).zip(Some(1)),
            (Kind::Sub, &[a, b]) if a == sum => place(b).zip(Some(-1)),
            _ => None,
        };
        found.extend(tap.map(|(place, weight)| Tap { at, sum: *to, place, weight }));
    }
    found
}

/// Taps of one sum that are on four neighbouring bytes, from the first on.
fn groups(taps: &[Tap]) -> Vec<Group> {
    let mut sorted = taps.to_vec();
    sorted.sort_by_key(|tap| (tap.sum.0, tap.place.cursor.0, tap.place.bytes));
    let mut groups: Vec<Group> = Vec::new();
    for Tap { sum, place, weight, .. } in sorted {
        if let Some(group) = groups.last_mut()
            && (group.sum, group.place.cursor) == (sum, place.cursor)
            && let at = place.bytes - group.place.bytes
            && at < FOUR
            && let weight_here = &mut group.weights[at as usize]
            && let Some(both) = weight_here.checked_add(weight)
        {
            *weight_here = both;
            group.count = group.count.max(at + 1);
        } else {
            groups.push(Group { sum, place, count: 1, weights: [weight, 0, 0, 0] });
        }
    }
    groups
}

/// Groups that another's bytes cover take that one's, so that one load serves both.
fn widen(groups: &mut [Group]) {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&at| -groups[at].count);
    // By cursor and byte: the bytes from there on that are loaded.
    let mut loaded: HashMap<Place, i64> = HashMap::default();
    for at in order {
        let Group { place, count, weights, .. } = &mut groups[at];
        let covering = (0..FOUR).find_map(|by| {
            let first = place.offset(-by);
            let length = *loaded.get(&first)?;
            (by + *count <= length).then_some((first, length, by as usize))
        });
        if let Some((first, length, by)) = covering {
            weights.rotate_right(by);
            (*place, *count) = (first, length);
        } else {
            loaded.insert(*place, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::inst::Cursor;

    fn tap(sum: u32, bytes: i64, weight: i8) -> Tap {
        Tap { at: 0, sum: Value(sum), place: Place { cursor: Cursor(0), bytes }, weight }
    }

    fn found(taps: &[Tap]) -> Vec<(u32, i64, i64, [i8; 4])> {
        let mut groups = groups(taps);
        widen(&mut groups);
        let all = groups.iter().map(|g| (g.sum.0, g.place.bytes, g.count, g.weights));
        all.collect()
    }

    #[test]
    fn five_taps_are_four_and_one() {
        let taps: Vec<Tap> = (0..5).map(|at| tap(0, 10 + at, at as i8 + 1)).collect();
        assert_eq!(found(&taps), [(0, 10, 4, [1, 2, 3, 4]), (0, 14, 1, [5, 0, 0, 0])]);
    }

    #[test]
    fn a_tap_under_the_load_of_another_sum_shares_it() {
        let taps = [tap(0, 1, 7), tap(1, 0, 1), tap(1, 2, 3), tap(2, 3, 9)];
        let shared = [(0, 0, 3, [0, 7, 0, 0]), (1, 0, 3, [1, 0, 3, 0]), (2, 3, 1, [9, 0, 0, 0])];
        assert_eq!(found(&taps), shared);
    }

    #[test]
    fn twice_the_same_byte_is_one_weight_while_that_is_a_byte() {
        assert_eq!(found(&[tap(0, 0, 100), tap(0, 0, 27)]), [(0, 0, 1, [127, 0, 0, 0])]);
        assert_eq!(found(&[tap(0, 0, 100), tap(0, 0, 28)]).len(), 2);
    }
}
