//! Who runs the parts of a run, and what a fork does to that.
//!
//! Threads do not follow a process into its fork. Whoever forks after threads were used has a pool
//! in the child whose threads are not there, and would wait for them without end; so a child runs
//! on the calling thread alone. One that forks before gets a pool of its own.
//!
//! Nor does a thread that holds a lock: the child would wait for it without end. So a fork waits
//! until no thread is inside a call, and none enters one before it is done.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use conv_jit::{CurrentThread, Executor, Rayon};
use pyo3::{Python, pyfunction};

/// Threads were used in this process, or in one that it is a fork of.
static USED: AtomicBool = AtomicBool::new(false);

/// This process is a fork of one that had used them.
static ALONE: AtomicBool = AtomicBool::new(false);

/// Read by whoever is inside a call, written by who forks.
static INSIDE: RwLock<()> = RwLock::new(());

thread_local! {
    /// What this thread holds while it forks.
    static FORKS: RefCell<Option<RwLockWriteGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Does something that takes locks, without the interpreter's.
pub fn apart<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    py.detach(|| {
        let _inside = INSIDE.read().unwrap_or_else(PoisonError::into_inner);
        work()
    })
}

/// Called before a fork: waits until no other thread is inside a call.
#[pyfunction]
pub fn before_fork(py: Python<'_>) {
    py.detach(|| {
        let alone = INSIDE.write().unwrap_or_else(PoisonError::into_inner);
        FORKS.set(Some(alone));
    });
}

/// Called in parent and child after a fork.
#[pyfunction]
pub fn after_fork(is_child: bool) {
    if is_child {
        ALONE.fetch_or(USED.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    FORKS.set(None);
}

/// Threads where there are some, else the calling one.
pub struct Pool;

impl Executor for Pool {
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        if parts == 1 || ALONE.load(Ordering::Relaxed) {
            return CurrentThread.run(parts, job);
        }
        USED.store(true, Ordering::Relaxed);
        Rayon.run(parts, job);
    }
}
