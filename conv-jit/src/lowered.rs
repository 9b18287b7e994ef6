//! A program as it is compiled for a target, before there is machine code: rewritten, planned, and
//! a nest for each group of steps.
//!
//! ```text
//! Program --rewrite (accuracy)--> Program --plan--> groups --schedule, passes--> a nest each
//! ```
//!
//! Explaining and compiling both go through here, so that what is explained is what runs. The model
//! may ask for masked loads, which the assembler alone makes, and the assembler may refuse a leaf.
//! Then the model is asked again, without masks: whatever the assembler refuses then is
//! Cranelift's.

use conv_ir::lower::{Layouts, Within};
use conv_ir::nest::BufferRole;
use conv_ir::program::fuse::{self, Strips};
use conv_ir::program::layouts::{Around, Arranged};
use conv_ir::program::plan::{self, Group, Plan};
use conv_ir::program::{Algorithm, Rewritten, Tuned, tiled, whole};
use conv_ir::schedule::Choice;
use conv_ir::separate::Accuracy;
use conv_ir::winograd::Tiles;
use conv_ir::{Conv, Isa, Nest, Program, Schedule, Target, passes};

use crate::memo::{Alone, Memo};
use crate::options::Options;
use crate::x86::Kernels;
use crate::{Error, executor, share};

/// What is compiled for a target, which this CPU need not have.
///
/// ```
/// use conv_ir::{Program, Target};
/// use conv_jit::{Lowered, Options};
/// let blur: Program = "conv2d in 64 kernel 5x1 pad 2,0; conv2d kernel 1x5 pad 0,2".parse()?;
/// let lowered = Lowered::new(&blur, &Options { target: Target::AVX512, ..Options::default() })?;
/// assert_eq!(lowered.groups.len(), lowered.plan.groups.len());
/// # Ok::<(), conv_jit::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What is computed.
    pub rewritten: Rewritten,
    /// Which of its steps are fused, and why.
    pub plan: Plan,
    /// The plan's groups.
    pub groups: Vec<LoweredGroup>,
}

/// The nest of steps that are computed together.
#[derive(Clone, Debug)]
pub struct LoweredGroup {
    /// The steps.
    pub group: Group,
    /// How the arrays of a step alone are laid out.
    pub layouts: Layouts,
    /// How a step alone is computed, and why. Fused steps have a schedule for each kind of strip.
    pub choice: Option<Choice>,
    /// The finished nest.
    pub nest: Nest,
    /// Leaves that were assembled to see whether they can be, by position: nobody makes them
    /// again.
    pub(crate) kernels: Kernels,
}

impl Lowered {
    /// Rewrites, plans and lowers. Of the options, `cache` says nothing here.
    ///
    /// # Errors
    /// [`Error::Conv`] for an illegal schedule or plan, [`Error::Argument`] for a schedule of
    /// several steps, [`Error::Unsupported`] where machine code cannot be made.
    pub fn new(program: &Program, options: &Options) -> Result<Lowered, Error> {
        Lowered::with(program, options, &Memo::of(program))
    }

    /// The same with what was made for the program before.
    pub(crate) fn with(
        program: &Program,
        options: &Options,
        memo: &Memo,
    ) -> Result<Lowered, Error> {
        let options = &Options { target: options.made_for(), ..options.clone() };
        let Options { schedule, plan, target, threads, accuracy, .. } = options;
        let count = program.steps().len();
        if schedule.is_some() && count > 1 {
            let message = format!("a schedule is for one step, but there are {count}: give a plan");
            return Err(Error::Argument(message));
        }
        // A given schedule is for the window as it is.
        let accuracy = if schedule.is_some() { Accuracy::Exact } else { *accuracy };
        let rewritten = match plan {
            Some(plan) => plan.rewritten(program, accuracy),
            None => program.rewritten(accuracy),
        };
        let algorithm = match (options.algorithm, plan) {
            (None, None) => measured_algorithm(&rewritten, accuracy, options),
            (given, _) => given,
        };
        let mut rewritten = match algorithm {
            Some(algorithm) if options.finite_weights => {
                rewritten.computed_by(accuracy, algorithm)?
            }
            None if options.finite_weights => rewritten.in_blocks(accuracy).in_tiles(accuracy),
            _ => rewritten,
        };
        if let Some(plan) = plan {
            plan.check(&rewritten.program)?;
            let is_alone =
                |at| plan.groups.iter().any(|g| g.steps == (at..at + 1) && g.strips.is_none());
            rewritten = rewritten.tiled_where(is_alone).in_blocks_where(is_alone);
        }
        let program = &rewritten.program;
        one_residual_from_outside(program)?;
        let around = Around {
            program,
            is_tiled: &|at| rewritten.tiles(at).is_some(),
            is_in_blocks: &|at| rewritten.blocks(at).is_some(),
        };
        let making = (options, memo);
        let (plan, mut groups) = match plan {
            Some(plan) => {
                let arranged = around.choose(plan, target);
                let lower = |group: &Group| lowered((&rewritten, &arranged), group, making);
                let groups = each(&plan.groups, *threads, &lower).into_iter();
                (plan.clone(), groups.collect::<Result<_, Error>>()?)
            }
            None => {
                let threads = share::useful_threads(program.convs()).min(*threads).max(1);
                let tiled = rewritten.tiled.iter().map(|(at, _)| *at);
                let blocks = rewritten.in_blocks.iter().map(|(at, _)| *at);
                let alone: Vec<usize> = tiled.chain(blocks).collect();
                let plan = Plan::choose_around(program, &alone, target, threads);
                let mut plan = around.with_layouts(plan, target);
                let arranged = around.choose(&plan, target);
                plan.reasons.extend(arranged.reason());
                let lower = |group: &Group| lowered((&rewritten, &arranged), group, making);
                fused_where_it_can_be(plan, options.threads, &lower)?
            }
        };
        // Many are held at once: no room for groups that do not come.
        groups.shrink_to_fit();
        Ok(Lowered { rewritten, plan, groups })
    }

    /// What is computed.
    pub fn program(&self) -> &Program {
        &self.rewritten.program
    }

    /// The tensors between groups that have gaps, and how many elements they are.
    pub(crate) fn with_gaps(&self) -> Vec<(usize, usize)> {
        let gaps = self.groups.iter().filter(|group| group.layouts.gaps.output > 0);
        let len = |group: &LoweredGroup| {
            let output = group.nest.buffers_of(BufferRole::Output).next()?;
            Some((group.group.steps.end, group.nest.constant_len(output)? as usize))
        };
        gaps.filter_map(len).collect()
    }

    /// All groups as one nest, one after the other.
    ///
    /// # Errors
    /// Where a size is free.
    pub fn whole_nest(&self) -> Result<Nest, Error> {
        let nests = self.groups.iter().map(|group| &group.nest);
        Ok(whole::joined(self.program(), &self.plan, nests)?)
    }
}

/// The algorithm that was measured to be the fastest for the only step, as it was described.
fn measured_algorithm(
    rewritten: &Rewritten,
    accuracy: Accuracy,
    options: &Options,
) -> Option<Algorithm> {
    let conv = rewritten.program.single()?;
    let tuned = options.tuning.as_deref()?.find(conv, accuracy)?;
    // A product with a tensor, behind the sums, may rule it out.
    let is_there = || Algorithm::of(conv, accuracy).contains(&tuned.algorithm());
    Some(tuned.algorithm()).filter(|_| is_there())
}

fn one_residual_from_outside(program: &Program) -> Result<(), Error> {
    let adds = |step: &conv_ir::program::Step| step.conv.spec().residual && step.residual.is_none();
    let steps = program.steps().iter().enumerate().filter(|(_, step)| adds(step));
    let numbers: Vec<String> = steps.map(|(at, _)| (at + 1).to_string()).collect();
    match numbers.len() {
        0 | 1 => Ok(()),
        _ => Err(Error::Unsupported(format!(
            "steps {} each add a residual of the caller's, but a call brings one",
            numbers.join(", ")
        ))),
    }
}

type Lower<'a> = dyn Fn(&Group) -> Result<LoweredGroup, Error> + Sync + 'a;

/// Each group lowered, side by side where threads are allowed.
fn each(groups: &[Group], threads: usize, lower: &Lower<'_>) -> Vec<Result<LoweredGroup, Error>> {
    executor::each(groups.len(), threads, &|at| lower(&groups[at]))
}

/// The groups of the model's plan. Where fused steps are refused, each of them is a group.
fn fused_where_it_can_be(
    plan: Plan,
    threads: usize,
    lower: &Lower<'_>,
) -> Result<(Plan, Vec<LoweredGroup>), Error> {
    let (mut groups, mut reasons) = (Vec::new(), plan.reasons);
    for (group, made) in plan.groups.iter().zip(each(&plan.groups, threads, lower)) {
        let steps = group.steps.clone();
        match made {
            Err(why) if steps.len() > 1 => {
                reasons.push(format!("steps {}-{} not fused: {why}", steps.start + 1, steps.end));
                for at in steps {
                    groups.push(lower(&Group { steps: at..at + 1, strips: None })?);
                }
            }
            made => groups.push(made?),
        }
    }
    let plan = Plan { groups: groups.iter().map(|made| made.group.clone()).collect(), reasons };
    Ok((plan, groups))
}

/// How to compile, and what was made before.
type Making<'a> = (&'a Options, &'a Memo);

fn lowered(
    (rewritten, arranged): (&Rewritten, &Arranged),
    group: &Group,
    making: Making<'_>,
) -> Result<LoweredGroup, Error> {
    let (options, memo) = making;
    let program = &rewritten.program;
    let layouts = arranged.of_step(program, group.steps.start);
    let (choice, nest, kernels) = match (&group.strips, rewritten.tiles(group.steps.start)) {
        (None, _) if program.steps()[group.steps.start].given => {
            (None, plan::given(program, group.steps.start), Vec::new())
        }
        (None, Some(tiles)) => {
            let conv = &program.steps()[group.steps.start].conv;
            let nest = in_tiles((conv, layouts), &tiles, making)?;
            let kernels = with_masks(&nest, &options.target, memo)?;
            (None, nest, kernels)
        }
        (Some(strips), _) => {
            let nest = fused(program, group, strips, making)?;
            let kernels = with_masks(&nest, &options.target, memo)?;
            (None, nest, kernels)
        }
        (None, None) => {
            let conv = &program.steps()[group.steps.start].conv;
            let (choice, nest, kernels) = on_its_own(conv, layouts, making)?;
            (Some(choice), nest, kernels)
        }
    };
    Ok(LoweredGroup { group: group.clone(), layouts, choice, nest, kernels })
}

/// A step that is not fused: under the given schedule, the measured one, or the model's choice.
fn on_its_own(conv: &Conv, layouts: Layouts, making: Making<'_>) -> Result<Alone, Error> {
    let options = making.0;
    let tuned = options.tuning.as_deref().and_then(|tuning| tuning.find(conv, options.accuracy));
    let tuned = tuned.and_then(Tuned::schedule).filter(|_| options.schedule.is_none());
    // Measured with arrays as the description has them.
    let tuned = tuned.filter(|_| layouts == Layouts::of(conv));
    let Some(schedule) = tuned else {
        return alone(conv, layouts, options.schedule.as_ref(), making);
    };
    match alone(conv, layouts, Some(schedule), making) {
        Ok((mut choice, nest, kernels)) => {
            choice.reasons[0] = "the schedule was measured to be the fastest".to_owned();
            Ok((choice, nest, kernels))
        }
        Err(why) => {
            let (mut choice, nest, kernels) = alone(conv, layouts, None, making)?;
            choice.reasons.push(format!("the measured schedule is passed over: {why}"));
            Ok((choice, nest, kernels))
        }
    }
}

fn in_tiles(
    (conv, layouts): (&Conv, Layouts),
    tiles: &Tiles,
    making: Making<'_>,
) -> Result<Nest, Error> {
    let options = making.0;
    let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
        let (choice, nest, _) = alone(conv, layouts, given, making).map_err(into_ir)?;
        Ok(fuse::Lowered { schedule: choice.schedule, nest })
    };
    let room = tiled::Room { threads: options.threads, scratch: None };
    Ok(tiled::nest((conv, layouts), tiles, (&options.target, room), &mut lower)?)
}

fn fused(
    program: &Program,
    group: &Group,
    strips: &Strips,
    making: Making<'_>,
) -> Result<Nest, Error> {
    let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
        let (choice, nest, _) = alone(conv, layouts, given, making).map_err(into_ir)?;
        Ok(fuse::Lowered { schedule: choice.schedule, nest })
    };
    Ok(fuse::fuse(program, group.steps.clone(), strips, &making.0.target, &mut lower)?)
}

/// Errors of this crate on their way through conv-ir.
fn into_ir(error: Error) -> conv_ir::Error {
    match error {
        Error::Conv(error) => error,
        Error::Memory(message) => conv_ir::Error::Memory(message),
        other => conv_ir::Error::Unsupported { route: "jit", message: other.to_string() },
    }
}

/// Why borders are exact where they were not meant to be.
const SKIPPED: &str =
    "borders exact: a weight may be infinite or NaN, so padding is skipped, not multiplied by it";

/// How a convolution's arrays lie in memory.
enum Arrays<'a> {
    Whole(Layouts),
    Boxes(&'a Within),
}

/// A convolution whose arrays are boxes of larger ones, under the model's choice. `Options.target`
/// is what it is made for.
pub(crate) fn within(
    conv: &Conv,
    within: &Within,
    options: &Options,
) -> Result<(Nest, Kernels), Error> {
    let (_, nest, kernels) = once(conv, &Arrays::Boxes(within), None, options)?;
    Ok((nest, kernels))
}

/// The same under a given schedule.
#[cfg(feature = "ndarray")]
pub(crate) fn within_as(
    conv: &Conv,
    within: &Within,
    schedule: &Schedule,
    options: &Options,
) -> Result<(Nest, Kernels), Error> {
    let (_, nest, kernels) = once(conv, &Arrays::Boxes(within), Some(schedule), options)?;
    Ok((nest, kernels))
}

fn once(
    conv: &Conv,
    arrays: &Arrays<'_>,
    given: Option<&Schedule>,
    options: &Options,
) -> Result<Alone, Error> {
    placed(conv, arrays, given, (options, &Memo::of(&conv.clone().into())))
}

/// One convolution, under the given schedule or the model's choice.
fn alone(
    conv: &Conv,
    layouts: Layouts,
    given: Option<&Schedule>,
    (options, memo): Making<'_>,
) -> Result<Alone, Error> {
    let make = || placed(conv, &Arrays::Whole(layouts), given, (options, memo));
    memo.alone((conv, layouts, given), make)
}

fn placed(
    conv: &Conv,
    arrays: &Arrays<'_>,
    given: Option<&Schedule>,
    (Options { target, finite_weights, .. }, memo): Making<'_>,
) -> Result<Alone, Error> {
    let choose = |target: &Target| match arrays {
        Arrays::Whole(layouts) => Ok(Schedule::choose_as(conv, *layouts, target)),
        Arrays::Boxes(within) => Schedule::choose_within(conv, within, target)
            .ok_or_else(|| Error::Argument(format!("{conv} is of no boxes of {within:?}"))),
    };
    let under = |mut choice: Choice| {
        if let Some(schedule) = choice.schedule.for_any_weights(conv).filter(|_| !finite_weights) {
            choice.schedule = schedule;
            choice.reasons.push(SKIPPED.to_owned());
        }
        let schedule = &choice.schedule;
        let nest = match arrays {
            Arrays::Whole(layouts) => {
                passes::compile_as(conv, *layouts, schedule, target, &mut |_, _| {})?
            }
            Arrays::Boxes(within) => {
                passes::compile_within(conv, within, schedule, target, &mut |_, _| {})?
            }
        };
        with_masks(&nest, target, memo).map(|kernels| (choice, nest, kernels))
    };
    if let Some(schedule) = given {
        let reasons = vec!["the schedule was given".to_owned()];
        return under(Choice { schedule: schedule.clone(), reasons });
    }
    match under(choose(target)?) {
        Err(Error::Unsupported(why)) if target.masks => {
            let plain = Target { masks: false, ..*target };
            let mut choice = choose(&plain)?;
            choice.reasons.push(format!("no masks: {why}"));
            under(choice)
        }
        made => made,
    }
}

/// The leaves that nobody but the assembler can make.
fn with_masks(nest: &Nest, target: &Target, memo: &Memo) -> Result<Kernels, Error> {
    if target.isa == Isa::Portable {
        return Ok(Vec::new());
    }
    let leaves = nest.leaves.iter().enumerate().filter(|(_, leaf)| leaf.has_masked_loads());
    let assembled = leaves.map(|(at, leaf)| match memo.assemble(nest, leaf, (target.isa, None)) {
        Ok(kernel) => Ok((at, kernel)),
        Err(why) => Err(Error::Unsupported(format!("leaf {} has masked loads: {why}", leaf.name))),
    });
    assembled.collect()
}

#[cfg(test)]
mod tests;
