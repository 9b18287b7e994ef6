//! A short clip through a (2+1)-D pair: a 3x3 window in each frame, then one over three frames,
//! which need less than half of the weights of a 3x3x3 window.
//!
//! `cargo run --release -p conv-tests --example clip`

use conv_ir::Activation::Relu;
use conv_jit::StepWeights;
use conv_tests::{Fill, Rng};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let (frames, side, between, out) = (16, 56, 8, 16);
    let pair = conv_jit::chain(3, [frames, side, side])
        .conv(between, [1, 3, 3])
        .padding([0, 1, 1])
        .activation(Relu)
        .conv(out, [3, 1, 1])
        .padding([1, 0, 0])
        .activation(Relu);

    // A bright square that moves to the right, in three colours.
    let mut clip = vec![0.0f32; 3 * frames * side * side];
    for (at, pixel) in clip.iter_mut().enumerate() {
        let (x, y, t) = (at % side, at / side % side, at / (side * side) % frames);
        if (20..36).contains(&y) && (2 * t..2 * t + 16).contains(&x) {
            *pixel = 1.0;
        }
    }
    let mut rng = Rng(5);
    let (spatial, temporal) = (
        rng.array::<f32>(Fill::Reals, between * 3 * 9),
        rng.array::<f32>(Fill::Reals, out * between * 3),
    );
    let weights: [StepWeights<f32>; 2] = [spatial.as_slice().into(), temporal.as_slice().into()];

    let mut output = vec![0.0; out * frames * side * side];
    conv_tests::fused_and_not(&pair.describe()?, &weights, &clip, &mut output)?;
    let dense = out * 3 * 27;
    println!(
        "{} weights; one dense 3x3x3 window to as many channels needs {dense}",
        spatial.len() + temporal.len()
    );
    Ok(())
}
