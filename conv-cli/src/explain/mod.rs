//! `convc explain`: what a convolution is, what it costs, how it would be computed and why, and its nest after any pass.
//!
//! Several descriptions are a stack, the first one nearest to the input: what it sees and needs as a whole is in [`stack`]. Where each takes what the one before gives they are a
//! [`chain`], whose plan is shown too.

mod chain;
mod stack;

use std::io::Write;

use conv_ir::analysis::{self, Facts};
use conv_ir::conv::axis_name;
use conv_ir::nest::Leaf;
use conv_ir::nest::bill::Bill;
use conv_ir::{Conv, ConvSpec, Nest, Target, passes};
use conv_jit::x86::{self, Level};

use crate::describe::Description;
use crate::failure::Failure;
use crate::table::{self, thousands};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  One convolution, and the same after pass tile
      convc explain g32ic64ih56oc64oh56kh3ph1
      convc explain 'conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 pad 1' --after tile
  As it would run on a machine with AVX2 alone
      convc explain g32ic64ih56oc64oh56kh3ph1 --target avx2
  With flags: 2x2 becomes 5x5
      convc explain --transposed --size 2x2 --kernel 3x3 --stride 2
  A stack sees 3, then 7
      convc explain 'conv2d in 9 kernel 3' 'conv2d in 7 kernel 3 dilation 2'
  A chain, in one text or several: which steps are fused, and why; sizes follow from the first step
      convc explain 'conv2d ic16 oc96 in 56 kernel 1, relu6; conv2d g96 oc96 kernel 3 pad 1, relu6; conv2d oc16 kernel 1 + residual from 0'

Multiply-adds are the direct algorithm's, padding counted (transposed: no inserted zero counted). The intensity assumes that every \
array moves between memory and processor once.";

/// Show what a convolution is, costs, and how it is computed
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Also print the loop nest after this pass (lower is the first)
    #[arg(long, value_name = "PASS", conflicts_with = "all")]
    after: Option<String>,
    /// Also print the loop nest after every pass
    #[arg(long)]
    all: bool,
    /// The machine to compute on, which need not be this one [default: the widest that this CPU runs]
    #[arg(long, value_name = "TARGET", value_parser = values::target())]
    target: Option<Target>,
    #[command(flatten)]
    description: Description,
}

/// The command.
pub fn explain(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let wanted = Wanted::of(args)?;
    let target = args.target.unwrap_or_else(conv_jit::host_target);
    if let Some(chain) = args.description.chain()? {
        if let Wanted::After(_) = wanted {
            return Err(Failure::usage(
                "--after shows one convolution; --all shows a chain's nests",
            ));
        }
        let convs: Vec<Conv> = chain.convs().cloned().collect();
        stack::explain(&convs, out)?;
        return self::chain::explain(&chain, &target, wanted == Wanted::All, out);
    }
    let convs = args.description.convs()?;
    match &convs[..] {
        [conv] => one(conv, &wanted, &target, out),
        convs if wanted == Wanted::Nothing && args.target.is_none() => stack::explain(convs, out),
        _ => Err(Failure::usage(
            "--after, --all and --target show one convolution, but several were described",
        )),
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

fn one(conv: &Conv, wanted: &Wanted, target: &Target, out: &mut dyn Write) -> Result<(), Failure> {
    let choice = conv_jit::choose(conv, target)?;
    let mut nests = String::new();
    let last = passes::compile(conv, &choice.schedule, target, &mut |pass, nest| {
        if wanted.has(pass) {
            nests += &format!("\n; after {pass}{}\n{nest}", gives(pass));
        }
    })?;
    let mut lines = what(conv);
    lines.extend(costs(conv));
    let (route, bits) = (conv_jit::route_name(target), 8 * target.vector_bytes);
    lines.push(("route", format!("{route}, {bits}-bit vectors")));
    lines.push(("schedule", choice.schedule.to_string()));
    lines.extend(
        choice
            .reasons
            .into_iter()
            .enumerate()
            .map(|(i, reason)| (if i == 0 { "because" } else { "" }, reason)),
    );
    lines.extend(bills(&last, target));
    writeln!(out, "{conv}\n")?;
    out.write_all(table::pairs(&lines).as_bytes())?;
    Ok(out.write_all(nests.as_bytes())?)
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
    let arithmetic = |axis| {
        (
            "",
            format!("{}: {}", axis_name(conv.rank(), axis), conv.output_arithmetic(axis)),
        )
    };
    lines.extend((0..conv.rank()).map(arithmetic));
    lines
}

fn shape(shape: Option<Vec<usize>>) -> String {
    shape.map_or("known at run time".to_owned(), |shape| format!("{shape:?}"))
}

fn costs(conv: &Conv) -> Vec<(&'static str, String)> {
    let Some(facts) = analysis::facts(conv) else {
        return vec![("costs", "follow from sizes known at run time".to_owned())];
    };
    let mut lines = vec![
        (
            "parameters",
            format!("{}{}", thousands(facts.parameters.into()), against_dense(conv, &facts)),
        ),
        ("multiply-adds", thousands(facts.multiply_adds)),
        ("memory", memory(&facts)),
        (
            "intensity",
            format!("{:.1} operations a byte", facts.arithmetic_intensity),
        ),
    ];
    if let Ok(fields) = analysis::receptive_field(std::slice::from_ref(conv)) {
        let sizes: Vec<String> = fields.iter().map(|field| field.size.to_string()).collect();
        lines.push(("sees", format!("{} of the input", sizes.join(" x "))));
    }
    lines
}

/// What groups save.
fn against_dense(conv: &Conv, facts: &Facts) -> String {
    if conv.groups() == 1 {
        return String::new();
    }
    let dense = Conv::new(ConvSpec {
        groups: 1,
        ..conv.spec().clone()
    });
    match dense.ok().as_ref().and_then(analysis::facts) {
        Some(dense) if facts.parameters > 0 => format!("; without groups {}", thousands(dense.parameters.into())),
        _ => String::new(),
    }
}

fn memory(facts: &Facts) -> String {
    let named = [
        ("input", facts.input_bytes),
        ("weight", facts.weight_bytes),
        ("bias", facts.bias_bytes),
        ("residual", facts.residual_bytes),
        ("output", facts.output_bytes),
    ];
    let parts = named
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| format!("{name} {}", size(*bytes)));
    format!(
        "{}: {}",
        size(facts.total_bytes()),
        parts.collect::<Vec<_>>().join(", ")
    )
}

fn size(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, 0);
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    let decimals = usize::from(unit > 0 && size < 100.0);
    format!("{size:.decimals$} {}", UNITS[unit])
}

/// What one step of each micro-kernel's inner loop costs, by the program and by the machine code that we assemble of it.
fn bills(nest: &Nest, target: &Target) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for leaf in &nest.leaves {
        lines.push(("", format!("{}: {}", leaf.name, Bill::of(leaf))));
        lines.extend(Level::of(target).map(|level| ("", assembled(nest, leaf, level))));
    }
    if let Some(first) = lines.first_mut() {
        first.0 = "leaves";
    }
    lines
}

fn assembled(nest: &Nest, leaf: &Leaf, level: Level) -> String {
    match x86::assemble(nest, leaf, level) {
        Ok(machine) => format!("  assembled: {}", machine.bill()),
        Err(why) => format!("  by cranelift: {why}"),
    }
}
