//! A guitar amplifier in real time: a model of Neural Amp Modeler, in blocks of 64 samples.
//!
//! `cargo run --release -p conv-tests --example nam -- model.nam in.wav out.wav`

use conv_jit::{Options, StepWeights, Stream};
use conv_tests::wav::Sound;
use std::error::Error;
use std::time::Instant;

#[path = "nam/model.rs"]
mod model;

const BLOCK: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [from, sound, to] = &paths[..] else {
        return Err("usage: nam MODEL.nam IN.wav OUT.wav".into());
    };
    let text = std::fs::read_to_string(from).map_err(|e| format!("{from}: {e}"))?;
    let (program, weights) = model::read(&text).map_err(|e| format!("{from}: {e}"))?;
    let bytes = std::fs::read(sound).map_err(|e| format!("{sound}: {e}"))?;
    let Sound { rate, samples } = Sound::read(&bytes).map_err(|e| format!("{sound}: {e}"))?;
    let steps: Vec<StepWeights<'_, f32>> = weights
        .iter()
        .map(|(weight, bias)| StepWeights { weight, bias: Some(&bias[..]) })
        .collect();
    let stream = Stream::new(&program, (0, &[BLOCK, 8, 1]), &steps, &Options::default())?;
    let mut state = stream.state()?;
    // As long as a sample is heard, there was silence before.
    let heard = conv_ir::analysis::receptive_field(&program.convs().cloned().collect::<Vec<_>>())?;
    let silence = vec![0.0; heard[0].size as usize];
    let mut output = vec![0.0; silence.len().max(samples.len())];
    stream.push(&mut state, &silence, &mut output[..silence.len()])?;
    let start = Instant::now();
    for (block, output) in samples.chunks(BLOCK).zip(output.chunks_mut(BLOCK)) {
        stream.push(&mut state, block, &mut output[..block.len()])?;
    }
    let (taken, length) = (start.elapsed().as_secs_f64(), samples.len() as f64 / f64::from(rate));
    output.truncate(samples.len());
    std::fs::write(to, Sound { rate, samples: output }.written())?;
    println!(
        "{length:.1} s of sound in {taken:.3} s; each sample hears {} samples; state {} KiB",
        heard[0].size,
        stream.state_bytes() / 1024
    );
    Ok(())
}
