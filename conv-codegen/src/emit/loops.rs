//! Loops of the driver and of leaves: a `for`, or what a `const fn` has in its place.

use conv_ir::nest::Loop;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::quote;

use super::range::Range;
use super::scope::Scope;
use super::{tokens, uses};

/// `for name in lo..hi`.
pub(super) struct LoopHead {
    pub name: String,
    pub lo: String,
    pub hi: String,
    /// `for` does not exist in a `const fn`.
    pub counted: bool,
}

impl LoopHead {
    /// The loop around a body; nothing around nothing.
    pub fn around(&self, body: TokenStream) -> TokenStream {
        if body.is_empty() {
            return body;
        }
        let (lo, hi) = (tokens(&self.lo), tokens(&self.hi));
        if self.counted {
            let name = tokens(&self.name);
            return quote! {
                let mut #name = #lo;
                while #name < #hi {
                    #body
                    #name += 1;
                }
            };
        }
        let name = if uses(&body, &self.name) { tokens(&self.name) } else { quote!(_) };
        quote!(for #name in #lo..#hi { #body })
    }
}

/// A block of its own, if it is not one already.
pub(super) fn braced(body: TokenStream) -> TokenStream {
    let mut trees = body.clone().into_iter();
    match (trees.next(), trees.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::Brace => body,
        _ => quote!({ #body }),
    }
}

/// One of several neighbours: in a block of its own, unless it is a loop, which is one.
pub(super) fn beside(before: TokenStream, body: TokenStream) -> TokenStream {
    let is_loop =
        matches!(body.clone().into_iter().next(), Some(TokenTree::Ident(word)) if word == "for");
    match before.is_empty() && is_loop {
        true => body,
        false => braced(quote!(#before #body)),
    }
}

/// Binds a loop's axis.
pub(super) fn loop_head(scope: &mut Scope<'_>, l: &Loop) -> LoopHead {
    let (lo, hi) = (scope.bound_range(&l.lo), scope.bound_range(&l.hi));
    let range = Range { lo: lo.lo, hi: hi.hi.and_then(|hi| hi.checked_sub(1)) };
    let signed = !range.non_negative();
    let (lo, hi) = (scope.bound(&l.lo, signed), scope.bound(&l.hi, signed));
    LoopHead { name: scope.bind_axis(l.axis, range), lo, hi, counted: scope.is_const }
}
