//! Resizing: by whole factors it is ours; by others tract runs it, with its channels last.

use crate::graph::{Attribute, Graph};
use crate::{check, tracts};
use Attribute::Text;

fn resize(shape: &[i64], scales: &[f32], attributes: Vec<Attribute>) -> Vec<String> {
    let mut graph = Graph::new(shape);
    let scales = graph.constant(&[shape.len() as i64], scales.to_vec());
    let y = graph.node("Resize", &["x", "", &scales], attributes);
    let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
    let explanation = check(&graph.bytes(&[&y]), &shape);
    tracts(&explanation).into_iter().map(str::to_owned).collect()
}

fn mode(mode: &'static str, coordinates: &'static str) -> Vec<Attribute> {
    vec![Text("mode", mode), Text("coordinate_transformation_mode", coordinates)]
}

#[test]
fn by_whole_factors_it_is_a_transposed_convolution() {
    let none = Vec::<String>::new();
    for coordinates in ["half_pixel", "pytorch_half_pixel", "asymmetric", "tf_half_pixel_for_nn"] {
        for kind in ["linear", "cubic"] {
            let mode = || mode(kind, coordinates);
            for scales in [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 3.0, 1.0], [1.0, 1.0, 1.0, 4.0]] {
                assert_eq!(resize(&[2, 3, 5, 7], &scales, mode()), none, "{kind} {coordinates}");
                // Shorter than the taps.
                assert_eq!(resize(&[1, 2, 1, 2], &scales, mode()), none, "{kind} {coordinates}");
            }
            assert_eq!(resize(&[1, 3, 6], &[1.0, 1.0, 5.0], mode()), none);
        }
        let linear = mode("linear", coordinates);
        assert_eq!(resize(&[1, 2, 3, 4, 3], &[1.0, 1.0, 2.0, 1.0, 2.0], linear), none);
    }
}

#[test]
fn by_others_channels_are_last() {
    let moved = ["MoveAxis", "Resize", "MoveAxis"];
    let corners = || mode("linear", "align_corners");
    assert_eq!(resize(&[2, 5, 4, 6], &[1.0, 1.0, 2.0, 2.0], corners()), moved);
    assert_eq!(resize(&[1, 4, 6, 4], &[1.0, 1.0, 1.5, 0.5], mode("cubic", "half_pixel")), moved);
    assert_eq!(resize(&[1, 8, 3, 2, 3], &[1.0, 1.0, 2.0, 2.0, 2.0], corners()), moved);
    // Not worth it.
    assert_eq!(resize(&[1, 2, 4, 6], &[1.0, 1.0, 2.0, 2.0], corners()), ["Resize"]);
    assert_eq!(
        resize(&[1, 4, 6, 4], &[1.0, 2.0, 2.0, 1.0], mode("linear", "half_pixel")),
        ["Resize"]
    );
}

#[test]
fn copies_of_an_input_are_tracts() {
    let nearest = || {
        let mut attributes = mode("nearest", "asymmetric");
        attributes.push(Text("nearest_mode", "floor"));
        attributes
    };
    assert_eq!(resize(&[1, 2, 4, 5], &[1.0, 1.0, 2.0, 3.0], nearest()), ["NearestUpsample"]);
    // By sizes, which follow from another tensor's.
    let mut graph = Graph::new(&[1, 2, 4, 6]);
    let y = graph.conv("x", [2, 3], 1, 0);
    let small =
        vec![Attribute::Ints("kernel_shape", vec![2, 2]), Attribute::Ints("strides", vec![2, 2])];
    let small = graph.node("MaxPool", &[&y], small);
    let sizes = graph.node("Shape", &[&y], vec![]);
    let large = graph.node("Resize", &[&small, "", "", &sizes], nearest());
    let sum = graph.node("Add", &[&y, &large], vec![]);
    let explanation = check(&graph.bytes(&[&sum]), &[1, 2, 4, 6]);
    let left = tracts(&explanation);
    assert!(!left.contains(&"NearestUpsample") && !left.contains(&"OptAddUnicast"), "{left:?}");
}

#[test]
fn sizes_are_those_that_are_said() {
    for (length, size) in [(11, 13), (22, 25), (7, 20), (41, 47)] {
        let mut graph = Graph::new(&[1, 5, length, 4]);
        let sizes = graph.longs_constant(&[1, 5, size, 6]);
        let y = graph.node("Resize", &["x", "", "", &sizes], mode("linear", "half_pixel"));
        let explanation = check(&graph.bytes(&[&y]), &[1, 5, length as usize, 4]);
        assert_eq!(tracts(&explanation), ["MoveAxis", "Resize", "MoveAxis"]);
    }
    // The list of scales is empty, as before opset 13.
    let mut graph = Graph::new(&[1, 5, 3, 4]);
    let (none, sizes) = (graph.constant(&[0], vec![]), graph.longs_constant(&[1, 5, 6, 8]));
    let y = graph.node("Resize", &["x", &none, &none, &sizes], mode("linear", "half_pixel"));
    let explanation = check(&graph.bytes_of(11, &[&y]), &[1, 5, 3, 4]);
    assert_eq!(tracts(&explanation), Vec::<&str>::new());
}
