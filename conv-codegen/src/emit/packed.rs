//! A type per convolution: it holds the packed weights, which all versions read.
//!
//! ```text
//! pub struct Stem { packed_weight: [f32; 9408], packed_bias: [f32; 64] }
//! impl Stem {
//!     pub const MULTIPLY_ADDS: u64 = ..;
//!     pub const fn new(weight: &[f32; 9408], bias: &[f32; 64]) -> Stem { .. }
//!     pub fn boxed(weight: .., bias: ..) -> Box<Stem> { .. }
//!     pub fn run(&self, input: &[f32; 150528], output: &mut [f32; 802816]) { .. }
//! }
//! ```
//!
//! With `new` a `static` packs at build time. `boxed` packs where the weights will stay: they may
//! be larger than a stack.

use conv_ir::nest::{Buffer, BufferRole};
use conv_ir::{DType, Nest};
use proc_macro2::TokenStream;
use quote::quote;

use super::arrays::CALLER;
use super::item::{Form, Home, Item};
use super::lanes::{finite, type_name, zero};
use super::line::LINE;
use super::versions::Bodies;
use super::{Head, Unsupported, Version, debug, door, need_finite_weights, tokens};
use crate::Library;

/// A constant of the type: name, type and value, what it says.
pub(crate) type Constant = (String, TokenStream, String);

pub(super) fn item(
    versions: &[Version],
    head: &Head,
    constants: &[Constant],
) -> Result<TokenStream, Unsupported> {
    let Some(first) = versions.first() else {
        return Err(Unsupported("no version".to_owned()));
    };
    if !same_packing(versions) {
        return Err(Unsupported(
            "versions that pack weights differently; choose schedules that pack the same panels"
                .to_owned(),
        ));
    }
    let (before, Head { visibility, name, .. }) = (head.before(), head);
    let Bodies { home, parameters, door, dispatch, modules } = Bodies::of(versions, Form::Packed)?;
    let blames_caller = door::blames_caller(&door);
    let mut packing = Item::new(first, Form::Packed)?;
    let (sources, mut pack) = packing.packing()?;
    if need_finite_weights(versions) {
        pack.extend(packing.note_finite_weights());
    }
    let (buffers, arrays) = held(&packing, &first.nest);
    let names: Vec<TokenStream> =
        buffers.iter().map(|&at| tokens(&packing.scope.buffers[at])).collect();
    let types = buffers.iter().map(|&at| packing.array_type(at));
    let (finite, rest) = match need_finite_weights(versions) {
        true => (Some(quote!(, finite: bool)), Some(quote!(, ..))),
        false => (None, None),
    };
    let line = tokens(&LINE.to_string());
    let aligned = (!buffers.is_empty()).then(|| quote!(#[repr(C, align(#line))]));
    let arguments = sources.iter().map(|(name, _)| name);
    let arguments: TokenStream = arguments.map(|name| quote!(#name,)).collect();
    let sources: TokenStream = sources.iter().map(|(name, ty)| quote!(#name: &#ty,)).collect();
    let constants = self::constants(constants);
    let (scratch, scratch_parameter) = scratch_of(home, &type_name(first.nest.dtype));
    let making = Making {
        sources,
        arguments,
        zeros: zeros(&names, &arrays, finite.is_some()),
        pack,
        runtime: first.runtime,
    };
    let making = making.functions();
    let debug = debug::shown(name, &head.attributes);
    let on_slices = packing.run_on_slices(scratch_parameter.as_ref());
    Ok(quote! {
        #before
        #[derive(Clone)]
        #aligned
        #visibility struct #name { #(#names: #types),* #finite }

        #[allow(clippy::all, unused)]
        impl #name {
            #constants

            #making

            #scratch

            /// Computes the output, on the widest vectors that this CPU has.
            #blames_caller
            pub fn run(&self, #parameters #scratch_parameter) {
                #door
                let Self { #(#names),* #rest } = self;
                #dispatch
                #modules
            }

            #on_slices
        }

        #debug
    })
}

/// The buffers that a value holds, and the length and type of each. Whole cache lines come first,
/// so that as many as can be start at one.
fn held(packing: &Item<'_>, nest: &Nest) -> (Vec<usize>, Vec<(i64, DType)>) {
    let length = |at: usize| packing.scope.length(at).as_constant().unwrap_or(0);
    let held = (0..nest.buffers.len()).filter(|&at| is_held(&nest.buffers[at]));
    let array = |at: usize| (at, (length(at), nest.buffers[at].dtype));
    let mut held: Vec<_> = held.map(array).collect();
    held.sort_by_key(|(_, (length, dtype))| length * dtype.bytes() as i64 % LINE != 0);
    held.into_iter().unzip()
}

/// The length of the scratch that a run takes, and the parameter, where it does.
fn scratch_of(home: Home, t: &TokenStream) -> (Option<TokenStream>, Option<TokenStream>) {
    let Home::Callers(length) = home else {
        return (None, None);
    };
    let length = tokens(&length.to_string());
    let constant = quote!(
        /// Elements of scratch that a run wants of its caller, of any value.
        pub const SCRATCH: usize = #length;
    );
    (Some(constant), Some(quote!(scratch: &mut [#t; Self::SCRATCH],)))
}

/// The fields before anything is packed.
fn zeros(names: &[TokenStream], arrays: &[(i64, DType)], notes_finite: bool) -> TokenStream {
    let arrays = arrays.iter().map(|(length, dtype)| {
        let (zero, length) = (zero(*dtype), tokens(&length.to_string()));
        quote!([#zero; #length])
    });
    let fields = quote!(#(#names: #arrays),*);
    match notes_finite {
        true => quote!(#fields, finite: true),
        false => fields,
    }
}

/// Whether all versions hold the same packed buffers.
pub(crate) fn same_packing(versions: &[Version]) -> bool {
    versions.windows(2).all(|pair| same_buffers(&pair[0].nest, &pair[1].nest))
}

/// Whether two nests do.
pub(crate) fn same_buffers(a: &Nest, b: &Nest) -> bool {
    let packed = |nest: &Nest| -> Vec<_> {
        let buffers = nest.buffers.iter().filter(|b| is_held(b));
        buffers.map(|b| (b.extents.clone(), b.dtype)).collect()
    };
    packed(a) == packed(b)
}

/// What makes a value of the type.
struct Making {
    /// Weight and bias as parameters; none where all are known.
    sources: TokenStream,
    /// The same, passed on.
    arguments: TokenStream,
    /// The fields before they are packed.
    zeros: TokenStream,
    /// The body that packs.
    pack: TokenStream,
    runtime: Library,
}

impl Making {
    fn functions(&self) -> TokenStream {
        let Making { sources, arguments, zeros, pack, runtime } = self;
        if sources.is_empty() {
            return quote! {
                /// There is nothing to pack: the weights are compiled in.
                pub const fn new() -> Self { Self {} }
            };
        }
        let boxed = (*runtime == Library::Std).then(|| boxed(sources, arguments));
        quote! {
            /// Packs the weights. A `static` does so when it is compiled.
            pub const fn new(#sources) -> Self {
                let mut packed = Self { #zeros };
                packed.pack(#arguments);
                packed
            }

            #boxed

            /// Packs other weights in the place of these.
            pub const fn pack(&mut self, #sources) {
                #pack
            }
        }
    }
}

/// The function that packs on the heap.
fn boxed(sources: &TokenStream, arguments: &TokenStream) -> TokenStream {
    quote! {
        /// Packs the weights where they will stay, on the heap: they may be larger than a stack.
        pub fn boxed(#sources) -> ::std::boxed::Box<Self> {
            // All bits zero are numbers too.
            let mut packed = unsafe { ::std::boxed::Box::<Self>::new_zeroed().assume_init() };
            packed.pack(#arguments);
            packed
        }
    }
}

/// The associated constants.
pub(crate) fn constants(all: &[Constant]) -> TokenStream {
    let one = |(constant, value, doc): &Constant| {
        let (constant, doc) = (tokens(constant), format!(" {doc}"));
        quote!(#[doc = #doc] pub const #constant: #value;)
    };
    all.iter().map(one).collect()
}

/// Packed when the type is made; known weights were packed before.
fn is_held(buffer: &Buffer) -> bool {
    buffer.role == BufferRole::Packed && buffer.values.is_none()
}

impl Item<'_> {
    /// The call on slices, for arrays whose lengths rustc does not know. Where a size is free `run`
    /// takes slices itself.
    fn run_on_slices(&self, scratch: Option<&TokenStream>) -> Option<TokenStream> {
        if self.boxes || !self.nest.symbols.is_empty() {
            return None;
        }
        let buffers = CALLER.iter().flat_map(|class| self.arrays_of(class));
        let (mut parameters, mut arguments) = (TokenStream::new(), TokenStream::new());
        for at in buffers {
            let length = self.scope.length(at).as_constant()?;
            let (name, array) = (tokens(&self.scope.buffers[at]), self.array_type(at));
            let message = format!("`{name}` must have {length} elements");
            let mutable = (self.nest.buffers[at].role == BufferRole::Output).then(|| quote!(mut));
            let t = type_name(self.nest.buffers[at].dtype);
            parameters.extend(quote!(#name: & #mutable [#t],));
            arguments.extend(quote! {
                match <& #mutable #array as ::core::convert::TryFrom<& #mutable [#t]>>::try_from(#name) {
                    ::core::result::Result::Ok(#name) => #name,
                    ::core::result::Result::Err(_) => return ::core::result::Result::Err(#message),
                },
            });
        }
        let passed = scratch.map(|_| quote!(scratch));
        Some(quote! {
            /// The same on slices, of vectors for example.
            ///
            /// # Errors
            /// Where a slice has another length than the array that `run` takes: which, and what it
            /// must be.
            pub fn run_on_slices(&self, #parameters #scratch) -> ::core::result::Result<(), &'static str> {
                self.run(#arguments #passed);
                ::core::result::Result::Ok(())
            }
        })
    }

    /// Notes in the type whether all weights are finite.
    fn note_finite_weights(&self) -> TokenStream {
        let weights = self.arrays_of(&[BufferRole::Weight]).into_iter();
        let tests = weights.map(|at| {
            let name = tokens(&self.scope.buffers[at]);
            let finite = finite(self.nest.buffers[at].dtype, quote!(#name[at]));
            quote! {
                let mut at = 0;
                while at < #name.len() {
                    self.finite &= #finite;
                    at += 1;
                }
            }
        });
        quote!(self.finite = true; #(#tests)*)
    }

    /// Weight and bias as parameters, and the loops that fill the packed buffers, fit for a `const
    /// fn`.
    fn packing(&mut self) -> Result<(Vec<(TokenStream, TokenStream)>, TokenStream), Unsupported> {
        self.scope.is_const = true;
        let setup = &self.nest.setup;
        self.find_parameters(setup);
        let leaves = self.leaves()?;
        let body = self.stmts(setup)?;
        let mut sources = self.arrays_of(&[BufferRole::Weight, BufferRole::Bias]);
        if self.transformed.is_some() {
            // Of one step, whose nest has the transformed weights behind its other arrays.
            sources.sort_by_key(|&at| self.nest.buffers[at].role == BufferRole::Bias);
        }
        let sources = sources
            .into_iter()
            .map(|at| (tokens(&self.scope.buffers[at]), self.array_type(at)))
            .collect();
        let packed: TokenStream = self
            .arrays_of(&[BufferRole::Packed])
            .into_iter()
            .map(|at| {
                let name = tokens(&self.scope.buffers[at]);
                quote!(let #name = &mut self.#name;)
            })
            .collect();
        let functions = self.emission.functions_beside();
        let transform = self.transformed.map(|by| by.function(self.nest.dtype));
        Ok((sources, quote!(#packed #body #leaves #functions #transform)))
    }
}
