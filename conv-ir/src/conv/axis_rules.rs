//! The rules of one spatial axis: its numbers, its padding, its output.
//!
//! In: one axis of a description, as part of the check of the whole. Out: a [`ConvAxis`] with
//! `same` and `causal` worked out to numbers and the output inferred, or issues with the arithmetic
//! spelled out. Every number is below [`LIMIT`] before it meets another, so that sums and products
//! of two fit an `i128`. Where the input is free, the output is a formula, and rules that need the
//! number wait for [`Conv::with_sizes`](super::Conv::with_sizes).

use super::shape::{arithmetic, output_extent, padding_sum, span};
use super::validate::{Check, LIMIT};
use super::{ConvAxis, Extent, Padding, PerAxis, Size, axis_name};

impl Check<'_> {
    pub(super) fn axes(&mut self) -> Vec<ConvAxis> {
        let mut axes = Vec::with_capacity(self.rank);
        axes.extend((0..self.rank).filter_map(|axis| self.axis(axis)));
        axes
    }

    fn axis(&mut self, at: usize) -> Option<ConvAxis> {
        let mut axis = self.axis_numbers(at)?;
        axis.padding = self.resolve_padding(at, &axis)?;
        self.hang_over(at, &mut axis)?;
        axis.output = self.output(at, &axis)?;
        Some(axis)
    }

    /// The axis with each number checked by itself; padding and output still to come.
    fn axis_numbers(&mut self, at: usize) -> Option<ConvAxis> {
        let spec = self.spec;
        let (stride, dilation) = (*entry(&spec.stride, at), *entry(&spec.dilation, at));
        let output_padding = *entry(&spec.output_padding, at);
        let mut sound = true;
        if let Size::Known(input) = spec.input[at] {
            sound &= self.number("input", Some(at), input, 1);
        }
        sound &= self.number("kernel", Some(at), spec.kernel[at], 1);
        sound &= self.number("stride", Some(at), stride, 1);
        sound &= self.number("dilation", Some(at), dilation, 1);
        sound &= self.output_padding(at, output_padding, stride.max(dilation));
        sound.then(|| ConvAxis {
            input: spec.input[at].clone(),
            output: Extent::Known(0),
            kernel: spec.kernel[at],
            stride,
            dilation,
            padding: (0, 0),
            overhang: 0,
            output_padding,
        })
    }

    fn output_padding(&mut self, at: usize, value: usize, bound: usize) -> bool {
        let message = match value {
            0 => return true,
            _ if !self.spec.transposed => {
                format!("{value}, but only a transposed convolution has output padding")
            }
            _ if value >= bound => {
                format!("{value}, but must be less than the larger of stride and dilation, {bound}")
            }
            _ => return true,
        };
        self.broken_axis("output_padding", at, message);
        false
    }

    fn resolve_padding(&mut self, at: usize, axis: &ConvAxis) -> Option<(usize, usize)> {
        let spec = self.spec;
        match &spec.padding {
            Padding::Valid => Some((0, 0)),
            Padding::Explicit(list) => {
                let (lo, hi) = *entry(list, at);
                let sound = self.number("padding", Some(at), lo, 0)
                    && self.number("padding", Some(at), hi, 0);
                sound.then_some((lo, hi))
            }
            Padding::Full if spec.transposed => {
                let message = "full, but a transposed convolution is full without padding";
                self.broken_axis("padding", at, message.to_owned());
                None
            }
            Padding::Full => self.in_range(at, span(axis) - 1).map(|around| (around, around)),
            Padding::Causal if spec.transposed => Some((0, self.crop(at, axis, "causal")?)),
            Padding::Causal => Some((self.in_range(at, span(axis) - 1)?, 0)),
            Padding::Same => {
                let total = self.same(at, axis, "same")?;
                if total % 2 == 1 {
                    let message = format!(
                        "same, but the padding of a window that spans {} is {total} in all, which \
                         is odd, so one side gets more: say same-upper (the end, as PyTorch and \
                         TensorFlow) or same-lower",
                        span(axis)
                    );
                    self.broken_axis("padding", at, message);
                    return None;
                }
                Some((total / 2, total / 2))
            }
            Padding::SameUpper => {
                self.same(at, axis, "same-upper").map(|total| (total / 2, total - total / 2))
            }
            Padding::SameLower => {
                self.same(at, axis, "same-lower").map(|total| (total - total / 2, total / 2))
            }
        }
    }

    /// `ceil_mode` in numbers: with `min(span - 1, after + stride - 1)` behind the input, rounding
    /// down gives what rounding up gives without, less a last window that would start behind the
    /// input. So a free size needs no other formula.
    fn hang_over(&mut self, at: usize, axis: &mut ConvAxis) -> Option<()> {
        if self.spec.ceil_mode && !self.spec.transposed {
            let after = axis.padding.1;
            let most = span(axis) - 1;
            // Where a window fits into the padding behind, one more would start there.
            let reach = most.min(after as i128 + axis.stride as i128 - 1).max(after as i128);
            axis.padding.1 = self.in_range(at, reach)?;
            axis.overhang = axis.padding.1.saturating_sub(after);
        }
        Some(())
    }

    /// What `same` adds to both sides together (transposed: crops).
    fn same(&mut self, at: usize, axis: &ConvAxis, padding: &str) -> Option<usize> {
        if self.spec.transposed {
            return self.crop(at, axis, padding);
        }
        let (stride, window) = (axis.stride as i128, span(axis));
        match &axis.input {
            Size::Known(input) => {
                let input = *input as i128;
                let output = (input + stride - 1) / stride;
                self.in_range(at, ((output - 1) * stride + window - input).max(0))
            }
            Size::Free(_) if stride == 1 => self.in_range(at, window - 1),
            Size::Free(name) => {
                let message = format!(
                    "{padding} with stride {stride} depends on the input {name}, which is free: give the padding as numbers"
                );
                self.broken_axis("padding", at, message);
                None
            }
        }
    }

    /// What a transposed convolution crops so that `output = input * stride` (ONNX's rule for
    /// `auto_pad`).
    fn crop(&mut self, at: usize, axis: &ConvAxis, padding: &str) -> Option<usize> {
        let (stride, window, extra) =
            (axis.stride as i128, span(axis), axis.output_padding as i128);
        let total = window + extra - stride;
        if total < 0 {
            let message = format!(
                "{padding} makes the output input * {stride}, but the padding would be {window} + {extra} - {stride} = {total}: \
                 the window is shorter than the stride"
            );
            self.broken_axis("padding", at, message);
            return None;
        }
        self.in_range(at, total)
    }

    fn in_range(&mut self, at: usize, value: i128) -> Option<usize> {
        let fits = usize::try_from(value).ok().filter(|&v| v as u128 <= LIMIT);
        if fits.is_none() {
            self.broken_axis(
                "padding",
                at,
                format!("works out as {value}, which is too large: the limit is {LIMIT}"),
            );
        }
        fits
    }

    fn output(&mut self, at: usize, axis: &ConvAxis) -> Option<Extent> {
        let transposed = self.spec.transposed;
        match &axis.input {
            Size::Known(input) => self.known_output(at, axis, *input),
            Size::Free(name) if transposed => {
                let add = span(axis) + axis.output_padding as i128
                    - padding_sum(axis)
                    - axis.stride as i128;
                self.derived(at, name, axis.stride as i128, add, 1)
            }
            Size::Free(name) => {
                let add = padding_sum(axis) - span(axis) + axis.stride as i128;
                self.derived(at, name, 1, add, axis.stride as i128)
            }
        }
    }

    fn known_output(&mut self, at: usize, axis: &ConvAxis, input: usize) -> Option<Extent> {
        let transposed = self.spec.transposed;
        let (extent, name) = (output_extent(axis, input, transposed), axis_name(self.rank, at));
        let padded = input as i128 + padding_sum(axis);
        let reason = match transposed {
            false if span(axis) > padded => {
                format!("window {} is wider than the padded input {padded}", span(axis))
            }
            true if extent < 1 => {
                format!("padding {}:{} crops everything away", axis.padding.0, axis.padding.1)
            }
            true if (extent + padding_sum(axis)) as u128 > LIMIT => {
                format!("too large: the limit is {LIMIT}")
            }
            _ if extent as u128 > LIMIT => format!("too large: the limit is {LIMIT}"),
            _ => return usize::try_from(extent).ok().map(Extent::Known),
        };
        let message =
            format!("output {name} is {} = {extent}: {reason}", arithmetic(axis, transposed));
        self.broken_axis(if transposed { "padding" } else { "kernel" }, at, message);
        None
    }

    fn derived(
        &mut self,
        at: usize,
        of: &str,
        scale: i128,
        add: i128,
        div: i128,
    ) -> Option<Extent> {
        if add.unsigned_abs() > LIMIT {
            self.broken_axis(
                "kernel",
                at,
                format!(
                    "the output is {scale} * {of} + {add}, which is too large: the limit is {LIMIT}"
                ),
            );
            return None;
        }
        Some(Extent::Derived {
            of: of.to_owned(),
            scale: scale as i64,
            add: add as i64,
            div: div as i64,
        })
    }
}

/// The entry for an axis; the number of entries was checked.
pub(super) fn entry<T>(list: &PerAxis<T>, axis: usize) -> &T {
    match list {
        PerAxis::All(value) => value,
        PerAxis::Each(list) if list.len() == 1 => &list[0],
        PerAxis::Each(list) => &list[axis],
    }
}
