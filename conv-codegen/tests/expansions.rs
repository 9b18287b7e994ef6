//! What a person reads of an expansion: six kinds of convolutions, of each the head of the item,
//! what its door asserts, the widest version's driver, and the leaf that does most of the work.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test -p conv-codegen --test
//! expansions`, then read the diff, as a person.

use conv_codegen::{Form, Options, rust_source};
use conv_ir::Conv;

/// Lines of a hot leaf, at most.
const MOST: usize = 200;

/// The source of a convolution.
fn source(text: &str, name: &str, form: Form) -> String {
    let conv: Conv = text.parse().unwrap();
    emitted(&conv, name, form)
}

fn emitted(conv: &Conv, name: &str, form: Form) -> String {
    let options = Options { form, ..Options::default() };
    rust_source(conv, name, &options).unwrap()
}

/// From the line that begins with `start`, its attributes and documentation included, to the end of
/// its block.
fn block(source: &str, start: &str) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let at = lines.iter().position(|line| line.trim_start().starts_with(start));
    let at = at.unwrap_or_else(|| panic!("no `{start}` in\n{source}"));
    let indent = lines[at].len() - lines[at].trim_start().len();
    let is_head =
        |line: &&&str| line.trim_start().starts_with("///") || line.trim_start().starts_with("#[");
    let head = lines[..at].iter().rev().take_while(is_head).count();
    let close = format!("{}}}", " ".repeat(indent));
    let end = lines[at..].iter().position(|line| **line == close).unwrap();
    let block = lines[at - head..=at + end].iter();
    block.map(|line| format!("{}\n", line.get(indent..).unwrap_or(""))).collect()
}

/// The head of an item, and of its widest version the driver and the leaf that its documentation
/// names.
fn read(source: &str) -> String {
    let head: Vec<&str> = source.lines().take_while(|line| line.starts_with("///")).collect();
    let named = head.iter().find_map(|line| line.strip_prefix("/// - avx512, mostly in `"));
    let leaf = named.and_then(|rest| rest.split('`').next()).expect("a version for AVX-512");
    let (_, version) = source.split_once("mod avx512 {").unwrap();
    let hot = block(version, &format!("fn {leaf}("));
    assert!(hot.lines().count() < MOST, "{} lines:\n{hot}", hot.lines().count());
    assert!(!hot.contains("{ {") && !hot.contains("let _ ="), "{hot}");
    format!(
        "{}\n{}\n{}\n{hot}",
        head.join("\n"),
        door(source),
        block(version, "pub(super) fn run(")
    )
}

/// What is asserted of sizes that come at run time, with the line above.
fn door(source: &str) -> String {
    let lines = source.lines().skip_while(|line| *line != "#[track_caller]");
    let lines = lines.take_while(|line| !line.contains("target_arch"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_dense_window_as_a_type() {
    let text = "conv2d ic64 oc64 in 56x56 kernel 3x3 pad 1 + bias, relu";
    insta::assert_snapshot!(read(&source(text, "Dense", Form::Type)));
}

#[test]
fn a_depthwise_window() {
    let text = "conv2d g32 ic32 oc32 in 112x112 kernel 3x3 pad 1, relu6";
    insta::assert_snapshot!(read(&source(text, "Depthwise", Form::Type)));
}

#[test]
fn a_pointwise_layer_with_a_residual() {
    let text = "conv2d nhwc ic64 oc256 in 56x56 kernel 1x1 + residual, relu";
    insta::assert_snapshot!(read(&source(text, "Pointwise", Form::Type)));
}

#[test]
fn a_transposed_window() {
    let text = "conv2d-transposed ic64 oc32 in 16x16 kernel 4x4 stride 2 pad 1";
    insta::assert_snapshot!(read(&source(text, "Transposed", Form::Type)));
}

#[test]
fn known_taps_of_a_picture_of_any_size() {
    let conv: Conv = "conv2d in HxW kernel 3x3 pad 1".parse().unwrap();
    let sobel = [1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0];
    let conv = conv.with_weights(&sobel, None).unwrap();
    insta::assert_snapshot!(read(&emitted(&conv, "sobel", Form::Function)));
}

#[test]
fn groups_of_a_dilated_causal_row_in_double_precision() {
    let text = "conv1d f64 g4 ic32 oc32 in 256 kernel 3 dilation 2 pad causal";
    insta::assert_snapshot!(read(&source(text, "causal", Form::Function)));
}
