//! Shapes, counts and the arithmetic behind them, all read off a checked convolution.
//!
//! Shapes are in the user's layout; `None` where a size is free. Nothing here can overflow: the
//! door checked every product. The arithmetic of an output extent is also given as text, because it
//! is what an error message, `conv!` and `explain` show:
//!
//! ```text
//! forward, rounding down:
//!     (input + before + after - kernel) / stride + 1
//! with dilation:
//!     (input + before + after - dilation * (kernel - 1) - 1) / stride + 1
//! transposed:
//!     (input - 1) * stride - before - after + dilation * (kernel - 1) + output_padding + 1
//! ```

use super::{Conv, ConvAxis, Extent, Layout, Size};
use crate::dtype::DType;
use crate::types::Types;

/// Padding on both sides together.
pub(super) fn padding_sum(axis: &ConvAxis) -> i128 {
    axis.padding.0 as i128 + axis.padding.1 as i128
}

/// How much input a window covers: `dilation * (kernel - 1) + 1`.
pub(super) fn span(axis: &ConvAxis) -> i128 {
    axis.dilation as i128 * (axis.kernel as i128 - 1) + 1
}

/// The output extent for an input extent; below one where there is none.
pub(super) fn output_extent(axis: &ConvAxis, input: usize, transposed: bool) -> i128 {
    let (input, stride) = (input as i128, axis.stride as i128);
    let padding = padding_sum(axis);
    if transposed {
        (input - 1) * stride - padding + span(axis) + axis.output_padding as i128
    } else {
        (input + padding - span(axis)).div_euclid(stride) + 1
    }
}

/// The right-hand side of [`output_extent`] with the numbers filled in.
pub(super) fn arithmetic(axis: &ConvAxis, transposed: bool) -> String {
    let ConvAxis { kernel, stride, dilation, padding: (lo, hi), output_padding, .. } = axis;
    let input = match &axis.input {
        Size::Known(n) => n.to_string(),
        Size::Free(name) => name.clone(),
    };
    if transposed {
        format!(
            "({input} - 1) * {stride} - {lo} - {hi} + {dilation} * ({kernel} - 1) + {output_padding} + 1"
        )
    } else {
        // What hangs over by `ceil_mode` stands by itself.
        let behind = match axis.overhang {
            0 => hi.to_string(),
            more => format!("{} + {more}", hi - more),
        };
        let window = match dilation {
            1 => kernel.to_string(),
            _ => format!("{dilation} * ({kernel} - 1) - 1"),
        };
        format!("({input} + {lo} + {behind} - {window}) / {stride} + 1")
    }
}

impl Conv {
    /// Input shape, `None` where a size is free.
    pub fn input_shape(&self) -> Option<Vec<usize>> {
        self.activation_shape(self.spec.in_channels, |axis| axis.input.known())
    }

    /// Whether there is a weight: pooling has none.
    pub fn has_weight(&self) -> bool {
        self.spec.reduction.has_weight()
    }

    /// Weight shape: `[out, in/groups, k..]`, transposed `[in, out/groups, k..]`; `[0]` where there
    /// is no weight.
    pub fn weight_shape(&self) -> Vec<usize> {
        let spec = &self.spec;
        if !self.has_weight() {
            return vec![0];
        }
        let channels = if spec.transposed {
            [spec.in_channels, self.out_channels_per_group()]
        } else {
            [spec.out_channels, self.in_channels_per_group()]
        };
        channels.into_iter().chain(spec.kernel.iter().copied()).collect()
    }

    /// Bias shape, whether or not there is a bias.
    pub fn bias_shape(&self) -> Vec<usize> {
        vec![self.spec.out_channels]
    }

    /// Output shape, `None` where a size is free.
    pub fn output_shape(&self) -> Option<Vec<usize>> {
        self.activation_shape(self.spec.out_channels, |axis| axis.output.known())
    }

    fn activation_shape(
        &self,
        channels: usize,
        extent: impl Fn(&ConvAxis) -> Option<usize>,
    ) -> Option<Vec<usize>> {
        let mut shape = vec![self.spec.batch.known()?];
        for axis in &self.axes {
            shape.push(extent(axis)?);
        }
        let position = match self.spec.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => shape.len(),
        };
        shape.insert(position, channels);
        Some(shape)
    }

    /// Elements of the input.
    pub fn input_len(&self) -> Option<usize> {
        Some(self.input_shape()?.iter().product())
    }

    /// Elements of the weight.
    pub fn weight_len(&self) -> usize {
        self.weight_shape().iter().product()
    }

    /// Elements of the bias, whether or not there is one.
    pub fn bias_len(&self) -> usize {
        self.spec.out_channels
    }

    /// Elements of the output, and of the residual.
    pub fn output_len(&self) -> Option<usize> {
        Some(self.output_shape()?.iter().product())
    }

    /// Taps of the window.
    pub fn kernel_volume(&self) -> usize {
        self.spec.kernel.iter().product()
    }

    /// The type that sums are computed in.
    pub fn dtype(&self) -> DType {
        self.spec.types.accumulator
    }

    /// The types of the arrays.
    pub fn types(&self) -> Types {
        self.spec.types
    }

    /// Where the channels stand.
    pub fn layout(&self) -> Layout {
        self.spec.layout
    }

    /// Batch size.
    pub fn batch(&self) -> &Size {
        &self.spec.batch
    }

    /// Input channels over all groups.
    pub fn in_channels(&self) -> usize {
        self.spec.in_channels
    }

    /// Output channels over all groups.
    pub fn out_channels(&self) -> usize {
        self.spec.out_channels
    }

    /// Groups.
    pub fn groups(&self) -> usize {
        self.spec.groups
    }

    /// Input channels of one group.
    pub fn in_channels_per_group(&self) -> usize {
        self.spec.in_channels / self.spec.groups
    }

    /// Output channels of one group.
    pub fn out_channels_per_group(&self) -> usize {
        self.spec.out_channels / self.spec.groups
    }

    /// The arithmetic of an output extent as text: `(224 + 3 + 3 - 7) / 2 + 1 = 112`. Without the
    /// result where the input is free; empty where there is no such axis.
    pub fn output_arithmetic(&self, axis: usize) -> String {
        let Some(axis) = self.axes.get(axis) else {
            return String::new();
        };
        let formula = arithmetic(axis, self.spec.transposed);
        match axis.output {
            Extent::Known(n) => format!("{formula} = {n}"),
            Extent::Derived { .. } => formula,
        }
    }
}
