//! Groups of a plan that are refused, and what is done then.

use super::*;

/// The channels of a strip are near each other, those of the whole image are not.
#[test]
fn a_group_whose_kernels_reach_too_far_goes_apart() {
    let text = "conv2d ic4 in 20000 kernel 3 pad 1; conv2d kernel 3 pad 1";
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    for target in [Target::AVX2, Target::AVX512] {
        let options = Options { target, ..Options::default() };
        let lowered = Lowered::new(&program, &options).unwrap_or_else(|e| panic!("{e}"));
        let (made, backend) = (lowered.groups, options.backend().expect("x86-64"));
        for LoweredGroup { nest, kernels, .. } in made {
            crate::emit::emit(&nest, &backend, target.isa, kernels).expect("what is lowered");
        }
    }
}

#[test]
fn one_refused_group_leaves_the_others_fused() {
    let block = "conv2d oc96 kernel 1 + bias, relu6; conv2d g96 oc96 kernel 3 pad 1, relu6; \
                 conv2d oc16 kernel 1";
    let text = format!("{block}; {block}").replacen("oc96", "ic16 oc96 in 56", 1);
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let options = Options { target: Target::AVX512, ..Options::default() };
    let plan = Plan::choose(&program, &options.target, 1);
    let steps = |plan: &Plan| plan.groups.iter().map(|g| g.steps.clone()).collect::<Vec<_>>();
    assert_eq!(steps(&plan), [0..3, 3..6], "{:?}", plan.reasons);
    let memo = Memo::of(&program);
    let lower = |group: &Group| match group.steps == (3..6) {
        true => Err(Error::Unsupported("no strips".to_owned())),
        false => {
            let rewritten = program.rewritten(Accuracy::Exact);
            let arranged = Arranged::as_described(&rewritten.program);
            lowered((&rewritten, &arranged), group, (&options, &memo))
        }
    };
    let (plan, groups) = fused_where_it_can_be(plan, 2, &lower).expect("steps go alone");
    assert_eq!(steps(&plan), [0..3, 3..4, 4..5, 5..6]);
    assert_eq!(groups.len(), 4);
    let why = plan.reasons.last().map_or("", String::as_str);
    assert!(why.starts_with("steps 4-6 not fused: ") && why.ends_with("no strips"), "{why}");
    plan.check(&program).unwrap_or_else(|e| panic!("{e}"));
}
