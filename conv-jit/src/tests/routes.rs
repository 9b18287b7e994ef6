//! Convolutions of every kind, through the whole pipeline.

use conv_ir::{Activation, Conv, ConvSpec, DType, Element, Layout, Padding, PaddingMode, Size};

use super::{Case, bits};
use crate::{Compiled, CurrentThread, Options};

fn compiled(conv: &Conv) -> Compiled {
    Compiled::new(conv, Options { cache: false, ..Options::default() })
        .unwrap_or_else(|e| panic!("{conv}: {e}"))
}

fn check(spec: ConvSpec) {
    for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
        check_as::<f32>(&ConvSpec { layout, types: DType::F32.into(), ..spec.clone() });
        check_as::<f64>(&ConvSpec { layout, types: DType::F64.into(), ..spec.clone() });
    }
}

fn check_as<T: Element>(spec: &ConvSpec) {
    let conv = Conv::new(spec.clone()).unwrap();
    let (case, len) = (Case::<T>::new(&conv), conv.output_len().unwrap());
    let compiled = compiled(&conv);
    let want = case.interpret(&compiled.groups()[0].nest, len, &[]);
    let packed = compiled.pack(&case.weight, case.bias.as_deref()).unwrap();
    for threads in [1, 3] {
        let mut got = vec![T::from_f64(f64::NAN); len];
        let mut call = packed.call(&case.input, &mut got).threads(threads).executor(&CurrentThread);
        if let Some(residual) = &case.residual {
            call = call.residual(residual);
        }
        call.run().unwrap();
        assert!(
            bits(&got) == bits(&want),
            "{conv}, {threads} threads, schedule {}",
            compiled.explain()
        );
    }
}

fn spec(input: &[usize], kernel: &[usize], channels: (usize, usize)) -> ConvSpec {
    ConvSpec {
        in_channels: channels.0,
        out_channels: channels.1,
        ..ConvSpec::new(input.iter().copied(), kernel.iter().copied())
    }
}

#[test]
fn dense() {
    check(ConvSpec { padding: 1.into(), bias: true, ..spec(&[9, 11], &[3, 3], (6, 8)) });
    check(ConvSpec {
        padding: 1.into(),
        bias: true,
        residual: true,
        ..spec(&[9, 14], &[3, 3], (3, 5))
    });
    check(ConvSpec { bias: true, batch: Size::Known(2), ..spec(&[7, 5], &[1, 1], (9, 13)) });
    check(ConvSpec { stride: 2.into(), padding: 3.into(), ..spec(&[23, 19], &[7, 7], (3, 16)) });
    check(ConvSpec {
        dilation: [2, 3].into(),
        padding: [2, 3].into(),
        ..spec(&[9, 12], &[3, 3], (4, 4))
    });
}

#[test]
fn ranks() {
    check(ConvSpec { padding: 2.into(), stride: 2.into(), ..spec(&[31], &[5], (4, 6)) });
    check(ConvSpec { padding: 1.into(), ..spec(&[5, 6, 7], &[3, 3, 3], (3, 4)) });
    check(ConvSpec { padding: Padding::Causal, ..spec(&[40], &[3], (2, 9)) });
}

#[test]
fn groups() {
    check(ConvSpec {
        groups: 8,
        padding: 1.into(),
        bias: true,
        ..spec(&[12, 13], &[3, 3], (8, 8))
    });
    check(ConvSpec { groups: 3, padding: 1.into(), ..spec(&[6, 7], &[3, 3], (3, 6)) });
    check(ConvSpec { groups: 2, padding: 1.into(), ..spec(&[6, 7], &[3, 3], (10, 6)) });
}

#[test]
fn transposed() {
    let up = ConvSpec {
        transposed: true,
        stride: 2.into(),
        padding: 1.into(),
        ..spec(&[5, 6], &[3, 3], (4, 8))
    };
    check(ConvSpec { output_padding: 1.into(), bias: true, ..up.clone() });
    check(ConvSpec { stride: [3, 2].into(), output_padding: [2, 1].into(), ..up.clone() });
    check(ConvSpec { input: vec![Size::Known(9)], kernel: vec![4], ..up });
}

#[test]
fn padding_modes() {
    use PaddingMode::*;
    for padding_mode in [Constant(0.7), Reflect, Symmetric, Replicate, Circular] {
        check(ConvSpec {
            padding: [(2, 1), (1, 2)].into(),
            padding_mode,
            ..spec(&[7, 9], &[3, 3], (3, 4))
        });
        check(ConvSpec {
            padding: 2.into(),
            padding_mode,
            groups: 4,
            ..spec(&[7, 9], &[5, 5], (4, 4))
        });
    }
}

#[test]
fn activations() {
    let slopes = [0.5, -1.0, 0.0, 2.0, 0.25, 1e-3, -0.1, 7.0];
    for activation in Activation::EACH.into_iter().chain([Activation::prelu(&slopes)]) {
        check(ConvSpec {
            activation: Some(activation),
            bias: true,
            residual: true,
            ..spec(&[5, 9], &[3, 3], (3, 8))
        });
    }
}

/// On every machine there is here, in vectors and in what they leave over.
fn at_the_ends<T: Element>(activation: &Activation) {
    let input: Vec<T> = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN].map(T::from_f64).repeat(7);
    let spec = ConvSpec {
        types: T::DTYPE.into(),
        activation: Some(activation.clone()),
        ..spec(&[21], &[1], (1, 1))
    };
    let conv = Conv::new(spec).unwrap();
    let weight = [T::from_f64(1.0)];
    let arguments = conv_ir::reference::Arguments {
        input: &input,
        weight: &weight,
        bias: None,
        residual: None,
    };
    let want = conv_ir::reference::run(&conv, arguments, &[]).unwrap();
    for target in crate::targets_here() {
        let options = Options { cache: false, target, ..Options::default() };
        let compiled = Compiled::new(&conv, options).unwrap();
        let mut got = vec![T::from_f64(0.5); 21];
        compiled.pack(&weight, None).unwrap().run(&input, &mut got).unwrap();
        let alike = |(a, b): (&T, &T)| {
            let (a, b) = (a.to_f64(), b.to_f64());
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        };
        assert!(got.iter().zip(&want).all(alike), "{activation}: {got:?}, not {want:?}");
    }
}

#[test]
fn infinities_and_nan_are_as_the_reference_has_them() {
    use Activation::*;
    for activation in
        Activation::EACH.into_iter().chain([LeakyRelu(-0.5), LeakyRelu(0.0), Elu(0.0), Elu(-1.0)])
    {
        at_the_ends::<f32>(&activation);
        at_the_ends::<f64>(&activation);
    }
}

/// A window of one element gives that element, NaN or not; a larger one never gives NaN.
#[test]
fn one_element_is_taken() {
    let input: Vec<f32> =
        (0..40).map(|at| if at % 3 == 0 { f32::NAN } else { at as f32 - 9.0 }).collect();
    for text in ["maxpool1d ic2 in 20 kernel 1", "minpool1d nwc ic2 in 20 kernel 1"] {
        let conv: Conv = text.parse().unwrap();
        for target in crate::targets_here() {
            let options = Options { cache: false, target, ..Options::default() };
            let compiled = Compiled::new(&conv, options).unwrap();
            let mut got = vec![0.5; 40];
            compiled.ready::<f32>().unwrap().run(&input, &mut got).unwrap();
            let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&got), bits(&input), "{text}");
        }
        let (weight, bias, residual) = (&[][..], None, None);
        let arguments = conv_ir::reference::Arguments { input: &input, weight, bias, residual };
        let want = conv_ir::reference::run(&conv, arguments, &[]).unwrap();
        assert!(want.iter().zip(&input).all(|(a, b)| a.to_bits() == b.to_bits()), "{text}");
    }
}

#[test]
fn free_sizes() {
    let conv = Conv::new(ConvSpec {
        input: vec!["H".into(), "W".into()],
        batch: "N".into(),
        padding: 1.into(),
        stride: [2, 1].into(),
        bias: true,
        ..spec(&[], &[3, 3], (3, 8))
    })
    .unwrap();
    let compiled = compiled(&conv);
    for sizes in [
        [("N", 1), ("H", 8), ("W", 9)],
        [("N", 2), ("H", 5), ("W", 31)],
        [("N", 0), ("H", 5), ("W", 5)],
    ] {
        let known = conv.with_sizes(&sizes).unwrap();
        let (case, len) = (Case::<f32>::new(&known), known.output_len().unwrap());
        let want = case.interpret(&compiled.groups()[0].nest, len, &sizes);
        let mut got = vec![f32::NAN; len];
        let packed = compiled.pack(&case.weight, case.bias.as_deref()).unwrap();
        packed.run_sized(&case.input, &mut got, &sizes).unwrap();
        assert!(bits(&got) == bits(&want), "{sizes:?}");
    }
}
