//! A slope per channel below zero, as tract and others spell it.
//!
//! ```text
//! y = region(x); if y < 0 { y * slopes } else { y }   ->   region(x) with prelu
//! ```
//!
//! Whichever comparison it is, it is computed of -1 and 1, which says what it chooses.

use conv_ir::Activation;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::math::Mul;

use super::{affine::per_channel, only_reader, put};

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(region) = super::region(node) else { return Ok(None) };
    let y = OutletId::new(node.id, 0);
    let readers = &node.outputs[0].successors;
    if region.0.activation().is_some() || readers.len() != 3 || model.outputs.contains(&y) {
        return Ok(None);
    }
    let choice = readers.iter().map(|reader| model.node(reader.node)).find(|n| n.op_is::<Iff>());
    let Some(choice) = choice else { return Ok(None) };
    let &[test, then, otherwise] = &choice.inputs[..] else { return Ok(None) };
    // What is chosen below zero, and from there on.
    let branches = match negative(model, y, test) {
        Some(true) => (then, otherwise),
        Some(false) => (otherwise, then),
        None => return Ok(None),
    };
    let (scaled, same) = branches;
    let slopes = slopes(model, y, scaled, region.0.channel_axes().1);
    let is_read_here = |outlet: OutletId| {
        only_reader(model, model.node(outlet.node)).is_some_and(|reader| reader.id == choice.id)
    };
    let Some(slopes) =
        slopes.filter(|_| same == y && [test, scaled].map(is_read_here) == [true; 2])
    else {
        return Ok(None);
    };
    let activation = Activation::prelu(&slopes);
    let new = region.0.with("prelu", |step| step.spec.activation = Some(activation));
    put(model, node, &node.inputs, new, choice.id)
}

/// Whether a test of `y` against a constant holds below zero, and not above; or the reverse.
fn negative(model: &TypedModel, y: OutletId, test: OutletId) -> Option<bool> {
    let node = model.node(test.node);
    let rank = model.outlet_fact(y).ok()?.rank();
    let mut shape = vec![1; rank];
    *shape.last_mut()? = 4;
    // Next to zero, too, so that it is zero that is compared with.
    let points = Tensor::from_shape(&shape, &[-1.0, -1e-20, 1e-20, 1f32]).ok()?;
    let here = |input: &OutletId| {
        if *input == y {
            return Some(points.clone().into_tvalue());
        }
        let konst = model.outlet_fact(*input).ok()?.konst.as_ref()?.as_uniform()?;
        Some(konst.into_shape(&vec![1; rank]).ok()?.into_tvalue())
    };
    let inputs = node.inputs.iter().map(here).collect::<Option<TVec<TValue>>>()?;
    let results = node.op.eval_out_of_plan(inputs).ok()??.pop()?.into_tensor();
    let plain = results.try_as_plain_ram().ok()?;
    match plain.as_slice::<bool>().ok()? {
        [true, true, false, false] => Some(true),
        [false, false, true, true] => Some(false),
        _ => None,
    }
}

/// The numbers that `y` is multiplied by, one for each channel or one for all.
fn slopes(model: &TypedModel, y: OutletId, scaled: OutletId, axis: usize) -> Option<Vec<f64>> {
    let node = model.node(scaled.node);
    node.op_as::<TypedBinOp>().filter(|op| op.0.is::<Mul>())?;
    let other = node.inputs.iter().find(|input| **input != y)?;
    let is_product = node.inputs.len() == 2 && node.inputs.contains(&y);
    let konst = model.outlet_fact(*other).ok()?.konst.as_ref().filter(|_| is_product)?;
    let numbers = per_channel(konst, &node.outputs[0].fact, axis)?;
    let finite = numbers.iter().all(|slope| slope.is_finite());
    finite.then(|| numbers.into_iter().map(f64::from).collect())
}
