//! Loop nests to Rust: one item with a version for each kind of CPU, their leaves as private
//! functions, and the lane functions that they use.
//!
//! ```text
//! pub fn name(input: &[f32; N], .., output: &mut [f32; O]) {
//!     <of sizes given at run time: tests of sizes and lengths>
//!     if <the CPU has AVX-512> { return unsafe { avx512::run(input, .., output) } }
//!     <the same for AVX2 with FMA>
//!     portable::run(input, .., output);
//!     mod avx512 {
//!         pub fn run(..) { <scratch, as arrays on the stack> <driver loops> }
//!         fn leaf(input: &[f32], input_at: usize, ..) {
//!             <assertions of its reach> <registers as arrays> <tile loops>
//!         }
//!         mod x16 { type V = __m512; fn fma(a: V, b: V, c: V) -> V .. }
//!     }
//! }
//! ```
//!
//! In: a nest for each version, after all passes (leaves still in place are printed where they
//! stand). Out: tokens that compile by themselves: no dependencies, no imports, absolute paths.
//! Free sizes become `usize` parameters in front, arrays become slices, and sizes and lengths are
//! asserted at the [`door`]. Parallel loops run in order. `unsafe` is around intrinsics, the one
//! copy of known numbers ([`known`]), and the zeros of a type on the heap ([`packed`]): a leaf
//! asserts how far it reaches before it starts, of offsets that the door has kept from wrapping.
//!
//! Padding is skipped. A version that multiplies it instead says so
//! ([`Nest::needs_finite_weights`]); weights are then tested, by a function at each call, by a type
//! when it packs them. Those that are not finite go to the last version, which is the portable one,
//! or one of its own in little code.
//!
//! Nothing is allocated. What a run needs for itself (line buffers, tensors between the steps of a
//! chain, panels, what a function packs) is on its stack, up to [`STACK_LIMIT`]. Where it needs
//! more, the caller passes `scratch`, an array of any contents, as the last argument; how long it
//! is says the constant `NAME_SCRATCH` beside a function, `SCRATCH` of a type.

mod arrays;
mod call;
mod constants;
pub(crate) mod debug;
mod door;
mod emission;
mod expr;
mod head;
mod hot_leaf;
mod item;
mod lanes;
mod leaf;
mod line;
mod loops;
mod magnitude;
mod module;
mod node;
mod packed;
mod prefetch;
mod range;
mod reach;
mod rows;
mod runtime;
mod scope;
mod store;
mod sum;
mod transformed;
mod unroll;
mod versions;

use conv_ir::{Error, Isa, Nest};
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;

pub(crate) use expr::constant;
pub use head::Head;
pub(crate) use hot_leaf::bills;
use item::{Form, Home};
pub(crate) use lanes::has_vectors_for;
pub(crate) use packed::{Constant, constants, same_buffers, same_packing};
pub use transformed::Transformed;
use versions::Bodies;

/// Bytes of scratch and packed buffers that an emitted function keeps on its stack at most: an
/// eighth of the 2 MiB that a thread gets by default.
pub const STACK_LIMIT: i64 = 256 << 10;

/// Why there is no text, in words; the route is added at the door.
struct Unsupported(String);

/// A version of an item: the program, and the instructions that it is written in.
#[derive(Clone, Debug)]
pub struct Version {
    /// What it may use.
    pub runtime: Library,
    /// Multiply-adds round once, and not twice.
    pub rounds_once: bool,
    /// The instructions.
    pub isa: Isa,
    /// The program.
    pub nest: Nest,
    /// Made for infinite and NaN weights, where others multiply padding by them.
    pub any_weights: bool,
    /// The caller's arrays begin at boxes of larger ones: they are slices, as long as they may be.
    pub boxes: bool,
    /// What packing reads are transforms of the weights.
    pub transformed: Option<Transformed>,
}

impl Version {
    /// The name of its module.
    fn module(&self) -> &'static str {
        if self.any_weights { "any_weights" } else { self.isa.machine().name }
    }
}

/// Whether a version multiplies padding by weights that are not known. Then the last one does not,
/// and runs where such a weight is infinite or NaN.
pub(crate) fn need_finite_weights(versions: &[Version]) -> bool {
    versions.iter().any(|version| version.nest.needs_finite_weights)
}

/// What the source may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Library {
    /// `std`: the version is chosen by what the CPU has.
    #[default]
    Std,
    /// `core` alone: the version is chosen by the features that the crate is compiled for.
    Core,
}

/// The versions as one function, the widest first.
///
/// # Errors
/// [`Error::Unsupported`] where scratch has a size known only at run time, or a nest has not been
/// through all passes.
pub fn emit(versions: &[Version], head: &Head) -> Result<TokenStream, Error> {
    function(versions, head)
        .map_err(|Unsupported(message)| Error::Unsupported { route: "rust", message })
}

/// The versions as a type that holds the packed weights.
///
/// # Errors
/// As for [`emit`].
pub fn emit_type(
    versions: &[Version],
    head: &Head,
    constants: &[(String, TokenStream, String)],
) -> Result<TokenStream, Error> {
    packed::item(versions, head, constants)
        .map_err(|Unsupported(message)| Error::Unsupported { route: "rust", message })
}

fn function(versions: &[Version], head: &Head) -> Result<TokenStream, Unsupported> {
    let Bodies { home, parameters, door, dispatch, modules } =
        Bodies::of(versions, Form::Function)?;
    let (before, Head { visibility, name, .. }) = (head.before(), head);
    let t = versions.first().map(|version| lanes::type_name(version.nest.dtype));
    let (constant, parameter) = match home {
        Home::Stack => (None, None),
        Home::Callers(length) => {
            let constant = format!("{}_SCRATCH", name.unraw()).to_uppercase();
            let constant = Ident::new(&constant, name.span());
            let (doc, length) = (
                format!(" Elements of scratch that [`{name}`] wants of its caller, of any value."),
                tokens(&length.to_string()),
            );
            (
                Some(quote!(#[doc = #doc] #visibility const #constant: usize = #length;)),
                Some(quote!(scratch: &mut [#t; #constant],)),
            )
        }
    };
    let blames_caller = door::blames_caller(&door);
    Ok(quote! {
        #constant
        #before
        #[allow(clippy::all, unused)]
        #blames_caller
        #visibility fn #name(#parameters #parameter) {
            #door
            #dispatch
            #modules
        }
    })
}

/// Text made here as tokens; it is Rust by construction.
pub(crate) fn tokens(text: &str) -> TokenStream {
    text.parse().unwrap_or_else(|error| panic!("emitted text is no Rust ({error}): {text}"))
}

/// Whether a name occurs in the tokens.
pub(crate) fn uses(body: &TokenStream, name: &str) -> bool {
    body.clone().into_iter().any(|tree| match tree {
        TokenTree::Group(group) => uses(&group.stream(), name),
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
