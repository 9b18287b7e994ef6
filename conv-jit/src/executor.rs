//! Threads: who runs the parts of one convolution.
//!
//! A convolution is cut into `parts` that write different outputs and share nothing else, so any
//! executor gives the same bits, in any order. The threads of a program of several stay together
//! ([`team`]).

pub(crate) mod team;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Runs jobs side by side, or one after the other.
pub trait Executor: Sync {
    /// Calls `job` once for each number in `0..parts`, and returns when all calls have.
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync));
}

/// The calling thread does everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct CurrentThread;

impl Executor for CurrentThread {
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(job);
    }
}

/// The rayon pool that the calling thread belongs to, or the global one.
#[cfg(feature = "rayon")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Rayon;

#[cfg(feature = "rayon")]
impl Executor for Rayon {
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        use rayon::prelude::*;
        match parts {
            1 => job(0),
            _ => (0..parts).into_par_iter().with_max_len(1).for_each(job),
        }
    }
}

/// The best executor there is: rayon where the feature is on.
pub(crate) fn default_executor() -> &'static dyn Executor {
    #[cfg(feature = "rayon")]
    return &Rayon;
    #[cfg(not(feature = "rayon"))]
    return &CurrentThread;
}

/// What `make` makes of each number below `count`, in order, by so many threads at most.
///
/// They are threads of its own: compiling is rare and long, and a pool's threads are not there in
/// a process that was forked from the one that made them.
pub(crate) fn each<T: Send>(
    count: usize,
    threads: usize,
    make: &(dyn Fn(usize) -> T + Sync),
) -> Vec<T> {
    let parts = threads.min(count);
    if parts < 2 {
        return (0..count).map(make).collect();
    }
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let made = make(at);
            all.lock().unwrap_or_else(PoisonError::into_inner).push((at, made));
        }
    };
    thread::scope(|scope| {
        // One that is refused leaves the rest to the others, at last to this one.
        let started = |_: &usize| thread::Builder::new().spawn_scoped(scope, work).is_ok();
        (1..parts).take_while(started).for_each(drop);
        work();
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, made)| made).collect()
}
