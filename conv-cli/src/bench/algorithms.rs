//! Every algorithm of each layer: what the model expects of it, and what it takes.
//!
//! ```text
//! layer    algorithm    expected ms  ms min  packing ms
//! dense    F(6x4, 3x3)       0.2894  0.3301        1.70
//!        * F(4x4, 3x3)       0.2810  0.3368        1.52
//!          direct            0.8480  0.8480        0.02
//!   the choice takes 1.02 times as long as F(6x4, 3x3)
//! ```

use std::io::Write;

use conv_ir::Conv;
use conv_ir::program::Algorithm;

use super::layers::Layer;
use super::measure::{Settings, measure};
use super::summary::mean;
use crate::failure::Failure;
use crate::route::How;
use crate::table::{Side, lined_up};

/// Each algorithm has so many turns: what else the machine does meets some of them.
const ROUNDS: u32 = 2;

/// How one algorithm did.
struct Timed {
    algorithm: Algorithm,
    /// By the model, relative to the direct sums' time.
    expected: Option<f64>,
    ms: f64,
    packing: f64,
}

/// Times all of them, layer by layer, and says how good the model's choices are.
pub fn print(layers: &[Layer], settings: &Settings, out: &mut dyn Write) -> Result<(), Failure> {
    if settings.how.accuracy.admits().is_none() {
        let accuracy = settings.how.accuracy;
        return Err(Failure::Usage(format!(
            "there is one algorithm under accuracy {accuracy}: ask for --accuracy fast or \
             within(X)"
        )));
    }
    let mut losses = Vec::new();
    for layer in layers {
        let Some(conv) = layer.program.single() else { continue };
        let algorithms = Algorithm::of(conv, settings.how.accuracy);
        if algorithms.len() > 1 {
            let (text, loss) = judged(layer, conv, &algorithms, settings)?;
            out.write_all(text.as_bytes())?;
            out.flush()?;
            losses.push((loss, layer.name.as_str()));
        }
    }
    let mean = mean(losses.iter().map(|(loss, _)| Some(*loss)));
    let worst = losses.iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(mean), Some((worst, name))) = (mean, worst) else {
        return Ok(writeln!(out, "no layer has more than one algorithm")?);
    };
    let count = losses.len();
    Ok(writeln!(
        out,
        "choices take {mean:.3} times as long as the best algorithms (geometric mean of {count}), \
         {worst:.3} at worst: {name}"
    )?)
}

/// A layer's table, and how many times as long the model's choice takes as the best.
fn judged(
    layer: &Layer,
    conv: &Conv,
    algorithms: &[Algorithm],
    settings: &Settings,
) -> Result<(String, f64), Failure> {
    let mut timed: Vec<Timed> = Vec::new();
    for round in 0..ROUNDS {
        for (at, &algorithm) in algorithms.iter().enumerate() {
            let how = How { algorithm: Some(algorithm), ..settings.how.clone() };
            let time = settings.time / ROUNDS;
            let measured = measure(layer, &Settings { how, time, ..*settings })?;
            let (ms, packing) = (measured.ms_min, measured.packing_ms);
            match round {
                0 => timed.push(Timed { algorithm, expected: None, ms, packing }),
                _ => timed[at].ms = timed[at].ms.min(ms),
            }
        }
    }
    let direct = timed.first().map_or(0.0, |direct| direct.ms);
    for timed in &mut timed {
        let price = timed.algorithm.price(conv).zip(Algorithm::Direct.price(conv));
        timed.expected = price.map(|(price, of_direct)| direct * price / of_direct);
    }
    let chosen = Algorithm::choose(conv, settings.how.accuracy);
    timed.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let heads = ["layer", "", "algorithm", "expected ms", "ms min", "packing ms"]
        .map(str::to_owned)
        .to_vec();
    let mut rows = vec![heads];
    for Timed { algorithm, expected, ms, packing } in &timed {
        let name = if rows.len() == 1 { layer.name.clone() } else { String::new() };
        let star = if *algorithm == chosen { "*" } else { "" };
        let expected = expected.map_or("-".to_owned(), |ms| format!("{ms:.4}"));
        let (ms, packing) = (format!("{ms:.4}"), format!("{packing:.2}"));
        rows.push(vec![name, star.to_owned(), algorithm.to_string(), expected, ms, packing]);
    }
    let mut sides = [Side::Right; 6];
    sides[..3].fill(Side::Left);
    let best = &timed[0];
    let of_chosen = timed.iter().find(|timed| timed.algorithm == chosen);
    let loss = of_chosen.map_or(1.0, |timed| timed.ms / best.ms);
    let words = format!("  the choice takes {loss:.2} times as long as {}\n\n", best.algorithm);
    Ok((lined_up(&sides, &rows) + &words, loss))
}
