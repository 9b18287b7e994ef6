//! The keys of `conv!` and their values: what each key takes, and where in the text it stands.
//!
//! The words (modes, activations, paddings) are those of the text form, read by `conv-ir`; an
//! underscore stands for its hyphen. Numbers per axis are `2` or `[2, 1]`, padding is also `(1, 2)`
//! and `[(1, 2), 0]`. Whether a number makes sense is for `Conv::new` to say.

use conv_ir::program::Tuning;
use conv_ir::program::stream::PIECES;
use conv_ir::requantise::Rounding;
use conv_ir::separate::Accuracy;
use conv_ir::{Activation, Error, Isa, Layout, Padding, PaddingMode, PerAxis, Reduction, cut};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, Lit};

use super::Errors;
use super::parse::{Entry, whole_number, word};
use super::weights::{folder, path, scales};
use crate::{Library, read_tuning};

/// Every key, as an error message lists them.
pub(super) const KEYS: [&str; 23] = [
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
    "padding_value",
    "output_padding",
    "transposed",
    "flip",
    "activation",
    "requantise",
    "layout",
    "schedule",
    "weight",
    "bias",
    "accuracy",
    "std",
    "reduction",
    "kernel",
    "ceil_mode",
    "count_include_pad",
    "stream",
    "tuning",
];

/// `onnx(0.02, 3)`: what makes integers of few bits of sums.
pub(super) struct Requantise {
    pub rounding: Rounding,
    pub scales: Vec<f64>,
    pub zero_point: i32,
}

/// What a file of `convc tune` says of the machines that versions are for, and what is passed over.
#[derive(Clone, Default)]
pub(super) struct Measured {
    pub tuning: Vec<(Isa, Tuning)>,
    pub notes: Vec<String>,
}

/// The values given, and where.
pub(super) struct Settings<'a> {
    entries: Vec<&'a Entry>,
    pub stride: PerAxis<usize>,
    pub dilation: PerAxis<usize>,
    pub output_padding: PerAxis<usize>,
    pub padding: Padding,
    pub padding_mode: PaddingMode,
    pub groups: usize,
    pub reduction: Reduction,
    pub ceil_mode: bool,
    pub transposed: bool,
    pub flip: bool,
    pub activation: Option<Activation>,
    pub requantise: Option<Requantise>,
    pub layout: (Layout, Option<usize>),
    pub schedule: Option<conv_ir::Schedule>,
    pub accuracy: Accuracy,
    pub runtime: Library,
    pub tuning: Measured,
    /// The letter of the axis that streams, and lengths of pieces.
    pub stream: Option<(char, Vec<usize>)>,
}

impl<'a> Settings<'a> {
    /// Reads all entries; what cannot be read is reported and keeps its default.
    pub fn read(entries: &'a [Entry], errors: &mut Errors) -> Settings<'a> {
        let mut settings = Settings {
            entries: Vec::new(),
            stride: PerAxis::All(1),
            dilation: PerAxis::All(1),
            output_padding: PerAxis::All(0),
            padding: Padding::Valid,
            padding_mode: PaddingMode::Zeros,
            groups: 1,
            reduction: Reduction::Sum,
            ceil_mode: false,
            transposed: false,
            flip: false,
            activation: None,
            requantise: None,
            layout: (Layout::ChannelsFirst, None),
            schedule: None,
            accuracy: Accuracy::Exact,
            runtime: Library::Std,
            tuning: Measured::default(),
            stream: None,
        };
        for entry in entries {
            if settings.value(&entry.key.to_string()).is_some() {
                errors.at(&entry.key, format!("`{}` is given twice", entry.key));
            } else if let Err(error) = settings.set(entry) {
                errors.add(error);
            }
            settings.entries.push(entry);
        }
        settings.pad_with(errors);
        settings.count_padding(errors);
        settings
    }

    fn set(&mut self, entry: &Entry) -> syn::Result<()> {
        let value = &entry.value;
        match entry.key.to_string().as_str() {
            "stride" => self.stride = per_axis(value, whole_number)?,
            "dilation" => self.dilation = per_axis(value, whole_number)?,
            "output_padding" => self.output_padding = per_axis(value, whole_number)?,
            "padding" => self.padding = padding(value)?,
            "padding_mode" => self.padding_mode = parsed(value)?,
            // Joined with the mode once all entries are read.
            "padding_value" => drop(number(value)?),
            "reduction" => self.reduction = parsed(value)?,
            "ceil_mode" => self.ceil_mode = boolean(value)?,
            // Joined with the reduction once all entries are read.
            "count_include_pad" => drop(boolean(value)?),
            "groups" => self.groups = whole_number(value)?,
            "transposed" => self.transposed = boolean(value)?,
            "flip" => self.flip = boolean(value)?,
            "activation" => self.activation = Some(activation(value)?),
            "requantise" => self.requantise = Some(requantise(value)?),
            "layout" => self.layout = layout(value)?,
            "schedule" => self.schedule = Some(schedule(value)?),
            // Read with the signature, whose tensors they are.
            "weight" | "bias" | "kernel" => {}
            "std" if boolean(value)? => self.runtime = Library::Std,
            "std" => self.runtime = Library::Core,
            "accuracy" => self.accuracy = parsed(value)?,
            "stream" => self.stream = Some(stream(value)?),
            "tuning" => self.tuning = measured(value)?,
            "residual" => {
                let message = "a residual is a parameter behind the others: `residual: [f32; 1, 8, 14, 14]`, shaped as the output";
                return Err(syn::Error::new_spanned(&entry.key, message));
            }
            unknown => {
                return Err(syn::Error::new_spanned(
                    &entry.key,
                    unknown_word("key", unknown, &KEYS),
                ));
            }
        }
        Ok(())
    }

    /// `padding_value` belongs to `padding_mode: constant`.
    fn pad_with(&mut self, errors: &mut Errors) {
        let Some(Ok(value)) = self.value("padding_value").map(number) else {
            return;
        };
        match self.padding_mode {
            PaddingMode::Constant(_) => self.padding_mode = PaddingMode::Constant(value),
            _ => {
                let place = self.place("padding_value", None).unwrap_or_default();
                errors.at(&place, "a padding value needs `padding_mode: constant`".to_owned());
            }
        }
    }

    /// `count_include_pad` belongs to `reduction: average`.
    fn count_padding(&mut self, errors: &mut Errors) {
        let Some(Ok(count)) = self.value("count_include_pad").map(boolean) else {
            return;
        };
        match &mut self.reduction {
            Reduction::Average { count_include_pad } => *count_include_pad = count,
            _ => {
                let place = self.place("count_include_pad", None).unwrap_or_default();
                let message = "counting the padding is about `reduction: average`";
                errors.at(&place, message.to_owned());
            }
        }
    }

    fn value(&self, key: &str) -> Option<&'a Expr> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The tokens behind a key, or behind one axis of it.
    pub fn place(&self, key: &str, axis: Option<usize>) -> Option<TokenStream> {
        let value = self.value(key)?;
        match (value, axis) {
            (Expr::Array(array), Some(axis)) if axis < array.elems.len() => {
                Some(array.elems[axis].to_token_stream())
            }
            _ => Some(value.to_token_stream()),
        }
    }
}

/// `2` or `[2, 1]`.
fn per_axis<T>(value: &Expr, one: impl Fn(&Expr) -> syn::Result<T>) -> syn::Result<PerAxis<T>> {
    let Expr::Array(array) = value else {
        return one(value).map(PerAxis::All);
    };
    let mut errors = Errors::default();
    let mut values = Vec::new();
    for element in &array.elems {
        match one(element) {
            Ok(value) => values.push(value),
            Err(error) => errors.add(error),
        }
    }
    errors.into_result().map(|()| PerAxis::Each(values))
}

fn padding(value: &Expr) -> syn::Result<Padding> {
    match word(value) {
        Some(_) => parsed(value),
        None => per_axis(value, sides).map(Padding::Explicit),
    }
}

/// `1` or `(1, 2)`.
fn sides(value: &Expr) -> syn::Result<(usize, usize)> {
    match value {
        Expr::Tuple(pair) if pair.elems.len() == 2 => Ok((whole_number(&pair.elems[0])?, whole_number(&pair.elems[1])?)),
        Expr::Tuple(_) => Err(syn::Error::new_spanned(value, "expected `(before, after)`, such as `(1, 2)`")),
        both => whole_number(both).map(|n| (n, n)).map_err(|_| {
            syn::Error::new_spanned(
                both,
                "expected a number, `(before, after)`, a list of those, `valid`, `same`, `same_upper`, `same_lower`, `full` or `causal`",
            )
        }),
    }
}

fn boolean(value: &Expr) -> syn::Result<bool> {
    match value {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Bool(b) => Ok(b.value),
            _ => Err(syn::Error::new_spanned(value, "expected `true` or `false`")),
        },
        _ => Err(syn::Error::new_spanned(value, "expected `true` or `false`")),
    }
}

fn number(value: &Expr) -> syn::Result<f64> {
    let text = value.to_token_stream().to_string().replace(' ', "");
    text.parse().map_err(|_| syn::Error::new_spanned(value, "expected a number, such as `0.5`"))
}

/// Any of `conv-ir`'s words, with arguments where it takes them.
fn parsed<T: std::str::FromStr<Err = Error>>(value: &Expr) -> syn::Result<T> {
    let text = value.to_token_stream().to_string().replace(' ', "");
    let text = match word(value) {
        Some(word) if word.to_string().starts_with("same_") => text.replace('_', "-"),
        _ => text,
    };
    text.parse().map_err(|error| syn::Error::new_spanned(value, plain(error)))
}

fn layout(value: &Expr) -> syn::Result<(Layout, Option<usize>)> {
    const LAYOUTS: [&str; 8] =
        ["nchw", "nhwc", "ncw", "nwc", "ncdhw", "ndhwc", "channels_first", "channels_last"];
    let name = word(value).map(|word| word.to_string()).unwrap_or_default();
    let rank = match name.as_str() {
        "channels_first" | "channels_last" => None,
        name => Some(name.len().saturating_sub(2)),
    };
    match name.replace('_', "-").parse() {
        Ok(layout) => Ok((layout, rank)),
        Err(_) => Err(syn::Error::new_spanned(
            value,
            unknown_word("layout", &value.to_token_stream().to_string(), &LAYOUTS),
        )),
    }
}

/// A word of the text form, or `prelu` of slopes in brackets or in a file.
fn activation(value: &Expr) -> syn::Result<Activation> {
    match value {
        Expr::Call(call) if word(&call.func).is_some_and(|word| word == "prelu") => {
            match slopes(call) {
                Some(given) => Ok(Activation::prelu(&scales(given, "slope")?)),
                None => parsed(value),
            }
        }
        _ => parsed(value),
    }
}

/// `[0.1, 0.2]` or `"slopes.npy"` of `prelu`.
pub(super) fn slopes(call: &syn::ExprCall) -> Option<&Expr> {
    let [given] = call.args.iter().collect::<Vec<_>>()[..] else { return None };
    let is_text = matches!(given, Expr::Lit(lit) if matches!(lit.lit, Lit::Str(_)));
    (is_text || matches!(given, Expr::Array(_))).then_some(given)
}

/// `onnx(0.02)`, `onnx([0.02, 0.5], 3)` or `tflite_double("scales.npy", -128)`.
fn requantise(value: &Expr) -> syn::Result<Requantise> {
    let form = "expected a rounding, scales and a zero point, such as `onnx(0.02, 3)`, \
                `tflite_double([0.02, 0.5])` or `onnx(\"scales.npy\", 3)`";
    let wrong = |place: &dyn ToTokens| Err(syn::Error::new_spanned(place, form));
    let Expr::Call(call) = value else { return wrong(value) };
    let Some(name) = word(&call.func) else { return wrong(&call.func) };
    let words = Rounding::NAMES.map(|name| name.replace('-', "_"));
    let Some(rounding) = Rounding::named(&name.to_string().replace('_', "-")) else {
        let known = words.each_ref().map(String::as_str);
        let message = unknown_word("rounding", &name.to_string(), &known);
        return Err(syn::Error::new_spanned(name, message));
    };
    let (given, zero_point) = match call.args.len() {
        1 => (&call.args[0], 0),
        2 => (&call.args[0], integer(&call.args[1])?),
        _ => return wrong(value),
    };
    Ok(Requantise { rounding, scales: scales(given, "scale")?, zero_point })
}

fn integer(value: &Expr) -> syn::Result<i32> {
    let text = value.to_token_stream().to_string().replace(' ', "");
    let message = "expected a zero point: a whole number of the output's type, such as `3`";
    text.parse().map_err(|_| syn::Error::new_spanned(value, message))
}

/// `w`, or `w(64, 8, 1)`.
fn stream(value: &Expr) -> syn::Result<(char, Vec<usize>)> {
    let (name, pieces) = match value {
        Expr::Call(call) => (word(&call.func), call.args.iter().map(whole_number).collect()),
        name => (word(name), Ok(PIECES.to_vec())),
    };
    match name.map(|name| name.to_string()).as_deref() {
        Some("w") => Ok(('w', pieces?)),
        Some("h") => Ok(('h', pieces?)),
        Some("d") => Ok(('d', pieces?)),
        _ => Err(syn::Error::new_spanned(
            value,
            "expected the axis that streams, `w`, `h` or `d`, or with lengths of pieces, such as `w(64, 8, 1)`",
        )),
    }
}

fn schedule(value: &Expr) -> syn::Result<conv_ir::Schedule> {
    let said = |message: &dyn ToString| syn::Error::new_spanned(value, message.to_string());
    let text = path(value).ok_or_else(|| said(&"expected a schedule as a string"))?;
    text.parse().map_err(|error: Error| said(&error))
}

fn measured(value: &Expr) -> syn::Result<Measured> {
    let said = |message: String| syn::Error::new_spanned(value, message);
    let Some(place) = path(value) else {
        return Err(said("expected a file of `convc tune`, such as `\"tuned.json\"`".to_owned()));
    };
    let (tuning, notes) = read_tuning(&folder().join(&place)).map_err(said)?;
    Ok(Measured { tuning, notes })
}

/// Words of the text form as the macro writes them.
pub(super) fn words(message: &str) -> String {
    message.replace("same-", "same_")
}

/// Without the column, which counts in text that the user did not write.
fn plain(error: Error) -> String {
    match error {
        Error::Parse { message, .. } => words(&message),
        other => other.to_string(),
    }
}

/// "unknown key `strid`, did you mean `stride`?", or the whole list where nothing is near.
pub(super) fn unknown_word(what: &str, word: &str, known: &[&str]) -> String {
    let word = &cut(word);
    let nearest = known.iter().map(|k| (distance(word, k), k)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 1 + word.len() / 4 => {
            format!("unknown {what} `{word}`, did you mean `{nearest}`?")
        }
        _ => format!("unknown {what} `{word}`, expected one of {}", known.join(", ")),
    }
}

/// Letters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
