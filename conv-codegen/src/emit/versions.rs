//! The versions of an item, a module each, and what chooses between them.

use proc_macro2::TokenStream;
use quote::quote;

use super::item::{Form, Item};
use super::lanes::Isa;
use super::{Unsupported, Version, tokens};
use crate::Library;

/// All versions of an item.
pub(super) struct Bodies {
    pub parameters: TokenStream,
    /// Chooses the version.
    pub dispatch: TokenStream,
    /// The versions.
    pub modules: TokenStream,
}

impl Bodies {
    pub fn of(versions: &[Version], form: Form) -> Result<Bodies, Unsupported> {
        let mut bodies = Bodies {
            parameters: TokenStream::new(),
            dispatch: TokenStream::new(),
            modules: TokenStream::new(),
        };
        for version in versions {
            let mut item = Item::new(version, form)?;
            let module = tokens(version.isa.module());
            let (parameters, arguments, body) = item.module()?;
            let call = quote!(#module::run(#arguments));
            if version.isa == Isa::Portable {
                bodies.dispatch.extend(quote!(#call;));
                bodies.modules.extend(quote!(mod #module { #body }));
            } else {
                let features = version.isa.features().iter();
                if version.runtime == Library::Core {
                    let cfg = quote!(all(target_arch = "x86_64" #(, target_feature = #features)*));
                    // Nothing but the features is needed, and the crate is compiled for them.
                    bodies
                        .dispatch
                        .extend(quote!(#[cfg(#cfg)] { return unsafe { #call }; }));
                    bodies.modules.extend(quote!(#[cfg(#cfg)] mod #module { #body }));
                    bodies.parameters = parameters;
                    continue;
                }
                bodies.dispatch.extend(quote! {
                    #[cfg(target_arch = "x86_64")]
                    if #(::std::arch::is_x86_feature_detected!(#features))&&* {
                        // Nothing but the features is needed, and they have been found.
                        return unsafe { #call };
                    }
                });
                bodies
                    .modules
                    .extend(quote!(#[cfg(target_arch = "x86_64")] mod #module { #body }));
            }
            bodies.parameters = parameters;
        }
        Ok(bodies)
    }
}
