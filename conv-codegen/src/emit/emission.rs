//! What the text of an item's functions has used so far: from it follow the lane functions that go
//! with them.

use std::collections::BTreeSet;

use conv_ir::DType;
use proc_macro2::TokenStream;
use quote::quote;

use super::lanes::{Isa, LaneFn, Vectors};
use super::tokens;
use crate::Library;

/// What the text of the functions has used so far.
pub(super) struct Emission {
    pub isa: Isa,
    pub runtime: Library,
    pub dtype: DType,
    pub called: BTreeSet<(i64, LaneFn)>,
}

impl Emission {
    /// Notes a lane function, and those that it calls.
    pub fn call(&mut self, width: i64, function: LaneFn) {
        let width = if function.is_scalar() { 0 } else { width };
        self.called.insert((width, function));
        for &inner in function.calls(self.isa) {
            self.call(width, inner);
        }
    }

    /// The modules of vectors, and the scalar functions.
    pub fn lane_modules(&self) -> TokenStream {
        let of =
            |width: i64| Vectors { isa: self.isa, runtime: self.runtime, dtype: self.dtype, width };
        let mut text: TokenStream = self.functions(of(0));
        let widths: BTreeSet<i64> = self.called.iter().map(|c| c.0).filter(|&w| w > 0).collect();
        for width in widths {
            let used: Vec<LaneFn> =
                self.called.iter().filter(|c| c.0 == width).map(|c| c.1).collect();
            let (name, preamble, functions) = (
                tokens(&format!("x{width}")),
                of(width).preamble(&used),
                self.functions(of(width)),
            );
            let doc = format!(" Vectors of {width} lanes.");
            text.extend(quote! {
                #[doc = #doc]
                mod #name {
                    use super::*;
                    #preamble
                    #functions
                }
            });
        }
        text
    }

    fn functions(&self, vectors: Vectors) -> TokenStream {
        let chosen = self.called.iter().filter(|c| c.0 == vectors.width);
        chosen.map(|&(_, function)| vectors.source(function)).collect()
    }
}
