//! Taps beside each other on a row of bytes: four products become one instruction.
//!
//! ```text
//! %4 = u8 c1[0]; %9 = fma(%4, -1, %9)         %20 = slide c1[0], 3 bytes: 0 1 2 -, 1 2 3 -, ..
//! %5 = u8 c1[1]; %9 = fma(%5, 2, %9)     ->   %9 = dot(%20, [-1 2 3 0], %9)
//! %6 = u8 c1[2]; %9 = fma(%6, 3, %9)
//! ```
//!
//! Columns are in the lanes, so neighbouring taps of one output are neighbouring bytes. One load
//! gives each lane its own byte and those behind it; all sums of the tile that have taps there
//! share it, each with its own four numbers: known ones, or weights that lie beside each other,
//! which are a splat of 32 bits. What a sum has no tap for is 0, or is multiplied by 0. Lanes may
//! be two bytes apart (a stride), and some may be left out, as at an edge. Taps may be up to four
//! bytes apart, as those of a pixel's channel are.
//!
//! Sums of integers are modulo 2^32, in any order, and no product of bytes, nor four of them,
//! leaves 32 bits: nothing needs a proof that sums are small. Bytes of the picture have no sign,
//! those of the window have one, as the instruction wants it.
//!
//! Of the input nothing is touched that was not touched before, or lies between; of packed weights
//! up to [`BEHIND`] bytes behind.

use rustc_hash::FxHashMap as HashMap;

use conv_ir::DType;
use smallvec::smallvec;

use super::Shape;
use super::dots::without_unread;
use super::inst::{Arg, Inst, Kind, LeafCode, Live, Place, Source, Value};

/// Products in an instruction.
const PRODUCTS: i64 = 4;
/// Bytes in which four lanes find theirs.
const SIXTEEN: i64 = 16;
/// Only whole registers of 512 bits: that is where a lane's neighbours are found.
const BYTES: i64 = 64;
/// Bytes behind packed weights that a splat of four of them may touch.
pub(crate) const BEHIND: i64 = PRODUCTS - 1;

/// What a byte is multiplied by.
#[derive(Clone, Copy, PartialEq)]
enum Weight {
    Known(i8),
    At(Place),
}

/// A byte in each lane times a number.
#[derive(Clone, Copy)]
struct Tap {
    /// Where the instruction stands.
    at: usize,
    sum: Value,
    place: Place,
    /// Bytes from lane to lane.
    step: i64,
    live: Live,
    weight: Weight,
}

/// What taps of one sum are multiplied by.
#[derive(Clone, Copy, PartialEq)]
enum Weights {
    Known([i8; PRODUCTS as usize]),
    /// So many from there on.
    From(Place),
}

/// Taps of one sum that one instruction takes.
#[derive(Clone)]
struct Group {
    sum: Value,
    /// The first and how many places there are from it to the last.
    place: Place,
    count: i64,
    step: i64,
    /// Bytes from tap to tap.
    apart: i64,
    weights: Weights,
    /// Of each tap: how far it is from the first, and its lanes.
    taps: Vec<(i64, Live)>,
}

/// The leaf with such products four at a time; none where there are no two of them. Weights that
/// are no numbers are those that `is_packed` says.
pub(super) fn slid(
    code: &LeafCode,
    shape: Shape,
    is_packed: impl Fn(Place) -> bool,
) -> Option<LeafCode> {
    if !can_slide(shape) {
        return None;
    }
    let taps = taps(code, &is_packed);
    let mut groups = groups(&taps, shape.width);
    if groups.iter().all(|group| group.count == 1 && group.step == 1) {
        return None;
    }
    widen(&mut groups, shape.width);
    let mut is_replaced = vec![false; code.update.len()];
    taps.iter().for_each(|tap| is_replaced[tap.at] = true);
    let mut code = code.clone();
    let kept = std::mem::take(&mut code.update).into_iter().zip(is_replaced);
    let kept: Vec<Inst> = kept.filter(|(_, gone)| !gone).map(|(inst, _)| inst).collect();
    code.update = without_unread(kept, &code.carried);
    groups.sort_by_key(|group| {
        (group.place.cursor.0, group.place.bytes, group.count, group.touched(shape.width).range())
    });
    let mut loaded: Option<(Source, Value)> = None;
    let mut splats: HashMap<Place, Value> = HashMap::default();
    for group in groups {
        let source = group.source(shape.width);
        let value = match loaded {
            Some((known, value)) if known == source => value,
            _ => load(&mut code, source),
        };
        loaded = Some((source, value));
        let weights = match group.weights {
            Weights::Known(weights) => {
                let bits = u32::from_le_bytes(weights.map(|weight| weight as u8));
                Arg::From(Source::Bits(bits.into()))
            }
            Weights::From(place) => {
                let splat =
                    *splats.entry(place).or_insert_with(|| load(&mut code, Source::Splat(place)));
                Arg::Value(splat)
            }
        };
        let args = smallvec![Arg::Value(value), weights, Arg::Value(group.sum)];
        code.update.push(Inst::Set { to: group.sum, kind: Kind::Dot, args });
    }
    Some(code)
}

/// Whether the machine has such loads of registers of this shape.
pub(super) fn can_slide(shape: Shape) -> bool {
    shape.machine().slides() && shape.bytes() == BYTES && shape.width * PRODUCTS == BYTES
}

fn load(code: &mut LeafCode, source: Source) -> Value {
    let to = code.carried.fresh(false);
    code.update.push(Inst::Set { to, kind: Kind::Copy, args: smallvec![Arg::From(source)] });
    to
}

/// Every product, and every byte that is added or subtracted, of the update.
fn taps(code: &LeafCode, is_packed: &impl Fn(Place) -> bool) -> Vec<Tap> {
    let mut loads: HashMap<Value, Source> = HashMap::default();
    let mut found = Vec::new();
    for (at, inst) in code.update.iter().enumerate() {
        if let Some((value, source)) = inst.load().filter(|(v, _)| !code.carried[*v]) {
            loads.insert(value, source);
        }
        let Inst::Set { to, kind, args } = inst else { continue };
        if !code.carried[*to] {
            continue;
        }
        let source = |arg: Arg| match arg {
            Arg::Value(value) => loads.get(&value).copied(),
            Arg::From(source) => Some(source),
        };
        let byte = |arg: Arg| match source(arg) {
            Some(Source::Stored { dtype: DType::U8, place, step: step @ (1 | 2), live }) => {
                Some((place, step, live)).filter(|_| live.range().0 >= 0 && !live.is_empty())
            }
            _ => None,
        };
        let number = |arg: Arg| match source(arg) {
            Some(Source::Bits(bits)) => i8::try_from(bits as u32 as i32).ok().map(Weight::Known),
            Some(Source::Stored { dtype: DType::I8, place, step: 0, .. }) if is_packed(place) => {
                Some(Weight::At(place))
            }
            _ => None,
        };
        let sum = Arg::Value(*to);
        let (one, minus_one) = (Some(Weight::Known(1)), Some(Weight::Known(-1)));
        let tap = match (kind, &args[..]) {
            (Kind::Fma, &[a, b, c]) if c == sum => {
                byte(a).zip(number(b)).or_else(|| byte(b).zip(number(a)))
            }
            (Kind::Add, &[a, b]) if a == sum => byte(b).zip(one),
            (Kind::Add, &[a, b]) if b == sum => byte(a).zip(one),
            (Kind::Sub, &[a, b]) if a == sum => byte(b).zip(minus_one),
            _ => None,
        };
        found.extend(tap.map(|((place, step, live), weight)| Tap {
            at,
            sum: *to,
            place,
            step,
            live,
            weight,
        }));
    }
    found
}

/// Taps of one sum that are on four bytes, from the first on: neighbours, or as far apart as makes
/// the fewest groups.
fn groups(taps: &[Tap], width: i64) -> Vec<Group> {
    let mut sorted = taps.to_vec();
    sorted.sort_by_key(|tap| (tap.sum.0, tap.place.cursor.0, tap.place.bytes));
    let grouped = |apart: i64| {
        let mut groups: Vec<Group> = Vec::new();
        for tap in &sorted {
            if !groups.last_mut().is_some_and(|group| group.takes(tap, width)) {
                groups.push(Group::of(tap, apart));
            }
        }
        groups
    };
    let widest = sorted.iter().map(|tap| tap.step).max().unwrap_or(1);
    let is_near = |apart: &i64| (PRODUCTS - 1) * (widest + apart) < SIXTEEN;
    (1..=PRODUCTS).filter(is_near).map(grouped).min_by_key(Vec::len).unwrap_or_default()
}

impl Group {
    fn of(tap: &Tap, apart: i64) -> Group {
        let weights = match tap.weight {
            Weight::Known(weight) => Weights::Known([weight, 0, 0, 0]),
            Weight::At(place) => Weights::From(place),
        };
        let Tap { sum, place, step, live, .. } = *tap;
        Group { sum, place, count: 1, step, apart, weights, taps: vec![(0, live)] }
    }

    /// Adds a tap, where it fits in.
    fn takes(&mut self, tap: &Tap, width: i64) -> bool {
        let bytes = tap.place.bytes - self.place.bytes;
        let at = bytes / self.apart;
        let is_here =
            (self.sum, self.place.cursor, self.step) == (tap.sum, tap.place.cursor, tap.step);
        if !is_here || at >= PRODUCTS || bytes % self.apart != 0 {
            return false;
        }
        let weights = match (self.weights, tap.weight) {
            (Weights::Known(mut weights), Weight::Known(weight)) => {
                match weights[at as usize].checked_add(weight) {
                    Some(both) => weights[at as usize] = both,
                    None => return false,
                }
                Weights::Known(weights)
            }
            (Weights::From(first), Weight::At(place))
                if at == self.count && place == first.offset(at) =>
            {
                self.weights
            }
            _ => return false,
        };
        self.taps.push((bytes, tap.live));
        if !self.reads_zeros(width) {
            self.taps.pop();
            return false;
        }
        (self.weights, self.count) = (weights, self.count.max(at + 1));
        true
    }

    /// Whether each tap has zeros in lanes that it leaves out, where all read the same bytes. Lanes
    /// that all of them leave out are beyond the row, or dead.
    fn reads_zeros(&self, width: i64) -> bool {
        let (from, to) = self.touched(width).range();
        let lanes = self.taps.iter().map(|(_, live)| live.range().1).max().unwrap_or(0);
        self.taps.iter().all(|(at, live)| {
            let (first, end) = live.range();
            let is_outside = |lane: i64| !(from..to).contains(&(at + lane * self.step));
            (0..first).chain(end..lanes.min(width)).all(is_outside)
        })
    }

    /// Bytes that are touched, from the first one's place on.
    fn touched(&self, width: i64) -> Live {
        let lanes = |live: &Live| (live.range().0, live.range().1.min(width));
        let starts = self.taps.iter().map(|(at, live)| at + lanes(live).0 * self.step);
        let ends = self.taps.iter().map(|(at, live)| at + (lanes(live).1 - 1) * self.step + 1);
        Live::new(starts.min().unwrap_or(0), ends.max().unwrap_or(0))
    }

    /// Whether no lane is left out.
    fn is_whole(&self, width: i64) -> bool {
        self.taps.iter().all(|(_, live)| live.is_all(width))
    }

    fn source(&self, width: i64) -> Source {
        let Group { place, count, step, apart, .. } = *self;
        match (count, step, &self.taps[..]) {
            (1, 1, [(_, live), ..]) => {
                Source::Stored { dtype: DType::U8, place, step: 1, live: *live }
            }
            _ => Source::Slide { place, step, count, apart, live: self.touched(width) },
        }
    }
}

/// Groups of known numbers that another's bytes cover take that one's, so that one load serves
/// both.
fn widen(groups: &mut [Group], width: i64) {
    let is_known = |group: &Group| {
        matches!(group.weights, Weights::Known(_)) && group.step == 1 && group.is_whole(width)
    };
    let mut order: Vec<usize> = (0..groups.len()).filter(|&at| is_known(&groups[at])).collect();
    order.sort_by_key(|&at| -groups[at].count);
    // By cursor and byte: the bytes from there on that are loaded.
    let mut loaded: HashMap<Place, i64> = HashMap::default();
    for at in order {
        let Group { place, count, apart, weights: Weights::Known(weights), taps, .. } =
            &mut groups[at]
        else {
            continue;
        };
        let covering = (0..PRODUCTS).find_map(|by| {
            let first = place.offset(-by * *apart);
            let length = *loaded.get(&first)?;
            (by + *count <= length).then_some((first, length, by as usize))
        });
        if let Some((first, length, by)) = covering {
            weights.rotate_right(by);
            (*place, *count) = (first, length);
            let whole = Live::first(width);
            *taps = vec![(0, whole), ((length - 1) * *apart, whole)];
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
        let place = Place { cursor: Cursor(0), bytes };
        let (live, weight) = (Live::first(16), Weight::Known(weight));
        Tap { at: 0, sum: Value(sum), place, step: 1, live, weight }
    }

    fn known(group: &Group) -> [i8; 4] {
        match group.weights {
            Weights::Known(weights) => weights,
            Weights::From(_) => panic!("its weights come later"),
        }
    }

    fn found(taps: &[Tap]) -> Vec<(u32, i64, i64, [i8; 4])> {
        let mut groups = groups(taps, 16);
        widen(&mut groups, 16);
        let all = groups.iter().map(|g| (g.sum.0, g.place.bytes, g.count, known(g)));
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

    #[test]
    fn taps_of_a_pixels_channel_are_apart() {
        let taps: Vec<Tap> = (0..5).map(|at| tap(0, 10 + 3 * at, at as i8 + 1)).collect();
        assert_eq!(found(&taps), [(0, 10, 4, [1, 2, 3, 4]), (0, 22, 1, [5, 0, 0, 0])]);
        let [four, one] = &groups(&taps, 16)[..] else { panic!("four and one") };
        assert_eq!((four.apart, four.touched(16).range()), (3, (0, 25)));
        assert_eq!(one.touched(16).range(), (0, 16));
        // A channel in the middle of another sum's shares its load.
        let shared = found(&[tap(0, 0, 1), tap(0, 3, 2), tap(0, 6, 3), tap(1, 3, 7), tap(1, 6, 8)]);
        assert_eq!(shared, [(0, 0, 3, [1, 2, 3, 0]), (1, 0, 3, [0, 7, 8, 0])]);
        // Lanes that are two bytes apart leave room for three.
        let apart = |by: i64| {
            let two = [0, by].map(|at| Tap { step: 2, ..tap(0, at, 1) });
            groups(&two, 16).len()
        };
        assert_eq!([3, 4, 6, 8, 9, 12].map(apart), [1, 1, 1, 2, 1, 2]);
    }

    #[test]
    fn lanes_that_are_left_out_read_zeros() {
        // A row of 12 bytes from byte 1 on, under a window of three: in lanes of 16.
        let at = |bytes, from, to, weight| {
            let weights = Place { cursor: Cursor(1), bytes: weight };
            let (live, weight) = (Live::new(from, to), Weight::At(weights));
            Tap { live, weight, ..tap(0, bytes, 0) }
        };
        let found = groups(&[at(0, 1, 12, 0), at(1, 0, 12, 1), at(2, 0, 11, 2)], 16);
        let [group] = &found[..] else { panic!("one load has all") };
        assert_eq!((group.count, group.touched(16).range()), (3, (1, 13)));
        // The next row is beside it, and not zero: these are no neighbours.
        assert_eq!(groups(&[at(0, 0, 4, 0), at(1, 0, 3, 1), at(2, 0, 8, 2)], 16).len(), 2);
        assert_eq!(groups(&[at(0, 0, 16, 0), at(1, 0, 16, 5)], 16).len(), 2, "weights are apart");
    }
}
