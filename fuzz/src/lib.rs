//! What must hold whatever a door of the crates is given. A target takes any bytes and says whether
//! they were accepted; it panics where an invariant does not hold:
//!
//! - nothing panics, aborts or hangs (what runs a target sees to the last two, and to memory);
//! - an error's text is at most [`LONGEST`] bytes;
//! - what is read prints as a text that is read as the same;
//! - what is computed has the reference's bits, where it is small enough to know.

mod calls;
mod files;
mod texts;
#[path = "../../conv-codegen/tests/tokens/mod.rs"]
mod token_streams;
#[path = "../../conv-cli/src/filter/window.rs"]
pub mod windows;

pub use calls::calls;
pub use files::{npy, safetensors};
pub use texts::{benchdnn, conv, network, plan, program, schedule, window, words};

/// The most bytes of an error's text.
pub const LONGEST: usize = 5000;

/// A door.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of the folder of its seeds.
    pub name: &'static str,
    /// Takes any bytes; whether they were accepted.
    pub run: fn(&[u8]) -> bool,
    /// It takes about as long as so many of the quickest.
    pub weight: u64,
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    Target { name: "words", run: words, weight: 1 },
    Target { name: "conv", run: conv, weight: 1 },
    Target { name: "schedule", run: schedule, weight: 4 },
    Target { name: "program", run: program, weight: 2 },
    Target { name: "plan", run: plan, weight: 100 },
    Target { name: "network", run: network, weight: 10 },
    Target { name: "benchdnn", run: benchdnn, weight: 1 },
    Target { name: "window", run: window, weight: 2 },
    Target { name: "npy", run: npy, weight: 1 },
    Target { name: "safetensors", run: safetensors, weight: 1 },
    Target { name: "tokens", run: tokens, weight: 100 },
    Target { name: "calls", run: calls, weight: 200 },
];

/// Tokens to `conv!`.
pub fn tokens(bytes: &[u8]) -> bool {
    let expansion = token_streams::check(token_streams::stream(bytes));
    let refused = |item: &syn::Item| match item {
        syn::Item::Macro(item) => item.mac.path.segments.iter().any(|s| s.ident == "compile_error"),
        _ => false,
    };
    !expansion.items.iter().any(refused)
}

/// An error's text is short.
fn refused(error: impl std::fmt::Display) -> bool {
    let text = error.to_string();
    assert!(text.len() <= LONGEST, "an error of {} bytes: {}", text.len(), conv_ir::cut(&text));
    false
}

/// The text of what was read is read as the same.
fn accepted<T>(read: &T) -> bool
where
    T: std::str::FromStr + std::fmt::Display + std::fmt::Debug + PartialEq,
    T::Err: std::fmt::Display,
{
    let text = read.to_string();
    match text.parse::<T>() {
        Ok(again) => assert!(again == *read, "{text}\nis read as\n{again:?}\nand was\n{read:?}"),
        Err(error) => panic!("{text}\nis printed, and cannot be read: {error}"),
    }
    true
}
