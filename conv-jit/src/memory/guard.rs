//! Arrays against pages that nobody may touch: machine code checks nothing, so only the hardware
//! can tell of a byte outside. Once with the first byte against them, once with the last.

use std::cell::Cell;
use std::ops::Range;

use region::{Allocation, Protection};

use super::Block;

/// Bytes between arrays: more than a row of any case, so that one row too far is found as well as
/// one lane. Untouched, they cost nothing.
const GUARD: usize = 1 << 20;

/// On which side of an array the pages are that nobody may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    Behind,
    /// None are: an array on the heap, for tools that know its bounds.
    Heap,
}

thread_local! {
    static SIDE: Cell<Option<Side>> = const { Cell::new(None) };
}

/// Where this thread wants its blocks guarded; nowhere, unless it says so.
pub(crate) fn side() -> Option<Side> {
    SIDE.get()
}

/// Runs `f` with the blocks that this thread makes guarded.
pub(crate) fn guarded<R>(side: Side, f: impl FnOnce() -> R) -> R {
    let before = SIDE.replace(Some(side));
    let result = f();
    SIDE.set(before);
    result
}

/// Where an array lies behind others that end at `end`, and the end of its pages.
pub(super) fn place(end: usize, bytes: usize, side: Side) -> (usize, usize) {
    let page = region::page::size();
    let pages = bytes.next_multiple_of(page).max(page);
    let start = end + GUARD;
    match side {
        Side::Before => (start, start + pages),
        Side::Behind => (start + pages - bytes, start + pages),
        Side::Heap => (end, (end + bytes).next_multiple_of(64)),
    }
}

/// An array between two guards, and directly against one of them; or address space with several.
pub(crate) struct Guarded<T> {
    memory: Memory<T>,
    offset: usize,
    len: usize,
}

enum Memory<T> {
    Pages(Allocation),
    Heap(Vec<T>),
}

// SAFETY: it owns its pages, as a vector owns its elements.
unsafe impl<T: Send> Send for Guarded<T> {}
// SAFETY: as above; it is written through `&mut` alone.
unsafe impl<T: Sync> Sync for Guarded<T> {}

impl<T: Copy + Default> Guarded<T> {
    /// An array of zeros.
    pub(crate) fn zeroed(len: usize, side: Side) -> Self {
        if side == Side::Heap {
            return Guarded { memory: Memory::Heap(vec![T::default(); len]), offset: 0, len };
        }
        let bytes = len * size_of::<T>();
        let (offset, end) = place(0, bytes, side);
        let mut guarded = Guarded { offset, len, ..Guarded::closed(end) };
        guarded.open(offset..offset + bytes);
        guarded
    }

    /// These values.
    pub(crate) fn new(values: &[T], side: Side) -> Self {
        let mut guarded = Guarded::zeroed(values.len(), side);
        guarded.as_mut_slice().copy_from_slice(values);
        guarded
    }

    /// Address space that nobody may touch, with a guard at its end.
    fn closed(bytes: usize) -> Self {
        let memory = region::alloc(bytes + GUARD, Protection::NONE).unwrap();
        Guarded { memory: Memory::Pages(memory), offset: 0, len: 0 }
    }

    /// Makes the pages of a range usable.
    fn open(&mut self, range: Range<usize>) {
        let start = self.start().wrapping_add(range.start - self.offset);
        // SAFETY: the range is inside the allocation, and nobody has a reference to it.
        unsafe { region::protect(start, range.len().max(1), Protection::READ_WRITE) }.unwrap();
    }

    pub(crate) fn start(&mut self) -> *mut u8 {
        match &mut self.memory {
            Memory::Pages(pages) => pages.as_mut_ptr::<u8>().wrapping_add(self.offset),
            Memory::Heap(values) => values.as_mut_ptr().cast(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        match &self.memory {
            Memory::Pages(pages) => {
                let start = pages.as_ptr::<u8>().wrapping_add(self.offset).cast();
                // SAFETY: the pages of the array are usable, hold `len` numbers from `start` on,
                // and start and end on multiples of a number's size; they were zeros at first.
                unsafe { std::slice::from_raw_parts(start, self.len) }
            }
            Memory::Heap(values) => values,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        let start = self.start().cast();
        // SAFETY: as in `as_slice`; they are borrowed as `self` is.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

/// A table of a run, guarded always: it is written once and never grows.
pub(crate) fn copy<T: Copy + Default>(values: &[T]) -> Guarded<T> {
    Guarded::new(values, side().unwrap_or(Side::Behind))
}

impl Block {
    /// Room for several arrays with guards between them: their places count from the start.
    pub(crate) fn fence(&mut self, bytes: usize, arrays: impl Iterator<Item = Range<usize>>) {
        if side() == Some(Side::Heap) {
            self.guarded = Some(Guarded::zeroed(bytes, Side::Heap));
            return;
        }
        let mut all = Guarded::closed(bytes);
        arrays.for_each(|array| all.open(array));
        self.guarded = Some(all);
    }
}
