//! `convc tune`: what the model thinks nearly as good as its choice, timed, and the winners kept.
//!
//! ```text
//! table --layers--> convolutions, each once --Schedule::candidates, Algorithm::of--> ways
//!     --a few runs of each--> the best of them and the model's choice, in turns --> FILE.json
//! ```
//!
//! A winner must be better than the model's choice by more than two measurements of one thing
//! differ; else the model's choice is kept, and with it that it was compared.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conv_files::tuning::{self, Machine, Measured};
use conv_ir::program::{Algorithm, Tuned};
use conv_ir::{Conv, Program, Schedule};
use indicatif::{ProgressBar, ProgressStyle};

use super::layers::{Given, Layer};
use super::measure::{numbers, times, weights};
use super::summary::mean;
use crate::describe::GRAMMAR;
use crate::failure::Failure;
use crate::route::{self, How, Ready, Route};
use crate::table::{Side, lined_up};
use crate::{input, output};

/// A way that takes this many times as long as the best one so far is given up after one run.
const GIVEN_UP: f64 = 1.5;
/// Runs of a way that is not given up, at least.
const FEW_RUNS: usize = 4;
/// Ways that are compared with the model's choice in turns.
const FINALISTS: usize = 3;
/// The most of the model's time that a winner may take: two measurements of one thing differ by
/// about as much.
const BETTER: f64 = 0.98;
/// Algorithms that the model prices higher than this many times the cheapest are not tried.
const FAR_OFF: f64 = 1.6;

const NOTES: &str = "\
Each convolution of the table is timed under some tens of schedules and by every algorithm that the accuracy admits and that is not priced far off, on one thread, \
with warm caches. What follows the sums (bias, residual, activation) does not count; a layer that is there twice is measured once.

The file is JSON that people can read: for each machine (version of convc, CPU, target) the layers, each with its accuracy, algorithm, schedule and times. A file that is \
there is gone on with: layers of this table are replaced, others and those of other machines stay. conv-jit takes it by conv_files::tuning::read and Builder::tuning, \
bench by --tuning. What was measured by another version or on another CPU is passed over there, with a note.

Nothing else should run meanwhile.

Examples:
  convc tune 'conv2d ic64 oc64 in 56 kernel 3 pad 1' -o tuned.json
  convc tune --layers public --accuracy fast -o tuned.json
  convc bench --layers public --tuning tuned.json";

/// Measure schedules and algorithms of layers, and keep the winners in a file
#[derive(clap::Args)]
#[command(after_help = format!("{NOTES}\n\n{GRAMMAR}"))]
pub struct Args {
    #[command(flatten)]
    of: Given,
    /// The file of winners
    #[arg(short, long, value_name = "FILE.json")]
    output: PathBuf,
    /// Schedules that are tried of each layer, at most
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..))]
    schedules: u16,
    /// About how long each layer is measured
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::seconds, allow_negative_numbers = true)]
    time: Duration,
}

/// The machine that a file is asked for.
pub fn machine(route: Route) -> Result<Machine, Failure> {
    match route {
        Route::Reference | Route::Interp => {
            Err(Failure::usage("only machine code is tuned: leave the route out"))
        }
        _ => Ok(Machine::new(conv_jit::cpu(), route.target().name)),
    }
}

/// The command.
pub fn tune(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let machine = machine(args.of.route)?;
    if args.of.exactness.accuracy == conv_ir::Accuracy::Unfused {
        return Err(Failure::usage(
            "accuracy unfused has one way to compute: there is nothing to tune",
        ));
    }
    let layers = convolutions(&args.of.layers()?.0);
    output::check(&[&args.output], &args.of.table().into_iter().collect::<Vec<_>>())?;
    let before = args.output.is_file().then(|| input::text(&args.output)).transpose()?;
    let merged = |new: &[Measured]| {
        tuning::merged(before.as_deref(), &machine, new)
            .map_err(|message| Failure::file(&args.output, message))
    };
    // Whatever is wrong with the old file is said before anything is measured.
    merged(&[])?;
    let measured = measured(args, &layers)?;
    output::write(&[(&args.output, merged(&measured)?.as_bytes())])?;
    Ok(out.write_all(text(&layers, &measured).as_bytes())?)
}

/// The convolutions of all layers, each once.
fn convolutions(layers: &[Layer]) -> Vec<(String, Conv)> {
    let mut found: Vec<(String, Conv)> = Vec::new();
    for layer in layers {
        let steps = layer.program.steps();
        for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.conv.has_weight()) {
            let plain = Tuned::new(&step.conv, conv_ir::Accuracy::Exact, (Algorithm::Direct, None));
            let Ok(plain) = plain else { continue };
            if found.iter().all(|(_, conv)| conv != plain.conv()) {
                let name = match steps.len() {
                    1 => layer.name.clone(),
                    _ => format!("{}, step {}", layer.name, at + 1),
                };
                found.push((name, plain.conv().clone()));
            }
        }
    }
    found
}

fn measured(args: &Args, layers: &[(String, Conv)]) -> Result<Vec<Measured>, Failure> {
    let bar = ProgressBar::new(layers.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut all = Vec::new();
    for (name, conv) in layers {
        let told = |tried: usize, of: usize, best: f64| {
            bar.set_message(format!("{name}: {tried} of {of} ways, {:.4} ms", best * 1e3));
        };
        all.push(Search::new(args, conv)?.winner(&told)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all)
}

/// How a layer may be computed.
type Way = (Algorithm, Option<Schedule>);

/// What all ways of a layer have in common.
struct Search<'a> {
    args: &'a Args,
    conv: &'a Conv,
    program: Program,
    weights: route::Weights<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl<'a> Search<'a> {
    fn new(args: &'a Args, conv: &'a Conv) -> Result<Search<'a>, Failure> {
        let program = Program::from(conv.clone());
        let (weights, input) = (weights(conv)?, numbers(program.len_of(0), 1)?);
        let output = route::zeros(program.len_of(1))?;
        Ok(Search { args, conv, program, weights, input, output })
    }

    /// The model's choice comes first.
    fn ways(&self) -> Vec<Way> {
        let accuracy = self.args.of.exactness.accuracy;
        let target = self.args.of.route.target();
        let chosen = Algorithm::choose(self.conv, accuracy);
        let schedules = Schedule::candidates(self.conv, &target, self.args.schedules.into());
        let direct = schedules.into_iter().map(|schedule| (Algorithm::Direct, Some(schedule)));
        let algorithms = Algorithm::of(self.conv, accuracy);
        let price = |algorithm: &Algorithm| algorithm.price(self.conv).unwrap_or(0.0);
        let priced = algorithms.iter().map(price).filter(|price| *price > 0.0);
        let most = FAR_OFF * priced.fold(f64::INFINITY, f64::min);
        let near = |algorithm: &Algorithm| {
            *algorithm == chosen || *algorithm != Algorithm::Direct && price(algorithm) <= most
        };
        let others = algorithms.into_iter().filter(near);
        let others = others.filter(|algorithm| *algorithm != Algorithm::Direct);
        let mut all: Vec<Way> = direct.chain(others.map(|algorithm| (algorithm, None))).collect();
        if let Some(at) = all.iter().position(|way| way.0 == chosen) {
            all[..=at].rotate_right(1);
        }
        all
    }

    fn ready(&self, (algorithm, schedule): &Way) -> Result<Ready<f32>, Failure> {
        let how = How {
            route: self.args.of.route,
            threads: 1,
            accuracy: self.args.of.exactness.accuracy,
            schedule: schedule.clone(),
            algorithm: schedule.is_none().then_some(*algorithm),
            ..How::default()
        };
        Ready::new(&self.program, &how, vec![self.weights.clone()])
    }

    fn winner(mut self, told: &dyn Fn(usize, usize, f64)) -> Result<Measured, Failure> {
        let ways = self.ways();
        let each = self.args.time.mul_f64(0.6) / ways.len().max(1) as u32;
        let mut tried: Vec<(f64, usize)> = Vec::new();
        let mut best = f64::INFINITY;
        for (at, way) in ways.iter().enumerate() {
            let ready = match self.ready(way) {
                Ok(ready) => ready,
                // The model's choice must be there.
                Err(failure) if at == 0 => return Err(failure),
                Err(_) => continue,
            };
            let seconds = self.sample(&ready, each, best)?;
            best = best.min(seconds);
            tried.push((seconds, at));
            told(at + 1, ways.len(), best);
        }
        tried.sort_by(|a, b| a.0.total_cmp(&b.0));
        let finalists = tried.iter().map(|way| way.1).filter(|at| *at != 0).take(FINALISTS);
        let last: Vec<usize> = [0].into_iter().chain(finalists).collect();
        let ready: Vec<_> =
            last.iter().map(|at| self.ready(&ways[*at])).collect::<Result<_, _>>()?;
        let time = self.args.time.mul_f64(0.4) / ready.len() as u32;
        let Search { input, output, .. } = &mut self;
        let all = times(time, ready.len(), |at| ready[at].run(input, None, output))?;
        let median = |times: &Vec<Duration>| times[times.len() / 2].as_secs_f64();
        let medians: Vec<f64> = all.iter().map(median).collect();
        let fastest = (0..medians.len()).min_by(|a, b| medians[*a].total_cmp(&medians[*b]));
        let at = fastest.filter(|at| medians[*at] < BETTER * medians[0]).unwrap_or(0);
        let tuned = Tuned::new(self.conv, self.args.of.exactness.accuracy, ways[last[at]].clone())?;
        Ok(Measured { tuned, ms: medians[at] * 1e3, model_ms: medians[0] * 1e3 })
    }

    /// The least seconds of some runs, of one where that is too slow.
    fn sample(&mut self, ready: &Ready<f32>, time: Duration, best: f64) -> Result<f64, Failure> {
        let mut run = || {
            let start = Instant::now();
            ready.run(&self.input, None, &mut self.output).map(|()| start.elapsed().as_secs_f64())
        };
        // The first run finds nothing in the caches, and pages that nobody has touched.
        let (first, start) = (run()?, Instant::now());
        let mut least = run()?;
        if least > GIVEN_UP * best {
            return Ok(least.min(first));
        }
        let mut runs = 1;
        while runs < FEW_RUNS || start.elapsed() < time {
            least = least.min(run()?);
            runs += 1;
        }
        Ok(least)
    }
}

/// A line a layer, and the mean.
fn text(layers: &[(String, Conv)], measured: &[Measured]) -> String {
    let heads = ["layer", "model ms", "best ms", "gain", "algorithm", "schedule"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for ((name, _), Measured { tuned, ms, model_ms }) in layers.iter().zip(measured) {
        let schedule = tuned.schedule().map_or(String::new(), ToString::to_string);
        let (model, best) = (format!("{model_ms:.4}"), format!("{ms:.4}"));
        let gain = format!("{:.3}", model_ms / ms);
        rows.push(vec![name.clone(), model, best, gain, tuned.algorithm().to_string(), schedule]);
    }
    let mut sides = [Side::Left; 6];
    sides[1..4].fill(Side::Right);
    let gains = measured.iter().map(|measured| Some(measured.model_ms / measured.ms));
    let mean = mean(gains).map_or(String::new(), |mean| {
        format!(
            "\ntuned layers take 1/{mean:.3} of the time of the model's choices (geometric mean)\n"
        )
    });
    lined_up(&sides, &rows) + &mean
}

/// Tells what of a file is passed over.
pub fn note(path: &Path, notes: &[String]) {
    for note in notes {
        // Nobody is left to tell where stderr is closed.
        let _ = writeln!(std::io::stderr(), "note: {}: {note}", path.display());
    }
}
