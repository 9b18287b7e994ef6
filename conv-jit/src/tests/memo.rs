//! What was made for a program before is what would be made again.

use conv_ir::nest::{Expr, Leaf, Op};
use conv_ir::{Program, Target};

use crate::memo::Memo;
use crate::x86::{self, MicroKernel};
use crate::{Lowered, Options};

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
