//! Leaves as private functions: their parameters, their calls.
//!
//! A pointer of a leaf is a slice and an offset into it, an int is an index; pointers into one
//! buffer share the slice. A parameter is a `usize` if it is one in every call, which takes a first
//! walk over the driver, else an `isize`. Run-time sizes that a leaf's strides need are passed on.
//! Leaves are written before the driver, so that nobody passes what their text has no use for.

use std::collections::BTreeSet;

use conv_ir::nest::bill::Bill;
use conv_ir::nest::{AxisId, Bound, BufferId, Call, Leaf, LeafId, Stmt, SymbolId, Var};
use conv_ir::{Isa, Nest};
use proc_macro2::TokenStream;
use quote::quote;

use super::item::{Item, Parameters, leaf_text};
use super::lanes::{attribute, type_name};
use super::loops::loop_head;
use super::range::Range;
use super::scope::Scope;
use super::sum::{Factor, Sum};
use super::{Unsupported, tokens, uses};

impl<'a> Item<'a> {
    /// First walk over the driver: which values do the leaves' parameters take?
    pub(super) fn find_parameters(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, _) if l.constant_extent() == Some(0) => {}
                Stmt::For(l, body) => {
                    let mark = self.scope.open();
                    match l.one_turn() {
                        Some(value) => self.scope.bind_constant(l.axis, value),
                        None => drop(loop_head(&mut self.scope, l)),
                    }
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
            false => Parameters { called: true, pointers, ints, used: Vec::new() },
            true => Parameters {
                called: true,
                pointers: unite(&known.pointers, &pointers),
                ints: unite(&known.ints, &ints),
                used: Vec::new(),
            },
        };
    }

    pub(super) fn call(&mut self, call: &Call) -> TokenStream {
        let (nest, id) = (self.nest, call.leaf.index());
        let leaf = &nest.leaves[id];
        let mut arguments = Vec::new();
        for (at, (access, range)) in
            call.pointers.iter().zip(self.parameters[id].pointers.clone()).enumerate()
        {
            if let Some(buffer) = first_pointer_into(leaf, at) {
                arguments.push(self.buffer_argument(buffer));
            }
            arguments
                .push(tokens(&as_parameter(&self.scope.address(None, access, None).at, range)));
        }
        let called: Vec<super::lanes::LaneFn> = self.scope.called.drain(..).collect();
        called.into_iter().for_each(|f| self.emission.call(0, f));
        for (bound, range) in call.ints.iter().zip(&self.parameters[id].ints) {
            arguments.push(tokens(&self.scope.bound(bound, !range.non_negative())));
        }
        for (_, factor) in sizes(nest, leaf, &self.scope).1 {
            arguments.push(tokens(&factor.text));
        }
        let used = &self.parameters[id].used;
        let arguments =
            arguments.iter().zip(used).filter(|(_, used)| **used).map(|(argument, _)| argument);
        let name = tokens(&self.leaf_names[id]);
        quote!(#name(#(#arguments),*);)
    }

    /// The array that a leaf reaches into: a reference, wherever it is.
    fn buffer_argument(&self, buffer: usize) -> TokenStream {
        tokens(&self.scope.buffers[self.nest.memory_of(BufferId(buffer as u32)).index()])
    }

    /// The leaves that are called, as functions.
    pub(super) fn leaves(&mut self) -> Result<TokenStream, Unsupported> {
        let called = (0..self.nest.leaves.len()).filter(|&at| self.parameters[at].called);
        called.collect::<Vec<_>>().into_iter().map(|at| self.leaf_fn(LeafId(at as u32))).collect()
    }

    fn leaf_fn(&mut self, id: LeafId) -> Result<TokenStream, Unsupported> {
        let leaf = &self.nest.leaves[id.index()];
        let mut scope = Scope::new(self.nest);
        scope.is_const = self.scope.is_const;
        scope.transforms = self.scope.transforms;
        let parameters = self.bind_parameters(id, &mut scope);
        let body = self.leaf_body(leaf, &mut scope)?;
        let used: Vec<bool> = parameters.iter().map(|(name, _)| uses(&body, name)).collect();
        let parameters =
            parameters.iter().zip(&used).filter(|(_, used)| **used).map(|((name, ty), _)| {
                let name = tokens(name);
                quote!(#name: #ty)
            });
        let trusts = !self.nest.symbols.is_empty() && uses(&body, "unsafe");
        let trust = trusts.then(|| {
            "Loads and stores that the assertions cover are unchecked; offsets do not wrap, says the door.".to_owned()
        });
        let docs = docs(leaf).into_iter().chain(trust).map(|line| format!(" {line}"));
        let name = tokens(&self.leaf_names[id.index()]);
        let text = quote!(fn #name(#(#parameters),*) { #body });
        let features = attribute(self.emission.isa);
        let text = match self.scope.is_const {
            true => quote!(#(#[doc = #docs])* const #text),
            // A leaf of its own is allocated registers of its own.
            false => quote!(#(#[doc = #docs])* #features #[inline(never)] #text),
        };
        self.parameters[id.index()].used = used;
        Ok(text)
    }

    /// Names and types of what a leaf may be passed, in the order of a call's arguments.
    fn bind_parameters(&self, id: LeafId, scope: &mut Scope<'a>) -> Vec<(String, TokenStream)> {
        let nest = self.nest;
        let (leaf, ranges) = (&nest.leaves[id.index()], &self.parameters[id.index()]);
        let mut parameters = Vec::new();
        for (at, (buffer, range)) in leaf.pointers.iter().zip(&ranges.pointers).enumerate() {
            if let Some(buffer) = first_pointer_into(leaf, at) {
                let t = type_name(nest.buffers[buffer].dtype);
                let ty = if writes(leaf, buffer) { quote!(&mut [#t]) } else { quote!(&[#t]) };
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
            let name = scope.bind(Var::Axis(*axis), &int_name(nest, leaf, *axis), *range);
            parameters.push((name, index_type(*range)));
        }
        let (adopted, passed) = sizes(nest, leaf, &self.scope);
        adopted.iter().for_each(|(symbol, factor)| scope.adopt(*symbol, factor));
        for (_, factor) in passed {
            parameters.push((factor.text.clone(), index_type(factor.range)));
        }
        parameters
    }
}

impl<'a> Item<'a> {
    /// Registers and loops; where the leaf has lanes, behind assertions of how far it reaches.
    fn leaf_body(
        &mut self,
        leaf: &'a Leaf,
        scope: &mut Scope<'a>,
    ) -> Result<TokenStream, Unsupported> {
        let isa = self.emission.isa;
        let vectors = leaf.lanes.filter(|lanes| lanes.width > 1 || lanes.cut.is_some());
        let Some(lanes) = vectors else {
            return leaf_text(leaf, scope, &mut self.emission).body();
        };
        let module = tokens(&format!("x{}", lanes.width));
        if isa == Isa::Portable {
            let body = leaf_text(leaf, scope, &mut self.emission).body()?;
            return Ok(quote!(use self::#module::*; #body));
        }
        let (assertions, asserted) = super::reach::assertions(leaf, scope);
        let mut text = leaf_text(leaf, scope, &mut self.emission);
        text.asserted = asserted;
        let body = text.body()?;
        Ok(quote!(use self::#module::*; #assertions unsafe { #body }))
    }
}

/// What a leaf says of itself.
fn docs(leaf: &Leaf) -> Vec<String> {
    let bill = Bill::of(leaf);
    if bill.fmas + bill.adds == 0 {
        return vec!["Moves elements to where they are read in order.".to_owned()];
    }
    let edge = (!leaf.conditions().is_empty())
        .then(|| "At an edge: taps outside the input are left out.".to_owned());
    edge.into_iter().chain([format!("Bill: {bill}.")]).collect()
}

/// The name of a leaf's int: `kh_lo` and `kh_hi` where it is the bound of a loop over `kh`.
fn int_name(nest: &Nest, leaf: &Leaf, int: AxisId) -> String {
    let is_bound = |bound: &Bound| *bound == Bound::from(conv_ir::nest::Affine::axis(int));
    let bounds = leaf.reduce.iter().find_map(|l| match (is_bound(&l.lo), is_bound(&l.hi)) {
        (true, _) => Some(format!("{}_lo", nest.axis(l.axis).name)),
        (_, true) => Some(format!("{}_hi", nest.axis(l.axis).name)),
        (false, false) => None,
    });
    bounds.unwrap_or_else(|| nest.axis(int).name.clone())
}

fn unite(a: &[Range], b: &[Range]) -> Vec<Range> {
    a.iter().zip(b).map(|(a, b)| a.union(*b)).collect()
}

fn index_type(range: Range) -> TokenStream {
    if range.non_negative() { quote!(usize) } else { quote!(isize) }
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

type Sizes = Vec<(SymbolId, Factor)>;

/// The run-time sizes that a leaf's text names, in its expressions and in the strides of its
/// buffers: all of them, and those that are passed, one for each name.
fn sizes(nest: &Nest, leaf: &Leaf, scope: &Scope<'_>) -> (Sizes, Sizes) {
    let named = symbols_of(nest, leaf).into_iter();
    let all: Sizes = named
        .filter_map(|symbol| Some((symbol, scope.factor(Var::Symbol(symbol))?.clone())))
        .collect();
    let mut passed: Sizes = Vec::new();
    for (symbol, factor) in &all {
        if passed.iter().all(|(_, known)| known.text != factor.text) {
            passed.push((*symbol, factor.clone()));
        }
    }
    (all, passed)
}

fn symbols_of(nest: &Nest, leaf: &Leaf) -> Vec<SymbolId> {
    let mut found = BTreeSet::new();
    let mut note = |a: &conv_ir::nest::Affine| {
        found.extend(a.terms().iter().filter_map(|(var, _)| match var {
            Var::Symbol(symbol) => Some(*symbol),
            Var::Axis(_) => None,
        }));
    };
    leaf.visit_affine(&mut note);
    leaf.pointers.iter().flat_map(|b| nest.buffer(*b).extents.iter().skip(1)).for_each(note);
    found.into_iter().collect()
}
