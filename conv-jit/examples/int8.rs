//! How fast are layers of bytes? `u8 x i8 -> u8`, or `i8 x i8 -> i8`, with bias, scales of each
//! channel and ONNX's rounding, the layers of a table, on one thread; a JSON line each.
//!
//! ```sh
//! cargo run --release -p conv-jit --example int8 -- nhwc u8
//! ```

use std::time::Instant;

use conv_jit::requantise::Rounding;
use conv_jit::{Array, Compiled, Conv, Options, Packed, StepArrays, Stored};

type Answer = Result<(), Box<dyn std::error::Error>>;

/// Shapes of ResNet-50 and MobileNetV2: channels in and out, groups, extent, window, stride.
const LAYERS: &[[usize; 6]] = &[
    [64, 64, 1, 56, 1, 1],
    [64, 64, 1, 56, 3, 1],
    [64, 256, 1, 56, 1, 1],
    [256, 64, 1, 56, 1, 1],
    [256, 128, 1, 56, 1, 1],
    [128, 128, 1, 56, 3, 2],
    [256, 512, 1, 56, 1, 2],
    [128, 512, 1, 28, 1, 1],
    [512, 128, 1, 28, 1, 1],
    [128, 128, 1, 28, 3, 1],
    [256, 256, 1, 28, 3, 2],
    [256, 1024, 1, 14, 1, 1],
    [1024, 256, 1, 14, 1, 1],
    [256, 256, 1, 14, 3, 1],
    [512, 512, 1, 14, 3, 2],
    [512, 2048, 1, 7, 1, 1],
    [2048, 512, 1, 7, 1, 1],
    [512, 512, 1, 7, 3, 1],
    [3, 32, 1, 224, 3, 2],
    [32, 32, 32, 112, 3, 1],
    [32, 16, 1, 112, 1, 1],
    [16, 96, 1, 112, 1, 1],
    [96, 96, 96, 112, 3, 2],
    [96, 24, 1, 56, 1, 1],
    [24, 144, 1, 56, 1, 1],
    [144, 144, 144, 56, 3, 1],
    [144, 144, 144, 56, 3, 2],
    [192, 192, 192, 28, 3, 1],
    [192, 32, 1, 28, 1, 1],
    [32, 192, 1, 28, 1, 1],
    [384, 384, 384, 14, 3, 1],
    [64, 384, 1, 14, 1, 1],
    [384, 64, 1, 14, 1, 1],
    [576, 96, 1, 14, 1, 1],
    [576, 576, 576, 14, 3, 2],
    [960, 960, 960, 7, 3, 1],
    [160, 960, 1, 7, 1, 1],
    [960, 320, 1, 7, 1, 1],
    [320, 1280, 1, 7, 1, 1],
];

fn main() -> Answer {
    let mut words = std::env::args().skip(1);
    let layout = words.next().unwrap_or("nhwc".to_owned());
    let run = match words.next().as_deref() {
        None | Some("u8") => time::<u8>,
        Some("i8") => time::<i8>,
        Some(other) => return Err(format!("{other}: the types are u8 and i8").into()),
    };
    for [ic, oc, groups, extent, window, stride] in LAYERS.iter().copied() {
        let layer = format!(
            "{layout} g{groups} ic{ic} oc{oc} in {extent} kernel {window} stride {stride} pad {}",
            window / 2
        );
        run(&layer)?;
    }
    Ok(())
}

fn time<T: Stored>(layer: &str) -> Answer {
    let text = format!("conv2d {0} x i8 -> {0} {layer} + bias", T::DTYPE);
    let conv: Conv = text.parse()?;
    let count = conv.spec().out_channels;
    let scales = (0..count).map(|at| Rounding::Onnx.scale(0.02, 0.002 + at as f32 * 1e-5, 0.05));
    let layer = conv.requantised(Rounding::Onnx, &scales.collect::<Vec<_>>(), 3)?;
    let number = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as u8;
    let weight: Vec<i8> = (0..layer.weight_len()).map(|at| number(at) as i8).collect();
    let bias: Vec<i32> = (0..count).map(|at| number(at).into()).collect();
    let input = 0..layer.input_len().ok_or("free sizes")?;
    let input: Vec<T> = input.map(|at| T::from_bits(number(at).into())).collect();
    let mut output = vec![T::from_bits(0); layer.output_len().ok_or("free sizes")?];
    let compiled = Compiled::new(&layer, Options::default())?;
    let step = StepArrays { weight: Some(Array::from(&weight[..])), bias: Some(Array::from(bias)) };
    let packed: Packed<T> = compiled.pack_arrays(&[step])?;
    let mut best = f64::INFINITY;
    let start = Instant::now();
    let mut runs = 0;
    while runs < 5 || start.elapsed().as_millis() < 40 {
        let turn = Instant::now();
        packed.call(&input, &mut output).threads(1).run()?;
        best = best.min(turn.elapsed().as_secs_f64());
        runs += 1;
    }
    let sums = output.len() * conv.in_channels_per_group() * conv.kernel_volume();
    let speed = 2.0 * sums as f64 / best / 1e9;
    println!("{{\"layer\": \"{text}\", \"us\": {:.1}, \"gops\": {speed:.0}}}", best * 1e6);
    Ok(())
}
