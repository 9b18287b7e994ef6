//! Zero padding is skipped: weights that are infinite or NaN leave no mark there. On every route
//! the outputs that are NaN, and the bits of all others, are the reference's.

use conv_ir::program::plan::Plan;
use conv_ir::{Conv, DType, Element, Program, Schedule, Target};
use conv_tests::chains::{every_chain, expanded, is_of_one_type};
use conv_tests::data::compare;
use conv_tests::drawn::{Drawn, drawn};
use conv_tests::emitted::{Emitted, exactly};
use conv_tests::judge::SEED;
use conv_tests::random_chains::{DrawnChain, drawn_chains};
use conv_tests::{Data, Fill, judge, routes};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Columns in the lanes, masked or through a panel, and what they stand beside.
const CASES: [&str; 14] = [
    "conv2d in 4x4 kernel 3x3 pad 1",
    "conv2d in 9x37 kernel 3x3 pad 1 + bias, relu",
    "conv2d n2 g3 ic3 oc3 in 9x21 kernel 3x3 pad 1 + bias, relu6",
    "conv2d f64 in 9x21 kernel 5x5 pad 2",
    "conv2d g3 ic3 oc6 in 17x40 kernel 3x3 stride 2 pad 1",
    "conv2d ic3 oc2 in 12x40 kernel 3x3 dilation 2 pad 2",
    "conv2d ic3 oc20 in 12x14 kernel 3x3 pad 1",
    "conv1d in 70 kernel 7 dilation 2 pad 6",
    "conv1d g4 ic4 oc4 in 33 kernel 3 pad causal + residual, silu",
    "conv2d-transposed ic1 oc1 in 9x20 kernel 4x4 stride 2 pad 1",
    "conv2d channels-last g16 ic16 oc16 in 9x21 kernel 3x3 pad 1",
    "conv2d channels-last in 9x40 kernel 3x3 pad 1",
    "conv3d in 5x6x20 kernel 3x3x3 pad 1 flip",
    "conv2d g2 ic2 oc2 in 9x21 kernel 3x3 pad 1 mode reflect",
];

/// The same where sizes come at run time.
const FREE: [&str; 5] = [
    "conv2d in HxW kernel 3x3 pad 1",
    "conv2d f64 in HxW kernel 5x5 pad 2 + bias",
    "conv2d g4 ic4 oc4 in HxW kernel 3x3 pad 1, relu",
    "conv2d in HxW kernel 3x3 dilation 2 pad 2",
    "conv1d in W kernel 15 pad 7",
];

const SIZES: [&[(&str, usize)]; 2] = [&[("H", 9), ("W", 40)], &[("H", 2), ("W", 3)]];

fn parsed(text: &str) -> Conv {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn sizes_of(conv: &Conv, of: &[(&'static str, usize)]) -> Vec<(&'static str, usize)> {
    let names = conv.free_sizes();
    of.iter().copied().filter(|(name, _)| names.contains(name)).collect()
}

#[test]
fn interpreter_and_machine_code_skip_it() {
    for text in CASES {
        for target in [Target::CRANELIFT, Target::RUST, Target::AVX2, Target::AVX512] {
            let done = routes::every_chosen(&parsed(text), &target, Fill::AnyWeights);
            done.unwrap_or_else(|what| panic!("{target}: {what}"));
        }
    }
}

#[test]
fn free_sizes_skip_it() {
    for text in FREE {
        let conv = parsed(text);
        let values = SIZES.map(|of| sizes_of(&conv, of));
        let schedule = Schedule::choose(&conv, &Target::CRANELIFT).schedule;
        let done = routes::free(&conv, &schedule, &values, Fill::AnyWeights);
        done.unwrap_or_else(|what| panic!("{what}"));
    }
}

/// A case's name, and what the reference says.
type Wanted = (String, DType, Vec<f64>);

/// Adds functions and types for some kinds of CPU; in a program both take turns.
fn add<T: Element>(program: &mut Emitted, wanted: &mut Vec<Wanted>, conv: &Conv) {
    for turn in 0..3 {
        let function = program.function(conv).unwrap_or_else(|e| panic!("{e}"));
        for of in &SIZES[..if conv.free_sizes().is_empty() { 1 } else { 2 }] {
            let free = sizes_of(conv, of);
            let known = conv.with_sizes(&free).unwrap_or_else(|e| panic!("{conv}: {e}"));
            let data = Data::<T>::new(&known, Fill::AnyWeights, SEED);
            let expected = data.reference(&known).unwrap_or_else(|e| panic!("{conv}: {e}"));
            program.call(&function, &free, &data, expected.len());
            let expected = expected.iter().map(|x| x.to_f64()).collect();
            wanted.push((format!("{known}, item {turn}"), conv.dtype(), expected));
        }
    }
}

#[test]
fn expanded_rust_skips_it() {
    let (mut program, mut wanted) = (Emitted::default(), Vec::new());
    for conv in CASES.iter().chain(&FREE).map(|text| parsed(text)) {
        conv_ir::with_element!(conv.dtype(), T => add::<T>(&mut program, &mut wanted, &conv))
    }
    for ((name, dtype, wanted), found) in wanted.iter().zip(program.run()) {
        let found = exactly(*dtype, &found);
        compare(&found, wanted).unwrap_or_else(|what| panic!("{name}: {what}"));
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_global_rejects: 100_000,
        rng_seed: RngSeed::Fixed(2027),
        ..Config::default()
    })
}

#[test]
fn any_schedule_skips_it() {
    let run = |Drawn { conv, schedule }: Drawn| {
        let masks = schedule.borders == conv_ir::schedule::Borders::Mask;
        let target = if masks { Target::AVX512 } else { Target::CRANELIFT };
        let schedule = match judge::is_legal(&conv, &schedule, &target) {
            true => schedule,
            false => Schedule::choose(&conv, &target).schedule,
        };
        routes::every(&conv, &schedule, &target, Fill::AnyWeights).map_err(TestCaseError::fail)
    };
    runner(100).run(&drawn(), run).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn chains_skip_it() {
    let run = |drawn: DrawnChain| {
        every_chain(&drawn, Fill::AnyWeights).map(|_| ()).map_err(TestCaseError::fail)
    };
    runner(100).run(&drawn_chains(), run).unwrap_or_else(|e| panic!("{e}"));
}

/// Masked and fused, step by step, and drawn; functions and types take turns.
#[test]
fn chains_as_expanded_rust_skip_it() {
    let wide: Program =
        "conv2d ic1 oc3 in 12x40 kernel 3 pad 1; conv2d g3 oc3 kernel 3 pad 1, relu"
            .parse()
            .expect("a chain");
    let plans = [Plan::unfused(&wide), Plan::choose(&wide, &Target::AVX512, 1)];
    let wide = plans
        .iter()
        .flat_map(|plan| [plan; 2])
        .map(|plan| DrawnChain { chain: wide.clone(), plan: plan.clone() });
    let mut runner = runner(1);
    let drawn = || drawn_chains().new_tree(&mut runner).expect("a chain").current();
    let drawn = std::iter::repeat_with(drawn).filter(|drawn| is_of_one_type(&drawn.chain));
    let drawn: Vec<DrawnChain> = wide.chain(drawn.take(12)).collect();
    let ran = expanded(&drawn, Fill::AnyWeights).unwrap_or_else(|what| panic!("{what}"));
    assert!(2 * ran > drawn.len(), "too many plans are refused to prove much");
}

/// Weights decide at each packing, and the code for finite ones stays what it was.
#[test]
fn packing_decides() {
    let conv = conv_jit::conv2d(1, 1, 3).input([8, 32]).padding(1).compile().expect("compiled");
    let finite = conv.pack(&[1.0f32; 9], None).expect("packed");
    let mut weight = [1.0f32; 9];
    weight[0] = f32::NEG_INFINITY;
    let infinite = conv.pack(&weight, None).expect("packed");
    let (said, chosen) = (infinite.compiled().explain(), conv.explain());
    assert_eq!(finite.compiled().groups()[0].nest, conv.groups()[0].nest);
    assert_eq!(chosen.matches("may be infinite").count(), 0, "{chosen}");
    assert_eq!(said.matches("may be infinite").count(), 1, "{said}");
    let mut output = [0.0; 8 * 32];
    infinite.run(&[1.0; 8 * 32], &mut output).expect("run");
    assert!(output.iter().all(|x| !x.is_nan()), "{output:?}");
    assert_eq!(output.iter().filter(|x| x.is_finite()).count(), 8 + 32 - 1);
}

/// Sizes that are met again have code of their own.
#[test]
fn sizes_that_were_met_skip_it() {
    let mut weight = [1.0f32; 9];
    weight[0] = f32::NAN;
    let free = conv_jit::conv2d(1, 1, 3).input(["H", "W"]).padding(1).compile().expect("compiled");
    let free = free.pack(&weight, None).expect("packed");
    for _ in 0..3 {
        let mut output = [0.0; 8 * 32];
        free.run_sized(&[1.0; 8 * 32], &mut output, &[("H", 8), ("W", 32)]).expect("run");
        assert_eq!(output.iter().filter(|x| x.is_finite()).count(), 8 + 32 - 1);
    }
}
