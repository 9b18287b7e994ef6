//! The first word of the text form: what is made of a window, over how many axes.
//!
//! ```text
//! conv2d  conv2d-transposed (conv_transpose2d ConvTranspose2d deconv2d)  maxpool2d (MaxPool2d
//! max_pool2d)  minpool2d  avgpool2d  global_maxpool2d  global_avgpool2d (GlobalAveragePool2d)
//! dilation2d  erosion2d  linear  upsample_nearest2d  input2d
//! ```
//!
//! `linear` and `upsample_nearest2d` are convolutions by other names: a linear layer's window is
//! the whole input, and nearest upsampling is transposed and depthwise, its window as large as its
//! stride and of ones. `input2d` declares an input of a program, and nothing is computed.

use super::Reduction;
use super::scan::Scanner;
use crate::error::Error;

/// What the first word says.
pub(super) struct Head {
    /// `None`: as many as the input has.
    pub rank: Option<usize>,
    pub transposed: bool,
    pub reduction: Reduction,
    /// The window is the whole image.
    pub global: bool,
    /// Each input is repeated: the window is of ones.
    pub repeats: bool,
    /// An input of a program.
    pub declares: bool,
}

/// A word without a number of axes.
const LINEAR: &str = "linear";

const HEADS: [&str; 14] = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv2d-transposed",
    "maxpool2d",
    "minpool2d",
    "avgpool2d",
    "global_maxpool2d",
    "global_avgpool2d",
    "dilation2d",
    "erosion2d",
    "linear",
    "upsample_nearest2d",
    "input2d",
];

pub(super) fn head(scan: &mut Scanner) -> Result<Head, Error> {
    scan.skip_spaces();
    let start = scan.position();
    let said = scan.word();
    if said.eq_ignore_ascii_case(LINEAR) {
        let sum = of_kind("conv").expect("a kind");
        return Ok(Head { global: true, ..sum });
    }
    let (kind, rank) = split(said);
    match (kind.and_then(|kind| of_kind(&kind)), rank) {
        (Some(head), Some(rank @ 1..=8)) => Ok(Head { rank: Some(rank), ..head }),
        (Some(_), Some(rank)) => {
            Err(scan.error(start, format!("{rank} spatial axes, but there must be 1 to 8")))
        }
        (None, Some(rank)) if said.to_ascii_lowercase().starts_with("depthwise") => {
            let message = format!(
                "a depthwise convolution has as many groups as channels: `conv{rank}d g32 ic32 ..`"
            );
            Err(scan.error(start, message))
        }
        _ => Err(scan.unknown(start, said, &HEADS)),
    }
}

/// Whether a text begins as the text form does.
pub(super) fn begins(text: &str) -> bool {
    let word = text.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default();
    let is_conv = word.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("conv"));
    let is_linear = word.eq_ignore_ascii_case(LINEAR);
    is_conv || is_linear || split(word).0.is_some_and(|kind| of_kind(&kind).is_some())
}

/// `maxpool` and 2 of `MaxPool2d`: in lower case, without what joins words.
fn split(word: &str) -> (Option<String>, Option<usize>) {
    let word = word.to_ascii_lowercase();
    // The number of axes stands last, or before `-transposed`.
    let (word, turned) = match word.strip_suffix("-transposed").or(word.strip_suffix("_transposed"))
    {
        Some(rest) => (rest, "transpose"),
        None => (word.as_str(), ""),
    };
    let Some(rest) = word.strip_suffix('d') else { return (None, None) };
    let kind = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    let rank = rest[kind.len()..].parse().ok();
    (Some(kind.replace(['_', '-'], "") + turned), rank)
}

/// The head of a kind, without its axes.
fn of_kind(kind: &str) -> Option<Head> {
    let plain = |reduction, global| Head {
        rank: None,
        transposed: false,
        reduction,
        global,
        repeats: false,
        declares: false,
    };
    let sum = plain(Reduction::Sum, false);
    match kind {
        "conv" => Some(sum),
        "input" => Some(Head { declares: true, ..plain(Reduction::Max, false) }),
        // PyTorch has a class `ConvTranspose2d` beside the function `conv_transpose2d`.
        "convtranspose" | "deconv" => Some(Head { transposed: true, ..sum }),
        "upsamplenearest" | "upsamplingnearest" => {
            Some(Head { transposed: true, repeats: true, ..sum })
        }
        kind => {
            let (kind, transposed) = match kind.strip_suffix("transpose") {
                Some(rest) => (rest, true),
                None => (kind, false),
            };
            let (reduction, global) = Reduction::named(kind)?;
            Some(Head { transposed, ..plain(reduction, global) })
        }
    }
}
