//! How fast are windows of whole numbers on a picture of bytes? 1080 x 1920, `u8 x i8 -> u8`, on
//! one thread; a JSON line each. Of one window the picture may come from a file of its bytes, and
//! what becomes of it may go to another; `examples/python/windows.py` compares them with OpenCV.
//!
//! ```sh
//! cargo run --release -p conv-jit --example windows
//! cargo run --release -p conv-jit --example windows -- pixels sobel-x picture.raw edges.raw
//! ```

use std::path::Path;
use std::time::Instant;

use conv_jit::requantise::Rounding;
use conv_jit::{
    Compiled, Conv, ConvSpec, DType, Layout, Options, Packed, PaddingMode, StepArrays, Types,
};

type Answer = Result<(), Box<dyn std::error::Error>>;

const SIZE: [usize; 2] = [1080, 1920];

/// A name, rows, columns, taps, and what the sum is divided by.
type Window = (&'static str, [usize; 2], &'static [i32], f64);

/// Each of a row's times each of a column's, which are the same.
const GAUSSIAN_15: [i32; 225] = {
    const ONE: [i32; 15] = [1, 1, 2, 3, 5, 6, 7, 9, 7, 6, 5, 3, 2, 1, 1];
    let (mut all, mut at) = ([0; 225], 0);
    while at < 225 {
        all[at] = ONE[at / 15] * ONE[at % 15];
        at += 1;
    }
    all
};

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
    ("gaussian-15", [15, 15], &GAUSSIAN_15, 59.0 * 59.0),
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    // How colours lie: one plane, plane by plane, or pixel by pixel.
    let (planes, layout) = match argument(0) {
        None | Some("grey") => (1, Layout::ChannelsFirst),
        Some("planes") => (3, Layout::ChannelsFirst),
        Some("pixels") => (3, Layout::ChannelsLast),
        Some(other) => return Err(format!("{other}: say grey, planes or pixels").into()),
    };
    let is_wanted = |window: &&Window| argument(1).is_none_or(|name| window.0 == name);
    let files = [argument(2), argument(3)].map(|name| name.map(Path::new));
    WINDOWS.iter().filter(is_wanted).try_for_each(|window| time(window, (planes, layout), files))
}

fn time(
    (name, kernel, taps, divisor): &Window,
    (planes, layout): (usize, Layout),
    [picture, result]: [Option<&Path>; 2],
) -> Answer {
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
    let input: Vec<u8> = match picture {
        Some(path) => std::fs::read(path)?,
        None => (0..planes * SIZE[0] * SIZE[1]).map(number).collect(),
    };
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
    if let Some(path) = result {
        std::fs::write(path, &output)?;
    }
    println!("{{\"window\": \"{name}\", \"ms\": {ms:.3}, \"compile_ms\": {compile:.1}}}");
    Ok(())
}
