//! Facts about a convolution that need no schedule: work, traffic, and how far it sees.
//!
//! In: descriptions. Out: numbers for `explain` and `bench`. The work is the direct algorithm's, padding counted: every output element
//! of a forward convolution costs `in_channels / groups * kernel volume` multiply-adds, every input element of a transposed one
//! `out_channels / groups * kernel volume` (what it really does: no inserted zero is multiplied). A multiply-add is two operations. The
//! traffic is the least possible: each tensor moved once.
//!
//! Receptive fields follow Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).

use crate::conv::{Conv, ConvAxis};
use crate::error::Error;

/// What a convolution costs and moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Weights, and biases where there are some.
    pub parameters: u64,
    /// Of the direct algorithm, padding counted.
    pub multiply_adds: u128,
    /// Bytes of the input.
    pub input_bytes: u64,
    /// Bytes of the weight.
    pub weight_bytes: u64,
    /// Bytes of the bias; zero without one.
    pub bias_bytes: u64,
    /// Bytes of the residual; zero without one.
    pub residual_bytes: u64,
    /// Bytes of the output.
    pub output_bytes: u64,
    /// Operations per byte, if every tensor moves once.
    pub arithmetic_intensity: f64,
}

impl Facts {
    /// Floating-point operations: two per multiply-add.
    pub fn flops(&self) -> f64 {
        2.0 * self.multiply_adds as f64
    }

    /// Bytes of all tensors.
    pub fn total_bytes(&self) -> u64 {
        self.input_bytes + self.weight_bytes + self.bias_bytes + self.residual_bytes + self.output_bytes
    }
}

/// The facts, `None` while a size is free.
pub fn facts(conv: &Conv) -> Option<Facts> {
    let spec = conv.spec();
    let bytes = |elements: usize| elements as u64 * spec.dtype.bytes() as u64;
    let (input, output) = (conv.input_len()?, conv.output_len()?);
    let bias = if spec.bias { conv.bias_len() } else { 0 };
    let (steps, channels) = if spec.transposed {
        (input, conv.out_channels_per_group())
    } else {
        (output, conv.in_channels_per_group())
    };
    let mut facts = Facts {
        parameters: (conv.weight_len() + bias) as u64,
        multiply_adds: steps as u128 * (channels * conv.kernel_volume()) as u128,
        input_bytes: bytes(input),
        weight_bytes: bytes(conv.weight_len()),
        bias_bytes: bytes(bias),
        residual_bytes: bytes(if spec.residual { output } else { 0 }),
        output_bytes: bytes(output),
        arithmetic_intensity: 0.0,
    };
    facts.arithmetic_intensity = facts.flops() / facts.total_bytes() as f64;
    Some(facts)
}

/// What one output of a stack of convolutions sees of the first input, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceptiveField {
    /// Elements from the first to the last that matter.
    pub size: i64,
    /// Neighbouring outputs see fields this far apart.
    pub stride: i64,
    /// First input element that the first output sees; negative in the padding.
    pub start: i64,
}

/// The receptive field of convolutions applied one after the other, per spatial axis.
///
/// # Errors
/// [`Error::Argument`] where a convolution is transposed, the ranks differ, or the field is too large to count.
pub fn receptive_field(convs: &[Conv]) -> Result<Vec<ReceptiveField>, Error> {
    let rank = convs.first().map_or(0, Conv::rank);
    let mut fields = vec![
        ReceptiveField {
            size: 1,
            stride: 1,
            start: 0
        };
        rank
    ];
    for (i, conv) in convs.iter().enumerate() {
        if conv.spec().transposed {
            return Err(Error::Argument(format!(
                "convolution {i} is transposed: its receptive field is not known yet"
            )));
        }
        if conv.rank() != rank {
            let message = format!(
                "convolution {i} has {} spatial axes, but the first has {rank}",
                conv.rank()
            );
            return Err(Error::Argument(message));
        }
        for (field, axis) in fields.iter_mut().zip(conv.axes()) {
            *field = after(*field, axis).ok_or_else(|| {
                Error::Argument(format!("the receptive field of convolution {i} is too large to count"))
            })?;
        }
    }
    Ok(fields)
}

/// The field seen through one more layer on top.
fn after(below: ReceptiveField, axis: &ConvAxis) -> Option<ReceptiveField> {
    let (kernel, dilation) = (axis.kernel as i64, axis.dilation as i64);
    let reach = dilation.checked_mul(kernel - 1)?;
    Some(ReceptiveField {
        size: below.size.checked_add(below.stride.checked_mul(reach)?)?,
        stride: below.stride.checked_mul(axis.stride as i64)?,
        start: below
            .start
            .checked_sub(below.stride.checked_mul(axis.padding.0 as i64)?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(text: &str) -> Conv {
        text.parse().unwrap()
    }

    fn sizes(texts: &[&str]) -> Vec<i64> {
        let convs: Vec<Conv> = texts.iter().map(|text| conv(text)).collect();
        receptive_field(&convs)
            .unwrap()
            .iter()
            .map(|field| field.size)
            .collect()
    }

    #[test]
    fn dilated_stack_sees_3_7_15() {
        let stack = [
            "conv2d in 64 kernel 3",
            "conv2d in 64 kernel 3 dilation 2",
            "conv2d in 64 kernel 3 dilation 4",
        ];
        assert_eq!(sizes(&stack[..1]), [3, 3]);
        assert_eq!(sizes(&stack[..2]), [7, 7]);
        assert_eq!(sizes(&stack), [15, 15]);
    }

    #[test]
    fn strides_multiply_and_padding_moves_the_start() {
        // AlexNet up to pool5, pooling as convolutions: the published size is 195, the stride 32.
        let layers = [
            "conv1d in 224 kernel 11 stride 4 pad 2",
            "conv1d in 55 kernel 3 stride 2",
            "conv1d in 27 kernel 5 pad 2",
            "conv1d in 27 kernel 3 stride 2",
            "conv1d in 13 kernel 3 pad 1",
            "conv1d in 13 kernel 3 pad 1",
            "conv1d in 13 kernel 3 pad 1",
            "conv1d in 13 kernel 3 stride 2",
        ];
        let convs: Vec<Conv> = layers.iter().map(|text| conv(text)).collect();
        let fields = receptive_field(&convs).unwrap();
        assert_eq!(
            fields,
            [ReceptiveField {
                size: 195,
                stride: 32,
                start: -(2 + 2 * 8 + 3 * 16)
            }]
        );
    }

    #[test]
    fn stacks_that_make_no_sense_are_refused() {
        let transposed = [conv("conv2d in 4 kernel 3"), conv("conv2d-transposed in 4 kernel 3")];
        let message = receptive_field(&transposed).unwrap_err().to_string();
        assert_eq!(
            message,
            "convolution 1 is transposed: its receptive field is not known yet"
        );
        let ranks = [conv("conv2d in 4 kernel 3"), conv("conv1d in 4 kernel 3")];
        let message = receptive_field(&ranks).unwrap_err().to_string();
        assert_eq!(message, "convolution 1 has 1 spatial axes, but the first has 2");
        let far = vec![conv("conv1d in 4 kernel 1 stride 1000000000"); 3];
        assert!(receptive_field(&far).unwrap_err().to_string().contains("too large"));
        assert_eq!(receptive_field(&[]), Ok(vec![]));
    }

    #[test]
    fn depthwise_separable_needs_fewer_weights() {
        let weights = |text: &str| facts(&conv(text)).unwrap().parameters;
        assert_eq!(weights("conv2d ic3 oc128 in 7 kernel 3"), 3456);
        let separable = weights("conv2d g3 ic3 oc3 in 7 kernel 3") + weights("conv2d ic3 oc128 in 5 kernel 1");
        assert_eq!(separable, 3 * 9 + 3 * 128);
    }

    #[test]
    fn work_and_traffic() {
        let stem = facts(&conv("conv2d ic3 oc64 in 224 kernel 7 stride 2 pad 3 + bias")).unwrap();
        assert_eq!(stem.multiply_adds, 118_013_952);
        assert_eq!(stem.parameters, 9472);
        assert_eq!(stem.input_bytes, 602_112);
        assert_eq!(stem.output_bytes, 3_211_264);
        assert!(
            (stem.arithmetic_intensity - 61.2).abs() < 0.1,
            "{}",
            stem.arithmetic_intensity
        );
        let up = facts(&conv(
            "conv2d-transposed f64 ic8 oc4 in 7 kernel 4 stride 2 pad 1 + residual",
        ))
        .unwrap();
        assert_eq!(up.multiply_adds, 8 * 7 * 7 * 4 * 16);
        assert_eq!(up.residual_bytes, 4 * 14 * 14 * 8);
        assert_eq!(facts(&conv("conv2d in HxW kernel 3")), None);
    }
}
