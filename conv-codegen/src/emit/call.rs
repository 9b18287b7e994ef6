//! Leaves as private functions: their parameters, their calls.
//!
//! A pointer of a leaf is a slice and an offset into it, an int is an index; pointers into one buffer share the slice. A parameter is a `usize` if it
//! is one in every call, which takes a first walk over the driver, else an `isize`. Run-time sizes that a leaf's strides need are passed on.

use std::collections::BTreeSet;

use conv_ir::Nest;
use conv_ir::nest::{BufferId, Call, Leaf, LeafId, Stmt, SymbolId, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::item::{Item, Place, leaf_text};
use super::lanes::{Isa, type_name};
use super::loops::loop_head;
use super::range::Range;
use super::scope::Scope;
use super::sum::Sum;
use super::{Unsupported, tokens, uses};

/// The ranges of a leaf's parameters over all its calls.
#[derive(Clone, Default)]
pub(super) struct Parameters {
    called: bool,
    pointers: Vec<Range>,
    ints: Vec<Range>,
}

impl<'a> Item<'a> {
    /// First walk over the driver: which values do the leaves' parameters take?
    pub(super) fn find_parameters(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, _) if l.constant_extent() == Some(0) => {}
                Stmt::For(l, body) => {
                    let mark = self.scope.open();
                    loop_head(&mut self.scope, l);
                    self.find_parameters(body);
                    self.scope.close(mark);
                }
                Stmt::Leaf(_) => {}
                Stmt::Call(call) => self.find_in_call(call),
            }
        }
    }

    fn find_in_call(&mut self, call: &Call) {
        let pointers = call
            .pointers
            .iter()
            .map(|access| self.scope.address(None, access, None).at.range())
            .collect();
        let ints = call.ints.iter().map(|bound| self.scope.bound_range(bound)).collect();
        let known = &mut self.parameters[call.leaf.index()];
        *known = match known.called {
            false => Parameters {
                called: true,
                pointers,
                ints,
            },
            true => Parameters {
                called: true,
                pointers: unite(&known.pointers, &pointers),
                ints: unite(&known.ints, &ints),
            },
        };
    }

    pub(super) fn call(&mut self, call: &Call) -> TokenStream {
        let (nest, id) = (self.nest, call.leaf.index());
        let leaf = &nest.leaves[id];
        let mut arguments = Vec::new();
        for (at, (access, range)) in call
            .pointers
            .iter()
            .zip(self.parameters[id].pointers.clone())
            .enumerate()
        {
            if let Some(buffer) = first_pointer_into(leaf, at) {
                arguments.push(self.buffer_argument(leaf, buffer));
            }
            arguments.push(tokens(&as_parameter(&self.scope.address(None, access, None).at, range)));
        }
        let called: Vec<super::lanes::LaneFn> = self.scope.called.drain(..).collect();
        called.into_iter().for_each(|f| self.emission.call(0, f));
        for (bound, range) in call.ints.iter().zip(&self.parameters[id].ints) {
            arguments.push(tokens(&self.scope.bound(bound, !range.non_negative())));
        }
        for symbol in symbols_of(nest, leaf) {
            arguments.extend(self.scope.factor(Var::Symbol(symbol)).map(|f| tokens(&f.text)));
        }
        let name = tokens(&self.leaf_names[id]);
        quote!(#name(#(#arguments),*);)
    }

    fn buffer_argument(&mut self, leaf: &Leaf, buffer: usize) -> TokenStream {
        let memory = self.nest.memory_of(BufferId(buffer as u32)).index();
        let name = tokens(&self.scope.buffers[memory]);
        let writes = writes(leaf, buffer);
        match (self.emission.is_local(buffer), writes) {
            (false, _) => name,
            (true, true) => quote!(&mut #name),
            (true, false) => quote!(&#name),
        }
    }

    /// The leaves that are called, as functions.
    pub(super) fn leaves(&mut self) -> Result<TokenStream, Unsupported> {
        let called = (0..self.nest.leaves.len()).filter(|&at| self.parameters[at].called);
        called
            .collect::<Vec<_>>()
            .into_iter()
            .map(|at| self.leaf_fn(LeafId(at as u32)))
            .collect()
    }

    fn leaf_fn(&mut self, id: LeafId) -> Result<TokenStream, Unsupported> {
        let nest = self.nest;
        let (leaf, ranges) = (&nest.leaves[id.index()], self.parameters[id.index()].clone());
        let mut scope = Scope::new(nest);
        let mut parameters = Vec::new();
        let t = type_name(nest.dtype);
        for (at, (buffer, range)) in leaf.pointers.iter().zip(&ranges.pointers).enumerate() {
            if let Some(buffer) = first_pointer_into(leaf, at) {
                let ty = if writes(leaf, buffer) {
                    quote!(&mut [#t])
                } else {
                    quote!(&[#t])
                };
                parameters.push((scope.buffers[buffer].clone(), ty));
            }
            let alone = leaf.pointers.iter().filter(|b| *b == buffer).count() == 1;
            let wanted = format!(
                "{}_at{}",
                nest.buffer(*buffer).name,
                if alone { String::new() } else { at.to_string() }
            );
            parameters.push((scope.bind_pointer(&wanted, *range), index_type(*range)));
        }
        for (axis, range) in leaf.ints.iter().zip(&ranges.ints) {
            parameters.push((scope.bind_axis(*axis, *range), index_type(*range)));
        }
        for symbol in symbols_of(nest, leaf) {
            if let Some(factor) = self.scope.factor(Var::Symbol(symbol)) {
                parameters.push((factor.text.clone(), index_type(factor.range)));
                scope.adopt(symbol, factor);
            }
        }
        scope.is_const = self.scope.is_const;
        let body = self.leaf_body(leaf, &mut scope)?;
        let text = function(
            &self.leaf_names[id.index()],
            &[conv_ir::nest::bill::Bill::of(leaf).to_string()],
            &parameters,
            body,
            self.scope.is_const,
        );
        if self.scope.is_const {
            return Ok(text);
        }
        let features = self.emission.isa.attribute();
        // A leaf of its own is allocated registers of its own.
        Ok(quote!(#features #[inline(never)] #text))
    }
}

impl<'a> Item<'a> {
    /// Registers and loops; where the leaf has lanes, behind assertions of how far it reaches.
    fn leaf_body(&mut self, leaf: &'a Leaf, scope: &mut Scope<'a>) -> Result<TokenStream, Unsupported> {
        let isa = self.emission.isa;
        let vectors = leaf.lanes.filter(|lanes| lanes.width > 1 || lanes.cut.is_some());
        let Some(lanes) = vectors else {
            return leaf_text(leaf, scope, &mut self.emission, Place::Outlined).body();
        };
        let module = tokens(&format!("x{}", lanes.width));
        if isa == Isa::Portable {
            let body = leaf_text(leaf, scope, &mut self.emission, Place::Outlined).body()?;
            return Ok(quote!(use self::#module::*; #body));
        }
        let (assertions, asserted) = super::reach::assertions(leaf, scope);
        let mut text = leaf_text(leaf, scope, &mut self.emission, Place::Outlined);
        text.asserted = asserted;
        let body = text.body()?;
        Ok(quote!(use self::#module::*; #assertions unsafe { #body }))
    }
}

/// A private function with its parameters; those that the body has no use for are named in a `let _`.
fn function(
    name: &str,
    docs: &[String],
    parameters: &[(String, TokenStream)],
    body: TokenStream,
    is_const: bool,
) -> TokenStream {
    let keyword = is_const.then(|| quote!(const));
    let name = tokens(name);
    let unused = parameters
        .iter()
        .filter(|(name, _)| !uses(&body, name))
        .map(|(name, _)| tokens(name));
    let unused: TokenStream = unused.map(|name| quote!(let _ = #name;)).collect();
    let parameters = parameters.iter().map(|(name, ty)| {
        let name = tokens(name);
        quote!(#name: #ty)
    });
    let docs = docs.iter().map(|line| format!(" {line}"));
    quote! {
        #(#[doc = #docs])*
        #keyword fn #name(#(#parameters),*) {
            #unused
            #body
        }
    }
}

fn unite(a: &[Range], b: &[Range]) -> Vec<Range> {
    a.iter().zip(b).map(|(a, b)| a.union(*b)).collect()
}

fn index_type(range: Range) -> TokenStream {
    if range.non_negative() {
        quote!(usize)
    } else {
        quote!(isize)
    }
}

fn as_parameter(sum: &Sum, range: Range) -> String {
    match range.non_negative() {
        true => sum.usize_text(),
        false => sum.isize_text(),
    }
}

/// The buffer behind a leaf's pointer, if no pointer before it reaches into the same.
fn first_pointer_into(leaf: &Leaf, at: usize) -> Option<usize> {
    let buffer = leaf.pointers[at];
    (!leaf.pointers[..at].contains(&buffer)).then(|| buffer.index())
}

/// Whether the leaf stores into a buffer.
fn writes(leaf: &Leaf, buffer: usize) -> bool {
    use conv_ir::nest::{Base, Op};
    let mut found = false;
    let mut to = |base: Base| {
        found |= match base {
            Base::Buffer(b) => b.index() == buffer,
            Base::Pointer(p) => leaf.pointers[p.index()].index() == buffer,
        };
    };
    for op in leaf.ops() {
        op.visit(&mut |op| match op {
            Op::Store { to: access, .. } | Op::StoreBlock { to: access, .. } => to(access.base),
            Op::Each(..) | Op::Set { .. } => {}
        });
    }
    found
}

/// The run-time sizes that a leaf's text names: in its expressions, and in the strides of its buffers.
fn symbols_of(nest: &Nest, leaf: &Leaf) -> Vec<SymbolId> {
    let mut found = BTreeSet::new();
    let mut note = |a: &conv_ir::nest::Affine| {
        found.extend(a.terms().iter().filter_map(|(var, _)| match var {
            Var::Symbol(symbol) => Some(*symbol),
            Var::Axis(_) => None,
        }));
        a.clone()
    };
    leaf.map_affine(&mut note);
    leaf.pointers
        .iter()
        .flat_map(|b| nest.buffer(*b).extents.iter().skip(1))
        .for_each(|extent| {
            note(extent);
        });
    found.into_iter().collect()
}
