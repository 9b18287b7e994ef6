//! What files say, and what they leave out.

use conv_onnx::{Model, Options, Tensor};

use crate::check;
use crate::graph::{Attribute, Graph, numbers};
use Attribute::Text;

#[test]
fn shapes_that_a_file_claims_are_not_needed() {
    let mut graph = Graph::new(&[0, 2, 0, 0]);
    let y = graph.conv("x", [2, 3], 3, 1);
    graph.claim(&y, &[3, 77, 77]);
    let z = graph.node("Relu", &[&y], vec![]);
    check(&graph.bytes(&[&z]), &[2, 2, 6, 5]);
}

/// A row of three, resized to nine, by an operator of an opset.
fn tripled(op: &str, opset: i64) -> Result<Vec<f32>, conv_onnx::Error> {
    let mut graph = Graph::new(&[1, 1, 1, 3]);
    let scales = graph.constant(&[4], vec![1.0, 1.0, 1.0, 3.0]);
    let y = graph.node(op, &["x", &scales], vec![Text("mode", "nearest")]);
    let x = Tensor::new(&[1, 1, 1, 3], &[1.0f32, 2.0, 3.0])?;
    let outputs =
        Model::parse(&graph.bytes_of(opset, &[&y]), Options::default())?.run(&[("x", x)])?;
    Ok(outputs[0].1.values::<f32>().expect("f32").to_vec())
}

#[test]
fn resizing_before_opset_11_takes_the_element_at_or_before() {
    let expected = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0];
    assert_eq!(tripled("Upsample", 9).expect("it runs"), expected);
    assert_eq!(tripled("Resize", 10).expect("it runs"), expected);
}

#[test]
fn upsampling_before_opset_9_is_refused() {
    let error = tripled("Upsample", 8).expect_err("it is refused").to_string();
    assert!(error.ends_with("convert the model to opset 9 or later"), "{error}");
}

#[test]
fn linear_upsampling_is_compiled() {
    let mut graph = Graph::new(&[1, 2, 3, 4]);
    let scales = graph.constant(&[4], vec![1.0, 1.0, 2.0, 2.0]);
    let y = graph.node("Upsample", &["x", &scales], vec![Text("mode", "linear")]);
    let bytes = graph.bytes_of(9, &[&y]);
    let explanation = check(&bytes, &[1, 2, 3, 4]);
    assert_eq!(crate::tracts(&explanation), Vec::<&str>::new());
    // Every second output is an input.
    let x = numbers(24, 7);
    let input = Tensor::new(&[1, 2, 3, 4], &x).expect("a tensor");
    let model = Model::parse(&bytes, Options::default()).expect("a model");
    let outputs = model.run(&[("x", input)]).expect("it runs");
    let found = outputs[0].1.values::<f32>().expect("f32");
    assert!(x.iter().enumerate().all(|(at, &x)| found[at / 4 * 16 + at % 4 * 2] == x));
}

#[test]
fn space_to_depth_with_channels_first_is_refused() {
    for (mode, is_run) in [("DCR", true), ("CRD", false)] {
        let mut graph = Graph::new(&[1, 2, 4, 4]);
        let attributes = vec![Attribute::Int("blocksize", 2), Text("mode", mode)];
        let y = graph.node("SpaceToDepth", &["x"], attributes);
        assert_eq!(Model::parse(&graph.bytes(&[&y]), Options::default()).is_ok(), is_run);
    }
}
