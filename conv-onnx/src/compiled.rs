//! Regions become nodes that run machine code.
//!
//! Requires a folded graph. Gives nodes with the op [`Compiled`], whose weights are packed; the
//! regions' own copies of the weights are gone with them.

use std::sync::Arc;

use conv_ir::Program;
use conv_jit::{Options, Packed, StepWeights};
use tract_onnx::tract_core::internal::*;

use crate::outputs::Outputs;
use crate::quantised::{Layer, Run};
use crate::region::{Region, Work};

/// A compiled program as a node.
#[derive(Clone, Debug)]
pub struct Compiled(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    /// The extents of what it gives.
    shapes: Vec<TVec<usize>>,
    folded: Vec<&'static str>,
    /// The node that each step was joined from.
    names: Vec<String>,
    /// Those of all nodes.
    outputs: Arc<Outputs>,
}

/// What runs.
#[derive(Debug)]
enum Code {
    /// With its weights. The node's inputs are the program's, and the residual where one comes from
    /// outside of it.
    Packed(Packed<f32>),
    /// One step, whose weights are the node's second input.
    Scaling(conv_jit::Compiled),
    /// A layer of bytes.
    Bytes(Box<dyn Run>, DatumType),
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Compiled) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Compiled {}

/// Compiles every region and layer.
pub fn compile(
    model: &mut TypedModel,
    options: &Options,
    outputs: &Arc<Outputs>,
) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let compiled = if let Some(region) = node.op_as::<Region>() {
            Compiled::new(&region.0, options, outputs)?
        } else if let Some(layer) = node.op_as::<Layer>() {
            Compiled::bytes(layer, options, outputs)?
        } else {
            continue;
        };
        TypedModelPatch::replace_single_op(model, node, &node.inputs, compiled)?.apply(model)?;
    }
    model.compact()
}

impl Compiled {
    fn new(work: &Work, options: &Options, outputs: &Arc<Outputs>) -> TractResult<Compiled> {
        let program = work.program()?;
        let shapes = work.output_shapes()?.into_iter().map(TVec::from).collect();
        let compiled = conv_jit::Compiled::new(program, options.clone())?;
        let steps = work.steps.iter().zip(compiled.program().convs());
        let weights: Vec<StepWeights<'_, f32>> = steps
            .map(|(step, conv)| StepWeights {
                weight: &step.weight,
                bias: conv.spec().bias.then_some(&step.bias[..]),
            })
            .collect();
        let code = Code::Packed(compiled.pack_steps(&weights)?);
        let (folded, outputs) = (work.folded.clone(), outputs.clone());
        let names = work.steps.iter().map(|step| step.name.clone()).collect();
        Ok(Compiled(Arc::new(Inner { code, shapes, folded, names, outputs })))
    }

    fn bytes(layer: &Layer, options: &Options, outputs: &Arc<Outputs>) -> TractResult<Compiled> {
        let code = Code::Bytes(layer.compiled(options)?, layer.0.dtype);
        let (shapes, folded) = (vec![layer.0.output.clone()], layer.0.folded.clone());
        let (names, outputs) = (Vec::new(), outputs.clone());
        Ok(Compiled(Arc::new(Inner { code, shapes, folded, names, outputs })))
    }

    /// A depthwise convolution whose weights are the node's second input.
    pub fn scaling(
        program: Program,
        output: TVec<usize>,
        options: &Options,
        outputs: &Arc<Outputs>,
    ) -> TractResult<Compiled> {
        let code = Code::Scaling(conv_jit::Compiled::new(program, options.clone())?);
        let (shapes, folded, outputs) = (vec![output], Vec::new(), outputs.clone());
        Ok(Compiled(Arc::new(Inner { code, shapes, folded, names: Vec::new(), outputs })))
    }

    fn program(&self) -> &Program {
        match &self.0.code {
            Code::Packed(packed) => packed.program(),
            Code::Scaling(compiled) => compiled.program(),
            Code::Bytes(run, _) => run.program(),
        }
    }

    /// What it computes, as text, with what was folded in.
    pub fn describe(&self) -> String {
        in_short(&self.program().to_string().replace('\n', "; "))
    }

    /// The groups of steps that it runs one after the other, where they are several: the nodes that
    /// they were joined from, and what each computes.
    pub fn groups(&self) -> Vec<(String, String)> {
        let Code::Packed(packed) = &self.0.code else { return Vec::new() };
        let compiled = packed.compiled();
        let groups = compiled.groups().iter().map(|group| {
            let steps = group.group.steps.clone();
            let convs = &compiled.rewritten().program.steps()[steps.clone()];
            let mut names: Vec<&str> = compiled.rewritten().origins[steps]
                .iter()
                .filter_map(|&origin| self.0.names.get(origin).map(String::as_str))
                .collect();
            names.dedup();
            let texts: Vec<String> = convs.iter().map(|step| step.conv.to_string()).collect();
            (names.join(", "), in_short(&texts.join("; ")))
        });
        Some(groups.collect()).filter(|groups: &Vec<_>| groups.len() > 1).unwrap_or_default()
    }

    /// What was folded into the convolutions, in order.
    pub fn folded(&self) -> &[&'static str] {
        &self.0.folded
    }

    /// Convolutions in it.
    pub fn convolutions(&self) -> usize {
        let convs = self.program().convs();
        convs.filter(|conv| conv.spec().reduction.has_weight()).count()
    }

    /// Steps of pooling in it, sums and activations of their own not counted.
    pub fn pools(&self) -> usize {
        let steps = self.program().steps().iter();
        let is_pool = |step: &&conv_ir::program::Step| {
            let is_window = step.conv.kernel_volume() > 1;
            let is_copy = step.conv.input_shape() == step.conv.output_shape();
            !step.conv.spec().reduction.has_weight() && (is_window || !is_copy)
        };
        steps.filter(is_pool).count()
    }
}

/// A description on a line. Of several scales the first alone is said.
fn in_short(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once(',') {
        Some((first, rest)) if first.parse::<f64>().is_ok() && rest.contains(',') => {
            format!("{first},.. ({})", rest.split(',').count() + 1)
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
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
        self.run(&inputs, &|_| {})
    }
}

impl Compiled {
    /// Runs; `watch` is called before each group of steps, with its number, and behind the last.
    pub fn run(
        &self,
        inputs: &[TValue],
        watch: &(dyn Fn(usize) + Sync),
    ) -> TractResult<TVec<TValue>> {
        let Inner { code, shapes, outputs, .. } = &*self.0;
        if let Code::Bytes(run, dtype) = code {
            let result = outputs.of(*dtype, &shapes[0], |result| run.run(&inputs[0], result))?;
            return Ok(tvec!(TValue::from_const(result)));
        }
        let plain: Vec<_> =
            inputs.iter().map(|input| input.try_as_plain_ram()).collect::<TractResult<_>>()?;
        let slices: Vec<&[f32]> =
            plain.iter().map(|plain| plain.as_slice::<f32>()).collect::<TractResult<_>>()?;
        let scaling;
        let (packed, others) = match code {
            Code::Packed(packed) => (packed, &slices[1..]),
            Code::Scaling(compiled) => {
                scaling = compiled.pack(slices[1], None)?;
                (&scaling, &slices[2..])
            }
            Code::Bytes(..) => bail!("a layer of bytes runs by itself"),
        };
        // Those of the program stand first.
        let (others, residual) = others.split_at(packed.program().inputs().len() - 1);
        let results = outputs.all_written(shapes, |results| {
            let mut results = results.into_iter();
            let first = results.next().context("a program gives something")?;
            let call = packed.call(slices[0], first).other_outputs(results).watched(watch);
            let call = call.other_inputs(others.iter().copied());
            let call = residual.iter().fold(call, |call, slice| call.residual(slice));
            Ok(call.run()?)
        })?;
        Ok(results.into_iter().map(TValue::from_const).collect())
    }
}

impl TypedOp for Compiled {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let dtype = match &self.0.code {
            Code::Bytes(_, dtype) => *dtype,
            _ => f32::datum_type(),
        };
        Ok(self.0.shapes.iter().map(|shape| dtype.fact(shape)).collect())
    }

    as_op!();
}
