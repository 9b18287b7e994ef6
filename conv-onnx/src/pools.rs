//! Which other nodes become regions: max and average pooling.
//!
//! Requires a decluttered graph. Gives regions. Pooling of the whole image stays with tract, which
//! sums in several chains: ours has one, which is slow where it is long, and loses digits.

use std::sync::Arc;

use conv_ir::{ConvSpec, Padding, Reduction};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::nn::DataFormat;

use crate::found::fits;
use crate::region::{Region, Step, Work};

/// Replaces every pooling that it can.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(spec) = described(model, node) else { continue };
        let step = Step::pool(spec);
        if step.conv().is_ok_and(|conv| fits(&conv, &node.outputs[0].fact)) {
            let region = Region(Arc::new(Work::of(step)));
            TypedModelPatch::replace_single_op(model, node, &node.inputs, region)?.apply(model)?;
        }
    }
    Ok(())
}

fn described(model: &TypedModel, node: &TypedNode) -> Option<ConvSpec> {
    let fact = model.outlet_fact(*node.inputs.first()?).ok()?;
    let shape = fact.shape.as_concrete().filter(|_| fact.datum_type == f32::datum_type())?;
    if let Some(MaxPool { pool_spec, with_index_outputs: None }) = node.op_as() {
        return windowed(Reduction::Max, shape, pool_spec);
    }
    let SumPool { pool_spec, count_include_pad, normalize: true } = node.op_as()? else {
        return None;
    };
    let reduction = Reduction::Average { count_include_pad: *count_include_pad };
    windowed(reduction, shape, pool_spec)
}

/// A window of pooling over an input of that shape.
pub fn windowed(reduction: Reduction, shape: &[usize], pool: &PoolSpec) -> Option<ConvSpec> {
    let [batch, channels, spatial @ ..] = shape else { return None };
    if pool.data_format != DataFormat::NCHW || spatial.is_empty() {
        return None;
    }
    let (padding, ceil_mode): (Vec<(usize, usize)>, bool) = match &pool.padding {
        PaddingSpec::ExplicitOnnxPool(before, after, ceil) => {
            (before.iter().copied().zip(after.iter().copied()).collect(), *ceil)
        }
        _ => {
            let axes = pool.computed_padding(spatial);
            (axes.iter().map(|axis| (axis.pad_before, axis.pad_after)).collect(), false)
        }
    };
    let kernel = pool.kernel_shape.iter().copied();
    Some(ConvSpec {
        batch: (*batch).into(),
        stride: pool.strides().to_vec().into(),
        dilation: pool.dilations().to_vec().into(),
        padding: Padding::from(padding),
        ceil_mode,
        ..ConvSpec::pool(reduction, *channels, spatial.iter().copied(), kernel)
    })
}
