//! What a leaf tells rustc and the CPU about memory: offsets that neither may see through, and
//! lines to fetch ahead.
//!
//! rustc must not see through the offset from one tap to the next ([`LaneFn::Opaque`]): it would
//! keep the elements that neighbouring taps share in registers, of which there are too few,
//! and spill. Measured on a 3x3 of 14 x 2 vectors of 512 bits: half of the peak without, all of it
//! with.

use conv_ir::nest::{Access, Base, BufferRole, Expr, Lanes, Loop, Op, PointerId, Role};
use conv_ir::{Isa, Target};
use proc_macro2::TokenStream;
use quote::quote;

use super::expr::LeafText;
use super::lanes::LaneFn;
use super::scope::Address;
use super::sum::Sum;
use super::tokens;

impl LeafText<'_, '_> {
    /// `let input_at = opaque(input_at);` for pointers whose elements are splat, tap after tap.
    pub fn opaque_pointers(&mut self) -> TokenStream {
        let leaf = self.leaf;
        let Some(lanes) = self.lanes() else {
            return TokenStream::new();
        };
        let mut pointers: Vec<PointerId> = Vec::new();
        for op in &leaf.update {
            op.visit(&mut |op| {
                let Op::Set { value, .. } = op else { return };
                value.visit(&mut |e| {
                    let Expr::Load(access) = e else { return };
                    if let Some(pointer) = self.splat_by_taps(access, lanes)
                        && !pointers.contains(&pointer)
                    {
                        pointers.push(pointer);
                    }
                });
            });
        }
        pointers.into_iter().map(|pointer| self.opaque(pointer)).collect()
    }

    /// The pointer of an access to the input that every lane shares, and that moves from tap to
    /// tap.
    fn splat_by_taps(&self, access: &Access, lanes: Lanes) -> Option<PointerId> {
        let Base::Pointer(pointer) = access.base else {
            return None;
        };
        let mut axes = access.index.iter().filter_map(|i| i.as_affine()).flat_map(|a| a.axes());
        let by_tap = axes.any(|axis| matches!(self.scope.nest.role(axis), Role::Kernel(_)));
        let buffer = self.scope.nest.buffer(self.leaf.pointers[pointer.index()]);
        let is_input = matches!(buffer.role, BufferRole::Input | BufferRole::Scratch);
        (is_input && by_tap && !access.follows(lanes.axis)).then_some(pointer)
    }

    /// `let at = opaque(at);`
    pub fn opaque(&mut self, pointer: PointerId) -> TokenStream {
        let Some(name) = self.scope.pointer_name(pointer) else {
            return TokenStream::new();
        };
        let name = tokens(&name);
        let call = self.call_tokens(LaneFn::Opaque, std::slice::from_ref(&name));
        quote!(let #name = #call;)
    }

    /// What the next turn of the loop with the largest steps will read: weights of many channels
    /// come from far away, and the input of the next channel lies on another page, where
    /// the hardware does not look ahead.
    pub fn prefetches(&mut self) -> TokenStream {
        let Some(lanes) = self.lanes().filter(|_| self.emission.isa != Isa::Portable) else {
            return TokenStream::new();
        };
        let mut loads: Vec<&Access> = Vec::new();
        for op in &self.leaf.update {
            op.visit(&mut |op| {
                if let Op::Set { value: Expr::Load(access), .. } = op {
                    loads.push(access);
                }
            });
        }
        // Channels in the lanes: one load is of vectors side by side, the other is splat.
        let mut by_lane = loads.iter().map(|access| {
            let last = access.index.last().and_then(|i| i.as_affine());
            (*access, last.map(|a| a.of_axis(lanes.axis)))
        });
        let weight = by_lane.clone().find(|(_, by)| *by == Some(1));
        let (Some((weight, _)), Some((input, _))) =
            (weight, by_lane.find(|(_, by)| *by == Some(0)))
        else {
            return TokenStream::new();
        };
        let asked = if self.asks_for_input(input) { 2 } else { 1 };
        [weight, input].into_iter().take(asked).map(|access| self.prefetch(access, lanes)).collect()
    }

    /// With 256 bits a tap is a few cycles: there asking costs more than it gains, unless there are
    /// many taps to a channel and the input comes from beyond the second-level cache.
    fn asks_for_input(&self, input: &Access) -> bool {
        let by_taps = |l: &&Loop| matches!(self.scope.nest.role(l.axis), Role::Kernel(_));
        let taps = self.leaf.reduce.iter().filter(by_taps);
        let taps: i64 = taps.map(|l| l.constant_extent().unwrap_or(3)).product();
        let is_far = match input.base {
            Base::Pointer(pointer) => {
                let length =
                    self.scope.length(self.leaf.pointers[pointer.index()].index()).as_constant();
                let bytes = self.bytes_of(input);
                length.is_none_or(|length| length * bytes > Target::AVX512.l2_bytes as i64)
            }
            Base::Buffer(_) => false,
        };
        !self.emission.isa.is_avx2() || taps <= 1 || taps >= 9 && is_far
    }

    /// The lines that an access will touch, each asked for once.
    fn prefetch(&mut self, access: &Access, lanes: Lanes) -> TokenStream {
        let Some(ahead) = self.largest_step(access) else {
            return TokenStream::new();
        };
        let line = 64 / self.bytes_of(access);
        let last = access.index.last().and_then(|i| i.as_affine());
        let along = self.leaf.tile.iter().filter(|t| Some(t.axis) != lanes.vectors);
        let span: i64 = along.map(|t| (t.extent - 1) * last.map_or(0, |a| a.of_axis(t.axis))).sum();
        let vectors = lanes.vectors.filter(|&axis| access.follows(axis));
        let mut all = TokenStream::new();
        let mut asked: Vec<Sum> = Vec::new();
        let mark = self.scope.open();
        for vector in 0..vectors.map_or(1, |axis| self.leaf.extent(axis)) {
            if let Some(axis) = vectors {
                self.scope.bind_constant(axis, vector);
            }
            let Address { buffer, at, .. } = self.address(access);
            for first in (0..=span).step_by(line as usize) {
                let at = at.clone().plus(&Sum::constant(ahead + first));
                let same_line =
                    |known: &Sum| known.varies_as(&at) && at.constant - known.constant < line;
                if asked.iter().any(same_line) {
                    continue;
                }
                asked.push(at.clone());
                let (from, at) = (self.buffer(buffer), tokens(&at.usize_text()));
                let call = self.memory_tokens(LaneFn::Prefetch, buffer, &[from, at]);
                all.extend(quote!(#call;));
            }
        }
        self.scope.close(mark);
        all
    }

    /// Bytes of an element behind an access.
    fn bytes_of(&self, access: &Access) -> i64 {
        let buffer = self.scope.nest.buffer_behind(self.leaf, access.base);
        self.scope.nest.buffer(buffer).dtype.bytes() as i64
    }

    /// Elements that the reduction loop with the largest steps moves an access by, where that is a
    /// line or more.
    fn largest_step(&self, access: &Access) -> Option<i64> {
        let Base::Pointer(pointer) = access.base else {
            return None;
        };
        let strides = self.scope.strides(self.leaf.pointers[pointer.index()].index());
        let step = |l: &Loop| {
            let along = |(i, stride): (&conv_ir::nest::Index, &Sum)| {
                Some(i.as_affine()?.of_axis(l.axis) * stride.as_constant()?)
            };
            access.index.iter().zip(&strides).map(along).sum::<Option<i64>>()
        };
        let steps = self.leaf.reduce.iter().map(step).collect::<Option<Vec<i64>>>()?;
        let largest = steps.into_iter().max()?;
        (largest * self.bytes_of(access) >= 64).then_some(largest)
    }
}
