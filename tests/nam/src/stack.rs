//! What is measured, as text, for the build script too.

/// Channels of the stack.
pub const CHANNELS: usize = 8;

/// Taps and dilation of each layer.
pub fn layers() -> Vec<(usize, usize)> {
    let thrice = [1, 3, 7, 17, 41, 101, 239].map(|dilation| (6, dilation));
    [&thrice[..], &thrice, &thrice, &[(15, 1), (15, 13)]].concat()
}

/// The stack as a program.
pub fn stack() -> String {
    let mut text = format!("conv1d oc{CHANNELS} in T kernel 1");
    for (at, (taps, dilation)) in layers().into_iter().enumerate() {
        text += &format!(
            "; conv1d oc{CHANNELS} kernel {taps} dilation {dilation} padding causal + bias, \
             leaky_relu(0.01); conv1d oc{CHANNELS} kernel 1 + bias + residual from {}",
            2 * at + 1
        );
    }
    text + "; conv1d oc1 kernel 16 padding causal + bias"
}

/// Taps of the filters that are emitted too.
pub const FILTERS: [usize; 3] = [64, 512, 4096];

/// A filter of so many taps as a program.
pub fn filter(taps: usize) -> String {
    format!("conv1d in T kernel {taps} padding causal")
}
