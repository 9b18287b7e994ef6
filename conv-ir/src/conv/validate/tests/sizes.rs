//! Sizes that a run alone knows, and how shapes are written.

use super::*;

#[test]
fn free_sizes_stay_symbols() {
    let free = |padding: Padding, stride: usize| ConvSpec {
        batch: "N".into(),
        input: vec!["H".into(), 6.into()],
        padding,
        stride: stride.into(),
        ..base()
    };
    let conv = Conv::new(free(1.into(), 2)).unwrap();
    assert_eq!(conv.axes()[0].output, Extent::Derived { of: "H".into(), scale: 1, add: 1, div: 2 });
    assert_eq!(conv.output_arithmetic(0), "(H + 1 + 1 - 3) / 2 + 1");
    assert_eq!((conv.input_shape(), conv.output_len()), (None, None));
    let up = Conv::new(ConvSpec { transposed: true, ..free(1.into(), 2) }).unwrap();
    assert_eq!(up.axes()[0].output, Extent::Derived { of: "H".into(), scale: 2, add: -1, div: 1 });
    for (h, conv) in [(7, &conv), (8, &conv), (7, &up)] {
        let sized = conv.with_sizes(&[("N", 2), ("H", h)]).unwrap();
        let Extent::Derived { scale, add, div, .. } = conv.axes()[0].output else { panic!() };
        assert_eq!(
            sized.axes()[0].output,
            Extent::Known((scale * h as i64 + add).div_euclid(div) as usize)
        );
    }
    assert_eq!(Conv::new(free(Padding::SameUpper, 1)).unwrap().axes()[0].padding, (1, 1));
    assert_eq!(
        refused(free(Padding::SameUpper, 2)),
        "padding (height): same-upper with stride 2 depends on the input H, which is free: give the padding as numbers"
    );
    let up = Conv::new(ConvSpec { transposed: true, ..free(Padding::SameLower, 2) }).unwrap();
    assert_eq!(up.axes()[0].output, Extent::Derived { of: "H".into(), scale: 2, add: 0, div: 1 });
}

#[test]
fn free_sizes_have_proper_names() {
    let named = |name: &str| {
        refused(ConvSpec { input: vec![name.into(), "W".into()], batch: "W".into(), ..base() })
    };
    let twice = "input (width): the name W is used twice: each free size needs its own, as in HxW";
    let ill = "is no name of a size: upper-case letters, digits and _ only, a letter first";
    assert_eq!(named("H_2"), twice);
    for name in ["h", "", "2H", "H-1", "Hé"] {
        assert_eq!(named(name), format!("input (height): `{name}` {ill}\n{twice}"));
    }
}

#[test]
fn run_time_sizes_are_checked() {
    let spec = ConvSpec {
        input: vec!["H".into(), 6.into()],
        padding: 2.into(),
        padding_mode: PaddingMode::Reflect,
        ..base()
    };
    let conv = Conv::new(spec).unwrap();
    let refused = |sizes: &[(&str, usize)]| conv.with_sizes(sizes).unwrap_err().to_string();
    assert_eq!(refused(&[]), "the size H is missing: the free sizes are H");
    assert_eq!(refused(&[("W", 1)]), "there is no free size W: the free sizes are H");
    assert_eq!(refused(&[("H", 1), ("H", 2)]), "the size H is given twice");
    assert_eq!(refused(&[("H", 0)]), "input (height): 0, but must be at least 1");
    assert_eq!(conv.with_sizes(&[("H", 1)]).unwrap().output_shape(), Some(vec![1, 16, 3, 8]));
    let sized = conv.with_sizes(&[("H", 3)]).unwrap();
    assert_eq!(sized.output_shape(), Some(vec![1, 16, 5, 8]));
    assert_eq!(
        sized.with_sizes(&[("H", 3)]).unwrap_err().to_string(),
        "there is no free size H: every size of this convolution is known"
    );
}

#[test]
fn the_least_input_is_the_first_that_breaks_no_rule() {
    let texts = [
        "conv1d in T kernel 1",
        "conv1d in T kernel 3 pad 1",
        "conv1d in T kernel 5 stride 3 dilation 4 pad 1:2",
        "conv1d in T kernel 2 stride 4 pad 9",
        "conv1d in T kernel 5 pad 2 mode reflect",
        "conv1d in T kernel 9 pad 1:4 mode circular",
        "conv1d in T kernel 7 pad 3 mode symmetric",
        "conv1d in T kernel 7 pad 3 mode replicate",
        "conv1d-transposed in T kernel 3 stride 2 pad 1",
        "conv1d-transposed in T kernel 3 stride 2 pad 9:8 out_pad 1",
        "conv1d-transposed in T kernel 1 stride 7 pad 4",
    ];
    for text in texts {
        let conv: Conv = text.parse().unwrap();
        let is_legal = |t: usize| conv.with_sizes(&[("T", t)]).is_ok();
        assert_eq!((0..100).find(|&t| is_legal(t)), Some(conv.least_input(0)), "{text}");
        assert!((conv.least_input(0)..100).all(is_legal), "{text}");
    }
}

#[test]
fn arithmetic_as_text() {
    let text = |spec| Conv::new(spec).unwrap().output_arithmetic(0);
    let stem = ConvSpec { stride: 2.into(), padding: 3.into(), ..ConvSpec::new([224], [7]) };
    assert_eq!(text(stem), "(224 + 3 + 3 - 7) / 2 + 1 = 112");
    let atrous = ConvSpec { dilation: 2.into(), padding: 2.into(), ..ConvSpec::new([33], [3]) };
    assert_eq!(text(atrous), "(33 + 2 + 2 - 2 * (3 - 1) - 1) / 1 + 1 = 33");
    let up = ConvSpec {
        transposed: true,
        stride: 2.into(),
        padding: 1.into(),
        ..ConvSpec::new([8], [4])
    };
    assert_eq!(text(up), "(8 - 1) * 2 - 1 - 1 + 1 * (4 - 1) + 0 + 1 = 16");
}

#[test]
fn shapes_follow_the_layout() {
    let conv = Conv::new(ConvSpec { layout: Layout::ChannelsLast, ..base() }).unwrap();
    assert_eq!(conv.input_shape(), Some(vec![1, 5, 6, 8]));
    assert_eq!(conv.residual_shape(), Some(vec![1, 3, 4, 16]));
    assert_eq!(conv.weight_shape(), [16, 8, 3, 3]);
    let up = Conv::new(ConvSpec { groups: 4, ..transposed() }).unwrap();
    assert_eq!(up.weight_shape(), [8, 4, 3, 3]);
    assert_eq!(up.output_shape(), Some(vec![1, 16, 7, 8]));
    assert_eq!(
        (up.input_len(), up.weight_len(), up.bias_len(), up.output_len()),
        (Some(240), 288, 16, Some(896))
    );
}

#[test]
fn spelling_does_not_matter() {
    let plain = Conv::new(base()).unwrap();
    let spelled = ConvSpec {
        stride: [1, 1].into(),
        dilation: vec![1].into(),
        padding: [(0, 0), (0, 0)].into(),
        ..base()
    };
    assert_eq!(Conv::new(spelled).unwrap(), plain);
}
