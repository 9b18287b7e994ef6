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

use smallvec::{SmallVec, smallvec};

use super::inst::{Arg, Inst, Kind, Live, Place, Source, Value};

/// A strided load that this is about.
#[derive(Clone, Copy, PartialEq)]
struct Wanted {
    place: Place,
    live: Live,
}

/// Replaces the strided loads of a section. `element` in bytes, `width` in lanes.
pub(super) fn pair(insts: &mut Vec<Inst>, carried: &mut Vec<bool>, element: i64, width: i64) {
    let all: Vec<Wanted> =
        insts.iter().filter_map(|i| strided(i, element)).map(|(_, w)| w).collect();
    if all.is_empty() || width == 1 {
        return;
    }
    let mut fresh = || {
        carried.push(false);
        Value(carried.len() as u32 - 1)
    };
    let mut out = Vec::with_capacity(2 * insts.len());
    for inst in insts.drain(..) {
        let Some((to, wanted)) = strided(&inst, element) else {
            out.push(inst);
            continue;
        };
        let (base, parity, live) = shared(&all, wanted, element);
        let halves = [0, width].map(|start| {
            let (from, to) = live.range();
            let part = Live::new(from - start, to - start).and(Live::first(width));
            let source = match part.is_empty() {
                true => Source::Bits(0),
                false => Source::Vector { place: base.offset(start * element), live: part },
            };
            let value = fresh();
            out.push(Inst::Set { to: value, kind: Kind::Copy, args: smallvec![Arg::From(source)] });
            Arg::Value(value)
        });
        out.push(Inst::Set { to, kind: Kind::Pick(parity), args: SmallVec::from_slice(&halves) });
    }
    *insts = out;
}

/// The load of every second element that this is.
fn strided(inst: &Inst, element: i64) -> Option<(Value, Wanted)> {
    match inst.load()? {
        (to, Source::Strided { place, step, live }) if step == 2 * element && !live.is_empty() => {
            Some((to, Wanted { place, live }))
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
