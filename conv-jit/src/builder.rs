//! The builder: a convolution said in PyTorch's words.
//!
//! Parameters per axis are one number for all axes or an array, outermost axis first. Nothing is
//! checked before [`Builder::conv`] or [`Builder::compile`], which report every broken rule at
//! once.

use conv_ir::{
    Activation, Conv, ConvSpec, DType, Element, Layout, Padding, PaddingMode, PerAxis, Schedule,
    Size, Target,
};

use conv_ir::separate::Accuracy;

use crate::Error;
use crate::compiled::{CompiledConv, Options};

/// A convolution being described.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `compile`"]
pub struct Builder {
    spec: ConvSpec,
    options: Options,
    known: Option<(Vec<f64>, Option<Vec<f64>>)>,
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
    let spec = ConvSpec { in_channels, out_channels, ..ConvSpec::new([], kernel) };
    Builder { spec, options: Options::default(), known: None }
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
    let mut builder = conv_nd(in_channels, out_channels, kernel);
    builder.spec.transposed = true;
    builder
}

/// One number stands for a cube. An array of another length than `rank` is kept, for the rules to
/// report.
fn window(rank: usize, kernel: PerAxis<usize>) -> Vec<usize> {
    match kernel {
        PerAxis::All(size) => vec![size; rank],
        PerAxis::Each(sizes) => sizes,
    }
}

fn exact<T: Element>(numbers: &[T]) -> Vec<f64> {
    numbers.iter().map(|x| x.to_f64()).collect()
}

impl Builder {
    /// Spatial extents of the input, outermost first: numbers, or names for sizes given at run
    /// time.
    pub fn input<S: Into<Size>>(mut self, extents: impl IntoIterator<Item = S>) -> Self {
        self.spec.input = extents.into_iter().map(Into::into).collect();
        self
    }

    /// Batch size; 1 unless said. Zero is legal, a name is given at run time.
    pub fn batch(mut self, batch: impl Into<Size>) -> Self {
        self.spec.batch = batch.into();
        self
    }

    /// Step of the window.
    pub fn stride(mut self, stride: impl Into<PerAxis<usize>>) -> Self {
        self.spec.stride = stride.into();
        self
    }

    /// A number, an array, pairs `(before, after)`, or one of [`Padding`]'s words.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.spec.padding = padding.into();
        self
    }

    /// What the padding reads.
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.spec.padding_mode = mode;
        self
    }

    /// Distance between taps, 1 = none.
    pub fn dilation(mut self, dilation: impl Into<PerAxis<usize>>) -> Self {
        self.spec.dilation = dilation.into();
        self
    }

    /// Groups; depthwise where it equals the input channels.
    pub fn groups(mut self, groups: usize) -> Self {
        self.spec.groups = groups;
        self
    }

    /// Transposed only: extra outputs at the end of each axis.
    pub fn output_padding(mut self, output_padding: impl Into<PerAxis<usize>>) -> Self {
        self.spec.output_padding = output_padding.into();
        self
    }

    /// True convolution: the window reversed.
    pub fn flip(mut self, flip: bool) -> Self {
        self.spec.flip = flip;
        self
    }

    /// Where the channels stand in input, output and residual.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.spec.layout = layout;
        self
    }

    /// Element type.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.spec.dtype = dtype;
        self
    }

    /// Applied last.
    pub fn activation(mut self, activation: impl Into<Option<Activation>>) -> Self {
        self.spec.activation = activation.into();
        self
    }

    /// A tensor of the output's shape is added before the activation.
    pub fn residual(mut self, residual: bool) -> Self {
        self.spec.residual = residual;
        self
    }

    /// A number per output channel is added.
    pub fn bias(mut self, bias: bool) -> Self {
        self.spec.bias = bias;
        self
    }

    /// Compiles the weights in: taps of zero vanish, taps of 1 and -1 add and subtract, the others
    /// are constants of the code. The bits are those of weights given later. A bias
    /// may be known too ([`bias_known`](Self::bias_known)). Run it by [`CompiledConv::ready`].
    ///
    /// ```
    /// let sobel = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0f32];
    /// let conv = conv_jit::conv2d(1, 1, 3).input([4, 4]).padding(1).weights_known(&sobel).compile()?.ready::<f32>()?;
    /// let mut output = [0.0; 16];
    /// conv.run(&[1.0; 16], &mut output)?;
    /// assert_eq!(output[4..8], [4.0, 0.0, 0.0, -4.0]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn weights_known<T: Element>(mut self, weight: &[T]) -> Self {
        let bias = self.known.and_then(|known| known.1);
        self.known = Some((exact(weight), bias));
        self
    }

    /// Compiles the bias in, beside [known weights](Self::weights_known).
    pub fn bias_known<T: Element>(mut self, bias: &[T]) -> Self {
        let weight = self.known.map_or(Vec::new(), |known| known.0);
        self.known = Some((weight, Some(exact(bias))));
        self.spec.bias = true;
        self
    }

    /// [`Accuracy::Fast`] lets known windows of low rank run as a column pass and a row pass,
    /// within a bound that [`CompiledConv::explain`] states.
    pub fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.options.accuracy = accuracy;
        self
    }

    /// Instead of the model's choice.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.schedule = Some(schedule);
        self
    }

    /// What the schedule may assume of the machine.
    pub fn target(mut self, target: Target) -> Self {
        self.options.target = target;
        self
    }

    /// Threads that a run uses. The bits do not depend on it.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = threads;
        self
    }

    /// Whether the cache is asked and told; it is unless said.
    pub fn cache(mut self, cache: bool) -> Self {
        self.options.cache = cache;
        self
    }

    /// What was said so far.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// The checked description.
    ///
    /// # Errors
    /// [`Error::Conv`] with every broken rule.
    pub fn conv(&self) -> Result<Conv, Error> {
        let conv = Conv::new(self.spec.clone())?;
        match &self.known {
            Some((weight, bias)) => Ok(conv.with_weights(weight, bias.as_deref())?),
            None => Ok(conv),
        }
    }

    /// Machine code.
    ///
    /// # Errors
    /// As [`conv`](Self::conv) and [`CompiledConv::new`].
    pub fn compile(&self) -> Result<CompiledConv, Error> {
        CompiledConv::new(&self.conv()?, self.options.clone())
    }
}
