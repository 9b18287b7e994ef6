//! The table of a benchmark: a line a layer, then the geometric mean of each family and of all.

use crate::table::{Side, lined_up};

use super::measure::Measured;

/// What came out of a layer, and its family.
pub struct Entry {
    /// The layer's family.
    pub family: String,
    /// The numbers.
    pub measured: Measured,
}

/// The whole table.
pub fn table(entries: &[Entry]) -> String {
    let heads = [
        "layer",
        "ms median",
        "ms min",
        "GFLOP/s",
        "% of peak",
        "compile ms",
        "code bytes",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| row(&entry.measured)));
    rows.push(Vec::new());
    rows.push(vec!["geometric means".to_owned()]);
    let families = families(entries);
    if families.len() > 1 {
        rows.extend(families.iter().map(|family| mean_row(family, &of(entries, family))));
    }
    rows.push(mean_row(
        "all",
        &entries.iter().map(|entry| &entry.measured).collect::<Vec<_>>(),
    ));
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
        percent(measured.pct_peak),
        format!("{:.2}", measured.compile_ms),
        measured.code_bytes.to_string(),
    ]
}

fn mean_row(name: &str, measured: &[&Measured]) -> Vec<String> {
    let layers = measured.len();
    let name = format!("  {name} ({layers})");
    let mean = |value: fn(&Measured) -> f64| geometric_mean(measured.iter().map(|m| value(m)));
    let peak = measured
        .iter()
        .map(|m| m.pct_peak)
        .collect::<Option<Vec<f64>>>()
        .map(|all| geometric_mean(all.into_iter()));
    vec![
        name,
        format!("{:.3}", mean(|m| m.ms_median)),
        format!("{:.3}", mean(|m| m.ms_min)),
        format!("{:.1}", mean(|m| m.gflops)),
        percent(peak),
        format!("{:.2}", mean(|m| m.compile_ms)),
    ]
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1}"))
}

/// In the order of their first layers.
fn families(entries: &[Entry]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for entry in entries {
        if !names.contains(&entry.family.as_str()) {
            names.push(&entry.family);
        }
    }
    names
}

fn of<'a>(entries: &'a [Entry], family: &str) -> Vec<&'a Measured> {
    entries
        .iter()
        .filter(|entry| entry.family == family)
        .map(|entry| &entry.measured)
        .collect()
}

fn geometric_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}

#[cfg(test)]
mod tests {
    use super::geometric_mean;

    #[test]
    fn the_mean_of_2_and_8_is_4() {
        assert!((geometric_mean([2.0, 8.0].into_iter()) - 4.0).abs() < 1e-12);
    }
}
