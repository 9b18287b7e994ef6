//! Chains as Rust: one item for all steps.
//!
//! In: a chain, and names for its steps' arrays. Out: the versions of one item, each made of one
//! nest: the groups of the plan one after the other, in which fused steps hand over strips of rows
//! through line buffers. All versions follow one plan, so that they share packed weights.

use conv_ir::chain::fuse::Lowered;
use conv_ir::chain::plan::Plan;
use conv_ir::chain::whole;
use conv_ir::lower::Layouts;
use conv_ir::nest::{BufferId, BufferRole};
use conv_ir::{Chain, Conv, Error, Nest, Schedule, passes};
use quote::quote;

use crate::emit::{Head, Isa, Version, same_packing};
use crate::{Form, Options, budget, facts, named, target};

/// The versions of an item that computes a chain, the widest first, and their plan.
///
/// # Errors
/// [`Error::Argument`] with a schedule, which is for one convolution; where a plan is given, why
/// its strips cannot be.
pub fn lowered_chain(chain: &Chain, options: &Options) -> Result<(Vec<Version>, Plan), Error> {
    if options.schedule.is_some() {
        return Err(Error::Argument(
            "a schedule is for one convolution, but this is a chain".to_owned(),
        ));
    }
    let computed = chain.skipping_strides();
    let (versions, mut plan) = planned(&computed, options)?;
    if computed != *chain {
        let moved = "strides of 1x1 windows moved to the step before";
        plan.reasons.insert(0, moved.to_owned());
    }
    Ok((versions, plan))
}

/// The versions of steps that are computed as they stand, under the plan that is given or chosen.
fn planned(chain: &Chain, options: &Options) -> Result<(Vec<Version>, Plan), Error> {
    budget::check(chain.convs(), budget::copies(options))?;
    if let Some(plan) = &options.plan {
        return Ok((versions(chain, plan, options)?, plan.clone()));
    }
    let plan = Plan::choose(chain, &target(Isa::Avx512, options.form), 1);
    match versions(chain, &plan, options) {
        Ok(versions) if options.form == Form::Function || same_packing(&versions) => {
            Ok((versions, plan))
        }
        refused => {
            let mut plan = Plan::unfused(chain);
            plan.reasons.push(match refused {
                Err(why) => format!("not fused: {why}"),
                Ok(_) => "not fused: strips would pack weights differently for each kind of CPU"
                    .to_owned(),
            });
            Ok((versions(chain, &plan, options)?, plan))
        }
    }
}

fn versions(chain: &Chain, plan: &Plan, options: &Options) -> Result<Vec<Version>, Error> {
    let mut versions = Vec::new();
    for (at, isa) in Isa::ALL.into_iter().enumerate() {
        if isa != Isa::Portable && !options.isas.contains(&isa) {
            continue;
        }
        let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
            let targets = Isa::ALL.map(|isa| target(isa, options.form));
            let schedule = match given {
                Some(schedule) => schedule.clone(),
                None => {
                    let together = Schedule::choose_together_as(
                        conv,
                        layouts,
                        [&targets[0], &targets[1], &targets[2]],
                    );
                    together[at].schedule.clone()
                }
            };
            let nest = passes::compile_as(conv, layouts, &schedule, &targets[at], &mut |_, _| {})?;
            Ok(Lowered { schedule, nest })
        };
        let nest = whole::nest(chain, plan, &target(isa, options.form), &mut lower)?;
        budget::check_chain(chain.steps().len(), &nest)?;
        if isa == Isa::Portable || isa.has_vectors_for(&nest) {
            versions.push(Version { isa, runtime: options.runtime, nest });
        }
    }
    Ok(versions)
}

/// A chain as the source of one public function or type, formatted; a file of its own. The arrays
/// of its steps are `weight_1`, `bias_1` and so on.
///
/// ```
/// use conv_codegen::{Options, chain_source};
/// let separable: conv_ir::Chain = "conv2d in 64x48 kernel 5x1 pad 2,0; conv2d kernel 1x5 pad 0,2".parse()?;
/// let source = chain_source(&separable, "blur", &Options::default())?;
/// assert!(source.contains("pub fn blur("));
/// # Ok::<(), conv_ir::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] where `name` is no name, or with a schedule; [`Error::Unsupported`] as for
/// [`emit`](crate::emit).
pub fn chain_source(chain: &Chain, name: &str, options: &Options) -> Result<String, Error> {
    let name = named(name)?;
    let (versions, plan) = lowered_chain(chain, options)?;
    let head = Head {
        docs: quote!(),
        notes: [notes(chain, &[]), reasons(&plan), bills(&versions)].concat(),
        attributes: quote!(),
        visibility: quote!(pub),
        name,
    };
    let item = crate::item(options.form, &versions, &head, &facts::of_chain(chain))?;
    Ok(crate::format_source(item))
}

/// What an emitted chain says of itself; names of steps, where they have some.
pub(crate) fn notes(chain: &Chain, names: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for (at, step) in chain.steps().iter().enumerate() {
        let name = names.get(at).cloned().unwrap_or_else(|| format!("step {}", at + 1));
        notes.push(format!("* {name}: `{step}`"));
        if let Some(known) = step.conv.known() {
            let found = known.found(step.conv.weight_shape()[0]);
            notes.push(format!("  The weights are compiled in: {found}."));
        }
    }
    notes
}

/// How a chain is computed, and why.
pub(crate) fn reasons(plan: &Plan) -> Vec<String> {
    let mut lines = vec![String::new(), "Plan:".to_owned()];
    lines.extend(plan.reasons.iter().map(|reason| format!("* {reason}")));
    lines
}

/// What the leaves cost that do most of the work.
pub(crate) fn bills(versions: &[Version]) -> Vec<String> {
    [vec![String::new()], crate::emit::bills(versions)].concat()
}

/// Calls weight and bias of each step, where the caller passes them, by the step's name:
/// `expand_weight`.
pub(crate) fn rename(chain: &Chain, versions: &mut [Version], names: &[String]) {
    for Version { nest, .. } in versions {
        let unknown = |conv: &&Conv| conv.known().is_none();
        let comes = |conv: &&Conv| {
            conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none())
        };
        let of = |asked: &dyn Fn(&&Conv) -> bool| -> Vec<&String> {
            let steps = chain.convs().zip(names).filter(|(conv, _)| asked(conv));
            steps.map(|(_, name)| name).collect()
        };
        for (role, word, names) in
            [(BufferRole::Weight, "weight", of(&unknown)), (BufferRole::Bias, "bias", of(&comes))]
        {
            for (id, name) in given(nest, role).into_iter().zip(names) {
                nest.buffers[id.index()].name = format!("{name}_{word}");
            }
        }
    }
}

/// The buffers of a role that a caller passes.
fn given(nest: &Nest, role: BufferRole) -> Vec<BufferId> {
    nest.buffers_of(role).filter(|&id| nest.buffer(id).values.is_none()).collect()
}
