//! Working memory of a run: tensors between groups, where every tensor is, and what one nest needs
//! at a time.

use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::engine::Work;
use crate::lens::{Between, Lens};
use crate::memory::{self, Block};

/// Working memory of one run at a time. Grows to what a run needs and stays so.
#[derive(Default)]
pub struct Scratch {
    /// Tensors between groups, side by side; between guards one block for each of
    /// [`Lens::slots`].
    between: Vec<Block>,
    /// Where each of [`Lens::slots`] starts.
    starts: Vec<usize>,
    /// The exposed address of every tensor, and of the residual from outside.
    pub(crate) addresses: Vec<usize>,
    pub(crate) work: Work,
}

/// Exposed addresses of the caller's arrays; that of the residual is 0 where there is none.
pub(crate) struct Callers<'a> {
    pub inputs: &'a [usize],
    pub outputs: &'a [usize],
    pub residual: usize,
}

impl Scratch {
    /// Empty; the first run fills it.
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Room for the tensors between groups, and all addresses; those inside a group have none.
    pub(crate) fn place(&mut self, lens: &Lens, callers: &Callers<'_>) -> Result<(), Error> {
        self.addresses.clear();
        self.addresses.resize(lens.outside() + 1, 0);
        // Where the first step declares the first input, both numbers are that.
        self.addresses[0] = callers.inputs.first().copied().unwrap_or_default();
        self.make_room(lens)?;
        for &(tensor, Between { slot, offset }) in &lens.between {
            self.addresses[tensor] = self.starts[slot] + offset;
        }
        let taken = lens.taken.iter().zip(callers.inputs);
        for (&tensor, &address) in taken.chain(lens.given.iter().zip(callers.outputs)) {
            self.addresses[tensor] = address;
        }
        self.addresses[lens.outside()] = callers.residual;
        Ok(())
    }

    /// Room for the tensors between groups.
    fn make_room(&mut self, lens: &Lens) -> Result<(), Error> {
        self.starts.clear();
        let blocks = if memory::is_guarded() { lens.slots.len() } else { 1 };
        self.between.resize_with(blocks.max(self.between.len()), Block::default);
        if memory::is_guarded() {
            for (&bytes, block) in lens.slots.iter().zip(&mut self.between) {
                block.grow(bytes)?;
                self.starts.push(block.start().expose_provenance());
            }
            return Ok(());
        }
        let mut end = 0;
        for &bytes in &lens.slots {
            let placed = memory::place(end, bytes);
            let (start, next) =
                placed.ok_or_else(|| Error::Memory("tensors between groups".to_owned()))?;
            self.starts.push(start);
            end = next;
        }
        self.between[0].grow(end)?;
        let block = self.between[0].start().expose_provenance();
        self.starts.iter_mut().for_each(|start| *start += block);
        Ok(())
    }
}

/// Scratch of runs that have ended, for those that bring none.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Scratch>>);

impl Pool {
    pub fn take(&self) -> Scratch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub fn give_back(&self, scratch: Scratch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}
