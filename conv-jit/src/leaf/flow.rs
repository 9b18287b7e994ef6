//! A leaf without loops whose sums come one after the other: each starts where it is first added
//! to, and is stored where it is complete.
//!
//! ```text
//! three sections, all sums alive    one: of three rows under a window of two, two are alive
//! r0, r1, r2 = start                r0 = start
//! r0 = fma(in[0], k0, r0)           r0 = fma(in[0], k0, r0)
//! r0 = fma(in[1], k1, r0)           r0 = fma(in[1], k1, r0)
//! r1 = fma(in[1], k0, r1)           out[0] = r0
//! r1 = fma(in[2], k1, r1)           r1 = start
//! r2 = fma(in[2], k0, r2)           r1 = fma(in[1], k0, r1)
//! ..                                ..
//! out[0], out[1], out[2] = r0, ..
//! ```
//!
//! Few registers hold the sums of a tall tile then, and the splats of all taps stay in others,
//! where they would be loaded at each use. That is what this is for: where they stay anyway, or
//! never would, nothing is done. A core looks far enough ahead for the sums that follow to hide the
//! latency of those before. Each sum keeps its order, and so its bits.

use conv_ir::Machine;
use smallvec::SmallVec;

use super::inst::{Inst, LeafCode, Value};
use super::regroup::Shared;

/// The code of a leaf that way, whose middle section is `shared`; none where that gains nothing.
pub(super) fn flowing(code: &LeafCode, shared: &Shared, machine: &Machine) -> Option<LeafCode> {
    if !code.loops.is_empty() {
        return None;
    }
    let order = shared.by_address()?;
    let splats = shared.splats();
    let all = code.carried.lasting() as i64;
    let keeps = |sums| machine.keeps_splats(sums, splats);
    if keeps(all) || !keeps(shared.most_alive(&order)) {
        return None;
    }
    let mut carried = code.carried.clone();
    let update = shared.write(&order, &mut carried, true);
    let mut flow = Flow::new(code, &update, carried.len());
    for (at, inst) in update.iter().enumerate() {
        flow.start(inst);
        flow.out.push(inst.clone());
        let ended = inst.sets().iter().any(|value| flow.last[value.0 as usize] == at);
        if ended {
            flow.finish(Some(at));
        }
    }
    flow.finish(None);
    let finish = flow.out;
    let (cursors, pointers, far) = (code.cursors.clone(), code.pointers, code.far.clone());
    Some(LeafCode { finish, cursors, pointers, far, carried, ..LeafCode::default() })
}

struct Flow<'a> {
    code: &'a LeafCode,
    /// Of each value the instructions of the first section that set it, in order.
    starts: Vec<SmallVec<[u32; 1]>>,
    started: Vec<bool>,
    /// Where the middle section sets each value for the last time.
    last: Vec<usize>,
    /// The instructions of the last section and behind which of the middle one each may stand, by
    /// that, the last first.
    waiting: Vec<(usize, usize)>,
    out: Vec<Inst>,
}

/// The middle section does not set it.
const NEVER: usize = usize::MAX;

impl<'a> Flow<'a> {
    fn new(code: &'a LeafCode, update: &[Inst], values: usize) -> Flow<'a> {
        let mut last = vec![NEVER; values];
        for (at, inst) in update.iter().enumerate() {
            inst.sets().iter().for_each(|value| last[value.0 as usize] = at);
        }
        let mut starts = vec![SmallVec::new(); values];
        for (at, inst) in code.init.iter().enumerate() {
            inst.sets().iter().for_each(|value| starts[value.0 as usize].push(at as u32));
        }
        let (started, waiting) = (vec![false; code.init.len()], waiting(&code.finish, &last));
        Flow { code, starts, started, last, waiting, out: Vec::new() }
    }

    /// Writes what sets the values that an instruction names before it, as far as the first section
    /// does.
    fn start(&mut self, inst: &Inst) {
        for value in inst.reads() {
            self.start_value(value);
        }
        for value in inst.sets() {
            self.start_value(value);
        }
    }

    fn start_value(&mut self, value: Value) {
        let code = self.code;
        for at in std::mem::take(&mut self.starts[value.0 as usize]) {
            let inst = &code.init[at as usize];
            if !std::mem::replace(&mut self.started[at as usize], true) {
                inst.reads().into_iter().for_each(|read| self.start_value(read));
                self.out.push(inst.clone());
            }
        }
    }

    /// Writes what the last section does with values that are complete behind this instruction of
    /// the middle one, or with all.
    fn finish(&mut self, behind: Option<usize>) {
        let code = self.code;
        let is_ready = |(ready, _): &(usize, usize)| behind.is_none_or(|behind| *ready <= behind);
        let rest = self.waiting.iter().rposition(|inst| !is_ready(inst)).map_or(0, |at| at + 1);
        let mut ready: Vec<usize> = self.waiting.drain(rest..).map(|(_, at)| at).collect();
        ready.sort_unstable();
        for inst in ready.into_iter().map(|at| &code.finish[at]) {
            self.start(inst);
            self.out.push(inst.clone());
        }
    }
}

/// See [`Flow::waiting`]: an instruction waits until the values that it names are complete, and for
/// those before it that name one of them.
fn waiting(finish: &[Inst], last: &[usize]) -> Vec<(usize, usize)> {
    let complete = |at: &usize| if *at == NEVER { 0 } else { *at };
    let mut ready: Vec<usize> = last.iter().map(complete).collect();
    let mut waiting = Vec::with_capacity(finish.len());
    for (at, inst) in finish.iter().enumerate() {
        let mut behind = 0;
        inst.each_value(|value| behind = behind.max(ready[value.0 as usize]));
        inst.each_value(|value| ready[value.0 as usize] = behind);
        waiting.push((behind, at));
    }
    waiting.sort_unstable_by(|a, b| b.cmp(a));
    waiting
}

#[cfg(test)]
mod tests {
    use super::super::inst::{Arg, Kind};
    use super::*;

    fn set(to: u32, reads: &[u32]) -> Inst {
        let args = reads.iter().map(|value| Arg::Value(Value(*value))).collect();
        Inst::Set { to: Value(to), kind: Kind::Add, args }
    }

    /// Sums 0 and 1, complete behind 3 and 7; what the last section makes of them is 2, 3 and 4.
    #[test]
    fn what_reads_a_sum_waits_for_it_and_those_behind_for_what_waits() {
        let finish = [set(2, &[0]), set(3, &[1]), set(4, &[2]), set(2, &[3]), set(4, &[4])];
        let last = [3, 7, NEVER, NEVER, NEVER];
        // The fourth sets again what the third reads, and reads what waits for 7.
        assert_eq!(waiting(&finish, &last), [(7, 3), (7, 1), (3, 4), (3, 2), (3, 0)]);
        let code = LeafCode { finish: finish.to_vec(), ..LeafCode::default() };
        let mut flow = Flow::new(&code, &[], 5);
        flow.waiting = waiting(&finish, &last);
        for (behind, written) in [(Some(2), 0), (Some(3), 3), (Some(6), 3), (None, 5)] {
            flow.finish(behind);
            assert_eq!(flow.out.len(), written, "{behind:?}");
        }
        assert_eq!(
            flow.out,
            [&finish[0], &finish[2], &finish[4], &finish[1], &finish[3]].map(Inst::clone)
        );
    }

    #[test]
    fn what_starts_a_sum_stands_before_what_adds_to_it_once() {
        let code =
            LeafCode { init: vec![set(0, &[]), set(1, &[0]), set(2, &[])], ..LeafCode::default() };
        let mut flow = Flow::new(&code, &[], 3);
        flow.start(&set(1, &[1, 1]));
        flow.start(&set(1, &[1, 0]));
        assert_eq!(flow.out, code.init[..2]);
    }
}
