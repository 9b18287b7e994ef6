//! The command line as a whole.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use conv_onnx::{Accuracy, Model, Options, Route};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  See which part of a model is compiled, and how long each node takes
      convc-onnx explain model.onnx --size x=1x3x640x640
  Run it on a NumPy array; each output is a file in the folder
      convc-onnx run model.onnx --input x=page.npy -o outputs
  Time it, and time tract alone
      convc-onnx bench model.onnx --size x=1x3x640x640 --format json
      convc-onnx bench model.onnx --size x=1x3x640x640 --route tract

Errors go to stderr, with exit status 2; no output file is left behind then.";

/// ONNX models whose convolutions are compiled.
#[derive(Parser)]
#[command(name = "convc-onnx", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Explain(Explain),
    Run(Run),
    Bench(Bench),
}

/// Say which part of a model is compiled, why the rest is not, and how long each node takes
#[derive(Args)]
pub struct Explain {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub sizes: Sizes,
    /// List every node, with what it computes
    #[arg(long)]
    pub all: bool,
}

/// Run a model on NumPy arrays
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub arrays: Arrays,
    /// Folder for the outputs, made if it is not there: a file each, named like the output with `_`
    /// for `/`
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// Time a model
#[derive(Args)]
pub struct Bench {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub sizes: Sizes,
    /// Least time of the measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub time: f64,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Args)]
pub struct ModelArgs {
    /// The model
    #[arg(value_name = "MODEL")]
    pub path: PathBuf,
    /// Threads that a convolution uses at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads())]
    pub threads: u16,
    /// Who runs the convolutions
    #[arg(long, value_enum, default_value_t = RouteName::Compiled)]
    pub route: RouteName,
    /// exact: one order of sums; fast: another order where it is faster, within a bound; within(X):
    /// the same, where the bound is at most X of the largest input times the sum of the |weights|
    #[arg(long, value_name = "exact|fast|within(X)", default_value_t = Accuracy::Exact, value_parser = accuracy)]
    pub accuracy: Accuracy,
}

#[derive(Args)]
pub struct Arrays {
    /// An input, from a file whose numbers become the input's type, which must hold them; once for
    /// each
    #[arg(long = "input", value_name = "NAME=FILE.npy")]
    pub inputs: Vec<String>,
}

/// Where numbers do not matter.
#[derive(Args)]
pub struct Sizes {
    #[command(flatten)]
    pub arrays: Arrays,
    /// The shape of an input for which there is no file, where the model leaves some of it free;
    /// the numbers are pseudo-random
    #[arg(long = "size", value_name = "NAME=1x3x640x640")]
    pub sizes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RouteName {
    /// Machine code; tract runs the rest
    Compiled,
    /// tract runs all of it
    Tract,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs: one object with model, route, threads, ms_min and ms_median
    Json,
}

impl ModelArgs {
    pub fn load(&self) -> Result<Model, Failure> {
        let route = match self.route {
            RouteName::Compiled => Route::Compiled,
            RouteName::Tract => Route::Tract,
        };
        let (accuracy, threads) = (self.accuracy, self.threads.into());
        if route == Route::Tract && threads > 1 {
            return Err(Failure::usage("tract runs on one thread: leave out --threads"));
        }
        Ok(Model::load_with(
            &self.path,
            Options { route, threads, accuracy, ..Options::default() },
        )?)
    }
}

fn accuracy(text: &str) -> Result<Accuracy, String> {
    let expected = || format!("found `{text}`, expected `exact`, `fast` or `within(1e-4)`");
    match text.parse() {
        // Of CPUs that are none of those for which networks are compiled.
        Ok(Accuracy::Unfused) | Err(_) => Err(expected()),
        Ok(accuracy) => Ok(accuracy),
    }
}

fn threads() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1024)
}
