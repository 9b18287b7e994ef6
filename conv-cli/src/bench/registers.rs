//! Of all tables beside this crate: no leaf that a model asks for is refused because its tile does
//! not fit in the registers. To make machine code takes no machine that has them.

use std::path::{Path, PathBuf};

use conv_ir::{Nest, Target, passes};
use conv_jit::x86::{Level, Refusal, assemble};

use super::{chains, layers};

fn table(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("layers").join(name)
}

/// The leaves that do not fit.
fn refused<'a>(nest: &'a Nest, target: &Target) -> Vec<&'a str> {
    let Some(level) = Level::of(target) else {
        return Vec::new();
    };
    let too_large = |leaf: &&conv_ir::nest::Leaf| {
        assemble(nest, leaf, level).is_err_and(|why| why == Refusal::Registers)
    };
    nest.leaves.iter().filter(too_large).map(|leaf| leaf.name.as_str()).collect()
}

#[test]
fn tiles_of_every_layer_fit() {
    let mut found = Vec::new();
    for name in ["public.csv", "corners.csv"] {
        for layer in layers::read(&table(name)).expect("a table") {
            for target in conv_jit::TARGETS {
                let choice = conv_jit::choose(&layer.conv, &target).expect("it can be");
                let nest = passes::compile(&layer.conv, &choice.schedule, &target, &mut |_, _| {});
                let nest = nest.expect("it can be");
                for leaf in refused(&nest, &target) {
                    found.push(format!("{} {target}: {leaf}, {}", layer.name, choice.schedule));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} refusals:\n{}", found.len(), found.join("\n"));
}

#[test]
fn tiles_of_every_block_fit() {
    let mut found = Vec::new();
    for (name, chain) in chains::read(&table("blocks.txt")).expect("a table") {
        let chain = chain.skipping_strides();
        for target in conv_jit::TARGETS {
            for group in conv_jit::chain_plan(&chain, &target, 1).groups {
                let nest = conv_jit::chain_nest(&chain, &group, &target).expect("it can be");
                for leaf in refused(&nest, &target) {
                    found.push(format!("{name} {target}: {leaf} of steps {:?}", group.steps));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} refusals:\n{}", found.len(), found.join("\n"));
}
