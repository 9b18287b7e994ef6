//! `convc bench`: programs of one step or several, timed one by one, and compared with what other
//! libraries took.
//!
//! ```text
//! table, descriptions --layers--> Layer --measure--> Measured --rank, with peers--> Row
//!     --summary--> means --report, side_by_side, html--> text
//! ```
//!
//! Files are read, and every mistake in them found, before the first layer is timed.

mod algorithms;
mod html;
mod layers;
mod measure;
mod peers;
mod rank;
#[cfg(test)]
mod registers;
mod report;
#[cfg(test)]
mod samples;
mod side_by_side;
mod summary;
pub mod tune;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use conv_ir::program::Tuning;
use conv_ir::{DType, Schedule};
use conv_jit::peak::{Peak, TILE, fma_peak};
use indicatif::{ProgressBar, ProgressStyle};

use crate::describe::GRAMMAR;
use crate::failure::Failure;
use crate::route::{How, Route};
use crate::{output, values};
use layers::{Given, Layer};
use measure::{Measured, Settings};
use peers::Peers;
use rank::Row;
use summary::Summary;

const NOTES: &str = "\
A table is a CSV file or a text. The first line of a CSV file names its columns: name, in_spatial and kernel, and where they are not 1, 0 or false \
family, n, ic, oc, groups, stride, dilation, pad_lo, pad_hi, transposed, output_padding, bias. Commas, semicolons or tabs stand between columns, x between axes. \
A text has a layer a line, 'name: DESCRIPTION', of one step or several. Everything is f32 or of integers, as the description says, with warm caches; weights are packed beforehand.

GFLOP/s counts the direct algorithm's work, two operations per multiply-add, padding included. The percentage is of the widest \
fused multiply-adds that one core can do without memory, measured in the same run, times the threads; of integers, of the widest products of bytes, \
summed in 32 bits. Both follow from the median.

Several steps, of which some are fused, are timed step by step too, in turns. The gain is that time over the time as planned. There is none (-) where the \
plan is to go step by step, nor where the middle halves of both times overlap: that is noise.

--all-algorithms, with --accuracy fast or within(X), times each algorithm of a layer of one step. What the model expects is its price by that of direct sums, times the time of those. A star marks the model's choice.

JSON is one line a layer: layer, route, threads, ms_min, ms_median, gflops, pct_peak, compile_ms, code_bytes, schedule, plan, ms_unfused, gain.

--compare takes results of other libraries, one JSON object a line: layer, peer (the library), threads, status, ms_median; and where they are \
known peer_version, ms_min, max_abs_err_vs_reference, call_overhead_ms (ms of a call that does next to nothing), probe_before_after (GFLOP/s of \
one core, two numbers), other_cpu (cores that other processes took). Status is ok, loose (imprecise), wrong, unsupported, error, crashed, timeout \
or missing. Results of other numbers of threads are left out; the last result of a layer and library counts.
  - Only ok is ranked. litert-nhwc and onednn-blocked are not: they choose the layout of their arrays, which is another job.
  - A ratio is the library's time over ours: above 1, we are faster. Means are geometric.
  - % inside is the percentage of the peak counting only multiplications inside the image, not those in its padding.
  - A direct library makes every multiplication. Not direct is a result whose % inside is above 102; nor ncnn and mnn on dense 3x3 windows (2-D, \
stride 1, dilation 1, one group), where they are known to use Winograd's algorithm.
JSON lines then go on with pct_peak_inside, best_peer, best_peer_ms_median, best_peer_ratio, best_direct_peer, best_direct_peer_ms_median, \
best_direct_peer_ratio.

Examples:
  convc bench 'conv2d ic64 oc64 in 56 kernel 3 pad 1' 'conv2d g64 ic64 oc64 in 56 kernel 3 pad 1; conv2d oc64 kernel 1'
  convc bench --layers public
  convc bench --layers public --only resnet50_3x3_56_64,image_5x5_1080p --format json
  convc bench --layers public --compare others.jsonl --html report.html
  convc bench --layers public --accuracy fast
  convc bench 'conv2d ic64 oc64 in 56 kernel 3 pad 1' --schedule 'lanes oc:16 tile oc:16,ow:28 unroll kh,kw pack'
  convc bench --accuracy fast --all-algorithms --time 0.1 'conv2d ic64 oc64 in 56 kernel 3 pad 1'
  convc bench --layers blocks
  convc bench --layers int8";

/// Time convolutions, or the layers of a table
#[derive(clap::Args)]
#[command(after_help = format!("{NOTES}\n\n{GRAMMAR}"))]
pub struct Args {
    #[command(flatten)]
    of: Given,
    /// Threads to share a layer's work
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::threads, allow_negative_numbers = true)]
    threads: usize,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// How to compute layers of one step, as explain prints it, instead of the model's choice
    #[arg(long, value_name = "TEXT", conflicts_with = "all_algorithms")]
    schedule: Option<Schedule>,
    /// What convc tune measured on this machine, in the place of the model's choices
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["all_algorithms", "schedule"])]
    tuning: Option<PathBuf>,
    /// Time every algorithm that the accuracy admits of each layer of one step, beside what the
    /// model expects
    #[arg(long, conflicts_with_all = ["compare", "html", "format"])]
    all_algorithms: bool,
    /// Least time to measure each layer
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds, allow_negative_numbers = true)]
    time: Duration,
    /// Results of other libraries, to be compared with
    #[arg(long, value_name = "FILE.jsonl,..", value_delimiter = ',')]
    compare: Vec<PathBuf>,
    /// Also write a report with charts
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// Columns and means
    Table,
    /// One JSON object a line, as each layer is done
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("'{text}' is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| "the time must not be negative, nor beyond all bounds".to_owned())
}

/// Everything that a run has found, for all ways to print it.
struct Report {
    /// Threads and peak, in words.
    heading: String,
    /// The processor's name, where it is cheap to know.
    cpu: Option<String>,
    /// Whether results of other libraries were given.
    is_compared: bool,
    rows: Vec<Row>,
    summary: Summary,
    /// What a reader must know about the others' results.
    remarks: Vec<String>,
}

/// The command.
pub fn bench(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let (layers, known) = args.of.layers()?;
    if args.all_algorithms {
        return algorithms::print(&layers, &settings(args, [None; 2])?, out);
    }
    let peers = Peers::read(&args.compare, args.threads)?;
    if let Some(html) = &args.html {
        let compared = args.compare.iter().map(PathBuf::as_path);
        let read: Vec<&Path> = args.of.table().into_iter().chain(compared).collect();
        output::check(&[html], &read)?;
    }
    let peak = fma_peak(DType::F32);
    let has_integers = layers.iter().any(is_of_integers);
    let of_bytes = if has_integers { fma_peak(DType::U8) } else { None };
    let rows = rows(args, &layers, &peers, [peak, of_bytes], out)?;
    let most = rows.iter().filter_map(|row| row.measured.pct_peak).reduce(f64::max);
    let report = Report {
        heading: with_doubt(
            heading(peak, of_bytes, args.threads),
            doubt(peak, fma_peak(DType::F32), most),
            args,
        ),
        cpu: cpu(),
        remarks: match args.compare[..] {
            [] => Vec::new(),
            _ => summary::remarks(
                &rows,
                &peers,
                &peers.unknown(&known),
                peak.map(|peak| peak.gflops),
            ),
        },
        summary: Summary::new(&rows),
        is_compared: !args.compare.is_empty(),
        rows,
    };
    if let Some(path) = &args.html {
        output::write(&[(path.as_path(), html::page(&report).as_bytes())])?;
    }
    match args.format {
        Format::Json => Ok(()),
        Format::Table => Ok(out.write_all(text(&report).as_bytes())?),
    }
}

fn is_of_integers(layer: &Layer) -> bool {
    layer.program.dtype().is_integer()
}

fn settings(args: &Args, peaks: [Option<Peak>; 2]) -> Result<Settings, Failure> {
    let tuning = args.tuning.as_deref().map(|path| tuned(path, args.of.route)).transpose()?;
    let [peak, peak_of_bytes] =
        peaks.map(|peak| peak.map(|peak| peak.gflops * args.threads as f64));
    Ok(Settings {
        how: How {
            tuning,
            route: args.of.route,
            threads: args.threads,
            accuracy: args.of.exactness.accuracy,
            schedule: args.schedule.clone(),
            ..How::default()
        },
        time: args.time,
        peak,
        peak_of_bytes,
    })
}

/// What a file says of this machine.
fn tuned(path: &Path, route: Route) -> Result<Arc<Tuning>, Failure> {
    let (tuning, notes) =
        conv_files::tuning::read(path, &tune::machine(route)?).map_err(Failure::Usage)?;
    tune::note(path, &notes);
    Ok(Arc::new(tuning))
}

/// Everybody's time for each layer; JSON lines are printed on the way.
fn rows(
    args: &Args,
    layers: &[Layer],
    peers: &Peers,
    peaks: [Option<Peak>; 2],
    out: &mut dyn Write,
) -> Result<Vec<Row>, Failure> {
    let settings = settings(args, peaks)?;
    let mut rows = Vec::new();
    each(layers, &settings, |layer, measured| {
        let row = Row::new(layer, measured, peers, settings.peak_of(layer));
        if args.format == Format::Json {
            print_json(&row, args, out)?;
        }
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn print_json(row: &Row, args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let line = if args.compare.is_empty() {
        serde_json::to_string(&row.measured)
    } else {
        serde_json::to_string(&row.compared())
    };
    writeln!(out, "{}", line.map_err(std::io::Error::from)?)?;
    Ok(out.flush()?)
}

fn text(report: &Report) -> String {
    let Report { heading, rows, .. } = report;
    let table = if report.is_compared {
        side_by_side::table(rows, &report.summary, &report.remarks)
    } else {
        report::table(rows)
    };
    format!("{heading}\n\n{table}")
}

/// Measures layer by layer. The bar shows itself on a terminal only.
fn each(
    layers: &[Layer],
    settings: &Settings,
    mut done: impl FnMut(&Layer, Measured) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let bar = ProgressBar::new(layers.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    for layer in layers {
        bar.set_message(layer.name.clone());
        let measured = measure::measure(layer, settings)?;
        bar.suspend(|| done(layer, measured))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn heading(peak: Option<Peak>, of_bytes: Option<Peak>, threads: usize) -> String {
    let of_bytes = match of_bytes {
        Some(Peak { gflops, bits }) => {
            let with = match bits {
                TILE => "in tiles".to_owned(),
                bits => format!("with {bits}-bit products"),
            };
            format!(", and of bytes {gflops:.0} GOP/s {with}")
        }
        None => String::new(),
    };
    let threads = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    match peak {
        Some(Peak { gflops, bits }) => {
            format!(
                "{threads}; one core's peak is {gflops:.1} GFLOP/s with {bits}-bit multiply-adds{of_bytes}"
            )
        }
        None => format!("{threads}; this CPU has no fused multiply-add that we can measure"),
    }
}

/// The heading and what makes the figures doubtful. JSON has no place for it, but a terminal may.
fn with_doubt(heading: String, doubt: Option<String>, args: &Args) -> String {
    let Some(doubt) = doubt else { return heading };
    if args.format == Format::Json && std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "note: {doubt}");
    }
    format!("{heading}; {doubt}")
}

/// The peak may differ so much before and after, as a part of the larger one.
const STEADY: f64 = 0.9;

/// No measurement is better than this percentage of the peak.
const BEYOND: f64 = 103.0;

/// What speaks against the percentages, if something does.
fn doubt(before: Option<Peak>, after: Option<Peak>, most: Option<f64>) -> Option<String> {
    let (before, after) = (before?.gflops, after?.gflops);
    let why = if before.min(after) < STEADY * before.max(after) {
        format!("one core's peak was {before:.1} GFLOP/s before and {after:.1} after")
    } else {
        let most = most.filter(|&most| most > BEYOND)?;
        format!("a result is {most:.0} % of the peak, more than there can be")
    };
    Some(format!(
        "the machine is busy or changes its clock: {why}. Percentages, gains and ranks mean little"
    ))
}

/// As Linux names it.
fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_told() {
        let peak = |gflops| Some(Peak { gflops, bits: 256 });
        assert_eq!(doubt(peak(100.0), peak(97.0), Some(99.0)), None);
        assert_eq!(doubt(None, None, Some(500.0)), None);
        let told = doubt(peak(58.0), peak(95.2), Some(164.0)).expect("doubtful");
        assert!(told.contains("58.0 GFLOP/s before and 95.2 after"), "{told}");
        let told = doubt(peak(58.0), peak(58.0), Some(164.0)).expect("doubtful");
        assert!(told.contains("164 % of the peak"), "{told}");
    }
}
