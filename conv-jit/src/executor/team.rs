//! Threads that compute one convolution after the other.
//!
//! ```text
//! executor.run(3, ..)   leader    parts of step 1 | parts of step 2 |     step 3     | end
//!                       helper    parts of step 1 | parts of step 2 | waits          | end
//!                       helper    parts of step 1 |      waits      | waits          | end
//! ```
//!
//! An executor wakes its threads, which takes as long as a small convolution does. So they are
//! woken once for all. Whoever is called first leads: it goes from step to step, and all take parts
//! of the step that is there. Who leads waits for nobody but those who took a part, so it does not
//! matter when the others come, or whether: an executor may call one after the other.

use std::hint;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Executor;

/// Times that a thread looks for something to do before it lets others run: some 20 us.
const LOOKS: u32 = 1 << 9;

/// What a word has bits for. Nobody takes a part where so many are taken.
const MOST_PARTS: u64 = 0xffff;

/// The word of a team whose run is over.
const END: u64 = u64::MAX;

/// What is computed at the moment.
#[derive(Default)]
struct Team {
    /// The number of the step (31 bits), its parts (16) and those that are taken (16). One word, so
    /// that nobody takes a part of a step that is over.
    word: AtomicU64,
    /// Parts that are computed.
    done: AtomicUsize,
    /// Where the leader keeps a reference to what computes a part.
    job: AtomicPtr<()>,
}

/// Calls `lead` once, with an executor that uses up to `threads` of the given one's threads, and
/// returns what it gives. They use their cores also through steps that one of them computes.
pub(crate) fn together<R: Send>(
    executor: &dyn Executor,
    threads: usize,
    lead: impl FnOnce(&dyn Executor) -> R + Send,
) -> Option<R> {
    let (team, lead, result) = (Team::default(), Mutex::new(Some(lead)), Mutex::new(None));
    let job = |_| {
        let first = lead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(lead) = first else { return team.help() };
        let _end = End(&team);
        let given = lead(&team);
        *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
    };
    executor.run(threads, &job);
    // An executor that called nobody leaves it to us; otherwise the run is over.
    job(0);
    result.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    /// Takes part in what there is, until the run is over.
    fn help(&self) {
        let mut looks = 0;
        while self.word.load(Ordering::Acquire) != END {
            if self.take_part() { looks = 0 } else { pause(&mut looks) }
        }
    }

    /// Computes a part that nobody has taken, if there is one.
    fn take_part(&self) -> bool {
        let word = self.word.load(Ordering::Acquire);
        let (parts, taken) = ((word >> 16) & MOST_PARTS, word & MOST_PARTS);
        if word == END || taken >= parts {
            return false;
        }
        let next = self.word.compare_exchange(word, word + 1, Ordering::AcqRel, Ordering::Relaxed);
        if next.is_err() {
            // Somebody else was faster.
            return true;
        }
        let _done = Done(self);
        let job = self.job.load(Ordering::Acquire).cast::<&(dyn Fn(usize) + Sync)>();
        // SAFETY: `run` put a reference there that outlives the step, and returns only when all of
        // its parts are computed. This one is taken and not yet computed, and no step but that of
        // `word` was there when it was.
        let job = unsafe { *job };
        job(taken as usize);
        true
    }
}

impl Executor for Team {
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        if parts < 2 || parts as u64 >= MOST_PARTS {
            return (0..parts).for_each(job);
        }
        self.done.store(0, Ordering::Relaxed);
        self.job.store((&raw const job).cast_mut().cast(), Ordering::Relaxed);
        let step = (self.word.load(Ordering::Relaxed) >> 32) + 1;
        // The number wraps before it meets END.
        let word = (step & 0x7fff_ffff) << 32 | (parts as u64) << 16;
        self.word.store(word, Ordering::Release);
        let _all = All { team: self, parts };
        while self.take_part() {}
    }
}

/// A part is computed, or has panicked.
struct Done<'a>(&'a Team);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::Release);
    }
}

/// All parts of a step, for which the leader waits, even where it panics.
struct All<'a> {
    team: &'a Team,
    parts: usize,
}

impl Drop for All<'_> {
    fn drop(&mut self) {
        // Where the leader's part panicked, nobody begins another.
        let taken = (self.team.word.fetch_or(MOST_PARTS, Ordering::AcqRel) & MOST_PARTS) as usize;
        let begun = taken.min(self.parts);
        let mut looks = 0;
        while self.team.done.load(Ordering::Acquire) < begun {
            pause(&mut looks);
        }
    }
}

/// The run is over, even where the leader panicked.
struct End<'a>(&'a Team);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.word.store(END, Ordering::Release);
    }
}

/// Waits a little; after some time others may run.
fn pause(looks: &mut u32) {
    *looks += 1;
    if *looks < LOOKS {
        return hint::spin_loop();
    }
    *looks = LOOKS;
    thread::yield_now();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::CurrentThread;

    /// A thread for each part, some of which begin late.
    struct Threads;

    impl Executor for Threads {
        fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
            thread::scope(|scope| {
                for part in 0..parts {
                    scope.spawn(move || {
                        thread::sleep(std::time::Duration::from_micros(200 * part as u64));
                        job(part);
                    });
                }
            });
        }
    }

    /// Calls nobody.
    struct Nobody;

    impl Executor for Nobody {
        fn run(&self, _: usize, _: &(dyn Fn(usize) + Sync)) {}
    }

    /// Steps of some parts, each of which adds what the step before has made.
    fn steps(executor: &dyn Executor, threads: usize) -> usize {
        let sum = AtomicUsize::new(0);
        let lead = |team: &dyn Executor| {
            for step in 0..2000 {
                let before = sum.load(Ordering::Relaxed);
                let parts = step % 5;
                team.run(parts, &|part| {
                    assert!(part < parts);
                    assert!(sum.load(Ordering::Relaxed) >= before);
                    sum.fetch_add(1 + part, Ordering::Relaxed);
                });
                assert_eq!(sum.load(Ordering::Relaxed) - before, parts * (parts + 1) / 2);
            }
            sum.load(Ordering::Relaxed)
        };
        together(executor, threads, lead).expect("somebody leads")
    }

    #[test]
    fn every_part_of_every_step_is_computed_once_and_in_order() {
        for threads in [1, 2, 3, 8] {
            let executors: [&dyn Executor; 3] = [&CurrentThread, &Threads, &Nobody];
            for executor in executors {
                assert_eq!(steps(executor, threads), 400 * (1 + 3 + 6 + 10));
            }
        }
    }

    #[test]
    fn a_part_that_panics_ends_the_run() {
        let run = |first: usize| {
            together(&CurrentThread, 2, |team| {
                team.run(3, &|part| assert!(part != first, "part {first}"));
            })
        };
        assert!(std::panic::catch_unwind(|| run(1)).is_err());
    }

    #[test]
    fn a_run_all_of_whose_parts_panic_ends() {
        let run = || together(&Threads, 3, |team| team.run(3, &|_| panic!("every part")));
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
