//! What would be published: every crate has its licences, the README and the words that a registry
//! asks for, and `cargo package` has nothing to say about it.

use std::path::Path;
use std::process::Command;

const CRATES: [&str; 6] =
    ["conv-ir", "conv-files", "conv-codegen", "conv-macros", "conv-jit", "conv-cli"];

#[test]
fn packages_are_whole() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in CRATES {
        let list = ["package", "--list", "--offline", "--allow-dirty", "-p", name];
        let run = Command::new(&cargo).args(list).current_dir(&root).output().expect("cargo");
        let (files, said) =
            (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success() && !said.contains("warning"), "{name}: {said}");
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            assert!(files.lines().any(|line| line == file), "{name} has no {file}");
        }
        let manifest = std::fs::read_to_string(root.join(name).join("Cargo.toml")).expect("it");
        for field in ["description", "license", "readme", "keywords", "categories", "rust-version"]
        {
            assert!(manifest.lines().any(|line| line.starts_with(field)), "{name}: no {field}");
        }
    }
}
