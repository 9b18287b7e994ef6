//! Emitted Rust against machine code made at run time, layer by layer, in one run: `cargo run --release [NAME ..]`.
//!
//! Both compute the same arrays in turns, pinned by nobody: the ratio of the medians is what counts. Bits are compared too.

use std::time::Duration;

use conv_ir::{Conv, Target};
use conv_jit::{CompiledConv, Options};
use conv_layers::{Run, numbers, times, whole, zeroed};

/// A layer and what makes its versions from weight and bias.
pub struct Layer {
    name: &'static str,
    description: &'static str,
    versions: Vec<(&'static str, fn(&[f32], &[f32]) -> Run)>,
}

include!(concat!(env!("OUT_DIR"), "/layers.rs"));

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let milliseconds = std::env::var("MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(200);
    let targets = [("avx512", Target::AVX512), ("avx2", Target::AVX2), ("portable", Target::CRANELIFT)];
    let here: Vec<Target> = conv_jit::targets_here().collect();
    // Without an instruction for it the portable version calls a function for every multiply-add: nothing worth timing.
    let is_worth = |name: &str| name != "portable" || cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    let targets: Vec<_> = targets.into_iter().filter(|(name, target)| here.contains(target) && is_worth(name)).collect();
    let mut ratios = vec![Vec::new(); targets.len()];
    println!("{:<32} {}", "layer", targets.iter().map(|t| format!("{:>9} rust ms   jit ms  ratio", t.0)).collect::<String>());
    for layer in layers() {
        if !wanted.is_empty() && !wanted.iter().any(|name| layer.name.contains(name.as_str())) {
            continue;
        }
        let conv: Conv = layer.description.parse()?;
        let (weight, bias) = (numbers(conv.weight_len(), 2), numbers(conv.bias_len(), 3));
        let input = numbers(conv.input_len().unwrap_or(0), 1);
        let len = conv.output_len().unwrap_or(0);
        let mut line = format!("{:<32} ", layer.name);
        for (at, (name, target)) in targets.iter().enumerate() {
            let options = Options { target: *target, ..Options::default() };
            let bias = conv.spec().bias.then_some(bias.as_slice());
            let packed = CompiledConv::new(&conv, options)?.pack(&weight, bias)?;
            let version = layer.versions.iter().find(|v| v.0 == *name).expect("emitted");
            let mut emitted = (version.1)(&weight, bias.unwrap_or(&[]));
            let (mut ours, mut theirs) = (vec![0.0; len], vec![0.0; len]);
            let [rust, jit] = times(|| emitted(&input, &mut ours), || packed.run(&input, &mut theirs).expect("runs"), Duration::from_millis(milliseconds));
            let equal = ours.iter().zip(&theirs).all(|(a, b)| a == b);
            ratios[at].push(rust / jit);
            line += &format!("{rust:>17.4} {jit:>8.4} {:>6.2}{}", rust / jit, if equal { " " } else { "!" });
        }
        println!("{line}");
    }
    for ((name, _), mut ratios) in targets.into_iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        if let (Some(worst), false) = (ratios.last(), ratios.is_empty()) {
            println!("{name}: median ratio {:.3}, worst {worst:.3}", ratios[ratios.len() / 2]);
        }
    }
    Ok(())
}
