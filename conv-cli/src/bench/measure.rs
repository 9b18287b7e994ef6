//! How long a layer takes.
//!
//! In: a layer and the settings. Out: [`Measured`], with the fields of the JSON line, in its order.
//! The data are fixed pseudo-random numbers in -1 to 1; a warm-up of 50 ms comes first; then the
//! layer runs for the asked time, and at least five times. Compiling is timed apart, once, with
//! nothing cached; packing the weights is not timed.

use std::time::{Duration, Instant};

use conv_ir::{Conv, analysis};
use serde::Serialize;

use super::layers::Layer;
use crate::failure::Failure;
use crate::route::{self, Ready, Route, Weights};

const WARM_UP: Duration = Duration::from_millis(50);
const MIN_RUNS: usize = 5;
/// Runs that take longer than this are repeated only once: a route that slow needs no third digit.
const LONG: Duration = Duration::from_secs(2);

/// How to measure.
pub struct Settings {
    /// Who computes.
    pub route: Route,
    /// How many threads share the work.
    pub threads: usize,
    /// Least time of the measurement.
    pub time: Duration,
    /// All threads' peak in GFLOP/s, where it is known.
    pub peak: Option<f64>,
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
    /// Machine code.
    pub code_bytes: usize,
    /// How it was computed.
    pub schedule: String,
}

/// Measures a layer.
pub fn measure(layer: &Layer, settings: &Settings) -> Result<Measured, Failure> {
    let conv = &layer.conv;
    let weights = weights(conv)?;
    let input = numbers(conv.input_len().unwrap_or(0), 1)?;
    let mut output = route::zeros(conv.output_len().unwrap_or(0))?;
    let ready = Ready::new(conv, settings.route, settings.threads, &weights)?;
    let times = times(settings.time, || ready.run(&input, None, &mut output))?;
    let median = milliseconds(times[times.len() / 2]);
    let gflops = analysis::facts(conv).map_or(0.0, |facts| facts.flops()) / (median * 1e6);
    Ok(Measured {
        layer: layer.name.clone(),
        route: ready.route,
        threads: settings.threads,
        ms_min: milliseconds(times[0]),
        ms_median: median,
        gflops: rounded(gflops, 3),
        pct_peak: settings.peak.map(|peak| rounded(100.0 * gflops / peak, 2)),
        compile_ms: milliseconds(ready.compile),
        code_bytes: ready.code_bytes,
        schedule: ready.schedule.as_ref().map_or(String::new(), ToString::to_string),
    })
}

/// Times of single runs, shortest first.
fn times(
    least: Duration,
    mut run: impl FnMut() -> Result<(), Failure>,
) -> Result<Vec<Duration>, Failure> {
    let mut timed = || {
        let start = Instant::now();
        run().map(|()| start.elapsed())
    };
    let (start, mut one) = (Instant::now(), timed()?);
    while start.elapsed() < WARM_UP {
        one = timed()?;
    }
    let runs = if one > LONG { 2 } else { MIN_RUNS };
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < runs || (start.elapsed() < least && one <= LONG) {
        times.push(timed()?);
    }
    times.sort();
    Ok(times)
}

pub fn weights(conv: &Conv) -> Result<Weights<f32>, Failure> {
    let bias = conv.spec().bias.then(|| numbers(conv.bias_len(), 3)).transpose()?;
    let weight = numbers(conv.weight_len(), 2)?;
    Ok(Weights { weight, bias })
}

/// Pseudo-random numbers in -1 to 1, the same in every run (xorshift64* with a fixed seed).
pub fn numbers(count: usize, seed: u64) -> Result<Vec<f32>, Failure> {
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
        let times = times(Duration::ZERO, || Ok(())).expect("nothing can fail");
        assert!(times.len() == MIN_RUNS && times.is_sorted());
    }
}
