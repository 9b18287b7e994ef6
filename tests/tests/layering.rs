//! Who may know whom, as a test: it reads manifests and sources, so that a shortcut fails here and
//! not in a review.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Rust file below a folder (or one file), as (path from the root, text).
fn sources(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![root().join(below)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing below {below}");
    found
}

/// Tests may look everywhere.
fn is_test(path: &str) -> bool {
    path.contains("tests") || path.ends_with("_tests.rs")
}

/// Lines of code: no comments, nothing from `#[cfg(test)]` with a body on, which stands last in a
/// file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default())
}

/// Panics if any line of code in these files says one of `words`.
fn never_says(files: &[(String, String)], words: &[&str], why: &str) {
    for (path, text) in files {
        for line in code(text) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                panic!("{path} says `{word}`: {why}\n{line}");
            }
        }
    }
}

fn shipped(below: &str) -> Vec<(String, String)> {
    sources(below).into_iter().filter(|(path, _)| !is_test(path)).collect()
}

/// The crates of this workspace that a manifest's `[dependencies]` names.
fn dependencies(of: &str) -> Vec<String> {
    let manifest = read(format!("{of}/Cargo.toml"));
    let table = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let table = table.split("\n[").next().unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("conv-")).map(str::to_owned).collect()
}

#[test]
fn crates_know_only_whom_they_may() {
    let allowed: [(&str, &[&str]); 6] = [
        ("conv-ir", &[]),
        ("conv-files", &["conv-ir"]),
        ("conv-codegen", &["conv-ir", "conv-files"]),
        ("conv-macros", &["conv-codegen"]),
        ("conv-jit", &["conv-ir"]),
        ("conv-cli", &["conv-ir", "conv-files", "conv-codegen", "conv-jit"]),
    ];
    for (of, allowed) in allowed {
        for name in dependencies(of) {
            assert!(
                allowed.contains(&name.as_str()),
                "{of} depends on {name}; it may only on {allowed:?}"
            );
        }
    }
}

#[test]
fn conv_ir_is_a_pure_function_of_its_arguments() {
    assert!(read("conv-ir/src/lib.rs").contains("#![forbid(unsafe_code)]"));
    let words = [
        "std::env",
        "std::time",
        "std::thread",
        "std::fs",
        "std::process",
        "is_x86_feature_detected",
        "Instant",
        "println!",
    ];
    never_says(
        &shipped("conv-ir/src"),
        &words,
        "conv-ir has no clock, environment, threads, files or CPU detection",
    );
}

#[test]
fn passes_see_neither_the_convolution_nor_each_other() {
    let passes: Vec<(String, String)> = shipped("conv-ir/src/passes")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("passes/mod.rs"))
        .collect();
    let why = "a pass knows the nest, the schedule and the target";
    never_says(
        &passes,
        &["crate::conv", "Conv,", "Conv;", "crate::lower", "crate::reference", "crate::interp"],
        why,
    );
    let table = read("conv-ir/src/passes/mod.rs");
    let names: Vec<&str> =
        table.lines().filter_map(|l| l.strip_prefix("mod ")?.strip_suffix(';')).collect();
    assert!(names.len() >= 11, "{names:?}");
    for (path, text) in &passes {
        for name in &names {
            let own = path.contains(&format!("passes/{name}"));
            let imports = |l: &str| {
                l.contains(&format!("super::{name}")) || l.contains(&format!("passes::{name}"))
            };
            assert!(own || !code(text).any(imports), "{path} imports the pass {name}");
        }
    }
}

#[test]
fn every_pass_shows_what_it_does() {
    for (path, text) in shipped("conv-ir/src/passes") {
        if path.ends_with("passes/mod.rs") {
            continue;
        }
        let docs: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        for word in ["before ", "after ", "gives: "] {
            assert!(docs.contains(word), "{path} does not say `{word}`");
        }
    }
}

#[test]
fn the_oracles_share_nothing_with_what_they_judge() {
    let reference: Vec<(String, String)> = shipped("conv-ir/src")
        .into_iter()
        .filter(|(path, _)| path.contains("src/reference"))
        .collect();
    let not_the_description = [
        "crate::nest",
        "crate::lower",
        "crate::passes",
        "crate::interp",
        "crate::schedule",
        "crate::analysis",
        "activation::program",
    ];
    never_says(&reference, &not_the_description, "the reference imports only the description");
    let interp = shipped("conv-ir/src/interp");
    let not_the_nest = [
        "crate::conv",
        "crate::lower",
        "crate::passes",
        "crate::reference",
        "crate::schedule",
        "Conv,",
        "Conv}",
    ];
    never_says(&interp, &not_the_nest, "the interpreter imports only the nest");
}

#[test]
fn after_lowering_nobody_looks_at_the_convolution() {
    for below in ["conv-jit/src/emit", "conv-codegen/src/emit"] {
        never_says(
            &shipped(below),
            &["conv_ir::conv", " Conv,", " Conv;", "{Conv", "::Conv;"],
            "ways out see the nest",
        );
    }
}

#[test]
fn unsafe_is_in_conv_jit_alone_and_says_why() {
    for below in ["conv-ir/src", "conv-macros/src", "conv-cli/src", "tests/src"] {
        never_says(
            &shipped(below),
            &["unsafe {", "unsafe fn", "unsafe impl"],
            "only conv-jit has unsafe",
        );
    }
    // It prints `unsafe` around intrinsics, and has none of its own.
    assert!(read("conv-codegen/src/lib.rs").contains("#![forbid(unsafe_code)]"));
    assert!(read("conv-jit/src/lib.rs").contains("clippy::undocumented_unsafe_blocks"));
    let emitters = shipped("conv-jit/src/emit");
    never_says(&emitters, &["unsafe {", "unsafe fn"], "making code is safe; calling it is not");
}

#[test]
fn what_is_not_to_be_relied_on_is_not() {
    for (path, text) in shipped("conv-ir/src").iter().chain(&shipped("conv-codegen/src")) {
        assert!(
            !text.contains("HashMap") && !text.contains("HashSet"),
            "{path}: iteration order would leak into text"
        );
    }
}
