//! `convc explain`: what a program is, what it costs, how it is computed and why, how fast it
//! should be; and its nest after any pass.
//!
//! ```text
//! one step:      shapes, costs            (what, costs) --.
//! several:       a line each, and sums    (stack)       --+--> route, schedule or plan,
//!                                                              what to expect (how)
//!                                                              --> leaves, nests on demand
//! ```
//!
//! Several descriptions of which one does not take what the one before gives are a stack: what it
//! sees and needs as a whole is told, and nothing is computed. Either is drawn on demand.

mod costs;
mod how;
mod kind;
mod leaves;
mod matrix;
mod stack;
pub mod stream;

use std::io::Write;
use std::path::PathBuf;

use conv_ir::analysis::Roofline;
use conv_ir::conv::axis_name;
use conv_ir::program::plan::Group;
use conv_ir::separate::{Accuracy, separate};
use conv_ir::{Conv, Program, Schedule, Target, passes};
use conv_jit::{Lowered, LoweredGroup, Options};

use crate::describe::{Description, GRAMMAR};
use crate::failure::Failure;
use crate::picture::View;
use crate::values::Exactness;
use crate::{output, picture, table, values, weights};

const EXAMPLES: &str = "\
Examples:
  One convolution, and the same after pass tile
      convc explain g32ic64ih56oc64oh56kh3ph1
      convc explain 'conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 pad 1' --after tile
  With weights that are known: what is in them, and the taps spelled out
      convc explain 'conv2d in 1080x1920 kernel 3x3 pad 1' --weight '[[1,0,-1],[2,0,-2],[1,0,-1]]' --after constants
  As it would run on a machine with AVX2 alone
      convc explain g32ic64ih56oc64oh56kh3ph1 --target avx2
  With flags: 2x2 becomes 5x5
      convc explain --transposed --size 2x2 --kernel 3x3 --stride 2
  A stack sees 3, then 7; the same as a picture
      convc explain 'conv2d in 9 kernel 3' 'conv2d in 7 kernel 3 dilation 2'
      convc explain 'conv2d in 9 kernel 3' 'conv2d in 7 kernel 3 dilation 2' --svg stack.svg
  The 4 x 16 matrix of a 3x3 window, and how much of 150 GFLOP/s a memory of 20 GB/s allows
      convc explain --size 4x4 --kernel 3x3 --matrix
      convc explain g32ic64ih56oc64oh56kh3ph1 --roofline 150:20
  A stream of samples: what its state holds, and how far it looks ahead
      convc explain 'conv1d oc8 in T kernel 3 dilation 4 padding causal, tanh; conv1d oc1 kernel 3 pad 1' --stream w
  Micro-kernels, those with most work first
      convc explain g32ic64ih56oc64oh56kh3ph1 --leaves
  Several steps, in one text or several: which steps are fused, and why; sizes follow from the first step
      convc explain 'conv2d ic16 oc96 in 56 kernel 1, relu6; conv2d g96 oc96 kernel 3 pad 1, relu6; conv2d oc16 kernel 1 + residual from 0'

What to expect is the model's: cycles of one core, counted and not measured (convc bench measures). Multiply-adds are the direct algorithm's, padding counted (transposed: no inserted zero counted). The intensity assumes that every \
array moves between memory and processor once.";

/// Show what a convolution is, costs, and how it is computed
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{GRAMMAR}"))]
pub struct Args {
    /// Also print the loop nest after this pass (lower is the first)
    #[arg(long, value_name = "PASS", conflicts_with = "all")]
    after: Option<String>,
    /// Also print the loop nest after every pass
    #[arg(long)]
    all: bool,
    /// Also list the micro-kernels, those with most work first, equal ones on one line
    #[arg(long)]
    leaves: bool,
    /// How to compute one step, instead of the model's choice
    #[arg(long, value_name = "TEXT")]
    schedule: Option<Schedule>,
    #[command(flatten)]
    exactness: Exactness,
    /// The machine to compute on, which need not be this one [default: the widest that this CPU
    /// runs]
    #[arg(long, value_name = "TARGET", value_parser = values::target())]
    target: Option<Target>,
    /// Also tell what a stream along this axis, whose size is a name, holds in its state: w, h or d
    #[arg(long, value_name = "AXIS")]
    stream: Option<String>,
    /// Show the convolution as a sparse matrix instead: which weight stands where
    #[arg(long, conflicts_with_all = ["after", "all", "leaves", "stream", "target", "schedule", "accuracy", "roofline"])]
    matrix: bool,
    /// Also tell what this machine allows: its peak in GFLOP/s and its memory's bandwidth in GB/s
    #[arg(long, value_name = "PEAK:BANDWIDTH", value_parser = values::roofline)]
    roofline: Option<Roofline>,
    /// Draw it into this file instead: what one output sees of every layer, down to the input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["after", "all", "leaves", "stream", "target", "schedule", "accuracy", "roofline", "matrix"])]
    svg: Option<PathBuf>,
    /// What --svg draws
    #[arg(long, value_enum, default_value_t = View::Space, requires = "svg")]
    view: View,
    /// Known weights, compiled in, for each step: numbers in brackets, FILE.npy, or
    /// FILE.safetensors#TENSOR
    #[arg(long, value_name = "WEIGHT")]
    weight: Vec<String>,
    #[command(flatten)]
    description: Description,
}

impl Args {
    /// Whether it asks how a program is computed.
    fn is_about_how(&self) -> bool {
        let is_exact = self.exactness.accuracy == Accuracy::Exact;
        self.leaves
            || self.stream.is_some()
            || self.target.is_some()
            || self.schedule.is_some()
            || !is_exact
    }
}

/// The command.
pub fn explain(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let wanted = Wanted::of(args)?;
    if let Some(path) = &args.svg {
        output::check(&[path], &weights::files(&args.weight))?;
    }
    let described = Described::of(args)?;
    if let Some(path) = &args.svg {
        described.check_row("--svg draws")?;
        let drawn = picture::draw(&described.convs(), args.view)?;
        return output::write(&[(path, drawn.as_bytes())]);
    }
    if args.roofline.is_some() {
        described.check_row("--roofline shows")?;
    }
    match &described {
        Described::Program(program) if !args.matrix => computed(program, &wanted, args, out),
        Described::Program(program) if program.single().is_some() => {
            program.single().map_or(Ok(()), |conv| matrix::show(conv, out))
        }
        _ if args.matrix => {
            Err(Failure::usage("--matrix shows one convolution, but several were described"))
        }
        Described::Stack(convs) if wanted == Wanted::Nothing && !args.is_about_how() => {
            stack::explain(convs, args.roofline, out)
        }
        _ => Err(Failure::usage(
            "--after, --all, --leaves, --stream, --target, --schedule and --accuracy are about how it is computed, but these convolutions do not follow each other",
        )),
    }
}

/// What is explained.
enum Described {
    /// What can be computed.
    Program(Program),
    /// Several convolutions of which one does not take what the one before gives.
    Stack(Vec<Conv>),
}

impl Described {
    fn of(args: &Args) -> Result<Described, Failure> {
        match args.description.program() {
            Ok(program) => Ok(Described::Program(weights::known(&program, &args.weight)?)),
            Err(error) => match args.description.stack() {
                Ok(convs) if convs.len() > 1 && args.weight.is_empty() => {
                    Ok(Described::Stack(convs))
                }
                Ok(_) | Err(_) => Err(error),
            },
        }
    }

    /// Refuses a graph, of which only a row is shown.
    fn check_row(&self, who: &str) -> Result<(), Failure> {
        match self {
            Described::Program(program) if !program.is_row() => Err(Failure::usage(format!(
                "{who} steps in a row, but one of these reads another tensor than the one before it, or several outputs are given"
            ))),
            _ => Ok(()),
        }
    }

    fn convs(&self) -> Vec<Conv> {
        match self {
            Described::Program(program) => program.convs().cloned().collect(),
            Described::Stack(convs) => convs.clone(),
        }
    }
}

/// Which nests to print.
#[derive(Debug, PartialEq)]
enum Wanted<'a> {
    Nothing,
    After(&'a str),
    All,
}

impl Wanted<'_> {
    fn of(args: &Args) -> Result<Wanted<'_>, Failure> {
        match &args.after {
            Some(pass) if !pass_names().any(|name| name == pass) => {
                let known: Vec<&str> = pass_names().collect();
                Err(Failure::usage(format!(
                    "there is no pass '{pass}'; the passes are {}",
                    known.join(", ")
                )))
            }
            Some(pass) => Ok(Wanted::After(pass)),
            None if args.all => Ok(Wanted::All),
            None => Ok(Wanted::Nothing),
        }
    }

    fn has(&self, pass: &str) -> bool {
        match self {
            Wanted::Nothing => false,
            Wanted::After(name) => *name == pass,
            Wanted::All => true,
        }
    }
}

fn pass_names() -> impl Iterator<Item = &'static str> {
    std::iter::once("lower").chain(passes::PASSES.iter().map(|pass| pass.name))
}

/// A program: what it is and costs, then how it is computed.
fn computed(
    program: &Program,
    wanted: &Wanted,
    args: &Args,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let target = args.target.unwrap_or_else(conv_jit::host_target);
    let (schedule, accuracy) = (args.schedule.clone(), args.exactness.accuracy);
    let options = Options { target, schedule, accuracy, ..Options::default() };
    let target = &options.made_for();
    let lowered = Lowered::new(program, &options)?;
    // Nothing is printed before all of it is known.
    let streamed =
        args.stream.as_ref().map(|axis| stream::lines(&lowered.rewritten.program, axis, accuracy));
    let streamed = streamed.transpose()?;
    let mut lines = Vec::new();
    match program.single() {
        Some(conv) => {
            writeln!(out, "{conv}\n{}\n", kind::sentence(conv))?;
            lines.extend(what(conv));
            lines.push(blank());
            lines.extend(costs::lines(conv, target, args.roofline));
            lines.extend(found(conv));
            lines.push(blank());
        }
        None if !program.is_row() => {
            stack::explain_graph(program, out)?;
            writeln!(out)?;
        }
        None => {
            let convs: Vec<Conv> = program.convs().cloned().collect();
            stack::explain(&convs, args.roofline, out)?;
            writeln!(out)?;
        }
    }
    lines.extend(how::lines(&lowered, target));
    lines.push(leaves::line(&lowered, target));
    let expected = how::expected(&lowered, target);
    if !expected.is_empty() {
        lines.push(blank());
        lines.extend(expected);
    }
    if let Some(streamed) = streamed {
        lines.push(blank());
        lines.extend(streamed);
    }
    out.write_all(table::pairs(&lines).as_bytes())?;
    if args.leaves {
        write!(out, "\n{}", leaves::table(&lowered, target))?;
    }
    nests(&lowered, wanted, target, out)
}

/// An empty line.
fn blank() -> (&'static str, String) {
    ("", String::new())
}

/// The nests of each group after the passes that are wanted. Fused steps have a finished one alone.
fn nests(
    lowered: &Lowered,
    wanted: &Wanted,
    target: &Target,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let last = passes::PASSES.last().map_or("", |pass| pass.name);
    for LoweredGroup { group, choice, nest, .. } in &lowered.groups {
        let mut text = String::new();
        let mut note = |pass: &str, nest: &_| {
            if wanted.has(pass) {
                text += &format!("\n; after {pass}{}\n{nest}", gives(pass));
            }
        };
        match choice {
            Some(choice) if *wanted != Wanted::Nothing => {
                let conv = &lowered.program().steps()[group.steps.start].conv;
                passes::compile(conv, &choice.schedule, target, &mut note)?;
            }
            Some(_) => {}
            None => note(last, nest),
        }
        if lowered.groups.len() > 1 && !text.is_empty() {
            writeln!(out, "\n; {}", steps(group))?;
        }
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// `steps 1 to 3 fused, 8 rows a strip`
fn steps(group: &Group) -> String {
    let (first, last) = (group.steps.start + 1, group.steps.end);
    match &group.strips {
        None => format!("step {first} alone"),
        Some(strips) => format!("steps {first} to {last} fused, {} rows a strip", strips.rows),
    }
}

fn gives(pass: &str) -> String {
    let found = passes::PASSES.iter().find(|known| known.name == pass);
    found.map_or(String::new(), |pass| format!(": {}", pass.gives))
}

/// Shapes, and how they come about.
fn what(conv: &Conv) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("input", shape(conv.input_shape())),
        ("weight", shape(Some(conv.weight_shape()))),
        ("output", shape(conv.output_shape())),
    ];
    lines.retain(|line| line.0 != "weight" || conv.has_weight());
    let arithmetic =
        |axis| ("", format!("{}: {}", axis_name(conv.rank(), axis), conv.output_arithmetic(axis)));
    lines.extend((0..conv.rank()).map(arithmetic));
    lines
}

fn shape(shape: Option<Vec<usize>>) -> String {
    shape.map_or("known at run time".to_owned(), |shape| format!("{shape:?}"))
}

/// What there is to find in known weights.
fn found(conv: &Conv) -> Vec<(&'static str, String)> {
    let Some(found) = conv.found_in_weights() else { return Vec::new() };
    let mut lines = vec![("known", found)];
    lines.extend(
        separate(conv).map(|found| ("", format!("{found}; two passes with --accuracy fast"))),
    );
    lines
}
