//! `convc bench`: a table of layers, timed one by one.

mod layers;
mod measure;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use conv_ir::DType;
use conv_jit::peak::{Peak, fma_peak};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::route::Route;
use crate::values;
use layers::Layer;
use measure::{Measured, Settings};
use report::Entry;

const NOTES: &str = "\
The file has the columns of conv-cli/layers/public.csv: name, family, n, ic, oc, groups, in_spatial, kernel, stride, dilation, pad_lo, pad_hi, \
transposed, output_padding, bias. Axes are separated by x. Everything is f32, channels first, with warm caches; weights are packed beforehand.

GFLOP/s counts the direct algorithm's work, two operations per multiply-add, padding included. The percentage is of the widest \
fused multiply-adds that one core can do without memory, measured in the same run, times the threads. Both follow from the median.

JSON is one line a layer: layer, route, threads, ms_min, ms_median, gflops, pct_peak, compile_ms, code_bytes, schedule.

Examples:
  convc bench --layers conv-cli/layers/public.csv
  convc bench --layers conv-cli/layers/public.csv --only resnet50_3x3_56_64,image_5x5_1080p --format json";

/// Time the layers of a table
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// The table
    #[arg(long, value_name = "FILE.csv")]
    layers: PathBuf,
    /// Only these layers
    #[arg(long, value_name = "LAYER,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Threads to share a layer's work
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::threads, allow_negative_numbers = true)]
    threads: usize,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Who computes
    #[arg(long, value_enum, default_value_t = Route::Auto)]
    route: Route,
    /// Least time to measure each layer
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds, allow_negative_numbers = true)]
    time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// Columns and means
    Table,
    /// One JSON object a line, as each layer is done
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .map_err(|_| format!("'{text}' is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "the time must not be negative, nor beyond all bounds".to_owned())
}

/// The command.
pub fn bench(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let layers = layers::read(&args.layers, &args.only)?;
    let peak = fma_peak(DType::F32);
    let settings = Settings {
        route: args.route,
        threads: args.threads,
        time: args.time,
        peak: peak.map(|peak| peak.gflops * args.threads as f64),
    };
    match args.format {
        Format::Json => each(&layers, &settings, |measured| {
            serde_json::to_writer(&mut *out, &measured).map_err(std::io::Error::from)?;
            writeln!(out)?;
            Ok(out.flush()?)
        }),
        Format::Table => {
            let mut measured = Vec::new();
            each(&layers, &settings, |one| {
                measured.push(one);
                Ok(())
            })?;
            writeln!(out, "{}\n", heading(peak, args.threads))?;
            Ok(out.write_all(report::table(&entries(layers, measured)).as_bytes())?)
        }
    }
}

/// Measures layer by layer. The bar shows itself on a terminal only.
fn each(
    layers: &[Layer],
    settings: &Settings,
    mut done: impl FnMut(Measured) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let bar = ProgressBar::new(layers.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    for layer in layers {
        bar.set_message(layer.name.clone());
        let measured = measure::measure(layer, settings)?;
        bar.suspend(|| done(measured))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn entries(layers: Vec<Layer>, measured: Vec<Measured>) -> Vec<Entry> {
    layers
        .into_iter()
        .zip(measured)
        .map(|(layer, measured)| Entry {
            family: layer.family,
            measured,
        })
        .collect()
}

fn heading(peak: Option<Peak>, threads: usize) -> String {
    let threads = if threads == 1 {
        "1 thread".to_owned()
    } else {
        format!("{threads} threads")
    };
    match peak {
        Some(Peak { gflops, bits }) => {
            format!("{threads}; one core's peak is {gflops:.1} GFLOP/s with {bits}-bit multiply-adds")
        }
        None => format!("{threads}; this CPU has no fused multiply-add that we can measure"),
    }
}
