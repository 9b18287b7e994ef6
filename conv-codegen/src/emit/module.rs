//! The module of a version: the function `run`, its leaves, and the lane functions that they use.

use conv_ir::nest::{BufferRole, Stmt};
use proc_macro2::TokenStream;
use quote::quote;

use super::arrays::PublicBuffers;
use super::constants::Known;
use super::item::{Form, Home, Item, leaf_text};
use super::lanes::{attribute, finite, type_name};
use super::line::aligned;
use super::loops::{braced, loop_head};
use super::{Unsupported, tokens, uses};

impl<'a> Item<'a> {
    /// Parameters, arguments, and the module's content: the function `run`, leaves, lane functions.
    /// Long arrays of known numbers are put into `known`, and arguments.
    pub fn module(
        &mut self,
        home: Home,
        known: &mut Known,
    ) -> Result<(TokenStream, TokenStream, TokenStream), Unsupported> {
        let (sizes, derived) = self.symbols();
        let derived = derived.iter().map(|(_, text)| text);
        let arrays = self.local_arrays(home)?;
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
        let (mut numbers, mut numbers_passed) = (TokenStream::new(), TokenStream::new());
        for (at, array) in known.of(self.nest) {
            let (name, ty) = (tokens(&self.scope.buffers[at]), self.array_type(at));
            numbers.extend(quote!(#name: &#ty,));
            numbers_passed.extend(quote!(&#array.0,));
        }
        let lane_modules = self.emission.lane_modules();
        let features = attribute(self.emission.isa);
        let (scratch, passed) = match home {
            Home::Stack => (None, None),
            Home::Callers(length) => {
                let (t, length) = (type_name(self.nest.dtype), tokens(&length.to_string()));
                (Some(quote!(scratch: &mut [#t; #length],)), Some(quote!(scratch,)))
            }
        };
        let aligned = uses(&arrays, "Aligned").then(aligned);
        let names = sizes.iter();
        let size_names = sizes.iter();
        let run = quote! {
            #features
            pub(super) fn run(#(#names: usize,)* #numbers #parameters #scratch) {
                #(#derived)*
                #arrays
                #setup
                #body
            }
            #aligned
            #leaves
            #lane_modules
        };
        let names = sizes.iter();
        let parameters = self.callers_buffers().parameters;
        Ok((
            quote!(#(#names: usize,)* #parameters),
            quote!(#(#size_names,)* #numbers_passed #arguments #passed),
            run,
        ))
    }

    /// Whether all weights are finite that came at run time: a type has looked when it packed them.
    pub fn finite_weights(&self) -> TokenStream {
        let weights = self.arrays_of(&[BufferRole::Weight]).into_iter();
        let tests = weights.map(|at| {
            let name = tokens(&self.scope.buffers[at]);
            // To the end, whatever is found: such a loop is vectorised.
            let finite = finite(self.nest.buffers[at].dtype, quote!(weight));
            quote!(#name.iter().fold(true, |all, weight| all & #finite))
        });
        match self.form {
            Form::Function => quote!(#(#tests)&*),
            Form::Packed => quote!(self.finite),
        }
    }

    pub fn stmts(&mut self, stmts: &'a [Stmt]) -> Result<TokenStream, Unsupported> {
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
                let body = leaf_text(leaf, &mut self.scope, &mut self.emission).body()?;
                self.scope.close(mark);
                Ok(braced(body))
            }
            Stmt::Call(call) => Ok(self.call(call)),
        }
    }
}
