//! `QuantizeLinear` and `DequantizeLinear`, as one node each.
//!
//! ```text
//! quantised   = saturated(rounded(x / scale) + zero)     ties to even
//! dequantised = (q - zero) * scale
//! ```
//!
//! Scale and zero point are one number, or one for each position of an axis. tract makes several
//! nodes of the second, and computes them of weights at once, so that no bytes are left to be
//! found. These stay until [`rewrite`](super::rewrite()) has been there.

use conv_jit::{Loop, in_vectors};
use tract_onnx::model::{OnnxOpRegister, ParsingContext, optional_inputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::*;
use tract_onnx::tract_hir::ops::expandable::{Expansion, expand};

use super::grid::rounded;
use crate::node::op;

/// Real numbers to whole ones. Inputs: the numbers, the scale, the zero point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantise {
    pub axis: i64,
    pub to: DatumType,
}

/// Back. The same inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dequantise {
    pub axis: i64,
}

/// A node of the file.
#[derive(Clone, Debug)]
enum Linear {
    /// The type, where there is no zero point to say it.
    Quantise {
        axis: i64,
        otherwise: DatumType,
    },
    Dequantise {
        axis: i64,
    },
}

/// Puts both into tract's reader.
pub fn register(operators: &mut OnnxOpRegister) {
    operators.insert("QuantizeLinear", |context, node| {
        let axis = axis(node)?;
        // Of `TensorProto.DataType`.
        let otherwise = match node.get_attr_opt::<i64>("output_dtype")?.unwrap_or(0) {
            0 | 2 => u8::datum_type(),
            3 => i8::datum_type(),
            4 => u16::datum_type(),
            5 => i16::datum_type(),
            other => bail!("QuantizeLinear: output_dtype {other}; u8, i8, u16 and i16 are known"),
        };
        wired(context, node, Linear::Quantise { axis, otherwise })
    });
    operators.insert("DequantizeLinear", |context, node| {
        let axis = axis(node)?;
        wired(context, node, Linear::Dequantise { axis })
    });
}

fn axis(node: &NodeProto) -> TractResult<i64> {
    let block = node.get_attr_opt::<i64>("block_size")?.unwrap_or(0);
    ensure!(block == 0, "{}: scales of blocks (block_size {block}) are not known", node.op_type);
    Ok(node.get_attr_opt("axis")?.unwrap_or(1))
}

fn wired(
    _: &ParsingContext,
    node: &NodeProto,
    op: Linear,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let given = optional_inputs(node).take(3).flatten().count();
    ensure!(given >= 2, "{}: a scale is needed", node.op_type);
    Ok((expand(op), vec![]))
}

impl Expansion for Linear {
    fn name(&self) -> StaticName {
        match self {
            Linear::Quantise { .. } => "QuantizeLinear".into(),
            Linear::Dequantise { .. } => "DequantizeLinear".into(),
        }
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[1].datum_type, f32::datum_type())?;
        match self {
            Linear::Quantise { otherwise, .. } => match inputs.get(2) {
                Some(zero) => s.equals(&outputs[0].datum_type, &zero.datum_type)?,
                None => s.equals(&outputs[0].datum_type, *otherwise)?,
            },
            Linear::Dequantise { .. } => {
                s.equals(&outputs[0].datum_type, f32::datum_type())?;
                if let Some(zero) = inputs.get(2) {
                    s.equals(&inputs[0].datum_type, &zero.datum_type)?;
                }
            }
        }
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    /// Weights stay bytes.
    fn runs_out_of_plan(&self) -> bool {
        false
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        match *self {
            Linear::Quantise { axis, otherwise } => {
                let to = match inputs.get(2) {
                    Some(&zero) => model.outlet_fact(zero)?.datum_type,
                    None => otherwise,
                };
                model.wire_node(prefix, Quantise { axis, to }, inputs)
            }
            Linear::Dequantise { axis } => model.wire_node(prefix, Dequantise { axis }, inputs),
        }
    }
}

/// Scale and zero point of each position of an axis.
struct Positions {
    scales: Vec<f32>,
    zeros: Vec<i32>,
    /// Numbers behind each position.
    inner: usize,
}

impl Positions {
    fn new(shape: &[usize], axis: i64, inputs: &[TValue]) -> TractResult<Positions> {
        let list = |tensor: &Tensor| -> TractResult<Vec<i32>> {
            let wide = tensor.cast_to::<i32>()?;
            Ok(wide.try_as_plain_ram()?.as_slice::<i32>()?.to_vec())
        };
        let mut scales = inputs[1].try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        let mut zeros = inputs.get(2).map_or(Ok(vec![0]), |zero| list(zero))?;
        let count = scales.len().max(zeros.len());
        if count == 1 {
            return Ok(Positions { scales, zeros, inner: shape.iter().product() });
        }
        let rank = shape.len() as i64;
        let at = if axis < 0 { axis + rank } else { axis };
        ensure!((0..rank).contains(&at), "axis {axis} of scales: the tensor has {rank} axes");
        let at = at as usize;
        for (what, len) in [("scales", scales.len()), ("zero points", zeros.len())] {
            let fits = len == 1 || len == shape[at];
            ensure!(fits, "{len} {what}, but axis {at} has {} positions", shape[at]);
        }
        scales.resize(count, scales[0]);
        zeros.resize(count, zeros[0]);
        Ok(Positions { scales, zeros, inner: shape[at + 1..].iter().product() })
    }

    /// Calls `of` with every number, and the scale and the zero point of its position.
    fn each<A: Copy, B>(&self, from: &[A], to: &mut [B], of: impl Fn(A, f32, i32) -> B) {
        in_vectors(Each { positions: self, from, to, of });
    }
}

struct Each<'a, A, B, F> {
    positions: &'a Positions,
    from: &'a [A],
    to: &'a mut [B],
    of: F,
}

impl<A: Copy, B, F: Fn(A, f32, i32) -> B> Loop for Each<'_, A, B, F> {
    #[inline(always)]
    fn run(self) {
        let Each { positions: own, from, to, of } = self;
        let count = own.scales.len();
        if own.inner == 1 && count > 1 {
            for (from, to) in from.chunks_exact(count).zip(to.chunks_exact_mut(count)) {
                let each = own.scales.iter().zip(&own.zeros);
                for ((to, from), (&scale, &zero)) in to.iter_mut().zip(from).zip(each) {
                    *to = of(*from, scale, zero);
                }
            }
            return;
        }
        let inner = own.inner.max(1);
        let blocks = from.chunks(inner).zip(to.chunks_mut(inner)).enumerate();
        for (at, (from, to)) in blocks {
            let (scale, zero) = (own.scales[at % count], own.zeros[at % count]);
            for (to, from) in to.iter_mut().zip(from) {
                *to = of(*from, scale, zero);
            }
        }
    }
}

op!(Quantise, "Quantise", Quantise::computed, |own, inputs| {
    tvec!(own.to.fact(inputs[0].shape.clone()))
});
op!(Dequantise, "Dequantise", Dequantise::computed, |_own, inputs| {
    tvec!(f32::fact(inputs[0].shape.clone()))
});

impl Quantise {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Tensor> {
        let wide = inputs[0].cast_to::<f32>()?;
        let positions = Positions::new(wide.shape(), self.axis, inputs)?;
        let x = wide.try_as_plain_ram()?;
        let x = x.as_slice::<f32>()?;
        let mut result = Tensor::zero_dt(self.to, wide.shape())?;
        let mut plain = result.try_as_plain_ram_mut()?;
        macro_rules! to {
            ($t:ty) => {
                positions.each(x, plain.as_slice_mut::<$t>()?, |x, scale, zero| {
                    let q = rounded(x / scale) + zero;
                    q.clamp(<$t>::MIN as i32, <$t>::MAX as i32) as $t
                })
            };
        }
        match self.to {
            DatumType::U8 => to!(u8),
            DatumType::I8 => to!(i8),
            DatumType::U16 => to!(u16),
            DatumType::I16 => to!(i16),
            other => bail!("QuantizeLinear gives {other:?}; u8, i8, u16 and i16 are known"),
        }
        Ok(result)
    }
}

impl Dequantise {
    /// Of a node's inputs.
    pub fn computed(&self, inputs: &[TValue]) -> TractResult<Tensor> {
        let positions = Positions::new(inputs[0].shape(), self.axis, inputs)?;
        let mut result = Tensor::zero::<f32>(inputs[0].shape())?;
        let mut plain = result.try_as_plain_ram_mut()?;
        let y = plain.as_slice_mut::<f32>()?;
        let x = inputs[0].try_as_plain_ram()?;
        macro_rules! from {
            ($t:ty) => {
                positions.each(x.as_slice::<$t>()?, y, |q, scale, zero| {
                    (q as i32).wrapping_sub(zero) as f32 * scale
                })
            };
        }
        match inputs[0].datum_type() {
            DatumType::U8 => from!(u8),
            DatumType::I8 => from!(i8),
            DatumType::U16 => from!(u16),
            DatumType::I16 => from!(i16),
            DatumType::I32 => from!(i32),
            other => bail!("DequantizeLinear takes {other:?}; u8, i8, u16, i16, i32 are known"),
        }
        Ok(result)
    }
}
