//! A table of layers: a CSV file with one convolution a line.
//!
//! Columns: `name, family, n, ic, oc, groups, in_spatial, kernel, stride, dilation, pad_lo, pad_hi,
//! transposed, output_padding, bias`. Axes are separated by `x`; `transposed` and `bias` are
//! 0 or 1. Everything is f32, channels first.

use std::path::Path;

use conv_ir::{Conv, ConvSpec, Padding, PerAxis, Size};
use serde::{Deserialize, Deserializer, de};

use crate::failure::Failure;

/// One line of the table.
pub struct Layer {
    /// Its name.
    pub name: String,
    /// What kind of layer it is; means are taken over it.
    pub family: String,
    /// The convolution.
    pub conv: Conv,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    family: String,
    n: usize,
    ic: usize,
    oc: usize,
    groups: usize,
    #[serde(deserialize_with = "axes")]
    in_spatial: Vec<usize>,
    #[serde(deserialize_with = "axes")]
    kernel: Vec<usize>,
    #[serde(deserialize_with = "axes")]
    stride: Vec<usize>,
    #[serde(deserialize_with = "axes")]
    dilation: Vec<usize>,
    #[serde(deserialize_with = "axes")]
    pad_lo: Vec<usize>,
    #[serde(deserialize_with = "axes")]
    pad_hi: Vec<usize>,
    #[serde(deserialize_with = "zero_or_one")]
    transposed: bool,
    #[serde(deserialize_with = "axes")]
    output_padding: Vec<usize>,
    #[serde(deserialize_with = "zero_or_one")]
    bias: bool,
}

/// Reads a table.
pub fn read(path: &Path) -> Result<Vec<Layer>, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::file(path, format!("cannot be read: {error}")))?;
    parse(&bytes).map_err(|message| Failure::file(path, message))
}

/// The layers of these names, all where there are none. `path` is the table's.
pub fn pick(layers: Vec<Layer>, only: &[String], path: &Path) -> Result<Vec<Layer>, Failure> {
    let unknown = only.iter().find(|name| !layers.iter().any(|layer| layer.name == **name));
    if let Some(missing) = unknown {
        return Err(Failure::file(path, format!("there is no layer '{missing}' in it")));
    }
    let is_picked = |layer: &Layer| only.is_empty() || only.contains(&layer.name);
    Ok(layers.into_iter().filter(is_picked).collect())
}

fn parse(bytes: &[u8]) -> Result<Vec<Layer>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let rows =
        reader.deserialize().map(|row| row.map_err(|error| error.to_string()).and_then(layer));
    let layers = rows.collect::<Result<Vec<_>, String>>()?;
    if layers.is_empty() { Err("holds no layers".to_owned()) } else { Ok(layers) }
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
    Ok(Layer { name, family, conv })
}

fn axes<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<usize>, D::Error> {
    let text = String::deserialize(field)?;
    let numbers = text.split('x').map(|number| number.parse().ok()).collect::<Option<Vec<usize>>>();
    numbers.ok_or_else(|| de::Error::custom(format!("'{text}' is not numbers separated by x")))
}

fn zero_or_one<'de, D: Deserializer<'de>>(field: D) -> Result<bool, D::Error> {
    match u64::deserialize(field)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(de::Error::custom(format!("{other} is neither 0 nor 1"))),
    }
}
