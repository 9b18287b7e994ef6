//! A window of rank one as two functions inside one: down the columns, then along the rows.
//!
//! ```text
//! pub fn blur(input: &[f32; N], output: &mut [f32; M]) {
//!     fn columns(..) { .. }
//!     fn rows(..) { .. }
//!     let mut between = [0.0; B];
//!     columns(input, &mut between);
//!     rows(&between, output);
//! }
//! ```
//!
//! A type holds nothing, and has the two in its `run`. The array between them is whole, and on the stack: larger images stay one pass, and the documentation says so.

use conv_ir::separate::Separable;
use conv_ir::{Conv, DType, Error};
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote;

use crate::emit::{Head, STACK_LIMIT, constants as emit_constants, emit};
use crate::{Form, Library, Options};

/// Bytes between the two passes.
fn between(found: &Separable) -> (usize, i64) {
    let len = found.first.output_len().unwrap_or(usize::MAX);
    let bytes = len.saturating_mul(found.first.dtype().bytes());
    (len, i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Why the passes are not taken, where they are not.
pub(super) fn refused(found: &Separable) -> Option<String> {
    let (_, bytes) = between(found);
    (bytes > STACK_LIMIT).then(|| format!("One pass: the array between two needs {bytes} bytes, and emitted code keeps at most {STACK_LIMIT} on its stack"))
}

/// Both passes under the item's head.
pub(super) fn emitted(
    conv: &Conv,
    form: Form,
    runtime: Library,
    found: &Separable,
    head: &Head,
) -> Result<TokenStream, Error> {
    let options = Options {
        runtime,
        ..Options::default()
    };
    let pass = |conv: &Conv, name: &str| {
        let (versions, _) = crate::lowered(conv, &options)?;
        let head = Head {
            docs: quote!(),
            notes: Vec::new(),
            attributes: quote!(),
            visibility: quote!(),
            name: Ident::new(name, Span::call_site()),
        };
        emit(&versions, &head)
    };
    let (columns, rows) = (pass(&found.first, "columns")?, pass(&found.second, "rows")?);
    let t = match conv.dtype() {
        DType::F32 => quote!(f32),
        DType::F64 => quote!(f64),
    };
    let length = |len: usize| Literal::usize_unsuffixed(len);
    let (input, output) = (
        length(conv.input_len().unwrap_or(0)),
        length(conv.output_len().unwrap_or(0)),
    );
    let between = length(between(found).0);
    let (parameter, residual) = match conv.spec().residual {
        true => (quote!(residual: &[#t; #output],), quote!(residual,)),
        false => (quote!(), quote!()),
    };
    let (before, Head { visibility, name, .. }) = (head.before(), head);
    let parameters = quote!(input: &[#t; #input], #parameter output: &mut [#t; #output]);
    let body = quote! {
        #columns
        #rows
        let mut between = [0.0; #between];
        columns(input, &mut between);
        rows(&between, #residual output);
    };
    Ok(match form {
        Form::Function => quote!(#before #visibility fn #name(#parameters) { #body }),
        Form::Type => {
            let constants = emit_constants(&crate::facts::constants(conv));
            quote! {
                #before
                #[derive(Clone)]
                #visibility struct #name {}

                #[allow(clippy::all, unused)]
                impl #name {
                    #constants

                    /// There is nothing to pack: the weights are compiled in.
                    pub const fn new() -> Self { Self {} }

                    /// Computes the output in two passes, on the widest vectors that this CPU has.
                    pub fn run(&self, #parameters) { #body }
                }
            }
        }
    })
}
