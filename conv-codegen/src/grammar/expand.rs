//! Checked descriptions to the tokens of an item, and what its documentation says of how it is
//! computed.
//!
//! With `accuracy: fast` a known window of low rank is two steps of a chain: down the columns, then
//! along the rows, strip by strip through a line buffer. That is for known sizes, as all
//! chains are.

use conv_ir::Error;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;

use super::check::Checked;
use super::parse::{Item, Tensor};
use crate::emit::Head;
use crate::streamed::Streamed;
use crate::{Options, facts, notes};

/// The item of a checked description.
pub(super) fn made(item: &Item, checked: &Checked) -> Result<TokenStream, Error> {
    let Checked { program, schedule, accuracy, runtime, stream, tuning } = checked;
    let options = Options {
        form: item.form,
        runtime: *runtime,
        schedule: schedule.clone(),
        accuracy: *accuracy,
        stream: stream.clone(),
        tuning: tuning.tuning.clone(),
        ..Options::default()
    };
    // Inputs behind the first are declared in front of the steps.
    let declared = item.parameters.iter().filter(|_| program.steps()[0].given);
    let names = declared.map(|input| &input.name).chain(item.steps.iter().map(|step| &step.name));
    let names: Vec<String> = names.map(|name| name.unraw().to_string()).collect();
    if let Some(along) = stream {
        if options.tuning.iter().any(|(_, tuning)| !tuning.layers().is_empty()) {
            let message = "what is measured has known sizes, a stream has not: leave `tuning` out";
            return Err(Error::Argument(message.to_owned()));
        }
        let stream = Streamed::new(program, (along, &options), &names)?;
        return stream.item(&head(item, stream.notes(&names)), &facts::constants(program));
    }
    let mut lowered = crate::lowered(program, &options)?;
    let notes = tuning.notes.iter().map(|note| format!("In the tuning file, {note}."));
    lowered.tuning.splice(0..0, notes);
    notes::rename(program, &mut lowered, &names);
    let head = head(item, notes::notes(program, &lowered, &names));
    options.form.tokens(&lowered.versions, &head, &facts::constants(program))
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
        // What a stream cannot be is said of it.
        Error::Argument(_) | Error::Unsupported { .. } => value("stream"),
        _ => None,
    };
    blamed.unwrap_or_else(|| item.name.to_token_stream())
}
