//! A factor and a summand per channel that no region takes in.
//!
//! ```text
//! y * a + b   ->   region(y), a depthwise convolution of one tap
//! ```
//!
//! So it has an activation and a residual as others have, and can be fused with what reads it:
//! batch norm before an activation, behind a concatenation, or before padding that would read
//! another number.
//!
//! Requires a folded graph: what a convolution takes in costs nothing.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;

use super::affine::Affine;
use super::{only_reader, put};
use crate::region::{Region, Step, Work, depthwise};

/// The axis of the channels.
const CHANNELS: usize = 1;

/// Replaces every one that has a number for each channel, or stands behind a region; whether there
/// was one.
pub fn replace(model: &mut TypedModel) -> TractResult<bool> {
    let mut changed = false;
    for id in model.eval_order()?.into_iter().rev() {
        let Some(patch) = replaced(model, model.node(id))? else { continue };
        patch.apply(model)?;
        changed = true;
    }
    Ok(changed)
}

fn replaced(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(affine) = Affine::chain(model, node, CHANNELS) else { return Ok(None) };
    // The last one of several takes in the others.
    let goes_on = only_reader(model, node)
        .is_some_and(|reader| Affine::of(model, reader, CHANNELS).is_some());
    let Some(shape) = node.outputs[0].fact.shape.as_concrete() else { return Ok(None) };
    let [images, channels, spatial @ ..] = shape else { return Ok(None) };
    let is_image = spatial.iter().product::<usize>() > 1;
    // Behind a region it is a step of its program, however small.
    let is_behind = super::region(model.node(affine.input.node)).is_some() && !spatial.is_empty();
    if goes_on || !(is_behind || is_image && affine.is_by_channel()) {
        return Ok(None);
    }
    let spec = depthwise((*images, *channels), spatial.to_vec(), vec![1; spatial.len()]);
    let each = |of: fn(&Affine, usize) -> f32| -> Vec<f32> {
        (0..*channels).map(|c| of(&affine, c)).collect()
    };
    let step = Step { bias: each(Affine::b), ..Step::of(spec, each(Affine::a)) };
    put(model, node, &[affine.input], Region(Arc::new(Work::of(step))), node.id)
}
