//! One target in a loop, watched: panics, time, memory.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use conv_fuzz::Target;

use crate::mutate::Mutator;
use crate::{folder, found, memory};

/// Exit status where something was found and told.
pub const FOUND: i32 = 1;
/// Exit status where an input did not come back.
pub const HANGS: i32 = 3;

/// An execution takes no longer.
const SLOW: Duration = Duration::from_secs(1);
/// After so many seconds nobody waits any longer.
const HANG: u64 = 30;
/// An execution allocates no more bytes at a time.
const MOST_BYTES: usize = 100_000_000;
/// Different things that are told before it ends.
const MOST_FOUND: usize = 20;

/// The number of executions begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// The file that holds the input that runs.
pub fn running(target: &Target) -> PathBuf {
    found(&format!("{}.running", target.name))
}

/// The input that ran last.
pub fn last(target: &Target) -> Option<Vec<u8>> {
    let bytes = std::fs::read(running(target)).ok()?;
    let (length, input) = bytes.split_first_chunk()?;
    input.get(..u32::from_le_bytes(*length) as usize).map(<[u8]>::to_vec)
}

/// Keeps an input and says why.
pub fn keep(target: &Target, how: &str, input: &[u8], why: &str) {
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    let path = found(&format!("{}-{how}-{:08x}", target.name, hash as u32));
    let why: String = why.chars().take(2000).collect();
    println!("{}: {how}: {why}", target.name);
    match std::fs::write(&path, input) {
        Ok(()) => println!("    kept as {}", path.display()),
        Err(error) => println!("    not kept: {error}"),
    }
}

thread_local! {
    /// The last panic: where, and its message.
    static PANIC: RefCell<(String, String)> = const { RefCell::new((String::new(), String::new())) };
}

/// What an execution came to.
enum End {
    Accepted,
    Refused,
    /// What, of what kind and place, and the message.
    Wrong(&'static str, String, String),
}

struct Measured {
    end: End,
    time: Duration,
    bytes: usize,
}

fn execute(target: &Target, input: &[u8]) -> Measured {
    let before = memory::begin();
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let time = start.elapsed();
    let bytes = memory::peak().saturating_sub(before);
    let end = match result {
        Ok(true) => End::Accepted,
        Ok(false) => End::Refused,
        Err(_) => {
            let (place, message) = PANIC.take();
            End::Wrong("panics", place, message)
        }
    };
    Measured { end, time, bytes }
}

/// With the limits looked at. The machine may be busy: of slow executions the best of several
/// counts.
fn judged(target: &Target, input: &[u8]) -> Measured {
    let mut run = execute(target, input);
    for _ in 0..4 {
        if run.time <= SLOW {
            break;
        }
        run.time = run.time.min(execute(target, input).time);
    }
    if run.time > SLOW {
        run.end = End::Wrong("slow", String::new(), format!("{:?}", run.time));
    } else if run.bytes > MOST_BYTES {
        run.end = End::Wrong("large", String::new(), format!("{} bytes", run.bytes));
    }
    run
}

/// Figures over all executions.
#[derive(Default)]
struct Figures {
    accepted: u64,
    refused: u64,
    slowest: (Duration, usize),
    bytes: usize,
    told: BTreeSet<(&'static str, String)>,
}

/// So many executions, on a thread with a stack as programs give to theirs.
pub fn run(target: Target, runs: u64, seed: u64) -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.to_string();
        PANIC.with(|last| last.replace((place, message)));
    }));
    std::thread::spawn(watch);
    let all = std::thread::spawn(move || executions(&target, runs, seed));
    let Ok(figures) = all.join() else { return ExitCode::from(HANGS as u8) };
    if figures.told.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND as u8) }
}

/// Ends the process where an execution does not come back.
fn watch() {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let begun = BEGUN.load(Relaxed);
        if begun != seen {
            (seen, since) = (begun, Instant::now());
        } else if since.elapsed() > Duration::from_secs(HANG) {
            std::process::exit(HANGS);
        }
    }
}

fn executions(target: &Target, runs: u64, seed: u64) -> Figures {
    std::fs::create_dir_all(folder().join("found")).ok();
    let file = File::create(running(target)).ok();
    let inputs = Mutator::new(&folder().join("seeds").join(target.name));
    let mut figures = Figures::default();
    let start = Instant::now();
    for number in 0..runs {
        let input = inputs.input(seed, number);
        if let Some(file) = &file {
            let mut framed = (input.len() as u32).to_le_bytes().to_vec();
            framed.extend(&input);
            file.write_all_at(&framed, 0).ok();
        }
        BEGUN.store(number + 1, Relaxed);
        let run = judged(target, &input);
        figures.slowest = figures.slowest.max((run.time, input.len()));
        figures.bytes = figures.bytes.max(run.bytes);
        match run.end {
            End::Accepted => figures.accepted += 1,
            End::Refused => figures.refused += 1,
            End::Wrong(how, place, message) => {
                if figures.told.insert((how, place)) {
                    keep(target, how, &input, &message);
                }
                if figures.told.len() >= MOST_FOUND {
                    break;
                }
            }
        }
    }
    println!(
        "{:12} {} executions: {} accepted, {} refused, {} kinds of faults; slowest {:.1} ms, at most {:.2} MB; {:.0} s",
        target.name,
        figures.accepted + figures.refused,
        figures.accepted,
        figures.refused,
        figures.told.len(),
        figures.slowest.0.as_secs_f64() * 1e3,
        figures.bytes as f64 / 1e6,
        start.elapsed().as_secs_f64(),
    );
    figures
}
