//! The words of the command line that are not already words of the text form.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use conv_files::Kind;
use conv_ir::analysis::Roofline;
use conv_ir::separate::Accuracy;
use conv_ir::{PaddingMode, Reduction, Size, Target};

/// Spatial extents; a type of its own so that clap takes them as one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Extents(pub Vec<Size>);

/// `56x56` or `56,56`; a name in capitals is a size that is known only at run time.
pub fn extents(text: &str) -> Result<Extents, String> {
    text.split([',', 'x']).map(size).collect::<Result<_, _>>().map(Extents)
}

/// What is made of a window.
pub fn reduction(text: &str) -> Result<Reduction, String> {
    text.parse().map_err(|error: conv_ir::Error| error.to_string())
}

/// The type of an array's numbers.
pub fn kind(text: &str) -> Result<Kind, String> {
    let convolved = || Kind::ALL.iter().copied().filter(|kind| kind.is_convolved());
    convolved().find(|kind| kind.name() == text).ok_or_else(|| {
        let names: Vec<&str> = convolved().map(Kind::name).collect();
        format!("there is no type '{}'; there are {}", conv_ir::cut(text), names.join(", "))
    })
}

/// `8`, or a name.
pub fn size(text: &str) -> Result<Size, String> {
    let is_name = text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_name {
        return Ok(Size::Free(text.to_owned()));
    }
    text.parse()
        .map(Size::Known)
        .map_err(|_| format!("'{text}' is neither a whole number nor a name in capitals"))
}

/// What lies outside the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub enum Outside {
    /// 0 0 | a b c | 0 0
    #[default]
    Zeros,
    /// v v | a b c | v v, where v is --padding-value
    Constant,
    /// c b | a b c | b a
    #[value(alias = "mirror")]
    Reflect,
    /// b a | a b c | c b
    Symmetric,
    /// a a | a b c | c c
    #[value(aliases = ["edge", "nearest"])]
    Replicate,
    /// b c | a b c | a b
    #[value(alias = "wrap")]
    Circular,
}

impl Outside {
    /// With the value for `constant`, 0 by default; no other mode takes one.
    pub fn with_value(self, value: Option<f64>) -> Result<PaddingMode, String> {
        match (self, value) {
            (Outside::Constant, value) => Ok(PaddingMode::Constant(value.unwrap_or(0.0))),
            (_, Some(_)) => Err("--padding-value needs --padding-mode constant".to_owned()),
            (Outside::Zeros, None) => Ok(PaddingMode::Zeros),
            (Outside::Reflect, None) => Ok(PaddingMode::Reflect),
            (Outside::Symmetric, None) => Ok(PaddingMode::Symmetric),
            (Outside::Replicate, None) => Ok(PaddingMode::Replicate),
            (Outside::Circular, None) => Ok(PaddingMode::Circular),
        }
    }
}

/// What machine code is made for, by name.
pub fn target() -> impl TypedValueParser<Value = Target> {
    let known = Target::ALL.iter().filter(|target| **target != Target::RUST);
    let known: Vec<&str> = known.map(|target| target.name).rev().collect();
    PossibleValuesParser::new(known)
        .try_map(|name| Target::by_name(&name).ok_or(format!("there is no target {name}")))
}

/// `150:20`: peak and bandwidth, both above zero.
pub fn roofline(text: &str) -> Result<Roofline, String> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    let read =
        |(peak, bandwidth)| Some(Roofline { peak: number(peak)?, bandwidth: number(bandwidth)? });
    text.split_once(':')
        .and_then(read)
        .ok_or_else(|| "give GFLOP/s and GB/s, two numbers above zero, as in 150:20".to_owned())
}

/// Beyond any machine, and well below what an operating system lets one process start.
const MAX_THREADS: usize = 1024;

/// A number of threads.
pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=MAX_THREADS) => Ok(threads),
        _ => Err(format!("the number of threads must be from 1 to {MAX_THREADS}")),
    }
}

/// How exact a result must be: the argument of every command that computes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Exactness {
    /// exact: the bits of every other route; fast: known windows of low rank may run as columns
    /// and rows, and steps of stride 1 in tiles of fewer multiplications, within a bound that is
    /// printed; within(X): the same, where the bound is at most X of the largest input times the
    /// sum of the |weights|; unfused: each multiply-add rounds twice, as on CPUs without fused ones
    #[arg(long, value_name = "exact|fast|within(X)|unfused", default_value_t = Accuracy::Exact, value_parser = |text: &str| text.parse::<Accuracy>())]
    pub accuracy: Accuracy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_are_sizes_known_later() {
        let sizes = extents("Hx56").map(|extents| extents.0);
        assert_eq!(sizes, Ok(vec![Size::Free("H".to_owned()), Size::Known(56)]));
        assert!(size("h").is_err() && size("-1").is_err() && extents("3x").is_err());
    }

    #[test]
    fn only_a_constant_has_a_value() {
        assert_eq!(Outside::Constant.with_value(Some(0.5)), Ok(PaddingMode::Constant(0.5)));
        assert!(Outside::Reflect.with_value(Some(0.5)).is_err());
    }

    #[test]
    fn a_roofline_is_two_numbers() {
        assert_eq!(roofline("150:20").map(|found| found.ridge()), Ok(7.5));
        for wrong in ["150", "150:0", "150:-1", "nan:1", "1:2:3", "inf:1", ""] {
            assert!(roofline(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn threads_are_counted_from_one() {
        assert_eq!(threads("4"), Ok(4));
        assert!(threads("0").is_err() && threads("1000000").is_err() && threads("many").is_err());
    }
}
