//! A chain in PyTorch's words, step by step; channels and sizes follow along it.

use conv_ir::chain::Step;
use conv_ir::{
    Activation, Chain, Conv, ConvSpec, DType, Error as IrError, Layout, Padding, PaddingMode,
    PerAxis, Size,
};

use super::{ChainOptions, CompiledChain};
use crate::Error;

/// A chain that is being described. Made by [`chain`]; each step begins with [`conv`](Self::conv),
/// [`depthwise`](Self::depthwise) or [`pointwise`](Self::pointwise), and what follows is said about
/// it.
#[derive(Clone, Debug)]
pub struct ChainBuilder {
    /// Of the input: channels, extents, batch, type and layout.
    start: ConvSpec,
    steps: Vec<(ConvSpec, Option<usize>)>,
}

/// A chain whose input has so many channels and these extents.
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
/// let block = block.pack(&steps)?;
/// let (input, mut output) = (vec![0.5; 16 * 14 * 14], vec![0.0; 16 * 14 * 14]);
/// block.run(&input, &mut output)?;
/// # Ok::<(), conv_jit::Error>(())
/// ```
pub fn chain<S: Into<Size>>(
    in_channels: usize,
    input: impl IntoIterator<Item = S>,
) -> ChainBuilder {
    let start = ConvSpec {
        in_channels,
        input: input.into_iter().map(Into::into).collect(),
        ..ConvSpec::new([], [])
    };
    ChainBuilder { start, steps: Vec::new() }
}

impl ChainBuilder {
    /// The next step: a convolution to so many channels, with this window.
    pub fn conv(mut self, out_channels: usize, kernel: impl Into<PerAxis<usize>>) -> Self {
        let rank = self.start.input.len();
        let kernel = match kernel.into() {
            PerAxis::All(one) => vec![one; rank],
            PerAxis::Each(each) => each,
        };
        let in_channels =
            self.steps.last().map_or(self.start.in_channels, |step| step.0.out_channels);
        let spec =
            ConvSpec { in_channels, out_channels, input: Vec::new(), ..ConvSpec::new([], kernel) };
        self.steps.push((spec, None));
        self
    }

    /// The next step: each channel by itself, with this window.
    pub fn depthwise(self, kernel: impl Into<PerAxis<usize>>) -> Self {
        let channels = self.steps.last().map_or(self.start.in_channels, |step| step.0.out_channels);
        self.conv(channels, kernel).groups(channels)
    }

    /// The next step: 1x1 to so many channels.
    pub fn pointwise(self, out_channels: usize) -> Self {
        self.conv(out_channels, 1)
    }

    /// Step of the window.
    pub fn stride(self, stride: impl Into<PerAxis<usize>>) -> Self {
        let stride = stride.into();
        self.said(|spec| spec.stride = stride)
    }

    /// A number, an array, pairs `(before, after)`, or one of [`Padding`]'s words.
    pub fn padding(self, padding: impl Into<Padding>) -> Self {
        let padding = padding.into();
        self.said(|spec| spec.padding = padding)
    }

    /// What the padding reads.
    pub fn padding_mode(self, mode: PaddingMode) -> Self {
        self.said(|spec| spec.padding_mode = mode)
    }

    /// Distance between taps, 1 = none.
    pub fn dilation(self, dilation: impl Into<PerAxis<usize>>) -> Self {
        let dilation = dilation.into();
        self.said(|spec| spec.dilation = dilation)
    }

    /// Groups; a depthwise step has set them.
    pub fn groups(self, groups: usize) -> Self {
        self.said(|spec| spec.groups = groups)
    }

    /// The transposed convolution.
    pub fn transposed(self, transposed: bool) -> Self {
        self.said(|spec| spec.transposed = transposed)
    }

    /// A number per output channel is added.
    pub fn bias(self, bias: bool) -> Self {
        self.said(|spec| spec.bias = bias)
    }

    /// Applied last.
    pub fn activation(self, activation: impl Into<Option<Activation>>) -> Self {
        let activation = activation.into();
        self.said(|spec| spec.activation = activation)
    }

    /// Tensor `from` is added before the activation: 0 is the chain's input, `k` the output of the
    /// `k`-th step.
    pub fn residual(mut self, from: usize) -> Self {
        if let Some(step) = self.steps.last_mut() {
            step.1 = Some(from);
        }
        self.said(|spec| spec.residual = true)
    }

    /// Images in a batch; 1 unless said. Of the whole chain.
    pub fn batch(mut self, batch: usize) -> Self {
        self.start.batch = batch.into();
        self
    }

    /// Element type, of the whole chain.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.start.dtype = dtype;
        self
    }

    /// Where the channels stand, in the whole chain.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.start.layout = layout;
        self
    }

    fn said(mut self, f: impl FnOnce(&mut ConvSpec)) -> Self {
        if let Some(step) = self.steps.last_mut() {
            f(&mut step.0);
        }
        self
    }

    /// The checked description.
    ///
    /// # Errors
    /// [`Error::Conv`] with every broken rule of the first step that breaks one, or of the edges
    /// between them.
    pub fn describe(&self) -> Result<Chain, Error> {
        let mut steps: Vec<Step> = Vec::new();
        for (number, (spec, residual)) in self.steps.iter().enumerate() {
            let input = match steps.last() {
                Some(before) => before
                    .conv
                    .axes()
                    .iter()
                    .filter_map(|axis| axis.output.known())
                    .map(Size::Known)
                    .collect(),
                None => self.start.input.clone(),
            };
            let spec = ConvSpec {
                dtype: self.start.dtype,
                layout: self.start.layout,
                batch: self.start.batch.clone(),
                input,
                ..spec.clone()
            };
            let conv = Conv::new(spec).map_err(|error| of_step(number + 1, error))?;
            steps.push(Step { conv, residual: *residual });
        }
        Ok(Chain::new(steps)?)
    }

    /// Machine code, under the model's plan.
    ///
    /// # Errors
    /// As [`describe`](Self::describe) and [`CompiledChain::new`].
    pub fn compile(&self) -> Result<CompiledChain, Error> {
        CompiledChain::new(&self.describe()?, ChainOptions::default())
    }
}

fn of_step(number: usize, error: IrError) -> IrError {
    match error {
        IrError::Invalid(mut issues) => {
            let numbered = |message: &str| format!("step {number}: {message}");
            issues.iter_mut().for_each(|issue| issue.message = numbered(&issue.message));
            IrError::Invalid(issues)
        }
        other => other,
    }
}
