//! The grammar of `conv!`: text to typed items, items to checked descriptions, descriptions to
//! functions.
//!
//! ```text
//! conv! {
//!     /// Kept.
//!     pub fn stem(
//!         input: [f32; 1, 3, 224, 224], weight: [f32; 64, 3, 7, 7], bias: [f32; 64]
//!     ) -> [f32; 1, 64, 112, 112];
//!     stride: 2, padding: 3, activation: relu
//! }
//! ```
//!
//! `struct Stem(..)` in place of `fn stem(..)` is a type that packs its weights once. With steps,
//! `name: { .. }`, the item is a chain ([`steps`]).
//!
//! parse ([`parse`]) -> typed values ([`values`]) -> validate ([`check`]) -> emit ([`made`]). Every
//! mistake is collected and stands on the user's own token. An item with mistakes still expands, to
//! a function (or a type) of the declared signature that panics, so that its callers have no errors
//! of their own.

mod check;
mod completion;
mod expand;
mod images;
mod inputs;
mod nesting;
mod parse;
mod pools;
mod stand_in;
mod steps;
mod types;
mod values;
mod weights;

use std::collections::BTreeSet;

use conv_ir::cut;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};

use parse::Item;

/// Mistakes so far.
#[derive(Default)]
struct Errors {
    all: Vec<syn::Error>,
}

impl Errors {
    fn add(&mut self, error: syn::Error) {
        self.all.extend(error);
    }

    /// Words of the message may be a user's, of any length.
    fn at(&mut self, place: &impl ToTokens, message: String) {
        let words = |line: &str| line.split(' ').map(cut).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = message.lines().map(words).collect();
        self.all.push(syn::Error::new_spanned(place, lines.join("\n")));
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
    if let Err(error) = nesting::check(&input) {
        output.1.push(error);
        return output;
    }
    let (mut keys, mut files) = (Vec::new(), BTreeSet::new());
    let parsed = (|input: ParseStream| {
        while !input.is_empty() {
            let mut errors = Errors::default();
            let item: Item = input.parse()?;
            keys.extend(item.keys.iter().cloned());
            files.extend(weights::files(&item));
            output.0.extend(function(item, &mut errors));
            output.1.append(&mut errors.all);
        }
        Ok(())
    })
    .parse2(input);
    if let Err(error) = parsed {
        output.1.extend(error);
    }
    if output.1.is_empty() {
        // A file that was refused may be none that can be included.
        output.0.extend(weights::tracked(&files));
    }
    output.0.extend(completion::of(&keys));
    output
}

/// The item's function, or its stand-in where there are mistakes.
fn function(item: Item, errors: &mut Errors) -> TokenStream {
    let sound = item.errors.count() == 0;
    if let ([], Some(named)) = (&item.steps[..], item.outputs.iter().find(|o| o.name != "output")) {
        let message = "one convolution gives one tensor: write its shape alone behind `->`";
        errors.at(&named.name, message.to_owned());
    }
    let checked = match item.steps.is_empty() {
        // What the keys would say is not known.
        _ if item.is_broken => None,
        true => check::check(&item.described(), errors),
        false => steps::check_steps(&item, errors),
    };
    let sound = sound && errors.count() == 0;
    let emitted = checked.filter(|_| sound).map(|checked| expand::made(&item, &checked));
    let emitted = emitted.and_then(|made| match made {
        Ok(text) => Some(text),
        Err(error) => {
            // The one route of an item is no word of whoever wrote it.
            let said = match &error {
                conv_ir::Error::Unsupported { message, .. } => message.clone(),
                error => error.to_string(),
            };
            errors.at(&expand::blamed(&item, &error), said);
            None
        }
    });
    errors.all.splice(0..0, item.errors.all.iter().cloned());
    emitted.unwrap_or_else(|| stand_in::of(&item))
}

#[cfg(test)]
mod tests;
