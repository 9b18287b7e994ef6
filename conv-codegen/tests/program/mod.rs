//! Programs around emitted source: how they are compiled and run.

use std::process::Command;

/// Arithmetic that wraps is a panic.
pub const CHECKED: &str = "-Coverflow-checks=on";

/// The lines that a program prints, compiled with a flag.
pub fn run(source: &str, name: &str, flag: &str) -> Vec<String> {
    let dir =
        std::env::temp_dir().join(format!("conv-codegen-emitted-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (file, binary) = (dir.join(format!("{name}.rs")), dir.join(name));
    std::fs::write(&file, source).unwrap();
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    let compiled = Command::new(rustc)
        .args(["--edition=2024", "-O", flag, "-o"])
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
