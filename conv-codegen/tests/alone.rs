//! Emitted source is a file of its own: it compiles as it stands in an empty crate, without a
//! warning, and without `std` where that is asked for.

use std::path::Path;
use std::process::Command;

use conv_codegen::{Form, Library, Options, rust_source};

/// Name, form, what it may use, description, and how many taps are known.
const CASES: [(&str, Form, Library, &str, usize); 12] = [
    (
        "dense",
        Form::Function,
        Library::Std,
        "conv2d ic3 oc20 in 9x30 kernel 3x3 pad 1 + bias, relu",
        0,
    ),
    ("Dense", Form::Type, Library::Std, "conv2d ic3 oc20 in 9x30 kernel 3x3 pad 1 + bias, relu", 0),
    (
        "Depthwise",
        Form::Type,
        Library::Core,
        "conv2d g8 ic8 oc8 in 9x40 kernel 3x3 stride 2 pad 1, gelu",
        0,
    ),
    (
        "pointwise",
        Form::Function,
        Library::Core,
        "conv2d ic8 oc32 in 7x9 kernel 1x1 + residual, silu",
        0,
    ),
    (
        "Transposed",
        Form::Type,
        Library::Std,
        "conv2d-transposed f64 ic4 oc8 in 5x6 kernel 4x4 stride 2 pad 1",
        0,
    ),
    ("free", Form::Function, Library::Std, "conv2d nB ic2 oc4 in HxW kernel 3x3 stride 2 pad 1", 0),
    (
        "Free",
        Form::Type,
        Library::Core,
        "conv2d nhwc ic2 oc4 in HxW kernel 3x3 dilation 2 pad 2 + bias",
        0,
    ),
    ("window", Form::Function, Library::Std, "conv2d in HxW kernel 3x3 pad 1", 9),
    ("Window", Form::Type, Library::Core, "conv2d in 30x40 kernel 3x3 pad 1", 9),
    ("Many", Form::Type, Library::Core, "conv2d ic8 oc16 in 9x9 kernel 3x3 pad 1", 1152),
    ("many", Form::Function, Library::Std, "conv1d f64 ic16 oc20 in 30 kernel 3", 960),
    (
        "reflected",
        Form::Function,
        Library::Core,
        "conv1d ic2 oc3 in 40 kernel 5 pad 2 mode reflect",
        0,
    ),
];

/// Compiles a library of this source alone.
fn compile(dir: &Path, name: &str, head: &str, source: &str) {
    let file = dir.join(format!("{name}.rs"));
    std::fs::write(&file, format!("{head}\n{source}")).unwrap();
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    let built = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"])
        .args([dir, &file])
        .output()
        .unwrap();
    assert!(built.status.success(), "{name}:\n{}", String::from_utf8_lossy(&built.stderr));
}

#[test]
fn emitted_source_compiles_in_an_empty_crate_without_a_warning() {
    let dir = std::env::temp_dir().join(format!("conv-codegen-alone-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, form, runtime, text, taps) in CASES {
        let mut conv: conv_ir::Conv = text.parse().unwrap();
        if taps > 0 {
            let window: Vec<f64> = (0..taps).map(|tap| tap as f64 - 4.0).collect();
            conv = conv.with_weights(&window, None).unwrap();
        }
        let options = Options { form, runtime, ..Options::default() };
        let source = rust_source(&conv, name, &options).unwrap();
        compile(&dir, name, "#![deny(warnings)]", &source);
        if runtime == Library::Core {
            compile(&dir, &format!("bare_{name}"), "#![no_std]\n#![deny(warnings)]", &source);
        }
    }
    let chain: conv_ir::Program =
        "conv2d ic4 oc8 in 12x12 kernel 1, relu; conv2d g8 oc8 kernel 3 pad 1".parse().unwrap();
    let source = rust_source(&chain, "block", &Options::default()).unwrap();
    compile(&dir, "block", "#![deny(warnings)]", &source);
    std::fs::remove_dir_all(&dir).ok();
}
