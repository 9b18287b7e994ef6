//! Several convolutions as one chain: which steps are fused and why, both costs, and the memory
//! between steps.

use std::io::Write;

use conv_ir::program::plan::{Group, Plan, scratch_bytes, whole_bytes};
use conv_ir::{Nest, Program, Target};
use conv_jit::{Lowered, LoweredGroup, Options};

use super::costs::size;
use super::{Args, Wanted, bills, stack};
use crate::failure::Failure;
use crate::table;

/// Prints the plan; on demand also the nest of each group.
pub fn explain(
    chain: &Program,
    wanted: &Wanted,
    args: &Args,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if let Wanted::After(_) = wanted {
        return Err(Failure::usage("--after shows one convolution; --all shows a chain's nests"));
    }
    stack::explain(&chain.convs().cloned().collect::<Vec<_>>(), args.roofline, out)?;
    let target = &args.target.unwrap_or_else(conv_jit::host_target);
    let all = *wanted == Wanted::All;
    let lowered = Lowered::new(chain, &Options { target: *target, ..Options::default() })?;
    let (chain, plan) = (lowered.program(), &lowered.plan);
    let done = lowered.rewritten.reasons().join("; ");
    let rewritten = (!done.is_empty()).then(|| {
        let steps = chain.convs().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        format!("{steps}: {done}")
    });
    let route = conv_jit::route_name(target);
    let mut lines = vec![("route", format!("{route}, {}-bit vectors", 8 * target.vector_bytes))];
    lines.extend(rewritten.map(|steps| ("computed as", steps)));
    lines.push(("plan", plan.groups.iter().map(words).collect::<Vec<_>>().join("; ")));
    lines.extend(costs(chain, plan, target));
    lines.extend(because(plan));
    let mut nests = String::new();
    for LoweredGroup { group, nest, .. } in &lowered.groups {
        lines.extend(memory(chain, group, nest));
        if all {
            nests += &format!("\n; {}\n{nest}", words(group));
        }
    }
    for LoweredGroup { group, nest, .. } in &lowered.groups {
        if group.strips.is_some() {
            let mut nest = nest.clone();
            nest.leaves.retain(|leaf| !leaf.name.starts_with("pack_"));
            lines.extend(bills(&nest, target));
        }
    }
    writeln!(out)?;
    out.write_all(table::pairs(&lines).as_bytes())?;
    Ok(out.write_all(nests.as_bytes())?)
}

fn words(group: &Group) -> String {
    let (first, last) = (group.steps.start + 1, group.steps.end);
    match &group.strips {
        None => format!("step {first} alone"),
        Some(strips) => format!("steps {first} to {last} fused, {} rows a strip", strips.rows),
    }
}

/// What the model expects of both ways.
fn costs(chain: &Program, plan: &Plan, target: &Target) -> Vec<(&'static str, String)> {
    let cycles = |plan: &Plan| {
        let cost = plan.cost(chain, target);
        cost.map_or("not known".to_owned(), |cost| {
            format!(
                "{:.0} cycles an image: multiply-adds {:.0} (of those again {:.0}), moved rows {:.0}, traffic {:.0}, strips {:.0}",
                cost.total(),
                cost.compute,
                cost.again,
                cost.moved,
                cost.traffic,
                cost.strips
            )
        })
    };
    vec![("as planned", cycles(plan)), ("step by step", cycles(&Plan::unfused(chain)))]
}

fn because(plan: &Plan) -> Vec<(&'static str, String)> {
    let label = |at| if at == 0 { "because" } else { "" };
    let reasons = plan.reasons.iter().enumerate();
    reasons.map(|(at, reason)| (label(at), reason.clone())).collect()
}

/// The scratch of a group, counted from its nest, beside what its tensors would take.
fn memory(chain: &Program, group: &Group, nest: &Nest) -> Option<(&'static str, String)> {
    group.strips.as_ref()?;
    let (scratch, whole) = (scratch_bytes(nest), whole_bytes(chain, group));
    Some((
        "scratch",
        format!("{} a thread, where whole tensors would take {}", size(scratch), size(whole)),
    ))
}
