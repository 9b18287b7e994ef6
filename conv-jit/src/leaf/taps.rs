//! Taps under a window of one channel: two products become one instruction.
//!
//! ```text
//! %4 = u8 c1[0]; %5 = splat i8 c2[0]; %9 = fma(%4, %5, %9)       %20 = words c1[0], c1[1]
//! %6 = u8 c1[1]; %7 = splat i8 c2[1]; %9 = fma(%6, %7, %9)  ->   %21 = splat words c2[0], c2[1]
//! %8 = u8 c1[2]; ..                                              %9 = words(%20, %21, %9)
//! ```
//!
//! Each lane has the bytes of two taps as words, and so have the weights. With columns in the lanes
//! the taps are beside each other: outputs of other rows under whose windows the same two bytes lie
//! share them, see [`regroup`](super::regroup). With channels in the lanes they are below each
//! other, and outputs of other columns share them: products come in the order of the input, those
//! of one vector of channels after those of another, so that few weights are at hand at a time.
//!
//! A tap that is left over is alone, and the other weight zero; where lanes are apart or some are
//! left out, it comes with the tap before it, because both are loaded as one is.
//!
//! Two products of a byte and a byte, and their sum, have no more than 17 bits and a sign: nothing
//! saturates, whatever the signs, and sums of 32 bits wrap as everywhere.
//!
//! Nothing is touched that was not touched before, or that lies between.

use conv_ir::DType;
use rustc_hash::FxHashMap as HashMap;
use smallvec::smallvec;

use super::dots::{Loaded, products_of_loads, without_unread};
use super::inst::{Arg, Inst, Kind, LeafCode, Live, Place, Source, Value};

/// Bytes from lane to lane, at most: sixteen hold those of eight lanes.
const FARTHEST: i64 = 2;

/// Bytes of each lane in memory, or one that is in every lane.
#[derive(Clone, Copy)]
struct Bytes {
    dtype: DType,
    place: Place,
    step: i64,
    live: Live,
}

/// A byte in each lane times a weight.
#[derive(Clone, Copy)]
struct Tap {
    /// Where it stands.
    at: usize,
    sum: Value,
    input: Bytes,
    weight: Bytes,
}

/// What one instruction multiplies.
struct Product {
    /// Where the taps stood that it takes.
    takes: Vec<usize>,
    sum: Value,
    input: Source,
    weights: Source,
}

/// Puts such products of the update in pairs.
pub(super) fn in_pairs(code: &mut LeafCode, width: i64) {
    let loaded = products_of_loads(&code.update, &code.carried);
    let mut taps: Vec<Tap> = loaded.iter().filter_map(|loaded| Tap::of(loaded, width)).collect();
    taps.sort_by_key(|tap| (tap.sum.0, tap.input.place.cursor.0, tap.input.place.bytes, tap.at));
    let are_splats = taps.iter().all(|tap| tap.weight.step == 0);
    let is_any = |product: &Product| product.takes.len() == 2;
    let products = match are_splats {
        true => beside(&taps, width),
        false if taps.iter().all(|tap| tap.weight.step == 1) => below(&taps, width),
        false => return,
    };
    if !products.iter().any(is_any) {
        return;
    }
    let mut is_replaced = vec![false; code.update.len()];
    products.iter().flat_map(|product| &product.takes).for_each(|at| is_replaced[*at] = true);
    let kept = std::mem::take(&mut code.update).into_iter().zip(is_replaced);
    let kept: Vec<Inst> = kept.filter(|(_, gone)| !gone).map(|(inst, _)| inst).collect();
    code.update = without_unread(kept, &code.carried);
    write(code, products, !are_splats);
}

impl Bytes {
    fn of(source: Source, width: i64) -> Option<Bytes> {
        let Source::Stored { dtype: dtype @ (DType::I8 | DType::U8), place, step, live } = source
        else {
            return None;
        };
        let is_here = !live.is_empty() && live.and(Live::first(width)) == live;
        (is_here && step <= FARTHEST).then_some(Bytes { dtype, place, step, live })
    }

    /// Whether another byte is like it, elsewhere in what is behind the same pointer.
    fn is_like(self, other: Bytes) -> bool {
        (self.dtype, self.step, self.place.cursor) == (other.dtype, other.step, other.place.cursor)
    }

    fn distance_to(self, other: Bytes) -> i64 {
        other.place.bytes - self.place.bytes
    }

    /// These and others of the same pointer, of which each may be left out.
    fn and(self, other: Bytes, [first, second]: [bool; 2]) -> Source {
        let Bytes { dtype, place, step, live } = self;
        let left = |live, is_there| if is_there { live } else { Live::NONE };
        let live = [left(live, first), left(other.live, second)];
        Source::Words { dtype, place, step, apart: self.distance_to(other), live }
    }

    /// Beside zeros.
    fn alone(self) -> Source {
        let Bytes { dtype, place, step, live } = self;
        Source::Words { dtype, place, step, apart: 1, live: [live, Live::NONE] }
    }

    fn source(self) -> Source {
        let Bytes { dtype, place, step, live } = self;
        Source::Stored { dtype, place, step, live }
    }
}

impl Tap {
    fn of(loaded: &Loaded, width: i64) -> Option<Tap> {
        // The first is the input.
        let [input, weight] = loaded.factors.map(|(_, source)| Bytes::of(source, width));
        let (input, weight) = input.zip(weight)?;
        let is_tap = input.step > 0 && weight.step <= 1;
        is_tap.then_some(Tap { at: loaded.at, sum: loaded.sum, input, weight })
    }

    fn is_like(&self, other: &Tap) -> bool {
        self.sum == other.sum
            && self.input.is_like(other.input)
            && self.weight.is_like(other.weight)
    }

    fn both(&self, other: &Tap) -> Product {
        Product {
            takes: vec![self.at, other.at],
            sum: self.sum,
            input: self.input.and(other.input, [true; 2]),
            weights: self.weight.and(other.weight, [true; 2]),
        }
    }

    fn alone(&self) -> Product {
        let (input, weights) = (self.input.source(), self.weight.alone());
        Product { takes: vec![self.at], sum: self.sum, input, weights }
    }
}

/// Taps whose weights are beside each other, as near as such are: in the order that they had.
fn beside(taps: &[Tap], width: i64) -> Vec<Product> {
    let distance = |first: &Tap, second: &Tap| {
        let is_next = first.is_like(second) && first.weight.distance_to(second.weight) == 1;
        Some(first.input.distance_to(second.input)).filter(|apart| is_next && *apart > 0)
    };
    let distances = taps.windows(2).filter_map(|pair| distance(&pair[0], &pair[1]));
    let Some(apart) = distances.min() else { return Vec::new() };
    let are_beside = |first: usize| {
        let pair = taps.get(first..first + 2);
        pair.is_some_and(|pair| distance(&pair[0], &pair[1]) == Some(apart))
    };
    let mut products = Vec::new();
    let mut at = 0;
    while let Some(tap) = taps.get(at) {
        if are_beside(at) {
            products.push(tap.both(&taps[at + 1]));
            at += 2;
            continue;
        }
        if at > 0 && are_beside(at - 1) {
            let is_row = tap.input.step == 1 && tap.input.live.is_all(width);
            products.push(if is_row {
                tap.alone()
            } else {
                with_the_one_before(&taps[at - 1], tap)
            });
        }
        at += 1;
    }
    products.sort_by_key(|product| product.takes[0]);
    products
}

/// Both are loaded, and the product of the first is another's.
fn with_the_one_before(before: &Tap, tap: &Tap) -> Product {
    Product {
        takes: vec![tap.at],
        sum: tap.sum,
        input: before.input.and(tap.input, [true; 2]),
        weights: before.weight.and(tap.weight, [false, true]),
    }
}

/// Taps below each other, as far as the rows of a window are; of one row, those beside each other.
fn below(taps: &[Tap], width: i64) -> Vec<Product> {
    let whole = Live::first(width);
    let are_whole = taps.iter().all(|tap| [tap.input.live, tap.weight.live] == [whole; 2]);
    let Some(apart) = rows_apart(taps).filter(|_| are_whole) else { return Vec::new() };
    let mut products: Vec<(usize, Place, Product)> = Vec::new();
    let mut vectors: HashMap<Place, usize> = HashMap::default();
    let mut sums: Vec<&[Tap]> = taps.chunk_by(|a, b| a.sum == b.sum).collect();
    // Those with all taps know which weights are of one vector of channels.
    sums.sort_by_key(|of| -(of.len() as i64));
    for (at, of) in sums.into_iter().enumerate() {
        let vector = of.iter().find_map(|tap| vectors.get(&tap.weight.place)).copied();
        let vector = vector.unwrap_or(at);
        vectors.extend(of.iter().map(|tap| (tap.weight.place, vector)));
        let mut is_taken = vec![false; of.len()];
        for (first, tap) in of.iter().enumerate() {
            if is_taken[first] {
                continue;
            }
            let is_below = |(at, other): (usize, &Tap)| {
                !is_taken[at] && tap.is_like(other) && tap.input.distance_to(other.input) == apart
            };
            let product = match of.iter().enumerate().position(is_below) {
                Some(second) => {
                    is_taken[second] = true;
                    tap.both(&of[second])
                }
                None => tap.alone(),
            };
            products.push((vector, tap.input.place, product));
        }
    }
    products.sort_by_key(|(vector, place, product)| {
        (*vector, place.cursor.0, place.bytes, product.sum.0)
    });
    products.into_iter().map(|(.., product)| product).collect()
}

/// How far the rows are from each other under the window of the sum that has the most taps, or the
/// taps of its only row.
fn rows_apart(taps: &[Tap]) -> Option<i64> {
    let of = taps.chunk_by(|a, b| a.sum == b.sum).max_by_key(|of| of.len())?;
    let apart = |pair: &[Tap]| pair[0].input.distance_to(pair[1].input);
    let nearest = of.windows(2).map(apart).filter(|apart| *apart > 0).min()?;
    let next = of.windows(2).position(|pair| apart(pair) > nearest);
    Some(next.map_or(nearest, |last| of[0].input.distance_to(of[last + 1].input)))
}

/// Adds them to the update. Where they are `in_order`, neighbours share what they load.
fn write(code: &mut LeafCode, products: Vec<Product>, in_order: bool) {
    let mut known: HashMap<Source, Value> = HashMap::default();
    let mut last: Option<(Source, Value)> = None;
    for Product { sum, input, weights, .. } in products {
        let weights = *known.entry(weights).or_insert_with(|| load(code, weights));
        let input = match last {
            Some((source, value)) if in_order && source == input => value,
            _ => {
                let value = load(code, input);
                last = Some((input, value));
                value
            }
        };
        let args = smallvec![Arg::Value(input), Arg::Value(weights), Arg::Value(sum)];
        code.update.push(Inst::Set { to: sum, kind: Kind::Words, args });
    }
}

fn load(code: &mut LeafCode, source: Source) -> Value {
    let to = code.carried.fresh(false);
    code.update.push(Inst::Set { to, kind: Kind::Copy, args: smallvec![Arg::From(source)] });
    to
}
