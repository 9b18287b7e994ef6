//! Programs around emitted source: what they begin with, and how they are compiled and run.

use conv_ir::Element;
use std::process::Command;

/// Numbers in `-1..1` with short and long mantissas; the same code as in [`MAIN`].
pub fn fill<T: Element>(length: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64(((state >> 33) as i32 - (1 << 30)) as f64 / (1 << 30) as f64)
    };
    (0..length).map(next).collect()
}

/// What a program begins with; the type `T` follows.
pub const MAIN: &str = "
#![deny(warnings)]
#![allow(non_snake_case)]
fn fill<const N: usize>(seed: u64) -> [T; N] {
    let mut state = seed;
    ::core::array::from_fn(|_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (((state >> 33) as i32 - (1 << 30)) as f64 / (1 << 30) as f64) as T
    })
}
fn show(output: &[T]) {
    let bits: Vec<String> = output.iter().map(|x| format!(\"{:x}\", x.to_bits())).collect();
    println!(\"{}\", bits.join(\" \"));
}
";

/// The lines that a program prints, compiled with overflow checks.
pub fn run(source: &str, name: &str) -> Vec<String> {
    let dir =
        std::env::temp_dir().join(format!("conv-codegen-emitted-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (file, binary) = (dir.join(format!("{name}.rs")), dir.join(name));
    std::fs::write(&file, source).unwrap();
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    let compiled = Command::new(rustc)
        .args(["--edition=2024", "-O", "-Coverflow-checks=on", "-o"])
        .args([&binary, &file])
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}:\n{}",
        file.display(),
        String::from_utf8_lossy(&compiled.stderr)
    );
    let ran = Command::new(&binary).output().unwrap();
    assert!(ran.status.success(), "{}:\n{}", file.display(), String::from_utf8_lossy(&ran.stderr));
    std::fs::remove_dir_all(&dir).ok();
    String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect()
}
