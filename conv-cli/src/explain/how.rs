//! How a program is computed and why, and how fast it should be: by the model, for one core.

use conv_ir::analysis::{facts, operations_a_cycle};
use conv_ir::program::memory::{Joining, Lives, Slots};
use conv_ir::program::plan::{Plan, scratch_bytes, whole_bytes};
use conv_ir::{Conv, Program, Target};
use conv_jit::{Lowered, LoweredGroup};

use super::costs::size;
use super::steps;
use crate::table::three_digits;

type Line = (&'static str, String);

/// What is done, and why.
pub fn lines(lowered: &Lowered, target: &Target) -> Vec<Line> {
    let (computed, plan) = (lowered.program(), &lowered.plan);
    let route = conv_jit::route_name(target);
    let mut lines = vec![("route", format!("{route}, {}-bit vectors", 8 * target.vector_bytes))];
    let done = lowered.rewritten.reasons().join("; ");
    if !done.is_empty() {
        let steps = (0..computed.steps().len()).map(|at| computed.line(at));
        let steps = steps.collect::<Vec<_>>().join("; ");
        lines.push(("computed as", format!("{steps}: {done}")));
    }
    if computed.steps().len() > 1 {
        lines.push(("plan", plan.groups.iter().map(steps).collect::<Vec<_>>().join("; ")));
        lines.extend(reasons(&plan.reasons));
        lines.extend(lowered.groups.iter().filter_map(|group| scratch(computed, group)));
        lines.extend(between(computed, plan));
    } else if let [LoweredGroup { choice: Some(choice), .. }] = &lowered.groups[..] {
        lines.push(("schedule", choice.schedule.to_string()));
        lines.extend(reasons(&choice.reasons));
    }
    lines
}

fn reasons(reasons: &[String]) -> impl Iterator<Item = Line> {
    let label = |at| if at == 0 { "because" } else { "" };
    reasons.iter().enumerate().map(move |(at, reason)| (label(at), reason.clone()))
}

/// The scratch of a group, counted from its nest, beside what its tensors would take.
fn scratch(program: &Program, LoweredGroup { group, nest, .. }: &LoweredGroup) -> Option<Line> {
    group.strips.as_ref()?;
    let (scratch, whole) = (size(scratch_bytes(nest)), size(whole_bytes(program, group)));
    Some(("scratch", format!("{scratch} a thread, where whole tensors would take {whole}")))
}

/// The memory of a graph's tensors between groups, beside what they would take one by one.
fn between(program: &Program, plan: &Plan) -> Option<Line> {
    if program.is_row() || !program.free_sizes().is_empty() {
        return None;
    }
    let lives = Lives::of(program, &plan.groups, Joining::InPlace);
    let bytes = |tensor: usize| (program.len_of(tensor) * program.type_of(tensor).bytes()) as u64;
    let (mut slots, mut apart) = (Slots::default(), 0);
    let alive = lives.alive.iter().enumerate();
    let mut alive: Vec<_> = alive.filter_map(|(at, life)| Some(((*life)?, at))).collect();
    alive.sort_by_key(|(life, _)| life.0);
    for (life, tensor) in alive {
        slots.take(bytes(tensor), life);
        apart += bytes(tensor);
    }
    let copied: u64 = lives.copies.iter().flatten().map(|copied| bytes(copied.from)).sum();
    let joined = match (program.joins().is_empty(), copied) {
        (true, _) => String::new(),
        (false, 0) => "; what is joined is written side by side".to_owned(),
        (false, copied) => format!("; {} are copied to be joined", size(copied)),
    };
    let (shared, apart) = (size(slots.lengths().sum()), size(apart));
    let text = format!("{shared} between groups, where each tensor by itself would take {apart}");
    Some(("memory", text + &joined))
}

/// There is no clock here: a round number, which the text says.
const GIGAHERTZ: f64 = 3.0;

/// What the model expects of a core, where every size is known.
pub fn expected(lowered: &Lowered, target: &Target) -> Vec<Line> {
    let (computed, plan) = (lowered.program(), &lowered.plan);
    // The model of whole programs prices direct sums.
    let rewritten = &lowered.rewritten;
    if !rewritten.tiled.is_empty() || !rewritten.in_blocks.is_empty() {
        return Vec::new();
    }
    // And one product at a time, where bytes may be multiplied several at a time.
    let is_of_integers = |conv: &Conv| conv.types().accumulator.is_integer();
    if target.dots.are_several() && computed.convs().any(is_of_integers) {
        return Vec::new();
    }
    let facts: Option<Vec<_>> = computed.convs().map(facts).collect();
    let facts = facts.filter(|facts| facts.iter().any(|facts| facts.operations > 0));
    let Some(facts) = facts else { return Vec::new() };
    let images = computed.batch().max(1) as f64;
    let cycles = |plan: &Plan| plan.cost(computed, target).map(|cost| images * cost.total());
    let Some(planned) = cycles(plan) else { return Vec::new() };
    let rates = computed.convs().map(|conv| operations_a_cycle(target, conv.types()));
    let busy: f64 = facts.iter().zip(rates).map(|(facts, rate)| facts.flops() / rate).sum();
    let share = 100.0 * busy / planned;
    let time = match planned / (GIGAHERTZ * 1e3) {
        micros if micros < 1e3 => format!("{} us", three_digits(micros)),
        micros => format!("{} ms", three_digits(micros / 1e3)),
    };
    // What vanishes or is compared is no multiply-add that the machine could do.
    let all = computed.convs().all(|conv| conv.has_weight() && conv.known().is_none());
    let share = match all {
        true => format!(": {share:.0} % of the multiply-adds that it can do"),
        false => String::new(),
    };
    let mut lines = vec![(
        "expect",
        format!("{} cycles of one core, {time} at {GIGAHERTZ} GHz{share}", large(planned)),
    )];
    let unfused = Plan::unfused(computed);
    if let Some(apart) = cycles(&unfused).filter(|_| unfused.groups != plan.groups) {
        let times = apart / planned;
        lines.push(("", format!("step by step {} cycles, {times:.2} times as many", large(apart))));
    }
    let ends = ends(computed);
    let traffic = ends as f64 / 1024.0 * target.far_cycles as f64;
    if ends > target.l2_bytes as u64 && traffic > planned / 10.0 {
        let what = match computed.inputs().len() + computed.outputs().len() {
            2 => "input and output",
            _ => "inputs and outputs",
        };
        let memory = format!(
            "{what} are {}, more than a core's cache: to move them takes up to {} cycles more",
            size(ends),
            large(traffic)
        );
        lines.push(("", memory));
    }
    lines
}

/// Bytes of all inputs and outputs.
fn ends(program: &Program) -> u64 {
    let elements =
        |&tensor: &usize| program.shape(tensor).iter().map(|n| *n as u64).product::<u64>();
    let all = program.inputs().iter().chain(program.outputs()).map(elements);
    all.fold(0, u64::saturating_add).saturating_mul(program.dtype().bytes() as u64)
}

/// `3.62 million`
fn large(cycles: f64) -> String {
    match cycles {
        cycles if cycles >= 1e9 => format!("{} thousand million", three_digits(cycles / 1e9)),
        cycles if cycles >= 1e6 => format!("{} million", three_digits(cycles / 1e6)),
        cycles if cycles >= 1e4 => format!("{} thousand", three_digits(cycles / 1e3)),
        cycles => format!("{cycles:.0}"),
    }
}
