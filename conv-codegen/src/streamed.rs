//! A program along an axis without a length, as a type that takes blocks.
//!
//! ```text
//! pub struct Fir { step_1_of_64: fir_stream::Piece1, .. }
//! impl Fir {
//!     pub const STATE: usize = 1040;
//!     pub const fn new(weight: &[f32; 64]) -> Self { .. }
//!     pub fn next(state: &[f32; Self::STATE], inputs: usize) -> usize { .. }
//!     pub fn push(&self, state: &mut [f32; Self::STATE], input: &[f32], output: &mut [f32])
//!         -> Result<(), &'static str> { .. }
//!     pub fn left(..) -> usize    pub fn flush(..) -> Result<..>
//! }
//! mod fir_stream { mod line { .. } mod driver { .. } pub struct Piece1 { .. } }
//! ```
//!
//! In: a program, its axis, the lengths of pieces. Out: a type per piece of a step, as every packed
//! convolution is one ([`emit_type`]), on slices that begin at boxes of the state; the plan's own
//! arithmetic and driver, as text; and tables that tell it of tensors and steps. All that a stream
//! remembers beside its tensors is how many inputs it had: that stands in the first elements of the
//! state, as four numbers of 16 bits, which every type holds exactly. So zeros are a new stream.

mod text;

use conv_ir::lower::Within;
use conv_ir::program::stream::driver::Tensor;
use conv_ir::program::stream::{PIECES, SOURCES, Stream};
use conv_ir::{Conv, Error, Program, with_element};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use crate::emit::{Constant, Head, debug, emit_type, tokens, uses};
use crate::lowered::within;
use crate::options::{Along, Form, Options};
use crate::{budget, notes};

impl Along {
    /// Along an axis, counted from the outermost, in pieces of the usual lengths.
    pub fn new(axis: usize) -> Along {
        Along { axis, pieces: PIECES.to_vec() }
    }
}

/// A stream that is ready to be written.
pub(crate) struct Streamed<'a> {
    options: &'a Options,
    described: &'a Program,
    plan: Stream,
    tensors: Vec<Tensor<f64>>,
    /// Weight and bias of each computed step, where the caller passes them: name and elements.
    sources: Vec<Vec<(Ident, usize)>>,
}

/// The type of a piece, and the field that holds it.
struct Piece {
    step: usize,
    field: Ident,
    of: Ident,
}

impl<'a> Streamed<'a> {
    /// Plans the stream of a program whose steps have these names, or none.
    ///
    /// # Errors
    /// What cannot be streamed; a function, which would pack weights at every call.
    pub fn new(
        described: &'a Program,
        (along, options): (&Along, &'a Options),
        names: &[String],
    ) -> Result<Streamed<'a>, Error> {
        if options.form == Form::Function {
            let message = "a stream keeps packed weights: make it a type, `struct NAME(..)`";
            return Err(Error::Argument(message.to_owned()));
        }
        if let Some(conv) = described.convs().find(|conv| conv.types().single().is_none()) {
            let message = format!(
                "a stream of `{}`: streams are of f32 or f64, all arrays of one type",
                conv.types()
            );
            return Err(Error::Unsupported { route: "rust", message });
        }
        let rewritten = described.rewritten(options.accuracy);
        let plan = Stream::new(&rewritten.program, along.axis, &along.pieces)?;
        let tensors = with_element!(described.dtype(), T => {
            let tensors = plan.tensors::<T>(&rewritten.program)?.into_iter();
            let numbers = |tensor: Tensor<T>| Tensor {
                fill: conv_ir::Stored::to_f64(tensor.fill),
                at: tensor.at,
                outer: tensor.outer,
                inner: tensor.inner,
                ring: tensor.ring,
                twin: tensor.twin,
                passes: tensor.passes,
                last_reader: tensor.last_reader,
            };
            tensors.map(numbers).collect()
        });
        let steps = rewritten.program.convs().zip(&rewritten.origins).enumerate();
        let sources = steps.map(|(at, (conv, &origin))| {
            check_known(conv, plan.steps[at].multiplies_padding, origin)?;
            let of = |word: &str| match (described.single(), names.get(origin)) {
                (Some(_), _) => format_ident!("{word}"),
                (None, Some(name)) => format_ident!("{name}_{word}"),
                (None, None) => format_ident!("{word}_{}", origin + 1),
            };
            let known = conv.known();
            let weight =
                (conv.has_weight() && known.is_none()).then(|| (of("weight"), conv.weight_len()));
            let comes = conv.spec().bias && known.is_none_or(|known| known.bias.is_none());
            Ok(weight.into_iter().chain(comes.then(|| (of("bias"), conv.bias_len()))).collect())
        });
        let sources = sources.collect::<Result<_, Error>>()?;
        Ok(Streamed { options, described, plan, tensors, sources })
    }

    /// What the type's documentation says of it.
    pub fn notes(&self, names: &[String]) -> Vec<String> {
        let mut lines = notes::of_stream(self.described, names);
        let pieces: Vec<String> = self.plan.pieces[..1]
            .iter()
            .chain(self.plan.steps[0].convs[1..].iter().map(|(piece, _)| piece))
            .map(i64::to_string)
            .collect();
        let axis = conv_ir::conv::axis_name(self.described.steps()[0].conv.rank(), self.plan.axis);
        let bytes = self.state() * self.described.dtype().bytes();
        lines.push(format!(
            "A stream along the {axis}, in blocks of any length, put together of {}. The state has \
             {bytes} bytes.",
            pieces.join(", ")
        ));
        lines
    }

    /// Elements that stand before the tensors: a cache line.
    fn header(&self) -> usize {
        64 / self.described.dtype().bytes()
    }

    fn state(&self) -> usize {
        self.header() + Stream::elements(&self.tensors)
    }

    /// The item.
    ///
    /// # Errors
    /// Those of [`emit_type`] for a piece; [`Error::Unsupported`] for one that needs scratch.
    pub fn item(&self, head: &Head, constants: &[Constant]) -> Result<TokenStream, Error> {
        let module = format_ident!("{}_stream", snake(&head.name.unraw().to_string()));
        let (types, pieces) = self.pieces()?;
        let sources = SOURCES.map(|(name, text)| {
            let code = text.lines().filter(|line| !line.starts_with("//!"));
            let (name, code) = (format_ident!("{name}"), code.collect::<Vec<_>>().join("\n"));
            let code = tokens(&code);
            quote!(pub mod #name { #code })
        });
        let (before, Head { visibility, name, .. }) = (head.before(), head);
        let fields = pieces.iter().map(|piece| &piece.field);
        let of = pieces.iter().map(|piece| &piece.of);
        let making = self.making(&module, &pieces);
        let calls = self.calls(&module, &pieces);
        let constants = crate::emit::constants(constants);
        let debug = debug::shown(name, &head.attributes);
        Ok(quote! {
            #before
            #[derive(Clone)]
            #visibility struct #name { #(#fields: #module::#of),* }

            #[allow(clippy::all, unused)]
            impl #name {
                #constants
                #making
                #calls
            }

            #debug

            #[doc(hidden)]
            #[allow(clippy::all, unused, missing_docs)]
            mod #module {
                #(#sources)*
                #types
            }
        })
    }

    /// The types of all pieces, and which step has which. Steps that are alike share them.
    fn pieces(&self) -> Result<(TokenStream, Vec<Piece>), Error> {
        let (mut text, mut pieces) = (TokenStream::new(), Vec::new());
        let mut made: Vec<(&Conv, Within, Ident)> = Vec::new();
        let mut statements = 0;
        for (step, planned) in self.plan.steps.iter().enumerate() {
            for (outputs, conv) in &planned.convs {
                let around = self.within(step, conv);
                let same = made.iter().find(|(one, its, _)| (*one, its) == (conv, &around));
                let of = match same {
                    Some((.., of)) => of.clone(),
                    None => {
                        let of = format_ident!("Piece{}", made.len() + 1);
                        let versions = within(conv, &around, self.options)?;
                        statements = budget::check_stream(statements, &versions[0].nest)?;
                        let doc = format!(" `{conv}`");
                        let head = Head {
                            docs: quote!(#[doc = #doc]),
                            notes: crate::emit::bills(&versions),
                            attributes: quote!(),
                            visibility: quote!(pub),
                            name: of.clone(),
                        };
                        let item = emit_type(&versions, &head, &[])?;
                        if uses(&item, "SCRATCH") {
                            return Err(Error::Unsupported {
                                route: "rust",
                                message: format!(
                                    "a piece of {outputs} outputs of step {} needs more scratch \
                                     than a stack has: give shorter pieces",
                                    step + 1
                                ),
                            });
                        }
                        text.extend(item);
                        made.push((conv, around, of.clone()));
                        of
                    }
                };
                let field = format_ident!("step_{}_of_{outputs}", step + 1);
                pieces.push(Piece { step, field, of });
            }
        }
        Ok((text, pieces))
    }

    /// The arrays that a piece of a step has its boxes in.
    fn within(&self, step: usize, conv: &Conv) -> Within {
        let along = |tensor: usize| (self.tensors[tensor].ring + self.tensors[tensor].twin) as i64;
        let around = |tensor: usize, is_input: bool| {
            let known = conv.axes().iter().map(|axis| match is_input {
                true => axis.input.known(),
                false => axis.output.known(),
            });
            let mut extents: Vec<i64> = known.map(|known| known.unwrap_or(0) as i64).collect();
            extents[self.plan.axis] = along(tensor);
            extents
        };
        let residual = self.plan.steps[step].residual;
        Within {
            input: around(step, true),
            residual: residual.map_or_else(Vec::new, |from| around(from, false)),
            output: around(step + 1, false),
        }
    }
}

/// A weight that is known must be finite where padding is multiplied.
fn check_known(conv: &Conv, multiplies_padding: bool, step: usize) -> Result<(), Error> {
    let is_finite = conv.known().is_none_or(|known| known.weight.iter().all(|w| w.is_finite()));
    if !multiplies_padding || is_finite {
        return Ok(());
    }
    let message = format!(
        "a weight of step {} is infinite or NaN, and a stream multiplies its padding",
        step + 1
    );
    Err(Error::Unsupported { route: "rust", message })
}

/// `ResNet50` as a module is called.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
