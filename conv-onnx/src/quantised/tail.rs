//! What follows whole sums of an image: a zero point that a run knows is taken away, they become
//! real, times a scale, with a bias, and clamped. One pass, channels last.
//!
//! ```text
//! ConvInteger -> Cast -> Mul(scale) -> [Add(bias)] -> [Max, Min]   ->   layer, [`Real`]
//! ```
//!
//! Such a tensor is described until someone asks for its numbers, so that nodes that follow can be
//! added.

use std::sync::Arc;

use conv_jit::{Loop, in_vectors};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::math::{Add, Max, Min, Mul};

use super::operands::{constant, uniform};
use super::state::{Forms, Found, Rewrite, Tail};
use crate::node::op;
use crate::outputs::Outputs;

impl Rewrite<'_> {
    /// A node that can be added to a tail, as the longer one.
    pub fn longer(&self, node: &TypedNode) -> TractResult<Option<Tail>> {
        if let Some(cast) = node.op_as::<Cast>() {
            let input = node.inputs[0];
            let whole = self.wholes.get(&input).filter(|_| cast.to == f32::datum_type());
            return Ok(whole.cloned());
        }
        let (Some(op), &[a, b]) = (node.op_as::<TypedBinOp>(), &node.inputs[..]) else {
            return Ok(None);
        };
        for (own, other) in [(a, b), (b, a)] {
            let Some(tail) = self.tails.get(&own) else { continue };
            if let Some(tail) = self.with(tail, op, other)? {
                return Ok(Some(tail));
            }
        }
        Ok(None)
    }

    fn with(&self, tail: &Tail, op: &TypedBinOp, other: OutletId) -> TractResult<Option<Tail>> {
        let mut tail = tail.clone();
        let is_clamped = tail.bounds != (f32::NEG_INFINITY, f32::INFINITY);
        if op.0.is::<Mul>() {
            let is_one = self.shape(other).is_some_and(|shape| shape.iter().all(|&n| n == 1));
            let is_free = tail.scale.is_none() && tail.bias.is_empty() && !is_clamped;
            tail.scale = Some(other);
            return Ok((is_one && is_free).then_some(tail));
        }
        if op.0.is::<Add>() {
            let Some(bias) = constant(self.old, other)? else { return Ok(None) };
            let is_each = matches!(bias.shape(), [1, c, rest @ ..]
                if *c == tail.channels && rest.iter().all(|&n| n == 1));
            if !is_each || !tail.bias.is_empty() || is_clamped {
                return Ok(None);
            }
            tail.bias = bias.try_as_plain_ram()?.as_slice::<f32>()?.into();
            return Ok(Some(tail));
        }
        let Some(end) = uniform(self.old, other).filter(|end| !end.is_nan()) else {
            return Ok(None);
        };
        let (low, high) = tail.bounds;
        tail.bounds = if op.0.is::<Max>() {
            (low.max(end), high.max(end))
        } else if op.0.is::<Min>() {
            (low.min(end), high.min(end))
        } else {
            return Ok(None);
        };
        Ok(Some(tail))
    }

    /// The numbers of a tail that somebody asks for.
    pub fn end(&mut self, of: OutletId) -> TractResult<()> {
        if self.bytes.contains_key(&of) {
            return Ok(());
        }
        let Some(tail) = self.tails.get(&of).cloned() else { return Ok(()) };
        let mut inputs = tvec![tail.sums];
        if let Some(scale) = tail.scale {
            inputs.push(self.real(scale)?);
        }
        let (bias, bounds, outputs) = (tail.bias, tail.bounds, self.outputs.clone());
        let name = self.old.node(of.node).name.clone();
        let wire = self.wire(&name, Real { bias, bounds, outputs }, &inputs)?;
        self.bytes.insert(of, Forms::of(true, wire));
        Ok(())
    }

    /// A sum of two such tensors, where both have channels last.
    pub fn sum_of_tails(&mut self, node: &TypedNode) -> TractResult<Option<Found>> {
        let (Some(op), &[a, b]) = (node.op_as::<TypedBinOp>(), &node.inputs[..]) else {
            return Ok(None);
        };
        let is_tail = |of: OutletId| self.tails.contains_key(&of) || self.reals.contains(&of);
        if !op.0.is::<Add>() || !is_tail(a) || !is_tail(b) || self.shape(a) != self.shape(b) {
            return Ok(None);
        }
        let inputs = [self.last(a)?, self.last(b)?];
        let wire = self.wire(&node.name, op.clone(), &inputs)?;
        self.reals.insert(node.id.into());
        Ok(Some(Found::Bytes(Forms::of(true, wire))))
    }
}

/// Whole sums as real numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Real {
    /// One for each channel, or none.
    bias: Arc<[f32]>,
    bounds: (f32, f32),
    outputs: Arc<Outputs>,
}

struct Reals<'a> {
    own: &'a Real,
    sums: &'a [i32],
    scale: f32,
    bias: &'a [f32],
    to: &'a mut [f32],
}

impl Loop for Reals<'_> {
    #[inline(always)]
    fn run(self) {
        let (low, high) = self.own.bounds;
        let (scale, bias) = (self.scale, self.bias);
        let held = |x: f32| {
            let x = if x > low { x } else { low };
            if x < high { x } else { high }
        };
        if bias.is_empty() {
            let pairs = self.to.iter_mut().zip(self.sums);
            pairs.for_each(|(to, &sum)| *to = held(sum as f32 * scale));
            return;
        }
        let rows = self.sums.chunks_exact(bias.len()).zip(self.to.chunks_exact_mut(bias.len()));
        for (sums, to) in rows {
            for ((to, &sum), &bias) in to.iter_mut().zip(sums).zip(bias) {
                *to = held(sum as f32 * scale + bias);
            }
        }
    }
}

// Ends are numbers.
impl Eq for Real {}

op!(Real, "Real", Real::computed, |_own, inputs| tvec!(f32::fact(inputs[0].shape.clone())));

impl Real {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let scale = match inputs.get(1) {
            Some(scale) => scale.try_as_plain_ram()?.as_slice::<f32>()?[0],
            None => 1.0,
        };
        self.outputs.written(inputs[0].shape(), |to| {
            let sums = inputs[0].try_as_plain_ram()?;
            let (sums, bias) = (sums.as_slice::<i32>()?, &self.bias[..]);
            in_vectors(Reals { own: self, sums, scale, bias, to });
            Ok(())
        })
    }
}
