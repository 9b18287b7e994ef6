//! Pools in `conv!`: `reduction: max, kernel: 3` in the place of a weight.
//!
//! In: the entries of an item. Out: the window as if the signature had a weight of it, whose sizes
//! stand on the value of `kernel`, so that the signature's rules and places serve pools too.

use conv_ir::Reduction;
use proc_macro2::Ident;
use quote::ToTokens;
use syn::Expr;

use super::Errors;
use super::parse::{Described, Dim, Entry, ShapeSource, Tensor, whole_number, word};

/// What the entries make of a window. Where that cannot be read, which is an error of its own, what
/// has a `kernel` is a pool, and the rest a sum.
pub(super) fn reduction(entries: &[Entry]) -> Reduction {
    let Some(said) = entries.iter().find(|entry| entry.key == "reduction") else {
        return Reduction::Sum;
    };
    let read = word(&said.value).and_then(|word| word.to_string().parse().ok());
    let is_pool = || entries.iter().any(|entry| entry.key == "kernel");
    read.unwrap_or_else(|| if is_pool() { Reduction::Max } else { Reduction::Sum })
}

/// The window of what has no weight.
pub(super) fn window(item: &Described<'_>, errors: &mut Errors) -> Option<Tensor> {
    let reduction = reduction(item.entries);
    let kernel = item.entries.iter().find(|entry| entry.key == "kernel");
    if reduction.has_weight() {
        if let Some(kernel) = kernel {
            let message = "the weight says the window: `kernel` is for pools, which have no weight";
            errors.at(&kernel.key, message.to_owned());
        }
        return None;
    }
    let name = reduction.name();
    for key in ["weight", "bias"] {
        let parameter = item.parameters.iter().find(|tensor| tensor.name == key);
        let entry = item.entries.iter().find(|entry| entry.key == key);
        let place = parameter.map(|tensor| &tensor.name).or(entry.map(|entry| &entry.key));
        if let Some(place) = place {
            errors.at(place, format!("{name} has no {key}: leave it out"));
        }
    }
    let input = item.parameters.iter().find(|tensor| tensor.name == "input")?;
    let Some(Entry { value, key }) = kernel else {
        let message = format!("{name} needs its window: `kernel: 3`, or `kernel: global`");
        errors.at(item.name, message);
        return None;
    };
    let (channels, spatial) = axes(item, input)?;
    let sizes = sizes(value, spatial, errors)?;
    let number = |n: usize| Dim::Number(n, value.clone());
    let channels = channels.number().map(number)?;
    Some(Tensor {
        name: Ident::new("weight", key.span()),
        dtype: input.dtype.clone(),
        sizes: [channels, number(1)].into_iter().chain(sizes).collect(),
        shape: value.to_token_stream(),
        source: ShapeSource::Kernel,
    })
}

/// The channels and the spatial sizes of the input.
fn axes<'a>(item: &Described<'_>, input: &'a Tensor) -> Option<(&'a Dim, &'a [Dim])> {
    let sizes = &input.sizes[..];
    if sizes.len() < 3 {
        return None; // which is reported as any signature's
    }
    let layout = item.entries.iter().find(|entry| entry.key == "layout");
    let layout = layout.and_then(|entry| word(&entry.value)).map(|word| word.to_string());
    let last =
        layout.is_some_and(|w| w == "channels_last" || w.starts_with('n') && w.ends_with('c'));
    match last {
        true => Some((sizes.last()?, &sizes[1..sizes.len() - 1])),
        false => Some((&sizes[1], &sizes[2..])),
    }
}

/// `3`, `[3, 2]` or `global`.
fn sizes(value: &Expr, spatial: &[Dim], errors: &mut Errors) -> Option<Vec<Dim>> {
    let number = |expr: &Expr| whole_number(expr).map(|n| Dim::Number(n, expr.clone()));
    let read: syn::Result<Vec<Dim>> = match value {
        value if word(value).is_some_and(|word| word == "global") => {
            let known = spatial.iter().map(|dim| Some(Dim::Number(dim.number()?, value.clone())));
            let known: Option<Vec<Dim>> = known.collect();
            known.ok_or_else(|| {
                let message =
                    "the window of global pooling is the input, of which a size is a name";
                syn::Error::new_spanned(value, message)
            })
        }
        Expr::Array(array) if array.elems.len() == spatial.len() => {
            array.elems.iter().map(number).collect()
        }
        Expr::Array(array) => {
            let (found, axes) = (array.elems.len(), spatial.len());
            let message = format!("{found} sizes, but the input has {axes} spatial axes");
            Err(syn::Error::new_spanned(value, message))
        }
        one => number(one).map(|size| vec![size; spatial.len()]).map_err(|_| {
            syn::Error::new_spanned(one, "expected a number, a list of them, or `global`")
        }),
    };
    read.map_err(|error| errors.add(error)).ok()
}
