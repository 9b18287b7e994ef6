//! Compiled convolutions that were made before, by description, schedule and target.
//!
//! At most [`CAPACITY`] of them, with at most [`BYTES`] of code and known numbers; the one used
//! longest ago goes first. An entry that goes is freed when its last user drops it. Two threads that
//! ask for the same new convolution at once both compile it, and the later one wins: compiling takes
//! milliseconds, and holding the lock meanwhile would stop everybody.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use conv_ir::conv::Known;
use conv_ir::{Conv, Schedule, Target};

use crate::Error;
use crate::compiled::Shared;

/// Entries held. A large network has some hundred different convolutions, each a few tens of KiB
/// with its nest.
pub const CAPACITY: usize = 256;

/// Bytes of code and of known numbers held. An entry of more is not kept at all.
pub const BYTES: usize = 64 << 20;

/// The host's ISA is not part of it: it does not change under a running program.
pub(crate) type Key = (String, Option<Known>, Option<Schedule>, Target);

#[derive(Default)]
struct Cache {
    entries: HashMap<Key, Entry>,
    /// Of all entries.
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

struct Entry {
    /// When it was last used.
    used: u64,
    bytes: usize,
    shared: Arc<Shared>,
}

/// What an entry holds that has no bound of its own. Known numbers are there as they were given,
/// and once more as they are packed.
fn bytes(shared: &Shared) -> usize {
    let numbers = shared.conv.known().map_or(0, |known| known.weight.len());
    shared.code.bytes() + 2 * size_of::<f64>() * numbers
}

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Cache> {
    // Nothing panics while the lock is held; if it did, the map would still be whole.
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compiled convolutions in the cache.
pub fn len() -> usize {
    lock().entries.len()
}

/// Forgets all of them. Those in use live on.
pub fn clear() {
    *lock() = Cache::default();
}

/// The description's text has everything in it but known weights, constants to the last bit. No
/// schedule is the model's choice, which follows from the rest.
pub(crate) fn key(conv: &Conv, schedule: Option<&Schedule>, target: &Target) -> Key {
    (conv.to_string(), conv.known().cloned(), schedule.cloned(), *target)
}

pub(crate) fn get_or(
    key: Key,
    make: impl FnOnce() -> Result<Arc<Shared>, Error>,
) -> Result<Arc<Shared>, Error> {
    if let Some(found) = lock().get(&key) {
        return Ok(found);
    }
    let made = make()?;
    lock().put(key, made.clone());
    Ok(made)
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Arc<Shared>> {
        self.clock += 1;
        let clock = self.clock;
        let entry = self.entries.get_mut(key)?;
        entry.used = clock;
        Some(entry.shared.clone())
    }

    fn put(&mut self, key: Key, shared: Arc<Shared>) {
        self.clock += 1;
        let entry = Entry { used: self.clock, bytes: bytes(&shared), shared };
        if entry.bytes > BYTES {
            return;
        }
        self.bytes += entry.bytes;
        let replaced = self.entries.insert(key, entry);
        self.bytes -= replaced.map_or(0, |entry| entry.bytes);
        while self.entries.len() > CAPACITY || self.bytes > BYTES {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.bytes -= self.entries.remove(&key).map_or(0, |entry| entry.bytes);
        }
    }
}
