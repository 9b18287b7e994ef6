//! Operations of a leaf to statements.
//!
//! ```text
//! each ow.i { each oc.i { acc = fma(a, b, acc) } }     ->   for ow_i in 0..5 { for oc_i in 0..2 { acc[ow_i][oc_i] = fma(a[ow_i], b[oc_i], acc[ow_i][oc_i]); } }
//! ```
//!
//! Tile loops stay loops: the tile is an array, rustc unrolls it. A register is declared in the innermost block that holds all its uses (a
//! *temporary*, written before it is read), without the axes of the loops around it; one written by a plain assignment becomes a `let`.
//! What the reduction carries is declared at the top.

use conv_ir::nest::{Access, AxisId, Expr, LoopKind, RegId, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::expr::{Declared, LeafText};
use super::lanes::{LaneFn, type_name};
use super::node::{Node, nodes, reads, used, written_first};
use super::range::Range;
use super::scope::Address;
use super::{LoopHead, Unsupported, loop_head, tokens};

impl<'a> LeafText<'_, 'a> {
    /// The whole leaf: init, reduction, finish.
    pub fn body(&mut self) -> Result<TokenStream, Unsupported> {
        let leaf = self.leaf;
        let sections = [nodes(&leaf.init), nodes(&leaf.update), nodes(&leaf.finish)];
        let registers = (0..leaf.registers.len() as u32)
            .map(RegId)
            .filter(|&reg| sections.iter().any(|s| used(s, reg)));
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
        let update = self.reduction(0, &sections[1], &of(&sections[1]))?;
        let finish = self.block(&sections[2], &mut Vec::new(), &of(&sections[2]))?;
        Ok(quote!(#declarations #init #update #finish))
    }

    /// The reduction loops from the one at `depth` on.
    fn reduction(
        &mut self,
        depth: usize,
        update: &[Node<'a>],
        temporaries: &[RegId],
    ) -> Result<TokenStream, Unsupported> {
        let leaf = self.leaf;
        let Some(l) = leaf.reduce.get(depth) else {
            return self.block(update, &mut Vec::new(), temporaries);
        };
        match l.kind {
            // rustc unrolls; in the text a loop is a loop.
            LoopKind::Serial | LoopKind::Parallel | LoopKind::Unrolled => {}
        }
        let mark = self.scope.open();
        let head = loop_head(self.scope, l);
        let body = self.reduction(depth + 1, update, temporaries)?;
        self.scope.close(mark);
        Ok(head.around(body))
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

    fn name_register(&mut self, reg: RegId, axes: Vec<AxisId>) -> TokenStream {
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
        let mut zero = self.splat(quote!(0.0));
        for axis in axes.iter().rev() {
            let extent = tokens(&self.tile_extent(*axis).to_string());
            (zero, ty) = (quote!([#zero; #extent]), quote!([#ty; #extent]));
        }
        let name = self.name_register(reg, axes);
        quote!(let mut #name: #ty = #zero;)
    }

    fn value_type(&self) -> TokenStream {
        let t = type_name(self.emission.dtype);
        match self.width() {
            Some(width) => quote!([#t; #width]),
            None => t,
        }
    }

    fn tile_extent(&self, axis: AxisId) -> i64 {
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
            Node::Each(axis, body) => self.each(*axis, |leaf| {
                around.push(*axis);
                let inner = leaf.block(body, around, pending);
                around.pop();
                inner
            }),
            Node::When(when, body) => {
                let mark = self.scope.open();
                let body = self.block(body, around, pending)?;
                let Some(when) = self.scope.conds(when) else {
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
                self.spell_width = !has_known_width(value);
                let text = self.expr(value)?;
                self.spell_width = false;
                Ok(self.store(to, text))
            }
            Node::StoreBlock { to, reg, along } => self.each(*along, |leaf| {
                let value = leaf.register(*reg);
                Ok(leaf.store(to, value))
            }),
        }
    }

    /// `for axis in 0..extent { body }`.
    fn each(
        &mut self,
        axis: AxisId,
        body: impl FnOnce(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        if self.scope.is_bound(Var::Axis(axis)) {
            return Err(Unsupported("a tile axis inside itself".to_owned()));
        }
        let (extent, mark) = (self.tile_extent(axis), self.scope.open());
        let name = self.scope.bind_axis(axis, Range::below(extent));
        let inner = body(self)?;
        self.scope.close(mark);
        Ok(LoopHead {
            name,
            range: format!("0..{extent}"),
        }
        .around(inner))
    }

    fn store(&mut self, to: &Access, value: TokenStream) -> TokenStream {
        let Address { buffer, at, step } = self.address(to);
        let at = tokens(&at.usize_text());
        if self.lanes().is_none() {
            let name = tokens(&self.scope.buffers[buffer]);
            return quote!(#name[#at] = #value;);
        }
        let step = step.unwrap_or_default();
        let (function, middle) = match (self.live(), step.as_constant()) {
            (Some(live), _) => (LaneFn::StoreLive, format!("{}, {live},", step.usize_text())),
            (None, Some(1)) => (LaneFn::Store, String::new()),
            (None, _) => (LaneFn::Scatter, format!("{},", step.usize_text())),
        };
        self.emission.called.insert(function);
        let (to, name, middle) = (self.buffer(buffer, true), function.ident(), tokens(&middle));
        quote!(#name(#to, #at, #middle #value);)
    }
}

/// Holds a register or a constant, whose width stands in the text.
fn has_known_width(value: &Expr) -> bool {
    let mut found = false;
    value.visit(&mut |e| found |= matches!(e, Expr::Reg(_) | Expr::Const(_)));
    found
}

/// Used in one section only, and written there before it is read.
fn is_temporary(sections: &[Vec<Node<'_>>], reg: RegId) -> bool {
    let mut found = sections.iter().filter(|section| used(section, reg));
    match (found.next(), found.next()) {
        (Some(section), None) => written_first(section, reg),
        _ => false,
    }
}
