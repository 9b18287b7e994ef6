//! Tensors inside a program are laid out as the steps around them like it: the bits of the
//! reference on every machine, and nothing that a caller sees.

use conv_ir::program::plan::Plan;
use conv_ir::{Layout, Program, Target};
use conv_jit::{Accuracy, Compiled, Lowered, Options, StepWeights};
use conv_tests::Fill;
use conv_tests::chains::every_chain;
use conv_tests::random_chains::DrawnChain;

/// Programs of dense steps, and how many of their tensors change on AVX-512, step by step.
const PROGRAMS: [(&str, usize); 6] = [
    // A bottleneck: what the window reads stays, as its rows lie in one piece.
    (
        "conv2d ic16 oc32 in 8 kernel 1; conv2d oc16 kernel 1, relu; conv2d oc16 kernel 3 pad 1 + bias; \
      conv2d oc32 kernel 1 + bias + residual from 1, relu; conv2d oc16 kernel 1",
        3,
    ),
    (
        "conv2d ic16 oc16 in 9 kernel 1 stride 2; conv2d oc48 kernel 1; conv2d oc16 kernel 1 + residual from 1",
        2,
    ),
    ("conv3d ic3 oc16 in 4 kernel 3; conv3d oc16 kernel 1; conv3d oc3 kernel 1", 2),
    (
        "conv1d n2 ic4 oc16 in 30 kernel 3; conv1d oc16 kernel 1 + bias, hardswish; conv1d oc5 kernel 1",
        2,
    ),
    // What is given, read joined, or written by a depthwise step, is as it is described.
    (
        "conv2d ic4 oc16 in 8 kernel 1; conv2d oc16 kernel 1 from 1; conv2d oc16 kernel 1 from 1; \
      conv2d oc8 kernel 1 from 2,3; outputs 1,4",
        0,
    ),
    ("conv2d ic16 oc16 in 8 kernel 1; conv2d g16 oc16 kernel 3 pad 1; conv2d oc16 kernel 1", 0),
];

/// Programs with channels of 512 bytes and more, and how many of their tensors have gaps.
const WIDE: [(&str, usize); 4] = [
    (
        "conv2d ic16 oc128 in 6 kernel 1 + bias, relu; conv2d oc16 kernel 1; \
      conv2d oc128 kernel 1 + residual from 1; conv2d oc16 kernel 1",
        2,
    ),
    // Of channels last: windows, strides and images of a batch.
    (
        "conv2d nhwc n2 ic8 oc128 in 7x6 kernel 3 pad 1, relu; conv2d oc256 kernel 3 stride 2 pad 1 + bias; \
      conv2d oc256 kernel 1 + bias + residual from 2, relu; conv2d oc128 kernel 3 pad 1; conv2d oc8 kernel 1",
        4,
    ),
    (
        "conv1d nwc ic4 oc128 in 20 kernel 3; conv1d oc128 kernel 3 dilation 2; conv1d oc4 kernel 1",
        2,
    ),
    // What is given, read joined, or of few channels, has none; nor what a depthwise step reads.
    (
        "conv2d nhwc ic8 oc128 in 5 kernel 1; conv2d oc128 kernel 1 from 1; conv2d oc128 kernel 1 from 1; \
      conv2d oc96 kernel 1 from 2,3; conv2d oc128 kernel 1; conv2d g128 oc128 kernel 3; outputs 1,6",
        0,
    ),
];

fn program(text: &str) -> Program {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn last(program: &Program, target: Target) -> usize {
    let plan = Some(Plan::unfused(program));
    let options = Options { plan, target, ..Options::default() };
    let lowered = Lowered::new(program, &options).unwrap_or_else(|e| panic!("{program}: {e}"));
    let outputs = lowered.groups.iter().map(|group| group.layouts.output);
    outputs.filter(|layout| *layout == Layout::ChannelsLast).count()
}

#[test]
fn inner_tensors_are_channels_last_where_that_takes_less_time() {
    for (text, count) in PROGRAMS {
        let found = last(&program(text), Target::AVX512);
        assert_eq!(found, count, "{text}");
    }
    let described = PROGRAMS[2].0.replace("conv3d", "conv3d ndhwc");
    assert_eq!(last(&program(&described), Target::AVX512), 3, "as it was described");
}

#[test]
fn positions_that_would_share_few_sets_of_a_cache_have_gaps() {
    for (text, count) in WIDE {
        let program = program(text);
        let plan = Some(Plan::unfused(&program));
        let options = Options { plan, target: Target::AVX2, ..Options::default() };
        let lowered = Lowered::new(&program, &options).unwrap_or_else(|e| panic!("{text}: {e}"));
        let outputs = lowered.groups.iter().map(|group| group.layouts.gaps.output);
        assert_eq!(outputs.filter(|gap| *gap == 16).count(), count, "{text}");
        for (at, group) in lowered.groups.iter().enumerate() {
            let reads = lowered.program().input_of(at);
            let written = reads.checked_sub(1).and_then(|from| lowered.groups.get(from));
            let gap = written.map_or(0, |from| from.layouts.gaps.output);
            assert_eq!(group.layouts.gaps.input, gap, "{text}, step {}", at + 1);
        }
    }
}

#[test]
fn bits_do_not_depend_on_layouts() {
    for (text, _) in PROGRAMS.into_iter().chain(WIDE) {
        let chain = program(text);
        let plan = Plan::unfused(&chain);
        let ran = every_chain(&DrawnChain { chain, plan }, Fill::Reals);
        assert!(ran.unwrap_or_else(|what| panic!("{text}: {what}")), "{text}");
    }
}

/// A step in tiles between two whose tensors have gaps.
#[test]
fn steps_in_tiles_find_positions_behind_gaps() {
    let text = "conv2d nhwc ic8 oc128 in 14 kernel 1; conv2d oc128 kernel 3 pad 1 + bias + residual from 1, relu; \
      conv2d oc8 kernel 1";
    let program = program(text);
    let numbers = |len: usize| -> Vec<f32> {
        (0..len).map(|at| ((at * 29 + at / 7) % 61) as f32 / 32.0 - 0.95).collect()
    };
    let weights: Vec<(Vec<f32>, Vec<f32>)> = program
        .convs()
        .map(|conv| {
            let bias = if conv.spec().bias { conv.spec().out_channels } else { 0 };
            (numbers(conv.weight_len()), numbers(bias))
        })
        .collect();
    let input = numbers(8 * 14 * 14);
    let run = |program: &Program, accuracy: Accuracy| {
        let plan = Some(Plan::unfused(program));
        let options = Options { plan, accuracy, ..Options::default() };
        let compiled = Compiled::new(program.clone(), options).unwrap();
        let steps: Vec<StepWeights<'_, f32>> = weights
            .iter()
            .map(|(weight, bias)| StepWeights {
                weight,
                bias: Some(&bias[..]).filter(|b| !b.is_empty()),
            })
            .collect();
        let mut output = vec![0.0; 8 * 14 * 14];
        compiled.pack_steps(&steps).unwrap().run(&input, &mut output).unwrap();
        let tiled = compiled.rewritten().tiles(1).is_some();
        let gaps = compiled.groups()[1].layouts.gaps;
        (output, tiled, gaps.input.min(gaps.residual).min(gaps.output))
    };
    let (fast, tiled, gap) = run(&program, Accuracy::Fast);
    assert_eq!((tiled, gap), (true, 16));
    let (exact, ..) = run(&program, Accuracy::Exact);
    let largest = exact.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (fast, exact) in fast.iter().zip(&exact) {
        assert!((fast - exact).abs() <= 1e-4 * largest, "{fast} for {exact}");
    }
}
