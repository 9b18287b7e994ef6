//! What is timed: descriptions, or a table of layers, each a program of one step or several.
//!
//! A table is a CSV file with one convolution a line, or a text with one program a line:
//!
//! ```text
//! name,ic,oc,in_spatial,kernel      # a remark
//! stem,3,64,224x224,7x7             block: conv2d ic16 oc96 in 56 kernel 1; conv2d oc16 kernel 1
//! ```
//!
//! Columns, in any order: `name, family, n, ic, oc, groups, in_spatial, kernel, stride, dilation,
//! pad_lo, pad_hi, transposed, output_padding, bias`; only `name`, `in_spatial` and `kernel` must
//! be there. They are separated by commas, semicolons or tabs. Axes are separated by `x`;
//! `transposed` and `bias` are 0 or 1, or false or true. Everything is f32, channels first; a text
//! has layers of integers, too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use conv_ir::conv::nearest;
use conv_ir::{Conv, ConvSpec, DType, Padding, PerAxis, Program, Size};
use serde::{Deserialize, Deserializer, de};

use crate::failure::{Failure, STDIN};
use crate::route::Route;
use crate::values::Exactness;
use crate::{describe, input};

/// What bench and tune are asked for.
#[derive(clap::Args)]
pub struct Given {
    /// Convolutions or several steps each, in the text form (in quotes), or benchdnn problem
    /// strings
    #[arg(
        value_name = "DESCRIPTION",
        required_unless_present = "layers",
        conflicts_with_all = ["layers", "only"]
    )]
    texts: Vec<String>,
    /// Instead of descriptions: a table of layers; public, corners, others, planes, blocks and
    /// int8 are built in
    #[arg(long, visible_alias = "chains", value_name = "FILE")]
    layers: Option<PathBuf>,
    /// Only these layers
    #[arg(long, value_name = "LAYER,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Who computes
    #[arg(long, visible_alias = "target", value_enum, default_value_t = Route::Auto)]
    pub route: Route,
    #[command(flatten)]
    pub exactness: Exactness,
}

impl Given {
    /// The file of the table, if there is one.
    pub fn table(&self) -> Option<&Path> {
        self.layers.as_deref()
    }

    /// The layers that are asked for, and the names of all that there are.
    pub fn layers(&self) -> Result<(Vec<Layer>, BTreeSet<String>), Failure> {
        let path = self.table().unwrap_or(Path::new(""));
        let all = match self.layers {
            Some(_) => read(path)?,
            None => described(&self.texts)?,
        };
        let names = all.iter().map(|layer| layer.name.clone()).collect();
        Ok((pick(all, &self.only, path)?, names))
    }
}

/// One line of the table.
pub struct Layer {
    /// Its name.
    pub name: String,
    /// What kind of layer it is; means are taken over it.
    pub family: String,
    /// What it computes.
    pub program: Program,
}

const COLUMNS: [&str; 15] = [
    "name",
    "family",
    "n",
    "ic",
    "oc",
    "groups",
    "in_spatial",
    "kernel",
    "stride",
    "dilation",
    "pad_lo",
    "pad_hi",
    "transposed",
    "output_padding",
    "bias",
];

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    family: String,
    #[serde(default = "one")]
    n: usize,
    #[serde(default = "one")]
    ic: usize,
    #[serde(default = "one")]
    oc: usize,
    #[serde(default = "one")]
    groups: usize,
    #[serde(deserialize_with = "axes")]
    in_spatial: Vec<usize>,
    #[serde(deserialize_with = "axes")]
    kernel: Vec<usize>,
    #[serde(default = "ones", deserialize_with = "axes")]
    stride: Vec<usize>,
    #[serde(default = "ones", deserialize_with = "axes")]
    dilation: Vec<usize>,
    #[serde(default = "zeros", deserialize_with = "axes")]
    pad_lo: Vec<usize>,
    #[serde(default = "zeros", deserialize_with = "axes")]
    pad_hi: Vec<usize>,
    #[serde(default, deserialize_with = "yes_or_no")]
    transposed: bool,
    #[serde(default = "zeros", deserialize_with = "axes")]
    output_padding: Vec<usize>,
    #[serde(default, deserialize_with = "yes_or_no")]
    bias: bool,
}

fn one() -> usize {
    1
}

fn ones() -> Vec<usize> {
    vec![1]
}

fn zeros() -> Vec<usize> {
    vec![0]
}

/// Tables that need no file.
const BUILT_IN: [(&str, &str); 6] = [
    ("public", include_str!("../../layers/public.csv")),
    ("corners", include_str!("../../layers/corners.csv")),
    ("others", include_str!("../../layers/others.csv")),
    ("planes", include_str!("../../layers/planes.csv")),
    ("blocks", include_str!("../../layers/blocks.txt")),
    ("int8", include_str!("../../layers/int8.txt")),
];

/// Reads a table.
pub fn read(path: &Path) -> Result<Vec<Layer>, Failure> {
    let built_in = BUILT_IN.iter().find(|(name, _)| path == Path::new(name) && !path.exists());
    let is_name = path.components().count() == 1 && path.extension().is_none();
    let text = match built_in {
        Some((_, text)) => (*text).to_owned(),
        None if is_name && path != Path::new(STDIN) && !path.exists() => {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            return Err(Failure::file(path, format!("is no file and no table: there are {names}")));
        }
        None => input::text(path)?,
    };
    // The head of a CSV file has names alone.
    let parse = match lines(&text).next().is_some_and(|(_, line)| line.contains(':')) {
        true => programs,
        false => parse,
    };
    let layers = parse(&text).and_then(|layers| layers.iter().try_for_each(timed).map(|()| layers));
    layers.map_err(|message| Failure::file(path, message))
}

/// Descriptions as a table.
fn described(texts: &[String]) -> Result<Vec<Layer>, Failure> {
    let layer = |text: &String| -> Result<Layer, Failure> {
        let (name, family) = (text.trim().replace('\n', "; "), "described".to_owned());
        let layer = Layer { name, family, program: describe::program(text)? };
        timed(&layer).map_err(Failure::Usage)?;
        Ok(layer)
    };
    texts.iter().map(layer).collect()
}

fn timed(Layer { name, program, .. }: &Layer) -> Result<(), String> {
    let is_timed = program.dtype() == DType::F32 || program.dtype().is_integer();
    match is_timed && program.free_sizes().is_empty() {
        true => Ok(()),
        false => Err(format!("{name}: what is timed is f32 or of integers, and has known sizes")),
    }
}

/// The lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn programs(text: &str) -> Result<Vec<Layer>, String> {
    let layer = |(number, line): (usize, &str)| {
        let (name, program) = line.split_once(':').ok_or_else(|| {
            format!("line {number}: a name and a colon come before the description")
        })?;
        let program = describe::program(program.trim());
        Ok(Layer {
            name: name.trim().to_owned(),
            family: "programs".to_owned(),
            program: program.map_err(|error| format!("line {number}: {error}"))?,
        })
    };
    lines(text).map(layer).collect()
}

/// The layers of these names, all where there are none. `path` is the table's.
fn pick(layers: Vec<Layer>, only: &[String], path: &Path) -> Result<Vec<Layer>, Failure> {
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    only.iter().try_for_each(|name| known(name, &names, path))?;
    let is_picked = |layer: &Layer| only.is_empty() || only.contains(&layer.name);
    Ok(layers.into_iter().filter(is_picked).collect())
}

/// Names of a file that an error lists.
const MOST_NAMES: usize = 20;

/// Whether a file has that name in it; if not, which it has.
fn known(name: &str, names: &[&str], path: &Path) -> Result<(), Failure> {
    if names.contains(&name) {
        return Ok(());
    }
    let guess =
        nearest(name, names).map_or(String::new(), |near| format!("did you mean '{near}'? "));
    let more = names.len().saturating_sub(MOST_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let list = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
    let message = format!("there is no layer '{name}' in it; {guess}there are {list}{more}");
    Err(Failure::file(path, message))
}

fn parse(text: &str) -> Result<Vec<Layer>, String> {
    let head = text.lines().next().unwrap_or_default();
    let count = |mark: char| head.matches(mark).count();
    let delimiter = [',', ';', '\t'].into_iter().max_by_key(|&mark| (count(mark), mark == ','));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(delimiter.map_or(b',', |mark| mark as u8))
        .from_reader(text.as_bytes());
    columns(reader.headers().map_err(|error| error.to_string())?)?;
    let rows =
        reader.deserialize().map(|row| row.map_err(|error| error.to_string()).and_then(layer));
    let layers = rows.collect::<Result<Vec<_>, String>>()?;
    if layers.is_empty() { Err("holds no layers".to_owned()) } else { Ok(layers) }
}

/// A table may have columns of its own, but none that is nearly one of ours, nor one twice.
fn columns(found: &csv::StringRecord) -> Result<(), String> {
    for (at, column) in found.iter().enumerate() {
        if COLUMNS.contains(&column) {
            if found.iter().take(at).any(|other| other == column) {
                return Err(format!("column {column} is there twice"));
            }
        } else if let Some(near) = nearest(column, &COLUMNS) {
            return Err(format!("column '{column}' is none of ours, did you mean '{near}'?"));
        }
    }
    for needed in ["name", "in_spatial", "kernel"] {
        if !found.iter().any(|column| column == needed) {
            let all = COLUMNS.join(", ");
            return Err(format!(
                "column {needed} is missing; the first line names the columns: {all}"
            ));
        }
    }
    Ok(())
}

fn layer(row: Row) -> Result<Layer, String> {
    let Row { name, family, .. } = &row;
    let (name, family) = (name.clone(), family.clone());
    if row.pad_lo.len() != row.pad_hi.len() {
        return Err(format!(
            "layer {name}: pad_lo has {} axes, but pad_hi has {}",
            row.pad_lo.len(),
            row.pad_hi.len()
        ));
    }
    let padding = row.pad_lo.iter().copied().zip(row.pad_hi).collect();
    let spec = ConvSpec {
        batch: Size::Known(row.n),
        in_channels: row.ic,
        out_channels: row.oc,
        groups: row.groups,
        stride: PerAxis::Each(row.stride),
        dilation: PerAxis::Each(row.dilation),
        padding: Padding::Explicit(PerAxis::Each(padding)),
        transposed: row.transposed,
        output_padding: PerAxis::Each(row.output_padding),
        bias: row.bias,
        ..ConvSpec::new(row.in_spatial, row.kernel)
    };
    let conv = Conv::new(spec).map_err(|error| format!("layer {name}: {error}"))?;
    Ok(Layer { name, family, program: conv.into() })
}

fn axes<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<usize>, D::Error> {
    let text = String::deserialize(field)?;
    let numbers = text.split('x').map(|number| number.parse().ok()).collect::<Option<Vec<usize>>>();
    numbers.ok_or_else(|| de::Error::custom(format!("'{text}' is not numbers separated by x")))
}

fn yes_or_no<'de, D: Deserializer<'de>>(field: D) -> Result<bool, D::Error> {
    match String::deserialize(field)?.to_lowercase().as_str() {
        "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        other => Err(de::Error::custom(format!("{other} is neither 0 nor 1, false nor true"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(table: &str) -> Vec<String> {
        let layers = parse(table).expect("readable");
        layers.iter().map(|layer| format!("{}: {}", layer.name, layer.program)).collect()
    }

    fn refused(table: &str) -> String {
        parse(table).err().expect("it must be refused")
    }

    #[test]
    fn tables_are_read_as_people_have_them() {
        let wanted = ["a: conv2d f32 n1 g1 ic4 oc8 in 8x8 kernel 3x3 pad 1:1,1:1 + bias"];
        let head = "name,family,n,ic,oc,groups,in_spatial,kernel,stride,dilation,pad_lo,pad_hi,transposed,output_padding,bias";
        let line = "a,f,1,4,8,1,8x8,3x3,1x1,1x1,1x1,1x1,0,0x0,1";
        let plain = format!("{head}\n{line}\n");
        let table = texts(&plain);
        assert_eq!(table, texts(&plain.replace(',', ";")));
        assert_eq!(table, texts(&plain.replace(',', "\t")));
        assert_eq!(table, texts(&plain.replace(",0,0x0,1", ",False,0x0,True")));
        let few = "kernel,bias,in_spatial,ic,notes,oc,pad_hi,pad_lo,name\r\n3x3,true,8x8,4,mine,8,1,1,a\r\n";
        assert_eq!(table, texts(few));
        assert_eq!(table, wanted);
    }

    #[test]
    fn columns_have_names() {
        assert!(refused("name,in_spatial\na,8\n").contains("column kernel is missing"));
        let near = refused("name,in_spatial,kernel,strid\na,8,3,2\n");
        assert_eq!(near, "column 'strid' is none of ours, did you mean 'stride'?");
        let twice = refused("name,in_spatial,kernel,n,n\na,8,3,1,1\n");
        assert_eq!(twice, "column n is there twice");
    }
}
