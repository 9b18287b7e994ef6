//! The cross product of benchdnn's CI core: 3 ranks x 6 families x 3 variants = 54 shapes, forward
//! and transposed, on every route.
//!
//! The list is in [`conv_tests::shapes`]. Integers, tolerance zero. A case is its text, which every
//! failure prints.

use conv_ir::Conv;
use conv_tests::Fill;
use conv_tests::data::Data;
use conv_tests::routes;

/// A case whose output is mostly zero proves little (benchdnn calls it mistrusted).
fn trusted(conv: &Conv) -> bool {
    let output =
        Data::<f32>::new(conv, Fill::Integers, conv_tests::judge::SEED).reference(conv).unwrap();
    output.iter().filter(|x| **x == 0.0).count() * 10 < output.len() * 9
}

fn run(transposed: bool) {
    let shapes = conv_tests::shapes::core(transposed);
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
