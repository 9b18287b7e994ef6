//! Each fold by itself.

use crate::graph::{Attribute, Graph};
use crate::{check, folded, tracts};
use Attribute::{Float, Ints, Text};

const SHAPE: [i64; 4] = [1, 3, 8, 9];
const SIZE: [usize; 4] = [1, 3, 8, 9];

/// What is behind a convolution of 4 channels is folded under these names, and nothing is left.
fn folds(names: &[&str], build: impl FnOnce(&mut Graph, &str) -> String) {
    let mut graph = Graph::new(&SHAPE);
    let y = graph.conv("x", [3, 4], 3, 1);
    let y = build(&mut graph, &y);
    let explanation = check(&graph.bytes(&[&y]), &SIZE);
    assert_eq!((folded(&explanation), tracts(&explanation)), (names.to_vec(), vec![]));
}

/// The same, but something is left to tract.
fn leaves(ops: &[&str], names: &[&str], build: impl FnOnce(&mut Graph, &str) -> Vec<String>) {
    let mut graph = Graph::new(&SHAPE);
    let y = graph.conv("x", [3, 4], 3, 1);
    let outputs = build(&mut graph, &y);
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let explanation = check(&graph.bytes(&outputs), &SIZE);
    assert_eq!((folded(&explanation), tracts(&explanation)), (names.to_vec(), ops.to_vec()));
}

#[test]
fn batch_norm_and_arithmetic_per_channel() {
    folds(&["affine", "affine"], |graph, y| {
        let parts = ["scale", "bias", "mean"].map(|_| graph.weight(&[4]));
        let variance = graph.constant(&[4], vec![0.5, 1.0, 2.0, 4.0]);
        let [scale, bias, mean] = &parts;
        graph.node("BatchNormalization", &[y, scale, bias, mean, &variance], vec![])
    });
    folds(&["affine", "affine", "affine", "affine"], |graph, y| {
        let each = graph.weight(&[4, 1, 1]);
        let two = graph.scalar(2.0);
        let y = graph.node("Mul", &[y, &each], vec![]);
        let y = graph.node("Sub", &[&two, &y], vec![]);
        let y = graph.node("Div", &[&y, &two], vec![]);
        graph.node("Sub", &[&y, &each], vec![])
    });
}

#[test]
fn activations_of_one_node() {
    for (op, name) in [
        ("Relu", "relu"),
        ("Sigmoid", "sigmoid"),
        ("Tanh", "tanh"),
        ("HardSwish", "hardswish"),
        ("LeakyRelu", "leaky relu"),
        ("Mish", "mish"),
        ("Elu", "elu"),
        ("Celu", "elu"),
        ("Softplus", "softplus"),
    ] {
        folds(&[name], |graph, y| graph.node(op, &[y], vec![]));
    }
    folds(&["leaky relu"], |graph, y| graph.node("LeakyRelu", &[y], vec![Float("alpha", 0.3)]));
    folds(&["elu"], |graph, y| graph.node("Elu", &[y], vec![Float("alpha", 0.7)]));
    // A factor is behind it, which the next convolution takes in.
    folds(&["elu", "affine before"], |graph, y| {
        let z = graph.node("Selu", &[y], vec![]);
        graph.conv(&z, [4, 2], 3, 1)
    });
}

#[test]
fn a_slope_for_each_channel() {
    folds(&["prelu"], |graph, y| {
        let slopes = graph.weight(&[4, 1, 1]);
        graph.node("PRelu", &[y, &slopes], vec![])
    });
    folds(&["prelu"], |graph, y| {
        let slope = graph.weight(&[1]);
        graph.node("PRelu", &[y, &slope], vec![])
    });
    folds(&["residual", "prelu"], |graph, y| {
        let other = graph.conv("x", [3, 4], 1, 0);
        let slopes = graph.weight(&[4, 1, 1]);
        let sum = graph.node("Add", &[y, &other], vec![]);
        graph.node("PRelu", &[&sum, &slopes], vec![])
    });
    // As one may write it.
    folds(&["prelu"], |graph, y| {
        let (slopes, zero) = (graph.weight(&[1, 4, 1, 1]), graph.scalar(0.0));
        let scaled = graph.node("Mul", &[&slopes, y], vec![]);
        let is_positive = graph.node("Greater", &[y, &zero], vec![]);
        graph.node("Where", &[&is_positive, y, &scaled], vec![])
    });
}

#[test]
fn clips() {
    folds(&["relu6"], |graph, y| {
        let (low, high) = (graph.scalar(0.0), graph.scalar(6.0));
        graph.node("Clip", &[y, &low, &high], vec![])
    });
    folds(&["clamp"], |graph, y| {
        let (low, high) = (graph.scalar(-0.25), graph.scalar(0.5));
        graph.node("Clip", &[y, &low, &high], vec![])
    });
    // A slope of 0.2 is no entry of the table, but an affine one and a clamp.
    folds(&["affine", "affine", "clamp"], |graph, y| graph.node("HardSigmoid", &[y], vec![]));
}

#[test]
fn activations_of_several_nodes() {
    folds(&["silu"], |graph, y| {
        let s = graph.node("Sigmoid", &[y], vec![]);
        graph.node("Mul", &[&s, y], vec![])
    });
    folds(&["hardswish"], |graph, y| {
        let [three, low, high] = [3.0, 0.0, 6.0].map(|value| graph.scalar(value));
        let z = graph.node("Add", &[y, &three], vec![]);
        let z = graph.node("Clip", &[&z, &low, &high], vec![]);
        let z = graph.node("Mul", &[y, &z], vec![]);
        graph.node("Div", &[&z, &high], vec![])
    });
    folds(&["gelu"], |graph, y| {
        let [root, one, half] = [2f32.sqrt(), 1.0, 0.5].map(|value| graph.scalar(value));
        let z = graph.node("Div", &[y, &root], vec![]);
        let z = graph.node("Erf", &[&z], vec![]);
        let z = graph.node("Add", &[&z, &one], vec![]);
        let z = graph.node("Mul", &[y, &z], vec![]);
        graph.node("Mul", &[&z, &half], vec![])
    });
}

#[test]
fn a_factor_and_a_summand_behind_an_activation_go_into_the_next_convolution() {
    folds(&["hardswish", "affine before"], |graph, y| {
        let [three, low, high, by, shift] =
            [3.0, 0.0, 6.0, 0.4, -0.7].map(|value| graph.scalar(value));
        let z = graph.node("Add", &[y, &three], vec![]);
        let z = graph.node("Clip", &[&z, &low, &high], vec![]);
        let z = graph.node("Mul", &[y, &z], vec![]);
        let z = graph.node("Mul", &[&z, &by], vec![]);
        let z = graph.node("Add", &[&z, &shift], vec![]);
        graph.conv(&z, [4, 2], 3, 1)
    });
}

#[test]
fn an_activation_beside_others_is_a_step() {
    leaves(&[], &["relu", "tanh", "sum"], |graph, y| {
        let relu = graph.node("Relu", &[y], vec![]);
        let tanh = graph.node("Tanh", &[y], vec![]);
        vec![graph.node("Add", &[&relu, &tanh], vec![])]
    });
    leaves(&["Sin"], &[], |graph, y| {
        let sin = graph.node("Sin", &[y], vec![]);
        vec![y.to_owned(), sin]
    });
}

#[test]
fn residuals() {
    let mut graph = Graph::new(&[1, 4, 6, 6]);
    let a = graph.conv("x", [4, 4], 3, 1);
    let sum = graph.node("Add", &[&a, "x"], vec![]);
    let y = graph.node("Relu", &[&sum], vec![]);
    let b = graph.conv(&y, [4, 4], 1, 0);
    let c = graph.conv(&y, [4, 4], 3, 1);
    let z = graph.node("Add", &[&b, &c], vec![]);
    let explanation = check(&graph.bytes(&[&z]), &[1, 4, 6, 6]);
    assert_eq!(tracts(&explanation), [""; 0]);
    let names = folded(&explanation);
    assert_eq!(names.iter().filter(|name| **name == "residual").count(), 2, "{names:?}");
}

#[test]
fn a_scaled_tensor_that_is_added_to_itself_is_scaled_by_one_more() {
    for comes_first in [true, false] {
        leaves(&[], &["affine", "hardsigmoid", "scale"], |graph, y| {
            let mean = graph.node("GlobalAveragePool", &[y], vec![]);
            let s = graph.conv(&mean, [4, 4], 1, 0);
            let s = graph.node("HardSigmoid", &[&s], vec![Float("alpha", 1.0 / 6.0)]);
            let product = graph.node("Mul", &[y, &s], vec![]);
            let sum = if comes_first { [y, &product] } else { [&product, y] };
            vec![graph.node("Add", &sum, vec![])]
        });
    }
}

/// MobileNetV2's inverted residual, which the model fuses at this size.
#[test]
fn steps_that_are_fused_become_one_node() {
    let mut graph = Graph::new(&[1, 16, 56, 56]);
    let y = graph.conv("x", [16, 96], 1, 0);
    let y = graph.node("Relu", &[&y], vec![]);
    let weight = graph.weight(&[96, 1, 3, 3]);
    let attributes = vec![Attribute::Int("group", 96), Ints("pads", vec![1; 4])];
    let y = graph.node("Conv", &[&y, &weight], attributes);
    let y = graph.node("Relu", &[&y], vec![]);
    let y = graph.conv(&y, [96, 16], 1, 0);
    let y = graph.node("Add", &[&y, "x"], vec![]);
    let explanation = check(&graph.bytes(&[&y]), &[1, 16, 56, 56]);
    let ours: Vec<usize> = explanation
        .nodes
        .iter()
        .filter(|node| node.is_ours)
        .map(|node| node.convolutions)
        .collect();
    assert_eq!(ours.iter().sum::<usize>(), 3);
    assert!(ours.len() < 3, "{ours:?}");
}

#[test]
fn an_output_of_the_model_is_not_folded_away() {
    leaves(&[], &["relu"], |graph, y| {
        let z = graph.node("Relu", &[y], vec![]);
        vec![y.to_owned(), z]
    });
}

/// `relu(conv(x)) * a + b` into the next convolution.
fn before(a: &[f32], b: &[f32], padding: i64, taken: bool) {
    let mut graph = Graph::new(&SHAPE);
    let y = graph.conv("x", [3, 4], 3, 1);
    let y = graph.node("Relu", &[&y], vec![]);
    let shape = |values: &[f32]| vec![values.len() as i64, 1, 1];
    let (a, b) = (graph.constant(&shape(a), a.to_vec()), graph.constant(&shape(b), b.to_vec()));
    let y = graph.node("Mul", &[&y, &a], vec![]);
    let y = graph.node("Add", &[&y, &b], vec![]);
    let one = graph.conv(&y, [4, 2], 3, padding);
    let weight = graph.weight(&[4, 1, 3, 3]);
    let attributes = vec![Attribute::Int("group", 4), Ints("pads", vec![padding; 4])];
    let two = graph.node("Conv", &[&y, &weight], attributes);
    let explanation = check(&graph.bytes(&[&one, &two]), &SIZE);
    let is_taken = folded(&explanation).contains(&"affine before");
    // What is not taken is a depthwise convolution by itself.
    assert_eq!((is_taken, tracts(&explanation)), (taken, vec![]));
}

#[test]
fn an_affine_moves_into_the_convolutions_that_read_it() {
    before(&[2.0], &[0.5], 0, true);
    before(&[2.0, -1.0, 0.5, 3.0], &[0.5, 1.0, 2.0, 0.0], 0, true);
    // The padding reads -b / a, where that is one number.
    before(&[2.0], &[0.5], 1, true);
    before(&[2.0, -1.0, 0.5, 4.0], &[1.0, -0.5, 0.25, 2.0], 1, true);
    before(&[2.0, -1.0, 0.5, 3.0], &[0.0], 1, true);
    before(&[2.0, -1.0, 0.5, 3.0], &[0.5, 1.0, 2.0, 0.0], 1, false);
}

/// Batch norm before an activation, behind a concatenation, as DenseNet has it.
#[test]
fn factors_that_no_convolution_takes_in_are_a_depthwise_one() {
    let mut graph = Graph::new(&SHAPE);
    let y = graph.conv("x", [3, 4], 3, 1);
    let both = graph.node("Concat", &[&y, "x"], vec![Attribute::Int("axis", 1)]);
    let parts = ["scale", "bias", "mean"].map(|_| graph.weight(&[7]));
    let variance = graph.constant(&[7], vec![0.5, 1.0, 2.0, 4.0, 0.25, 3.0, 1.5]);
    let [scale, bias, mean] = &parts;
    let y = graph.node("BatchNormalization", &[&both, scale, bias, mean, &variance], vec![]);
    let y = graph.node("Relu", &[&y], vec![]);
    let y = graph.conv(&y, [7, 2], 1, 0);
    let explanation = check(&graph.bytes(&[&y]), &SIZE);
    assert_eq!((folded(&explanation), tracts(&explanation)), (vec!["relu"], vec!["Concat"]));
    let ours = explanation.nodes.iter().filter(|node| node.is_ours);
    assert_eq!(ours.map(|node| node.convolutions).sum::<usize>(), 3);
}

#[test]
fn a_transposed_convolution_takes_a_factor_and_no_summand() {
    for (op, value, taken) in [("Mul", 2.0, true), ("Add", 2.0, false)] {
        let mut graph = Graph::new(&SHAPE);
        let constant = graph.scalar(value);
        let y = graph.node(op, &["x", &constant], vec![]);
        let weight = graph.weight(&[3, 2, 3, 3]);
        let y = graph.node("ConvTranspose", &[&y, &weight], vec![Ints("strides", vec![2, 2])]);
        let explanation = check(&graph.bytes(&[&y]), &SIZE);
        assert_eq!(tracts(&explanation).is_empty(), taken, "{op}");
    }
}

/// A convolution with padding of its own behind a node that pads, as opset 10 has it.
fn padded(pads: Vec<i64>, more: Vec<Attribute>, own: i64, reads_it: bool) -> Vec<String> {
    let mut graph = Graph::new(&SHAPE);
    let y = graph.node("Pad", &["x"], [vec![Ints("pads", pads.clone())], more].concat());
    let z = graph.conv(&y, [3 + pads[1], 4], 3, own);
    let also = reads_it.then(|| graph.node("Tanh", &[&y], vec![]));
    let outputs: Vec<&str> = [z.as_str()].into_iter().chain(also.as_deref()).collect();
    let explanation = check(&graph.bytes_of(10, &outputs), &SIZE);
    let left = tracts(&explanation).into_iter();
    folded(&explanation).into_iter().chain(left).map(str::to_owned).collect()
}

#[test]
fn padding_in_front_of_convolutions() {
    let spatial = || vec![0, 0, 1, 0, 0, 0, 2, 3];
    let mode = |mode| vec![Text("mode", mode)];
    let value = |value| vec![Float("value", value)];
    for own in [0, 1] {
        assert_eq!(padded(spatial(), vec![], own, false), ["padding"]);
    }
    for kind in [value(1.5), mode("edge"), mode("reflect")] {
        assert_eq!(padded(spatial(), kind.clone(), 0, false), ["padding"]);
        assert_eq!(padded(spatial(), kind, 1, false), ["Pad"]);
    }
    assert_eq!(padded(vec![0, 1, 0, 0, 0, 0, 0, 0], vec![], 0, false), ["Pad"]);
    assert_eq!(padded(spatial(), vec![], 0, true), ["Pad", "Tanh"]);
}

/// A convolution of one axis of 20, of 3 to 4 channels, and part of what it gives behind it.
fn cropped(op: &str, attributes: Vec<Attribute>, [start, end]: [i64; 2], folds: bool) {
    let mut graph = Graph::new(&[2, 3, 20]);
    let weight = graph.weight(if op == "Conv" { &[4, 3, 3] } else { &[3, 4, 3] });
    let bias = graph.weight(&[4]);
    let y = graph.node(op, &["x", &weight, &bias], attributes);
    let parts = [start, end, 2].map(|value| graph.longs_constant(&[value]));
    let [start, end, axis] = parts.each_ref().map(String::as_str);
    let y = graph.node("Slice", &[&y, start, end, axis], vec![]);
    let y = graph.node("Relu", &[&y], vec![]);
    let explanation = check(&graph.bytes(&[&y]), &[2, 3, 20]);
    if folds {
        assert_eq!((folded(&explanation), tracts(&explanation)), (vec!["crop", "relu"], vec![]));
    } else {
        assert!(!folded(&explanation).contains(&"crop"));
    }
}

#[test]
fn parts_of_an_axis() {
    let padded = |pad: i64, stride: i64, dilation: i64| {
        let strides = Ints("strides", vec![stride]);
        vec![Ints("pads", vec![pad, pad]), strides, Ints("dilations", vec![dilation])]
    };
    // Causal: padded on both sides, and cut at the end.
    cropped("Conv", padded(4, 1, 2), [0, -4], true);
    cropped("Conv", padded(4, 1, 2), [4, i64::MAX], true);
    cropped("Conv", padded(2, 1, 1), [1, -1], true);
    cropped("Conv", padded(2, 2, 1), [1, -1], true);
    // More than is padded.
    cropped("Conv", padded(1, 3, 1), [0, -1], false);
    cropped("Conv", padded(1, 1, 1), [2, -1], false);
    cropped("Conv", padded(1, 3, 1), [1, 5], false);
    cropped("ConvTranspose", padded(0, 2, 1), [0, -1], true);
    cropped("ConvTranspose", padded(0, 2, 1), [1, -2], true);
    let extra = [padded(1, 2, 1), vec![Ints("output_padding", vec![1])]].concat();
    cropped("ConvTranspose", extra, [0, -2], true);
}
