//! The blocks as emitted Rust against machine code made at run time, in one run:
//! `cargo run --release --bin chains [NAME ..]`.
//!
//! Chain against chain, both fused as planned, on one thread, in turns. Bits are compared too.

use std::time::Duration;

use conv_ir::{Program, Target};
use conv_jit::{Compiled, Options, StepWeights};
use conv_layers::{Run, numbers, times, whole, zeroed};

/// A chain and what makes its versions from the arrays of its steps.
pub struct Block {
    name: &'static str,
    description: &'static str,
    versions: Vec<(&'static str, fn(&[Vec<f32>]) -> Run)>,
}

include!(concat!(env!("OUT_DIR"), "/chains.rs"));

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let targets: Vec<Target> = conv_jit::targets_here().filter(|target| target.vector_bytes > 16).collect();
    for block in blocks() {
        if !wanted.is_empty() && !wanted.iter().any(|name| block.name.contains(name.as_str())) {
            continue;
        }
        let chain: Program = block.description.parse()?;
        let mut arrays = Vec::new();
        for (at, conv) in (2..).step_by(2).zip(chain.convs()) {
            arrays.push(numbers(conv.weight_len(), at));
            arrays.extend(conv.spec().bias.then(|| numbers(conv.bias_len(), at + 1)));
        }
        let mut rest = arrays.iter().map(Vec::as_slice);
        let weights: Option<Vec<StepWeights<'_, f32>>> = chain
            .convs()
            .map(|conv| {
                let weight = rest.next()?;
                let bias = if conv.spec().bias { Some(rest.next()?) } else { None };
                Some(StepWeights { weight, bias })
            })
            .collect();
        let weights = weights.expect("an array for each");
        let (input, len) = (numbers(chain.len_of(0), 1), chain.len_of(chain.steps().len()));
        print!("{:<32}", block.name);
        for &target in &targets {
            let name = target.name;
            let options = Options {
                target,
                ..Options::default()
            };
            let packed = Compiled::new(&chain, options)?.pack_steps(&weights)?;
            let version = block.versions.iter().find(|v| v.0 == name).expect("emitted");
            let mut emitted = (version.1)(&arrays);
            let (mut ours, mut output) = (vec![0.0; len], vec![0.0; len]);
            emitted(&input, &mut ours);
            packed.run(&input, &mut output)?;
            let equal = if ours == output { " " } else { "!" };
            let [rust, jit] = times(
                &mut output,
                |output| emitted(&input, output),
                |output| packed.run(&input, output).expect("runs"),
                Duration::from_millis(100),
            );
            print!("  {name} rust {rust:8.4} ms, jit {jit:8.4} ms, {:5.2}{equal}", rust / jit);
        }
        println!();
    }
    Ok(())
}
