//! What is accepted, without a warning, where neither `std` nor its prelude is in scope; and
//! without `std` it is the same number.

#![no_std]
#![deny(warnings, missing_docs)]

extern crate std;

conv_macros::conv! {
    /// A function.
    pub fn blur(input: [f32; 1, 1, 4, 4], weight: [f32; 1, 1, 3, 3], bias: [f32; 1]) -> [f32; 1, 1, 4, 4];
    stride: 1, padding: [(1, 1), 1], activation: relu

    /// The same from `core` alone.
    pub fn bare(input: [f32; 1, 1, 4, 4], weight: [f32; 1, 1, 3, 3], bias: [f32; 1]) -> [f32; 1, 1, 4, 4];
    padding: 1, activation: relu, std: false

    /// A type.
    pub struct Blur(input: [f32; 1, 1, 4, 4], weight: [f32; 1, 1, 3, 3], bias: [f32; 1]) -> [f32; 1, 1, 4, 4];
    padding: 1, activation: relu

    /// The same from `core` alone.
    pub struct Bare(input: [f32; 1, 1, 4, 4], weight: [f32; 1, 1, 3, 3], bias: [f32; 1]) -> [f32; 1, 1, 4, 4];
    padding: 1, activation: relu, std: false

    /// Known taps, any size.
    fn edges(input: [f32; 1, 1, H, W]) -> [f32; 1, 1, H, W];
    padding: 1, std: false, weight: [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
}

static BARE: Bare = Bare::new(&[0.1; 9], &[-0.25]);

fn main() {
    let input = core::array::from_fn(|i| i as f32 - 5.0);
    let mut outputs = [[0.0; 16]; 4];
    let [first, second, third, fourth] = &mut outputs;
    blur(&input, &[0.1; 9], &[-0.25], first);
    bare(&input, &[0.1; 9], &[-0.25], second);
    Blur::new(&[0.1; 9], &[-0.25]).run(&input, third);
    BARE.run(&input, fourth);
    assert!(outputs.iter().all(|output| output.map(f32::to_bits) == outputs[0].map(f32::to_bits)));
    assert!(outputs[0][0] == 0.0 && outputs[0][10] > 0.0);
    let mut output = [0.0; 16];
    edges(4, 4, &input, &mut output);
    assert_eq!(output[5], -8.0);
}
