//! What stands in front of an item: documentation, attributes, visibility and name.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// What stands in front of an emitted item.
#[derive(Clone, Debug)]
pub struct Head {
    /// The user's documentation, as attributes.
    pub docs: TokenStream,
    /// Lines of documentation after it.
    pub notes: Vec<String>,
    /// Other attributes.
    pub attributes: TokenStream,
    /// `pub`, or nothing.
    pub visibility: TokenStream,
    /// The item's name.
    pub name: Ident,
}

impl Head {
    /// Documentation, the user's first, and attributes.
    pub(crate) fn before(&self) -> TokenStream {
        let Head { docs, attributes, .. } = self;
        let notes = self.notes.iter().map(|line| format!(" {line}"));
        quote! {
            #docs
            #(#[doc = #notes])*
            #attributes
        }
    }
}
