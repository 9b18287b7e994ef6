//! Plain memory for packed weights and scratch: zeroed, on cache lines, refused instead of aborting
//! where there is none.

use crate::Error;

/// One cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// A block of memory that starts on a cache line.
#[derive(Default)]
pub(crate) struct Block(Vec<Line>);

impl Block {
    /// At least `bytes`, zeroed.
    pub(crate) fn new(bytes: usize) -> Result<Block, Error> {
        let mut block = Block::default();
        block.grow(bytes)?;
        Ok(block)
    }

    /// Makes it at least that large; what is new is zero.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let lines = bytes.div_ceil(size_of::<Line>());
        if lines > self.0.len() {
            let more = lines - self.0.len();
            self.0
                .try_reserve_exact(more)
                .map_err(|e| Error::Memory(format!("{bytes} bytes: {e}")))?;
            self.0.resize(lines, Line([0; 64]));
        }
        Ok(())
    }

    /// Its start. Good for writing as long as the block is not grown, moved or borrowed elsewhere.
    pub(crate) fn start(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}
