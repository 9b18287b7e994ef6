use super::*;
use crate::reference::{Arguments, run};

/// Small integers, so that every sum is exact in any order.
fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7 + i / 3 + seed * 5) % 5) as f32 - 2.0).collect()
}

fn weighted(text: &str, seed: usize) -> Weighted<f32> {
    let conv: Conv = text.parse().expect("legal");
    let bias = conv.spec().bias.then(|| integers(conv.bias_len(), seed + 1));
    let weight = integers(conv.weight_len(), seed);
    Weighted::new(conv, weight, bias).expect("it fits")
}

fn computed(of: &Weighted<f32>, input: &[f32]) -> Vec<f32> {
    let arguments =
        Arguments { input, weight: &of.weight, bias: of.bias.as_deref(), residual: None };
    run(&of.conv, arguments, &[]).expect("it fits")
}

#[test]
fn composed_is_both_one_after_the_other() {
    let pairs = [
        (
            "conv2d ic2 oc3 in 12x13 kernel 3 pad 1 + bias",
            "conv2d ic3 oc2 in 12x13 kernel 3 + bias, relu",
        ),
        ("conv2d ic2 oc6 in 12 kernel 1", "conv2d ic6 oc2 in 12 kernel 1 + bias"),
        ("conv2d ic1 oc1 in 16 kernel 1x5 pad 0,2", "conv2d in 16 kernel 5x1"),
        (
            "conv1d ic3 oc4 in 40 kernel 3 stride 2 dilation 2 pad 3:2 + bias",
            "conv1d ic4 oc2 in 21 kernel 4 stride 3 dilation 2",
        ),
        (
            "conv1d nwc ic3 oc4 in 40 kernel 2 dilation 3 pad 2 mode reflect",
            "conv1d nwc ic4 oc3 in 41 kernel 3 dilation 3",
        ),
        ("conv3d ic2 oc2 in 4x6x5 kernel 1x3x3", "conv3d ic2 oc3 in 4x4x3 kernel 3x1x1"),
    ];
    for (first, second) in pairs {
        let (first, second) = (weighted(first, 1), weighted(second, 2));
        let composed = compose(&first, &second).expect("linear");
        let input = integers(first.conv.input_len().expect("known"), 3);
        let wanted = computed(&second, &computed(&first, &input));
        assert_eq!(computed(&composed.one, &input), wanted, "{}", composed.one.conv);
    }
}

#[test]
fn composing_counts_what_it_saves() {
    // A wide tensor between two pointwise steps: 2 * 64 * 4 multiply-adds against 4 * 4.
    let wide = compose(
        &weighted("conv2d ic4 oc64 in 8 kernel 1", 1),
        &weighted("conv2d ic64 oc4 in 8 kernel 1", 2),
    );
    assert_eq!(wide.expect("linear").saves, 64 * (2 * 64 * 4 - 4 * 4));
    // Two passes of a separable window are cheaper than the window.
    let separable = compose(
        &weighted("conv2d in 20 kernel 5x1", 1),
        &weighted("conv2d in 16x20 kernel 1x5", 2),
    );
    assert!(separable.expect("linear").saves < 0);
}

#[test]
fn what_is_not_linear_says_why() {
    let refused = |first: &str, second: &str| {
        compose(&weighted(first, 1), &weighted(second, 2)).expect_err("not linear").to_string()
    };
    assert_eq!(
        refused("conv1d in 9 kernel 3, relu", "conv1d in 7 kernel 3"),
        "these two convolutions are not one: the first has an activation"
    );
    assert!(refused("conv1d in 9 kernel 3", "conv1d in 7 kernel 3 pad 1").contains("sees padding"));
    assert!(
        refused("conv1d in 9 kernel 3", "conv1d in 8 kernel 3")
            .contains("does not take what the first gives")
    );
}

#[test]
fn normalised_sums_are_the_folded_ones() {
    for text in [
        "conv2d ic3 oc4 in 8 kernel 3 pad 1 + bias",
        "conv2d g2 ic4 oc6 in 8 kernel 3",
        "conv2d-transposed g2 ic4 oc6 in 5 kernel 3 stride 2 + bias",
    ] {
        let plain = weighted(text, 4);
        let channels = plain.conv.spec().out_channels;
        let each = |f: fn(f32) -> f32| (0..channels).map(|c| f(c as f32)).collect::<Vec<f32>>();
        let (scale, shift) = (each(|c| 0.5 + c), each(|c| c - 1.5));
        let (mean, variance) = (each(|c| 0.25 * c), each(|c| 1.0 + c * c));
        let norm = BatchNorm {
            scale: &scale,
            shift: &shift,
            mean: &mean,
            variance: &variance,
            epsilon: 1e-5,
        };
        let folded = fold_batch_norm(&plain, &norm).expect("it fits");
        let input = integers(plain.conv.input_len().expect("known"), 6);
        let sums = computed(&plain, &input);
        let positions = sums.len() / channels;
        for (at, (found, sum)) in computed(&folded, &input).iter().zip(&sums).enumerate() {
            let c = at / positions;
            let factor = f64::from(scale[c]) / (f64::from(variance[c]) + 1e-5).sqrt();
            let wanted = (f64::from(*sum) - f64::from(mean[c])) * factor + f64::from(shift[c]);
            // 36 products of at most 2 * 2, times the factor.
            let bound = 40.0
                * 0.5
                * f64::from(f32::EPSILON)
                * (36.0 * 4.0 * factor.abs() + wanted.abs() + 10.0);
            assert!(
                (f64::from(*found) - wanted).abs() <= bound,
                "{text}: {found} and {wanted} at {at}"
            );
        }
    }
}
