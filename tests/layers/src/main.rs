//! Emitted Rust against machine code made at run time, layer by layer, in one run:
//! `cargo run --release [NAME ..]`.
//!
//! Both compute the same arrays in turns, pinned by nobody: the ratio of the medians is what
//! counts. Bits are compared too. Machine code is made for this machine, as users get it; emitted
//! code for any machine that has the instructions. The percentage is of what the core can multiply
//! and add in vectors of the version's width.

use std::time::Duration;

use conv_ir::analysis::facts;
use conv_ir::{Conv, DType, Target};
use conv_jit::peak::fma_peak_at;
use conv_jit::{Compiled, Options};
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
    let versions = [("avx512", Target::AVX512), ("avx2", Target::AVX2), ("portable", Target::CRANELIFT)];
    // Without an instruction for it the portable version calls a function for every multiply-add:
    // nothing worth timing.
    let is_worth = |name: &str| name != "portable" || cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    let here = |name: &str| conv_jit::targets_here().find(|target| target.name == name);
    let versions = versions.into_iter().filter_map(|(name, target)| Some((name, here(target.name).filter(|_| is_worth(name))?)));
    let targets: Vec<(&str, Target)> = versions.collect();
    let peak = |target: &Target| fma_peak_at(DType::F32, 8 * target.vector_bytes as u32).map_or(f64::NAN, |peak| peak.gflops);
    let peaks: Vec<f64> = targets.iter().map(|(_, target)| peak(target)).collect();
    let mut ratios = vec![Vec::new(); targets.len()];
    println!("{:<32} {}", "layer", targets.iter().map(|t| format!("{:>10} rust ms   jit ms  ratio  % peak", t.0)).collect::<String>());
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
            let packed = Compiled::new(&conv, options)?.pack(&weight, bias)?;
            let version = layer.versions.iter().find(|v| v.0 == *name).expect("emitted");
            let mut emitted = (version.1)(&weight, bias.unwrap_or(&[]));
            let (mut ours, mut output) = (vec![0.0; len], vec![0.0; len]);
            emitted(&input, &mut ours);
            packed.run(&input, &mut output)?;
            let equal = if ours == output { " " } else { "!" };
            let least = Duration::from_millis(milliseconds);
            let [rust, jit] = times(&mut output, |output| emitted(&input, output), |output| packed.run(&input, output).expect("runs"), least);
            ratios[at].push(rust / jit);
            let work = facts(&conv).map_or(f64::NAN, |facts| facts.multiply_adds as f64);
            let part = 200.0 * work / (rust * 1e6) / peaks[at];
            line += &format!("{rust:>18.4} {jit:>8.4} {:>6.2} {part:>7.1}{equal}", rust / jit);
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
