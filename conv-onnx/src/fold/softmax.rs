//! Softmax over an axis that is not the last: tract computes row by row, and fast where a row lies
//! together.
//!
//! ```text
//! softmax over axis a of x   ->   axis a moved back(softmax over the last(axis a moved last(x)))
//! log(softmax(x))            ->   log-softmax(x), which does not pass through 0
//! ```
//!
//! tract's kernel takes rows of a multiple of four; shorter ones are filled up with numbers so low
//! that they count for nothing, and cut again.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::Ln;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};

use super::only_reader;

pub fn by_rows(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(op) = node.op_as::<Softmax>() else { return Ok(None) };
    let fact = &node.outputs[0].fact;
    let (Some(shape), [axis]) = (fact.shape.as_concrete(), &op.axes[..]) else { return Ok(None) };
    let last = shape.len() - 1;
    if *axis == last || fact.datum_type != f32::datum_type() {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, node.inputs[0])?;
    let name = |what: &str| format!("{}.{what}", node.name);
    let moved = patch.wire_node(name("axis_last"), AxisOp::Move(*axis, last), &[input])?;
    let len = shape[*axis];
    let missing = if op.kind == SoftmaxKind::Softmax { len.next_multiple_of(4) - len } else { 0 };
    let op = Softmax { axes: tvec![last], ..op.clone() };
    let rows = if missing == 0 {
        patch.wire_node(name("rows"), op, &moved)?
    } else {
        let mut pads = vec![(0, 0); last + 1];
        pads[last].1 = missing;
        let pad = Pad::new(pads, PadMode::Constant(rctensor0(f32::NEG_INFINITY)));
        let filled = patch.wire_node(name("filled"), pad, &moved)?;
        let rows = patch.wire_node(name("rows"), op, &filled)?;
        patch.wire_node(name("cut"), Slice::new(last, 0, len), &rows)?
    };
    let wires = patch.wire_node(&node.name, AxisOp::Move(last, *axis), &rows)?;
    patch.shunt_outside(model, OutletId::new(node.id, 0), wires[0])?;
    Ok(Some(patch))
}

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
