//! Which other nodes become regions: max and average pooling, and sums and maxima along axes of
//! images and signals.
//!
//! ```text
//! sum of an image        ->   sum of each column, sum of those: two depthwise regions
//! sum of 300 positions   ->   16 sums of up to 19 positions, 16 apart; sum of those
//! ```
//!
//! Requires a decluttered graph. Gives regions. One chain of sums for an image, or for a long
//! signal, would be slow and lose digits.

use std::collections::HashSet;
use std::sync::Arc;

use conv_ir::{ConvSpec, Padding, Reduction};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer};

use crate::found::fits;
use crate::normalise;
use crate::region::{Region, Step, Work, depthwise};

/// Replaces every pooling that it can.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    let centres = normalise::centres(model)?;
    for id in model.eval_order()? {
        let node = model.node(id);
        if let Some(patch) = reduced(model, node, &centres)? {
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

/// Elements of one chain, at most.
const LONGEST: usize = 128;
/// Chains side by side are a multiple of so many, which fill vectors.
const ABREAST: usize = 16;

/// The sum, the largest or the least of a channel's elements along spatial axes, axis after axis.
fn reduced(
    model: &TypedModel,
    node: &TypedNode,
    centres: &HashSet<usize>,
) -> TractResult<Option<TypedModelPatch>> {
    let Some(Reduce { axes, reducer }) = node.op_as() else { return Ok(None) };
    let reduction = match reducer {
        Reducer::Sum => Reduction::Sum,
        Reducer::Max => Reduction::Max,
        Reducer::Min => Reduction::Min,
        _ => return Ok(None),
    };
    let fact = model.outlet_fact(node.inputs[0])?;
    let Some(&[batch, channels, ref spatial @ ..]) = fact.shape.as_concrete() else {
        return Ok(None);
    };
    let is_spatial = axes.iter().all(|&axis| axis >= 2);
    if !is_spatial || fact.datum_type != f32::datum_type() || centres.contains(&node.id) {
        return Ok(None);
    }
    let mut steps = Vec::new();
    let mut extents = spatial.to_vec();
    for axis in axes.iter().map(|axis| axis - 2) {
        for (taps, apart) in windows(extents[axis]) {
            let step = Step::along(reduction, (batch, channels), &extents, (axis, taps, apart));
            if step.conv().is_err() {
                return Ok(None);
            }
            steps.push(step);
            extents[axis] = apart;
        }
    }
    let mut patch = TypedModelPatch::default();
    let mut wire = patch.tap_model(model, node.inputs[0])?;
    let last = steps.len().saturating_sub(1);
    for (at, step) in steps.into_iter().enumerate() {
        let name = if at == last { node.name.clone() } else { format!("{}.{at}", node.name) };
        wire = patch.wire_node(name, Region(Arc::new(Work::of(step))), &[wire])?[0];
    }
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
}

/// Windows one after the other that make one element of an axis: how many elements each takes, and
/// how far apart, which is what the next one has.
fn windows(extent: usize) -> Vec<(usize, usize)> {
    let (mut all, mut left) = (Vec::new(), extent);
    while left > LONGEST {
        let chains = left.div_ceil(LONGEST).next_multiple_of(ABREAST);
        all.push((left.div_ceil(chains), chains));
        left = chains;
    }
    all.push((left, 1));
    all
}

impl Step {
    /// A window along one axis of each channel by itself, of so many taps so far apart; it gives as
    /// many elements as lie between two taps.
    fn along(
        reduction: Reduction,
        (batch, channels): (usize, usize),
        extents: &[usize],
        (axis, taps, apart): (usize, usize, usize),
    ) -> Step {
        let (mut window, mut dilation) = (vec![1; extents.len()], vec![1; extents.len()]);
        let mut padding = vec![(0, 0); extents.len()];
        (window[axis], dilation[axis]) = (taps, apart);
        padding[axis].1 = taps * apart - extents[axis];
        let weights = if reduction.has_weight() { channels * taps } else { 0 };
        let spec = ConvSpec {
            dilation: dilation.into(),
            padding: Padding::from(padding),
            reduction,
            ..depthwise((batch, channels), extents.to_vec(), window)
        };
        Step::of(spec, vec![1.0; weights])
    }
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
