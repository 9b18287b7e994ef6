//! `requantise` in the text form: what is written is read, and what is wrong is named.

use crate::Conv;
use crate::requantise::Rounding;

fn conv(text: &str) -> Conv {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

const BYTES: &str = "conv1d u8 x i8 -> u8 n1 g1 ic2 oc2 in 4 kernel 1 + bias";

#[test]
fn scales_round_trip() {
    let plain = conv(BYTES);
    for rounding in [Rounding::Onnx, Rounding::TfliteDouble] {
        for (scales, zero_point) in
            [(&[0.02][..], 3), (&[0.5, 1e-7], 0), (&[f64::from(0.1f32), 0.1], 255)]
        {
            let made = plain.requantised(rounding, scales, zero_point).unwrap();
            assert_eq!(made.to_string().parse(), Ok(made.clone()), "{made}");
            assert_ne!(made, plain);
        }
    }
    for rest in [
        ", requantise onnx scale 0.02 zero_point 3",
        ", requantise tflite-double scale 0.5,0.0000001",
        ", relu, requantise onnx scale 0.25 zero_point 128",
    ] {
        let text = format!("{BYTES}{rest}").replace("0.0000001", "1e-7");
        assert_eq!(conv(&text).to_string(), text);
    }
}

#[test]
fn short_forms_mean_the_same() {
    let of = |rest: &str| conv(&format!("{BYTES}{rest}"));
    let full = of(", clamp(0,6), requantise onnx scale 0.5 zero_point 3");
    assert_eq!(full, of(",clamp(0,6),requantise scale 0.5,5e-1 zero 3"));
    assert_eq!(full, of(" , clamp(0, 6) , requantize xnnpack-f32 scale 0.5, 0.5 zero_point 3 "));
}

#[test]
fn a_chain_says_it_of_each_step() {
    let text = "conv1d u8 x i8 -> u8 ic2 oc4 in 9 kernel 3, requantise onnx scale 0.02 zero_point 3; \
                conv1d u8 x i8 -> i8 oc2 kernel 1, requantise tflite-double scale 0.1,0.2";
    let program: crate::Program = text.parse().unwrap_or_else(|e| panic!("{e}"));
    let of = |at: usize| program.steps()[at].conv.requantisation().cloned().expect("scales");
    assert_eq!((of(0).zero_point(), of(0).scales()), (3, &[0.02; 4][..]));
    assert_eq!((of(1).rounding(), of(1).scales()), (Rounding::TfliteDouble, &[0.1, 0.2][..]));
    assert_eq!(program.to_string().parse(), Ok(program));
}

#[test]
fn what_is_wrong_is_named() {
    for (rest, why) in [
        (", requantise", "found nothing, expected `onnx`, `xnnpack-f32`, `tflite-double`, "),
        (", requantise 0.5", "found `0`, expected `onnx`, `xnnpack-f32`, `tflite-double`, "),
        (", requantise onnx", "found nothing, expected `scale` and a number, or one for each"),
        (", requantise onx scale 1", "found `onx`, did you mean `onnx`?"),
        (", requantise onnx 0.5", "found `0.5`, expected `scale` and a number"),
        (", requantise onnx scale", "found nothing, expected a number"),
        (", requantise onnx scale x", "`x` is no number"),
        (", requantise onnx scale 0.5,", "found nothing, expected a number"),
        (", requantise onnx scale 0.5 zero_point", "found nothing, expected a whole number"),
        (", requantise onnx scale 0.5 zero_point 0.5", "`0.5` is no whole number of 32 bits"),
        (", requantise onnx scale 0.5 zero_point 9999999999", "`9999999999` is no whole number"),
        (", requantise onnx scale 0.5 offset 3", "found `offset`, expected nothing more"),
        (", requantise onnx scale 0.5, relu", "`relu` is no number"),
        (", requantise onnx scale 0.5 zero_point 3, relu", "expected nothing more: `requantise`"),
        (", relu, relu", "found `relu`, expected `requantise` behind the activation"),
        (", requantise onnx scale 0", "a scale must be larger than 0"),
        (", requantise onnx scale inf", "scale inf: a scale must be larger than 0 and at most"),
        (", requantise onnx scale NaN", "scale NaN: a scale must be larger than 0"),
        (", requantise onnx scale 1,2,3", "3 scales, but there are 2 output channels"),
        (", requantise onnx scale 1 zero_point 256", "the zero point 256 is no u8"),
    ] {
        let error = format!("{BYTES}{rest}").parse::<Conv>().unwrap_err().to_string();
        assert!(error.contains(why), "{rest}: {error}");
    }
    let sums = "conv1d u8 x i8 in 4 kernel 1, requantise onnx scale 0.5";
    let error = sums.parse::<Conv>().unwrap_err().to_string();
    assert!(error.contains("say a type of 8 or 16 bits, as in `-> u8`"), "{error}");
}
