//! Tensors inside a program are laid out as the steps around them like it: the bits of the
//! reference on every machine, and nothing that a caller sees.

use conv_ir::program::plan::Plan;
use conv_ir::{Layout, Program, Target};
use conv_jit::{Lowered, Options};
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
fn bits_do_not_depend_on_layouts() {
    for (text, _) in PROGRAMS {
        let chain = program(text);
        let plan = Plan::unfused(&chain);
        let ran = every_chain(&DrawnChain { chain, plan }, Fill::Reals);
        assert!(ran.unwrap_or_else(|what| panic!("{text}: {what}")), "{text}");
    }
}
