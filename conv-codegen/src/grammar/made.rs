//! Checked descriptions to the tokens of an item, and what its documentation says of how it is
//! computed.
//!
//! With `accuracy: fast` a known window of low rank is two steps of a chain: down the columns, then
//! along the rows, strip by strip through a line buffer. That is for known sizes, as all
//! chains are.

use conv_ir::chain::Step;
use conv_ir::separate::{Accuracy, Separable, separate};
use conv_ir::{Chain, Error};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;

use super::check::Checked;
use super::parse::{Item, Tensor};
use super::steps::CheckedChain;
use crate::emit::Head;
use crate::{Options, facts};

/// One convolution.
pub(super) fn conv(item: &Item, checked: &Checked) -> Result<TokenStream, Error> {
    let Checked { conv, schedule, accuracy, runtime } = checked;
    let options = Options {
        form: item.form,
        runtime: *runtime,
        schedule: schedule.clone(),
        ..Options::default()
    };
    let found = separate(conv).filter(|_| schedule.is_none());
    let refused = refused(*accuracy);
    let found_notes = found.iter().flat_map(|found| [String::new(), said(found, refused)]);
    if let (Some(found), None) = (&found, refused) {
        let steps = vec![found.first.clone().into(), found.second.clone().into()];
        let chain = Chain::with_residuals_from_outside(steps)?;
        let (versions, plan) = crate::lowered_chain(&chain, &options)?;
        let mut notes = crate::notes(conv, None);
        notes.extend(found_notes);
        notes.extend(crate::chain::reasons(&plan));
        return crate::item(options.form, &versions, &head(item, notes), &facts::constants(conv));
    }
    let (versions, schedule) = crate::lowered(conv, &options)?;
    let mut notes = crate::described(conv, &schedule, &versions);
    notes.extend(found_notes);
    crate::item(options.form, &versions, &head(item, notes), &facts::constants(conv))
}

/// Why a window that could be two passes is one.
fn refused(accuracy: Accuracy) -> Option<&'static str> {
    match accuracy {
        Accuracy::Exact => Some("One pass: `accuracy: fast` is not asked for"),
        Accuracy::Fast => None,
    }
}

fn said(found: &Separable, refused: Option<&str>) -> String {
    format!("The window is of {found}. {}.", refused.unwrap_or("Computed as these two"))
}

/// A chain.
pub(super) fn chain(item: &Item, checked: &CheckedChain) -> Result<TokenStream, Error> {
    let options = Options { form: item.form, runtime: checked.runtime, ..Options::default() };
    let names: Vec<String> = item.steps.iter().map(|step| step.name.unraw().to_string()).collect();
    let split = split(&checked.chain, &names, checked.accuracy)?;
    let (mut versions, plan) = crate::lowered_chain(&split.chain, &options)?;
    crate::chain::rename(&split.chain, &mut versions, &split.names);
    let mut notes = crate::chain::notes(&checked.chain, &names);
    notes.extend(split.notes);
    notes.extend(crate::chain::reasons(&plan));
    notes.extend(crate::chain::bills(&versions));
    crate::item(options.form, &versions, &head(item, notes), &facts::of_chain(&checked.chain))
}

/// A chain whose windows of low rank are two steps.
struct Split {
    chain: Chain,
    /// The step that each step comes from.
    names: Vec<String>,
    notes: Vec<String>,
}

fn split(chain: &Chain, names: &[String], accuracy: Accuracy) -> Result<Split, Error> {
    let (mut steps, mut from, mut notes): (Vec<Step>, Vec<String>, Vec<String>) =
        Default::default();
    // Where each tensor of the chain is, counted in the steps made.
    let mut tensors = vec![0];
    for (step, name) in chain.steps().iter().zip(names) {
        let found = separate(&step.conv);
        let refused = refused(accuracy);
        notes.extend(
            found
                .iter()
                .flat_map(|found| [String::new(), format!("`{name}`: {}", said(found, refused))]),
        );
        let residual = step.residual.map(|tensor| tensors[tensor]);
        match found.filter(|_| refused.is_none()) {
            Some(Separable { first, second, .. }) => {
                steps.push(first.into());
                steps.push(Step { conv: second, residual });
                from.extend([name.clone(), name.clone()]);
            }
            None => {
                steps.push(Step { conv: step.conv.clone(), residual });
                from.push(name.clone());
            }
        }
        tensors.push(steps.len());
    }
    Ok(Split { chain: Chain::new(steps)?, names: from, notes })
}

/// What stands in front of the item.
fn head(item: &Item, notes: Vec<String>) -> Head {
    let Item { attributes, visibility, name, .. } = item;
    let (docs, others): (Vec<_>, Vec<_>) =
        attributes.iter().partition(|a| a.path().is_ident("doc"));
    let blank = (!docs.is_empty()).then(String::new);
    Head {
        docs: quote!(#(#docs)*),
        notes: blank.into_iter().chain(notes).collect(),
        attributes: quote!(#(#others)*),
        visibility: quote!(#visibility),
        name: name.clone(),
    }
}

/// A spatial size of an image whose channels come first, or the whole shape.
fn size(input: &Tensor, axis: Option<usize>) -> TokenStream {
    let size = axis.and_then(|axis| input.sizes.get(2 + axis));
    size.map_or_else(|| input.shape.clone(), ToTokens::to_token_stream)
}

/// The tokens that a description without mistakes cannot be emitted for.
pub(super) fn blamed(item: &Item, error: &Error) -> TokenStream {
    let value = |key: &str| {
        let entry = item.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.to_token_stream())
    };
    let blamed = match error {
        Error::IllegalSchedule(_) => value("schedule"),
        Error::Invalid(issues) => issues.first().and_then(|issue| match issue.field {
            "input" => item
                .parameters
                .iter()
                .find(|p| p.name == "input")
                .map(|input| size(input, issue.axis.filter(|_| value("layout").is_none()))),
            key => value(key),
        }),
        _ => None,
    };
    blamed.unwrap_or_else(|| item.name.to_token_stream())
}
