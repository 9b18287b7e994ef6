//! What is added around a tensor that only convolutions read: their padding.
//!
//! ```text
//! region(pad(x))   ->   region(x) with that padding
//! ```
//!
//! Constants, repeated edges and reflections, along spatial axes. A convolution that pads itself
//! takes in only what it adds, too.

use conv_ir::{ConvSpec, Padding, PaddingMode, PerAxis, Size};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Pad, PadMode};

use crate::region::Region;

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(pad) = node.op_as::<Pad>() else { return Ok(None) };
    let outlet = OutletId::new(node.id, 0);
    let readers = &node.outputs[0].successors;
    if readers.is_empty() || model.outputs.contains(&outlet) {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    for reader in readers {
        let target = model.node(reader.node);
        // The residual is the input behind the first.
        let region = super::region(target).filter(|_| reader.slot == 0);
        let Some(new) = region.and_then(|region| padded(region, pad)) else { return Ok(None) };
        let mut inputs = target.inputs.clone();
        if inputs[1..].contains(&outlet) {
            return Ok(None);
        }
        inputs[0] = node.inputs[0];
        let inputs = patch.taps(model, &inputs)?;
        let wires = patch.wire_node(&target.name, new, &inputs)?;
        patch.shunt_outside(model, target.id.into(), wires[0])?;
    }
    Ok(Some(patch))
}

/// A region whose first step pads what it reads.
fn padded(region: &Region, pad: &Pad) -> Option<Region> {
    let mut work = (*region.0).clone();
    let has_axes = work.view.is_none();
    let first = work.steps.first_mut();
    let first = first.filter(|step| has_axes && step.spec.reduction.has_weight())?;
    first.spec = spec_for(&first.spec, pad)?;
    // Other steps may add the tensor that it reads.
    if work.steps.iter().any(|step| step.residual == Some(0)) || work.program().is_err() {
        return None;
    }
    work.folded.push("padding");
    Some(Region(work.into()))
}

fn spec_for(spec: &ConvSpec, pad: &Pad) -> Option<ConvSpec> {
    let (outer, added) = pad.pads.split_at_checked(2)?;
    if outer.iter().any(|&pair| pair != (0, 0)) || spec.transposed || spec.ceil_mode {
        return None;
    }
    let Padding::Explicit(PerAxis::Each(own)) = &spec.padding else { return None };
    let mode = match &pad.mode {
        PadMode::Constant(value) => match value.cast_to_scalar::<f32>().ok()? {
            0.0 => PaddingMode::Zeros,
            value => PaddingMode::Constant(value.into()),
        },
        PadMode::Reflect => PaddingMode::Reflect,
        PadMode::Edge => PaddingMode::Replicate,
    };
    let is_bare = own.iter().all(|&pair| pair == (0, 0));
    // Two constants are one; of edges, the second would repeat what the first has made.
    let is_constant = matches!(mode, PaddingMode::Zeros | PaddingMode::Constant(_));
    if !(is_bare || is_constant && mode == spec.padding_mode) {
        return None;
    }
    let sum = |(&(a, b), &(c, d)): (&(usize, usize), &(usize, usize))| (a + c, b + d);
    let padding: Vec<(usize, usize)> = own.iter().zip(added).map(sum).collect();
    let inner = |(size, &(before, after)): (&Size, &(usize, usize))| match size {
        Size::Known(n) => Some(Size::Known(n.checked_sub(before + after)?)),
        _ => None,
    };
    let input: Option<Vec<Size>> = spec.input.iter().zip(added).map(inner).collect();
    Some(ConvSpec { input: input?, padding: padding.into(), padding_mode: mode, ..spec.clone() })
}
