//! The matrix applied is the convolution, transposed it is the transposed convolution, and both are
//! adjoint.

use super::{Rng, conv};
use crate::analysis::Matrix;
use crate::{Conv, ConvSpec, Padding, PerAxis, reference};

fn integers(rng: &mut Rng, len: usize) -> Vec<f64> {
    (0..len).map(|_| (rng.below(7) - 3) as f64).collect()
}

fn run(conv: &Conv, weight: &[f64], input: &[f64]) -> Vec<f64> {
    let arguments = reference::Arguments { input, weight, bias: None, residual: None };
    reference::run_f64(conv, arguments, &[]).unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The transposed convolution of the same numbers, made to end where the forward one's input does.
fn backward(forward: &Conv) -> Option<Conv> {
    let spec = forward.spec();
    let left_over = forward.axes().iter().map(|axis| {
        let (lo, hi) = axis.padding;
        (axis.input.known().unwrap() + lo + hi - axis.dilation * (axis.kernel - 1) - 1)
            % axis.stride
    });
    Conv::new(ConvSpec {
        transposed: true,
        in_channels: spec.out_channels,
        out_channels: spec.in_channels,
        input: forward.axes().iter().map(|axis| axis.output.known().unwrap().into()).collect(),
        padding: Padding::Explicit(PerAxis::Each(
            forward.axes().iter().map(|axis| axis.padding).collect(),
        )),
        output_padding: PerAxis::Each(left_over.collect()),
        ..spec.clone()
    })
    .ok()
}

fn random_conv(rng: &mut Rng) -> Option<Conv> {
    let rank = 1 + rng.below(3) as usize;
    let mut each = |lo: i64, n: u64| {
        (0..rank).map(|_| (lo + rng.below(n)).to_string()).collect::<Vec<_>>().join("x")
    };
    let (input, kernel, stride, dilation) = (each(2, 4), each(1, 3), each(1, 2), each(1, 2));
    let groups = 1 + rng.below(2);
    let [ic, oc] = [1, 1].map(|_: i32| groups * (1 + rng.below(2)));
    let kind = ["", "-transposed"][rng.below(2) as usize];
    let layout = ["", [" nwc", " nhwc", " ndhwc"][rank - 1]][rng.below(2) as usize];
    let text = format!(
        "conv{rank}d{kind} f64{layout} ic{ic} oc{oc} g{groups} in {input} kernel {kernel} stride {stride} dilation {dilation} pad {}",
        rng.below(2)
    );
    text.parse().ok()
}

#[test]
fn the_matrix_is_the_convolution_and_its_transpose_the_transposed_one() {
    let mut rng = Rng(5);
    let (mut seen, mut turned) = (0, 0);
    while seen < 300 {
        let Some(forward) = random_conv(&mut rng) else { continue };
        if forward.output_len() == Some(0) {
            continue;
        }
        seen += 1;
        let matrix = Matrix::of(&forward).unwrap();
        let transposed = matrix.transposed();
        let weight = integers(&mut rng, forward.weight_len());
        let (x, y) = (integers(&mut rng, matrix.columns()), integers(&mut rng, matrix.rows()));
        let forwards = matrix.apply(&weight, &x).unwrap();
        assert_eq!(forwards, run(&forward, &weight, &x), "{forward}");
        let backwards = transposed.apply(&weight, &y).unwrap();
        assert_eq!(dot(&forwards, &y), dot(&x, &backwards), "{forward}");
        assert_eq!(transposed.transposed(), matrix);
        if !forward.spec().transposed
            && let Some(up) = backward(&forward)
        {
            assert_eq!(backwards, run(&up, &weight, &y), "{forward}");
            assert_eq!(Matrix::of(&up).unwrap(), transposed, "{forward}");
            turned += 1;
        }
    }
    assert!(turned > 100, "{turned}");
}

#[test]
fn folded_padding_adds_weights_up() {
    let mut rng = Rng(6);
    for mode in ["reflect", "symmetric", "replicate", "circular"] {
        let folded = conv(&format!("conv2d f64 in 4x5 kernel 3 pad 2 mode {mode}"));
        let matrix = Matrix::of(&folded).unwrap();
        let (weight, x) = (integers(&mut rng, 9), integers(&mut rng, 20));
        assert_eq!(matrix.apply(&weight, &x).unwrap(), run(&folded, &weight, &x), "{mode}");
    }
    let edge = Matrix::of(&conv("conv1d in 3 kernel 3 pad 1 mode replicate")).unwrap();
    assert_eq!(edge.to_string(), "w0+w1    w2     0\n   w0    w1    w2\n    0    w0 w1+w2\n");
}

#[test]
fn the_textbook_matrix() {
    let matrix = Matrix::of(&conv("conv2d in 4 kernel 3")).unwrap();
    let expected = "\
w00 w01 w02   0 w10 w11 w12   0 w20 w21 w22   0   0   0   0   0
  0 w00 w01 w02   0 w10 w11 w12   0 w20 w21 w22   0   0   0   0
  0   0   0   0 w00 w01 w02   0 w10 w11 w12   0 w20 w21 w22   0
  0   0   0   0   0 w00 w01 w02   0 w10 w11 w12   0 w20 w21 w22
";
    assert_eq!(matrix.to_string(), expected);
    let up = Matrix::of(&conv("conv2d-transposed in 2 kernel 3")).unwrap();
    assert_eq!(up, matrix.transposed());
    let channels = Matrix::of(&conv("conv1d ic2 oc2 in 2 kernel 1")).unwrap();
    assert_eq!(
        channels.to_string(),
        "w00.0     0 w01.0     0\n    0 w00.0     0 w01.0\nw10.0     0 w11.0     0\n    0 w10.0     0 w11.0\n"
    );
}

#[test]
fn what_is_no_matrix_is_refused() {
    let refused = |text: &str| Matrix::of(&conv(text)).unwrap_err().to_string();
    assert!(refused("conv1d in W kernel 3").contains("run time"));
    assert!(refused("conv1d in 8 kernel 3 pad 1 mode constant(2)").contains("constant"));
    assert!(refused("conv2d in 4096 kernel 3").contains("too many"));
    let matrix = Matrix::of(&conv("conv1d in 3 kernel 2")).unwrap();
    assert!(matrix.apply(&[1.0], &[1.0; 3]).is_err() && matrix.apply(&[1.0; 2], &[1.0]).is_err());
}
