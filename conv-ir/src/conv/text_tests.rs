use super::*;
use crate::activation::Activation;
use crate::conv::PerAxis;
use crate::dtype::DType;
use crate::{Layout, PaddingMode};

fn conv(text: &str) -> Conv {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refused(text: &str) -> String {
    text.parse::<Conv>().unwrap_err().to_string()
}

fn same(ours: &str, theirs: &str) {
    assert_eq!(ours.parse::<Conv>().unwrap(), theirs.parse::<Conv>().unwrap(), "{theirs}");
}

#[test]
fn full_line_round_trips() {
    for text in [
        "conv1d f32 n1 g1 ic1 oc1 in 5 kernel 3",
        "conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 stride 2x2 dilation 2x2 pad 1:1,1:1 mode reflect + bias + residual, relu",
        "conv2d f64 nhwc n0 g4 ic8 oc16 in 9x7 kernel 3x1 stride 1x2 pad 1:2,0:0 mode constant(0.5) flip, clamp(-1,6)",
        "conv2d-transposed f32 n2 g1 ic8 oc4 in 7x7 kernel 4x4 stride 2x2 pad 1:1,1:1 out_pad 1x0 + residual, leaky_relu(0.2)",
        "conv3d f32 ndhwc n1 g1 ic3 oc4 in 5x6x7 kernel 3x3x3 pad same-lower, gelu",
        "conv5d f32 channels-last n1 g1 ic1 oc1 in 2x2x2x2x2 kernel 1x2x1x2x1",
        "conv2d f32 nN g1 ic1 oc1 in HxW kernel 3x3 pad same-upper mode circular",
        "conv1d f32 nwc nB g2 ic2 oc2 in T_1 kernel 3 dilation 4 pad causal",
    ] {
        assert_eq!(conv(text).to_string(), text);
        assert_eq!(conv(&conv(text).to_string()), conv(text));
    }
}

#[test]
fn short_forms_mean_the_same() {
    let full =
        conv("conv2d f32 n1 g1 ic1 oc1 in 9x9 kernel 3x3 stride 2x2 pad 1:1,1:1 + bias, relu");
    assert_eq!(full, conv(" conv2d kernel 3  in 9 pad 1 stride 2 +bias,relu "));
    assert_eq!(full, conv("conv2d nchw in 9,9 kernel 3,3 pad 1,1 stride 2,2 + bias , relu"));
    let mut spec = full.spec().clone();
    spec.stride = PerAxis::Each(vec![2, 2]);
    spec.padding = [(1, 1), (1, 1)].into();
    assert_eq!(full, Conv::new(spec).unwrap());
    assert_eq!(conv("conv2d in 9 kernel 3 pad 0"), conv("conv2d in 9 kernel 3 pad valid"));
    assert_eq!(
        conv("conv2d in 9 kernel 3 pad 1, relu6").spec().activation,
        Some(Activation::Relu6)
    );
}

/// Every value of every field against a rotating rest.
#[test]
fn many_specs_round_trip() {
    let paddings =
        ["valid", "same", "same-upper", "same-lower", "causal", "1", "0:2", "1:0", "full"];
    let modes =
        ["zeros", "constant(0.1)", "constant(-3)", "reflect", "symmetric", "replicate", "circular"];
    let activations = [
        "relu",
        "relu6",
        "leaky_relu(0.3)",
        "clamp(-1e-20,1e20)",
        "sigmoid",
        "tanh",
        "silu",
        "gelu",
        "hardswish",
        "prelu(0,1,-0,0.1,-5,1e30,2,3)",
    ];
    let mut count = 0;
    for seed in 0..4000usize {
        let pick = |list: &[&str], salt: usize| list[(seed / salt) % list.len()].to_owned();
        let rank = 1 + seed % 4;
        let transposed = seed % 5 == 0;
        let spec = ConvSpec {
            types: if seed % 7 < 3 { DType::F64.into() } else { DType::F32.into() },
            layout: if seed % 3 == 0 { Layout::ChannelsLast } else { Layout::ChannelsFirst },
            batch: if seed % 11 == 0 { Size::from("N") } else { Size::Known(seed % 4) },
            in_channels: 4,
            out_channels: 8,
            groups: [1, 2, 4][seed % 3],
            stride: PerAxis::Each((0..rank).map(|a| 1 + (seed / 3 + a) % 2).collect()),
            dilation: PerAxis::All(1 + seed / 17 % 2),
            // A transposed one is full by itself, and what it crops may be odd.
            padding: pick(if transposed { &paddings[2..8] } else { &paddings }, 2).parse().unwrap(),
            padding_mode: if transposed {
                PaddingMode::Zeros
            } else {
                pick(&modes, 5).parse().unwrap()
            },
            output_padding: PerAxis::All(usize::from(transposed && seed / 17 % 2 == 1)),
            transposed,
            flip: seed % 13 == 0,
            bias: seed % 2 == 0,
            residual: seed / 2 % 2 == 0,
            activation: (seed % 6 != 0).then(|| pick(&activations, 7).parse().unwrap()),
            ..ConvSpec::new(vec![9; rank], vec![3; rank])
        };
        let conv = Conv::new(spec).unwrap();
        assert_eq!(conv.to_string().parse(), Ok(conv.clone()), "{conv}");
        count += 1;
    }
    assert_eq!(count, 4000);
}

#[test]
fn reading_errors_say_where_and_what() {
    let cases = [
        (
            "",
            "column 1: found nothing, expected `conv1d`, `conv2d`, `conv3d`, `conv2d-transposed`, `maxpool2d`, `minpool2d`, `avgpool2d`, `global_maxpool2d`, `global_avgpool2d`, `dilation2d`, `erosion2d`, `linear`, `upsample_nearest2d` or `input2d`",
        ),
        ("cnv2d in 3 kernel 3", "column 1: found `cnv2d`, did you mean `conv2d`?"),
        ("conv9d in 3 kernel 3", "column 1: 9 spatial axes, but there must be 1 to 8"),
        ("conv2d in 5x5 kernel 3x3 strid 2", "column 26: found `strid`, did you mean `stride`?"),
        ("conv2d in 5x5 kernel", "column 21: found nothing, expected a number"),
        ("conv2d in 5x5 kernel 3x", "column 24: found nothing, expected a number"),
        ("conv2d in 5x5x5 kernel 3x3", "column 11: `in` has 3 sizes, but conv2d has 2 axes"),
        (
            "conv2d in 5x5",
            "column 14: `kernel` is missing: the size of the window, such as `kernel 3x3`",
        ),
        (
            "conv2d kernel 3",
            "column 16: `in` is missing: the extents of the input, such as `in 56x56`",
        ),
        ("conv2d in 5 in 5 kernel 3", "column 13: in is given twice"),
        (
            "conv2d in 5 kernel 3 pad 1,-5:1",
            "column 28: found `-5:1`, expected a number that is not negative",
        ),
        (
            "conv2d in 5 kernel 3 pad -1",
            "column 26: found `-1`, expected a number that is not negative",
        ),
        (
            "conv2d in 5 kernel 3 n",
            "column 23: the value is missing: it follows, such as `n1` or `ic64`",
        ),
        (
            "conv2d icC in 5 kernel 3",
            "column 10: `C` is a name, but only the batch and the input's extents can be free",
        ),
        (
            "conv2d ic4z in 5 kernel 3",
            "column 10: found `4z`, expected a number or an upper-case name",
        ),
        (
            "conv2d ic99999999999999999999 in 5 kernel 3",
            "column 10: 99999999999999999999 is too large",
        ),
        ("conv2d nwc in 5 kernel 3", "column 8: nwc is a layout of conv1d, not of conv2d"),
        (
            "conv2d in 5 kernel 3 relu",
            "column 22: an activation comes last, after a comma: `, relu`",
        ),
        ("conv2d in 5 kernel 3 bias", "column 22: `bias` is added with a plus sign: `+ bias`"),
        ("conv2d in 5 kernel 3 + bais", "column 24: found `bais`, did you mean `bias`?"),
        ("conv2d in 5 kernel 3 + bias + bias", "column 31: bias is given twice"),
        ("conv2d in 5 kernel 3, rleu", "column 23: found `rleu`, did you mean `relu`?"),
        (
            "conv2d in 5 kernel 3, relu + bias",
            "column 28: found `+`, expected nothing more: the activation comes last",
        ),
        ("conv2d in h kernel 3", "column 11: found `h`, expected a number or an upper-case name"),
        ("conv2d in 5 kernel 3 ; x", "column 22: found `;`, expected a clause such as `stride 2`"),
        (
            "conv2d in 5 kernel 3 + bias é",
            "column 29: found `é`, expected `+ bias`, `+ residual` or `, activation` at the end",
        ),
    ];
    for (text, expected) in cases {
        let found = refused(text);
        assert!(
            found.starts_with(&format!("cannot read the convolution at {expected}")),
            "{text}\n{found}\n{expected}"
        );
    }
}

#[test]
fn the_words_of_others_are_understood() {
    same(
        "conv2d n2 g4 ic4 oc8 in 5x6 kernel 3 pad 1 mode reflect",
        "conv2d batch 2 groups 4 in_channels 4 out-channels 8 input 5x6 kernel_size 3 padding 1 padding_mode reflect",
    );
    let ours = "conv2d-transposed in 5 kernel 3 stride 2 out_pad 1";
    for head in
        ["conv_transpose2d", "conv-transpose2d", "convtranspose2d", "deconv2d", "conv2d_transposed"]
    {
        same(ours, &format!("{head} in 5 kernel 3 stride 2 output_padding 1"));
    }
    assert!(
        refused("conv2d in 5 kernel 3 pad 1 padding 1").contains("column 28: pad is given twice")
    );
    assert!(refused("conv2d in 5 kernel 3 paddin 1").contains("did you mean `padding`?"));
    assert!(
        refused("conv2d groups in 5 kernel 3").contains("column 15: found `in`, expected a number")
    );
    assert!(refused("conv2d ic3 in_channels 3 in 5 kernel 3").contains("ic is given twice"));
}

#[test]
fn a_transposed_output_may_be_said_by_its_size() {
    let up = |text: &str| format!("conv2d-transposed in 5x7 kernel 3x4 stride 2x3 {text}");
    same(&up("out_pad 1x0"), &up("output_size 12x22"));
    same(&up("out_pad 1x0"), &up("output-size 12,22"));
    for (text, message) in [
        (
            "output_size 30x22",
            "output_size (height): 30, but it can be from 11 to 12 with these numbers",
        ),
        ("output_size 12x22 out_pad 1", "column 66: `output_size` says the same: give one of them"),
        ("out_pad 1 output_size 12x22", "column 58: `out_pad` says the same: give one of them"),
    ] {
        let found = refused(&up(text));
        assert!(found.ends_with(message), "{found}");
    }
    assert_eq!(
        refused("conv1d in 5 kernel 3 output_size 9"),
        "output_size: only a transposed convolution has a choice of it"
    );
}

/// Words that people write, which the list of all words would not help with.
#[test]
fn what_people_write_is_answered() {
    for (text, message) in [
        (
            "conv2d in H kernel 3",
            "column 11: `H` is one name for 2 axes, but each free size has its own, as in `in HxW`",
        ),
        (
            "conv2d in 8 kernel 3 transposed",
            "column 22: it is part of the first word: `conv2d-transposed`",
        ),
        (
            "conv2d in 8 kernel 3 stride 1.5",
            "column 30: found `.5`, expected a space: sizes are whole numbers",
        ),
        (
            "conv2d in 8 kernel 3 pad 1:2:3",
            "column 29: found `:3`, expected a space: a padding is `1`, or `before:after`",
        ),
        (
            "depthwise2d in 8 kernel 3",
            "column 1: a depthwise convolution has as many groups as channels: `conv2d g32 ic32 ..`",
        ),
        (
            "conv2d in 8 kernel 3, prelu",
            "column 23: prelu has a slope for each output channel, or one for all, as in \
             `prelu(0.25,0.1)`",
        ),
        ("conv2d in 8 kernel 3, prelu(0.1,)", "column 33: found `)`, expected a number"),
    ] {
        assert_eq!(refused(text), format!("cannot read the convolution at {message}"));
    }
    let celu = refused("conv2d in 8 kernel 3, celu");
    assert!(celu.contains("column 23: there is no `celu`, but `relu`, `relu6`,"), "{celu}");
}

#[test]
fn rules_apply_to_text() {
    assert_eq!(
        refused("conv2d in 9 kernel 3 pad 1,2,3,4"),
        "padding: 4 entries, but the input has 2 spatial axes: ONNX's pads are BEFORE:AFTER of each axis here, 1:3,2:4"
    );
    assert_eq!(
        refused("conv2d in HxH kernel 3"),
        "input (width): the name H is used twice: each free size needs its own, as in HxW"
    );
    assert!(
        refused("conv2d in 5 kernel 3, clamp(0,inf)")
            .contains("the upper bound of clamp is inf, but must be finite")
    );
}
