//! Loads of every second element become two loads side by side and a pick, because a gather takes a cycle or two per lane.
//!
//! ```text
//! %7 = strided c1[0], step 8          %20 = c1[0..64], %21 = c1[64..128]      both picks read the same two loads, which `regroup` then
//! %8 = strided c1[4], step 8     ->   %7 = pick even %20, %21                 has only once
//!                                     %8 = pick odd %20, %21
//! ```
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
    let all: Vec<Wanted> = insts
        .iter()
        .filter_map(|i| strided(i, element))
        .map(|(_, w)| w)
        .collect();
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
        let before = Wanted {
            place: wanted.place.offset(-element),
            ..wanted
        };
        let after = Wanted {
            place: wanted.place.offset(element),
            ..wanted
        };
        let (base, parity, live) = match all.iter().find(|w| w.place == before.place) {
            // Three in a row: the middle one goes with the first, so the last starts anew.
            Some(earlier) if !all.iter().any(|w| w.place == before.place.offset(-element)) => {
                (before.place, 1, touched(*earlier, 0, Some(wanted)))
            }
            _ => {
                let later = all.iter().find(|w| w.place == after.place);
                (wanted.place, 0, touched(wanted, 0, later.copied()))
            }
        };
        let halves = [0, width].map(|start| {
            let part = Live {
                from: live.from - start,
                to: live.to - start,
            };
            let part = part.and(Live::first(width));
            let place = base.offset(start * element);
            let source = match part.from >= part.to {
                true => Source::Bits(0),
                false => Source::Vector {
                    place,
                    live: Live {
                        from: part.from.max(0),
                        ..part
                    },
                },
            };
            let value = fresh();
            out.push(Inst::Set {
                to: value,
                kind: Kind::Copy,
                args: smallvec![Arg::From(source)],
            });
            Arg::Value(value)
        });
        out.push(Inst::Set {
            to,
            kind: Kind::Pick(parity),
            args: SmallVec::from_slice(&halves),
        });
    }
    *insts = out;
}

/// The load of every second element that this is.
fn strided(inst: &Inst, element: i64) -> Option<(Value, Wanted)> {
    match inst {
        Inst::Set {
            to,
            kind: Kind::Copy,
            args,
        } => match args[0] {
            Arg::From(Source::Strided { place, step, live }) if step == 2 * element && !live.is_empty() => {
                Some((*to, Wanted { place, live }))
            }
            _ => None,
        },
        Inst::Set { .. } | Inst::Store { .. } | Inst::Block { .. } | Inst::Prefetch { .. } => None,
    }
}

/// Elements from the first one's place on that the loads touch: one at parity `at`, perhaps another one further.
fn touched(first: Wanted, at: i64, second: Option<Wanted>) -> Live {
    let of = |w: Wanted, at: i64| Live {
        from: 2 * w.live.from + at,
        to: 2 * (w.live.to - 1) + at + 1,
    };
    let one = of(first, at);
    let other = second.map_or(one, |w| of(w, at + 1));
    Live {
        from: one.from.min(other.from),
        to: one.to.max(other.to),
    }
}
