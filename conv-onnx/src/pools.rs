//! Which other nodes become regions: max and average pooling, and the sum of a whole image.
//!
//! ```text
//! sum of an image   ->   sum of each column, sum of those: two depthwise regions
//! ```
//!
//! Requires a decluttered graph. Gives regions. One chain of sums for an image would be slow and
//! lose digits; where an axis is long, it stays with tract, which has several chains.

use std::sync::Arc;

use conv_ir::{ConvSpec, Padding, Reduction};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer};

use crate::found::fits;
use crate::region::{Region, Step, Work, depthwise};

/// Replaces every pooling that it can.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        if let Some(patch) = summed(model, node)? {
            patch.apply(model)?;
            continue;
        }
        let Some(spec) = described(model, node) else { continue };
        let step = Step::pool(spec);
        if step.conv().is_ok_and(|conv| fits(&conv, &node.outputs[0].fact)) {
            let region = Region(Arc::new(Work::of(step)));
            TypedModelPatch::replace_single_op(model, node, &node.inputs, region)?.apply(model)?;
        }
    }
    Ok(())
}

/// Elements that are summed in one chain.
const LONGEST: usize = 256;

/// The sum of all elements of each channel's image, axis after axis.
fn summed(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(Reduce { axes, reducer: Reducer::Sum }) = node.op_as() else { return Ok(None) };
    let fact = model.outlet_fact(node.inputs[0])?;
    let Some(&[batch, channels, ref spatial @ ..]) = fact.shape.as_concrete() else {
        return Ok(None);
    };
    let is_whole = axes.iter().copied().eq(2..2 + spatial.len()) && spatial.len() > 1;
    if !is_whole || fact.datum_type != f32::datum_type() || spatial.iter().any(|&n| n > LONGEST) {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let mut wire = patch.tap_model(model, node.inputs[0])?;
    let mut extents = spatial.to_vec();
    for axis in 0..extents.len() {
        let mut window = vec![1; extents.len()];
        window[axis] = extents[axis];
        let spec = depthwise((batch, channels), extents.clone(), window);
        let step = Step::of(spec, vec![1.0; channels * extents[axis]]);
        if step.conv().is_err() {
            return Ok(None);
        }
        extents[axis] = 1;
        let is_last = axis + 1 == extents.len();
        let name = if is_last { node.name.clone() } else { format!("{}.axis_{axis}", node.name) };
        wire = patch.wire_node(name, Region(Arc::new(Work::of(step))), &[wire])?[0];
    }
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
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
