//! Matrix products of bytes with known bytes: 1x1 convolutions, whose channels stand last.
//!
//! ```text
//! dequantise(x) * dequantise(w) [* number] [+ bias]   ->   sums of a layer       `MatMul`, `Gemm`
//! (x - x0) * (w - w0)                                 ->   its sums themselves   `MatMulInteger`
//! ```
//!
//! A zero point that a run alone knows comes out of the sums, of `ConvInteger` too: each has `x0`
//! times the sum of its weights too much.

use std::sync::Arc;

use conv_ir::{ConvSpec, Layout};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{Add, Mul};

use super::dynamic::Taken;
use super::grid::Grid;
use super::layer::{Sums, Weight};
use super::operands::{bias, uniform, weight, whole_inputs};
use super::state::{Forms, Found, Known, Rewrite};
use crate::matmul::Channels;

/// A product of rows with a matrix.
struct Rows {
    spec: ConvSpec,
    /// Where the convolution's weights are in the matrix.
    order: Vec<usize>,
    /// The axis of the matrix that has the outputs.
    axis: usize,
    /// The output in the graph.
    output: TVec<usize>,
}

impl Rows {
    /// None where channels do not stand last, or another axis is summed over.
    fn of(model: &TypedModel, node: &TypedNode, op: &EinSum, varying: usize) -> Option<Rows> {
        let shape = |at: usize| model.outlet_fact(node.inputs[at]).ok()?.shape.as_concrete();
        let (input, matrix) = (shape(varying)?, shape(1 - varying)?);
        let output = node.outputs[0].fact.shape.as_concrete()?;
        let channels = Channels::of(op, varying, [input, matrix])?;
        let (from, to) = (channels.input(op, varying, input), channels.output(op, output));
        if !(from.is_last() && to.is_last() && from.others() == to.others()) {
            return None;
        }
        let rows: usize = from.others().into_iter().map(|(_, n)| n).product();
        let spec = ConvSpec {
            in_channels: input[from.at],
            out_channels: output[to.at],
            layout: Layout::ChannelsLast,
            ..ConvSpec::new([rows], [1])
        };
        let order: Vec<usize> = channels.order(matrix, &spec).collect();
        // A matrix for each of several images is none.
        let fits = matrix.iter().product::<usize>() == order.len();
        let (axis, output) = (channels.output_of_weight, output.into());
        fits.then_some(Rows { spec, order, axis, output })
    }

    fn sums(self, grid: Grid, weight: Weight) -> Sums {
        let bytes = self.order.iter().map(|&at| weight.bytes[at]).collect();
        let bias = vec![0; self.spec.out_channels];
        let weight = Arc::new(Weight { bytes, ..weight });
        Sums { spec: self.spec, grid, weight, bias, view: Some(self.output) }
    }
}

impl Rewrite<'_> {
    pub fn product(&mut self, node: &TypedNode, op: &EinSum) -> TractResult<Option<Found>> {
        if op.q_params.is_some() {
            return self.whole_product(node, op);
        }
        let &[left, right] = &node.inputs[..] else { return Ok(None) };
        for (varying, (x, matrix)) in [(left, right), (right, left)].into_iter().enumerate() {
            let Some((of, grid)) = self.grid_of(x) else { continue };
            let Some(rows) = Rows::of(self.old, node, op, varying) else { continue };
            let (channels, axis) = (rows.spec.out_channels, rows.axis as i64);
            let Some(weight) = weight(self.old, matrix, channels, axis) else { continue };
            let sums = Arc::new(rows.sums(grid, weight));
            return Ok(Some(Found::Known(Known::Sums(of, sums))));
        }
        Ok(None)
    }

    /// A product's sums times a number, or with a bias: those of another layer.
    pub fn affine(&mut self, node: &TypedNode, op: &TypedBinOp) -> TractResult<Option<Found>> {
        let [a, b] = node.inputs[..] else { return Ok(None) };
        for (own, other) in [(a, b), (b, a)] {
            let Some(Known::Sums(of, sums)) = self.known.get(&own).cloned() else { continue };
            let readers = &self.old.node(own.node).outputs[own.slot].successors;
            if sums.view.is_none() || readers.len() != 1 || self.old.outputs.contains(&own) {
                continue;
            }
            let changed = if op.0.is::<Mul>() {
                self.times(&sums, other)
            } else if op.0.is::<Add>() {
                self.biased(&sums, other)
            } else {
                None
            };
            if let Some(sums) = changed {
                return Ok(Some(Found::Known(Known::Sums(of, Arc::new(sums)))));
            }
        }
        Ok(None)
    }

    fn times(&self, sums: &Sums, other: OutletId) -> Option<Sums> {
        let factor = uniform(self.old, other).filter(|&x| x > 0.0 && x.is_finite())?;
        if sums.bias.iter().any(|&bias| bias != 0) {
            return None;
        }
        let Weight { is_signed, ref bytes, ref scales, ref zeros } = *sums.weight;
        let scales = scales.iter().map(|scale| scale * factor).collect();
        let weight = Weight { is_signed, bytes: bytes.clone(), scales, zeros: zeros.clone() };
        Some(Sums { weight: Arc::new(weight), ..sums.clone() })
    }

    fn biased(&self, sums: &Sums, other: OutletId) -> Option<Sums> {
        let shape = self.shape(other)?;
        let (count, last) = (shape.iter().product::<usize>(), shape.last().copied().unwrap_or(1));
        // One number for each column, or one.
        if count != last || sums.bias.iter().any(|&bias| bias != 0) {
            return None;
        }
        Some(Sums { bias: bias(self.old, other, &sums.scales())?, ..sums.clone() })
    }

    /// `MatMulInteger`.
    fn whole_product(&mut self, node: &TypedNode, op: &EinSum) -> TractResult<Option<Found>> {
        let Some((sums, zero)) = self.whole_sums(node, op) else { return Ok(None) };
        let wire = self.whole_layer(node, &sums, zero)?;
        Ok(wire.map(|wire| Found::Bytes(Forms::of(false, wire))))
    }

    /// The sums of an operator of whole numbers, without what a zero point that a run knows adds.
    pub fn whole_layer(
        &mut self,
        node: &TypedNode,
        sums: &Sums,
        zero: Option<OutletId>,
    ) -> TractResult<Option<OutletId>> {
        let name = &node.name;
        let made = self.of_sums(name, node.inputs[0], sums, |sums| sums.layer(Vec::new()))?;
        let (Ok(wire), Some(zero)) = (&made, zero) else { return Ok(made.ok()) };
        let Some(ones) = sums.of_ones() else { return Ok(None) };
        let ones = self.new.add_const(format!("{name}.of_ones"), ones)?;
        let zero = self.real(zero)?;
        let op = Taken(self.outputs.clone());
        Ok(Some(self.wire(name, op, &[*wire, zero, ones])?))
    }

    fn whole_sums(&self, node: &TypedNode, op: &EinSum) -> Option<(Sums, Option<OutletId>)> {
        if op.q_params != Some(i32::datum_type()) || node.inputs.len() != 9 {
            return None;
        }
        let rows = Rows::of(self.old, node, op, 0)?;
        let (grid, weight, zero) = whole_inputs(self.old, node, rows.spec.out_channels)?;
        Some((rows.sums(grid, weight), zero))
    }
}
