//! Stores whose instructions saturate take numbers that were not brought into the type's range.
//!
//! ```text
//! %5 = max(%4, 0)
//! %6 = min(%5, 255)        ->
//! store u8 c3[0] = %6          store u8 c3[0] = %4
//! ```
//!
//! Only what nothing else reads is left out, and only behind the loops. There, rows of bytes that
//! lie beside each other are stored together: their numbers are narrowed four vectors at a time.
//!
//! ```text
//! store u8 c3[0] = %4; store u8 c3[8] = %5            %8 = joined %4 %5 %6 %7
//! store u8 c3[144] = %6; store u8 c3[152] = %7   ->   store c3[0] = %8, the lower half
//!                                                     store c3[144] = the upper half of %8
//! ```

use conv_ir::DType;
use rustc_hash::FxHashMap as HashMap;
use smallvec::SmallVec;

use super::inst::{Arg, Inst, Kind, LeafCode, Place, Source, Value};

/// Numbers brought into a range: by which instructions, and what they were before.
struct Clamp {
    insts: SmallVec<[usize; 2]>,
    of: Arg,
    dtype: DType,
}

/// Leaves them out of the last section. Those of `masks`, AVX-512, take numbers for types without a
/// sign as such, so that none may be below zero.
pub(super) fn stored(code: &mut LeafCode, masks: bool) {
    let finish = &code.finish;
    let (mut sets, mut readers) = (HashMap::default(), HashMap::default());
    for (at, inst) in finish.iter().enumerate() {
        for value in inst.sets() {
            sets.entry(value).or_insert_with(SmallVec::<[usize; 2]>::new).push(at);
        }
        inst.each_read(|value| {
            readers.entry(value).or_insert_with(SmallVec::<[usize; 2]>::new).push(at);
        });
    }
    let setter = |arg: Arg| match arg {
        Arg::Value(value) => match sets.get(&value).map(|at| &at[..]) {
            Some(&[at]) => Some(at),
            _ => None,
        },
        Arg::From(_) => None,
    };
    let clamp = |at: usize| {
        let Inst::Set { kind: Kind::Min, args, .. } = &finish[at] else { return None };
        let raised = setter(args[0]).filter(|raised| *raised < at)?;
        let Inst::Set { to, kind: Kind::Max, args: below } = &finish[raised] else { return None };
        let dtype = range_of(below[1], args[1])?;
        // What is stored then must not have changed meanwhile.
        let is_still = match below[0] {
            Arg::Value(of) => !finish[raised..].iter().any(|inst| inst.sets().contains(&of)),
            Arg::From(_) => false,
        };
        let is_alone = !code.carried[*to] && readers.get(to).is_some_and(|r| r.len() == 1);
        let (insts, of) = match masks && dtype.range().is_some_and(|(least, _)| least == 0) {
            true => (SmallVec::from_slice(&[at]), Arg::Value(*to)),
            false => (SmallVec::from_slice(&[raised, at]), below[0]),
        };
        (is_still && is_alone).then_some(Clamp { insts, of, dtype })
    };
    let mut gone = vec![false; finish.len()];
    let mut replaced: HashMap<Value, (usize, Arg)> = HashMap::default();
    for at in 0..finish.len() {
        let Some(Clamp { insts, of, dtype }) = clamp(at) else { continue };
        let [value] = finish[at].sets()[..] else { continue };
        let saturates = |reader: &usize| match &finish[*reader] {
            Inst::Store { dtype: stored, .. } | Inst::Block { dtype: stored, .. } => {
                *stored == dtype
            }
            Inst::Set { kind: Kind::Bytes(bytes), .. } => *bytes == dtype,
            _ => false,
        };
        let is_set_once = sets.get(&value).is_some_and(|sets| sets.len() == 1);
        let mut later = readers.get(&value).into_iter().flatten().filter(|reader| **reader > at);
        if is_set_once && later.all(saturates) {
            insts.into_iter().for_each(|at| gone[at] = true);
            replaced.insert(value, (at, of));
        }
    }
    if replaced.is_empty() {
        return;
    }
    let finish = std::mem::take(&mut code.finish);
    for (at, mut inst) in finish.into_iter().enumerate() {
        if gone[at] {
            continue;
        }
        let by = |value: Value| match replaced.get(&value) {
            Some((clamp, of)) if *clamp < at => *of,
            _ => Arg::Value(value),
        };
        replace(&mut inst, by);
        code.finish.push(inst);
    }
}

/// Lanes of a vector whose bytes are stored together with those of three others.
const LANES: i64 = 8;

/// Joins such stores of the last section.
pub(super) fn joined(code: &mut LeafCode, width: i64) {
    if width != LANES {
        return;
    }
    let mut rows: Vec<(DType, Place, usize, Value)> = Vec::new();
    for (at, inst) in code.finish.iter().enumerate() {
        if let Inst::Store {
            dtype: dtype @ (DType::I8 | DType::U8),
            place,
            step: 1,
            live: LANES,
            value: Arg::Value(value),
        } = *inst
        {
            rows.push((dtype, place, at, value));
        }
    }
    // What is stored must not change until others are there to be stored with it.
    let sets_again =
        |at: usize, value: Value| code.finish[at..].iter().any(|inst| inst.sets().contains(&value));
    rows.retain(|(_, _, at, value)| !sets_again(*at, *value));
    rows.sort_by_key(|(_, place, ..)| (place.cursor.0, place.bytes));
    let mut pairs = Vec::new();
    let mut left = &rows[..];
    while let Some((&[first, second], rest)) = left.split_first_chunk() {
        match (first.0, first.1.offset(LANES)) == (second.0, second.1) {
            true => {
                pairs.push([first, second]);
                left = rest;
            }
            false => left = &left[1..],
        }
    }
    // Those that are there first go first.
    pairs.sort_by_key(|[first, second]| first.2.max(second.2));
    let mut gone = vec![false; code.finish.len()];
    let mut behind: Vec<Vec<Inst>> = vec![Vec::new(); code.finish.len()];
    for two in pairs.chunks_exact(2) {
        let [[a, b], [c, d]] = [two[0], two[1]];
        let all = [a, b, c, d];
        if a.0 != c.0 {
            continue;
        }
        all.iter().for_each(|row| gone[row.2] = true);
        let last = all.iter().map(|row| row.2).max().unwrap_or(0);
        let mut set = |kind, args: SmallVec<[Arg; 3]>| {
            let to = code.carried.fresh(false);
            behind[last].push(Inst::Set { to, kind, args });
            to
        };
        let args = all.iter().map(|row| Arg::Value(row.3)).collect();
        let lower = set(Kind::Joined(a.0), args);
        let upper = set(Kind::UpperHalf, SmallVec::from_slice(&[Arg::Value(lower)]));
        for (place, value) in [(a.1, lower), (c.1, upper)] {
            let (dtype, step, live, value) = (DType::I32, 4, LANES / 2, Arg::Value(value));
            behind[last].push(Inst::Store { dtype, place, step, live, value });
        }
    }
    let finish = std::mem::take(&mut code.finish);
    for ((inst, gone), behind) in finish.into_iter().zip(gone).zip(behind) {
        if !gone {
            code.finish.push(inst);
        }
        code.finish.extend(behind);
    }
}

/// The type whose range this is, of those that instructions saturate to.
fn range_of(least: Arg, greatest: Arg) -> Option<DType> {
    let number = |arg| match arg {
        Arg::From(Source::Bits(bits)) => Some(i64::from(bits as u32 as i32)),
        _ => None,
    };
    let range = number(least).zip(number(greatest))?;
    let types = [DType::I8, DType::U8, DType::I16, DType::U16];
    types.into_iter().find(|dtype| dtype.range() == Some(range))
}

fn replace(inst: &mut Inst, by: impl Fn(Value) -> Arg) {
    let arg = |arg: &mut Arg| {
        if let Arg::Value(value) = *arg {
            *arg = by(value);
        }
    };
    match inst {
        Inst::Set { args, .. } => args.iter_mut().for_each(arg),
        Inst::Store { value, .. } => arg(value),
        Inst::Block { values, .. } => {
            for value in values {
                if let Arg::Value(of) = by(*value) {
                    *value = of;
                }
            }
        }
        Inst::Prefetch { .. } | Inst::Turned { .. } | Inst::Tile(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::super::inst::Cursor;
    use super::*;

    fn set(to: u32, kind: Kind, args: [Arg; 2]) -> Inst {
        Inst::Set { to: Value(to), kind, args: args.into_iter().collect() }
    }

    fn clamped(least: i32, greatest: i32, of: Value) -> [Inst; 2] {
        let bits = |number: i32| Arg::From(Source::Bits((number as u32).into()));
        let raised = set(1, Kind::Max, [Arg::Value(of), bits(least)]);
        [raised, set(2, Kind::Min, [Arg::Value(Value(1)), bits(greatest)])]
    }

    fn store(dtype: DType, value: u32) -> Inst {
        let place = Place { cursor: Cursor(0), bytes: 0 };
        Inst::Store { dtype, place, step: 1, live: 8, value: Arg::Value(Value(value)) }
    }

    fn left_by(finish: &[Inst], masks: bool) -> Vec<Inst> {
        let (finish, carried) = (finish.to_vec(), vec![true, false, false].into());
        let mut code = LeafCode { finish, carried, ..LeafCode::default() };
        stored(&mut code, masks);
        code.finish
    }

    #[test]
    fn stores_saturate_to_their_own_type() {
        let left = |finish: &[Inst]| left_by(finish, false);
        let [max, min] = clamped(0, 255, Value(0));
        let code = [max.clone(), min.clone(), store(DType::U8, 2)];
        assert_eq!(left(&code), [store(DType::U8, 0)]);
        assert_eq!(left_by(&code, true), [max.clone(), store(DType::U8, 1)]);
        let signed = [&clamped(-128, 127, Value(0))[..], &[store(DType::I8, 2)]].concat();
        assert_eq!(left_by(&signed, true), [store(DType::I8, 0)]);
        for other in [store(DType::I8, 2), set(3, Kind::Add, [Arg::Value(Value(2)); 2])] {
            let code = [max.clone(), min.clone(), store(DType::U8, 2), other];
            assert_eq!(left(&code), code);
        }
        let narrower = clamped(0, 6, Value(0));
        let code = [&narrower[..], &[store(DType::U8, 2)]].concat();
        assert_eq!(left(&code), code);
    }

    #[test]
    fn numbers_that_change_meanwhile_are_brought_into_the_range_before() {
        let [max, min] = clamped(-128, 127, Value(0));
        let other = Arg::From(Source::Bits(7));
        let change = Inst::Set { to: Value(0), kind: Kind::Copy, args: smallvec![other] };
        let code = [max, min, change, store(DType::I8, 2)];
        assert_eq!(left_by(&code, false), code);
    }
}
