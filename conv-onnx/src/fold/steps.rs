//! What no region takes in becomes a step of its own, a window of one element.
//!
//! ```text
//! act(region(x)), region(x) read by others   ->   region(region(x)) with that activation
//! region(x) + region(y)                      ->   region(region(x)) that adds region(y)
//! region(x) * region(y)                      ->   region(region(x)) that multiplies by it
//! region(x) + y, region(x) * y               ->   the same of another tensor like it
//! concat(regions), added by a region         ->   region(concat), a copy, that is added
//! region(x) squared                          ->   region(region(x)) that multiplies by its input
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
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Mul, Square};

use super::activation::{Readers, behind, words};
use super::{put, region};
use crate::region::{Region, Step, Work};

/// Replaces all of it.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    // Each patch takes a node that tract would run, so that this ends.
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for id in model.eval_order()? {
            for of in [activation, combined, squared, copied] {
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

/// The sum or product of two regions, or of one and another tensor of its shape.
fn combined(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let [left, right] = node.inputs[..] else { return Ok(None) };
    let Some(op) = node.op_as::<TypedBinOp>() else { return Ok(None) };
    let is_given = [left, right].map(|outlet| region(model.node(outlet.node)).is_some());
    let output = &node.outputs[0].fact;
    let shapes = [&model.outlet_fact(left)?.shape, &model.outlet_fact(right)?.shape];
    let is_whole = shapes.map(|shape| *shape == output.shape);
    let (combine, what) = match (is_whole, is_given) {
        (_, [false, false]) => return Ok(None),
        ([true, true], _) if op.0.is::<Add>() => (Combine::Add, "sum"),
        ([true, true], _) if op.0.is::<Mul>() => (Combine::Multiply, "product"),
        (_, [true, true]) if op.0.is::<Mul>() => (Combine::Scale, "scale"),
        _ => return Ok(None),
    };
    let is_swapped = if is_whole == [true, true] { !is_given[0] } else { !is_whole[0] };
    let (images, other) = if is_swapped { (right, left) } else { (left, right) };
    let is_constant = model.outlet_fact(other)?.konst.is_some();
    // Regions that see tensors in another way end their programs.
    let is_viewed = |outlet: OutletId| {
        region(model.node(outlet.node)).is_some_and(|region| region.0.view.is_some())
    };
    match is_given == [true, true] || !is_constant && !is_viewed(images) {
        true => step(model, node, [images, other], (combine, what)),
        false => Ok(None),
    }
}

/// A region's output times itself.
fn squared(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let is_square = node.op_as::<ElementWiseOp>().is_some_and(|op| op.0.is::<Square>());
    let plain = |input: &&OutletId| {
        region(model.node(input.node)).is_some_and(|region| region.0.view.is_none())
    };
    match node.inputs.first().filter(plain) {
        Some(&input) if is_square => step(model, node, [input; 2], (Combine::Multiply, "square")),
        _ => Ok(None),
    }
}

/// Regions' channels side by side, where a region adds them: what is added is one tensor.
fn copied(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let is_joined = node.op_as::<TypedConcat>().is_some_and(|concat| concat.axis == 1);
    let is_plain = |id: usize| region(model.node(id)).is_some_and(|of| of.0.view.is_none());
    if !is_joined || model.outputs.contains(&node.id.into()) {
        return Ok(None);
    }
    let readers = &node.outputs[0].successors;
    let is_added = readers.iter().any(|reader| reader.slot > 0);
    let all = node.inputs.iter().map(|input| input.node);
    if !is_added || !all.chain(readers.iter().map(|reader| reader.node)).all(is_plain) {
        return Ok(None);
    }
    let Some(own) = window(&node.outputs[0].fact) else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &node.inputs)?;
    let joined = patch.wire_node(format!("{}.joined", node.name), node.op.clone(), &inputs)?;
    let copy = Region(Arc::new(Work::of(Step::pool(own))));
    let wires = patch.wire_node(&node.name, copy, &joined)?;
    patch.shunt_outside(model, node.id.into(), wires[0])?;
    Ok(Some(patch))
}

/// A step that combines images with another tensor, in the place of a node.
fn step(
    model: &TypedModel,
    node: &TypedNode,
    [images, other]: [OutletId; 2],
    (combine, what): (Combine, &'static str),
) -> TractResult<Option<TypedModelPatch>> {
    let output = &node.outputs[0].fact;
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
