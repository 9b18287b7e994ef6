//! Programs that were compiled before, by description and options.
//!
//! At most [`CAPACITY`] of them, with at most [`BYTES`] of code and known numbers; the one used
//! longest ago goes first. An entry that goes is freed when its last user drops it. Two threads that
//! ask for the same new program at once both compile it, and the later one wins: compiling takes
//! milliseconds, and holding the lock meanwhile would stop everybody.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use conv_ir::conv::Known;
use conv_ir::program::plan::Plan;
use conv_ir::separate::Accuracy;
use conv_ir::{Program, Schedule, Target};

use crate::Error;
use crate::compiled::{Options, Shared};

/// Entries held. A large network has some hundred different convolutions, each a few tens of KiB
/// with its nest.
pub const CAPACITY: usize = 256;

/// Bytes of code and of known numbers held. An entry of more is not kept at all.
pub const BYTES: usize = 64 << 20;

/// What code follows from. The host's ISA is not part of it: it does not change under a running
/// program.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Everything in the description but known weights, constants to the last bit.
    text: String,
    known: Vec<Option<Known>>,
    /// None is the model's choice, which follows from the rest.
    schedule: Option<Schedule>,
    plan: Option<Plan>,
    target: Target,
    accuracy: Accuracy,
    finite_weights: bool,
    /// Those that the model plans for.
    threads: usize,
}

impl Key {
    pub fn new(program: &Program, options: &Options) -> Key {
        let Options { schedule, plan, target, accuracy, threads, finite_weights, cache: _ } =
            options;
        let is_planned =
            plan.is_none() && (program.steps().len() > 1 || *accuracy != Accuracy::Exact);
        Key {
            text: program.to_string(),
            known: program.convs().map(|conv| conv.known().cloned()).collect(),
            schedule: schedule.clone(),
            plan: plan.clone(),
            target: *target,
            accuracy: *accuracy,
            finite_weights: *finite_weights,
            threads: if is_planned { *threads } else { 1 },
        }
    }
}

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
    let known = shared.described.convs().filter_map(|conv| conv.known());
    let numbers: usize = known.map(|known| known.weight.len()).sum();
    let code: usize = shared.codes.iter().map(|group| group.code.bytes()).sum();
    code + 2 * size_of::<f64>() * numbers
}

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Cache> {
    // Nothing panics while the lock is held; if it did, the map would still be whole.
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compiled programs in the cache.
pub fn len() -> usize {
    lock().entries.len()
}

/// Forgets all of them. Those in use live on.
pub fn clear() {
    *lock() = Cache::default();
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
