//! Nodes that compute number by number, between tensors that are known as bytes and one that is
//! quantised.

use std::collections::HashMap;

use conv_ir::Activation;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;

use super::state::Known;
use crate::fold::activation;

/// What is computed, number by number, between tensors that are known as bytes or sums, and an end.
pub struct Expression {
    pub leaves: Vec<OutletId>,
    /// In the order of their evaluation.
    pub nodes: Vec<usize>,
    pub end: OutletId,
}

/// No expression has more nodes.
const MOST_NODES: usize = 24;

impl Expression {
    /// None where somebody else reads a part of it.
    pub fn of(
        model: &TypedModel,
        (known, order): (&HashMap<OutletId, Known>, &HashMap<usize, usize>),
        reader: usize,
        end: OutletId,
    ) -> Option<Expression> {
        let (mut leaves, mut nodes, mut open) = (Vec::new(), Vec::new(), vec![end]);
        while let Some(outlet) = open.pop() {
            let node = model.node(outlet.node);
            let is_part = !known.contains_key(&outlet)
                && (node.op_is::<TypedBinOp>() || node.op_is::<ElementWiseOp>());
            if model.outlet_fact(outlet).ok()?.konst.is_some() {
                continue;
            }
            if !is_part {
                if !leaves.contains(&outlet) {
                    leaves.push(outlet);
                }
                continue;
            }
            if !nodes.contains(&outlet.node) {
                nodes.push(outlet.node);
                open.extend(&node.inputs);
            }
            if nodes.len() > MOST_NODES || leaves.len() > 2 {
                return None;
            }
        }
        nodes.sort_by_key(|id| order.get(id).copied());
        // Only the end and its reader see it. Sums that others read are real numbers anyway.
        let inside = |outlet: &OutletId| {
            let readers = &model.node(outlet.node).outputs[outlet.slot].successors;
            !model.outputs.contains(outlet)
                && readers.iter().all(|r| r.node == reader || nodes.contains(&r.node))
        };
        let is_bytes = |leaf: &OutletId| matches!(known.get(leaf), Some(Known::Bytes(..)));
        let closed = nodes.iter().all(|&id| inside(&id.into()))
            && leaves.iter().all(|leaf| is_bytes(leaf) || inside(leaf));
        closed.then_some(Expression { leaves, nodes, end })
    }

    /// Its values, of values of the leaves.
    pub fn values(&self, model: &TypedModel, points: &[&[f32]]) -> Option<Vec<f32>> {
        let rank = model.outlet_fact(self.end).ok()?.rank();
        let count = points.first()?.len();
        let mut shape = vec![1; rank];
        *shape.last_mut()? = count;
        let mut known: HashMap<OutletId, TValue> = HashMap::new();
        for (leaf, points) in self.leaves.iter().zip(points) {
            known.insert(*leaf, Tensor::from_shape(&shape, points).ok()?.into_tvalue());
        }
        for &id in &self.nodes {
            let node = model.node(id);
            let mut inputs: TVec<TValue> = tvec!();
            for input in &node.inputs {
                inputs.push(match known.get(input) {
                    Some(value) => value.clone(),
                    None => {
                        let konst = model.outlet_fact(*input).ok()?.konst.clone()?;
                        let one = konst.as_uniform()?;
                        one.into_shape(&vec![1; konst.rank()]).ok()?.into_tvalue()
                    }
                });
            }
            let mut outputs = node.op.eval_out_of_plan(inputs).ok()??;
            known.insert(id.into(), outputs.remove(0));
        }
        let value = known.get(&self.end)?;
        let plain = value.try_as_plain_ram().ok()?;
        let values = plain.as_slice::<f32>().ok()?;
        (values.len() == count).then(|| values.to_vec())
    }

    /// The ends of a range that it clamps to; none where it does anything else.
    pub fn bounds(&self, model: &TypedModel) -> Option<(f32, f32)> {
        if self.nodes.is_empty() {
            return Some((f32::NEG_INFINITY, f32::INFINITY));
        }
        let values = self.values(model, &[activation::points()])?;
        match activation::alone(&values)? {
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            Activation::Clamp(low, high) => Some((low as f32, high as f32)),
            _ => None,
        }
    }
}
