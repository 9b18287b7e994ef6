//! How the elements under a window become one number: the sum of a convolution, or what pooling
//! and morphology take in its place.
//!
//! ```text
//! Sum       sum of input * weight                   convolution
//! Max       max of input                            max pooling
//! Min       min of input                            min pooling
//! Average   (sum of input) / count                  average pooling
//! Dilation  max of (input + weight)                 grey dilation, the weight is the
//! Erosion   min of (input - weight)                 structuring element
//! ```
//!
//! All run over input channels and then taps in order, as the sum does, and leave out the taps that
//! the sum leaves out: padding of zeros never wins a maximum or a minimum. Where a window lies
//! wholly in it, the greatest of nothing is minus infinity, the least infinity, the average zero.
//!
//! Bits are defined to the last one: a number takes the place of the greatest so far where it is
//! greater, so that of two zeros the first one stays, and that a NaN never wins, as padding does
//! not; but the element of a window of one is taken, NaN or not. The average is
//! one chain of additions that starts at zero, and one division.

use super::{Conv, ConvAxis, ConvSpec, EquationAxis, PaddingMode, Size};
use crate::Values;

/// What is made of the elements under a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum of `input * weight`: a convolution.
    #[default]
    Sum,
    /// The greatest element: max pooling. It has no weight.
    Max,
    /// The least element: min pooling. It has no weight.
    Min,
    /// The mean of the elements: average pooling. It has no weight.
    Average {
        /// The padding counts, too (PyTorch's default); otherwise the divisor is the number of
        /// elements inside the image (ONNX's). What `ceil_mode` lets hang over never counts.
        count_include_pad: bool,
    },
    /// The greatest `input + weight`: dilation by the structuring element `weight`.
    Dilation,
    /// The least `input - weight`: erosion by the structuring element `weight`.
    Erosion,
}

impl Reduction {
    /// Whether there are weights.
    pub fn has_weight(self) -> bool {
        match self {
            Reduction::Sum | Reduction::Dilation | Reduction::Erosion => true,
            Reduction::Max | Reduction::Min | Reduction::Average { .. } => false,
        }
    }

    /// What is there before the first element.
    pub fn start(self) -> f64 {
        match self {
            Reduction::Sum | Reduction::Average { .. } => 0.0,
            Reduction::Max | Reduction::Dilation => f64::NEG_INFINITY,
            Reduction::Min | Reduction::Erosion => f64::INFINITY,
        }
    }

    /// What it is called: `a convolution`, `max pooling`, ..
    pub fn name(self) -> &'static str {
        match self {
            Reduction::Sum => "a convolution",
            Reduction::Max => "max pooling",
            Reduction::Min => "min pooling",
            Reduction::Average { .. } => "average pooling",
            Reduction::Dilation => "dilation",
            Reduction::Erosion => "erosion",
        }
    }

    /// The first word of the text form, before the number of axes.
    pub(super) fn head(self) -> &'static str {
        match self {
            Reduction::Sum => "conv",
            Reduction::Max => "maxpool",
            Reduction::Min => "minpool",
            Reduction::Average { .. } => "avgpool",
            Reduction::Dilation => "dilation",
            Reduction::Erosion => "erosion",
        }
    }

    /// The reduction that a head names, written as PyTorch, ONNX, Keras or SciPy do, in lower case
    /// and without `_`; and whether its window is the whole image.
    pub(super) fn named(head: &str) -> Option<(Reduction, bool)> {
        let (global, head) = match head.strip_prefix("global") {
            Some(rest) => (true, rest),
            None => (false, head),
        };
        let reduction = match head {
            "maxpool" | "maxpooling" => Reduction::Max,
            "minpool" | "minpooling" => Reduction::Min,
            "avgpool" | "averagepool" | "averagepooling" => {
                Reduction::Average { count_include_pad: false }
            }
            "dilation" | "greydilation" if !global => Reduction::Dilation,
            "erosion" | "greyerosion" if !global => Reduction::Erosion,
            _ => return None,
        };
        Some((reduction, global))
    }
}

impl ConvSpec {
    /// Pooling, dilation or erosion of each of `channels` by itself: stride 1, no padding. Set the
    /// rest by name.
    ///
    /// ```
    /// use conv_ir::{Conv, ConvSpec, Reduction};
    /// let spec = ConvSpec::pool(Reduction::Max, 64, [112, 112], [3, 3]);
    /// let pool = Conv::new(ConvSpec { stride: 2.into(), padding: 1.into(), ..spec })?;
    /// assert_eq!(pool.output_shape(), Some(vec![1, 64, 56, 56]));
    /// assert_eq!(pool.weight_len(), 0);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn pool(
        reduction: Reduction,
        channels: usize,
        input: impl IntoIterator<Item = usize>,
        kernel: impl IntoIterator<Item = usize>,
    ) -> Self {
        let (in_channels, out_channels, groups) = (channels, channels, channels);
        let spec = ConvSpec::new(input, kernel);
        ConvSpec { reduction, in_channels, out_channels, groups, ..spec }
    }
}

impl Conv {
    /// The free size on which the divisors of an average depend: code for any value of it cannot be
    /// made, while for each value it can.
    pub fn divisor_by_free_size(&self) -> Option<&str> {
        let Reduction::Average { count_include_pad } = self.spec.reduction else { return None };
        let depends =
            |axis: &&ConvAxis| counts_by_position(axis, count_include_pad, self.spec.padding_mode);
        self.axes.iter().filter(depends).find_map(|axis| match &axis.input {
            Size::Free(name) => Some(name.as_str()),
            Size::Known(_) => None,
        })
    }

    /// Whether each output is one element of the input, NaN or not, or of the padding: the greatest
    /// or least of a window of one. Padding does not count, because a part of a program has less.
    pub(crate) fn takes_one(&self) -> bool {
        matches!(self.spec.reduction, Reduction::Max | Reduction::Min)
            && self.axes.iter().all(|axis| axis.kernel == 1)
    }

    /// Whether outputs are divided by a number that tells padding from what `ceil_mode` lets hang
    /// over: then explicit padding cannot say the same.
    pub(crate) fn counts_overhang(&self) -> bool {
        self.spec.reduction == Reduction::Average { count_include_pad: true }
            && self.axes.iter().any(|axis| axis.overhang > 0)
    }
}

/// How many taps of each window count along one axis, where the sum is divided by their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// The same everywhere.
    Same(i64),
    /// By output position.
    Each(Values),
}

/// Whether the number of elements that count depends on the output's position along an axis.
pub(super) fn counts_by_position(axis: &ConvAxis, include_pad: bool, mode: PaddingMode) -> bool {
    mode == PaddingMode::Zeros
        && if include_pad { axis.overhang > 0 } else { axis.padding != (0, 0) }
}

/// The elements that count along an axis. The extents are known where they depend on the position.
pub(crate) fn count(axis: &EquationAxis, include_pad: bool, mode: PaddingMode) -> Count {
    let (Some(input), Some(output)) = (axis.input.known(), axis.output.known()) else {
        return Count::Same(axis.kernel);
    };
    if mode != PaddingMode::Zeros {
        return Count::Same(axis.kernel);
    }
    let (lo, hi) = if include_pad { (axis.pad_lo, axis.pad_hi) } else { (0, 0) };
    // Windows move one way: where the first and the last lie inside, all do.
    let last = (output as i64 - 1) * axis.stride - axis.pad_lo + axis.dilation * (axis.kernel - 1);
    if axis.pad_lo <= lo && last < input as i64 + hi {
        return Count::Same(axis.kernel);
    }
    // Positions from -lo up to input + hi count. Taps before that: those below a quotient.
    let before = |start: i64, end: i64| {
        let taps = (end - start + axis.dilation - 1).div_euclid(axis.dilation);
        taps.clamp(0, axis.kernel)
    };
    let each = (0..output as i64).map(|at| {
        let start = at * axis.stride - axis.pad_lo;
        (before(start, input as i64 + hi) - before(start, -lo)).max(1)
    });
    let each: Vec<i64> = each.collect();
    match each.iter().all(|count| *count == each[0]) {
        true => Count::Same(each[0]),
        false => {
            Count::Each(Values::exact(each.into_iter().map(|n| n as f64).collect::<Vec<f64>>()))
        }
    }
}

#[cfg(test)]
#[path = "reduction_tests.rs"]
mod tests;
