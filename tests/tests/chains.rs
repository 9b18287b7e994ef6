//! Random chains under random plans: fused == unfused == reference, bit for bit, on the interpreter
//! and as machine code by 1 to 3 threads.
//!
//! `PROPTEST_CASES` sets how many cases are drawn (300 without it); the seed is fixed unless
//! `PROPTEST_RNG_SEED` is set.

use conv_tests::Fill;
use conv_tests::chains::{every_chain, expanded};
use conv_tests::random_chains::{DrawnChain, drawn_chains};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::cell::Cell;

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

#[test]
fn any_plan_gives_the_reference() {
    let mut runner = TestRunner::new(Config {
        cases: from_environment("PROPTEST_CASES", 300) as u32,
        failure_persistence: None,
        max_shrink_iters: 2000,
        max_global_rejects: 100_000,
        rng_seed: RngSeed::Fixed(from_environment("PROPTEST_RNG_SEED", 2026)),
        ..Config::default()
    });
    let (ran, refused) = (Cell::new(0), Cell::new(0));
    let test = |drawn: DrawnChain| {
        let steps = drawn.chain.steps().len();
        let fill = if steps.is_multiple_of(2) { Fill::Integers } else { Fill::Reals };
        match every_chain(&drawn, fill) {
            Ok(true) => ran.set(ran.get() + 1),
            Ok(false) => refused.set(refused.get() + 1),
            Err(what) => return Err(TestCaseError::fail(what)),
        }
        Ok(())
    };
    match runner.run(&drawn_chains(), test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, least)) => panic!("{reason}\n\n{least:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    conv_tests::say(format_args!(
        "{} random chains judged, {} plans refused",
        ran.get(),
        refused.get()
    ));
    assert!(ran.get() > 2 * refused.get(), "too many plans are refused to prove much");
}

/// `CHAINS` sets how many are drawn.
#[test]
fn random_chains_as_expanded_rust() {
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(from_environment("PROPTEST_RNG_SEED", 2026)),
        ..Config::default()
    });
    let drawn = || drawn_chains().new_tree(&mut runner).expect("a chain").current();
    let drawn: Vec<DrawnChain> =
        std::iter::repeat_with(drawn).take(from_environment("CHAINS", 30) as usize).collect();
    let ran = expanded(&drawn, Fill::Reals).unwrap_or_else(|what| panic!("{what}"));
    conv_tests::say(format_args!("{ran} of {} random chains as expanded Rust", drawn.len()));
    assert!(2 * ran > drawn.len(), "too many plans are refused to prove much");
}
