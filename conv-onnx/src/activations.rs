//! Activations that tract spells in several nodes, each as one: elu and its kin, softplus.
//!
//! ```text
//! elu       factor * (x, or alpha * (e^(x * inner) - 1) below zero)    Elu, Selu, Celu
//! softplus  log(1 + e^x)                                               without overflow
//! ```
//!
//! tract chooses between two values in the first, which no rule reads as one expression, and the
//! second overflows from 88 on. As one node each is folded into the convolution before it.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::element_wise::ElementWiseMiniOp;
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::ops::expandable::expand;

/// What is computed of each number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Smooth {
    Elu { alpha: f32, factor: f32, inner: f32 },
    Softplus,
}

impl Eq for Smooth {}

/// Puts them into tract's reader.
pub fn register(operators: &mut OnnxOpRegister) {
    operators.insert("Elu", |_, node| {
        let alpha = attribute(node, "alpha", 1.0)?;
        smooth(Smooth::Elu { alpha, factor: 1.0, inner: 1.0 })
    });
    operators.insert("Selu", |_, node| {
        let (alpha, factor) =
            (attribute(node, "alpha", 1.673_263_2)?, attribute(node, "gamma", 1.050_701)?);
        smooth(Smooth::Elu { alpha, factor, inner: 1.0 })
    });
    operators.insert("Celu", |_, node| {
        let alpha = attribute(node, "alpha", 1.0)?;
        smooth(Smooth::Elu { alpha, factor: 1.0, inner: 1.0 / alpha })
    });
    operators.insert("Softplus", |_: &ParsingContext, _| smooth(Smooth::Softplus));
}

fn attribute(node: &NodeProto, name: &str, otherwise: f32) -> TractResult<f32> {
    Ok(node.get_attr_opt(name)?.unwrap_or(otherwise))
}

fn smooth(op: Smooth) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(ElementWiseOp(Box::new(op))), vec![]))
}

impl Smooth {
    fn of(self, x: f64) -> f64 {
        match self {
            Smooth::Elu { factor, .. } if x > 0.0 || x.is_nan() => f64::from(factor) * x,
            Smooth::Elu { alpha, factor, inner } => {
                f64::from(factor) * f64::from(alpha) * (f64::from(inner) * x).exp_m1()
            }
            Smooth::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// The same in f32, which most tensors are of.
    fn of_f32(self, x: f32) -> f32 {
        match self {
            Smooth::Elu { factor, .. } if x > 0.0 || x.is_nan() => factor * x,
            Smooth::Elu { alpha, factor, inner } => factor * alpha * (inner * x).exp_m1(),
            // The larger of NaN and 0 is 0 in Rust.
            Smooth::Softplus if x.is_nan() => x,
            Smooth::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }
}

impl ElementWiseMiniOp for Smooth {
    fn name(&self) -> String {
        match self {
            Smooth::Elu { .. } => "Elu".to_owned(),
            Smooth::Softplus => "Softplus".to_owned(),
        }
    }

    fn eval_in_place(&self, t: &mut Tensor, _: Option<DatumType>) -> TractResult<()> {
        let dtype = t.datum_type();
        if dtype == f32::datum_type() {
            let mut plain = t.try_as_plain_ram_mut()?;
            plain.as_slice_mut::<f32>()?.iter_mut().for_each(|x| *x = self.of_f32(*x));
            return Ok(());
        }
        let mut wide = t.cast_to::<f64>()?.into_owned();
        let mut plain = wide.try_as_plain_ram_mut()?;
        plain.as_slice_mut::<f64>()?.iter_mut().for_each(|x| *x = self.of(*x));
        *t = wide.cast_to_dt(dtype)?.into_owned();
        Ok(())
    }
}
