//! `conv-fuzz TARGET|all [--runs N] [--seed S]`: targets in a plain loop, on stable Rust.
//!
//! Each target runs in a process of its own, which writes each input to a file before it runs: what
//! aborts, faults or hangs is known afterwards. Inputs are a pure function of the seed and their
//! number. What is found is written to `found/`, and the exit status says that there is something.
//! `conv-fuzz TARGET FILE..` runs such inputs again.

mod memory;
mod mutate;
mod run;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use conv_fuzz::{TARGETS, Target};

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn found(name: &str) -> PathBuf {
    folder().join("found").join(name)
}

/// What was asked for.
struct Asked {
    targets: Vec<Target>,
    runs: u64,
    seed: u64,
    is_child: bool,
    files: Vec<PathBuf>,
}

fn asked() -> Result<Asked, String> {
    let mut words = std::env::args().skip(1);
    let mut asked =
        Asked { targets: Vec::new(), runs: 100_000, seed: 1, is_child: false, files: Vec::new() };
    let mut all = false;
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().and_then(|n| n.replace('_', "").parse().ok());
            value.ok_or(format!("{word} needs a number"))
        };
        match word.as_str() {
            "--runs" => asked.runs = number()?,
            "--seed" => asked.seed = number()?,
            "--child" => asked.is_child = true,
            "all" => all = true,
            name => match TARGETS.iter().find(|target| target.name == name) {
                Some(target) => asked.targets.push(*target),
                None if Path::new(name).is_file() => asked.files.push(name.into()),
                None => return Err(format!("there is no target and no file {name}")),
            },
        }
    }
    if all {
        asked.targets = TARGETS.to_vec();
    }
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    match asked.targets.is_empty() {
        true => Err(format!("which target? all, or some of {}", names.join(" "))),
        false => Ok(asked),
    }
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    if !asked.files.is_empty() {
        return again(&asked);
    }
    if asked.is_child {
        return run::run(asked.targets[0], asked.runs, asked.seed);
    }
    let several = asked.targets.len() > 1;
    let mut sound = true;
    for target in &asked.targets {
        // So that all of them take about as long.
        let runs = if several { (asked.runs / target.weight).max(1) } else { asked.runs };
        sound &= watched(target, runs, asked.seed);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a target in a process of its own; whether nothing was found.
fn watched(target: &Target, runs: u64, seed: u64) -> bool {
    let (runs, seed) = (runs.to_string(), seed.to_string());
    let arguments = [target.name, "--child", "--runs", &runs, "--seed", &seed];
    let status = std::env::current_exe().and_then(|program| {
        // Weights of files are found where the token streams say.
        let data = folder().join("../conv-codegen");
        Command::new(program).args(arguments).env("CARGO_MANIFEST_DIR", data).status()
    });
    let running = run::running(target);
    let sound = match &status {
        Ok(status) if status.success() => true,
        // It has told.
        Ok(status) if status.code() == Some(run::FOUND) => false,
        ended => {
            let last = run::last(target).unwrap_or_default();
            let how = if ended.as_ref().is_ok_and(|s| s.code() == Some(run::HANGS)) {
                "hangs"
            } else {
                "dies"
            };
            run::keep(target, how, &last, &format!("{ended:?}"));
            false
        }
    };
    std::fs::remove_file(running).ok();
    sound
}

/// Runs inputs that were kept.
fn again(asked: &Asked) -> ExitCode {
    for file in &asked.files {
        let bytes = std::fs::read(file).unwrap_or_default();
        for target in &asked.targets {
            let start = std::time::Instant::now();
            let accepted = (target.run)(&bytes);
            let word = if accepted { "accepted" } else { "refused" };
            println!("{} {word} by {} in {:?}", file.display(), target.name, start.elapsed());
        }
    }
    ExitCode::SUCCESS
}
