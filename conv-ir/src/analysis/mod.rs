//! The arithmetic that people reason with: facts about convolutions and stacks of them that need no
//! schedule.
//!
//! | question | answer |
//! |---|---|
//! | what does one convolution cost and move? | [`facts`](fn@facts), [`multiply_adds_inside`] |
//! | which inputs does a range of outputs need? | [`Window::needed`], of a stack [`Stack::trace`] |
//! | which channels? | [`channels_needed`] |
//! | how far does a stack see? | [`receptive_field`], [`Stack::field`] |
//! | and the networks everybody knows? | [`NETWORKS`] |
//! | what does a row of them save? | [`savings`](fn@savings) |
//! | how much of the peak does memory allow? | [`Roofline`] |
//! | what is it as a matrix? | [`Matrix`] |
//!
//! [`Window::needed`] is the only place where halos are worked out. The [`NETWORKS`] are read from
//! text, and checked against a published table.
//!
//! Everything is exact, in integers and fractions; what does not fit is an error.

mod channels;
mod facts;
mod field;
mod matrix;
mod network;
pub(crate) mod ratio;
mod roofline;
mod savings;
mod stack;
mod window;

#[cfg(test)]
mod tests;

pub use channels::{channels_needed, channels_seen};
pub use facts::{Facts, facts, multiply_adds_inside};
pub use field::{ReceptiveField, receptive_field};
pub use matrix::{Matrix, Term};
pub use network::{NETWORKS, Network, PUBLISHED_AT, Placed, Point, Published, Seen, published};
pub use ratio::Ratio;
pub use roofline::{Roofline, operations_a_cycle};
pub use savings::{Saving, savings};
pub use stack::{Layer, Node, Stack};
pub use window::{Needed, Window, read};
