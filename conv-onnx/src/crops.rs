//! Padding below zero, which takes away: tract adds it as a number without a sign.
//!
//! ```text
//! pad(x, -2, 1)   ->   pad(x[2..], 0, 1)
//! ```

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Pad, Slice};

/// Makes slices of what is taken away.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(pad) = node.op_as::<Pad>().filter(|pad| pad.pads.iter().any(|p| is_crop(*p)))
        else {
            continue;
        };
        let mut patch = TypedModelPatch::default();
        let mut wire = patch.tap_model(model, node.inputs[0])?;
        let mut pads = pad.pads.clone();
        for (axis, (before, after)) in pads.iter_mut().enumerate() {
            if !is_crop((*before, *after)) {
                continue;
            }
            let shape = &patch.outlet_fact(wire)?.shape;
            let end = shape[axis].clone() - taken(after) as i64;
            let slice = Slice::new(axis, taken(before), end);
            wire = patch.wire_node(format!("{}.crop_{axis}", node.name), slice, &[wire])?[0];
        }
        if pads.iter().any(|&pad| pad != (0, 0)) {
            let op = Pad { pads, mode: pad.mode.clone() };
            wire = patch.wire_node(&node.name, op, &[wire])?[0];
        }
        patch.shunt_outside(model, id.into(), wire)?;
        patch.apply(model)?;
    }
    model.compact()
}

fn is_crop((before, after): (usize, usize)) -> bool {
    (before as isize) < 0 || (after as isize) < 0
}

/// How much is taken away, which is no padding any more.
fn taken(pad: &mut usize) -> usize {
    if (*pad as isize) < 0 { std::mem::take(pad).wrapping_neg() } else { 0 }
}
