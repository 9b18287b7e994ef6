//! A region: convolutions of a graph that one compiled program will compute.
//!
//! In: a `Conv` or `Deconv` node. Out: a node with the op [`Region`], which knows its weights and
//! has the tensors that vary as inputs: the input, and the residual where it adds one from outside.
//! Folding replaces it by a region that does more, joining by one of more steps, with all inputs of
//! their program; [`compile`](crate::compiled) ends it.

use std::sync::Arc;

use crate::node::op;
use conv_ir::program::Step as ProgramStep;
use conv_ir::{Activation, Conv, ConvSpec, Program};
use tract_onnx::tract_core::internal::*;

/// One convolution with its weights.
#[derive(Clone, Debug)]
pub struct Step {
    /// Sizes are known.
    pub spec: ConvSpec,
    /// In the order of [`Conv::weight_shape`]. Regions that take each other's place share them.
    pub weight: Arc<Vec<f32>>,
    /// One per output channel; all zero where the convolution adds none.
    pub bias: Vec<f32>,
    /// The tensors of the program that it reads. None: the one before it.
    pub from: Vec<usize>,
    /// The tensor of the program that it adds. None: the caller's, or none at all.
    pub residual: Option<usize>,
    /// It declares an input of the program, which is what a pool of one element gives.
    pub given: bool,
    /// The node of the graph that it was joined from.
    pub name: String,
}

/// What is computed: steps in a row until they are joined.
#[derive(Clone, Debug)]
pub struct Work {
    /// At least one.
    pub steps: Vec<Step>,
    /// How the graph sees it, where that is not as the convolutions do.
    pub view: Option<View>,
    /// The tensors of the program that the node gives, with their extents in the graph. None: what
    /// the last step gives.
    pub outputs: Vec<(usize, Vec<usize>)>,
    /// What was folded into it, in words.
    pub folded: Vec<&'static str>,
}

/// Tensors of the graph whose numbers, in their order, are those of a convolution of other extents.
#[derive(Clone, Debug)]
pub struct View {
    /// The extents of the output in the graph.
    pub output: Vec<usize>,
    /// The axis of the channels, of the input and of the output.
    pub channels: (usize, usize),
}

/// A node of the graph that will be compiled. It is never run.
#[derive(Clone, Debug)]
pub struct Region(pub Arc<Work>);

impl PartialEq for Region {
    fn eq(&self, other: &Region) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Region {}

/// A convolution of each channel by itself.
pub fn depthwise(
    (batch, channels): (usize, usize),
    spatial: Vec<usize>,
    kernel: Vec<usize>,
) -> ConvSpec {
    ConvSpec {
        batch: batch.into(),
        in_channels: channels,
        out_channels: channels,
        groups: channels,
        ..ConvSpec::new(spatial, kernel)
    }
}

impl Step {
    /// Of these weights, without biases.
    pub fn of(spec: ConvSpec, weight: Vec<f32>) -> Step {
        let bias = vec![0.0; spec.out_channels];
        let weight = Arc::new(weight);
        let (from, name) = (Vec::new(), String::new());
        Step { spec, weight, bias, from, residual: None, given: false, name }
    }

    /// Pooling, which has no weights.
    pub fn pool(spec: ConvSpec) -> Step {
        Step::of(spec, Vec::new())
    }

    /// The checked convolution.
    pub fn conv(&self) -> Result<Conv, conv_ir::Error> {
        let bias = self.bias.iter().any(|&b| b != 0.0);
        Conv::new(ConvSpec { bias, ..self.spec.clone() })
    }

    /// Output channel `o` times `by(o)`, in weights and bias.
    pub fn scale_output(&mut self, by: impl Fn(usize) -> f32) {
        let channels = self.bias.len();
        self.scale(|step, at| by(step.output_channel(at)));
        (0..channels).for_each(|o| self.bias[o] *= by(o));
    }

    /// Input channel `i` times `by(i)`, in the weights.
    pub fn scale_input(&mut self, by: impl Fn(usize) -> f32) {
        self.scale(|step, at| by(step.input_channel(at)));
    }

    fn scale(&mut self, by: impl Fn(&Step, usize) -> f32) {
        let mut weight = std::mem::take(&mut self.weight);
        let own = Arc::make_mut(&mut weight).iter_mut().enumerate();
        own.for_each(|(at, weight)| *weight *= by(self, at));
        self.weight = weight;
    }

    fn taps(&self) -> usize {
        self.spec.kernel.iter().product()
    }

    /// Channels of a group: input, output.
    fn of_group(&self) -> (usize, usize) {
        let spec = &self.spec;
        (spec.in_channels / spec.groups, spec.out_channels / spec.groups)
    }

    /// Of the weight at position `at`.
    pub fn output_channel(&self, at: usize) -> usize {
        let (inputs, outputs) = self.of_group();
        let row = at / self.taps();
        match self.spec.transposed {
            false => row / inputs,
            true => row / outputs / inputs * outputs + row % outputs,
        }
    }

    /// Of the weight at position `at`.
    pub fn input_channel(&self, at: usize) -> usize {
        let (inputs, outputs) = self.of_group();
        let row = at / self.taps();
        match self.spec.transposed {
            false => row / inputs / outputs * inputs + row % inputs,
            true => row / outputs,
        }
    }
}

impl Work {
    /// One step, of tensors as the graph has them.
    pub fn of(step: Step) -> Work {
        Work { steps: vec![step], view: None, outputs: Vec::new(), folded: Vec::new() }
    }

    /// The extents of the last step's output in the graph.
    pub fn output_shape(&self) -> Result<Vec<usize>, conv_ir::Error> {
        match &self.view {
            Some(view) => Ok(view.output.clone()),
            None => Ok(self.last().conv()?.output_shape().unwrap_or_default()),
        }
    }

    /// The extents of all outputs in the graph.
    pub fn output_shapes(&self) -> Result<Vec<Vec<usize>>, conv_ir::Error> {
        match &self.outputs[..] {
            [] => Ok(vec![self.output_shape()?]),
            outputs => Ok(outputs.iter().map(|(_, shape)| shape.clone()).collect()),
        }
    }

    /// The axis of the channels in the graph, of the input and of the output.
    pub fn channel_axes(&self) -> (usize, usize) {
        self.view.as_ref().map_or((1, 1), |view| view.channels)
    }

    /// The step whose output is the node's.
    pub fn last(&self) -> &Step {
        // There is always one: `found` makes it, and nothing takes it away.
        &self.steps[self.steps.len() - 1]
    }

    /// A copy whose last step is changed, which is noted.
    pub fn with(&self, what: &'static str, change: impl FnOnce(&mut Step)) -> Region {
        let mut work = self.clone();
        if let Some(last) = work.steps.last_mut() {
            change(last);
        }
        work.folded.push(what);
        Region(Arc::new(work))
    }

    /// Whether an activation or a residual can still be folded behind the last step.
    pub fn activation(&self) -> Option<Activation> {
        self.last().spec.activation.clone()
    }

    /// What conv-jit compiles.
    pub fn program(&self) -> Result<Program, conv_ir::Error> {
        let step = |step: &Step| {
            let Step { from, residual, given, .. } = step.clone();
            Ok(ProgramStep { conv: step.conv()?, from, residual, given })
        };
        let steps: Result<Vec<ProgramStep>, conv_ir::Error> = self.steps.iter().map(step).collect();
        match &self.outputs[..] {
            [] => Program::with_residuals_from_outside(steps?),
            outputs => Program::new_giving(steps?, outputs.iter().map(|(at, _)| *at).collect()),
        }
    }
}

op!(Region, "Region", |own, _inputs| {
    own.0.output_shapes()?.into_iter().map(f32::fact).collect()
});
