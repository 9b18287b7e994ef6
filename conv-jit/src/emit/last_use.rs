//! Which factors of a multiply-add are read for the last time.
//!
//! ```text
//! a = splat ..                                       first factor        copies
//! acc[0] = fma(a, b[0], acc[0])                      a                   1: `a` lives on
//! acc[1] = fma(a, b[1], acc[1])                      a, dying            0
//! ```
//!
//! On x86, Cranelift's multiply-add overwrites its first factor, and a factor that lives on is
//! copied first. Taking a dying one saves that instruction. Only code size and speed hang on the
//! answer, no value.
//!
//! The overwritten factor's register becomes the accumulator's, so accumulators wander from
//! register to register. Eight of them find a way around an unrolled body without the stack; with
//! nine or more, the allocator spills one or two, though there would be registers left.
//!
//! In: the operations of `update` at the current tap. Out: two answers for each, in the order in
//! which they are emitted.

use std::collections::{BTreeSet, VecDeque};

use conv_ir::nest::{Expr, Op};

use super::emitter::Emitter;
use super::tile::{Dying, Slot, Tile, holds};

/// What one operation does to registers.
#[derive(Default)]
struct Event {
    reads: Vec<Slot>,
    sets: Option<Slot>,
    factors: [Option<Slot>; 2],
}

impl<'a> Tile<'a> {
    /// The answers for every operation of `update`.
    pub(super) fn dying(&mut self, e: &mut Emitter<'_, '_>) -> VecDeque<Dying> {
        let mut events = Vec::new();
        self.walk(e, &self.leaf.update, &mut |tile, e, op| events.push(tile.event(e, op)));
        let mut live = carried(&events);
        let mut answers = VecDeque::with_capacity(events.len());
        for event in events.iter().rev() {
            answers.push_front(event.factors.map(|f| f.is_some_and(|slot| !live.contains(&slot))));
            if let Some(slot) = event.sets {
                live.remove(&slot);
            }
            live.extend(&event.reads);
        }
        answers
    }

    fn event(&self, e: &Emitter<'_, '_>, op: &Op) -> Event {
        let mut event = Event::default();
        let mut read = |expr: &Expr| {
            expr.visit(&mut |x| {
                if let Expr::Reg(reg) = x {
                    event.reads.push(self.slot(e, *reg));
                }
            });
        };
        match op {
            Op::Set { when, .. } | Op::Store { when, .. } if holds(e, when) == Some(false) => {}
            Op::Store { value, .. } => read(value),
            Op::Set { reg, value, when } => {
                read(value);
                event.sets = when.is_empty().then(|| self.slot(e, *reg));
                if let Expr::Fma(a, b, _) = value {
                    event.factors = [a, b].map(|x| match **x {
                        Expr::Reg(reg) => Some(self.slot(e, reg)),
                        _ => None,
                    });
                }
            }
            // Blocks end a leaf; whatever they read, it is no factor of the update.
            Op::StoreBlock { .. } | Op::Each(..) => {}
        }
        event
    }
}

/// What the next iteration reads before it sets it.
fn carried(events: &[Event]) -> BTreeSet<Slot> {
    let (mut set, mut read) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        read.extend(event.reads.iter().filter(|slot| !set.contains(*slot)));
        set.extend(event.sets);
    }
    read
}
