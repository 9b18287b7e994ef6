//! Known weights: code with the numbers compiled in gives the bits of code that is given them, on every route.

use conv_ir::{Conv, Element, Schedule, Target};
use conv_tests::data::{Rng, compare};
use conv_tests::emitted::{Program, numbers};
use conv_tests::judge::SEED;
use conv_tests::random::{Drawn, drawn};
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
    let bias: Option<Vec<f64>> =
        (conv.spec().bias && seed.is_multiple_of(2)).then(|| (0..conv.bias_len()).map(&mut tap).collect());
    conv.with_weights(&weight, bias.as_deref())
        .expect("the lengths are the shapes'")
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
    let read =
        |(at, text): (usize, &&str)| window(&text.parse().unwrap_or_else(|e| panic!("{text}: {e}")), 100 + at as u64);
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

fn add<T: Element>(program: &mut Program, wanted: &mut Vec<(String, Vec<f64>)>, conv: &Conv) {
    let data = Data::<T>::new(conv, Fill::Reals, SEED);
    let expected = data.reference(conv).unwrap_or_else(|e| panic!("{conv}: {e}"));
    let function = program.function(conv).unwrap_or_else(|e| panic!("{e}"));
    program.call(&function, &[], &data, expected.len());
    wanted.push((conv.to_string(), expected.iter().map(|x| x.to_f64()).collect()));
}

#[test]
fn expanded_rust_gives_the_reference() {
    let (mut program, mut wanted) = (Program::default(), Vec::new());
    for conv in cases() {
        match conv.dtype() {
            conv_ir::DType::F32 => add::<f32>(&mut program, &mut wanted, &conv),
            conv_ir::DType::F64 => add::<f64>(&mut program, &mut wanted, &conv),
        }
    }
    for ((name, wanted), (conv, found)) in wanted.iter().zip(cases().zip(program.run())) {
        let found = match conv.dtype() {
            conv_ir::DType::F32 => numbers::<f32>(&found).iter().map(|x| f64::from(*x)).collect(),
            conv_ir::DType::F64 => numbers::<f64>(&found),
        };
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
