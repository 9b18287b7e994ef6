//! Windows of whole numbers on pictures of bytes, against plain loops over integers: on every
//! target here, with lanes that reach over both edges, and sums of extremes.

use conv_ir::{Conv, ConvSpec, DType, Layout, PaddingMode, Stored, Types};

use crate::requantise::Rounding;
use crate::{Compiled, Options, Packed, StepArrays, targets_here};

/// A number that depends on nothing but its place.
fn drawn(at: usize) -> u32 {
    (at as u32).wrapping_mul(2_654_435_761).rotate_left(13)
}

/// Extremes are often beside each other.
fn extreme(at: usize, least: i32, most: i32) -> i32 {
    match drawn(at) % 6 {
        0 => least,
        1 | 2 => most,
        3 => 0,
        4 => 1,
        _ => least + (drawn(at) >> 8) as i32 % (most - least + 1),
    }
}

/// A window over planes, each by itself, whose output has the input's size.
fn of_planes(
    (planes, layout): (usize, Layout),
    padding_mode: PaddingMode,
    size: [usize; 2],
    kernel: [usize; 2],
) -> ConvSpec {
    let around = |taps: usize| (taps / 2, taps - 1 - taps / 2);
    ConvSpec {
        layout,
        in_channels: planes,
        out_channels: planes,
        groups: planes,
        padding: kernel.map(around).into(),
        padding_mode,
        ..ConvSpec::new(size, kernel)
    }
}

/// Where the padding's number is.
fn folded(mode: PaddingMode, at: i64, size: i64) -> Option<i64> {
    let inside = |at: i64| (0..size).contains(&at).then_some(at);
    match mode {
        PaddingMode::Replicate => Some(at.clamp(0, size - 1)),
        PaddingMode::Circular => Some(at.rem_euclid(size)),
        PaddingMode::Symmetric => {
            let at = at.rem_euclid(2 * size);
            Some(at.min(2 * size - 1 - at))
        }
        PaddingMode::Reflect => {
            let at = at.rem_euclid(2 * size - 2);
            Some(at.min(2 * size - 2 - at))
        }
        _ => inside(at),
    }
}

/// The sums, in the layout of the description.
fn sums(conv: &Conv, input: &[u8], taps: &[i32]) -> Vec<i64> {
    let spec = conv.spec();
    let shape = conv.output_shape().unwrap();
    let channels = spec.in_channels;
    let size = conv.input_shape().unwrap();
    let (h, w) = match spec.layout {
        Layout::ChannelsFirst => (size[2] as i64, size[3] as i64),
        Layout::ChannelsLast => (size[1] as i64, size[2] as i64),
    };
    let place = |c: usize, y: i64, x: i64| match spec.layout {
        Layout::ChannelsFirst => ((c as i64 * h + y) * w + x) as usize,
        Layout::ChannelsLast => ((y * w + x) * channels as i64 + c as i64) as usize,
    };
    let [kh, kw] = spec.kernel[..] else { panic!("two axes") };
    let mut sums = vec![0; shape.iter().product()];
    for c in 0..channels {
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let mut sum = 0;
            for (dy, dx) in (0..kh).flat_map(|dy| (0..kw).map(move |dx| (dy, dx))) {
                let tap = i64::from(taps[(c * kh + dy) * kw + dx]);
                let at = (y + dy as i64 - kh as i64 / 2, x + dx as i64 - kw as i64 / 2);
                let at = folded(spec.padding_mode, at.0, h).zip(folded(spec.padding_mode, at.1, w));
                let number = match (at, spec.padding_mode) {
                    (Some((y, x)), _) => input[place(c, y, x)].into(),
                    (None, PaddingMode::Constant(value)) => value as i64,
                    (None, _) => 0,
                };
                sum += tap * number;
            }
            sums[place(c, y, x)] = sum;
        }
    }
    sums
}

#[track_caller]
fn agrees<O: Stored>(conv: &Conv, input: &[u8], expected: &[i64]) {
    for target in targets_here() {
        let compiled = Compiled::new(conv, Options { target, ..Options::default() }).unwrap();
        let packed: Packed<u8, O> = compiled.pack_arrays(&[StepArrays::default()]).unwrap();
        let mut output = vec![O::default(); expected.len()];
        packed.run(input, &mut output).unwrap();
        for (at, (found, expected)) in output.iter().zip(expected).enumerate() {
            assert!(
                found.to_f64() == *expected as f64,
                "{conv} {target}: {found:?} at {at}, not {expected}"
            );
        }
    }
}

/// The sums themselves, or what their type holds, and eighths of them.
#[track_caller]
fn every_output(spec: &ConvSpec, weight: &[i32], input: &[u8]) {
    let conv = |output: DType| {
        let types = Types::of(DType::U8, DType::I8).giving(output);
        Conv::new(ConvSpec { types, ..spec.clone() }).unwrap().with_weights(weight, None).unwrap()
    };
    let whole = conv(DType::I32);
    let sums = sums(&whole, input, weight);
    agrees::<i32>(&whole, input, &sums);
    let kept = |least, most| sums.iter().map(|x: &i64| (*x).clamp(least, most)).collect();
    let words: Vec<i64> = kept(-32768, 32767);
    agrees::<i16>(&conv(DType::I16), input, &words);
    let bytes: Vec<i64> = kept(0, 255);
    agrees::<u8>(&conv(DType::U8), input, &bytes);
    let eighths = conv(DType::U8).requantised(Rounding::Onnx, &[0.125], 0).unwrap();
    let even = |x: &i64| (*x as f64 / 8.0).round_ties_even().clamp(0.0, 255.0) as i64;
    agrees::<u8>(&eighths, input, &sums.iter().map(even).collect::<Vec<_>>());
}

#[test]
fn a_column_times_a_row_is_two_passes() {
    const MODES: [PaddingMode; 6] = [
        PaddingMode::Zeros,
        PaddingMode::Replicate,
        PaddingMode::Constant(201.0),
        PaddingMode::Reflect,
        PaddingMode::Symmetric,
        PaddingMode::Circular,
    ];
    let windows = [[5, 5], [15, 15], [4, 9], [9, 4], [7, 7]];
    let sizes = [[20, 128], [9, 19], [33, 81], [70, 40]];
    for (planes, layout) in
        [(1, Layout::ChannelsFirst), (2, Layout::ChannelsFirst), (3, Layout::ChannelsLast)]
    {
        for (round, kernel) in (0..2).flat_map(|_| windows).enumerate() {
            let (mode, size) = (MODES[(round + planes) % MODES.len()], sizes[round % sizes.len()]);
            let spec = of_planes((planes, layout), mode, size, kernel);
            // Fifteen taps of 8 under bytes of 255 are just within 16 bits.
            let tap = |at: usize| extreme(at + 31 * round, -8, 8);
            let weight: Vec<i32> = (0..planes * kernel[0] * kernel[1])
                .map(|at| {
                    let (plane, at) = (at / (kernel[0] * kernel[1]), at % (kernel[0] * kernel[1]));
                    tap(100 * plane + at / kernel[1]) * tap(100 * plane + 50 + at % kernel[1])
                })
                .collect();
            let input: Vec<u8> = (0..planes * size[0] * size[1])
                .map(|at| extreme(at + round, 0, 255) as u8)
                .collect();
            every_output(&spec, &weight, &input);
        }
    }
    let window = [1, 4, 6, 4, 1].map(|u| [1, 4, 6, 4, 1].map(|v| u * v)).concat();
    let conv: Conv = "conv2d u8 x i8 -> u8 in 64x128 kernel 5 pad 2".parse().unwrap();
    let conv = conv.with_weights(&window, None).unwrap();
    let compiled = Compiled::new(&conv, Options::default()).unwrap();
    assert_eq!(compiled.rewritten().program.steps().len(), 2, "{}", compiled.explain());
}

#[test]
fn windows_of_bytes_are_the_sums_of_plain_loops() {
    // Edges that are masked read the picture itself, where taps slide; others read a copy.
    const MODES: [PaddingMode; 8] = [
        PaddingMode::Zeros,
        PaddingMode::Zeros,
        PaddingMode::Zeros,
        PaddingMode::Constant(201.0),
        PaddingMode::Reflect,
        PaddingMode::Symmetric,
        PaddingMode::Replicate,
        PaddingMode::Circular,
    ];
    let windows = [[3, 3], [1, 4], [5, 5], [4, 2], [1, 9], [7, 7], [2, 6], [9, 1]];
    let sizes = [[7, 67], [20, 128], [9, 19], [33, 81]];
    let mut round = 0;
    for (planes, layout) in
        [(1, Layout::ChannelsFirst), (2, Layout::ChannelsFirst), (3, Layout::ChannelsLast)]
    {
        for (kernel, size) in windows.iter().flat_map(|k| sizes.iter().map(move |s| (*k, *s))) {
            round += 1;
            let spec = of_planes((planes, layout), MODES[round % MODES.len()], size, kernel);
            let taps = planes * kernel[0] * kernel[1];
            // A plane has its own window, or all have one.
            let own = if round % 2 == 0 { taps } else { taps / planes };
            let weight: Vec<i32> =
                (0..taps).map(|at| extreme(at % own + 97 * round, -128, 127)).collect();
            let input: Vec<u8> = (0..planes * size[0] * size[1])
                .map(|at| extreme(at + round, 0, 255) as u8)
                .collect();
            every_output(&spec, &weight, &input);
        }
    }
}

#[test]
fn neighbouring_taps_are_one_instruction() {
    let Some(target) = targets_here().find(|target| target.isa.machine().slides()) else { return };
    let conv: Conv = "conv2d u8 x i8 -> u8 in 64x128 kernel 3 pad 1".parse().unwrap();
    let conv = conv.with_weights(&[-1, 2, 1, 3, -4, 5, 6, 7, -8], None).unwrap();
    let compiled = Compiled::new(&conv, Options { target, ..Options::default() }).unwrap();
    let text = compiled.disassembly().unwrap();
    let count = |name: &str| text.lines().filter(|line| line.contains(name)).count();
    assert!(count("vpdpbusd") > 0 && count("vpshufb") > 0, "{text}");
    assert!(count("vpdpbusd") > count("vpshufb"), "rows of a tile share what is slid");
}

/// A window: rows, columns and taps.
type Window = ([usize; 2], &'static [i32]);

/// Sums of 16 bits with a sign or without one, at their limits and beside them, and pairs of taps
/// whose products would saturate.
#[test]
fn pairs_of_taps_are_the_sums_of_plain_loops() {
    const WINDOWS: [Window; 12] = [
        ([3, 3], &[-1, 0, 1, -2, 0, 2, -1, 0, 1]),
        ([3, 3], &[-3, -10, -3, 0, 0, 0, 3, 10, 3]),
        ([3, 3], &[0, 1, 0, 1, -4, 1, 0, 1, 0]),
        ([1, 4], &[-128, 127, 1, 0]),
        ([1, 4], &[-128, 127, 2, 0]),
        ([1, 3], &[127, 127, 3]),
        ([2, 3], &[127, 127, 2, 2, 0, 0]),
        ([3, 2], &[-127, 0, -1, 64, 64, 0]),
        ([4, 4], &[1; 16]),
        ([1, 9], &[1, -2, 3, -4, 5, -4, 3, -2, 1]),
        ([9, 1], &[1, 2, 3, 4, 5, 4, 3, 2, 1]),
        (
            [5, 5],
            &[1, -1, 2, -2, 3, 0, 0, 5, 0, 0, 7, 7, -7, -7, 7, 0, 0, -5, 0, 0, 3, -2, 2, -1, 1],
        ),
    ];
    const MODES: [PaddingMode; 5] = [
        PaddingMode::Replicate,
        PaddingMode::Zeros,
        PaddingMode::Reflect,
        PaddingMode::Circular,
        PaddingMode::Constant(201.0),
    ];
    let sizes = [[9, 131], [20, 96], [7, 67], [13, 32]];
    for (planes, layout) in
        [(1, Layout::ChannelsFirst), (2, Layout::ChannelsFirst), (3, Layout::ChannelsLast)]
    {
        for (round, (kernel, window)) in WINDOWS.into_iter().enumerate() {
            let size = sizes[(round + planes) % sizes.len()];
            let spec =
                of_planes((planes, layout), MODES[(round + planes) % MODES.len()], size, kernel);
            let len = planes * size[0] * size[1];
            let input: Vec<u8> = (0..len).map(|at| extreme(at + round, 0, 255) as u8).collect();
            let weight = window.repeat(planes);
            every_output(&spec, &weight, &input);
            let conv = |output: DType| {
                let types = Types::of(DType::U8, DType::I8).giving(output);
                let conv = Conv::new(ConvSpec { types, ..spec.clone() }).unwrap();
                conv.with_weights(&weight, None).unwrap()
            };
            let sums = sums(&conv(DType::I32), &input, &weight);
            let kept = |least, most| sums.iter().map(|x: &i64| (*x).clamp(least, most)).collect();
            let (bytes, words): (Vec<i64>, Vec<i64>) = (kept(-128, 127), kept(0, 65535));
            agrees::<i8>(&conv(DType::I8), &input, &bytes);
            agrees::<u16>(&conv(DType::U16), &input, &words);
        }
    }
}

/// What sums start with is part of what they may reach.
#[test]
fn pairs_of_taps_are_added_to_a_bias() {
    let input: Vec<u8> = (0..20 * 96).map(|at| extreme(at, 0, 255) as u8).collect();
    let taps = [1, 2, 1, 2, -4, 2, 1, 2, 1];
    for bias in [0, 1, -1, 300, -20000, 32767 - 12 * 255, 32768 - 12 * 255, 40000, -40000] {
        let text = "conv2d u8 x i8 -> i32 in 20x96 kernel 3 pad 1 mode replicate + bias";
        let conv: Conv = text.parse().unwrap();
        let plain: Conv = text.trim_end_matches(" + bias").parse().unwrap();
        let expected = sums(&plain, &input, &taps).into_iter().map(|sum| sum + i64::from(bias));
        let conv = conv.with_weights(&taps, Some(&[bias])).unwrap();
        agrees::<i32>(&conv, &input, &expected.collect::<Vec<_>>());
    }
}

#[test]
fn pairs_of_taps_are_one_instruction() {
    let Some(target) = targets_here().find(|target| target.isa.is_avx2()) else { return };
    let count = |text: &str, taps: &[i32], name: &str| {
        let conv: Conv = text.parse().unwrap();
        let conv = conv.with_weights(taps, None).unwrap();
        let compiled = Compiled::new(&conv, Options { target, ..Options::default() }).unwrap();
        let text = compiled.disassembly().unwrap();
        text.lines().filter(|line| line.contains(name)).count()
    };
    let window = "conv2d u8 x i8 -> u8 in 64x128 kernel 3 pad 1 mode replicate";
    let (edges, large) = ([-1, 0, 1, -2, 0, 2, -1, 0, 1], [-1, 0, 1, -2, 0, 2, -1, 0, 126]);
    // Six rows of three taps, which are two registers' sums of five products each.
    assert!((36..=60).contains(&count(window, &edges, "vpmaddubsw")));
    assert!(count(window, &edges, "vpackuswb") >= 6);
    assert_eq!(count(window, &large, "vpmaddubsw"), 0, "sums of 17 bits");
    let column = "conv2d i16 x i8 -> u8 in 64x128 kernel 5x1 pad 2,0 mode replicate";
    assert!(count(column, &[1, 4, 6, 4, 1], "vpunpckhwd") > 0);
}

/// Channels beside each other under one window are columns that many apart, and pixels fold.
#[test]
fn interleaved_channels_fold_by_pixels() {
    const MODES: [PaddingMode; 6] = [
        PaddingMode::Reflect,
        PaddingMode::Symmetric,
        PaddingMode::Replicate,
        PaddingMode::Circular,
        PaddingMode::Constant(201.0),
        PaddingMode::Zeros,
    ];
    let windows = [[3, 3], [1, 5], [5, 5], [7, 7], [2, 4], [15, 15]];
    // The narrow one turns more than once under wide windows.
    let sizes = [[9, 67], [20, 33], [12, 4]];
    let mut round = 0;
    for planes in 2..=5 {
        for (kernel, size) in windows.iter().flat_map(|k| sizes.iter().map(move |s| (*k, *s))) {
            round += 1;
            let spec = of_planes(
                (planes, Layout::ChannelsLast),
                MODES[(round + round / MODES.len()) % MODES.len()],
                size,
                kernel,
            );
            let tap = |at: usize| extreme(at + 97 * round, -8, 8);
            let rows = kernel[0];
            let window = (0..rows * kernel[1]).map(|at| match round % 3 {
                0 => tap(at / kernel[1]) * tap(50 + at % kernel[1]),
                _ => extreme(at + 97 * round, -128, 127),
            });
            let weight = window.collect::<Vec<i32>>().repeat(planes);
            let input: Vec<u8> = (0..planes * size[0] * size[1])
                .map(|at| extreme(at + round, 0, 255) as u8)
                .collect();
            every_output(&spec, &weight, &input);
        }
    }
}
