//! A region whose channels are read in parts.
//!
//! ```text
//! y = region(x); y[.., ..8], y[.., 8..]   ->   region(x) of 8 channels, region(x) of the others
//! ```
//!
//! Detectors halve what a convolution gives. tract moves what follows, such as an activation,
//! behind each half. As regions the halves take it in, and programs need not end at them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use conv_ir::Activation;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::Slice;

use super::region;
use crate::region::{Region, Step, Work};

/// Channels of a part. The input is read again for each of them.
const LEAST: usize = 8;

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(Region(work)) = region(node) else { return Ok(None) };
    let [step] = &work.steps[..] else { return Ok(None) };
    let is_by_channel = matches!(step.spec.activation, Some(Activation::Prelu(_)));
    let is_plain = work.view.is_none() && step.spec.groups == 1 && !step.spec.transposed;
    if !is_plain || is_by_channel || step.spec.residual || !step.spec.reduction.has_weight() {
        return Ok(None);
    }
    let Some(parts) = parts(model, node) else { return Ok(None) };
    let channels: usize = parts.keys().map(|&(start, end)| end - start).sum();
    if channels > step.spec.out_channels || parts.keys().any(|(start, end)| end - start < LEAST) {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, node.inputs[0])?;
    for ((start, end), slices) in parts {
        let region = Region(Arc::new(Work {
            folded: work.folded.clone(),
            ..Work::of(step.of_outputs(start..end))
        }));
        let name = format!("{}.{start}..{end}", node.name);
        let wire = patch.wire_node(name, region, &[input])?[0];
        for slice in slices {
            patch.shunt_outside(model, slice.into(), wire)?;
        }
    }
    Ok(Some(patch))
}

/// The ranges of channels that are read, and the nodes that take them, where nobody reads others.
fn parts(model: &TypedModel, node: &TypedNode) -> Option<BTreeMap<(usize, usize), Vec<usize>>> {
    let mut parts: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    if model.outputs.contains(&node.id.into()) {
        return None;
    }
    for reader in &node.outputs[0].successors {
        let slice = model.node(reader.node).op_as::<Slice>().filter(|slice| slice.axis == 1)?;
        let range = (slice.start.to_usize().ok()?, slice.end.to_usize().ok()?);
        parts.entry(range).or_default().push(reader.node);
    }
    (parts.len() > 1).then_some(parts)
}

impl Step {
    /// Some of the output channels of a convolution of one group.
    fn of_outputs(&self, channels: Range<usize>) -> Step {
        let row = self.weight.len() / self.spec.out_channels;
        let weight = self.weight[channels.start * row..channels.end * row].to_vec();
        let mut spec = self.spec.clone();
        spec.out_channels = channels.len();
        Step { bias: self.bias[channels].to_vec(), ..Step::of(spec, weight) }
    }
}
