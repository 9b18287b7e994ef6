//! Products of bytes with words, four of which one sum has, become two instructions of two products
//! each, for machines that have no instruction for four bytes.
//!
//! ```text
//! %0 = splat u8 c1[0]; %4 = i16 c2[0]; %9 = fma(%0, %4, %9)       %20 = splat c1[0..4]
//! %1 = splat u8 c1[1]; %5 = i16 c2[32]; %9 = fma(%1, %5, %9)  ->  %21 = %20 & 0x00ff00ff
//! %2 = splat u8 c1[2]; %6 = i16 c2[2]; ..                         %9 = words(%21, c2[0], %9)
//! %3 = splat u8 c1[3]; %7 = i16 c2[34]; ..                        %22 = %20 >> 8, in words
//!                                                                 %9 = words(%22, c2[32], %9)
//! ```
//!
//! The words are weights, which pass `pack` widened and put so: the first and third of four beside
//! each other, the second and fourth elsewhere. Which of the two is in every lane does not matter.
//! The bytes become words once for all sums that they are factors of, and stay in a register while
//! those pass; weights are operands in memory.
//!
//! Two products of a byte and a word of a byte's range, and their sum, have no more than 17 bits
//! and a sign: nothing saturates, whatever the signs, and sums of 32 bits wrap as everywhere.
//!
//! Nothing is touched that was not touched before.

use rustc_hash::FxHashMap as HashMap;
use smallvec::{SmallVec, smallvec};

use conv_ir::DType;

use super::dots::{Loaded, products_of_loads, without_unread};
use super::inst::{Arg, Inst, Kind, LeafCode, Live, Place, Source, Value};

/// Products of a sum that come together.
const PRODUCTS: usize = 4;
/// Bytes of a lane.
const LANE: i64 = 4;
/// Bytes of a word.
const WORD: i64 = 2;
/// The lower byte of each word.
const LOWER: u64 = 0x00ff_00ff;

/// A factor that a byte holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Byte {
    /// In memory: of each lane, or one in every lane.
    At { dtype: DType, place: Place, step: i64, live: Live },
    /// A number that is known.
    Known(i16),
}

/// A factor of 16 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word {
    place: Place,
    step: i64,
    live: Live,
}

/// A multiply-add of both.
#[derive(Clone, Copy)]
struct Product {
    /// Where it stands.
    at: usize,
    sum: Value,
    byte: Byte,
    word: Word,
}

/// Four of one sum: the bytes in the order of memory, and the words of the first and third, and of
/// the second and fourth.
#[derive(Clone, Copy)]
struct Four {
    sum: Value,
    byte: Byte,
    words: [Word; 2],
}

/// Sums of bytes in the update, in pairs of words where they lie so.
pub(super) fn by_pairs(mut code: LeafCode) -> LeafCode {
    let loaded = products_of_loads(&code.update, &code.carried);
    let products = loaded.iter().filter_map(Product::of).collect();
    let fours = fours(products);
    if !fours.is_empty() {
        let mut is_replaced = vec![false; code.update.len()];
        fours.iter().flat_map(|(_, at)| at).for_each(|at| is_replaced[*at] = true);
        let kept = std::mem::take(&mut code.update).into_iter().zip(is_replaced);
        let kept: Vec<Inst> = kept.filter(|(_, gone)| !gone).map(|(inst, _)| inst).collect();
        code.update = without_unread(kept, &code.carried);
        write(&mut code, fours);
    }
    code
}

impl Product {
    fn of(loaded: &Loaded) -> Option<Product> {
        let [a, b] = loaded.factors.map(|(_, source)| source);
        let (byte, word) = [(a, b), (b, a)].into_iter().find_map(|(byte, word)| {
            let Source::Stored { dtype: DType::I16, place, step: step @ (0 | LANE), live } = word
            else {
                return None;
            };
            let byte = match byte {
                Source::Stored {
                    dtype: dtype @ (DType::I8 | DType::U8),
                    place,
                    step: step @ (0 | LANE),
                    live,
                } => Byte::At { dtype, place, step, live },
                Source::Bits(bits) => Byte::Known(i16::try_from(bits as u32 as i32).ok()?),
                _ => return None,
            };
            Some((byte, Word { place, step, live }))
        })?;
        Some(Product { at: loaded.at, sum: loaded.sum, byte, word })
    }
}

/// Those of one sum that fit, with where their parts stand; in the order of those.
fn fours(mut products: Vec<Product>) -> Vec<(Four, [usize; PRODUCTS])> {
    // Weights are read in order, whatever the order of the input.
    products.sort_by_key(|p| (p.sum.0, p.word.place.cursor.0, p.word.place.bytes, p.at));
    let mut found = Vec::new();
    let mut left = &products[..];
    while let Some((&[a, c, b, d], rest)) = left.split_first_chunk() {
        match four([a, b, c, d]) {
            Some(four) => {
                found.push((four, [a, b, c, d].map(|product| product.at)));
                left = rest;
            }
            None => left = &left[1..],
        }
    }
    found.sort_by_key(|(_, at)| at[0]);
    found
}

fn four(products: [Product; PRODUCTS]) -> Option<Four> {
    let [first, second, third, fourth] = products;
    let is_beside = |a: Word, b: Word| b == Word { place: a.place.offset(WORD), ..a };
    let words = is_beside(first.word, third.word) && is_beside(second.word, fourth.word);
    let is_next = |(at, product): (i64, &Product)| {
        let byte = match first.byte {
            Byte::At { dtype, place, step, live } => {
                Byte::At { dtype, place: place.offset(at), step, live }
            }
            known @ Byte::Known(_) => known,
        };
        (product.sum, product.byte) == (first.sum, byte)
    };
    let fits = words && (0..).zip(&products).all(is_next);
    let words = [first.word, second.word];
    fits.then_some(Four { sum: first.sum, byte: first.byte, words })
}

/// Adds them to the update, those of the same bytes one after the other.
fn write(code: &mut LeafCode, fours: Vec<(Four, [usize; PRODUCTS])>) {
    let mut groups: Vec<(Byte, Vec<Four>)> = Vec::new();
    let mut known: HashMap<Byte, usize> = HashMap::default();
    for (four, _) in fours {
        let at = *known.entry(four.byte).or_insert_with(|| {
            groups.push((four.byte, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(four);
    }
    for (byte, fours) in groups {
        match byte {
            Byte::Known(number) => {
                let word = u64::from(number as u16);
                let both = Arg::From(Source::Bits(word << 16 | word));
                (0..2).for_each(|half| products(code, &fours, half, both));
            }
            Byte::At { dtype, place, step, live } => {
                let source = match step {
                    0 => Source::Splat(place),
                    _ => Source::Vector { place, live },
                };
                let all = set(code, Kind::Copy, smallvec![Arg::From(source)]);
                let has_sign = dtype == DType::I8;
                let lower = match has_sign {
                    true => {
                        let raised = set(code, Kind::RaisedByte, smallvec![all]);
                        set(code, Kind::UpperByte { has_sign }, smallvec![raised])
                    }
                    false => set(code, Kind::And, smallvec![all, Arg::From(Source::Bits(LOWER))]),
                };
                products(code, &fours, 0, lower);
                let upper = set(code, Kind::UpperByte { has_sign }, smallvec![all]);
                products(code, &fours, 1, upper);
            }
        }
    }
}

/// The products of one half of the bytes with the words of all sums.
fn products(code: &mut LeafCode, fours: &[Four], half: usize, bytes: Arg) {
    for four in fours {
        let Word { place, step, live } = four.words[half];
        let words = Arg::From(match step {
            0 => Source::Splat(place),
            _ => Source::Vector { place, live },
        });
        let args = smallvec![bytes, words, Arg::Value(four.sum)];
        code.update.push(Inst::Set { to: four.sum, kind: Kind::Words, args });
    }
}

fn set(code: &mut LeafCode, kind: Kind, args: SmallVec<[Arg; 3]>) -> Arg {
    let to = code.carried.fresh(false);
    code.update.push(Inst::Set { to, kind, args });
    Arg::Value(to)
}
