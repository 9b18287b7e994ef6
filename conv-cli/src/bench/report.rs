//! The table of a benchmark: a line a layer, then the geometric mean of each family and of all.

use crate::table::{Side, lined_up};

use super::measure::Measured;
use super::rank::Row;
use super::summary::{families, mean, of_family};

/// The whole table.
pub fn table(layers: &[Row]) -> String {
    let heads =
        ["layer", "ms median", "ms min", "GFLOP/s", "% of peak", "compile ms", "code bytes"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(layers.iter().map(|layer| row(&layer.measured)));
    rows.push(Vec::new());
    rows.push(vec!["geometric means".to_owned()]);
    let families = families(layers);
    if families.len() > 1 {
        let means = |family: &&str| mean_row(family, &of_family(layers, family));
        rows.extend(families.iter().map(means));
    }
    rows.push(mean_row("all", &layers.iter().collect::<Vec<_>>()));
    let mut sides = [Side::Right; 7];
    sides[0] = Side::Left;
    lined_up(&sides, &rows)
}

fn row(measured: &Measured) -> Vec<String> {
    vec![
        measured.layer.clone(),
        format!("{:.3}", measured.ms_median),
        format!("{:.3}", measured.ms_min),
        format!("{:.1}", measured.gflops),
        number(measured.pct_peak, 1),
        format!("{:.2}", measured.compile_ms),
        measured.code_bytes.to_string(),
    ]
}

fn mean_row(name: &str, layers: &[&Row]) -> Vec<String> {
    let mean = |value: fn(&Measured) -> Option<f64>| {
        mean(layers.iter().map(|layer| value(&layer.measured)))
    };
    vec![
        format!("  {name} ({})", layers.len()),
        number(mean(|m| Some(m.ms_median)), 3),
        number(mean(|m| Some(m.ms_min)), 3),
        number(mean(|m| Some(m.gflops)), 1),
        number(mean(|m| m.pct_peak), 1),
        number(mean(|m| Some(m.compile_ms)), 2),
    ]
}

/// With a dash for what is not known.
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}
