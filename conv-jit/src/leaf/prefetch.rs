//! What the next turn of a loop reads is asked for in this one.
//!
//! ```text
//! for ic: %9 = w[0..64]; %1 = fma(splat c1[8], %9, %1)          p1 moves 3136 bytes an ic, w 64
//!   ->    prefetch w[64]; prefetch c1[3136]; ...
//! ```
//!
//! Weights of many channels come from the third-level cache, and the input of the next channel lies
//! on another page, where the hardware does not look ahead. A line that is asked for costs one of
//! two loads a cycle, of which multiply-adds with a splat inside take one.

use super::inst::{Arg, Inst, LeafCode, Motion, Place, Source};

const LINE: i64 = 64;
/// Instructions of a turn for each line it asks for, at least: where little is computed, asking
/// would be most of the work.
const PER_LINE: usize = 4;

/// Adds prefetches to the update.
pub(super) fn prefetch(code: &mut LeafCode) {
    let mut lines: Vec<Place> = Vec::new();
    for place in code.update.iter().flat_map(reads) {
        let Some(ahead) = stride(&code.cursors[place.cursor.0 as usize]) else {
            continue;
        };
        let line = Place { bytes: (place.bytes + ahead).div_euclid(LINE) * LINE, ..place };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.is_empty() || code.update.len() < PER_LINE * lines.len() {
        return;
    }
    let every = code.update.len() / lines.len();
    let mut lines = lines.into_iter();
    let mut update = Vec::with_capacity(code.update.len() + lines.len());
    for (at, inst) in code.update.drain(..).enumerate() {
        if at % every == 0 {
            update.extend(lines.next().map(|place| Inst::Prefetch { place }));
        }
        update.push(inst);
    }
    code.update = update;
}

/// How far away the next turn's reads are: of the loop that takes the largest steps. `None` where
/// they are on the lines that this turn reads, or near.
fn stride(motion: &Motion) -> Option<i64> {
    let farthest = motion.moves.iter().copied().max_by_key(|by| by.abs())?;
    (farthest.abs() >= LINE).then_some(farthest)
}

fn reads(inst: &Inst) -> impl Iterator<Item = Place> + '_ {
    let args: &[Arg] = match inst {
        Inst::Set { args, .. } => args,
        Inst::Store { .. } | Inst::Block { .. } | Inst::Prefetch { .. } => &[],
    };
    args.iter().filter_map(|arg| match arg {
        Arg::From(Source::Splat(place) | Source::Vector { place, .. })
        | Arg::From(Source::Stored { place, .. }) => Some(*place),
        Arg::From(Source::Strided { .. } | Source::Bits(_) | Source::Around { .. })
        | Arg::Value(_) => None,
    })
}
