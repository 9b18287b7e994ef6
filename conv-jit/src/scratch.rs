//! Working memory of a run: tensors between groups, where every tensor is, and what one nest needs
//! at a time.

use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::engine::Work;
use crate::lens::Lens;
use crate::memory::Block;

/// Working memory of one run at a time. Grows to what a run needs and stays so.
#[derive(Default)]
pub struct Scratch {
    /// Tensors between groups, in the order of [`Lens::between`].
    between: Vec<Block>,
    /// The exposed address of every tensor, and of the residual from outside.
    pub(crate) addresses: Vec<usize>,
    pub(crate) work: Work,
}

impl Scratch {
    /// Empty; the first run fills it.
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Room for the tensors between groups, and all addresses; those inside a group have none.
    pub(crate) fn place(
        &mut self,
        lens: &Lens,
        (input, output): (usize, usize),
        residual: usize,
    ) -> Result<(), Error> {
        self.addresses.clear();
        self.addresses.resize(lens.outside() + 1, 0);
        self.addresses[0] = input;
        if self.between.len() < lens.between.len() {
            self.between.resize_with(lens.between.len(), Block::default);
        }
        for (&(tensor, bytes), block) in lens.between.iter().zip(&mut self.between) {
            block.grow(bytes)?;
            self.addresses[tensor] = block.start().expose_provenance();
        }
        self.addresses[lens.last] = output;
        self.addresses[lens.outside()] = residual;
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
