//! Models in f16 are computed in f32, as ONNX Runtime does on CPUs: tract's f16 is slow, and rounds
//! each node's numbers.
//!
//! In: a typed graph. Out: the same with f32 in the place of f16, inputs and outputs included; who
//! runs it [widens](widened) and [narrows](narrowed).

use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::transform::ModelTransform;

/// Rewrites a graph that has halves, and says of which types its outputs were.
pub fn widen(model: &mut TypedModel) -> TractResult<Vec<DatumType>> {
    let half = f16::datum_type();
    let types: Vec<DatumType> = model
        .outputs
        .iter()
        .map(|&outlet| Ok(model.outlet_fact(outlet)?.datum_type))
        .collect::<TractResult<_>>()?;
    let has_halves = |node: &TypedNode| node.outputs.iter().any(|o| o.fact.datum_type == half);
    if model.nodes.iter().any(has_halves) {
        FloatPrecisionTranslator::new(half, f32::datum_type()).transform(model)?;
    }
    Ok(types)
}

/// An input, in the type that the graph takes.
pub fn widened(input: &Arc<Tensor>, is_wide: bool) -> TractResult<TValue> {
    if !is_wide || input.datum_type() != f16::datum_type() {
        return Ok(TValue::from_const(input.clone()));
    }
    Ok(input.cast_to::<f32>()?.into_owned().into_tvalue())
}

/// An output, in the type that the file says.
pub fn narrowed(output: TValue, to: DatumType) -> TractResult<Arc<Tensor>> {
    let output = output.into_arc_tensor();
    if to != f16::datum_type() || output.datum_type() == to {
        return Ok(output);
    }
    Ok(output.cast_to_dt(to)?.into_owned().into_arc_tensor())
}
