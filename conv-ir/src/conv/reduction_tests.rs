use super::*;
use crate::DType;
use crate::reference::{Arguments, run};

fn conv(text: &str) -> Conv {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refused(text: &str) -> String {
    text.parse::<Conv>().unwrap_err().to_string()
}

fn on(text: &str, input: &[f32]) -> Vec<f32> {
    let arguments = Arguments { input, weight: &[], bias: None, residual: None };
    run(&conv(text), arguments, &[]).unwrap()
}

/// `1, 2, 3, ...`, as the ONNX examples have it.
fn counted(n: u16) -> Vec<f32> {
    (1..=n).map(f32::from).collect()
}

#[test]
fn text_forms_round_trip() {
    for text in [
        "maxpool2d f32 n1 ic64 in 112x112 kernel 3x3 stride 2x2 pad 1:1,1:1",
        "minpool1d f64 nwc n2 ic3 in 9 kernel 3 dilation 2 mode reflect, relu",
        "avgpool3d f32 n1 ic2 in 5x6x7 kernel 2x2x2 stride 2x2x2 pad 1:0,0:0,0:0 ceil_mode count_include_pad",
        "maxpool2d f32 nN ic2 in HxW kernel 2x2 stride 2x2 ceil_mode + residual",
        "dilation2d f32 n1 ic3 in 9x9 kernel 3x3 pad 1:1,1:1 flip",
        "erosion2d f32 n1 g1 ic3 oc4 in 9x9 kernel 3x3",
    ] {
        assert_eq!(conv(text).to_string(), text);
        assert_eq!(conv(&conv(text).to_string()), conv(text));
    }
}

#[test]
fn other_frameworks_words_are_read() {
    let pool = conv("maxpool2d ic4 in 8 kernel 2 stride 2");
    for word in ["MaxPool2d", "max_pool2d", "MaxPooling2D", "max-pool2d"] {
        assert_eq!(conv(&format!("{word} channels 4 in 8 kernel 2 stride 2")), pool, "{word}");
    }
    let global = conv("avgpool2d ic4 in 7x5 kernel 7x5");
    for word in ["global_avgpool2d", "GlobalAveragePool2d", "global_average_pooling2d"] {
        assert_eq!(conv(&format!("{word} ic4 in 7x5")), global, "{word}");
    }
}

#[test]
fn ceil_mode_is_padding_behind() {
    // PyTorch's rule in plain numbers: rounding up, less a window that starts behind the input.
    for input in 1..=13usize {
        for (kernel, stride, dilation) in [(1, 2, 1), (2, 1, 1), (2, 2, 1), (3, 2, 1), (2, 3, 2)] {
            for (lo, hi) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let span = dilation * (kernel - 1) + 1;
                let padded = input + lo + hi;
                if span > padded || lo >= span || hi >= span {
                    continue;
                }
                let mut wanted = (padded - span).div_ceil(stride) + 1;
                if (wanted - 1) * stride >= input + lo {
                    wanted -= 1;
                }
                let rest =
                    format!("kernel {kernel} stride {stride} dilation {dilation} pad {lo}:{hi}");
                let known = conv(&format!("maxpool1d in {input} {rest} ceil_mode"));
                assert_eq!(known.output_len(), Some(wanted), "{known}");
                let free = conv(&format!("maxpool1d in W {rest} ceil_mode"));
                let sized = free.with_sizes(&[("W", input)]).unwrap();
                assert_eq!(sized.output_len(), Some(wanted), "{free}");
            }
        }
    }
}

/// The numbers of the node tests of the `onnx` package 1.23, by name.
#[test]
fn onnx_pools() {
    let max = |text: &str, n| on(&format!("maxpool2d {text}"), &counted(n));
    let average = |text: &str, n| on(&format!("avgpool2d {text}"), &counted(n));
    // test_maxpool_2d_ceil, test_maxpool_2d_dilations
    assert_eq!(max("in 4 kernel 3 stride 2 ceil_mode", 16), [11., 12., 15., 16.]);
    assert_eq!(max("in 4 kernel 2 dilation 2", 16), [11., 12., 15., 16.]);
    // test_maxpool_2d_ceil_output_size_reduce_by_one
    assert_eq!(max("in 2 kernel 1 stride 2 ceil_mode", 4), [1.]);
    // test_averagepool_2d_ceil, test_averagepool_2d_dilations
    assert_eq!(average("in 4 kernel 3 stride 2 ceil_mode", 16), [6., 7.5, 12., 13.5]);
    assert_eq!(average("in 4 kernel 2 dilation 2 ceil_mode", 16), [6., 7., 10., 11.]);
    // test_averagepool_2d_precomputed_same_upper
    let same = average("in 5 kernel 3 stride 2 pad same-upper", 25);
    assert_eq!(same, [4., 5.5, 7., 11.5, 13., 14.5, 19., 20.5, 22.]);
    // test_averagepool_2d_precomputed_pads
    let halves: Vec<f32> = (14..=38).map(|n| n as f32 / 2.0).collect();
    assert_eq!(average("in 5 kernel 5 pad 2", 25), halves);
    // test_averagepool_2d_precomputed_pads_count_include_pad
    let included = average("in 5 kernel 5 pad 2 count_include_pad", 25);
    let wanted = [
        2.52, 3.6, 4.8, 4.08, 3.24, 4.56, 6.4, 8.4, 7.04, 5.52, 7.2, 10., 13., 10.8, 8.4, 6.96,
        9.6, 12.4, 10.24, 7.92, 6.12, 8.4, 10.8, 8.88, 6.84,
    ];
    assert_eq!(included, wanted);
    // test_averagepool_2d_ceil_last_window_starts_on_pad, its first channel: the divisor is 9
    let last = "in 2 kernel 3 stride 3 pad 1 ceil_mode count_include_pad";
    let sum = on(&format!("avgpool2d {last}"), &[0.858, 0.0786, 0.2692, 0.1537]);
    assert!((sum[0] - 0.1511).abs() < 1e-4, "{sum:?}");
}

#[test]
fn what_hangs_over_does_not_count() {
    // Windows at 0 and 2 of three elements, the last one over 2 elements and one that is not there.
    let counted = on("avgpool1d in 4 kernel 3 stride 2 ceil_mode count_include_pad", &[1.; 4]);
    assert_eq!(counted, [1., 1.]);
    // Padding counts where it is asked to: 1/3, 3/3, 2/3.
    let padded = "avgpool1d in 3 kernel 3 pad 1 count_include_pad";
    assert_eq!(on(padded, &[3., 3., 3.]), [2., 3., 2.]);
    assert_eq!(on("avgpool1d in 3 kernel 3 pad 1", &[3., 3., 3.]), [3., 3., 3.]);
}

#[test]
fn a_window_of_padding_alone_is_what_there_is_before_it() {
    assert_eq!(
        on("maxpool1d in 1 kernel 1 pad 1", &[5.]),
        [f32::NEG_INFINITY, 5., f32::NEG_INFINITY]
    );
    assert_eq!(on("minpool1d in 1 kernel 1 pad 1", &[5.]), [f32::INFINITY, 5., f32::INFINITY]);
    assert_eq!(on("avgpool1d in 1 kernel 1 pad 1", &[5.]), [0., 5., 0.]);
}

#[test]
fn a_nan_never_wins_and_the_first_zero_stays() {
    let bits = |text: &str, input: &[f32]| on(text, input)[0].to_bits();
    for pool in ["maxpool1d in 3 kernel 3", "minpool1d in 3 kernel 3"] {
        assert_eq!(on(pool, &[f32::NAN, 2.0, f32::NAN]), [2.0]);
        assert_eq!(bits(pool, &[-0.0, 0.0, 0.0]), (-0.0f32).to_bits());
        assert_eq!(bits(pool, &[0.0, -0.0, -0.0]), 0);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let cases = [
        (
            "maxpool2d ic4 in 8 kernel 2 + bias",
            "bias: max pooling adds none: a residual or an activation can follow, or a 1x1 step",
        ),
        (
            "maxpool2d-transposed ic4 in 8 kernel 2",
            "transposed: max pooling cannot be transposed: only a convolution can",
        ),
        (
            "erosion2d-transposed in 8 kernel 2",
            "transposed: erosion cannot be transposed: only a convolution can",
        ),
        ("maxpool2d ic4 in 8 kernel 2 flip", "flip: max pooling has no weight to turn round"),
        (
            "avgpool2d ic4 oc8 in 8 kernel 2",
            "groups: average pooling takes each channel by itself: in_channels, out_channels and groups must be the same, not 4, 8 and 4",
        ),
        (
            "conv2d in 8 kernel 2 ceil_mode",
            "ceil_mode: a convolution rounds down: give the padding behind the input instead",
        ),
        (
            "maxpool2d in 8 kernel 2 pad same-upper ceil_mode",
            "ceil_mode: padding by a word fixes the output already: give numbers, or leave it out",
        ),
        (
            "minpool1d in 5 kernel 2 stride 2 mode circular ceil_mode",
            "ceil_mode: what hangs over is never read, but mode circular reads behind the input: use zeros, or give padding as numbers",
        ),
        (
            "avgpool2d in 8 kernel 2 pad 1 mode reflect count_include_pad",
            "count_include_pad: in mode reflect every element of a window counts anyway: leave it out",
        ),
        (
            "avgpool1d in 2000000 kernel 3 pad 1",
            "input (width): the divisors of 2000000 positions are listed, but the limit is 1048576: give count_include_pad and no ceil_mode, or no padding",
        ),
        (
            "maxpool2d in 8 kernel 2 count_include_pad",
            "cannot read the convolution at column 25: `count_include_pad` is about the divisor of average pooling",
        ),
        (
            "global_avgpool2d in HxW",
            "cannot read the convolution at column 24: the window is the whole input, of which a size is free: give numbers",
        ),
        (
            "global_avgpool2d in 8 kernel 3",
            "cannot read the convolution at column 23: the window is the whole input: leave `kernel` out",
        ),
        (
            "global_avgpool2d in 8 pad 1",
            "cannot read the convolution at column 28: the window is the whole input: leave `pad` out",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message, "{text}");
    }
    let pool = conv("maxpool2d in 8 kernel 2");
    let error = pool.with_weights(&[0.0f32; 4], None).unwrap_err().to_string();
    assert!(error.contains("max pooling has no weight"), "{error}");
    // Divisors by position are for known sizes; padding that always counts asks for none.
    let free = conv("avgpool1d in W kernel 3 pad 1");
    assert_eq!(free.divisor_by_free_size(), Some("W"));
    assert_eq!(free.with_sizes(&[("W", 4)]).unwrap().divisor_by_free_size(), None);
    let target = crate::Target::CRANELIFT;
    assert_eq!(
        crate::Schedule::default().check(&free, &target).unwrap_err().to_string(),
        "how many elements of a window count depends on W, which is free: give its value, \
         or count_include_pad and no ceil_mode, or no padding"
    );
    let counted = conv("avgpool1d in W kernel 3 pad 1 count_include_pad");
    assert_eq!(crate::Schedule::default().check(&counted, &target), Ok(()));
}

#[test]
fn a_linear_layer_sees_the_whole_input() {
    assert_eq!(conv("linear ic512 oc10 + bias"), conv("conv1d ic512 oc10 in 1 kernel 1 + bias"));
    assert_eq!(conv("linear ic3 oc4 in 7x5"), conv("conv2d ic3 oc4 in 7x5 kernel 7x5"));
    let chain: crate::Program =
        "conv2d ic3 oc8 in 9 kernel 3; linear oc5, relu; linear oc2".parse().unwrap();
    let shapes: Vec<Vec<usize>> = chain.convs().map(|conv| conv.weight_shape()).collect();
    assert_eq!(shapes, [vec![8, 3, 3, 3], vec![5, 8, 7, 7], vec![2, 5, 1, 1]]);
    assert_eq!(
        refused("linear ic3 oc4 in HxW"),
        "cannot read the convolution at column 22: the window is the whole input, of which a size \
         is free: give numbers"
    );
}

#[test]
fn nearest_upsampling_repeats_elements() {
    let up = conv("upsample_nearest2d ic2 in 1x2 scale 2x3");
    assert_eq!(up.output_shape(), Some(vec![1, 2, 2, 6]));
    let input = [1.0f32, 2.0, 3.0, 4.0];
    let weight: Vec<f32> = up.known().unwrap().weight.iter().map(|&w| w as f32).collect();
    let arguments = Arguments { input: &input, weight: &weight, bias: None, residual: None };
    let row = |a: f32, b: f32| [a, a, a, b, b, b];
    let wanted = [row(1., 2.), row(1., 2.), row(3., 4.), row(3., 4.)].concat();
    assert_eq!(run(&up, arguments, &[]).unwrap(), wanted);
    // Its text reads back, ones and all.
    assert_eq!(up.to_string(), "upsample_nearest2d f32 n1 ic2 in 1x2 scale 2x3");
    assert_eq!(conv(&up.to_string()), up);
    for (text, message) in [
        ("upsample_nearest2d in 4 scale 0", "a scale must be at least 1"),
        (
            "upsample_nearest2d in 4",
            "`scale` is missing: how often each element is repeated, such as `scale 2`",
        ),
        ("upsample_nearest2d in 4 scale 2 kernel 3", "the window is the scale: leave `kernel` out"),
        ("upsample_nearest2d in 4 scale 2 stride 3", "the stride of upsampling is its scale"),
        (
            "conv2d in 4 kernel 3 scale 2",
            "`scale` is about upsampling, such as `upsample_nearest2d`",
        ),
    ] {
        let error = refused(text);
        assert!(error.ends_with(message), "{error}");
    }
    let huge = refused("upsample_nearest2d ic4096 in 1 scale 60000");
    assert!(huge.contains("cannot be compiled in") || huge.contains("limit"), "{huge}");
}

/// What counts everywhere takes no time in proportion to the extent.
#[test]
fn a_long_axis_is_averaged_without_a_list() {
    for text in [
        "avgpool1d in 4000000000000 kernel 2",
        "avgpool1d in 4000000000000 kernel 2 pad 1 count_include_pad",
    ] {
        let conv: Conv = text.parse().unwrap();
        let Reduction::Average { count_include_pad } = conv.spec().reduction else { panic!() };
        let found = count(&conv.equation()[0], count_include_pad, conv.spec().padding_mode);
        assert_eq!(found, Count::Same(2), "{text}");
    }
}

/// ONNX's rule drops one window at most, and rounding up never takes one away.
#[test]
fn padding_wider_than_the_window_keeps_its_outputs() {
    for (text, output) in [
        ("maxpool1d in 10 kernel 2 stride 2 pad 0:5", 7),
        ("maxpool1d in 10 kernel 2 stride 2 pad 0:5 ceil_mode", 7),
        ("maxpool1d in 4 kernel 1 pad 0:3 ceil_mode", 7),
        ("maxpool1d in 10 kernel 3 stride 2 ceil_mode", 5),
    ] {
        let conv: Conv = text.parse().unwrap();
        assert_eq!(conv.output_shape(), Some(vec![1, 1, output]), "{text}");
    }
}

#[test]
fn the_greatest_of_bytes_is_a_byte_unless_it_is_said() {
    for (text, output, printed) in [
        ("maxpool2d u8 ic3 in 8 kernel 2", DType::U8, "maxpool2d u8 n1"),
        ("minpool1d i16 ic3 in 8 kernel 2", DType::I16, "minpool1d i16 n1"),
        ("maxpool1d u8 x u8 -> i32 in 8 kernel 2", DType::I32, "maxpool1d u8 x u8 -> i32 n1"),
    ] {
        let conv: Conv = text.parse().unwrap();
        assert_eq!(conv.types().output, output, "{text}");
        assert!(conv.to_string().starts_with(printed), "{conv}");
        assert_eq!(conv.to_string().parse(), Ok(conv));
    }
    let next: crate::Program =
        "maxpool2d u8 ic3 in 8 kernel 2 stride 2; conv2d u8 x i8 oc4 kernel 1".parse().unwrap();
    assert_eq!(next.convs().last().unwrap().types().output, DType::I32);
}
