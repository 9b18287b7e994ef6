//! A tensor that is added to a region's output.
//!
//! ```text
//! region(x) + y   ->   region(x, y) with y as its residual
//! ```
//!
//! `y` does not depend on the region's output, whose only reader is the sum.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::Add;

use super::{only_reader, put};

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(region) = super::region(node) else { return Ok(None) };
    let Some(sum) = only_reader(model, node) else { return Ok(None) };
    let spec = &region.0.last().spec;
    let adds = sum.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Add>());
    let has_one = region.0.steps.iter().any(|step| step.spec.residual && step.residual.is_none());
    if !adds || has_one || spec.residual || spec.activation.is_some() {
        return Ok(None);
    }
    let other = sum.inputs.iter().find(|outlet| outlet.node != node.id);
    let Some(&other) = other else { return Ok(None) };
    let (own, added) = (&node.outputs[0].fact, model.outlet_fact(other)?);
    // Summands of one number per channel are a bias.
    if own.shape != added.shape || own.datum_type != added.datum_type || added.konst.is_some() {
        return Ok(None);
    }
    let new = region.0.with("residual", |step| step.spec.residual = true);
    put(model, node, &[node.inputs[0], other], new, sum.id)
}
