//! A part of a region's output along a spatial axis: less padding, or more of a transposed one.
//!
//! ```text
//! region(x)[.., a..b]   ->   region(x) that computes no other places
//! ```
//!
//! Causal convolutions are spelled so: padded on both sides, and cut at the end.

use conv_ir::{ConvSpec, Layout, Padding, PerAxis, Size};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::Slice;

use super::{only_reader, put};

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(region) = super::region(node) else { return Ok(None) };
    let Some(reader) = only_reader(model, node) else { return Ok(None) };
    let Some(slice) = reader.op_as::<Slice>().filter(|slice| slice.axis > 1) else {
        return Ok(None);
    };
    let spec = &region.0.last().spec;
    let is_plain = region.0.view.is_none() && spec.layout == Layout::ChannelsFirst;
    if !is_plain || region.0.steps.len() > 1 || spec.residual || spec.ceil_mode {
        return Ok(None);
    }
    let extent = node.outputs[0].fact.shape[slice.axis].to_usize();
    let (Ok(extent), Ok(start), Ok(end)) = (extent, slice.start.to_usize(), slice.end.to_usize())
    else {
        return Ok(None);
    };
    let Some(cropped) = cropped(spec, slice.axis - 2, (start, end, extent)) else {
        return Ok(None);
    };
    let new = region.0.with("crop", |step| step.spec = cropped);
    let same = |shape: Vec<usize>| reader.outputs[0].fact.shape.as_concrete() == Some(&shape[..]);
    if !new.0.output_shape().is_ok_and(same) {
        return Ok(None);
    }
    put(model, node, &node.inputs, new, reader.id)
}

/// The description of the places from `start` to `end` of `extent` along an axis, if a padding
/// that is not below zero says it.
fn cropped(
    spec: &ConvSpec,
    axis: usize,
    (start, end, extent): (usize, usize, usize),
) -> Option<ConvSpec> {
    let mut spec = spec.clone();
    let at = |list: &PerAxis<usize>| match list {
        PerAxis::All(one) => Some(*one),
        PerAxis::Each(each) => each.get(axis).copied(),
    };
    let stride = at(&spec.stride)?;
    let window = at(&spec.dilation)? * (spec.kernel.get(axis)? - 1) + 1;
    let mut extra: Vec<usize> = match &spec.output_padding {
        PerAxis::All(one) => vec![*one; spec.kernel.len()],
        PerAxis::Each(each) => each.clone(),
    };
    let Padding::Explicit(PerAxis::Each(padding)) = &mut spec.padding else { return None };
    let (before, behind) = padding.get_mut(axis)?;
    if spec.transposed {
        let taken = (extent - end).min(*extra.get(axis)?);
        extra[axis] -= taken;
        *before += start;
        *behind += extent - end - taken;
        spec.output_padding = extra.into();
        return Some(spec);
    }
    let Size::Known(input) = *spec.input.get(axis)? else { return None };
    *before = before.checked_sub(start * stride)?;
    // As far as the last window reaches.
    let reach = (end - start).checked_sub(1)? * stride + window;
    *behind = reach.saturating_sub(input + *before);
    Some(spec)
}
