//! The two hand-written nests, and one broken nest for each thing that the judge must not let pass.

use super::{Arguments, run, run_parts};
use crate::Error;
use crate::nest::samples::{INPUT, OUTPUT, PADDED, ax, lowered, naive};
use crate::nest::{Access, Affine, AxisId, Expr, Leaf, Loop, Nest, Op, RegId, Stmt};

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7) % 11) as f32 - 5.0).collect()
}

fn result(nest: &Nest, parts: usize) -> Vec<f32> {
    let mut output = vec![f32::NAN; 36];
    let (input, weight, bias) = (numbers(12), numbers(36), numbers(6));
    let arguments = Arguments {
        input: &input,
        weight: &weight,
        bias: Some(&bias),
        residual: None,
        output: &mut output,
    };
    run_parts(nest, arguments, &[], parts).unwrap();
    output
}

/// The equation, once more, without any nest.
fn expected() -> Vec<f32> {
    let (input, weight, bias) = (numbers(12), numbers(36), numbers(6));
    let tap = |oc: usize, ow: usize, ic: usize, kw: usize| match (ow + kw).checked_sub(1) {
        Some(x) if x < 6 => input[ic * 6 + x] * weight[(oc * 2 + ic) * 3 + kw],
        _ => 0.0,
    };
    let taps = |oc, ow| (0..6).map(|t| tap(oc, ow, t / 3, t % 3)).sum::<f32>();
    (0..36).map(|at| bias[at / 6] + taps(at / 6, at % 6)).collect()
}

#[test]
fn both_forms_compute_the_equation_on_any_number_of_threads() {
    assert_eq!(result(&naive(), 1), expected());
    for parts in 1..5 {
        assert_eq!(result(&lowered(), parts), expected(), "{parts} threads");
    }
}

#[test]
fn the_caller_hears_of_wrong_arguments() {
    let (input, weight, bias) = (numbers(12), numbers(36), numbers(6));
    let with = |bias, residual, n: usize, free: &[(&str, usize)]| {
        let mut output = vec![0.0; n];
        run(
            &naive(),
            Arguments { input: &input, weight: &weight, bias, residual, output: &mut output },
            free,
        )
        .unwrap_err()
    };
    let texts = [
        with(None, None, 36, &[]),
        with(Some(&bias[..]), Some(&bias[..]), 36, &[]),
        with(Some(&bias[..]), None, 35, &[]),
        with(Some(&bias[..]), None, 36, &[("H", 3)]),
    ]
    .map(|e| e.to_string());
    assert_eq!(
        texts,
        [
            "the convolution has a bias, but none is given",
            "residual is given, but the convolution has none",
            "output has 35 elements, but its shape [6, 6] needs 36",
            "there is no free size H",
        ]
    );
    let mut output = vec![0.0; 36];
    let doubles = vec![0.0; 36];
    let arguments = Arguments {
        input: &doubles,
        weight: &doubles,
        bias: None,
        residual: None,
        output: &mut output,
    };
    assert!(matches!(run::<f64>(&naive(), arguments, &[]), Err(Error::Argument(_))));
}

/// The leaf in place under the loops of the naive nest.
fn with_leaf(change: impl Fn(&mut Leaf)) -> Nest {
    let mut nest = naive();
    let mut stmts = &mut nest.body;
    loop {
        match &mut stmts[0] {
            Stmt::For(_, body) => stmts = body,
            Stmt::Leaf(leaf) => break change(leaf),
            Stmt::Call(_) => unreachable!("the naive nest calls nothing"),
        }
    }
    nest
}

/// What the judge says of a nest.
fn verdict(nest: Nest, parts: usize) -> String {
    let caught =
        std::panic::catch_unwind(|| result(&nest, parts)).expect_err("the judge let it pass");
    caught.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn store(access: Access) -> Op {
    Op::Store { to: access, value: Expr::Const(1.0), when: Vec::new() }
}

#[test]
fn every_forbidden_thing_is_named() {
    let outside = with_leaf(|l| l.reduce[1] = Loop::serial(AxisId(3), 3));
    let twice = with_leaf(|l| l.finish.push(l.finish[0].clone()));
    let never = with_leaf(|l| l.finish.clear());
    let unset = with_leaf(|l| l.init.clear());
    let read_only = with_leaf(|l| {
        l.finish.push(store(Access::buffer(INPUT, [ax(2), ax(1)].map(|_| Affine::default()))))
    });
    let unbound = with_leaf(|l| l.finish.push(store(Access::buffer(OUTPUT, [ax(2), ax(1)]))));
    let write_only = with_leaf(|l| {
        l.finish.push(Op::set(RegId(0), Expr::Load(Access::buffer(OUTPUT, [ax(0), ax(1)]))))
    });
    let flat = with_leaf(|l| l.finish.push(store(Access::buffer(OUTPUT, [ax(0)]))));
    for (nest, says) in [
        (
            outside,
            "leaf point: load input[ic, ow + kw - 1]: index -1 of dimension 1 is outside 0..6, at oc = 0, ow = 0",
        ),
        (twice, "store output[oc, ow]: that element was written before"),
        (never, "36 of 36 elements of output were never written, first [0, 0]"),
        (unset, "register acc is read before it is set"),
        (read_only, "store input[0, 0]: that buffer is not written here"),
        (unbound, "ic is used where it is not bound; bound are oc = 0, ow = 0"),
        (write_only, "the output is not read"),
        (flat, "the buffer has 2 dimensions"),
    ] {
        let verdict = verdict(nest, 1);
        assert!(verdict.contains(says), "{verdict}");
    }
}

#[test]
fn scratch_cut_and_sharing_are_judged() {
    let mut unpadded = lowered();
    unpadded.body.remove(0);
    let mut uncut = lowered();
    uncut.leaves[0].lanes.as_mut().unwrap().cut = None;
    let mut cut_too_much = lowered();
    cut_too_much.leaves[0].lanes.as_mut().unwrap().cut = Some(5);
    let mut late_packing = lowered();
    late_packing.body.push(late_packing.setup[0].clone());
    let mut hidden = lowered();
    hidden.leaves[0].finish.push(store(Access::buffer(PADDED, [ax(2), ax(2)])));
    for (nest, says) in [
        (unpadded, "leaf row: load @padded[ic, ow.i + kw]: that element was never written"),
        (uncut, "load @bias[4 oc.i + oc.l]: index 6 of dimension 0 is outside 0..6"),
        (cut_too_much, "6 of 36 elements of output were never written, first [5, 0]"),
        (late_packing, "that buffer is not written here"),
        (hidden, "ow.o is used where it is not bound"),
    ] {
        let verdict = verdict(nest, 1);
        assert!(verdict.contains(says), "{verdict}");
    }
    assert!(verdict(naive(), 2).contains("written before"), "a serial body on two threads");
}
