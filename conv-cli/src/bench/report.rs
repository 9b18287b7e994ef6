//! The table of a benchmark: a line a layer, then the geometric mean of each family and of all.

use crate::table::{Side, lined_up};

use super::measure::Measured;
use super::rank::Row;
use super::summary::{families, mean, of_family};

const HEADS: [&str; 10] = [
    "layer",
    "ms median",
    "ms min",
    "GFLOP/s",
    "% of peak",
    "ms unfused",
    "gain",
    "compile ms",
    "code bytes",
    "plan",
];

/// The whole table, without the columns in which no layer has anything.
pub fn table(layers: &[Row]) -> String {
    let mut rows: Vec<_> = layers.iter().map(|layer| row(&layer.measured)).collect();
    let empty = |column: &usize| rows.iter().all(|row| matches!(row[*column].as_str(), "" | "-"));
    let empty: Vec<usize> = (1..HEADS.len()).filter(empty).collect();
    rows.insert(0, HEADS.map(str::to_owned).to_vec());
    rows.push(Vec::new());
    rows.push(vec!["geometric means".to_owned()]);
    let families = families(layers);
    if families.len() > 1 {
        let means = |family: &&str| mean_row(family, &of_family(layers, family));
        rows.extend(families.iter().map(means));
    }
    rows.push(mean_row("all", &layers.iter().collect::<Vec<_>>()));
    let mut sides = vec![Side::Right; HEADS.len()];
    (sides[0], sides[HEADS.len() - 1]) = (Side::Left, Side::Left);
    let kept = |row: Vec<String>| -> Vec<String> {
        let cells = row.into_iter().enumerate().filter(|(column, _)| !empty.contains(column));
        cells.map(|(_, cell)| cell).collect()
    };
    let sides = sides.into_iter().enumerate().filter(|(column, _)| !empty.contains(column));
    let sides: Vec<Side> = sides.map(|(_, side)| side).collect();
    lined_up(&sides, &rows.into_iter().map(kept).collect::<Vec<_>>())
}

fn row(measured: &Measured) -> Vec<String> {
    vec![
        measured.layer.clone(),
        format!("{:.3}", measured.ms_median),
        format!("{:.3}", measured.ms_min),
        format!("{:.1}", measured.gflops),
        number(measured.pct_peak, 1),
        number(measured.ms_unfused, 3),
        number(measured.gain, 3),
        format!("{:.2}", measured.compile_ms),
        measured.code_bytes.to_string(),
        measured.plan.clone(),
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
        number(mean(|m| m.ms_unfused), 3),
        number(mean(|m| m.gain), 3),
        number(mean(|m| Some(m.compile_ms)), 2),
    ]
}

/// With a dash for what is not known.
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}
