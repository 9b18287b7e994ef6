//! Why a plan is as it is: a sentence for each fused group, and one for each stretch of steps that
//! stay apart.

use std::ops::Range;

use super::choose::{Found, Run, Steps, WORTH};
use super::{Group, Plan};
use crate::Target;
use crate::program::Program;
use crate::program::rows::extents;

pub(super) fn reasons(
    chain: &Program,
    steps: &Steps<'_>,
    found: &Found,
    target: &Target,
) -> Vec<String> {
    let mut reasons: Vec<String> = transposed(chain).into_iter().collect();
    let mut stretch = 0..0;
    for group in &found.groups {
        let Some(why) = fused(chain, steps, group, target) else {
            stretch.end = group.steps.end;
            continue;
        };
        reasons.extend(apart(steps, found, &stretch));
        reasons.push(why);
        stretch = group.steps.end..group.steps.end;
    }
    reasons.extend(apart(steps, found, &stretch));
    reasons
}

/// `steps 2, 5 are transposed`.
fn transposed(chain: &Program) -> Option<String> {
    const NAMED: usize = 8;
    let all = chain.convs().enumerate().filter(|(_, conv)| conv.spec().transposed);
    let all: Vec<String> = all.map(|(at, _)| (at + 1).to_string()).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match &all[..] {
        [] => None,
        [one] => Some(format!("step {one} is transposed: it has a group of its own")),
        _ => {
            let named = all[..all.len().min(NAMED)].join(", ");
            Some(format!("steps {named}{more} are transposed: each has a group of its own"))
        }
    }
}

fn fused(chain: &Program, steps: &Steps<'_>, group: &Group, target: &Target) -> Option<String> {
    let Range { start, end } = group.steps;
    let strips = group.strips.as_ref()?;
    let (cost, most) = Plan::group_cost(chain, group, target)?;
    let lines = (start..end - 1).map(|at| {
        let halo = if strips.keep[at - start] { "kept" } else { "computed again" };
        let (rows, of) = (most[at - start], extents(&chain.steps()[at].conv).1);
        format!("{rows} of {of} rows of tensor {} (halo {halo})", at + 1)
    });
    let lines = lines.collect::<Vec<_>>().join(", ");
    let (fused, apart) = (cost.total(), steps.apart(start, end));
    Some(format!(
        "steps {} to {end}: strips of {} rows, {fused:.0} cycles an image instead of {apart:.0} ({:.2}x); lines of {lines}; cycles: {:.0} multiply-adds ({:.0} again), {:.0} moved rows, {:.0} traffic, {:.0} strips",
        start + 1,
        strips.rows,
        apart / fused,
        cost.compute,
        cost.again,
        cost.moved,
        cost.traffic,
        cost.strips
    ))
}

/// Why these steps, each a group by itself, are not fused: the run of them that comes nearest.
fn apart(steps: &Steps<'_>, found: &Found, stretch: &Range<usize>) -> Option<String> {
    let Range { start: first, end } = *stretch;
    let mut nearest: Option<(f64, f64, Range<usize>)> = None;
    let mut none = None;
    for last in first + 1..end {
        for (start, run) in found.endings[last].starts().filter(|(start, _)| *start >= first) {
            let step_by_step = steps.apart(start, last + 1);
            match *run {
                Run::None(why) => none = none.or(Some((start..last + 1, why))),
                Run::Strips { cost, .. } => {
                    let ratio = cost / step_by_step;
                    if nearest.as_ref().is_none_or(|(c, s, _)| ratio < c / s) {
                        nearest = Some((cost, step_by_step, start..last + 1));
                    }
                }
            }
        }
    }
    let name = |steps: &Range<usize>| format!("steps {} to {}", steps.start + 1, steps.end);
    let Some((cost, step_by_step, run)) = nearest else {
        let (run, why) = none?;
        return Some(format!("{} stay apart: {why}", name(&run)));
    };
    if let Some(tensor) = steps.read_behind(run.start, run.end) {
        let why = format!("tensor {tensor} is {}", steps.reader(tensor));
        return Some(format!("{} stay apart: {why}", name(&run)));
    }
    let of_them = if run == *stretch { "" } else { &format!(" {}", name(&run)) };
    Some(format!(
        "{} stay apart: fusing{of_them} would take {cost:.0} cycles an image instead of {step_by_step:.0}: below the required gain of {:.1} %",
        name(stretch),
        100.0 * (1.0 - WORTH)
    ))
}
