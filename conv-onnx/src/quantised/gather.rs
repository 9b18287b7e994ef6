//! Windows of an image of few channels, side by side.
//!
//! ```text
//! x [n, c, .., w]   ->   [n, .. and padding, windows along w, taps * c and up to 3 more]
//! ```
//!
//! A first layer has three channels, or one, of which no product of four bytes can be made. The
//! taps of the last axis are as good as channels: what is gathered is read by a layer whose window
//! is one wide. Padding is written as bytes, so that the layer has none.

use std::sync::Arc;

use conv_ir::{Conv, ConvSpec, Layout, Size};
use tract_onnx::tract_core::internal::*;

use super::layer::{Sums, Weight};
use crate::node::op;
use crate::outputs::Outputs;

/// Channels of a layer at most: more make products of four by themselves, or nearly so.
const MOST_CHANNELS: usize = 3;

/// Bytes of a window at most: neighbours repeat each other's, and long rows of taps are as fast
/// without.
const MOST_BYTES: usize = 64;

/// The windows of a layer along the last axis. The input has channels first.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// Images, channels, and the extents.
    input: TVec<usize>,
    /// Of each axis of the image.
    padding: TVec<(usize, usize)>,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Windows of a row, and bytes of each.
    windows: usize,
    width: usize,
    /// What padding holds.
    zero: i32,
    is_signed: bool,
    outputs: Arc<Outputs>,
}

impl Gather {
    /// Of a layer, and the layer that reads it.
    pub fn of(sums: &Sums, outputs: &Arc<Outputs>) -> Option<(Gather, Sums)> {
        let spec = &sums.spec;
        let is_plain = spec.groups == 1 && !spec.transposed && !spec.flip && sums.view.is_none();
        if !is_plain || spec.in_channels > MOST_CHANNELS {
            return None;
        }
        let conv = Conv::new(spec.clone()).ok()?;
        let (last, outer) = conv.axes().split_last()?;
        let extents = conv.axes().iter().map(|axis| axis.input.known()).collect::<Option<_>>()?;
        let extents: TVec<usize> = extents;
        let windows = *conv.output_shape()?.get(conv.rank())?;
        let channels = spec.in_channels;
        if last.kernel < 2 || last.kernel.checked_mul(channels)? > MOST_BYTES {
            return None;
        }
        let width = (last.kernel * channels).next_multiple_of(4);
        let Size::Known(images) = spec.batch else { return None };
        let padded = outer.iter().zip(&extents);
        let padded = padded.map(|(axis, extent)| axis.padding.0 + extent + axis.padding.1);
        let with_one = |of: fn(&conv_ir::conv::ConvAxis) -> usize| -> Vec<usize> {
            outer.iter().map(of).chain([1]).collect()
        };
        let reader = ConvSpec {
            batch: spec.batch.clone(),
            in_channels: width,
            out_channels: spec.out_channels,
            stride: with_one(|axis| axis.stride).into(),
            dilation: with_one(|axis| axis.dilation).into(),
            layout: Layout::ChannelsLast,
            ..ConvSpec::new(padded.chain([windows]), with_one(|axis| axis.kernel))
        };
        let gather = Gather {
            input: [images, channels].into_iter().chain(extents.iter().copied()).collect(),
            padding: conv.axes().iter().map(|axis| axis.padding).collect(),
            kernel: last.kernel,
            stride: last.stride,
            dilation: last.dilation,
            windows,
            width,
            zero: sums.grid.zero,
            is_signed: sums.grid.is_signed,
            outputs: outputs.clone(),
        };
        let weight = Arc::new(gather.weight(&sums.weight, spec.out_channels));
        Some((gather, Sums { spec: reader, weight, ..sums.clone() }))
    }

    /// Weights in the order of the windows' bytes; those of bytes that fill up stand for zero.
    fn weight(&self, weight: &Weight, outputs: usize) -> Weight {
        let (channels, kernel) = (self.input[1], self.kernel);
        let taps = weight.bytes.len() / outputs / channels / kernel;
        let mut bytes = Vec::with_capacity(outputs * self.width * taps);
        for o in 0..outputs {
            let zero = weight.zeros[o % weight.zeros.len()] as u8;
            let own = &weight.bytes[o * channels * taps * kernel..];
            for at in 0..self.width {
                let (k, c) = (at / channels, at % channels);
                let tap = |tap: usize| own[(c * taps + tap) * kernel + k];
                bytes.extend((0..taps).map(|t| if k < kernel { tap(t) } else { zero }));
            }
        }
        Weight {
            is_signed: weight.is_signed,
            bytes,
            scales: weight.scales.clone(),
            zeros: weight.zeros.clone(),
        }
    }

    fn output(&self) -> TVec<usize> {
        let outer = self.padding.len() - 1;
        let padded = self.padding[..outer].iter().zip(&self.input[2..]);
        let padded = padded.map(|(&(before, after), extent)| before + extent + after);
        [self.input[0]].into_iter().chain(padded).chain([self.windows, self.width]).collect()
    }

    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let dtype = if self.is_signed { i8::datum_type() } else { u8::datum_type() };
        self.outputs.of(dtype, &self.output(), |output| {
            let (input, mut output) =
                (inputs[0].try_as_plain_ram()?, output.try_as_plain_ram_mut()?);
            match self.is_signed {
                true => {
                    self.rows(input.as_slice::<i8>()?, output.as_slice_mut()?, self.zero as i8);
                }
                false => {
                    self.rows(input.as_slice::<u8>()?, output.as_slice_mut()?, self.zero as u8);
                }
            }
            Ok(())
        })
    }

    fn rows<T: Copy>(&self, input: &[T], output: &mut [T], zero: T) {
        let (channels, spatial) = (self.input[1], &self.input[2..]);
        let (columns, outer) = (spatial[spatial.len() - 1], &spatial[..spatial.len() - 1]);
        let rows: usize = outer.iter().product();
        let padded = self.output();
        let padded = &padded[1..1 + outer.len()];
        let image_rows: usize = padded.iter().product();
        let (before, after) = self.padding[outer.len()];
        let reach = (self.windows - 1) * self.stride + (self.kernel - 1) * self.dilation + 1;
        // What fills a window up is read from behind it, and multiplied by nothing.
        let mut row = vec![zero; (before + columns + after).max(reach) * channels + self.width];
        let own = before * channels..(before + columns) * channels;
        for (at, output) in output.chunks_mut(self.windows * self.width).enumerate() {
            let (image, at) = (at / image_rows, at % image_rows);
            match self.source(at, padded, outer) {
                Some(from) => {
                    let row = &mut row[own.clone()];
                    for c in 0..channels {
                        let plane = &input[((image * channels + c) * rows + from) * columns..];
                        let to = row[c..].iter_mut().step_by(channels);
                        to.zip(&plane[..columns]).for_each(|(to, from)| *to = *from);
                    }
                }
                None => row[own.clone()].fill(zero),
            }
            self.row(&row, output);
        }
    }

    /// The row of the image that a row of the padded one is.
    fn source(&self, mut at: usize, padded: &[usize], outer: &[usize]) -> Option<usize> {
        let (mut from, mut stride) = (0, 1);
        for axis in (0..padded.len()).rev() {
            let place = (at % padded[axis]).checked_sub(self.padding[axis].0)?;
            at /= padded[axis];
            from += (place < outer[axis]).then_some(place * stride)?;
            stride *= outer[axis];
        }
        Some(from)
    }

    fn row<T: Copy>(&self, row: &[T], output: &mut [T]) {
        let (channels, step) = (self.input[1], self.stride * self.input[1]);
        if self.dilation > 1 {
            for (at, window) in output.chunks_mut(self.width).enumerate() {
                for (k, tap) in window.chunks_mut(channels).enumerate() {
                    let from = at * step + k.min(self.kernel - 1) * self.dilation * channels;
                    tap.copy_from_slice(&row[from..from + tap.len()]);
                }
            }
            return;
        }
        match self.width {
            4 => copied::<T, 4>(row, output, step),
            8 => copied::<T, 8>(row, output, step),
            12 => copied::<T, 12>(row, output, step),
            16 => copied::<T, 16>(row, output, step),
            24 => copied::<T, 24>(row, output, step),
            width => {
                for (at, window) in output.chunks_mut(width).enumerate() {
                    window.copy_from_slice(&row[at * step..at * step + width]);
                }
            }
        }
    }
}

/// Windows of a width that is known when this is compiled.
fn copied<T: Copy, const N: usize>(row: &[T], output: &mut [T], step: usize) {
    let (windows, _) = output.as_chunks_mut::<N>();
    for (at, window) in windows.iter_mut().enumerate() {
        if let Some(from) = row.get(at * step..).and_then(|rest| rest.first_chunk()) {
            *window = *from;
        }
    }
}

impl Eq for Gather {}

op!(Gather, "Windows", Gather::computed, |own, inputs| {
    tvec!(inputs[0].datum_type.fact(own.output()))
});
