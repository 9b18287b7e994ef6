//! Regions that become one program.

use crate::check;
use crate::graph::{Attribute, Graph};

const SHAPE: [usize; 4] = [1, 3, 8, 9];

/// Convolutions of each compiled node, and tract's operators, of a graph that is right.
fn parts(build: impl FnOnce(&mut Graph) -> Vec<String>) -> (Vec<usize>, Vec<String>) {
    let mut graph = Graph::new(&SHAPE.map(|n| n as i64));
    let outputs = build(&mut graph);
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let explanation = check(&graph.bytes(&outputs), &SHAPE);
    let left = crate::tracts(&explanation).into_iter().map(str::to_owned).collect();
    let ours = explanation.nodes.into_iter().filter(|node| node.is_ours);
    (ours.map(|node| node.convolutions).collect(), left)
}

fn joined(graph: &mut Graph, parts: &[&str]) -> String {
    graph.node("Concat", parts, vec![Attribute::Int("axis", 1)])
}

#[test]
fn branches_and_what_joins_them_are_one_program() {
    let (ours, left) = parts(|graph| {
        let stem = graph.conv("x", [3, 6], 3, 1);
        let a = graph.conv(&stem, [6, 4], 1, 0);
        let b = graph.conv(&stem, [6, 5], 3, 1);
        let all = joined(graph, &[&a, &b, &stem]);
        let y = graph.conv(&all, [15, 6], 1, 0);
        vec![graph.node("Add", &[&y, &stem], vec![])]
    });
    assert_eq!((ours, left), (vec![4], vec![]));
}

#[test]
fn two_outputs_end_two_programs() {
    let (ours, left) = parts(|graph| {
        let stem = graph.conv("x", [3, 6], 3, 1);
        let fine = graph.conv(&stem, [6, 4], 1, 0);
        let middle = graph.conv(&fine, [4, 4], 3, 1);
        let coarse = graph.conv(&middle, [4, 5], 3, 1);
        vec![fine, coarse]
    });
    assert_eq!((ours, left), (vec![2, 2], vec![]));
}

#[test]
fn a_tensor_joined_for_others_too_is_one() {
    let (ours, left) = parts(|graph| {
        let a = graph.conv("x", [3, 4], 1, 0);
        let b = graph.conv("x", [3, 5], 3, 1);
        let all = joined(graph, &[&a, &b]);
        let y = graph.conv(&all, [9, 2], 3, 1);
        let z = graph.node("Sin", &[&all], vec![]);
        vec![y, z]
    });
    assert_eq!((ours, left), (vec![1, 1, 1], vec!["Concat".to_owned(), "Sin".to_owned()]));
}

/// No program reads what it gives: a way through tract's nodes divides it.
#[test]
fn what_stands_behind_a_node_that_is_left_is_another_program() {
    let (ours, left) = parts(|graph| {
        let a = graph.conv("x", [3, 4], 3, 1);
        let b = graph.conv(&a, [4, 4], 3, 1);
        let c = graph.conv(&a, [4, 4], 1, 0);
        let waves = graph.node("Sin", &[&b], vec![]);
        let both = joined(graph, &[&c, &waves]);
        let d = graph.conv(&both, [8, 4], 3, 1);
        vec![graph.node("Add", &[&d, &c], vec![])]
    });
    assert_eq!(ours.iter().sum::<usize>(), 4);
    assert!(ours.len() > 1 && left.contains(&"Sin".to_owned()), "{ours:?} {left:?}");
}

fn silu(graph: &mut Graph, y: &str) -> String {
    let gate = graph.node("Sigmoid", &[y], vec![]);
    graph.node("Mul", &[y, &gate], vec![])
}

fn slice(graph: &mut Graph, x: &str, axis: i64, [from, to, by]: [i64; 3]) -> String {
    let ends = [from, to, axis, by].map(|number| graph.longs_constant(&[number]));
    let [from, to, axis, by] = &ends;
    graph.node("Slice", &[x, from, to, axis, by], vec![])
}

/// As the blocks of YOLOv8 are: one half goes on, and all is joined.
#[test]
fn halves_of_what_a_convolution_gives_are_convolutions() {
    let (ours, left) = parts(|graph| {
        let y = graph.conv("x", [3, 16], 1, 0);
        let y = silu(graph, &y);
        let halves = [[0, 8, 1], [8, 16, 1]].map(|range| slice(graph, &y, 1, range));
        let z = graph.conv(&halves[1], [8, 8], 3, 1);
        let z = silu(graph, &z);
        let z = graph.node("Add", &[&halves[1], &z], vec![]);
        let all = joined(graph, &[&halves[0], &halves[1], &z]);
        vec![graph.conv(&all, [24, 5], 1, 0)]
    });
    assert_eq!((ours, left), (vec![4], vec![]));
}

#[test]
fn parts_that_would_cost_more_stay_slices() {
    for ranges in [[[0, 12, 1], [4, 16, 1]], [[0, 2, 1], [2, 16, 1]], [[0, 16, 2], [1, 16, 2]]] {
        let (ours, left) = parts(|graph| {
            let y = graph.conv("x", [3, 16], 1, 0);
            ranges.map(|range| slice(graph, &y, 1, range)).to_vec()
        });
        assert_eq!((ours, left.len()), (vec![1], 2), "{ranges:?}: {left:?}");
    }
}

#[test]
fn sums_and_activations_that_others_read_too_are_steps() {
    let (ours, left) = parts(|graph| {
        let stem = graph.conv("x", [3, 6], 3, 1);
        let before = graph.node("LeakyRelu", &[&stem], vec![]);
        let y = graph.conv(&before, [6, 6], 3, 1);
        let y = graph.node("Relu", &[&y], vec![]);
        let sum = graph.node("Add", &[&stem, &y], vec![]);
        let gated = silu(graph, &sum);
        let z = graph.conv(&gated, [6, 6], 3, 1);
        vec![graph.node("Add", &[&sum, &z], vec![])]
    });
    assert_eq!((ours, left), (vec![3], vec![]));
}

#[test]
fn copies_of_elements_are_steps_between_convolutions() {
    let (ours, left) = parts(|graph| {
        let y = graph.conv("x", [3, 6], 3, 1);
        let y = silu(graph, &y);
        let scales = graph.constant(&[4], vec![1.0, 1.0, 2.0, 3.0]);
        let mode = ("coordinate_transformation_mode", "asymmetric");
        let attributes = [("mode", "nearest"), mode, ("nearest_mode", "floor")]
            .map(|(k, v)| Attribute::Text(k, v));
        let up = graph.node("Resize", &[&y, "", &scales], attributes.to_vec());
        let other = graph.conv(&up, [6, 4], 1, 0);
        let all = joined(graph, &[&up, &other]);
        vec![graph.conv(&all, [10, 4], 3, 1)]
    });
    assert_eq!((ours, left), (vec![4], vec![]));
}

/// Every second row and column, as channels, as YOLOX begins.
fn focus(shape: [usize; 4], starts: &[[i64; 2]], padding: i64) -> (Vec<usize>, Vec<String>) {
    let mut graph = Graph::new(&shape.map(|n| n as i64));
    let parts: Vec<String> = starts
        .iter()
        .map(|&[row, column]| {
            let rows = slice(&mut graph, "x", 2, [row, i64::MAX, 2]);
            slice(&mut graph, &rows, 3, [column, i64::MAX, 2])
        })
        .collect();
    let all = joined(&mut graph, &parts.iter().map(String::as_str).collect::<Vec<_>>());
    let channels = (shape[1] * starts.len()) as i64;
    let y = graph.conv(&all, [channels, 5], 3, padding);
    let explanation = check(&graph.bytes(&[&y]), &shape);
    let left = crate::tracts(&explanation).into_iter().map(str::to_owned).collect();
    let ours = explanation.nodes.into_iter().filter(|node| node.is_ours);
    (ours.map(|node| node.convolutions).collect(), left)
}

#[test]
fn every_second_row_and_column_is_a_stride() {
    let all = [[0, 0], [1, 0], [0, 1], [1, 1]];
    for padding in [1, 0, 2] {
        assert_eq!(focus([2, 3, 10, 8], &all, padding), (vec![1], vec![]));
    }
    let three = focus([2, 3, 10, 8], &all[1..], 1);
    assert_ne!(three.1, [""; 0], "what is in no part would be multiplied by zero");
    let odd = focus([1, 3, 10, 7], &[[0, 0], [1, 0], [0, 0], [1, 0]], 1);
    assert_ne!(odd.1, [""; 0], "half of the columns would be multiplied by zero");
}

/// As the blocks of DenseNet are.
#[test]
fn tensors_joined_again_and_again_are_read_as_they_are() {
    let (ours, left) = parts(|graph| {
        let mut all = graph.conv("x", [3, 6], 3, 1);
        for channels in [6, 10, 14] {
            let y = graph.conv(&all, [channels, 4], 3, 1);
            all = joined(graph, &[&all, &y]);
        }
        vec![graph.conv(&all, [18, 2], 1, 0)]
    });
    assert_eq!((ours, left), (vec![5], vec![]));
}

/// Squeeze and excitation, as in EfficientNet.
#[test]
fn numbers_that_scale_channels_are_of_the_same_program() {
    for shape in [[1, 3, 8, 9], [2, 3, 5, 4]] {
        let mut graph = Graph::new(&shape.map(|n| n as i64));
        let y = graph.conv("x", [3, 6], 3, 1);
        let y = silu(&mut graph, &y);
        let s = graph.node("GlobalAveragePool", &[&y], vec![]);
        let s = graph.conv(&s, [6, 3], 1, 0);
        let s = graph.node("Relu", &[&s], vec![]);
        let s = graph.conv(&s, [3, 6], 1, 0);
        let s = graph.node("Sigmoid", &[&s], vec![]);
        let z = graph.node("Mul", &[&y, &s], vec![]);
        let z = silu(&mut graph, &z);
        let z = graph.conv(&z, [6, 4], 1, 0);
        let explanation = check(&graph.bytes(&[&z]), &shape);
        let nodes: Vec<_> = explanation.nodes.iter().filter(|node| node.is_ours).collect();
        assert_eq!((nodes.len(), crate::tracts(&explanation)), (1, vec![]), "{nodes:?}");
    }
}

#[test]
fn products_of_two_branches_are_of_the_same_program() {
    let (ours, left) = parts(|graph| {
        let a = graph.conv("x", [3, 6], 3, 1);
        let b = graph.conv("x", [3, 6], 1, 0);
        let gate = graph.node("Sigmoid", &[&b], vec![]);
        let y = graph.node("Mul", &[&a, &gate], vec![]);
        vec![graph.conv(&y, [6, 2], 3, 1)]
    });
    assert_eq!((ours, left), (vec![3], vec![]));
}

#[test]
fn a_region_may_be_combined_with_itself() {
    for op in ["Add", "Mul"] {
        let (ours, left) = parts(|graph| {
            let y = graph.conv("x", [3, 6], 3, 1);
            let y = silu(graph, &y);
            let twice = graph.node(op, &[&y, &y], vec![]);
            vec![graph.conv(&twice, [6, 2], 1, 0)]
        });
        assert_eq!(ours.iter().sum::<usize>(), 2, "{op}: {left:?}");
    }
}

#[test]
fn a_joined_tensor_is_added_as_it_is() {
    let (ours, _) = parts(|graph| {
        let a = graph.conv("x", [3, 2], 3, 1);
        let b = graph.conv("x", [3, 4], 1, 0);
        let all = joined(graph, &[&a, &b]);
        let y = graph.conv(&all, [6, 6], 3, 1);
        vec![graph.node("Add", &[&y, &all], vec![])]
    });
    assert_eq!(ours.iter().sum::<usize>(), 3);
}

#[test]
fn steps_between_convolutions_have_any_number_of_axes() {
    for shape in [&[2, 3, 12][..], &[1, 3, 4, 5, 6]] {
        let mut graph = Graph::new(&shape.iter().map(|&n| n as i64).collect::<Vec<_>>());
        let taps = vec![3; shape.len() - 2];
        let conv = |graph: &mut Graph, x: &str, [from, to]: [i64; 2]| {
            let weight = graph.weight(&[&[to, from][..], &taps].concat());
            let pads = Attribute::Ints("pads", vec![1; 2 * taps.len()]);
            graph.node("Conv", &[x, &weight], vec![pads])
        };
        let stem = conv(&mut graph, "x", [3, 8]);
        let before = graph.node("LeakyRelu", &[&stem], vec![]);
        let y = conv(&mut graph, &before, [8, 8]);
        let y = silu(&mut graph, &y);
        let y = graph.node("Add", &[&y, &stem], vec![]);
        let y = conv(&mut graph, &y, [8, 4]);
        let explanation = check(&graph.bytes(&[&y]), shape);
        assert_eq!(crate::tracts(&explanation), [""; 0], "{shape:?}");
    }
}

#[test]
fn a_constant_of_more_elements_is_no_activation() {
    let mut graph = Graph::new(&[1, 3, 1, 1]);
    let y = graph.conv("x", [3, 6], 1, 0);
    let zeros = graph.constant(&[1, 6, 4, 4], vec![0.0; 96]);
    let y = graph.node("Max", &[&y, &zeros], vec![]);
    check(&graph.bytes(&[&y]), &[1, 3, 1, 1]);
}

/// As the neck of PP-OCR's detection is.
#[test]
fn what_is_scaled_may_be_copied_and_added() {
    let (ours, left) = parts(|graph| {
        let y = graph.conv("x", [3, 6], 3, 1);
        let s = graph.node("GlobalAveragePool", &[&y], vec![]);
        let s = graph.conv(&s, [6, 6], 1, 0);
        let s = graph.node("Sigmoid", &[&s], vec![]);
        let product = graph.node("Mul", &[&y, &s], vec![]);
        let small = graph.node("Add", &[&y, &product], vec![]);
        let scales = graph.constant(&[4], vec![1.0, 1.0, 2.0, 2.0]);
        let mode = ("coordinate_transformation_mode", "asymmetric");
        let attributes = [("mode", "nearest"), mode, ("nearest_mode", "floor")]
            .map(|(k, v)| Attribute::Text(k, v));
        let up = graph.node("Resize", &[&small, "", &scales], attributes.to_vec());
        let weight = graph.weight(&[6, 6, 2, 2]);
        let strides = Attribute::Ints("strides", vec![2, 2]);
        let large = graph.node("ConvTranspose", &[&y, &weight], vec![strides]);
        let sum = graph.node("Add", &[&large, &up], vec![]);
        vec![graph.conv(&sum, [6, 4], 3, 1)]
    });
    assert_eq!((ours.len(), left), (1, vec![]));
}

/// As V-Net has them: the input is added in every channel, and joined halves are a residual.
#[test]
fn a_channel_for_all_and_joined_tensors_are_added() {
    let (ours, left) = parts(|graph| {
        let one = graph.conv("x", [3, 1], 1, 0);
        let many = graph.conv(&one, [1, 6], 3, 1);
        let sum = graph.node("Add", &[&many, &one], vec![]);
        let slopes = graph.weight(&[6, 1, 1]);
        let stem = graph.node("PRelu", &[&sum, &slopes], vec![]);
        let a = graph.conv(&stem, [6, 4], 1, 0);
        let all = joined(graph, &[&a, &stem]);
        let y = graph.conv(&all, [10, 10], 3, 1);
        let y = graph.node("Add", &[&all, &y], vec![]);
        vec![graph.node("Relu", &[&y], vec![])]
    });
    assert_eq!((ours, left), (vec![5], vec![]));
}
