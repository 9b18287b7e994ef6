//! The arrays and sizes of a version: what its caller passes and what is asserted of it, what it keeps on its stack, and what is known.

use conv_ir::nest::{Buffer, BufferRole, SymbolId, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::item::{Form, Item};
use super::lanes::type_name;
use super::range::Range;
use super::{STACK_LIMIT, Unsupported, expr, tokens};

/// What a caller passes to a type that holds the rest.
pub(super) const CALLER: &[BufferRole] = &[BufferRole::Input, BufferRole::Residual, BufferRole::Output];

pub(super) struct PublicBuffers {
    pub parameters: TokenStream,
    pub arguments: TokenStream,
}

/// An array of the emitted function itself.
pub(super) fn is_local(buffer: &Buffer, form: Form) -> bool {
    let held = buffer.role == BufferRole::Packed && form == Form::Packed;
    !buffer.is_callers() && buffer.values.is_none() && !held
}

impl Item<'_> {
    /// Free sizes: the parameters, and what is asserted and worked out of them.
    pub fn symbols(&mut self) -> (Vec<TokenStream>, TokenStream) {
        let (mut parameters, mut door) = (Vec::new(), TokenStream::new());
        for (at, symbol) in self.nest.symbols.iter().enumerate() {
            let id = SymbolId(at as u32);
            let Some(value) = &symbol.value else {
                let name = tokens(&self.scope.bind(Var::Symbol(id), &symbol.name, Range::size()));
                parameters.push(name);
                continue;
            };
            let is_extent = self.is_public_extent(id);
            let range = self.scope.bound_range(value);
            let text = tokens(&self.scope.bound(value, !range.non_negative()));
            let known = if is_extent && !range.non_negative() {
                Range::size()
            } else {
                range
            };
            let name = tokens(&self.scope.bind(Var::Symbol(id), &symbol.name, known));
            door.extend(quote!(let #name = #text;));
            if known != range {
                let message = format!("the input is too small for the window: {} is negative", symbol.name);
                door.extend(quote! {
                    assert!(#name >= 0, #message);
                    let #name = #name as usize;
                });
            }
        }
        door.extend(self.length_checks());
        (parameters, door)
    }

    fn is_public_extent(&self, symbol: SymbolId) -> bool {
        let public = self.nest.buffers.iter().filter(|b| b.is_callers());
        public
            .flat_map(|b| &b.extents)
            .any(|extent| extent.coefficient(Var::Symbol(symbol)) != 0)
    }

    fn length_checks(&self) -> TokenStream {
        let public = (0..self.nest.buffers.len()).filter(|&at| !self.emission.is_local(at));
        let symbolic = public.filter_map(|at| {
            let length = self.scope.length(at);
            length.as_constant().is_none().then(|| (at, length.usize_text()))
        });
        let check = |(at, length): (usize, String)| {
            let (name, expected) = (tokens(&self.scope.buffers[at]), tokens(&length));
            let message = format!("{} must have {length} elements", self.scope.buffers[at]);
            quote!(assert!(#name.len() == #expected, #message);)
        };
        symbolic.map(check).collect()
    }

    /// Scratch and packed buffers.
    pub fn local_arrays(&self) -> Result<TokenStream, Unsupported> {
        let mut text = TokenStream::new();
        let mut total = 0i64;
        for (at, buffer) in self.nest.buffers.iter().enumerate() {
            if let Some(values) = &buffer.values {
                text.extend(self.known_array(at, values));
            }
            if !is_local(buffer, self.form) {
                continue;
            }
            let Some(length) = self.scope.length(at).as_constant() else {
                return Err(Unsupported(format!(
                    "buffer {} has a size known only at run time, and emitted code keeps buffers on its stack; the JIT can run it",
                    buffer.name
                )));
            };
            total = total.saturating_add(length.saturating_mul(buffer.dtype.bytes() as i64));
            if total > STACK_LIMIT {
                return Err(Unsupported(format!(
                    "scratch and packed buffers need {total} bytes at {}, but emitted code keeps them on its stack, at most {STACK_LIMIT} bytes; \
                     choose a schedule without packing and panels, or the JIT",
                    buffer.name
                )));
            }
            text.extend(tokens(&format!(
                "let mut {} = [0.0{}; {length}];",
                self.scope.buffers[at], buffer.dtype
            )));
        }
        Ok(text)
    }

    /// Known numbers that leaves read from memory.
    fn known_array(&self, at: usize, values: &[f64]) -> TokenStream {
        if values.is_empty() {
            return TokenStream::new();
        }
        let (name, t) = (tokens(&self.scope.buffers[at]), type_name(self.nest.dtype));
        let constant = tokens(&self.scope.buffers[at].to_uppercase());
        let numbers = values.iter().map(|&x| expr::constant(x, self.nest.dtype));
        let len = tokens(&values.len().to_string());
        quote!(static #constant: [#t; #len] = [#(#numbers),*]; let #name = &#constant;)
    }

    /// The parameters of a version, the output last.
    pub fn public_buffers(&self) -> PublicBuffers {
        self.public_buffers_of(match self.form {
            Form::Function => &[
                BufferRole::Input,
                BufferRole::Weight,
                BufferRole::Bias,
                BufferRole::Residual,
                BufferRole::Output,
            ],
            Form::Packed => &[
                BufferRole::Packed,
                BufferRole::Input,
                BufferRole::Residual,
                BufferRole::Output,
            ],
        })
    }

    pub fn public_buffers_of(&self, roles: &[BufferRole]) -> PublicBuffers {
        let mut public = PublicBuffers {
            parameters: TokenStream::new(),
            arguments: TokenStream::new(),
        };
        for role in roles {
            let is_one = |at: &usize| self.nest.buffers[*at].role == *role && self.nest.buffers[*at].values.is_none();
            for at in (0..self.nest.buffers.len()).filter(is_one) {
                let name = tokens(&self.scope.buffers[at]);
                let array = self.array_type(at);
                let mutable = (*role == BufferRole::Output).then(|| quote!(mut));
                public.parameters.extend(quote!(#name: & #mutable #array,));
                public.arguments.extend(quote!(#name,));
            }
        }
        public
    }

    /// An array where the size is known, else a slice.
    pub fn array_type(&self, buffer: usize) -> TokenStream {
        let t = type_name(self.nest.dtype);
        match self.scope.length(buffer).as_constant() {
            Some(length) => {
                let length = tokens(&length.to_string());
                quote!([#t; #length])
            }
            None => quote!([#t]),
        }
    }
}
