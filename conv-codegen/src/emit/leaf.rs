//! Operations of a leaf to statements.
//!
//! ```text
//! each ow.i { each oc.i { acc = fma(a, b, acc) } }
//! ->
//! for ow_i in 0..5 { for oc_i in 0..2 {
//!     acc[ow_i][oc_i] = fma(a[ow_i], b[oc_i], acc[ow_i][oc_i]);
//! } }
//! ```
//!
//! Tile loops stay loops: the tile is an array, rustc unrolls it. A register is declared in the
//! innermost block that holds all its uses (a *temporary*, written before it is read), without the
//! axes of the loops around it; one written by a plain assignment becomes a `let`.
//! What the reduction carries is declared at the top. Which loops stay loops is for `unroll` to
//! say, what is stored how for `store`.

use conv_ir::nest::{AxisId, Op, RegId};
use proc_macro2::TokenStream;
use quote::quote;

use super::expr::{Declared, LeafText};
use super::lanes::{type_name, zero};
use super::node::{Node, nodes, reads, used, written_first, zeroes};
use super::rows::Rows;
use super::scope::Truth;
use super::{Unsupported, tokens};

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
        let (temporaries, carried): (Vec<RegId>, Vec<RegId>) =
            registers.partition(|&reg| is_temporary(&sections, reg));
        let (lets, arrays): (Vec<RegId>, Vec<RegId>) =
            carried.into_iter().partition(|&reg| self.starts_with_let(&sections[0], reg, &[]));
        let of = |section: &[Node<'a>]| {
            temporaries.iter().copied().filter(|&reg| used(section, reg)).collect::<Vec<_>>()
        };
        let declarations: TokenStream = arrays.iter().map(|&reg| self.declare(reg, &[])).collect();
        // Arrays are declared as zeros.
        let init = match sections[0].iter().all(zeroes) && lets.is_empty() {
            true => TokenStream::new(),
            false => {
                self.block(&sections[0], &mut Vec::new(), &[lets, of(&sections[0])].concat())?
            }
        };
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
            let (opaque, prefetches) = (self.opaque_pointers(), self.prefetches());
            let body = self.block(update, &mut Vec::new(), temporaries)?;
            return Ok(quote!(#opaque #prefetches #body));
        }
        self.around(&leaf.reduce[depth], |leaf| leaf.reduction(depth + 1, update, temporaries))
    }

    /// A list of operations inside the tile loops `around`; `pending` are the registers to be
    /// declared here or deeper.
    fn block(
        &mut self,
        list: &[Node<'a>],
        around: &mut Vec<AxisId>,
        pending: &[RegId],
    ) -> Result<TokenStream, Unsupported> {
        let (mut deeper, mut lets) = (Vec::new(), Vec::new());
        let mut text = TokenStream::new();
        for &reg in pending {
            let uses: Vec<&Node<'a>> = list.iter().filter(|node| node.mentions(reg)).collect();
            match uses.as_slice() {
                [] => {}
                [Node::Each(..) | Node::When(..)] => deeper.push(reg),
                several if several.iter().all(|node| begins_anew(node, reg)) => deeper.push(reg),
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
        let single = self.leaf.registers[reg.index()].axes.iter().all(|axis| around.contains(axis));
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
                writes +=
                    usize::from(matches!(op, conv_ir::nest::Op::Set { reg: to, .. } if *to == reg))
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
        let mut zero = self.everywhere(zero(self.emission.dtype));
        for axis in axes.iter().rev() {
            let extent = tokens(&self.leaf.extent(*axis).to_string());
            (zero, ty) = (quote!([#zero; #extent]), quote!([#ty; #extent]));
        }
        let name = self.name_register(reg, axes);
        quote!(let mut #name: #ty = #zero;)
    }

    /// `let mut acc = acc;`: what comes after may index the copy as it likes, and the sums still
    /// stay in registers.
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

    fn node(
        &mut self,
        node: &Node<'a>,
        around: &mut Vec<AxisId>,
        pending: &[RegId],
    ) -> Result<TokenStream, Unsupported> {
        match node {
            Node::Each(axis, body) => {
                let (values, body) = self.values(*axis, body);
                let mut inside = |leaf: &mut Self| {
                    around.push(*axis);
                    let inner = leaf.block(body, around, pending);
                    around.pop();
                    inner
                };
                // Around a block store a loop is written out: rustc would keep it, and with it the
                // whole tile in memory.
                match stores_blocks(body) {
                    true => self.each_written_out(*axis, values, inside),
                    false => self.each_in_parts(*axis, values, self.weight(body), &mut inside),
                }
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
                if let Some(copy) = self.copy(to, value) {
                    return Ok(copy);
                }
                let text = self.expr(value)?;
                Ok(self.store(to, text))
            }
            Node::StoreBlock { to, reg, along } => self.store_block(to, *reg, *along),
        }
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

/// A loop or a test that takes nothing of the register from before, so that it may have one of its
/// own.
fn begins_anew(node: &Node<'_>, reg: RegId) -> bool {
    matches!(node, Node::Each(..) | Node::When(..))
        && written_first(std::slice::from_ref(node), reg)
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
