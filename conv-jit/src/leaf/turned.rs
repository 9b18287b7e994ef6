//! Loads of lanes that are apart, beside each other, become rows that are turned: what is added
//! behind the sums (a residual) lies as the output does, and a gather takes a cycle or two a lane.
//!
//! ```text
//! %9 = add(%1, strided c2[0], step 12544)         %20, %21, %22, %23 = turned c2[0], step 12544
//! ..                                          ->  %9 = add(%1, %20)
//! %12 = add(%4, strided c2[12], step 12544)       ..
//! ```
//!
//! A row is 128 bits: of fewer neighbours than that, which are left behind others, some are loaded
//! twice, so that nothing is touched that was not.

use smallvec::SmallVec;

use super::inst::{Arg, Carried, Inst, Live, Place, Source};

/// A strided load: which operand of which instruction.
#[derive(Clone, Copy)]
struct Wanted {
    inst: usize,
    arg: usize,
    place: Place,
    step: i64,
    live: Live,
}

impl Wanted {
    /// Whether `other` is the element behind so many.
    fn is_before(&self, other: &Wanted, bytes: i64) -> bool {
        self.place.offset(bytes) == other.place
            && (self.step, self.live) == (other.step, other.live)
    }
}

/// The section with such loads turned; none where there are none. `element` in bytes.
pub(super) fn turned(insts: &[Inst], carried: &mut Carried, element: i64) -> Option<Vec<Inst>> {
    let wanted = wanted(insts);
    let columns = usize::try_from(16 / element).ok().filter(|&columns| columns > 1)?;
    let mut out = insts.to_vec();
    // Rows, in front of which instruction.
    let mut rows: Vec<(usize, Inst)> = Vec::new();
    let mut rest = &wanted[..];
    while let Some(first) = rest.first() {
        let follows = |at: &usize| {
            let bytes = *at as i64 * element;
            let stores = insts[first.inst..rest[*at].inst].iter().any(Inst::stores);
            first.is_before(&rest[*at], bytes) && !stores
        };
        let run = (1..rest.len()).take_while(follows).last().unwrap_or(0) + 1;
        let (here, behind) = rest.split_at(run);
        rest = behind;
        if run < columns {
            continue;
        }
        for from in (0..run).step_by(columns) {
            // The last ones are those of a whole row.
            let start = from.min(run - columns);
            let mut to = SmallVec::from_elem(None, from - start);
            for load in &here[from..start + columns] {
                let value = carried.fresh(false);
                to.push(Some(value));
                if let Inst::Set { args, .. } = &mut out[load.inst] {
                    args[load.arg] = Arg::Value(value);
                }
            }
            let Wanted { place, step, live, .. } = here[start];
            rows.push((here[from].inst, Inst::Turned { to, place, step, live }));
        }
    }
    for (at, inst) in rows.iter().rev() {
        out.insert(*at, inst.clone());
    }
    (!rows.is_empty()).then_some(out)
}

fn wanted(insts: &[Inst]) -> Vec<Wanted> {
    let mut all = Vec::new();
    for (inst, of) in insts.iter().enumerate() {
        let Inst::Set { args, .. } = of else { continue };
        for (arg, source) in args.iter().enumerate() {
            if let Arg::From(Source::Strided { place, step, live }) = *source {
                all.push(Wanted { inst, arg, place, step, live });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::super::inst::{Cursor, Kind, Value};
    use super::*;

    /// The rows that additions of neighbours so many bytes behind the first become: where each
    /// begins, and which columns of it are asked for.
    fn rows(element: i64, places: &[i64]) -> Vec<(i64, Vec<bool>)> {
        let add = |(at, &bytes): (usize, &i64)| {
            let place = Place { cursor: Cursor(0), bytes };
            let source = Source::Strided { place, step: 1000, live: Live::first(16) };
            let args = smallvec![Arg::Value(Value(at as u32)), Arg::From(source)];
            Inst::Set { to: Value(at as u32), kind: Kind::Add, args }
        };
        let insts: Vec<Inst> = places.iter().enumerate().map(add).collect();
        let mut carried = vec![true; places.len()].into();
        let Some(out) = turned(&insts, &mut carried, element) else { return Vec::new() };
        let row = |inst: &Inst| match inst {
            Inst::Turned { to, place, .. } => {
                Some((place.bytes, to.iter().map(Option::is_some).collect()))
            }
            _ => None,
        };
        out.iter().filter_map(row).collect()
    }

    #[test]
    fn neighbours_are_rows_of_128_bits() {
        let all = vec![true; 4];
        assert_eq!(rows(4, &[0, 4, 8, 12, 16, 20, 24, 28]), [(0, all.clone()), (16, all.clone())]);
        assert_eq!(rows(8, &[0, 8, 16]), [(0, vec![true; 2]), (8, vec![false, true])]);
        let last = vec![false, false, true, true];
        assert_eq!(rows(4, &[0, 4, 8, 12, 16, 20]), [(0, all), (8, last)]);
    }

    #[test]
    fn others_stay_as_they_are() {
        assert_eq!(rows(4, &[0, 4, 8]), []);
        assert_eq!(rows(4, &[0, 8, 16, 24]), []);
        assert_eq!(rows(4, &[0, 4, 8, 16, 20, 24]), []);
    }
}
