//! A filter of 64 taps and a room of 4096, in blocks of 64 samples: what they take of real time.
//! A room, as a list of how it answers to a click, is a convolution of one channel; no sample comes
//! later than it must, however long the list: with `Accuracy::Fast` its older taps are computed in
//! parts by FFT.
//!
//! `cargo run --release -p conv-tests --example fir -- out.wav`

use conv_jit::{Accuracy, Padding, Stream, conv1d};
use conv_tests::wav::Sound;
use std::error::Error;
use std::time::Instant;

const RATE: u32 = 48_000;
const BLOCK: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args().nth(1).unwrap_or("fir.wav".into());
    // A click, and half a second of silence behind it, four times over.
    let clicks: Vec<f32> =
        (0..2 * RATE).map(|i| if i % (RATE / 2) == 0 { 1.0 } else { 0.0 }).collect();
    let soft = filtered(&low_pass(64), &clicks, Accuracy::Exact)?;
    let exact = filtered(&room(4096), &soft, Accuracy::Exact)?;
    let sound = filtered(&room(4096), &soft, Accuracy::Fast)?;
    let off = exact.iter().zip(&sound).fold(0.0f32, |off, (a, b)| off.max((a - b).abs()));
    println!("fast is off by {off:.1e}");
    assert!(off < 1e-4);
    std::fs::write(&to, Sound { rate: RATE, samples: sound }.loudest().written())?;
    println!("wrote {to}");
    Ok(())
}

/// Streams a sound through a filter; an exact result has the bits of the whole run.
fn filtered(taps: &[f32], sound: &[f32], accuracy: Accuracy) -> Result<Vec<f32>, Box<dyn Error>> {
    // A convolution of deep learning does not turn its window around; a filter does.
    let described = conv1d(1, 1, taps.len()).padding(Padding::Causal).flip(true);
    let stream = described.clone().input(["T"]).accuracy(accuracy);
    let stream: Stream<f32> = stream.stream(0, &[taps.into()])?;
    let (mut state, mut output) = (stream.state()?, vec![0.0; sound.len()]);
    let start = Instant::now();
    for (block, output) in sound.chunks(BLOCK).zip(output.chunks_mut(BLOCK)) {
        stream.push(&mut state, block, output)?;
    }
    let taken = start.elapsed().as_secs_f64();
    println!(
        "{} taps, {accuracy}: {:.2} us a block of {BLOCK}, {:.0} times real time, state {} KiB",
        taps.len(),
        taken * 1e6 * BLOCK as f64 / sound.len() as f64,
        sound.len() as f64 / f64::from(RATE) / taken,
        stream.state_bytes() / 1024,
    );
    if accuracy != Accuracy::Exact {
        return Ok(output);
    }
    let mut whole = vec![0.0; sound.len()];
    described.input([sound.len()]).compile()?.pack(taps, None)?.run(sound, &mut whole)?;
    assert!(whole == output, "a stream has the bits of the whole");
    Ok(output)
}

/// A windowed sinc that lets through what is below a quarter of the rate.
fn low_pass(taps: usize) -> Vec<f32> {
    let middle = (taps - 1) as f64 / 2.0;
    let tap = |i: usize| {
        let x = (i as f64 - middle) * std::f64::consts::FRAC_PI_2;
        let window = 0.5 + 0.5 * ((i as f64 - middle) / taps as f64 * std::f64::consts::TAU).cos();
        (if x == 0.0 { 1.0 } else { x.sin() / x }) * window * 0.5
    };
    (0..taps).map(|i| tap(i) as f32).collect()
}

/// Noise that dies away.
fn room(taps: usize) -> Vec<f32> {
    let mut noise = conv_tests::Rng(7);
    let noise = noise.array::<f32>(conv_tests::Fill::Reals, taps);
    noise.iter().enumerate().map(|(i, x)| x * (-6.0 * i as f32 / taps as f32).exp()).collect()
}
