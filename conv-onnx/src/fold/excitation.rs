//! A tensor that is scaled by another, and added to what comes out: one pass over it less.
//!
//! ```text
//! x + x * s   ->   x * (s + 1)      s is smaller than x: one number per channel, in most models
//! ```

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Mul, add, mul};

use super::only_reader;

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let is_sum = node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Add>());
    let [left, right] = node.inputs[..] else { return Ok(None) };
    let pairs = [(left, right), (right, left)];
    let found = pairs.into_iter().find_map(|(x, product)| Some((x, scale(model, x, product)?)));
    let Some((x, s)) = found.filter(|_| is_sum) else { return Ok(None) };
    let fact = model.outlet_fact(x)?;
    if fact.datum_type != f32::datum_type() || fact.shape != node.outputs[0].fact.shape {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let [x, s] = [patch.tap_model(model, x)?, patch.tap_model(model, s)?];
    let one = Tensor::from_shape(&vec![1; fact.rank()], &[1f32])?;
    let one = patch.add_const(format!("{}.one", node.name), one)?;
    let more = patch.wire_node(format!("{}.more", node.name), add(), &[s, one])?;
    let wires = patch.wire_node(&node.name, mul(), &[x, more[0]])?;
    patch.shunt_outside(model, OutletId::new(node.id, 0), wires[0])?;
    Ok(Some(patch))
}

/// What `x` is multiplied by, where that is `product`, nobody else reads it, and it is smaller.
fn scale(model: &TypedModel, x: OutletId, product: OutletId) -> Option<OutletId> {
    let node = model.node(product.node);
    let is_product = node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Mul>());
    only_reader(model, node).filter(|_| is_product)?;
    let at = node.inputs.iter().position(|input| *input == x)?;
    let s = *node.inputs.get(1 - at)?;
    let volume = |outlet| model.outlet_fact(outlet).ok()?.shape.volume().to_usize().ok();
    (volume(s)? < volume(x)?).then_some(s)
}
