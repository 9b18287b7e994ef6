//! Sums and maxima along spatial axes, and what is computed of them.

use crate::graph::{Attribute, Graph};
use crate::{check, tracts};
use Attribute::{Int, Ints};

/// A reduction of images of that shape is compiled, nothing is left, and it is right.
fn reduces(op: &str, shape: &[usize], axes: &[i64]) {
    let mut graph = Graph::new(&shape.iter().map(|&n| n as i64).collect::<Vec<_>>());
    let inputs = match op {
        "ReduceSum" => vec![graph.longs_constant(axes)],
        _ => vec![],
    };
    let attributes = if inputs.is_empty() { vec![Ints("axes", axes.to_vec())] } else { vec![] };
    let inputs: Vec<&str> = ["x"].into_iter().chain(inputs.iter().map(String::as_str)).collect();
    let y = graph.node(op, &inputs, attributes);
    let explanation = check(&graph.bytes(&[&y]), shape);
    let left = tracts(&explanation);
    assert!(left.iter().all(|op| *op == "OptMulByScalar"), "{op} {shape:?} {axes:?}: {left:?}");
}

#[test]
fn signals_of_every_length() {
    for len in [1, 2, 17, 127, 128, 129, 300, 2049, 40_000] {
        for op in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"] {
            reduces(op, &[2, 3, len], &[2]);
        }
    }
}

#[test]
fn some_axes_of_images() {
    for axes in [&[2][..], &[3], &[2, 3]] {
        reduces("ReduceMean", &[1, 5, 7, 300], axes);
        reduces("ReduceMax", &[1, 5, 130, 9], axes);
    }
    reduces("ReduceSum", &[1, 3, 4, 5, 200], &[2, 4]);
    reduces("ReduceMean", &[2, 3, 4, 5, 6], &[-1, -2, -3]);
}

/// ECAPA-TDNN's: weights of a softmax over time, the mean and the deviation that they make.
#[test]
fn attentive_statistics() {
    let mut graph = Graph::new(&[1, 5, 150]);
    let weights = [[16, 5, 3], [8, 16, 1], [16, 8, 1]].map(|shape| graph.weight(&shape));
    let pads = vec![Ints("pads", vec![1, 1])];
    let x = graph.node("Conv", &["x", &weights[0]], pads);
    let x = graph.node("Relu", &[&x], vec![]);
    let a = graph.node("Conv", &[&x, &weights[1]], vec![]);
    let a = graph.node("Tanh", &[&a], vec![]);
    let a = graph.node("Conv", &[&a, &weights[2]], vec![]);
    let a = graph.node("Softmax", &[&a], vec![Int("axis", 2)]);
    let over_time = graph.longs_constant(&[2]);
    let product = graph.node("Mul", &[&a, &x], vec![]);
    let mean = graph.node("ReduceSum", &[&product, &over_time], vec![Int("keepdims", 0)]);
    let squares = graph.node("Mul", &[&x, &x], vec![]);
    let squares = graph.node("Mul", &[&a, &squares], vec![]);
    let squares = graph.node("ReduceSum", &[&squares, &over_time], vec![Int("keepdims", 0)]);
    let of_mean = graph.node("Mul", &[&mean, &mean], vec![]);
    let variance = graph.node("Sub", &[&squares, &of_mean], vec![]);
    let explanation = check(&graph.bytes(&[&mean, &variance]), &[1, 5, 150]);
    let left = tracts(&explanation);
    assert!(left.iter().all(|op| !op.contains("Reduce") && !op.contains("Softmax")), "{left:?}");
    // The square of a mean, a number for each channel.
    assert!(
        left.iter().filter(|op| op.contains("Mul") || **op == "Square").count() <= 1,
        "{left:?}"
    );
}

/// Squeeze and excitation of a signal: the mean, two layers and the product are one program.
#[test]
fn excitation_of_signals() {
    let mut graph = Graph::new(&[1, 4, 200]);
    let weights = [[8, 4, 3], [4, 8, 1], [8, 4, 1]].map(|shape| graph.weight(&shape));
    let x = graph.node("Conv", &["x", &weights[0]], vec![]);
    let x = graph.node("Relu", &[&x], vec![]);
    let s = graph.node("ReduceMean", &[&x], vec![Ints("axes", vec![2])]);
    let s = graph.node("Conv", &[&s, &weights[1]], vec![]);
    let s = graph.node("Relu", &[&s], vec![]);
    let s = graph.node("Conv", &[&s, &weights[2]], vec![]);
    let s = graph.node("Sigmoid", &[&s], vec![]);
    let y = graph.node("Mul", &[&x, &s], vec![]);
    let explanation = check(&graph.bytes(&[&y]), &[1, 4, 200]);
    assert_eq!(tracts(&explanation), [""; 0]);
    assert_eq!(explanation.nodes.iter().filter(|node| node.is_ours).count(), 1);
}
