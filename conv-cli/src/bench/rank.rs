//! Who is faster: one layer's time beside those of other libraries.
//!
//! In: a layer, its measurement, the libraries' results. Out: a [`Row`]. The rules:
//!
//! - Only a right result is ranked (status `ok`), and only of the same job: arrays in, arrays out,
//!   channels first. [`OTHER_JOBS`] choose their own layout and are shown, never ranked.
//! - The best *direct* peer is the best of those that make every multiplication. Algorithms that
//!   save some (Winograd's, transforms) are another trade: they round differently. A library does
//!   not say which it took, so two signs tell. It did not compute directly where its rate, counted
//!   over only the multiply-adds inside the image (whoever skips the padding saves nothing that
//!   matters), is above 102 % of the measured peak; nor where it is one of [`WINOGRAD`] and the
//!   layer is the kind that these are known to transform.
//!
//! A ratio is the peer's time over ours: above 1, we are faster.

use conv_ir::{Conv, Program, analysis};
use serde::Serialize;

use super::layers::Layer;
use super::measure::{Measured, rounded};
use super::peers::{Line, Peers, Status};

/// Peers that choose the layout of their arrays.
const OTHER_JOBS: [&str; 2] = ["litert-nhwc", "onednn-blocked"];
/// Peers with Winograd's algorithm for dense 3x3 windows of stride 1.
const WINOGRAD: [&str; 2] = ["mnn", "ncnn"];
/// Above the peak by more than a clock wavers: no direct algorithm.
const BEYOND_PEAK: f64 = 1.02;

/// What a peer's result counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Ranked, as far as we can tell with every multiplication made.
    Direct,
    /// Ranked, but multiplications were saved.
    Saving,
    /// A right result of another job.
    OtherJob,
    /// No right result.
    Failed(Status),
}

/// A peer on a layer.
#[derive(Clone, Debug)]
pub struct Rival {
    /// What its file says.
    pub line: Line,
    /// What that counts for.
    pub standing: Standing,
    /// Its time over ours.
    pub ratio: Option<f64>,
}

impl Rival {
    /// Whether it takes part.
    pub fn is_ranked(&self) -> bool {
        matches!(self.standing, Standing::Direct | Standing::Saving)
    }
}

/// A layer and everybody's time for it.
pub struct Row {
    /// The layer's family.
    pub family: String,
    /// Our numbers.
    pub measured: Measured,
    /// Percent of the peak, counting only multiply-adds inside the image.
    pub pct_inside: Option<f64>,
    /// The peers, fastest first; those without a time last.
    pub rivals: Vec<Rival>,
}

impl Row {
    /// Ranks the peers. `peak` is of all threads, in GFLOP/s.
    pub fn new(layer: &Layer, measured: Measured, peers: &Peers, peak: Option<f64>) -> Row {
        let work = Work::new(&layer.program, peak);
        let rival = |line: &Line| Rival {
            standing: work.standing(line),
            ratio: line.ms_median.map(|ms| ms / measured.ms_median),
            line: line.clone(),
        };
        let mut rivals: Vec<Rival> = peers.of(&layer.name).map(rival).collect();
        rivals.sort_by(|a, b| time(a).total_cmp(&time(b)));
        Row {
            family: layer.family.clone(),
            pct_inside: work.share_of_peak(measured.ms_median).map(|share| 100.0 * share),
            rivals,
            measured,
        }
    }

    /// The fastest ranked peer.
    pub fn best(&self) -> Option<&Rival> {
        self.rivals.iter().find(|rival| rival.is_ranked())
    }

    /// The fastest direct one.
    pub fn best_direct(&self) -> Option<&Rival> {
        self.rivals.iter().find(|rival| rival.standing == Standing::Direct)
    }

    /// The JSON line.
    pub fn compared(&self) -> Compared<'_> {
        let (best, direct) = (self.best(), self.best_direct());
        let ratio =
            |rival: Option<&Rival>| rival.and_then(|r| r.ratio).map(|ratio| rounded(ratio, 4));
        Compared {
            measured: &self.measured,
            pct_peak_inside: self.pct_inside.map(|percent| rounded(percent, 2)),
            best_peer: best.map(|r| r.line.peer.as_str()),
            best_peer_ms_median: best.and_then(|r| r.line.ms_median),
            best_peer_ratio: ratio(best),
            best_direct_peer: direct.map(|r| r.line.peer.as_str()),
            best_direct_peer_ms_median: direct.and_then(|r| r.line.ms_median),
            best_direct_peer_ratio: ratio(direct),
        }
    }
}

fn time(rival: &Rival) -> f64 {
    rival.line.ms_median.unwrap_or(f64::INFINITY)
}

/// [`Measured`] with the best peers.
#[derive(Serialize)]
pub struct Compared<'a> {
    #[serde(flatten)]
    measured: &'a Measured,
    pct_peak_inside: Option<f64>,
    best_peer: Option<&'a str>,
    best_peer_ms_median: Option<f64>,
    best_peer_ratio: Option<f64>,
    best_direct_peer: Option<&'a str>,
    best_direct_peer_ms_median: Option<f64>,
    best_direct_peer_ratio: Option<f64>,
}

/// What there is to do in a layer.
struct Work {
    /// Operations inside the image, in 1e9.
    inside: f64,
    peak: Option<f64>,
    /// A dense 3x3 window of stride 1, which Winograd's algorithm is for.
    dense_3x3: bool,
}

impl Work {
    fn new(program: &Program, peak: Option<f64>) -> Work {
        let inside = program.convs().filter_map(analysis::multiply_adds_inside);
        let inside = inside.map(|multiply_adds| 2e-9 * multiply_adds as f64).sum();
        Work { inside, peak, dense_3x3: program.convs().any(is_dense_3x3) }
    }

    fn standing(&self, line: &Line) -> Standing {
        if line.status != Status::Ok {
            Standing::Failed(line.status)
        } else if OTHER_JOBS.contains(&line.peer.as_str()) {
            Standing::OtherJob
        } else if self.beyond_peak(line)
            || (self.dense_3x3 && WINOGRAD.contains(&library(&line.peer)))
        {
            Standing::Saving
        } else {
            Standing::Direct
        }
    }

    fn beyond_peak(&self, line: &Line) -> bool {
        let share = line.ms_median.and_then(|ms| self.share_of_peak(ms));
        share.is_some_and(|share| share > BEYOND_PEAK)
    }

    fn share_of_peak(&self, ms: f64) -> Option<f64> {
        self.peak.map(|peak| self.inside / (ms * 1e-3) / peak)
    }
}

fn is_dense_3x3(conv: &Conv) -> bool {
    let plain =
        |axis: &conv_ir::conv::ConvAxis| (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1);
    let spec = conv.spec();
    conv.rank() == 2 && conv.axes().iter().all(plain) && spec.groups == 1 && !spec.transposed
}

/// The library of a peer: `ncnn+native` is ncnn built in another way.
fn library(peer: &str) -> &str {
    peer.split('+').next().unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{layer, line, measured};
    use super::*;

    /// Of a peak of 100 GFLOP/s, ours at 2 ms.
    fn row(conv: &str, lines: &[String]) -> Row {
        let peers = Peers::from_lines(&lines.join("\n"), 1);
        Row::new(&layer("a", "f", conv), measured("a", 2.0, 50.0), &peers, Some(100.0))
    }

    fn standings(row: &Row) -> Vec<(&str, Standing)> {
        row.rivals.iter().map(|rival| (rival.line.peer.as_str(), rival.standing)).collect()
    }

    /// 0.1 GFLOP: a millisecond at peak.
    const POINTWISE: &str = "conv2d ic100 oc50 in 100x100 kernel 1";
    const DENSE: &str = "conv2d ic16 oc16 in 100x100 kernel 3 pad 1";

    #[test]
    fn only_a_right_result_of_the_same_job_is_ranked() {
        let lines = [
            line("a", "fast-but-loose", "loose", 1.1),
            line("a", "fast-but-wrong", "wrong", 1.1),
            line("a", "onednn-blocked", "ok", 1.2),
            line("a", "litert-nhwc", "ok", 1.3),
            line("a", "right", "ok", 3.0),
            r#"{"layer":"a","peer":"cannot","threads":1,"status":"unsupported"}"#.to_owned(),
        ];
        let row = row(POINTWISE, &lines);
        let expected = [
            ("fast-but-loose", Standing::Failed(Status::Loose)),
            ("fast-but-wrong", Standing::Failed(Status::Wrong)),
            ("onednn-blocked", Standing::OtherJob),
            ("litert-nhwc", Standing::OtherJob),
            ("right", Standing::Direct),
            ("cannot", Standing::Failed(Status::Unsupported)),
        ];
        assert_eq!(standings(&row), expected);
        assert_eq!(row.best().and_then(|best| best.ratio), Some(1.5));
    }

    #[test]
    fn beyond_the_peak_nobody_is_direct() {
        // 0.1 GFLOP in a millisecond is the peak; 2 % more is the clock's.
        let row =
            row(POINTWISE, &[line("a", "beyond", "ok", 0.97), line("a", "wavers", "ok", 0.99)]);
        assert_eq!(standings(&row), [("beyond", Standing::Saving), ("wavers", Standing::Direct)]);
        let names =
            (row.best().map(|r| &r.line.peer[..]), row.best_direct().map(|r| &r.line.peer[..]));
        assert_eq!(names, (Some("beyond"), Some("wavers")));
    }

    #[test]
    fn skipping_the_padding_is_direct() {
        // Of 25 taps of each of 4 outputs 4 are inside: the rate over all of them would be six
        // times the peak.
        let conv = "conv2d ic1000 oc1000 in 2x2 kernel 5 pad 2";
        assert_eq!(
            standings(&row(conv, &[line("a", "skips", "ok", 0.4)])),
            [("skips", Standing::Direct)]
        );
        assert_eq!(
            standings(&row(conv, &[line("a", "saves", "ok", 0.3)])),
            [("saves", Standing::Saving)]
        );
    }

    #[test]
    fn ncnn_and_mnn_transform_dense_3x3_windows_and_nothing_else() {
        let lines =
            ["ncnn", "mnn", "ncnn+native", "ncnn-like"].map(|peer| line("a", peer, "ok", 10.0));
        let dense = row(DENSE, &lines);
        let direct: Vec<&str> = dense
            .rivals
            .iter()
            .filter(|r| r.standing == Standing::Direct)
            .map(|r| &r.line.peer[..])
            .collect();
        assert_eq!(direct, ["ncnn-like"]);
        for other in [
            "conv2d ic16 oc16 in 100x100 kernel 3 stride 2",
            "conv2d ic16 oc16 in 100x100 kernel 3 dilation 2",
            "conv2d g16 ic16 oc16 in 100x100 kernel 3",
            "conv2d ic16 oc16 in 100x100 kernel 3x1",
            "conv2d-transposed ic16 oc16 in 100x100 kernel 3",
            "conv1d ic16 oc16 in 100 kernel 3",
            "conv3d ic16 oc16 in 10 kernel 3",
        ] {
            let row = row(other, &lines);
            assert!(row.rivals.iter().all(|r| r.standing == Standing::Direct), "{other}");
        }
    }

    #[test]
    fn without_a_peak_only_the_known_are_told_apart() {
        let peers = Peers::from_lines(
            &[line("a", "ncnn", "ok", 1e-6), line("a", "p", "ok", 1e-6)].join("\n"),
            1,
        );
        let row = Row::new(&layer("a", "f", DENSE), measured("a", 2.0, 50.0), &peers, None);
        assert_eq!(standings(&row), [("ncnn", Standing::Saving), ("p", Standing::Direct)]);
        assert_eq!(row.pct_inside, None);
    }

    #[test]
    fn inside_is_a_part_of_the_whole() {
        let inside = row(DENSE, &[line("a", "p", "ok", 1.0)]).pct_inside.expect("a peak");
        // 298 of 300 taps on each axis; 46.08 MFLOP in 2 ms of 100 GFLOP/s.
        assert!((inside - 23.04 * (298.0f64 / 300.0).powi(2)).abs() < 1e-9, "{inside}");
    }

    #[test]
    fn the_json_line_goes_on_where_ours_ends() {
        let row = row(POINTWISE, &[line("a", "q", "ok", 0.5), line("a", "p", "ok", 1.0)]);
        let text = serde_json::to_string(&row.compared()).expect("JSON");
        assert!(text.starts_with(r#"{"layer":"a","route":"cranelift","threads":1,"#), "{text}");
        let more = concat!(
            r#""pct_peak_inside":50.0,"best_peer":"q","best_peer_ms_median":0.5,"best_peer_ratio":0.25,"#,
            r#""best_direct_peer":"p","best_direct_peer_ms_median":1.0,"best_direct_peer_ratio":0.5}"#
        );
        assert!(text.ends_with(more), "{text}");
    }
}
