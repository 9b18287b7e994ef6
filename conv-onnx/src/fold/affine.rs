//! A factor and a summand per channel.
//!
//! [`behind`] a region they go into its weights and bias. [`before`] regions alone they go into
//! theirs:
//!
//! ```text
//! sum over taps of w * (a * x + b)  =  sum over taps of (w * a) * x  +  b * sum of w
//! ```
//!
//! which is right where every tap is inside the input. A tap in the padding reads zero, not `b`, so
//! that the padding of the new convolution reads `-b / a`, where that is one number for all
//! channels; what read the constant `c` reads `(c - b) / a`. A transposed convolution has fewer
//! taps at its edges; there `b` must be zero.

use conv_ir::{ConvSpec, Padding, PaddingMode};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Div, Mul, Sub, SubF};

use super::{only_reader, put};
use crate::region::{Region, Step};

/// `x * a + b`, one or a number per channel of each.
pub(super) struct Affine {
    /// What it is applied to.
    pub input: OutletId,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Affine {
    /// Of a node that has one varying input and constants of one number, or one for each position
    /// along the axis of the channels.
    pub fn of(model: &TypedModel, node: &TypedNode, axis: usize) -> Option<Affine> {
        let op = node.op_as::<TypedBinOp>()?;
        let [left, right] = node.inputs[..] else { return None };
        let facts = [model.outlet_fact(left).ok()?, model.outlet_fact(right).ok()?];
        let (input, constant, is_left) = match (&facts[0].konst, &facts[1].konst) {
            (None, Some(konst)) => (left, konst, true),
            (Some(konst), None) => (right, konst, false),
            _ => return None,
        };
        let output = &node.outputs[0].fact;
        if model.outlet_fact(input).ok()?.shape != output.shape
            || output.datum_type != f32::datum_type()
        {
            return None;
        }
        let c = per_channel(constant, output, axis)?;
        let each = |f: fn(f32) -> f32| c.iter().copied().map(f).collect::<Vec<f32>>();
        let same = |value: f32| vec![value; c.len()];
        let op = &op.0;
        // `subf` is `sub` with its arguments exchanged.
        let is_minuend = op.is::<Sub>() && is_left || op.is::<SubF>() && !is_left;
        let (a, b) = if op.is::<Add>() {
            (same(1.0), c)
        } else if op.is::<Mul>() {
            (c.clone(), same(0.0))
        } else if op.is::<Div>() && is_left {
            (each(|c| 1.0 / c), same(0.0))
        } else if is_minuend {
            (same(1.0), each(|c| -c))
        } else if op.is::<Sub>() || op.is::<SubF>() {
            (same(-1.0), c)
        } else {
            return None;
        };
        let finite = a.iter().chain(&b).all(|x| x.is_finite());
        finite.then_some(Affine { input, a, b })
    }

    /// Of a node and those before it that nobody else reads, as one.
    pub fn chain(model: &TypedModel, node: &TypedNode, axis: usize) -> Option<Affine> {
        let mut all = Affine::of(model, node, axis)?;
        loop {
            let producer = model.node(all.input.node);
            let first =
                only_reader(model, producer).and_then(|_| Affine::of(model, producer, axis));
            let Some(first) = first else { return Some(all) };
            let channels = [&all.a, &all.b, &first.a, &first.b].map(Vec::len);
            let channels = 0..channels.into_iter().max().unwrap_or(1);
            let b = |channel| all.a(channel) * first.b(channel) + all.b(channel);
            all = Affine {
                input: first.input,
                a: channels.clone().map(|channel| all.a(channel) * first.a(channel)).collect(),
                b: channels.map(b).collect(),
            };
        }
    }

    /// Whether there is a number for each channel.
    pub fn is_by_channel(&self) -> bool {
        self.a.len().max(self.b.len()) > 1
    }

    pub fn a(&self, channel: usize) -> f32 {
        if self.a.len() == 1 { self.a[0] } else { self.a[channel] }
    }

    pub fn b(&self, channel: usize) -> f32 {
        if self.b.len() == 1 { self.b[0] } else { self.b[channel] }
    }

    /// The number that becomes `value`, where one does in all channels.
    fn source_of(&self, value: f32) -> Option<f32> {
        let channels = self.a.len().max(self.b.len());
        let source = |channel| (value - self.b(channel)) / self.a(channel);
        let first = source(0);
        let all = (1..channels).all(|channel| source(channel) == first);
        (all && first.is_finite()).then_some(first)
    }
}

/// The numbers of a constant that has one, or one per channel.
pub(super) fn per_channel(constant: &Tensor, output: &TypedFact, axis: usize) -> Option<Vec<f32>> {
    let plain = constant.try_as_plain_ram().ok()?;
    let values = plain.as_slice::<f32>().ok()?;
    let (first, rest) = values.split_first()?;
    if rest.iter().all(|x| x == first) {
        return Some(vec![*first]);
    }
    let channels = output.shape.get(axis)?.to_usize().ok()?;
    let is_channel = |(at, &n): (usize, &usize)| n == if at == axis { channels } else { 1 };
    let fits =
        constant.rank() == output.rank() && constant.shape().iter().enumerate().all(is_channel);
    fits.then(|| values.to_vec())
}

/// The reader of a region, into the region.
pub fn behind(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(region) = super::region(node) else { return Ok(None) };
    let Some(reader) = only_reader(model, node) else { return Ok(None) };
    let axis = region.0.channel_axes().1;
    let Some(affine) = Affine::of(model, reader, axis) else { return Ok(None) };
    let spec = &region.0.last().spec;
    let scales = affine.a.iter().any(|&a| a != 1.0);
    // A residual is added behind the sum that weights and bias make. Pooling has neither.
    if !spec.reduction.has_weight() || spec.activation.is_some() || spec.residual && scales {
        return Ok(None);
    }
    let new = region.0.with("affine", |step| {
        if scales {
            step.scale_output(|o| affine.a(o));
        }
        step.bias.iter_mut().enumerate().for_each(|(o, bias)| *bias += affine.b(o));
    });
    put(model, node, &node.inputs, new, reader.id)
}

/// A node that only regions read, with those before it, into all of them.
pub fn before(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let outlet = OutletId::new(node.id, 0);
    // Nodes that a fold has taken away have no output.
    let readers = node.outputs.first().map_or(&[][..], |output| &output.successors);
    let channels = |reader: &InletId| {
        super::region(model.node(reader.node)).map(|region| region.0.channel_axes().0)
    };
    let Some(axis) = readers.first().and_then(channels) else { return Ok(None) };
    if model.outputs.contains(&outlet) || readers.iter().any(|r| channels(r) != Some(axis)) {
        return Ok(None);
    }
    let Some(affine) = Affine::chain(model, node, axis) else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    for reader in readers {
        let target = model.node(reader.node);
        // The residual is the input behind the first.
        let region = super::region(target).filter(|_| reader.slot == 0);
        let Some(new) = region.and_then(|region| taken(region, &affine)) else { return Ok(None) };
        let mut inputs = target.inputs.clone();
        if inputs[1..].contains(&outlet) {
            return Ok(None);
        }
        inputs[0] = affine.input;
        let inputs = patch.taps(model, &inputs)?;
        let wires = patch.wire_node(&target.name, new, &inputs)?;
        patch.shunt_outside(model, target.id.into(), wires[0])?;
    }
    Ok(Some(patch))
}

/// A region whose first step takes `x` for `a * x + b`.
fn taken(region: &Region, affine: &Affine) -> Option<Region> {
    let mut work = (*region.0).clone();
    let first = work.steps.first_mut().filter(|step| step.spec.reduction.has_weight())?;
    first.spec = spec_for(&first.spec, affine)?;
    add_sums(first, affine);
    first.scale_input(|i| affine.a(i));
    // Other steps may add the tensor that it reads.
    if work.steps.iter().any(|step| step.residual == Some(0)) || work.program().is_err() {
        return None;
    }
    work.folded.push("affine before");
    Some(Region(work.into()))
}

fn spec_for(spec: &ConvSpec, affine: &Affine) -> Option<ConvSpec> {
    let shifts = affine.b.iter().any(|&b| b != 0.0);
    let pads = match &spec.padding {
        Padding::Valid => false,
        Padding::Explicit(conv_ir::PerAxis::Each(pairs)) => pairs.iter().any(|&p| p != (0, 0)),
        _ => true,
    };
    let reads = match spec.padding_mode {
        PaddingMode::Zeros if !shifts => return Some(spec.clone()),
        _ if spec.transposed => return None,
        _ if !pads => return Some(spec.clone()),
        PaddingMode::Zeros => 0.0,
        PaddingMode::Constant(value) => value as f32,
        // They read elements, which are affine too.
        _ => return Some(spec.clone()),
    };
    let padding_mode = PaddingMode::Constant(affine.source_of(reads)?.into());
    Some(ConvSpec { padding_mode, ..spec.clone() })
}

/// `bias + b * sum of w`, summed in f64.
fn add_sums(step: &mut Step, affine: &Affine) {
    let mut sums: Vec<f64> = step.bias.iter().map(|&bias| bias.into()).collect();
    for at in 0..step.weight.len() {
        let b = affine.b(step.input_channel(at));
        sums[step.output_channel(at)] += f64::from(step.weight[at]) * f64::from(b);
    }
    step.bias = sums.into_iter().map(|sum| sum as f32).collect();
}
