//! Pools that meet NaN, and convolutions that feed each other.

use super::*;

/// What a convolution makes of these: the reference's exactly, with which the interpreter after
/// each pass and machine code must agree.
fn step<T: Element>(conv: &Conv, data: &Data<T>) -> Vec<T> {
    let wanted = data.reference(conv).unwrap_or_else(|e| panic!("{conv}: {e}"));
    let agrees = |route: &str, found: Result<Vec<T>, String>| {
        let same = found.and_then(|found| compare(&found, &wanted));
        same.unwrap_or_else(|what| panic!("{conv}: {route}: {what}"));
    };
    let schedule = Schedule::choose(conv, &Target::CRANELIFT).schedule;
    let compiled = passes::compile(conv, &schedule, &Target::CRANELIFT, &mut |pass, nest| {
        let found = data.interpret(nest, wanted.len(), &[], 1);
        agrees(pass, found.map_err(|e| e.to_string()));
    });
    compiled.unwrap_or_else(|e| panic!("{conv}: {e}"));
    agrees("machine code", routes::compiled(conv, data));
    wanted
}

/// NaN never wins, and of two zeros the first stays: on every route, to the bit.
#[test]
fn pools_pass_over_nan() {
    for text in [
        "maxpool2d ic3 in 9x21 kernel 3 stride 2 pad 1",
        "maxpool2d nhwc ic17 in 5x6 kernel 2",
        "minpool1d ic2 in 40 kernel 3 dilation 2 pad 2 mode replicate",
    ] {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let mut data = Data::<f32>::new(&conv, Fill::Integers, SEED);
        for (at, x) in data.input.iter_mut().enumerate() {
            match at % 5 {
                0 => *x = f32::NAN,
                1 => *x = -0.0,
                2 => *x = 0.0,
                _ => {}
            }
        }
        let wanted = step(&conv, &data);
        assert!(wanted.iter().all(|x| !x.is_nan()), "{conv}: {wanted:?}");
        let found = routes::compiled(&conv, &data).unwrap_or_else(|e| panic!("{conv}: {e}"));
        let bits = |of: &[f32]| of.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&wanted), "{conv}");
    }
}

fn pair<T: Element>([first, second]: [&str; 2]) {
    let [first, second] = [first, second].map(|text| {
        let text = format!("conv{} {} {}", &text[..2], T::DTYPE, &text[3..]);
        text.parse::<Conv>().unwrap_or_else(|e| panic!("{text}: {e}"))
    });
    assert_eq!(first.output_shape(), second.input_shape(), "{first}, then {second}");
    let input = step(&first, &Data::<T>::new(&first, Fill::Integers, SEED));
    let rest = Data::new(&second, Fill::Integers, SEED + 1);
    step(&second, &Data { input, ..rest });
}

#[test]
fn separable_pairs_feed_each_other() {
    let pairs = [
        // Spatially separable: (k, 1), then (1, k); (2+1)-D likewise.
        ["2d n2 g3 ic3 oc3 in 9x8 kernel 3x1", "2d n2 g3 ic3 oc3 in 7x8 kernel 1x3"],
        [
            "2d channels-last n1 g1 ic3 oc4 in 9x8 kernel 5x1",
            "2d channels-last n1 g1 ic4 oc3 in 5x8 kernel 1x5",
        ],
        ["3d n1 g1 ic2 oc4 in 5x6x7 kernel 1x3x3", "3d n1 g1 ic4 oc3 in 5x4x5 kernel 3x1x1"],
        // Depthwise separable: depthwise, then 1x1.
        ["1d n2 g5 ic5 oc5 in 11 kernel 3 pad 1", "1d n2 g1 ic5 oc8 in 11 kernel 1"],
        ["2d n1 g4 ic4 oc8 in 9x8 kernel 3 pad 1", "2d n1 g1 ic8 oc9 in 9x8 kernel 1"],
        [
            "2d channels-last n1 g5 ic5 oc5 in 9x8 kernel 3 pad 1",
            "2d channels-last n1 g1 ic5 oc8 in 9x8 kernel 1",
        ],
    ];
    pairs.into_iter().for_each(pair::<f32>);
    pairs.into_iter().for_each(pair::<f64>);
}

#[test]
fn the_transposed_one_is_the_gradient_for_the_input() {
    // For a linear map and its gradient, conv(x) . y = x . transposed(y): all integers, so exactly.
    let [forward, back] = [
        "conv2d f64 n2 g2 ic4 oc6 in 7x9 kernel 3 stride 2 pad 1",
        "conv2d-transposed f64 n2 g2 ic6 oc4 in 4x5 kernel 3 stride 2 pad 1",
    ]
    .map(|text| text.parse::<Conv>().unwrap_or_else(|e| panic!("{text}: {e}")));
    let x = Data::<f64>::new(&forward, Fill::Integers, SEED);
    let y = Data { weight: x.weight.clone(), ..Data::new(&back, Fill::Integers, SEED + 1) };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert_eq!(dot(&step(&forward, &x), &y.input), dot(&x.input, &step(&back, &y)));
}
