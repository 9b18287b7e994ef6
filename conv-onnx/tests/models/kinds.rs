//! Every kind of convolution becomes ours.

use conv_onnx::{Model, Options, Tensor};

use crate::graph::{Attribute, Graph};
use crate::{check, tracts};
use Attribute::{Int, Ints, Text};

/// A convolution of `x`, of this weight and these attributes, is compiled alone.
fn compiled(op: &str, input: &[i64], weight: &[i64], attributes: Vec<Attribute>) {
    let mut graph = Graph::new(input);
    let w = graph.weight(weight);
    let y = graph.node(op, &["x", &w], attributes);
    let shape: Vec<usize> = input.iter().map(|&n| n as usize).collect();
    let explanation = check(&graph.bytes(&[&y]), &shape);
    assert!(explanation.left.is_empty(), "{:?}", explanation.left);
    assert_eq!(tracts(&explanation), [""; 0], "{op} {input:?} {weight:?}");
}

#[test]
fn convolutions_of_every_rank() {
    compiled("Conv", &[2, 3, 20], &[4, 3, 5], vec![]);
    compiled("Conv", &[1, 3, 9, 11], &[4, 3, 3, 2], vec![Ints("pads", vec![1, 0, 2, 1])]);
    compiled("Conv", &[1, 2, 5, 6, 7], &[3, 2, 2, 3, 1], vec![Ints("strides", vec![1, 2, 1])]);
    compiled("Conv", &[1, 3, 8, 8], &[5, 3, 1, 1], vec![]);
}

#[test]
fn groups_strides_dilations_and_automatic_padding() {
    compiled(
        "Conv",
        &[1, 6, 9, 9],
        &[6, 1, 3, 3],
        vec![Int("group", 6), Ints("strides", vec![2, 2])],
    );
    compiled(
        "Conv",
        &[1, 6, 9, 9],
        &[4, 3, 3, 3],
        vec![Int("group", 2), Ints("dilations", vec![2, 1])],
    );
    for padding in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let attributes = vec![Text("auto_pad", padding), Ints("strides", vec![2, 3])];
        compiled("Conv", &[1, 2, 8, 10], &[3, 2, 3, 4], attributes);
    }
}

#[test]
fn transposed_convolutions() {
    compiled("ConvTranspose", &[1, 3, 7], &[3, 4, 3], vec![Ints("strides", vec![2])]);
    compiled("ConvTranspose", &[1, 3, 5, 6], &[3, 4, 2, 2], vec![Ints("strides", vec![2, 2])]);
    let attributes = vec![
        Ints("strides", vec![2, 3]),
        Ints("pads", vec![1, 0, 1, 2]),
        Ints("output_padding", vec![1, 2]),
        Int("group", 2),
    ];
    compiled("ConvTranspose", &[2, 4, 5, 6], &[4, 3, 3, 4], attributes);
}

/// A node that pools is compiled.
fn pooled(op: &str, input: &[i64], attributes: Vec<Attribute>) {
    let mut graph = Graph::new(input);
    let y = graph.node(op, &["x"], attributes);
    let shape: Vec<usize> = input.iter().map(|&n| n as usize).collect();
    let explanation = check(&graph.bytes(&[&y]), &shape);
    assert_eq!(tracts(&explanation), [""; 0], "{op} {input:?}");
}

#[test]
fn pooling() {
    let window = |kernel: &[i64]| Ints("kernel_shape", kernel.to_vec());
    for op in ["MaxPool", "AveragePool"] {
        pooled(op, &[1, 3, 8, 9], vec![window(&[2, 2]), Ints("strides", vec![2, 2])]);
        let padded = || vec![window(&[3, 2]), Ints("pads", vec![1, 0, 1, 1])];
        pooled(op, &[2, 3, 7, 8], padded());
        pooled(op, &[1, 2, 11], vec![window(&[3]), Ints("strides", vec![2])]);
        pooled(op, &[1, 2, 4, 5, 6], vec![window(&[2, 2, 2])]);
        let ceil = vec![window(&[3, 3]), Ints("strides", vec![2, 2]), Int("ceil_mode", 1)];
        pooled(op, &[1, 2, 8, 8], ceil);
        let same = vec![window(&[3, 3]), Text("auto_pad", "SAME_UPPER")];
        pooled(op, &[1, 2, 8, 8], same);
    }
    let counts = || Int("count_include_pad", 1);
    let padded = vec![window(&[3, 3]), Ints("pads", vec![1; 4]), counts()];
    pooled("AveragePool", &[1, 2, 8, 8], padded);
    let ceil = vec![window(&[3, 3]), Ints("strides", vec![2, 2]), Int("ceil_mode", 1), counts()];
    pooled("AveragePool", &[1, 2, 8, 8], ceil);
}

#[test]
fn weights_that_come_at_run_time_stay_with_tract_and_it_says_so() {
    let mut graph = Graph::new(&[1, 2, 6, 6]);
    graph.input("w", &[3, 2, 3, 3]);
    let y = graph.node("Conv", &["x", "w"], vec![]);
    let model = Model::parse(&graph.bytes(&[&y]), Options::default()).expect("a model");
    let x = Tensor::new(&[1, 2, 6, 6], &[1.0f32; 72]).expect("a tensor");
    let w = Tensor::new(&[3, 2, 3, 3], &[0.5f32; 54]).expect("a tensor");
    let inputs = [("x", x), ("w", w)];
    let outputs = model.run(&inputs).expect("it runs");
    assert_eq!(outputs[0].1.values::<f32>().expect("f32")[0], 9.0);
    let explanation = model.explain(&inputs).expect("it is explained");
    assert_eq!(explanation.left[0].reason, "its weight is not known before a run");
}

#[test]
fn free_sizes_are_compiled_when_they_are_met() {
    let mut graph = Graph::new(&[0, 2, 0, 0]);
    let y = graph.conv("x", [2, 3], 3, 1);
    let bytes = graph.bytes(&[&y]);
    for shape in [[1, 2, 6, 6], [3, 2, 5, 9], [1, 2, 1, 1]] {
        check(&bytes, &shape);
    }
    // More than are remembered, and the first again.
    let model = Model::parse(&bytes, Options::default()).expect("a model");
    for width in (1..=conv_onnx::MOST_SHAPES + 2).chain([1]) {
        let x = Tensor::new(&[1, 2, 4, width], &vec![1.0f32; 8 * width]).expect("a tensor");
        let outputs = model.run(&[("x", x)]).expect("it runs");
        assert_eq!(outputs[0].1.shape(), [1, 3, 4, width]);
    }
}
