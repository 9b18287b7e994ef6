//! Who runs the parts of a run.
//!
//! Threads do not follow a process into its fork. Whoever forks after threads were used has a pool
//! in the child whose threads are not there, and would wait for them without end; so a child runs
//! on the calling thread alone. One that forks before gets a pool of its own.

use std::sync::atomic::{AtomicBool, Ordering};

use conv_jit::{CurrentThread, Executor, Rayon};
use pyo3::pyfunction;

/// Threads were used in this process, or in one that it is a fork of.
static USED: AtomicBool = AtomicBool::new(false);

/// This process is a fork of one that had used them.
static ALONE: AtomicBool = AtomicBool::new(false);

/// Called in the child of a fork.
#[pyfunction]
pub fn after_fork() {
    ALONE.fetch_or(USED.load(Ordering::Relaxed), Ordering::Relaxed);
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
