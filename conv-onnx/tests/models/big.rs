//! Models that are not in the repository: every `.onnx` file in the folder that `CONV_ONNX_MODELS`
//! names, against tract. Free extents are 1 for the batch and 64 otherwise, or as `NAME.size`
//! beside `NAME.onnx` says: `x=1x3x640x640`.

use std::path::Path;

use conv_onnx::{Model, Port, Tensor};

use crate::check_within;
use crate::graph::numbers;

#[test]
fn models_of_a_folder() {
    let Ok(folder) = std::env::var("CONV_ONNX_MODELS") else { return };
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            println!("counted: {}", path.display());
            compare(&path);
        }
    }
}

fn compare(path: &Path) {
    let model = Model::load(path).expect("a model");
    let said = std::fs::read_to_string(path.with_extension("size")).unwrap_or_default();
    let inputs: Vec<(&str, Tensor)> = model
        .inputs()
        .iter()
        .map(|port| {
            let shape = shape(port, &said);
            let numbers = numbers(shape.iter().product(), 3);
            (port.name.as_str(), Tensor::new(&shape, &numbers).expect("a tensor"))
        })
        .collect();
    // Layer upon layer, two orders of sums drift apart.
    check_within(&std::fs::read(path).expect("bytes"), &inputs, 2e-4);
}

fn shape(port: &Port, said: &str) -> Vec<usize> {
    let own = said.lines().find_map(|line| line.strip_prefix(&format!("{}=", port.name)));
    if let Some(shape) = own {
        return shape.trim().split('x').map(|n| n.parse().expect("an extent")).collect();
    }
    let declared = port.shape.as_ref().expect("a known number of axes").iter().enumerate();
    declared.map(|(axis, n)| n.unwrap_or(if axis == 0 { 1 } else { 64 })).collect()
}
