//! Resizing becomes what runs fast.
//!
//! ```text
//! by whole factors:   resize(x) -> upsampled(padded(x))       two regions, depthwise
//! by others:          resize(x) -> channels first(resize(channels last(x)))
//! ```
//!
//! Requires a decluttered graph. Linear and cubic resizing by whole factors reads the same taps
//! around every element, so it is a transposed convolution of each channel, and beyond the edges
//! the nearest element is read. Whether it is follows from tract's own table of taps, position by
//! position, so that no mode is listed. With other factors the taps differ from position to
//! position, and so does `align_corners`: no window says that. tract computes those fast where
//! channels lie side by side.

use std::sync::Arc;

use conv_ir::{ConvSpec, Padding, PaddingMode};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::nn::resize::{AxisPlan, NearestUpsample, Resize};

use crate::region::{Region, Step, Work, depthwise};

/// Elements of an axis long enough for its middle to see no edge.
const LONG: usize = 32;

/// Taps per channel; above it, the code for them is longer than it is worth.
const MOST_TAPS: usize = 512;

/// Copies of an element that a step makes; where there are more, tract makes them.
const MOST_COPIES: usize = 64;

/// Channels for which it is worth to move them twice.
const LEAST_CHANNELS: usize = 4;

/// Replaces every resizing that it can.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let patch = match upsampled(model, id)? {
            None => channels_last(model, id)?,
            some => some,
        };
        if let Some(patch) = patch {
            patch.apply(model)?;
        }
    }
    model.compact()
}

/// A resizing node: its operator, the shape of its input, its scales.
fn resizing(model: &TypedModel, id: usize) -> Option<(&Resize, Vec<usize>, Vec<f32>)> {
    let node = model.node(id);
    let op = node.op_as::<Resize>()?;
    let fact = model.outlet_fact(*node.inputs.first()?).ok()?;
    let shape = fact.shape.as_concrete().filter(|_| fact.datum_type == f32::datum_type())?;
    let given = op.optional_scales_input.and_then(|at| node.inputs.get(at));
    let given = given.map(|&given| {
        let konst = model.outlet_fact(given).ok()?.konst.as_ref()?;
        crate::found::numbers(konst).ok()
    });
    // An empty list says that the sizes are given.
    let scales = match given.filter(|scales| scales.as_ref().is_none_or(|list| !list.is_empty())) {
        Some(scales) => scales?,
        None => {
            let output = node.outputs[0].fact.shape.as_concrete()?;
            output.iter().zip(shape).map(|(&o, &i)| o as f32 / i as f32).collect()
        }
    };
    (scales.len() == shape.len() && shape.len() > 2).then(|| (op, shape.to_vec(), scales))
}

/// Copies in the place of what regions give, as steps: in a program they are near what reads them.
///
/// Requires a folded graph. Gives whether there were any.
pub fn copied(model: &mut TypedModel) -> TractResult<bool> {
    let mut changed = false;
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(NearestUpsample { scales }) = node.op_as() else { continue };
        let is_given = model.node(node.inputs[0].node).op_is::<Region>();
        let shape = model.outlet_fact(node.inputs[0])?.shape.as_concrete();
        let Some([batch, channels, spatial @ ..]) = shape.filter(|_| is_given) else { continue };
        let window: usize = scales[2..].iter().product();
        if scales[..2] != [1, 1] || window > MOST_COPIES {
            continue;
        }
        let spec = ConvSpec {
            stride: scales[2..].to_vec().into(),
            transposed: true,
            ..depthwise((*batch, *channels), spatial.to_vec(), scales[2..].to_vec())
        };
        let step = Step::of(spec, vec![1.0; channels * window]);
        if step.conv().is_ok_and(|conv| crate::found::fits(&conv, &node.outputs[0].fact)) {
            let region = Region(Arc::new(Work::of(step)));
            TypedModelPatch::replace_single_op(model, node, &node.inputs, region)?.apply(model)?;
            changed = true;
        }
    }
    Ok(changed)
}

fn upsampled(model: &TypedModel, id: usize) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(id);
    let Some((op, shape, scales)) = resizing(model, id) else { return Ok(None) };
    let Some((pad, up)) = steps(op, &shape, &scales) else { return Ok(None) };
    let fits = |step: &Step| {
        step.conv().is_ok_and(|conv| crate::found::fits(&conv, &node.outputs[0].fact))
    };
    if pad.as_ref().is_some_and(|pad| pad.conv().is_err()) || !fits(&up) {
        return Ok(None);
    }
    if pad.is_none() && up.weight.iter().all(|&w| w == 1.0) {
        // Nothing but copies, for which tract has an operator of its own.
        let scales = scales.iter().map(|&scale| scale as usize).collect();
        let op = NearestUpsample { scales };
        return Ok(Some(TypedModelPatch::replace_single_op(model, node, &node.inputs[..1], op)?));
    }
    let region = |step| Region(Arc::new(Work::of(step)));
    let mut patch = TypedModelPatch::default();
    let mut wires = tvec![patch.tap_model(model, node.inputs[0])?];
    if let Some(pad) = pad {
        wires = patch.wire_node(format!("{}.padded", node.name), region(pad), &wires)?;
    }
    let wires = patch.wire_node(&node.name, region(up), &wires)?;
    patch.shunt_outside(model, id.into(), wires[0])?;
    Ok(Some(patch))
}

/// The input with its edges repeated, where it needs any, and the transposed convolution of each
/// channel.
fn steps(op: &Resize, shape: &[usize], scales: &[f32]) -> Option<(Option<Step>, Step)> {
    let [batch, channels, spatial @ ..] = shape else { return None };
    if scales[..2] != [1.0, 1.0] {
        return None;
    }
    let axes: Option<Vec<Axis>> =
        spatial.iter().zip(&scales[2..]).map(|(&len, &scale)| Axis::of(op, scale, len)).collect();
    let axes = axes?;
    let window: usize = axes.iter().map(|axis| axis.weights.len()).product();
    if window > MOST_TAPS {
        return None;
    }
    let depthwise = |spatial, kernel| depthwise((*batch, *channels), spatial, kernel);
    let pairs = |pair: fn(&Axis) -> (usize, usize)| -> Padding {
        axes.iter().map(pair).collect::<Vec<_>>().into()
    };
    let pad = ConvSpec {
        padding: pairs(|axis| (axis.edge, axis.edge)),
        padding_mode: PaddingMode::Replicate,
        ..depthwise(spatial.to_vec(), vec![1; spatial.len()])
    };
    let padded = spatial.iter().zip(&axes).map(|(&n, axis)| n + 2 * axis.edge).collect();
    let up = ConvSpec {
        stride: axes.iter().map(|axis| axis.factor).collect::<Vec<_>>().into(),
        padding: pairs(|axis| axis.crop),
        transposed: true,
        ..depthwise(padded, axes.iter().map(|axis| axis.weights.len()).collect())
    };
    let products = axes.iter().fold(vec![1.0], |all, axis| {
        all.iter().flat_map(|a| axis.weights.iter().map(move |b| a * b)).collect::<Vec<f32>>()
    });
    let has_edges = axes.iter().any(|axis| axis.edge > 0);
    let pad = has_edges.then(|| Step::of(pad, vec![1.0; *channels]));
    Some((pad, Step::of(up, products.repeat(*channels))))
}

/// One axis that grows by a whole factor: `output[x]` is the sum of `weights[x - factor * i - lo]
/// * input[i]`.
struct Axis {
    factor: usize,
    weights: Vec<f32>,
    /// Elements that are repeated beyond each edge.
    edge: usize,
    /// Outputs of the transposed convolution that are cut off: before, behind.
    crop: (usize, usize),
}

impl Axis {
    /// None where some position reads other taps.
    fn of(op: &Resize, scale: f32, len: usize) -> Option<Axis> {
        let factor = scale.round();
        if scale != factor || !(1.0..=64.0).contains(&factor) {
            return None;
        }
        if factor == 1.0 {
            // tract leaves such an axis as it is, whatever the mode.
            return Some(Axis { factor: 1, weights: vec![1.0], edge: 0, crop: (0, 0) });
        }
        let factor = factor as i64;
        let plan = |len: usize| op.plan_axis(scale, len, len * factor as usize);
        // Of the outputs of one element in the middle: what each reads, and how far away.
        let long = plan(LONG);
        let middle = LONG as i64 / 2 * factor;
        let mut taps: Vec<(i64, f32)> = (middle..middle + factor)
            .flat_map(|x| row(&long, x as usize).map(move |(i, w)| (x - factor * i, w)))
            .filter(|(_, w)| *w != 0.0)
            .collect();
        taps.sort_by_key(|tap| tap.0);
        let (&(lo, _), &(hi, _)) = (taps.first()?, taps.last()?);
        let size = hi - lo + 1;
        let mut weights = vec![0.0; usize::try_from(size).ok()?];
        taps.iter().for_each(|&(t, w)| weights[(t - lo) as usize] += w);
        // Of the first output and of the last.
        let edge = i64::max(hi.div_euclid(factor), (factor - 1 - lo).div_euclid(factor)).max(0);
        let crop = (factor * edge - lo, factor * (edge - 1) + size + lo);
        let crop = (usize::try_from(crop.0).ok()?, usize::try_from(crop.1).ok()?);
        let axis = Axis { factor: factor as usize, weights, edge: edge as usize, crop };
        axis.is(lo, &plan(len), len).then_some(axis)
    }

    /// Whether every output of a plan is what this axis gives.
    fn is(&self, lo: i64, plan: &AxisPlan, len: usize) -> bool {
        let (factor, last) = (self.factor as i64, len as i64 - 1);
        let mut sums = vec![0.0f32; len];
        (0..len * self.factor).all(|x| {
            // What the plan reads, less what we read.
            let theirs: Vec<(i64, f32)> = row(plan, x).collect();
            theirs.iter().for_each(|&(i, w)| sums[i as usize] += w);
            let x = x as i64;
            let (from, to) = (
                (x - lo - self.weights.len() as i64 + 1).div_euclid(factor),
                (x - lo).div_euclid(factor),
            );
            let ours: Vec<(i64, f32)> = (from..=to)
                .filter_map(|i| {
                    let at = usize::try_from(x - factor * i - lo).ok()?;
                    Some((i.clamp(0, last), *self.weights.get(at)?))
                })
                .collect();
            ours.iter().for_each(|&(i, w)| sums[i as usize] -= w);
            let touched = || theirs.iter().chain(&ours).map(|&(i, _)| i as usize);
            let same = touched().all(|i| sums[i].abs() < 1e-5);
            touched().for_each(|i| sums[i] = 0.0);
            same && !plan.extrapolated[x as usize]
        })
    }
}

/// The elements that an output reads, each with its weight.
fn row(plan: &AxisPlan, x: usize) -> impl Iterator<Item = (i64, f32)> {
    let at = x * plan.window..(x + 1) * plan.window;
    plan.indices[at.clone()].iter().map(|&i| i as i64).zip(plan.weights[at].iter().copied())
}

fn channels_last(model: &TypedModel, id: usize) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(id);
    let Some((op, shape, mut scales)) = resizing(model, id) else { return Ok(None) };
    if shape[1] < LEAST_CHANNELS || scales[..2] != [1.0, 1.0] {
        return Ok(None);
    }
    let last = shape.len() - 1;
    // Scales that were computed of sizes would give other sizes where they are rounded.
    let Some(output) = node.outputs[0].fact.shape.as_concrete() else { return Ok(None) };
    let mut sizes: Vec<i64> = output.iter().map(|&n| n as i64).collect();
    scales[1..].rotate_left(1);
    sizes[1..].rotate_left(1);
    let are_given = op.optional_scales_input.is_some_and(|at| {
        let fact = node.inputs.get(at).and_then(|&given| model.outlet_fact(given).ok());
        fact.is_some_and(|fact| fact.shape.volume() != 0.to_dim())
    });
    let mut patch = TypedModelPatch::default();
    let name = |what: &str| format!("{}.{what}", node.name);
    let input = patch.tap_model(model, node.inputs[0])?;
    let input = patch.wire_node(name("channels_last"), AxisOp::Move(1, last), &[input])?;
    let given = if are_given { tensor1(&scales) } else { tensor1(&sizes) };
    let given = patch.add_const(name("extents"), given)?;
    let op = Resize {
        optional_scales_input: are_given.then_some(1),
        optional_sizes_input: (!are_given).then_some(1),
        ..op.clone()
    };
    let resized = patch.wire_node(name("resized"), op, &[input[0], given])?;
    let wires = patch.wire_node(&node.name, AxisOp::Move(last, 1), &resized)?;
    patch.shunt_outside(model, id.into(), wires[0])?;
    Ok(Some(patch))
}
