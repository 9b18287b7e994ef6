//! What the tests share.
//!
//! ```text
//! data      arrays that sum exactly, or only in the contract's order; a case is its text
//! judge     after every pass: invariants hold, the interpreter gives the reference's bits
//! routes    the same case on every route
//! emitted   many convolutions as one Rust program, compiled once
//! random    convolutions and schedules, chains and plans (random_chains) from small numbers, so
//!           that proptest can shrink them
//! drawn     a random convolution and a random schedule, whose text is a case file
//! illegal   schedules and plans with words changed at random
//! chains    random chains under random plans, on every route; what the examples print of one
//! case      case files
//! pages     the README and the guide, as doctests
//! shapes    benchdnn's core, as text
//! tiled     convolutions in tiles, in plain loops
//! ```

pub mod case;
pub mod chains;
pub mod data;
pub mod drawn;
pub mod emitted;
pub mod illegal;
pub mod judge;
#[cfg(doctest)]
mod pages;
pub mod random;
pub mod random_chains;
pub mod random_graphs;
pub mod routes;
pub mod shapes;
pub mod tiled;
pub mod wav;

pub use chains::fused_and_not;
pub use data::{Data, Fill, Rng, compare, same};
pub use judge::judge;

/// Says how many cases ran, past the test harness, which swallows what passing tests print.
pub fn say(how_many: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // Nothing is lost where there is no stderr.
    let _ = writeln!(std::io::stderr(), "counted: {how_many}");
}
