//! `convc networks`: what well-known networks, or one's own, see at every named point, and what
//! they cost.
//!
//! It is a command of its own and no option of `explain`, because a network is not a row of
//! convolutions: it has poolings and branches, and is described in a language of its own.

use std::fs;
use std::io::Write;
use std::path::Path;

use conv_ir::Size;
use conv_ir::analysis::{NETWORKS, Network, PUBLISHED_AT, Point, Published, Seen, published};

use crate::failure::Failure;
use crate::input;
use crate::table::{Side, lined_up, thousands};
use crate::values::{self, Extents};

const EXAMPLES: &str = "\
Examples:
  All built-in networks, side by side with the published receptive fields
      convc networks
  Every named point of one, on an input of 321 x 321
      convc networks resnet_v1_50 --size 321x321
  One of your own
      convc networks mine.net

A network file looks like this:
      input 3
      conv 7x7/2 64 pad 3                   64 channels, stride 2, padding 3 (same where nothing is said; or valid)
      pool 3x3/2 :stem                      a name for what has been computed so far
      repeat 2 { add { | conv 1x1 32, depthwise 3x3, conv 1x1 64 } } :block
                                            add: branches are added, an empty one is a shortcut; join: put side by side

Fields, strides and paddings are exact. Published figures: Araujo, Norris and Sim, \"Computing Receptive Fields of Convolutional Neural \
Networks\", Distill 2019, for TF-Slim's variants.";

/// Show what networks see, point by point, and what they cost
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A built-in network's name, or a file
    #[arg(value_name = "NAME|FILE")]
    network: Option<String>,
    /// Height and width of the input
    #[arg(long, value_name = "HxW", value_parser = values::extents, default_value = "224x224")]
    size: Extents,
}

/// The command.
pub fn networks(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let size = match &args.size.0[..] {
        [Size::Known(height), Size::Known(width)] => [*height, *width],
        _ => {
            return Err(Failure::usage("--size takes two numbers, height x width, as in 224x224"));
        }
    };
    let rows = match &args.network {
        Some(name) => one(name, size)?,
        None => all(size)?,
    };
    let words = rows[0].len() - HEADS.len();
    let sides: Vec<Side> =
        (0..rows[0].len()).map(|at| if at < words { Side::Left } else { Side::Right }).collect();
    Ok(out.write_all(lined_up(&sides, &rows).as_bytes())?)
}

const HEADS: [&str; 9] = [
    "sees",
    "stride",
    "padding",
    "aligned",
    "published",
    "output",
    "channels",
    "parameters",
    "multiply-adds",
];

fn heads(first: &[&str]) -> Vec<String> {
    first.iter().chain(&HEADS).map(|&head| head.to_owned()).collect()
}

/// The last point of every built-in network.
fn all(size: [usize; 2]) -> Result<Vec<Vec<String>>, Failure> {
    let mut rows = vec![heads(&["network", "up to"])];
    for (name, text) in NETWORKS {
        let placed = text.parse::<Network>()?.at(size)?;
        if let (Some(point), Some(seen)) = (placed.points.last(), placed.seen()?.last()) {
            let cells = vec![(*name).to_owned(), point.name.clone()];
            let known = known(name).find(|line| line.point == point.name);
            rows.push(row((point, seen), cells, known, size));
        }
    }
    Ok(rows)
}

/// Every point of one network.
fn one(name: &str, size: [usize; 2]) -> Result<Vec<Vec<String>>, Failure> {
    let network = match Network::by_name(name) {
        Some(network) => network,
        None => read(name)?,
    };
    let placed = network.at(size)?;
    if placed.points.is_empty() {
        return Err(Failure::usage(format!(
            "{name}: no point has a name; add one, as in 'conv 3x3 64 :end'"
        )));
    }
    let mut rows = vec![heads(&["point"])];
    let published: Vec<Published> = known(name).collect();
    for (point, seen) in placed.points.iter().zip(&placed.seen()?) {
        let known = published.iter().find(|line| line.point == point.name);
        rows.push(row((point, seen), vec![point.name.clone()], known.copied(), size));
    }
    Ok(rows)
}

fn read(name: &str) -> Result<Network, Failure> {
    let path = Path::new(name);
    let text = fs::read_to_string(path).map_err(|error| {
        let names: Vec<&str> = NETWORKS.iter().map(|(name, _)| *name).collect();
        Failure::file(
            path,
            format!(
                "{error}, and no built-in network has this name; they are {}",
                names.join(", ")
            ),
        )
    })?;
    input::without_mark(text).parse().map_err(|error| Failure::file(path, error))
}

/// The published lines about a network.
fn known(network: &str) -> impl Iterator<Item = Published> {
    published().filter(move |line| line.network == network)
}

fn row(
    (point, Seen { fields, parameters, multiply_adds }): (&Point, &Seen),
    mut cells: Vec<String>,
    published: Option<Published>,
    size: [usize; 2],
) -> Vec<String> {
    let each = |of: &dyn Fn(usize) -> String| match fields.len() {
        2 if of(0) == of(1) => of(0),
        n => (0..n).map(of).collect::<Vec<_>>().join(" x "),
    };
    let at = PUBLISHED_AT.iter().position(|&known| size == [known, known]);
    cells.extend([
        each(&|axis| fields[axis].size.to_string()),
        each(&|axis| fields[axis].stride.to_string()),
        each(&|axis| (-fields[axis].start).to_string()),
        if fields.iter().all(|field| field.aligned) { "yes" } else { "no" }.to_owned(),
        published.map_or("-".to_owned(), |line| match at {
            Some(at) => format!("{} {} {}", line.field, line.stride, line.padding[at]),
            None => format!("{} {} -", line.field, line.stride),
        }),
        each(&|axis| point.extents[axis].to_string()),
        thousands(point.channels as u128),
        thousands(*parameters),
        thousands(*multiply_adds),
    ]);
    cells
}
