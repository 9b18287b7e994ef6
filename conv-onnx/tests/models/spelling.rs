//! Nodes that tract alone reads otherwise than ONNX means them.

use conv_onnx::{Model, Options, Route, Tensor};

use crate::graph::{Attribute, Graph, numbers};
use Attribute::{Int, Ints, Text};

/// The first output of a model and its shape, which both routes give alike.
fn output(bytes: &[u8], shape: &[usize]) -> (Vec<usize>, Vec<f32>) {
    let x = Tensor::new(shape, &numbers(shape.iter().product(), 7)).expect("a tensor");
    let of = |route| {
        let model = Model::parse(bytes, Options { route, ..Options::default() }).expect("a model");
        let outputs = model.run(&[("x", x.clone())]).expect("it runs");
        (outputs[0].1.shape().to_vec(), outputs[0].1.values::<f32>().expect("f32").to_vec())
    };
    let (ours, tracts) = (of(Route::Compiled), of(Route::Tract));
    assert_eq!(ours.0, tracts.0);
    assert_near(&ours.1, &tracts.1);
    ours
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (x, y) in found.iter().zip(expected) {
        assert!((x - y).abs() <= 1e-5, "{x} is not {y}");
    }
}

/// A transposed convolution of the same weights, of two axes of 5 and 4.
fn transposed(attributes: Vec<Attribute>) -> (Vec<usize>, Vec<f32>) {
    let mut graph = Graph::new(&[2, 4, 5, 4]);
    let weight = graph.constant(&[4, 3, 4, 3], numbers(144, 5));
    let bias = graph.constant(&[6], numbers(6, 9));
    let attributes = [vec![Ints("strides", vec![2, 3]), Int("group", 2)], attributes].concat();
    let y = graph.node("ConvTranspose", &["x", &weight, &bias], attributes);
    output(&graph.bytes(&[&y]), &[2, 4, 5, 4])
}

#[test]
fn padding_of_transposed_convolutions_follows_from_what_they_give() {
    let pads = |pads: [i64; 4]| Ints("pads", pads.to_vec());
    let shape = |shape: [i64; 2]| Ints("output_shape", shape.to_vec());
    let upper = || Text("auto_pad", "SAME_UPPER");
    // Without padding they give 12 and 12.
    let cases = [
        (vec![upper()], vec![pads([1, 0, 1, 0])]),
        (vec![Text("auto_pad", "SAME_LOWER")], vec![pads([1, 0, 1, 0])]),
        (vec![shape([9, 11])], vec![pads([2, 1, 1, 0])]),
        (vec![shape([9, 11]), upper()], vec![pads([1, 0, 2, 1])]),
        // The padding that a node says then says nothing.
        (vec![shape([12, 12]), pads([1, 1, 1, 1])], vec![]),
        (vec![shape([13, 12])], vec![Ints("output_padding", vec![1, 0])]),
        (
            vec![shape([12, 11]), Ints("output_padding", vec![1, 0])],
            vec![pads([1, 1, 0, 0]), Ints("output_padding", vec![1, 0])],
        ),
        (
            vec![Ints("dilations", vec![2, 1]), upper()],
            vec![Ints("dilations", vec![2, 1]), pads([2, 0, 3, 0])],
        ),
    ];
    for (found, expected) in cases {
        let (found, expected) = (transposed(found), transposed(expected));
        assert_eq!(found.0, expected.0);
        assert_near(&found.1, &expected.1);
    }
}

#[test]
fn an_output_shape_has_an_extent_for_each_axis() {
    let mut graph = Graph::new(&[1, 2, 5, 4]);
    let weight = graph.weight(&[2, 3, 2, 2]);
    let shape = vec![Ints("output_shape", vec![6])];
    let y = graph.node("ConvTranspose", &["x", &weight], shape);
    let model = Model::parse(&graph.bytes(&[&y]), Options::default()).expect("a model");
    let x = Tensor::new(&[1, 2, 5, 4], &numbers(40, 7)).expect("a tensor");
    let error = model.run(&[("x", x)]).expect_err("it is refused").to_string();
    assert!(error.ends_with("output_shape [6] has no axis 1"), "{error}");
}

#[test]
fn windows_that_hang_over_the_end_are_kept_with_valid_padding() {
    for op in ["MaxPool", "AveragePool"] {
        let pool = |auto: Option<Attribute>| {
            let mut graph = Graph::new(&[1, 2, 6, 8]);
            let kernel = Ints("kernel_shape", vec![3, 3]);
            let all = vec![kernel, Ints("strides", vec![2, 2]), Int("ceil_mode", 1)];
            let y = graph.node(op, &["x"], all.into_iter().chain(auto).collect());
            output(&graph.bytes(&[&y]), &[1, 2, 6, 8])
        };
        let found = pool(Some(Text("auto_pad", "VALID")));
        assert_eq!(found.0, [1, 2, 3, 4]);
        assert_eq!(found, pool(None));
    }
}

#[test]
fn padding_below_zero_before_opset_11() {
    for mode in ["constant", "edge", "reflect"] {
        let last = |row: &[f32]| match mode {
            "constant" => 0.5,
            "edge" => row[3],
            _ => row[2],
        };
        let mut graph = Graph::new(&[1, 1, 3, 4]);
        let pads = Ints("pads", vec![0, 0, 0, -1, 0, 0, 0, 1]);
        let attributes = vec![pads, Attribute::Text("mode", mode), Attribute::Float("value", 0.5)];
        let y = graph.node("Pad", &["x"], attributes);
        let (shape, found) = output(&graph.bytes_of(9, &[&y]), &[1, 1, 3, 4]);
        let rows = numbers(12, 7);
        let rows = rows.chunks(4).flat_map(|row| [row[1], row[2], row[3], last(row)]);
        assert_eq!((shape, found), (vec![1, 1, 3, 4], rows.collect()), "{mode}");
    }
}

/// `x[:, 1::step]` of what is built of `x`.
fn picked(build: impl Fn(&mut Graph) -> String, [images, rows]: [usize; 2], step: i64) {
    let whole = |picks: bool| {
        let mut graph = Graph::new(&[2, 12, 5]);
        let mut y = build(&mut graph);
        if picks {
            let parts = [1, i64::MAX, 1, step].map(|value| graph.longs_constant(&[value]));
            let [start, end, axis, step] = parts.each_ref().map(String::as_str);
            y = graph.node("Slice", &[&y, start, end, axis, step], vec![]);
            y = graph.node("Neg", &[&y], vec![]);
        }
        output(&graph.bytes(&[&y]), &[2, 12, 5])
    };
    let (all, found) = (whole(false), whole(true));
    let row = all.1.len() / images / rows;
    let expected: Vec<f32> = (0..images)
        .flat_map(|image| (1..rows).step_by(step as usize).map(move |at| image * rows + at))
        .flat_map(|at| all.1[at * row..][..row].iter().map(|x| -x))
        .collect();
    assert_near(&found.1, &expected);
}

#[test]
fn what_is_picked_behind_a_softmax_or_a_reshape_is_what_it_gives() {
    let half = |graph: &mut Graph, x: &str| {
        let half = graph.constant(&[12, 1], vec![0.5; 12]);
        graph.node("Mul", &[x, &half], vec![])
    };
    picked(|graph| graph.node("Softmax", &["x"], vec![Int("axis", 1)]), [2, 12], 2);
    picked(
        |graph| {
            let y = graph.node("Softmax", &["x"], vec![Int("axis", 1)]);
            half(graph, &y)
        },
        [2, 12],
        3,
    );
    // tract would give the convolution a stride.
    picked(
        |graph| {
            let shape = graph.longs_constant(&[2, 1, 12, 5]);
            let y = graph.node("Reshape", &["x", &shape], vec![]);
            let weight = graph.constant(&[1, 1, 2, 1], vec![0.5, -1.0]);
            let pads = vec![Ints("pads", vec![1, 0, 1, 0]), Ints("strides", vec![2, 1])];
            let y = graph.node("Conv", &[&y, &weight], pads);
            let shape = graph.longs_constant(&[2, 7, 5]);
            graph.node("Reshape", &[&y, &shape], vec![])
        },
        [2, 7],
        2,
    );
    picked(
        |graph| {
            let shape = graph.longs_constant(&[2, 30, 2]);
            graph.node("Reshape", &["x", &shape], vec![])
        },
        [2, 30],
        2,
    );
}
