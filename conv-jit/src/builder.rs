//! The builder: a program said in PyTorch's words, step by step.
//!
//! Parameters per axis are one number for all axes or an array, outermost axis first. What is said
//! is said about the step before it; batch, element type, layout and options are the whole
//! program's. Channels and sizes follow from step to step. Nothing is checked before
//! [`Builder::describe`] or [`Builder::compile`], which report every broken rule at once.

use conv_ir::chain::plan::Plan;
use conv_ir::chain::{Step, of_step};
use conv_ir::separate::Accuracy;
use conv_ir::{
    Activation, Chain, Conv, ConvSpec, DType, Element, Error as IrError, Issue, Layout, Padding,
    PaddingMode, PerAxis, Schedule, Size, Target,
};

use crate::Error;
use crate::compiled::{Compiled, Options};

/// A program being described. A step begins with one of the functions of this module, or with
/// [`conv`](Self::conv), [`depthwise`](Self::depthwise) or [`pointwise`](Self::pointwise).
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `compile`"]
pub struct Builder {
    /// Of the input: channels, extents, batch, type and layout.
    start: ConvSpec,
    steps: Vec<Said>,
    /// What was said before there was a step.
    early: Vec<&'static str>,
    options: Options,
}

/// What is said of one step.
#[derive(Clone, Debug)]
struct Said {
    spec: ConvSpec,
    residual: Residual,
    weight: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
}

/// A tensor of the output's shape that a step adds before its activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// None.
    #[default]
    None,
    /// The caller's, given for each run.
    Outside,
    /// A tensor of the program: 0 is its input, `k` the output of the `k`-th step.
    Tensor(usize),
}

impl From<bool> for Residual {
    fn from(outside: bool) -> Self {
        if outside { Residual::Outside } else { Residual::None }
    }
}

impl From<usize> for Residual {
    fn from(tensor: usize) -> Self {
        Residual::Tensor(tensor)
    }
}

/// A program whose input has so many channels and these extents, with no step yet.
///
/// ```
/// use conv_ir::Activation::Relu6;
/// // An inverted residual: a pointwise step to six times the channels, a depthwise one, a pointwise one back, and the input added.
/// let block = conv_jit::chain(16, [14, 14])
///     .pointwise(96).bias(true).activation(Relu6)
///     .depthwise(3).padding(1).bias(true).activation(Relu6)
///     .pointwise(16).bias(true).residual(0)
///     .compile()?;
/// let weights = [vec![0.1f32; 16 * 96], vec![0.1; 96 * 9], vec![0.1; 96 * 16]];
/// let biases = [vec![0.0f32; 96], vec![0.0; 96], vec![0.0; 16]];
/// let steps: Vec<_> = weights.iter().zip(&biases).map(|(w, b)| (w.as_slice(), b.as_slice()).into()).collect();
/// let block = block.pack_steps(&steps)?;
/// let (input, mut output) = (vec![0.5; 16 * 14 * 14], vec![0.0; 16 * 14 * 14]);
/// block.run(&input, &mut output)?;
/// # Ok::<(), conv_jit::Error>(())
/// ```
pub fn chain<S: Into<Size>>(in_channels: usize, input: impl IntoIterator<Item = S>) -> Builder {
    let start = ConvSpec { in_channels, ..ConvSpec::new([], []) };
    let builder =
        Builder { start, steps: Vec::new(), early: Vec::new(), options: Options::default() };
    builder.input(input)
}

/// A 1-D convolution: `input` is `[n, in_channels, w]`.
pub fn conv1d(
    in_channels: usize,
    out_channels: usize,
    kernel: impl Into<PerAxis<usize>>,
) -> Builder {
    conv_nd(in_channels, out_channels, window(1, kernel.into()))
}

/// A 2-D convolution: `input` is `[n, in_channels, h, w]`.
pub fn conv2d(
    in_channels: usize,
    out_channels: usize,
    kernel: impl Into<PerAxis<usize>>,
) -> Builder {
    conv_nd(in_channels, out_channels, window(2, kernel.into()))
}

/// A 3-D convolution: `input` is `[n, in_channels, d, h, w]`.
pub fn conv3d(
    in_channels: usize,
    out_channels: usize,
    kernel: impl Into<PerAxis<usize>>,
) -> Builder {
    conv_nd(in_channels, out_channels, window(3, kernel.into()))
}

/// A convolution of as many axes as the window has.
pub fn conv_nd(
    in_channels: usize,
    out_channels: usize,
    kernel: impl IntoIterator<Item = usize>,
) -> Builder {
    chain::<Size>(in_channels, []).step(out_channels, kernel.into_iter().collect())
}

/// A transposed 1-D convolution.
pub fn conv_transpose1d(
    in_channels: usize,
    out_channels: usize,
    kernel: impl Into<PerAxis<usize>>,
) -> Builder {
    conv_transpose_nd(in_channels, out_channels, window(1, kernel.into()))
}

/// A transposed 2-D convolution.
pub fn conv_transpose2d(
    in_channels: usize,
    out_channels: usize,
    kernel: impl Into<PerAxis<usize>>,
) -> Builder {
    conv_transpose_nd(in_channels, out_channels, window(2, kernel.into()))
}

/// A transposed 3-D convolution.
pub fn conv_transpose3d(
    in_channels: usize,
    out_channels: usize,
    kernel: impl Into<PerAxis<usize>>,
) -> Builder {
    conv_transpose_nd(in_channels, out_channels, window(3, kernel.into()))
}

/// A transposed convolution of as many axes as the window has.
pub fn conv_transpose_nd(
    in_channels: usize,
    out_channels: usize,
    kernel: impl IntoIterator<Item = usize>,
) -> Builder {
    conv_nd(in_channels, out_channels, kernel).transposed(true)
}

/// One number stands for a cube. An array of another length than `rank` is kept, for the rules to
/// report.
fn window(rank: usize, kernel: PerAxis<usize>) -> Vec<usize> {
    match kernel {
        PerAxis::All(size) => vec![size; rank],
        PerAxis::Each(sizes) => sizes,
    }
}

fn exact<T: Element>(numbers: &[T]) -> Option<Vec<f64>> {
    Some(numbers.iter().map(|x| x.to_f64()).collect())
}

/// Steps.
impl Builder {
    /// The next step: a convolution to so many channels, with this window.
    pub fn conv(self, out_channels: usize, kernel: impl Into<PerAxis<usize>>) -> Self {
        let rank = self.steps.last().map_or(self.start.input.len(), |step| step.spec.kernel.len());
        self.step(out_channels, window(rank, kernel.into()))
    }

    /// The next step: each channel by itself, with this window.
    pub fn depthwise(self, kernel: impl Into<PerAxis<usize>>) -> Self {
        let channels = self.channels();
        self.conv(channels, kernel).groups(channels)
    }

    /// The next step: 1x1 to so many channels.
    pub fn pointwise(self, out_channels: usize) -> Self {
        self.conv(out_channels, 1)
    }

    fn step(mut self, out_channels: usize, kernel: Vec<usize>) -> Self {
        let in_channels = self.channels();
        let spec = ConvSpec { in_channels, out_channels, ..ConvSpec::new([], kernel) };
        self.steps.push(Said { spec, residual: Residual::None, weight: None, bias: None });
        self
    }

    /// Those that the next step takes.
    fn channels(&self) -> usize {
        self.steps.last().map_or(self.start.in_channels, |step| step.spec.out_channels)
    }
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

    /// What the padding reads.
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

    /// Applied last.
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

    /// A number per output channel is added.
    pub fn bias(self, bias: bool) -> Self {
        self.said("bias", |step| step.spec.bias = bias)
    }

    /// Compiles the weights in: taps of zero vanish, taps of 1 and -1 add and subtract, the others
    /// are constants of the code. For finite data the bits are those of weights given later. A
    /// bias may be known too ([`bias_known`](Self::bias_known)). Where all are known, run it by
    /// [`Compiled::ready`].
    ///
    /// ```
    /// let sobel = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0f32];
    /// let conv = conv_jit::conv2d(1, 1, 3).input([4, 4]).padding(1).weights_known(&sobel).compile()?.ready::<f32>()?;
    /// let mut output = [0.0; 16];
    /// conv.run(&[1.0; 16], &mut output)?;
    /// assert_eq!(output[4..8], [4.0, 0.0, 0.0, -4.0]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn weights_known<T: Element>(self, weight: &[T]) -> Self {
        self.said("weights_known", |step| step.weight = exact(weight))
    }

    /// Compiles the bias in, beside [known weights](Self::weights_known).
    pub fn bias_known<T: Element>(self, bias: &[T]) -> Self {
        self.said("bias_known", |step| {
            step.bias = exact(bias);
            step.spec.bias = true;
        })
    }

    /// About the last step; an error where there is none.
    fn said(mut self, word: &'static str, f: impl FnOnce(&mut Said)) -> Self {
        match self.steps.last_mut() {
            Some(step) => f(step),
            None => self.early.push(word),
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

    /// Element type.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.start.dtype = dtype;
        self
    }

    /// [`Accuracy::Fast`] lets known windows of low rank run as a column pass and a row pass,
    /// within a bound that [`Compiled::explain`] states.
    pub fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.options.accuracy = accuracy;
        self
    }

    /// Instead of the model's choice, for a program of one step.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.schedule = Some(schedule);
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

    /// The checked description.
    ///
    /// # Errors
    /// [`Error::Conv`] with every broken rule of the first step that breaks one, of the edges
    /// between steps, or with the words that stand before the first step.
    pub fn describe(&self) -> Result<Chain, Error> {
        let early = self.early.iter().map(|word| Issue {
            field: word,
            axis: None,
            rank: 0,
            message: "said before there is a step that it could be about".to_owned(),
        });
        let early: Vec<Issue> = early.collect();
        if !early.is_empty() {
            return Err(IrError::Invalid(early).into());
        }
        let mut steps: Vec<Step> = Vec::new();
        for said in &self.steps {
            let number = steps.len() + 1;
            let conv = self.checked(said, steps.last(), steps.len());
            let conv = conv.map_err(|error| match self.steps.len() {
                1 => error,
                _ => of_step(number, error),
            })?;
            let residual = match said.residual {
                Residual::Tensor(from) => Some(from),
                Residual::None | Residual::Outside => None,
            };
            steps.push(Step { conv, residual });
        }
        Ok(Chain::with_residuals_from_outside(steps)?)
    }

    /// A step behind another one, which is step `number`.
    fn checked(&self, said: &Said, before: Option<&Step>, number: usize) -> Result<Conv, IrError> {
        let ConvSpec { dtype, layout, batch, input, .. } = self.start.clone();
        let input = before.map_or(input, |before| before.conv.sizes_behind(number));
        let conv = Conv::new(ConvSpec { dtype, layout, batch, input, ..said.spec.clone() })?;
        match (&said.weight, &said.bias) {
            (None, None) => Ok(conv),
            (weight, bias) => {
                conv.with_weights(weight.as_deref().unwrap_or_default(), bias.as_deref())
            }
        }
    }

    /// Machine code.
    ///
    /// # Errors
    /// As [`describe`](Self::describe) and [`Compiled::new`].
    pub fn compile(&self) -> Result<Compiled, Error> {
        Compiled::new(self.describe()?, self.options.clone())
    }
}
