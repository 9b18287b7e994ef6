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

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use conv_ir::conv::Combine;
use conv_ir::{Conv, ConvSpec, Layout, Reduction, Size};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;

use crate::region::{Region, Step, Work};

/// Joins what can be one program.
pub fn join(model: &mut TypedModel) -> TractResult<()> {
    for members in Programs::of(model)?.lists() {
        if let Some(joined) = Joined::of(&Regions::of(model)?, &members)
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

/// What a region adds, or multiplies by.
fn combined(model: &TypedModel, id: usize) -> Option<Tensor> {
    let mut tensor = tensor(model, id)?;
    if work(model, id)?.last().spec.combine == Combine::Scale {
        tensor.extents.fill(1.into());
    }
    Some(tensor)
}

/// What a region reads.
fn input(model: &TypedModel, id: usize) -> Option<Tensor> {
    Some(Tensor::read(&work(model, id)?.steps.first()?.spec))
}

/// The regions of a graph, and who gives and reads their tensors.
struct Regions<'a> {
    model: &'a TypedModel,
    /// By node that joins regions' outputs along the channels, through other such nodes too: them.
    parts: HashMap<usize, Vec<OutletId>>,
    /// By node, a region or one that joins regions' outputs: the regions that read it, through
    /// such nodes too. None where a node that is left reads it, or the model gives it.
    readers: HashMap<usize, Option<Vec<InletId>>>,
    /// By region: the tensors that it reads, if they are what other regions give.
    read: HashMap<usize, Vec<OutletId>>,
}

impl<'a> Regions<'a> {
    fn of(model: &'a TypedModel) -> TractResult<Regions<'a>> {
        let (parts, readers, read) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut regions = Regions { model, parts, readers, read };
        let order = model.eval_order()?;
        for &id in &order {
            if let Some(parts) = regions.joined(id) {
                regions.parts.insert(id, parts);
            }
        }
        for &id in order.iter().rev() {
            if regions.parts.contains_key(&id) || work(model, id).is_some() {
                let readers = regions.read_by(id);
                regions.readers.insert(id, readers);
            }
        }
        for id in order {
            if let Some(read) = regions.given_by_others(id) {
                regions.read.insert(id, read);
            }
        }
        Ok(regions)
    }

    fn joined(&self, id: usize) -> Option<Vec<OutletId>> {
        let node = self.model.node(id);
        node.op_as::<TypedConcat>().filter(|concat| concat.axis == 1)?;
        let mut all = Vec::new();
        for &part in &node.inputs {
            match work(self.model, part.node) {
                Some(work) => {
                    let is_first = work.last().spec.layout == Layout::ChannelsFirst;
                    all.push(Some(part).filter(|_| work.view.is_none() && is_first)?);
                }
                None => all.extend(self.parts.get(&part.node)?),
            }
        }
        Some(all)
    }

    fn read_by(&self, id: usize) -> Option<Vec<InletId>> {
        let is_joined = self.parts.contains_key(&id);
        let mut all = Vec::new();
        for &reader in &self.model.node(id).outputs[0].successors {
            match work(self.model, reader.node) {
                Some(_) if is_joined && reader.slot != 0 => return None,
                Some(_) => all.push(reader),
                None => all.extend(self.readers.get(&reader.node)?.as_ref()?),
            }
        }
        (!self.model.outputs.contains(&id.into())).then_some(all)
    }

    /// The outlets that one's channels are, one after the other.
    fn sources(&self, outlet: OutletId) -> Vec<OutletId> {
        self.parts.get(&outlet.node).cloned().unwrap_or_else(|| vec![outlet])
    }

    /// The tensors that a region reads, if they are what other regions give.
    fn read(&self, id: usize) -> Option<&Vec<OutletId>> {
        self.read.get(&id)
    }

    fn given_by_others(&self, id: usize) -> Option<Vec<OutletId>> {
        let takes = input(self.model, id)?;
        let from = self.sources(self.model.node(id).inputs[0]);
        let parts = from.iter().map(|part| tensor(self.model, part.node));
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let channels = parts.iter().map(|part| part.channels).sum();
        let fits = |part: &Tensor| Tensor { channels, ..part.clone() } == takes;
        let all_fit = parts.iter().all(fits) && from.iter().all(|part| !self.is_left(*part));
        all_fit.then_some(from)
    }

    /// Whether a node that is left reads what a region gives, or the model gives it. Such a region
    /// ends its program: it would be long before others read it, from far away.
    fn is_left(&self, outlet: OutletId) -> bool {
        self.readers.get(&outlet.node).is_none_or(Option::is_none)
    }

    /// The tensor that a region adds, or multiplies by, if a region gives it.
    fn added(&self, id: usize) -> Option<OutletId> {
        let residual = *self.model.node(id).inputs.get(1)?;
        let fits = tensor(self.model, residual.node)? == combined(self.model, id)?;
        (fits && !self.is_left(residual)).then_some(residual)
    }

    /// What others than these regions read of them, or the model gives.
    fn outputs(&self, members: &[usize]) -> Vec<OutletId> {
        let all: HashSet<usize> = members.iter().copied().collect();
        let takes = |outlet: OutletId, reader: &InletId| {
            let inside = match reader.slot {
                0 => self
                    .read(reader.node)
                    .is_some_and(|from| from.iter().all(|part| all.contains(&part.node))),
                _ => self.added(reader.node) == Some(outlet),
            };
            inside && all.contains(&reader.node)
        };
        let inside = |outlet: OutletId| {
            let readers = self.readers.get(&outlet.node).and_then(Option::as_ref);
            readers.is_some_and(|readers| readers.iter().all(|reader| takes(outlet, reader)))
        };
        let all = members.iter().map(|&id| OutletId::new(id, 0));
        all.filter(|&outlet| !inside(outlet)).collect()
    }
}

/// Which regions are one program.
#[derive(Default)]
struct Programs {
    /// Regions, in the order of a run.
    order: Vec<usize>,
    /// By node: how many times at most the way to it leaves a program. What is of one program is
    /// of one level, so that nothing of it stands behind what reads it.
    level: HashMap<usize, usize>,
    /// By region, another that is of the same program; the first one itself.
    same: HashMap<usize, usize>,
}

impl Programs {
    fn of(model: &TypedModel) -> TractResult<Programs> {
        let (mut parts, regions) = (Programs::default(), Regions::of(model)?);
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
            let mut near = regions.read(id).cloned().filter(alike).unwrap_or_default();
            let mut far = near.is_empty().then_some(node.inputs[0]).into_iter().collect::<Vec<_>>();
            match regions.added(id) {
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
    fn of(regions: &Regions<'_>, members: &[usize]) -> Option<Joined> {
        let model = regions.model;
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
            let from = regions.read(id).and_then(|from| from.iter().map(inside).collect());
            let residual = regions.added(id).as_ref().and_then(inside);
            let takes = input(model, id)?;
            let from = from.unwrap_or_else(|| vec![taken(node.inputs[0], takes)]);
            let residual = match (residual, node.inputs.get(1)) {
                (None, Some(&outlet)) => Some(taken(outlet, combined(model, id)?)),
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
        let outputs = regions.outputs(members);
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

/// The extents of a tensor in the graph.
fn shape(model: &TypedModel, outlet: OutletId) -> Option<Vec<usize>> {
    Some(model.outlet_fact(outlet).ok()?.shape.as_concrete()?.to_vec())
}
