//! What later turns of a loop read is asked for in this one. What the end of the leaf reads and
//! writes is asked for before the loop.
//!
//! ```text
//! for ic: %9 = w[0..64]; %1 = fma(splat c1[8], %9, %1)          p1 moves 3136 bytes an ic, w 64
//!   ->    prefetch w[8192]; prefetch c1[3136]; ...
//! ```
//!
//! Weights of many channels come from the third-level cache or from memory, and the input of the
//! next channel lies on another page, where the hardware does not look ahead. A line that is asked
//! for costs one of two loads a cycle, of which multiply-adds with a splat inside take one.

use conv_ir::nest::BufferId;
use conv_ir::{DType, Nest};
use rustc_hash::FxHashSet as HashSet;

use super::Shape;
use super::inst::{Arg, Inst, LeafCode, Motion, Place, SerialLoop, Source};

const LINE: i64 = 64;
/// Instructions of a turn for each line it asks for, at least: where little is computed, asking
/// would be most of the work.
const PER_LINE: usize = 4;
/// Instructions of all turns for each line that is asked for before them, at least.
const PER_END_LINE: i64 = 8;
/// Bytes from what a turn reads of memory that lies without gaps to what it asks for: about what a
/// core reads while a line comes from memory. Behind the last turn lie the next channels' weights.
///
/// Measured on Zen 5 with weights in memory: 1x1 over 7x7, 512 to 2048 channels, 0.57 ms with one
/// turn ahead, 0.46 with 4 KiB, 0.47 with 8; 320 to 1280, 0.22, 0.19 and 0.18. With weights in a
/// cache it makes no difference.
const AHEAD: i64 = 8 << 10;

/// Bytes of a buffer that a second-level cache may not hold until it is used again.
const FAR: i64 = 256 << 10;

/// Whether a buffer is too large to stay near.
pub(super) fn is_far(nest: &Nest, buffer: BufferId) -> bool {
    let bytes = nest.buffer(buffer).dtype.bytes() as i64;
    nest.constant_len(buffer).is_some_and(|len| len >= FAR / bytes)
}

/// Adds prefetches to the update.
pub(super) fn prefetch(code: &mut LeafCode, dtype: DType) {
    if let Some((cursor, bytes)) = code.ahead {
        let lines = (0..(bytes + LINE - 1) / LINE).map(|at| LINE * at);
        let lines = lines.map(|bytes| Place { cursor, bytes }).collect();
        spread(code, lines, false);
    }
    prefetch_own(code, dtype);
}

/// What the leaf itself reads.
fn prefetch_own(code: &mut LeafCode, dtype: DType) {
    // Of integers it is not measured.
    let again = |at: usize| !dtype.is_integer() && reads_again(&code.cursors[at]);
    let places: Vec<Place> = code.update.iter().flat_map(reads).collect();
    let ahead = (0..code.cursors.len()).map(|at| match again(at) {
        true => None,
        false => ahead(code, at, &places),
    });
    let ahead: Vec<Option<i64>> = ahead.collect();
    let (mut lines, mut known): (Vec<Place>, HashSet<Place>) = Default::default();
    for place in places {
        let Some(ahead) = ahead[place.cursor.0 as usize] else { continue };
        let line = Place { bytes: line_of(place.bytes + ahead), ..place };
        if known.insert(line) {
            lines.push(line);
        }
    }
    spread(code, lines, true);
}

/// Asks for what the end reads and writes of far buffers, before the sums begin: residuals were
/// written many layers ago, and lines of the output come from far away before they are written.
///
/// Measured on Granite Rapids within ResNet-50: 1x1 over 56x56, 64 to 256 channels, with a residual
/// 1.53 ms before, 1.21 since; the first layer 2.21 and 1.99, others 0.91 to 1.01 of the time.
pub(super) fn prefetch_end(code: &mut LeafCode, finish: &[Inst], shape: Shape) {
    let turns = code.loops.iter().try_fold(1i64, |turns, l| turns.checked_mul(l.count()?));
    let work = turns.and_then(|turns| turns.checked_mul(code.update.len() as i64));
    let is_far = |place: &Place| {
        let motion = &code.cursors[place.cursor.0 as usize];
        motion.is_still() && code.far.get(motion.pointer) == Some(&true)
    };
    let rows = finish.iter().flat_map(|inst| rows(inst, shape)).filter(|(place, _)| is_far(place));
    let lines = rows.flat_map(|(place, bytes)| {
        // A row may begin anywhere in a line.
        let starts = (0..bytes).step_by(LINE as usize).chain([bytes - 1]);
        starts.map(move |start| Place { bytes: place.bytes + start, ..place })
    });
    let mut lines: Vec<Place> = lines.collect();
    lines.sort_by_key(|line| (line.cursor.0, line.bytes));
    lines.dedup_by(|b, a| a.cursor == b.cursor && b.bytes - a.bytes < LINE / 4);
    if work.is_some_and(|work| work >= PER_END_LINE * lines.len() as i64) {
        code.init.extend(lines.into_iter().map(|place| Inst::Prefetch { place, is_soon: true }));
    }
}

/// The rows of neighbouring bytes that an instruction of the end reads or writes; around a single
/// element, a vector.
fn rows(inst: &Inst, shape: Shape) -> Vec<(Place, i64)> {
    let row = |place: Place, step: i64, at: i64, bytes: i64| {
        (Place { bytes: place.bytes + step * at, ..place }, bytes)
    };
    match inst {
        Inst::Set { .. } => reads(inst).map(|place| (place, shape.bytes())).collect(),
        Inst::Store { dtype, place, step, live, .. } => {
            let element = dtype.bytes() as i64;
            match *step == element {
                true => vec![(*place, live * element)],
                false => (0..*live).map(|at| row(*place, *step, at, element)).collect(),
            }
        }
        Inst::Block { place, step, along, live, values, .. } => {
            let bytes = along * values.len() as i64;
            (0..*live).map(|at| row(*place, *step, at, bytes)).collect()
        }
        Inst::Turned { to, place, step, .. } => {
            let bytes = to.len() as i64 * shape.element();
            (0..shape.width).map(|at| row(*place, *step, at, bytes)).collect()
        }
        Inst::Prefetch { .. } | Inst::Tile(_) => Vec::new(),
    }
}

/// Asks for lines in equal distances, where there is enough to do between them.
fn spread(code: &mut LeafCode, lines: Vec<Place>, is_soon: bool) {
    if lines.is_empty() || code.update.len() < PER_LINE * lines.len() {
        return;
    }
    let every = code.update.len() / lines.len();
    let mut lines = lines.into_iter();
    let mut update = Vec::with_capacity(code.update.len() + lines.len());
    for (at, inst) in code.update.drain(..).enumerate() {
        if at % every == 0 {
            update.extend(lines.next().map(|place| Inst::Prefetch { place, is_soon }));
        }
        update.push(inst);
    }
    code.update = update;
}

/// Where the line of a byte begins.
fn line_of(bytes: i64) -> i64 {
    bytes.div_euclid(LINE) * LINE
}

/// Whether the outermost loop that moves a cursor moves it within a line, so that its turns read
/// the same lines again and again, as of channels last. Without asking for those 3x3 over 28x28 and
/// 56x56 takes 0.93 of the time with AVX2, over 7x7 and 14x14 with AVX-512 0.96 to 0.99 (Granite
/// Rapids).
fn reads_again(motion: &Motion) -> bool {
    motion.moves.iter().find(|by| **by != 0).is_some_and(|by| by.abs() < LINE)
}

/// How far away from a cursor's reads those are that a turn asks for: some turns ahead where they
/// lie without gaps, else those of the next turn, of the loop that takes the largest steps. `None`
/// where they are on the lines that this turn reads, or near.
fn ahead(code: &LeafCode, cursor: usize, places: &[Place]) -> Option<i64> {
    let motion = &code.cursors[cursor];
    let farthest = motion.moves.iter().copied().max_by_key(|by| by.abs())?;
    if farthest.abs() < LINE {
        return None;
    }
    let places = places.iter().filter(|place| place.cursor.0 as usize == cursor);
    let mut lines: Vec<i64> = places.map(|place| line_of(place.bytes)).collect();
    lines.sort_unstable();
    lines.dedup();
    let read = LINE * lines.len() as i64;
    Some(if is_stream(motion, &code.loops, read) { AHEAD } else { farthest })
}

/// Whether turns that read so many bytes each read memory without gaps: each loop moves on by what
/// all turns of those inside have read.
fn is_stream(motion: &Motion, loops: &[SerialLoop], read: i64) -> bool {
    let mut behind = Some(read);
    motion.moves.iter().zip(loops).rev().all(|(&by, l)| {
        let follows = by > 0 && behind.is_some_and(|behind| by <= behind);
        behind = l.count().and_then(|count| count.checked_mul(by));
        follows
    })
}

fn reads(inst: &Inst) -> impl Iterator<Item = Place> + '_ {
    let args: &[Arg] = match inst {
        Inst::Set { args, .. } => args,
        Inst::Store { .. }
        | Inst::Block { .. }
        | Inst::Turned { .. }
        | Inst::Prefetch { .. }
        | Inst::Tile(_) => &[],
    };
    args.iter().filter_map(|arg| match arg {
        Arg::From(Source::Splat(place) | Source::Vector { place, .. })
        | Arg::From(Source::Stored { place, .. } | Source::Slide { place, .. })
        | Arg::From(Source::Words { place, .. }) => Some(*place),
        Arg::From(Source::Strided { .. } | Source::Bits(_) | Source::Around { .. })
        | Arg::Value(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::inst::{Cursor, Kind, Live, LoopEnd, Value};
    use super::*;
    use conv_ir::Isa;
    use smallvec::{SmallVec, smallvec};

    /// The bytes that are asked for in a turn that reads two lines of weights and a splat of the
    /// input, where weights and input move so.
    fn asked(weights: [i64; 2], input: [i64; 2]) -> Vec<i64> {
        let place = |cursor, bytes| Place { cursor: Cursor(cursor), bytes };
        let live = Live::first(16);
        let sources = [
            Source::Vector { place: place(0, 0), live },
            Source::Vector { place: place(0, 64), live },
            Source::Splat(place(1, 8)),
        ];
        let load = |(at, source): (u32, &Source)| Inst::Set {
            to: Value(at),
            kind: Kind::Copy,
            args: smallvec![Arg::From(*source)],
        };
        let mut update: Vec<Inst> = (0..).zip(&sources).map(load).collect();
        let sum = Arg::Value(Value(3));
        update.resize(16, Inst::Set { to: Value(3), kind: Kind::Add, args: smallvec![sum, sum] });
        let turns = |hi| SerialLoop { lo: LoopEnd::Known(0), hi: LoopEnd::Known(hi) };
        let moves =
            |pointer, moves: [i64; 2]| Motion { pointer, moves: SmallVec::from_slice(&moves) };
        let mut code = LeafCode {
            update,
            loops: vec![turns(64), turns(3)],
            cursors: vec![moves(0, weights), moves(1, input)],
            ..LeafCode::default()
        };
        prefetch(&mut code, DType::F32);
        let asked = code.update.iter().filter_map(|inst| match inst {
            Inst::Prefetch { place, .. } => Some(place.bytes),
            _ => None,
        });
        asked.collect()
    }

    #[test]
    fn packed_weights_are_asked_for_turns_ahead() {
        assert_eq!(asked([3 * 128, 128], [12544, 224]), [AHEAD, AHEAD + 64, 12544]);
    }

    /// Channels are last: the next channel is on the same lines, which later rounds read again.
    #[test]
    fn lines_that_the_next_round_reads_again_are_not_asked_for() {
        assert_eq!(asked([3 * 128, 128], [4, 1024]), [AHEAD, AHEAD + 64]);
    }

    #[test]
    fn reads_with_gaps_are_those_of_the_next_turn() {
        assert_eq!(asked([512, 128], [12544, 224]), [512, 576, 12544], "gaps between rounds");
        assert_eq!(asked([768, 256], [0, 4]), [768, 832], "gaps between turns");
    }

    /// What is asked for before so many turns, whose end adds a row of a residual and stores it.
    fn asked_before(turns: i64, far: [bool; 3]) -> Vec<(u32, i64)> {
        let place = |cursor| Place { cursor: Cursor(cursor), bytes: 128 };
        let (sum, live) = (Value(0), Live::first(16));
        let residual = Arg::From(Source::Vector { place: place(1), live });
        let args = smallvec![Arg::Value(sum), residual];
        let add = Inst::Set { to: sum, kind: Kind::Add, args: args.clone() };
        let value = Arg::Value(sum);
        let store = Inst::Store { dtype: DType::F32, place: place(2), step: 4, live: 16, value };
        let cursor = |pointer, by| Motion { pointer, moves: smallvec![by] };
        let hi = LoopEnd::Known(turns);
        let mut code = LeafCode {
            update: vec![add.clone(); 4],
            loops: vec![SerialLoop { lo: LoopEnd::Known(0), hi }],
            cursors: vec![cursor(0, 64), cursor(1, 0), cursor(2, 0)],
            far: far.to_vec(),
            ..LeafCode::default()
        };
        let shape = Shape { isa: Isa::Avx512, dtype: DType::F32, width: 16 };
        prefetch_end(&mut code, &[add, store], shape);
        let asked = code.init.iter().map(|inst| match inst {
            Inst::Prefetch { place, is_soon: true } => (place.cursor.0, place.bytes),
            other => panic!("{other:?} is there"),
        });
        asked.collect()
    }

    #[test]
    fn far_rows_of_the_end_are_asked_for_before_the_sums() {
        let both = [(1, 128), (1, 128 + 63), (2, 128), (2, 128 + 63)];
        assert_eq!(asked_before(8, [true; 3]), both);
        assert_eq!(asked_before(8, [true, false, true]), both[2..], "one is near");
        assert_eq!(asked_before(7, [true; 3]), [], "there is too little to do meanwhile");
    }
}
