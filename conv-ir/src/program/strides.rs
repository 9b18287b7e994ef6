//! Strides of windows of one element move to the step before, which then computes only what is
//! read. Every sum stays as it is, and so do the bits.
//!
//! ```text
//! before  conv2d in 56 kernel 3 pad 1; conv2d kernel 1 stride 2
//! after   conv2d in 56 kernel 3 pad 1 stride 2; conv2d kernel 1
//! ```
//!
//! Axis by axis, from the last step to the first, so that a stride moves through several such
//! windows. It stays where the tensor between is padded or has another reader, where the step
//! before is an input or adds a residual itself, and behind a transposed step, whose outputs have
//! no stride.

use super::{Program, follow};
use crate::conv::{Padding, PerAxis};
use crate::{Conv, ConvSpec, Error};

impl Program {
    /// The chain without outputs that nobody reads: same input, weights and output, to the bit.
    ///
    /// ```
    /// let chain: conv_ir::Program = "conv2d in 9 kernel 3; conv2d kernel 1 stride 2".parse()?;
    /// assert_eq!(chain.skipping_strides().shape(1), [1, 1, 4, 4]);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn skipping_strides(&self) -> Program {
        let mut steps = self.steps().to_vec();
        let readers = self.readers();
        for at in (1..steps.len()).rev() {
            let is_alone = readers[at] == 1 && steps[at].reads_before(at);
            let before = &steps[at - 1];
            if !is_alone || before.given || before.conv.spec().residual {
                continue;
            }
            // What does not fit stays as it was.
            if let Some((before, after)) =
                moved(at, &steps[at - 1].conv, &steps[at].conv).and_then(Result::ok)
            {
                steps[at - 1].conv = before;
                steps[at].conv = after;
            }
        }
        // Names of free sizes say which step they are from.
        let followed = follow(&mut steps);
        let moved = followed.and_then(|()| self.with_steps(steps));
        moved.unwrap_or_else(|_| self.clone())
    }
}

/// Step `number` and the next with the strides moved, if there are any to move.
fn moved(number: usize, before: &Conv, after: &Conv) -> Option<Result<(Conv, Conv), Error>> {
    if before.spec().transposed || after.spec().transposed {
        return None;
    }
    if before.counts_overhang() || after.counts_overhang() {
        return None;
    }
    let steps: Vec<usize> = after
        .axes()
        .iter()
        .map(|axis| if axis.kernel == 1 && axis.padding == (0, 0) { axis.stride } else { 1 })
        .collect();
    if steps.iter().all(|step| *step == 1) {
        return None;
    }
    Some(with_strides(before, &steps).and_then(|first| {
        let input = first.sizes_behind(number);
        let stride = after.axes().iter().zip(&steps).map(|(axis, step)| axis.stride / step);
        let spec = ConvSpec {
            input,
            stride: PerAxis::Each(stride.collect()),
            padding: explicit(after),
            ceil_mode: false,
            ..after.spec().clone()
        };
        let second = again(after, spec)?;
        Ok((first, second))
    }))
}

fn with_strides(conv: &Conv, steps: &[usize]) -> Result<Conv, Error> {
    let overflow = || Error::Argument("a stride is too large".to_owned());
    let strides: Option<Vec<usize>> =
        conv.axes().iter().zip(steps).map(|(axis, step)| axis.stride.checked_mul(*step)).collect();
    let spec = ConvSpec {
        stride: PerAxis::Each(strides.ok_or_else(overflow)?),
        padding: explicit(conv),
        ceil_mode: false,
        ..conv.spec().clone()
    };
    again(conv, spec)
}

/// The padding in numbers: words such as `same` depend on the stride.
fn explicit(conv: &Conv) -> Padding {
    Padding::Explicit(PerAxis::Each(conv.axes().iter().map(|axis| axis.padding).collect()))
}

/// Another description with the same weights.
fn again(conv: &Conv, spec: ConvSpec) -> Result<Conv, Error> {
    Ok(Conv::new(spec)?.knowing_as(conv))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{StepWeights, run_program};

    fn skipped(text: &str) -> String {
        let chain: Program = text.parse().expect("legal");
        let skipped = chain.skipping_strides();
        assert_eq!(skipped.output_shape(), chain.output_shape());
        skipped.to_string()
    }

    fn same(text: &str, wanted: &str) {
        let wanted: Program = wanted.parse().expect("legal");
        assert_eq!(skipped(text), wanted.to_string());
    }

    #[test]
    fn strides_move_to_the_step_before() {
        same(
            "conv2d ic3 oc4 in 14x15 kernel 3 pad 1 + bias, relu; conv2d oc2 kernel 1 stride 2x3",
            "conv2d ic3 oc4 in 14x15 kernel 3 pad 1 stride 2x3 + bias, relu; conv2d oc2 kernel 1",
        );
        same(
            "conv1d in 40 kernel 5 stride 2; conv1d kernel 1 stride 2; conv1d kernel 1 stride 3",
            "conv1d in 40 kernel 5 stride 12; conv1d kernel 1; conv1d kernel 1",
        );
        // Only along the axis where the window is one element.
        same(
            "conv2d in 20 kernel 3; conv2d kernel 1x3 stride 2",
            "conv2d in 20 kernel 3 stride 2x1; conv2d kernel 1x3 stride 1x2",
        );
    }

    /// The bits of a chain by the reference, on numbers whose sums round.
    fn computed(chain: &Program) -> Vec<f32> {
        let numbers = |len: usize, by: usize| {
            (0..len).map(|at| ((at * by) % 97) as f32 / 7.0 - 6.0).collect::<Vec<f32>>()
        };
        let arrays: Vec<_> = chain
            .convs()
            .map(|conv| {
                (
                    numbers(conv.weight_len(), 31),
                    conv.spec().bias.then(|| numbers(conv.bias_len(), 13)),
                )
            })
            .collect();
        let weights: Vec<_> = arrays
            .iter()
            .map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() })
            .collect();
        run_program(chain, &numbers(chain.len_of(0), 17), &weights).expect("it fits")
    }

    #[test]
    fn moved_strides_leave_the_bits() {
        for text in [
            "conv2d ic3 oc4 in 14x15 kernel 3 pad 1 + bias, relu; conv2d oc2 kernel 1 stride 2x3 + bias",
            "conv2d n2 g2 ic4 oc4 in 15x17 kernel 3x5 stride 2 dilation 2x1 pad 2:1,0 mode reflect, tanh; conv2d oc3 kernel 1 stride 3x2, relu6",
            "conv1d channels-last ic3 oc4 in 40 kernel 5 stride 2; conv1d oc4 kernel 1 stride 2 + bias; conv1d oc2 kernel 1 stride 3",
            "conv2d ic2 oc2 in 20 kernel 3 flip; conv2d oc3 kernel 1x3 stride 2",
        ] {
            let chain: Program = text.parse().expect("legal");
            let skipped = chain.skipping_strides();
            assert_ne!(skipped, chain, "{text}");
            assert_eq!(computed(&skipped), computed(&chain), "{text}");
        }
    }

    #[test]
    fn strides_stay_where_the_tensor_between_is_needed() {
        for text in [
            "conv2d in 14 kernel 3; conv2d kernel 1 pad 1 stride 2",
            "conv2d in 14 kernel 3 pad 1 + residual from 0; conv2d kernel 1 stride 2",
            "conv2d in 14 kernel 3 pad 1; conv2d kernel 1 stride 1; conv2d kernel 1 + residual from 1",
            "conv2d-transposed in 7 kernel 2 stride 2; conv2d kernel 1 stride 2",
        ] {
            same(text, text);
        }
    }
}
