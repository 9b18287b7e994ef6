//! What follows a convolution becomes a part of it.
//!
//! Requires a decluttered graph with regions. Gives the same graph with fewer nodes. The rules, in
//! this order, until none applies:
//!
//! ```text
//! parts of region(x)'s channels      -> region(x) of those, each              `parts`
//! region(x)[.., a..b]                -> region(x) of less padding             `crop`
//! act(region(x))                     -> region(x) with that activation        `activation`
//! if y < 0 { y * slopes } else { y } -> region(x) with prelu                  `prelu`
//! region(x) * a + b                  -> weights * a, bias * a + b             `affine::behind`
//! region(x) + y                      -> region(x) that adds y                 `residual`
//! region(x * a + b)                  -> weights * a, bias + b * sum(weights)  `affine::before`
//! region(pad(x))                     -> region(x) with that padding           `pad`
//! region(x[::2] and x[1::2])         -> region(x) of twice the stride         `focus`
//! x + x * s                          -> x * (s + 1)                           `excitation`
//! log(softmax(x))                    -> log-softmax(x)                        `softmax::log`
//! ```
//!
//! and then, of what is left:
//!
//! ```text
//! y * a + b                          -> region(y)                             `alone`
//! nearest resizing of region(x)      -> region(region(x))                     `resize::copied`
//! act, sum or product of regions     -> region(region(x), ..)                 `steps`
//! ```
//!
//! Whatever a region takes in has no other reader, and is no output of the model. Results differ
//! from the graph's by the rounding of weights and biases.

pub mod activation;
mod affine;
mod alone;
mod crop;
mod excitation;
mod focus;
mod pad;
mod parts;
mod prelu;
mod residual;
mod softmax;
mod steps;

use tract_onnx::tract_core::internal::*;

use crate::region::Region;
use crate::resize;

type Rule = fn(&TypedModel, &TypedNode) -> TractResult<Option<TypedModelPatch>>;

/// In their order: a factor behind an activation may be a part of its spelling, so that it moves on
/// only where no activation is left to be found.
const RULES: [Rule; 11] = [
    parts::fold,
    crop::fold,
    activation::fold,
    prelu::fold,
    affine::behind,
    residual::fold,
    affine::before,
    pad::fold,
    focus::fold,
    excitation::fold,
    softmax::log,
];

/// Folds what it can.
pub fn fold(model: &mut TypedModel) -> TractResult<()> {
    // Each rule that applies removes a node, or something that it does not leave behind, so that
    // this ends.
    while try_rules(model)? {}
    if alone::replace(model)? | resize::copied(model)? {
        while try_rules(model)? {}
    }
    steps::replace(model)?;
    // What is copied may be what a step gives.
    while resize::copied(model)? {
        while try_rules(model)? {}
        steps::replace(model)?;
    }
    model.compact()
}

/// Applies the first rule that fits anywhere, everywhere.
fn try_rules(model: &mut TypedModel) -> TractResult<bool> {
    for rule in RULES {
        let mut changed = false;
        // Last ones first: of two regions whose outputs are added, the later one can add the
        // other's.
        for id in model.eval_order()?.into_iter().rev() {
            // What an earlier fold took away is there as a dummy, which no rule knows.
            let Some(patch) = rule(model, model.node(id))? else { continue };
            patch.apply(model)?;
            changed = true;
        }
        if changed {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A region that may take in what follows.
fn region(node: &TypedNode) -> Option<&Region> {
    node.op_as::<Region>()
}

/// The one reader of a node's output, which nobody else sees.
pub fn only_reader<'a>(model: &'a TypedModel, node: &TypedNode) -> Option<&'a TypedNode> {
    let outlet = OutletId::new(node.id, 0);
    match &node.outputs.first()?.successors[..] {
        [reader] if !model.outputs.contains(&outlet) => Some(model.node(reader.node)),
        _ => None,
    }
}

/// A region in the place of `last`, which is it or stands behind it.
fn put(
    model: &TypedModel,
    node: &TypedNode,
    inputs: &[OutletId],
    region: Region,
    last: usize,
) -> TractResult<Option<TypedModelPatch>> {
    // What our rules would not take stays as it is.
    if region.0.program().is_err() {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, inputs)?;
    let wires = patch.wire_node(&node.name, region, &inputs)?;
    patch.shunt_outside(model, OutletId::new(last, 0), wires[0])?;
    Ok(Some(patch))
}
