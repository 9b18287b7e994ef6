//! What the text of an item's functions has used so far: from it follow the lane functions that go
//! with them.

use std::collections::BTreeSet;

use conv_ir::{DType, Isa};
use proc_macro2::TokenStream;
use quote::quote;

use super::lanes::{LaneFn, Vectors};
use super::tokens;
use crate::Library;

/// What the text of the functions has used so far.
pub(super) struct Emission {
    pub isa: Isa,
    pub runtime: Library,
    pub rounds_once: bool,
    pub dtype: DType,
    pub called: BTreeSet<(i64, LaneFn)>,
}

impl Emission {
    /// Notes a function.
    pub fn call(&mut self, width: i64, function: LaneFn) {
        self.called.insert((if function.is_scalar() { 0 } else { width }, function));
    }

    /// The modules of vectors, and the scalar functions.
    pub fn lane_modules(&self) -> TokenStream {
        let widths: BTreeSet<i64> = self.called.iter().map(|c| c.0).collect();
        let (mut scalars, mut modules) = (BTreeSet::new(), TokenStream::new());
        for width in widths {
            let called = self.called.iter().filter(|c| c.0 == width).map(|c| c.1.name());
            if width == 0 {
                scalars.extend(called);
                continue;
            }
            let called: Vec<&str> = called.chain(["V"]).collect();
            let functions = self.vectors(width).items(&called, &mut scalars);
            let (name, doc) = (tokens(&format!("x{width}")), format!(" Vectors of {width} lanes."));
            modules.extend(quote! {
                #[doc = #doc]
                mod #name {
                    use super::*;
                    #functions
                }
            });
        }
        let called: Vec<&str> = scalars.into_iter().collect();
        let scalars = self.vectors(0).items(&called, &mut BTreeSet::new());
        quote!(#scalars #modules)
    }

    /// The vectors of so many lanes.
    pub fn vectors(&self, width: i64) -> Vectors {
        let Emission { isa, runtime, rounds_once, dtype, .. } = *self;
        Vectors { isa, runtime, rounds_once, dtype, width }
    }
}
