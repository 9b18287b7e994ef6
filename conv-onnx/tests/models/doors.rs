//! What is wrong is said, and nothing panics.

use conv_onnx::{Model, Options, Tensor};

use crate::graph::Graph;

fn model() -> Model {
    let mut graph = Graph::new(&[0, 2, 0, 0]);
    let y = graph.conv("x", [2, 3], 3, 0);
    Model::parse(&graph.bytes(&[&y]), Options::default()).expect("a model")
}

fn tensor(shape: &[usize]) -> Tensor {
    Tensor::new(shape, &vec![1.0f32; shape.iter().product()]).expect("a tensor")
}

fn refused(inputs: &[(&str, Tensor)]) -> String {
    model().run(inputs).expect_err("it is refused").to_string()
}

#[test]
fn inputs_that_do_not_fit() {
    assert_eq!(refused(&[]), "input 'x' is needed once; the model takes x: f32 [?, 2, ?, ?]");
    assert_eq!(
        refused(&[("y", tensor(&[1, 2, 4, 4]))]),
        "the model has no input 'y'; it takes x: f32 [?, 2, ?, ?]"
    );
    assert_eq!(
        refused(&[("x", tensor(&[1, 3, 4, 4]))]),
        "input 'x' is f32 [1, 3, 4, 4], but the model takes x: f32 [?, 2, ?, ?]"
    );
    assert_eq!(
        refused(&[("x", Tensor::new(&[1, 2, 4, 4], &[1i64; 32]).expect("a tensor"))]),
        "input 'x' is i64 [1, 2, 4, 4], but the model takes x: f32 [?, 2, ?, ?]"
    );
    assert_eq!(
        refused(&[("x", tensor(&[0, 2, 4, 4]))]),
        "input 'x' has shape [0, 2, 4, 4], which is empty"
    );
    let message = Tensor::new(&[usize::MAX, 2], &[1.0f32]).expect_err("too large").to_string();
    assert!(message.contains("does not hold 1 numbers"), "{message}");
}

#[test]
fn a_model_that_is_cut_or_changed_is_an_error_or_a_model() {
    let mut graph = Graph::new(&[1, 2, 5, 5]);
    let y = graph.conv("x", [2, 3], 3, 1);
    let y = graph.node("Relu", &[&y], vec![]);
    let sound = graph.bytes(&[&y]);
    let run = |bytes: &[u8]| {
        let model = Model::parse(bytes, Options::default())?;
        model.run(&[("x", tensor(&[1, 2, 5, 5]))])
    };
    assert!(run(&sound).is_ok());
    let mut answers = [0, 0];
    for at in 0..sound.len() {
        answers[usize::from(run(&sound[..at]).is_ok())] += 1;
        let mut bytes = sound.clone();
        for byte in [0, 1, 0x7f, 0xff] {
            bytes[at] = byte;
            answers[usize::from(run(&bytes).is_ok())] += 1;
        }
    }
    assert!(answers[0] > 100, "{answers:?}");
}

#[test]
fn files_that_are_none() {
    let message = |path: &str| Model::load(path).expect_err("no model").to_string();
    assert!(message("/nowhere.onnx").starts_with("/nowhere.onnx: cannot be read"));
    assert_eq!(message("/dev/zero"), "/dev/zero: cannot be read: it is no regular file");
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert!(message(here).contains("is no ONNX model that tract can read"), "{}", message(here));
}
