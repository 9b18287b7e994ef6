//! Products with a number per channel that is known in a run only.

use conv_onnx::Tensor;

use crate::graph::{Graph, numbers};
use crate::{check_on, tracts};

/// A model of `x` and factors `s`, and what tract runs of it.
fn scaled(
    x: &[i64],
    s: &[i64],
    build: impl FnOnce(&mut Graph) -> String,
) -> (Vec<String>, Vec<String>) {
    let mut graph = Graph::new(x);
    graph.input("s", s);
    let y = build(&mut graph);
    let tensor = |shape: &[i64], seed| {
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        Tensor::new(&shape, &numbers(shape.iter().product(), seed)).expect("a tensor")
    };
    let inputs = [("x", tensor(x, 3)), ("s", tensor(s, 5))];
    let explanation = check_on(&graph.bytes(&[&y]), &inputs);
    let ours = explanation.nodes.iter().filter(|node| node.is_ours);
    let computes = ours.map(|node| node.what.clone()).collect();
    (computes, tracts(&explanation).into_iter().map(str::to_owned).collect())
}

fn product(graph: &mut Graph) -> String {
    graph.node("Mul", &["x", "s"], vec![])
}

#[test]
fn is_a_depthwise_convolution() {
    for (x, s, expected) in [
        (&[1, 3, 4, 5][..], &[1, 3, 1, 1][..], "conv1d f32 n1 g3 ic3 oc3 in 20 kernel 1"),
        (&[2, 3, 4, 5], &[2, 3, 1, 1], "conv1d f32 n1 g6 ic6 oc6 in 20 kernel 1"),
        (&[2, 3, 4, 5], &[1, 3, 1, 1], "conv1d f32 n2 g3 ic3 oc3 in 20 kernel 1"),
        (&[2, 3, 7], &[2, 3, 1], "conv1d f32 n1 g6 ic6 oc6 in 7 kernel 1"),
        (&[1, 2, 3, 2, 2], &[1, 2, 1, 1, 1], "conv1d f32 n1 g2 ic2 oc2 in 12 kernel 1"),
    ] {
        assert_eq!(scaled(x, s, product), (vec![expected.to_owned()], vec![]));
        let exchanged = |graph: &mut Graph| graph.node("Mul", &["s", "x"], vec![]);
        assert_eq!(scaled(x, s, exchanged), (vec![expected.to_owned()], vec![]));
    }
}

#[test]
fn takes_a_sum_and_an_activation() {
    let (x, s) = ([2, 3, 4, 5], [2, 3, 1, 1]);
    let with_sum = |graph: &mut Graph| {
        let y = product(graph);
        let other = graph.node("Tanh", &["x"], vec![]);
        let sum = graph.node("Add", &[&other, &y], vec![]);
        graph.node("Relu", &[&sum], vec![])
    };
    let (ours, left) = scaled(&x, &s, with_sum);
    assert_eq!(ours, ["conv1d f32 n1 g6 ic6 oc6 in 20 kernel 1 + residual, relu"]);
    assert_eq!(left, ["Tanh"]);
    let swish = |graph: &mut Graph| {
        let y = product(graph);
        let gate = graph.node("Sigmoid", &[&y], vec![]);
        graph.node("Mul", &[&y, &gate], vec![])
    };
    assert_eq!(scaled(&x, &s, swish).0, ["conv1d f32 n1 g6 ic6 oc6 in 20 kernel 1, silu"]);
    // `x` twice: the sum of a tensor and itself, scaled.
    let same = |graph: &mut Graph| {
        let y = product(graph);
        graph.node("Add", &["x", &y], vec![])
    };
    let (ours, _) = scaled(&x, &s, same);
    assert_eq!(ours, ["conv1d f32 n1 g6 ic6 oc6 in 20 kernel 1"]);
}

#[test]
fn is_tracts_where_it_is_another_product() {
    for (x, s) in [
        (&[1, 3, 4, 5][..], &[1, 3, 4, 5][..]),
        (&[1, 3, 4, 5], &[1, 1, 4, 5]),
        (&[1, 3, 4, 5], &[1, 1, 1, 1]),
        (&[1, 3, 1, 1], &[2, 3, 1, 1]),
        (&[1, 3, 1, 1], &[1, 3, 1, 1]),
    ] {
        assert_eq!(scaled(x, s, product).0, Vec::<String>::new(), "{x:?} {s:?}");
    }
    // What is read by someone else is not a sum's alone.
    let mean = |graph: &mut Graph| {
        let y = product(graph);
        let other = graph.node("Tanh", &[&y], vec![]);
        graph.node("Add", &[&other, &y], vec![])
    };
    let (ours, left) = scaled(&[1, 3, 4, 5], &[1, 3, 1, 1], mean);
    assert_eq!(ours, ["conv1d f32 n1 g3 ic3 oc3 in 20 kernel 1"]);
    assert_eq!(left.len(), 2);
}
