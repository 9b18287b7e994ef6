//! Of all tables beside this crate: no leaf that a model asks for is refused because its tile does
//! not fit in the registers. To make machine code takes no machine that has them.

use std::path::{Path, PathBuf};

use conv_ir::{Nest, Target};
use conv_jit::x86::{Refusal, assemble};
use conv_jit::{Lowered, Options};

use super::layers;

fn table(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("layers").join(name)
}

/// The leaves that do not fit.
fn refused<'a>(nest: &'a Nest, target: &Target) -> Vec<&'a str> {
    let too_large = |leaf: &&conv_ir::nest::Leaf| {
        assemble(nest, leaf, target.isa).is_err_and(|why| why == Refusal::Registers)
    };
    nest.leaves.iter().filter(too_large).map(|leaf| leaf.name.as_str()).collect()
}

#[test]
fn tiles_of_every_layer_and_block_fit() {
    let mut found = Vec::new();
    let tables = ["public.csv", "corners.csv", "blocks.txt"];
    for layer in tables.iter().flat_map(|name| layers::read(&table(name)).expect("a table")) {
        for target in conv_jit::TARGETS {
            let options = Options { target, ..Options::default() };
            for group in Lowered::new(&layer.program, &options).expect("it can be").groups {
                for leaf in refused(&group.nest, &target) {
                    let (name, steps) = (&layer.name, &group.group.steps);
                    found.push(format!("{name} {target}: {leaf} of steps {steps:?}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} refusals:\n{}", found.len(), found.join("\n"));
}
