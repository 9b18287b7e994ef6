//! Regions become nodes that run machine code.
//!
//! Requires a folded graph. Gives nodes with the op [`Compiled`], whose weights are packed; the
//! regions' own copies of the weights are gone with them.

use std::sync::Arc;

use conv_jit::{Options, Packed, StepWeights};
use tract_onnx::tract_core::internal::*;

use crate::outputs::Outputs;
use crate::region::{Region, Work};

/// A compiled program as a node.
#[derive(Clone, Debug)]
pub struct Compiled(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    packed: Packed<f32>,
    output: TVec<usize>,
    folded: Vec<&'static str>,
    /// Those of all nodes.
    outputs: Arc<Outputs>,
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Compiled) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Compiled {}

/// Compiles every region.
pub fn compile(model: &mut TypedModel, options: &Options) -> TractResult<()> {
    let outputs = Arc::new(Outputs::default());
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(region) = node.op_as::<Region>() else { continue };
        let compiled = Compiled::new(&region.0, options, &outputs)?;
        TypedModelPatch::replace_single_op(model, node, &node.inputs, compiled)?.apply(model)?;
    }
    model.compact()
}

impl Compiled {
    fn new(work: &Work, options: &Options, outputs: &Arc<Outputs>) -> TractResult<Compiled> {
        let program = work.program()?;
        let output = program.output_shape().into();
        let compiled = conv_jit::Compiled::new(program, options.clone())?;
        let steps = work.steps.iter().zip(compiled.program().convs());
        let weights: Vec<StepWeights<'_, f32>> = steps
            .map(|(step, conv)| StepWeights {
                weight: &step.weight,
                bias: conv.spec().bias.then_some(&step.bias[..]),
            })
            .collect();
        let packed = compiled.pack_steps(&weights)?;
        Ok(Compiled(Arc::new(Inner {
            packed,
            output,
            folded: work.folded.clone(),
            outputs: outputs.clone(),
        })))
    }

    /// What it computes, as text, with what was folded in.
    pub fn describe(&self) -> String {
        let Inner { packed, .. } = &*self.0;
        packed.program().to_string().replace('\n', "; ")
    }

    /// What was folded into the convolutions, in order.
    pub fn folded(&self) -> &[&'static str] {
        &self.0.folded
    }

    /// Convolutions in it.
    pub fn convolutions(&self) -> usize {
        let convs = self.0.packed.program().convs();
        convs.filter(|conv| conv.spec().reduction.has_weight()).count()
    }

    /// Steps of pooling in it.
    pub fn pools(&self) -> usize {
        self.0.packed.program().steps().len() - self.convolutions()
    }
}

impl Op for Compiled {
    fn name(&self) -> StaticName {
        "Compiled".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![self.describe()])
    }

    op_as_typed_op!();
}

impl EvalOp for Compiled {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Inner { packed, output, outputs, .. } = &*self.0;
        let plain: Vec<_> =
            inputs.iter().map(|input| input.try_as_plain_ram()).collect::<TractResult<_>>()?;
        let slices: Vec<&[f32]> =
            plain.iter().map(|plain| plain.as_slice::<f32>()).collect::<TractResult<_>>()?;
        let result = outputs.written(output, |result| {
            let call = packed.call(slices[0], result);
            let call = slices.get(1).into_iter().fold(call, |call, slice| call.residual(slice));
            Ok(call.run()?)
        })?;
        Ok(tvec!(TValue::from_const(result)))
    }
}

impl TypedOp for Compiled {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.0.output)))
    }

    as_op!();
}
