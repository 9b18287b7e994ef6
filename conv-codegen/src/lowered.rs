//! A program to the nests of an item: one nest for each kind of CPU.
//!
//! In: a program (a convolution is one of one step) and how it is made. Out: the versions of one
//! item, each made of one nest: that of the step, or the groups of the plan one after the other, in
//! which fused steps hand over strips of rows through line buffers. All versions follow one plan,
//! so that they share packed weights, and all are scheduled for the caches of no one machine.

use conv_ir::lower::{Layouts, Within};
use conv_ir::nest::Role;
use conv_ir::program::plan::Plan;
use conv_ir::program::tiled::{self, Room};
use conv_ir::program::{Algorithm, Rewritten, Tuned, fuse, whole};
use conv_ir::schedule::{Borders, Pack};
use conv_ir::separate::Accuracy;
use conv_ir::winograd::Tiles;
use conv_ir::{Conv, Dots, Error, Isa, Nest, Program, Schedule, Target, fft, passes};

use crate::emit::{Transformed, Version, has_vectors_for, same_buffers, same_packing};
use crate::{Form, Options, budget};

/// A program that is ready to be written as Rust.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The versions of the item, the widest first.
    pub versions: Vec<Version>,
    /// What is computed.
    pub rewritten: Rewritten,
    /// Which of its steps are fused, and why.
    pub plan: Plan,
    /// Of one step: the widest version's.
    pub schedule: Option<Schedule>,
    /// What became of measured schedules, in words.
    pub tuning: Vec<String>,
}

/// Rewrites, plans and lowers a program.
///
/// # Errors
/// [`Error::IllegalSchedule`] where the schedule does not fit the convolution, [`Error::Argument`]
/// where there are several; [`Error::Invalid`] where a size makes too much code; where a plan is
/// given, why its strips cannot be.
pub fn lowered(program: impl Into<Program>, options: &Options) -> Result<Lowered, Error> {
    let program = program.into();
    if options.schedule.is_some() && program.single().is_none() {
        return Err(Error::Argument(
            "a schedule is for one convolution, but this is a chain".to_owned(),
        ));
    }
    // A given schedule is for the window as it is.
    let accuracy = if options.schedule.is_some() { Accuracy::Exact } else { options.accuracy };
    let mut rewritten = program.rewritten(accuracy);
    if packs_tiles(&rewritten.program, accuracy, options) {
        rewritten = match measured_algorithm(&rewritten.program, accuracy, options) {
            Some(Algorithm::Direct) => rewritten,
            Some(tiles @ Algorithm::Tiles(_)) => rewritten.computed_by(accuracy, tiles)?,
            _ => rewritten.in_tiles(accuracy),
        };
    }
    budget::check(rewritten.program.convs(), budget::copies(options))?;
    let mut making =
        Making { tiles: rewritten.tiles(0), ..Making::new(&rewritten.program, None, options) };
    let tuning = making.tune();
    let (versions, plan) = making.planned()?;
    let direct = rewritten.program.single().filter(|_| rewritten.tiled.is_empty());
    let schedule = direct.map(|conv| {
        let [widest, ..] = making.schedules(conv, Layouts::of(conv));
        widest
    });
    Ok(Lowered { versions, plan, schedule, tuning, rewritten })
}

/// Whether a step may be computed in tiles: it is alone, and its weights come once, to be
/// transformed when they are packed. A function would transform them at each call.
fn packs_tiles(program: &Program, accuracy: Accuracy, options: &Options) -> bool {
    let Some((conv, most)) = program.single().zip(accuracy.admits()) else { return false };
    // What an FFT would compute elsewhere has direct sums here.
    options.form == Form::Type && conv.known().is_none() && fft::choose(conv, most).is_err()
}

/// What was measured to be the fastest of the only step on the widest machine that was: all
/// versions have one algorithm, as they share packed weights.
fn measured_algorithm(
    program: &Program,
    accuracy: Accuracy,
    options: &Options,
) -> Option<Algorithm> {
    let conv = program.single()?;
    let mut tuned = options.tuning.iter().map(|(_, tuning)| tuning.find(conv, options.accuracy));
    let algorithm = tuned.find_map(|tuned| tuned.map(Tuned::algorithm))?;
    Algorithm::of(conv, accuracy).contains(&algorithm).then_some(algorithm)
}

/// The versions of a convolution whose arrays are boxes of larger ones.
///
/// # Errors
/// As for [`lowered`]; [`Error::Argument`] where an array is smaller than its box.
pub(crate) fn within(
    conv: &Conv,
    within: &Within,
    options: &Options,
) -> Result<Vec<Version>, Error> {
    budget::check(std::iter::once(conv), budget::copies(options))?;
    let program = Program::from(conv.clone());
    Making::new(&program, Some(within), options).versions(&Plan::unfused(&program))
}

/// The caches of no one machine, for code that runs on several: between a Zen 4 (1 MiB, a KiB from
/// it in 10 cycles and from beyond in 24) and a Sapphire Rapids (2 MiB, 20 and 130), nearer
/// to the one that has more to lose.
fn any_machine(target: Target) -> Target {
    Target { l2_bytes: target.l2_bytes / 2 * 3, l2_cycles: 15, far_cycles: 110, ..target }
}

/// The machine behind a version.
fn target(isa: Isa, form: Form) -> Target {
    let target = match isa {
        // rustc keeps a splat that several multiply-adds share in a register.
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx => {
            Target { step_registers: 1, ..Target::AVX512 }
        }
        Isa::Avx2 | Isa::AvxVnni => Target::AVX2,
        Isa::Portable => Target::RUST,
    };
    // The instructions of its runtime multiply one by one.
    Target { packs: form == Form::Type, masks_free: true, dots: Dots::One, ..target }
}

/// The same packing in the least code that skips padding: one column after the other, in loops.
fn plain(conv: &Conv, schedule: Schedule) -> Schedule {
    if conv.known().is_some() {
        return schedule;
    }
    let in_blocks = |(role, _): &(Role, i64)| matches!(role, Role::OutChannel | Role::Group);
    // Without lanes, a panel is as wide as the tile.
    let tile = match schedule.pack {
        Pack::Panels { role, width } => vec![(role, width)],
        pack if pack.is_of_tiles() => schedule.tile.iter().copied().filter(in_blocks).collect(),
        _ => Vec::new(),
    };
    Schedule {
        lanes: None,
        tile,
        borders: Borders::Exact,
        unroll: Vec::new(),
        step: None,
        cache_in: 0,
        ..schedule
    }
}

/// The nest of a step in tiles, in as much scratch as machine code takes: strips of a few tiles,
/// which a stack would hold, would read all weights again for each.
fn in_tiles(
    conv: &Conv,
    tiles: &Tiles,
    target: &Target,
    lower: &mut fuse::Lower<'_>,
) -> Result<Nest, Error> {
    let (arrays, room) = ((conv, Layouts::of(conv)), Room { threads: 1, scratch: None });
    let mut nest = tiled::nest(arrays, tiles, (target, room), lower)?;
    // An infinite weight makes its whole channel NaN: a type has no other weights to go back to.
    nest.needs_finite_weights = false;
    Ok(nest)
}

struct Making<'a> {
    program: &'a Program,
    /// Of one step: what its arrays are boxes of.
    within: Option<&'a Within>,
    /// Of one step: the tiles that it is computed in.
    tiles: Option<Tiles>,
    options: &'a Options,
    /// One for each of [`Isa::ALL`].
    targets: [Target; 3],
    /// Measured schedules of convolutions, each with the place of its machine in [`Isa::ALL`].
    measured: Vec<(Conv, usize, Schedule)>,
}

impl<'a> Making<'a> {
    fn new(program: &'a Program, within: Option<&'a Within>, options: &'a Options) -> Making<'a> {
        let targets = Isa::ALL.map(|isa| any_machine(target(isa, options.form)));
        Making { program, within, tiles: None, options, targets, measured: Vec::new() }
    }

    /// Takes measured schedules in the place of the model's, and says which, and why others are
    /// passed over.
    fn tune(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        let is_given = self.options.schedule.is_some() || self.tiles.is_some();
        if self.options.tuning.is_empty() || is_given {
            return notes;
        }
        let count = self.program.steps().len();
        for (step, conv) in self.program.convs().enumerate().filter(|(_, c)| c.has_weight()) {
            let of = if count > 1 { format!(" of step {}", step + 1) } else { String::new() };
            let before = notes.len();
            for (isa, tuning) in &self.options.tuning {
                let at = Isa::ALL.iter().position(|other| other == isa);
                let tuned = tuning.find(conv, self.options.accuracy);
                let (Some(at), Some(tuned)) = (at, tuned) else { continue };
                if self.measured.iter().any(|(of, place, _)| of == conv && *place == at) {
                    continue;
                }
                let name = self.targets[at].name;
                match self.fitted(conv, at, tuned) {
                    Ok(schedule) => {
                        notes.push(format!("Measured{of} for {name}: `{schedule}`."));
                        self.measured.push((conv.clone(), at, schedule));
                    }
                    Err(why) => notes.push(format!(
                        "What was measured{of} for {name} is passed over: {}.",
                        why.trim_end_matches('.')
                    )),
                }
            }
            if notes.len() == before {
                notes.push(format!("Nothing is measured{of}: the model chooses."));
            }
        }
        notes
    }

    /// A measured schedule as one of a version that shares its packed weights with the others.
    fn fitted(&self, conv: &Conv, at: usize, tuned: &Tuned) -> Result<Schedule, String> {
        let layouts = Layouts::of(conv);
        let chosen = &self.schedules(conv, layouts)[at];
        let schedule = match (tuned.schedule(), tuned.algorithm()) {
            (Some(schedule), _) => schedule,
            (None, Algorithm::Direct) => chosen,
            (None, other) => return Err(format!("{other} is not emitted")),
        };
        if schedule.cache_in > 0 {
            return Err("it keeps sums in scratch, which emitted code has on its stack".to_owned());
        }
        if schedule.pack != Pack::No && chosen.pack == Pack::No {
            let whose = match self.options.form {
                Form::Function => "a function does not (a `struct` may)",
                Form::Type => "versions for other machines do not",
            };
            return Err(format!("it packs weights, which {whose}"));
        }
        let schedule = Schedule { pack: chosen.pack, ..schedule.clone() };
        let nest = |schedule: &Schedule| {
            let watch = &mut |_: &str, _: &Nest| {};
            passes::compile_as(conv, layouts, schedule, &self.targets[at], watch)
        };
        let (made, model) = (nest(&schedule), nest(chosen));
        let made = made.map_err(|error| error.to_string())?;
        budget::check_nest(conv, &made).map_err(|error| error.to_string())?;
        match model {
            Ok(model) if self.options.form == Form::Type && !same_buffers(&made, &model) => {
                Err("it packs weights otherwise than versions for other machines".to_owned())
            }
            _ => Ok(schedule),
        }
    }

    /// The versions under the plan that is given or chosen.
    fn planned(&self) -> Result<(Vec<Version>, Plan), Error> {
        if let Some(plan) = &self.options.plan {
            return Ok((self.versions(plan)?, plan.clone()));
        }
        // Line buffers must fit into the caches of every machine, so the smaller ones count.
        let plan = Plan::choose(self.program, &target(Isa::Avx512, self.options.form), 1);
        let is_fused = plan.groups.len() < self.program.steps().len();
        let why = match self.versions(&plan) {
            Ok(versions)
                if !is_fused || self.options.form == Form::Function || same_packing(&versions) =>
            {
                return Ok((versions, plan));
            }
            Ok(_) => "strips would pack weights differently for each kind of CPU".to_owned(),
            Err(why) if is_fused => why.to_string(),
            Err(why) => return Err(why),
        };
        let mut plan = Plan::unfused(self.program);
        plan.reasons.push(format!("not fused: {why}"));
        Ok((self.versions(&plan)?, plan))
    }

    fn versions(&self, plan: &Plan) -> Result<Vec<Version>, Error> {
        let runtime = self.options.runtime;
        let rounds_once = self.options.accuracy != Accuracy::Unfused;
        let mut versions = Vec::new();
        for (at, isa) in Isa::ALL.into_iter().enumerate() {
            let is_asked =
                isa == Isa::Portable || self.options.isas.contains(&isa) && self.fits(at);
            if !is_asked {
                continue;
            }
            let nest = self.nest(at, plan, &|_, schedule| schedule)?;
            if has_vectors_for(isa, &nest) {
                let (any_weights, boxes) = (false, self.within.is_some());
                let transformed = self.transformed();
                versions.push(Version {
                    isa,
                    runtime,
                    rounds_once,
                    nest,
                    any_weights,
                    boxes,
                    transformed,
                });
            }
        }
        // The portable one takes infinite and NaN weights, unless it multiplies padding as well.
        if versions.last().is_some_and(|portable| portable.nest.needs_finite_weights) {
            let nest = self.nest(Isa::ALL.len() - 1, plan, &plain)?;
            versions.push(Version {
                isa: Isa::Portable,
                runtime,
                rounds_once,
                nest,
                any_weights: true,
                boxes: self.within.is_some(),
                transformed: None,
            });
        }
        Ok(versions)
    }

    /// How the weights of a step in tiles are transformed.
    fn transformed(&self) -> Option<Transformed> {
        let conv = self.program.single()?;
        let pairs = conv.weight_len() / conv.kernel_volume().max(1);
        Some(Transformed::new(self.tiles.as_ref()?, pairs, conv.spec().flip))
    }

    /// Whether the given schedule's vectors are no wider than the machine's.
    fn fits(&self, at: usize) -> bool {
        let lanes = self.options.schedule.as_ref().and_then(|schedule| schedule.lanes);
        let bytes = lanes.map_or(0, |(_, lanes)| lanes as usize * self.program.dtype().bytes());
        bytes <= self.targets[at].vector_bytes
    }

    /// One nest for all steps; `change` has a say in each one's schedule.
    fn nest(
        &self,
        at: usize,
        plan: &Plan,
        change: &dyn Fn(&Conv, Schedule) -> Schedule,
    ) -> Result<Nest, Error> {
        let target = &self.targets[at];
        let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
            let schedule = match given {
                Some(schedule) => schedule.clone(),
                None => change(conv, self.schedules(conv, layouts)[at].clone()),
            };
            let watch = &mut |_: &str, _: &Nest| {};
            let nest = match self.within {
                None => passes::compile_as(conv, layouts, &schedule, target, watch)?,
                Some(within) => passes::compile_within(conv, within, &schedule, target, watch)?,
            };
            Ok(fuse::Lowered { schedule, nest })
        };
        let Some(conv) = self.program.single() else {
            let nest = whole::nest(self.program, plan, target, &mut lower)?;
            budget::check_chain(self.program.steps().len(), &nest)?;
            return Ok(nest);
        };
        let nest = match &self.tiles {
            Some(tiles) => in_tiles(conv, tiles, target, &mut lower)?,
            None => lower(conv, Layouts::of(conv), None)?.nest,
        };
        budget::check_nest(conv, &nest)?;
        Ok(nest)
    }

    /// The schedule for each of [`Isa::ALL`].
    fn schedules(&self, conv: &Conv, layouts: Layouts) -> [Schedule; 3] {
        let Some(mut schedule) = self.options.schedule.clone() else {
            let measured = |at: usize, choice: Schedule| {
                let is_it = |(of, place, _): &&(Conv, usize, Schedule)| {
                    *place == at && of == conv && layouts == Layouts::of(conv)
                };
                self.measured.iter().find(is_it).map_or(choice, |(_, _, found)| found.clone())
            };
            let [widest, narrower, portable] = &self.targets;
            let targets = [widest, narrower, portable];
            let boxes = self
                .within
                .and_then(|within| Schedule::choose_together_within(conv, within, targets));
            let mut at = 0..;
            return boxes
                .unwrap_or_else(|| Schedule::choose_together_as(conv, layouts, targets))
                .map(|choice| measured(at.next().unwrap_or_default(), choice.schedule));
        };
        // A type holds packed weights, whatever else the schedule says.
        if self.options.form == Form::Type && schedule.pack == Pack::No {
            schedule.pack = schedule.panels();
        }
        [schedule.clone(), schedule.clone(), schedule]
    }
}
