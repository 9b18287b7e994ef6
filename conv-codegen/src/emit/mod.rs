//! Loop nests to Rust: one item with a version for each kind of CPU, their leaves as private functions, and the lane functions that they use.
//!
//! ```text
//! pub fn name(input: &[f32; N], .., output: &mut [f32; O]) {
//!     if <the CPU has AVX-512> { return unsafe { avx512::run(input, .., output) } }     or AVX2 with FMA
//!     portable::run(input, .., output);
//!     mod avx512 {
//!         pub fn run(..) { <scratch, as arrays on the stack> <driver loops> }
//!         fn leaf(input: &[f32], input_at: usize, ..) { <assertions of its reach> <registers as arrays> <tile loops> }
//!         mod x16 { type V = __m512; fn fma(a: V, b: V, c: V) -> V .. }
//!     }
//! }
//! ```
//!
//! In: a nest for each version, after all passes (leaves still in place are printed where they stand). Out: tokens that compile by themselves: no dependencies, no
//! imports, absolute paths. Free sizes become `usize` parameters in front, arrays become slices, and their lengths are asserted at the door. Parallel
//! loops run in order. What does not fit on the stack is refused, never allocated. `unsafe` is around intrinsics only: a leaf asserts how far it reaches before it starts.

mod call;
mod core_only;
mod expr;
mod hot;
mod lanes;
mod leaf;
mod node;
mod packed;
mod prefetch;
mod range;
mod reach;
mod rows;
mod scope;
#[cfg(test)]
mod soft {
    include!("soft.rs");
    mod tests {
        include!("soft_tests.rs");
    }
}
mod store;
mod sum;
mod unroll;

use std::collections::BTreeSet;

use conv_ir::nest::{Buffer, BufferRole, Leaf, Loop, Stmt, SymbolId, Var};
use conv_ir::{DType, Error, Nest};
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::quote;

use crate::Library;
use call::Parameters;
use expr::{Declared, LeafText};
pub(crate) use hot::bills;
pub use lanes::Isa;
use lanes::{LaneFn, Vectors, type_name};
pub(crate) use packed::constants;
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

/// A version of an item: the program, and the instructions that it is written in.
#[derive(Clone, Debug)]
pub struct Version {
    /// What it may use.
    pub runtime: Library,
    /// The instructions.
    pub isa: Isa,
    /// The program.
    pub nest: Nest,
}

/// The versions as one function, the widest first.
///
/// # Errors
/// [`Error::Unsupported`] where a buffer does not fit on the stack, or a nest has not been through all passes.
pub fn emit(versions: &[Version], head: &Head) -> Result<TokenStream, Error> {
    function(versions, head).map_err(|Unsupported(message)| Error::Unsupported { route: "rust", message })
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
    let Head {
        docs,
        notes,
        attributes,
        visibility,
        name,
    } = head;
    let body = Bodies::of(versions, Form::Function)?;
    let Bodies {
        parameters,
        dispatch,
        modules,
        ..
    } = body;
    let notes = notes.iter().map(|line| format!(" {line}"));
    Ok(quote! {
        #docs
        #(#[doc = #notes])*
        #attributes
        #[allow(clippy::all, unused)]
        #visibility fn #name(#parameters) {
            #dispatch
            #modules
        }
    })
}

/// Who owns the packed buffers.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A function packs on its stack.
    Function,
    /// A type has packed before.
    Packed,
}

/// All versions of an item.
struct Bodies {
    parameters: TokenStream,
    /// Chooses the version.
    dispatch: TokenStream,
    /// The versions.
    modules: TokenStream,
}

impl Bodies {
    fn of(versions: &[Version], form: Form) -> Result<Bodies, Unsupported> {
        let mut bodies = Bodies {
            parameters: TokenStream::new(),
            dispatch: TokenStream::new(),
            modules: TokenStream::new(),
        };
        for version in versions {
            let mut item = Item::new(version, form)?;
            let module = tokens(version.isa.module());
            let (parameters, arguments, body) = item.module()?;
            let call = quote!(#module::run(#arguments));
            if version.isa == Isa::Portable {
                bodies.dispatch.extend(quote!(#call;));
                bodies.modules.extend(quote!(mod #module { #body }));
            } else {
                let features = version.isa.features().iter();
                if version.runtime == Library::Core {
                    let cfg = quote!(all(target_arch = "x86_64" #(, target_feature = #features)*));
                    // Nothing but the features is needed, and the crate is compiled for them.
                    bodies
                        .dispatch
                        .extend(quote!(#[cfg(#cfg)] { return unsafe { #call }; }));
                    bodies.modules.extend(quote!(#[cfg(#cfg)] mod #module { #body }));
                    bodies.parameters = parameters;
                    continue;
                }
                bodies.dispatch.extend(quote! {
                    #[cfg(target_arch = "x86_64")]
                    if #(::std::arch::is_x86_feature_detected!(#features))&&* {
                        // Nothing but the features is needed, and they have been found.
                        return unsafe { #call };
                    }
                });
                bodies
                    .modules
                    .extend(quote!(#[cfg(target_arch = "x86_64")] mod #module { #body }));
            }
            bodies.parameters = parameters;
        }
        Ok(bodies)
    }
}

/// What the text of the functions has used so far.
struct Emission {
    isa: Isa,
    runtime: Library,
    dtype: DType,
    called: BTreeSet<(i64, LaneFn)>,
    /// Buffers that are arrays of the function itself.
    local: Vec<bool>,
}

impl Emission {
    fn is_local(&self, buffer: usize) -> bool {
        self.local[buffer]
    }

    /// Notes a lane function, and those that it calls.
    fn call(&mut self, width: i64, function: LaneFn) {
        let width = if function.is_scalar() { 0 } else { width };
        self.called.insert((width, function));
        for &inner in function.calls(self.isa) {
            self.call(width, inner);
        }
    }

    /// The modules of vectors, and the scalar functions.
    fn lane_modules(&self) -> TokenStream {
        let of = |width: i64| Vectors {
            isa: self.isa,
            runtime: self.runtime,
            dtype: self.dtype,
            width,
        };
        let mut text: TokenStream = self.functions(of(0));
        let widths: BTreeSet<i64> = self.called.iter().map(|c| c.0).filter(|&w| w > 0).collect();
        for width in widths {
            let used: Vec<LaneFn> = self.called.iter().filter(|c| c.0 == width).map(|c| c.1).collect();
            let (name, preamble, functions) = (
                tokens(&format!("x{width}")),
                of(width).preamble(&used),
                self.functions(of(width)),
            );
            let doc = format!(" Vectors of {width} lanes.");
            text.extend(quote! {
                #[doc = #doc]
                mod #name {
                    use super::*;
                    #preamble
                    #functions
                }
            });
        }
        text
    }

    fn functions(&self, vectors: Vectors) -> TokenStream {
        let chosen = self.called.iter().filter(|c| c.0 == vectors.width);
        chosen.map(|&(_, function)| vectors.source(function)).collect()
    }
}

struct Item<'a> {
    nest: &'a Nest,
    scope: Scope<'a>,
    emission: Emission,
    parameters: Vec<Parameters>,
    leaf_names: Vec<String>,
    form: Form,
}

impl<'a> Item<'a> {
    fn new(version: &'a Version, form: Form) -> Result<Item<'a>, Unsupported> {
        let nest = &version.nest;
        if nest.accumulator != nest.dtype || nest.buffers.iter().any(|b| b.dtype != nest.dtype) {
            return Err(Unsupported(
                "an accumulator of another type than the elements".to_owned(),
            ));
        }
        let mut scope = Scope::new(nest);
        scope.fresh("run");
        let leaf_names = nest.leaves.iter().map(|leaf| scope.fresh(&leaf.name)).collect();
        let local = nest.buffers.iter().map(|b| is_local(b, form)).collect();
        let emission = Emission {
            isa: version.isa,
            runtime: version.runtime,
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
            form,
        })
    }

    /// Parameters, arguments, and the module's content: the function `run`, leaves, lane functions.
    fn module(&mut self) -> Result<(TokenStream, TokenStream, TokenStream), Unsupported> {
        let (sizes, door) = self.symbols();
        let arrays = self.local_arrays()?;
        if self.form == Form::Function {
            self.find_parameters(&self.nest.setup);
        }
        self.find_parameters(&self.nest.body);
        let leaves = self.leaves()?;
        let setup = match self.form {
            Form::Function => self.stmts(&self.nest.setup)?,
            Form::Packed => TokenStream::new(),
        };
        let body = self.stmts(&self.nest.body)?;
        let PublicBuffers { parameters, arguments } = self.public_buffers();
        let lane_modules = self.emission.lane_modules();
        let features = self.emission.isa.attribute();
        let names = sizes.iter();
        let size_names = sizes.iter();
        let run = quote! {
            #features
            pub(super) fn run(#(#names: usize,)* #parameters) {
                #door
                #arrays
                #setup
                #body
            }
            #leaves
            #lane_modules
        };
        let names = sizes.iter();
        let parameters = match self.form {
            Form::Function => parameters,
            Form::Packed => self.public_buffers_of(CALLER).parameters,
        };
        Ok((
            quote!(#(#names: usize,)* #parameters),
            quote!(#(#size_names,)* #arguments),
            run,
        ))
    }

    /// Free sizes: the parameters, and what is asserted and worked out of them.
    fn symbols(&mut self) -> (Vec<TokenStream>, TokenStream) {
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
            let text = self.scope.bound(value, !range.non_negative());
            let known = if is_extent && !range.non_negative() {
                Range::size()
            } else {
                range
            };
            if let (true, Some(same)) = (known == range, self.scope.named(&text)) {
                self.scope.adopt(id, &same);
                continue;
            }
            let name = tokens(&self.scope.bind(Var::Symbol(id), &symbol.name, known));
            let text = tokens(&text);
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

    fn stmts(&mut self, stmts: &'a [Stmt]) -> Result<TokenStream, Unsupported> {
        stmts.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&mut self, stmt: &'a Stmt) -> Result<TokenStream, Unsupported> {
        match stmt {
            Stmt::For(l, _) if l.constant_extent() == Some(0) => Ok(TokenStream::new()),
            Stmt::For(l, body) => {
                let mark = self.scope.open();
                let head = match l.one_turn() {
                    Some(value) => {
                        self.scope.bind_constant(l.axis, value);
                        None
                    }
                    None => Some(loop_head(&mut self.scope, l)),
                };
                let body = self.stmts(body)?;
                self.scope.close(mark);
                Ok(match head {
                    Some(head) => head.around(body),
                    None => body,
                })
            }
            Stmt::Leaf(leaf) => {
                let mark = self.scope.open();
                let body = leaf_text(leaf, &mut self.scope, &mut self.emission, Place::Inline).body()?;
                self.scope.close(mark);
                Ok(braced(body))
            }
            Stmt::Call(call) => Ok(self.call(call)),
        }
    }

    /// The parameters of a version, the output last.
    fn public_buffers(&self) -> PublicBuffers {
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

    fn public_buffers_of(&self, roles: &[BufferRole]) -> PublicBuffers {
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
    fn array_type(&self, buffer: usize) -> TokenStream {
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

/// What a caller passes to a type that holds the rest.
const CALLER: &[BufferRole] = &[BufferRole::Input, BufferRole::Residual, BufferRole::Output];

struct PublicBuffers {
    parameters: TokenStream,
    arguments: TokenStream,
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
        asserted: reach::Asserted::default(),
    }
}

/// An array of the emitted function itself.
fn is_local(buffer: &Buffer, form: Form) -> bool {
    let held = buffer.role == BufferRole::Packed && form == Form::Packed;
    !buffer.is_callers() && buffer.values.is_none() && !held
}

/// `for name in lo..hi`.
struct LoopHead {
    name: String,
    lo: String,
    hi: String,
    /// `for` does not exist in a `const fn`.
    counted: bool,
}

impl LoopHead {
    /// The loop around a body; nothing around nothing.
    fn around(&self, body: TokenStream) -> TokenStream {
        if body.is_empty() {
            return body;
        }
        let (lo, hi) = (tokens(&self.lo), tokens(&self.hi));
        if self.counted {
            let name = tokens(&self.name);
            return quote! {
                let mut #name = #lo;
                while #name < #hi {
                    #body
                    #name += 1;
                }
            };
        }
        let name = if uses(&body, &self.name) {
            tokens(&self.name)
        } else {
            quote!(_)
        };
        quote!(for #name in #lo..#hi { #body })
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
    let (lo, hi) = (scope.bound(&l.lo, signed), scope.bound(&l.hi, signed));
    LoopHead {
        name: scope.bind_axis(l.axis, range),
        lo,
        hi,
        counted: scope.is_const,
    }
}

/// A block of its own, if it is not one already.
fn braced(body: TokenStream) -> TokenStream {
    let mut trees = body.clone().into_iter();
    match (trees.next(), trees.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::Brace => body,
        _ => quote!({ #body }),
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
