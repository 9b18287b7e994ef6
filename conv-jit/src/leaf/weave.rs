//! Bytes of four vectors that are stored side by side become numbers of 32 bits: a copy that puts
//! four channels beside each other.
//!
//! ```text
//! %1 = i8 c1[0]; .. %4 = i8 c4[0]              %1 = u8 c1[0]; .. %4 = u8 c4[0]
//! block i8 c9[0] = %1 %2 %3 %4, lanes 4   ->   %7 = %1 | %2 << 8 | %3 << 16 | %4 << 24
//!                                              store c9[0] = %7
//! ```

use conv_ir::DType;
use smallvec::smallvec;

use super::inst::{Arg, Inst, Kind, LeafCode, Source, Value};

/// Values of a block, and bytes of a lane.
const FOUR: usize = 4;

/// Every such block, of values that nothing else reads.
pub(super) fn weave(code: &mut LeafCode) {
    let LeafCode { init, update, finish, carried, .. } = code;
    for section in [init, update, finish] {
        let mut at = 0;
        while at < section.len() {
            at += 1;
            if let Some(woven) = block(section, at - 1, carried) {
                let count = woven.len();
                section.splice(at - 1..at, woven);
                at += count - 1;
            }
        }
    }
}

/// What the instruction at a place becomes. Loads of it widen without a sign.
fn block(section: &mut [Inst], at: usize, carried: &mut Vec<bool>) -> Option<Vec<Inst>> {
    let Inst::Block { dtype: DType::I8 | DType::U8, place, step: 4, along: 1, live, values } =
        &section[at]
    else {
        return None;
    };
    let (place, live) = (*place, *live);
    let values: [Value; FOUR] = values.as_slice().try_into().ok()?;
    let mut loads = [0; FOUR];
    for (load, value) in loads.iter_mut().zip(&values) {
        let reads = |inst: &&Inst| inst.reads().contains(value);
        if carried[value.0 as usize] || section.iter().filter(reads).count() != 1 {
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
                Arg::From(Source::Stored { place, step, live, .. }) => {
                    Source::Stored { dtype: DType::U8, place, step, live }
                }
                Arg::From(Source::Bits(bits)) => Source::Bits(bits & 0xff),
                _ => unreachable!("it was found above"),
            });
        }
    }
    let mut out = Vec::new();
    let mut set = |kind, args| {
        carried.push(false);
        let to = Value(carried.len() as u32 - 1);
        out.push(Inst::Set { to, kind, args });
        to
    };
    let mut all = values[0];
    for (at, value) in values.into_iter().enumerate().skip(1) {
        let moved = set(Kind::Shift(8 * at as i32), smallvec![Arg::Value(value)]);
        all = set(Kind::Or, smallvec![Arg::Value(all), Arg::Value(moved)]);
    }
    out.push(Inst::Store { dtype: DType::I32, place, step: 4, live, value: Arg::Value(all) });
    Some(out)
}
