//! What no region takes in becomes a step of its own, a window of one element.
//!
//! ```text
//! act(region(x)), region(x) read by others   ->   region(region(x)) with that activation
//! region(x) + region(y)                      ->   region(region(x)) that adds region(y)
//! ```
//!
//! So it is a step of the program that gives what it reads: an activation before a convolution, a
//! sum behind one.
//!
//! Requires a folded graph: what a convolution takes in costs nothing.

use std::sync::Arc;

use conv_ir::{ConvSpec, Reduction};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::Add;

use super::activation::{Readers, behind, words};
use super::{put, region};
use crate::region::{Region, Step, Work};

/// Replaces all of it.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    // Each patch takes a node that tract would run, so that this ends.
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for id in model.eval_order()? {
            for of in [activation, sum] {
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

fn sum(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let [left, right] = node.inputs[..] else { return Ok(None) };
    let is_sum = node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Add>());
    let given = |outlet: OutletId| region(model.node(outlet.node)).is_some();
    if !is_sum || !(given(left) && given(right)) {
        return Ok(None);
    }
    let output = &node.outputs[0].fact;
    let is_whole = |outlet| model.outlet_fact(outlet).is_ok_and(|fact| fact.shape == output.shape);
    let Some(own) = window(output).filter(|_| is_whole(left) && is_whole(right)) else {
        return Ok(None);
    };
    let step = Step::pool(ConvSpec { residual: true, ..own });
    let work = Work { folded: vec!["sum"], ..Work::of(step) };
    put(model, node, &[left, right], Region(Arc::new(work)), node.id)
}

/// A step that gives the images that it reads.
fn window(images: &TypedFact) -> Option<ConvSpec> {
    let [batch, channels, spatial @ ..] = images.shape.as_concrete()? else { return None };
    let window = vec![1; spatial.len()];
    let spec = ConvSpec::pool(Reduction::Max, *channels, spatial.iter().copied(), window);
    (!spatial.is_empty()).then(|| ConvSpec { batch: (*batch).into(), ..spec })
}
