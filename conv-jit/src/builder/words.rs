//! What is said: of the last step, and of the whole program.

use std::sync::Arc;

use conv_ir::conv::Combine;
use conv_ir::program::Tuning;
use conv_ir::program::plan::Plan;
use conv_ir::separate::Accuracy;
use conv_ir::{
    Activation, Layout, Padding, PaddingMode, PerAxis, Schedule, Size, Stored, Target, Types,
};

use super::{Builder, Residual, Said};

const EARLY: &str = "said before there is a step that it could be about";

fn exact<T: Stored>(numbers: &[T]) -> Option<Vec<f64>> {
    Some(numbers.iter().map(|x| x.to_f64()).collect())
}

/// What is said of a step.
impl Builder {
    /// Step of the window.
    pub fn stride(self, stride: impl Into<PerAxis<usize>>) -> Self {
        self.said("stride", |step| step.spec.stride = stride.into())
    }

    /// A number, an array, pairs `(before, after)`, or one of [`Padding`]'s words.
    pub fn padding(self, padding: impl Into<Padding>) -> Self {
        self.said("padding", |step| step.spec.padding = padding.into())
    }

    /// What the padding reads. Zeros are skipped, not multiplied: a weight over them has no effect,
    /// were it infinite or NaN.
    pub fn padding_mode(self, mode: PaddingMode) -> Self {
        self.said("padding_mode", |step| step.spec.padding_mode = mode)
    }

    /// Distance between taps, 1 = none.
    pub fn dilation(self, dilation: impl Into<PerAxis<usize>>) -> Self {
        self.said("dilation", |step| step.spec.dilation = dilation.into())
    }

    /// Groups; depthwise where it equals the input channels.
    pub fn groups(self, groups: usize) -> Self {
        self.said("groups", |step| step.spec.groups = groups)
    }

    /// The transposed convolution.
    pub fn transposed(self, transposed: bool) -> Self {
        self.said("transposed", |step| step.spec.transposed = transposed)
    }

    /// Transposed only: extra outputs at the end of each axis.
    pub fn output_padding(self, output_padding: impl Into<PerAxis<usize>>) -> Self {
        self.said("output_padding", |step| step.spec.output_padding = output_padding.into())
    }

    /// True convolution: the window reversed.
    pub fn flip(self, flip: bool) -> Self {
        self.said("flip", |step| step.spec.flip = flip)
    }

    /// Applied last. [`Activation::prelu`] has a slope for each output channel.
    pub fn activation(self, activation: impl Into<Option<Activation>>) -> Self {
        self.said("activation", |step| step.spec.activation = activation.into())
    }

    /// A tensor of the output's shape is added before the activation: the caller's for `true`, a
    /// tensor of the program for a number ([`Residual`]).
    pub fn residual(self, residual: impl Into<Residual>) -> Self {
        self.said("residual", |step| {
            step.residual = residual.into();
            step.spec.residual = step.residual != Residual::None;
        })
    }

    /// A tensor of the output's shape multiplies before the activation, in the place of a
    /// [`residual`](Self::residual).
    pub fn multiply(self, by: impl Into<Residual>) -> Self {
        self.residual(by).said("multiply", |step| step.spec.combine = Combine::Multiply)
    }

    /// A tensor of one number for each channel, `[n, c, 1, 1]`, multiplies before the activation,
    /// in the place of a [`residual`](Self::residual).
    ///
    /// ```
    /// // Squeeze and excitation.
    /// let (mut net, x) = conv_jit::graph(8, [6, 6]);
    /// let mean = net.step([x], |step| step.global_avg_pool());
    /// let gates = net.step([mean], |step| {
    ///     step.pointwise(2).activation(conv_jit::Activation::Relu)
    ///         .pointwise(8).activation(conv_jit::Activation::Sigmoid)
    /// });
    /// net.step([x], |step| step.pointwise(4).activation(None).pointwise(8).scale(gates));
    /// assert_eq!(net.describe()?.output_shape(), [1, 8, 6, 6]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn scale(self, by: impl Into<Residual>) -> Self {
        self.residual(by).said("scale", |step| step.spec.combine = Combine::Scale)
    }

    /// A number per output channel is added.
    pub fn bias(self, bias: bool) -> Self {
        self.said("bias", |step| step.spec.bias = bias)
    }

    /// Compiles the weights in: taps of zero vanish, taps of 1 and -1 add and subtract, the others
    /// are constants of the code. For finite data the bits are those of weights given later. A
    /// bias may be known too ([`bias_known`](Self::bias_known)). Where all are known, run it by
    /// [`Compiled::ready`](crate::Compiled::ready).
    ///
    /// ```
    /// let sobel = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0f32];
    /// let conv = conv_jit::conv2d(1, 1, 3).input([4, 4]).padding(1).weights_known(&sobel);
    /// let conv = conv.compile()?.ready::<f32>()?;
    /// let mut output = [0.0; 16];
    /// conv.run(&[1.0; 16], &mut output)?;
    /// assert_eq!(output[4..8], [4.0, 0.0, 0.0, -4.0]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn weights_known<T: Stored>(self, weight: &[T]) -> Self {
        self.said("weights_known", |step| step.weight = exact(weight))
    }

    /// Compiles the bias in, beside [known weights](Self::weights_known).
    pub fn bias_known<T: Stored>(self, bias: &[T]) -> Self {
        self.said("bias_known", |step| {
            step.bias = exact(bias);
            step.spec.bias = true;
        })
    }

    /// About the last step; an error where there is none.
    pub(super) fn said(mut self, word: &'static str, f: impl FnOnce(&mut Said)) -> Self {
        match self.steps.last_mut() {
            Some(step) => f(step),
            None => self.misplaced.push((word, EARLY)),
        }
        self
    }
}

/// What is said of the whole program.
impl Builder {
    /// Spatial extents of the input, outermost first: numbers, or names for sizes given at run
    /// time.
    pub fn input<S: Into<Size>>(mut self, extents: impl IntoIterator<Item = S>) -> Self {
        self.start.input = extents.into_iter().map(Into::into).collect();
        self
    }

    /// Batch size; 1 unless said. Zero is legal, a name is given at run time.
    pub fn batch(mut self, batch: impl Into<Size>) -> Self {
        self.start.batch = batch.into();
        self
    }

    /// Where the channels stand in input, output and residual.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.start.layout = layout;
        self
    }

    /// The types of all steps' arrays: one for all of them, or [`Types`]. What a step gives is
    /// what the next one takes.
    pub fn dtype(mut self, types: impl Into<Types>) -> Self {
        self.start.types = types.into();
        self
    }

    /// [`Accuracy::Fast`] lets known windows of low rank run as a column pass and a row pass, and
    /// steps of stride 1 in tiles of fewer multiplications, within bounds that
    /// [`Compiled::explain`](crate::Compiled::explain) states and
    /// [`Packed::bound`](crate::Packed::bound) gives for the weights; [`Accuracy::Within`] where
    /// the bound is small enough.
    /// [`Accuracy::Unfused`] gives the bits that CPUs without fused multiply-adds can have fast, on
    /// 128 bits: to know here what runs there.
    pub fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.options.accuracy = accuracy;
        self
    }

    /// The next step reads these tensors, joined along the channels, instead of the one before it:
    /// 0 is the input, `k` the output of the `k`-th step.
    ///
    /// ```
    /// // Two branches from the input, side by side.
    /// let block = conv_jit::chain(8, [14, 14])
    ///     .pointwise(16)
    ///     .from([0]).conv(24, 3).padding(1)
    ///     .from([1, 2]).pointwise(8);
    /// assert_eq!(block.describe()?.shape(3), [1, 8, 14, 14]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn from(mut self, tensors: impl IntoIterator<Item = usize>) -> Self {
        self.next = tensors.into_iter().collect();
        if self.steps.is_empty() && self.next.iter().any(|&tensor| tensor > 0) {
            let message = "the first step reads the input, tensor 0: leave `from` out";
            self.misplaced.push(("from", message));
        } else if self.next.is_empty() {
            self.misplaced.push(("from", "no tensor is named, but a step reads at least one"));
        }
        self
    }

    /// The tensors that a run gives, in this order, instead of the last step's output alone.
    pub fn outputs(mut self, tensors: impl IntoIterator<Item = usize>) -> Self {
        self.outputs = tensors.into_iter().collect();
        self
    }

    /// Instead of the model's choice, for a program of one step.
    ///
    /// ```
    /// let schedule = "lanes oc:4 tile oc:4,ow:4 borders exact pack".parse()?;
    /// let conv = conv_jit::conv2d(2, 8, 3).input([9, 9]).schedule(schedule).compile()?;
    /// assert_eq!(conv.groups().len(), 1);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.schedule = Some(schedule);
        self
    }

    /// What was measured on such a machine, in the place of the model's choices
    /// ([`Options::tuning`](crate::Options)). A file of `convc tune` is read by crate conv-files:
    /// `conv_files::tuning::read(path, &Machine::new(conv_jit::cpu(),
    /// conv_jit::host_target().name))`.
    ///
    /// ```
    /// use conv_ir::program::{Algorithm, Tuned, Tuning};
    /// let builder = conv_jit::conv2d(2, 8, 3).input([9, 9]);
    /// let schedule = "lanes oc:4 tile oc:4,ow:4 borders exact pack".parse()?;
    /// let way = (Algorithm::Direct, Some(schedule));
    /// let conv = builder.describe()?.single().cloned().unwrap();
    /// let tuned = Tuned::new(&conv, conv_jit::Accuracy::Exact, way)?;
    /// let conv = builder.tuning([tuned].into_iter().collect::<Tuning>()).compile()?;
    /// assert!(conv.explain().contains("measured to be the fastest"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tuning(mut self, tuning: impl Into<Arc<Tuning>>) -> Self {
        self.options.tuning = Some(tuning.into());
        self
    }

    /// Which steps are fused, instead of the model's choice.
    pub fn plan(mut self, plan: Plan) -> Self {
        self.options.plan = Some(plan);
        self
    }

    /// What the schedule may assume of the machine.
    pub fn target(mut self, target: Target) -> Self {
        self.options.target = target;
        self
    }

    /// Threads that a run uses at most. The bits do not depend on it.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = threads;
        self
    }

    /// Whether the cache is asked and told; it is unless said.
    pub fn cache(mut self, cache: bool) -> Self {
        self.options.cache = cache;
        self
    }
}
