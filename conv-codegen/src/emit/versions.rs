//! The versions of an item, a module each, and what chooses between them.

use conv_ir::Isa;
use proc_macro2::TokenStream;
use quote::quote;

use super::constants::Known;
use super::item::{Form, Home, Item};
use super::{STACK_LIMIT, Unsupported, Version, need_finite_weights, tokens};
use crate::Library;

/// All versions of an item.
pub(super) struct Bodies {
    /// Where all of them keep arrays of their own.
    pub home: Home,
    pub parameters: TokenStream,
    /// Tests of sizes and lengths.
    pub door: TokenStream,
    /// Chooses the version.
    pub dispatch: TokenStream,
    /// The versions, and the known numbers that they read.
    pub modules: TokenStream,
}

impl Bodies {
    pub fn of(versions: &[Version], form: Form) -> Result<Bodies, Unsupported> {
        let mut items = versions
            .iter()
            .map(|version| Item::new(version, form))
            .collect::<Result<Vec<_>, _>>()?;
        let mut bodies = Bodies {
            home: home(&items)?,
            parameters: TokenStream::new(),
            door: super::door::of(versions, form)?,
            dispatch: TokenStream::new(),
            modules: TokenStream::new(),
        };
        let mut known = Known::default();
        let last = versions.len() - 1;
        for (at, (version, item)) in versions.iter().zip(&mut items).enumerate() {
            let module = tokens(version.module());
            let (parameters, arguments, body) = item.module(bodies.home, &mut known)?;
            let call = quote!(#module::run(#arguments));
            if at == last && need_finite_weights(versions) {
                let finite = item.finite_weights();
                bodies.dispatch = {
                    let finite_only = bodies.dispatch;
                    quote!(if !(#finite) { return #call; } #finite_only)
                };
            }
            if version.any_weights {
                bodies.modules.extend(quote!(mod #module { #body }));
                continue;
            }
            if version.isa == Isa::Portable {
                bodies.dispatch.extend(quote!(#call;));
                bodies.modules.extend(quote!(mod #module { #body }));
            } else {
                let features = version.isa.machine().features.iter();
                if version.runtime == Library::Core {
                    let cfg = quote!(all(target_arch = "x86_64" #(, target_feature = #features)*));
                    // Nothing but the features is needed, and the crate is compiled for them.
                    bodies.dispatch.extend(quote!(#[cfg(#cfg)] { return unsafe { #call }; }));
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
                bodies.modules.extend(quote!(#[cfg(target_arch = "x86_64")] mod #module { #body }));
            }
            bodies.parameters = parameters;
        }
        bodies.modules.extend(known.items());
        Ok(bodies)
    }
}

/// The stack, if what the hungriest version needs fits.
fn home(items: &[Item<'_>]) -> Result<Home, Unsupported> {
    let mut most = 0;
    let mut bytes = 0;
    for item in items {
        let length = item.local_len()?;
        most = most.max(length);
        bytes = bytes.max(length.saturating_mul(item.nest.dtype.bytes() as i64));
    }
    Ok(if bytes > STACK_LIMIT { Home::Callers(most) } else { Home::Stack })
}
