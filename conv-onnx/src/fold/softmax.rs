//! The logarithm of a softmax.
//!
//! ```text
//! log(softmax(x))   ->   log-softmax(x), which does not pass through 0
//! ```

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::Ln;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};

use super::only_reader;

pub fn log(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let plain = |op: &&Softmax| op.kind == SoftmaxKind::Softmax && op.quant_output_dt.is_none();
    let Some(op) = node.op_as::<Softmax>().filter(plain) else { return Ok(None) };
    let is_ln =
        |reader: &&TypedNode| reader.op_as::<ElementWiseOp>().is_some_and(|op| op.0.is::<Ln>());
    let Some(reader) = only_reader(model, node).filter(is_ln) else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, node.inputs[0])?;
    let op = Softmax { kind: SoftmaxKind::LogSoftmax, ..op.clone() };
    let wires = patch.wire_node(&reader.name, op, &[input])?;
    patch.shunt_outside(model, OutletId::new(reader.id, 0), wires[0])?;
    Ok(Some(patch))
}
