//! What integers stand for: the flags of `convc run` for zero points, scales and their rounding.

use std::path::{Path, PathBuf};

use conv_files::read_place;
use conv_ir::requantise::{Rescale, Rounding};

use crate::failure::Failure;

/// Flags for integers.
#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Integers")]
pub struct Quantised {
    /// The number of the input that stands for 0; zeros of the padding are that number
    #[arg(long, value_name = "Z", allow_negative_numbers = true)]
    pub input_zero_point: Option<i32>,
    /// The same of the weight: for all, for each output channel, or a .npy file of them
    #[arg(long, value_name = "Z[,Z..]", value_parser = numbers, allow_hyphen_values = true)]
    pub weight_zero_point: Option<Numbers>,
    /// What 1 stands for in the input [default: 1]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    input_scale: Option<f32>,
    /// The same of the weight: for all, for each output channel, or a .npy file of them
    #[arg(long, value_name = "S[,S..]", value_parser = numbers, allow_hyphen_values = true)]
    weight_scale: Option<Numbers>,
    /// The same of the output
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    output_scale: Option<f32>,
    /// The number of the output that stands for 0
    #[arg(long, value_name = "Z", allow_negative_numbers = true)]
    pub output_zero_point: Option<i32>,
    /// How a sum times its scale becomes an integer: onnx, xnnpack-f32, tflite-double,
    /// tflite-single [default: onnx]
    #[arg(long, value_name = "NAME")]
    rounding: Option<Rounding>,
}

/// One number, or one for each output channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// As they were written.
    Given(Vec<f64>),
    /// In a file.
    File(PathBuf),
}

/// `0.5`, `0.5,0.25`, `scales.npy` or `model.safetensors#scales`.
fn numbers(text: &str) -> Result<Numbers, String> {
    if text.ends_with(".npy") || text.contains('#') {
        return Ok(Numbers::File(text.into()));
    }
    let number = |part: &str| part.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    let given = text.split(',').map(number).collect::<Option<_>>();
    given.map(Numbers::Given).ok_or_else(|| {
        format!("'{}' is neither numbers, such as 0.5,0.25, nor a .npy file", conv_ir::cut(text))
    })
}

impl Numbers {
    /// One for each channel.
    pub fn of(&self, flag: &str, channels: usize) -> Result<Vec<f64>, Failure> {
        let numbers = match self {
            Numbers::Given(numbers) => numbers.clone(),
            Numbers::File(path) => {
                let place = path.to_string_lossy();
                read_place(Path::new(""), &place, channels.max(1))?.exact()
            }
        };
        match numbers.len() {
            1 => Ok(vec![numbers[0]; channels]),
            found if found == channels => Ok(numbers),
            found if channels == 1 => Err(Failure::usage(format!(
                "--{flag} has {found} numbers, but there is 1 output channel"
            ))),
            found => Err(Failure::usage(format!(
                "--{flag} has {found} numbers, but needs 1, or {channels}: one for each output channel"
            ))),
        }
    }
}

impl Quantised {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.weight_zero_point, &self.weight_scale].into_iter().filter_map(|flag| match flag {
            Some(Numbers::File(path)) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Whether sums are multiplied.
    pub fn is_scaled(&self) -> bool {
        let scales = self.input_scale.is_some() || self.output_scale.is_some();
        scales || self.weight_scale.is_some() || self.rounding.is_some()
    }

    /// Whether a rounding is named.
    pub fn is_rounded(&self) -> bool {
        self.rounding.is_some()
    }

    /// How products are rounded.
    pub fn rounding(&self) -> Rounding {
        self.rounding.unwrap_or_default()
    }

    /// What multiplies the sums of each channel.
    pub fn scales(&self, channels: usize) -> Result<Vec<f64>, Failure> {
        let weight = match &self.weight_scale {
            Some(numbers) => numbers.of("weight-scale", channels)?,
            None => vec![1.0; channels],
        };
        let (input, output) = (self.input_scale.unwrap_or(1.0), self.output_scale.unwrap_or(1.0));
        let scale = |weight: &f64| {
            let scale = self.rounding().scale(input, *weight as f32, output);
            let parts = [("input", input), ("weight", *weight as f32), ("output", output)];
            let bad = parts.into_iter().find(|(_, scale)| !(scale.is_finite() && *scale > 0.0));
            match bad {
                Some((name, bad)) => Err(Failure::usage(format!(
                    "--{name}-scale {bad}: a scale must be finite and larger than 0"
                ))),
                None => Ok(scale),
            }
        };
        weight.iter().map(scale).collect()
    }

    /// The same, ready to multiply by.
    pub fn rescales(&self, channels: usize) -> Result<Vec<Rescale>, Failure> {
        let scales = self.scales(channels)?;
        scales.into_iter().map(|scale| Ok(self.rounding().rescale(scale)?)).collect()
    }
}
