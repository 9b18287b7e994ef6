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

#[test]
fn operators_that_are_not_there_are_refused_by_name() {
    for (operator, part) in [
        ("GlobalLpPool", "use ReduceL1 or ReduceL2"),
        ("MaxRoiPool", "operator MaxRoiPool is not supported"),
    ] {
        let mut graph = Graph::new(&[1, 2, 4, 4]);
        let y = graph.node(operator, &["x"], vec![]);
        let x = Tensor::new(&[1, 2, 4, 4], &[1.0f32; 32]).expect("a tensor");
        let model = Model::parse(&graph.bytes(&[&y]), Options::default());
        let error = model.and_then(|model| model.run(&[("x", x)]));
        let error = error.expect_err("it is refused").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn models_of_halves_are_computed_in_f32() {
    use conv_onnx::f16;
    let mut graph = Graph::default();
    graph.halves_input("x", &[1, 2, 6, 5]);
    let numbers = |count| numbers(count, 3).into_iter().map(f16::from_f32).collect::<Vec<f16>>();
    let (weight, x) = (numbers(4 * 2 * 9), numbers(60));
    let w = graph.halves_constant(&[4, 2, 3, 3], &weight);
    let y = graph.node("Conv", &["x", &w], vec![]);
    let y = graph.node("Relu", &[&y], vec![]);
    let model = Model::parse(&graph.bytes(&[&y]), Options::default()).expect("a model");
    let input = [("x", Tensor::new(&[1, 2, 6, 5], &x).expect("a tensor"))];
    let outputs = model.run(&input).expect("it runs");
    let found = outputs[0].1.values::<f16>().expect("f16");
    for (at, found) in found.iter().enumerate() {
        let (o, row, column) = (at / 12, at / 3 % 4, at % 3);
        let tap = |k: usize| {
            let (i, tap) = (k / 9, k % 9);
            let place = (i * 6 + row + tap / 3) * 5 + column + tap % 3;
            x[place].to_f64() * weight[o * 18 + k].to_f64()
        };
        let sum = (0..18).map(tap).sum::<f64>().max(0.0);
        // One rounding to f16.
        assert!((found.to_f64() - sum).abs() <= 5e-4 * sum + 1e-7, "{at}: {found} is not {sum}");
    }
    let explanation = model.explain(&input).expect("it is explained");
    assert_eq!(crate::tracts(&explanation), [""; 0]);
}

#[test]
fn padding_below_zero_takes_away() {
    let mut graph = Graph::new(&[1, 1, 1, 5]);
    let pads = graph.longs_constant(&[0, 0, 1, -2, 0, 0, 0, 1]);
    let y = graph.node("Pad", &["x", &pads], vec![]);
    let bytes = graph.bytes(&[&y]);
    let x = Tensor::new(&[1, 1, 1, 5], &[1.0f32, 2.0, 3.0, 4.0, 5.0]).expect("a tensor");
    check(&bytes, &[1, 1, 1, 5]);
    let model = Model::parse(&bytes, Options::default()).expect("a model");
    let outputs = model.run(&[("x", x)]).expect("it runs");
    assert_eq!(outputs[0].1.shape(), [1, 1, 2, 4]);
    let expected = [0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 5.0, 0.0];
    assert_eq!(outputs[0].1.values::<f32>(), Some(&expected[..]));
}
