//! Models, compiled, against tract alone.

mod big;
mod command;
mod contrib;
mod doors;
mod folds;
mod graph;
mod join;
mod kinds;
mod matmul;
mod pages;
mod quantised;
mod random;
mod reading;
mod reduce;
mod resize;
mod scale;
mod softmax;
mod spelling;

use conv_onnx::{Explanation, Model, Options, Route, Tensor};
use graph::numbers;

/// Runs a model with input `x` on both routes, compares, and says what was compiled.
pub fn check(bytes: &[u8], shape: &[usize]) -> Explanation {
    let x = Tensor::new(shape, &numbers(shape.iter().product(), 7)).expect("a tensor");
    check_on(bytes, &[("x", x)])
}

/// The same on given inputs.
pub fn check_on(bytes: &[u8], inputs: &[(&str, Tensor)]) -> Explanation {
    check_within(bytes, inputs, 2e-5)
}

/// The same, with outputs that may differ by so much of the largest one.
pub fn check_within(bytes: &[u8], inputs: &[(&str, Tensor)], near: f32) -> Explanation {
    let route = |route| Model::parse(bytes, Options { route, ..Options::default() });
    let (ours, tracts) =
        (route(Route::Compiled).expect("ours"), route(Route::Tract).expect("tract's"));
    let outputs = ours.run(inputs).expect("ours runs");
    let expected = tracts.run(inputs).expect("tract's runs");
    assert_eq!(outputs.len(), expected.len());
    for ((name, found), (wanted_name, wanted)) in outputs.iter().zip(&expected) {
        assert_eq!((name, found.shape()), (wanted_name, wanted.shape()));
        let (found, wanted) = (found.values::<f32>(), wanted.values::<f32>());
        let (found, wanted) = (found.expect("f32"), wanted.expect("f32"));
        let scale = wanted.iter().fold(1e-2f32, |most, x| most.max(x.abs()));
        for (at, (x, y)) in found.iter().zip(wanted).enumerate() {
            assert!((x - y).abs() <= near * scale, "{name}[{at}]: {x} is not {y}");
        }
    }
    ours.explain(inputs).expect("it is explained")
}

/// tract's operators that are left, in order.
pub fn tracts(explanation: &Explanation) -> Vec<&str> {
    let left = explanation.nodes.iter().filter(|node| !node.is_ours);
    left.map(|node| node.op.as_str()).filter(|op| *op != "Source" && *op != "Const").collect()
}

/// What was folded, in order.
pub fn folded(explanation: &Explanation) -> Vec<&str> {
    explanation.nodes.iter().flat_map(|node| node.folded.iter().copied()).collect()
}
