//! The convolution: *what* is computed, and nothing of how.
//!
//! In: a [`ConvSpec`], everything a user says. Out: a [`Conv`], the same with every default filled
//! in, every rule checked and every size inferred. There is no other way to make one, so that the
//! code behind it tests nothing again.
//!
//! Per output element, with one line of numbers per spatial axis ([`EquationAxis`]):
//!
//! ```text
//! output[n, g, o, p] = activation(
//!     bias[g, o]
//!     + sum over i, k of input[n, g, i, q] * weight[g, o, i, k]
//!     + residual[n, g, o, p])
//!
//! q * lhs_dilation = p * stride + k * dilation - pad_lo      (skipped where q is no whole number)
//! ```
//!
//! Pooling, dilation and erosion are the same with another [`Reduction`] in the place of the sum.
//!
//! The sum is one chain of fused multiply-adds that starts at the bias (or zero) and runs over `i`,
//! then over the kernel axes in order of `k` (outermost axis slowest). The residual is added after
//! the chain and before the activation, as in ResNet. That order is part of the meaning.

mod axis_rules;
mod benchdnn;
mod clauses;
mod combine;
mod free;
mod head;
mod known;
mod output_size;
mod print;
mod reduction;
mod requantised;
mod same;
mod scan;
mod shape;
mod sizes;
mod text;
mod validate;
mod words;

pub use crate::error::axis_name;
pub use benchdnn::parse_benchdnn;
pub use combine::Combine;
pub use known::Known;
pub use reduction::Reduction;
pub(crate) use reduction::{Count, count};
pub use requantised::Requantised;
pub use scan::nearest;
pub use text::Given;
pub(crate) use text::{StepText, parse_step};

use crate::activation::Activation;
use crate::dtype::DType;
use crate::types::Types;

/// A size: known now, or a name whose value comes at run time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// A number.
    Known(usize),
    /// A name (an upper-case identifier in the text form), given at run time.
    Free(String),
}

impl Size {
    /// The number, where it is one.
    pub fn known(&self) -> Option<usize> {
        match self {
            Size::Known(n) => Some(*n),
            Size::Free(_) => None,
        }
    }
}

impl From<usize> for Size {
    fn from(n: usize) -> Self {
        Size::Known(n)
    }
}

impl From<&str> for Size {
    fn from(name: &str) -> Self {
        Size::Free(name.to_owned())
    }
}

/// A size that follows from another: `floor((scale * of + add) / div)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A number.
    Known(usize),
    /// Follows from the free size `of`.
    Derived {
        /// The free size's name.
        of: String,
        /// Multiplies it.
        scale: i64,
        /// Is added.
        add: i64,
        /// Divides, rounding down; positive.
        div: i64,
    },
}

impl Extent {
    /// The number, where it is one.
    pub fn known(&self) -> Option<usize> {
        match self {
            Extent::Known(n) => Some(*n),
            Extent::Derived { .. } => None,
        }
    }
}

/// A parameter per spatial axis, given once for all of them or one by one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PerAxis<T> {
    /// The same for every axis.
    All(T),
    /// One value per axis, outermost first.
    Each(Vec<T>),
}

impl<T> From<T> for PerAxis<T> {
    fn from(value: T) -> Self {
        PerAxis::All(value)
    }
}

impl<T, const N: usize> From<[T; N]> for PerAxis<T> {
    fn from(values: [T; N]) -> Self {
        PerAxis::Each(values.into())
    }
}

impl<T> From<Vec<T>> for PerAxis<T> {
    fn from(values: Vec<T>) -> Self {
        PerAxis::Each(values)
    }
}

impl<T: Clone> From<&[T]> for PerAxis<T> {
    fn from(values: &[T]) -> Self {
        PerAxis::Each(values.to_vec())
    }
}

/// How much is added around the input (for a transposed convolution: cut off around the output).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Padding {
    /// None.
    Valid,
    /// `output = ceil(input / stride)` with an odd window, which has a middle (NumPy's `same`).
    Same,
    /// `output = ceil(input / stride)`; the odd element goes to the end (ONNX `SAME_UPPER`,
    /// TensorFlow, PyTorch `'same'`).
    SameUpper,
    /// `output = ceil(input / stride)`; the odd element goes to the start (ONNX `SAME_LOWER`).
    SameLower,
    /// Every output that meets the input (NumPy's `full`): `dilation * (kernel - 1)` on both sides.
    Full,
    /// Everything before, nothing after: `(dilation * (kernel - 1), 0)`. No output sees the future.
    Causal,
    /// `(before, after)` per axis.
    Explicit(PerAxis<(usize, usize)>),
}

impl From<usize> for Padding {
    fn from(both: usize) -> Self {
        Padding::Explicit(PerAxis::All((both, both)))
    }
}

impl From<(usize, usize)> for Padding {
    fn from(lo_hi: (usize, usize)) -> Self {
        Padding::Explicit(PerAxis::All(lo_hi))
    }
}

impl<const N: usize> From<[usize; N]> for Padding {
    fn from(both: [usize; N]) -> Self {
        Padding::Explicit(PerAxis::Each(both.iter().map(|&p| (p, p)).collect()))
    }
}

impl<const N: usize> From<[(usize, usize); N]> for Padding {
    fn from(lo_hi: [(usize, usize); N]) -> Self {
        Padding::Explicit(PerAxis::Each(lo_hi.into()))
    }
}

impl From<Vec<(usize, usize)>> for Padding {
    fn from(lo_hi: Vec<(usize, usize)>) -> Self {
        Padding::Explicit(PerAxis::Each(lo_hi))
    }
}

/// What an index outside the input reads. Padding may be wider than the input: the modes that read
/// elements of it then go on in the same way, as SciPy's do.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum PaddingMode {
    /// Zero: the tap is skipped, on every route. So a weight over the padding has no effect, were
    /// it infinite or NaN (PyTorch multiplies it by zero, which gives NaN).
    #[default]
    Zeros,
    /// This value.
    Constant(f64),
    /// The mirrored element, the edge not repeated: `c b | a b c | b a`.
    Reflect,
    /// The mirrored element, the edge repeated: `b a | a b c | c b`.
    Symmetric,
    /// The nearest element: `a a | a b c | c c`.
    Replicate,
    /// The element from the other end: `b c | a b c | a b`.
    Circular,
}

/// Where the channel axis stands in the input, the output and the residual. Weights are `[out,
/// in/groups, k..]` in both (transposed: `[in, out/groups, k..]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Layout {
    /// NCW, NCHW, NCDHW.
    #[default]
    ChannelsFirst,
    /// NWC, NHWC, NDHWC.
    ChannelsLast,
}

/// Everything a user says about a convolution, not yet checked.
///
/// ```
/// use conv_ir::{Conv, ConvSpec};
/// let conv = Conv::new(ConvSpec {
///     in_channels: 3,
///     out_channels: 64,
///     stride: 2.into(),
///     padding: 3.into(),
///     ..ConvSpec::new([224, 224], [7, 7])
/// })?;
/// assert_eq!(conv.output_shape(), Some(vec![1, 64, 112, 112]));
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Types of input, weight, bias, output (and residual), and of the sums.
    pub types: Types,
    /// Where the channels stand.
    pub layout: Layout,
    /// What is made of the elements under a window: their weighted sum, unless said.
    pub reduction: Reduction,
    /// Batch size `n`; zero is legal.
    pub batch: Size,
    /// Input channels over all groups.
    pub in_channels: usize,
    /// Output channels over all groups.
    pub out_channels: usize,
    /// Groups; divides both channel counts. Depthwise: `groups == in_channels`.
    pub groups: usize,
    /// Spatial extents of the input, outermost first. Their number is the rank.
    pub input: Vec<Size>,
    /// Window size per axis.
    pub kernel: Vec<usize>,
    /// Step of the window in the input (transposed: in the output).
    pub stride: PerAxis<usize>,
    /// Distance between taps, 1 = none.
    pub dilation: PerAxis<usize>,
    /// Padding per axis.
    pub padding: Padding,
    /// What the padding reads.
    pub padding_mode: PaddingMode,
    /// Not of a sum: the last window may hang over the end of the padded input, as long as it
    /// starts in the input or in the padding before it (PyTorch's and ONNX's `ceil_mode`). What
    /// hangs over is read as padding is.
    pub ceil_mode: bool,
    /// Transposed only: extra outputs at the end of each axis.
    pub output_padding: PerAxis<usize>,
    /// The transposed convolution (the gradient of the forward one with the same numbers).
    pub transposed: bool,
    /// True convolution: the window is reversed along every axis.
    pub flip: bool,
    /// A bias per output channel is added.
    pub bias: bool,
    /// A tensor of the output's shape is added before the activation.
    pub residual: bool,
    /// What is done with it, where it is not added.
    pub combine: Combine,
    /// Applied last.
    pub activation: Option<Activation>,
}

impl ConvSpec {
    /// A plain f32 convolution of one channel to one: batch 1, stride 1, no padding. Set the rest
    /// by name.
    pub fn new(
        input: impl IntoIterator<Item = usize>,
        kernel: impl IntoIterator<Item = usize>,
    ) -> Self {
        ConvSpec {
            types: DType::F32.into(),
            layout: Layout::ChannelsFirst,
            reduction: Reduction::Sum,
            batch: Size::Known(1),
            in_channels: 1,
            out_channels: 1,
            groups: 1,
            input: input.into_iter().map(Size::Known).collect(),
            kernel: kernel.into_iter().collect(),
            stride: PerAxis::All(1),
            dilation: PerAxis::All(1),
            padding: Padding::Valid,
            padding_mode: PaddingMode::Zeros,
            ceil_mode: false,
            output_padding: PerAxis::All(0),
            transposed: false,
            flip: false,
            bias: false,
            residual: false,
            combine: Combine::Add,
            activation: None,
        }
    }
}

/// A checked convolution. Made by [`Conv::new`] or by parsing its text form.
///
/// ```
/// let conv: conv_ir::Conv = "conv2d ic3 oc64 in 224 kernel 7 stride 2 pad 3".parse()?;
/// assert_eq!(conv.output_shape(), Some(vec![1, 64, 112, 112]));
/// assert_eq!((conv.weight_shape(), conv.spec().groups), (vec![64, 3, 7, 7], 1));
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    spec: ConvSpec,
    axes: Vec<ConvAxis>,
    known: Option<Known>,
    requantised: Option<Requantised>,
}

/// One spatial axis of a checked convolution, in the user's terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvAxis {
    /// Extent of the input.
    pub input: Size,
    /// Extent of the output.
    pub output: Extent,
    /// Window size.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Distance between taps.
    pub dilation: usize,
    /// Padding `(before, after)`, worked out from `same`, `causal` and `ceil_mode`.
    pub padding: (usize, usize),
    /// How much of the padding after is what `ceil_mode` lets hang over.
    pub overhang: usize,
    /// Transposed only: extra outputs at the end.
    pub output_padding: usize,
}

/// One spatial axis in the terms of the equation in the [module](self) docs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EquationAxis {
    /// Extent of the input.
    pub input: Size,
    /// Extent of the output.
    pub output: Extent,
    /// Window size.
    pub kernel: i64,
    /// Outputs are this far apart in the (lhs-dilated) input.
    pub stride: i64,
    /// Taps are this far apart.
    pub dilation: i64,
    /// Position of the first tap of the first output, negated. Negative: the input's start is not
    /// seen.
    pub pad_lo: i64,
    /// Padding after the input, without what `ceil_mode` lets hang over.
    pub pad_hi: i64,
    /// Inputs are this far apart.
    pub lhs_dilation: i64,
    /// Tap `k` takes weight `kernel - 1 - k`.
    pub flip: bool,
}

impl Conv {
    /// Checks every rule and infers every size.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) lists every broken rule, each with field, value
    /// and axis.
    pub fn new(spec: ConvSpec) -> Result<Conv, crate::Error> {
        validate::validate(spec)
    }

    /// What the user said.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// The spatial axes, outermost first.
    pub fn axes(&self) -> &[ConvAxis] {
        &self.axes
    }

    /// Number of spatial axes.
    pub fn rank(&self) -> usize {
        self.axes.len()
    }

    /// The spatial axes in the equation's terms: a transposed convolution has its stride as
    /// `lhs_dilation`, and its window reversed.
    pub fn equation(&self) -> Vec<EquationAxis> {
        self.axes.iter().map(|axis| self.equation_axis(axis)).collect()
    }

    fn equation_axis(&self, axis: &ConvAxis) -> EquationAxis {
        let (kernel, stride, dilation) =
            (axis.kernel as i64, axis.stride as i64, axis.dilation as i64);
        let (lo, hi) = (axis.padding.0 as i64, (axis.padding.1 - axis.overhang) as i64);
        let (stride, lhs_dilation, pad_lo, pad_hi) = if self.spec.transposed {
            let reach = dilation * (kernel - 1);
            (1, stride, reach - lo, reach - hi + axis.output_padding as i64)
        } else {
            (stride, 1, lo, hi)
        };
        EquationAxis {
            input: axis.input.clone(),
            output: axis.output.clone(),
            kernel,
            stride,
            dilation,
            pad_lo,
            pad_hi,
            lhs_dilation,
            flip: self.spec.flip != self.spec.transposed,
        }
    }
}
