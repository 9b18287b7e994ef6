//! Operations of a leaf to statements.
//!
//! ```text
//! each ow.i { each oc.i { acc = fma(a, b, acc) } }     ->   for ow_i in 0..5 { for oc_i in 0..2 { acc[ow_i][oc_i] = fma(a[ow_i], b[oc_i], acc[ow_i][oc_i]); } }
//! ```
//!
//! Tile loops stay loops: the tile is an array, rustc unrolls it. A register is declared in the innermost block that holds all its uses (a
//! *temporary*, written before it is read), without the axes of the loops around it; one written by a plain assignment becomes a `let`.
//! What the reduction carries is declared at the top.
//!
//! Loops over taps stay loops too, except where a test depends on the tap: then the body is repeated, so that the test folds away. Either way rustc must not see through the offset
//! from one tap to the next ([`LaneFn::Opaque`]): it would keep the elements that neighbouring taps share in registers, of which there are too few, and spill. Measured on a 3x3 of
//! 14 x 2 vectors of 512 bits: half of the peak without, all of it with.

use conv_ir::Target;
use conv_ir::nest::{Access, AxisId, Base, BufferRole, Expr, Loop, LoopKind, Op, PointerId, RegId, Role, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::expr::{Declared, LeafText};
use super::lanes::{Isa, LaneFn, square, type_name};
use super::loops::{LoopHead, loop_head};
use super::node::{Node, nodes, reads, used, written_first};
use super::range::Range;
use super::rows::Rows;
use super::scope::{Address, Truth};
use super::{Unsupported, tokens};

/// Assignments that rustc unrolls in a tile loop: it counts instructions, 300 at most, about 6 for each of these. Measured: 50 are unrolled, 56 are not.
const MOST: i64 = 45;

impl<'a> LeafText<'_, 'a> {
    /// The whole leaf: init, reduction, finish.
    pub fn body(&mut self) -> Result<TokenStream, Unsupported> {
        let leaf = self.leaf;
        let sections = [nodes(&leaf.init), nodes(&leaf.update), nodes(&leaf.finish)];
        let rows = Rows::of(leaf);
        let is_operand = |reg: RegId| rows.as_ref().is_some_and(|rows| rows.is_operand(reg));
        let registers = (0..leaf.registers.len() as u32)
            .map(RegId)
            .filter(|&reg| sections.iter().any(|s| used(s, reg)) && !is_operand(reg));
        let (temporaries, carried): (Vec<RegId>, Vec<RegId>) = registers.partition(|&reg| is_temporary(&sections, reg));
        let (lets, arrays): (Vec<RegId>, Vec<RegId>) = carried
            .into_iter()
            .partition(|&reg| self.starts_with_let(&sections[0], reg, &[]));
        let of = |section: &[Node<'a>]| {
            temporaries
                .iter()
                .copied()
                .filter(|&reg| used(section, reg))
                .collect::<Vec<_>>()
        };
        let declarations: TokenStream = arrays.iter().map(|&reg| self.declare(reg, &[])).collect();
        let init = self.block(&sections[0], &mut Vec::new(), &[lets, of(&sections[0])].concat())?;
        let runs = leaf.reduce.iter().all(|l| l.constant_extent() != Some(0));
        let update = match &rows {
            _ if !runs => TokenStream::new(),
            Some(rows) => self.rows(rows)?,
            None => self.reduction(0, &sections[1], &of(&sections[1]))?,
        };
        let finish = self.block(&sections[2], &mut Vec::new(), &of(&sections[2]))?;
        let moved: TokenStream = arrays
            .iter()
            .filter(|_| is_long(&leaf.finish))
            .map(|&reg| self.move_out(reg))
            .collect();
        Ok(quote!(#declarations #init #update #moved #finish))
    }

    /// The reduction loops from the one at `depth` on.
    fn reduction(
        &mut self,
        depth: usize,
        update: &[Node<'a>],
        temporaries: &[RegId],
    ) -> Result<TokenStream, Unsupported> {
        let leaf = self.leaf;
        if depth == leaf.reduce.len() {
            let mut opaque = self.opaque_pointers();
            opaque.extend(self.prefetches());
            let body = self.block(update, &mut Vec::new(), temporaries)?;
            return Ok(match leaf.reduce.last() {
                Some(l) if self.is_repeated(l) && !opaque.is_empty() => quote!({ #opaque #body }),
                _ => quote!(#opaque #body),
            });
        }
        self.around(&leaf.reduce[depth], |leaf| {
            leaf.reduction(depth + 1, update, temporaries)
        })
    }

    /// A loop, or its body once for each value.
    pub fn around(
        &mut self,
        l: &Loop,
        mut body: impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        let mark = self.scope.open();
        if let (true, Some((lo, hi))) = (self.is_repeated(l), l.constant_range()) {
            let mut all = TokenStream::new();
            for value in lo..hi {
                self.scope.bind_constant(l.axis, value);
                let body = body(self)?;
                all.extend(quote!({ #body }));
                self.scope.close(mark);
            }
            return Ok(all);
        }
        let head = loop_head(self.scope, l);
        let body = body(self)?;
        self.scope.close(mark);
        Ok(head.around(body))
    }

    /// Unrolled, and tests depend on it.
    fn is_repeated(&self, l: &Loop) -> bool {
        let tested = |c: &&conv_ir::nest::Cond| c.expression().of_axis(l.axis) != 0;
        self.lanes().is_some() && l.kind == LoopKind::Unrolled && self.leaf.conditions().iter().any(tested)
    }

    /// `let input_at = opaque(input_at);` for pointers whose elements are splat, tap after tap.
    fn opaque_pointers(&mut self) -> TokenStream {
        let leaf = self.leaf;
        let Some(lanes) = leaf.lanes.filter(|_| self.lanes().is_some()) else {
            return TokenStream::new();
        };
        let mut pointers: Vec<PointerId> = Vec::new();
        for op in &leaf.update {
            op.visit(&mut |op| {
                let Op::Set { value, .. } = op else { return };
                value.visit(&mut |e| {
                    let Expr::Load(access) = e else { return };
                    let Base::Pointer(pointer) = access.base else { return };
                    let about = |role: fn(Role) -> bool| {
                        access
                            .index
                            .iter()
                            .filter_map(|i| i.as_affine())
                            .flat_map(|a| a.axes())
                            .any(|axis| role(self.scope.nest.role(axis)))
                    };
                    let by_lane = access
                        .index
                        .iter()
                        .any(|i| i.as_affine().is_some_and(|a| a.of_axis(lanes.axis) != 0));
                    let buffer = self.scope.nest.buffer(leaf.pointers[pointer.index()]);
                    let is_input = matches!(buffer.role, BufferRole::Input | BufferRole::Scratch);
                    if is_input
                        && !by_lane
                        && about(|role| matches!(role, Role::Kernel(_)))
                        && !pointers.contains(&pointer)
                    {
                        pointers.push(pointer);
                    }
                });
            });
        }
        pointers.into_iter().map(|pointer| self.opaque(pointer)).collect()
    }

    /// What the next turn of the loop with the largest steps will read: weights of many channels come from far away, and the input of the next channel lies on another page, where
    /// the hardware does not look ahead.
    fn prefetches(&mut self) -> TokenStream {
        let leaf = self.leaf;
        let Some(lanes) = leaf
            .lanes
            .filter(|_| self.emission.isa != Isa::Portable && self.lanes().is_some())
        else {
            return TokenStream::new();
        };
        let mut all = TokenStream::new();
        let mut loads: Vec<&Access> = Vec::new();
        for op in &leaf.update {
            op.visit(&mut |op| {
                if let Op::Set {
                    value: Expr::Load(access),
                    ..
                } = op
                {
                    loads.push(access);
                }
            });
        }
        // Channels in the lanes: one load is of vectors side by side, the other is splat.
        let by_lane = |access: &&Access| {
            access
                .index
                .last()
                .and_then(|i| i.as_affine())
                .map(|a| a.of_axis(lanes.axis))
        };
        let (Some(weight), Some(input)) = (
            loads.iter().find(|a| by_lane(a) == Some(1)),
            loads.iter().find(|a| by_lane(a) == Some(0)),
        ) else {
            return all;
        };
        // With 256 bits a tap is a few cycles: there asking costs more than it gains, unless there are many taps to a channel and the input comes from beyond the second-level cache.
        let by_taps = leaf
            .reduce
            .iter()
            .filter(|l| matches!(self.scope.nest.role(l.axis), Role::Kernel(_)));
        let taps: i64 = by_taps.map(|l| l.constant_extent().unwrap_or(3)).product();
        let is_far = |access: &Access| match access.base {
            Base::Pointer(pointer) => {
                let length = self.scope.length(leaf.pointers[pointer.index()].index()).as_constant();
                length.is_none_or(|length| length * self.emission.dtype.bytes() as i64 > Target::AVX512.l2_bytes as i64)
            }
            Base::Buffer(_) => false,
        };
        let asks = if self.emission.isa == Isa::Avx2 && taps > 1 && (taps < 9 || !is_far(input)) {
            1
        } else {
            2
        };
        for access in [*weight, *input].into_iter().take(asks) {
            let Some(ahead) = self.largest_step(access) else {
                continue;
            };
            let line = 64 / self.emission.dtype.bytes() as i64;
            let along = leaf.tile.iter().filter(|t| Some(t.axis) != lanes.vectors);
            let last = access.index.last().and_then(|i| i.as_affine());
            let span: i64 = along
                .map(|t| (t.extent - 1) * last.map_or(0, |a| a.of_axis(t.axis)))
                .sum();
            let mark = self.scope.open();
            let vectors = lanes.vectors.filter(|&axis| {
                access
                    .index
                    .iter()
                    .any(|i| i.as_affine().is_some_and(|a| a.of_axis(axis) != 0))
            });
            let mut asked: Vec<super::sum::Sum> = Vec::new();
            for vector in 0..vectors.map_or(1, |axis| self.tile_extent(axis)) {
                if let Some(axis) = vectors {
                    self.scope.bind_constant(axis, vector);
                }
                let Address { buffer, at, .. } = self.address(access);
                for first in (0..=span).step_by(line as usize) {
                    let at = at.clone().plus(&super::sum::Sum::constant(ahead + first));
                    let same_line =
                        |known: &super::sum::Sum| known.varies_as(&at) && at.constant - known.constant < line;
                    if asked.iter().any(same_line) {
                        continue;
                    }
                    asked.push(at.clone());
                    let (from, at) = (self.buffer(buffer, false), tokens(&at.usize_text()));
                    let call = self.call_tokens(LaneFn::Prefetch, &[from, at]);
                    all.extend(quote!(#call;));
                }
            }
            self.scope.close(mark);
        }
        all
    }

    /// Elements that the reduction loop with the largest steps moves an access by, where that is a line or more.
    fn largest_step(&self, access: &Access) -> Option<i64> {
        let Base::Pointer(pointer) = access.base else {
            return None;
        };
        let strides = self.scope.strides(self.leaf.pointers[pointer.index()].index());
        let step = |l: &Loop| {
            let along = |(i, stride): (&conv_ir::nest::Index, &super::sum::Sum)| {
                Some(i.as_affine()?.of_axis(l.axis) * stride.as_constant()?)
            };
            access.index.iter().zip(&strides).map(along).sum::<Option<i64>>()
        };
        let steps = self.leaf.reduce.iter().map(step).collect::<Option<Vec<i64>>>()?;
        let largest = steps.into_iter().max()?;
        (largest * self.emission.dtype.bytes() as i64 >= 64).then_some(largest)
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

    /// A list of operations inside the tile loops `around`; `pending` are the registers to be declared here or deeper.
    fn block(
        &mut self,
        list: &[Node<'a>],
        around: &mut Vec<AxisId>,
        pending: &[RegId],
    ) -> Result<TokenStream, Unsupported> {
        let (mut deeper, mut lets) = (Vec::new(), Vec::new());
        let mut text = TokenStream::new();
        for &reg in pending {
            let mut uses = list.iter().filter(|node| node.mentions(reg));
            match (uses.next(), uses.next()) {
                (None, _) => {}
                (Some(Node::Each(..) | Node::When(..)), None) => deeper.push(reg),
                _ if self.starts_with_let(list, reg, around) => lets.push(reg),
                _ => text.extend(self.declare(reg, around)),
            }
        }
        for node in list {
            match node {
                Node::Set(reg, value) if lets.contains(reg) => {
                    lets.retain(|pending| pending != reg);
                    let value = self.expr(value)?;
                    text.extend(self.let_statement(*reg, value));
                }
                _ => text.extend(self.node(node, around, &deeper)?),
            }
        }
        Ok(text)
    }

    /// Its first use in `list` is a plain assignment of a single value.
    fn starts_with_let(&self, list: &[Node<'a>], reg: RegId, around: &[AxisId]) -> bool {
        let single = self.leaf.registers[reg.index()]
            .axes
            .iter()
            .all(|axis| around.contains(axis));
        let first = list.iter().find(|node| node.mentions(reg));
        single && matches!(first, Some(Node::Set(_, value)) if !reads(value, reg))
    }

    pub fn name_register(&mut self, reg: RegId, axes: Vec<AxisId>) -> TokenStream {
        let name = self.scope.fresh(&self.leaf.registers[reg.index()].name);
        let text = tokens(&name);
        self.registers[reg.index()] = Declared { name, axes };
        text
    }

    fn let_statement(&mut self, reg: RegId, value: TokenStream) -> TokenStream {
        let (name, ty) = (self.name_register(reg, Vec::new()), self.value_type());
        let mut writes = 0;
        for op in self.leaf.ops() {
            op.visit(&mut |op| {
                writes += usize::from(matches!(op, conv_ir::nest::Op::Set { reg: to, .. } if *to == reg))
            });
        }
        let mutable = (writes > 1).then(|| quote!(mut));
        quote!(let #mutable #name: #ty = #value;)
    }

    /// An array over the axes that are not `around` it.
    fn declare(&mut self, reg: RegId, around: &[AxisId]) -> TokenStream {
        let axes = self.leaf.registers[reg.index()]
            .axes
            .iter()
            .copied()
            .filter(|axis| !around.contains(axis));
        let axes: Vec<AxisId> = axes.collect();
        let mut ty = self.value_type();
        let mut zero = self.everywhere(quote!(0.0));
        for axis in axes.iter().rev() {
            let extent = tokens(&self.tile_extent(*axis).to_string());
            (zero, ty) = (quote!([#zero; #extent]), quote!([#ty; #extent]));
        }
        let name = self.name_register(reg, axes);
        quote!(let mut #name: #ty = #zero;)
    }

    /// `let mut acc = acc;`: what comes after may index the copy as it likes, and the sums still stay in registers.
    fn move_out(&self, reg: RegId) -> TokenStream {
        let name = tokens(&self.registers[reg.index()].name);
        quote!(let mut #name = #name;)
    }

    fn value_type(&self) -> TokenStream {
        match self.lanes() {
            Some(_) => quote!(V),
            None => type_name(self.emission.dtype),
        }
    }

    pub fn tile_extent(&self, axis: AxisId) -> i64 {
        self.leaf
            .tile
            .iter()
            .find(|tile| tile.axis == axis)
            .map_or(1, |tile| tile.extent)
    }

    fn node(
        &mut self,
        node: &Node<'a>,
        around: &mut Vec<AxisId>,
        pending: &[RegId],
    ) -> Result<TokenStream, Unsupported> {
        match node {
            // Around a block store a loop is written out: rustc would keep it, and with it the whole tile in memory.
            Node::Each(axis, body) if stores_blocks(body) => self.each_written_out(*axis, |leaf| {
                around.push(*axis);
                let inner = leaf.block(body, around, pending);
                around.pop();
                inner
            }),
            Node::Each(axis, body) => {
                let weight = self.weight(body);
                self.each_in_parts(*axis, weight, |leaf| {
                    around.push(*axis);
                    let inner = leaf.block(body, around, pending);
                    around.pop();
                    inner
                })
            }
            Node::When(when, body) => {
                let truth = self.scope.conds(when);
                if let Truth::Never = truth {
                    return Ok(TokenStream::new());
                }
                let mark = self.scope.open();
                let body = self.block(body, around, pending)?;
                let Truth::If(when) = truth else {
                    return Ok(body);
                };
                self.scope.close(mark);
                let when = tokens(&when);
                Ok(quote!(if #when { #body }))
            }
            Node::Set(reg, value) => {
                let (to, value) = (self.register(*reg), self.expr(value)?);
                Ok(quote!(#to = #value;))
            }
            Node::Store(to, value) => {
                let text = self.expr(value)?;
                Ok(self.store(to, text))
            }
            Node::StoreBlock { to, reg, along } => self.store_block(to, *reg, *along),
        }
    }

    /// Squares of the block where its rows are contiguous, the last one overlapping its neighbour if need be; else vector by vector.
    fn store_block(&mut self, to: &Access, reg: RegId, along: AxisId) -> Result<TokenStream, Unsupported> {
        let by = |index: Option<&conv_ir::nest::Index>| index.and_then(|i| i.as_affine()).map(|a| a.of_axis(along));
        let contiguous = by(to.index.last()) == Some(1);
        let elsewhere = to.index.iter().rev().skip(1).any(|i| by(Some(i)) != Some(0));
        let (square, extent) = (square(self.emission.dtype), self.tile_extent(along));
        if self.lanes().is_none() || !contiguous || elsewhere || extent < square {
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
            let call = self.call_tokens(LaneFn::StoreSquare, &[to, at, step, live, quote!([#(#columns),*])]);
            all.extend(quote!(#call;));
            self.scope.close(mark);
        }
        Ok(all)
    }

    /// Assignments in a body, loops inside counted.
    fn weight(&self, list: &[Node<'_>]) -> i64 {
        let of = |node: &Node<'_>| match node {
            Node::Each(axis, body) => self.tile_extent(*axis) * self.weight(body),
            Node::When(_, body) => self.weight(body),
            Node::Set(..) | Node::Store(..) | Node::StoreBlock { .. } => 1,
        };
        list.iter().map(of).sum()
    }

    /// A tile loop, in parts that are short enough for rustc to unroll each: one that it does not unroll keeps the whole tile in memory.
    fn each_in_parts(
        &mut self,
        axis: AxisId,
        weight: i64,
        mut body: impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        let extent = self.tile_extent(axis);
        let parts = if self.lanes().is_some() {
            (extent * weight + MOST - 1) / MOST
        } else {
            1
        };
        let step = (extent + parts.max(1) - 1) / parts.max(1);
        let mut all = TokenStream::new();
        for lo in (0..extent).step_by(step.max(1) as usize) {
            all.extend(self.each_of(axis, (lo, (lo + step).min(extent)), &mut body)?);
        }
        Ok(all)
    }

    /// The body for each value of a tile axis.
    fn each_written_out(
        &mut self,
        axis: AxisId,
        mut body: impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        let mark = self.scope.open();
        let mut all = TokenStream::new();
        for value in 0..self.tile_extent(axis) {
            self.scope.bind_constant(axis, value);
            all.extend(body(self)?);
            self.scope.close(mark);
        }
        Ok(all)
    }

    /// `for axis in 0..extent { body }`.
    pub fn each(
        &mut self,
        axis: AxisId,
        mut body: impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        self.each_of(axis, (0, self.tile_extent(axis)), &mut body)
    }

    /// `for axis in lo..hi { body }`.
    fn each_of(
        &mut self,
        axis: AxisId,
        (lo, hi): (i64, i64),
        body: &mut impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        if self.scope.is_bound(Var::Axis(axis)) {
            return Err(Unsupported("a tile axis inside itself".to_owned()));
        }
        let mark = self.scope.open();
        let range = Range {
            lo: Some(lo),
            hi: Some(hi - 1),
        };
        let name = self.scope.bind_axis(axis, range);
        let inner = body(self)?;
        self.scope.close(mark);
        Ok(LoopHead {
            name,
            lo: lo.to_string(),
            hi: hi.to_string(),
            counted: self.scope.is_const,
        }
        .around(inner))
    }

    fn store(&mut self, to: &Access, value: TokenStream) -> TokenStream {
        let Address { buffer, at, step } = self.address(to);
        let Some(lanes) = self.lanes() else {
            let (name, at) = (tokens(&self.scope.buffers[buffer]), tokens(&at.usize_text()));
            return quote!(#name[#at] = #value;);
        };
        let step = step.unwrap_or_default();
        let live = self.live();
        let call = match (step.as_constant(), live) {
            (Some(1), None) => {
                let [to, at] = self.place(to, buffer, &at, &lanes.width.to_string(), true);
                self.call_tokens(LaneFn::Store, &[to, at, value])
            }
            (Some(1), Some(live)) => {
                let [to, at] = self.place(to, buffer, &at, &live, true);
                self.call_tokens(LaneFn::StoreFirst, &[to, at, tokens(&live), value])
            }
            _ => {
                let live = self.live_or_all();
                let span = format!("(({live}).max(1) - 1) * ({}) + 1", step.usize_text());
                let [to, at] = self.place(to, buffer, &at, &span, true);
                let (step, live) = (tokens(&step.usize_text()), tokens(&live));
                self.call_tokens(LaneFn::Scatter, &[to, at, step, live, value])
            }
        };
        quote!(#call;)
    }
}

/// Whether a store of blocks is directly inside, so that the loop around it is over whole arrays.
fn stores_blocks(list: &[Node<'_>]) -> bool {
    list.iter().any(|node| match node {
        Node::StoreBlock { .. } => true,
        Node::Each(_, body) => stores_blocks(body),
        Node::When(..) | Node::Set(..) | Node::Store(..) => false,
    })
}

/// Whether an expression is longer than rustc unrolls for a whole tile: most activations.
fn is_long(ops: &[Op]) -> bool {
    let mut longest = 0;
    for op in ops {
        op.visit(&mut |op| {
            if let Op::Set { value, .. } | Op::Store { value, .. } = op {
                let mut length = 0;
                value.visit(&mut |_| length += 1);
                longest = longest.max(length);
            }
        });
    }
    longest > 8
}

/// Used in one section only, and written there before it is read.
fn is_temporary(sections: &[Vec<Node<'_>>], reg: RegId) -> bool {
    let mut found = sections.iter().filter(|section| used(section, reg));
    match (found.next(), found.next()) {
        (Some(section), None) => written_first(section, reg),
        _ => false,
    }
}
