//! Plain memory for packed weights and scratch: zeroed, on cache lines, refused instead of aborting
//! where there is none.
//!
//! Under test, whoever asks for it gets memory between pages that nobody may touch ([`guard`]).

#[cfg(test)]
pub(crate) mod guard;

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use conv_ir::Stored;

use crate::Error;

/// One cache line.
const LINE: usize = 64;

/// A large page of most CPUs. Weights of some MiB are on more pages of 4 KiB than a core knows the
/// addresses of, and what is asked for ahead waits for each of them: ResNet-50 takes 0.9 of the
/// time with large ones (Granite Rapids, in a virtual machine).
const LARGE_PAGE: usize = 2 << 20;

/// A block of memory that starts on a cache line, from some size on of large pages.
pub(crate) struct Block {
    /// Dangling where it has no bytes.
    start: NonNull<u8>,
    bytes: usize,
    /// Used instead, where there is one.
    #[cfg(test)]
    guarded: Option<guard::Guarded<u8>>,
}

// SAFETY: it owns its memory, as a vector owns its elements, and writes through `&mut` alone.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Default for Block {
    fn default() -> Block {
        Block::of(NonNull::dangling(), 0)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.bytes).filter(|layout| layout.size() > 0) {
            // SAFETY: `grow` allocated it with this layout, and nobody refers to it any more.
            unsafe { alloc::dealloc(self.start.as_ptr(), layout) };
        }
    }
}

/// How so many bytes are allocated: the same for the size that it has.
fn layout(bytes: usize) -> Option<Layout> {
    let size = bytes.checked_next_multiple_of(LINE)?;
    let align = if size < LARGE_PAGE { LINE } else { LARGE_PAGE };
    Layout::from_size_align(size, align).ok()
}

/// Asks the system for large pages. It may refuse: then small ones do.
#[cfg(all(target_os = "linux", not(miri)))]
fn ask_for_large_pages(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the pages are ours, and this changes nothing but their size.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn ask_for_large_pages(_: NonNull<u8>, _: usize) {}

impl Block {
    /// What was allocated as [`layout`] says.
    fn of(start: NonNull<u8>, bytes: usize) -> Block {
        Block {
            start,
            bytes,
            #[cfg(test)]
            guarded: None,
        }
    }

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
        if bytes <= self.bytes {
            return Ok(());
        }
        let refused = || Error::Memory(format!("{bytes} bytes: there is no room for them"));
        let layout = layout(bytes).ok_or_else(refused)?;
        // SAFETY: the layout has bytes.
        let start = NonNull::new(unsafe { alloc::alloc(layout) }).ok_or_else(refused)?;
        let grown = Block::of(start, layout.size());
        let whole_pages = grown.bytes / LARGE_PAGE * LARGE_PAGE;
        if whole_pages > 0 {
            ask_for_large_pages(start, whole_pages);
        }
        // SAFETY: both blocks have so many bytes, and nobody else refers to the new one.
        unsafe {
            ptr::copy_nonoverlapping(self.start.as_ptr(), start.as_ptr(), self.bytes);
            ptr::write_bytes(start.as_ptr().add(self.bytes), 0, grown.bytes - self.bytes);
        }
        *self = grown;
        Ok(())
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
        self.start.as_ptr()
    }
}

/// Blocks that live as long as each other, side by side in one: so that those that fill no large
/// page are on large ones as well.
pub(crate) struct Room {
    shared: Arc<Block>,
    /// The exposed address of what is left.
    start: usize,
    left: usize,
}

impl Room {
    /// What a block of so many bytes takes.
    pub(crate) fn of(bytes: usize) -> usize {
        bytes.checked_next_multiple_of(LINE).unwrap_or(usize::MAX)
    }

    /// For blocks that take so many bytes together.
    pub(crate) fn new(bytes: usize) -> Result<Room, Error> {
        let mut block = Block::default();
        if !is_guarded() {
            block.grow(bytes)?;
        }
        let (start, left) = (block.start().expose_provenance(), block.bytes());
        Ok(Room { shared: Arc::new(block), start, left })
    }

    /// The next so many bytes, zeroed: who owns them, and where they start. A block of their own,
    /// where they do not fit in what is left.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(Arc<Block>, *mut u8), Error> {
        let taken = Room::of(bytes);
        let Some(left) = self.left.checked_sub(taken).filter(|_| !is_guarded()) else {
            let mut block = Block::new(bytes)?;
            let start = block.start();
            return Ok((Arc::new(block), start));
        };
        let start = ptr::with_exposed_provenance_mut(self.start);
        (self.start, self.left) = (self.start + taken, left);
        Ok((self.shared.clone(), start))
    }
}

/// Whether blocks lie between guards.
pub(crate) fn is_guarded() -> bool {
    #[cfg(test)]
    return guard::side().is_some();
    #[cfg(not(test))]
    false
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
    Some((end, next.checked_next_multiple_of(LINE)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_keeps_its_bytes_and_is_zero_behind_them() {
        let mut block = Block::default();
        let mut before = 0;
        for bytes in [1, 64, 65, LARGE_PAGE - 1, LARGE_PAGE, 3 * LARGE_PAGE + 64] {
            block.grow(bytes).unwrap();
            let len = block.bytes();
            assert!(len >= bytes && len < bytes + LINE, "{bytes}");
            let align = if bytes < LARGE_PAGE { LINE } else { LARGE_PAGE };
            assert_eq!(block.start() as usize % align, 0, "{bytes}");
            let held = block.elements::<u8>(len);
            assert!(held[..before].iter().all(|&byte| byte == 7));
            assert!(held[before..].iter().all(|&byte| byte == 0));
            held.fill(7);
            before = len;
        }
        block.grow(1).unwrap();
        assert_eq!(block.bytes(), before, "nothing shrinks");
        let refused = block.grow(usize::MAX).unwrap_err().to_string();
        assert!(refused.contains("18446744073709551615 bytes"), "{refused}");
    }

    #[test]
    fn blocks_of_a_room_lie_side_by_side() {
        let mut room = Room::new(Room::of(100) + Room::of(64)).unwrap();
        let [first, second, own] = [100, 64, 1].map(|bytes| room.take(bytes).unwrap());
        assert_eq!(second.1 as usize - first.1 as usize, 128);
        assert!(Arc::ptr_eq(&first.0, &second.0) && !Arc::ptr_eq(&first.0, &own.0));
        assert_eq!(own.0.bytes(), LINE);
    }
}
