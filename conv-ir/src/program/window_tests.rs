#![allow(clippy::single_range_in_vec_init, reason = "an array of one axis has one range")]

use super::*;

fn program(text: &str) -> Program {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The steps of a window, as text.
fn steps(text: &str, outputs: &[Range<usize>]) -> Vec<String> {
    let window = program(text).window(outputs).unwrap_or_else(|e| panic!("{text}: {e}"));
    window.steps.iter().map(|step| step.conv.to_string()).collect()
}

#[test]
fn an_end_leaves_its_padding_to_the_window() {
    let text = "conv1d in 64 kernel 3 pad 1; conv1d kernel 3 pad 1";
    let front = ["in 10 kernel 3 pad 1:0", "in 9 kernel 3 pad 1:0"];
    let back = ["in 9 kernel 3 pad 0:1", "in 8 kernel 3 pad 0:1"];
    let of = |all: [&str; 2]| all.map(|rest| format!("conv1d f32 n1 g1 ic1 oc1 {rest}"));
    assert_eq!(steps(text, &[0..8]), of(front));
    assert_eq!(steps(text, &[57..64]), of(back));
    assert_eq!(steps(text, &[0..64]), of(["in 64 kernel 3 pad 1:1"; 2]));
}

#[test]
fn a_residual_needs_its_part_as_well() {
    let text = "conv1d in 64 kernel 9 pad 4; conv1d kernel 1 + residual from 0";
    let window = program(text).window(&[30..32]).expect("legal");
    assert_eq!(window.needed, [vec![26..36], vec![30..32], vec![30..32]]);
    let text = "conv1d in 64 kernel 3; conv1d kernel 1 stride 31; conv1d kernel 2";
    assert_eq!(program(text).window(&[0..1]).expect("legal").needed[0], [0..34]);
}

#[test]
fn outputs_of_padding_alone_are_computed_with_a_neighbour() {
    let text = "conv1d in 8 kernel 1 pad 3";
    let window = |outputs| program(text).window(&[outputs]).expect("legal").steps.remove(0);
    assert_eq!((window(0..1).output, window(0..1).input), (vec![0..4], vec![0..1]));
    assert_eq!((window(12..14).output, window(12..14).input), (vec![10..14], vec![7..8]));
    // No output meets the input: all are computed.
    let text = "conv1d in 1 kernel 1 stride 3 pad 1";
    assert_eq!(program(text).window(&[0..1]).expect("legal").steps[0].output, [0..1]);
}

#[test]
fn padding_that_repeats_the_input_is_copied() {
    let text = "conv1d in 8 kernel 5 pad 2 mode circular";
    let window = program(text).window(&[0..2]).expect("legal");
    assert_eq!(window.needed[0], [0..8]);
    assert_eq!(window.steps[0].copy, Some(vec![vec![6, 7, 0, 1, 2, 3]]));
    let inside = program(text).window(&[2..6]).expect("legal");
    assert_eq!((inside.needed[0].clone(), inside.steps[0].copy.clone()), (vec![0..8], None));
}

#[test]
fn a_transposed_step_reads_what_leads_to_its_outputs() {
    let text = "conv1d-transposed in 8 kernel 4 stride 2 pad 1";
    assert_eq!(
        steps(text, &[4..6]),
        ["conv1d-transposed f32 n1 g1 ic1 oc1 in 3 kernel 4 stride 2 pad 3:3"]
    );
    assert_eq!(program(text).window(&[4..6]).expect("legal").needed[0], [1..4]);
}

#[test]
fn what_is_no_window_is_refused() {
    let refused = |text: &str, outputs: &[Range<usize>]| {
        program(text).window(outputs).expect_err("refused").to_string()
    };
    let plane = "conv2d in 8x9 kernel 3";
    assert_eq!(refused(plane, &[0..1]), "1 ranges, but the output has 2 spatial axes");
    assert_eq!(
        refused(plane, &[0..7, 0..2]),
        "the range 0..7 of the output's height must have a position, and end at 6 at most"
    );
    assert_eq!(
        refused(plane, &[0..1, 2..2]),
        "the range 2..2 of the output's width must have a position, and end at 7 at most"
    );
    for text in ["conv1d in W kernel 3", "conv1d nN in 9 kernel 3"] {
        let message = "a window is of known sizes: give the free ones values";
        assert_eq!(refused(text, &[0..1]), message);
    }
    // The places that are copied are listed.
    let long = "conv1d in 1000000000000 kernel 3 pad 1 mode circular";
    let message = refused(long, &[0..1_000_000_000_000]);
    assert!(message.contains("1000000000002 along an axis, but the limit is"), "{message}");
}

#[test]
fn a_change_goes_as_far_as_windows_see() {
    let changed = |text: &str, inputs: Range<usize>| {
        let ranges = program(text).changed(&[inputs]).expect("legal");
        ranges.map(|mut ranges| ranges.remove(0))
    };
    assert_eq!(changed("conv1d in 64 kernel 3 pad 1; conv1d kernel 3 pad 1", 10..11), Some(8..13));
    assert_eq!(changed("conv1d in 64 kernel 2 stride 4", 2..4), None);
    assert_eq!(changed("conv1d in 8 kernel 3 pad 1 mode circular", 7..8), Some(0..8));
    assert_eq!(changed("conv1d-transposed in 8 kernel 4 stride 2 pad 1", 3..4), Some(5..9));
    let residual = "conv1d in 64 kernel 2 stride 4 pad 3; conv1d oc1 kernel 1 + residual from 1";
    assert_eq!(changed(residual, 0..64), Some(1..17), "output 0 is of padding alone");
}
