//! MobileNetV2 as one item of `conv!`: 224x224 in, 1000 classes out, 3.5 million weights from a
//! file.
//!
//! `python3 make.py` writes the file, `cargo run --release` builds and runs: the time of an image,
//! beside machine code that conv-jit makes of the same program and weights, and whether every bit
//! is the same.

use std::collections::HashMap;
use std::time::Instant;

use conv_jit::{Compiled, Options, StepWeights};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mobilenetv2.safetensors");

conv_macros::conv! {
    /// The whole network.
    fn mobilenetv2(input: [f32; 1, 3, 224, 224]) -> [f32; 1, 1000, 1, 1];
    stem: { weight: "mobilenetv2.safetensors#stem.weight", bias: "mobilenetv2.safetensors#stem.bias", stride: 2, padding: 1, activation: relu6 },
    s1b1_window: { weight: "mobilenetv2.safetensors#s1b1_window.weight", bias: "mobilenetv2.safetensors#s1b1_window.bias", groups: 32, padding: 1, activation: relu6 },
    s1b1_project: { weight: "mobilenetv2.safetensors#s1b1_project.weight", bias: "mobilenetv2.safetensors#s1b1_project.bias" },
    s2b1_expand: { weight: "mobilenetv2.safetensors#s2b1_expand.weight", bias: "mobilenetv2.safetensors#s2b1_expand.bias", activation: relu6 },
    s2b1_window: { weight: "mobilenetv2.safetensors#s2b1_window.weight", bias: "mobilenetv2.safetensors#s2b1_window.bias", groups: 96, padding: 1, stride: 2, activation: relu6 },
    s2b1_project: { weight: "mobilenetv2.safetensors#s2b1_project.weight", bias: "mobilenetv2.safetensors#s2b1_project.bias" },
    s2b2_expand: { weight: "mobilenetv2.safetensors#s2b2_expand.weight", bias: "mobilenetv2.safetensors#s2b2_expand.bias", activation: relu6 },
    s2b2_window: { weight: "mobilenetv2.safetensors#s2b2_window.weight", bias: "mobilenetv2.safetensors#s2b2_window.bias", groups: 144, padding: 1, activation: relu6 },
    s2b2_project: { weight: "mobilenetv2.safetensors#s2b2_project.weight", bias: "mobilenetv2.safetensors#s2b2_project.bias", residual: s2b1_project },
    s3b1_expand: { weight: "mobilenetv2.safetensors#s3b1_expand.weight", bias: "mobilenetv2.safetensors#s3b1_expand.bias", activation: relu6 },
    s3b1_window: { weight: "mobilenetv2.safetensors#s3b1_window.weight", bias: "mobilenetv2.safetensors#s3b1_window.bias", groups: 144, padding: 1, stride: 2, activation: relu6 },
    s3b1_project: { weight: "mobilenetv2.safetensors#s3b1_project.weight", bias: "mobilenetv2.safetensors#s3b1_project.bias" },
    s3b2_expand: { weight: "mobilenetv2.safetensors#s3b2_expand.weight", bias: "mobilenetv2.safetensors#s3b2_expand.bias", activation: relu6 },
    s3b2_window: { weight: "mobilenetv2.safetensors#s3b2_window.weight", bias: "mobilenetv2.safetensors#s3b2_window.bias", groups: 192, padding: 1, activation: relu6 },
    s3b2_project: { weight: "mobilenetv2.safetensors#s3b2_project.weight", bias: "mobilenetv2.safetensors#s3b2_project.bias", residual: s3b1_project },
    s3b3_expand: { weight: "mobilenetv2.safetensors#s3b3_expand.weight", bias: "mobilenetv2.safetensors#s3b3_expand.bias", activation: relu6 },
    s3b3_window: { weight: "mobilenetv2.safetensors#s3b3_window.weight", bias: "mobilenetv2.safetensors#s3b3_window.bias", groups: 192, padding: 1, activation: relu6 },
    s3b3_project: { weight: "mobilenetv2.safetensors#s3b3_project.weight", bias: "mobilenetv2.safetensors#s3b3_project.bias", residual: s3b2_project },
    s4b1_expand: { weight: "mobilenetv2.safetensors#s4b1_expand.weight", bias: "mobilenetv2.safetensors#s4b1_expand.bias", activation: relu6 },
    s4b1_window: { weight: "mobilenetv2.safetensors#s4b1_window.weight", bias: "mobilenetv2.safetensors#s4b1_window.bias", groups: 192, padding: 1, stride: 2, activation: relu6 },
    s4b1_project: { weight: "mobilenetv2.safetensors#s4b1_project.weight", bias: "mobilenetv2.safetensors#s4b1_project.bias" },
    s4b2_expand: { weight: "mobilenetv2.safetensors#s4b2_expand.weight", bias: "mobilenetv2.safetensors#s4b2_expand.bias", activation: relu6 },
    s4b2_window: { weight: "mobilenetv2.safetensors#s4b2_window.weight", bias: "mobilenetv2.safetensors#s4b2_window.bias", groups: 384, padding: 1, activation: relu6 },
    s4b2_project: { weight: "mobilenetv2.safetensors#s4b2_project.weight", bias: "mobilenetv2.safetensors#s4b2_project.bias", residual: s4b1_project },
    s4b3_expand: { weight: "mobilenetv2.safetensors#s4b3_expand.weight", bias: "mobilenetv2.safetensors#s4b3_expand.bias", activation: relu6 },
    s4b3_window: { weight: "mobilenetv2.safetensors#s4b3_window.weight", bias: "mobilenetv2.safetensors#s4b3_window.bias", groups: 384, padding: 1, activation: relu6 },
    s4b3_project: { weight: "mobilenetv2.safetensors#s4b3_project.weight", bias: "mobilenetv2.safetensors#s4b3_project.bias", residual: s4b2_project },
    s4b4_expand: { weight: "mobilenetv2.safetensors#s4b4_expand.weight", bias: "mobilenetv2.safetensors#s4b4_expand.bias", activation: relu6 },
    s4b4_window: { weight: "mobilenetv2.safetensors#s4b4_window.weight", bias: "mobilenetv2.safetensors#s4b4_window.bias", groups: 384, padding: 1, activation: relu6 },
    s4b4_project: { weight: "mobilenetv2.safetensors#s4b4_project.weight", bias: "mobilenetv2.safetensors#s4b4_project.bias", residual: s4b3_project },
    s5b1_expand: { weight: "mobilenetv2.safetensors#s5b1_expand.weight", bias: "mobilenetv2.safetensors#s5b1_expand.bias", activation: relu6 },
    s5b1_window: { weight: "mobilenetv2.safetensors#s5b1_window.weight", bias: "mobilenetv2.safetensors#s5b1_window.bias", groups: 384, padding: 1, activation: relu6 },
    s5b1_project: { weight: "mobilenetv2.safetensors#s5b1_project.weight", bias: "mobilenetv2.safetensors#s5b1_project.bias" },
    s5b2_expand: { weight: "mobilenetv2.safetensors#s5b2_expand.weight", bias: "mobilenetv2.safetensors#s5b2_expand.bias", activation: relu6 },
    s5b2_window: { weight: "mobilenetv2.safetensors#s5b2_window.weight", bias: "mobilenetv2.safetensors#s5b2_window.bias", groups: 576, padding: 1, activation: relu6 },
    s5b2_project: { weight: "mobilenetv2.safetensors#s5b2_project.weight", bias: "mobilenetv2.safetensors#s5b2_project.bias", residual: s5b1_project },
    s5b3_expand: { weight: "mobilenetv2.safetensors#s5b3_expand.weight", bias: "mobilenetv2.safetensors#s5b3_expand.bias", activation: relu6 },
    s5b3_window: { weight: "mobilenetv2.safetensors#s5b3_window.weight", bias: "mobilenetv2.safetensors#s5b3_window.bias", groups: 576, padding: 1, activation: relu6 },
    s5b3_project: { weight: "mobilenetv2.safetensors#s5b3_project.weight", bias: "mobilenetv2.safetensors#s5b3_project.bias", residual: s5b2_project },
    s6b1_expand: { weight: "mobilenetv2.safetensors#s6b1_expand.weight", bias: "mobilenetv2.safetensors#s6b1_expand.bias", activation: relu6 },
    s6b1_window: { weight: "mobilenetv2.safetensors#s6b1_window.weight", bias: "mobilenetv2.safetensors#s6b1_window.bias", groups: 576, padding: 1, stride: 2, activation: relu6 },
    s6b1_project: { weight: "mobilenetv2.safetensors#s6b1_project.weight", bias: "mobilenetv2.safetensors#s6b1_project.bias" },
    s6b2_expand: { weight: "mobilenetv2.safetensors#s6b2_expand.weight", bias: "mobilenetv2.safetensors#s6b2_expand.bias", activation: relu6 },
    s6b2_window: { weight: "mobilenetv2.safetensors#s6b2_window.weight", bias: "mobilenetv2.safetensors#s6b2_window.bias", groups: 960, padding: 1, activation: relu6 },
    s6b2_project: { weight: "mobilenetv2.safetensors#s6b2_project.weight", bias: "mobilenetv2.safetensors#s6b2_project.bias", residual: s6b1_project },
    s6b3_expand: { weight: "mobilenetv2.safetensors#s6b3_expand.weight", bias: "mobilenetv2.safetensors#s6b3_expand.bias", activation: relu6 },
    s6b3_window: { weight: "mobilenetv2.safetensors#s6b3_window.weight", bias: "mobilenetv2.safetensors#s6b3_window.bias", groups: 960, padding: 1, activation: relu6 },
    s6b3_project: { weight: "mobilenetv2.safetensors#s6b3_project.weight", bias: "mobilenetv2.safetensors#s6b3_project.bias", residual: s6b2_project },
    s7b1_expand: { weight: "mobilenetv2.safetensors#s7b1_expand.weight", bias: "mobilenetv2.safetensors#s7b1_expand.bias", activation: relu6 },
    s7b1_window: { weight: "mobilenetv2.safetensors#s7b1_window.weight", bias: "mobilenetv2.safetensors#s7b1_window.bias", groups: 960, padding: 1, activation: relu6 },
    s7b1_project: { weight: "mobilenetv2.safetensors#s7b1_project.weight", bias: "mobilenetv2.safetensors#s7b1_project.bias" },
    last: { weight: "mobilenetv2.safetensors#last.weight", bias: "mobilenetv2.safetensors#last.bias", activation: relu6 },
    mean: { reduction: average, kernel: global },
    classes: { weight: "mobilenetv2.safetensors#classes.weight", bias: "mobilenetv2.safetensors#classes.bias" }
}

/// The same as text, for conv-jit.
const NET: &str = "\
    stem: conv2d ic3 oc32 in 224 kernel 3 stride 2 pad 1 + bias, relu6
    s1b1_window: conv2d g32 oc32 kernel 3 pad 1 + bias, relu6
    s1b1_project: conv2d oc16 kernel 1 + bias
    s2b1_expand: conv2d oc96 kernel 1 + bias, relu6
    s2b1_window: conv2d g96 oc96 kernel 3 stride 2 pad 1 + bias, relu6
    s2b1_project: conv2d oc24 kernel 1 + bias
    s2b2_expand: conv2d oc144 kernel 1 + bias, relu6
    s2b2_window: conv2d g144 oc144 kernel 3 pad 1 + bias, relu6
    s2b2_project: conv2d oc24 kernel 1 + bias + residual from 6
    s3b1_expand: conv2d oc144 kernel 1 + bias, relu6
    s3b1_window: conv2d g144 oc144 kernel 3 stride 2 pad 1 + bias, relu6
    s3b1_project: conv2d oc32 kernel 1 + bias
    s3b2_expand: conv2d oc192 kernel 1 + bias, relu6
    s3b2_window: conv2d g192 oc192 kernel 3 pad 1 + bias, relu6
    s3b2_project: conv2d oc32 kernel 1 + bias + residual from 12
    s3b3_expand: conv2d oc192 kernel 1 + bias, relu6
    s3b3_window: conv2d g192 oc192 kernel 3 pad 1 + bias, relu6
    s3b3_project: conv2d oc32 kernel 1 + bias + residual from 15
    s4b1_expand: conv2d oc192 kernel 1 + bias, relu6
    s4b1_window: conv2d g192 oc192 kernel 3 stride 2 pad 1 + bias, relu6
    s4b1_project: conv2d oc64 kernel 1 + bias
    s4b2_expand: conv2d oc384 kernel 1 + bias, relu6
    s4b2_window: conv2d g384 oc384 kernel 3 pad 1 + bias, relu6
    s4b2_project: conv2d oc64 kernel 1 + bias + residual from 21
    s4b3_expand: conv2d oc384 kernel 1 + bias, relu6
    s4b3_window: conv2d g384 oc384 kernel 3 pad 1 + bias, relu6
    s4b3_project: conv2d oc64 kernel 1 + bias + residual from 24
    s4b4_expand: conv2d oc384 kernel 1 + bias, relu6
    s4b4_window: conv2d g384 oc384 kernel 3 pad 1 + bias, relu6
    s4b4_project: conv2d oc64 kernel 1 + bias + residual from 27
    s5b1_expand: conv2d oc384 kernel 1 + bias, relu6
    s5b1_window: conv2d g384 oc384 kernel 3 pad 1 + bias, relu6
    s5b1_project: conv2d oc96 kernel 1 + bias
    s5b2_expand: conv2d oc576 kernel 1 + bias, relu6
    s5b2_window: conv2d g576 oc576 kernel 3 pad 1 + bias, relu6
    s5b2_project: conv2d oc96 kernel 1 + bias + residual from 33
    s5b3_expand: conv2d oc576 kernel 1 + bias, relu6
    s5b3_window: conv2d g576 oc576 kernel 3 pad 1 + bias, relu6
    s5b3_project: conv2d oc96 kernel 1 + bias + residual from 36
    s6b1_expand: conv2d oc576 kernel 1 + bias, relu6
    s6b1_window: conv2d g576 oc576 kernel 3 stride 2 pad 1 + bias, relu6
    s6b1_project: conv2d oc160 kernel 1 + bias
    s6b2_expand: conv2d oc960 kernel 1 + bias, relu6
    s6b2_window: conv2d g960 oc960 kernel 3 pad 1 + bias, relu6
    s6b2_project: conv2d oc160 kernel 1 + bias + residual from 42
    s6b3_expand: conv2d oc960 kernel 1 + bias, relu6
    s6b3_window: conv2d g960 oc960 kernel 3 pad 1 + bias, relu6
    s6b3_project: conv2d oc160 kernel 1 + bias + residual from 45
    s7b1_expand: conv2d oc960 kernel 1 + bias, relu6
    s7b1_window: conv2d g960 oc960 kernel 3 pad 1 + bias, relu6
    s7b1_project: conv2d oc320 kernel 1 + bias
    last: conv2d oc1280 kernel 1 + bias, relu6
    mean: avgpool2d kernel 7
    classes: conv2d oc1000 kernel 1 + bias";

/// Weights and biases of the network's steps, by name.
fn arrays() -> HashMap<String, Vec<f32>> {
    let names = NET.lines().filter_map(|line| line.trim().split_once(": "));
    let names = names.filter(|(name, _)| *name != "mean");
    let arrays = names.flat_map(|(name, _)| [format!("{name}.weight"), format!("{name}.bias")]);
    let read = |name: &String| {
        let place = format!("{FILE}#{name}");
        let array = conv_files::read_place(std::path::Path::new(""), &place, usize::MAX);
        array.unwrap_or_else(|e| panic!("{e}")).values()
    };
    arrays.map(|name| (name.clone(), read(&name))).collect()
}

/// The fastest of some runs, in milliseconds.
fn fastest(mut run: impl FnMut()) -> f64 {
    let times = (0..30).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), conv_jit::Error> {
    let image: Vec<f32> = (0..3 * 224 * 224).map(|at| (at % 251) as f32 / 125.0 - 1.0).collect();
    let image: &[f32; 3 * 224 * 224] = image[..].try_into().expect("its length");
    let mut emitted = [0.0; 1000];
    // More than the emitted code keeps on a stack.
    let mut scratch = vec![0.0; MOBILENETV2_SCRATCH];
    let scratch: &mut [f32; MOBILENETV2_SCRATCH] =
        (&mut scratch[..]).try_into().expect("its length");
    let emitted_ms = fastest(|| mobilenetv2(image, &mut emitted, scratch));

    let lines: Vec<(&str, &str)> =
        NET.lines().filter_map(|line| line.trim().split_once(": ")).collect();
    let text = lines.iter().map(|(_, step)| *step).collect::<Vec<_>>().join("; ");
    let program: conv_ir::Program = text.parse()?;
    let arrays = arrays();
    let array = |name: &str, what: &str| arrays.get(&format!("{name}.{what}"));
    let steps = lines.iter().map(|(name, _)| StepWeights {
        weight: array(name, "weight").map_or(&[][..], |weight| weight),
        bias: array(name, "bias").map(|bias| &bias[..]),
    });
    let packed =
        Compiled::new(program, Options::default())?.pack_steps(&steps.collect::<Vec<_>>())?;
    let mut compiled = [0.0; 1000];
    let mut result = Ok(());
    let compiled_ms = fastest(|| result = packed.run(image, &mut compiled));
    result?;

    let differ = emitted.iter().zip(&compiled).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    println!("conv!     {emitted_ms:.2} ms an image");
    println!("conv-jit  {compiled_ms:.2} ms an image, on the threads that it takes");
    println!("outputs of other bits: {differ} of 1000");
    Ok(())
}
