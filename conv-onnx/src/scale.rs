//! A tensor times one number per channel that is known in a run only (squeeze and excitation).
//!
//! ```text
//! x * s            ->   compiled(x, s)
//! act(x * s + y)   ->   compiled(x, s, y)   with y as its residual, and an activation
//! ```
//!
//! What is compiled is a depthwise convolution of one tap, whose weights are `s`.
//!
//! Requires a folded graph. tract's product would copy `x` first, because the memory of our outputs
//! is kept, and another pass would add `y`.

use std::sync::Arc;

use conv_ir::{Activation, Conv, ConvSpec, Program};
use conv_jit::Options;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Mul};

use crate::compiled::Compiled;
use crate::fold::{activation, only_reader};
use crate::outputs::Outputs;

/// Replaces every such product.
pub fn replace(
    model: &mut TypedModel,
    options: &Options,
    outputs: &Arc<Outputs>,
) -> TractResult<()> {
    for id in model.eval_order()? {
        let Some(mut scaled) = Scaled::of(model, model.node(id)) else { continue };
        if let Some((end, activation)) =
            activation::behind(model, model.node(scaled.last), activation::Readers::Its)?
        {
            (scaled.last, scaled.activation) = (end, Some(activation));
        }
        let Ok(conv) = Conv::new(scaled.spec()) else { continue };
        let last = model.node(scaled.last);
        let shape = scaled.shape.iter().copied().collect();
        let compiled = Compiled::scaling(Program::from(conv), shape, options, outputs)?;
        let inputs: Vec<OutletId> = [scaled.x, scaled.s].into_iter().chain(scaled.added).collect();
        TypedModelPatch::replace_single_op(model, last, &inputs, compiled)?.apply(model)?;
    }
    model.compact()
}

/// `x * s`, and what is added.
struct Scaled {
    x: OutletId,
    s: OutletId,
    added: Option<OutletId>,
    activation: Option<Activation>,
    /// The node that gives the result.
    last: usize,
    shape: Vec<usize>,
    /// Whether every image of a batch has numbers of its own.
    by_image: bool,
}

impl Scaled {
    fn of(model: &TypedModel, node: &TypedNode) -> Option<Scaled> {
        node.op_as::<TypedBinOp>().filter(|op| op.0.is::<Mul>())?;
        let [left, right] = node.inputs[..] else { return None };
        let (x, s, by_image) = [(left, right), (right, left)]
            .into_iter()
            .find_map(|(x, s)| Some((x, s, by_channel(model, x, s)?)))?;
        let shape = varying(model, x)?;
        // The sum of the product and a tensor like it.
        let sum = only_reader(model, node)
            .filter(|sum| sum.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Add>()));
        let other =
            |sum: &TypedNode| sum.inputs.iter().find(|input| input.node != node.id).copied();
        let added = sum.and_then(|sum| Some((other(sum)?, sum.id)));
        let added = added.filter(|&(other, _)| varying(model, other).as_ref() == Some(&shape));
        let last = added.map_or(node.id, |(_, sum)| sum);
        let added = added.map(|(other, _)| other);
        Some(Scaled { x, s, added, activation: None, last, shape, by_image })
    }

    fn spec(&self) -> ConvSpec {
        let images = self.shape[0];
        let (batch, channels) = match self.by_image {
            true => (1, images * self.shape[1]),
            false => (images, self.shape[1]),
        };
        ConvSpec {
            batch: batch.into(),
            in_channels: channels,
            out_channels: channels,
            groups: channels,
            residual: self.added.is_some(),
            activation: self.activation.clone(),
            ..ConvSpec::new([self.shape[2..].iter().product()], [1])
        }
    }
}

/// The shape of a tensor of f32 that is known in a run only.
fn varying(model: &TypedModel, outlet: OutletId) -> Option<Vec<usize>> {
    let fact = model.outlet_fact(outlet).ok()?;
    let is_known = fact.konst.is_some() || fact.datum_type != f32::datum_type();
    fact.shape.as_concrete().filter(|_| !is_known).map(<[usize]>::to_vec)
}

/// Whether `s` has a number per channel of `x`, and if so, whether per image, too.
fn by_channel(model: &TypedModel, x: OutletId, s: OutletId) -> Option<bool> {
    let (x, s) = (varying(model, x)?, varying(model, s)?);
    let ([images, channels, spatial @ ..], [s_images, s_channels, ones @ ..]) = (&x[..], &s[..])
    else {
        return None;
    };
    let fits = channels == s_channels
        && (images == s_images || *s_images == 1)
        && ones.len() == spatial.len()
        && ones.iter().all(|&n| n == 1)
        // Otherwise it is no smaller.
        && spatial.iter().any(|&n| n > 1);
    fits.then_some(images == s_images)
}
