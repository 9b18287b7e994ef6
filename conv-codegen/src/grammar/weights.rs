//! Weights in the source: `weight: [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]`, `weight: "stem.npy"`,
//! `weight: "model.safetensors#conv1.weight"`, and `bias` likewise.
//!
//! In: the entries of an item. Out: per array a tensor as if the signature had it, whose sizes
//! stand on the user's literal or path, and its numbers. A literal has the brackets of the weight's
//! shape, or those of a lone window, which then serves every output channel. Paths count from the
//! package's folder, as those of `include_bytes!` in its root.

use std::collections::BTreeSet;
use std::path::PathBuf;

use conv_files::{read_place, split_place};
use conv_ir::{DType, cut};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{Expr, Lit, UnOp};

use super::Errors;
use super::parse::{Described, Dim, Entry, Item, ShapeSource, Tensor};
use super::types::sums;
use crate::budget::NUMBERS;

/// An array whose numbers are known.
pub(super) struct Given {
    /// As a parameter would be.
    pub tensor: Tensor,
    /// In C order.
    pub values: Vec<f64>,
}

/// What the item's entries say of the arrays.
#[derive(Default)]
pub(super) struct Known {
    pub weight: Option<Given>,
    pub bias: Option<Given>,
    /// There are entries that could not be read; reported.
    pub failed: bool,
}

/// Numbers in brackets: the extent of each level, outermost first, and the numbers.
struct Nested {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// Reads the entries `weight` and `bias`.
pub(super) fn read(item: &Described<'_>, errors: &mut Errors) -> Known {
    let entry = |name: &str| item.entries.iter().find(|entry| entry.key == name);
    let before = errors.count();
    let mut known = Known::default();
    for name in ["weight", "bias"] {
        if let (Some(entry), Some(_)) =
            (entry(name), item.parameters.iter().find(|p| p.name == name))
        {
            errors.at(&entry.key, format!("`{name}` is a parameter too: leave one of them out"));
        }
    }
    if let (Some(bias), None) = (entry("bias"), entry("weight")) {
        errors.at(
            &bias.key,
            "a bias can be compiled in only beside a weight: give `weight` here too".to_owned(),
        );
    }
    if errors.count() == before {
        known.weight = entry("weight").and_then(|entry| weight(item, entry, errors));
        known.bias = entry("bias").and_then(|entry| bias(item, entry, errors));
    }
    known.failed = errors.count() > before;
    known
}

/// The files that an item reads.
pub(super) fn files(item: &Item) -> impl Iterator<Item = PathBuf> {
    let entries = item.steps.iter().flat_map(|step| &step.entries);
    item.entries
        .iter()
        .chain(entries)
        .filter_map(|e| match e.key.to_string().as_str() {
            "weight" | "bias" | "tuning" => path(&e.value),
            "requantise" | "activation" => match &e.value {
                Expr::Call(call) => call.args.first().and_then(path),
                _ => None,
            },
            _ => None,
        })
        .map(|place| folder().join(split_place(&place).0))
}

/// What makes the compiler look at the files again when they change. Nobody calls the function: a
/// constant in its place would carry each file into the crate's metadata.
pub(super) fn tracked(files: &BTreeSet<PathBuf>) -> TokenStream {
    if files.is_empty() {
        return TokenStream::new();
    }
    let files = files.iter().map(|file| file.display().to_string());
    quote! {
        const _: () = {
            #[allow(unused)]
            fn tracked() { #(::core::include_bytes!(#files);)* }
        };
    }
}

pub(super) fn folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default()
}

pub(super) fn path(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn source(entry: &Entry) -> ShapeSource {
    if path(&entry.value).is_some() { ShapeSource::File } else { ShapeSource::Literal }
}

fn weight(item: &Described<'_>, entry: &Entry, errors: &mut Errors) -> Option<Given> {
    let input = item.parameters.iter().find(|p| p.name == "input")?;
    let rank = input.sizes.len().checked_sub(2).filter(|rank| *rank > 0)?;
    let Nested { mut shape, mut values } = numbers(input, entry, errors)?;
    let mut source = source(entry);
    if shape.len() == rank {
        // A lone window serves every channel.
        let count = channels(item, input)?;
        let repeated = conv_ir::repeated(&values, count);
        values = repeated.map_err(|error| errors.at(&entry.value, error.to_string())).ok()?;
        shape.splice(0..0, [count, 1]);
        source = ShapeSource::LoneWindow;
    }
    if shape.len() != rank + 2 {
        let found = shape.len();
        let message = format!(
            "a weight has {} levels of brackets or sizes (out, in / groups, kernel), a lone window {rank}, but this has {found}",
            rank + 2
        );
        errors.at(&entry.value, message);
        return None;
    }
    Some(given(entry, input, source, shape, values))
}

fn bias(item: &Described<'_>, entry: &Entry, errors: &mut Errors) -> Option<Given> {
    let input = item.parameters.iter().find(|p| p.name == "input")?;
    let Nested { shape, values } = numbers(input, entry, errors)?;
    Some(given(entry, input, source(entry), shape, values))
}

fn given(
    entry: &Entry,
    input: &Tensor,
    source: ShapeSource,
    shape: Vec<usize>,
    values: Vec<f64>,
) -> Given {
    let sizes = shape.into_iter().map(|n| Dim::Number(n, entry.value.clone())).collect();
    let tensor = Tensor {
        name: Ident::new(&entry.key.to_string(), entry.key.span()),
        dtype: Ident::new(&sums(input).to_string(), input.dtype.span()),
        sizes,
        shape: entry.value.to_token_stream(),
        source,
    };
    Given { tensor, values }
}

/// The channels that a lone window is repeated for: the output's, or a transposed convolution's
/// input's. Inside a chain as many come out as go in.
fn channels(item: &Described<'_>, input: &Tensor) -> Option<usize> {
    let word = |key: &str| {
        item.entries.iter().find(|e| e.key == key).map(|e| e.value.to_token_stream().to_string())
    };
    let transposed = word("transposed").is_some_and(|w| w == "true");
    let last = word("layout")
        .is_some_and(|w| w == "channels_last" || w.starts_with('n') && w.ends_with('c'));
    let image = item.output.filter(|_| !transposed).unwrap_or(input);
    let at = if last { image.sizes.len().checked_sub(1)? } else { 1 };
    image.sizes.get(at)?.number()
}

fn numbers(input: &Tensor, entry: &Entry, errors: &mut Errors) -> Option<Nested> {
    let read = match (path(&entry.value), &entry.value) {
        (Some(place), value) => from_file(input, &place, value),
        (None, Expr::Array(_)) => nested(input, &entry.value),
        (None, value) => Err(syn::Error::new_spanned(
            value,
            "expected numbers in brackets, such as `[[1, 2], [3, 4]]`, or a file, such as `\"stem.npy\"` or `\"model.safetensors#conv1.weight\"`",
        )),
    };
    read.map_err(|error| errors.add(error)).ok()
}

/// Scales or slopes: a number, numbers in brackets, or a file of them.
pub(super) fn scales(value: &Expr, what: &str) -> syn::Result<Vec<f64>> {
    let one = |value: &Expr| {
        let text = value.to_token_stream().to_string().replace(' ', "");
        let message =
            format!("expected a {what}: a number such as `0.02`, numbers in brackets, or a file");
        text.parse().map_err(|_| syn::Error::new_spanned(value, message))
    };
    let Some(place) = path(value) else {
        return match value {
            Expr::Array(array) => array.elems.iter().map(one).collect(),
            number => Ok(vec![one(number)?]),
        };
    };
    let wrong = |message: String| syn::Error::new_spanned(value, message);
    let array = read_place(&folder(), &place, NUMBERS).map_err(|error| wrong(error.to_string()))?;
    match array.kind.widened() {
        Some(_) => Ok(array.exact()),
        None => Err(wrong(format!("the file holds {}, but {what}s are f32 or f64", array.kind))),
    }
}

fn from_file(input: &Tensor, place: &str, value: &Expr) -> syn::Result<Nested> {
    let wrong = |message: String| syn::Error::new_spanned(value, message);
    let array = read_place(&folder(), place, NUMBERS).map_err(|error| wrong(error.to_string()))?;
    let kind = DType::named(array.kind.name());
    if kind.is_none_or(|dtype| dtype.format().computed != sums(input)) {
        return Err(wrong(format!(
            "the file holds {}, but input is {}: all must agree",
            array.kind, input.dtype
        )));
    }
    let values = array.exact();
    if let Some(at) = values.iter().position(|x| !x.is_finite()) {
        return Err(wrong(format!(
            "number {at} of the file is {}: known weights must be finite",
            values[at]
        )));
    }
    let shape = array.shape;
    Ok(Nested { shape, values })
}

/// Numbers in brackets, all rows of a level equally long.
fn nested(input: &Tensor, value: &Expr) -> syn::Result<Nested> {
    let Expr::Array(array) = value else {
        let values = vec![number(input, value)?];
        return Ok(Nested { shape: Vec::new(), values });
    };
    let mut errors = Errors::default();
    let mut all = Nested { shape: vec![array.elems.len()], values: Vec::new() };
    let mut first: Option<Vec<usize>> = None;
    for (at, element) in array.elems.iter().enumerate() {
        match nested(input, element) {
            Ok(one) => {
                match &first {
                    None => first = Some(one.shape),
                    Some(shape) if *shape != one.shape => {
                        errors.at(element, differs(at, &one.shape, shape))
                    }
                    Some(_) => {}
                }
                all.values.extend(one.values);
            }
            Err(error) => errors.add(error),
        }
    }
    if array.elems.is_empty() {
        errors.at(value, "expected at least one number".to_owned());
    }
    all.shape.extend(first.unwrap_or_default());
    errors.into_result().map(|()| all)
}

fn differs(at: usize, found: &[usize], first: &[usize]) -> String {
    match (found, first) {
        ([], _) => format!("entry {at} is a number, but entry 0 is a row of {}", first[0]),
        (_, []) => format!("entry {at} is a row, but entry 0 is a number"),
        ([found, ..], [first, ..]) if found != first => {
            format!("row {at} has {found} entries, but row 0 has {first}")
        }
        _ => format!("row {at} has the sizes {found:?}, but row 0 has {first:?}"),
    }
}

/// A number as it is written, rounded to the element type by whoever needs it.
fn number(input: &Tensor, value: &Expr) -> syn::Result<f64> {
    let wrong = |message: String| Err(syn::Error::new_spanned(value, message));
    let (sign, literal) = match value {
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => ("-", &*unary.expr),
        value => ("", value),
    };
    let (digits, suffix) = match literal {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Int(int) => (int.base10_digits().to_owned(), int.suffix().to_owned()),
            Lit::Float(float) => (float.base10_digits().to_owned(), float.suffix().to_owned()),
            _ => return wrong("expected a number, such as `0.5` or `-1`".to_owned()),
        },
        _ => return wrong("expected a number, such as `0.5` or `-1`".to_owned()),
    };
    let digits = format!("{sign}{digits}");
    let dtype = sums(input);
    let named = DType::named(&suffix).map(|dtype| dtype.format().computed);
    if !suffix.is_empty() && named != Some(dtype) {
        let (found, expected) = (cut(&suffix), &input.dtype);
        return wrong(format!("this is {found}, but input is {expected}: all must agree"));
    }
    let x: f64 = digits.parse().unwrap_or(f64::NAN);
    let fits = match dtype.range() {
        Some((least, greatest)) => (least as f64..=greatest as f64).contains(&x),
        None => dtype.round(x).is_finite(),
    };
    match fits {
        true if dtype.is_integer() && x.fract() != 0.0 => wrong(format!(
            "{} is no whole number, but input is {}: its weights are integers",
            cut(&digits),
            input.dtype
        )),
        true => Ok(x),
        false => wrong(format!("{} is beyond any {}", cut(&digits), dtype)),
    }
}
