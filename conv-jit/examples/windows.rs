//! How fast are windows of whole numbers on a picture of bytes? 1080 x 1920, `u8 x i8 -> u8`, on
//! one thread; a JSON line each.
//!
//! ```sh
//! cargo run --release -p conv-jit --example windows
//! ```

use std::time::Instant;

use conv_jit::requantise::Rounding;
use conv_jit::{
    Compiled, Conv, ConvSpec, DType, Layout, Options, Packed, PaddingMode, StepArrays, Types,
};

type Answer = Result<(), Box<dyn std::error::Error>>;

const SIZE: [usize; 2] = [1080, 1920];

/// A name, rows, columns, taps, and what the sum is divided by.
type Window = (&'static str, [usize; 2], &'static [i32], f64);

const WINDOWS: &[Window] = &[
    ("sobel-x", [3, 3], &[-1, 0, 1, -2, 0, 2, -1, 0, 1], 1.0),
    ("sobel-y", [3, 3], &[-1, -2, -1, 0, 0, 0, 1, 2, 1], 1.0),
    ("scharr", [3, 3], &[-3, 0, 3, -10, 0, 10, -3, 0, 3], 1.0),
    ("laplacian-3", [3, 3], &[0, 1, 0, 1, -4, 1, 0, 1, 0], 1.0),
    (
        "laplacian-5",
        [5, 5],
        &[0, 0, -1, 0, 0, 0, -1, -2, -1, 0, -1, -2, 16, -2, -1, 0, -1, -2, -1, 0, 0, 0, -1, 0, 0],
        1.0,
    ),
    ("sharpen", [3, 3], &[0, -1, 0, -1, 5, -1, 0, -1, 0], 1.0),
    ("emboss", [3, 3], &[-2, -1, 0, -1, 1, 1, 0, 1, 2], 1.0),
    ("gaussian-3", [3, 3], &[1, 2, 1, 2, 4, 2, 1, 2, 1], 16.0),
    (
        "gaussian-5",
        [5, 5],
        &[1, 4, 6, 4, 1, 4, 16, 24, 16, 4, 6, 24, 36, 24, 6, 4, 16, 24, 16, 4, 1, 4, 6, 4, 1],
        256.0,
    ),
    ("box-5", [5, 5], &[1; 25], 25.0),
    (
        "mine-7",
        [7, 7],
        &[
            -8, -5, -2, 1, 4, 7, -7, -4, -1, 2, 5, 8, -6, -3, 0, 3, 6, -8, -5, -2, 1, 4, 7, -7, -4,
            -1, 2, 5, 8, -6, -3, 0, 3, 6, -8, -5, -2, 1, 4, 7, -7, -4, -1, 2, 5, 8, -6, -3, 0,
        ],
        1.0,
    ),
];

fn main() -> Answer {
    // How colours lie: one plane, plane by plane, or pixel by pixel.
    let (planes, layout) = match std::env::args().nth(1).as_deref() {
        None | Some("grey") => (1, Layout::ChannelsFirst),
        Some("planes") => (3, Layout::ChannelsFirst),
        Some("pixels") => (3, Layout::ChannelsLast),
        Some(other) => return Err(format!("{other}: say grey, planes or pixels").into()),
    };
    WINDOWS.iter().try_for_each(|window| time(window, planes, layout))
}

fn time((name, kernel, taps, divisor): &Window, planes: usize, layout: Layout) -> Answer {
    let spec = ConvSpec {
        types: Types::of(DType::U8, DType::I8).giving(DType::U8),
        padding: kernel.map(|taps| (taps / 2, taps / 2)).into(),
        padding_mode: PaddingMode::Replicate,
        in_channels: planes,
        out_channels: planes,
        groups: planes,
        layout,
        ..ConvSpec::new(SIZE, *kernel)
    };
    let mut conv = Conv::new(spec)?.with_weights(&taps.repeat(planes), None)?;
    if *divisor != 1.0 {
        conv = conv.requantised(Rounding::Onnx, &vec![1.0 / divisor; planes], 0)?;
    }
    let number = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as u8;
    let input: Vec<u8> = (0..planes * SIZE[0] * SIZE[1]).map(number).collect();
    let mut output = vec![0; input.len()];
    let start = Instant::now();
    let compiled = Compiled::new(&conv, Options::default())?;
    let compile = start.elapsed();
    let packed: Packed<u8> = compiled.pack_arrays(&[StepArrays::default()])?;
    let mut best = f64::INFINITY;
    let start = Instant::now();
    while start.elapsed().as_millis() < 60 {
        let turn = Instant::now();
        packed.call(&input, &mut output).threads(1).run()?;
        best = best.min(turn.elapsed().as_secs_f64());
    }
    let (ms, compile) = (best * 1e3, compile.as_secs_f64() * 1e3);
    println!("{{\"window\": \"{name}\", \"ms\": {ms:.3}, \"compile_ms\": {compile:.1}}}");
    Ok(())
}
