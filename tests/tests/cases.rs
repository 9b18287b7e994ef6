//! Case files: what a convolution becomes, for a person to review in a diff; and the same case on
//! every route.
//!
//! `tests/cases/NAME.conv` says what to show, `tests/cases/shown/NAME.snap` is what is shown. After
//! a change that is meant: `INSTA_UPDATE=always cargo test -p conv-tests --test cases`, then read
//! the diff.

use conv_ir::Conv;
use conv_tests::case::Case;
use conv_tests::{Fill, routes};
use std::path::Path;

#[test]
fn cases_show_what_they_did() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../cases/shown");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::glob!("../cases", "*.conv", |path| {
            let case = case(path);
            if !case.is_for_this_machine() {
                return;
            }
            let shown = case.shown().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            insta::assert_snapshot!("case", shown);
        });
    });
}

fn case(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    Case::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn cases_run_on_every_route() {
    let mut ran = 0;
    insta::glob!("../cases", "*.conv", |path| {
        let Case { conv, schedule, target, .. } = case(path);
        ran += 1;
        let result = match conv.free_sizes().is_empty() {
            true => routes::every(&conv, &schedule, &target, Fill::Integers),
            false => routes::free(&conv, &schedule, &some_sizes(&conv), Fill::Integers),
        };
        result.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    });
    conv_tests::say(format_args!("{ran} cases on: {}", routes::NAMES.join(", ")));
}

/// A few values for the free sizes, those around a vector's length among them.
fn some_sizes(conv: &Conv) -> Vec<Vec<(&str, usize)>> {
    [3, 4, 5, 9, 16, 17]
        .iter()
        .map(|&size| conv.free_sizes().into_iter().map(|name| (name, size)).collect())
        .collect()
}
