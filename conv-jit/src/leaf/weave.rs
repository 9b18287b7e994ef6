//! Bytes of four vectors that are stored side by side become numbers of 32 bits: in a copy that
//! puts four channels beside each other, and where channels are in the lanes and rows in memory.
//!
//! ```text
//! %1 = i8 c1[0]; .. %4 = i8 c4[0]              %1 = u8 c1[0]; .. %4 = u8 c4[0]
//! block i8 c9[0] = %1 %2 %3 %4, lanes 4   ->   %7 = %1 | %2 << 8 | %3 << 16 | %4 << 24
//!                                              store c9[0] = %7
//!
//! block u8 c9[0] = %1 %2 .. %6, lanes 784      %7 = %1 | %2 << 8 | ..; %8 = %3 | %4 << 8 | ..
//!                                         ->   block c9[0] = %7; block c9[2] = %8
//! ```
//!
//! Of a number of bytes that is no four, some are stored twice, the same.

use conv_ir::DType;
use smallvec::smallvec;

use super::inst::{Arg, Carried, Inst, Kind, LeafCode, Live, Source, Value};

/// Values of a block, and bytes of a lane.
const BLOCK: usize = 4;

/// The leaf with every such block woven; none where there is none. Where bytes slide, every second
/// one is loaded so; where instructions saturate, they weave what is stored.
pub(super) fn woven(code: &LeafCode, slides: bool, saturates: bool) -> Option<LeafCode> {
    let is_woven = |inst: &Inst| {
        matches!(inst, Inst::Block { dtype: DType::I8 | DType::U8, along: 1, values, .. }
            if values.len() >= BLOCK)
    };
    if !code.all().any(is_woven) {
        return None;
    }
    let mut code = code.clone();
    let LeafCode { init, update, finish, carried, .. } = &mut code;
    for section in [init, update, finish] {
        let mut at = 0;
        while at < section.len() {
            if is_woven(&section[at]) {
                let woven = copied(section, at, (carried, slides))
                    .or_else(|| rows(&section[at], carried, saturates));
                let woven = woven.unwrap_or_else(|| vec![section[at].clone()]);
                let count = woven.len();
                section.splice(at..=at, woven);
                at += count;
            } else {
                at += 1;
            }
        }
    }
    Some(code)
}

/// Four bytes of each lane as one number; those above a byte are zeros, or are cut off.
fn together(
    values: [Value; BLOCK],
    has_sign: bool,
    carried: &mut Carried,
    out: &mut Vec<Inst>,
) -> Value {
    let mut set = |kind, args| {
        let to = carried.fresh(false);
        out.push(Inst::Set { to, kind, args });
        to
    };
    let mut all = None;
    for (at, value) in values.into_iter().enumerate() {
        let mut byte = value;
        if has_sign && at + 1 < BLOCK {
            let low = Arg::From(Source::Bits(0xff));
            byte = set(Kind::And, smallvec![Arg::Value(byte), low]);
        }
        if at > 0 {
            byte = set(Kind::Shift(8 * at as i32), smallvec![Arg::Value(byte)]);
        }
        all = Some(match all {
            Some(all) => set(Kind::Or, smallvec![Arg::Value(all), Arg::Value(byte)]),
            None => byte,
        });
    }
    all.expect("there are four")
}

/// Rows of bytes, a lane each: fours of columns, of which the last may be there twice.
fn rows(block: &Inst, carried: &mut Carried, saturates: bool) -> Option<Vec<Inst>> {
    let Inst::Block { dtype, place, step, along: 1, live, values } = block else { return None };
    let (place, step, live) = (*place, *step, *live);
    let mut out = Vec::new();
    let mut four = |from: usize, out: &mut Vec<Inst>| {
        let values: [Value; BLOCK] = std::array::from_fn(|at| values[from + at]);
        if !saturates {
            return together(values, *dtype == DType::I8, carried, out);
        }
        let to = carried.fresh(false);
        let args = values.iter().map(|value| Arg::Value(*value)).collect();
        out.push(Inst::Set { to, kind: Kind::Bytes(*dtype), args });
        to
    };
    let whole: Vec<Value> =
        (0..values.len() / BLOCK).map(|at| four(BLOCK * at, &mut out)).collect();
    let dtype = DType::I32;
    out.push(Inst::Block { dtype, place, step, along: BLOCK as i64, live, values: whole });
    if values.len() % BLOCK > 0 {
        let last = values.len() - BLOCK;
        let (place, values) = (place.offset(last as i64), vec![four(last, &mut out)]);
        out.push(Inst::Block { dtype, place, step, along: BLOCK as i64, live, values });
    }
    Some(out)
}

/// Four loads whose lanes come to lie side by side. They widen without a sign.
fn copied(
    section: &mut [Inst],
    at: usize,
    (carried, slides): (&mut Carried, bool),
) -> Option<Vec<Inst>> {
    let Inst::Block { dtype: DType::I8 | DType::U8, place, step: 4, along: 1, live, values } =
        &section[at]
    else {
        return None;
    };
    let (place, live) = (*place, *live);
    let values: [Value; BLOCK] = values.as_slice().try_into().ok()?;
    let mut loads = [0; BLOCK];
    for (load, value) in loads.iter_mut().zip(&values) {
        let reads = |inst: &&Inst| inst.reads().contains(value);
        if carried[*value] || section.iter().filter(reads).count() != 1 {
            return None;
        }
        *load = section[..at].iter().position(|inst| match inst.load() {
            Some((to, Source::Stored { dtype: DType::I8 | DType::U8, .. } | Source::Bits(_))) => {
                to == *value
            }
            _ => false,
        })?;
    }
    for load in loads {
        if let Inst::Set { args, .. } = &mut section[load] {
            args[0] = Arg::From(match args[0] {
                Arg::From(Source::Stored { place, step: 2, live, .. }) if slides => {
                    let (from, to) = live.range();
                    let live = Live::new(2 * from, 2 * to - 1);
                    Source::Slide { place, step: 2, count: 1, apart: 1, live }
                }
                Arg::From(Source::Stored { place, step, live, .. }) => {
                    Source::Stored { dtype: DType::U8, place, step, live }
                }
                Arg::From(Source::Bits(bits)) => Source::Bits(bits & 0xff),
                _ => unreachable!("it was found above"),
            });
        }
    }
    let mut out = Vec::new();
    let value = Arg::Value(together(values, false, carried, &mut out));
    out.push(Inst::Store { dtype: DType::I32, place, step: 4, live, value });
    Some(out)
}
