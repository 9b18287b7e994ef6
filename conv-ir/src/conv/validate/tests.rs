use super::*;
use crate::activation::Activation;
use crate::conv::{Extent, Layout};
use crate::dtype::DType;

mod sizes;

/// A 2-D convolution of 8 channels, to be broken by the test.
fn base() -> ConvSpec {
    ConvSpec { in_channels: 8, out_channels: 16, ..ConvSpec::new([5, 6], [3, 3]) }
}

fn transposed() -> ConvSpec {
    ConvSpec { transposed: true, ..base() }
}

fn refused(spec: ConvSpec) -> String {
    Conv::new(spec).unwrap_err().to_string()
}

fn output(spec: ConvSpec) -> Vec<usize> {
    let conv = Conv::new(spec).unwrap();
    conv.axes().iter().map(|axis| axis.output.known().unwrap()).collect()
}

fn paddings(spec: ConvSpec) -> Vec<(usize, usize)> {
    Conv::new(spec).unwrap().axes().iter().map(|axis| axis.padding).collect()
}

#[test]
fn counts_must_match() {
    assert_eq!(
        refused(ConvSpec { stride: [1, 2, 3].into(), padding: vec![].into(), ..base() }),
        "stride: 3 entries, but the input has 2 spatial axes: give one for each, or one for all\n\
         padding: 0 entries, but the input has 2 spatial axes: give one for each, or one for all"
    );
    assert_eq!(
        refused(ConvSpec { kernel: vec![3], ..base() }),
        "kernel: 1 entry, but the input has 2 spatial axes"
    );
    assert_eq!(refused(ConvSpec::new([], [])), "input: 0 spatial axes, but there must be 1 to 8");
    assert_eq!(
        refused(ConvSpec::new([1; 9], [1; 9])),
        "input: 9 spatial axes, but there must be 1 to 8"
    );
    assert_eq!(output(ConvSpec { stride: vec![2].into(), ..base() }), [2, 2]);
}

#[test]
fn numbers_must_be_positive() {
    let zeros = ConvSpec {
        in_channels: 0,
        out_channels: 0,
        groups: 0,
        kernel: vec![0, 3],
        stride: [1, 0].into(),
        dilation: 0.into(),
        ..base()
    };
    assert_eq!(
        refused(zeros),
        "groups: 0, but must be at least 1\n\
         in_channels: 0, but must be at least 1\n\
         out_channels: 0, but must be at least 1\n\
         kernel (height): 0, but must be at least 1\n\
         dilation (height): 0, but must be at least 1\n\
         stride (width): 0, but must be at least 1\n\
         dilation (width): 0, but must be at least 1"
    );
    assert_eq!(refused(ConvSpec::new([0], [1])), "input (width): 0, but must be at least 1");
    assert_eq!(
        Conv::new(ConvSpec { batch: 0.into(), ..base() }).unwrap().output_shape(),
        Some(vec![0, 16, 3, 4])
    );
}

#[test]
fn axes_are_called_by_their_names() {
    let name = |rank: usize| {
        refused(ConvSpec::new(vec![0; rank], vec![1; rank]))
            .replace(": 0, but must be at least 1", "")
    };
    assert_eq!(name(1), "input (width)");
    assert_eq!(name(2), "input (height, width)");
    assert_eq!(name(3), "input (depth, height, width)");
    assert_eq!(name(4), "input (axis 0, axis 1, axis 2, axis 3)");
}

#[test]
fn groups_divide_channels() {
    assert_eq!(
        refused(ConvSpec { groups: 3, ..base() }),
        "groups: 3 does not divide in_channels 8\ngroups: 3 does not divide out_channels 16"
    );
    assert_eq!(Conv::new(ConvSpec { groups: 8, ..base() }).unwrap().weight_shape(), [16, 1, 3, 3]);
}

#[test]
fn window_fits_the_padded_input() {
    assert_eq!(
        refused(ConvSpec::new([5, 9], [7, 7])),
        "kernel (height): output height is (5 + 0 + 0 - 7) / 1 + 1 = -1: window 7 is wider than the padded input 5"
    );
    assert_eq!(
        refused(ConvSpec {
            dilation: 4.into(),
            stride: 2.into(),
            padding: (1, 0).into(),
            ..ConvSpec::new([5], [3])
        }),
        "kernel (width): output width is (5 + 1 + 0 - 4 * (3 - 1) - 1) / 2 + 1 = -1: window 9 is wider than the padded input 6"
    );
    // Rounding down must not hide that nothing fits.
    assert_eq!(
        refused(ConvSpec { stride: 3.into(), ..ConvSpec::new([5], [6]) }),
        "kernel (width): output width is (5 + 0 + 0 - 6) / 3 + 1 = 0: window 6 is wider than the padded input 5"
    );
    assert_eq!(output(ConvSpec::new([5], [5])), [1]);
}

#[test]
fn padding_that_fits() {
    let upper =
        ConvSpec { padding: Padding::SameUpper, stride: 2.into(), ..ConvSpec::new([5, 6], [3, 3]) };
    assert_eq!(output(upper.clone()), [3, 3]);
    assert_eq!(paddings(upper.clone()), [(1, 1), (0, 1)]);
    assert_eq!(paddings(ConvSpec { padding: Padding::SameLower, ..upper }), [(1, 1), (1, 0)]);
    let sparse =
        ConvSpec { padding: Padding::SameUpper, stride: 4.into(), ..ConvSpec::new([7], [1]) };
    assert_eq!((output(sparse.clone()), paddings(sparse)), (vec![2], vec![(0, 0)]));
    let causal =
        ConvSpec { padding: Padding::Causal, dilation: 4.into(), ..ConvSpec::new([10], [3]) };
    assert_eq!((output(causal.clone()), paddings(causal)), (vec![10], vec![(8, 0)]));
    let numpys = |padding: Padding| ConvSpec {
        padding,
        dilation: [1, 2].into(),
        ..ConvSpec::new([9, 9], [3, 4])
    };
    assert_eq!(paddings(numpys(Padding::Full)), [(2, 2), (6, 6)]);
    assert_eq!(output(numpys(Padding::Full)), [11, 15]);
    assert_eq!(paddings(numpys(Padding::Same)), [(1, 1), (3, 3)]);
    assert_eq!(
        refused(ConvSpec { padding: Padding::Same, ..ConvSpec::new([9, 9], [3, 4]) }),
        "padding (width): same, but the padding of a window that spans 4 is 3 in all, which is \
         odd, so one side gets more: say same-upper (the end, as PyTorch and TensorFlow) or \
         same-lower"
    );
    // The parity of the padding counts, which a stride changes.
    let strided = |kernel| ConvSpec {
        padding: Padding::Same,
        stride: 2.into(),
        ..ConvSpec::new([8], [kernel])
    };
    assert_eq!(paddings(strided(4)), [(1, 1)]);
    assert!(refused(strided(3)).contains("that spans 3 is 1 in all, which is odd"));
    let transposed = |kernel| ConvSpec { transposed: true, ..strided(kernel) };
    assert_eq!(paddings(transposed(4)), [(1, 1)]);
    assert!(refused(transposed(3)).contains("that spans 3 is 1 in all, which is odd"));
    assert_eq!(
        refused(ConvSpec { padding: Padding::Full, transposed: true, ..ConvSpec::new([9], [3]) }),
        "padding (width): full, but a transposed convolution is full without padding"
    );
}

#[test]
fn transposed_sizes() {
    let of = |padding: Padding, stride: usize, extra: usize| ConvSpec {
        padding,
        stride: stride.into(),
        output_padding: extra.into(),
        transposed: true,
        ..ConvSpec::new([2], [3])
    };
    assert_eq!(output(of(Padding::Valid, 1, 0)), [4]);
    assert_eq!(output(of(Padding::Valid, 2, 0)), [5]);
    assert_eq!(output(of(1.into(), 2, 1)), [4]);
    for symbolic in [Padding::SameUpper, Padding::SameLower, Padding::Causal] {
        assert_eq!(output(of(symbolic.clone(), 2, 0)), [4]);
        assert_eq!(output(of(symbolic, 3, 1)), [6]);
    }
    assert_eq!(paddings(of(Padding::SameUpper, 2, 0)), [(0, 1)]);
    assert_eq!(paddings(of(Padding::SameLower, 2, 0)), [(1, 0)]);
    assert_eq!(paddings(of(Padding::Causal, 2, 0)), [(0, 1)]);
    assert_eq!(
        refused(of(Padding::SameUpper, 4, 0)),
        "padding (width): same-upper makes the output input * 4, but the padding would be 3 + 0 - 4 = -1: \
         the window is shorter than the stride"
    );
    assert_eq!(
        refused(of(2.into(), 1, 0)),
        "padding (width): output width is (2 - 1) * 1 - 2 - 2 + 1 * (3 - 1) + 0 + 1 = 0: padding 2:2 crops everything away"
    );
}

#[test]
fn output_padding_belongs_to_transposed() {
    assert_eq!(
        refused(ConvSpec { output_padding: [0, 1].into(), ..base() }),
        "output_padding (width): 1, but only a transposed convolution has output padding"
    );
    assert_eq!(
        refused(ConvSpec { output_padding: [1, 2].into(), stride: [2, 2].into(), ..transposed() }),
        "output_padding (width): 2, but must be less than the larger of stride and dilation, 2"
    );
    assert_eq!(
        output(ConvSpec { output_padding: 1.into(), dilation: 2.into(), ..transposed() }),
        [10, 11]
    );
}

#[test]
fn padding_modes_reach_beyond_the_input() {
    let modes = [
        PaddingMode::Reflect,
        PaddingMode::Symmetric,
        PaddingMode::Replicate,
        PaddingMode::Circular,
    ];
    for padding_mode in modes {
        let spec = ConvSpec { padding_mode, padding: (0, 40).into(), ..ConvSpec::new([4], [3]) };
        assert_eq!(output(spec), [42]);
        let spec = ConvSpec { padding_mode, padding: 3.into(), ..ConvSpec::new([1], [3]) };
        assert_eq!(output(spec), [5]);
    }
    assert_eq!(
        refused(ConvSpec { padding_mode: PaddingMode::Circular, ..transposed() }),
        "padding_mode: circular has no meaning for a transposed convolution, whose padding crops the output: use zeros"
    );
}

#[test]
fn integers_have_what_gives_integers() {
    let of = |types: Types| ConvSpec { types, ..base() };
    let bytes = || of(Types::of(DType::U8, DType::I8));
    let types = Conv::new(bytes()).unwrap().types();
    assert_eq!((types.output, types.bias, types.accumulator), (DType::I32, DType::I32, DType::I32));
    assert_eq!(
        refused(of(Types::of(DType::U8, DType::F32))),
        "types: sums are computed in i32, but the weight is f32, which is computed in f32: f32, \
         f16 and bf16 go together, f64 with f64, integers with integers"
    );
    let constant = |value| ConvSpec { padding_mode: PaddingMode::Constant(value), ..bytes() };
    for value in ["-1", "256", "0.5"] {
        assert_eq!(
            refused(constant(value.parse().unwrap())),
            format!(
                "padding_mode: the padding value is {value}, but the input is u8, whole numbers \
                 from 0 to 255"
            )
        );
    }
    assert!(Conv::new(constant(255.0)).is_ok());
    let activation = |activation| ConvSpec { activation: Some(activation), ..bytes() };
    assert_eq!(
        refused(activation(Activation::Sigmoid)),
        "activation: sigmoid of i32 is no whole number: relu, relu6 and clamp are"
    );
    assert_eq!(
        refused(activation(Activation::Clamp(-0.5, 4.0))),
        "activation: clamp from -0.5 to 4: sums are i32, whole numbers"
    );
    assert!(Conv::new(activation(Activation::Clamp(-128.0, 127.0))).is_ok());
    let apart = |groups| ConvSpec { groups, out_channels: groups, ..bytes() };
    let reduced = |reduction| ConvSpec { reduction, ..apart(8) };
    assert_eq!(
        refused(reduced(Reduction::Average { count_include_pad: false })),
        "types: average pooling divides, which i32 cannot do here: use f32"
    );
    assert_eq!(
        refused(reduced(Reduction::Dilation)),
        "types: dilation adds before it compares, which i32 cannot do here: use f32"
    );
    assert!(Conv::new(reduced(Reduction::Max)).is_ok());
}

#[test]
fn values_must_be_finite() {
    let constant = |value| ConvSpec { padding_mode: PaddingMode::Constant(value), ..base() };
    assert_eq!(
        refused(constant(f64::NAN)),
        "padding_mode: the padding value is NaN, but must be finite"
    );
    assert_eq!(
        refused(constant(f64::INFINITY)),
        "padding_mode: the padding value is inf, but must be finite"
    );
    assert_eq!(
        refused(constant(1e300)),
        "padding_mode: the padding value is 1e300, too large for f32"
    );
    assert!(Conv::new(ConvSpec { types: DType::F64.into(), ..constant(1e300) }).is_ok());
    let activation = |activation| ConvSpec { activation: Some(activation), ..base() };
    assert_eq!(
        refused(activation(Activation::LeakyRelu(f64::NAN))),
        "activation: the slope of leaky_relu is NaN, but must be finite"
    );
    assert_eq!(
        refused(activation(Activation::prelu(&[0.5, 0.5, 0.5]))),
        "activation: prelu has 3 slopes, but there are 16 output channels: give one for all, or one \
         each"
    );
    let two =
        |slopes: &[f64]| ConvSpec { out_channels: 2, ..activation(Activation::prelu(slopes)) };
    assert_eq!(
        refused(two(&[0.5, 1e39])),
        "activation: slope 1 of prelu is 1e39, too large for f32"
    );
    assert_eq!(
        refused(two(&[])).split(':').nth(1),
        Some(" prelu has 0 slopes, but there are 2 output channels")
    );
    let conv = Conv::new(two(&[0.5, 0.5])).unwrap();
    assert_eq!(conv.spec().activation, Some(Activation::LeakyRelu(0.5)));
    assert_eq!(
        refused(activation(Activation::Elu(1e39))),
        "activation: the factor of elu is 1e39, too large for f32"
    );
    assert_eq!(
        refused(activation(Activation::Clamp(f64::NEG_INFINITY, f64::NAN))),
        "activation: the lower bound of clamp is -inf, but must be finite\n\
         activation: the upper bound of clamp is NaN, but must be finite"
    );
    assert_eq!(
        refused(activation(Activation::Clamp(6.0, 0.0))),
        "activation: clamp from 6 to 0: the lower bound is above the upper one"
    );
}

#[test]
fn sizes_stay_addressable() {
    let big = 1 << 40;
    assert_eq!(
        refused(ConvSpec { in_channels: big, ..ConvSpec::new([1 << 20], [1]) }),
        "input: the input has 1 * 1099511627776 * 1048576 elements of 4 bytes: the limit is 140737488355328 bytes"
    );
    assert_eq!(
        refused(ConvSpec { in_channels: big, out_channels: big, ..ConvSpec::new([1], [1]) }),
        "kernel: the weight has 1099511627776 * 1099511627776 * 1 elements of 4 bytes: the limit is 140737488355328 bytes"
    );
    assert_eq!(
        refused(ConvSpec {
            padding: big.into(),
            stride: big.into(),
            ..ConvSpec::new([1, 1, 1], [1, 1, 1])
        }),
        "padding: the padded input has 1 * 1 * 2199023255553 * 2199023255553 * 2199023255553 elements of 4 bytes: \
         the limit is 140737488355328 bytes"
    );
    assert!(
        refused(ConvSpec { batch: big.into(), out_channels: big, ..ConvSpec::new([1], [1]) })
            .contains("the output has")
    );
    assert!(
        refused(ConvSpec { stride: usize::MAX.into(), ..base() })
            .starts_with("stride (height, width): 18446744073709551615 is too large")
    );
    assert!(
        refused(ConvSpec { dilation: (1 << 46).into(), ..base() })
            .contains("is wider than the padded input 5")
    );
    assert!(
        refused(ConvSpec { stride: (1 << 46).into(), ..transposed() })
            .contains("too large: the limit is")
    );
    assert!(
        refused(ConvSpec { padding: Padding::Causal, dilation: (1 << 47).into(), ..base() })
            .contains("works out as")
    );
}

/// Hostile numbers everywhere: an answer, never a panic.
#[test]
fn no_number_panics() {
    let hostile =
        [0, 1, 2, 3, 1 << 31, 1 << 46, 1 << 47, (1 << 47) + 1, 1 << 62, usize::MAX - 1, usize::MAX];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    let mut made = 0;
    for _ in 0..60_000 {
        let mut number = |usual: usize| {
            if next(6) == 0 { hostile[next(hostile.len())] } else { usual }
        };
        let spec = ConvSpec {
            batch: number(1).into(),
            in_channels: number(4),
            out_channels: number(4),
            groups: number(1),
            input: vec![number(9).into(), number(9).into()],
            kernel: vec![number(3), number(2)],
            stride: [number(1), number(2)].into(),
            dilation: number(1).into(),
            padding: [(number(0), number(1)), (number(1), number(0))].into(),
            output_padding: number(0).into(),
            transposed: number(0) != 0,
            ..base()
        };
        let padding =
            [Padding::SameUpper, Padding::SameLower, Padding::Causal, spec.padding.clone()]
                [next(4)]
            .clone();
        let batch = if next(4) == 0 { Size::from("N") } else { spec.batch.clone() };
        let height = if next(4) == 0 { Size::from("H") } else { spec.input[0].clone() };
        let input = vec![height, spec.input[1].clone()];
        if let Ok(conv) = Conv::new(ConvSpec { padding, batch, input, ..spec }) {
            made += 1;
            let _ = (
                conv.input_len(),
                conv.output_len(),
                conv.weight_len(),
                conv.equation(),
                crate::analysis::facts(&conv),
            );
            assert_eq!(conv.to_string().parse(), Ok(conv.clone()));
            let sizes: Vec<(&str, usize)> = conv
                .free_sizes()
                .into_iter()
                .map(|name| (name, hostile[made % hostile.len()]))
                .collect();
            let _ = conv.with_sizes(&sizes);
        }
    }
    assert!(made > 1000, "{made}");
}
