//! What no region takes in becomes a step of its own, a window of one element.
//!
//! ```text
//! act(region(x)), region(x) read by others   ->   region(region(x)) with that activation
//! region(x) + region(y)                      ->   region(region(x)) that adds region(y)
//! region(x) * region(y)                      ->   region(region(x)) that multiplies by it
//! ```
//!
//! So it is a step of the program that gives what it reads: an activation before a convolution, a
//! sum behind one, numbers that scale its channels.
//!
//! Requires a folded graph: what a convolution takes in costs nothing.

use std::sync::Arc;

use conv_ir::conv::Combine;
use conv_ir::{ConvSpec, Reduction};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Mul};

use super::activation::{Readers, behind, words};
use super::{put, region};
use crate::region::{Region, Step, Work};

/// Replaces all of it.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    // Each patch takes a node that tract would run, so that this ends.
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for id in model.eval_order()? {
            for of in [activation, combined] {
                let Some(patch) = of(model, model.node(id))? else { continue };
                patch.apply(model)?;
                changed = true;
            }
        }
    }
    Ok(())
}

fn activation(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(region) = region(node) else { return Ok(None) };
    let Some(own) = window(&node.outputs[0].fact).filter(|_| region.0.view.is_none()) else {
        return Ok(None);
    };
    let Some((end, activation)) = behind(model, node, Readers::Others)? else { return Ok(None) };
    let folded = vec![words(&activation)];
    let step = Step::pool(ConvSpec { activation: Some(activation), ..own });
    let work = Work { folded, ..Work::of(step) };
    put(model, model.node(end), &[node.id.into()], Region(Arc::new(work)), end)
}

/// The sum or product of two regions.
fn combined(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let [left, right] = node.inputs[..] else { return Ok(None) };
    let Some(op) = node.op_as::<TypedBinOp>() else { return Ok(None) };
    let given = |outlet: OutletId| region(model.node(outlet.node)).is_some();
    if !given(left) || !given(right) {
        return Ok(None);
    }
    let output = &node.outputs[0].fact;
    let shapes = [&model.outlet_fact(left)?.shape, &model.outlet_fact(right)?.shape];
    let is_whole = shapes.map(|shape| *shape == output.shape);
    let (combine, what) = match is_whole {
        [true, true] if op.0.is::<Add>() => (Combine::Add, "sum"),
        [true, true] if op.0.is::<Mul>() => (Combine::Multiply, "product"),
        _ if op.0.is::<Mul>() => (Combine::Scale, "scale"),
        _ => return Ok(None),
    };
    let (images, other) = if is_whole[0] { (left, right) } else { (right, left) };
    let Some(own) = window(output)
        .filter(|_| model.outlet_fact(images).is_ok_and(|fact| fact.shape == output.shape))
    else {
        return Ok(None);
    };
    let step = Step::pool(ConvSpec { residual: true, combine, ..own });
    let fits = step.conv().is_ok_and(|conv| {
        let shape = conv.residual_shape();
        shape.as_deref() == model.outlet_fact(other).ok().and_then(|fact| fact.shape.as_concrete())
    });
    let work = Work { folded: vec![what], ..Work::of(step) };
    if fits {
        put(model, node, &[images, other], Region(Arc::new(work)), node.id)
    } else {
        Ok(None)
    }
}

/// A step that gives the images that it reads.
fn window(images: &TypedFact) -> Option<ConvSpec> {
    let [batch, channels, spatial @ ..] = images.shape.as_concrete()? else { return None };
    let window = vec![1; spatial.len()];
    let spec = ConvSpec::pool(Reduction::Max, *channels, spatial.iter().copied(), window);
    (!spatial.is_empty()).then(|| ConvSpec { batch: (*batch).into(), ..spec })
}
