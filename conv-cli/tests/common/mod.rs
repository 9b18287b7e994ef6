//! Runs `convc` and looks at what it leaves behind.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The layers in `golden/person_detect.safetensors`: number, groups, stride and padding.
pub const PERSON_DETECT: [(usize, usize, usize, &str); 8] = [
    (0, 1, 2, "valid"),
    (1, 8, 1, "valid"),
    (2, 1, 1, "valid"),
    (3, 16, 2, "valid"),
    (4, 1, 1, "valid"),
    (5, 32, 1, "valid"),
    (6, 1, 1, "valid"),
    (11, 64, 2, "same-upper"),
];

/// A folder of its own, gone at the end.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.path().join(name), bytes).expect("the folder is writable");
        self.path(name)
    }

    /// A float32 array filled with 0, 1, 2, ..
    pub fn array(&self, name: &str, shape: &[usize]) -> String {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32).collect();
        self.write(name, &npy("<f4", false, shape, &le(&values)))
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("the folder is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn convc(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_convc")).args(args).output().expect("convc starts")
}

/// Standard output of a call that must succeed.
pub fn ok(args: &[&str]) -> String {
    let output = convc(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    assert_eq!(stderr, "", "{args:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Standard error of a call that must fail with status 2, in a few clean lines, and print nothing
/// else.
pub fn refused(args: &[&str]) -> String {
    let output = convc(args);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(stderr.starts_with("error: ") && !stderr.contains("panicked"), "{args:?}: {stderr}");
    assert!(stderr.lines().count() <= 12, "{args:?}: {stderr}");
    stderr
}

/// Every route that this CPU has; those that it lacks are told to whoever looks.
pub fn routes() -> Vec<&'static str> {
    let here: Vec<&str> = conv_jit::targets_here().map(|target| target.name).collect();
    let (run, skipped): (Vec<_>, Vec<_>) =
        conv_jit::TARGETS.iter().partition(|target| here.contains(&target.name));
    for target in skipped {
        eprintln!("skipped: {}, which this CPU has not", conv_jit::route_name(target));
    }
    let machine = run.into_iter().map(conv_jit::route_name);
    ["auto", "reference", "interp"].into_iter().chain(machine).collect()
}

/// What `auto` is here.
pub fn auto() -> &'static str {
    conv_jit::route_name(&conv_jit::host_target())
}

/// The bytes of a .npy file.
pub fn npy(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent},")).collect();
    let fortran = if fortran { "True" } else { "False" };
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({extents}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

pub fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Header and numbers of a float32 file that NumPy or convc wrote.
pub fn read(path: impl AsRef<Path>) -> (String, Vec<f32>) {
    let bytes = std::fs::read(path.as_ref()).expect("the file is there");
    let start = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let numbers = bytes[start..]
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    (String::from_utf8_lossy(&bytes[10..start]).trim().to_owned(), numbers.collect())
}

/// A file of this package or its workspace.
pub fn file(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}
