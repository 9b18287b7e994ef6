//! What was made for a program before is what would be made again.

use conv_ir::nest::{Expr, Leaf, Op};
use conv_ir::{Program, Target};

use super::fill;
use crate::memo::{Memo, twins};
use crate::x86::{self, MicroKernel};
use crate::{Compiled, Lowered, Options, Plan, StepWeights, host};

/// Three equal blocks.
fn network() -> Program {
    let block = "conv2d oc48 kernel 1 + bias, relu6; \
                 conv2d g48 oc48 kernel 3 pad 1 + bias, relu6; conv2d oc8 kernel 1 + bias";
    let text = format!("{block}; {block}; {block}").replacen("oc48", "ic8 oc48 in 28", 1);
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn equal_leaves_are_assembled_once_and_are_what_they_would_be() {
    let program = network();
    for target in [Target::AVX512, Target::AVX2] {
        let (memo, options) = (Memo::of(&program), Options { target, ..Options::default() });
        let lowered = Lowered::with(&program, &options, &memo).unwrap_or_else(|e| panic!("{e}"));
        let mut count = 0;
        for group in &lowered.groups {
            for leaf in &group.nest.leaves {
                let made = memo.assemble(&group.nest, leaf, (target.isa, None));
                let plain = x86::assemble(&group.nest, leaf, target.isa);
                assert_eq!(made, plain, "{}: {}", target.name, leaf.name);
                count += 1;
            }
        }
        assert!(memo.len() * 2 <= count, "{} of {count}", memo.len());
    }
}

#[test]
fn zeros_of_two_signs_are_two_leaves() {
    let (program, target) = (network(), Target::AVX512);
    let options = Options { target, ..Options::default() };
    let lowered = Lowered::new(&program, &options).unwrap_or_else(|e| panic!("{e}"));
    let (nest, memo) = (&lowered.groups[0].nest, Memo::of(&program));
    let made =
        |leaf: &Leaf| -> Option<MicroKernel> { memo.assemble(nest, leaf, (target.isa, None)).ok() };
    let mut differ = 0;
    for leaf in &nest.leaves {
        let mut other = leaf.clone();
        for op in &mut other.finish {
            negate_zeros(op);
        }
        let (one, other) = (made(leaf), made(&other));
        differ += usize::from(one != other);
    }
    assert!(differ > 0, "relu6 has a zero");
}

/// Six steps of two kinds, of which the last has another activation.
#[test]
fn equal_groups_are_one_code_and_compute_what_they_would() {
    let block = "conv2d oc8 kernel 3 pad 1 + bias, relu; conv2d oc8 kernel 1 + bias";
    let text = format!("{block}; {block}; {block}, relu").replacen("oc8", "ic8 oc8 in 9", 1);
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    for target in host::targets_here() {
        let plan = Some(Plan::unfused(&program));
        let options = Options { target, plan, cache: false, ..Options::default() };
        let compiled = Compiled::new(program.clone(), options.clone()).unwrap();
        let nests: Vec<_> = compiled.nests().collect();
        let twins = twins(nests.into_iter());
        // The first reads the caller's array, the others may read tensors with gaps.
        assert_eq!((twins[3], twins[4], twins[5]), (1, twins[2], 5), "{target}: {twins:?}");
        let different = (0..6).filter(|at| twins[*at] == *at).count();
        let bytes: Vec<usize> = compiled.shared.each_code().map(|code| code.bytes()).collect();
        assert_eq!((bytes.len(), compiled.shared.codes.len()), (different, 6));
        assert_eq!(bytes.iter().sum::<usize>(), compiled.code_bytes());
        // Each has its own weights.
        let numbers = |conv: &conv_ir::Conv, seed| (fill(conv.weight_len(), seed), fill(8, seed));
        let all: Vec<(Vec<f32>, Vec<f32>)> =
            program.convs().zip(1..).map(|(conv, seed)| numbers(conv, seed)).collect();
        let steps = all.iter().map(|(weight, bias)| StepWeights { weight, bias: Some(bias) });
        let steps: Vec<StepWeights<'_, f32>> = steps.collect();
        let input: Vec<f32> = fill(program.len_of(0), 9);
        let mut output = vec![0.0; program.len_of(6)];
        compiled.pack_steps(&steps).unwrap().run(&input, &mut output).unwrap();
        let mut tensor = input;
        for (conv, step) in program.convs().zip(steps) {
            let alone = Options { plan: None, ..options.clone() };
            let alone = Compiled::new(conv.clone(), alone).unwrap();
            let mut next = vec![0.0; conv.output_len().unwrap()];
            let packed = alone.pack(step.weight, step.bias).unwrap();
            packed.run(&tensor, &mut next).unwrap();
            tensor = next;
        }
        assert_eq!(output, tensor, "{target}");
    }
}

#[test]
fn nests_whose_constants_differ_by_a_sign_are_no_twins() {
    let lowered = Lowered::new(&network(), &Options::default()).unwrap();
    let nest = &lowered.groups[0].nest;
    let mut other = nest.clone();
    other.leaves.iter_mut().flat_map(|leaf| &mut leaf.finish).for_each(negate_zeros);
    assert_eq!(*nest, other, "zeros of two signs are equal");
    let mut renamed = nest.clone();
    renamed.buffers.iter_mut().for_each(|buffer| buffer.name.push('x'));
    renamed.leaves.iter_mut().for_each(|leaf| leaf.name.push('x'));
    assert_eq!(twins([nest, &other, &renamed, &other].into_iter()), [0, 1, 0, 1]);
}

fn negate_zeros(op: &mut Op) {
    match op {
        Op::Each(_, body) => body.iter_mut().for_each(negate_zeros),
        Op::Set { value, .. } | Op::Store { value, .. } => negate(value),
        Op::StoreBlock { .. } => {}
    }
}

fn negate(e: &mut Expr) {
    match e {
        Expr::Const(c) if *c == 0.0 => *c = -0.0,
        Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|e| negate(e)),
        _ => {}
    }
}
