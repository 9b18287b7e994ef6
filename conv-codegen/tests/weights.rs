//! Weights in a file cost a crate what they are: no more time than bytes, and two copies, one in
//! the object and one in the metadata, as of any `static`. The file itself is in neither.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Four layers of 128 to 128 channels: 2.25 MiB of weights.
const LAYERS: usize = 4;
const CHANNELS: usize = 128;
const LAYER_BYTES: usize = CHANNELS * CHANNELS * 9 * 4;

/// A model whose file holds as much again that nobody reads.
fn write_model(path: &Path) {
    let mut header = String::from("{");
    for layer in 0..2 * LAYERS {
        let (from, to) = (layer * LAYER_BYTES, (layer + 1) * LAYER_BYTES);
        header += &format!(
            r#""conv{layer}":{{"dtype":"F32","shape":[{CHANNELS},{CHANNELS},3,3],"data_offsets":[{from},{to}]}},"#
        );
    }
    header.pop();
    header.push('}');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let mut state = 1u32;
    for _ in 0..2 * LAYERS * LAYER_BYTES / 4 {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        bytes.extend((state as f32 / u32::MAX as f32 - 0.5).to_le_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

/// The layers as items of their own.
fn source(model: &Path) -> String {
    let layer = |at: usize| {
        format!(
            "pub struct Layer{at}(input: [f32; 1, {CHANNELS}, 8, 8]) -> [f32; 1, {CHANNELS}, 8, 8];
             padding: 1, weight: \"{}#conv{}\"\n",
            model.display(),
            at
        )
    };
    let items: String = (0..LAYERS).map(layer).collect();
    conv_codegen::expand(items.parse().unwrap()).to_string()
}

#[test]
fn a_file_of_weights_is_in_a_crate_twice_and_is_tracked() {
    let dir = std::env::temp_dir().join(format!("conv-codegen-weights-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let model = dir.join("model.safetensors");
    write_model(&model);
    let started = Instant::now();
    let text = source(&model);
    // A number that is a token is ten letters and two tokens.
    assert!(text.len() < 4 * LAYERS * LAYER_BYTES + (4 << 20), "{} letters", text.len());
    let file = dir.join("weights.rs");
    std::fs::write(&file, text).unwrap();
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    let built = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata,link,dep-info"])
        .args(["-Cembed-bitcode=no", "--out-dir"])
        .args([&dir, &file])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let size = |name: &str| std::fs::metadata(dir.join(name)).unwrap().len() as usize;
    let (weights, metadata, library) =
        (LAYERS * LAYER_BYTES, size("libweights.rmeta"), size("libweights.rlib"));
    assert!(metadata < weights + (1 << 20), "{metadata} bytes of metadata for {weights}");
    assert!(library < 2 * weights + (8 << 20), "{library} bytes of library for {weights}");
    // Generously: it takes some seconds on a machine that has nothing else to do.
    assert!(started.elapsed() < Duration::from_secs(300), "{:?}", started.elapsed());
    let tracked = std::fs::read_to_string(dir.join("weights.d")).unwrap();
    assert!(tracked.contains("model.safetensors"), "{tracked}");
    std::fs::remove_dir_all(&dir).ok();
}
