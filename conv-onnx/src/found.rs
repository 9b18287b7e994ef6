//! Which nodes become regions: every convolution whose description, weights and sizes are known.
//!
//! Requires a typed graph that is not decluttered: that would make matrix products of 1x1
//! convolutions. Gives regions, and for each convolution that is left the reason.

use std::sync::Arc;

use conv_ir::{Conv as ConvOf, ConvSpec, Padding};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;

use crate::region::{Region, Step, Work};

/// A convolution that tract runs.
#[derive(Clone, Debug)]
pub struct Left {
    /// The node's name.
    pub node: String,
    /// Why it is not compiled.
    pub reason: String,
}

/// Replaces every convolution that it can.
pub fn replace(model: &mut TypedModel) -> TractResult<Vec<Left>> {
    let mut left = Vec::new();
    for id in model.eval_order()? {
        let Some(found) = step(model, id) else { continue };
        let node = model.node(id);
        let same_shape = |step: Step| match step.conv() {
            Ok(conv) if fits(&conv, &node.outputs[0].fact) => Ok(step),
            Ok(conv) => Err(format!(
                "tract gives {:?}, not {:?}",
                node.outputs[0].fact.shape,
                conv.output_shape()
            )),
            Err(error) => Err(error.to_string().replace('\n', " ")),
        };
        match found.and_then(same_shape) {
            Ok(step) => {
                let region = Region(Arc::new(Work::of(step)));
                TypedModelPatch::replace_single_op(model, node, &[node.inputs[0]], region)?
                    .apply(model)?;
            }
            Err(reason) => left.push(Left { node: node.name.clone(), reason }),
        }
    }
    Ok(left)
}

/// Whether a convolution gives the shape that tract inferred.
pub fn fits(conv: &ConvOf, fact: &TypedFact) -> bool {
    let shape = conv.output_shape();
    shape.is_some_and(|shape| fact.shape.as_concrete() == Some(&shape[..]))
}

/// The convolution of a node, or why there is none; nothing for other nodes.
fn step(model: &TypedModel, id: usize) -> Option<Result<Step, String>> {
    let node = model.node(id);
    if let Some(conv) = node.op_as::<Conv>() {
        let described = Described {
            pool: &conv.pool_spec,
            format: conv.kernel_fmt,
            groups: conv.group,
            adjustments: None,
        };
        return Some(match conv.q_params {
            Some(_) => Err("its numbers are quantised".to_owned()),
            None => described.step(model, node),
        });
    }
    let deconv = node.op_as::<Deconv>()?;
    let described = Described {
        pool: &deconv.pool_spec,
        format: deconv.kernel_format,
        groups: deconv.group,
        adjustments: Some(&deconv.adjustments),
    };
    Some(described.step(model, node))
}

/// The description of a convolution of known sizes, whatever its numbers.
pub fn spec_of(model: &TypedModel, node: &TypedNode, conv: &Conv) -> Option<ConvSpec> {
    let pool = &conv.pool_spec;
    let shape = model.outlet_fact(node.inputs[0]).ok()?.shape.as_concrete()?;
    let is_plain = pool.data_format == DataFormat::NCHW && conv.kernel_fmt == KernelFormat::OIHW;
    let (format, groups) = (conv.kernel_fmt, conv.group);
    is_plain.then(|| Described { pool, format, groups, adjustments: None }.spec(shape))
}

/// What the two kinds of nodes have in common.
struct Described<'a> {
    pool: &'a PoolSpec,
    format: KernelFormat,
    groups: usize,
    /// Extra outputs at the end of each axis, of a transposed one.
    adjustments: Option<&'a TVec<usize>>,
}

impl Described<'_> {
    fn step(&self, model: &TypedModel, node: &TypedNode) -> Result<Step, String> {
        let fact = |at: usize| model.outlet_fact(node.inputs[at]).map_err(|e| e.to_string());
        let input = fact(0)?;
        if input.datum_type != f32::datum_type() {
            return Err(format!("it computes in {:?}; f32 is compiled", input.datum_type));
        }
        let Some(shape) = input.shape.as_concrete() else {
            return Err(format!("its input's shape {:?} is known in a run only", input.shape));
        };
        if self.pool.data_format != DataFormat::NCHW || self.format != KernelFormat::OIHW {
            return Err("its channels do not come first".to_owned());
        }
        let known = |at: usize, what: &str| {
            let konst = fact(at)?.konst.clone();
            konst.ok_or_else(|| format!("its {what} is not known before a run"))
        };
        let weight = numbers(&*known(1, "weight")?)?;
        let spec = self.spec(shape);
        let bias = match &numbers(&*known(2, "bias")?)?[..] {
            [one] => vec![*one; spec.out_channels],
            each if each.len() == spec.out_channels => each.to_vec(),
            each => return Err(format!("it has {} biases", each.len())),
        };
        let weight = if spec.transposed { inputs_first(&spec, &weight) } else { weight };
        Ok(Step { bias, ..Step::of(spec, weight) })
    }

    fn spec(&self, shape: &[usize]) -> ConvSpec {
        let (pool, spatial) = (self.pool, &shape[2..]);
        let (strides, dilations) = (pool.strides(), pool.dilations());
        let padding = match self.adjustments {
            None => pool.computed_padding(spatial),
            // Errors of sizes that do not fit come out as a shape that does not.
            Some(adjustments) => pool
                .padding
                .compute_for_deconv(spatial, &pool.kernel_shape, &dilations, &strides, adjustments)
                .unwrap_or_default(),
        };
        let padding: Vec<(usize, usize)> =
            padding.iter().map(|axis| (axis.pad_before, axis.pad_after)).collect();
        ConvSpec {
            batch: shape[0].into(),
            in_channels: pool.input_channels,
            out_channels: pool.output_channels,
            groups: self.groups,
            stride: strides.to_vec().into(),
            dilation: dilations.to_vec().into(),
            padding: Padding::from(padding),
            transposed: self.adjustments.is_some(),
            output_padding: self.adjustments.map_or(0.into(), |extra| extra.to_vec().into()),
            ..ConvSpec::new(spatial.iter().copied(), pool.kernel_shape.iter().copied())
        }
    }
}

/// The numbers of a constant of f32.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let plain = tensor.try_as_plain_ram().map_err(|error| error.to_string())?;
    plain.as_slice::<f32>().map(<[f32]>::to_vec).map_err(|error| error.to_string())
}

/// tract keeps weights of a transposed convolution as `[out, in/groups, k..]`; ours are `[in,
/// out/groups, k..]`.
fn inputs_first(spec: &ConvSpec, weight: &[f32]) -> Vec<f32> {
    let taps: usize = spec.kernel.iter().product();
    let (inputs, outputs) = (spec.in_channels / spec.groups, spec.out_channels / spec.groups);
    let mut ours = Vec::with_capacity(weight.len());
    for input in 0..spec.in_channels {
        let (group, i) = (input / inputs, input % inputs);
        for o in 0..outputs {
            let row = (group * outputs + o) * inputs + i;
            ours.extend(&weight[row * taps..][..taps]);
        }
    }
    ours
}
