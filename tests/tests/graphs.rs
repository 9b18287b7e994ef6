//! Random graphs of steps: branches, tensors read joined, several outputs, under random plans: the
//! bits of the reference, on the interpreter, as machine code and as expanded Rust.
//!
//! `GRAPHS` sets how many are drawn of each kind (60 without it, a tenth of them as Rust); the seed
//! is fixed unless `PROPTEST_RNG_SEED` is set.

use conv_tests::Fill;
use conv_tests::chains::{every_chain, expanded};
use conv_tests::random_chains::DrawnChain;
use conv_tests::random_graphs::drawn_graphs;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

fn drawn(several: bool, count: u64) -> Vec<DrawnChain> {
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(from_environment("PROPTEST_RNG_SEED", 2026)),
        max_global_rejects: 1_000_000,
        max_local_rejects: 1_000_000,
        ..Config::default()
    });
    let draw = || drawn_graphs(several).new_tree(&mut runner).expect("a graph").current();
    std::iter::repeat_with(draw).take(count as usize).collect()
}

fn count() -> u64 {
    from_environment("GRAPHS", 60)
}

#[test]
fn any_graph_gives_the_reference() {
    let (mut ran, mut joined, mut inputs) = (0, 0, 0);
    for drawn in drawn(false, count()) {
        let fill =
            if drawn.chain.tensors().is_multiple_of(2) { Fill::Integers } else { Fill::Reals };
        if every_chain(&drawn, fill).unwrap_or_else(|what| panic!("{what}")) {
            ran += 1;
            joined += usize::from(!drawn.chain.joins().is_empty());
            inputs += usize::from(drawn.chain.inputs().len() > 1);
        }
    }
    conv_tests::say(format_args!(
        "{ran} of {} random graphs judged, {joined} join, {inputs} have several inputs",
        count()
    ));
    let enough = 4 * joined > ran as usize && 8 * inputs > ran as usize;
    assert!(2 * ran > count() && enough, "too few are judged to prove much");
}

#[test]
fn any_graph_of_several_outputs_gives_the_reference() {
    let mut several = 0;
    for drawn in drawn(true, count()) {
        several += usize::from(drawn.chain.outputs().len() > 1);
        every_chain(&drawn, Fill::Reals).unwrap_or_else(|what| panic!("{what}"));
    }
    assert!(4 * several as u64 > count(), "{several} of {} give several tensors", count());
}

#[test]
fn random_graphs_as_expanded_rust() {
    let mut drawn = self::drawn(false, count().div_ceil(10));
    drawn.extend(self::drawn(true, count().div_ceil(20)));
    let ran = expanded(&drawn, Fill::Reals).unwrap_or_else(|what| panic!("{what}"));
    conv_tests::say(format_args!("{ran} of {} random graphs as expanded Rust", drawn.len()));
    assert!(2 * ran > drawn.len(), "too many plans are refused to prove much");
}
