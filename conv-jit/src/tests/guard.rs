//! Machine code touches nothing outside a buffer: the caller's arrays and the library's own lie
//! against pages that nobody may touch ([`memory::guard`](crate::memory::guard)), once with the
//! first byte and once with the last, and the slack that a nest asks for is all that lies between.
//!
//! ```text
//! case     what runs, as one line of text: a convolution under a schedule, or a chain under a plan
//! run      between guards, by one to three threads, against the reference's bits
//! named    the core, widths around vectors' lengths, and kept.txt: what was found once
//! drawn    random ones, each a pure function of seed and number
//! ```
//!
//! A fault ends the process. So cases run in a child, which says each one before it runs; where the
//! child dies, the parent tells the last one, and goes on behind it.
//!
//! `GUARD_RUNS` sets how many runs of drawn cases there are, `GUARD_SEED` which, `GUARD_TARGET` for
//! which target alone. A long campaign:
//!
//! ```sh
//! GUARD_RUNS=1000000 GUARD_SEED=2 \
//!     cargo test --release -p conv-jit --lib drawn_cases -- --nocapture
//! ```
//!
//! With `GUARD_HEAP` all buffers lie on the heap, whose bounds valgrind's memcheck knows (it knows
//! no AVX-512, and hides it):
//!
//! ```sh
//! GUARD_HEAP=1 GUARD_RUNS=2000 valgrind target/debug/deps/conv_jit-.. \
//!     tests::guard::drawn_child --exact --ignored --nocapture
//! ```

mod case;
mod drawn;
mod named;
mod run;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use case::Case;
use run::Reference;

use crate::targets_here;

/// A line of the child's, by its first word: a case starts; it ran so often on a target; it is
/// refused there; the last case that there was.
const CASE: &str = "case";
const RAN: &str = "ran";
const REFUSED: &str = "refused";
const NEXT: &str = "next";

/// Past the test harness, whose buffer dies with the process.
fn say(what: std::fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

/// Runs a case, and says how it went. How many runs that were.
fn told(number: u64, case: &Case, last: &mut Reference) -> u64 {
    let target = case.target.name;
    let ran = run::run(case, last, &|of| say(format_args!("{CASE} {number} {of} {case}")));
    match ran {
        Some(runs) => say(format_args!("{RAN} {target} {runs}")),
        None => say(format_args!("{REFUSED} {target} 1")),
    }
    ran.unwrap_or(0)
}

/// What children said.
#[derive(Default)]
struct Report {
    ran: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    /// The number behind the last case.
    next: u64,
    /// Cases that killed a child, with its last words.
    failures: Vec<String>,
}

impl Report {
    fn runs(&self) -> u64 {
        self.ran.values().sum()
    }

    /// Runs a child test to its end or its death.
    fn child(&mut self, test: &str, environment: &[(&str, u64)]) {
        let name = format!("tests::guard::{test}");
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([&name, "--exact", "--ignored", "--nocapture"]).env("RUST_BACKTRACE", "0");
        child.envs(environment.iter().map(|(name, value)| (name, value.to_string())));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut last = Vec::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            self.hear(line.unwrap(), &mut last);
        }
        let status = child.wait().unwrap();
        if !status.success() {
            self.failures.push(format!("{status}: {}", last.join("\n")));
        }
    }

    fn hear(&mut self, line: String, last: &mut Vec<String>) {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let counted = |of: &mut BTreeMap<String, u64>| {
            *of.entry(words[1].to_owned()).or_default() += words[2].parse::<u64>().unwrap();
        };
        match words[0] {
            RAN => counted(&mut self.ran),
            REFUSED => counted(&mut self.refused),
            NEXT => self.next = words[1].parse().unwrap(),
            CASE => {
                self.next = words[1].parse::<u64>().unwrap() + 1;
                *last = vec![line];
            }
            // The words of a panic.
            _ => last.push(line),
        }
    }

    /// Fails where a child died; says how much ran.
    fn judge(&self, what: &str) {
        say(format_args!(
            "counted: {} runs of {what} between guards {:?}, cases refused {:?}",
            self.runs(),
            self.ran,
            self.refused
        ));
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n\n"));
        assert!(self.runs() > 0, "no child ran");
    }
}

#[test]
#[ignore = "run by `named_cases_touch_nothing_outside`, in a process of its own"]
fn named_child() {
    let mut last = Reference::default();
    for (number, case) in named::cases().enumerate() {
        told(number as u64, &case, &mut last);
    }
}

#[test]
fn named_cases_touch_nothing_outside() {
    let mut report = Report::default();
    report.child("named_child", &[]);
    report.judge("named cases");
    for target in targets_here() {
        assert!(report.ran[target.name] > 500, "too few runs for {target}");
    }
}

#[test]
#[ignore = "run by `drawn_cases_touch_nothing_outside`, in a process of its own"]
fn drawn_child() {
    let (seed, left) = (from_environment("GUARD_SEED", 2026), from_environment("GUARD_RUNS", 0));
    let (mut ran, mut last) = (0, Reference::default());
    for number in from_environment("GUARD_NEXT", 0).. {
        if ran >= left {
            return;
        }
        say(format_args!("{NEXT} {}", number + 1));
        for case in drawn::cases(seed, number) {
            ran += told(number, &case, &mut last);
        }
    }
}

/// So many deaths are news enough.
const MOST_DEATHS: usize = 40;

#[test]
fn drawn_cases_touch_nothing_outside() {
    let wanted = from_environment("GUARD_RUNS", 4_000);
    let mut report = Report::default();
    while report.runs() < wanted && report.failures.len() < MOST_DEATHS {
        let (left, next) = (wanted - report.runs(), report.next);
        report.child("drawn_child", &[("GUARD_RUNS", left), ("GUARD_NEXT", next)]);
    }
    report.judge("drawn cases");
    let refused: u64 = report.refused.values().sum();
    assert!(report.runs() > 4 * refused, "too many cases are refused to prove much");
}
