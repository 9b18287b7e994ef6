use super::*;

const INVERTED_RESIDUAL: &str = "\
conv2d f32 n1 g1 ic16 oc96 in 56x56 kernel 1x1 + bias, relu6
conv2d f32 n1 g96 ic96 oc96 in 56x56 kernel 3x3 pad 1:1,1:1 + bias, relu6
conv2d f32 n1 g1 ic96 oc16 in 56x56 kernel 1x1 + bias + residual from 0";

fn error(text: &str) -> String {
    text.parse::<Program>().expect_err("it is wrong").to_string()
}

#[test]
fn printed_and_read_is_the_same() {
    let chain: Program = INVERTED_RESIDUAL.parse().expect("legal");
    assert_eq!(chain.to_string(), INVERTED_RESIDUAL);
    assert_eq!(chain.steps()[2].residual, Some(0));
    assert_eq!((chain.input_shape(), chain.shape(1)), (vec![1, 16, 56, 56], vec![1, 96, 56, 56]));
}

#[test]
fn what_follows_may_be_left_out() {
    let short = "conv2d ic16 oc96 in 56 kernel 1 + bias, relu6; conv2d g96 oc96 kernel 3 pad 1 + bias, relu6;
                 conv2d oc16 kernel 1 + bias + residual from 0";
    assert_eq!(short.parse::<Program>().expect("legal").to_string(), INVERTED_RESIDUAL);
}

#[test]
fn edges_that_do_not_fit() {
    assert_eq!(
        error("conv2d ic3 oc8 in 9 kernel 3; conv2d ic4 oc8 in 7x6 kernel 1"),
        "chain: step 1 gives [1, 8, 7, 7], but step 2 takes [1, 4, 7, 6]: channels 8 and 4, width 7 and 6"
    );
    assert_eq!(
        error("conv2d in 9 kernel 3; conv2d f64 nhwc kernel 1; conv1d in 7 f64 nwc kernel 1"),
        "chain: step 1 computes in f32, but step 2 in f64: a chain has one type
chain: step 1 has channels first, but step 2 channels last: a chain has one layout
chain: step 2 has 2 spatial axes, but step 3 has 1"
    );
    assert_eq!(error(" ; "), "chain: there is no step, but a chain has at least one");
}

#[test]
fn free_sizes_follow_from_step_to_step() {
    let text = "conv2d oc4 nN in HxW kernel 3x5 pad 1; conv2d oc2 kernel 1 stride 2; conv2d oc2 kernel 3 pad 1 + residual from 2";
    let chain: Program = text.parse().expect("legal");
    let lines: Vec<String> = chain.to_string().lines().map(str::to_owned).collect();
    assert!(lines[1].contains("nN ") && lines[1].contains("in HxW_1 "), "{chain}");
    assert!(lines[2].contains("in H_2xW_1_2 "), "{chain}");
    assert_eq!(chain.to_string().parse::<Program>(), Ok(chain.clone()));
    assert_eq!(chain.free_sizes(), ["N", "H", "W"]);
    let sized = chain.with_sizes(&[("H", 9), ("W", 12), ("N", 3)]).expect("legal");
    let numbers = text.replace("nN", "n3").replace("HxW", "9x12");
    assert_eq!(sized, numbers.parse().expect("legal"));
    // Moving the strides moves the names with them.
    let moved = chain.skipping_strides();
    assert_ne!(moved, chain);
    assert_eq!(moved.with_sizes(&[("H", 9), ("W", 12), ("N", 3)]), Ok(sized.skipping_strides()));

    let small = chain.with_sizes(&[("H", 9), ("W", 2), ("N", 3)]).expect_err("too narrow");
    assert!(small.to_string().contains("output width is (2 + 1 + 1 - 5) / 1 + 1 = 0"), "{small}");
    assert_eq!(
        error("conv2d in HxW kernel 3; conv2d in HxW kernel 1"),
        "chain: step 1 gives [1, 1, H_1, W_1], but step 2 takes [1, 1, H, W]: height H_1 and H, width W_1 and W"
    );
    assert_eq!(
        error("conv2d in 9xW kernel 3; conv2d kernel 3 + residual from 0"),
        "chain: step 2 gives [1, 1, 5, W_1_2], but the residual from 0 has shape [1, 1, 9, W]"
    );
    let small = "conv1d in L kernel 3; conv1d kernel 3".parse::<Program>().expect("legal");
    let small = small.with_sizes(&[("L", 4)]).expect_err("too short").to_string();
    assert!(small.contains("step 2: output width is (2 + 0 + 0 - 3)"), "{small}");
}

#[test]
fn a_convolution_is_a_chain_of_one_step() {
    let conv: Conv = "conv2d in HxW kernel 3 + residual".parse().expect("legal");
    let chain = Program::from(&conv);
    assert_eq!(chain.single(), Some(&conv));
    assert_eq!(chain.rewritten(crate::separate::Accuracy::Fast).program, chain);
}

#[test]
fn a_residual_that_is_far_away_is_refused() {
    let text = "conv1d in 8 kernel 1; conv1d kernel 1 + residual from 18446744073709551615";
    let error = text.parse::<Program>().unwrap_err().to_string();
    assert!(error.contains("adds a residual from 18446744073709551615, but only"), "{error}");
}

#[test]
fn residuals_that_do_not_fit() {
    assert_eq!(
        error("conv2d oc2 in 9 kernel 3; conv2d oc2 kernel 3 + residual from 2"),
        "chain: step 2 adds a residual from 2, but only tensors 0 (the input) to 1 are there before it"
    );
    assert_eq!(
        error("conv2d oc2 in 9 kernel 3; conv2d oc2 kernel 3 + residual from 1"),
        "chain: step 2 gives [1, 2, 5, 5], but the residual from 1 has shape [1, 2, 7, 7]"
    );
    let conv: Conv = "conv2d in 9 kernel 1 + residual".parse().expect("legal");
    let none = Program::new(vec![conv.into()]).expect_err("it is wrong").to_string();
    assert_eq!(none, "chain: step 1 adds a residual, but does not say from which tensor");
}

#[test]
fn errors_of_the_text_say_where() {
    assert_eq!(
        error("conv2d in 9 kernel 3; conv2d kernl 3"),
        "cannot read the chain at column 30: step 2: found `kernl`, did you mean `kernel`?"
    );
    assert_eq!(
        error("conv2d in 9 kernel 3; conv1d kernel 3"),
        "cannot read the chain at column 22: step 2: it has 1 axis, but the step before has 2 axes"
    );
    assert_eq!(
        error("conv2d in 9 kernel 3\nconv2d kernel 3 + residual, relu"),
        "cannot read the chain at column 27: step 2: found `,`, expected `from` and the number of a tensor: 0 is the chain's input, 1 the first step's output"
    );
    assert_eq!(
        error("conv2d in 9 kernel 3; conv2d kernel 8"),
        "kernel (height): step 2: output height is (7 + 0 + 0 - 8) / 1 + 1 = 0: window 8 is wider than the padded input 7
kernel (width): step 2: output width is (7 + 0 + 0 - 8) / 1 + 1 = 0: window 8 is wider than the padded input 7"
    );
    assert!("conv2d in 9 kernel 1 + residual from 0".parse::<Conv>().is_err());
}

#[test]
fn errors_are_short_however_long_the_text() {
    let word = format!("conv2d in 9 kernel 3 {}", "q".repeat(100_000));
    let name = format!("conv2d in {}x9 kernel 3; conv2d in 5 kernel 1", "Q".repeat(100_000));
    let many = "conv2d in 9 kernel 3\nconv2d ic4 oc2 in 6 kernel 1\n".repeat(2000);
    for text in [word, name, many] {
        let error = error(&text);
        assert!(error.len() < 5000 && error.lines().count() <= 21, "{}", error.len());
    }
}

#[test]
fn thousands_of_steps_are_read_in_one_line_too() {
    let text = format!("conv2d in 9 kernel 3 pad 1{}", "; conv2d kernel 3 pad 1".repeat(9_999));
    let chain: Program = text.parse().expect("legal");
    assert_eq!(chain.steps().len(), 10_000);
    assert_eq!(chain.skipping_strides(), chain);
    let late = error(&format!("{text}; conv2d kernel"));
    assert!(late.contains("column 230019"), "{late}");
}

/// The nest of `count` equal steps, each by itself.
fn joined(count: usize) -> crate::Nest {
    use crate::program::{fuse::Lowered, plan::Plan, whole};
    use crate::{Schedule, Target, passes};
    let text = format!(
        "conv1d ic4 oc4 in 30 kernel 3 pad 1{}",
        "; conv1d oc4 kernel 3 pad 1".repeat(count - 1)
    );
    let chain: Program = text.parse().expect("legal");
    let target = Target::AVX2;
    let mut lower = |conv: &Conv, layouts, _: Option<&Schedule>| {
        let schedule = Schedule::choose_as(conv, layouts, &target).schedule;
        let nest = passes::compile_as(conv, layouts, &schedule, &target, &mut |_, _| {})?;
        Ok(Lowered { schedule, nest })
    };
    whole::nest(&chain, &Plan::unfused(&chain), &target, &mut lower).expect("it can be")
}

#[test]
fn a_long_chain_shares_axes_and_memory() {
    let [some, more] = [10, 200].map(joined);
    assert_eq!(some.axes.len(), more.axes.len());
    let scratch = |nest: &crate::Nest| nest.buffers_of(crate::nest::BufferRole::Scratch).count();
    assert_eq!((scratch(&some), scratch(&more)), (2, 2));
    assert_eq!(more.leaves.len() * 10, some.leaves.len() * 200);
    assert!(crate::nest::verify(&some).is_empty());
}

const INCEPTION: &str = "\
conv2d f32 n1 g1 ic4 oc8 in 9x9 kernel 1x1, relu
conv2d f32 n1 g1 ic8 oc6 in 9x9 kernel 3x3 pad 1:1,1:1 from 1 + bias, relu
maxpool2d f32 n1 ic8 in 9x9 kernel 3x3 pad 1:1,1:1 from 1
conv2d f32 n1 g1 ic14 oc8 in 9x9 kernel 1x1 from 2,3 + bias + residual from 1, relu
outputs 2,4";

#[test]
fn a_graph_is_printed_and_read() {
    let graph: Program = INCEPTION.replacen(" from 1", "", 1).parse().expect("legal");
    assert_eq!(graph.to_string(), INCEPTION.replacen(" from 1", "", 1));
    assert_eq!(INCEPTION.parse(), Ok(graph.clone()));
    let short = "conv2d ic4 oc8 in 9 kernel 1, relu; conv2d oc6 kernel 3 pad 1 + bias, relu
        maxpool2d kernel 3 pad 1 from 1
        conv2d kernel 1 oc8 from 2, 3 + bias + residual from 1, relu; outputs 2, 4;";
    assert_eq!(short.parse(), Ok(graph.clone()));
    assert_eq!((graph.joins(), graph.tensors()), (&[vec![2, 3]][..], 6));
    assert_eq!((graph.input_of(2), graph.input_of(3)), (1, 5));
    assert_eq!((graph.shape(5), graph.outputs()), (vec![1, 14, 9, 9], &[2, 4][..]));
}

#[test]
fn graphs_that_do_not_fit() {
    let first = "conv2d ic3 oc4 in 9 kernel 1; ";
    for (rest, why) in [
        (
            "conv2d kernel 1 from 3",
            "cannot read the chain at column 52: step 2: it reads tensor 3, but only tensors 0 (the input) to 1 are there before it",
        ),
        ("conv2d kernel 1 from x", "found `x`, expected a number"),
        (
            "conv2d kernel 1 from 0",
            "chain: nobody reads what step 1 gives: leave the step out, or name 1 as an output",
        ),
        (
            "conv2d oc2 kernel 3; conv2d kernel 1 from 1,2",
            "chain: step 3 joins tensor 1 and tensor 2 along the channels, but one is [1, 4, 9, 9] and the other [1, 2, 7, 7]",
        ),
        (
            "conv2d ic6 kernel 1 from 0, 1",
            "chain: tensors 0,1 joined are [1, 7, 9, 9], but step 2 takes [1, 6, 9, 9]: channels 7 and 6",
        ),
        (
            "conv2d ic5 kernel 1 from 0; conv2d kernel 1 from 1,2",
            "chain: the input is [1, 3, 9, 9], but step 2 takes [1, 5, 9, 9]: channels 3 and 5",
        ),
        (
            "conv2d kernel 1; outputs 3",
            "chain: outputs: there is no output 3, no step gives it: the steps give 1 to 2",
        ),
        (
            "conv2d kernel 1; outputs 0,2",
            "chain: outputs: there is no output 0, 0 is the input: the steps give 1 to 2",
        ),
        ("conv2d kernel 1; outputs 2,2", "chain: outputs: tensor 2 is named twice"),
        ("conv2d kernel 1; outputs 1", "nobody reads what step 2 gives"),
        ("conv2d kernel 1; outputs", "expected the numbers of the tensors that are given"),
        ("conv2d kernel 1; outputs 2; conv2d kernel 1", "nothing stands behind `outputs 2`"),
        (
            "conv2d oc4 kernel 1; output 2",
            "column 51: what a run gives is named by `outputs`, as in `outputs 1`",
        ),
        (
            "conv2d oc4 kernel 1 + residual from 1, 0",
            "one tensor is added or multiplies: a step by itself adds another, as `maxpool2d",
        ),
        (
            "conv2d kernel 1 from 1,",
            "found nothing, expected the number of another tensor, or an activation",
        ),
    ] {
        let error = error(&format!("{first}{rest}"));
        assert!(error.contains(why), "{rest}: {error}");
    }
    assert!(error("conv2d in 9 kernel 1 from 0").contains("leave `from` out"));
    assert!("conv2d in 9 kernel 1 from 0".parse::<Conv>().is_err());
}

#[test]
fn free_sizes_follow_along_branches() {
    let text = "conv2d ic2 oc4 in HxW kernel 3; conv2d oc2 kernel 1; \
        conv2d oc3 kernel 1 from 1; conv2d oc1 kernel 3 from 2,3 ";
    let graph: Program = text.parse().expect("legal");
    let sized = graph.with_sizes(&[("H", 9), ("W", 12)]).expect("legal");
    assert_eq!(sized, text.replace("HxW", "9x12").parse().expect("legal"));
    assert_eq!(sized.shape(5), [1, 5, 7, 10]);
}

/// Strides stay where somebody else reads the tensor between.
#[test]
fn strides_move_along_a_branch_alone() {
    let text = "conv2d ic2 oc4 in 15 kernel 3; conv2d oc2 kernel 1 stride 2; \
        conv2d oc4 kernel 3 pad 1 from 1; conv2d oc2 kernel 1 stride 2; \
        conv2d oc1 kernel 1 from 2,4";
    let graph: Program = text.parse().expect("legal");
    let moved = "conv2d ic2 oc4 in 15 kernel 3; conv2d oc2 kernel 1 stride 2; \
        conv2d oc4 kernel 3 pad 1 stride 2 from 1; conv2d oc2 kernel 1; \
        conv2d oc1 kernel 1 from 2,4";
    assert_eq!(graph.skipping_strides(), moved.parse().expect("legal"));
}

#[test]
fn a_plan_keeps_branches_whole() {
    use crate::{Target, program::plan::Plan};
    let block = "conv2d ic16 oc96 in 56 kernel 1, relu6; conv2d g96 oc96 kernel 3 pad 1, relu6; \
        conv2d oc24 kernel 1";
    let ends = |text: &str| {
        let graph: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let plan = Plan::choose(&graph, &Target::AVX512, 1);
        plan.check(&graph).unwrap_or_else(|e| panic!("{text}: {e}"));
        plan.groups.iter().map(|group| group.steps.end).collect::<Vec<_>>()
    };
    assert_eq!(ends(block), [3]);
    // A branch is fused as a row is; tensors that both read are whole.
    let branch = "conv2d oc96 kernel 1 from 0, relu6; conv2d g96 oc96 kernel 3 pad 1, relu6; \
        conv2d oc24 kernel 1";
    assert_eq!(ends(&format!("{block}; {branch}; conv2d oc8 kernel 1 from 3,6")), [3, 6, 7]);
    assert!(ends(&format!("{block}; conv2d oc8 kernel 1 from 2,3")).contains(&2));
    assert!(ends(&format!("{block}; outputs 1,3")).contains(&1));
}

#[test]
fn inputs_are_declared_among_the_steps() {
    let text = "conv2d f16 n2 nhwc ic3 oc4 in 9x8 kernel 3 pad 1; input2d ic2 in 9x8; \
        conv2d oc1 kernel 1 from 1,2 + residual from 3; input2d ic1 in 9x8";
    assert!(error(text).contains("tensor 4 is an input, which no step computes"));
    let text = "conv2d f16 n2 nhwc ic3 oc4 in 9x8 kernel 3 pad 1; input2d ic2 in 9x8; \
        input2d ic1 in 9x8; conv2d oc1 kernel 1 from 1,2 + residual from 3";
    let graph: Program = text.parse().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(graph.inputs(), [0, 2, 3]);
    assert_eq!(graph.shape(2), [2, 9, 8, 2]);
    assert_eq!(graph.line(1), "input2d f16 nhwc n2 ic2 in 9x8");
    assert_eq!(graph.to_string().parse(), Ok(graph.clone()));
    assert!(!graph.is_row() && graph.is_input(3) && !graph.is_input(1));
    // The first step may declare the first one.
    let text = "input1d ic2 in 9; input1d ic1 in 9; conv1d oc1 kernel 1 from 1,2";
    let graph: Program = text.parse().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((graph.inputs(), graph.input_shape()), (&[1, 2][..], vec![1, 2, 9]));
    let same: Program = text.replace("from 1,2", "from 0,2").parse().expect("0 is 1");
    assert_eq!(same.input_shape(), [1, 2, 9]);
    // Sizes of their own.
    let text = "input1d ic2 in L; input1d ic2 in M; conv1d oc2 kernel 3 from 1 + residual from 2";
    assert!(error(text).contains("the residual from 2 has shape [1, 2, M]"), "{}", error(text));
    let text = "input1d ic2 in L; input1d ic1 in M; conv1d oc1 kernel 3 from 1; \
        conv1d oc1 kernel 3 from 2; outputs 3,4";
    let graph: Program = text.parse().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(graph.free_sizes(), ["L", "M"]);
    let sized = graph.with_sizes(&[("M", 7), ("L", 5)]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((sized.shape(3), sized.shape(4)), (vec![1, 1, 3], vec![1, 1, 5]));
    let missing = graph.with_sizes(&[("L", 5)]).map_err(|e| e.to_string());
    assert_eq!(missing.unwrap_err(), "the size M is missing: the free sizes are M");
    assert!(graph.with_sizes(&[("L", 5), ("M", 7), ("N", 1)]).is_err());
}

#[test]
fn what_is_wrong_with_an_input_is_said() {
    for (text, why) in [
        ("input2d ic8 in 9", "outputs: tensor 1 is an input, which no step computes"),
        ("conv2d in 9 kernel 1; input2d in 9", "`ic` is missing: the channels of the input"),
        ("conv2d in 9 kernel 1; input2d ic1", "`in` is missing"),
        ("conv2d in 9 kernel 1; input2d ic1 in 9 kernel 1", "step 2: an input computes nothing"),
        ("conv2d in 9 kernel 1; input2d ic1 in 9, relu", "step 2: an input computes nothing"),
        ("conv2d in 9 kernel 1; input2d ic1 in 9 from 0", "step 2: an input computes nothing"),
        (
            "conv2d in 9 kernel 1; input2d ic1 in 9; conv2d kernel 1 from 1",
            "nobody reads input 2: leave it out",
        ),
        (
            "conv2d in 9 kernel 1; input2d f64 ic1 in 9; conv2d f32 kernel 1 from 1,2",
            "step 2 computes in f64, but step 3 in f32",
        ),
        (
            "conv2d in 9 kernel 1; input1d ic1 in 9; conv2d kernel 1 from 2",
            "it has 2 axes, but the step before has 1 axis",
        ),
    ] {
        let error = error(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    let alone = "input2d ic8 in 9".parse::<Conv>().map_err(|e| e.to_string());
    assert!(alone.unwrap_err().contains("an input is declared in a program of several steps"));
}

#[test]
fn a_residual_may_multiply() {
    use crate::conv::Combine;
    let text = "conv2d nhwc n2 ic3 oc4 in 9x8 kernel 3; global_avgpool2d; conv2d oc4 kernel 1 from 1 \
        * scale from 2, relu; maxpool2d kernel 1 * residual from 1";
    let graph: Program = text.parse().unwrap_or_else(|e| panic!("{e}"));
    let combined: Vec<Combine> = graph.convs().map(|conv| conv.spec().combine).collect();
    assert_eq!(combined[2..], [Combine::Scale, Combine::Multiply]);
    assert_eq!(graph.steps()[2].conv.residual_shape(), Some(vec![2, 1, 1, 4]));
    assert!(graph.line(2).ends_with("kernel 1x1 from 1 * scale from 2, relu"), "{}", graph.line(2));
    assert_eq!(graph.to_string().parse(), Ok(graph.clone()));
    for (text, why) in [
        (
            "conv2d ic2 oc2 in 9 kernel 1; conv2d kernel 1 * scale from 1",
            "but tensor 1 has shape [1, 2, 9, 9]",
        ),
        (
            "conv2d in 9 kernel 1; conv2d kernel 1 * bias",
            "found `bias`, expected `residual` or `scale`",
        ),
        (
            "conv2d in 9 kernel 1; conv2d kernel 1 * residual from 0 + residual from 1",
            "residual is given twice",
        ),
        (
            "conv2d in 9 kernel 1; conv2d kernel 1 * scale",
            "expected `from` and the number of a tensor",
        ),
    ] {
        let error = error(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    let bytes = "conv2d u8 x i8 -> i32 in 9 kernel 1 * residual".parse::<Conv>();
    assert!(bytes.unwrap_err().to_string().contains("i32 is not multiplied by a tensor: use f32"));
}
