//! Who may know whom, as a test: it reads manifests and modules, so that a shortcut fails here and
//! not in a review.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "layering/modules.rs"]
mod modules;

use modules::{Modules, Name};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Rust file below a folder (or one file), as (path from the root, text). What cargo built is
/// not ours.
fn sources(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![root().join(below)];
    while let Some(path) = left.pop() {
        if path.ends_with("target") {
            continue;
        }
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
        // Only to hand on `conv!`, behind a feature.
        ("conv-jit", &["conv-ir", "conv-macros"]),
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

/// The crates whose modules are read.
const CRATES: [&str; 8] = [
    "conv-ir",
    "conv-files",
    "conv-codegen",
    "conv-macros",
    "conv-jit",
    "conv-cli",
    "conv-onnx",
    "conv-python",
];

fn modules() -> Modules {
    let mut modules = Modules::default();
    for name in CRATES {
        modules.read(name, &root().join(name).join("src"));
    }
    modules
}

#[test]
fn modules_have_no_circles() {
    let mut found = String::new();
    for (_, uses) in modules().circles() {
        let uses: Vec<String> = uses.iter().map(|used| format!("  {used}\n")).collect();
        found.push_str(&format!("modules use each other:\n{}", uses.concat()));
    }
    assert!(found.is_empty(), "{found}");
}

/// What `lib.rs` defines, its modules would reach up for. It puts together and re-exports.
#[test]
fn no_module_uses_what_the_root_of_its_crate_defines() {
    for used in modules().uses() {
        let is_own = used.from.is_in(&used.to) && used.to.is_crate();
        assert!(!is_own, "{used}, which is the root: give it a module");
    }
}

/// The rooms of conv-ir, and which others each may use.
const ROOMS: [(&str, &str); 25] = [
    ("dtype", "half"),
    ("types", "dtype"),
    ("stored", "dtype error half"),
    ("element", "dtype stored"),
    ("half", ""),
    ("error", ""),
    ("numbers", ""),
    ("requantise", "error"),
    ("target", "dtype element"),
    ("activation", "dtype element values"),
    ("values", "dtype element error stored types"),
    ("conv", "activation dtype element error requantise stored types values"),
    ("zero_point", "conv dtype error stored types"),
    ("nest", "activation dtype element stored types values"),
    ("interp", "activation dtype element error nest stored types"),
    ("lower", "activation conv nest values"),
    ("schedule", "conv error nest"),
    // `passes/mod.rs` lowers, then runs the table; what a pass may see is below.
    (
        "passes",
        "activation conv dtype element error lower nest numbers schedule stored target types values",
    ),
    ("model", "conv lower nest passes schedule target"),
    ("accuracy", "conv dtype element error stored types"),
    ("separate", "accuracy conv dtype element error stored types"),
    ("winograd", "accuracy analysis conv dtype element error stored types values"),
    ("fft", "accuracy conv dtype element types"),
    // `program/tiled` runs the last passes on a nest of its own making.
    (
        "program",
        "accuracy activation analysis conv dtype element error fft lower nest numbers passes schedule separate stored target types values winograd",
    ),
    ("analysis", "conv dtype element error lower numbers stored target types"),
];

/// The reference shares nothing with what it judges; it is no room that others use.
const REFERENCE: &str = "activation conv dtype element error program stored types values";

#[test]
fn rooms_use_those_that_they_may() {
    let ir = Name::new("conv-ir");
    let allowed = |room: &Name| {
        let room = room.to_string().replace("conv-ir::", "");
        let own = ROOMS.iter().chain([&("reference", REFERENCE)]).find(|(name, _)| *name == room);
        own.unwrap_or_else(|| panic!("{room} is no room of the table")).1
    };
    for used in modules().uses() {
        let (Some(from), Some(to)) = (used.from.below(&ir), used.to.below(&ir)) else { continue };
        let name = to.to_string().replace("conv-ir::", "");
        let may = from == to || allowed(&from).split(' ').any(|room| room == name);
        assert!(may, "{used}: {from} may use {}", allowed(&from));
    }
}

/// Whoever is below the first never uses what is in one of the others.
const NEVER: [(&str, &str, &str); 7] = [
    ("conv-ir::passes", "conv lower program", "a pass knows the nest, the schedule and the target"),
    ("conv-ir::interp", "conv lower passes reference schedule", "it knows the nest alone"),
    (
        "conv-ir::reference",
        "nest lower passes interp schedule activation::program",
        "it knows the description alone",
    ),
    ("conv-codegen::emit", "conv", "ways out see the nest"),
    ("conv-jit::emit", "conv", "ways out see the nest"),
    ("conv-jit::leaf", "conv", "ways out see the nest"),
    ("conv-jit::x86", "conv", "ways out see the nest"),
];

#[test]
fn after_lowering_nobody_looks_at_the_convolution() {
    for used in modules().uses() {
        for (room, others, why) in NEVER {
            let (room, from) = (Name::new(room), &used.from);
            // The pipeline itself lowers the description.
            let is_pipeline = *from == Name::new("conv-ir::passes");
            let is_other = |name: &str| used.to.is_in(&Name::new(&format!("conv-ir::{name}")));
            let wrong = from.is_in(&room) && !is_pipeline && others.split(' ').any(is_other);
            assert!(!wrong, "{used}: {why}");
        }
    }
}

#[test]
fn no_pass_knows_another() {
    let passes = Name::new("conv-ir::passes");
    for used in modules().uses() {
        let (Some(from), Some(to)) = (used.from.below(&passes), used.to.below(&passes)) else {
            continue;
        };
        assert!(from == to, "{used}: {to} is another pass");
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
    for below in ["conv-ir/src", "conv-codegen/src"] {
        never_says(
            &shipped(below),
            &["HashMap", "HashSet"],
            "its iteration order would leak into text",
        );
    }
}

/// rustfmt breaks code, and leaves comments as they are.
#[test]
fn no_comment_is_wider_than_100_columns() {
    let mut wide = Vec::new();
    for (path, text) in sources("") {
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > 100 && line.trim_start().starts_with("//") {
                wide.push(format!("{path}:{}: {columns} columns", at + 1));
            }
        }
    }
    assert!(wide.is_empty(), "comments wider than 100 columns:\n{}", wide.join("\n"));
}

#[test]
fn no_file_is_longer_than_450_lines() {
    let lines = |text: &str| text.lines().count();
    let long = sources("").into_iter().filter(|(_, text)| lines(text) > 450);
    let long: Vec<String> =
        long.map(|(path, text)| format!("{path}: {} lines", lines(&text))).collect();
    assert!(long.is_empty(), "divide them by what they are about:\n{}", long.join("\n"));
}

/// rustfmt ends a function with a brace below the column at which it begins. Text in literals could
/// look like one; none of ours does.
#[test]
fn no_function_is_longer_than_80_lines() {
    let mut long = Vec::new();
    for (path, text) in shipped("") {
        let lines: Vec<&str> = code(&text).collect();
        for (at, line) in lines.iter().enumerate() {
            let words = line.trim_start();
            let indent = &line[..line.len() - words.len()];
            let is_prefix = |w: &&str| {
                w.starts_with("pub") || matches!(*w, "const" | "unsafe" | "extern" | "\"C\"")
            };
            if words.split(' ').find(|w| !is_prefix(w)) != Some("fn") || words.ends_with([';', '}'])
            {
                continue;
            }
            let is_end =
                |line: &&str| line.strip_prefix(indent).is_some_and(|l| l.starts_with('}'));
            let length = lines[at..].iter().position(is_end).map_or(0, |length| length + 1);
            if length > 80 {
                long.push(format!("{path}:{}: {length} lines", at + 1));
            }
        }
    }
    assert!(long.is_empty(), "divide them by what they do:\n{}", long.join("\n"));
}
