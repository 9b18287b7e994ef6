//! Matrix products with known numbers become regions: 1x1 convolutions.
//!
//! ```text
//! x[.., k] * w[k, n]                  ->   channels k to n, which stand last
//! w[n, k] * x[.., k, s]               ->   channels k to n, which stand before s
//! x[.., k, s] * w[k, n], as [s, n]    ->   the second, and its channels moved last
//! ```
//!
//! Requires a decluttered graph, in which tract has written a product beside a transposition as one
//! of other axes. Gives regions, and channels moved where a product turns its axes: between two of
//! them tract removes what undoes each other.

use std::sync::Arc;

use conv_ir::{ConvSpec, Layout};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::einsum::EinSum;

use crate::region::{Region, Step, View, Work};

/// Axes of an image at most; more are one.
const MOST_AXES: usize = 3;

/// Replaces every product that it can.
pub fn replace(model: &mut TypedModel) -> TractResult<()> {
    let mut turned = false;
    for id in model.eval_order()? {
        let Some(product) = Product::of(model, model.node(id)) else { continue };
        turned |= product.moves != (None, None);
        if let Some(patch) = product.patch(model, model.node(id))? {
            patch.apply(model)?;
        }
    }
    match turned {
        true => model.declutter(),
        false => model.compact(),
    }
}

/// A product, as a convolution.
struct Product {
    varying: OutletId,
    work: Work,
    /// Where the channels of the input go before it, and those of its output behind it.
    moves: (Option<AxisOp>, Option<AxisOp>),
}

impl Product {
    fn of(model: &TypedModel, node: &TypedNode) -> Option<Product> {
        let op = node.op_as::<EinSum>()?;
        let &[left, right] = &node.inputs[..] else { return None };
        let facts = [model.outlet_fact(left).ok()?, model.outlet_fact(right).ok()?];
        let varying = match (&facts[0].konst, &facts[1].konst) {
            (None, Some(_)) => 0,
            (Some(_), None) => 1,
            _ => return None,
        };
        let (fact, weight) = (facts[varying], facts[1 - varying].konst.as_ref()?);
        let output = &node.outputs[0].fact;
        let is_f32 = |fact: &TypedFact| fact.datum_type == f32::datum_type();
        if op.q_params.is_some() || !is_f32(fact) || !is_f32(output) {
            return None;
        }
        let (input, output) = (fact.shape.as_concrete()?, output.shape.as_concrete()?);
        let channels = Channels::of(op, varying, [input, weight.shape()])?;
        let (from, to) = (channels.input(op, varying, input), channels.output(op, output));
        if from.others() != to.others() {
            return None;
        }
        // Channels stand first where they do on either side.
        let is_last = from.is_last() && to.is_last();
        let split = if from.is_last() { to.before } else { from.before };
        let others: Vec<usize> = from.others().into_iter().map(|(_, n)| n).collect();
        let (batch, spatial) = match is_last {
            true => (1, vec![others.iter().product()]),
            false => (others[..split].iter().product(), image(input, &others[split..], from.at)),
        };
        let kernel = vec![1; spatial.len()];
        let spec = ConvSpec {
            batch: batch.into(),
            in_channels: input[from.at],
            out_channels: output[to.at],
            layout: if is_last { Layout::ChannelsLast } else { Layout::ChannelsFirst },
            ..ConvSpec::new(spatial, kernel)
        };
        let weight = channels.weights(weight, &spec)?;
        let work = Work::of(Step::of(spec, weight));
        work.program().ok()?;
        let (x, y) = (from.place(split), to.place(split));
        let moves = (
            (from.at != x).then(|| AxisOp::Move(from.at, x)),
            (y != to.at).then(|| AxisOp::Move(y, to.at)),
        );
        let mut shape = output.to_vec();
        let made = shape.remove(to.at);
        shape.insert(y, made);
        let is_plain = work.output_shape().ok()? == shape && (x, y) == (1, 1);
        let view = (!is_plain).then_some(View { output: shape, channels: (x, y) });
        Some(Product { varying: node.inputs[varying], work: Work { view, ..work }, moves })
    }

    fn patch(self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let mut patch = TypedModelPatch::default();
        let mut wires = tvec![patch.tap_model(model, self.varying)?];
        let (before, behind) = self.moves;
        if let Some(op) = before {
            wires = patch.wire_node(format!("{}.channels_first", node.name), op, &wires)?;
        }
        wires = patch.wire_node(&node.name, Region(Arc::new(self.work)), &wires)?;
        if let Some(op) = behind {
            wires = patch.wire_node(format!("{}.channels_last", node.name), op, &wires)?;
        }
        patch.shunt_outside(model, node.id.into(), wires[0])?;
        Ok(Some(patch))
    }
}

/// The extents of an image: as the graph has them, where the next step may have a window.
fn image(input: &[usize], others: &[usize], channels: usize) -> Vec<usize> {
    let count = others.iter().product::<usize>();
    match input.get(2..) {
        Some(axes) if channels == 1 && axes.iter().product::<usize>() == count => axes.to_vec(),
        _ if others.len() > MOST_AXES => vec![count],
        _ => others.to_vec(),
    }
}

/// Axes that are summed over and made, by name, and where they are in the weight.
pub struct Channels {
    input: char,
    input_of_weight: usize,
    output: char,
    pub output_of_weight: usize,
}

impl Channels {
    /// None where more than one axis is summed over or made, or a weight has others.
    pub fn of(op: &EinSum, varying: usize, [input, weight]: [&[usize]; 2]) -> Option<Channels> {
        let (mut summed, mut made) = (Vec::new(), Vec::new());
        for axis in op.axes.iter_all_axes() {
            let place = |of: &TVec<usize>| match of[..] {
                [] => Some(None),
                [at] => Some(Some(at)),
                _ => None,
            };
            let x = place(&axis.inputs[varying])?;
            let w = place(&axis.inputs[1 - varying])?.filter(|&at| weight[at] != 1);
            match (x, w, place(&axis.outputs[0])?) {
                (Some(_), Some(w), None) => summed.push((axis.repr, w)),
                (None, Some(w), Some(_)) => made.push((axis.repr, w)),
                (Some(_), None, Some(_)) | (None, None, _) => {}
                (Some(x), None, None) if input[x] == 1 => {}
                _ => return None,
            }
        }
        let (&[(input, input_of_weight)], &[(output, output_of_weight)]) = (&summed[..], &made[..])
        else {
            return None;
        };
        Some(Channels { input, input_of_weight, output, output_of_weight })
    }

    pub fn input<'a>(&self, op: &EinSum, varying: usize, extents: &'a [usize]) -> Side<'a> {
        Side::new(op, InOut::In(varying), self.input, extents)
    }

    pub fn output<'a>(&self, op: &EinSum, extents: &'a [usize]) -> Side<'a> {
        Side::new(op, InOut::Out(0), self.output, extents)
    }

    /// The numbers of a matrix, in the order of a convolution's.
    fn weights(&self, weight: &Tensor, spec: &ConvSpec) -> Option<Vec<f32>> {
        let plain = weight.try_as_plain_ram().ok()?;
        let values = plain.as_slice::<f32>().ok()?;
        self.order(weight.shape(), spec).map(|at| values.get(at).copied()).collect()
    }

    /// Where the numbers of a convolution are in a matrix of that shape.
    pub fn order(&self, weight: &[usize], spec: &ConvSpec) -> impl Iterator<Item = usize> {
        let stride = |axis: usize| weight[axis + 1..].iter().product::<usize>();
        let (to, from) = (stride(self.output_of_weight), stride(self.input_of_weight));
        let inputs = spec.in_channels;
        (0..spec.out_channels).flat_map(move |n| (0..inputs).map(move |k| n * to + k * from))
    }
}

/// The input or the output of a product.
pub struct Side<'a> {
    extents: &'a [usize],
    /// Names of its axes, in order.
    names: Vec<char>,
    /// The axis of the channels.
    pub at: usize,
    /// Other axes before it that have more than one position.
    before: usize,
}

impl<'a> Side<'a> {
    fn new(op: &EinSum, slot: InOut, channels: char, extents: &'a [usize]) -> Side<'a> {
        let names: Vec<char> = op.axes.axes(slot).map(|axis| axis.repr).collect();
        let at = names.iter().position(|&name| name == channels).unwrap_or(0);
        let before = extents[..at].iter().filter(|&&n| n > 1).count();
        Side { extents, names, at, before }
    }

    /// The other axes that have more than one position, and how many.
    pub fn others(&self) -> Vec<(char, usize)> {
        let all = self.names.iter().copied().zip(self.extents.iter().copied()).enumerate();
        all.filter(|&(at, (_, n))| at != self.at && n > 1).map(|(_, axis)| axis).collect()
    }

    pub fn is_last(&self) -> bool {
        self.before == self.others().len()
    }

    /// The axis at which channels stand behind so many others.
    fn place(&self, others: usize) -> usize {
        if self.before == others {
            return self.at;
        }
        let rest = self.extents.iter().enumerate().filter(|&(at, _)| at != self.at);
        let several = rest.enumerate().filter(|&(_, (_, &n))| n > 1).map(|(at, _)| at + 1);
        several.take(others).last().unwrap_or(0)
    }
}
