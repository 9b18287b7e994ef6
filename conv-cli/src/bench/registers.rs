//! Of all tables beside this crate: no leaf that a model asks for is refused because its tile does
//! not fit in the registers. To make machine code takes no machine that has them.

use std::path::{Path, PathBuf};

use conv_ir::{Nest, Program, Target};
use conv_jit::x86::{Level, Refusal, assemble};
use conv_jit::{Lowered, Options};

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

fn all_fit(programs: impl Iterator<Item = (String, Program)>) {
    let mut found = Vec::new();
    for (name, program) in programs {
        for target in conv_jit::TARGETS {
            let options = Options { target, ..Options::default() };
            for group in Lowered::new(&program, &options).expect("it can be").groups {
                for leaf in refused(&group.nest, &target) {
                    found.push(format!("{name} {target}: {leaf} of steps {:?}", group.group.steps));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} refusals:\n{}", found.len(), found.join("\n"));
}

#[test]
fn tiles_of_every_layer_fit() {
    for name in ["public.csv", "corners.csv"] {
        let layers = layers::read(&table(name)).expect("a table");
        all_fit(layers.into_iter().map(|layer| (layer.name, layer.conv.into())));
    }
}

#[test]
fn tiles_of_every_block_fit() {
    all_fit(chains::read(&table("blocks.txt")).expect("a table").into_iter());
}
