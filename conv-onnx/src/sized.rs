//! A model for inputs of certain shapes: the way from tract's graph to what runs.
//!
//! ```text
//! parsed graph --shapes--> typed --crops, picks--> as ONNX means it
//!   --quantised--> layers of bytes --found--> regions
//!   --declutter, matmul, pools, resize--> more regions --fold--> fewer nodes
//!   --join--> regions of several steps --compiled--> machine code --tract's optimiser--> plan
//! ```
//!
//! The bodies of loops go the same way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::scan::Scan;
use tract_onnx::tract_core::plan::eval;

use crate::compiled::Compiled;
use crate::error::tract;
use crate::found::Left;
use crate::options::{Options, Route};
use crate::outputs::Outputs;
use crate::{
    Error, Tensor, compiled, crops, fold, found, halves, join, matmul, normalise, outputs, picks,
    pools, quantised, resize, scale,
};

/// What runs, for one set of input shapes.
#[derive(Debug)]
pub(crate) struct Sized {
    plan: Arc<TypedRunnableModel>,
    /// Convolutions that tract runs, and why.
    pub left: Vec<Left>,
    /// Of the outputs, where the graph computes in f32 what the file has in f16.
    types: Vec<DatumType>,
    /// How long it took to make.
    pub took: Duration,
}

impl Sized {
    pub fn new(
        parsed: &InferenceModel,
        facts: &[InferenceFact],
        options: &Options,
    ) -> Result<Sized, Error> {
        let start = Instant::now();
        outputs::keep_blocks();
        let mut model = tract("inferring the model's shapes", || {
            let mut model = parsed.clone();
            for (at, fact) in facts.iter().enumerate() {
                model.set_input_fact(at, fact.clone())?;
            }
            let mut model = model.into_typed()?;
            correct(&mut model)?;
            Ok(model)
        })?;
        let (mut left, mut types, kept) = (Vec::new(), Vec::new(), Arc::default());
        if options.route == Route::Compiled {
            types = tract("widening the model's halves", || halves::widen(&mut model))?;
            left = tract("compiling the model's convolutions", || {
                compile(&mut model, &options.jit(), &kept)
            })?;
        }
        let plan = tract("preparing what is left to tract", || {
            if options.route == Route::Tract {
                model.declutter()?;
            }
            model.optimize()?;
            model.into_runnable()
        })?;
        Ok(Sized { plan, left, types, took: start.elapsed() })
    }

    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        tract("running the model", || {
            let mut outputs = Vec::new();
            for (at, output) in self.plan.run(self.values(inputs)?)?.into_iter().enumerate() {
                let dtype = self.types.get(at).copied().unwrap_or(output.datum_type());
                outputs.push(Tensor(halves::narrowed(output, dtype)?));
            }
            Ok(outputs)
        })
    }

    fn values(&self, inputs: &[Tensor]) -> TractResult<TVec<TValue>> {
        let is_wide = !self.types.is_empty();
        inputs.iter().map(|input| halves::widened(&input.0, is_wide)).collect()
    }

    /// The same, with the time of each node that was run, in order, and of its groups.
    pub fn run_timed(&self, inputs: &[Tensor]) -> Result<Vec<Timed>, Error> {
        let mut times = Vec::new();
        tract("running the model", || {
            let values = self.values(inputs)?;
            self.plan.spawn()?.run_plan_with_eval(values, |context, state, node, inputs| {
                let begun = Mutex::new(Vec::new());
                let watch = |_| {
                    begun.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                };
                let start = Instant::now();
                let outputs = match node.op_as::<Compiled>() {
                    Some(ours) => ours.run(&inputs, &watch),
                    None => eval(context, state, node, inputs),
                };
                let time = start.elapsed();
                let begun = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
                let groups = begun.windows(2).map(|ends| ends[1] - ends[0]).collect();
                times.push(Timed { node: node.id, time, groups });
                outputs
            })
        })?;
        Ok(times)
    }

    pub fn graph(&self) -> &TypedModel {
        self.plan.model()
    }
}

/// Replaces what is ours by machine code, in the bodies of loops too, which are graphs of their
/// own. What was left, and why.
fn compile(
    model: &mut TypedModel,
    options: &conv_jit::Options,
    kept: &Arc<Outputs>,
) -> TractResult<Vec<Left>> {
    // Weights may be constants behind a reshape.
    model.prop_consts()?;
    quantised::rewrite(model, kept)?;
    model.prop_consts()?;
    let mut left = found::replace(model)?;
    model.declutter()?;
    matmul::replace(model)?;
    pools::replace(model)?;
    resize::replace(model)?;
    fold::fold(model)?;
    join::join(model)?;
    scale::replace(model, options, kept)?;
    normalise::replace(model, kept)?;
    compiled::compile(model, options, kept)?;
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(mut scan) = node.op_as::<Scan>().cloned() else { continue };
        let of_body = compile(&mut scan.body, options, kept)?;
        // What a turn hands to the next may have become a constant: then the loop stays as it was.
        if scan.output_facts(&model.node_input_facts(id)?).is_ok() {
            left.extend(of_body);
            TypedModelPatch::replace_single_op(model, node, &node.inputs, scan)?.apply(model)?;
        }
    }
    model.compact()?;
    Ok(left)
}

/// Mends what tract would get wrong, in the bodies of loops too.
fn correct(model: &mut TypedModel) -> TractResult<()> {
    crops::replace(model)?;
    picks::replace(model)?;
    for id in model.eval_order()? {
        if let Some(scan) = model.node_mut(id).op_as_mut::<Scan>() {
            correct(&mut scan.body)?;
        }
    }
    Ok(())
}

/// How long a node took.
pub struct Timed {
    pub node: usize,
    pub time: Duration,
    /// Of each group of steps, where it is a compiled program.
    pub groups: Vec<Duration>,
}
