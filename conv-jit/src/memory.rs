//! Plain memory for packed weights and scratch: zeroed, on cache lines, refused instead of aborting
//! where there is none.
//!
//! Under test, whoever asks for it gets memory between pages that nobody may touch ([`guard`]).

#[cfg(test)]
pub(crate) mod guard;

use conv_ir::Stored;

use crate::Error;

/// One cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// A block of memory that starts on a cache line.
#[derive(Default)]
pub(crate) struct Block {
    lines: Vec<Line>,
    /// Used instead, where there is one.
    #[cfg(test)]
    guarded: Option<guard::Guarded<u8>>,
}

impl Block {
    /// At least `bytes`, zeroed.
    pub(crate) fn new(bytes: usize) -> Result<Block, Error> {
        let mut block = Block::default();
        block.grow(bytes)?;
        Ok(block)
    }

    /// Makes it at least that large; what is new is zero.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        #[cfg(test)]
        if let Some(side) = guard::side() {
            self.guarded = Some(guard::Guarded::zeroed(bytes, side));
            return Ok(());
        }
        let lines = bytes.div_ceil(size_of::<Line>());
        if lines > self.lines.len() {
            let more = lines - self.lines.len();
            self.lines
                .try_reserve_exact(more)
                .map_err(|e| Error::Memory(format!("{bytes} bytes: {e}")))?;
            self.lines.resize(lines, Line([0; 64]));
        }
        Ok(())
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.lines[..])
    }

    /// Makes room for so many elements.
    pub(crate) fn grow_for<T: Stored>(&mut self, len: usize) -> Result<(), Error> {
        let bytes = len.checked_mul(size_of::<T>());
        self.grow(bytes.ok_or_else(|| Error::Memory(format!("{len} elements")))?)
    }

    /// The first elements, for which there is room.
    pub(crate) fn elements<T: Stored>(&mut self, len: usize) -> &mut [T] {
        let room = self.bytes() / size_of::<T>();
        #[cfg(test)]
        let room = self.guarded.as_ref().map_or(room, |g| g.as_slice().len() / size_of::<T>());
        assert!(len <= room, "memory: {len} elements of a block of {room}");
        // SAFETY: the block has so many elements, zeroed when they came, aligned for any number,
        // and is borrowed as long as the slice; every pattern of bits is a number.
        unsafe { std::slice::from_raw_parts_mut(self.start().cast(), len) }
    }

    /// Its start. Good for writing as long as the block is not grown, moved or borrowed elsewhere.
    pub(crate) fn start(&mut self) -> *mut u8 {
        #[cfg(test)]
        if let Some(guarded) = &mut self.guarded {
            return guarded.start();
        }
        self.lines.as_mut_ptr().cast()
    }
}

/// Bytes between arrays of a block. Lengths are often multiples of a page; without a gap, a load
/// from one array and a store to the next would have addresses that agree in their last 12 bits,
/// which the CPU takes for the same until it knows better.
const APART: usize = 256;

/// Where an array lies in a block whose other arrays end at `end`, and where the next may begin: on
/// a cache line. `None` where that does not fit.
pub(crate) fn place(end: usize, bytes: usize) -> Option<(usize, usize)> {
    #[cfg(test)]
    if let Some(side) = guard::side() {
        return Some(guard::place(end, bytes, side));
    }
    let next = end.checked_add(bytes)?.checked_add(APART)?;
    Some((end, next.checked_next_multiple_of(size_of::<Line>())?))
}
