//! The arrays and sizes of a version: what its caller passes, what it keeps on its stack, and what
//! is known.

use conv_ir::Values;
use conv_ir::nest::{Buffer, BufferRole, SymbolId, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::constants::is_bytes;
use super::item::{Form, Home, Item};
use super::lanes::{type_name, zero};
use super::line::{LINE, whole_lines};
use super::range::Range;
use super::{Unsupported, expr, tokens};

/// The classes of arrays that a caller passes, in order; within a class they come as in the nest's
/// table.
const FUNCTION: &[&[BufferRole]] = &[
    &[BufferRole::Input],
    &[BufferRole::Weight, BufferRole::Bias],
    &[BufferRole::Residual],
    &[BufferRole::Output],
];
/// The same for the versions of a type that holds what is packed.
const PACKED: &[&[BufferRole]] =
    &[&[BufferRole::Packed], &[BufferRole::Input], &[BufferRole::Residual], &[BufferRole::Output]];
/// What the caller of such a type passes.
pub const CALLER: &[&[BufferRole]] =
    &[&[BufferRole::Input], &[BufferRole::Residual], &[BufferRole::Output]];

pub(super) struct PublicBuffers {
    pub parameters: TokenStream,
    pub arguments: TokenStream,
}

/// An array of the emitted function itself, not another one's view.
fn is_local(buffer: &Buffer, form: Form) -> bool {
    let held = buffer.role == BufferRole::Packed && form == Form::Packed;
    !buffer.is_callers() && buffer.values.is_none() && buffer.view_of.is_none() && !held
}

impl Item<'_> {
    /// Free sizes: the parameters, and what is worked out of them, by name. The door has checked
    /// that each is at least what is legal, so that no extent is negative, and that none of the
    /// arithmetic wraps ([`magnitude`](super::magnitude)).
    pub fn symbols(&mut self) -> (Vec<TokenStream>, Vec<(String, TokenStream)>) {
        let (mut parameters, mut derived) = (Vec::new(), Vec::new());
        let mut known_as: Vec<(String, SymbolId)> = Vec::new();
        for (at, symbol) in self.nest.symbols.iter().enumerate() {
            let id = SymbolId(at as u32);
            let Some(value) = &symbol.value else {
                let range = Range { lo: Some(symbol.least), hi: None };
                parameters.push(tokens(&self.scope.bind(Var::Symbol(id), &symbol.name, range)));
                continue;
            };
            let range = self.scope.bound_range(value);
            let text = self.scope.bound(value, !range.non_negative());
            let twin = known_as.iter().find(|(known, _)| *known == text);
            let twin = twin.and_then(|(_, twin)| self.scope.factor(Var::Symbol(*twin)).cloned());
            if let Some(same) = self.scope.named(&text).or(twin) {
                self.scope.adopt(id, &same);
                continue;
            }
            known_as.push((text.clone(), id));
            let name = self.scope.bind(Var::Symbol(id), &symbol.name, range);
            let (let_name, text) = (tokens(&name), tokens(&text));
            derived.push((name, quote!(let #let_name = #text;)));
        }
        (parameters, derived)
    }

    /// Scratch and packed buffers of its own: position and elements.
    fn locals(&self) -> Result<Vec<(usize, i64)>, Unsupported> {
        let buffers = self.nest.buffers.iter().enumerate();
        let own = buffers.filter(|(_, buffer)| is_local(buffer, self.form));
        let known = |(at, buffer): (usize, &Buffer)| {
            let length = self.scope.length(at).as_constant().map(|length| (at, length));
            length.ok_or_else(|| {
                Unsupported(format!(
                    "buffer {} has a size known only at run time, and emitted code allocates nothing; the JIT can run it",
                    buffer.name
                ))
            })
        };
        own.map(known).collect()
    }

    /// Elements of a cache line, of the type of the sums.
    fn line(&self) -> i64 {
        LINE / self.nest.dtype.bytes() as i64
    }

    /// Elements of the type of the sums that hold an array in whole cache lines.
    fn lines_of(&self, at: usize, length: i64) -> i64 {
        let bytes = length.saturating_mul(self.nest.buffers[at].dtype.bytes() as i64);
        whole_lines(bytes, LINE) / self.nest.dtype.bytes() as i64
    }

    /// Elements of all of them in one array, each at the start of a cache line, wherever the array
    /// begins. Zero if there are none.
    pub fn local_len(&self) -> Result<i64, Unsupported> {
        let locals = self.locals()?;
        let lines = locals.iter().map(|(at, length)| self.lines_of(*at, *length));
        let all = lines.fold(0, i64::saturating_add);
        Ok(if all > 0 { all.saturating_add(self.line() - 1) } else { 0 })
    }

    /// What is known, and scratch and packed buffers where they have their home.
    pub fn local_arrays(&self, home: Home) -> Result<TokenStream, Unsupported> {
        let known = self.nest.buffers.iter().enumerate();
        let known = known.filter_map(|(at, buffer)| Some((at, buffer.values.as_ref()?)));
        let mut text: TokenStream =
            known.map(|(at, values)| self.known_array(at, values)).collect();
        let (line, bytes) = (tokens(&self.line().to_string()), tokens(&LINE.to_string()));
        if let Home::Callers(_) = home {
            text.extend(quote!(let scratch = &mut scratch[..]; let skipped = scratch.as_ptr().align_offset(#bytes).min(#line - 1); let scratch = &mut scratch[skipped..];));
        }
        for (at, length) in self.locals()? {
            let name = tokens(&self.scope.buffers[at]);
            let Buffer { dtype, role, .. } = self.nest.buffers[at];
            let zero = zero(dtype);
            match home {
                Home::Stack => {
                    let length = tokens(&length.to_string());
                    text.extend(quote!(let #name = &mut Aligned([#zero; #length]).0;));
                }
                Home::Callers(_) => {
                    let length = tokens(&self.lines_of(at, length).to_string());
                    text.extend(quote!(let (#name, scratch) = scratch.split_at_mut(#length);));
                    if self.emission.stored(dtype).is_some() {
                        let t = type_name(dtype);
                        // Numbers of any bits, at a cache line.
                        text.extend(quote!(let #name = unsafe { #name.align_to_mut::<#t>() }.1;));
                    }
                    if role == BufferRole::Packed {
                        text.extend(quote!(#name.fill(#zero);));
                    }
                }
            }
        }
        Ok(text)
    }

    /// Known numbers that leaves read from memory, few enough to be written.
    fn known_array(&self, at: usize, values: &Values) -> TokenStream {
        if values.is_empty() || is_bytes(values) {
            return TokenStream::new();
        }
        let (name, t) = (tokens(&self.scope.buffers[at]), type_name(self.nest.dtype));
        let constant = tokens(&self.scope.buffers[at].to_uppercase());
        let numbers = values.iter().map(|&x| expr::constant(x, self.nest.dtype));
        let len = tokens(&values.len().to_string());
        // Shorter ones are read number by number.
        match (values.len() as i64) < self.line() {
            true => quote!(static #constant: [#t; #len] = [#(#numbers),*]; let #name = &#constant;),
            false => {
                quote!(static #constant: Aligned<[#t; #len]> = Aligned([#(#numbers),*]); let #name = &#constant.0;)
            }
        }
    }

    /// The parameters of a version, the output last.
    pub fn public_buffers(&self) -> PublicBuffers {
        self.public_buffers_of(match self.form {
            Form::Function => FUNCTION,
            Form::Packed => PACKED,
        })
    }

    /// The parameters that the item's caller passes.
    pub fn callers_buffers(&self) -> PublicBuffers {
        self.public_buffers_of(match self.form {
            Form::Function => FUNCTION,
            Form::Packed => CALLER,
        })
    }

    fn public_buffers_of(&self, classes: &[&[BufferRole]]) -> PublicBuffers {
        let mut public =
            PublicBuffers { parameters: TokenStream::new(), arguments: TokenStream::new() };
        for class in classes {
            for at in self.arrays_of(class) {
                let name = tokens(&self.scope.buffers[at]);
                let array = self.array_type(at);
                let mutable = class.contains(&BufferRole::Output).then(|| quote!(mut));
                public.parameters.extend(quote!(#name: & #mutable #array,));
                public.arguments.extend(quote!(#name,));
            }
        }
        public
    }

    /// The buffers of these roles that have memory of their own, and no numbers yet.
    pub fn arrays_of(&self, roles: &[BufferRole]) -> Vec<usize> {
        let is_one = |at: &usize| {
            let Buffer { role, values, view_of, .. } = &self.nest.buffers[*at];
            roles.contains(role) && values.is_none() && view_of.is_none()
        };
        (0..self.nest.buffers.len()).filter(is_one).collect()
    }

    /// An array where the size is known, else a slice, as what begins at a box is.
    pub fn array_type(&self, buffer: usize) -> TokenStream {
        let t = type_name(self.nest.buffers[buffer].dtype);
        if let Some(transformed) =
            self.transformed.filter(|_| self.nest.buffers[buffer].role == BufferRole::Weight)
        {
            let length = tokens(&transformed.taken().to_string());
            return quote!([#t; #length]);
        }
        let is_box = self.boxes
            && CALLER.iter().any(|class| class.contains(&self.nest.buffers[buffer].role));
        match self.scope.length(buffer).as_constant().filter(|_| !is_box) {
            Some(length) => {
                let length = tokens(&length.to_string());
                quote!([#t; #length])
            }
            None => quote!([#t]),
        }
    }
}
