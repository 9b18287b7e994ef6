//! Of streams.

use super::*;

#[test]
fn a_stream_tells_its_state() {
    let stack =
        "conv1d oc8 in T kernel 3 dilation 4 padding causal, tanh; conv1d oc1 kernel 3 pad 1";
    let told = ok(&["explain", stack, "--stream", "w"]);
    for part in [
        "along w, blocks of any length, put together of 64, 8, 1",
        "positions still read: 8 of the input, 2 of step 1",
        "the first output is known with input 2",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(ok(&["explain", "conv2d in Hx9 kernel 3", "--stream", "h"]).contains("delay"));
}

#[test]
fn a_stream_tells_how_a_long_window_is_computed() {
    let told = |text: &str, accuracy: &str| {
        ok(&["explain", text, "--stream", "w", "--accuracy", accuracy])
    };
    let room = "conv1d in T kernel 4096 padding causal";
    let parts = "64 taps by direct sums, 63 parts of 64 taps by FFT: no output is later";
    assert!(told(room, "fast").contains(parts), "{}", told(room, "fast"));
    assert!(!told(room, "exact").contains("by direct sums"));
    let direct = "direct sums of all taps: the error may be";
    assert!(told(room, "within(1e-7)").contains(direct), "{}", told(room, "within(1e-7)"));
    let strided = told("conv1d in T kernel 100 stride 2", "fast");
    assert!(strided.contains("direct sums of all taps: it has a stride"), "{strided}");
    let two = told("conv1d in T kernel 3 pad 1; conv1d kernel 4096 padding causal", "fast");
    assert!(two.contains(&format!("step 2: {parts}")), "{two}");
}

#[test]
fn a_stream_is_emitted_as_a_type() {
    let fir = "conv1d in T kernel 64 padding causal";
    let text = ok(&["emit", fir, "--as", "rust-type", "--name", "Fir", "--stream", "w"]);
    for part in ["pub struct Fir {", "pub const STATE: usize =", "pub fn push("] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
