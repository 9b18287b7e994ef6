//! The Rust way out: loop nests as readable Rust source, and the grammar of `conv!`.
//!
//! ```text
//! conv! { .. } --grammar--> Program --rewrite, plan, passes--> one nest a kind of CPU --emit--> tokens
//!                           Program, name ---------------------------------------------------> text    (rust_source, for build scripts and `convc emit`)
//! ```
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

use conv_ir::program::plan::Plan;
use conv_ir::separate::Accuracy;
use conv_ir::{Error, Program, Schedule};
use quote::quote;

use emit::Constant;
pub use emit::{Head, Isa, STACK_LIMIT, Version, emit, emit_type};
pub use grammar::expand;
pub use lowered::{Lowered, lowered};

/// What is made of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// A function of input, weight, bias and output.
    #[default]
    Function,
    /// A type that packs weight and bias once.
    Type,
}

/// What the source may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Library {
    /// `std`: the version is chosen by what the CPU has.
    #[default]
    Std,
    /// `core` alone: the version is chosen by the features that the crate is compiled for.
    Core,
}

/// How it is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Function or type.
    pub form: Form,
    /// With `std` or without.
    pub runtime: Library,
    /// Versions beside the portable one.
    pub isas: Vec<Isa>,
    /// The schedule of all versions whose vectors are wide enough, instead of the model's choice
    /// for each.
    pub schedule: Option<Schedule>,
    /// Of several steps, which are fused, instead of the model's choice.
    pub plan: Option<Plan>,
    /// Whether known weights may be computed in another order of sums. A given schedule is for the
    /// exact order.
    pub accuracy: Accuracy,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            form: Form::default(),
            runtime: Library::default(),
            isas: vec![Isa::Avx512, Isa::Avx2],
            schedule: None,
            plan: None,
            accuracy: Accuracy::Exact,
        }
    }
}

/// A program as the source of one public function or type, formatted; a file of its own. The arrays
/// of several steps are `weight_1`, `bias_1` and so on.
///
/// ```
/// use conv_codegen::{Options, rust_source};
/// let separable: conv_ir::Program = "conv2d in 64x48 kernel 5x1 pad 2,0; conv2d kernel 1x5 pad 0,2".parse()?;
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
    let mut lowered = lowered(&program, options)?;
    notes::rename(&program, &mut lowered, &[]);
    let head = Head {
        docs: quote!(),
        notes: notes::notes(&program, &lowered, &[]),
        attributes: quote!(),
        visibility: quote!(pub),
        name,
    };
    Ok(format_source(item(options.form, &lowered.versions, &head, &facts::constants(&program))?))
}

fn named(name: &str) -> Result<syn::Ident, Error> {
    syn::parse_str(name)
        .map_err(|_| Error::Argument(format!("`{name}` cannot be the name of a Rust item")))
}

/// The tokens of an item.
fn item(
    form: Form,
    versions: &[Version],
    head: &Head,
    constants: &[Constant],
) -> Result<proc_macro2::TokenStream, Error> {
    match form {
        Form::Function => emit(versions, head),
        Form::Type => emit_type(versions, head, constants),
    }
}

/// Tokens as formatted text.
pub fn format_source(tokens: proc_macro2::TokenStream) -> String {
    match syn::parse2(tokens.clone()) {
        Ok(file) => prettyplease::unparse(&file),
        Err(error) => panic!("emitted text is no Rust ({error}): {tokens}"),
    }
}
