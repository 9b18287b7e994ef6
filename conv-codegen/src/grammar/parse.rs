//! The syntax of `conv!`, and nothing of its meaning.
//!
//! ```text
//! input  := item*
//! item   := attribute* visibility ("fn" | "struct") NAME "(" tensor,* ")" "->" shape ";" (KEY ":" expression),*
//! tensor := NAME ":" shape
//! shape  := "[" TYPE ";" size,* "]"
//! size   := NUMBER | NAME
//! ```
//!
//! A value is read as any Rust expression, so that a wrong one is an error about that value and not the end of parsing. Only a broken
//! signature stops an item.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, Lit, Token, Visibility};

use super::Errors;
use crate::Form;

pub(super) struct Item {
    pub attributes: Vec<Attribute>,
    pub visibility: Visibility,
    /// `fn` or `struct`.
    pub form: Form,
    pub name: Ident,
    pub parameters: Vec<Tensor>,
    pub output: Tensor,
    pub entries: Vec<Entry>,
    /// What was wrong with the entries' commas and the sizes.
    pub errors: Errors,
}

/// `name: [dtype; sizes]`.
pub(super) struct Tensor {
    pub name: Ident,
    pub dtype: Ident,
    pub sizes: Vec<Dim>,
    /// The text from `[` to `]`.
    pub shape: TokenStream,
    /// Who says so, in messages.
    pub says: &'static str,
}

#[derive(Clone)]
pub(super) enum Dim {
    Number(usize, Expr),
    Name(Ident),
    /// Reported already.
    Wrong(Expr),
}

impl ToTokens for Dim {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Dim::Number(_, expr) | Dim::Wrong(expr) => expr.to_tokens(tokens),
            Dim::Name(name) => name.to_tokens(tokens),
        }
    }
}

impl Dim {
    pub fn number(&self) -> Option<usize> {
        match self {
            Dim::Number(n, _) => Some(*n),
            Dim::Name(_) | Dim::Wrong(_) => None,
        }
    }
}

/// `key: value`.
pub(super) struct Entry {
    pub key: Ident,
    pub value: Expr,
}

impl Parse for Item {
    fn parse(input: ParseStream) -> syn::Result<Item> {
        let mut errors = Errors::default();
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let form = form(input)?;
        let name: Ident = input.parse()?;
        let content;
        syn::parenthesized!(content in input);
        let parameters = Punctuated::<Parameter, Token![,]>::parse_terminated(&content)?;
        input.parse::<Token![->]>()?;
        let shape: Shape = input.parse()?;
        input.parse::<Token![;]>()?;
        let parameters = parameters
            .into_iter()
            .map(|p| tensor(p.name, p.shape, &mut errors))
            .collect();
        let output = tensor(Ident::new("output", name.span()), shape, &mut errors);
        let entries = entries(input, &mut errors)?;
        Ok(Item {
            attributes,
            visibility,
            form,
            name,
            parameters,
            output,
            entries,
            errors,
        })
    }
}

fn form(input: ParseStream) -> syn::Result<Form> {
    if input.peek(Token![struct]) {
        return input.parse::<Token![struct]>().map(|_| Form::Type);
    }
    match input.parse::<Token![fn]>() {
        Ok(_) => Ok(Form::Function),
        Err(error) => Err(syn::Error::new(
            error.span(),
            "expected `fn NAME(..)`, a function, or `struct NAME(..)`, a type that packs its weights once",
        )),
    }
}

struct Parameter {
    name: Ident,
    shape: Shape,
}

impl Parse for Parameter {
    fn parse(input: ParseStream) -> syn::Result<Parameter> {
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Parameter {
            name,
            shape: input.parse()?,
        })
    }
}

struct Shape {
    dtype: Ident,
    sizes: Vec<Expr>,
    text: TokenStream,
}

impl Parse for Shape {
    fn parse(input: ParseStream) -> syn::Result<Shape> {
        let text = input.fork().parse::<proc_macro2::TokenTree>()?.into_token_stream();
        let content;
        syn::bracketed!(content in input);
        let dtype = content.parse()?;
        content.parse::<Token![;]>()?;
        let sizes = Punctuated::<Expr, Token![,]>::parse_terminated(&content)?;
        Ok(Shape {
            dtype,
            sizes: sizes.into_iter().collect(),
            text,
        })
    }
}

fn tensor(name: Ident, shape: Shape, errors: &mut Errors) -> Tensor {
    let sizes = shape.sizes.into_iter().map(|expr| dim(expr, errors)).collect();
    Tensor {
        name,
        dtype: shape.dtype,
        sizes,
        shape: shape.text,
        says: "the signature says",
    }
}

fn dim(expr: Expr, errors: &mut Errors) -> Dim {
    if let Some(name) = word(&expr) {
        return Dim::Name(name);
    }
    match whole_number(&expr) {
        Ok(n) => Dim::Number(n, expr),
        Err(error) => {
            errors.add(error);
            Dim::Wrong(expr)
        }
    }
}

/// A single name.
pub(super) fn word(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident().cloned(),
        _ => None,
    }
}

/// A whole number.
pub(super) fn whole_number(expr: &Expr) -> syn::Result<usize> {
    match expr {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Int(int) if int.suffix().is_empty() => {
                int.base10_parse().map_err(|error| syn::Error::new_spanned(expr, error))
            }
            _ => Err(syn::Error::new_spanned(expr, "expected a whole number, such as `3`")),
        },
        _ => Err(syn::Error::new_spanned(expr, "expected a whole number, such as `3`")),
    }
}

fn starts_item(input: ParseStream) -> bool {
    let word = input.peek(Token![pub]) || input.peek(Token![fn]) || input.peek(Token![struct]);
    input.is_empty() || input.peek(Token![#]) || word
}

/// Key and value pairs up to the next item. A missing comma is reported and passed over.
fn entries(input: ParseStream, errors: &mut Errors) -> syn::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while !starts_item(input) {
        let key = input
            .call(Ident::parse_any)
            .map_err(|error| syn::Error::new(error.span(), "expected `key: value`, such as `stride: 2`"))?;
        input.parse::<Token![:]>()?;
        entries.push(Entry {
            key,
            value: input.parse()?,
        });
        if starts_item(input) {
            break;
        }
        if let Err(error) = input.parse::<Token![,]>() {
            errors.add(error);
        }
    }
    Ok(entries)
}
