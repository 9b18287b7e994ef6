//! What a leaf writes: vectors in a row, lane by lane, or squares that are transposed in registers.
//!
//! In: a store of the nest and its value's text. Out: the call of the lane function that does it,
//! or an assignment in a scalar leaf.

use conv_ir::nest::{Access, AxisId, Expr, Reach, RegId};
use proc_macro2::TokenStream;
use quote::quote;

use super::expr::LeafText;
use super::lanes::{LaneFn, square};
use super::scope::Address;
use super::{Unsupported, tokens};

impl LeafText<'_, '_> {
    /// A number that is moved as it is, from one array to another of its type: nothing is widened.
    pub fn copy(&mut self, to: &Access, value: &Expr) -> Option<TokenStream> {
        let Expr::Load(from) = value else { return None };
        let dtype = |access: &Access| {
            let buffer = self.scope.nest.buffer_behind(self.leaf, access.base);
            self.scope.nest.buffer(buffer).dtype
        };
        if self.lanes().is_some() || dtype(from) != dtype(to) || dtype(to) == self.emission.dtype {
            return None;
        }
        let [to, from] = [to, from].map(|access| {
            let Address { buffer, at, .. } = self.address(access);
            let (name, at) = (tokens(&self.scope.buffers[buffer]), tokens(&at.usize_text()));
            quote!(#name[#at])
        });
        Some(quote!(#to = #from;))
    }

    pub fn store(&mut self, to: &Access, value: TokenStream) -> TokenStream {
        let Address { buffer, at, step } = self.address(to);
        let Some(lanes) = self.lanes() else {
            let (name, at) = (tokens(&self.scope.buffers[buffer]), tokens(&at.usize_text()));
            let value = match self.stored(buffer) {
                None => value,
                Some(dtype) => self.converted(LaneFn::Narrow, dtype, value),
            };
            return quote!(#name[#at] = #value;);
        };
        let (reach, live) = (self.scope.nest.reach(self.leaf, to), self.live());
        let call = match (reach, live) {
            (Reach::Row, None) => {
                let [to, at] = self.place(to, buffer, &at, &lanes.width.to_string(), true);
                self.memory_tokens(LaneFn::Store, buffer, &[to, at, value])
            }
            (Reach::Row, Some(live)) => {
                let [to, at] = self.place(to, buffer, &at, &live, true);
                self.memory_tokens(LaneFn::StoreFirst, buffer, &[to, at, tokens(&live), value])
            }
            (Reach::Splat | Reach::Pairs | Reach::Apart(_), _) => {
                let (step, live) = (step.unwrap_or_default().usize_text(), self.live_or_all());
                let span = format!("(({live}).max(1) - 1) * ({step}) + 1");
                let [to, at] = self.place(to, buffer, &at, &span, true);
                let (step, live) = (tokens(&step), tokens(&live));
                self.memory_tokens(LaneFn::Scatter, buffer, &[to, at, step, live, value])
            }
        };
        quote!(#call;)
    }

    /// Squares of the block where its rows are contiguous, the last one overlapping its neighbour
    /// if need be; else vector by vector.
    pub fn store_block(
        &mut self,
        to: &Access,
        reg: RegId,
        along: AxisId,
    ) -> Result<TokenStream, Unsupported> {
        let target = self.scope.nest.buffer_behind(self.leaf, to.base);
        let is_row = self.scope.nest.step_along(target, to, along) == Some(1);
        let (square, extent) = (square(self.emission.dtype), self.leaf.extent(along));
        if self.lanes().is_none() || !is_row || extent < square {
            return self.each(along, |leaf| {
                let value = leaf.register(reg);
                Ok(leaf.store(to, value))
            });
        }
        let mut all = TokenStream::new();
        let mark = self.scope.open();
        for first in (0..extent).step_by(square as usize) {
            let first = first.min(extent - square);
            let mut columns = Vec::new();
            for column in first..first + square {
                self.scope.bind_constant(along, column);
                columns.push(self.register(reg));
            }
            self.scope.bind_constant(along, first);
            let Address { buffer, at, step } = self.address(to);
            let (step, live) = (step.unwrap_or_default().usize_text(), self.live_or_all());
            let span = format!("(({live}).max(1) - 1) * ({step}) + {square}");
            let [to, at] = self.place(to, buffer, &at, &span, true);
            let (step, live) = (tokens(&step), tokens(&live));
            let arguments = [to, at, step, live, quote!([#(#columns),*])];
            let call = self.memory_tokens(LaneFn::StoreSquare, buffer, &arguments);
            all.extend(quote!(#call;));
            self.scope.close(mark);
        }
        Ok(all)
    }
}
