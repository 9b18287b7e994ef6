//! What the text of an item's functions has used so far: from it follow the lane functions that go
//! with them.

use std::collections::BTreeSet;

use conv_ir::{DType, Isa};
use proc_macro2::{TokenStream, TokenTree};
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
    pub called: BTreeSet<(i64, LaneFn, Option<DType>)>,
}

impl Emission {
    /// Notes a function.
    pub fn call(&mut self, width: i64, function: LaneFn) {
        self.call_of(width, function, None);
    }

    /// Notes a function, of numbers that are stored in another type.
    pub fn call_of(&mut self, width: i64, function: LaneFn, stored: Option<DType>) {
        self.called.insert((if function.is_scalar() { 0 } else { width }, function, stored));
    }

    /// The type of a buffer, where sums are computed in another.
    pub fn stored(&self, dtype: DType) -> Option<DType> {
        (dtype != self.dtype).then_some(dtype)
    }

    /// The scalar functions of a `const fn`, which stand beside its leaves.
    pub fn functions_beside(&self) -> TokenStream {
        let called = self.called.iter().map(|c| c.1.text(c.2)).collect::<Vec<_>>();
        private(self.vectors(0).items(&called, &mut BTreeSet::new()))
    }

    /// The modules of vectors, and the scalar functions.
    pub fn lane_modules(&self) -> TokenStream {
        let widths: BTreeSet<i64> = self.called.iter().map(|c| c.0).collect();
        let (mut scalars, mut modules) = (BTreeSet::<String>::new(), TokenStream::new());
        for width in widths {
            let called = self.called.iter().filter(|c| c.0 == width).map(|c| c.1.text(c.2));
            if width == 0 {
                scalars.extend(called);
                continue;
            }
            let called: Vec<String> = called.chain(["V".to_owned()]).collect();
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
        let called: Vec<String> = scalars.into_iter().collect();
        let scalars = self.vectors(0).items(&called, &mut BTreeSet::new());
        quote!(#scalars #modules)
    }

    /// The vectors of so many lanes.
    pub fn vectors(&self, width: i64) -> Vectors {
        let Emission { isa, runtime, rounds_once, dtype, .. } = *self;
        Vectors { isa, runtime, rounds_once, dtype, width }
    }
}

/// Items without their visibility, for the body of a function.
fn private(items: TokenStream) -> TokenStream {
    let is_word = |tree: &TokenTree| matches!(tree, TokenTree::Ident(word) if word == "pub");
    let (mut all, mut after_pub) = (TokenStream::new(), false);
    for tree in items {
        let was = std::mem::replace(&mut after_pub, is_word(&tree));
        if !(after_pub || was && matches!(tree, TokenTree::Group(_))) {
            all.extend([tree]);
        }
    }
    all
}
