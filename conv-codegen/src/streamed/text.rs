//! The functions and tables of a stream's type.

use conv_ir::DType;
use conv_ir::program::stream::driver::Tensor;
use conv_ir::program::stream::line::{Line, Repeat};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::{Piece, Streamed};
use crate::Library;
use crate::emit::{constant, tokens};

fn type_name(dtype: DType) -> TokenStream {
    tokens(&dtype.to_string())
}

impl Streamed<'_> {
    /// What makes a value of the type.
    pub(super) fn making(&self, module: &Ident, pieces: &[Piece]) -> TokenStream {
        let t = type_name(self.described.dtype());
        let all = || self.sources.iter().flatten();
        let parameters: TokenStream = all()
            .map(|(name, len)| {
                let len = Literal::usize_unsuffixed(*len);
                quote!(#name: &[#t; #len],)
            })
            .collect();
        let (mut fields, mut packs) = (TokenStream::new(), TokenStream::new());
        for Piece { step, field, of } in pieces {
            let names = self.sources[*step].iter().map(|(name, _)| name);
            let names = quote!(#(#names),*);
            fields.extend(quote!(#field: #module::#of::new(#names),));
            if !names.is_empty() {
                packs.extend(quote!(self.#field.pack(#names);));
            }
        }
        let finite = self.finite();
        if parameters.is_empty() {
            return quote! {
                /// There is nothing to pack: the weights are compiled in.
                pub const fn new() -> Self { Self { #fields } }
            };
        }
        let given = all().map(|(name, _)| name);
        let panics = (!finite.is_empty()).then(|| {
            quote! {
                ///
                /// # Panics
                /// Where a weight is infinite or NaN: a stream multiplies its padding.
            }
        });
        let boxed = (self.options.runtime == Library::Std).then(|| {
            quote! {
                /// Packs the weights where they will stay, on the heap: they may be larger than a
                /// stack.
                #panics
                pub fn boxed(#parameters) -> ::std::boxed::Box<Self> {
                    // All bits zero are numbers too.
                    let mut packed = unsafe { ::std::boxed::Box::<Self>::new_zeroed().assume_init() };
                    packed.pack(#(#given),*);
                    packed
                }
            }
        });
        quote! {
            /// Packs the weights. A `static` does so when it is compiled.
            #panics
            pub const fn new(#parameters) -> Self {
                #finite
                Self { #fields }
            }

            #boxed

            /// Packs other weights in the place of these.
            #panics
            pub const fn pack(&mut self, #parameters) {
                #finite
                #packs
            }
        }
    }

    /// Weights over padding are multiplied by it.
    fn finite(&self) -> TokenStream {
        let steps = self.plan.steps.iter().zip(&self.sources);
        let tested = steps.filter(|(step, _)| step.multiplies_padding);
        let tested = tested.filter_map(|(_, sources)| {
            let (name, _) =
                sources.iter().find(|(name, _)| name.to_string().ends_with("weight"))?;
            Some(quote! {
                let mut at = 0;
                while at < #name.len() {
                    assert!(
                        #name[at].is_finite(),
                        "a weight is infinite or NaN, and a stream multiplies its padding"
                    );
                    at += 1;
                }
            })
        });
        tested.collect()
    }

    /// Tables, and what is called with a state.
    pub(super) fn calls(&self, module: &Ident, pieces: &[Piece]) -> TokenStream {
        let t = type_name(self.described.dtype());
        let row = |tensor: Option<&Tensor<f64>>| tensor.map_or(1, |t| t.outer * t.inner);
        let [from, to] = [self.tensors.first(), self.tensors.last()].map(row);
        let wrong = format!("`input` must be whole positions, each {from} elements");
        let [from, to] = [from, to].map(Literal::usize_unsuffixed);
        let (counts, tables) = (self.counts(module), self.tables(module));
        let (work, piece) = (self.work(module), self.piece(pieces));
        quote! {
            #counts

            #tables

            /// Takes a block of the input, of any length, and gives the outputs that became known:
            /// as many positions as [`next`](Self::next) says.
            ///
            /// # Errors
            /// Where a slice has another length, which it must have; nothing was done then.
            pub fn push(
                &self, state: &mut [#t; Self::STATE], input: &[#t], output: &mut [#t],
            ) -> ::core::result::Result<(), &'static str> {
                let positions = input.len() / #from;
                if positions * #from != input.len() {
                    return ::core::result::Result::Err(#wrong);
                }
                let next = Self::next(state, positions);
                if output.len() / #to != next || next * #to != output.len() {
                    return ::core::result::Result::Err(
                        "`output` must have as many positions as `next` says",
                    );
                }
                self.work(state, false, (input, positions), (output, next));
                ::core::result::Result::Ok(())
            }

            /// Ends the stream: gives the outputs that look into the padding behind the end, as
            /// many positions as [`left`](Self::left) says. The state begins a new stream.
            ///
            /// # Errors
            /// Where the slice has another length; nothing was done then.
            pub fn flush(
                &self, state: &mut [#t; Self::STATE], output: &mut [#t],
            ) -> ::core::result::Result<(), &'static str> {
                let left = Self::left(state);
                if output.len() / #to != left || left * #to != output.len() {
                    return ::core::result::Result::Err(
                        "`output` must have as many positions as `left` says",
                    );
                }
                self.work(state, true, (&[], 0), (output, left));
                ::core::result::Result::Ok(())
            }

            #work

            #piece
        }
    }

    /// What a state is, and what it says of the outputs to come.
    fn counts(&self, module: &Ident) -> TokenStream {
        let t = type_name(self.described.dtype());
        let state = Literal::usize_unsuffixed(self.state());
        let first = Literal::i64_unsuffixed(self.plan.first());
        quote! {
            /// Elements of the state of a stream, which is all that it remembers. An array of zeros
            /// is a stream that begins.
            pub const STATE: usize = #state;

            /// The input with which the first output is known, counted from 1: 1 where no output
            /// looks ahead.
            pub const FIRST: usize = #first;

            /// Positions that become known with so many more inputs.
            pub fn next(state: &[#t; Self::STATE], inputs: usize) -> usize {
                let had = Self::inputs(state);
                let lines = || Self::STEPS.iter().map(|step| step.line);
                let known = |inputs| #module::line::known(lines(), inputs);
                (known(had + inputs as i64) - known(had)) as usize
            }

            /// Positions that [`flush`](Self::flush) gives, if the input ends now.
            pub fn left(state: &[#t; Self::STATE]) -> usize {
                let had = Self::inputs(state);
                let lines = || Self::STEPS.iter().map(|step| step.line);
                let total = #module::line::total(lines(), had);
                (total - #module::line::known(lines(), had)).max(0) as usize
            }

            /// How many inputs a state has had, of which each of four elements holds 16 bits.
            fn inputs(state: &[#t; Self::STATE]) -> i64 {
                let digit = |at: usize| ((state[at] as i64) & 0xffff) << (16 * at);
                digit(0) | digit(1) | digit(2) | digit(3) & (i64::MAX >> 1)
            }
        }
    }

    /// The function that gives the driver a state and takes it back.
    fn work(&self, module: &Ident) -> TokenStream {
        let t = type_name(self.described.dtype());
        let header = Literal::usize_unsuffixed(self.header());
        let take = Literal::usize_unsuffixed(self.plan.pieces[0] as usize);
        quote! {
            fn work(
                &self,
                state: &mut [#t; Self::STATE],
                ended: bool,
                (input, positions): (&[#t], usize),
                (output, outputs): (&mut [#t], usize),
            ) {
                let had = Self::inputs(state);
                let place =
                    #module::driver::Place { end: 0, slot: 0, padded: 0, total: 0, begun: false };
                let mut places = [place; Self::TENSORS.len()];
                let (head, memory) = state.split_at_mut(#header);
                let mut now = #module::driver::State { memory, places: &mut places, ended: false };
                let driver = #module::driver::Driver {
                    tensors: &Self::TENSORS, steps: &Self::STEPS, take: #take,
                };
                match had {
                    0 => driver.begin(&mut now),
                    had => driver.resume(&mut now, had),
                }
                if ended {
                    driver.end(&mut now);
                }
                let done: ::core::result::Result<(), ::core::convert::Infallible> = driver.work(
                    &mut now, (input, positions), (output, outputs),
                    &mut |[step, piece], _, starts, memory| {
                        self.piece(step, piece, starts, memory);
                        ::core::result::Result::Ok(())
                    },
                );
                let had = if ended { 0 } else { had + positions as i64 };
                let mut at = 0;
                while at < 4 {
                    head[at] = ((had >> (16 * at)) & 0xffff) as #t;
                    at += 1;
                }
            }
        }
    }

    /// The function that runs a piece of a step.
    fn piece(&self, pieces: &[Piece]) -> TokenStream {
        let t = type_name(self.described.dtype());
        let mut numbers = vec![0usize; self.plan.steps.len()];
        let arms = pieces.iter().map(|Piece { step, field, .. }| {
            let (at, number) = (Literal::usize_unsuffixed(*step), numbers[*step]);
            numbers[*step] += 1;
            let number = Literal::usize_unsuffixed(number);
            let adds = self.plan.steps[*step].residual.map(|_| quote!(residual,));
            quote!((#at, #number) => self.#field.run(input, #adds output),)
        });
        let arms: TokenStream = arms.collect();
        quote! {
            /// Runs a piece of a step, on boxes that begin at these elements.
            fn piece(
                &self,
                step: usize,
                piece: usize,
                [input, output, residual]: [usize; 3],
                memory: &mut [#t],
            ) {
                // A step writes the tensor behind all that it reads.
                let at = Self::TENSORS[step + 1].at;
                let (before, after) = memory.split_at_mut(at);
                let (input, residual) = (&before[input..], &before[residual..]);
                let output = &mut after[output - at..];
                match (step, piece) {
                    #arms
                    _ => {}
                }
            }
        }
    }

    /// What the driver is told.
    fn tables(&self, module: &Ident) -> TokenStream {
        let dtype = self.described.dtype();
        let t = type_name(dtype);
        let number = Literal::usize_unsuffixed;
        let option = |value: Option<usize>| match value {
            Some(value) => {
                let value = number(value);
                quote!(::core::option::Option::Some(#value))
            }
            None => quote!(::core::option::Option::None),
        };
        let tensors = self.tensors.iter().map(|tensor| {
            let Tensor { at, outer, inner, ring, twin, passes, last_reader, fill } = *tensor;
            let [at, outer, inner, ring, twin] = [at, outer, inner, ring, twin].map(number);
            let (last_reader, fill) = (option(last_reader), constant(fill, dtype));
            quote!(#module::driver::Tensor {
                at: #at, outer: #outer, inner: #inner, ring: #ring, twin: #twin, passes: #passes,
                last_reader: #last_reader, fill: #fill,
            })
        });
        let steps = self.plan.steps.iter().map(|step| {
            let (line, residual) = (line(&step.line, module), option(step.residual));
            let pieces = step.convs.iter().map(|(piece, _)| Literal::i64_unsuffixed(*piece));
            quote!(#module::driver::Step { line: #line, residual: #residual, pieces: &[#(#pieces),*] })
        });
        let (tensor_count, step_count) =
            (number(self.tensors.len()), number(self.plan.steps.len()));
        quote! {
            const TENSORS: [#module::driver::Tensor<#t>; #tensor_count] = [#(#tensors),*];
            const STEPS: [#module::driver::Step<&'static [i64]>; #step_count] = [#(#steps),*];
        }
    }
}

fn line(line: &Line, module: &Ident) -> TokenStream {
    let Line { stride, transposed, reach, lo, hi, output_padding, repeat } = *line;
    let [stride, reach, lo, hi, output_padding] =
        [stride, reach, lo, hi, output_padding].map(Literal::i64_unsuffixed);
    let repeat = match repeat {
        None => quote!(::core::option::Option::None),
        Some(repeat) => {
            let word = tokens(match repeat {
                Repeat::Reflect => "Reflect",
                Repeat::Symmetric => "Symmetric",
                Repeat::Replicate => "Replicate",
            });
            quote!(::core::option::Option::Some(#module::line::Repeat::#word))
        }
    };
    quote!(#module::line::Line {
        stride: #stride, transposed: #transposed, reach: #reach, lo: #lo, hi: #hi,
        output_padding: #output_padding, repeat: #repeat,
    })
}
