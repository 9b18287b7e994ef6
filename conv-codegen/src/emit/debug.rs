//! `Debug` of the types that are emitted: their name alone, as packed weights are long.
//!
//! A type that derives it already gets no second one.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;

/// The implementation for a type with these attributes.
pub(crate) fn shown(name: &Ident, attributes: &TokenStream) -> Option<TokenStream> {
    let text = name.to_string();
    (!derives(attributes)).then(|| {
        quote! {
            impl ::core::fmt::Debug for #name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.debug_struct(#text).finish_non_exhaustive()
                }
            }
        }
    })
}

/// Whether `derive(..)` stands somewhere in it, also within `cfg_attr`, with a path that ends in
/// `Debug`.
fn derives(attributes: &TokenStream) -> bool {
    let mut before = None;
    attributes.clone().into_iter().any(|tree| {
        let is_derive = before.take().is_some_and(|word| word == "derive");
        match tree {
            TokenTree::Group(group) if is_derive => ends_in_debug(group.stream()),
            TokenTree::Group(group) => derives(&group.stream()),
            TokenTree::Ident(word) => {
                before = Some(word);
                false
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        }
    })
}

fn ends_in_debug(paths: TokenStream) -> bool {
    let trees: Vec<TokenTree> = paths.into_iter().collect();
    let is_comma = |tree: &TokenTree| matches!(tree, TokenTree::Punct(p) if p.as_char() == ',');
    let mut last = trees.split(is_comma).filter_map(|path| path.last());
    last.any(|tree| matches!(tree, TokenTree::Ident(word) if word == "Debug"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_one_is_seen() {
        for (attributes, expected) in [
            ("#[derive(Debug)]", true),
            ("#[derive(PartialEq, ::core::fmt::Debug,)]", true),
            ("#[cfg_attr(feature = \"x\", derive(Debug))]", true),
            ("#[derive(DebugStub, PartialEq)]", false),
            ("#[deprecated(note = \"Debug only\")] #[derive(Debug::Other)]", false),
            ("#[allow(Debug)]", false),
            ("", false),
        ] {
            let attributes: TokenStream = attributes.parse().expect("tokens");
            assert_eq!(derives(&attributes), expected, "{attributes}");
        }
    }
}
