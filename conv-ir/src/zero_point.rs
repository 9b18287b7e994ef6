//! Zero points: the number of an array that stands for 0.
//!
//! ```text
//! sum of (x - z) w, padded with z - z
//!   = sum of x w, padded with z, - z sum of w      the last into the bias, once
//! ```
//!
//! So a layer whose input has a zero point is one without: raw bytes go in, its padding is the zero
//! point, and its bias has what the zero point adds taken away. All is modulo 2^32, as sums of
//! integers are. A weight's zero point is subtracted before: what 8 bits hold, less a number of 8
//! bits, is held by i16, and by i8 where no difference is large.

use crate::conv::{Conv, ConvSpec, PaddingMode, Reduction};
use crate::{Array, DType, Error, Stored, Types};

/// The same sums without the input's zero point: the description of what takes the raw input, and
/// its bias, one number for each output channel.
///
/// ```
/// use conv_ir::{Conv, PaddingMode, reference, zero_point};
/// let conv: Conv = "conv1d u8 x i8 in 3 kernel 3 pad 1".parse()?;
/// let (raw, bias) = zero_point::without(&conv, 128, &[1i8, 2, 3], None)?;
/// assert_eq!(raw.spec().padding_mode, PaddingMode::Constant(128.0));
/// assert_eq!(bias, [-128 * 6]);
/// let (input, weight) = ([128, 129, 127], [1, 2, 3]);
/// let arrays = reference::Arguments {
///     input: &input,
///     weight: &weight,
///     bias: Some(&bias),
///     residual: None,
/// };
/// // Those of the inputs 0, 1, -1, padded with 0.
/// assert_eq!(reference::run(&raw, arrays, &[])?, [3, -1, -1]);
/// # Ok::<(), conv_ir::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] where sums are not of integers, or taps are left out (transposed), or the
/// zero point is no number of the input's type, or an array has another length.
pub fn without<W: Stored>(
    conv: &Conv,
    zero_point: i32,
    weight: &[W],
    bias: Option<&[i32]>,
) -> Result<(Conv, Vec<i32>), Error> {
    let spec = conv.spec();
    let wrong = |message: String| Err(Error::Argument(format!("zero point: {message}")));
    if !spec.types.accumulator.is_integer() || spec.reduction != Reduction::Sum {
        return wrong(format!("{conv} has no sums of integers"));
    }
    if spec.transposed {
        let way = "subtract it from the input, which i16 holds";
        return wrong(format!("a transposed convolution leaves taps out: {way}"));
    }
    let input = spec.types.input;
    let zero = f64::from(zero_point);
    if input.round(zero) != zero {
        return wrong(format!("{zero_point} is no {input}"));
    }
    for (name, found, needed) in [
        ("weight", Some(weight.len()), conv.weight_len()),
        ("bias", bias.map(<[i32]>::len), spec.out_channels),
    ] {
        if let Some(found) = found.filter(|found| *found != needed) {
            return wrong(format!("{name} has {found} elements, but {conv} needs {needed}"));
        }
    }
    let mut left = vec![0; spec.out_channels];
    if let Some(bias) = bias {
        left.copy_from_slice(bias);
    }
    let taps = conv.in_channels_per_group() * conv.kernel_volume();
    for (left, window) in left.iter_mut().zip(weight.chunks(taps.max(1))) {
        for w in window {
            *left = left.wrapping_sub(zero_point.wrapping_mul(w.to_f64() as i32));
        }
    }
    let padding_mode = match spec.padding_mode {
        PaddingMode::Zeros => PaddingMode::Constant(zero),
        other => other,
    };
    let types = spec.types.adding(spec.types.accumulator);
    let raw = ConvSpec { padding_mode, types, bias: true, ..spec.clone() };
    Ok((Conv::new(raw)?.requantised_as(conv), left))
}

/// The same sums without the weight's zero points, one for all or one for each output channel: the
/// description of what takes weights less those, and these weights: in i8 where it holds all, else
/// in i16.
///
/// ```
/// use conv_ir::{Conv, DType, zero_point};
/// let conv: Conv = "conv1d u8 x u8 in 3 kernel 3".parse()?;
/// let (raw, weight) = zero_point::without_of_weight(&conv, &[128], &[127u8, 128, 255])?;
/// assert_eq!((raw.types().weight, weight.values()), (DType::I8, vec![-1.0, 0.0, 127.0]));
/// let (raw, weight) = zero_point::without_of_weight(&conv, &[3], &[127u8, 128, 255])?;
/// assert_eq!((raw.types().weight, weight.values()), (DType::I16, vec![124.0, 125.0, 252.0]));
/// # Ok::<(), conv_ir::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] where sums are not of integers, there is another number of zero points or
/// weights, a zero point is no number of the weight's type, or i16 does not hold a difference.
pub fn without_of_weight<W: Stored>(
    conv: &Conv,
    zero_points: &[i32],
    weight: &[W],
) -> Result<(Conv, Array<'static>), Error> {
    let wrong = |message: String| Err(Error::Argument(format!("zero point: {message}")));
    let (spec, channels) = (conv.spec(), conv.out_channels());
    if !spec.types.accumulator.is_integer() || spec.reduction != Reduction::Sum {
        return wrong(format!("{conv} has no sums of integers"));
    }
    if zero_points.len() != 1 && zero_points.len() != channels {
        let found = zero_points.len();
        return wrong(format!("{found} of the weight, but there are {channels} output channels"));
    }
    if weight.len() != conv.weight_len() {
        let (found, needed) = (weight.len(), conv.weight_len());
        return wrong(format!("weight has {found} elements, but {conv} needs {needed}"));
    }
    let held = spec.types.weight;
    if let Some(zero) =
        zero_points.iter().find(|zero| held.round(f64::from(**zero)) != f64::from(**zero))
    {
        return wrong(format!("{zero} is no {held}"));
    }
    let less = |(at, w): (usize, &W)| {
        let zero = zero_points.get(conv.channel_of_weight(at)).unwrap_or(&zero_points[0]);
        w.to_f64() - f64::from(*zero)
    };
    let less: Vec<f64> = weight.iter().enumerate().map(less).collect();
    let fits = |dtype: DType| less.iter().all(|w| dtype.round(*w) == *w);
    let (dtype, array) = match () {
        () if fits(DType::I8) => {
            (DType::I8, less.iter().map(|w| *w as i8).collect::<Vec<_>>().into())
        }
        () if fits(DType::I16) => {
            (DType::I16, less.iter().map(|w| *w as i16).collect::<Vec<_>>().into())
        }
        () => return wrong("a weight less its zero point is more than i16 holds".to_owned()),
    };
    let types = Types { weight: dtype, ..spec.types };
    let raw = Conv::new(ConvSpec { types, ..spec.clone() })?;
    Ok((raw.requantised_as(conv), array))
}

impl Conv {
    /// The output channel of the weight's number at a place.
    pub fn channel_of_weight(&self, at: usize) -> usize {
        let shape = self.weight_shape();
        let inner = at / self.kernel_volume().max(1);
        if !self.spec().transposed {
            return inner / shape[1].max(1);
        }
        // [in, out / groups, kernel..]
        let group = inner / shape[1].max(1) / (shape[0] / self.groups()).max(1);
        group * shape[1] + inner % shape[1].max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    /// Against the reference on inputs with the zero point subtracted.
    fn check(text: &str, zero_point: i32) {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let mut state = 7u64;
        let mut number = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as i32
        };
        let input: Vec<i32> = (0..conv.input_len().unwrap()).map(|_| number()).collect();
        let weight: Vec<i32> = (0..conv.weight_len()).map(|_| number() - 128).collect();
        let bias: Vec<i32> = (0..conv.out_channels()).map(|_| number()).collect();
        let bias = conv.spec().bias.then_some(&bias[..]);
        let run = |conv: &Conv, input: &[i32], bias: Option<&[i32]>| {
            let arrays = reference::Arguments { input, weight: &weight, bias, residual: None };
            reference::run(conv, arrays, &[]).unwrap()
        };
        let subtracted: Vec<i32> = input.iter().map(|x| x - zero_point).collect();
        let narrow: Vec<i8> = weight.iter().map(|w| *w as i8).collect();
        let (raw, less) = without(&conv, zero_point, &narrow, bias).unwrap();
        assert_eq!(run(&raw, &input, Some(&less)), run(&conv, &subtracted, bias), "{text}");
    }

    #[test]
    fn sums_are_those_of_subtracted_inputs() {
        for text in [
            "conv2d u8 x i8 ic3 oc5 in 5x6 kernel 3 pad 1:2 stride 2",
            "conv2d u8 x i8 nhwc g4 ic4 oc8 in 5x6 kernel 3 pad 1 + bias, relu",
            "conv1d u8 x i8 -> i16 ic2 oc2 in 9 kernel 2 dilation 3 pad 4 + bias i16",
            "conv1d u8 x i8 in 9 kernel 3 pad 1 mode reflect",
            "conv1d u8 x i8 in 9 kernel 3 flip",
        ] {
            for zero_point in [0, 3, 255] {
                check(text, zero_point);
            }
        }
    }

    #[test]
    fn sums_are_those_of_subtracted_weights() {
        for (text, zero_points) in [
            ("conv2d u8 x u8 ic3 oc4 in 5x6 kernel 3 pad 1 + bias", &[3, 255, 0, 128][..]),
            ("conv1d i8 x i8 g2 ic4 oc4 in 9 kernel 3, relu", &[-7]),
            ("conv1d-transposed u8 x u8 g2 ic4 oc6 in 5 kernel 2 stride 2", &[1, 2, 3, 4, 5, 6]),
        ] {
            let conv: Conv = text.parse().unwrap();
            let range = conv.types().weight.range().unwrap();
            let held = |at: usize, (least, most): (i64, i64)| {
                (least + (at as i64 * 97) % (most - least + 1)) as i32
            };
            let weight: Vec<i32> = (0..conv.weight_len()).map(|at| held(at, range)).collect();
            let inputs = conv.types().input.range().unwrap();
            let input: Vec<i32> =
                (0..conv.input_len().unwrap()).map(|at| held(at, inputs)).collect();
            let bias: Vec<i32> = (0..conv.out_channels() as i32).collect();
            let bias = conv.spec().bias.then_some(&bias[..]);
            let run = |conv: &Conv, weight: &[i32]| {
                let arrays = reference::Arguments { input: &input, weight, bias, residual: None };
                reference::run(conv, arrays, &[]).unwrap()
            };
            let less = |(at, w): (usize, &i32)| {
                w - zero_points.get(conv.channel_of_weight(at)).unwrap_or(&zero_points[0])
            };
            let wanted: Vec<i32> = weight.iter().enumerate().map(less).collect();
            let made = match conv.types().weight {
                DType::U8 => {
                    let weight: Vec<u8> = weight.iter().map(|w| *w as u8).collect();
                    without_of_weight(&conv, zero_points, &weight)
                }
                _ => {
                    let weight: Vec<i8> = weight.iter().map(|w| *w as i8).collect();
                    without_of_weight(&conv, zero_points, &weight)
                }
            };
            let (raw, array) = made.unwrap();
            let found: Vec<i32> = array.values().iter().map(|w| *w as i32).collect();
            assert_eq!(found, wanted, "{text}");
            assert_eq!(array.dtype(), raw.types().weight);
            let wide =
                Conv::new(ConvSpec { types: Types::from(DType::I32), ..conv.spec().clone() });
            assert_eq!(run(&raw, &found), run(&wide.unwrap(), &wanted), "{text}");
        }
        let conv: Conv = "conv1d u8 x u8 oc2 in 9 kernel 3".parse().unwrap();
        let refused = |zero_points: &[i32], weights: usize| {
            let error = without_of_weight(&conv, zero_points, &vec![1u8; weights]).unwrap_err();
            error.to_string()
        };
        assert_eq!(refused(&[256], 6), "zero point: 256 is no u8");
        assert!(
            refused(&[1, 2, 3], 6).ends_with("3 of the weight, but there are 2 output channels")
        );
        assert!(refused(&[1], 5).starts_with("zero point: weight has 5 elements, but conv1d"));
    }

    #[test]
    fn what_has_none_is_refused() {
        let refused = |text: &str, zero_point, weights: usize| {
            let conv: Conv = text.parse().unwrap();
            without(&conv, zero_point, &vec![1i8; weights], None).unwrap_err().to_string()
        };
        let bytes = "conv1d u8 x i8 in 9 kernel 3";
        assert_eq!(refused(bytes, 256, 3), "zero point: 256 is no u8");
        assert_eq!(refused(bytes, -1, 3), "zero point: -1 is no u8");
        assert!(refused(bytes, 1, 2).starts_with("zero point: weight has 2 elements, but conv1d"));
        assert!(refused("conv1d in 9 kernel 3", 1, 3).ends_with("has no sums of integers"));
        assert!(
            refused("conv1d-transposed u8 x i8 in 9 kernel 3", 1, 3).contains("which i16 holds")
        );
    }
}
