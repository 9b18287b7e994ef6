//! The Rust way out: loop nests as readable Rust source, and the grammar of `conv!`.
//!
//! ```text
//! conv! {..} --grammar--> Program --rewrite, plan, passes--> a nest per CPU kind --emit--> tokens
//!                         Program, name -------------------------------------------------> text
//! ```
//!
//! Text is what [`rust_source`] gives, for build scripts and `convc emit`.
//!
//! An ordinary library, so that all of it is tested with plain strings; the crate `conv-macros`
//! only hands tokens over. The emitted code is safe, depends on the standard library alone and
//! computes the contract's bits: one chain of fused multiply-adds per output. It is portable:
//! vectors are arrays, and how fast they run is up to rustc (compile for a CPU with FMA; elsewhere
//! `mul_add` is a slow, exact library call).

#![forbid(unsafe_code)]

mod budget;
mod emit;
mod facts;
mod grammar;
mod lowered;
mod notes;
mod options;
mod streamed;

use conv_ir::{Error, Program};
use quote::quote;
use streamed::Streamed;

pub use conv_ir::Isa;
pub use emit::{Head, Library, STACK_LIMIT, Transformed, Version, emit, emit_type};
pub use grammar::expand;
pub use lowered::{Lowered, lowered};
pub use options::{Along, Form, Options, Tunings, read_tuning};

/// A program as the source of one public function or type, formatted; a file of its own. The arrays
/// of several steps are `weight_1`, `bias_1` and so on.
///
/// ```
/// use conv_codegen::{Options, rust_source};
/// let separable: conv_ir::Program =
///     "conv2d in 64x48 kernel 5x1 pad 2,0; conv2d kernel 1x5 pad 0,2".parse()?;
/// let source = rust_source(&separable, "blur", &Options::default())?;
/// assert!(source.contains("pub fn blur("));
/// # Ok::<(), conv_ir::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] where `name` is no name; those of [`lowered`]; [`Error::Unsupported`] as for
/// [`emit`].
pub fn rust_source(
    program: impl Into<Program>,
    name: &str,
    options: &Options,
) -> Result<String, Error> {
    let (program, name) = (program.into(), named(name)?);
    let head =
        |notes| Head { docs: quote!(), notes, attributes: quote!(), visibility: quote!(pub), name };
    let constants = facts::constants(&program);
    if let Some(along) = &options.stream {
        let stream = Streamed::new(&program, (along, options), &[])?;
        return Ok(format_source(stream.item(&head(stream.notes(&[])), &constants)?));
    }
    let mut lowered = lowered(&program, options)?;
    notes::rename(&program, &mut lowered, &[]);
    let head = head(notes::notes(&program, &lowered, &[]));
    Ok(format_source(options.form.tokens(&lowered.versions, &head, &constants)?))
}

fn named(name: &str) -> Result<syn::Ident, Error> {
    syn::parse_str(name)
        .map_err(|_| Error::Argument(format!("`{name}` cannot be the name of a Rust item")))
}

/// Tokens as formatted text.
pub fn format_source(tokens: proc_macro2::TokenStream) -> String {
    match syn::parse2(tokens.clone()) {
        Ok(file) => prettyplease::unparse(&file),
        Err(error) => panic!("emitted text is no Rust ({error}): {tokens}"),
    }
}
