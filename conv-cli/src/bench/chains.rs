//! Chains: the planned code against the same steps one after the other, in turns, so that both meet
//! the same machine.
//!
//! The file has a chain a line, `name: step; step; ..`, in the text form; lines that begin with `#`
//! are skipped.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use conv_ir::program::plan::Plan;
use conv_ir::{Program, analysis};
use conv_jit::{Compiled, Options, Packed, StepWeights};
use serde::Serialize;

use super::layers;
use super::measure::{numbers, rounded, weights};
use crate::failure::Failure;
use crate::route::{self, Weights};
use crate::table::{Side, lined_up};

/// One JSON line.
#[derive(Serialize)]
pub struct MeasuredChain {
    chain: String,
    threads: usize,
    /// Medians.
    ms_planned: f64,
    ms_unfused: f64,
    /// The unfused time over the planned one; none where that would be noise.
    gain: Option<f64>,
    gflops: f64,
    pub pct_peak: Option<f64>,
    compile_ms: f64,
    plan: String,
}

/// Reads a file of chains.
pub fn read(path: &Path) -> Result<Vec<(String, Program)>, Failure> {
    let text = layers::text(path, &[("blocks", include_str!("../../layers/blocks.txt"))])?;
    let mut chains = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: String| Failure::file(path, format!("line {}: {why}", number + 1));
        let (name, chain) = line
            .split_once(':')
            .ok_or_else(|| wrong("a name and a colon come before the chain".to_owned()))?;
        let chain = chain.parse().map_err(|error: conv_ir::Error| wrong(error.to_string()))?;
        chains.push((name.trim().to_owned(), chain));
    }
    match chains.is_empty() {
        true => Err(Failure::file(path, "holds no chains")),
        false => Ok(chains),
    }
}

/// Measures a chain for at least so long.
pub fn measure(
    (name, chain): &(String, Program),
    threads: usize,
    least: Duration,
    peak: Option<f64>,
) -> Result<MeasuredChain, Failure> {
    let all: Vec<Weights<f32>> = chain.convs().map(weights).collect::<Result<_, _>>()?;
    let input = numbers(chain.len_of(0), 1)?;
    let mut output = route::zeros(chain.output_shape().iter().product())?;
    let make = |plan| -> Result<_, Failure> {
        let start = Instant::now();
        let options = Options { plan, threads, cache: false, ..Options::default() };
        let compiled = Compiled::new(chain, options)?;
        let taken = start.elapsed();
        let steps: Vec<StepWeights<'_, f32>> = all
            .iter()
            .map(|w| StepWeights { weight: &w.weight, bias: w.bias.as_deref() })
            .collect();
        Ok((compiled.pack_steps(&steps)?, taken))
    };
    let (planned, compile) = make(None)?;
    let (unfused, _) = make(Some(Plan::unfused(chain)))?;
    let mut both = [Vec::new(), Vec::new()];
    let timed = |packed: &Packed<f32>, output: &mut Vec<f32>| -> Result<Duration, Failure> {
        let start = Instant::now();
        packed.run(&input, output)?;
        Ok(start.elapsed())
    };
    // Turns of several runs, of which the first finds the other's data in the caches and does not
    // count.
    let (start, mut turns) = (Instant::now(), 0);
    while turns < 6 || start.elapsed() < least {
        for (packed, times) in [&planned, &unfused].into_iter().zip(&mut both) {
            timed(packed, &mut output)?;
            for _ in 0..4 {
                let time = timed(packed, &mut output)?;
                if turns > 0 {
                    times.push(time);
                }
            }
        }
        turns += 1;
    }
    both.iter_mut().for_each(|times| times.sort());
    let are_same = planned.compiled().plan().groups == unfused.compiled().plan().groups;
    let gain = if are_same { None } else { gain(&both) };
    let [ms_planned, ms_unfused] = both.map(|times| times[times.len() / 2].as_secs_f64() * 1e3);
    let flops: f64 = chain.convs().filter_map(analysis::facts).map(|facts| facts.flops()).sum();
    let gflops = flops / (ms_planned * 1e6);
    let compiled = planned.compiled();
    let groups = compiled.plan().groups.iter().map(|group| match &group.strips {
        Some(strips) => {
            format!("{}-{} by {} rows", group.steps.start + 1, group.steps.end, strips.rows)
        }
        None => format!("{}", group.steps.end),
    });
    Ok(MeasuredChain {
        chain: name.clone(),
        threads,
        ms_planned: rounded(ms_planned, 6),
        ms_unfused: rounded(ms_unfused, 6),
        gain: gain.map(|gain| rounded(gain, 4)),
        gflops: rounded(gflops, 3),
        pct_peak: peak.map(|peak| rounded(100.0 * gflops / peak, 2)),
        compile_ms: rounded(compile.as_secs_f64() * 1e3, 3),
        plan: groups.collect::<Vec<_>>().join(", "),
    })
}

/// How many times as long the second takes, by the medians of sorted times; none where the middle
/// halves overlap.
fn gain([planned, unfused]: &[Vec<Duration>; 2]) -> Option<f64> {
    let at = |times: &[Duration], quarter: usize| times[(times.len() - 1) * quarter / 4];
    let apart = |low: &[Duration], high: &[Duration]| at(low, 3) < at(high, 1);
    (apart(planned, unfused) || apart(unfused, planned))
        .then(|| at(unfused, 2).as_secs_f64() / at(planned, 2).as_secs_f64())
}

/// A JSON line.
pub fn print_json(measured: &MeasuredChain, out: &mut dyn Write) -> Result<(), Failure> {
    let line = serde_json::to_string(measured).map_err(std::io::Error::from)?;
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// All of them, and the geometric mean of the gains.
pub fn table(all: &[MeasuredChain]) -> String {
    let heads =
        ["chain", "ms planned", "ms unfused", "gain", "GFLOP/s", "% of peak", "compile ms", "plan"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|m| {
        vec![
            m.chain.clone(),
            format!("{:.4}", m.ms_planned),
            format!("{:.4}", m.ms_unfused),
            m.gain.map_or("-".to_owned(), |gain| format!("{gain:.3}")),
            format!("{:.1}", m.gflops),
            m.pct_peak.map_or("-".to_owned(), |pct| format!("{pct:.1}")),
            format!("{:.1}", m.compile_ms),
            m.plan.clone(),
        ]
    }));
    let gains: Vec<f64> = all.iter().filter_map(|m| m.gain).collect();
    let logs: f64 = gains.iter().map(|gain| gain.ln()).sum();
    let mean = match gains.len() {
        0 => "-".to_owned(),
        some => format!("{:.3}", (logs / some as f64).exp()),
    };
    rows.push(vec![
        format!("geometric mean of {}", gains.len()),
        String::new(),
        String::new(),
        mean,
    ]);
    let mut sides = [Side::Right; 8];
    (sides[0], sides[7]) = (Side::Left, Side::Left);
    lined_up(&sides, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_no_gain() {
        let times = |all: [u64; 5]| all.map(Duration::from_millis).to_vec();
        let (fast, slow) = (times([10, 10, 11, 12, 40]), times([19, 20, 22, 24, 25]));
        assert_eq!(gain(&[fast.clone(), slow.clone()]), Some(2.0));
        assert_eq!(gain(&[slow, fast.clone()]), Some(0.5));
        assert_eq!(gain(&[fast, times([11, 12, 13, 14, 15])]), None);
    }
}
