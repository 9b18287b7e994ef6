//! The same case on every route that runs here: the interpreter after each pass and by threads, and
//! machine code. Each must give the reference's bits.
//!
//! Expanded Rust is a route too, but one that wants many cases at a time: see
//! [`emitted`](crate::emitted).

use crate::data::{Data, Fill, array, compare, stored};
use crate::judge::{SEED, judge, judge_free, judge_threads, quietly};
use conv_ir::schedule::Borders;
use conv_ir::{Conv, Element, Schedule, Stored, Target, passes, with_stored};
use conv_jit::{Compiled, CurrentThread, Options, Packed, StepArrays};

/// The routes that [`every`] takes, beside the reference.
pub const NAMES: &[&str] = &[
    "interpreter after each pass",
    "interpreter by 2 and 3 threads",
    "Cranelift, AVX2 and AVX-512 by 1 to 3 threads",
];

/// What machine code is made for.
pub const MACHINES: [Target; 3] = [Target::CRANELIFT, Target::AVX2, Target::AVX512];

/// The same with instructions for bytes.
const MACHINES_FOR_BYTES: [Target; 3] = [Target::AVX_VNNI, Target::AVX512_VNNI, Target::AVX512_AMX];

/// Those that have code of their own for a convolution, of [`MACHINES`] and of those with
/// instructions for bytes.
fn machines_for(conv: &Conv) -> impl Iterator<Item = Target> {
    let bytes = MACHINES_FOR_BYTES.into_iter().filter(|_| conv.dtype().is_integer());
    machines_here().chain(bytes.filter(|target| conv_jit::is_here(target.isa)))
}

/// The targets of [`MACHINES`] that this CPU runs.
pub fn machines_here() -> impl Iterator<Item = Target> {
    let here = |t: &Target| conv_jit::is_here(t.isa);
    MACHINES.into_iter().filter(here)
}

/// A line on the targets that this CPU does not run, or nothing.
pub fn skipped() -> String {
    let all = MACHINES.iter().chain(&MACHINES_FOR_BYTES);
    let skipped = all.filter(|target| !conv_jit::is_here(target.isa));
    skipped.map(|target| format!("; skipped: {target}, which this CPU has not")).collect()
}

/// Runs a case on all routes, judged after each pass.
///
/// # Errors
/// The route, the pass, and what went wrong.
pub fn every(conv: &Conv, schedule: &Schedule, target: &Target, fill: Fill) -> Result<(), String> {
    conv_ir::with_element!(conv.dtype(), T => every_as::<T>(conv, schedule, target, fill))
}

/// [`every`] under the model's choice for `target`.
///
/// # Errors
/// Those of [`every`].
pub fn every_chosen(conv: &Conv, target: &Target, fill: Fill) -> Result<(), String> {
    every(conv, &Schedule::choose(conv, target).schedule, target, fill)
}

fn every_as<T: Element>(
    conv: &Conv,
    schedule: &Schedule,
    target: &Target,
    fill: Fill,
) -> Result<(), String> {
    let nest = judge::<T>(conv, &interpreted(conv, schedule, fill), target, fill)?;
    for parts in [2, 3] {
        judge_threads::<T>(conv, &nest, fill, parts)?;
    }
    // A schedule for wide vectors would be pages of narrow ones elsewhere; one for narrow vectors
    // is good anywhere.
    machines_for(conv)
        .filter(|t| {
            t.vector_bytes >= target.vector_bytes && (t.masks || schedule.borders != Borders::Mask)
        })
        .try_for_each(|t| machine::<T>(conv, schedule, &t, fill))
}

/// What the interpreter follows. Machine code sees to weights that are not finite by itself.
fn interpreted(conv: &Conv, schedule: &Schedule, fill: Fill) -> Schedule {
    let exact = schedule.for_any_weights(conv).filter(|_| fill == Fill::AnyWeights);
    exact.unwrap_or_else(|| schedule.clone())
}

/// Runs a case under the model's choice for each machine; on the interpreter the finished nest for
/// `judged` only: for many cases whose passes were judged elsewhere.
///
/// # Errors
/// The route, and what went wrong.
pub fn finished(conv: &Conv, judged: &Target, fill: Fill) -> Result<(), String> {
    conv_ir::with_element!(conv.dtype(), T => finished_as::<T>(conv, judged, fill))
}

fn finished_as<T: Element>(conv: &Conv, judged: &Target, fill: Fill) -> Result<(), String> {
    let chosen = |target: &Target| Schedule::choose(conv, target).schedule;
    let schedule = interpreted(conv, &chosen(judged), fill);
    let nest =
        passes::compile(conv, &schedule, judged, &mut |_, _| {}).map_err(|e| e.to_string())?;
    judge_threads::<T>(conv, &nest, fill, 1)?;
    machines_for(conv).try_for_each(|target| machine::<T>(conv, &chosen(&target), &target, fill))
}

/// Whether machine code here owes the reference's bits. Without a fused multiply-add it rounds
/// twice, which only sums of integers do not show.
fn owes_bits(conv: &Conv, fill: Fill) -> bool {
    let fused = conv_jit::Backend::host().is_ok_and(|backend| backend.has_fma());
    fused || (fill == Fill::Integers && conv.spec().activation.is_none())
}

/// Machine code by one thread, and by parts that run in turn.
fn machine<T: Element>(
    conv: &Conv,
    schedule: &Schedule,
    target: &Target,
    fill: Fill,
) -> Result<(), String> {
    if !owes_bits(conv, fill) {
        return Ok(());
    }
    let said = |what: String| format!("{conv}\n{schedule}\n{target}: {what}");
    let data = Data::<T>::new(conv, fill, SEED);
    let wanted = data.reference(conv).map_err(|e| e.to_string())?;
    // A given schedule may ask for masks that the assembler does not have in this leaf; the model
    // goes round that by another choice.
    let code = Machine::new(conv, Some(schedule), target, &data);
    let code = code.or_else(|why| match why.contains("has masked loads") {
        true => Machine::new(conv, None, target, &data),
        false => Err(why),
    });
    let code = code.map_err(said)?;
    for parts in 1..=3 {
        let output = code.run(&data, wanted.len(), &[], parts).map_err(said)?;
        compare(&output, &wanted).map_err(|what| said(format!("{parts} part(s): {what}")))?;
    }
    Ok(())
}

/// A run of machine code: of the data, for so many outputs, with free sizes, in so many parts.
type Run<T> = dyn Fn(&Data<T>, usize, &[(&str, usize)], usize) -> Result<Vec<T>, conv_jit::Error>;

/// A convolution as machine code, with its weights.
struct Machine<T>(Box<Run<T>>);

impl<T: Element> Machine<T> {
    fn new(
        conv: &Conv,
        schedule: Option<&Schedule>,
        target: &Target,
        data: &Data<T>,
    ) -> Result<Machine<T>, String> {
        let options = Options {
            schedule: schedule.cloned(),
            target: *target,
            cache: false,
            ..Options::default()
        };
        let types = conv.types();
        let weight = array(&data.weight, types.weight).filter(|_| conv.known().is_none());
        let later = conv.known().is_none_or(|known| known.bias.is_none());
        let bias = data.bias.as_ref().filter(|_| later);
        let step = StepArrays { weight, bias: bias.and_then(|bias| array(bias, types.bias)) };
        let run = quietly(|| {
            let compiled = Compiled::new(conv, options)?;
            with_stored!(types.input, I => with_stored!(types.output, O => {
                runner::<T, I, O>(compiled.pack_arrays(&[step])?)
            }))
        })?;
        run.map(Machine).map_err(|e: conv_jit::Error| e.to_string())
    }

    fn run(
        &self,
        data: &Data<T>,
        outputs: usize,
        sizes: &[(&str, usize)],
        parts: usize,
    ) -> Result<Vec<T>, String> {
        (self.0)(data, outputs, sizes, parts).map_err(|e| e.to_string())
    }
}

/// Runs on numbers as they are stored.
fn runner<T: Element, I: Stored, O: Stored>(
    packed: Packed<I, O>,
) -> Result<Box<Run<T>>, conv_jit::Error> {
    Ok(Box::new(move |data, outputs, sizes, parts| {
        let input = stored::<T, I>(&data.input);
        let residual = data.residual.as_ref().map(|residual| stored::<T, O>(residual));
        let mut output = vec![O::from_f64(f64::NAN); outputs];
        let call = packed.call(&input, &mut output).sizes(sizes);
        let call = call.threads(parts).executor(&CurrentThread);
        let call = match &residual {
            Some(residual) => call.residual(residual),
            None => call,
        };
        call.run()?;
        Ok(output.iter().map(|x| T::from_f64(x.to_f64())).collect())
    }))
}

/// Runs a nest with free sizes, and its machine code, for each of some values of them.
///
/// # Errors
/// The route, the sizes, and what went wrong.
pub fn free(
    conv: &Conv,
    schedule: &Schedule,
    values: &[Vec<(&str, usize)>],
    fill: Fill,
) -> Result<(), String> {
    conv_ir::with_element!(conv.dtype(), T => free_as::<T>(conv, schedule, values, fill))
}

fn free_as<T: Element>(
    conv: &Conv,
    schedule: &Schedule,
    values: &[Vec<(&str, usize)>],
    fill: Fill,
) -> Result<(), String> {
    let judged = interpreted(conv, schedule, fill);
    let nest = passes::compile(conv, &judged, &Target::CRANELIFT, &mut |_, _| {})
        .map_err(|e| e.to_string())?;
    for sizes in values {
        judge_free::<T>(conv, &nest, sizes, fill)?;
    }
    for target in machines_here() {
        for schedule in [schedule, &Schedule::choose(conv, &target).schedule] {
            let said = |what: String| format!("{conv}\n{schedule}\n{target}: {what}");
            free_machine::<T>(conv, schedule, &target, values, fill).map_err(said)?;
        }
    }
    Ok(())
}

fn free_machine<T: Element>(
    conv: &Conv,
    schedule: &Schedule,
    target: &Target,
    values: &[Vec<(&str, usize)>],
    fill: Fill,
) -> Result<(), String> {
    for sizes in values {
        let said = |what: String| format!("{sizes:?}: {what}");
        let known = conv.with_sizes(sizes).map_err(|e| said(e.to_string()))?;
        let data = Data::<T>::new(&known, fill, SEED);
        let wanted = data.reference(&known).map_err(|e| said(e.to_string()))?;
        let code = Machine::new(conv, Some(schedule), target, &data).map_err(said)?;
        compare(&code.run(&data, wanted.len(), sizes, 1).map_err(said)?, &wanted).map_err(said)?;
    }
    Ok(())
}

/// The output of machine code under the model's choice.
///
/// # Errors
/// What went wrong.
pub fn compiled<T: Element>(conv: &Conv, data: &Data<T>) -> Result<Vec<T>, String> {
    let target = conv_jit::host_target();
    let code = Machine::new(conv, None, &target, data)?;
    code.run(data, conv.output_len().unwrap_or(0), &[], 1)
}
