//! Fewer multiplications for large windows: blocks of the input through a Fourier transform.
//!
//! ```text
//! y = T^-1 (T(w) * T(d))      the outputs of a block from its inputs: one product a point,
//!                             however many taps the window has
//! ```
//!
//! Blocks overlap by the window less one, and of each block the outputs are kept that no wrapping
//! round its ends has touched (overlap-save). The numbers of a block are real. So its first axis is
//! folded: the second half of it is the imaginary part of the first. Polynomials are then
//! multiplied modulo `x^(n/2) - i` in the place of `x^n - 1`; what wraps round changes its sign,
//! and is not kept. Every point is a plain complex product, and no half of a spectrum is put
//! together.
//!
//! Which convolutions are computed so, and in which blocks, is said by [`choose`]; how far off they
//! may be by [`Blocks::bound`]. Machine code for a window is made beside it, so that a crate that
//! makes programs runs it; nothing here does.

mod bound;
mod choose;
mod partitions;

use std::fmt;

use crate::conv::EquationAxis;
use crate::{Conv, PaddingMode, Reduction};
pub(crate) use choose::FEWEST_TAPS;
pub use choose::choose;
pub use partitions::Partitions;

/// How a convolution is cut into blocks, each through one transform.
///
/// ```
/// use conv_ir::{Conv, fft};
/// let conv: Conv = "conv2d in 1080x1920 kernel 31x31 pad 15".parse()?;
/// let blocks = fft::choose(&conv, f64::INFINITY)?;
/// let axis = &blocks.axes()[1];
/// // Outputs behind the last one that wrapping round has touched.
/// assert_eq!(axis.outputs, axis.points - 30);
/// assert_eq!(axis.blocks, 1920usize.div_ceil(axis.outputs));
/// let small: Conv = "conv2d in 1080x1920 kernel 3x3 pad 1".parse()?;
/// assert!(fft::choose(&small, f64::INFINITY).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Blocks {
    axes: Vec<BlockAxis>,
}

/// Blocks along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockAxis {
    /// Inputs of a block: the length of the transform.
    pub points: usize,
    /// Positions of the window that a block gives, of all that a stride of 1 has.
    pub outputs: usize,
    /// Blocks.
    pub blocks: usize,
}

impl fmt::Display for Blocks {
    /// `64x64`: the inputs of a block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.by_axis(|axis| axis.points))
    }
}

impl Blocks {
    /// Along each axis, outermost first.
    pub fn axes(&self) -> &[BlockAxis] {
        &self.axes
    }

    /// Complex points of a block, by axis: the first one is folded.
    pub fn complex(&self) -> impl Iterator<Item = usize> {
        let folded = |(at, axis): (usize, &BlockAxis)| axis.points / if at == 0 { 2 } else { 1 };
        self.axes.iter().enumerate().map(folded)
    }

    /// Blocks of an image.
    pub fn count(&self) -> usize {
        self.axes.iter().map(|axis| axis.blocks).product()
    }

    /// Complex points of a block.
    pub fn points(&self) -> usize {
        self.complex().product()
    }

    /// What is said of a convolution in these blocks.
    pub(crate) fn reason(&self, conv: &Conv) -> String {
        let outputs = self.axes.iter().map(|axis| axis.outputs).product::<usize>();
        format!(
            "by FFT, blocks of {self}, {} an image, {} outputs each: {} complex products for {}; \
             error at most {:.1e} of the largest input times the channel's sum of |weights| (by \
             norms: of the block's largest input, however small the output); a result that is not \
             finite is computed again by direct sums, whose code follows",
            self.count(),
            self.by_axis(|axis| axis.outputs),
            self.points(),
            outputs * conv.kernel_volume(),
            self.relative_bound(conv)
        )
    }

    fn by_axis(&self, of: impl Fn(&BlockAxis) -> usize) -> String {
        self.axes.iter().map(|axis| of(axis).to_string()).collect::<Vec<_>>().join("x")
    }
}

/// How a transform of `points` complex numbers is made of short ones, the first step first: fours,
/// then a three, then a two. `None`: there is none of that length.
///
/// ```
/// use conv_ir::fft::radices;
/// assert_eq!(radices(96), Some(vec![4, 4, 3, 2]));
/// assert_eq!(radices(7), None);
/// ```
pub fn radices(points: usize) -> Option<Vec<usize>> {
    let (mut rest, mut found) = (points, Vec::new());
    for radix in [4, 3, 2] {
        while rest != 0 && rest.is_multiple_of(radix) {
            found.push(radix);
            rest /= radix;
        }
    }
    (rest == 1).then_some(found)
}

/// What the axes of a convolution are to its blocks.
#[derive(Clone, Copy, Debug)]
struct Reach {
    input: usize,
    /// Inputs that a window spans.
    window: usize,
    /// Positions of the window at a stride of 1, of which every `stride`-th is an output.
    positions: usize,
    stride: usize,
    pad_lo: usize,
}

impl Reach {
    fn of(axis: &EquationAxis) -> Option<Reach> {
        let number = |n: i64| usize::try_from(n).ok();
        let output = axis.output.known()?;
        let stride = number(axis.stride)?;
        Some(Reach {
            input: axis.input.known()?,
            window: number((axis.kernel - 1).checked_mul(axis.dilation)?)?.checked_add(1)?,
            positions: output.checked_sub(1)?.checked_mul(stride)?.checked_add(1)?,
            stride,
            pad_lo: number(axis.pad_lo)?,
        })
    }

    /// The axis in one block of so many points, or in several; `None` where a window does not fit.
    fn in_blocks(&self, points: usize, zeros: bool) -> Option<BlockAxis> {
        let Reach { input, window, positions, stride, pad_lo } = *self;
        let seen = positions + window - 1;
        let end = seen.min(pad_lo + input);
        // Zeros before the input and behind it may be the same ones.
        let shares = zeros && points >= end.max(seen.saturating_sub(pad_lo)).max(positions);
        if points < window {
            return None;
        }
        if shares || points >= seen {
            return Some(BlockAxis { points, outputs: positions, blocks: 1 });
        }
        let outputs = (points - window + 1) / stride * stride;
        let blocks = positions.div_ceil(outputs.max(1));
        (outputs > 0).then_some(BlockAxis { points, outputs, blocks })
    }
}

/// The axes, or why there are no blocks whatever their size.
fn reaches(conv: &Conv) -> Result<Vec<Reach>, &'static str> {
    let spec = conv.spec();
    let rules = [
        (spec.types.single().is_some(), "the type is neither f32 nor f64"),
        (spec.reduction == Reduction::Sum, "it is no convolution"),
        (conv.rank() <= 3, "it has more than three spatial axes"),
        (!spec.transposed, "it is transposed"),
        (conv.free_sizes().is_empty(), "a size is known only at run time"),
        (conv.output_len().is_some_and(|len| len > 0), "there is no output"),
    ];
    if let Some((_, why)) = rules.into_iter().find(|(holds, _)| !holds) {
        return Err(why);
    }
    let reaches = conv.equation().iter().map(Reach::of).collect::<Option<_>>();
    reaches.ok_or("a size is known only at run time, or out of range")
}

/// Whether what lies around the input is zero.
fn pads_zeros(conv: &Conv) -> bool {
    matches!(conv.spec().padding_mode, PaddingMode::Zeros)
}
