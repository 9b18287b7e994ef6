//! What the nodes of a file say of their bytes: grids, weights, biases, constants.

use std::sync::Arc;

use conv_ir::{ConvSpec, Layout};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, SumPool};
use tract_onnx::tract_core::ops::math::Mul;

use super::grid::Grid;
use super::layer::{Sums, Weight};
use super::linear::Dequantise;
use crate::{found, pools};

/// The one scale and zero point of a node, where they are known.
pub fn grid(model: &TypedModel, node: &TypedNode, dtype: DatumType) -> Option<Grid> {
    let is_signed = is_signed(dtype)?;
    let one = |at: usize| {
        let konst = model.outlet_fact(*node.inputs.get(at)?).ok()?.konst.clone()?;
        (konst.len() == 1).then_some(konst)
    };
    let scale = one(1)?.cast_to::<f32>().ok()?.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?[0];
    let zero = match node.inputs.get(2) {
        None => 0,
        Some(_) => {
            one(2)?.cast_to::<i32>().ok()?.try_as_plain_ram().ok()?.as_slice::<i32>().ok()?[0]
        }
    };
    (scale > 0.0 && scale.is_finite()).then_some(Grid { is_signed, scale, zero })
}

/// The value of a real tensor that follows from constants alone.
pub fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Arc<Tensor>>> {
    if let Some(konst) = &model.outlet_fact(outlet)?.konst {
        return Ok(Some(konst.clone()));
    }
    let node = model.node(outlet.node);
    if node.inputs.is_empty() || outlet.slot > 0 {
        return Ok(None);
    }
    let mut inputs: TVec<TValue> = tvec!();
    for &input in &node.inputs {
        let Some(value) = constant(model, input)? else { return Ok(None) };
        inputs.push(value.into_tvalue());
    }
    if let Some(op) = node.op_as::<Dequantise>() {
        return Ok(Some(op.computed(&inputs)?.into_arc_tensor()));
    }
    Ok(node.op.eval_out_of_plan(inputs)?.map(|mut outputs| outputs.remove(0).into_arc_tensor()))
}

/// The description of a convolution, channels last.
fn spec_of(model: &TypedModel, node: &TypedNode, conv: &Conv) -> Option<ConvSpec> {
    let spec = found::spec_of(model, node, conv)?;
    let own = conv_ir::Conv::new(spec.clone()).ok()?;
    let fits = found::fits(&own, &node.outputs[0].fact);
    fits.then_some(ConvSpec { layout: Layout::ChannelsLast, ..spec })
}

/// `ConvInteger`: bytes with known bytes, whose sums are the output, and the zero point of
/// [`whole_inputs`].
pub fn whole(
    model: &TypedModel,
    node: &TypedNode,
    conv: &Conv,
) -> Option<(Sums, Option<OutletId>)> {
    if conv.q_params != Some(i32::datum_type()) {
        return None;
    }
    let spec = spec_of(model, node, conv)?;
    let (grid, weight, zero) = whole_inputs(model, node, spec.out_channels)?;
    let bias = vec![0; spec.out_channels];
    Some((Sums { spec, grid, weight: Arc::new(weight), bias, view: None }, zero))
}

/// What an operator of whole numbers is computed of. A zero point of the input that a run alone
/// knows is taken as none, and is the last.
///
/// Behind input and weight are the bias, and zero point and scale of the input, the weight and the
/// output.
pub fn whole_inputs(
    model: &TypedModel,
    node: &TypedNode,
    channels: usize,
) -> Option<(Grid, Weight, Option<OutletId>)> {
    let value = |at: usize| model.outlet_fact(*node.inputs.get(at)?).ok()?.konst.clone();
    let list = |at: usize| {
        let wide = value(at)?.cast_to::<i32>().ok()?.into_owned();
        Some(wide.try_as_plain_ram().ok()?.as_slice::<i32>().ok()?.to_vec())
    };
    let is_signed = is_signed(model.outlet_fact(node.inputs[0]).ok()?.datum_type)?;
    let (zero, later) = zero_of_input(model, *node.inputs.get(3)?)?;
    let (signed, bytes) = bytes_of(&*value(1)?)?;
    let (bias, zeros) = (list(2)?, list(5)?);
    if zeros.len() != 1 && zeros.len() != channels || bias.iter().any(|&b| b != 0) {
        return None;
    }
    let weight = Weight { is_signed: signed, bytes, scales: vec![1.0], zeros };
    Some((Grid { is_signed, scale: 1.0, zero }, weight, later))
}

/// Of bytes.
fn is_signed(dtype: DatumType) -> Option<bool> {
    match dtype {
        DatumType::I8 => Some(true),
        DatumType::U8 => Some(false),
        _ => None,
    }
}

/// One zero point: its number, or 0 and where a run has it.
fn zero_of_input(model: &TypedModel, outlet: OutletId) -> Option<(i32, Option<OutletId>)> {
    let fact = model.outlet_fact(outlet).ok()?;
    let Some(konst) = &fact.konst else {
        let count = fact.shape.as_concrete()?.iter().product::<usize>();
        return (count == 1).then_some((0, Some(outlet)));
    };
    let wide = konst.cast_to::<i32>().ok()?;
    match wide.try_as_plain_ram().ok()?.as_slice::<i32>().ok()? {
        &[zero] => Some((zero, None)),
        _ => None,
    }
}

/// Bytes by their bits, and whether they are signed.
fn bytes_of(tensor: &Tensor) -> Option<(bool, Vec<u8>)> {
    let plain = tensor.try_as_plain_ram().ok()?;
    match tensor.datum_type() {
        DatumType::I8 => {
            Some((true, plain.as_slice::<i8>().ok()?.iter().map(|&w| w as u8).collect()))
        }
        DatumType::U8 => Some((false, plain.as_slice::<u8>().ok()?.to_vec())),
        _ => None,
    }
}

/// A convolution of bytes with known bytes.
pub fn layer_of(model: &TypedModel, node: &TypedNode, conv: &Conv, grid: Grid) -> Option<Sums> {
    let spec = spec_of(model, node, conv).filter(|_| conv.q_params.is_none())?;
    let weight = Arc::new(weight(model, node.inputs[1], spec.out_channels, 0)?);
    let mut sums = Sums { spec, grid, weight, bias: Vec::new(), view: None };
    sums.bias = bias(model, *node.inputs.get(2)?, &sums.scales())?;
    Some(sums)
}

/// Weights that are dequantised: by one scale, or one for each output channel, which are at an
/// axis.
pub fn weight(model: &TypedModel, outlet: OutletId, channels: usize, axis: i64) -> Option<Weight> {
    let node = model.node(outlet.node);
    let op = node.op_as::<Dequantise>()?;
    let value = |at: usize| model.outlet_fact(*node.inputs.get(at)?).ok()?.konst.clone();
    let (bytes, scales) = (value(0)?, value(1)?);
    let scales = scales.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec();
    let zeros = match node.inputs.get(2) {
        None => vec![0],
        Some(_) => {
            let zeros = value(2)?.cast_to::<i32>().ok()?.into_owned();
            zeros.try_as_plain_ram().ok()?.as_slice::<i32>().ok()?.to_vec()
        }
    };
    let is_axis = op.axis.rem_euclid(bytes.rank().max(1) as i64) == axis;
    let fits = |len: usize| len == 1 || len == channels && is_axis;
    let is_good = |&scale: &f32| scale > 0.0 && scale.is_finite();
    if !(fits(scales.len()) && fits(zeros.len()) && scales.iter().all(is_good)) {
        return None;
    }
    let (is_signed, bytes) = bytes_of(&bytes)?;
    Some(Weight { is_signed, bytes, scales, zeros })
}

/// What a node hands on: by a cast, with other axes, or times one.
fn behind(model: &TypedModel, node: &TypedNode) -> Option<OutletId> {
    if node.op_is::<Cast>() || node.op_is::<AxisOp>() {
        return node.inputs.first().copied();
    }
    let is_product = node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Mul>());
    let [a, b] = node.inputs[..] else { return None };
    let is_one = |outlet: OutletId| uniform(model, outlet) == Some(1.0);
    match is_product {
        true if is_one(a) => Some(b),
        true if is_one(b) => Some(a),
        _ => None,
    }
}

/// The one number that a constant consists of.
pub fn uniform(model: &TypedModel, outlet: OutletId) -> Option<f32> {
    let konst = model.outlet_fact(outlet).ok()?.konst.as_ref()?;
    let one = konst.as_uniform()?;
    Some(one.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?[0])
}

/// A bias in units of sums: the file's own numbers, or real ones to the nearest.
pub fn bias(model: &TypedModel, outlet: OutletId, scales: &[f32]) -> Option<Vec<i32>> {
    // tract casts it to its own type, drops axes of one position, and multiplies that of `Gemm`.
    let mut node = model.node(outlet.node);
    while let Some(input) = behind(model, node) {
        node = model.node(input.node);
    }
    if node.op_is::<Dequantise>() && node.inputs.len() == 2 {
        let value = |at: usize| model.outlet_fact(node.inputs[at]).ok()?.konst.clone();
        let (sums, own) = (value(0)?, value(1)?);
        if let (Ok(sums), Ok(own)) = (sums.try_as_plain_ram(), own.try_as_plain_ram())
            && let (Ok(sums), Ok(own)) = (sums.as_slice::<i32>(), own.as_slice::<f32>())
            && sums.len() == scales.len()
            && (own.len() == 1 || own.len() == scales.len())
            && scales
                .iter()
                .enumerate()
                .all(|(at, scale)| (own[at % own.len()] - scale).abs() <= 1e-5 * scale.abs())
        {
            return Some(sums.to_vec());
        }
    }
    let real = constant(model, outlet).ok()??;
    let real = real.cast_to::<f32>().ok()?.into_owned();
    let plain = real.try_as_plain_ram().ok()?;
    let real = plain.as_slice::<f32>().ok()?;
    if real.len() != 1 && real.len() != scales.len() {
        return None;
    }
    let unit = |(at, &scale): (usize, &f32)| {
        let sum = (f64::from(real[at % real.len()]) / f64::from(scale)).round_ties_even();
        (sum.abs() < 2f64.powi(31)).then_some(sum as i32)
    };
    scales.iter().enumerate().map(unit).collect()
}

/// An average over a window that always has as many taps: a sum of ones.
pub fn average(model: &TypedModel, node: &TypedNode, pool: &SumPool, grid: Grid) -> Option<Sums> {
    let shape = model.outlet_fact(node.inputs[0]).ok()?.shape.as_concrete()?;
    let reduction = conv_ir::Reduction::Average { count_include_pad: pool.count_include_pad };
    let pooled = pools::windowed(reduction, shape, &pool.pool_spec)?;
    let own = conv_ir::Conv::new(pooled.clone()).ok()?;
    let pads = match &pooled.padding {
        conv_ir::Padding::Explicit(conv_ir::PerAxis::Each(pads)) => {
            pads.iter().any(|&pad| pad != (0, 0))
        }
        conv_ir::Padding::Valid => false,
        _ => true,
    };
    let varies = pads && !pool.count_include_pad || pooled.ceil_mode;
    if !pool.normalize || varies || !found::fits(&own, &node.outputs[0].fact) {
        return None;
    }
    let taps: usize = pooled.kernel.iter().product();
    let channels = pooled.in_channels;
    let spec = conv_ir::ConvSpec {
        reduction: conv_ir::Reduction::Sum,
        groups: channels,
        layout: Layout::ChannelsLast,
        ..pooled
    };
    let (bytes, scales) = (vec![1; taps * channels], vec![1.0 / taps as f32]);
    let weight = Arc::new(Weight { is_signed: true, bytes, scales, zeros: vec![0] });
    Some(Sums { spec, grid, weight, bias: vec![0; channels], view: None })
}
