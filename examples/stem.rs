//! The first layer of a ResNet, compiled by rustc with the rest of the program: no run-time
//! dependency, no allocation, bits as the JIT's.
//!
//! `cargo run --release -p conv-tests --example stem`

use std::error::Error;

conv_macros::conv! {
    /// 7x7, stride 2, on a small picture.
    fn stem(input: [f32; 1, 3, 32, 32], weight: [f32; 16, 3, 7, 7], bias: [f32; 16]) -> [f32; 1, 16, 16, 16];
    stride: 2, padding: 3, activation: relu
}

fn main() -> Result<(), Box<dyn Error>> {
    let input: [f32; 3 * 32 * 32] = std::array::from_fn(|i| (i as f32 * 0.37).sin());
    let weight: [f32; 16 * 3 * 7 * 7] = std::array::from_fn(|i| (i as f32 * 0.73).cos() / 147.0);
    let bias: [f32; 16] = std::array::from_fn(|i| i as f32 / 16.0 - 0.5);
    let mut here = [0.0; 16 * 16 * 16];
    stem(&input, &weight, &bias, &mut here);

    let jit = conv_jit::conv2d(3, 16, 7).input([32, 32]).stride(2).padding(3).bias(true);
    let jit = jit.activation(conv_ir::Activation::Relu).compile()?.pack(&weight, Some(&bias))?;
    let mut there = vec![0.0; here.len()];
    jit.run(&input, &mut there)?;

    println!("output[3900..3904] = {:?}", &here[3900..3904]);
    println!("rustc and Cranelift give the same {} numbers: {}", here.len(), here[..] == there[..]);
    Ok(())
}
