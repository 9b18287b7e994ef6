//! The cross product of benchdnn's CI core: 3 ranks x 6 families x 3 variants = 54 shapes, forward and transposed, on every route.
//!
//! Families: first layer (3 channels), 1x1, 3x3, padding beyond half the window, grouped, depthwise. Variants: plain, channel tail (no multiple of any
//! vector), stride + tail. Integers, tolerance zero. A case is its text, which every failure prints.

use conv_ir::Conv;
use conv_tests::Fill;
use conv_tests::data::Data;
use conv_tests::routes;

const FAMILIES: [&str; 6] = ["first", "1x1", "3x3", "pad", "grouped", "depthwise"];
const VARIANTS: [&str; 3] = ["plain", "channel tail", "stride + tail"];

/// `channels` of the plain variant, small where there are more axes to sum over.
fn text(rank: usize, family: &str, variant: &str, transposed: bool) -> String {
    let plain = variant == "plain";
    let channels = if plain {
        [16, 8, 8][rank - 1]
    } else {
        [19, 11, 5][rank - 1]
    };
    let (groups, ic, oc, kernel, pad) = match family {
        "first" => (1, 3, channels, if rank == 3 { 3 } else { 5 }, 2),
        "1x1" => (1, channels, channels, 1, 0),
        "3x3" => (1, channels, channels, 3, 1),
        "pad" => (1, channels / 2, channels, 3, 2),
        "grouped" => (2, 2 * (channels / 2), 2 * (channels / 2 + 1), 3, 1),
        _ => (channels, channels, channels, 3, 1),
    };
    let input = ["20", "9x10", "4x5x6"][rank - 1];
    let stride = if variant == "stride + tail" { "stride 2 " } else { "" };
    let transposed = if transposed { "-transposed" } else { "" };
    format!(
        "conv{rank}d{transposed} f32 n2 g{groups} ic{ic} oc{oc} in {input} kernel {kernel} {stride}pad {pad} + bias, relu"
    )
}

fn shapes(transposed: bool) -> Vec<String> {
    let mut shapes = Vec::new();
    for rank in 1..=3 {
        for family in FAMILIES {
            shapes.extend(VARIANTS.iter().map(|variant| text(rank, family, variant, transposed)));
        }
    }
    shapes
}

/// A case whose output is mostly zero proves little (benchdnn calls it mistrusted).
fn trusted(conv: &Conv) -> bool {
    let output = Data::<f32>::new(conv, Fill::Integers, conv_tests::judge::SEED)
        .reference(conv)
        .unwrap();
    output.iter().filter(|x| **x == 0.0).count() * 10 < output.len() * 9
}

fn run(transposed: bool) {
    let shapes = shapes(transposed);
    assert_eq!(shapes.len(), 54);
    let mut failures = Vec::new();
    for text in &shapes {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(trusted(&conv), "{text}: mistrusted");
        for target in routes::MACHINES {
            let result = routes::every_chosen(&conv, &target, Fill::Integers);
            failures.extend(result.err());
        }
    }
    conv_tests::say(format_args!(
        "{} shapes{}, on: {}{}",
        shapes.len(),
        if transposed { ", transposed" } else { "" },
        routes::NAMES.join(", "),
        routes::skipped()
    ));
    assert!(
        failures.is_empty(),
        "{} of {} fail\n{}",
        failures.len(),
        shapes.len(),
        failures.join("\n\n")
    );
}

#[test]
fn forward() {
    run(false);
}

#[test]
fn transposed() {
    run(true);
}
