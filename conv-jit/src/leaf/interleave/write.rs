//! The instructions: what is interleaved, products and sums, and what becomes of those.

use smallvec::{SmallVec, smallvec};

use conv_ir::DType;

use super::super::inst::{Arg, Carried, Cursor, Inst, Kind, Live, Place, Source, Value};
use super::chains::{Act, Chain, Operand};
use super::{BYTES, Key, LANES, Quad, TOGETHER, Unit, has_sign};

pub(super) struct Writer<'a> {
    pub carried: &'a mut Carried,
    pub out: Vec<Inst>,
}

impl Writer<'_> {
    fn put(&mut self, to: Value, kind: Kind, args: &[Arg]) {
        self.out.push(Inst::Set { to, kind, args: SmallVec::from_slice(args) });
    }

    fn set(&mut self, kind: Kind, args: &[Arg]) -> Value {
        let to = self.carried.fresh(false);
        self.put(to, kind, args);
        to
    }

    /// The sums of units that share what they read.
    pub fn group(&mut self, (places, mut units): (Vec<Key>, Vec<Unit>)) {
        let vector = |(cursor, bytes): Key| {
            let place = Place { cursor: Cursor(cursor), bytes };
            Arg::From(Source::Vector { place, live: Live::first(LANES) })
        };
        for pair in places.chunks(2) {
            let first = Arg::Value(self.set(Kind::Copy, &[vector(pair[0])]));
            let second = pair.get(1).map_or(first, |place| vector(*place));
            for upper in [false, true] {
                let mut both = None;
                for unit in &mut units {
                    let of = |at: usize| {
                        let key = pair.get(at)?;
                        unit.taps.iter().find(|tap| tap.0 == *key).map(|tap| tap.1)
                    };
                    let weights = [of(0).unwrap_or(0), of(1).unwrap_or(0)];
                    for part in parts(weights, unit.dtype) {
                        let element = unit.dtype.bytes() as u8;
                        let both = *both.get_or_insert_with(|| {
                            self.set(Kind::Interleave { element, upper }, &[first, second])
                        });
                        self.add(unit, both, upper, bits(part, unit.dtype));
                    }
                }
            }
        }
    }

    fn add(&mut self, unit: &mut Unit, both: Value, upper: bool, weights: u64) {
        let (element, sum) = (unit.dtype.bytes() as u8, unit.new[usize::from(upper)]);
        let args = [Arg::Value(both), Arg::From(Source::Bits(weights))];
        let add = if unit.dtype == DType::U8 { Kind::AddWords } else { Kind::Add };
        if unit.is_begun[usize::from(upper)] {
            let product = self.set(Kind::PairSums { element }, &args);
            return self.put(sum, add, &[Arg::Value(sum), Arg::Value(product)]);
        }
        unit.is_begun[usize::from(upper)] = true;
        self.put(sum, Kind::PairSums { element }, &args);
    }

    /// What becomes of a quad's sums.
    pub fn finish(&mut self, quad: &Quad, chain: &Chain) {
        let (dtype, place) = chain.stores[0];
        let steps = chain.before_narrowing(dtype);
        let is_direct = quad.is_of_bytes() && has_sign(quad.range) && steps.is_empty();
        let words = match (&quad.new[..], dtype) {
            (&[a, b], DType::U8 | DType::I8 | DType::I16) if is_direct => [a, b],
            _ => {
                let all = self.widened(quad).map(|value| self.steps(steps, value));
                if dtype == DType::I32 {
                    return self.store_numbers(quad, all, place);
                }
                let to = if dtype == DType::U16 { DType::U16 } else { DType::I16 };
                let [a, b, c, d] = all.map(Arg::Value);
                [[a, b], [c, d]].map(|pair| self.set(Kind::Narrow(to), &pair))
            }
        };
        let both = words.map(Arg::Value);
        if dtype.bytes() == 1 {
            let mut bytes = self.set(Kind::Narrow(dtype), &both);
            if !quad.is_of_bytes() {
                bytes = self.set(Kind::Quarters, &[Arg::Value(bytes)]);
            }
            return self.store(bytes, place);
        }
        let rows = match quad.is_of_bytes() {
            true => [false, true].map(|upper| self.set(Kind::Halves { upper }, &both)),
            false => words,
        };
        (0..).zip(rows).for_each(|(at, row)| self.store(row, place.offset(at * BYTES)));
    }

    fn store(&mut self, value: Value, place: Place) {
        let value = Arg::Value(value);
        self.out.push(Inst::Store { dtype: DType::I32, place, step: 4, live: LANES, value });
    }

    /// Four registers of 32 bits, in order of columns.
    fn store_numbers(&mut self, quad: &Quad, [a, b, c, d]: [Value; TOGETHER], place: Place) {
        let order = match quad.is_of_bytes() {
            true => [(a, b, false), (c, d, false), (a, b, true), (c, d, true)],
            false => [(a, b, false), (a, b, true), (c, d, false), (c, d, true)],
        };
        for (at, (x, y, upper)) in (0..).zip(order) {
            let row = self.set(Kind::Halves { upper }, &[Arg::Value(x), Arg::Value(y)]);
            self.store(row, place.offset(at * BYTES));
        }
    }

    /// The sums in lanes of 32 bits.
    fn widened(&mut self, quad: &Quad) -> [Value; TOGETHER] {
        if let &[a, b, c, d] = &quad.new[..] {
            return [a, b, c, d];
        }
        let halves = [(0, false), (0, true), (1, false), (1, true)];
        halves.map(|(at, upper)| {
            let sum = Arg::Value(quad.new[at]);
            let kind = Kind::Interleave { element: 2, upper };
            if quad.range.0 >= 0 {
                return self.set(kind, &[sum, Arg::From(Source::Bits(0))]);
            }
            let twice = self.set(kind, &[sum, sum]);
            self.set(Kind::UpperWord, &[Arg::Value(twice)])
        })
    }

    fn steps(&mut self, steps: &[Act], sum: Value) -> Value {
        let mut made: SmallVec<[Value; 8]> = smallvec![sum];
        for (kind, args) in steps {
            let args: SmallVec<[Arg; 3]> = args
                .iter()
                .map(|arg| match arg {
                    Operand::Made(at) => Arg::Value(made[*at]),
                    Operand::Every(arg) => *arg,
                })
                .collect();
            made.push(self.set(*kind, &args));
        }
        made[made.len() - 1]
    }
}

/// Two weights as pairs that an instruction takes: of bytes, whose sum of products is a word.
fn parts([mut a, mut b]: [i64; 2], dtype: DType) -> SmallVec<[[i64; 2]; 2]> {
    let mut all = SmallVec::new();
    while (a, b) != (0, 0) {
        let (mut x, mut y) = (a, b);
        if dtype == DType::U8 {
            (x, y) = (a.clamp(-128, 127), b.clamp(-128, 127));
            if x.signum() == y.signum() && (x + y).abs() > 128 {
                y = 0;
            }
        }
        all.push([x, y]);
        (a, b) = (a - x, b - y);
    }
    all
}

/// Two weights as bits of a lane.
fn bits([a, b]: [i64; 2], dtype: DType) -> u64 {
    let (a, b) = (a as u64, b as u64);
    match dtype {
        DType::U8 => {
            let word = (b & 0xff) << 8 | a & 0xff;
            word << 16 | word
        }
        _ => (b & 0xffff) << 16 | a & 0xffff,
    }
}
