//! Executable memory: whole pages of regions that many pieces of code share.
//!
//! A process may have some 65,000 mappings, and neighbouring pages of one protection are one
//! mapping. So code has no mapping of its own: a [`Region`] is address space without access, of
//! which a piece of code takes a run of pages. They become writable, are filled, and become
//! executable in the same step in which they stop being writable. Nobody else's page changes, so
//! other threads may run code of the same region meanwhile.
//!
//! Pages given back stay as they are until they are taken again, or until the last code of their
//! region goes and the region with it. So giving back asks the system for nothing that it could
//! refuse, and holes cost no mappings: a region has two of them, what was taken once and the rest.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use region::{Allocation, Protection};
use wasmtime_internal_jit_icache_coherence as coherence;

use crate::Error;

/// A region's pages, one per bit. Longer code gets a longer region for itself.
const PAGES: usize = u64::BITS as usize;

/// The last page of a region is nobody's. Code cannot run on into the next region, and a region is
/// never the middle of one mapping: to unmap that would need one more.
const GUARD: u64 = 1 << (PAGES - 1);

struct Region {
    memory: Allocation,
    /// A bit per page.
    taken: u64,
}

// SAFETY: an allocation is an address and a length, and means the same to every thread.
unsafe impl Send for Region {}

/// By address.
static REGIONS: Mutex<BTreeMap<usize, Region>> = Mutex::new(BTreeMap::new());

fn lock() -> MutexGuard<'static, BTreeMap<usize, Region>> {
    // Between its lines the map is whole, wherever one of them panics.
    REGIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece of code that can be called, on pages of its own.
pub(crate) struct Pages {
    start: usize,
    /// The address of the region.
    region: usize,
    /// The pages in it.
    taken: u64,
}

impl Pages {
    /// Copies `code` to pages that can be executed. Its start is the start of a page.
    pub(crate) fn new(code: &[u8]) -> Result<Pages, Error> {
        let pages = Pages::take(code.len())?;
        pages.fill(code).map_err(refused)?;
        Ok(pages)
    }

    /// The address of a byte of the code.
    pub(crate) fn address(&self, offset: usize) -> *const u8 {
        ptr::with_exposed_provenance(self.start + offset)
    }

    /// The first run of free pages that is long enough.
    fn take(bytes: usize) -> Result<Pages, Error> {
        let page = region::page::size();
        let count = bytes.div_ceil(page).max(1);
        let mut regions = lock();
        let found = regions.iter().find_map(|(at, region)| Some((*at, free(region.taken, count)?)));
        let (region, taken) = match found {
            Some(found) => found,
            None => {
                let taken = free(GUARD, count).unwrap_or(!GUARD);
                let region = Region::new(page * PAGES.max(count + 1)).map_err(refused)?;
                let at = region.memory.as_ptr::<u8>().expose_provenance();
                regions.insert(at, region);
                (at, taken)
            }
        };
        if let Some(region) = regions.get_mut(&region) {
            region.taken |= taken;
        }
        Ok(Pages { start: region + page * taken.trailing_zeros() as usize, region, taken })
    }

    fn fill(&self, code: &[u8]) -> region::Result<()> {
        let start: *mut u8 = ptr::with_exposed_provenance_mut(self.start);
        protect(start, code.len(), Protection::READ_WRITE)?;
        // SAFETY: `take` gave us these pages alone, as many as the code needs, and now they are
        // writable.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), start, code.len()) };
        // SAFETY: the same pages; they hold what was copied.
        unsafe { coherence::clear_cache(start.cast(), code.len()) }.map_err(system)?;
        protect(start, code.len(), Protection::READ_EXECUTE)?;
        coherence::pipeline_flush_mt().map_err(system)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let mut regions = lock();
        if let Some(region) = regions.get_mut(&self.region) {
            region.taken &= !self.taken;
            if region.taken == GUARD {
                regions.remove(&self.region);
            }
        }
    }
}

impl Region {
    fn new(bytes: usize) -> region::Result<Region> {
        ask()?;
        Ok(Region { memory: region::alloc(bytes, Protection::NONE)?, taken: GUARD })
    }
}

/// The first run of `count` pages that are not taken, as bits.
fn free(taken: u64, count: usize) -> Option<u64> {
    let run = (count < PAGES).then(|| (1u64 << count) - 1)?;
    (0..PAGES - count).map(|at| run << at).find(|run| taken & run == 0)
}

fn protect(start: *mut u8, bytes: usize, protection: Protection) -> region::Result<()> {
    ask()?;
    // SAFETY: `Pages::take` gave these pages to nobody else, and nobody refers to what is on them.
    unsafe { region::protect(start, bytes, protection) }
}

fn system(error: impl ToString) -> region::Error {
    region::Error::SystemCall(std::io::Error::other(error.to_string()))
}

fn refused(error: region::Error) -> Error {
    Error::Memory(format!("executable pages: {error}"))
}

/// Before every request to the system.
#[cfg(not(test))]
fn ask() -> region::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use tests::{ask, refusing};

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Error as IoError, ErrorKind};

    use super::*;

    thread_local! {
        /// Requests of this thread that are still granted.
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    pub(crate) fn ask() -> region::Result<()> {
        match LEFT.get().checked_sub(1) {
            Some(left) => {
                LEFT.set(left);
                Ok(())
            }
            None => Err(region::Error::SystemCall(IoError::from(ErrorKind::OutOfMemory))),
        }
    }

    /// What `f` makes while this thread is granted so many requests, and refused all others.
    pub(crate) fn refusing<R>(granted: usize, f: impl FnOnce() -> R) -> R {
        LEFT.set(granted);
        let made = f();
        LEFT.set(usize::MAX);
        made
    }

    #[test]
    fn runs_of_free_pages_are_found() {
        assert_eq!(free(GUARD, 1), Some(1));
        assert_eq!(free(GUARD | 0b1011, 2), Some(0b11_0000));
        assert_eq!(free(GUARD, 63), Some(!GUARD));
        assert_eq!(free(GUARD | 1, 63), None);
        assert_eq!((free(GUARD, 64), free(GUARD, 1 << 40)), (None, None));
        assert_eq!(free(!0, 1), None);
    }

    #[test]
    fn code_of_any_length_has_whole_pages_of_its_own() {
        let page = region::page::size();
        let lens = [1, page - 1, page, page + 1, 62 * page, 63 * page, 64 * page, 200 * page];
        let codes = lens.map(|len| vec![len as u8; len]);
        let held: Vec<Pages> = codes.iter().map(|code| Pages::new(code).unwrap()).collect();
        for (pages, code) in held.iter().zip(&codes) {
            assert_eq!(pages.start % page, 0);
            // SAFETY: the pages are readable, and hold as many bytes.
            let found = unsafe { std::slice::from_raw_parts(pages.address(0), code.len()) };
            assert!(found == code);
        }
        let mut ranges: Vec<_> =
            held.iter().zip(lens).map(|(pages, len)| (pages.start, pages.start + len)).collect();
        ranges.sort();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
}
