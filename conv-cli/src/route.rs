//! The ways to compute a program, behind one door for `run`, `filter` and `bench`.
//!
//! In: a program, how to compute it, weights. Out: [`Ready`], which runs on any input and knows
//! what it cost to make. The reference follows the description in plain loops; the interpreter
//! follows the lowered nest; the other routes make machine code of that nest.

mod stored;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use conv_ir::program::plan::Plan;
use conv_ir::program::{Algorithm, Rewritten, Tuning};
use conv_ir::separate::Accuracy;
use conv_ir::winograd::Tiles;
use conv_ir::{Nest, Program, Schedule, Target, interp, reference};
use conv_jit::{Compiled, Lowered, LoweredGroup, Options, Packed, StepArrays, StepWeights, Stored};

use crate::failure::Failure;
pub use stored::at_work as integers_at_work;

use conv_files::Number;
use conv_ir::Element;

/// A number that files hold and that is computed in.
pub trait Scalar: Number + Element {}

impl<T: Number + Element> Scalar for T {}

/// Who computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub enum Route {
    /// The fastest that there is
    #[default]
    Auto,
    /// Plain loops over the description: slow, obviously right
    Reference,
    /// The loop nest after all passes, interpreted: very slow
    Interp,
    /// Machine code by Cranelift, 128-bit vectors
    Cranelift,
    /// Machine code with micro-kernels for AVX2
    Avx2,
    /// Machine code with micro-kernels for AVX-512
    Avx512,
}

impl Route {
    /// The target that its schedule is made for, and its machine code, if that is what it makes.
    pub fn target(self) -> Target {
        match self {
            Route::Auto => conv_jit::host_target(),
            Route::Reference | Route::Interp | Route::Cranelift => Target::CRANELIFT,
            Route::Avx2 => conv_jit::as_here(Target::AVX2),
            Route::Avx512 => conv_jit::as_here(Target::AVX512),
        }
    }
}

/// How to compute.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Who computes.
    pub route: Route,
    /// How many threads share the work; 0 is one.
    pub threads: usize,
    /// Whether weights that are compiled in may be summed in another order.
    pub accuracy: Accuracy,
    /// Of one step, instead of the model's choice.
    pub schedule: Option<Schedule>,
    /// Of several steps, instead of the model's choice.
    pub plan: Option<Plan>,
    /// Of one step, instead of the model's choice.
    pub algorithm: Option<Algorithm>,
    /// What was measured, where nothing is said above.
    pub tuning: Option<Arc<Tuning>>,
}

impl How {
    fn options(&self) -> Options {
        Options {
            schedule: self.schedule.clone(),
            plan: self.plan.clone(),
            algorithm: self.algorithm,
            tuning: self.tuning.clone(),
            target: self.route.target(),
            threads: self.threads,
            accuracy: self.accuracy,
            cache: false,
            ..Options::default()
        }
    }
}

/// The constant arrays of one step.
#[derive(Clone, Debug, Default)]
pub struct Weights<T> {
    /// The windows.
    pub weight: Vec<T>,
    /// One number per output channel.
    pub bias: Option<Vec<T>>,
}

/// A program with these weights compiled in, as far as all of a step's are finite: known weights
/// are numbers.
pub fn compiled_in<T: Scalar>(
    program: &Program,
    weights: &[Weights<T>],
) -> Result<Program, Failure> {
    let mut steps = program.steps().to_vec();
    for (step, Weights { weight, bias }) in steps.iter_mut().zip(weights) {
        let finite = |array: &[T]| array.iter().all(|x| x.to_f64().is_finite());
        if step.conv.has_weight() && finite(weight) && bias.as_deref().is_none_or(finite) {
            step.conv = step.conv.with_weights(weight, bias.as_deref())?;
        }
    }
    Ok(program.with_steps(steps)?)
}

/// What it cost to make a program ready.
pub struct About {
    /// Who computes.
    pub route: &'static str,
    /// Time from the description to code, with nothing cached. Packing the weights is not counted.
    pub compile: Duration,
    /// Time that packing the weights took.
    pub packing: Duration,
    /// Bytes of machine code.
    pub code_bytes: usize,
    /// How, where there was a choice.
    pub chosen: Chosen,
}

/// A program that is ready to run.
pub struct Ready<T: Scalar> {
    /// What that cost.
    pub about: About,
    engine: Engine<T>,
}

/// How it is computed.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Of one step.
    pub schedule: Option<Schedule>,
    /// Of several steps: which are fused.
    pub plan: Option<Plan>,
    /// The tiles of one step, where it is computed so.
    pub tiles: Option<Tiles>,
    /// The columns and rows that weights which are compiled in run as, with the error's bound.
    pub split: Option<String>,
}

impl Chosen {
    fn of(
        program: &Program,
        rewritten: &Rewritten,
        plan: &Plan,
        groups: &[LoweredGroup],
    ) -> Chosen {
        let several = program.steps().len() > 1;
        let choice = groups.iter().find_map(|group| group.choice.as_ref()).filter(|_| !several);
        Chosen {
            schedule: choice.map(|choice| choice.schedule.clone()),
            plan: several.then(|| plan.clone()),
            tiles: rewritten.tiles(0).filter(|_| !several),
            split: rewritten.separated.first().map(|(_, found)| found.to_string()),
        }
    }
}

enum Engine<T: Scalar> {
    Reference(Program, Vec<Weights<T>>),
    Interp(Nest, Vec<Weights<T>>),
    Packed(Packed<T>),
    Stored(Box<dyn stored::Run<T>>),
}

impl<T: Scalar> Ready<T> {
    /// Compiles, as far as the route does, and packs the weights, of which there are some for each
    /// step. Those of a step that has them compiled in are for the reference alone.
    pub fn new(
        program: &Program,
        how: &How,
        weights: Vec<Weights<T>>,
    ) -> Result<Ready<T>, Failure> {
        let is_another = !matches!(how.route, Route::Auto | Route::Cranelift);
        if how.accuracy == Accuracy::Unfused && is_another {
            let why =
                "accuracy unfused is computed by machine code of 128 bits: leave the route out";
            return Err(Failure::Usage(why.to_owned()));
        }
        match how.route {
            Route::Reference => {
                let engine = Engine::Reference(program.clone(), weights);
                let (compile, chosen) = (Duration::ZERO, Chosen::default());
                let (route, packing) = ("reference", Duration::ZERO);
                let about = About { route, compile, packing, code_bytes: 0, chosen };
                Ok(Ready { about, engine })
            }
            Route::Interp => Ready::interp(program, how, weights),
            Route::Auto | Route::Cranelift | Route::Avx2 | Route::Avx512 => {
                Ready::machine(program, how, &weights)
            }
        }
    }

    /// Fills `output`. The residual is that of a program of one step which adds the caller's.
    pub fn run(
        &self,
        input: &[T],
        residual: Option<&[T]>,
        output: &mut [T],
    ) -> Result<(), Failure> {
        self.run_all(&[input], residual, vec![output])
    }

    /// Fills all outputs, of a program that takes as many inputs and gives as many outputs.
    pub fn run_all(
        &self,
        inputs: &[&[T]],
        residual: Option<&[T]>,
        mut outputs: Vec<&mut [T]>,
    ) -> Result<(), Failure> {
        match &self.engine {
            Engine::Reference(program, weights) => {
                let made = by_reference(program, inputs, residual, weights)?;
                outputs.iter_mut().zip(made).for_each(|(to, from)| to.copy_from_slice(&from));
            }
            Engine::Interp(nest, weights) => {
                let arrays = interp::Arrays {
                    inputs: inputs.to_vec(),
                    weights: weights.iter().map(|step| step.weight.as_slice()).collect(),
                    biases: weights.iter().filter_map(|step| step.bias.as_deref()).collect(),
                    residuals: residual.into_iter().collect(),
                    outputs,
                };
                interp::run(nest, arrays, &[])?;
            }
            Engine::Packed(packed) => {
                let mut outputs = outputs.into_iter();
                let (Some((input, others)), Some(output)) = (inputs.split_first(), outputs.next())
                else {
                    return Err(Failure::usage("a run has an input and an output"));
                };
                let call = packed.call(input, output).other_outputs(outputs);
                let call = call.other_inputs(others.iter().copied());
                residual.into_iter().fold(call, |call, added| call.residual(added)).run()?;
            }
            Engine::Stored(_) if residual.is_some() => {
                let message = "a residual of the caller's is added to sums of i32 alone";
                return Err(Failure::usage(message));
            }
            Engine::Stored(packed) => packed.run(inputs[0], outputs[0])?,
        }
        Ok(())
    }

    fn interp(
        program: &Program,
        how: &How,
        mut weights: Vec<Weights<T>>,
    ) -> Result<Ready<T>, Failure> {
        let start = Instant::now();
        let are_finite = |step: &Weights<T>| step.weight.iter().all(|w| w.to_f64().is_finite());
        let finite_weights = weights.iter().all(are_finite);
        let lowered = Lowered::new(program, &Options { finite_weights, ..how.options() })?;
        let nest = lowered.whole_nest()?;
        let (compile, start) = (start.elapsed(), Instant::now());
        for (step, &origin) in lowered.rewritten.origins.iter().enumerate() {
            let of = &mut weights[origin].weight;
            if let Cow::Owned(used) = lowered.rewritten.weights_of(step, of)? {
                *of = used;
            }
        }
        let packing = start.elapsed();
        // What is compiled in has no array of its own.
        let mut known = program.convs().map(|conv| conv.known().is_some());
        weights.retain(|_| known.next() == Some(false));
        let Lowered { rewritten, plan, groups } = &lowered;
        let chosen = Chosen::of(program, rewritten, plan, groups);
        let engine = Engine::Interp(nest, weights);
        let about = About { route: "interp", compile, packing, code_bytes: 0, chosen };
        Ok(Ready { about, engine })
    }

    fn machine(program: &Program, how: &How, weights: &[Weights<T>]) -> Result<Ready<T>, Failure> {
        let start = Instant::now();
        let options = how.options();
        let compiled = Compiled::new(program, options)?;
        let route = conv_jit::route_name(compiled.target());
        let compile = start.elapsed();
        if stored::is_narrow::<T>(program) {
            let start = Instant::now();
            let packed = stored::packed(&compiled, program, weights)?;
            let (code_bytes, chosen) = (packed.compiled().code_bytes(), Chosen::default());
            let packing = start.elapsed();
            let engine = Engine::Stored(packed);
            let about = About { route, compile, packing, code_bytes, chosen };
            return Ok(Ready { about, engine });
        }
        let steps = program.convs().zip(weights).map(|(conv, step)| match conv.known() {
            // A bias may come later beside known weights.
            Some(known) if known.bias.is_none() => {
                StepWeights { weight: &[], bias: step.bias.as_deref() }
            }
            Some(_) => StepWeights::default(),
            None => StepWeights { weight: &step.weight, bias: step.bias.as_deref() },
        });
        let steps: Vec<StepWeights<'_, T>> = steps.collect();
        let start = Instant::now();
        let packed = compiled.pack_steps(&steps)?;
        let packing = start.elapsed();
        // Packing may have found weights that ask for other code.
        let compiled = packed.compiled();
        let (rewritten, plan) = (compiled.rewritten(), compiled.plan());
        let chosen = Chosen::of(program, rewritten, plan, compiled.groups());
        let (code_bytes, engine) = (compiled.code_bytes(), Engine::Packed(packed));
        let about = About { route, compile, packing, code_bytes, chosen };
        Ok(Ready { about, engine })
    }
}

fn by_reference<T: Scalar>(
    program: &Program,
    inputs: &[&[T]],
    residual: Option<&[T]>,
    weights: &[Weights<T>],
) -> Result<Vec<Vec<T>>, Failure> {
    if let (Some(conv), [Weights { weight, bias }]) = (program.single(), weights) {
        let bias = bias.as_deref();
        let arguments = reference::Arguments { input: inputs[0], weight, bias, residual };
        return Ok(vec![reference::run(conv, arguments, &[])?]);
    }
    let steps = weights
        .iter()
        .map(|step| reference::StepWeights { weight: &step.weight, bias: step.bias.as_deref() });
    let mut tensors = reference::run_graph(program, inputs, &steps.collect::<Vec<_>>())?;
    let outputs = program.outputs().iter();
    Ok(outputs.map(|&tensor| std::mem::take(&mut tensors[tensor])).collect())
}

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Who computed.
    pub route: &'static str,
    /// Time from the description to code.
    pub compile: Duration,
    /// Time of the run.
    pub run: Duration,
}

/// Computes a program of integers whose weights are compiled in, on arrays as they are stored.
pub fn of_integers<I: Stored, O: Stored>(
    program: &Program,
    how: &How,
    input: &[I],
) -> Result<(Vec<O>, Cost), Failure> {
    let mut output: Vec<O> = zeros(program.len_of(program.steps().len()))?;
    let start = Instant::now();
    if matches!(how.route, Route::Reference | Route::Interp) {
        let known = program.convs().map(|conv| {
            let known = conv.known().map_or(&[][..], |known| &known.weight);
            Weights { weight: known.iter().map(|tap| *tap as i32).collect(), bias: None }
        });
        let ready = Ready::<i32>::new(program, how, known.collect())?;
        let compile = start.elapsed();
        let input: Vec<i32> = input.iter().map(|x| x.to_f64() as i32).collect();
        let mut numbers = zeros(output.len())?;
        let start = Instant::now();
        ready.run(&input, None, &mut numbers)?;
        let cost = Cost { route: ready.about.route, compile, run: start.elapsed() };
        output.iter_mut().zip(numbers).for_each(|(to, from)| *to = O::from_f64(from.into()));
        return Ok((output, cost));
    }
    let compiled = Compiled::new(program, how.options())?;
    let steps = vec![StepArrays::default(); program.steps().len()];
    let packed = compiled.pack_arrays::<I, O>(&steps)?;
    let (route, compile) = (conv_jit::route_name(compiled.target()), start.elapsed());
    let start = Instant::now();
    packed.run(input, &mut output)?;
    Ok((output, Cost { route, compile, run: start.elapsed() }))
}

/// Numbers one after the other, so many times, or an error where memory does not hold them.
pub fn repeated<T: Scalar>(numbers: &[T], times: usize) -> Result<Vec<T>, Failure> {
    let mut all = with_room(numbers.len().saturating_mul(times))?;
    (0..times).for_each(|_| all.extend_from_slice(numbers));
    Ok(all)
}

/// An array for a result, or an error where memory does not hold it.
pub fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>, Failure> {
    let mut zeros = with_room(count)?;
    zeros.resize(count, T::default());
    Ok(zeros)
}

fn with_room<T>(count: usize) -> Result<Vec<T>, Failure> {
    let mut room = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    room.try_reserve_exact(count).map_err(|_| {
        Failure::usage(format!("an array needs {bytes} bytes of memory, more than there is"))
    })?;
    Ok(room)
}
