//! Programs that were compiled before, by description and options.
//!
//! At most [`CAPACITY`] of them, with at most [`BYTES`] of code and known numbers; the one used
//! longest ago goes first. An entry that goes is freed when its last user drops it. Two threads
//! that ask for the same new program at once both compile it, and the later one wins: compiling
//! takes milliseconds, and holding the lock meanwhile would stop everybody.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use conv_ir::Program;

use crate::Error;
use crate::code::Code;
use crate::options::Options;
use crate::shared::Shared;

/// Entries held. A large network has some hundred different convolutions, each a few tens of KiB
/// with its nest.
pub const CAPACITY: usize = 256;

/// Bytes of code and of known numbers held. An entry of more is not kept at all.
pub const BYTES: usize = 64 << 20;

#[derive(Default)]
struct Cache {
    /// By [`hash`]. Of two that have the same one, the later one stays.
    entries: BTreeMap<u64, Entry>,
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
    let code: usize = shared.each_code().map(Code::bytes).sum();
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

/// What was compiled, or is made now. The host's ISA is not asked for: it does not change under a
/// running program. Allocates nothing to find what is there.
pub(crate) fn get_or(
    program: &Program,
    options: &Options,
    make: impl FnOnce() -> Result<Arc<Shared>, Error>,
) -> Result<Arc<Shared>, Error> {
    let hash = hash(program, options);
    if let Some(found) = lock().get(hash, program, options) {
        return Ok(found);
    }
    let made = make()?;
    lock().put(hash, made.clone());
    Ok(made)
}

fn hash(program: &Program, options: &Options) -> u64 {
    let mut mix = Mix(0);
    (program, options).hash(&mut mix);
    mix.finish()
}

/// A word at a time. Who makes two programs fall together has one of them compiled more often.
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(size_of::<u64>()) {
            let mut word = [0; size_of::<u64>()];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        // An odd number near 2^64 over the golden ratio: it carries every bit upwards.
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Cache {
    fn get(&mut self, hash: u64, program: &Program, options: &Options) -> Option<Arc<Shared>> {
        self.clock += 1;
        let entry = self.entries.get_mut(&hash)?;
        if entry.shared.described != *program || entry.shared.options != *options {
            return None;
        }
        entry.used = self.clock;
        Some(entry.shared.clone())
    }

    fn put(&mut self, hash: u64, shared: Arc<Shared>) {
        self.clock += 1;
        let entry = Entry { used: self.clock, bytes: bytes(&shared), shared };
        if entry.bytes > BYTES {
            return;
        }
        self.bytes += entry.bytes;
        let replaced = self.entries.insert(hash, entry);
        self.bytes -= replaced.map_or(0, |entry| entry.bytes);
        while self.entries.len() > CAPACITY || self.bytes > BYTES {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some((&hash, _)) = oldest else { break };
            self.bytes -= self.entries.remove(&hash).map_or(0, |entry| entry.bytes);
        }
    }
}
