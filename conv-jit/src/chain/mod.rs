//! Chains of convolutions compiled to machine code: steps that the plan fuses are one nest, the
//! others run one after the other.
//!
//! ```text
//! ChainBuilder, Chain --plan (conv-ir)--> groups --nest (conv-ir)--> a nest each --> Code --pack--> PackedChain --run
//! ```

mod builder;
mod packed;

use std::sync::Arc;
use std::time::Instant;

use conv_ir::chain::fuse::Lowered;
use conv_ir::chain::plan::{self, Group, Plan};
use conv_ir::chain::whole;
use conv_ir::lower::Layouts;
use conv_ir::{Chain, Conv, Element, Nest, Schedule, Target, passes};

use crate::choose::{masks_are_assembled, with_choice};
use crate::code::{Code, CompileTime};
use crate::compiled::level;
use crate::host::host_target;
use crate::isa::Isa;
use crate::x86::Level;
use crate::{Error, share};

pub use builder::{ChainBuilder, chain};
pub use packed::{PackedChain, StepWeights};

/// How to compile a chain.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Which steps are fused. `None`: the model's choice.
    pub plan: Option<Plan>,
    /// As in [`Options`](crate::Options).
    pub target: Target,
    /// Threads that a run uses at most.
    pub threads: usize,
}

impl Default for ChainOptions {
    fn default() -> Self {
        ChainOptions { plan: None, target: host_target(), threads: 1 }
    }
}

/// The machine code of a chain. Cheap to clone.
#[derive(Clone)]
pub struct CompiledChain {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    chain: Chain,
    plan: Plan,
    target: Target,
    groups: Vec<CompiledGroup>,
    /// Elements of each tensor.
    lens: Vec<usize>,
}

/// The machine code of a group.
struct CompiledGroup {
    group: Group,
    nest: Nest,
    code: Code,
    divisible: bool,
}

impl CompiledChain {
    /// Compiles.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where this route cannot, [`Error::Memory`] without executable memory;
    /// where a plan is given, also why its strips cannot be.
    pub fn new(chain: &Chain, options: ChainOptions) -> Result<CompiledChain, Error> {
        if chain.steps().iter().any(|step| step.conv.spec().residual && step.residual.is_none()) {
            let message = "a residual that is no tensor of the chain";
            return Err(Error::Unsupported(message.to_owned()));
        }
        let chain = &chain.skipping_strides();
        let threads = options.threads.max(1);
        let target = options.target;
        let isa = Isa::host()?;
        let level = level(&target)?;
        let make = |plan: &Plan| groups(chain, plan, &target, (&isa, level));
        let (plan, groups) = match options.plan {
            Some(plan) => {
                plan.check(chain)?;
                let groups = make(&plan)?;
                (plan, groups)
            }
            None => {
                let plan = Plan::choose(chain, &target, threads);
                match make(&plan) {
                    Ok(groups) => (plan, groups),
                    Err(why) => {
                        let plan = apart(chain, &why);
                        let groups = make(&plan)?;
                        (plan, groups)
                    }
                }
            }
        };
        let shared = Shared {
            chain: chain.clone(),
            plan,
            target,
            groups,
            lens: (0..=chain.steps().len()).map(|tensor| chain.len_of(tensor)).collect(),
        };
        Ok(CompiledChain { shared: Arc::new(shared), threads })
    }

    /// The description.
    pub fn chain(&self) -> &Chain {
        &self.shared.chain
    }

    /// Which steps are fused, and why.
    pub fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// What it was compiled for.
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// The nests that the code was made from, a group each.
    pub fn nests(&self) -> impl Iterator<Item = &Nest> {
        self.shared.groups.iter().map(|group| &group.nest)
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.shared.groups.iter().map(|group| group.code.bytes()).sum()
    }

    /// Where compile time went, all groups together.
    pub fn compile_time(&self) -> CompileTime {
        let times = self.shared.groups.iter().map(|group| group.code.time);
        times.fold(CompileTime::default(), |sum, time| CompileTime {
            passes: sum.passes + time.passes,
            emit: sum.emit + time.emit,
            cranelift: sum.cranelift + time.cranelift,
            link: sum.link + time.link,
        })
    }

    /// Copies the weights of all steps into the order of their use. Done once; the result runs.
    ///
    /// # Errors
    /// [`Error::DType`], [`Error::Length`], or [`Error::Argument`] where weights of a step or a
    /// bias are missing or not asked for, with the step's number.
    pub fn pack<T: Element>(
        &self,
        weights: &[StepWeights<'_, T>],
    ) -> Result<PackedChain<T>, Error> {
        PackedChain::new(self, weights)
    }
}

/// Code for every group.
fn groups(
    chain: &Chain,
    plan: &Plan,
    target: &Target,
    (isa, level): (&Isa, Option<Level>),
) -> Result<Vec<CompiledGroup>, Error> {
    let compiled = |group: &Group| {
        let start = Instant::now();
        let nest = nest(chain, group, target)?;
        let passes = start.elapsed();
        let mut code = Code::new(&nest, isa, level)?;
        code.time.passes = passes;
        Ok(CompiledGroup {
            group: group.clone(),
            divisible: share::is_divisible(&nest),
            nest,
            code,
        })
    };
    plan.groups.iter().map(compiled).collect()
}

/// Every step by itself, because strips could not be.
fn apart(chain: &Chain, why: &Error) -> Plan {
    let mut plan = Plan::unfused(chain);
    plan.reasons.push(format!("not fused: {why}"));
    plan
}

/// The plan that [`CompiledChain`] takes for this target where none is given. This CPU need not
/// have the target.
pub fn plan(chain: &Chain, target: &Target, threads: usize) -> Plan {
    let plan = Plan::choose(chain, target, threads);
    let refused = plan.groups.iter().find_map(|group| nest(chain, group, target).err());
    match refused {
        Some(why) => apart(chain, &why),
        None => plan,
    }
}

/// The nest of a group, as it is compiled for this target.
///
/// # Errors
/// Why its strips cannot be, or where machine code cannot be made.
pub fn nest(chain: &Chain, group: &Group, target: &Target) -> Result<Nest, Error> {
    let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
        lower(conv, layouts, given, target).map_err(into_ir)
    };
    Ok(plan::nest(chain, group, target, &mut lower)?)
}

/// The nest of all groups of a plan, one after the other.
///
/// # Errors
/// As [`nest`].
pub fn whole_nest(chain: &Chain, plan: &Plan, target: &Target) -> Result<Nest, Error> {
    let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
        lower(conv, layouts, given, target).map_err(into_ir)
    };
    Ok(whole::nest(chain, plan, target, &mut lower)?)
}

/// Errors of this crate on their way through conv-ir.
fn into_ir(error: Error) -> conv_ir::Error {
    match error {
        Error::Conv(error) => error,
        other => conv_ir::Error::Unsupported { route: "jit", message: other.to_string() },
    }
}

fn lower(
    conv: &Conv,
    layouts: Layouts,
    given: Option<&Schedule>,
    target: &Target,
) -> Result<Lowered, Error> {
    let make = |schedule: Schedule| {
        let nest = passes::compile_as(conv, layouts, &schedule, target, &mut |_, _| {})?;
        masks_are_assembled(&nest, target).map(|()| Lowered { schedule, nest })
    };
    match given {
        Some(schedule) => make(schedule.clone()),
        None => with_choice(conv, layouts, target, |choice| make(choice.schedule)),
    }
}
