//! An activation, however it is spelled.
//!
//! ```text
//! y = region(x); min(max(y + 3, 0), 6) * y / 6   ->   region(x) with hardswish
//! ```
//!
//! A factor and a summand behind it stay, as nodes of their own: `y * 2 + 1` of a hardswish `y`.
//!
//! The nodes behind a region that compute number by number, from its output and constants alone,
//! are an expression in one variable. tract evaluates it at some two hundred points; the activation
//! that agrees at all of them is it. So every spelling is known, and none is listed.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use conv_ir::{Activation, DType, activation};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{add, mul};

use super::put;
use crate::found::numbers as known;
use crate::region::Region;

/// No activation is spelled with more nodes.
const MOST_NODES: usize = 12;

/// How far two spellings may lie apart, of the value or of 1, whichever is more. tract's sigmoid is
/// good to 1e-6; the two forms of gelu differ by 5e-4.
const NEAR: f32 = 2e-5;

/// Where expressions are compared: finely where activations bend, then far out.
static POINTS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let near = (-96..=96).map(|at| at as f32 / 8.0 + 0.013);
    let far = [20.0, 50.0, 80.0, 300.0, 2e3, 1e5, 1e7];
    near.chain(far).chain(far.map(|x| -x)).collect()
});

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(region) = super::region(node) else { return Ok(None) };
    let expression = Expression::behind(model, node)?;
    // The longest one first: `x` times its own hard sigmoid is more than the hard sigmoid.
    for (end, values) in expression.ends(model, Readers::Its).into_iter().rev() {
        let before = region.0.activation();
        let found = known(values).ok().and_then(|values| recognised(before, &values));
        let Some(found) = found else { continue };
        let activation = found.activation.clone();
        let what = words(&activation);
        let new = region.0.with(what, |step| step.spec.activation = Some(activation));
        return match (found.factor, found.summand) {
            (1.0, 0.0) => put(model, node, &node.inputs, new, end),
            _ => put_scaled(model, node, new, &found, end),
        };
    }
    Ok(None)
}

/// The activation that stands behind any node, and where it ends.
pub fn behind(
    model: &TypedModel,
    node: &TypedNode,
    readers: Readers,
) -> TractResult<Option<(usize, Activation)>> {
    let expression = Expression::behind(model, node)?;
    let mut ends = expression.ends(model, readers).into_iter().rev();
    Ok(ends.find_map(|(end, values)| Some((end, alone(&known(values).ok()?)?))))
}

/// Where [`alone`] compares.
pub fn points() -> &'static [f32] {
    &POINTS
}

/// The activation that has these values at the [`points`], and nothing behind it.
pub fn alone(values: &[f32]) -> Option<Activation> {
    let found = recognised(None, values)?;
    ((found.factor, found.summand) == (1.0, 0.0)).then_some(found.activation)
}

/// Who may read what an activation is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its own nodes alone.
    Its,
    /// Others too.
    Others,
}

/// Nodes that depend on one outlet alone, in the order of their evaluation, with their values at
/// the [`POINTS`].
struct Expression {
    start: usize,
    nodes: Vec<(usize, Tensor)>,
}

impl Expression {
    fn behind(model: &TypedModel, start: &TypedNode) -> TractResult<Expression> {
        let rank = start.outputs[0].fact.rank();
        let mut shape = vec![1; rank];
        shape[rank - 1] = POINTS.len();
        let points = Tensor::from_shape(&shape, &POINTS)?;
        let mut found = Expression { start: start.id, nodes: vec![(start.id, points)] };
        let mut next = 0;
        while next < found.nodes.len() && found.nodes.len() <= MOST_NODES {
            for reader in readers(model, found.nodes[next].0) {
                let is_new = found.nodes.iter().all(|(id, _)| *id != reader);
                if let Some(values) = found.values(model, model.node(reader)).filter(|_| is_new) {
                    found.nodes.push((reader, values));
                    // What waited for this one has its turn.
                    next = 0;
                    break;
                }
            }
            next += 1;
        }
        Ok(found)
    }

    /// A node's values, if it is a part of the expression.
    fn values(&self, model: &TypedModel, node: &TypedNode) -> Option<Tensor> {
        let of_one = node.op_is::<TypedBinOp>() || node.op_is::<ElementWiseOp>();
        // A constant of more elements makes it larger.
        let shape = |id: usize| model.node(id).outputs.first().map(|output| &output.fact.shape);
        if !of_one || shape(node.id) != shape(self.start) {
            return None;
        }
        let here = |outlet: &OutletId| {
            let inside = self.nodes.iter().find(|(id, _)| *id == outlet.node);
            match inside {
                Some((_, values)) => Some(values.clone().into_tvalue()),
                None => {
                    let konst = model.outlet_fact(*outlet).ok()?.konst.as_ref()?;
                    let one = konst.as_uniform()?;
                    let shape = vec![1; konst.rank()];
                    Some(one.into_shape(&shape).ok()?.into_tvalue())
                }
            }
        };
        let inputs = node.inputs.iter().map(here).collect::<Option<TVec<TValue>>>()?;
        let mut outputs = node.op.eval_out_of_plan(inputs).ok()??;
        let values = outputs.pop()?.into_tensor();
        let is_whole = values.datum_type() == f32::datum_type() && values.len() == POINTS.len();
        is_whole.then_some(values)
    }

    /// The nodes at which an expression can end: nobody but its own nodes reads what is before. The
    /// shortest one first.
    fn ends(&self, model: &TypedModel, others: Readers) -> Vec<(usize, &Tensor)> {
        let mut ends = Vec::new();
        for (end, values) in &self.nodes[1..] {
            let inside = self.before(model, *end);
            let closed = |&id: &usize| {
                let outlet = OutletId::new(id, 0);
                id == *end
                    || id == self.start && others == Readers::Others
                    || !model.outputs.contains(&outlet)
                        && readers(model, id).iter().all(|reader| inside.contains(reader))
            };
            if inside.iter().all(closed) {
                ends.push((inside.len(), *end, values));
            }
        }
        ends.sort_by_key(|end| end.0);
        ends.into_iter().map(|(_, end, values)| (end, values)).collect()
    }

    /// The nodes of the expression that a node depends on, and itself.
    fn before(&self, model: &TypedModel, end: usize) -> BTreeSet<usize> {
        let (mut inside, mut open) = (BTreeSet::from([self.start]), vec![end]);
        while let Some(id) = open.pop() {
            if inside.insert(id) {
                let inputs = model.node(id).inputs.iter().map(|outlet| outlet.node);
                open.extend(inputs.filter(|id| self.nodes.iter().any(|(known, _)| known == id)));
            }
        }
        inside
    }
}

fn readers(model: &TypedModel, id: usize) -> Vec<usize> {
    let outputs = model.node(id).outputs.first();
    outputs.map_or_else(Vec::new, |output| output.successors.iter().map(|s| s.node).collect())
}

/// An activation, and what is done to its output.
struct Found {
    activation: Activation,
    factor: f32,
    summand: f32,
}

/// The activation that, behind the one that is there, has these values.
fn recognised(before: Option<Activation>, values: &[f32]) -> Option<Found> {
    // `x * a + b` is no activation, though almost a leaky relu of slope 1.
    if relation(&POINTS, values).is_some_and(|affine| agree(&POINTS, affine, values)) {
        return None;
    }
    let is = |candidate: &Activation, own: &[f32]| {
        let (factor, summand) = relation(own, values)?;
        match &before {
            _ if !agree(own, (factor, summand), values) => None,
            None => Some(Found { activation: candidate.clone(), factor, summand }),
            Some(first) if (factor, summand) == (1.0, 0.0) => {
                let activation = together(first, candidate)?;
                Some(Found { activation, factor, summand })
            }
            Some(_) => None,
        }
    };
    let found = PLAIN.iter().find_map(|(candidate, own)| is(candidate, own));
    found.or_else(|| candidates(values).iter().find_map(|c| is(c, &at_points(c))))
}

/// The values of an activation at the [`POINTS`].
fn at_points(activation: &Activation) -> Vec<f32> {
    let steps = activation::program(activation, DType::F32);
    POINTS.iter().map(|&x| activation::eval(&steps, x)).collect()
}

/// Activations without numbers of their own, with their values: every node of a model asks for
/// them.
static PLAIN: LazyLock<Vec<(Activation, Vec<f32>)>> = LazyLock::new(|| {
    use Activation::*;
    let all = [Relu, Relu6, HardSwish, HardSigmoid, Sigmoid, Silu, Tanh, Gelu, Mish, Softplus];
    let with_values = |activation| {
        let values = at_points(&activation);
        (activation, values)
    };
    all.into_iter().map(with_values).collect()
});

/// Whether `own`, times a factor and with a summand, is `values`.
fn agree(own: &[f32], (factor, summand): (f32, f32), values: &[f32]) -> bool {
    let near = |at: usize| are_near(POINTS[at], own[at] * factor + summand, values[at]);
    (0..POINTS.len()).all(near)
}

/// `factor` and `summand` with which `own` becomes `values`, by the points where it is nearest to
/// zero and farthest from it, which are known best.
fn relation(own: &[f32], values: &[f32]) -> Option<(f32, f32)> {
    let size = |at: &usize| own[*at].abs();
    let least = (0..POINTS.len()).min_by(|a, b| size(a).total_cmp(&size(b)))?;
    let most = (0..POINTS.len()).max_by(|a, b| size(a).total_cmp(&size(b)))?;
    let factor = (values[most] - values[least]) / (own[most] - own[least]);
    let summand = values[least] - own[least] * factor;
    if !(factor.is_finite() && factor.abs() > 1e-6) {
        return None;
    }
    // What rounding makes of 1 and 0.
    let factor = if (factor - 1.0).abs() < NEAR { 1.0 } else { factor };
    let summand = if summand.abs() < NEAR * factor.abs() { 0.0 } else { summand };
    Some((factor, summand))
}

/// The region, and its factor and summand behind it, in the place of `end`.
fn put_scaled(
    model: &TypedModel,
    node: &TypedNode,
    region: Region,
    found: &Found,
    end: usize,
) -> TractResult<Option<TypedModelPatch>> {
    if region.0.program().is_err() {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &node.inputs)?;
    let mut wire = patch.wire_node(&node.name, region, &inputs)?;
    let shape = vec![1; node.outputs[0].fact.rank()];
    for (what, op, value) in [("factor", mul(), found.factor), ("summand", add(), found.summand)] {
        let name = format!("{}.{what}", node.name);
        let constant = patch.add_const(&name, Tensor::from_shape(&shape, &[value])?)?;
        wire = patch.wire_node(format!("{name}.applied"), op, &[wire[0], constant])?;
    }
    patch.shunt_outside(model, OutletId::new(end, 0), wire[0])?;
    Ok(Some(patch))
}

/// Activations with numbers, as the values ask for.
fn candidates(values: &[f32]) -> Vec<Activation> {
    let at = |x: f32| {
        let nearest = POINTS.iter().position(|&point| (point - x).abs() <= 1e-6 * x.abs() + 1e-6);
        nearest.map_or(f64::NAN, |at| f64::from(values[at]))
    };
    use Activation::*;
    let mut all = Vec::new();
    let (low, high) = (at(-1e5), at(1e5));
    if low < high && low.abs() < 1e4 && high.abs() < 1e4 {
        all.push(Clamp(low, high));
    }
    let slope = at(-1e5) / -1e5;
    if slope.is_finite() && slope != 1.0 {
        all.push(LeakyRelu(f64::from(slope as f32)));
    }
    // What is behind it may be a factor, as in selu.
    let alpha = -low / (high / 1e5);
    if alpha > 1e-3 && alpha < 1e4 {
        all.push(Elu(f64::from(alpha as f32)));
    }
    all
}

/// One activation that is both, the second behind the first. A bound of a clamp may be given by
/// another: what is at least 0 and then at most 6 is clamped.
fn together(first: &Activation, second: &Activation) -> Option<Activation> {
    use Activation::*;
    let range = |activation: &Activation| match *activation {
        Relu => Some((0.0, f64::INFINITY)),
        Relu6 => Some((0.0, 6.0)),
        Clamp(low, high) => Some((low, high)),
        _ => None,
    };
    let ((a, b), (c, d)) = (range(first)?, range(second)?);
    let (low, high) = (f64::max(a, c), f64::min(b, d));
    match (low <= high, high == f64::INFINITY) {
        (true, false) => Some(Clamp(low, high)),
        (true, true) if low == 0.0 => Some(Relu),
        _ => None,
    }
}

/// Two values at `x`. Far out a sigmoid that ends at 1e-8 in the place of zero makes silu wrong by
/// a part of `x`.
fn are_near(x: f32, a: f32, b: f32) -> bool {
    (a - b).abs() <= NEAR * a.abs().max(b.abs()).max(x.abs() / 50.0).max(1.0)
}

/// What it is called in an explanation.
pub fn words(activation: &Activation) -> &'static str {
    use Activation::*;
    match activation {
        Relu => "relu",
        Relu6 => "relu6",
        LeakyRelu(_) => "leaky relu",
        Clamp(..) => "clamp",
        Sigmoid => "sigmoid",
        Tanh => "tanh",
        Silu => "silu",
        Gelu => "gelu",
        HardSwish => "hardswish",
        HardSigmoid => "hardsigmoid",
        Elu(_) => "elu",
        Softplus => "softplus",
        Mish => "mish",
        Prelu(_) => "prelu",
        _ => "activation",
    }
}
