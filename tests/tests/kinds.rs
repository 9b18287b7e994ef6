//! Every kind of convolution, on every route: the design's table of kinds, as a cross product.
//!
//! Kinds x 1-D, 2-D, 3-D (some 4-D) x both layouts x f32 and f64 x padding modes, with bias,
//! residual and activations taking turns; the same of integers, whose types take turns. Each case
//! runs on exact integers and on random reals; the reference's bits must come from the interpreter
//! after every pass, from threads, from machine code, and (but for integers) from the expanded
//! Rust, of which all cases make one program. Pairs (spatially separable, depthwise separable) run
//! as pairs: what the first gives, the second takes; and a transposed one is held against the
//! gradient that it is.

use conv_ir::requantise::Rounding;
use conv_ir::{Activation, Conv, DType, Element, PaddingMode, Schedule, Target, passes};
use conv_tests::data::{Data, compare};
use conv_tests::emitted::{Emitted, exactly};
use conv_tests::judge::SEED;
use conv_tests::{Fill, routes};

#[path = "kinds/pairs.rs"]
mod pairs;

/// One row of the table: its name, what it says in the text form (`conv` and the sizes come
/// before), and whether it has padding to fold.
struct Kind {
    name: &'static str,
    text: &'static str,
    pads: bool,
}

const fn kind(name: &'static str, text: &'static str) -> Kind {
    Kind { name, text, pads: false }
}

const fn padded(name: &'static str, text: &'static str) -> Kind {
    Kind { name, text, pads: true }
}

const KINDS: &[Kind] = &[
    padded("plain", "g1 ic3 oc5 kernel 3 pad 1"),
    padded("dilated", "g1 ic2 oc4 kernel 3 dilation 2 pad 2"),
    padded("strided", "g1 ic2 oc4 kernel 3 stride 2 pad 1"),
    padded("asymmetric padding", "g1 ic2 oc3 kernel 3 pad 0:2"),
    padded("padding beyond the input", "g1 ic2 oc3 kernel 2 stride 5 dilation 3 pad 13:29"),
    padded("causal", "g1 ic2 oc2 kernel 3 pad causal"),
    padded("same-upper", "g1 ic2 oc3 kernel 2 stride 2 pad same-upper"),
    padded("same-lower", "g1 ic2 oc3 kernel 2 pad same-lower"),
    padded("flip", "g1 ic2 oc3 kernel 3 pad 1 flip"),
    padded("group", "g2 ic4 oc6 kernel 3 pad 1"),
    padded("depthwise", "g5 ic5 oc5 kernel 3 pad 1"),
    padded("depthwise, multiplier 2", "g3 ic3 oc6 kernel 3 stride 2 pad 1"),
    kind("1x1", "g1 ic4 oc8 kernel 1"),
    kind("transposed", "g1 ic3 oc4 kernel 3 stride 2 pad 1"),
    kind("transposed, output padding", "g1 ic2 oc3 kernel 3 stride 2 pad 1 out_pad 1"),
    kind("transposed, kernel below stride", "g1 ic2 oc3 kernel 2 stride 3"),
    kind("transposed, dilated", "g1 ic2 oc2 kernel 3 stride 2 dilation 2 pad 1:2"),
    kind("transposed, group", "g2 ic4 oc4 kernel 3 stride 2 pad 1"),
    kind("transposed, depthwise", "g4 ic4 oc4 kernel 4 stride 2 pad 1"),
    kind("transposed, flip", "g1 ic2 oc3 kernel 3 stride 2 flip"),
    padded("maxpool", "ic5 kernel 3 stride 2 pad 1"),
    padded("maxpool, ceil_mode", "ic3 kernel 3 stride 2 pad 1:0 ceil_mode"),
    padded("minpool, dilated", "ic2 kernel 3 dilation 2 pad 2"),
    padded("avgpool", "ic4 kernel 3 stride 2 pad 1 ceil_mode"),
    kind("avgpool, count_include_pad", "ic3 kernel 3 stride 2 pad 2 ceil_mode count_include_pad"),
    kind("global_avgpool", "ic17"),
    kind("global_maxpool", "ic3"),
    padded("dilation", "ic3 kernel 3 pad 1"),
    padded("dilation, dense", "g1 ic3 oc5 kernel 3 pad 1"),
    padded("erosion", "ic2 kernel 2 stride 2 pad 1 flip"),
];

const MODES: [PaddingMode; 6] = [
    PaddingMode::Zeros,
    PaddingMode::Constant(2.0),
    PaddingMode::Reflect,
    PaddingMode::Symmetric,
    PaddingMode::Replicate,
    PaddingMode::Circular,
];

/// Types of integers that take turns.
const INTEGERS: [&str; 8] = [
    "u8 x i8",
    "i8",
    "u8 x i8 -> u8",
    "i8 x i8 -> i8",
    "i16 x i8 -> i16",
    "u8",
    "u16 x i16 -> u16",
    "i32 x u8 -> i8",
];

/// What every case of the cross product has different, taking turns: the epilogue.
fn epilogue(turn: usize, types: &str) -> String {
    let bias = if turn.is_multiple_of(2) { " + bias" } else { "" };
    let residual = if turn % 3 == 1 { " + residual" } else { "" };
    // Every fourth case has none.
    let activation: Option<Activation> =
        (turn % 4 != 3).then(|| Activation::EACH[turn % Activation::EACH.len()].clone());
    let activation = match (types.starts_with('f'), activation) {
        (true, same) | (false, same @ Some(Activation::Relu | Activation::Relu6)) => same,
        (false, other) => other.map(|_| Activation::Clamp(-90.0, 300.0)),
    };
    format!("{bias}{residual}{}", activation.map_or(String::new(), |a| format!(", {a}")))
}

fn text(
    kind: &Kind,
    rank: usize,
    (channels_last, types): (bool, &str),
    mode: PaddingMode,
    turn: usize,
) -> String {
    // Pools are called by the first word of the text form.
    let (name, _) = kind.name.split_once(',').unwrap_or((kind.name, ""));
    let is_pool = name.ends_with("pool") || ["dilation", "erosion"].contains(&name);
    let head = if is_pool { name } else { "conv" };
    let transposed = if name == "transposed" { "-transposed" } else { "" };
    let layout = if channels_last { "channels-last " } else { "" };
    let input = ["11", "6x9", "3x5x6", "3x3x4x5"][rank - 1];
    // What hangs over is read in no mode but zeros.
    let words = match mode {
        PaddingMode::Zeros => kind.text.to_owned(),
        _ => kind.text.replace(" ceil_mode", ""),
    };
    let mode = if kind.pads { format!(" mode {mode}") } else { String::new() };
    let batch = 1 + turn % 2;
    format!(
        "{head}{rank}d{transposed} {types} {layout}n{batch} in {input} {}{mode}{}",
        words,
        if is_pool { epilogue(turn, types).replace(" + bias", "") } else { epilogue(turn, types) }
    )
}

/// The cross product; four axes only plainly, in f32 and channels first.
fn cases() -> Vec<(String, Conv)> {
    let mut texts = Vec::new();
    for kind in KINDS {
        for rank in 1..=4 {
            for of in [(false, "f32"), (true, "f32"), (false, "f64"), (true, "f64")] {
                for &mode in if kind.pads { &MODES[..] } else { &MODES[..1] } {
                    let plain = mode == PaddingMode::Zeros && of == (false, "f32");
                    if rank < 4 || plain {
                        texts.push((kind.name, text(kind, rank, of, mode, texts.len())));
                    }
                }
            }
        }
    }
    parsed(texts)
}

/// The cross product of integers, up to three axes: every kind but averages and morphology, which
/// they have none of. Each case has one layout and its types, in turn.
fn cases_of_integers() -> Vec<(String, Conv)> {
    let mut texts = Vec::new();
    let is_none = |kind: &&Kind| {
        ["avgpool", "dilation", "erosion"]
            .iter()
            .any(|name| kind.name.trim_start_matches("global_").starts_with(name))
    };
    for kind in KINDS.iter().filter(|kind| !is_none(kind)) {
        for rank in 1..=3 {
            for &mode in if kind.pads { &MODES[..] } else { &MODES[..1] } {
                for _ in 0..2 {
                    let turn = texts.len();
                    let of = (turn % 2 == 1, INTEGERS[turn / 2 % INTEGERS.len()]);
                    texts.push((kind.name, text(kind, rank, of, mode, turn)));
                }
            }
        }
    }
    // Four bytes at a time: whole vectors and parts of them, strides, groups, edges.
    for of in ["u8 x i8", "i8 x u8 -> i8", "u8 x i8 -> u8", "i8"] {
        for rest in [
            "in 13 ic8 oc20 kernel 3 pad 1",
            "in 9 ic16 oc16 kernel 1 + bias",
            "in 31 ic12 oc40 kernel 3 stride 2 pad 2 + bias i32, relu",
            "in 10 g2 ic8 oc34 kernel 2 dilation 2",
            "in 6 ic20 oc3 kernel 3 pad 1 + residual",
            "in 6 ic4 oc18 kernel 3 pad 2 mode reflect",
        ] {
            let (one, two) =
                (format!("conv1d {of} nwc {rest}"), format!("conv2d {of} nhwc {rest}"));
            texts.extend([("by fours", one), ("by fours", two)]);
        }
        // Rows are copied with four channels side by side.
        for rest in [
            "in 13 ic8 oc20 kernel 3 pad 1",
            "in 19 ic16 oc16 kernel 1 + bias",
            "in 31 ic12 oc40 kernel 3 stride 2 pad 2 + bias i32, relu",
            "in 35 ic3 oc24 kernel 5 stride 2 pad 2 + bias i32",
            "in 20 ic2 oc5 kernel 3 pad 1 mode constant(7)",
            "in 40 g2 ic8 oc34 kernel 2 dilation 2",
            "in 7 n2 ic20 oc64 kernel 3 pad 1 + residual",
            "in 18 ic4 oc18 kernel 3 pad 2 mode reflect",
            "in 6 ic4 oc18 kernel 13 pad 6 mode circular",
        ] {
            let (one, two) = (format!("conv1d {of} {rest}"), format!("conv2d {of} {rest}"));
            texts.extend([("woven", one), ("woven", two)]);
        }
        // Taps beside each other: rows shorter and longer than a vector, and strides.
        for rest in [
            "in 37 g5 ic5 oc5 kernel 3 pad 1 + bias i32",
            "in 7 g3 ic3 oc3 kernel 3 pad 1",
            "in 70 g2 ic2 oc4 kernel 5 stride 2 pad 2 + bias i32, relu",
            "in 33 g4 ic4 oc4 kernel 6 pad 3:2",
            "in 19 g3 ic3 oc3 kernel 3 stride 2 pad 1 mode constant(9)",
            "in 40 g2 ic2 oc2 kernel 4 dilation 2 stride 2",
        ] {
            let (one, two) = (format!("conv1d {of} {rest}"), format!("conv2d {of} {rest}"));
            texts.extend([("slid", one), ("slid", two)]);
        }
        // The same with channels in the lanes, where taps are below each other.
        for rest in [
            "in 13 g16 ic16 oc16 kernel 3 pad 1 + bias i32",
            "in 9 g24 ic24 oc24 kernel 3 stride 2 pad 1 mode constant(9)",
            "in 7 g40 ic40 oc40 kernel 5 pad 2 + bias i32, relu",
            "in 12 g20 ic20 oc20 kernel 2 dilation 3",
        ] {
            let (one, two) =
                (format!("conv1d {of} nwc {rest}"), format!("conv2d {of} nhwc {rest}"));
            texts.extend([("below", one), ("below", two)]);
        }
    }
    parsed(texts)
}

fn parsed(texts: Vec<(&str, String)>) -> Vec<(String, Conv)> {
    let parse = |(name, text): (&str, String)| {
        let conv = text.parse().unwrap_or_else(|e| panic!("{name}: {text}: {e}"));
        (name.to_owned(), conv)
    };
    texts.into_iter().map(parse).collect()
}

#[test]
fn every_kind_on_the_interpreter_and_machine_code() {
    on_machines(&cases());
}

#[test]
fn every_kind_of_integers_on_the_interpreter_and_machine_code() {
    on_machines(&cases_of_integers());
}

fn on_machines(cases: &[(String, Conv)]) {
    let mut failures = Vec::new();
    let (mut judged, mut finished) = (0, 0);
    for (at, (name, conv)) in cases.iter().enumerate() {
        for fill in [Fill::Integers, Fill::Reals] {
            // Passes are the same code for every layout, type and mode: judging one case in six
            // after each pass meets all kinds many times.
            let each_pass = fill == Fill::Reals && at % 6 == at / 24 % 6;
            let target = routes::MACHINES[at / 7 % 3];
            let result = match each_pass {
                true => routes::every_chosen(conv, &target, fill),
                false => routes::finished(conv, &target, fill),
            };
            judged += usize::from(each_pass);
            finished += usize::from(!each_pass);
            if let Err(what) = result {
                failures.push(format!("{name}, {fill:?}: {what}"));
            }
        }
    }
    conv_tests::say(format_args!(
        "{} cases on integers and on reals: reference, interpreter, Cranelift, AVX2 and AVX-512 agree{}",
        cases.len(),
        routes::skipped()
    ));
    conv_tests::say(format_args!(
        "{judged} of these {} runs were judged after each pass",
        judged + finished
    ));
    assert!(
        failures.is_empty(),
        "{} of {} fail\n{}",
        failures.len(),
        cases.len() * 2,
        failures.join("\n\n")
    );
}

/// Sums that become integers of few bits: the cases of integers that have an output of them, with a
/// scale for each channel or one, and each rounding that compiled code has, in turn.
fn requantised_cases() -> Vec<(String, Conv)> {
    let mut rng = conv_tests::data::Rng(SEED);
    let mut requantised = Vec::new();
    for (name, conv) in cases_of_integers() {
        let output = conv.types().output;
        if conv.spec().residual || !conv.has_weight() || output == DType::I32 {
            continue;
        }
        let roundings = [Rounding::Onnx, Rounding::TfliteDouble, Rounding::TfliteSingle];
        let rounding = roundings[requantised.len() / 4 % 3];
        // From what moves most sums to the ends to what makes zeros of all.
        let mut scale =
            || 2f64.powi(8 - rng.within(1, 28) as i32) / (1.0 + rng.within(1, 99) as f64);
        let scales: Vec<f64> = match requantised.len() % 3 {
            0 => vec![scale()],
            _ => (0..conv.out_channels()).map(|_| scale()).collect(),
        };
        let (least, most) = output.range().expect("of integers");
        let zero_points = [0, least, most, (least + most + 1) / 2 + 7];
        let zero_point = zero_points[requantised.len() / 2 % 4] as i32;
        let conv = conv.requantised(rounding, &scales, zero_point);
        requantised.push((name, conv.unwrap_or_else(|e| panic!("{e}"))));
    }
    assert!(requantised.len() > 80, "{}", requantised.len());
    requantised
}

#[test]
fn every_kind_requantised_on_the_interpreter_and_machine_code() {
    on_machines(&requantised_cases());
}

#[test]
fn every_kind_requantised_as_expanded_rust() {
    let cases = requantised_cases().into_iter().step_by(3).collect::<Vec<_>>();
    expanded(&cases);
}

/// Adds a case with both fills to the program, and what the reference makes of it.
fn add<T: Element>(
    program: &mut Emitted,
    wanted: &mut Vec<(String, Vec<f64>)>,
    name: &str,
    conv: &Conv,
) {
    let function = program.function(conv).unwrap_or_else(|e| panic!("{name}: {e}"));
    for fill in [Fill::Integers, Fill::Reals] {
        let data = Data::<T>::new(conv, fill, SEED);
        let reference = data.reference(conv).unwrap_or_else(|e| panic!("{conv}: {e}"));
        program.call(&function, &[], &data, reference.len());
        wanted.push((
            format!("{name}, {fill:?}: {conv}"),
            reference.iter().map(|x| x.to_f64()).collect(),
        ));
    }
}

/// Runs one program per element type and compares bits. f32 travels as f64, exactly.
fn expanded(cases: &[(String, Conv)]) {
    let (mut program, mut wanted) = (Emitted::default(), Vec::new());
    for (name, conv) in cases {
        conv_ir::with_element!(conv.dtype(), T => add::<T>(&mut program, &mut wanted, name, conv))
    }
    let mut failures = Vec::new();
    for ((bytes, (what, wanted)), conv) in
        program.run().iter().zip(&wanted).zip(cases.iter().flat_map(|c| [&c.1, &c.1]))
    {
        let found = exactly(conv.types().output, bytes);
        if let Err(difference) = compare(&found, wanted) {
            failures.push(format!("{what}\n{difference}"));
        }
    }
    conv_tests::say(format_args!(
        "{} convolutions as expanded Rust, each on integers and on reals",
        cases.len()
    ));
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn every_kind_as_expanded_rust() {
    // Every kind, rank and padding mode; of the four layouts x types each case takes one, in turn,
    // so that every pair of choices is met.
    let cases = cases();
    let chosen: Vec<(String, Conv)> = cases
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 4 == at / 24 % 4)
        .map(|(_, c)| c.clone())
        .collect();
    expanded(&chosen);
}

/// Each of the types that are stored, in turn: of integers every kind, of halves a choice.
#[test]
fn every_kind_of_integers_and_halves_as_expanded_rust() {
    const HALVES: [&str; 4] = ["f16", "bf16", "f32 x f16", "f16 x f32 -> bf16"];
    let integers = cases_of_integers().into_iter().enumerate();
    let mut chosen: Vec<_> =
        integers.filter(|(at, _)| at % 4 == at / 24 % 4).map(|(_, case)| case).collect();
    let floats = cases().into_iter().filter(|(_, conv)| conv.dtype() == DType::F32);
    for (at, (name, conv)) in floats.step_by(9).enumerate() {
        let text = conv.to_string().replacen("f32", HALVES[at % HALVES.len()], 1);
        chosen.push((name, text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))));
    }
    expanded(&chosen);
}

#[test]
#[ignore = "rustc takes some minutes for all of them"]
fn every_case_as_expanded_rust() {
    cases().chunks(250).for_each(expanded);
}
