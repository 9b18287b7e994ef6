//! Compiled convolutions that were made before, by description, schedule and target.
//!
//! At most [`CAPACITY`] of them; the one used longest ago goes first. An entry that goes is freed
//! when its last user drops it. Two threads that ask for the same new convolution at once both
//! compile it, and the later one wins: compiling takes milliseconds, and holding the lock meanwhile
//! would stop everybody.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use conv_ir::conv::Known;
use conv_ir::{Conv, Schedule, Target};

use crate::Error;
use crate::compiled::Shared;

/// Entries held. A large network has some hundred different convolutions, each a few tens of KiB
/// with its nest.
pub const CAPACITY: usize = 256;

/// The host's ISA is not part of it: it does not change under a running program.
pub(crate) type Key = (String, Option<Known>, Option<Schedule>, Target);

#[derive(Default)]
struct Cache {
    entries: HashMap<Key, (u64, Arc<Shared>)>,
    /// Counts uses.
    clock: u64,
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
    lock().entries.clear();
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
        let (used, shared) = self.entries.get_mut(key)?;
        *used = clock;
        Some(shared.clone())
    }

    fn put(&mut self, key: Key, shared: Arc<Shared>) {
        self.clock += 1;
        self.entries.insert(key, (self.clock, shared));
        if self.entries.len() > CAPACITY {
            let oldest =
                self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.entries.remove(&key));
        }
    }
}
