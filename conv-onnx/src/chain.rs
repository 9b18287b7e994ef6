//! Regions that follow each other become one, where the model of conv-jit would fuse their steps.
//!
//! ```text
//! x -> region a -> region b -> region c, which adds x   ->   x -> region of three steps
//! ```
//!
//! Requires a folded graph. A region joins the one before it where that has no other reader. Of
//! such a chain those steps become one region that a plan computes in strips, so that tensors
//! between them never exist as a whole; others stay apart, because a tensor between them would lie
//! in the program's scratch as long as the model lives.

use std::ops::Range;
use std::sync::Arc;

use conv_ir::program::plan::Plan;
use conv_jit::Options;
use tract_onnx::tract_core::internal::*;

use crate::region::{Region, Work};

/// Steps of a chain that is planned as a whole. Planning takes time with the square of them.
const MOST_STEPS: usize = 12;

/// Joins what would be fused.
pub fn join(model: &mut TypedModel, options: &Options) -> TractResult<()> {
    for start in model.eval_order()? {
        // The first of a chain: what it reads is no region that it could join.
        if model.node(start).op_is::<Region>() && before(model, start).is_none() {
            for joined in fused(model, start, options) {
                if let Some(patch) = patch(model, &joined)? {
                    patch.apply(model)?;
                }
            }
        }
    }
    model.compact()
}

/// The region before a region, if that has no other reader.
fn before(model: &TypedModel, id: usize) -> Option<usize> {
    let node = model.node(id);
    let producer = model.node(node.inputs.first()?.node);
    (producer.op_is::<Region>() && next(model, producer.id) == Some(id)).then_some(producer.id)
}

/// The region that alone reads a region's output, as its input.
fn next(model: &TypedModel, id: usize) -> Option<usize> {
    let outlet = OutletId::new(id, 0);
    match &model.node(id).outputs[0].successors[..] {
        [reader] if reader.slot == 0 && !model.outputs.contains(&outlet) => {
            model.node(reader.node).op_is::<Region>().then_some(reader.node)
        }
        _ => None,
    }
}

/// The runs of nodes, in the chain that begins at `start`, that a plan fuses.
fn fused(model: &TypedModel, start: usize, options: &Options) -> Vec<Vec<usize>> {
    let mut chain = vec![start];
    let mut found = Vec::new();
    while let Some(id) = chain.last().and_then(|&last| next(model, last)) {
        if chain.len() == MOST_STEPS {
            found.extend(groups(model, &chain, options));
            chain.clear();
        }
        chain.push(id);
    }
    found.extend(groups(model, &chain, options));
    found
}

fn groups(model: &TypedModel, chain: &[usize], options: &Options) -> Vec<Vec<usize>> {
    let Some((work, _)) = joined(model, chain).filter(|_| chain.len() > 1) else {
        return Vec::new();
    };
    let Ok(program) = work.program() else { return Vec::new() };
    let rewritten = program.rewritten(options.accuracy);
    let plan = Plan::choose(&rewritten.program, &options.target, options.threads);
    let steps = plan.groups.iter().map(|group| {
        let origins = &rewritten.origins[group.steps.clone()];
        let (first, last) = (origins[0], origins[origins.len() - 1]);
        Range { start: first, end: last + 1 }
    });
    steps.filter(|steps| steps.len() > 1).map(|steps| chain[steps].to_vec()).collect()
}

/// The regions of a chain as one, and its inputs: the first one's, and the residual from outside.
/// None where two steps add one, or another program than the chain would come out.
fn joined(model: &TypedModel, chain: &[usize]) -> Option<(Work, Vec<OutletId>)> {
    let (mut steps, mut folded, mut outside) = (Vec::new(), Vec::new(), None);
    // Nothing behind asks for more of it than the extents of the last output.
    let mut view = None;
    // Tensors of the program, by the node that gives them.
    let input = *model.node(*chain.first()?).inputs.first()?;
    let mut tensors = vec![input];
    for &id in chain {
        let node = model.node(id);
        let Region(work) = node.op_as::<Region>()?;
        let [step] = &work.steps[..] else { return None };
        let mut step = step.clone();
        if let Some(&residual) = node.inputs.get(1) {
            step.residual = tensors.iter().position(|tensor| *tensor == residual);
            if step.residual.is_none() && outside.replace(residual).is_some() {
                return None;
            }
        }
        steps.push(step);
        folded.extend(&work.folded);
        view.clone_from(&work.view);
        tensors.push(OutletId::new(id, 0));
    }
    let inputs = [input].into_iter().chain(outside).collect();
    Some((Work { steps, view, folded }, inputs))
}

fn patch(model: &TypedModel, chain: &[usize]) -> TractResult<Option<TypedModelPatch>> {
    let Some((work, inputs)) = joined(model, chain) else { return Ok(None) };
    let Some(&last) = chain.last().filter(|_| work.program().is_ok()) else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &inputs)?;
    let wires = patch.wire_node(&model.node(last).name, Region(Arc::new(work)), &inputs)?;
    patch.shunt_outside(model, OutletId::new(last, 0), wires[0])?;
    Ok(Some(patch))
}
