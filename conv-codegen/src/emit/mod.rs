//! A loop nest to Rust: one public function, its leaves as private functions inside it, and the lane functions that they use.
//!
//! ```text
//! pub fn name(input: &[f32; N], .., output: &mut [f32; O]) {
//!     <scratch and packed buffers, as arrays on the stack>
//!     <setup> <driver loops>
//!     fn leaf(input: &[f32], input_at: usize, ..) { <registers as arrays> <tile loops> }
//!     fn fma<const N: usize>(..) -> [f32; N]
//! }
//! ```
//!
//! In: a nest after all passes (leaves still in place are printed where they stand). Out: tokens that compile by themselves: safe, no dependencies, no
//! imports, absolute paths. Free sizes become `usize` parameters in front, arrays become slices, and their lengths are asserted at the door. Parallel
//! loops run in order. What does not fit on the stack is refused, never allocated.

mod call;
mod expr;
mod lanes;
mod leaf;
mod node;
mod range;
mod scope;
mod sum;

use std::collections::BTreeSet;

use conv_ir::nest::{BufferRole, Leaf, Loop, Stmt, SymbolId, Var};
use conv_ir::{DType, Error, Nest};
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;

use call::Parameters;
use expr::{Declared, LeafText};
use lanes::{LaneFn, type_name};
use range::Range;
use scope::Scope;

/// Bytes of scratch and packed buffers that an emitted function may keep on its stack: an eighth of the 2 MiB that a thread gets by default.
pub const STACK_LIMIT: i64 = 256 << 10;

/// What stands in front of an emitted function.
#[derive(Clone, Debug)]
pub struct Head {
    /// The user's documentation, as attributes.
    pub docs: TokenStream,
    /// Lines of documentation after it.
    pub notes: Vec<String>,
    /// Other attributes.
    pub attributes: TokenStream,
    /// `pub`, or nothing.
    pub visibility: TokenStream,
    /// The function's name.
    pub name: Ident,
}

/// Why there is no text, in words; the route is added at the door.
struct Unsupported(String);

/// The nest as one function.
///
/// # Errors
/// [`Error::Unsupported`] where a buffer does not fit on the stack, or the nest has not been through all passes.
pub fn emit(nest: &Nest, head: &Head) -> Result<TokenStream, Error> {
    Item::new(nest)
        .and_then(|mut item| item.emit(head))
        .map_err(|Unsupported(message)| Error::Unsupported { route: "rust", message })
}

/// What the text of the functions has used so far.
struct Emission {
    dtype: DType,
    called: BTreeSet<LaneFn>,
    /// Buffers that are arrays of the function itself.
    local: Vec<bool>,
}

impl Emission {
    fn is_local(&self, buffer: usize) -> bool {
        self.local[buffer]
    }
}

struct Item<'a> {
    nest: &'a Nest,
    scope: Scope<'a>,
    emission: Emission,
    parameters: Vec<Parameters>,
    leaf_names: Vec<String>,
}

impl<'a> Item<'a> {
    fn new(nest: &'a Nest) -> Result<Item<'a>, Unsupported> {
        if nest.accumulator != nest.dtype || nest.buffers.iter().any(|b| b.dtype != nest.dtype) {
            return Err(Unsupported(
                "an accumulator of another type than the elements".to_owned(),
            ));
        }
        let mut scope = Scope::new(nest);
        let leaf_names = nest.leaves.iter().map(|leaf| scope.fresh(&leaf.name)).collect();
        let local = nest
            .buffers
            .iter()
            .map(|b| !b.is_callers() && b.values.is_none())
            .collect();
        let emission = Emission {
            dtype: nest.dtype,
            called: BTreeSet::new(),
            local,
        };
        let parameters = vec![Parameters::default(); nest.leaves.len()];
        Ok(Item {
            nest,
            scope,
            emission,
            parameters,
            leaf_names,
        })
    }

    fn emit(&mut self, head: &Head) -> Result<TokenStream, Unsupported> {
        let Head {
            docs,
            notes,
            attributes,
            visibility,
            name,
        } = head;
        let (sizes, door) = self.symbols();
        let arrays = self.local_arrays()?;
        self.find_parameters(&self.nest.setup);
        self.find_parameters(&self.nest.body);
        let setup = self.stmts(&self.nest.setup)?;
        let body = self.stmts(&self.nest.body)?;
        let leaves = self.leaves()?;
        let buffers = self.public_buffers(&quote!(#door #arrays #setup #body));
        let lane_fns = self.emission.called.iter().map(|f| f.source(self.nest.dtype));
        let PublicBuffers { parameters, unused } = buffers;
        let notes = notes.iter().map(|line| format!(" {line}"));
        Ok(quote! {
            #docs
            #(#[doc = #notes])*
            #attributes
            #[allow(clippy::all, unused_assignments)]
            #visibility fn #name(#sizes #parameters) {
                #unused
                #door
                #arrays
                #setup
                #body
                #leaves
                #(#lane_fns)*
            }
        })
    }

    /// Free sizes: the parameters, and what is asserted and worked out of them.
    fn symbols(&mut self) -> (TokenStream, TokenStream) {
        let (mut parameters, mut door) = (TokenStream::new(), TokenStream::new());
        for (at, symbol) in self.nest.symbols.iter().enumerate() {
            let id = SymbolId(at as u32);
            let Some(value) = &symbol.value else {
                let name = tokens(&self.scope.bind(Var::Symbol(id), &symbol.name, Range::size()));
                parameters.extend(quote!(#name: usize,));
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
    fn local_arrays(&self) -> Result<TokenStream, Unsupported> {
        let mut text = TokenStream::new();
        let mut total = 0i64;
        for (at, buffer) in self.nest.buffers.iter().enumerate().filter(|(_, b)| !b.is_callers()) {
            if let Some(values) = &buffer.values {
                text.extend(self.known_array(at, values));
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

    fn stmts(&mut self, stmts: &'a [Stmt]) -> Result<TokenStream, Unsupported> {
        stmts.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&mut self, stmt: &'a Stmt) -> Result<TokenStream, Unsupported> {
        match stmt {
            Stmt::For(l, _) if l.constant_extent() == Some(0) => Ok(TokenStream::new()),
            Stmt::For(l, body) => {
                let mark = self.scope.open();
                let head = loop_head(&mut self.scope, l);
                let body = self.stmts(body)?;
                self.scope.close(mark);
                Ok(head.around(body))
            }
            Stmt::Leaf(leaf) => {
                let mark = self.scope.open();
                let body = leaf_text(leaf, &mut self.scope, &mut self.emission, Place::Inline).body()?;
                self.scope.close(mark);
                Ok(quote!({ #body }))
            }
            Stmt::Call(call) => Ok(self.call(call)),
        }
    }

    /// The parameters of the public function, the output last.
    fn public_buffers(&self, body: &TokenStream) -> PublicBuffers {
        let roles = [
            BufferRole::Input,
            BufferRole::Weight,
            BufferRole::Bias,
            BufferRole::Residual,
            BufferRole::Output,
        ];
        let mut public = PublicBuffers {
            parameters: TokenStream::new(),
            unused: TokenStream::new(),
        };
        let ids = roles.into_iter().filter_map(|role| self.nest.buffer_of(role));
        for id in ids.filter(|&id| self.nest.buffer(id).is_callers()) {
            let (name, t) = (tokens(&self.scope.buffers[id.index()]), type_name(self.nest.dtype));
            let array = match self.scope.length(id.index()).as_constant() {
                Some(length) => {
                    let length = tokens(&length.to_string());
                    quote!([#t; #length])
                }
                None => quote!([#t]),
            };
            let mutable = (self.nest.buffer(id).role == BufferRole::Output).then(|| quote!(mut));
            public.parameters.extend(quote!(#name: & #mutable #array,));
            if !uses(body, &self.scope.buffers[id.index()]) {
                public.unused.extend(quote!(let _ = #name;));
            }
        }
        public
    }
}

struct PublicBuffers {
    parameters: TokenStream,
    unused: TokenStream,
}

/// Where a leaf's text stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Inline,
    Outlined,
}

fn leaf_text<'s, 'a>(
    leaf: &'a Leaf,
    scope: &'s mut Scope<'a>,
    emission: &'s mut Emission,
    place: Place,
) -> LeafText<'s, 'a> {
    let registers = leaf
        .registers
        .iter()
        .map(|r| Declared {
            name: r.name.clone(),
            axes: r.axes.clone(),
        })
        .collect();
    LeafText {
        leaf,
        scope,
        emission,
        registers,
        outlined: place == Place::Outlined,
        spell_width: false,
    }
}

/// `for name in range`.
struct LoopHead {
    name: String,
    range: String,
}

impl LoopHead {
    /// The loop around a body; nothing around nothing.
    fn around(&self, body: TokenStream) -> TokenStream {
        if body.is_empty() {
            return body;
        }
        let name = if uses(&body, &self.name) {
            tokens(&self.name)
        } else {
            quote!(_)
        };
        let range = tokens(&self.range);
        quote!(for #name in #range { #body })
    }
}

/// Binds a loop's axis.
fn loop_head(scope: &mut Scope<'_>, l: &Loop) -> LoopHead {
    let (lo, hi) = (scope.bound_range(&l.lo), scope.bound_range(&l.hi));
    let range = Range {
        lo: lo.lo,
        hi: hi.hi.and_then(|hi| hi.checked_sub(1)),
    };
    let signed = !range.non_negative();
    let text = format!("{}..{}", scope.bound(&l.lo, signed), scope.bound(&l.hi, signed));
    LoopHead {
        name: scope.bind_axis(l.axis, range),
        range: text,
    }
}

/// Text made here as tokens; it is Rust by construction.
fn tokens(text: &str) -> TokenStream {
    text.parse()
        .unwrap_or_else(|error| panic!("emitted text is no Rust ({error}): {text}"))
}

/// Whether a name occurs in the tokens.
fn uses(body: &TokenStream, name: &str) -> bool {
    body.clone().into_iter().any(|tree| match tree {
        TokenTree::Group(group) => uses(&group.stream(), name),
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
