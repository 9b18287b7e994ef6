//! Small examples with the expected numbers written out: those of the ONNX operator tests, and some
//! by hand.

use super::*;
use crate::{ConvSpec, DType, Padding};

fn on(spec: ConvSpec, input: &[f32], weight: &[f32]) -> Vec<f32> {
    let conv = Conv::new(spec).unwrap();
    run(&conv, Arguments { input, weight, bias: None, residual: None }, &[]).unwrap()
}

/// `0, 1, 2, ...`, as the ONNX examples have it.
fn counted(n: u16) -> Vec<f32> {
    (0..n).map(f32::from).collect()
}

fn transposed(input: [usize; 2], kernel: [usize; 2]) -> ConvSpec {
    ConvSpec { transposed: true, ..ConvSpec::new(input, kernel) }
}

#[test]
fn onnx_conv() {
    let spec = ConvSpec::new([5, 5], [3, 3]);
    let valid = on(spec.clone(), &counted(25), &[1.0; 9]);
    assert_eq!(valid, [54., 63., 72., 99., 108., 117., 144., 153., 162.]);
    let padded = on(ConvSpec { padding: 1.into(), ..spec.clone() }, &counted(25), &[1.0; 9]);
    #[rustfmt::skip]
    assert_eq!(padded, [
        12., 21., 27., 33., 24.,
        33., 54., 63., 72., 51.,
        63., 99., 108., 117., 81.,
        93., 144., 153., 162., 111.,
        72., 111., 117., 123., 84.,
    ]);
    let lower = ConvSpec { padding: Padding::SameLower, stride: 2.into(), ..spec };
    assert_eq!(on(lower, &counted(25), &[1.0; 9]), [12., 27., 24., 63., 108., 81., 72., 117., 84.]);
}

#[test]
fn onnx_conv_with_strides_and_asymmetric_padding() {
    let spec = ConvSpec { stride: 2.into(), ..ConvSpec::new([7, 5], [3, 3]) };
    let both = on(ConvSpec { padding: 1.into(), ..spec.clone() }, &counted(35), &[1.0; 9]);
    assert_eq!(both, [12., 27., 24., 63., 108., 81., 123., 198., 141., 112., 177., 124.]);
    let rows = on(ConvSpec { padding: [(1, 1), (0, 0)].into(), ..spec }, &counted(35), &[1.0; 9]);
    assert_eq!(rows, [21., 33., 99., 117., 189., 207., 171., 183.]);
}

#[test]
fn onnx_conv_transpose() {
    let spec = ConvSpec { out_channels: 2, ..transposed([3, 3], [3, 3]) };
    #[rustfmt::skip]
    let channel = [
        0., 1., 3., 3., 2.,
        3., 8., 15., 12., 7.,
        9., 21., 36., 27., 15.,
        9., 20., 33., 24., 13.,
        6., 13., 21., 15., 8.,
    ];
    assert_eq!(on(spec.clone(), &counted(9), &[1.0; 18]), [channel, channel].concat());

    let pads = ConvSpec { stride: [3, 2].into(), padding: [(1, 1), (2, 2)].into(), ..spec };
    #[rustfmt::skip]
    let channel = [1., 1., 3., 1., 1., 3., 7., 4., 9., 7., 4., 9., 7., 4., 9., 13., 7., 15., 13., 7., 15.];
    assert_eq!(on(pads, &counted(9), &[1.0; 18]), [channel, channel].concat());
}

#[test]
fn onnx_conv_transpose_with_dilation() {
    let spec = ConvSpec { dilation: 2.into(), ..transposed([3, 3], [2, 2]) };
    let output = on(spec, &[3., 8., 1., 9., 5., 7., 3., 2., 6.], &[7., 2., 1., 9.]);
    #[rustfmt::skip]
    assert_eq!(output, [
        21., 56., 13., 16., 2.,
        63., 35., 67., 10., 14.,
        24., 22., 76., 76., 21.,
        9., 5., 88., 45., 63.,
        3., 2., 33., 18., 54.,
    ]);
}

/// A 2x2 input and a 3x3 window, each input stamping the window once.
#[test]
fn transposed_stamps_the_window() {
    let window = [1., 2., 3., 4., 5., 6., 7., 8., 9.];
    #[rustfmt::skip]
    assert_eq!(on(transposed([2, 2], [3, 3]), &[1., 0., 0., 10.], &window), [
        1., 2., 3., 0.,
        4., 15., 26., 30.,
        7., 48., 59., 60.,
        0., 70., 80., 90.,
    ]);
    let strided = ConvSpec { stride: 2.into(), ..transposed([2, 2], [3, 3]) };
    #[rustfmt::skip]
    assert_eq!(on(strided.clone(), &[1., 0., 0., 10.], &window), [
        1., 2., 3., 0., 0.,
        4., 5., 6., 0., 0.,
        7., 8., 19., 20., 30.,
        0., 0., 40., 50., 60.,
        0., 0., 70., 80., 90.,
    ]);
    let padded = ConvSpec { padding: 1.into(), output_padding: [1, 0].into(), ..strided };
    assert_eq!(
        on(padded, &[1., 0., 0., 10.], &window),
        [5., 6., 0., 8., 19., 20., 0., 40., 50., 0., 70., 80.]
    );
}

/// The window `1, 10, 100` shows which elements were read.
#[test]
fn padding_modes() {
    let padded = |mode| {
        let spec =
            ConvSpec { padding: (2, 2).into(), padding_mode: mode, ..ConvSpec::new([3], [3]) };
        on(spec, &[1., 2., 3.], &[1., 10., 100.])
    };
    assert_eq!(padded(PaddingMode::Zeros), [100., 210., 321., 32., 3.]);
    assert_eq!(padded(PaddingMode::Constant(7.0)), [177., 217., 321., 732., 773.]);
    assert_eq!(padded(PaddingMode::Reflect), [123., 212., 321., 232., 123.]);
    assert_eq!(padded(PaddingMode::Symmetric), [112., 211., 321., 332., 233.]);
    assert_eq!(padded(PaddingMode::Replicate), [111., 211., 321., 332., 333.]);
    assert_eq!(padded(PaddingMode::Circular), [132., 213., 321., 132., 213.]);
}

/// Padding wider than the input goes on as `scipy.ndimage` has it (its `mirror`, `reflect` and
/// `wrap`), from whose `correlate1d` these numbers are.
#[test]
fn padding_modes_beyond_the_input() {
    let padded = |mode, input: &[f32]| {
        let extent = input.len();
        let spec =
            ConvSpec { padding: (7, 7).into(), padding_mode: mode, ..ConvSpec::new([extent], [1]) };
        let digits = on(spec, input, &[1.]).into_iter().map(|x| format!("{x}"));
        digits.collect::<String>()
    };
    let tables = [
        (PaddingMode::Reflect, ["111111111111111", "2121212121212121", "23212321232123212"]),
        (PaddingMode::Symmetric, ["111111111111111", "2211221122112211", "11233211233211233"]),
        (PaddingMode::Replicate, ["111111111111111", "1111111122222222", "11111111233333333"]),
        (PaddingMode::Circular, ["111111111111111", "2121212121212121", "31231231231231231"]),
    ];
    for (mode, [one, two, three]) in tables {
        assert_eq!(padded(mode, &[1.]), one, "{mode}");
        assert_eq!(padded(mode, &[1., 2.]), two, "{mode}");
        assert_eq!(padded(mode, &[1., 2., 3.]), three, "{mode}");
    }
}

#[test]
fn dilation_causality_and_flip() {
    let spec = ConvSpec { dilation: 2.into(), ..ConvSpec::new([5], [2]) };
    assert_eq!(on(spec.clone(), &[1., 2., 3., 4., 5.], &[1., 10.]), [31., 42., 53.]);
    let causal = ConvSpec { padding: Padding::Causal, ..spec.clone() };
    assert_eq!(on(causal, &[1., 2., 3., 4., 5.], &[1., 10.]), [10., 20., 31., 42., 53.]);
    assert_eq!(
        on(ConvSpec { flip: true, ..spec }, &[1., 2., 3., 4., 5.], &[1., 10.]),
        [13., 24., 35.]
    );
    // A full true convolution multiplies polynomials: (1 + 2x + 3x^2) * (4 + 5x).
    let product = ConvSpec { flip: true, padding: 1.into(), ..ConvSpec::new([3], [2]) };
    assert_eq!(on(product, &[1., 2., 3.], &[4., 5.]), [4., 13., 22., 15.]);
    // So does a transposed one, which is reversed already; flipping it reverses it back.
    let product = ConvSpec { transposed: true, ..ConvSpec::new([3], [2]) };
    assert_eq!(on(product.clone(), &[1., 2., 3.], &[4., 5.]), [4., 13., 22., 15.]);
    assert_eq!(
        on(ConvSpec { flip: true, ..product }, &[1., 2., 3.], &[4., 5.]),
        [5., 14., 23., 12.]
    );
}

#[test]
fn groups_and_depthwise_multipliers() {
    let grouped =
        ConvSpec { in_channels: 4, out_channels: 2, groups: 2, ..ConvSpec::new([2], [1]) };
    let input = [1., 2., 3., 4., 5., 6., 7., 8.];
    assert_eq!(on(grouped.clone(), &input, &[1., 10., 100., 1000.]), [31., 42., 7500., 8600.]);
    let depthwise =
        ConvSpec { in_channels: 2, out_channels: 4, groups: 2, ..ConvSpec::new([2], [1]) };
    assert_eq!(
        on(depthwise, &input[..4], &[1., 10., 100., 1000.]),
        [1., 2., 10., 20., 300., 400., 3000., 4000.]
    );
    // Weight [in, out/groups, k]: input channels 0 and 1 go to output 0, channels 2 and
    // 3 to output 1.
    let transposed = ConvSpec { transposed: true, ..grouped };
    assert_eq!(on(transposed, &input, &[1., 10., 100., 1000.]), [31., 42., 7500., 8600.]);
}

#[test]
fn transposed_weights_have_input_channels_first() {
    let spec =
        ConvSpec { in_channels: 2, out_channels: 3, transposed: true, ..ConvSpec::new([1], [1]) };
    assert_eq!(on(spec, &[1., 10.], &[1., 2., 3., 4., 5., 6.]), [41., 52., 63.]);
}

#[test]
fn channels_last_moves_input_and_output_only() {
    let first =
        ConvSpec { in_channels: 2, out_channels: 2, batch: 2.into(), ..ConvSpec::new([2], [1]) };
    let last = ConvSpec { layout: Layout::ChannelsLast, ..first.clone() };
    let weight = [1., 10., 100., 1000.];
    let out = on(first, &[1., 2., 3., 4., 5., 6., 7., 8.], &weight);
    assert_eq!(out, [31., 42., 3100., 4200., 75., 86., 7500., 8600.]);
    let out = on(last, &[1., 3., 2., 4., 5., 7., 6., 8.], &weight);
    assert_eq!(out, [31., 3100., 42., 4200., 75., 7500., 86., 8600.]);
}

#[test]
fn three_and_four_axes() {
    let cube = ConvSpec::new([2, 2, 2], [2, 2, 1]);
    assert_eq!(on(cube, &counted(8), &[1., 10., 100., 1000.]), [6420., 7531.]);
    let four = ConvSpec {
        padding: [(0, 0), (0, 0), (0, 0), (1, 0)].into(),
        ..ConvSpec::new([2, 1, 2, 1], [2, 1, 1, 2])
    };
    assert_eq!(on(four, &[1., 2., 3., 4.], &[1., 10., 100., 1000.]), [3010., 4020.]);
}

#[test]
fn bias_then_residual_then_activation() {
    let activation = Some(Activation::Relu);
    let conv =
        Conv::new(ConvSpec { bias: true, residual: true, activation, ..ConvSpec::new([3], [1]) })
            .unwrap();
    let arguments = Arguments {
        input: &[1f32, 2., 3.],
        weight: &[2.],
        bias: Some(&[10.]),
        residual: Some(&[-20., 0., 0.5]),
    };
    assert_eq!(run(&conv, arguments, &[]), Ok(vec![0., 14., 16.5]));
    assert_eq!(run_f64(&conv, arguments, &[]), Ok(vec![0., 14., 16.5]));
}

/// One rounding per tap, and the bias first: any other order or a separate product rounds
/// differently here.
#[test]
fn the_chain_is_fused_and_starts_at_the_bias() {
    let conv =
        Conv::new(ConvSpec { bias: true, in_channels: 2, ..ConvSpec::new([1], [1]) }).unwrap();
    let (tiny, x) = (f32::EPSILON / 2.0, 1.0 + f32::EPSILON);
    let run = |input: &[f32], weight: &[f32], bias: f32| {
        run(&conv, Arguments { input, weight, bias: Some(&[bias]), residual: None }, &[]).unwrap()
            [0]
    };
    assert_eq!(run(&[x, 0.0], &[x, 0.0], -1.0 - 2.0 * f32::EPSILON), f32::EPSILON * f32::EPSILON);
    assert_eq!(run(&[tiny, tiny], &[1.0, 1.0], 1.0), 1.0);
    assert_eq!(run(&[tiny, 1.0], &[1.0, 1.0], tiny), 1.0 + f32::EPSILON);
}

#[test]
fn an_empty_batch_gives_an_empty_result() {
    assert!(on(ConvSpec { batch: 0.into(), ..ConvSpec::new([3], [1]) }, &[], &[1.0]).is_empty());
}

#[test]
fn free_sizes_are_given_by_name() {
    let conv = Conv::new(ConvSpec { input: vec!["W".into()], ..ConvSpec::new([1], [2]) }).unwrap();
    let arguments =
        Arguments { input: &[1f32, 2., 3.], weight: &[1., 1.], bias: None, residual: None };
    assert_eq!(run(&conv, arguments, &[("W", 3)]), Ok(vec![3., 5.]));
    assert!(matches!(run(&conv, arguments, &[]), Err(Error::Argument(_))));
    assert!(matches!(
        run(&conv, arguments, &[("W", 4)]),
        Err(Error::Length { name: "input", needed: 4, .. })
    ));
}

#[test]
fn arrays_are_checked() {
    let conv =
        Conv::new(ConvSpec { bias: true, types: DType::F64.into(), ..ConvSpec::new([2], [1]) })
            .unwrap();
    let good = Arguments { input: &[1f64, 2.], weight: &[1.], bias: Some(&[0.]), residual: None };
    let message = |arguments| run(&conv, arguments, &[]).unwrap_err().to_string();
    assert_eq!(run(&conv, good, &[]), Ok(vec![1., 2.]));
    let short = Arguments { weight: &[], ..good };
    assert_eq!(message(short), "weight has 0 elements, but its shape [1, 1, 1] needs 1");
    assert_eq!(
        message(Arguments { bias: None, ..good }),
        "the convolution has a bias, but none is given"
    );
    let superfluous = Arguments { residual: Some(&[0., 0.]), ..good };
    assert_eq!(message(superfluous), "a residual is given, but the convolution has none");
    let other = Arguments { input: &[1f32, 2.], weight: &[1.], bias: Some(&[0.]), residual: None };
    assert_eq!(
        run(&conv, other, &[]).unwrap_err().to_string(),
        "the convolution is of f64, the arrays of f32"
    );
    assert_eq!(run_f64(&conv, other, &[]), Ok(vec![1., 2.]));
}

#[test]
fn an_empty_batch_takes_no_time() {
    let conv: Conv = "conv2d n0 in 1000000x1000000 kernel 3 pad 1".parse().unwrap();
    let arrays = Arguments { input: &[], weight: &[1.0f32; 9], bias: None, residual: None };
    assert_eq!(run(&conv, arrays, &[]), Ok(Vec::new()));
}
