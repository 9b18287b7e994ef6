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

use super::inst::{Inst, LeafCode, Value};
use super::regroup::Shared;

/// The code of a leaf that way, whose middle section is `shared`; none where that gains nothing.
pub(super) fn flowing(code: &LeafCode, shared: &Shared, machine: &Machine) -> Option<LeafCode> {
    if !code.loops.is_empty() {
        return None;
    }
    let order = shared.by_address()?;
    let splats = shared.splats();
    let all = code.carried.iter().filter(|carried| **carried).count() as i64;
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
    let (init, update, loops) = (Vec::new(), Vec::new(), Vec::new());
    let (cursors, pointers) = (code.cursors.clone(), code.pointers);
    Some(LeafCode { init, update, finish, loops, cursors, pointers, ahead: None, carried })
}

struct Flow<'a> {
    code: &'a LeafCode,
    /// Which instructions of the first and the last section are written.
    started: Vec<bool>,
    finished: Vec<bool>,
    /// Where the middle section sets each value for the last time.
    last: Vec<usize>,
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
        let (started, finished) = (vec![false; code.init.len()], vec![false; code.finish.len()]);
        Flow { code, started, finished, last, out: Vec::new() }
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
        for (at, inst) in code.init.iter().enumerate() {
            if !self.started[at] && inst.sets().contains(&value) {
                self.started[at] = true;
                inst.reads().into_iter().for_each(|read| self.start_value(read));
                self.out.push(inst.clone());
            }
        }
    }

    /// Writes what the last section does with values that are complete behind this instruction of
    /// the middle one, or with all.
    fn finish(&mut self, behind: Option<usize>) {
        let code = self.code;
        // What an instruction that waits sets or reads, those behind it wait for, too.
        let mut waiting: Vec<Value> = Vec::new();
        for (at, inst) in code.finish.iter().enumerate() {
            if self.finished[at] {
                continue;
            }
            let named = || inst.reads().into_iter().chain(inst.sets());
            let is_open = |value: Value| match (behind, self.last[value.0 as usize]) {
                (Some(behind), last) => last != NEVER && last > behind,
                (None, _) => false,
            };
            if named().any(|value| is_open(value) || waiting.contains(&value)) {
                waiting.extend(named());
                continue;
            }
            self.finished[at] = true;
            self.start(inst);
            self.out.push(inst.clone());
        }
    }
}
