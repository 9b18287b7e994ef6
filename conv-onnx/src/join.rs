//! Regions that are connected become one: a program that is a graph, as the model is.
//!
//! ```text
//! x -> region a -> region b -> concat(a, b) -> region c + y   ->   region(x, y) of three steps
//! ```
//!
//! Requires a folded graph, whose regions have one step each. Regions are joined where one gives
//! what another takes, tensors joined along the channels included, and no way from one to another
//! leads through a node that is left. What others read of it are the new region's outputs. Its
//! tensors share memory, rows of steps may be fused, and nothing is copied that is only joined.

use std::collections::HashMap;
use std::sync::Arc;

use conv_ir::{Conv, ConvSpec, Layout, Reduction, Size};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;

use crate::region::{Region, Step, Work};

/// Joins what can be one program.
pub fn join(model: &mut TypedModel) -> TractResult<()> {
    for members in Parts::of(model)?.lists() {
        if let Some(joined) = Joined::of(model, &members)
            && joined.work.program().is_ok()
        {
            joined.patch(model)?.apply(model)?;
        }
    }
    model.compact()
}

/// What a program's tensor is: batch, channels, extents and layout.
#[derive(Clone, PartialEq)]
struct Tensor {
    batch: Size,
    channels: usize,
    extents: Vec<Size>,
    layout: Layout,
}

impl Tensor {
    /// What a step reads.
    fn read(spec: &ConvSpec) -> Tensor {
        let extents = spec.input.to_vec();
        let (batch, layout) = (spec.batch.clone(), spec.layout);
        Tensor { batch, channels: spec.in_channels, extents, layout }
    }

    /// What a step gives, which is what it adds as well.
    fn given(conv: &Conv) -> Option<Tensor> {
        let shape = conv.output_shape()?;
        let axes = match conv.spec().layout {
            Layout::ChannelsFirst => &shape[2..],
            Layout::ChannelsLast => &shape[1..shape.len() - 1],
        };
        let extents = axes.iter().map(|&extent| extent.into()).collect();
        let spec = conv.spec();
        let (batch, layout) = (spec.batch.clone(), spec.layout);
        Some(Tensor { batch, channels: spec.out_channels, extents, layout })
    }

    /// The step that declares it an input.
    fn declared(&self) -> Step {
        let kernel = vec![1; self.extents.len()];
        let spec = ConvSpec {
            batch: self.batch.clone(),
            in_channels: self.channels,
            out_channels: self.channels,
            groups: self.channels,
            layout: self.layout,
            input: self.extents.to_vec(),
            reduction: Reduction::Max,
            ..ConvSpec::new([], kernel)
        };
        Step { given: true, ..Step::pool(spec) }
    }
}

/// What a node computes, where it is a region.
fn work(model: &TypedModel, id: usize) -> Option<&Work> {
    model.node(id).op_as::<Region>().map(|Region(work)| &**work)
}

/// What a node gives, where it is a region.
fn tensor(model: &TypedModel, id: usize) -> Option<Tensor> {
    Tensor::given(&work(model, id)?.last().conv().ok()?)
}

/// What a region reads.
fn input(model: &TypedModel, id: usize) -> Option<Tensor> {
    Some(Tensor::read(&work(model, id)?.steps.first()?.spec))
}

/// The outlets that one's channels are, one after the other: itself, or regions' that a node joins.
fn sources(model: &TypedModel, outlet: OutletId) -> Vec<OutletId> {
    let node = model.node(outlet.node);
    let is_joined = node.op_as::<TypedConcat>().is_some_and(|concat| concat.axis == 1)
        && node.inputs.iter().all(|part| {
            let plain = work(model, part.node).filter(|work| work.view.is_none());
            plain.is_some_and(|work| work.last().spec.layout == Layout::ChannelsFirst)
        });
    if is_joined { node.inputs.to_vec() } else { vec![outlet] }
}

/// The tensors that a region reads, if they are what other regions give.
fn read(model: &TypedModel, id: usize) -> Option<Vec<OutletId>> {
    let takes = input(model, id)?;
    let from = sources(model, model.node(id).inputs[0]);
    let parts = from.iter().map(|part| tensor(model, part.node)).collect::<Option<Vec<_>>>()?;
    let channels = parts.iter().map(|part| part.channels).sum();
    let fits = |part: &Tensor| Tensor { channels, ..part.clone() } == takes;
    let all_fit = parts.iter().all(fits) && from.iter().all(|part| !is_left(model, *part));
    all_fit.then_some(from)
}

/// Whether a node that is left reads what a region gives, or the model gives it. Such a region ends
/// its program: it would be long before others read it, from far away.
fn is_left(model: &TypedModel, outlet: OutletId) -> bool {
    let readers = |outlet: OutletId| model.node(outlet.node).outputs[0].successors.iter();
    let is_kept = |at: &InletId| work(model, at.node).is_some();
    let is_joined = |at: &InletId| {
        let whole = OutletId::new(at.node, 0);
        sources(model, whole).len() > 1
            && !model.outputs.contains(&whole)
            && readers(whole).all(|at| is_kept(at) && at.slot == 0)
    };
    model.outputs.contains(&outlet) || !readers(outlet).all(|at| is_kept(at) || is_joined(at))
}

/// The tensor that a region adds, if a region gives it.
fn added(model: &TypedModel, id: usize) -> Option<OutletId> {
    let residual = *model.node(id).inputs.get(1)?;
    let fits = tensor(model, residual.node)? == tensor(model, id)?;
    (fits && !is_left(model, residual)).then_some(residual)
}

/// Which regions are one program.
#[derive(Default)]
struct Parts {
    /// Regions, in the order of a run.
    order: Vec<usize>,
    /// By node: how many times at most the way to it leaves a program. What is of one program is
    /// of one level, so that nothing of it stands behind what reads it.
    level: HashMap<usize, usize>,
    /// By region, another that is of the same program; the first one itself.
    same: HashMap<usize, usize>,
}

impl Parts {
    fn of(model: &TypedModel) -> TractResult<Parts> {
        let mut parts = Parts::default();
        for id in model.eval_order()? {
            let node = model.node(id);
            let outside = |outlet: &OutletId| {
                let leaves = usize::from(work(model, outlet.node).is_some());
                parts.level.get(&outlet.node).map_or(0, |level| level + leaves)
            };
            if work(model, id).is_none() {
                let level = node.inputs.iter().map(outside).max().unwrap_or(0);
                parts.level.insert(id, level);
                continue;
            }
            let alike = |from: &Vec<OutletId>| {
                from.iter().all(|part| parts.level[&part.node] == parts.level[&from[0].node])
            };
            let mut near = read(model, id).filter(alike).unwrap_or_default();
            let mut far = near.is_empty().then_some(node.inputs[0]).into_iter().collect::<Vec<_>>();
            match added(model, id) {
                Some(residual) => near.push(residual),
                None => far.extend(node.inputs.get(1)),
            }
            let levels = near.iter().map(|outlet| parts.level[&outlet.node]);
            let level = levels.chain(far.iter().map(outside)).max().unwrap_or(0);
            near.retain(|outlet| parts.level[&outlet.node] == level);
            parts.level.insert(id, level);
            parts.order.push(id);
            parts.same.insert(id, id);
            for neighbour in near {
                let (a, b) = (parts.first(id), parts.first(neighbour.node));
                parts.same.insert(a.max(b), a.min(b));
            }
        }
        Ok(parts)
    }

    fn first(&self, mut id: usize) -> usize {
        while self.same[&id] != id {
            id = self.same[&id];
        }
        id
    }

    /// The regions of each program of several, in the order of a run.
    fn lists(&self) -> Vec<Vec<usize>> {
        let mut lists: Vec<(usize, Vec<usize>)> = Vec::new();
        for &id in &self.order {
            let first = self.first(id);
            match lists.iter_mut().find(|(known, _)| *known == first) {
                Some((_, list)) => list.push(id),
                None => lists.push((first, vec![id])),
            }
        }
        lists.into_iter().map(|(_, list)| list).filter(|list| list.len() > 1).collect()
    }
}

/// Regions as one.
struct Joined {
    work: Work,
    inputs: Vec<OutletId>,
    /// What the new region's outputs are in the place of.
    outputs: Vec<OutletId>,
}

/// Where a step's tensor comes from.
enum From {
    /// An input of the program, by position.
    Input(usize),
    /// A step behind the inputs, by position.
    Step(usize),
}

impl Joined {
    fn of(model: &TypedModel, members: &[usize]) -> Option<Joined> {
        let mut inputs: Vec<(OutletId, Tensor)> = Vec::new();
        let mut taken = |outlet: OutletId, tensor: Tensor| {
            let known = (outlet, tensor);
            let at = inputs.iter().position(|input| *input == known);
            From::Input(at.unwrap_or_else(|| {
                inputs.push(known);
                inputs.len() - 1
            }))
        };
        let mut steps: Vec<(Step, Vec<From>, Option<From>)> = Vec::new();
        // The step that gives what a member gives.
        let mut gives: HashMap<usize, usize> = HashMap::new();
        let mut folded = Vec::new();
        for &id in members {
            let (work, node) = (work(model, id)?, model.node(id));
            let inside = |outlet: &OutletId| gives.get(&outlet.node).copied().map(From::Step);
            let from = read(model, id).and_then(|from| from.iter().map(inside).collect());
            let residual = added(model, id).as_ref().and_then(inside);
            let takes = input(model, id)?;
            let from = from.unwrap_or_else(|| vec![taken(node.inputs[0], takes)]);
            let residual = match (residual, node.inputs.get(1)) {
                (None, Some(&outlet)) => Some(taken(outlet, tensor(model, id)?)),
                (residual, _) => residual,
            };
            let (first, last) = (steps.len(), steps.len() + work.steps.len() - 1);
            let (mut from, mut residual) = (Some(from), Some(residual));
            for (at, step) in (first..).zip(&work.steps) {
                let from = from.take().unwrap_or_else(|| vec![From::Step(at - 1)]);
                let residual = if at == last { residual.take().flatten() } else { None };
                let step = Step { name: node.name.clone(), ..step.clone() };
                steps.push((step, from, residual));
            }
            gives.insert(id, last);
            folded.extend(&work.folded);
        }
        // The only one is what the first step reads: it needs no step of its own.
        let declared = if inputs.len() == 1 { &[][..] } else { &inputs[..] };
        let number = |from: &From| match from {
            From::Input(at) if declared.is_empty() => *at,
            From::Input(at) => at + 1,
            From::Step(at) => declared.len() + at + 1,
        };
        let given = declared.iter().map(|(_, tensor)| tensor.declared());
        let computed = steps.iter().map(|(step, from, residual)| Step {
            from: from.iter().map(number).collect(),
            residual: residual.as_ref().map(number),
            ..step.clone()
        });
        let steps = given.chain(computed).collect();
        let outputs = outputs(model, members);
        let given = |output: &OutletId| {
            Some((number(&From::Step(*gives.get(&output.node)?)), shape(model, *output)?))
        };
        let given = outputs.iter().map(given).collect::<Option<_>>()?;
        let work = Work { steps, view: None, outputs: given, folded };
        let inputs = inputs.into_iter().map(|(outlet, _)| outlet).collect();
        Some(Joined { work, inputs, outputs })
    }

    fn patch(self, model: &TypedModel) -> TractResult<TypedModelPatch> {
        let mut patch = TypedModelPatch::default();
        let inputs = patch.taps(model, &self.inputs)?;
        let name = self.outputs.last().map_or("", |output| &model.node(output.node).name);
        let wires = patch.wire_node(name, Region(Arc::new(self.work)), &inputs)?;
        for (output, wire) in self.outputs.into_iter().zip(wires) {
            patch.shunt_outside(model, output, wire)?;
        }
        Ok(patch)
    }
}

/// What others read of these regions, or the model gives.
fn outputs(model: &TypedModel, members: &[usize]) -> Vec<OutletId> {
    // A joined tensor that a member reads as a whole has no other form for those outside.
    let outside = |outlet: OutletId| {
        let mut readers = model.node(outlet.node).outputs[0].successors.iter();
        model.outputs.contains(&outlet)
            || readers.any(|reader| {
                let reader = InletId::new(reader.node, reader.slot);
                !inside(model, members, outlet, reader)
            })
    };
    members.iter().map(|&id| OutletId::new(id, 0)).filter(|&outlet| outside(outlet)).collect()
}

/// Whether a reader of a member's output is a member, or joins it for members alone.
fn inside(model: &TypedModel, members: &[usize], outlet: OutletId, reader: InletId) -> bool {
    let takes = |id: usize, slot: usize, outlet: OutletId| {
        let inside = match slot {
            0 => read(model, id)
                .is_some_and(|from| from.iter().all(|part| members.contains(&part.node))),
            _ => added(model, id) == Some(outlet),
        };
        inside && members.contains(&id)
    };
    if takes(reader.node, reader.slot, outlet) {
        return true;
    }
    let joined = OutletId::new(reader.node, 0);
    sources(model, joined).len() > 1
        && !model.outputs.contains(&joined)
        && model.node(reader.node).outputs[0]
            .successors
            .iter()
            .all(|last| takes(last.node, last.slot, joined) && last.slot == 0)
}

/// The extents of a tensor in the graph.
fn shape(model: &TypedModel, outlet: OutletId) -> Option<Vec<usize>> {
    Some(model.outlet_fact(outlet).ok()?.shape.as_concrete()?.to_vec())
}
