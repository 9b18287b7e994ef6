//! What a tensor of bytes is made of, where it is quantised.
//!
//! Requires, of what is quantised, every tensor before it as the walk has left it. Gives the bytes,
//! or nothing, where they are no layer, table, sum, product or mean.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Mul};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};

use super::expression::Expression;
use super::grid::Grid;
use super::layer::Sums;
use super::linear::Quantise;
use super::operands::grid;
use super::passes::{Mean, Pair, Table};
use super::state::{Forms, Found, Known, Rewrite, turned};

impl Rewrite<'_> {
    pub fn quantise(&mut self, node: &TypedNode) -> TractResult<Option<Found>> {
        let op = node.op_as::<Quantise>();
        let Some(to) = op.and_then(|op| grid(self.old, node, op.to)) else { return Ok(None) };
        let input = node.inputs[0];
        let Some(expression) = Expression::of(self.old, (&self.known, &self.order), node.id, input)
        else {
            return Ok(None);
        };
        let forms = match expression.leaves[..] {
            [leaf] => match self.known.get(&leaf).cloned() {
                Some(Known::Bytes(of, from)) => self.table(node, &expression, (of, from), to)?,
                Some(Known::Sums(of, sums)) => self.layer(node, &expression, (of, &sums), to)?,
                None => match self.mean(node, &expression, to)? {
                    Some(forms) => Some(forms),
                    None => self.joined(node, &expression, to)?,
                },
            },
            [_, _] => self.pair(node, &expression, to)?,
            _ => None,
        };
        Ok(forms.map(Found::Bytes))
    }

    fn table(
        &mut self,
        node: &TypedNode,
        expression: &Expression,
        (of, from): (OutletId, Grid),
        to: Grid,
    ) -> TractResult<Option<Forms>> {
        let numbers = from.numbers();
        let Some(values) = expression.values(self.old, &[&numbers]) else { return Ok(None) };
        let bytes = to.all(&values);
        if from.is_signed == to.is_signed && (0..=255).eq(bytes.iter().copied()) {
            let first = Some(self.first(of)?);
            let last = self.bytes.get(&of).and_then(|forms| forms.last);
            return Ok(Some(Forms { first, last }));
        }
        let op = Table { bytes: bytes.into(), to, outputs: self.outputs.clone() };
        let is_last = self.is_last(of);
        let input = self.form(of, is_last)?;
        let wire = self.wire(&node.name, op, &[input])?;
        Ok(Some(Forms::of(is_last, wire)))
    }

    fn layer(
        &mut self,
        node: &TypedNode,
        expression: &Expression,
        (of, sums): (OutletId, &Sums),
        to: Grid,
    ) -> TractResult<Option<Forms>> {
        let Some((low, high)) = expression.bounds(self.old) else { return Ok(None) };
        let (least, most) = to.range();
        let (low, high) = (to.quantised(low), to.quantised(high));
        let mut folded = Vec::new();
        // Zero is no end of the type's range.
        let is_positive = low == to.zero && low > least;
        if is_positive || (!expression.nodes.is_empty() && low <= least) {
            folded.push("clamp");
        }
        let end = |sums: &Sums| sums.requantised(to, is_positive, folded.clone());
        let Ok(mut wire) = self.of_sums(&node.name, of, sums, end)? else { return Ok(None) };
        let is_last = sums.view.is_none();
        if high < most || low > least && !is_positive {
            // What saturation does not do.
            let clamped = |bits: u8| {
                let q = if to.is_signed { i32::from(bits as i8) } else { i32::from(bits) };
                q.clamp(low, high) as u8
            };
            let bytes: Vec<u8> = (0..=255).map(clamped).collect();
            let op = Table { bytes: bytes.into(), to, outputs: self.outputs.clone() };
            wire = self.wire(&node.name, op, &[wire])?;
        }
        Ok(Some(Forms::of(is_last, wire)))
    }

    /// The mean of all positions of each channel.
    fn mean(
        &mut self,
        node: &TypedNode,
        expression: &Expression,
        to: Grid,
    ) -> TractResult<Option<Forms>> {
        let reduce = self.old.node(expression.leaves[0].node);
        let Some(op) = reduce.op_as::<Reduce>() else { return Ok(None) };
        let Some((of, from)) = self.grid_of(reduce.inputs[0]) else { return Ok(None) };
        let rank = self.old.outlet_fact(reduce.inputs[0])?.rank();
        if op.reducer != Reducer::Sum || rank < 3 || !op.axes.iter().copied().eq(2..rank) {
            return Ok(None);
        }
        // A product with a number, and nothing else.
        let points = [0.0, 1.0, 1000.0, -1000.0];
        let Some(values) = expression.values(self.old, &[&points]) else { return Ok(None) };
        let factor = values[1];
        let near = |(x, y): (&f32, &f32)| (y - x * factor).abs() <= 1e-5 * (x * factor).abs();
        if !(factor > 0.0 && points.iter().zip(&values).all(near)) {
            return Ok(None);
        }
        let input = self.last(of)?;
        let op = Mean { from, to, factor, outputs: self.outputs.clone() };
        let last = self.wire(&node.name, op, &[input])?;
        Ok(Some(Forms::of(true, last)))
    }

    /// Tensors of several scales, joined.
    fn joined(
        &mut self,
        node: &TypedNode,
        expression: &Expression,
        to: Grid,
    ) -> TractResult<Option<Forms>> {
        let concat = self.old.node(expression.leaves[0].node);
        let Some(op) = concat.op_as::<TypedConcat>() else { return Ok(None) };
        let known = concat.inputs.iter().map(|&input| self.grid_of(input));
        let Some(known) = known.collect::<Option<Vec<_>>>() else { return Ok(None) };
        if !expression.nodes.is_empty() {
            return Ok(None);
        }
        let rank = self.old.outlet_fact(expression.end)?.rank();
        let is_last = rank > 2 && known.iter().any(|&(of, _)| self.is_last(of));
        let mut parts: TVec<OutletId> = tvec!();
        for (of, from) in known {
            let mut wire = self.form(of, is_last)?;
            if from != to {
                let bytes = to.all(&from.numbers()).into();
                let op = Table { bytes, to, outputs: self.outputs.clone() };
                wire = self.wire(&node.name, op, &[wire])?;
            }
            parts.push(wire);
        }
        let axis = if is_last { turned(op.axis, rank) } else { op.axis };
        let wire = self.wire(&node.name, TypedConcat { axis }, &parts)?;
        Ok(Some(Forms::of(is_last, wire)))
    }

    /// A sum or product of two tensors of bytes, and a clamp behind it.
    fn pair(
        &mut self,
        node: &TypedNode,
        expression: &Expression,
        to: Grid,
    ) -> TractResult<Option<Forms>> {
        let Some(&first) = expression.nodes.first() else { return Ok(None) };
        let binary = self.old.node(first);
        let Some(op) = binary.op_as::<TypedBinOp>() else { return Ok(None) };
        let is_product = op.0.is::<Mul>();
        let [a, b] = binary.inputs[..] else { return Ok(None) };
        let (Some((of_a, grid_a)), Some((of_b, grid_b))) = (self.grid_of(a), self.grid_of(b))
        else {
            return Ok(None);
        };
        if !(is_product || op.0.is::<Add>()) {
            return Ok(None);
        }
        let behind = Expression {
            leaves: vec![first.into()],
            nodes: expression.nodes[1..].to_vec(),
            end: expression.end,
        };
        let Some((low, high)) = behind.bounds(self.old) else { return Ok(None) };
        let rank = self.old.outlet_fact(a)?.rank();
        let is_last = rank > 2 && (self.is_last(of_a) || self.is_last(of_b));
        let inputs = [self.form(of_a, is_last)?, self.form(of_b, is_last)?];
        let bounds = (to.quantised(low), to.quantised(high));
        let grids = [grid_a, grid_b];
        let op = Pair { grids, to, is_product, bounds, outputs: self.outputs.clone() };
        let wire = self.wire(&node.name, op, &inputs)?;
        Ok(Some(Forms::of(is_last, wire)))
    }
}
