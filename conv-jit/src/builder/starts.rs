//! How a description begins: with a convolution, or with an input.

use conv_ir::{ConvSpec, PerAxis, Size};

use super::{Builder, window};
use crate::Options;

/// A program whose input has so many channels and these extents, with no step yet.
///
/// ```
/// use conv_ir::Activation::Relu6;
/// // An inverted residual: a pointwise step to six times the channels, a depthwise one,
/// // a pointwise one back, and the input added.
/// let block = conv_jit::chain(16, [14, 14])
///     .pointwise(96).bias(true).activation(Relu6)
///     .depthwise(3).padding(1).bias(true).activation(Relu6)
///     .pointwise(16).bias(true).residual(0)
///     .compile()?;
/// let weights = [vec![0.1f32; 16 * 96], vec![0.1; 96 * 9], vec![0.1; 96 * 16]];
/// let biases = [vec![0.0f32; 96], vec![0.0; 96], vec![0.0; 16]];
/// let steps = weights.iter().zip(&biases).map(|(w, b)| (w.as_slice(), b.as_slice()).into());
/// let steps: Vec<_> = steps.collect();
/// let block = block.pack_steps(&steps)?;
/// let (input, mut output) = (vec![0.5; 16 * 14 * 14], vec![0.0; 16 * 14 * 14]);
/// block.run(&input, &mut output)?;
/// # Ok::<(), conv_jit::Error>(())
/// ```
pub fn chain<S: Into<Size>>(in_channels: usize, input: impl IntoIterator<Item = S>) -> Builder {
    let start = ConvSpec { in_channels, ..ConvSpec::new([], []) };
    let builder = Builder {
        start,
        steps: Vec::new(),
        next: Vec::new(),
        outputs: Vec::new(),
        misplaced: Vec::new(),
        options: Options::default(),
    };
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
