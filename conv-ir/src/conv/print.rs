//! Writes the text form of a convolution, whose grammar stands in [`super::text`].
//!
//! In: a checked [`Conv`]. Out: one line that says everything from the layout on that is not
//! default, and reads as the same [`Conv`].

use std::fmt;

use super::axis_rules::entry;
use super::words::{Number, Sides, write_list};
use super::{Conv, Layout, Padding, PaddingMode, Reduction, Requantised, Size};
use crate::Types;

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Size::Known(n) => write!(f, "{n}"),
            Size::Free(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.spec;
        let turned = if spec.transposed { "-transposed" } else { "" };
        match self.repeats() {
            true => write!(f, "upsample_nearest{}d", self.rank())?,
            false => write!(f, "{}{}d{turned}", spec.reduction.head(), self.rank())?,
        }
        let Types { input, weight, output, .. } = spec.types;
        match spec.reduction {
            Reduction::Max | Reduction::Min if output == input => write!(f, " {input}")?,
            Reduction::Max | Reduction::Min => write!(f, " {input} x {weight} -> {output}")?,
            _ => write!(f, " {}", spec.types)?,
        }
        if spec.layout == Layout::ChannelsLast {
            write!(f, " {}", channels_last(self.rank()))?;
        }
        // Of pooling and its like, each channel by itself is the rule.
        let (ic, oc, g) = (spec.in_channels, spec.out_channels, spec.groups);
        match spec.reduction {
            Reduction::Sum if !self.repeats() => {
                write!(f, " n{} g{g} ic{ic} oc{oc} in ", spec.batch)?
            }
            _ if (oc, g) == (ic, ic) => write!(f, " n{} ic{ic} in ", spec.batch)?,
            _ => write!(f, " n{} g{g} ic{ic} oc{oc} in ", spec.batch)?,
        }
        write_list(f, "x", &spec.input)?;
        f.write_str(if self.repeats() { " scale " } else { " kernel " })?;
        write_list(f, "x", &spec.kernel)?;
        self.write_window(f)?;
        self.write_epilogue(f)
    }
}

fn channels_last(rank: usize) -> &'static str {
    match rank {
        1 => "nwc",
        2 => "nhwc",
        3 => "ndhwc",
        _ => "channels-last",
    }
}

impl fmt::Display for Requantised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "requantise {} scale ", self.rounding())?;
        let scales = match self.scales() {
            [one, rest @ ..] if rest.iter().all(|scale| scale == one) => &self.scales()[..1],
            each => each,
        };
        write_list(f, ",", scales.iter().map(|scale| Number(*scale)))?;
        match self.zero_point() {
            0 => Ok(()),
            zero_point => write!(f, " zero_point {zero_point}"),
        }
    }
}

impl Conv {
    fn write_window(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.spec;
        if !self.repeats() {
            self.write_axes(f, "stride", 1, |axis| axis.stride)?;
        }
        self.write_axes(f, "dilation", 1, |axis| axis.dilation)?;
        match &spec.padding {
            Padding::Valid => {}
            Padding::Explicit(list) => {
                f.write_str(" pad ")?;
                write_list(f, ",", (0..self.rank()).map(|at| Sides(*entry(list, at))))?;
            }
            symbolic => write!(f, " pad {symbolic}")?,
        }
        if spec.padding_mode != PaddingMode::Zeros {
            write!(f, " mode {}", spec.padding_mode)?;
        }
        f.write_str(if spec.ceil_mode { " ceil_mode" } else { "" })?;
        if let Reduction::Average { count_include_pad: true } = spec.reduction {
            f.write_str(" count_include_pad")?;
        }
        self.write_axes(f, "out_pad", 0, |axis| axis.output_padding)?;
        f.write_str(if spec.flip { " flip" } else { "" })
    }

    fn write_axes(
        &self,
        f: &mut fmt::Formatter<'_>,
        key: &str,
        default: usize,
        value: impl Fn(&super::ConvAxis) -> usize,
    ) -> fmt::Result {
        if self.axes.iter().all(|axis| value(axis) == default) {
            return Ok(());
        }
        write!(f, " {key} ")?;
        write_list(f, "x", self.axes.iter().map(value))
    }

    fn write_epilogue(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.spec;
        f.write_str(if spec.bias { " + bias" } else { "" })?;
        if spec.bias && !spec.types.has_plain_bias() {
            write!(f, " {}", spec.types.bias)?;
        }
        if spec.residual {
            write!(f, " {}", spec.combine.word())?;
        }
        if let Some(activation) = &spec.activation {
            write!(f, ", {activation}")?;
        }
        self.requantisation().map_or(Ok(()), |requantised| write!(f, ", {requantised}"))
    }
}
