//! What rows of convolutions save, on the textbook's numbers.

use super::conv;
use crate::Conv;
use crate::analysis::{Saving, savings};

fn of(texts: &[&str]) -> Vec<Saving> {
    let convs: Vec<Conv> = texts.iter().map(|text| conv(text)).collect();
    savings(&convs)
}

#[test]
fn a_three_by_three_window_in_two_passes_needs_6_of_9() {
    let found = of(&["conv2d in 5 kernel 3x1", "conv2d in 3x5 kernel 1x3"]);
    let [saving] = &found[..] else { panic!("{found:?}") };
    assert_eq!((saving.kind, saving.layers.clone()), ("spatially separable", 0..2));
    assert_eq!((saving.weights, saving.dense_weights), (6, 9));
    assert_eq!((saving.multiply_adds, saving.dense_multiply_adds), (Some(72), Some(81)));
}

#[test]
fn depthwise_separable() {
    let found = of(&["conv2d g3 ic3 oc3 in 7 kernel 3", "conv2d ic3 oc128 in 5 kernel 1"]);
    let [saving] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (saving.kind, saving.weights, saving.dense_weights),
        ("depthwise separable", 411, 3456)
    );
    assert_eq!(
        (saving.multiply_adds, saving.dense_multiply_adds),
        (Some(675 + 9600), Some(86_400))
    );
}

#[test]
fn a_depthwise_window_belongs_to_the_1x1_after_it() {
    let widen = "conv2d ic16 oc96 in 14 kernel 1";
    let depthwise = "conv2d g96 ic96 oc96 in 14 kernel 3 pad 1";
    let narrow = "conv2d ic96 oc24 in 14 kernel 1";
    let found = of(&[widen, depthwise, narrow]);
    let [saving] = &found[..] else { panic!("{found:?}") };
    assert_eq!((saving.kind, saving.layers.clone()), ("depthwise separable", 1..3));
    assert_eq!((saving.weights, saving.dense_weights), (96 * 9 + 96 * 24, 96 * 24 * 9));
    let found = of(&[widen, depthwise]);
    assert_eq!((found[0].kind, found[0].layers.clone()), ("depthwise", 1..2));
    let found = of(&[depthwise, depthwise, narrow]);
    assert_eq!((found[0].kind, found[0].layers.clone()), ("depthwise", 0..1));
    assert_eq!((found[1].kind, found[1].layers.clone()), ("depthwise separable", 1..3));
    let rows = ["conv2d g8 ic8 oc8 in 9 kernel 3x1", "conv2d g8 ic8 oc8 in 7x9 kernel 1x3"];
    assert_eq!(of(&rows)[0].kind, "spatially separable");
}

#[test]
fn groups_frames_and_bottlenecks() {
    let grouped = of(&["conv2d ic64 oc64 g4 in 14 kernel 3 pad 1"]);
    assert_eq!((grouped[0].kind, grouped[0].dense_weights / grouped[0].weights), ("grouped", 4));
    let video = of(&[
        "conv3d ic8 oc8 in 4x9x9 kernel 1x3x3 pad 0x1x1",
        "conv3d ic8 oc8 in 4x9x9 kernel 3x1x1 pad 1x0x0",
    ]);
    assert_eq!(
        (video[0].kind, video[0].weights, video[0].dense_weights),
        ("(2+1)-D", 64 * 12, 64 * 27)
    );
    let resnet = of(&[
        "conv2d ic256 oc64 in 14 kernel 1",
        "conv2d ic64 oc64 in 14 kernel 3 pad 1",
        "conv2d ic64 oc256 in 14 kernel 1",
    ]);
    assert_eq!(
        (resnet[0].kind, resnet[0].layers.clone(), resnet[0].weights),
        ("bottleneck", 0..3, 69_632)
    );
    assert_eq!(resnet[0].dense_weights, 9 * 256 * 256);
}

#[test]
fn rows_that_save_nothing_are_not_named() {
    assert_eq!(of(&["conv2d in 9 kernel 3", "conv2d in 7 kernel 3"]), []);
    assert_eq!(of(&["conv2d in 9 kernel 3x1", "conv2d-transposed in 7x9 kernel 1x3"]), []);
    assert_eq!(of(&["conv2d in 9 kernel 3x1", "conv1d in 7 kernel 3"]), []);
    let mobile = ["conv2d g8 ic8 oc8 in 9 kernel 3 pad 1", "conv2d ic8 oc8 in 9 kernel 1"];
    let twice = of(&[mobile, mobile].concat());
    assert_eq!(twice.iter().map(|saving| saving.layers.clone()).collect::<Vec<_>>(), [0..2, 2..4]);
    let free = of(&["conv2d in HxW kernel 3x1", "conv2d in HxW kernel 1x3"]);
    assert_eq!((free[0].multiply_adds, free[0].dense_multiply_adds), (None, None));
}
