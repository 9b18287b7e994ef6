//! Softmax over any axis.

use conv_onnx::{Model, Options, Tensor};

use crate::graph::{Attribute, Graph};
use crate::{check, tracts};
use Attribute::Int;

#[test]
fn over_any_axis() {
    for channels in [1, 2, 3, 4, 7, 8] {
        let shape = [2, channels, 5, 3];
        for axis in 0..4 {
            let mut graph = Graph::new(&shape);
            let y = graph.node("Softmax", &["x"], vec![Int("axis", axis)]);
            check(&graph.bytes(&[&y]), &shape.map(|n| n as usize));
        }
    }
    for axis in [1, 3] {
        let mut graph = Graph::new(&[1, 3, 6, 6]);
        let y = graph.node("Softmax", &["x"], vec![Int("axis", axis)]);
        let explanation = check(&graph.bytes(&[&y]), &[1, 3, 6, 6]);
        assert_eq!(tracts(&explanation), ["Normalise"]);
    }
}

#[test]
fn the_logarithm_of_what_is_almost_zero_is_finite() {
    for (axis, opset) in [(2, 17), (1, 17), (2, 11)] {
        let mut graph = Graph::new(&[1, 2, 2]);
        let y = graph.node("LogSoftmax", &["x"], vec![Int("axis", axis)]);
        let bytes = graph.bytes_of(opset, &[&y]);
        let x = Tensor::new(&[1, 2, 2], &[300.0f32, 0.0, 0.0, 300.0]).expect("a tensor");
        let model = Model::parse(&bytes, Options::default()).expect("a model");
        let outputs = model.run(&[("x", x)]).expect("it runs");
        assert_eq!(outputs[0].1.values::<f32>(), Some(&[0.0, -300.0, -300.0, 0.0][..]));
    }
}
