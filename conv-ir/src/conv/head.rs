//! The first word of the text form: what is made of a window, over how many axes.
//!
//! ```text
//! conv2d  conv2d-transposed (conv_transpose2d ConvTranspose2d deconv2d)  maxpool2d (MaxPool2d
//! max_pool2d)  minpool2d  avgpool2d  global_maxpool2d  global_avgpool2d (GlobalAveragePool2d)
//! dilation2d  erosion2d
//! ```

use super::Reduction;
use super::scan::Scanner;
use crate::error::Error;

/// What the first word says.
pub(super) struct Head {
    pub rank: usize,
    pub transposed: bool,
    pub reduction: Reduction,
    /// The window is the whole image.
    pub global: bool,
}

const HEADS: [&str; 11] = [
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
];

pub(super) fn head(scan: &mut Scanner) -> Result<Head, Error> {
    scan.skip_spaces();
    let start = scan.position();
    let said = scan.word();
    let (kind, rank) = split(said);
    let known = kind.and_then(of_kind);
    match (known, rank) {
        (Some((reduction, transposed, global)), Some(rank @ 1..=8)) => {
            Ok(Head { rank, transposed, reduction, global })
        }
        (Some(_), Some(rank)) => {
            Err(scan.error(start, format!("{rank} spatial axes, but there must be 1 to 8")))
        }
        _ => Err(scan.unknown(start, said, &HEADS)),
    }
}

/// Whether a text begins as the text form does.
pub(super) fn begins(text: &str) -> bool {
    let word = text.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default();
    let is_conv = word.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("conv"));
    is_conv || split(word).0.and_then(of_kind).is_some()
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

/// The reduction, whether it is transposed, and whether its window is the image.
fn of_kind(kind: String) -> Option<(Reduction, bool, bool)> {
    match kind.as_str() {
        "conv" => Some((Reduction::Sum, false, false)),
        // PyTorch has a class `ConvTranspose2d` beside the function `conv_transpose2d`.
        "convtranspose" | "deconv" => Some((Reduction::Sum, true, false)),
        kind => {
            let (kind, transposed) = match kind.strip_suffix("transpose") {
                Some(rest) => (rest, true),
                None => (kind, false),
            };
            Reduction::named(kind).map(|(reduction, global)| (reduction, transposed, global))
        }
    }
}
