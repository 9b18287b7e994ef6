//! Known weights: code with the numbers compiled in gives the bits of code that is given them, on
//! every route.

use conv_ir::separate::{Accuracy, separate};
use conv_ir::{Conv, Element, Layout, Schedule, Target, reference};
use conv_jit::{Compiled, Options};
use conv_tests::data::{Rng, compare};
use conv_tests::drawn::{Drawn, drawn};
use conv_tests::emitted::{Emitted, exactly};
use conv_tests::judge::SEED;
use conv_tests::{Data, Fill, judge, routes};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Windows with many zeros and ones, as people write them, and numbers with full mantissas.
fn window(conv: &Conv, seed: u64) -> Conv {
    let mut rng = Rng(seed);
    let mut tap = |_| match rng.within(0, 9) {
        0..=3 => 0.0,
        4 | 5 => 1.0,
        6 | 7 => -1.0,
        8 => 2.0,
        _ => rng.array::<f64>(Fill::Reals, 1)[0],
    };
    let weight: Vec<f64> = (0..conv.weight_len()).map(&mut tap).collect();
    let bias: Option<Vec<f64>> = (conv.spec().bias && seed.is_multiple_of(2))
        .then(|| (0..conv.bias_len()).map(&mut tap).collect());
    conv.with_weights(&weight, bias.as_deref()).expect("the lengths are the shapes'")
}

const CASES: [&str; 14] = [
    "conv2d in 9x37 kernel 3x3",
    "conv2d in 9x37 kernel 3x3 pad 1",
    "conv2d n2 g3 ic3 oc3 in 9x21 kernel 3x3 pad 1 + bias, relu",
    "conv2d f64 in 9x21 kernel 5x5 pad 2 mode symmetric",
    "conv2d g3 ic3 oc6 in 9x21 kernel 3x3 pad 1 mode reflect",
    "conv2d ic1 oc2 in 12x40 kernel 3x3 pad 1",
    "conv2d ic3 oc1 in 12x40 kernel 1x1",
    "conv2d ic3 oc2 in 12x40 kernel 3x2 stride 2 pad 1 + bias",
    "conv1d in 70 kernel 7 dilation 2 pad 6",
    "conv1d ic4 oc40 in 33 kernel 3 pad 1 + residual",
    "conv2d-transposed ic1 oc1 in 9x20 kernel 4x4 stride 2 pad 1",
    "conv2d channels-last g5 ic5 oc5 in 9x21 kernel 3x3 pad 1",
    "conv3d in 5x6x20 kernel 3x3x3 pad 1 flip",
    "conv2d in 21x33 kernel 15x15 pad 7",
];

fn cases() -> impl Iterator<Item = Conv> {
    let read = |(at, text): (usize, &&str)| {
        window(&text.parse().unwrap_or_else(|e| panic!("{text}: {e}")), 100 + at as u64)
    };
    CASES.iter().enumerate().map(read)
}

#[test]
fn every_route_gives_the_reference() {
    for conv in cases() {
        for target in [Target::CRANELIFT, Target::RUST, Target::AVX2, Target::AVX512] {
            let done = routes::every_chosen(&conv, &target, Fill::Reals);
            done.unwrap_or_else(|what| panic!("{target}: {what}"));
        }
    }
}

fn add<T: Element>(program: &mut Emitted, wanted: &mut Vec<(String, Vec<f64>)>, conv: &Conv) {
    let data = Data::<T>::new(conv, Fill::Reals, SEED);
    let expected = data.reference(conv).unwrap_or_else(|e| panic!("{conv}: {e}"));
    let function = program.function(conv).unwrap_or_else(|e| panic!("{e}"));
    program.call(&function, &[], &data, expected.len());
    wanted.push((conv.to_string(), expected.iter().map(|x| x.to_f64()).collect()));
}

#[test]
fn expanded_rust_gives_the_reference() {
    let (mut program, mut wanted) = (Emitted::default(), Vec::new());
    for conv in cases() {
        conv_ir::with_element!(conv.dtype(), T => add::<T>(&mut program, &mut wanted, &conv))
    }
    for ((name, wanted), (conv, found)) in wanted.iter().zip(cases().zip(program.run())) {
        let found = exactly(conv.dtype(), &found);
        compare(&found, wanted).unwrap_or_else(|what| panic!("{name}: {what}"));
    }
}

#[test]
fn any_convolution_gives_the_reference() {
    let mut runner = TestRunner::new(Config {
        cases: 120,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2026),
        ..Config::default()
    });
    let drawn = (drawn(), any::<u64>());
    let run = |(Drawn { conv, schedule }, seed): (Drawn, u64)| {
        let conv = window(&conv, seed);
        let masks = schedule.borders == conv_ir::schedule::Borders::Mask;
        let target = if masks { Target::AVX512 } else { Target::CRANELIFT };
        let schedule = match judge::is_legal(&conv, &schedule, &target) {
            true => schedule,
            false => Schedule::choose(&conv, &target).schedule,
        };
        routes::every(&conv, &schedule, &target, Fill::Reals).map_err(TestCaseError::fail)?;
        routes::every_chosen(&conv, &Target::AVX512, Fill::Reals).map_err(TestCaseError::fail)
    };
    runner.run(&drawn, run).unwrap_or_else(|e| panic!("{e}"));
}

/// The same window in every group.
fn one_window(conv: &Conv, seed: u64) -> Conv {
    let drawn = window(conv, seed);
    let share = conv.weight_len() / conv.spec().groups;
    let weight: Vec<f64> = drawn.known().map_or(Vec::new(), |known| known.weight[..share].to_vec());
    conv.with_weights(&weight.repeat(conv.spec().groups), None).expect("the length is the shape's")
}

/// Few channels that stand innermost under one window are columns: which axis they join, how far
/// apart taps are, and where the image ends are judged after each pass.
#[test]
fn interleaved_channels_give_the_reference() {
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2027),
        ..Config::default()
    });
    let drawn = (drawn(), 2usize..=5, any::<bool>(), any::<u64>());
    let run = |(Drawn { conv, schedule }, groups, apart, seed): (Drawn, usize, bool, u64)| {
        let mut spec = conv.spec().clone();
        spec.layout = Layout::ChannelsLast;
        (spec.groups, spec.in_channels, spec.out_channels) = (groups, groups, groups);
        if !apart {
            spec.stride = 1.into();
            spec.output_padding = 0.into();
        }
        let Ok(conv) = Conv::new(spec) else { return Ok(()) };
        let conv = one_window(&conv, seed);
        let masks = schedule.borders == conv_ir::schedule::Borders::Mask;
        let target = if masks { Target::AVX512 } else { Target::CRANELIFT };
        if judge::is_legal(&conv, &schedule, &target) {
            routes::every(&conv, &schedule, &target, Fill::Reals).map_err(TestCaseError::fail)?;
        }
        for target in [Target::CRANELIFT, Target::RUST, Target::AVX2, Target::AVX512] {
            routes::every_chosen(&conv, &target, Fill::Reals).map_err(TestCaseError::fail)?;
        }
        Ok(())
    };
    runner.run(&drawn, run).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn interleaved_channels_are_columns_where_they_can_be() {
    let axes = |text: &str| {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let nest = conv_ir::passes::canonical(&one_window(&conv, 7)).to_string();
        nest.contains(", ow in 0..63")
    };
    let merged = [
        "conv2d channels-last g3 ic3 oc3 in 9x21 kernel 3 pad 1",
        "conv2d channels-last n2 g3 ic3 oc3 in 9x21 kernel 5 pad 2, relu",
        "conv2d channels-last g3 ic3 oc3 in 9x23 kernel 3 stride 2,1 pad 1,0 + residual",
        "conv2d channels-last g3 ic3 oc3 in 9x21 kernel 3x1 pad 1,0 mode reflect",
        "conv2d channels-last g3 ic3 oc3 in 9x21 kernel 3 pad 1 mode reflect",
        "conv2d channels-last g3 ic3 oc3 in 9x21 kernel 65 pad 32 mode circular",
        "conv2d-transposed channels-last g3 ic3 oc3 in 9x21 kernel 3 pad 1",
    ];
    for text in merged {
        assert!(axes(text), "{text}");
    }
    let apart = [
        "conv2d channels-last g3 ic3 oc3 in 9x41 kernel 3 stride 1,2 pad 1",
        "conv2d channels-last g3 ic3 oc3 in 9x21 kernel 3 pad 1 + bias",
        "conv2d g3 ic3 oc3 in 9x21 kernel 3 pad 1",
        "conv2d channels-last g3 ic3 oc6 in 9x21 kernel 3 pad 1",
    ];
    for text in apart {
        assert!(!axes(text), "{text}");
    }
}

/// Windows that are the sum of so many products of a column and a row, all drawn.
fn separable(text: &str, rank: usize, seed: u64) -> Conv {
    let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let (mut rng, kernel) = (Rng(seed), conv.spec().kernel.clone());
    let mut weight = Vec::new();
    for _ in 0..conv.weight_len() / (kernel[0] * kernel[1]) {
        let mut window = vec![0.0; kernel[0] * kernel[1]];
        for _ in 0..rank {
            let (column, row) = (
                rng.array::<f64>(Fill::Reals, kernel[0]),
                rng.array::<f64>(Fill::Reals, kernel[1]),
            );
            for (at, tap) in window.iter_mut().enumerate() {
                *tap += column[at / row.len()] * row[at % row.len()];
            }
        }
        weight.extend(window);
    }
    let bias: Option<Vec<f64>> = conv.spec().bias.then(|| rng.array(Fill::Reals, conv.bias_len()));
    conv.with_weights(&weight, bias.as_deref()).expect("the lengths are the shapes'")
}

fn in_two_passes<T: Element>(conv: &Conv, rank: usize) {
    let found = separate(conv).unwrap_or_else(|| panic!("{conv}: rank {rank}"));
    assert_eq!(found.factors.len(), rank, "{conv}: {found}");
    let data = Data::<T>::new(conv, Fill::Reals, SEED);
    let widened = |of: &[T]| of.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    let (input, weight, bias) =
        (widened(&data.input), widened(&data.weight), data.bias.as_deref().map(widened));
    let arguments = reference::Arguments {
        input: &input,
        weight: &weight,
        bias: bias.as_deref(),
        residual: None,
    };
    let wanted = reference::run_f64(conv, arguments, &[]).unwrap_or_else(|e| panic!("{conv}: {e}"));
    let bound = found.bound(1.0);
    for target in routes::machines_here() {
        let options = Options { target, accuracy: Accuracy::Fast, ..Options::default() };
        let compiled = Compiled::new(conv, options).unwrap_or_else(|e| panic!("{conv}: {e}"));
        assert_eq!(compiled.rewritten().separated, [(0, found.clone())]);
        let ready = compiled.ready::<T>().unwrap_or_else(|e| panic!("{conv}: {e}"));
        for _ in 0..2 {
            let mut output = vec![T::default(); wanted.len()];
            ready.run(&data.input, &mut output).unwrap_or_else(|e| panic!("{conv}: {e}"));
            let worst =
                output.iter().zip(&wanted).map(|(x, w)| (x.to_f64() - w).abs()).fold(0.0, f64::max);
            assert!(worst <= bound, "{conv}: off by {worst:e}, but at most {bound:e} is promised");
        }
        let wrong = ready.run(&data.input[1..], &mut vec![T::default(); wanted.len()]);
        assert!(wrong.is_err_and(|e| e.to_string().contains("input has")));
    }
}

#[test]
fn fast_accuracy_keeps_its_bound() {
    for (seed, (rank, text)) in [
        (1, "conv2d in 19x37 kernel 5x7 pad 2:2,3:3"),
        (1, "conv2d n2 g3 ic3 oc3 in 19x37 kernel 9x9 pad 4 mode symmetric"),
        (
            1,
            "conv2d n2 g3 ic3 oc6 in 23x37 kernel 5x5 stride 2 pad 2 mode reflect + bias",
        ),
        (
            1,
            "conv2d channels-last g5 ic5 oc5 in 19x21 kernel 5x5 dilation 2 pad 4 mode replicate",
        ),
        (1, "conv2d in 19x37 kernel 7x5 pad 2 mode circular flip"),
        (2, "conv2d in 29x37 kernel 9x11 pad 4:4,5:5"),
        (
            3,
            "conv2d channels-last g2 ic2 oc4 in 29x37 kernel 13x13 stride 2 pad 6 mode reflect + bias",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        in_two_passes::<f32>(&separable(text, rank, seed as u64), rank);
        let wide = text
            .replacen("conv2d", "conv2d f64", 1)
            .replacen("f64 channels-last", "channels-last f64", 1);
        in_two_passes::<f64>(&separable(&wide, rank, seed as u64), rank);
    }
}

conv_macros::conv! {
    /// Free sizes.
    fn sobel(input: [f32; 1, 1, H, W]) -> [f32; 1, 1, H, W];
    padding: 1, weight: [[1, 0, -1], [2, 0, -2], [1, 0, -1]]

    /// A lone window on each of three planes.
    fn blur(input: [f32; 1, 3, 20, 30]) -> [f32; 1, 3, 20, 30];
    groups: 3, padding: 2, accuracy: fast,
    weight: [[1, 4, 6, 4, 1], [4, 16, 24, 16, 4], [6, 24, 36, 24, 6], [4, 16, 24, 16, 4], [1, 4, 6, 4, 1]]

    /// From a model.
    fn model(input: [f32; 1, 1, 20]) -> [f32; 1, 2, 18];
    weight: "../conv-codegen/tests/data/model.safetensors#conv1.weight",
    bias: "../conv-codegen/tests/data/model.safetensors#conv1.bias"
}

/// What the reference makes of integers, and those.
fn judged(text: &str, weight: &[f32], bias: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
    let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let conv = conv.with_weights(weight, bias).unwrap_or_else(|e| panic!("{text}: {e}"));
    let data = Data::<f32>::new(&conv, Fill::Integers, SEED);
    let wanted = data.reference(&conv).unwrap_or_else(|e| panic!("{text}: {e}"));
    (data.input, wanted)
}

#[test]
fn the_macro_takes_literals_and_files() {
    let window = [1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0];
    let (input, wanted) = judged("conv2d in 17x23 kernel 3x3 pad 1", &window, None);
    let mut output = vec![0.0; wanted.len()];
    sobel(17, 23, &input, &mut output);
    assert_eq!(output, wanted);

    let binomial = [1.0, 4.0, 6.0, 4.0, 1.0];
    let window: Vec<f32> = binomial.iter().flat_map(|u| binomial.map(|v| u * v)).collect();
    let (input, wanted) =
        judged("conv2d g3 ic3 oc3 in 20x30 kernel 5x5 pad 2", &window.repeat(3), None);
    let mut output = [0.0; 1800];
    blur(input.as_slice().try_into().expect("its length"), &mut output);
    assert_eq!(output[..], wanted);

    let weight = [1.0, 2.0, 1.0, 0.5, 0.0, -0.5];
    let (input, wanted) = judged("conv1d oc2 in 20 kernel 3 + bias", &weight, Some(&[0.25, -1.0]));
    let mut output = [0.0; 36];
    model(input.as_slice().try_into().expect("its length"), &mut output);
    assert_eq!(output[..], wanted);
}
