//! Random cases: every number is a few of them, on targets that this CPU runs.

use std::iter;

use conv_ir::{Conv, Program, Schedule, Target};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::case::{Case, EXACT};
use crate::targets_here;

#[path = "../../../../tests/src/random.rs"]
mod random;
#[path = "../../../../tests/src/random_chains.rs"]
#[allow(dead_code, reason = "graphs, which are drawn elsewhere, read more of the dice")]
mod random_chains;

/// Schedules of one convolution; the first is the model's.
const SCHEDULES: usize = 8;

/// The cases of a number; none where nothing legal was drawn.
pub(super) fn cases(seed: u64, number: u64) -> Vec<Case> {
    let seed = RngSeed::Fixed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    // Of five axes hardly anything is little work; a number may stay empty.
    let config = Config { rng_seed: seed, max_local_rejects: 1000, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let targets = targets();
    let mut draw = Draw { runner: &mut runner, targets };
    match draw.of(0u32..3) {
        Some(0) => draw.chain().unwrap_or_default(),
        _ => draw.convs().unwrap_or_default(),
    }
}

/// The targets here, or the one asked for.
fn targets() -> Vec<Target> {
    let asked = std::env::var("GUARD_TARGET").ok();
    let is_asked = |target: &Target| asked.as_ref().is_none_or(|name| name == target.name);
    targets_here().filter(is_asked).collect()
}

struct Draw<'a> {
    runner: &'a mut TestRunner,
    targets: Vec<Target>,
}

impl Draw<'_> {
    fn of<S: Strategy>(&mut self, strategy: S) -> Option<S::Value> {
        strategy.new_tree(self.runner).ok().map(|tree| tree.current())
    }

    fn target(&mut self) -> Option<Target> {
        self.of(proptest::sample::select(self.targets.clone()))
    }

    /// One convolution under a few schedules.
    fn convs(&mut self) -> Option<Vec<Case>> {
        let ranks = prop_oneof![6 => Just(1..=3), 1 => Just(4..=5)];
        let conv = self.of(ranks.prop_flat_map(random::convs_of))?;
        // Of an empty batch nothing runs.
        if conv.output_len() == Some(0) {
            return None;
        }
        let (program, sizes) = self.perhaps_freed(conv.clone().into())?;
        let known = sizes.is_empty() && self.of(prop::bool::weighted(0.15))?;
        let mut cases = Vec::new();
        for at in 0..SCHEDULES {
            let target = self.target()?;
            let schedule = if at == 0 { None } else { Some(self.schedule(&conv, &target)?) };
            let (program, sizes) = (program.clone(), sizes.clone());
            cases.push(Case {
                program,
                sizes,
                known,
                target,
                schedule,
                plan: None,
                accuracy: EXACT,
            });
        }
        Some(cases)
    }

    /// Half of them with the lanes of the target's vectors, so that they are assembled.
    fn schedule(&mut self, conv: &Conv, target: &Target) -> Option<Schedule> {
        let full = target.lanes(conv.dtype().bytes()) as i64;
        let widths = vec![1, 2, 4, 8, 16, full, full, full, full, full];
        self.of(random::schedules(conv.rank(), widths))
    }

    /// One in four with sizes that are given at run time, as they were or a little larger.
    fn perhaps_freed(&mut self, program: Program) -> Option<(Program, Vec<(String, usize)>)> {
        if self.of(prop::bool::weighted(0.75))? {
            return Some((program, Vec::new()));
        }
        let (first, mut sizes) = random::freed(&program.steps()[0].conv).ok()?;
        let others = program.steps().iter().skip(1).map(|step| without_sizes(&step.to_string()));
        let free: Program = match program.steps().len() {
            1 => first.into(),
            _ => iter::once(first.to_string())
                .chain(others)
                .collect::<Vec<_>>()
                .join("; ")
                .parse()
                .ok()?,
        };
        let more = self.of(0usize..=9)?;
        let smaller = sizes.clone();
        sizes.iter_mut().filter(|(name, _)| name != "N").for_each(|(_, size)| *size += more);
        let given: Vec<(&str, usize)> = sizes.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        let work = |program: Program| program.convs().map(random::work).sum::<usize>();
        let little = free.with_sizes(&given).is_ok_and(|sized| work(sized) <= 60_000);
        Some((free, if little { sizes } else { smaller }))
    }

    /// One chain on every target, as drawn and as the model plans it.
    fn chain(&mut self) -> Option<Vec<Case>> {
        let drawn = self.of(random_chains::drawn_chains())?;
        if drawn.chain.batch() == 0 {
            return None;
        }
        let (program, sizes) = self.perhaps_freed(drawn.chain)?;
        let known = sizes.is_empty() && self.of(prop::bool::weighted(0.15))?;
        let plans = [Some(drawn.plan), None];
        let ways = self.targets.iter().flat_map(|target| plans.iter().map(move |p| (target, p)));
        let cases = ways.map(|(&target, plan)| {
            let (program, sizes, plan) = (program.clone(), sizes.clone(), plan.clone());
            Case { program, sizes, known, target, schedule: None, plan, accuracy: EXACT }
        });
        Some(cases.collect())
    }
}

/// The text of a step that takes batch and extents from the step before.
fn without_sizes(step: &str) -> String {
    let mut words = step.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let is_batch = word.strip_prefix('n').is_some_and(|n| n.parse::<usize>().is_ok());
        match word {
            "in" => drop(words.next()),
            _ if is_batch => {}
            word => kept.push(word),
        }
    }
    kept.join(" ")
}
