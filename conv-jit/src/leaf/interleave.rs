//! Two known taps of columns side by side become one product: of bytes, summed in lanes of 16 bits,
//! or of words, summed in lanes of 32. For machines with 256 bits, whose instructions have two
//! products of neighbours and no four.
//!
//! ```text
//! %1 = u8 c1[0]; %9 = fma(%1, 3, %9)              %20 = c1[0..32]
//! %2 = u8 c1[2]; %9 = fma(%2, -4, %9)         ->  %21 = interleave lower %20, c1[2..34]
//! .. the same for the next 24 columns             %30 = pair sums %21, [3 -4], and the upper half
//! store u8 c2[0] = %9; ..                         store c2[0..32] = narrow %30, %31
//! ```
//!
//! Four sums of eight columns each are two registers of bytes' sums, or four of words'. Inside 128
//! bits columns stay in order: interleaving takes them apart and narrowing puts them together
//! again, so that nothing is shuffled in between. What is done to a sum before it is stored must be
//! the same in every lane therefore, and for each of the four.
//!
//! Sums of bytes must be known to fit in 16 bits, with or without a sign, whatever the picture; on
//! the way they may wrap. No two products of bytes saturate: of weights with one sign whose sum is
//! beyond 128 each is taken alone. Sums of 32 bits wrap as everywhere.
//!
//! The pairs are those of neighbours in memory, of all taps of all rows of the tile, so that rows
//! share them. Nothing is touched that was not touched before.

mod chains;
mod write;

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use smallvec::SmallVec;

use conv_ir::DType;

use super::Shape;
use super::dots::without_unread;
use super::inst::{Arg, Carried, Inst, Kind, LeafCode, Place, Source, Value};
use chains::{Chain, chains, without_chains};
use write::Writer;

/// Sums that are stored together.
const TOGETHER: usize = 4;
/// Columns of a sum: lanes of 32 bits.
const LANES: i64 = 8;
/// Bytes of a register.
const BYTES: i64 = 32;

/// A place as it is sorted: a cursor and bytes from there.
type Key = (u32, i64);

/// A sum of known numbers times elements side by side.
struct Sum {
    value: Value,
    dtype: DType,
    /// What it starts with, in every lane.
    start: Source,
    /// By place.
    taps: Vec<(Key, i64)>,
}

/// Four sums of columns side by side.
struct Quad {
    sums: [Value; TOGETHER],
    dtype: DType,
    /// What they start with is added to them when they have 32 bits.
    start: Source,
    /// Those of the first.
    taps: Vec<(Key, i64)>,
    /// The registers of the new sums: of bytes two, of words four.
    new: SmallVec<[Value; TOGETHER]>,
    range: (i64, i64),
}

/// Two registers of sums: of the lower and the upper halves of what is interleaved.
struct Unit {
    dtype: DType,
    taps: Vec<(Key, i64)>,
    new: [Value; 2],
    is_begun: [bool; 2],
}

/// The leaf that way; none where no four sums are so.
pub(super) fn interleaved(code: &LeafCode, shape: Shape) -> Option<LeafCode> {
    let can = shape.isa.is_avx2() && shape.width == LANES && shape.bytes() == BYTES;
    if !can || !code.loops.is_empty() {
        return None;
    }
    let sums = sums(code);
    if sums.len() < TOGETHER {
        return None;
    }
    let mut out = code.clone();
    let mut quads = quads(sums, &mut out.carried);
    let chains = chains(code, &quads);
    let mut chains = chains.into_iter();
    let mut uniform: Vec<Chain> = Vec::new();
    quads.retain(|_| match chains.next().flatten() {
        Some(chain) => {
            uniform.push(chain);
            true
        }
        None => false,
    });
    if quads.is_empty() {
        return None;
    }
    let gone: HashSet<Value> = quads.iter().flat_map(|quad| quad.sums).collect();
    let is_kept = |inst: &Inst| !inst.sets().iter().any(|value| gone.contains(value));
    out.init.retain(is_kept);
    out.update.retain(is_kept);
    out.update = without_unread(std::mem::take(&mut out.update), &out.carried);
    out.finish = without_chains(&code.finish, &gone, &out.carried);
    let units = quads.iter().flat_map(Quad::units).collect();
    let mut writer = Writer { carried: &mut out.carried, out: Vec::new() };
    groups(units).into_iter().for_each(|group| writer.group(group));
    out.update.append(&mut writer.out);
    quads.iter().zip(&uniform).for_each(|(quad, chain)| writer.finish(quad, chain));
    out.finish.append(&mut writer.out);
    Some(out)
}

/// The sums of the update that are known numbers times whole vectors of bytes without a sign, or of
/// words, and nothing else.
fn sums(code: &LeafCode) -> Vec<Sum> {
    let mut starts: HashMap<Value, Source> = HashMap::default();
    for inst in &code.init {
        match inst.load().filter(|(_, source)| is_every(source)) {
            Some((value, source)) => {
                starts.insert(value, source);
            }
            None => starts.retain(|value, _| !inst.sets().contains(value)),
        }
    }
    let mut loads: HashMap<Value, Source> = HashMap::default();
    let mut found: HashMap<Value, Option<Sum>> = HashMap::default();
    for inst in &code.update {
        if let Some((value, source)) = inst.load().filter(|(v, _)| !code.carried[*v]) {
            loads.insert(value, source);
            continue;
        }
        let Inst::Set { to, kind, args } = inst else { return Vec::new() };
        let tap = tap(*to, *kind, args, &loads);
        let start = starts.get(to);
        let sum = found.entry(*to).or_insert_with(|| {
            let (dtype, ..) = tap?;
            Some(Sum { value: *to, dtype, start: *start?, taps: Vec::new() })
        });
        let fits = match (&mut *sum, tap) {
            (Some(sum), Some((dtype, place, weight))) if dtype == sum.dtype => {
                sum.add((place.cursor.0, place.bytes), weight)
            }
            _ => false,
        };
        if !fits {
            *sum = None;
        }
        // What others read is not theirs alone.
        for read in inst.reads().into_iter().filter(|read| read != to) {
            if code.carried[read] {
                found.insert(read, None);
            }
        }
    }
    let mut sums: Vec<Sum> = found.into_values().flatten().collect();
    for sum in &mut sums {
        sum.taps.retain(|(_, weight)| *weight != 0);
        sum.taps.sort_unstable();
    }
    sums.retain(|sum| !sum.taps.is_empty());
    sums.sort_by_key(|sum| (sum.dtype != DType::U8, sum.taps[0].0, sum.value.0));
    sums
}

/// Whether a load gives the same in every lane.
fn is_every(source: &Source) -> bool {
    matches!(source, Source::Bits(_) | Source::Splat(_) | Source::Stored { step: 0, .. })
}

/// What is added to a sum: elements of a type, from where, times what.
fn tap(
    to: Value,
    kind: Kind,
    args: &[Arg],
    loads: &HashMap<Value, Source>,
) -> Option<(DType, Place, i64)> {
    let source = |arg: Arg| match arg {
        Arg::Value(value) => loads.get(&value).copied(),
        Arg::From(source) => Some(source),
    };
    let elements = |arg: Arg| match source(arg)? {
        Source::Stored { dtype: dtype @ (DType::U8 | DType::I16), place, step, live } => {
            let is_whole = step == dtype.bytes() as i64 && live.is_all(LANES);
            is_whole.then_some((dtype, place))
        }
        _ => None,
    };
    let number = |arg: Arg| match source(arg)? {
        Source::Bits(bits) => Some(i64::from(bits as u32 as i32)),
        _ => None,
    };
    let sum = Arg::Value(to);
    let (a, b, weight) = match (kind, args) {
        (Kind::Fma, &[a, b, c]) if c == sum => match elements(a) {
            Some(_) => (a, b, number(b)?),
            None => (b, a, number(a)?),
        },
        (Kind::Add, &[a, b]) if a == sum => (b, a, 1),
        (Kind::Add, &[a, b]) if b == sum => (a, b, 1),
        (Kind::Sub, &[a, b]) if a == sum => (b, a, -1),
        _ => return None,
    };
    let is_other = a != b;
    elements(a).filter(|_| is_other).map(|(dtype, place)| (dtype, place, weight))
}

impl Sum {
    /// Another tap, which may be where one is; whether the number is one that taps may have.
    fn add(&mut self, key: Key, weight: i64) -> bool {
        match self.taps.iter_mut().find(|tap| tap.0 == key) {
            Some(tap) => tap.1 += weight,
            None => self.taps.push((key, weight)),
        }
        self.taps.iter().all(|tap| tap.1.abs() < 1 << 15)
    }

    /// Its taps so many columns further.
    fn further(&self, columns: i64) -> Vec<(Key, i64)> {
        let by = columns * self.dtype.bytes() as i64;
        self.taps.iter().map(|((cursor, bytes), weight)| ((*cursor, bytes + by), *weight)).collect()
    }

    /// The least and the greatest number that it may be, without what it starts with.
    fn range(&self) -> (i64, i64) {
        let (least, most) = self.dtype.range().unwrap_or((i64::MIN, i64::MAX));
        self.taps.iter().fold((0, 0), |(lo, hi), (_, weight)| {
            let (a, b) = (weight.saturating_mul(least), weight.saturating_mul(most));
            (lo.saturating_add(a.min(b).min(0)), hi.saturating_add(a.max(b).max(0)))
        })
    }
}

/// Whether numbers of a range are words with a sign.
fn has_sign((least, most): (i64, i64)) -> bool {
    least >= i16::MIN.into() && most <= i16::MAX.into()
}

/// The sums in fours, whose columns are side by side.
fn quads(sums: Vec<Sum>, carried: &mut Carried) -> Vec<Quad> {
    let mut of_taps: HashMap<&[(Key, i64)], usize> = HashMap::default();
    for (at, sum) in sums.iter().enumerate() {
        of_taps.entry(&sum.taps).or_insert(at);
    }
    let mut is_taken = vec![false; sums.len()];
    let mut quads = Vec::new();
    for (at, first) in sums.iter().enumerate() {
        let range = first.range();
        let is_word = has_sign(range) || range.0 >= 0 && range.1 <= u16::MAX.into();
        if first.dtype == DType::U8 && !is_word {
            continue;
        }
        let mut four = [at; TOGETHER];
        let mut others = (1..).zip(&mut four[1..]);
        let found = others.all(|(by, place)| {
            let taps = first.further(by * LANES);
            let next = of_taps.get(&taps[..]).copied();
            let next = next.filter(|&n| {
                (sums[n].start, sums[n].dtype) == (first.start, first.dtype) && !is_taken[n]
            });
            *place = next.unwrap_or(at);
            next.is_some()
        });
        if !found || is_taken[at] {
            continue;
        }
        four.iter().for_each(|&at| is_taken[at] = true);
        let registers = if first.dtype == DType::U8 { 2 } else { TOGETHER };
        let new = (0..registers).map(|_| carried.fresh(true));
        let (dtype, start, taps) = (first.dtype, first.start, first.taps.clone());
        let sums = four.map(|at| sums[at].value);
        quads.push(Quad { sums, dtype, start, taps, new: new.collect(), range });
    }
    quads
}

impl Quad {
    /// Whether sums are of 16 bits.
    fn is_of_bytes(&self) -> bool {
        self.dtype == DType::U8
    }

    fn units(&self) -> impl Iterator<Item = Unit> + '_ {
        (0..).zip(self.new.chunks_exact(2)).map(|(at, new)| Unit {
            dtype: self.dtype,
            taps: self
                .taps
                .iter()
                .map(|((c, b), weight)| ((*c, b + at * BYTES), *weight))
                .collect(),
            new: [new[0], new[1]],
            is_begun: [false; 2],
        })
    }
}

/// Units that read the same places, with those.
fn groups(units: Vec<Unit>) -> Vec<(Vec<Key>, Vec<Unit>)> {
    let mut of_place: HashMap<Key, usize> = HashMap::default();
    let mut groups: Vec<(Vec<Key>, Vec<Unit>)> = Vec::new();
    for unit in units {
        let known = unit.taps.iter().find_map(|(key, _)| of_place.get(key).copied());
        let at = known.unwrap_or_else(|| {
            groups.push((Vec::new(), Vec::new()));
            groups.len() - 1
        });
        for (key, _) in &unit.taps {
            of_place.entry(*key).or_insert(at);
            groups[at].0.push(*key);
        }
        groups[at].1.push(unit);
    }
    for (places, _) in &mut groups {
        places.sort_unstable();
        places.dedup();
    }
    groups
}
