//! The public API of chains: what it refuses, what it keeps, and that the model's plans give the
//! bits of the steps one after the other.

use conv_ir::Activation::Relu6;
use conv_ir::Program;
use conv_ir::program::fuse::Strips;
use conv_ir::program::plan::{Group, Plan, scratch_bytes, whole_bytes};

use super::fill;
use crate::{Compiled, CurrentThread, Lowered, Options, Packed, StepWeights, chain, targets_here};

const INVERTED_RESIDUAL: &str = "conv2d ic16 oc96 in 28 kernel 1 + bias, relu6; conv2d g96 oc96 kernel 3 pad 1 + bias, relu6; conv2d oc16 kernel 1 + bias + residual from 0";

fn read(text: &str) -> Program {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

type Arrays = Vec<(Vec<f32>, Option<Vec<f32>>)>;

fn arrays(chain: &Program) -> Arrays {
    let numbered = chain.convs().zip(1..);
    numbered
        .map(|(conv, at)| {
            let comes = conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none());
            let weight = if conv.known().is_some() { 0 } else { conv.weight_len() };
            (fill(weight, at), comes.then(|| fill(conv.bias_len(), 90 + at)))
        })
        .collect()
}

fn steps(arrays: &Arrays) -> Vec<StepWeights<'_, f32>> {
    arrays.iter().map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() }).collect()
}

fn packed(chain: &Program, options: Options) -> Packed<f32> {
    let arrays = arrays(chain);
    let compiled = Compiled::new(chain, options).unwrap_or_else(|e| panic!("{chain}: {e}"));
    compiled.pack_steps(&steps(&arrays)).unwrap()
}

/// The model's plan on every target, by 1 to 3 threads, against the steps one after the other.
#[test]
fn planned_blocks_have_the_bits_of_their_steps() {
    let blocks = [
        INVERTED_RESIDUAL,
        "conv2d ic16 oc96 in 56 kernel 1 + bias, relu6; conv2d g96 oc96 kernel 3 stride 2 pad 1 + bias, relu6; conv2d oc24 kernel 1 + bias",
        "conv2d g32 ic32 oc32 in 112 kernel 3 pad 1 + bias, relu; conv2d oc64 kernel 1 + bias, relu",
        "conv2d n2 ic8 oc32 in 40x36 kernel 3 pad 1, relu; conv2d oc32 kernel 3 pad 1 + residual from 1, relu; conv2d oc8 kernel 1",
        "conv2d in 200x300 kernel 1x15 pad 0,7; conv2d kernel 15x1 pad 7,0",
        "conv2d nhwc ic16 oc64 in 28 kernel 1, relu; conv2d g64 oc64 kernel 5 pad 2 mode reflect; conv2d oc16 kernel 1",
        "conv1d ic4 oc16 in 4000 kernel 2 pad causal; conv1d oc16 kernel 2 dilation 2 pad causal + residual from 1; conv1d oc4 kernel 1",
        "conv3d ic3 oc8 in 9x14x14 kernel 1x3x3 pad 0,1,1, relu; conv3d oc8 kernel 3x1x1 pad 1,0,0",
    ];
    for text in blocks {
        let chain = read(text);
        let input = fill(chain.len_of(0), 5);
        let last = chain.steps().len();
        for target in targets_here() {
            let run = |plan: Option<Plan>, threads: usize| {
                let options = Options { plan, target, threads, ..Options::default() };
                let mut output = vec![f32::NAN; chain.len_of(last)];
                let packed = packed(&chain, options);
                let call = packed.call(&input, &mut output).threads(threads);
                call.executor(&CurrentThread).run().unwrap();
                output.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let wanted = run(Some(Plan::unfused(&chain)), 1);
            for threads in 1..=3 {
                assert!(run(None, threads) == wanted, "{text}, {target}, {threads} thread(s)");
            }
        }
    }
}

#[test]
fn a_fused_chain_holds_no_whole_tensor() {
    for target in targets_here() {
        let chain = read(INVERTED_RESIDUAL);
        let strips = Strips {
            rows: 4,
            keep: vec![true; 3],
            layouts: vec![conv_ir::Layout::ChannelsLast; 3],
            chunks: 1,
        };
        let group = Group { steps: 0..3, strips: Some(strips) };
        let plan = Plan { groups: vec![group.clone()], reasons: Vec::new() };
        let options = Options { plan: Some(plan), target, ..Options::default() };
        let lowered = Lowered::new(&chain, &options).unwrap();
        let nest = &lowered.groups[0].nest;
        // 6 rows of 28 of tensor 1, 4 of tensor 2.
        assert_eq!(scratch_bytes(nest), (6 + 4) * 28 * 96 * 4);
        assert_eq!(whole_bytes(&chain, &group), 2 * 28 * 28 * 96 * 4);
    }
}

#[test]
fn wrong_arrays_and_plans_are_refused() {
    let block = chain(3, [9, 9]).conv(8, 3).bias(true).pointwise(4).compile().unwrap();
    let (first, bias, second) = ([0.5f32; 8 * 27], [0.5; 8], [0.5; 32]);
    let refused = |steps: &[StepWeights<'_, f32>]| {
        block.pack_steps(steps).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(
        refused(&[(&first[..], &bias[..]).into()]),
        "there are weights for 1 steps, but the program has 2"
    );
    assert_eq!(
        refused(&[(&first[..], &bias[..]).into(), second[1..].into()]),
        "step 2: weight has 31 elements, but its shape [4, 8, 1, 1] needs 32"
    );
    assert_eq!(
        refused(&[first[..].into(), second[..].into()]),
        "step 1: the convolution adds a bias, but none was given"
    );
    let ready = block.pack_steps(&[(&first[..], &bias[..]).into(), second[..].into()]).unwrap();
    let wrong = ready.run(&[0.0; 243], &mut [0.0; 195]).unwrap_err().to_string();
    assert_eq!(wrong, "output has 195 elements, but its shape [1, 4, 7, 7] needs 196");

    let chain = read(INVERTED_RESIDUAL);
    let gap = Plan { groups: Plan::unfused(&chain).groups[1..].to_vec(), reasons: Vec::new() };
    let options = Options { plan: Some(gap), ..Options::default() };
    let error = Compiled::new(&chain, options).err().map(|e| e.to_string());
    assert_eq!(error.unwrap_or_default(), "plan: steps 1..2 are no group that begins at 0");
}

#[test]
fn steps_that_do_not_fit_are_named() {
    let wide = chain(3, [9, 9]).conv(8, 3).activation(Relu6).conv(4, 8).compile();
    let error = wide.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("step 2: output height is (7 + 0 + 0 - 8) / 1 + 1 = 0"), "{error}");
    let none = chain(3, [9, 9]).compile().err().map(|e| e.to_string());
    assert_eq!(none.unwrap_or_default(), "chain: there is no step, but a chain has at least one");
}

#[test]
fn known_steps_have_the_bits_of_their_unknown_twins() {
    let chain =
        read("conv2d in 40x50 kernel 5x1 pad 2,0; conv2d oc3 kernel 1x5 pad 0,2 + bias, relu");
    let arrays = arrays(&chain);
    let known = |at: usize| {
        let mut steps = chain.steps().to_vec();
        let (weight, bias) = &arrays[at];
        steps[at].conv = steps[at].conv.with_weights(weight, bias.as_deref()).unwrap();
        Program::new(steps).unwrap()
    };
    let strips = Strips {
        rows: 7,
        keep: vec![true; 2],
        layouts: vec![conv_ir::Layout::ChannelsFirst; 2],
        chunks: 1,
    };
    let fused =
        Plan { groups: vec![Group { steps: 0..2, strips: Some(strips) }], reasons: Vec::new() };
    let input = fill(chain.len_of(0), 5);
    for plan in [fused, Plan::unfused(&chain)] {
        for target in targets_here() {
            let run = |chain: &Program| {
                let options = Options { plan: Some(plan.clone()), target, ..Options::default() };
                let mut output = vec![f32::NAN; chain.len_of(2)];
                packed(chain, options).run(&input, &mut output).unwrap();
                output
            };
            for at in 0..2 {
                assert!(run(&known(at)) == run(&chain), "step {at} known, {target}, {plan:?}");
            }
        }
    }
}
