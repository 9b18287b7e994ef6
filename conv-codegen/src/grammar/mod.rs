//! The grammar of `conv!`: text to typed items, items to checked descriptions, descriptions to functions.
//!
//! ```text
//! conv! {
//!     /// Kept.
//!     pub fn stem(input: [f32; 1, 3, 224, 224], weight: [f32; 64, 3, 7, 7], bias: [f32; 64]) -> [f32; 1, 64, 112, 112];
//!     stride: 2, padding: 3, activation: relu
//! }
//! ```
//!
//! `struct Stem(..)` in place of `fn stem(..)` is a type that packs its weights once.
//!
//! parse ([`parse`]) -> typed values ([`values`]) -> validate ([`check`]) -> emit. Every mistake is collected and stands on the user's own token. An item
//! with mistakes still expands, to a function (or a type) of the declared signature that panics, so that its callers have no errors of their own.

mod check;
mod known;
mod parse;
mod passes;
mod stand_in;
mod values;

use conv_ir::Error;
use conv_ir::separate::{Accuracy, separate};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};

use crate::Options;
use crate::emit::Head;
use check::Checked;
use parse::Item;

/// Mistakes so far.
#[derive(Default)]
struct Errors {
    all: Vec<syn::Error>,
}

impl Errors {
    fn add(&mut self, error: syn::Error) {
        self.all
            .extend(error.into_iter().map(|one| syn::Error::new(one.span(), one)));
    }

    fn at(&mut self, place: &impl ToTokens, message: String) {
        self.all.push(syn::Error::new_spanned(place, message));
    }

    fn count(&self) -> usize {
        self.all.len()
    }

    fn into_result(self) -> syn::Result<()> {
        let combined = self.all.into_iter().reduce(|mut a, b| {
            a.combine(b);
            a
        });
        combined.map_or(Ok(()), Err)
    }
}

/// What `conv! { input }` becomes: a function per item, and a compile error per mistake.
pub fn expand(input: TokenStream) -> TokenStream {
    let (functions, mistakes) = expand_items(input);
    let mistakes = mistakes.iter().map(syn::Error::to_compile_error);
    quote!(#functions #(#mistakes)*)
}

fn expand_items(input: TokenStream) -> (TokenStream, Vec<syn::Error>) {
    let mut output = (TokenStream::new(), Vec::new());
    let parsed = (|input: ParseStream| {
        while !input.is_empty() {
            let mut errors = Errors::default();
            output.0.extend(function(input.parse()?, &mut errors));
            output.1.append(&mut errors.all);
        }
        Ok(())
    })
    .parse2(input);
    if let Err(error) = parsed {
        output.1.extend(error);
    }
    output
}

/// The item's function, or its stand-in where there are mistakes.
fn function(item: Item, errors: &mut Errors) -> TokenStream {
    let checked = check::check(&item, errors);
    let emitted = checked.and_then(|checked| match emitted(&item, &checked) {
        Ok(text) => Some(text),
        Err(error) => {
            errors.at(&blamed(&item, &error), error.to_string());
            None
        }
    });
    errors.all.splice(0..0, item.errors.all.iter().cloned());
    match emitted {
        Some(text) => {
            let tracked = known::tracked(&item);
            quote!(#tracked #text)
        }
        None => stand_in::of(&item),
    }
}

fn emitted(item: &Item, checked: &Checked) -> Result<TokenStream, Error> {
    let Checked {
        conv,
        schedule,
        accuracy,
        runtime,
    } = checked;
    let found = separate(conv).filter(|_| schedule.is_none());
    let mut notes = Vec::new();
    if let Some(found) = &found {
        let refused = match accuracy {
            Accuracy::Exact => Some("One pass: `accuracy: fast` is not asked for".to_owned()),
            Accuracy::Fast => passes::refused(found),
        };
        notes.push(format!(
            "The window is of {found}. {}.",
            refused.as_deref().unwrap_or("Computed as these two")
        ));
        if refused.is_none() {
            notes.splice(0..0, crate::notes(conv, None));
            return passes::emitted(conv, item.form, *runtime, found, &head(item, notes));
        }
    }
    let options = Options {
        form: item.form,
        runtime: *runtime,
        schedule: schedule.clone(),
        ..Options::default()
    };
    let (versions, schedule) = crate::lowered(conv, &options)?;
    let mut all = crate::described(conv, &schedule, &versions);
    for note in notes {
        all.extend([String::new(), note]);
    }
    crate::item(conv, options.form, &versions, &head(item, all))
}

/// What stands in front of the item's function.
fn head(item: &Item, notes: Vec<String>) -> Head {
    let Item {
        attributes,
        visibility,
        name,
        ..
    } = item;
    let (docs, others): (Vec<_>, Vec<_>) = attributes.iter().partition(|a| a.path().is_ident("doc"));
    let blank = (!docs.is_empty()).then(String::new);
    Head {
        docs: quote!(#(#docs)*),
        notes: blank.into_iter().chain(notes).collect(),
        attributes: quote!(#(#others)*),
        visibility: quote!(#visibility),
        name: name.clone(),
    }
}

/// The tokens that a description without mistakes cannot be emitted for.
fn blamed(item: &Item, error: &Error) -> TokenStream {
    let schedule = item.entries.iter().find(|entry| entry.key == "schedule");
    match (error, schedule) {
        (Error::IllegalSchedule(_), Some(entry)) => entry.value.to_token_stream(),
        _ => item.name.to_token_stream(),
    }
}

#[cfg(test)]
mod tests;
