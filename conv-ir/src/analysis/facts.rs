//! What one convolution costs and moves, whatever the schedule.
//!
//! In: a description. Out: numbers for `explain` and `bench`. The work is the direct algorithm's,
//! padding counted: every output element of a forward convolution costs `in_channels / groups *
//! kernel volume` multiply-adds, every input element of a transposed one `out_channels / groups *
//! kernel volume` (what it really does: no inserted zero is multiplied). A multiply-add is two
//! operations. The traffic is the least possible: each tensor moved once. [`multiply_adds_inside`]
//! leaves the padding out: an algorithm that skips it does less than the whole work, and still
//! saves no multiplication.

use crate::DType;
use crate::conv::{Conv, ConvAxis, Reduction};
use crate::numbers::{ceil_div, floor_sum};

/// What a convolution costs and moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Weights, and biases where there are some.
    pub parameters: u64,
    /// Of the direct algorithm, padding counted.
    pub multiply_adds: u128,
    /// Floating-point operations: two per multiply-add, and per tap of a dilation or an erosion;
    /// one per element that pooling compares or adds.
    pub operations: u128,
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
    /// Floating-point operations.
    pub fn flops(&self) -> f64 {
        self.operations as f64
    }

    /// Bytes of all tensors.
    pub fn total_bytes(&self) -> u64 {
        self.input_bytes
            + self.weight_bytes
            + self.bias_bytes
            + self.residual_bytes
            + self.output_bytes
    }
}

/// The facts, `None` while a size is free.
pub fn facts(conv: &Conv) -> Option<Facts> {
    let spec = conv.spec();
    let bytes = |elements: usize, dtype: DType| elements as u64 * dtype.bytes() as u64;
    let types = spec.types;
    let (input, output) = (conv.input_len()?, conv.output_len()?);
    let residual = conv.residual_shape()?.iter().product();
    let bias = if spec.bias { conv.bias_len() } else { 0 };
    let (steps, channels) = if spec.transposed {
        (input, conv.out_channels_per_group())
    } else {
        (output, conv.in_channels_per_group())
    };
    let taps = steps as u128 * (channels * conv.kernel_volume()) as u128;
    let mut facts = Facts {
        parameters: (conv.weight_len() + bias) as u64,
        multiply_adds: if spec.reduction == Reduction::Sum { taps } else { 0 },
        operations: taps * if conv.has_weight() { 2 } else { 1 },
        input_bytes: bytes(input, types.input),
        weight_bytes: bytes(conv.weight_len(), types.weight),
        bias_bytes: bytes(bias, types.bias),
        residual_bytes: bytes(if spec.residual { residual } else { 0 }, types.output),
        output_bytes: bytes(output, types.output),
        arithmetic_intensity: 0.0,
    };
    facts.arithmetic_intensity = facts.flops() / facts.total_bytes() as f64;
    Some(facts)
}

/// The multiply-adds whose input lies inside the image, not in its padding (whatever the padding
/// mode reads there); for a transposed convolution those whose output is kept, which are the taps
/// that hit an input. Pooling and its like have none. `None` while a size is free.
///
/// Exact, and a product over the axes: whether a tap of an output is inside on one axis has nothing
/// to do with the others.
///
/// ```
/// // A row of three outputs of three taps each: the first and the last output have a tap in the
/// // padding.
/// let conv: conv_ir::Conv = "conv1d in 3 kernel 3 pad 1".parse()?;
/// assert_eq!(conv_ir::analysis::multiply_adds_inside(&conv), Some(7));
/// # Ok::<(), conv_ir::Error>(())
/// ```
pub fn multiply_adds_inside(conv: &Conv) -> Option<u128> {
    let spec = conv.spec();
    let channels = spec.out_channels as u128 * conv.in_channels_per_group() as u128;
    let planes = spec.batch.known()? as u128 * channels;
    if spec.reduction != Reduction::Sum {
        return Some(0);
    }
    conv.axes()
        .iter()
        .try_fold(planes, |product, axis| Some(product * taps_inside(axis, spec.transposed)?))
}

/// Pairs of an output and a tap along one axis that meet an input.
///
/// Position and tap say where the other side is, `position * stride + tap * dilation - padding`:
/// forward, the position is an output and the other side the input; transposed, it is the other way
/// round.
fn taps_inside(axis: &ConvAxis, transposed: bool) -> Option<u128> {
    let (input, output) = (axis.input.known()? as i128, axis.output.known()? as i128);
    let (positions, extent) = if transposed { (input, output) } else { (output, input) };
    let [stride, dilation, taps] = [axis.stride, axis.dilation, axis.kernel].map(|n| n as i128);
    // Over all taps, the positions that are before `at` on the other side: for tap `t` these are
    // `(at + padding - t * dilation) / stride`, rounded up, no less than none and no more than all.
    let before = |at: i128| {
        let reach = at + axis.padding.0 as i128;
        let all = ceil_div(reach - stride * (positions - 1), dilation).clamp(0, taps);
        let some = ceil_div(reach, dilation).clamp(all, taps);
        // From the last of those with some, so that the line rises.
        let first = reach - (some - 1) * dilation;
        all * positions + floor_sum(some - all, stride, dilation, first + stride - 1)
    };
    u128::try_from(before(extent) - before(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(text: &str) -> Conv {
        text.parse().unwrap()
    }

    #[test]
    fn depthwise_separable_needs_fewer_weights() {
        let weights = |text: &str| facts(&conv(text)).unwrap().parameters;
        assert_eq!(weights("conv2d ic3 oc128 in 7 kernel 3"), 3456);
        let separable =
            weights("conv2d g3 ic3 oc3 in 7 kernel 3") + weights("conv2d ic3 oc128 in 5 kernel 1");
        assert_eq!(separable, 3 * 9 + 3 * 128);
    }

    #[test]
    fn work_and_traffic() {
        let stem = facts(&conv("conv2d ic3 oc64 in 224 kernel 7 stride 2 pad 3 + bias")).unwrap();
        assert_eq!(stem.multiply_adds, 118_013_952);
        assert_eq!(stem.parameters, 9472);
        assert_eq!(stem.input_bytes, 602_112);
        assert_eq!(stem.output_bytes, 3_211_264);
        assert!((stem.arithmetic_intensity - 61.2).abs() < 0.1, "{}", stem.arithmetic_intensity);
        let up =
            facts(&conv("conv2d-transposed f64 ic8 oc4 in 7 kernel 4 stride 2 pad 1 + residual"))
                .unwrap();
        assert_eq!(up.multiply_adds, 8 * 7 * 7 * 4 * 16);
        assert_eq!(up.residual_bytes, 4 * 14 * 14 * 8);
        assert_eq!(facts(&conv("conv2d in HxW kernel 3")), None);
    }

    /// Every index below `extents`.
    fn points(extents: &[i64]) -> Vec<Vec<i64>> {
        extents.iter().fold(vec![vec![]], |points, &extent| {
            let longer = |point: &Vec<i64>| {
                (0..extent).map(|i| [&point[..], &[i]].concat()).collect::<Vec<_>>()
            };
            points.iter().flat_map(longer).collect()
        })
    }

    /// Output by output, tap by tap, from the equation.
    fn counted_inside(conv: &Conv) -> u128 {
        let axes = conv.equation();
        let outputs =
            points(&axes.iter().map(|a| a.output.known().unwrap() as i64).collect::<Vec<_>>());
        let taps = points(&axes.iter().map(|a| a.kernel).collect::<Vec<_>>());
        let meets = |p: &[i64], k: &[i64]| {
            axes.iter().enumerate().all(|(i, axis)| {
                let at = p[i] * axis.stride + k[i] * axis.dilation - axis.pad_lo;
                let input = 0..axis.input.known().unwrap() as i64;
                at % axis.lhs_dilation == 0 && input.contains(&(at / axis.lhs_dilation))
            })
        };
        let pairs: usize =
            outputs.iter().map(|p| taps.iter().filter(|k| meets(p, k)).count()).sum();
        let spec = conv.spec();
        (pairs * spec.batch.known().unwrap() * spec.out_channels * conv.in_channels_per_group())
            as u128
    }

    #[test]
    fn inside_is_what_counting_one_by_one_finds() {
        let mut seen = 0;
        for at in points(&[2, 7, 4, 4, 3, 6]) {
            let kind = ["conv1d", "conv1d-transposed"][at[0] as usize];
            let [input, kernel, stride, dilation] = [1, 2, 3, 4].map(|i| at[i] + 1);
            let padding = ["0", "1", "0:3", "5:0", "9:12", "20"][at[5] as usize];
            let text = format!(
                "{kind} in {input} kernel {kernel} stride {stride} dilation {dilation} pad {padding}"
            );
            // Not every combination has an output.
            let Ok(conv) = text.parse::<Conv>() else { continue };
            assert_eq!(multiply_adds_inside(&conv), Some(counted_inside(&conv)), "{text}");
            seen += 1;
        }
        assert!(seen > 2000, "{seen}");
    }

    #[test]
    fn inside_is_a_product_over_axes_and_channels() {
        for text in [
            "conv2d n2 ic6 oc8 g2 in 7x9 kernel 3x2 stride 2x1 pad 1:2,0:1",
            "conv3d ic2 oc3 in 4x5x6 kernel 3 dilation 2x1x1 pad 2 mode reflect",
            "conv2d-transposed n3 ic4 oc6 g2 in 5x4 kernel 4x3 stride 2x3 pad 1 out_pad 1x2",
        ] {
            let conv = conv(text);
            let inside = multiply_adds_inside(&conv).unwrap();
            assert_eq!(inside, counted_inside(&conv), "{text}");
            assert!(inside < facts(&conv).unwrap().multiply_adds, "{text}");
        }
        let unpadded = conv("conv2d ic6 oc8 in 7x9 kernel 3");
        assert_eq!(multiply_adds_inside(&unpadded), facts(&unpadded).map(|f| f.multiply_adds));
        assert_eq!(multiply_adds_inside(&conv("conv2d in HxW kernel 3")), None);
    }
}
