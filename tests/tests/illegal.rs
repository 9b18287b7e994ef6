//! `Schedule::check` and `Plan::check` accept exactly what compiles to the right bits: random
//! convolution x changed schedule, random words x parser, random chain x changed plan. Each is
//! refused with a message, or holds the invariants after every pass and gives the reference's bits
//! on the interpreter.
//!
//! `ILLEGAL_CASES` sets how many of each are drawn (400 without it); the seed is fixed unless
//! `PROPTEST_RNG_SEED` is set.

use conv_ir::{Conv, Error, Schedule, Target};
use conv_tests::chains::interpreted_chain;
use conv_tests::drawn::{Drawn, drawn};
use conv_tests::illegal::{changed_plans, changed_schedules, texts};
use conv_tests::{Fill, judge};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::cell::Cell;
use std::fmt::Debug;

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

/// Whether it was run.
type Ran = Result<bool, String>;

fn check<S: Strategy>(what: &str, strategy: S, test: impl Fn(S::Value) -> Ran)
where
    S::Value: Debug,
{
    let mut runner = TestRunner::new(Config {
        cases: from_environment("ILLEGAL_CASES", 400) as u32,
        failure_persistence: None,
        max_shrink_iters: 2000,
        max_global_rejects: 1_000_000,
        rng_seed: RngSeed::Fixed(from_environment("PROPTEST_RNG_SEED", 2026)),
        ..Config::default()
    });
    let (ran, refused) = (Cell::new(0), Cell::new(0));
    let run = |value| {
        let tested = judge::quietly(|| test(value)).and_then(|tested| tested);
        let count = if tested.map_err(TestCaseError::fail)? { &ran } else { &refused };
        count.set(count.get() + 1);
        Ok(())
    };
    match runner.run(&strategy, run) {
        Ok(()) => {}
        Err(TestError::Fail(reason, least)) => panic!("{reason}\n\n{least:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    let (ran, refused) = (ran.get(), refused.get());
    conv_tests::say(format_args!("{what}: {ran} judged, {refused} refused"));
    assert!(ran > 0 && refused > 0, "both kinds are drawn");
}

/// Refused with a message, or right.
fn refused_or_right(conv: &Conv, schedule: &Schedule, target: &Target) -> Ran {
    match schedule.check(conv, target) {
        Err(Error::IllegalSchedule(message)) if message.len() > 10 => return Ok(false),
        Err(other) => return Err(format!("refused, but not by a rule: {other}")),
        Ok(()) => {}
    }
    let fill = Fill::Integers;
    conv_ir::with_element!(conv.dtype(), T => judge::<T>(conv, schedule, target, fill))?;
    Ok(true)
}

fn targets() -> impl Strategy<Value = Target> {
    select(vec![Target::CRANELIFT, Target::RUST, Target::AVX2, Target::AVX512])
}

#[test]
fn changed_schedules_are_refused_or_right() {
    check("changed schedules", (changed_schedules(), targets()), |(drawn, target)| {
        refused_or_right(&drawn.conv, &drawn.schedule, &target)
    });
}

#[test]
fn random_words_are_refused_or_right() {
    let ran = |(text, drawn, target): (String, Drawn, Target)| match text.parse::<Schedule>() {
        Ok(schedule) => refused_or_right(&drawn.conv, &schedule, &target),
        Err(Error::Parse { message, .. }) if message.len() > 5 => Ok(false),
        Err(other) => Err(format!("{text:?}: {other}")),
    };
    check("random words", (texts(), drawn(), targets()), ran);
}

#[test]
fn changed_plans_are_refused_or_right() {
    check("changed plans", changed_plans(), |drawn| match drawn.plan.check(&drawn.chain) {
        Err(Error::Argument(message)) if message.len() > 10 => Ok(false),
        Err(other) => Err(format!("refused, but not by a rule: {other}")),
        Ok(()) => match interpreted_chain(&drawn, Fill::Integers)? {
            true => Ok(true),
            false => Err("the plan is legal, but does not compile".to_owned()),
        },
    });
}
