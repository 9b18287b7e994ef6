//! A model of the size of NAM's "A2", in blocks of 64 samples on one thread: 23 dilated layers of 8
//! channels, windows of 6 and 15 taps, dilations from 1 to 239, each with a 1x1 layer and a
//! residual, and a head of 16 taps. Streamed, and by nam-rs, in turns; the least of the rounds
//! counts. Then a minute of audio ([`minute`]), emitted Rust, and filters ([`emitted`]).
//!
//! The two are not the same function: a program has no sum of all layers in front of the head, and
//! no input that each layer sees. Both are 3 % of the multiply-adds, and counted for nam-rs.
//!
//! The bound is multiply-adds alone, at the rate of
//! [`fma_peak_at`](conv_jit::peak::fma_peak_at) at the target's width: activations, biases and
//! residuals are not counted.
//!
//! `cargo run --release --manifest-path tests/nam/Cargo.toml`; `-- filters` for the last part alone

use std::time::Instant;

use conv_ir::{Program, Target};
use conv_jit::{Options, StepWeights, Stream};
use nam_rs::{Model, NamModel};
use serde_json::json;

#[path = "../../../examples/nam/model.rs"]
mod model;

mod emitted;
mod minute;
mod stack;

use stack::{CHANNELS, layers};

/// Samples a block.
const BLOCK: usize = 64;

/// Small numbers that are not tidy.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5) * 0.3).collect()
}

/// The model as a file.
fn file() -> String {
    let (taps, dilations): (Vec<usize>, Vec<usize>) = layers().into_iter().unzip();
    let count = taps.len();
    let each = |value: serde_json::Value| vec![value; count];
    let weights = CHANNELS
        + taps.iter().map(|k| CHANNELS * (CHANNELS * k + 1 + 1 + CHANNELS + 1)).sum::<usize>()
        + CHANNELS * 16
        + 2;
    json!({
        "version": "0.7.0", "architecture": "WaveNet",
        "config": {
            "layers": [{
                "input_size": 1, "condition_size": 1, "channels": CHANNELS, "bottleneck": CHANNELS,
                "dilations": dilations, "kernel_sizes": taps,
                "activation": each(json!({"type": "LeakyReLU", "negative_slope": 0.01})),
                "head": {"out_channels": 1, "kernel_size": 16, "bias": true},
                "layer1x1": {"active": true, "groups": 1},
                "gating_mode": each(json!("none"))
            }],
            "head": null, "head_scale": 0.5
        },
        "weights": numbers(weights, 1)
    })
    .to_string()
}

fn peer() -> Model {
    let model = NamModel::from_json_str(&file()).expect("a model");
    Model::from_nam(&model).expect("a model that runs")
}

/// The file as the example reads it, beside nam-rs: the same sound, after as much silence as is
/// heard.
fn compare() {
    let (program, arrays) = model::read(&file()).expect("a model");
    let weights: Vec<StepWeights<'_, f32>> =
        arrays.iter().map(|(weight, bias)| StepWeights { weight, bias: Some(&bias[..]) }).collect();
    let stream = Stream::new(&program, (0, &[BLOCK]), &weights, &Options::default());
    let stream = stream.expect("a stream");
    let (mut state, mut peer) = (stream.state().expect("memory"), peer());
    let (mut most, mut off) = (0.0f32, 0.0f32);
    for block in 0..256 {
        let sound = |i: usize| if block < 128 { 0.0 } else { ((block * BLOCK + i) as f32).sin() };
        let sound: [f32; BLOCK] = std::array::from_fn(sound);
        let (mut ours, mut theirs) = ([0.0; BLOCK], sound);
        stream.push(&mut state, &sound, &mut ours).expect("a block");
        peer.process_buffer(&mut theirs);
        if block >= 128 {
            most = theirs.iter().fold(most, |most, x| most.max(x.abs()));
            off = ours.iter().zip(&theirs).fold(off, |off, (a, b)| off.max((a - b).abs()));
        }
    }
    println!("the file as examples/nam reads it: off by {off:.1e} of {most:.2} from nam-rs");
    assert!(off < 1e-4 * most, "the two are the same function");
}

/// Seconds that a block takes, block by block.
fn times(blocks: usize, mut run: impl FnMut(usize)) -> Vec<f64> {
    let time = |at| {
        let start = Instant::now();
        run(at);
        start.elapsed().as_secs_f64()
    };
    (0..blocks).map(time).collect()
}

/// The time at a part of all blocks, from the fastest on.
fn at(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

fn main() {
    compare();
    const BLOCKS: usize = 2000;
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "filters") {
        return emitted::measure();
    }
    let program: Program = stack::stack().parse().expect("a program");
    let arrays: Vec<(Vec<f32>, Option<Vec<f32>>)> = program
        .convs()
        .enumerate()
        .map(|(at, conv)| {
            let bias = conv.spec().bias.then(|| numbers(conv.bias_len(), at));
            (numbers(conv.weight_len(), at), bias)
        })
        .collect();
    let weights: Vec<StepWeights<'_, f32>> =
        arrays.iter().map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() }).collect();
    let macs: usize = program.convs().map(|conv| conv.weight_len()).sum();
    let sound: Vec<f32> = (0..BLOCK * BLOCKS).map(|i| (i as f32 * 0.05).sin() * 0.25).collect();
    for target in conv_jit::targets_here() {
        let options = Options { target, cache: false, ..Options::default() };
        let start = Instant::now();
        let stream = Stream::new(&program, (0, &[BLOCK]), &weights, &options).expect("a stream");
        let compile = start.elapsed();
        measure(&stream, &target, macs, &sound, compile.as_secs_f64());
    }
    emitted::measure();
}

fn measure(stream: &Stream<f32>, target: &Target, macs: usize, sound: &[f32], compile: f64) {
    let (mut state, mut peer) = (stream.state().expect("memory"), peer());
    let mut output = [0.0; BLOCK];
    let blocks = sound.len() / BLOCK;
    let block = |at: usize| &sound[at * BLOCK..][..BLOCK];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        ours.push(times(blocks, |at| {
            stream.push(&mut state, block(at), &mut output).expect("a block");
            std::hint::black_box(&output);
        }));
        theirs.push(times(blocks, |at| {
            output.copy_from_slice(block(at));
            peer.process_buffer(std::hint::black_box(&mut output));
        }));
    }
    let least = |rounds: &[Vec<f64>]| rounds.iter().map(|r| at(r, 0.5)).fold(f64::MAX, f64::min);
    let (ours_median, theirs_median) = (least(&ours), least(&theirs));
    let bits = 8 * target.vector_bytes as u32;
    let peak = conv_jit::peak::fma_peak_at(conv_ir::DType::F32, bits);
    let peak = peak.map_or(f64::NAN, |peak| peak.gflops);
    let rate = 2.0 * (macs * BLOCK) as f64 / ours_median / 1e9;
    println!(
        "{}: {macs} multiply-adds a sample; compiled in {:.1} ms; state {} KiB",
        target.name,
        compile * 1e3,
        stream.state_bytes() / 1024,
    );
    println!(
        "  block of {BLOCK}: {:.1} us: {rate:.1} GFLOP/s, {:.0} % of {peak:.1}, {:.0} \
         times real time",
        ours_median * 1e6,
        100.0 * rate / peak,
        BLOCK as f64 / 48_000.0 / ours_median,
    );
    println!(
        "  nam-rs: {:.1} us, {:.2} times as long",
        theirs_median * 1e6,
        theirs_median / ours_median,
    );
    minute::report(5, ours_median, |next| match next {
        None => stream.reset(&mut state).expect("its own state"),
        Some(at) => {
            stream.push(&mut state, block(at % blocks), &mut output).expect("a block");
            std::hint::black_box(&output);
        }
    });
}
