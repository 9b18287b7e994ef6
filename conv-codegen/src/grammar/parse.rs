//! The syntax of `conv!`, and nothing of its meaning.
//!
//! ```text
//! input  := item*
//! item   := attribute* visibility ("fn" | "struct") NAME "(" tensor,* ")" "->" outputs ";"
//!           (entry | step),*                                    with steps the item is a chain
//! outputs := shape | "(" tensor,* ")"                             of a chain, by its steps' names
//! entry  := KEY ":" expression
//! step   := NAME ":" "{" (entry | ("weight" | "bias") ":" shape),* "}"
//! tensor := NAME ":" shape
//! shape  := "[" TYPE ";" size,* "]"
//! size   := NUMBER | NAME
//! ```
//!
//! A value is read as any Rust expression, so that a wrong one is an error about that value and not
//! the end of parsing. Only a broken signature stops an item.

use std::fmt;

use conv_ir::conv::Combine;
use conv_ir::cut;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, Lit, Token, UnOp, Visibility, token};

use super::Errors;
use crate::Form;

pub(super) struct Item {
    pub attributes: Vec<Attribute>,
    pub visibility: Visibility,
    /// `fn` or `struct`.
    pub form: Form,
    pub name: Ident,
    pub parameters: Vec<Tensor>,
    /// One called `output`, or those of the steps that they are named after.
    pub outputs: Vec<Tensor>,
    pub entries: Vec<Entry>,
    /// Of a chain, in order; of a single convolution none.
    pub steps: Vec<Step>,
    /// The words at the place of a key, with or without a value: the item's, then each step's.
    pub keys: Vec<Vec<Ident>>,
    /// A key has no value that can be read; reported.
    pub is_broken: bool,
    /// What was wrong with the entries' commas and the sizes.
    pub errors: Errors,
}

/// `name: { .. }`, one convolution of a chain.
pub(super) struct Step {
    pub name: Ident,
    /// The shapes of weight and bias that the caller passes.
    pub arrays: Vec<Tensor>,
    pub entries: Vec<Entry>,
}

/// `name: [dtype; sizes]`.
#[derive(Clone)]
pub(super) struct Tensor {
    pub name: Ident,
    pub dtype: Ident,
    pub sizes: Vec<Dim>,
    /// The text from `[` to `]`.
    pub shape: TokenStream,
    pub source: ShapeSource,
}

/// Where a shape stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShapeSource {
    Signature,
    /// The shape of a step's array.
    Entry,
    File,
    Literal,
    /// One window for all channels: the shape is worked out.
    LoneWindow,
    /// The window of a pool.
    Kernel,
    Input,
    /// A step that is added.
    Step,
    StepBefore,
}

impl fmt::Display for ShapeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ShapeSource::Signature => "the signature says",
            ShapeSource::Entry => "its shape says",
            ShapeSource::File => "the file has",
            ShapeSource::Literal => "the literal has",
            ShapeSource::LoneWindow => "a lone window has",
            ShapeSource::Kernel => "`kernel` says",
            ShapeSource::Input => "the input has",
            ShapeSource::Step => "that step gives",
            ShapeSource::StepBefore => "the step before gives",
        })
    }
}

/// One convolution as it is described: an item, or a step of one.
pub(super) struct Described<'a> {
    pub name: &'a Ident,
    pub parameters: &'a [Tensor],
    /// What is said of its output; nothing in the middle of a chain.
    pub output: Option<&'a Tensor>,
    pub entries: &'a [Entry],
    /// What is done with a residual.
    pub combine: Combine,
    /// What it becomes.
    pub form: Form,
}

impl Item {
    /// The item as one convolution.
    pub fn described(&self) -> Described<'_> {
        Described {
            name: &self.name,
            parameters: &self.parameters,
            output: self.outputs.first(),
            entries: &self.entries,
            combine: Combine::Add,
            form: self.form,
        }
    }
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
    /// As messages show it: a number, though it stands on another token.
    pub fn shown(&self) -> String {
        match self {
            Dim::Number(n, _) => n.to_string(),
            Dim::Name(_) | Dim::Wrong(_) => self.to_token_stream().to_string(),
        }
    }

    pub fn number(&self) -> Option<usize> {
        match self {
            Dim::Number(n, _) => Some(*n),
            Dim::Name(_) | Dim::Wrong(_) => None,
        }
    }
}

/// `key: value`.
#[derive(Clone)]
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
        let outputs = outputs(input, &name)?;
        input.parse::<Token![;]>()?;
        let parameters =
            parameters.into_iter().map(|p| tensor(p.name, p.shape, &mut errors)).collect();
        let outputs = outputs.into_iter().map(|p| tensor(p.name, p.shape, &mut errors)).collect();
        let Body { entries, steps, keys, is_broken } = body(input, &mut errors);
        Ok(Item {
            attributes,
            visibility,
            form,
            name,
            parameters,
            outputs,
            entries,
            steps,
            keys,
            is_broken,
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

/// What is behind the arrow: a shape, or several with names.
fn outputs(input: ParseStream, item: &Ident) -> syn::Result<Vec<Parameter>> {
    if !input.peek(token::Paren) {
        let name = Ident::new("output", item.span());
        return Ok(vec![Parameter { name, shape: input.parse()? }]);
    }
    let content;
    let parens = syn::parenthesized!(content in input);
    let all = Punctuated::<Parameter, Token![,]>::parse_terminated(&content)?;
    if all.is_empty() {
        let message = "name what is given, by steps: `-> (a: [f32; 1, 8, 28, 28])`";
        return Err(syn::Error::new(parens.span.join(), message));
    }
    Ok(all.into_iter().collect())
}

struct Parameter {
    name: Ident,
    shape: Shape,
}

impl Parse for Parameter {
    fn parse(input: ParseStream) -> syn::Result<Parameter> {
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Parameter { name, shape: input.parse()? })
    }
}

struct Shape {
    dtype: Ident,
    sizes: Vec<Expr>,
    text: TokenStream,
}

impl Parse for Shape {
    fn parse(input: ParseStream) -> syn::Result<Shape> {
        let text = input.fork().parse::<TokenTree>()?.into_token_stream();
        let content;
        syn::bracketed!(content in input);
        let dtype = content.parse()?;
        content.parse::<Token![;]>()?;
        let sizes = Punctuated::<Expr, Token![,]>::parse_terminated(&content)?;
        Ok(Shape { dtype, sizes: sizes.into_iter().collect(), text })
    }
}

fn tensor(name: Ident, shape: Shape, errors: &mut Errors) -> Tensor {
    let sizes = shape.sizes.into_iter().map(|expr| dim(expr, errors)).collect();
    Tensor { name, dtype: shape.dtype, sizes, shape: shape.text, source: ShapeSource::Signature }
}

fn dim(expr: Expr, errors: &mut Errors) -> Dim {
    // `self` and its like are words of paths, and name no argument.
    let of_paths =
        |name: &Ident| ["self", "Self", "super", "crate"].iter().any(|word| name == word);
    if let Some(name) = word(&expr).filter(|name| !of_paths(name)) {
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
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            let found = expr.to_token_stream().to_string().replace("- ", "-");
            let message =
                format!("{} is negative: expected a whole number, such as `3`", cut(&found));
            Err(syn::Error::new_spanned(expr, message))
        }
        _ => Err(syn::Error::new_spanned(expr, "expected a whole number, such as `3`")),
    }
}

/// Whether a list of pairs ends here: an item's at the next item, a step's with its braces. Whoever
/// reads on where this is false takes at least one token.
type Ends = fn(ParseStream) -> bool;

fn starts_item(input: ParseStream) -> bool {
    let word = input.peek(Token![pub]) || input.peek(Token![fn]) || input.peek(Token![struct]);
    input.is_empty() || input.peek(Token![#]) || word
}

/// What stands behind the signature.
#[derive(Default)]
struct Body {
    entries: Vec<Entry>,
    steps: Vec<Step>,
    /// The words at the place of a key, with or without a value: of the item, then of its steps.
    keys: Vec<Vec<Ident>>,
    /// A key has no value that can be read; reported.
    is_broken: bool,
}

/// A key and its colon.
fn key(input: ParseStream, keys: &mut Vec<Ident>) -> syn::Result<Ident> {
    let key = input.call(Ident::parse_any).map_err(|error| {
        syn::Error::new(error.span(), "expected `key: value`, such as `stride: 2`")
    })?;
    keys.push(key.clone());
    match input.parse::<Token![:]>() {
        Ok(_) => Ok(key),
        Err(_) => {
            let name = cut(&key.to_string());
            Err(syn::Error::new_spanned(&key, format!("expected `:` and a value behind `{name}`")))
        }
    }
}

/// Between two pairs. A missing comma is reported and passed over.
fn comma(input: ParseStream, ends: Ends, errors: &mut Errors) {
    if !ends(input)
        && let Err(error) = input.parse::<Token![,]>()
    {
        errors.add(error);
    }
}

/// Over what cannot be read, to behind the next comma.
fn skip(input: ParseStream, ends: Ends) {
    while !ends(input) {
        match input.parse::<TokenTree>() {
            Ok(TokenTree::Punct(punct)) if punct.as_char() != ',' => {}
            Ok(TokenTree::Punct(_)) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Key and value pairs, and steps, up to the next item.
fn body(input: ParseStream, errors: &mut Errors) -> Body {
    let mut body = Body::default();
    let mut keys = Vec::new();
    while !starts_item(input) {
        if let Err(error) = body.pair(input, &mut keys, errors) {
            errors.add(error);
            body.is_broken = true;
            skip(input, starts_item);
        } else {
            comma(input, starts_item, errors);
        }
    }
    body.keys.insert(0, keys);
    body
}

impl Body {
    /// `key: value`, or a step.
    fn pair(
        &mut self,
        input: ParseStream,
        keys: &mut Vec<Ident>,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        let key = key(input, keys)?;
        if !input.peek(token::Brace) {
            let value = input.parse()?;
            self.entries.push(Entry { key, value });
            return Ok(());
        }
        // A step's name is no key.
        keys.pop();
        let content;
        syn::braced!(content in input);
        let (mut step, mut keys) =
            (Step { name: key, arrays: Vec::new(), entries: Vec::new() }, Vec::new());
        while !content.is_empty() {
            if let Err(error) = step.pair(&content, &mut keys, errors) {
                errors.add(error);
                self.is_broken = true;
                skip(&content, |step| step.is_empty());
            } else {
                comma(&content, |step| step.is_empty(), errors);
            }
        }
        self.keys.push(keys);
        self.steps.push(step);
        Ok(())
    }
}

impl Step {
    /// What stands in the braces of a step: `key: value`, or the shape of an array.
    fn pair(
        &mut self,
        input: ParseStream,
        keys: &mut Vec<Ident>,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        let key = key(input, keys)?;
        if is_shape(input) {
            self.arrays
                .push(Tensor { source: ShapeSource::Entry, ..tensor(key, input.parse()?, errors) });
        } else {
            let value = input.parse()?;
            self.entries.push(Entry { key, value });
        }
        Ok(())
    }
}

/// `[f32; ..`, which an array of numbers does not begin with.
fn is_shape(input: ParseStream) -> bool {
    let begins = |input: ParseStream| {
        let content;
        syn::bracketed!(content in input);
        content.parse::<Ident>()?;
        content.parse::<Token![;]>()
    };
    begins(&input.fork()).is_ok()
}
