//! Loads of every second element become two loads side by side and a pick, because a gather takes a
//! cycle or two per lane.
//!
//! ```text
//! %7 = strided c1[0], step 8          %20 = c1[0..64], %21 = c1[64..128]
//! %8 = strided c1[4], step 8     ->   %7 = pick even %20, %21
//! ```
//!
//! Both picks read the same two loads, which `regroup` then has only once.
//!
//! Only elements are touched that were touched before, or that lie between them.

use smallvec::SmallVec;

use super::inst::{Arg, Carried, Inst, Kind, Live, Place, Source, Value};

/// A strided load that this is about.
#[derive(Clone, Copy, PartialEq)]
struct Wanted {
    place: Place,
    live: Live,
}

/// Replaces the strided loads of a section; whether there are any. `element` in bytes, `width` in
/// lanes.
pub(super) fn pair(insts: &mut Vec<Inst>, carried: &mut Carried, element: i64, width: i64) -> bool {
    let every = insts.iter().flat_map(operands);
    let all: Vec<Wanted> = every.filter_map(|arg| strided(arg, element)).collect();
    if all.is_empty() || width == 1 {
        return false;
    }
    let mut fresh = || carried.fresh(false);
    let mut out = Vec::with_capacity(2 * insts.len());
    for mut inst in insts.drain(..) {
        if let Inst::Set { to, kind, args } = &mut inst {
            for arg in args {
                let Some(wanted) = strided(arg, element) else { continue };
                let (base, parity, live) = shared(&all, wanted, element);
                let halves = halves(base, live, width, element).map(|source| {
                    let half = fresh();
                    out.push(set(half, Kind::Copy, &[Arg::From(source)]));
                    Arg::Value(half)
                });
                let picked = if *kind == Kind::Copy { *to } else { fresh() };
                out.push(set(picked, Kind::Pick(parity), &halves));
                *arg = Arg::Value(picked);
            }
        }
        // A load is a pick now.
        if !matches!(&inst, Inst::Set { to, kind: Kind::Copy, args } if args[0] == Arg::Value(*to))
        {
            out.push(inst);
        }
    }
    *insts = out;
    true
}

/// The loads side by side that touch `live` of two vectors.
fn halves(base: Place, live: Live, width: i64, element: i64) -> [Source; 2] {
    let (from, to) = live.range();
    [0, width].map(|start| {
        let part = Live::new(from - start, to - start).and(Live::first(width));
        match part.is_empty() {
            true => Source::Bits(0),
            false => Source::Vector { place: base.offset(start * element), live: part },
        }
    })
}

fn set(to: Value, kind: Kind, args: &[Arg]) -> Inst {
    Inst::Set { to, kind, args: SmallVec::from_slice(args) }
}

/// What an instruction computes with.
fn operands(inst: &Inst) -> &[Arg] {
    match inst {
        Inst::Set { args, .. } => args,
        _ => &[],
    }
}

/// The load of every second element that this operand is.
fn strided(arg: &Arg, element: i64) -> Option<Wanted> {
    match *arg {
        Arg::From(Source::Strided { place, step, live })
            if step == 2 * element && !live.is_empty() =>
        {
            Some(Wanted { place, live })
        }
        _ => None,
    }
}

/// Where to load for a pick, which elements of each pair it takes, and which elements to touch:
/// together with the load one element before or after, where that can be.
fn shared(all: &[Wanted], wanted: Wanted, element: i64) -> (Place, usize, Live) {
    let at = |by: i64| all.iter().find(|w| w.place == wanted.place.offset(by * element)).copied();
    // Of three in a row the middle one goes with the first, so the last starts anew.
    let earlier = at(-1).filter(|_| at(-2).is_none());
    if let Some((earlier, live)) = earlier.and_then(|w| Some((w, joined(w, wanted)?))) {
        return (earlier.place, 1, live);
    }
    let later = at(1).and_then(|later| joined(wanted, later));
    (wanted.place, 0, later.unwrap_or(touched(wanted, 0)))
}

/// Elements that a load touches, counted from `at` elements before it.
fn touched(wanted: Wanted, at: i64) -> Live {
    let (from, to) = wanted.live.range();
    Live::new(2 * from + at, 2 * to - 1 + at)
}

/// Elements that two loads, one element apart, touch together; `None` where that would fill a lane
/// that one of them wants empty.
fn joined(first: Wanted, second: Wanted) -> Option<Live> {
    let (a, b) = (touched(first, 0).range(), touched(second, 1).range());
    let (from, to) = (a.0.min(b.0), a.1.max(b.1));
    let lanes = |at: i64| Live::new((from - at + 1).div_euclid(2), (to - 1 - at).div_euclid(2) + 1);
    (lanes(0) == first.live && lanes(1) == second.live).then_some(Live::new(from, to))
}

#[cfg(test)]
mod tests {
    use super::super::inst::Cursor;
    use super::*;

    fn place(bytes: i64) -> Place {
        Place { cursor: Cursor(0), bytes }
    }

    /// Of f32 in vectors of 8.
    fn paired(insts: &[Inst]) -> Vec<Inst> {
        let (mut out, mut carried) = (insts.to_vec(), vec![true; 2].into());
        pair(&mut out, &mut carried, 4, 8);
        out
    }

    fn every_second(bytes: i64, step: i64) -> Arg {
        Arg::From(Source::Strided { place: place(bytes), step, live: Live::first(8) })
    }

    #[test]
    fn loads_and_operands_are_picked_from_two_vectors() {
        let row = |bytes, live| Arg::From(Source::Vector { place: place(bytes), live });
        let load = |value, arg| set(Value(value), Kind::Copy, &[arg]);
        let halves = [load(2, row(16, Live::first(8))), load(3, row(48, Live::first(7)))];
        let both = [Arg::Value(Value(2)), Arg::Value(Value(3))];

        let picked = set(Value(0), Kind::Pick(0), &both);
        let [low, high] = halves.clone();
        assert_eq!(paired(&[load(0, every_second(16, 8))]), [low, high, picked]);

        let sum = |arg| set(Value(1), Kind::Add, &[Arg::Value(Value(1)), arg]);
        let picked = set(Value(4), Kind::Pick(0), &both);
        let [low, high] = halves;
        let expected = [low, high, picked, sum(Arg::Value(Value(4)))];
        assert_eq!(paired(&[sum(every_second(16, 8))]), expected);
    }

    #[test]
    fn others_stay_as_they_are() {
        let sum = [set(Value(1), Kind::Add, &[Arg::Value(Value(1)), every_second(16, 12)])];
        assert_eq!(paired(&sum), sum);
    }
}
