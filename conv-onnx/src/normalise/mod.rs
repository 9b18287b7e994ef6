//! Numbers along an axis divided by what follows from all of them.
//!
//! ```text
//! (x - mean) / sqrt(variance + eps)     layer normalisation, which tract has in five nodes
//! exp(x) / sum of exp(x)                softmax, and its logarithm
//! ```
//!
//! Requires a folded graph: the factors and summands of a layer normalisation are in what reads it.
//! The equation says none of it: no tensor is divided by what follows from it. So these are [loops]
//! of their own.

mod loops;

use std::collections::HashSet;
use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Div, Mul, Sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm, Softmax, SoftmaxKind};

use crate::fold::only_reader;
use crate::node::op;
use crate::outputs::Outputs;
use loops::{Along, Kind};

/// Replaces what it can.
pub fn replace(model: &mut TypedModel, outputs: &Arc<Outputs>) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let found = layer(model, node).or_else(|| softmax(model, node));
        let Some((input, axis, kind)) = found else { continue };
        let Some(shape) = node.outputs[0].fact.shape.as_concrete() else { continue };
        let along = Along { len: shape[axis], inner: shape[axis + 1..].iter().product(), kind };
        let (shape, outputs) = (shape.into(), outputs.clone());
        let op = Normalise(Arc::new(Inner { shape, along, outputs }));
        TypedModelPatch::replace_single_op(model, node, &[input], op)?.apply(model)?;
    }
    model.compact()
}

/// A softmax along one axis.
fn softmax(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, usize, Kind)> {
    let op = node.op_as::<Softmax>().filter(|op| op.quant_output_dt.is_none())?;
    let &[axis] = &op.axes[..] else { return None };
    let fact = model.outlet_fact(node.inputs[0]).ok()?;
    let shape = fact.shape.as_concrete().filter(|_| fact.datum_type == f32::datum_type())?;
    let kind = match op.kind {
        SoftmaxKind::Softmax => Kind::Softmax,
        SoftmaxKind::LogSoftmax => Kind::LogSoftmax,
    };
    (axis < shape.len()).then_some((node.inputs[0], axis, kind))
}

/// A layer normalisation: a node divides by the deviation what a node before it has centred.
fn layer(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, usize, Kind)> {
    let (op, sum) = (node.op_as::<RmsNorm>()?, centre(model, node)?);
    let eps = op.eps.cast_to_scalar::<f32>().ok()?;
    Some((sum.inputs[0], op.axis, Kind::Layer { eps }))
}

/// The sums that layer normalisations divide and subtract: they are a part of those.
pub fn centres(model: &TypedModel) -> TractResult<HashSet<usize>> {
    let sum = |id: usize| Some(centre(model, model.node(id))?.id);
    Ok(model.eval_order()?.into_iter().filter_map(sum).collect())
}

/// The sum of a layer normalisation's mean.
fn centre<'a>(model: &'a TypedModel, node: &TypedNode) -> Option<&'a TypedNode> {
    let op = node.op_as::<RmsNorm>()?;
    let centred = model.node(node.inputs[0].node);
    only_reader(model, centred)?;
    centred.op_as::<TypedBinOp>().filter(|op| op.0.is::<Sub>())?;
    let &[x, mean] = &centred.inputs[..] else { return None };
    let fact = model.outlet_fact(x).ok()?;
    let shape = fact.shape.as_concrete().filter(|_| fact.datum_type == f32::datum_type())?;
    let (sum, axis) = mean_of(model, mean, *shape.get(op.axis)?)?;
    (sum.inputs[0] == x && axis == op.axis).then_some(sum)
}

/// The sum, and its axis, whose mean it is.
fn mean_of(model: &TypedModel, mean: OutletId, len: usize) -> Option<(&TypedNode, usize)> {
    let node = model.node(mean.node);
    let op = node.op_as::<TypedBinOp>()?;
    let &[sum, by] = &node.inputs[..] else { return None };
    let (sum, by) =
        if model.outlet_fact(sum).ok()?.konst.is_some() { (by, sum) } else { (sum, by) };
    let by = model.outlet_fact(by).ok()?.konst.as_ref()?.as_uniform()?;
    let by = by.cast_to_scalar::<f32>().ok()?;
    let expected = if op.0.is::<Mul>() { 1.0 / len as f32 } else { len as f32 };
    let is_mean = op.0.is::<Mul>() || op.0.is::<Div>() && sum == node.inputs[0];
    if !is_mean || (by - expected).abs() > f32::EPSILON * expected {
        return None;
    }
    let node = model.node(sum.node);
    let reduce = node.op_as::<Reduce>().filter(|op| op.reducer == Reducer::Sum)?;
    let &[axis] = &reduce.axes[..] else { return None };
    Some((node, axis))
}

/// The operator.
#[derive(Clone, Debug)]
struct Normalise(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shape: TVec<usize>,
    along: Along,
    outputs: Arc<Outputs>,
}

impl PartialEq for Normalise {
    fn eq(&self, other: &Normalise) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Normalise {}

op!(Normalise, "Normalise", Normalise::computed, |own, _inputs| tvec!(f32::fact(&own.0.shape)));

impl Normalise {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let Inner { shape, along, outputs } = &*self.0;
        let plain = inputs[0].try_as_plain_ram()?;
        let x = plain.as_slice::<f32>()?;
        outputs.written(shape, |y| {
            along.run(x, y);
            Ok(())
        })
    }
}
