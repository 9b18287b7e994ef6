//! A tensor that is added to a region's output.
//!
//! ```text
//! region(x) + y                    ->   region(x, y) with y as its residual
//! region(x) + y of one channel     ->   region(y, region(x)), which makes of y as many channels
//! ```
//!
//! `y` does not depend on the region's output, whose only reader is the sum.

use std::sync::Arc;

use conv_ir::ConvSpec;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::Add;

use super::{only_reader, put};
use crate::region::{Region, Step, Work};

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
    if let Some(of_one) = of_one_channel(own, added).filter(|_| region.0.view.is_none()) {
        return put(model, sum, &[other, node.id.into()], of_one, sum.id);
    }
    // Summands of one number per channel are a bias.
    if own.shape != added.shape || own.datum_type != added.datum_type || added.konst.is_some() {
        return Ok(None);
    }
    let new = region.0.with("residual", |step| step.spec.residual = true);
    put(model, node, &[node.inputs[0], other], new, sum.id)
}

/// Images of one channel as ones of so many, which are added.
fn of_one_channel(own: &TypedFact, added: &TypedFact) -> Option<Region> {
    let &[batch, channels, ref spatial @ ..] = own.shape.as_concrete()? else { return None };
    let is_one = added.shape.as_concrete()? == [&[batch, 1], spatial].concat();
    let is_f32 = [own, added].iter().all(|fact| fact.datum_type == f32::datum_type());
    if !is_one || !is_f32 || channels == 1 || spatial.is_empty() || added.konst.is_some() {
        return None;
    }
    let spec = ConvSpec {
        batch: batch.into(),
        out_channels: channels,
        residual: true,
        ..ConvSpec::new(spatial.iter().copied(), vec![1; spatial.len()])
    };
    let folded = vec!["residual"];
    let step = Step::of(spec, vec![1.0; channels]);
    Some(Region(Arc::new(Work { folded, ..Work::of(step) })))
}
