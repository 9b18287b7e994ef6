//! What an item with mistakes expands to: the same names and types, so that those who use it have
//! no errors of their own.

use conv_ir::DType;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::Ident;

use super::parse::{Dim, Item, Tensor};
use super::steps::array_name;
use crate::Form;
use crate::emit::debug;

/// A function or a type of the declared signature.
pub(super) fn of(item: &Item) -> TokenStream {
    let Item { attributes, visibility, name, .. } = item;
    let sizes = sizes(item);
    let tensors = tensors(item);
    let outputs = item.outputs.iter().map(|output| {
        let (name, ty) = (&output.name, array(output));
        quote!(#name: &mut #ty,)
    });
    let outputs = outputs.collect::<TokenStream>();
    let allowed = quote!(#[allow(unused_variables, non_snake_case, missing_docs, clippy::all)]);
    let body = quote!(::core::panic!("this convolution did not compile"));
    match item.form {
        Form::Function => {
            let arguments = arguments(&tensors, |_| true);
            quote! {
                #(#attributes)*
                #allowed
                #visibility fn #name(#(#sizes: usize,)* #arguments #outputs) { #body }
            }
        }
        Form::Type => {
            let of_chain = |name: &Ident| {
                !item.steps.is_empty() && item.parameters.iter().any(|tensor| tensor.name == *name)
            };
            let is_image = |name: &Ident| name == "input" || name == "residual" || of_chain(name);
            let weights = arguments(&tensors, |name| !is_image(name));
            let images = arguments(&tensors, is_image);
            let attributes: TokenStream =
                attributes.iter().map(ToTokens::to_token_stream).collect();
            let debug = debug::shown(name, &attributes);
            let on_slices = sizes.is_empty().then(|| {
                on_slices(
                    tensors.iter().filter(|tensor| is_image(&tensor.name)),
                    &item.outputs,
                    &body,
                )
            });
            // A crate without `std` must not meet it here.
            let is_core = |entry: &super::parse::Entry| {
                entry.key == "std" && entry.value.to_token_stream().to_string() == "false"
            };
            let boxed = (!item.entries.iter().any(is_core))
                .then(|| quote!(pub fn boxed(#weights) -> ::std::boxed::Box<Self> { #body }));
            let runs = match item.entries.iter().any(|entry| entry.key == "stream") {
                true => stream(&element(&item.outputs[0]), &body),
                false => quote! {
                    pub fn run(&self, #(#sizes: usize,)* #images #outputs) { #body }
                    #on_slices
                },
            };
            quote! {
                #attributes
                #[derive(Clone)]
                #visibility struct #name {}

                #debug

                #allowed
                impl #name {
                    // What is made in a `static` must not panic when it is compiled: that would be
                    // one more error.
                    pub const fn new(#weights) -> Self { Self {} }
                    #boxed
                    pub const fn pack(&mut self, #weights) {}
                    #runs
                }
            }
        }
    }
}

/// What a stream has in the place of `run`.
fn stream(t: &TokenStream, body: &TokenStream) -> TokenStream {
    let result = quote!(::core::result::Result<(), &'static str>);
    quote! {
        pub const STATE: usize = 1;
        pub const FIRST: usize = 1;
        pub fn next(state: &[#t; Self::STATE], inputs: usize) -> usize { #body }
        pub fn left(state: &[#t; Self::STATE]) -> usize { #body }
        pub fn push(
            &self, state: &mut [#t; Self::STATE], input: &[#t], output: &mut [#t],
        ) -> #result { #body }
        pub fn flush(&self, state: &mut [#t; Self::STATE], output: &mut [#t]) -> #result { #body }
    }
}

/// The call on slices, of what `run` takes.
fn on_slices<'a>(
    images: impl Iterator<Item = &'a Tensor>,
    outputs: &[Tensor],
    body: &TokenStream,
) -> TokenStream {
    let mut seen: Vec<&Ident> = Vec::new();
    let mut slices = TokenStream::new();
    for tensor in images {
        if !seen.contains(&&tensor.name) {
            seen.push(&tensor.name);
            let (name, element) = (&tensor.name, element(tensor));
            slices.extend(quote!(#name: &[#element],));
        }
    }
    for tensor in outputs {
        let (name, element) = (&tensor.name, element(tensor));
        slices.extend(quote!(#name: &mut [#element],));
    }
    quote! {
        pub fn run_on_slices(
            &self, #slices
        ) -> ::core::result::Result<(), &'static str> { #body }
    }
}

/// The names of sizes, each once, in small letters: a constant of the caller's would make a pattern
/// of one in capitals.
fn sizes(item: &Item) -> Vec<Ident> {
    let lower = |size: &Ident| {
        Ident::new(&format!("size_{}", size.to_string().to_lowercase()), size.span())
    };
    let mut sizes = Vec::new();
    for dim in item.parameters.iter().flat_map(|tensor| &tensor.sizes) {
        if let Dim::Name(size) = dim
            && !sizes.contains(&lower(size))
        {
            sizes.push(lower(size));
        }
    }
    sizes
}

/// What the signature has, and of a chain what its steps want of the caller.
fn tensors(item: &Item) -> Vec<Tensor> {
    let of_steps = item.steps.iter().flat_map(|step| {
        step.arrays
            .iter()
            .map(|array| Tensor { name: array_name(&step.name, &array.name), ..array.clone() })
    });
    item.parameters.iter().cloned().chain(of_steps).collect()
}

/// The chosen parameters, each once.
fn arguments(tensors: &[Tensor], chosen: impl Fn(&Ident) -> bool) -> TokenStream {
    let mut seen: Vec<&Ident> = Vec::new();
    let mut arguments = TokenStream::new();
    for tensor in tensors.iter().filter(|tensor| chosen(&tensor.name)) {
        if !seen.contains(&&tensor.name) {
            seen.push(&tensor.name);
            let (name, ty) = (&tensor.name, array(tensor));
            arguments.extend(quote!(#name: &#ty,));
        }
    }
    arguments
}

fn element(tensor: &Tensor) -> TokenStream {
    match DType::named(&tensor.dtype.to_string()) {
        // By its bits: Rust has no such type.
        Some(DType::F16 | DType::BF16) => quote!(u16),
        Some(dtype) => {
            let name = Ident::new(dtype.format().name, Span::call_site());
            quote!(#name)
        }
        None => quote!(f32),
    }
}

/// The type behind a reference to the tensor.
fn array(tensor: &Tensor) -> TokenStream {
    let dtype = element(tensor);
    let length =
        tensor.sizes.iter().try_fold(1usize, |product, dim| product.checked_mul(dim.number()?));
    match length {
        Some(length) => {
            let length = proc_macro2::Literal::usize_unsuffixed(length);
            quote!([#dtype; #length])
        }
        None => quote!([#dtype]),
    }
}
