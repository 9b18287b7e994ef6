//! Every capability at every door: one step or several, by the JIT, `conv!` and `convc`.
//!
//! Each cell of the table runs and compares bits with the reference, or looks at what was made; or
//! it says why a user does without. The table is printed with `--nocapture`.

mod capability;
mod common;

use std::panic::catch_unwind;

use capability::{convc, jit, made};

/// What a door does about a capability.
enum Cell {
    /// It has it; this shows it.
    Has(fn()),
    /// It has not, for a reason that a user accepts.
    Without(&'static str),
}

use Cell::{Has, Without};

/// A capability: of one step, then of several, by the JIT, `conv!` and `convc`.
type Row = (&'static str, [[Cell; 3]; 2]);

const CACHE: &str = "rustc compiles an item once: cargo is its cache";
const ONCE: &str = "a command compiles once, and ends";
const EVERYWHERE: &str =
    "an item runs on every CPU and picks its version there; emit --target makes one for a machine";
const NO_THREADS: &str =
    "an item starts no thread, as core has none: call it from threads of yours";
const SLICES: &str = "an item depends on nothing: `view.as_slice()` is its argument";
const FILES: &str = "arrays are .npy files, whose shapes it checks";
const APART: &str = "write steps as items of their own, and they stay apart";
const ALLOCATES: &str = "a process has its own memory";
const NO_SCRATCH: &str =
    "a tensor between steps has no known size, and an item allocates nothing: write an item a step";
const BENCHED: &str =
    "bench times both ways; run steps by commands of their own to keep them apart";

fn table() -> Vec<Row> {
    vec![
        (
            "f32",
            [
                [Has(|| jit::plain::<f32>(1)), Has(made::one), Has(|| convc::plain::<f32>(1))],
                [Has(|| jit::plain::<f32>(2)), Has(made::two), Has(|| convc::plain::<f32>(2))],
            ],
        ),
        (
            "f64",
            [
                [Has(|| jit::plain::<f64>(1)), Has(made::one_f64), Has(|| convc::plain::<f64>(1))],
                [Has(|| jit::plain::<f64>(2)), Has(made::two_f64), Has(|| convc::plain::<f64>(2))],
            ],
        ),
        (
            "caller's scratch",
            [
                [Has(|| jit::scratch(1)), Has(made::panels_scratch), Without(ALLOCATES)],
                [Has(|| jit::scratch(2)), Has(made::scratch), Without(ALLOCATES)],
            ],
        ),
        (
            "cache",
            [
                [Has(|| jit::cache(1)), Without(CACHE), Without(ONCE)],
                [Has(|| jit::cache(2)), Without(CACHE), Without(ONCE)],
            ],
        ),
        (
            "accuracy",
            [
                [Has(|| jit::accuracy(1)), Has(made::one_fast), Has(|| convc::accuracy(1))],
                [Has(|| jit::accuracy(2)), Has(made::two_fast), Has(|| convc::accuracy(2))],
            ],
        ),
        (
            "schedule or plan",
            [
                [Has(jit::schedule), Has(made::scheduled), Has(convc::schedule)],
                [Has(jit::plan), Without(APART), Without(BENCHED)],
            ],
        ),
        (
            "target",
            [
                [Has(|| jit::target(1)), Without(EVERYWHERE), Has(|| convc::target(1))],
                [Has(|| jit::target(2)), Without(EVERYWHERE), Has(|| convc::target(2))],
            ],
        ),
        (
            "threads, by the work",
            [
                [Has(|| jit::threads(1)), Without(NO_THREADS), Has(|| convc::threads(1))],
                [Has(|| jit::threads(2)), Without(NO_THREADS), Has(|| convc::threads(2))],
            ],
        ),
        (
            "known weights",
            [
                [Has(|| jit::known(1)), Has(made::one_known), Has(|| convc::known(1))],
                [Has(|| jit::known(2)), Has(made::two_known), Has(|| convc::known(2))],
            ],
        ),
        (
            "flip",
            [
                [Has(|| jit::flip(1)), Has(made::one_flip), Has(|| convc::flip(1))],
                [Has(|| jit::flip(2)), Has(made::two_flip), Has(|| convc::flip(2))],
            ],
        ),
        (
            "output padding",
            [
                [Has(|| jit::out_pad(1)), Has(made::one_out_pad), Has(|| convc::out_pad(1))],
                [Has(|| jit::out_pad(2)), Has(made::two_out_pad), Has(|| convc::out_pad(2))],
            ],
        ),
        (
            "free batch",
            [
                [Has(|| jit::batch(1)), Has(made::one_batch), Has(|| convc::batch(1))],
                [Has(|| jit::batch(2)), Without(NO_SCRATCH), Has(|| convc::batch(2))],
            ],
        ),
        (
            "free extents",
            [
                [Has(|| jit::extents(1)), Has(made::one_extents), Has(|| convc::extents(1))],
                [Has(|| jit::extents(2)), Without(NO_SCRATCH), Has(|| convc::extents(2))],
            ],
        ),
        (
            "ndarray views",
            [
                [Has(|| jit::views(1)), Without(SLICES), Without(FILES)],
                [Has(|| jit::views(2)), Without(SLICES), Without(FILES)],
            ],
        ),
        (
            "explain",
            [
                [Has(|| jit::explain(1)), Has(|| made::explain(1)), Has(|| convc::explain(1))],
                [Has(|| jit::explain(2)), Has(|| made::explain(2)), Has(|| convc::explain(2))],
            ],
        ),
    ]
}

#[test]
fn every_door_has_every_capability() {
    let (mut text, mut broken, mut reasons) = (String::new(), Vec::new(), Vec::new());
    let head = ["JIT", "conv!", "convc"];
    for (steps, several) in ["one step", "several steps"].into_iter().enumerate() {
        text += &format!("\n{several:22}{:8}{:8}{}\n", head[0], head[1], head[2]);
        for (capability, cells) in table() {
            text += &format!("{capability:22}");
            for (door, cell) in head.iter().zip(&cells[steps]) {
                let mark = match cell {
                    Has(shows) => match catch_unwind(*shows) {
                        Ok(()) => "yes".to_owned(),
                        Err(_) => {
                            broken.push(format!("{capability}, {several}, {door}"));
                            "BROKEN".to_owned()
                        }
                    },
                    Without(reason) => {
                        assert!(reason.split(' ').count() > 3, "{capability}: no reason");
                        if !reasons.contains(reason) {
                            reasons.push(*reason);
                        }
                        let at = reasons.iter().position(|is| is == reason).unwrap_or(0);
                        format!("no ({})", at + 1)
                    }
                };
                text += &format!("{mark:8}");
            }
            text = format!("{}\n", text.trim_end());
        }
    }
    for (at, reason) in reasons.iter().enumerate() {
        text += &format!("{}({}) {reason}", if at == 0 { "\n" } else { "" }, at + 1);
        text.push('\n');
    }
    println!("{text}");
    assert!(broken.is_empty(), "{broken:?}\n{text}");
}

/// What an error advises works when it is followed.
#[test]
fn advice_of_errors_works() {
    jit::advice();
    made::advice();
}
