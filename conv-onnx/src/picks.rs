//! Every n-th element, where tract would pick too early.
//!
//! ```text
//! softmax(x)[::2]   ->   picked(softmax(x))
//! ```
//!
//! tract moves a `Downsample` up, over whatever has the axis. Over a softmax along it that changes
//! the result, and over a reshape or a convolution it can be an error. So one that would come to
//! anything else than numbers by themselves becomes an operator that tract does not know.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Slice, StridedSlice};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;

use crate::node::op;

/// Replaces those that would be moved too far.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(slice) = node.op_as::<StridedSlice>() else { continue };
        // It becomes slices, with a `Downsample` behind each that has steps.
        if let Some(patch) = slice.declutter(model, node)? {
            patch.apply(model)?;
        }
    }
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(down) = node.op_as::<Downsample>() else { continue };
        if is_moved_too_far(model, node.inputs[0]) {
            let op = Picked(down.clone());
            TypedModelPatch::replace_single_op(model, node, &node.inputs, op)?.apply(model)?;
        }
    }
    model.compact()
}

/// Whether a way up from this outlet, along what only one node reads, ends at an operator over
/// which it must not go.
fn is_moved_too_far(model: &TypedModel, outlet: OutletId) -> bool {
    let mut open = vec![outlet];
    while let Some(outlet) = open.pop() {
        let node = model.node(outlet.node);
        let op = &node.op;
        let readers: usize = node.outputs.iter().map(|output| output.successors.len()).sum();
        if readers > 1 || node.inputs.is_empty() {
            continue;
        }
        let is_reshape = matches!(node.op_as(), Some(AxisOp::Reshape(..)));
        let keeps_places = op.is::<TypedBinOp>()
            || op.is::<ElementWiseOp>()
            || op.is::<Slice>()
            || op.is::<Downsample>()
            || op.is::<Cast>()
            || op.is::<AxisOp>() && !is_reshape;
        if !keeps_places {
            return true;
        }
        open.extend(&node.inputs);
    }
    false
}

/// A `Downsample` that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Picked(pub Downsample);

op!(Picked, "Picked", Picked::computed, |own, inputs| own.0.output_facts(inputs)?);

impl Picked {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let outputs = self.0.eval(&EvalContext::out_of_plan(), inputs.iter().cloned().collect())?;
        Ok(outputs.into_iter().next().context("a tensor is picked from")?.into_arc_tensor())
    }
}
