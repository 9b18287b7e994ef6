//! The small words of the text form, each with `Display` and `FromStr` that agree: element types,
//! layouts, padding, activations.
//!
//! The same words serve the one-line form of a convolution, the command line's flags and the
//! macro's values:
//!
//! ```text
//! type         f32  f64
//! layout       channels-first (ncw nchw ncdhw)  channels-last (nwc nhwc ndhwc)
//! list         2   2x1   2,1                                          one number means all axes
//! padding      valid  same  same-upper  same-lower  full  causal   1   1,0:2    one number means
//!              both sides
//! reduction    sum  max  min  average  dilation  erosion
//! mode         zeros  constant(0.5)  reflect  symmetric  replicate  circular
//! activation   relu  relu6  leaky_relu(0.01)  clamp(0,6)  sigmoid  tanh  silu  gelu  hardswish
//!              hardsigmoid  elu(1)  softplus  mish  prelu(0.25,0.1)    a slope for each channel
//! ```
//!
//! `constant` alone means `constant(0)`, `leaky_relu` alone means a slope of 0.01 and `elu` alone
//! `elu(1)`, PyTorch's defaults. Only words are read here; whether the numbers make sense is the
//! constructor's business.

mod activation;

use std::fmt;
use std::str::FromStr;

pub(super) use activation::scan_activation;

use super::scan::Scanner;
use super::{Layout, Padding, PaddingMode, PerAxis, Reduction};
use crate::activation::Activation;
use crate::dtype::DType;
use crate::error::Error;
use crate::requantise::Rounding;
use crate::types::Types;

const LAYOUTS: [&str; 8] =
    ["nchw", "nhwc", "ncw", "nwc", "ncdhw", "ndhwc", "channels-first", "channels-last"];
const PADDINGS: [&str; 6] = ["valid", "same", "same-upper", "same-lower", "full", "causal"];
const MODES: [&str; 6] = ["zeros", "constant", "reflect", "symmetric", "replicate", "circular"];
const REDUCTIONS: [&str; 6] = ["sum", "max", "min", "average", "dilation", "erosion"];

/// A float as short as it reads back exactly: `6`, `0.01`, `1e300`.
pub(super) struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// `(before, after)` with a colon between.
pub(super) struct Sides(pub (usize, usize));

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.0, self.0.1)
    }
}

/// Writes items with a separator between.
pub(super) fn write_list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    items: impl IntoIterator<Item = T>,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// One item means all axes.
pub(super) fn per_axis<T: Copy>(items: Vec<T>) -> PerAxis<T> {
    match items[..] {
        [one] => PerAxis::All(one),
        _ => PerAxis::Each(items),
    }
}

/// The layout, and the rank that its name implies.
pub(super) fn layout_named(word: &str) -> Option<(Layout, Option<usize>)> {
    match word.to_ascii_lowercase().as_str() {
        "channels-first" => Some((Layout::ChannelsFirst, None)),
        "ncw" => Some((Layout::ChannelsFirst, Some(1))),
        "nchw" => Some((Layout::ChannelsFirst, Some(2))),
        "ncdhw" => Some((Layout::ChannelsFirst, Some(3))),
        "channels-last" => Some((Layout::ChannelsLast, None)),
        "nwc" => Some((Layout::ChannelsLast, Some(1))),
        "nhwc" => Some((Layout::ChannelsLast, Some(2))),
        "ndhwc" => Some((Layout::ChannelsLast, Some(3))),
        _ => None,
    }
}

pub(super) fn scan_padding(scan: &mut Scanner) -> Result<Padding, Error> {
    scan.skip_spaces();
    if scan.peek().is_some_and(|c| c.is_ascii_digit() || c == '-') {
        return Ok(Padding::Explicit(per_axis(scan.list(sides)?)));
    }
    let start = scan.position();
    match scan.word() {
        "valid" => Ok(Padding::Valid),
        "same" => Ok(Padding::Same),
        "same-upper" => Ok(Padding::SameUpper),
        "same-lower" => Ok(Padding::SameLower),
        "full" => Ok(Padding::Full),
        "causal" => Ok(Padding::Causal),
        "" => Err(scan.expected(
            "numbers such as `1` or `1:2,0:1`, `valid`, `same`, `same-upper`, `same-lower`, `full` or `causal`",
        )),
        word => Err(scan.unknown(start, word, &PADDINGS)),
    }
}

fn sides(scan: &mut Scanner) -> Result<(usize, usize), Error> {
    let lo = scan.number()?;
    Ok((lo, if scan.eat(':') { scan.number()? } else { lo }))
}

fn scan_dtype(scan: &mut Scanner) -> Result<DType, Error> {
    let names: Vec<&str> = DType::ALL.iter().map(|dtype| dtype.format().name).collect();
    scan_named(scan, DType::named, &names)
}

/// `x WEIGHT -> OUTPUT` behind the type of the input, and whether the output is said.
pub(super) fn scan_types(scan: &mut Scanner, input: DType) -> Result<(Types, bool), Error> {
    scan.skip_spaces();
    if !scan.eat_alone("x") {
        return Ok((input.into(), false));
    }
    let types = Types::of(input, scan_dtype(scan)?);
    scan.skip_spaces();
    if !scan.eat_word("->") {
        return Ok((types, false));
    }
    scan_dtype(scan).map(|output| (types.giving(output), true))
}

/// The type behind `bias`, where there is one.
pub(super) fn scan_bias_type(scan: &mut Scanner) -> Option<DType> {
    scan.skip_spaces();
    DType::ALL.iter().copied().find(|dtype| scan.eat_alone(dtype.format().name))
}

pub(super) fn scan_mode(scan: &mut Scanner) -> Result<PaddingMode, Error> {
    scan.skip_spaces();
    let start = scan.position();
    match scan.word() {
        "zeros" => Ok(PaddingMode::Zeros),
        "constant" if scan.peek() == Some('(') => {
            scan.arguments("constant(0.5)").map(|[value]| PaddingMode::Constant(value))
        }
        "constant" => Ok(PaddingMode::Constant(0.0)),
        // What NumPy, SciPy and ONNX call them, too, where that names one of them alone.
        "reflect" | "mirror" => Ok(PaddingMode::Reflect),
        "symmetric" => Ok(PaddingMode::Symmetric),
        "replicate" | "edge" | "nearest" => Ok(PaddingMode::Replicate),
        "circular" | "wrap" => Ok(PaddingMode::Circular),
        word => Err(scan.unknown(start, word, &MODES)),
    }
}

/// The rounding behind `requantise`; the default one before `scale`.
pub(super) fn scan_rounding(scan: &mut Scanner) -> Result<Rounding, Error> {
    scan.skip_spaces();
    if scan.at_word("scale") {
        return Ok(Rounding::default());
    }
    let start = scan.position();
    let word = scan.word();
    let known = Rounding::NAMES.into_iter().chain(["scale"]).collect::<Vec<_>>();
    Rounding::named(word).ok_or_else(|| scan.unknown(start, word, &known))
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layout::ChannelsFirst => "channels-first",
            Layout::ChannelsLast => "channels-last",
        })
    }
}

impl fmt::Display for PaddingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PaddingMode::Zeros => f.write_str("zeros"),
            PaddingMode::Constant(value) => write!(f, "constant({})", Number(*value)),
            PaddingMode::Reflect => f.write_str("reflect"),
            PaddingMode::Symmetric => f.write_str("symmetric"),
            PaddingMode::Replicate => f.write_str("replicate"),
            PaddingMode::Circular => f.write_str("circular"),
        }
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Padding::Valid => f.write_str("valid"),
            Padding::Same => f.write_str("same"),
            Padding::SameUpper => f.write_str("same-upper"),
            Padding::SameLower => f.write_str("same-lower"),
            Padding::Full => f.write_str("full"),
            Padding::Causal => f.write_str("causal"),
            Padding::Explicit(PerAxis::All(both)) => write!(f, "{}", Sides(*both)),
            Padding::Explicit(PerAxis::Each(list)) => {
                write_list(f, ",", list.iter().map(|&both| Sides(both)))
            }
        }
    }
}

impl fmt::Display for PerAxis<usize> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PerAxis::All(value) => write!(f, "{value}"),
            PerAxis::Each(list) => write_list(f, "x", list),
        }
    }
}

/// All of `text`, with nothing left over.
fn whole<T>(
    what: &'static str,
    text: &str,
    scan_one: impl FnOnce(&mut Scanner) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut scan = Scanner::new(what, text);
    let value = scan_one(&mut scan)?;
    scan.end()?;
    Ok(value)
}

fn scan_named<T>(
    scan: &mut Scanner,
    named: impl Fn(&str) -> Option<T>,
    known: &[&str],
) -> Result<T, Error> {
    scan.skip_spaces();
    let start = scan.position();
    let word = scan.word();
    named(word).ok_or_else(|| scan.unknown(start, word, known))
}

impl FromStr for DType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        whole("the element type", text, scan_dtype)
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        whole("the layout", text, |scan| scan_named(scan, layout_named, &LAYOUTS))
            .map(|(layout, _)| layout)
    }
}

fn reduction_named(word: &str) -> Option<Reduction> {
    Some(match word {
        "sum" => Reduction::Sum,
        "max" => Reduction::Max,
        "min" => Reduction::Min,
        "average" => Reduction::Average { count_include_pad: false },
        "dilation" => Reduction::Dilation,
        "erosion" => Reduction::Erosion,
        _ => return None,
    })
}

impl FromStr for Reduction {
    type Err = Error;

    /// An average without its padding.
    fn from_str(text: &str) -> Result<Self, Error> {
        whole("the reduction", text, |scan| scan_named(scan, reduction_named, &REDUCTIONS))
    }
}

impl FromStr for PaddingMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        whole("the padding mode", text, scan_mode)
    }
}

impl FromStr for Padding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        whole("the padding", text, scan_padding)
    }
}

impl FromStr for PerAxis<usize> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        whole("the numbers", text, |scan| scan.list(Scanner::number)).map(per_axis)
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        whole("the activation", text, scan_activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: FromStr<Err = Error> + fmt::Display + PartialEq + fmt::Debug>(text: &str) {
        let value: T = text.parse().unwrap();
        assert_eq!(value.to_string(), text);
    }

    fn refused<T: FromStr<Err = Error> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().unwrap_err().to_string()
    }

    #[test]
    fn words_round_trip() {
        ["f32", "f64", "f16", "bf16"].into_iter().for_each(round_trip::<DType>);
        ["i32", "i8", "u8", "i16", "u16"].into_iter().for_each(round_trip::<DType>);
        ["channels-first", "channels-last"].into_iter().for_each(round_trip::<Layout>);
        ["zeros", "constant(-0.5)", "reflect", "symmetric", "replicate", "circular"]
            .into_iter()
            .for_each(round_trip::<PaddingMode>);
        ["valid", "same-upper", "same-lower", "causal", "1:1", "1:2,0:3"]
            .into_iter()
            .for_each(round_trip::<Padding>);
        ["2", "2x1", "3x3x3"].into_iter().for_each(round_trip::<PerAxis<usize>>);
        ["relu", "leaky_relu(0.01)", "clamp(-1.5,6)", "gelu", "hardswish", "elu(0.5)", "mish"]
            .into_iter()
            .for_each(round_trip::<Activation>);
        ["leaky_relu(1e-300)", "clamp(-0,0.1)", "prelu(0.25,-0,1)"]
            .into_iter()
            .for_each(round_trip::<Activation>);
        assert_eq!("nhwc".parse(), Ok(Layout::ChannelsLast));
        assert_eq!("1,0:2".parse(), Ok(Padding::from([(1, 1), (0, 2)])));
        assert_eq!(" clamp( 0 , 6 ) ".parse(), Ok(Activation::Clamp(0.0, 6.0)));
        assert_eq!("leaky_relu".parse(), Ok(Activation::LeakyRelu(0.01)));
        assert_eq!("prelu(0.25)".parse(), Ok(Activation::LeakyRelu(0.25)));
        assert_eq!("constant".parse(), Ok(PaddingMode::Constant(0.0)));
        assert_eq!("mirror".parse(), Ok(PaddingMode::Reflect));
        assert_eq!("edge".parse(), Ok(PaddingMode::Replicate));
        assert_eq!("nearest".parse(), Ok(PaddingMode::Replicate));
        assert_eq!("wrap".parse(), Ok(PaddingMode::Circular));
        assert_eq!("ReLU".parse(), Ok(Activation::Relu));
        assert_eq!("swish".parse(), Ok(Activation::Silu));
        assert_eq!("NHWC".parse::<Layout>(), Ok(Layout::ChannelsLast));
    }

    #[test]
    fn wrong_words_are_named() {
        assert_eq!(
            refused::<DType>("half"),
            "cannot read the element type at column 1: found `half`, expected `f32`, `f64`, \
             `f16`, `bf16`, `i32`, `i8`, `u8`, `i16` or `u16`"
        );
        assert_eq!(
            refused::<PaddingMode>("reflct"),
            "cannot read the padding mode at column 1: found `reflct`, did you mean `reflect`?"
        );
        assert_eq!(
            refused::<Padding>("sane"),
            "cannot read the padding at column 1: found `sane`, did you mean `same`?"
        );
        assert_eq!(
            refused::<Padding>("1:"),
            "cannot read the padding at column 3: found nothing, expected a number"
        );
        assert_eq!(
            refused::<Activation>("clamp(0)"),
            "cannot read the activation at column 8: found `)`, expected `,`, as in `clamp(0,6)`"
        );
        assert_eq!(
            refused::<Activation>("relu relu"),
            "cannot read the activation at column 6: found `relu`, expected nothing more"
        );
        assert_eq!(
            refused::<PerAxis<usize>>("2,-1"),
            "cannot read the numbers at column 3: found `-1`, expected a number that is not negative"
        );
        assert_eq!(
            refused::<PerAxis<usize>>("99999999999999999999"),
            "cannot read the numbers at column 1: 99999999999999999999 is too large"
        );
    }
}
