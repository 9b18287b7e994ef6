//! How long a layer takes, as planned and, where it has several steps, step by step.
//!
//! In: a layer and the settings. Out: [`Measured`], with the fields of the JSON line, in its order.
//! The data are fixed pseudo-random numbers in -1 to 1; a warm-up of 50 ms comes first; then the
//! layer runs for the asked time, and at least five times. Both ways take turns, so that they meet
//! the same machine. Compiling is timed apart, once, with nothing cached; packing the weights is
//! not timed.

use std::time::{Duration, Instant};

use conv_ir::program::plan::{Group, Plan};
use conv_ir::{Conv, Program, analysis};
use serde::Serialize;

use super::layers::Layer;
use crate::failure::Failure;
use crate::route::{self, About, How, Ready, Weights};

const WARM_UP: Duration = Duration::from_millis(50);
const MIN_RUNS: usize = 5;
/// Runs of one way before the next has its turn.
const TURN: usize = 4;
const MIN_TURNS: usize = 6;
/// Runs that take longer than this are repeated only once: a route that slow needs no third digit.
const LONG: Duration = Duration::from_secs(2);

/// How to measure.
pub struct Settings {
    /// Who computes, on how many threads.
    pub how: How,
    /// Least time of the measurement.
    pub time: Duration,
    /// All threads' peak in GFLOP/s, where it is known.
    pub peak: Option<f64>,
    /// The same of products of bytes.
    pub peak_of_bytes: Option<f64>,
}

impl Settings {
    /// The peak that a layer could reach.
    pub fn peak_of(&self, layer: &Layer) -> Option<f64> {
        if layer.program.dtype().is_integer() { self.peak_of_bytes } else { self.peak }
    }
}

/// One JSON line.
#[derive(Serialize)]
pub struct Measured {
    /// The layer's name.
    pub layer: String,
    /// Who computed.
    pub route: &'static str,
    /// How many threads.
    pub threads: usize,
    /// The fastest run.
    pub ms_min: f64,
    /// The middle one.
    pub ms_median: f64,
    /// Of the median: the direct algorithm's operations, two per multiply-add, padding counted.
    pub gflops: f64,
    /// Of the median.
    pub pct_peak: Option<f64>,
    /// From the description to code, with nothing cached.
    pub compile_ms: f64,
    /// Weights to the order of their use, once.
    #[serde(skip)]
    pub packing_ms: f64,
    /// Machine code.
    pub code_bytes: usize,
    /// How one step was computed: the schedule, or in which tiles.
    pub schedule: String,
    /// Which of several steps were fused.
    pub plan: String,
    /// Several steps, where some are fused: one after the other.
    pub ms_unfused: Option<f64>,
    /// The unfused time over the planned one; none where that would be noise.
    pub gain: Option<f64>,
}

/// Measures a layer.
pub fn measure(layer: &Layer, settings: &Settings) -> Result<Measured, Failure> {
    let (program, how) = (&layer.program, &settings.how);
    let (inputs, outputs) = (program.inputs().len(), program.outputs().len());
    if inputs + outputs > 2 {
        return Err(Failure::Usage(format!(
            "{}: bench measures one input and one output, but it takes {inputs} and gives {outputs}",
            layer.name
        )));
    }
    let (ready, all) = match program.dtype().is_integer() {
        true => integers(program, settings)?,
        false => floats(program, settings)?,
    };
    let (planned, apart) = (&all[0], all.get(1));
    let median = milliseconds(planned[planned.len() / 2]);
    let facts = program.convs().filter_map(analysis::facts);
    let gflops = facts.map(|facts| facts.flops()).sum::<f64>() / (median * 1e6);
    let schedule = ready.chosen.schedule.as_ref().map(ToString::to_string);
    let tiles = ready.chosen.tiles.map(|tiles| format!("in tiles {tiles}"));
    let plan = ready.chosen.plan.as_ref();
    Ok(Measured {
        layer: layer.name.clone(),
        route: ready.route,
        threads: how.threads,
        ms_min: milliseconds(planned[0]),
        ms_median: median,
        gflops: rounded(gflops, 3),
        pct_peak: settings.peak_of(layer).map(|peak| rounded(100.0 * gflops / peak, 2)),
        compile_ms: milliseconds(ready.compile),
        packing_ms: milliseconds(ready.packing),
        code_bytes: ready.code_bytes,
        schedule: schedule.or(tiles).unwrap_or_default(),
        plan: plan.map_or(String::new(), words),
        ms_unfused: apart.map(|times| milliseconds(times[times.len() / 2])),
        gain: apart.and_then(|apart| gain(planned, apart)).map(|gain| rounded(gain, 4)),
    })
}

/// Times of floats: as planned and, where that is another way, step by step.
fn floats(program: &Program, settings: &Settings) -> Result<(About, Vec<Vec<Duration>>), Failure> {
    let how = &settings.how;
    let weights = program.convs().map(weights).collect::<Result<Vec<_>, _>>()?;
    let input = numbers(program.len_of(0), 1)?;
    let mut output = route::zeros(program.output_shape().iter().product())?;
    let adds = program.single().is_some_and(|conv| conv.spec().residual);
    let added = program.single().and_then(conv_ir::Conv::residual_shape);
    let added = added.map_or(0, |shape| shape.iter().product());
    let residual = adds.then(|| numbers(added, 4)).transpose()?;
    let ready = Ready::new(program, how, weights.clone())?;
    let unfused = unfused(program, how, &ready.about.chosen.plan, weights)?;
    let both: Vec<&Ready<f32>> = [&ready].into_iter().chain(&unfused).collect();
    let all = times(settings.time, both.len(), |at| {
        both[at].run(&input, residual.as_deref(), &mut output)
    })?;
    Ok((ready.about, all))
}

/// Times of integers, on arrays as they are stored.
fn integers(
    program: &Program,
    settings: &Settings,
) -> Result<(About, Vec<Vec<Duration>>), Failure> {
    let (about, mut run) = route::integers_at_work(program, &settings.how)?;
    let all = times(settings.time, 1, |_| run())?;
    Ok((about, all))
}

/// Step by step, where the plan is another one.
fn unfused(
    program: &Program,
    how: &How,
    plan: &Option<Plan>,
    weights: Vec<Weights<f32>>,
) -> Result<Option<Ready<f32>>, Failure> {
    let apart = Plan::unfused(program);
    match plan {
        Some(plan) if plan.groups != apart.groups => {
            let how = How { plan: Some(apart), ..how.clone() };
            Ok(Some(Ready::new(program, &how, weights)?))
        }
        Some(_) | None => Ok(None),
    }
}

/// `1-3 by 8 rows, 4`
fn words(plan: &Plan) -> String {
    let group = |Group { steps, strips }: &Group| match strips {
        Some(strips) => format!("{}-{} by {} rows", steps.start + 1, steps.end, strips.rows),
        None => steps.end.to_string(),
    };
    plan.groups.iter().map(group).collect::<Vec<_>>().join(", ")
}

/// How many times as long the second takes, by the medians of sorted times; none where the middle
/// halves overlap.
fn gain(planned: &[Duration], unfused: &[Duration]) -> Option<f64> {
    let at = |times: &[Duration], quarter: usize| times[(times.len() - 1) * quarter / 4];
    let apart = |low: &[Duration], high: &[Duration]| at(low, 3) < at(high, 1);
    (apart(planned, unfused) || apart(unfused, planned))
        .then(|| at(unfused, 2).as_secs_f64() / at(planned, 2).as_secs_f64())
}

/// Times of single runs of each of `ways`, shortest first. The first run of a turn finds the data
/// of another way in the caches, and does not count.
pub(super) fn times(
    least: Duration,
    ways: usize,
    mut run: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Vec<Vec<Duration>>, Failure> {
    let mut timed = |way: usize| {
        let start = Instant::now();
        run(way).map(|()| start.elapsed())
    };
    let (start, mut one) = (Instant::now(), timed(0)?);
    while start.elapsed() < WARM_UP {
        one = timed(0)?;
    }
    let runs = match ways {
        _ if one > LONG => 2,
        1 => MIN_RUNS,
        _ => MIN_TURNS * TURN,
    };
    let turn = if ways > 1 { TURN.min(runs) } else { 1 };
    let (start, mut times) = (Instant::now(), vec![Vec::new(); ways]);
    while times[0].len() < runs || (start.elapsed() < least && one <= LONG) {
        for (way, times) in times.iter_mut().enumerate() {
            if ways > 1 {
                timed(way)?;
            }
            for _ in 0..turn {
                times.push(timed(way)?);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    Ok(times)
}

pub(super) fn weights(conv: &Conv) -> Result<Weights<f32>, Failure> {
    let bias = conv.spec().bias.then(|| numbers(conv.bias_len(), 3)).transpose()?;
    let weight = numbers(conv.weight_len(), 2)?;
    Ok(Weights { weight, bias })
}

/// Pseudo-random numbers in -1 to 1, the same in every run (xorshift64* with a fixed seed).
pub(super) fn numbers(count: usize, seed: u64) -> Result<Vec<f32>, Failure> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        // The top 24 bits, as many as a float holds.
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut all = route::zeros(count)?;
    all.fill_with(&mut next);
    Ok(all)
}

fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3, 6)
}

/// For JSON: no digit that means nothing.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_the_range_and_repeat() {
        let all = numbers(10_000, 1).expect("little memory");
        assert!(all.iter().all(|x| (-1.0..1.0).contains(x)));
        assert!(
            all.iter().sum::<f32>().abs() < 300.0
                && all.iter().any(|x| *x > 0.9)
                && all.iter().any(|x| *x < -0.9)
        );
        assert_eq!(all[..10], numbers(10, 1).expect("little memory")[..]);
    }

    #[test]
    fn at_least_five_runs_shortest_first() {
        for (ways, runs) in [(1, MIN_RUNS), (2, 24)] {
            let times = times(Duration::ZERO, ways, |_| Ok(())).expect("nothing can fail");
            assert_eq!(times.len(), ways);
            assert!(times.iter().all(|times| times.len() == runs && times.is_sorted()));
        }
    }

    #[test]
    fn noise_is_no_gain() {
        let times = |all: [u64; 5]| all.map(Duration::from_millis).to_vec();
        let (fast, slow) = (times([10, 10, 11, 12, 40]), times([19, 20, 22, 24, 25]));
        assert_eq!(gain(&fast, &slow), Some(2.0));
        assert_eq!(gain(&slow, &fast), Some(0.5));
        assert_eq!(gain(&fast, &times([11, 12, 13, 14, 15])), None);
    }
}
