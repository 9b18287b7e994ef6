//! The command line as a whole; each command's options stand in its own module.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};

use crate::{bench, emit, explain, filter, gallery, networks, run, shell};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  Find the edges of a picture
      convc filter photo.png --window sobel -o edges.png
  See what a convolution costs, and how it would be computed
      convc explain g32ic64ih56oc64oh56kh3ph1
      convc explain --in-channels 64 --out-channels 64 --size 56x56 --kernel 3 --padding 1
  Draw what a stack of them sees
      convc explain 'conv2d in 9 kernel 3' 'conv2d in 7 kernel 3 dilation 2' --svg stack.svg
  See the Rust that conv! would expand to
      convc emit --size 8x8 --kernel 3x3 --as rust
  Convolve NumPy arrays
      convc run --input x.npy --weight w.npy --padding 1 -o y.npy
  Time the layers of well-known networks
      convc bench --layers conv-cli/layers/public.csv

'convc COMMAND --help' explains a command and all of its options.
Errors go to stderr, with exit status 2; no output file is left behind then.";

/// Any convolution, described once, lowered in plain sight, run on every route.
#[derive(Parser)]
#[command(name = "convc", version, after_help = EXAMPLES, styles = STYLES, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, once")]
pub enum Command {
    Filter(filter::Args),
    Run(run::Args),
    Explain(explain::Args),
    Emit(emit::Args),
    Bench(bench::Args),
    Tune(bench::tune::Args),
    Networks(networks::Args),
    Gallery(gallery::Args),
    Completions(shell::Completions),
    Man(shell::Page),
}
