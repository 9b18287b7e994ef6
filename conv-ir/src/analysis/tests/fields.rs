//! Fields of known stacks.

use super::conv;
use crate::Conv;
use crate::analysis::{Layer, Node, Ratio, ReceptiveField, Stack, Window, receptive_field};

fn sizes(texts: &[&str]) -> Vec<i64> {
    let convs: Vec<Conv> = texts.iter().map(|text| conv(text)).collect();
    let fields = receptive_field(&convs).unwrap();
    fields.iter().map(|field| field.size).collect()
}

#[test]
fn dilated_stack_sees_3_7_15() {
    let stack = [
        "conv2d in 64 kernel 3",
        "conv2d in 64 kernel 3 dilation 2",
        "conv2d in 64 kernel 3 dilation 4",
    ];
    assert_eq!(sizes(&stack[..1]), [3, 3]);
    assert_eq!(sizes(&stack[..2]), [7, 7]);
    assert_eq!(sizes(&stack), [15, 15]);
}

#[test]
fn strides_multiply_and_padding_moves_the_start() {
    let convs = [
        "conv1d in 224 kernel 11 stride 4 pad 2",
        "conv1d in 55 kernel 3 stride 2",
        "conv1d in 27 kernel 5 pad 2",
    ]
    .map(conv);
    let field = receptive_field(&convs).unwrap()[0];
    let start = -(2 + 2 * 8);
    assert_eq!((field.size, field.least, field.start), (51, 51, start));
    assert_eq!((field.stride, field.period, field.aligned), (Ratio::from(8), 1, true));
    assert_eq!(field.centre, Ratio::from(start + 25));
}

#[test]
fn transposed_steps_have_fractional_strides() {
    let up = conv("conv1d-transposed in 8 kernel 3 stride 2");
    let field = receptive_field(std::slice::from_ref(&up)).unwrap()[0];
    // Even outputs meet the taps 0 and 2 of neighbours, odd ones the middle tap of one input.
    let half = Ratio::ONE.over(2).unwrap();
    let expected = ReceptiveField {
        size: 2,
        least: 1,
        stride: half,
        start: -1,
        centre: Ratio::from(-1).over(2).unwrap(),
        period: 2,
        aligned: true,
    };
    assert_eq!(field, expected);
    // Down and up again: every second output is like its neighbour's neighbour.
    let down = conv("conv1d in 17 kernel 3 stride 2");
    let both = receptive_field(&[down, up]).unwrap()[0];
    assert_eq!((both.stride, both.period, both.size, both.least), (Ratio::ONE, 2, 5, 3));
    // Window shorter than the stride: outputs that see nothing.
    let sparse = receptive_field(&[conv("conv1d-transposed in 4 kernel 1 stride 3")]).unwrap()[0];
    assert_eq!((sparse.size, sparse.least, sparse.start), (1, 0, 0));
}

#[test]
fn branches_join_by_the_largest_field() {
    let window = |kernel, pad_lo| Window { kernel, pad_lo, ..Window::IDENTITY };
    let branch = |kernel, pad_lo| {
        let step = Layer::pooling(vec![window(kernel, pad_lo)], vec![None]);
        Stack::new(vec![Node::Layer(step)]).unwrap()
    };
    let join = |branches| Stack::new(vec![Node::Join(branches)]).unwrap().field(0);
    let residual = join(vec![Stack::default(), branch(5, 2), branch(3, 1)]).unwrap();
    assert_eq!((residual.size, residual.start, residual.aligned), (5, -2, true));
    let shifted = join(vec![branch(5, 2), branch(5, 0)]).unwrap();
    assert_eq!((shifted.size, shifted.start, shifted.aligned), (7, -2, false));
    let strided = Stack::new(vec![Node::Layer(Layer::pooling(
        vec![Window { stride: 2, ..Window::IDENTITY }],
        vec![None],
    ))])
    .unwrap();
    let message = join(vec![strided, branch(3, 1)]).unwrap_err().to_string();
    assert!(message.contains("2 and 1 apart"), "{message}");
}

#[test]
fn stacks_that_make_no_sense_are_refused() {
    let ranks = [conv("conv2d in 4 kernel 3"), conv("conv1d in 4 kernel 3")];
    let message = receptive_field(&ranks).unwrap_err().to_string();
    assert_eq!(message, "layer 1 has 1 spatial axes, but the first has 2");
    let far = vec![conv("conv1d in 4 kernel 1 stride 1000000000"); 3];
    assert!(receptive_field(&far).unwrap_err().to_string().contains("too large"));
    let holes = [conv("conv1d-transposed in 4 kernel 1 stride 100000")];
    assert!(receptive_field(&holes).unwrap_err().to_string().contains("too many"));
    assert_eq!(receptive_field(&[]), Ok(vec![]));
    let none = Stack::new(vec![Node::Join(vec![])]).unwrap_err().to_string();
    assert_eq!(none, "join 0 has no branches");
    let stack = Stack::of(&[conv("conv1d in 4 kernel 3")]).unwrap();
    assert!(stack.needed(1, 0..1).unwrap_err().to_string().contains("no axis 1"));
}
