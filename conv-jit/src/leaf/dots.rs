//! Four products of neighbouring bytes that are added to one sum become one instruction.
//!
//! ```text
//! %0 = splat u8 c1[0]; %4 = i8 c2[0]; %9 = fma(%0, %4, %9)       %20 = splat c1[0..4]
//! %1 = splat u8 c1[1]; %5 = i8 c2[16]; %9 = fma(%1, %5, %9)  ->  %21 = %4 | %5 << 8 | ..
//! %2 = splat u8 c1[2]; ..                                        %9 = dot(%20, %21, %9)
//! ```
//!
//! The four splats are one, of 32 bits, and so are four numbers of the padding; the vectors are one
//! load where they lie as the instruction wants them, and otherwise put together once for all sums
//! that they are factors of. Bytes of one factor have a sign, those of the other have none, as the
//! instruction wants it. Where they are alike, those of the vector are shifted by 128, and the sum
//! of the splats, which all vectors of a column share, says what that added:
//!
//! ```text
//! sum of s v = sum of s (v + 128) - 128 * sum of s
//! ```
//!
//! Sums of integers are modulo 2^32, in any order: nothing changes but the
//! number of instructions.
//!
//! Nothing is touched that was not touched before.
//!
//! A product of two factors of 16 bits, one of which is a byte without a sign or known, has a
//! faster instruction, of two products and their sum: here the other is of zeros.
//!
//! Where words are multiplied in pairs, [`words`](super::words) does the same with those.

use conv_ir::DType;
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use smallvec::{SmallVec, smallvec};

use super::inst::{Arg, Carried, Inst, Kind, LeafCode, Place, Source, Value};

/// Products in an instruction.
pub(super) const PRODUCTS: usize = 4;
/// Bytes of a lane.
const LANE: i64 = 4;

/// A byte that is in every lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Splat {
    At(DType, Place),
    Known(DType, u8),
}

impl Splat {
    /// A number beside bytes of a type: as one of the other type, where it is one.
    fn known(number: i32, beside: DType) -> Option<Splat> {
        let other = if beside == DType::I8 { DType::U8 } else { DType::I8 };
        let has = |dtype: &DType| {
            dtype.range().is_some_and(|(lo, hi)| (lo..=hi).contains(&number.into()))
        };
        let dtype = [other, beside].into_iter().find(has)?;
        Some(Splat::Known(dtype, number as u8))
    }

    fn dtype(self) -> DType {
        match self {
            Splat::At(dtype, _) | Splat::Known(dtype, _) => dtype,
        }
    }
}

/// A multiply-add of bytes.
#[derive(Clone, Copy)]
pub(super) struct Product {
    /// Where it stands.
    pub at: usize,
    pub sum: Value,
    /// The byte that is in every lane.
    pub splat: Splat,
    /// The operand that it was: whoever shared it shares the four.
    shared: Arg,
    /// The bytes of the lanes.
    pub vector: Source,
}

/// Sums of bytes in the update, four at a time where they lie so, and one by one of what is left.
pub(super) fn by_fours(mut code: LeafCode) -> LeafCode {
    four_at_a_time(&mut code);
    one_by_one(code)
}

/// Multiply-adds whose factors are known to be narrow.
pub(super) fn one_by_one(mut code: LeafCode) -> LeafCode {
    let mut sets = vec![0; code.carried.len()];
    code.all().flat_map(Inst::sets).for_each(|value| sets[value.0 as usize] += 1);
    let loads = code.init.iter().chain(&code.update).filter_map(Inst::load);
    let known: HashMap<Value, DType> = loads
        .filter(|(value, _)| sets[value.0 as usize] == 1)
        .filter_map(|(value, source)| match source {
            Source::Stored { dtype, .. } => Some((value, dtype)),
            _ => None,
        })
        .collect();
    let of = |arg: &Arg| match arg {
        Arg::Value(value) => known.get(value).copied(),
        Arg::From(Source::Stored { dtype, .. }) => Some(*dtype),
        Arg::From(_) => None,
    };
    // In lanes of 32 bits, bytes without a sign have nothing but zeros in the upper half.
    let is_narrow = |a, b| {
        let fits = |dtype| matches!(dtype, Some(DType::U8 | DType::I8 | DType::I16));
        (a == Some(DType::U8) || b == Some(DType::U8)) && fits(a) && fits(b)
    };
    for inst in &mut code.update {
        let Inst::Set { kind: kind @ Kind::Fma, args, .. } = inst else { continue };
        if is_narrow(of(&args[0]), of(&args[1])) {
            *kind = Kind::Words;
        } else if let Some((at, low)) = known_word(args, of) {
            *kind = Kind::Words;
            args[at] = Arg::From(Source::Bits(low));
        }
    }
    code
}

/// The factor that is a known number of 16 bits, beside one that 16 bits hold: which, and its lower
/// half, above which the other's sign is multiplied by zeros.
fn known_word(args: &[Arg], of: impl Fn(&Arg) -> Option<DType>) -> Option<(usize, u64)> {
    (0..2).find_map(|at| {
        let Arg::From(Source::Bits(bits)) = args[at] else { return None };
        let other = of(&args[1 - at]);
        let fits = matches!(other, Some(DType::U8 | DType::I8 | DType::I16));
        let word = i16::try_from(bits as u32 as i32).ok().filter(|_| fits)?;
        Some((at, u64::from(word as u16)))
    })
}

fn four_at_a_time(code: &mut LeafCode) {
    let products = products(&code.update, &code.carried);
    let mut fours = fours(products);
    if fours.is_empty() {
        return;
    }
    fours.sort_by_key(|four| four[0].at);
    let mut is_replaced = vec![false; code.update.len()];
    fours.iter().flatten().for_each(|product| is_replaced[product.at] = true);
    let kept = std::mem::take(&mut code.update).into_iter().zip(is_replaced);
    let kept: Vec<Inst> = kept.filter(|(_, gone)| !gone).map(|(inst, _)| inst).collect();
    code.update = without_unread(kept, &code.carried);
    Writer::new(code, &fours).write(&fours);
}

/// Factors of a multiply-add, both of which are loaded.
pub(super) struct Loaded {
    /// Where it stands.
    pub at: usize,
    pub sum: Value,
    /// The operands, and where they come from.
    pub factors: [(Arg, Source); 2],
}

/// The multiply-adds of two loads.
pub(super) fn products_of_loads(update: &[Inst], carried: &Carried) -> Vec<Loaded> {
    let mut loads: HashMap<Value, Source> = HashMap::default();
    let mut found = Vec::new();
    for (at, inst) in update.iter().enumerate() {
        if let Some((value, source)) = inst.load().filter(|(v, _)| !carried[*v]) {
            loads.insert(value, source);
        }
        let Inst::Set { to, kind: Kind::Fma, args } = inst else { continue };
        let source = |arg: Arg| match arg {
            Arg::Value(value) => loads.get(&value).map(|source| (arg, *source)),
            Arg::From(source) => Some((arg, source)),
        };
        let is_sum = carried[*to] && args[2] == Arg::Value(*to);
        if let Some((a, b)) = source(args[0]).zip(source(args[1])).filter(|_| is_sum) {
            found.push(Loaded { at, sum: *to, factors: [a, b] });
        }
    }
    found
}

/// The multiply-adds whose factors are a byte in every lane and bytes side by side.
pub(super) fn products(update: &[Inst], carried: &Carried) -> Vec<Product> {
    let mut found = Vec::new();
    for Loaded { at, sum, factors: [a, b] } in products_of_loads(update, carried) {
        let product = [(a, b), (b, a)].into_iter().find_map(|((shared, splat), (_, vector))| {
            let Source::Stored { dtype: of, step: 1 | LANE, .. } = vector else { return None };
            let splat = match splat {
                Source::Stored {
                    dtype: dtype @ (DType::I8 | DType::U8), place, step: 0, ..
                } => Splat::At(dtype, place),
                Source::Bits(bits) => Splat::known(bits as u32 as i32, of)?,
                _ => return None,
            };
            let is_byte = matches!(of, DType::I8 | DType::U8);
            is_byte.then_some(Product { at, sum, splat, shared, vector })
        });
        found.extend(product);
    }
    found
}

impl Product {
    /// What neighbours are next to: the splat, or the vector under one that is known.
    fn place(&self) -> Place {
        match (self.splat, self.vector) {
            (Splat::At(_, place), _) | (_, Source::Stored { place, .. }) => place,
            _ => unreachable!("a vector of bytes is stored"),
        }
    }

    /// Whether both factors have a sign, or neither.
    fn is_alike(&self) -> bool {
        matches!(self.vector, Source::Stored { dtype, .. } if dtype == self.splat.dtype())
    }
}

/// Those of one sum whose splats are neighbours, in fours.
pub(super) fn fours(products: Vec<Product>) -> Vec<[Product; PRODUCTS]> {
    let mut by_sum: Vec<(Value, Vec<Product>)> = Vec::new();
    let mut of_sum: HashMap<Value, usize> = HashMap::default();
    for product in products {
        let at = *of_sum.entry(product.sum).or_insert_with(|| {
            by_sum.push((product.sum, Vec::new()));
            by_sum.len() - 1
        });
        by_sum[at].1.push(product);
    }
    let mut found = Vec::new();
    for (_, mut of) in by_sum {
        of.sort_by_key(|product| {
            let place = product.place();
            (matches!(product.splat, Splat::At(..)), place.cursor.0, place.bytes, product.at)
        });
        let mut left = &of[..];
        while let Some(first) = left.first() {
            let next = |by: usize| {
                let place = first.place().offset(by as i64);
                let wanted = match first.splat {
                    Splat::At(dtype, _) => Splat::At(dtype, place),
                    known => known,
                };
                let fits = |p: &Product| p.splat == wanted && p.place() == place;
                left.get(by).copied().filter(fits)
            };
            match (next(1), next(2), next(3)) {
                (Some(b), Some(c), Some(d)) => {
                    found.push([*first, b, c, d]);
                    left = &left[PRODUCTS..];
                }
                _ => left = &left[1..],
            }
        }
    }
    found
}

/// Without loads that nobody reads any more.
pub(super) fn without_unread(insts: Vec<Inst>, carried: &Carried) -> Vec<Inst> {
    let mut is_read = vec![false; carried.len()];
    insts.iter().flat_map(Inst::reads).for_each(|value| is_read[value.0 as usize] = true);
    let is_needed = |inst: &Inst| match inst.load() {
        Some((value, _)) => carried[value] || is_read[value.0 as usize],
        None => true,
    };
    insts.into_iter().filter(is_needed).collect()
}

/// The load of 32 bits a lane that four loads of bytes are.
fn side_by_side(parts: &[Source; PRODUCTS]) -> Option<Source> {
    let Source::Stored { dtype, place: first, step: LANE, live } = parts[0] else { return None };
    let is_next = |(at, part): (i64, &Source)| {
        *part == Source::Stored { dtype, place: first.offset(at), step: LANE, live }
    };
    let together = Source::Vector { place: first, live };
    (0..).zip(parts).all(is_next).then_some(together)
}

/// A sum of splats, which all sums that have these in their products share.
struct Shift {
    of: Value,
    /// What has it: sums of vectors that were raised, or lowered.
    sums: Vec<Value>,
    lowers: bool,
}

struct Writer<'a> {
    code: &'a mut LeafCode,
    splats: HashMap<Arg, Value>,
    vectors: HashMap<([Source; PRODUCTS], bool), Value>,
    shifts: Vec<Shift>,
    /// By sum.
    shift_of: HashMap<Value, usize>,
    /// What is in which sum of splats.
    shifted: HashSet<(Arg, usize)>,
}

/// 128 in each byte: what is added to it without carry is raised, or lowered, by 128.
const HALF: u64 = 0x8080_8080;
const ONES: u64 = 0x0101_0101;

impl<'a> Writer<'a> {
    fn new(code: &'a mut LeafCode, fours: &[[Product; PRODUCTS]]) -> Self {
        let mut splats: Vec<(Value, Vec<Arg>)> = Vec::new();
        for [first, ..] in fours.iter().filter(|four| four[0].is_alike()) {
            match splats.iter_mut().find(|(sum, _)| *sum == first.sum) {
                Some((_, splats)) => splats.push(first.shared),
                None => splats.push((first.sum, vec![first.shared])),
            }
        }
        let mut alike = fours.iter().filter(|four| four[0].is_alike());
        let lowers = alike.any(|four| four[0].splat.dtype() == DType::U8);
        let mut known: HashMap<Vec<Arg>, usize> = HashMap::default();
        let (mut shifts, mut shift_of): (Vec<Shift>, _) = (Vec::new(), HashMap::default());
        for (sum, splats) in splats {
            let at = *known.entry(splats).or_insert_with(|| {
                let of = code.carried.fresh(true);
                let zero = smallvec![Arg::From(Source::Bits(0))];
                code.init.push(Inst::Set { to: of, kind: Kind::Copy, args: zero });
                shifts.push(Shift { of, sums: Vec::new(), lowers });
                shifts.len() - 1
            });
            shifts[at].sums.push(sum);
            shift_of.insert(sum, at);
        }
        let (splats, vectors) = (HashMap::default(), HashMap::default());
        Writer { code, splats, vectors, shifts, shift_of, shifted: HashSet::default() }
    }

    fn write(mut self, fours: &[[Product; PRODUCTS]]) {
        for four in fours {
            let first = &four[0];
            let vector = self.vector(four.map(|product| product.vector), first.is_alike());
            let source = match first.splat {
                Splat::At(_, place) => Source::Splat(place),
                Splat::Known(_, byte) => Source::Bits(u32::from_ne_bytes([byte; PRODUCTS]).into()),
            };
            let splat = match self.splats.get(&first.shared) {
                Some(known) => *known,
                None => self.set(Kind::Copy, smallvec![Arg::From(source)]),
            };
            self.splats.insert(first.shared, splat);
            let has_sign = first.splat.dtype() == DType::I8;
            if first.is_alike() {
                let at = self.shift_of[&first.sum];
                let of = self.shifts[at].of;
                if self.shifted.insert((first.shared, at)) {
                    self.dot(of, Arg::Value(splat), Arg::From(Source::Bits(ONES)), has_sign);
                }
            }
            self.dot(first.sum, Arg::Value(splat), Arg::Value(vector), has_sign);
        }
        self.shift_back();
    }

    /// Adds products of a splat, which has a sign or has none, and of what is the other way.
    fn dot(&mut self, sum: Value, splat: Arg, vector: Arg, has_sign: bool) {
        let (unsigned, signed) = if has_sign { (vector, splat) } else { (splat, vector) };
        let args = smallvec![unsigned, signed, Arg::Value(sum)];
        self.code.update.push(Inst::Set { to: sum, kind: Kind::Dot, args });
    }

    /// Sums are what they would be of vectors that were not shifted.
    fn shift_back(self) {
        let mut finish = Vec::new();
        for Shift { of, sums, lowers } in self.shifts {
            let mut set = |to: Value, kind, args| finish.push(Inst::Set { to, kind, args });
            set(of, Kind::Shift(7), smallvec![Arg::Value(of)]);
            let kind = if lowers { Kind::Add } else { Kind::Sub };
            for sum in sums {
                set(sum, kind, smallvec![Arg::Value(sum), Arg::Value(of)]);
            }
        }
        finish.append(&mut self.code.finish);
        self.code.finish = finish;
    }

    /// The bytes of four vectors, shifted by 128 where the other factor is like them.
    fn vector(&mut self, parts: [Source; PRODUCTS], shifts: bool) -> Value {
        if let Some(known) = self.vectors.get(&(parts, shifts)) {
            return *known;
        }
        let mut all = self.together(parts);
        if shifts {
            all = self.set(Kind::Xor, smallvec![Arg::Value(all), Arg::From(Source::Bits(HALF))]);
        }
        self.vectors.insert((parts, shifts), all);
        all
    }

    /// The bytes of four vectors, those of the first lowest in each lane.
    fn together(&mut self, parts: [Source; PRODUCTS]) -> Value {
        if let Some(together) = side_by_side(&parts) {
            return self.set(Kind::Copy, smallvec![Arg::From(together)]);
        }
        let mut all = None;
        for (at, part) in parts.into_iter().enumerate() {
            // Zeros stand above the byte, whatever its sign.
            let part = match part {
                Source::Stored { place, step, live, .. } => {
                    Source::Stored { dtype: DType::U8, place, step, live }
                }
                other => other,
            };
            let mut byte = self.set(Kind::Copy, smallvec![Arg::From(part)]);
            if at > 0 {
                byte = self.set(Kind::Shift(8 * at as i32), smallvec![Arg::Value(byte)]);
            }
            all = Some(match all {
                Some(all) => self.set(Kind::Or, smallvec![Arg::Value(all), Arg::Value(byte)]),
                None => byte,
            });
        }
        all.expect("there are four")
    }

    fn set(&mut self, kind: Kind, args: SmallVec<[Arg; 3]>) -> Value {
        let to = self.code.carried.fresh(false);
        self.code.update.push(Inst::Set { to, kind, args });
        to
    }
}
