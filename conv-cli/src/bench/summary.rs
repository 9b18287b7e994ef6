//! A comparison in a few numbers: geometric means, the worst row, each peer by itself, and what a
//! reader must know.
//!
//! In: rows. Out: [`Summary`]. Means of ratios are geometric, so that twice as fast and half as
//! fast cancel. A mean is over the rows that have the number; a layer that no ranked peer can do
//! counts for none.

use super::peers::{Peers, Status};
use super::rank::{Rival, Row, Standing};

/// Cores that other processes may take before a result is doubted.
const MAX_OTHER_CPU: f64 = 0.1;
const BUSY: &str = "ranked results measured while other processes took more than 0.1 cores";
/// How far a peer's core may be from the peak that we measured.
const MAX_DRIFT: f64 = 0.1;
const DRIFTED: &str =
    "ranked results from a core whose multiply-adds were more than 10 % off this run's peak";

const NO_PEAK: &str = "no peak was measured, so who saves multiplications is known by name only";

/// Geometric means of some rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Means {
    /// How many rows.
    pub rows: usize,
    /// Percent of the peak.
    pub pct_peak: Option<f64>,
    /// The same, counting only multiply-adds inside the image.
    pub pct_inside: Option<f64>,
    /// Best peer's time over ours.
    pub best: Option<f64>,
    /// Best direct peer's time over ours.
    pub direct: Option<f64>,
}

impl Means {
    fn of(rows: &[&Row]) -> Means {
        Means {
            rows: rows.len(),
            pct_peak: mean(rows.iter().map(|row| row.measured.pct_peak)),
            pct_inside: mean(rows.iter().map(|row| row.pct_inside)),
            best: mean(rows.iter().map(|row| row.best()?.ratio)),
            direct: mean(rows.iter().map(|row| row.best_direct()?.ratio)),
        }
    }
}

/// A peer by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerMean {
    /// Its name.
    pub peer: String,
    /// Its version, as the files say.
    pub version: Option<String>,
    /// Whether it does the same job.
    pub is_ranked: bool,
    /// On how many rows its result is right.
    pub ok: usize,
    /// On how many of them it saved multiplications.
    pub saving: usize,
    /// Of the right results: its time over ours.
    pub ratio: Option<f64>,
    /// What a call costs in any case.
    pub overhead_ms: Option<f64>,
    /// The other rows: how it fared, and how often.
    pub failed: Vec<(Status, usize)>,
}

/// The comparison.
pub struct Summary {
    /// In order of their first layers.
    pub families: Vec<(String, Means)>,
    /// Of all rows.
    pub all: Means,
    /// The layer on which we are slowest against a direct peer, by ratio.
    pub worst: Option<(String, Rival)>,
    /// On how many rows a direct peer is faster.
    pub slower: usize,
    /// On how many rows there is a direct peer.
    pub with_direct: usize,
    /// Fastest first; those that do another job last.
    pub peers: Vec<PeerMean>,
}

impl Summary {
    /// Sums up.
    pub fn new(rows: &[Row]) -> Summary {
        let direct = || rows.iter().filter_map(|row| Some((row, row.best_direct()?)));
        let worst = direct().min_by(|(_, a), (_, b)| ratio(a).total_cmp(&ratio(b)));
        let family = |name: &str| (name.to_owned(), Means::of(&of_family(rows, name)));
        Summary {
            families: families(rows).into_iter().map(family).collect(),
            all: Means::of(&rows.iter().collect::<Vec<_>>()),
            worst: worst.map(|(row, rival)| (row.measured.layer.clone(), rival.clone())),
            slower: direct().filter(|(_, rival)| ratio(rival) < 1.0).count(),
            with_direct: direct().count(),
            peers: peer_means(rows),
        }
    }
}

fn ratio(rival: &Rival) -> f64 {
    rival.ratio.unwrap_or(f64::INFINITY)
}

fn peer_means(rows: &[Row]) -> Vec<PeerMean> {
    let mut names: Vec<&str> =
        rows.iter().flat_map(|row| &row.rivals).map(|rival| &rival.line.peer[..]).collect();
    names.sort();
    names.dedup();
    let mut means: Vec<PeerMean> = names.into_iter().map(|name| peer_mean(rows, name)).collect();
    let place = |mean: &PeerMean| mean.ratio.unwrap_or(f64::INFINITY);
    means.sort_by(|a, b| b.is_ranked.cmp(&a.is_ranked).then(place(a).total_cmp(&place(b))));
    means
}

fn peer_mean(rows: &[Row], name: &str) -> PeerMean {
    let all: Vec<&Rival> =
        rows.iter().flat_map(|row| &row.rivals).filter(|rival| rival.line.peer == name).collect();
    let ok: Vec<&Rival> =
        all.iter().copied().filter(|rival| rival.line.status == Status::Ok).collect();
    let mut failed: Vec<(Status, usize)> = Vec::new();
    for rival in &all {
        match (rival.standing, failed.iter_mut().find(|(status, _)| *status == rival.line.status)) {
            (Standing::Failed(_), Some((_, count))) => *count += 1,
            (Standing::Failed(status), None) => failed.push((status, 1)),
            (Standing::Direct | Standing::Saving | Standing::OtherJob, _) => {}
        }
    }
    failed.sort();
    PeerMean {
        peer: name.to_owned(),
        version: all.iter().rev().find_map(|rival| rival.line.version.clone()),
        is_ranked: all.iter().all(|rival| rival.standing != Standing::OtherJob),
        ok: ok.len(),
        saving: ok.iter().filter(|rival| rival.standing == Standing::Saving).count(),
        ratio: mean(ok.iter().map(|rival| rival.ratio)),
        overhead_ms: all.iter().rev().find_map(|rival| rival.line.overhead_ms),
        failed,
    }
}

/// What a reader must know about these results. `unknown` are the files' layers that the table does
/// not have; `core` is one core's peak.
pub fn remarks(rows: &[Row], peers: &Peers, unknown: &[&str], core: Option<f64>) -> Vec<String> {
    let ranked = || rows.iter().flat_map(|row| &row.rivals).filter(|rival| rival.is_ranked());
    let busy =
        ranked().filter(|rival| rival.line.other_cpu.is_some_and(|cores| cores > MAX_OTHER_CPU));
    let drift = |rate: f64| core.is_some_and(|core| (rate / core - 1.0).abs() > MAX_DRIFT);
    let drifted = ranked().filter(|rival| rival.line.probes.iter().any(|&rate| drift(rate)));
    let without = rows.iter().filter(|row| row.best().is_none());
    let counted = [
        ("layers not in the table, left out", unknown.len()),
        ("results of other numbers of threads, left out", peers.other_threads),
        ("rows without a ranked peer", without.count()),
        (BUSY, busy.count()),
        (DRIFTED, drifted.count()),
    ];
    let found = counted.into_iter().filter(|(_, count)| *count > 0);
    let mut remarks: Vec<String> = found.map(|(what, count)| format!("{what}: {count}")).collect();
    if core.is_none() {
        remarks.push(NO_PEAK.to_owned());
    }
    remarks
}

/// In the order of their first layers.
pub fn families(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.family.as_str()) {
            names.push(&row.family);
        }
    }
    names
}

/// The rows of a family.
pub fn of_family<'a>(rows: &'a [Row], family: &str) -> Vec<&'a Row> {
    rows.iter().filter(|row| row.family == family).collect()
}

/// Geometric, of the numbers that are there; `None` where none is.
pub fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let logarithms: Vec<f64> = values.flatten().map(f64::ln).collect();
    let count = logarithms.len() as f64;
    (count > 0.0).then(|| (logarithms.iter().sum::<f64>() / count).exp())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value / expected - 1.0).abs() < 1e-12)
    }

    #[test]
    fn the_mean_of_2_and_8_is_4_and_a_gap_does_not_count() {
        assert!(near(mean([Some(2.0), None, Some(8.0)].into_iter()), 4.0));
        assert_eq!(mean([None].into_iter()), None);
    }

    #[test]
    fn means_are_over_the_rows_that_have_a_peer() {
        let summary = Summary::new(&samples::rows());
        let (name, dense) = &summary.families[0];
        assert_eq!((name.as_str(), dense.rows), ("dense3x3", 2));
        assert!(near(dense.pct_peak, (80.0f64 * 70.0).sqrt()), "{dense:?}");
        // ncnn is best on both, and direct on neither.
        assert!(near(dense.best, (1.2f64 / 2.89 * 0.5 / 0.825).sqrt()), "{dense:?}");
        assert!(near(dense.direct, (2.6f64 / 2.89 * 0.99 / 0.825).sqrt()), "{dense:?}");
        let (_, volume) = &summary.families[3];
        assert_eq!((volume.best, volume.direct), (None, None));
        assert_eq!((summary.all.rows, summary.with_direct, summary.slower), (5, 4, 2));
    }

    #[test]
    fn the_worst_row_is_the_smallest_ratio() {
        let (layer, rival) = Summary::new(&samples::rows()).worst.expect("there is a direct peer");
        assert_eq!((layer.as_str(), rival.line.peer.as_str()), ("wide", "onednn-nchw"));
        assert!(near(rival.ratio, 0.5 / 0.892));
    }

    #[test]
    fn each_peer_is_summed_up() {
        let summary = Summary::new(&samples::rows());
        let names: Vec<&str> = summary.peers.iter().map(|peer| peer.peer.as_str()).collect();
        assert_eq!(names, ["onednn-nchw", "ncnn", "mnn", "jax<&>", "onednn-blocked"]);
        let mnn = &summary.peers[2];
        assert_eq!((mnn.ok, mnn.saving, mnn.is_ranked), (1, 1, true));
        let failed = [(Status::Loose, 1), (Status::Unsupported, 1), (Status::Crashed, 1)];
        assert_eq!(mnn.failed, failed);
        assert!(near(mnn.ratio, 1.5 / 0.825) && !summary.peers[4].is_ranked);
    }

    #[test]
    fn remarks_say_what_was_left_out_and_what_was_disturbed() {
        let line = |layer: &str, threads: u32, more: &str| {
            format!(
                r#"{{"layer":"{layer}","peer":"p","threads":{threads},"status":"ok","ms_median":9{more}}}"#
            )
        };
        let lines = [
            line("a", 1, r#","other_cpu":0.5,"probe_before_after":[100,80]"#),
            line("b", 1, r#","other_cpu":0.05,"probe_before_after":[95,105]"#),
            line("z", 1, ""),
            line("a", 2, ""),
            line("b", 2, ""),
        ];
        let peers = Peers::from_lines(&lines.join("\n"), 1);
        let rows = ["a", "b", "c"].map(|name| {
            let layer = samples::layer(name, "f", "conv2d ic4 oc4 in 9 kernel 3");
            Row::new(&layer, samples::measured(name, 1.0, 1.0), &peers, Some(100.0))
        });
        let expected = [
            "layers not in the table, left out: 1",
            "results of other numbers of threads, left out: 2",
            "rows without a ranked peer: 1",
            "ranked results measured while other processes took more than 0.1 cores: 1",
            "ranked results from a core whose multiply-adds were more than 10 % off this run's peak: 1",
        ];
        assert_eq!(remarks(&rows, &peers, &["z"], Some(100.0)), expected);
        let blind =
            ["ranked results measured while other processes took more than 0.1 cores: 1", NO_PEAK];
        assert_eq!(remarks(&rows[..2], &Peers::default(), &[], None), blind);
    }
}
