//! A block of MobileNetV2 as one chain: 1x1 to six times the channels, depthwise 3x3, 1x1 back, and
//! the input added.
//!
//! `cargo run --release -p conv-tests --example inverted_residual`

use conv_ir::Activation::Relu6;
use conv_jit::StepWeights;
use conv_tests::{Fill, Rng};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let (channels, wide, side) = (24, 144, 56);
    let block = conv_jit::chain(channels, [side, side])
        .pointwise(wide)
        .bias(true)
        .activation(Relu6)
        .depthwise(3)
        .padding(1)
        .bias(true)
        .activation(Relu6)
        .pointwise(channels)
        .bias(true)
        .residual(0);

    let mut rng = Rng(1);
    let mut random = |len: usize| rng.array::<f32>(Fill::Reals, len);
    let weights = [random(channels * wide), random(wide * 9), random(wide * channels)];
    let biases = [random(wide), random(wide), random(channels)];
    let input = random(channels * side * side);
    let steps: Vec<StepWeights<f32>> = weights
        .iter()
        .zip(&biases)
        .map(|(weight, bias)| (weight.as_slice(), bias.as_slice()).into())
        .collect();

    let mut output = vec![0.0; channels * side * side];
    conv_tests::fused_and_not(&block.describe()?, &steps, &input, &mut output)?;
    println!("output[0] = {}", output[0]);
    Ok(())
}
