//! A second of sound through a stack of dilated causal convolutions, as in WaveNet: each layer
//! looks twice as far back and adds what it was given. No output sees the future. The same sound,
//! streamed in blocks of 64 samples, has the same bits.
//!
//! `cargo run --release -p conv-tests --example wavenet -- out.wav`

use conv_ir::Activation::Tanh;
use conv_ir::Padding::Causal;
use conv_jit::{Builder, Size, StepWeights};
use conv_tests::wav::Sound;
use conv_tests::{Fill, Rng};
use std::error::Error;

const RATE: usize = 16_000;

fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args().nth(1).unwrap_or("wavenet.wav".into());
    // A chirp from 100 to 1000 Hz.
    let at = |i: usize| i as f64 / RATE as f64;
    let clip: Vec<f32> = (0..RATE)
        .map(|i| (std::f64::consts::TAU * (100.0 * at(i) + 450.0 * at(i) * at(i))).sin() as f32)
        .collect();

    let described = stack(RATE).describe()?;

    let mut rng = Rng(3);
    let weights: Vec<(Vec<f32>, Vec<f32>)> = described
        .convs()
        .map(|conv| {
            let scaled = |rng: &mut Rng, len: usize| -> Vec<f32> {
                let plain = rng.array::<f32>(Fill::Reals, len);
                plain.into_iter().map(|w| w / 4.0).collect()
            };
            (scaled(&mut rng, conv.weight_len()), scaled(&mut rng, conv.bias_len()))
        })
        .collect();
    let steps: Vec<StepWeights<f32>> =
        weights.iter().map(|(w, b)| (w.as_slice(), b.as_slice()).into()).collect();

    let mut sound = vec![0.0; RATE];
    conv_tests::fused_and_not(&described, &steps, &clip, &mut sound)?;
    let field =
        conv_ir::analysis::receptive_field(&described.convs().cloned().collect::<Vec<_>>())?;
    println!("each sample hears {} samples", field[0].size);

    let stream = stack("T").stream(0, &steps)?;
    let (mut state, mut streamed) = (stream.state()?, vec![0.0; RATE]);
    for (block, output) in clip.chunks(64).zip(streamed.chunks_mut(64)) {
        stream.push(&mut state, block, output)?;
    }
    assert!(streamed == sound, "a stream has the bits of the whole");
    println!("streamed with {} bytes of state: the same bits", stream.state_bytes());
    let sound = Sound { rate: RATE as u32, samples: streamed };
    std::fs::write(&to, sound.loudest().written())?;
    println!("wrote {to}");
    Ok(())
}

/// Four layers of 16 channels between a sample and a sample.
fn stack(samples: impl Into<Size>) -> Builder {
    let channels = 16;
    let mut stack = conv_jit::chain(1, [samples]).pointwise(channels).bias(true);
    for layer in 0..4 {
        stack = stack
            .conv(channels, 2)
            .dilation(1 << layer)
            .padding(Causal)
            .bias(true)
            .activation(Tanh)
            .residual(layer + 1);
    }
    stack.pointwise(1).bias(true)
}
