//! Matrix products with known numbers, and layer normalisation.

use crate::graph::{Attribute, Graph};
use crate::{check, folded, tracts};
use Attribute::{Float, Int, Ints};

/// What is compiled and what is left of a model of one input.
fn parts(shape: &[i64], build: impl FnOnce(&mut Graph) -> String) -> (Vec<String>, Vec<String>) {
    let mut graph = Graph::new(shape);
    let y = build(&mut graph);
    let size: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
    let explanation = check(&graph.bytes(&[&y]), &size);
    let ours = explanation.nodes.iter().filter(|node| node.is_ours);
    let computes = ours.map(|node| node.what.clone()).collect();
    (computes, tracts(&explanation).into_iter().map(str::to_owned).collect())
}

fn times(weight: &[i64]) -> impl FnOnce(&mut Graph) -> String {
    |graph| {
        let weight = graph.weight(weight);
        graph.node("MatMul", &["x", &weight], vec![])
    }
}

fn turned(graph: &mut Graph, x: &str, perm: &[i64]) -> String {
    graph.node("Transpose", &[x], vec![Ints("perm", perm.to_vec())])
}

#[test]
fn channels_that_stand_last() {
    for (x, what) in [
        (&[20, 5][..], "conv1d f32 nwc n1 g1 ic5 oc7 in 20 kernel 1"),
        (&[1, 5], "conv1d f32 nwc n1 g1 ic5 oc7 in 1 kernel 1"),
        (&[2, 9, 5], "conv1d f32 nwc n1 g1 ic5 oc7 in 18 kernel 1"),
        (&[1, 3, 4, 5], "conv1d f32 nwc n1 g1 ic5 oc7 in 12 kernel 1"),
    ] {
        assert_eq!(parts(x, times(&[5, 7])), (vec![what.to_owned()], vec![]), "{x:?}");
    }
}

#[test]
fn channels_that_stand_first() {
    for (x, what) in [
        (&[5, 20][..], "conv1d f32 n1 g1 ic5 oc7 in 20 kernel 1"),
        (&[3, 5, 9], "conv1d f32 n3 g1 ic5 oc7 in 9 kernel 1"),
    ] {
        let product = |graph: &mut Graph| {
            let weight = graph.weight(&[7, 5]);
            graph.node("MatMul", &[&weight, "x"], vec![])
        };
        assert_eq!(parts(x, product), (vec![what.to_owned()], vec![]), "{x:?}");
    }
}

#[test]
fn bias_and_activation_and_gemm() {
    let linear = |graph: &mut Graph| {
        let (weight, bias) = (graph.weight(&[5, 7]), graph.weight(&[7]));
        let y = graph.node("MatMul", &["x", &weight], vec![]);
        let y = graph.node("Add", &[&y, &bias], vec![]);
        graph.node("Relu", &[&y], vec![])
    };
    let what = "conv1d f32 nwc n1 g1 ic5 oc7 in 18 kernel 1 + bias, relu";
    assert_eq!(parts(&[2, 9, 5], linear), (vec![what.to_owned()], vec![]));
    let gemm = |graph: &mut Graph| {
        let (weight, bias) = (graph.weight(&[7, 5]), graph.weight(&[7]));
        graph.node("Gemm", &["x", &weight, &bias], vec![Int("transB", 1), Float("alpha", 0.5)])
    };
    let what = "conv1d f32 nwc n1 g1 ic5 oc7 in 20 kernel 1 + bias";
    assert_eq!(parts(&[20, 5], gemm), (vec![what.to_owned()], vec![]));
}

#[test]
fn turned_products_are_those_of_an_image() {
    // As in ConvNeXt: between two turns, which undo each other, channels stand first.
    let (ours, left) = parts(&[2, 6, 5, 4], |graph| {
        let x = turned(graph, "x", &[0, 2, 3, 1]);
        let (scale, shift) = (graph.weight(&[6]), graph.weight(&[6]));
        let y = graph.node("LayerNormalization", &[&x, &scale, &shift], vec![Int("axis", -1)]);
        let (up, down) = (graph.weight(&[6, 24]), graph.weight(&[24, 6]));
        let y = graph.node("MatMul", &[&y, &up], vec![]);
        let y = graph.node("Relu", &[&y], vec![]);
        let y = graph.node("MatMul", &[&y, &down], vec![]);
        let y = turned(graph, &y, &[0, 3, 1, 2]);
        graph.node("Add", &["x", &y], vec![])
    });
    assert_eq!(left, ["Normalise"]);
    let inputs = ["input2d f32 n2 ic6 in 5x4"; 2].join("; ");
    let up = "conv2d f32 n2 g1 ic6 oc24 in 5x4 kernel 1x1 from 1 + bias, relu";
    let down = "conv2d f32 n2 g1 ic24 oc6 in 5x4 kernel 1x1 + residual from 2";
    assert_eq!(ours.join("; "), format!("{inputs}; {up}; {down}"));
}

#[test]
fn a_product_that_turns_alone_moves_its_channels() {
    let (ours, left) = parts(&[3, 5, 9], |graph| {
        let x = turned(graph, "x", &[0, 2, 1]);
        let weight = graph.weight(&[5, 7]);
        graph.node("MatMul", &[&x, &weight], vec![])
    });
    assert_eq!((ours.len(), left), (1, vec!["MoveAxis".to_owned()]));
}

#[test]
fn what_no_convolution_says_is_tracts() {
    for (x, weight) in [
        // A matrix for each image, weights alone.
        (&[3, 9, 5][..], &[3, 5, 7][..]),
        (&[20, 5], &[5]),
    ] {
        assert_eq!(parts(x, times(weight)).0, Vec::<String>::new(), "{x:?} {weight:?}");
    }
    let own = |graph: &mut Graph| {
        let y = turned(graph, "x", &[1, 0]);
        graph.node("MatMul", &["x", &y], vec![])
    };
    assert_eq!(parts(&[20, 5], own).0, Vec::<String>::new());
}

/// Of a recurrent layer all turns multiply the input at once, and each what the one before gave.
#[test]
fn products_in_the_bodies_of_loops_are_compiled() {
    let mut graph = Graph::new(&[6, 2, 5]);
    let weights = [[1, 16, 5], [1, 16, 4]].map(|shape| graph.weight(&shape));
    let bias = graph.weight(&[1, 32]);
    let inputs = ["x", &weights[0], &weights[1], &bias];
    let y = graph.node("LSTM", &inputs, vec![Int("hidden_size", 4)]);
    let explanation = check(&graph.bytes(&[&y]), &[6, 2, 5]);
    let scan = explanation.nodes.iter().find(|node| node.op == "Scan").expect("a loop");
    assert!(scan.what.contains("ic4 oc"), "{explanation:#?}");
}

#[test]
fn layer_normalisation_is_one_node() {
    for (shape, axis) in [(&[3, 40][..], -1), (&[2, 3, 70], -1), (&[5, 33], 1)] {
        let (_, left) = parts(shape, |graph| {
            let len = *shape.last().expect("an axis");
            let (scale, shift) = (graph.weight(&[len]), graph.weight(&[len]));
            let inputs = ["x", &scale, &shift];
            graph.node("LayerNormalization", &inputs, vec![Int("axis", axis)])
        });
        assert_eq!(left.iter().filter(|op| *op == "Normalise").count(), 1, "{shape:?}: {left:?}");
    }
    // Over channels that stand first, of more positions than are computed at a time.
    let (ours, left) = parts(&[2, 40, 10, 9], |graph| {
        let x = turned(graph, "x", &[0, 2, 3, 1]);
        let (scale, shift) = (graph.weight(&[40]), graph.weight(&[40]));
        let y = graph.node("LayerNormalization", &[&x, &scale, &shift], vec![Int("axis", -1)]);
        let y = turned(graph, &y, &[0, 3, 1, 2]);
        graph.conv(&y, [40, 8], 1, 0)
    });
    assert_eq!((ours.len(), left), (1, vec!["Normalise".to_owned()]));
}

#[test]
fn a_factor_for_each_channel_that_stands_last_goes_into_the_weights() {
    let mut graph = Graph::new(&[2, 9, 5]);
    let (scale, shift) = (graph.weight(&[5]), graph.weight(&[5]));
    let y = graph.node("Mul", &["x", &scale], vec![]);
    let y = graph.node("Add", &[&y, &shift], vec![]);
    let (weight, gain) = (graph.weight(&[5, 5]), graph.weight(&[5]));
    let y = graph.node("MatMul", &[&y, &weight], vec![]);
    let y = graph.node("Mul", &[&y, &gain], vec![]);
    let explanation = check(&graph.bytes(&[&y]), &[2, 9, 5]);
    assert_eq!(folded(&explanation), ["affine", "affine before"]);
    assert_eq!(tracts(&explanation), Vec::<&str>::new());
}
