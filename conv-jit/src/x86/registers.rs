//! Who holds which vector register, and until when.
//!
//! A value takes the lowest free register when it is set and gives it back behind its last use;
//! carried values keep theirs through the loops. When nothing is free, kept constants go first;
//! behind the loops, then values that wait for their turn go to the stack, the last-needed first.

use iced_x86::{Instruction, MemoryOperand, Register};

use super::Refusal;
use super::vectors::{Reg, Vectors};
use crate::leaf::inst::{Inst, Value};

impl Vectors<'_> {
    pub(super) fn lifetimes(&self, insts: &[Inst], is_last: bool) -> Vec<usize> {
        let mut last = vec![0; self.code.carried.len()];
        for (at, inst) in insts.iter().enumerate() {
            inst.each_value(|value| last[value.0 as usize] = at);
        }
        let forever = self.code.carried.iter().map(|c| c && !is_last);
        last.iter_mut()
            .zip(forever)
            .filter(|(_, forever)| *forever)
            .for_each(|(last, _)| *last = usize::MAX);
        last
    }

    /// Whether this instruction is the last to name the value.
    pub(super) fn dies(&self, value: Value) -> bool {
        self.last[value.0 as usize] == self.at
    }

    /// Gives the register of a dead value back.
    pub(super) fn bury(&mut self, value: Value) {
        if self.dies(value)
            && let Some(reg) = self.homes[value.0 as usize].take()
        {
            self.give(reg);
        }
    }

    /// A free register.
    pub(super) fn take(&mut self) -> Result<Reg, Refusal> {
        if self.free == 0 {
            match self.constants.iter().position(|(_, reg)| self.locked & (1 << reg) == 0) {
                Some(victim) => {
                    let (_, reg) = self.constants.swap_remove(victim);
                    self.give(reg);
                }
                None => self.spill()?,
            }
        }
        let reg = self.free.trailing_zeros();
        self.free &= !(1 << reg);
        self.used |= 1 << reg;
        Ok(reg as Reg)
    }

    /// Sends the value that is needed last to the stack.
    fn spill(&mut self) -> Result<(), Refusal> {
        let slot = self
            .spilled
            .iter()
            .position(Option::is_none)
            .filter(|_| self.may_spill)
            .ok_or(Refusal::Registers)?;
        let idle = |(_, home): &(usize, &Option<Reg>)| {
            home.is_some_and(|reg| self.locked & (1 << reg) == 0)
        };
        let waiting = self.homes.iter().enumerate().filter(idle);
        let (at, _) = waiting.max_by_key(|(at, _)| self.last[*at]).ok_or(Refusal::Registers)?;
        let value = Value(at as u32);
        let reg = self.abandon(value)?;
        let store = Instruction::with2(self.codes.store, self.stack(slot), self.name(reg));
        self.text.push(store);
        self.spilled[slot] = Some(value);
        self.spill_count += 1;
        self.give(reg);
        Ok(())
    }

    /// Fetches what the instruction reads from the stack, and keeps what it names in registers.
    pub(super) fn call_back(&mut self, inst: &Inst) -> Result<(), Refusal> {
        let lock = |this: &mut Self| {
            let mut locked = 0;
            inst.each_value(|value| {
                locked |= this.homes[value.0 as usize].map_or(0, |reg| 1 << reg);
            });
            this.locked = locked;
        };
        lock(self);
        if self.spilled.iter().all(Option::is_none) {
            return Ok(());
        }
        for value in &inst.reads() {
            if let Some(slot) = self.spilled.iter().position(|s| s == &Some(*value)) {
                let reg = self.take()?;
                let load = Instruction::with2(self.codes.load, self.name(reg), self.stack(slot));
                self.text.push(load);
                self.spilled[slot] = None;
                self.homes[value.0 as usize] = Some(reg);
                lock(self);
            }
        }
        // What is overwritten without being read has nothing to come back to.
        let sets = inst.sets();
        let stale = |slot: &&mut Option<Value>| slot.is_some_and(|value| sets.contains(&value));
        self.spilled.iter_mut().filter(stale).for_each(|slot| *slot = None);
        Ok(())
    }

    pub(super) fn stack(&self, slot: usize) -> MemoryOperand {
        MemoryOperand::with_base_displ(
            Register::RSP,
            self.spills + slot as i64 * self.shape.bytes(),
        )
    }

    /// Gives a register back.
    pub(super) fn give(&mut self, reg: Reg) {
        self.free |= 1 << reg;
    }

    /// The register of a value.
    pub(super) fn home(&self, value: Value) -> Result<Reg, Refusal> {
        self.homes[value.0 as usize]
            .ok_or_else(|| Refusal::Operation("a value is read before it is set".into()))
    }

    /// The register of a value that is the caller's from now on.
    pub(super) fn abandon(&mut self, value: Value) -> Result<Reg, Refusal> {
        let reg = self.home(value);
        self.homes[value.0 as usize] = None;
        reg
    }

    pub(super) fn destination(&mut self, to: Value) -> Result<Reg, Refusal> {
        match self.homes[to.0 as usize] {
            Some(reg) => Ok(reg),
            None => {
                let reg = self.take()?;
                self.homes[to.0 as usize] = Some(reg);
                self.locked |= 1 << reg;
                Ok(reg)
            }
        }
    }

    /// Takes the register of `from` over for `to`.
    pub(super) fn inherit(&mut self, to: Value, from: Value) {
        if to != from && self.homes[to.0 as usize].is_none() {
            self.homes[to.0 as usize] = self.homes[from.0 as usize].take();
        }
    }
}
