//! Chains as emitted source, compiled by rustc and run: the bits must be those of the steps'
//! references one after the other.
//!
//! Each is a function and a type, for two kinds of CPU that take turns. What wants more than a
//! stack gets scratch full of numbers that are none.

mod common;
mod program;

use common::{MAIN, fill};
use conv_codegen::{Form, Isa, Options, rust_source};
use conv_ir::reference::{StepWeights, run_program};
use conv_ir::{DType, Element, Program};
use program::{CHECKED, run};
use std::fmt::Write;

const CASES: &[&str] = &[
    // A separable blur, of an odd size.
    "conv2d in 37x45 kernel 5x1 pad 2,0; conv2d kernel 1x5 pad 0,2",
    "conv2d g3 ic3 oc3 in 21x40 kernel 7x1 pad 3,0 mode replicate; conv2d g3 oc3 kernel 1x7 pad 0,3 mode replicate",
    // Depthwise, then pointwise.
    "conv2d g16 ic16 oc16 in 23x19 kernel 3 pad 1 + bias, relu6; conv2d oc32 kernel 1 + bias, relu6",
    "conv2d nhwc g8 ic8 oc8 in 15x17 kernel 3 stride 2 pad 1 + bias, relu; conv2d oc24 kernel 1, hardswish",
    // An inverted residual.
    "conv2d ic16 oc96 in 28 kernel 1 + bias, relu6; conv2d g96 oc96 kernel 3 pad 1 + bias, relu6; conv2d oc16 kernel 1 + bias + residual from 0",
    // A stack of dilated causal ones.
    "conv1d ic4 oc16 in 200 kernel 2 dilation 1 pad causal, tanh; conv1d oc16 kernel 2 dilation 2 pad causal + residual from 1, tanh; \
     conv1d oc16 kernel 2 dilation 4 pad causal + residual from 2, tanh; conv1d oc1 kernel 1",
    // One after the other.
    "conv2d n2 ic3 oc8 in 31x29 kernel 3 stride 2 pad 1 + bias, relu; conv2d oc12 kernel 3 pad 1 + bias, relu",
    "conv2d ic3 oc8 in 13x11 kernel 3 pad 1 + bias, silu; conv2d oc8 kernel 3 pad 1 + bias + residual from 1, relu; conv2d oc5 kernel 2 stride 2",
    "conv2d ic2 oc3 in 9x8 kernel 3x3; conv2d-transposed oc4 kernel 2 stride 2; conv2d oc2 kernel 3 pad 1 mode reflect",
    // Its tensors are longer than a stack.
    "conv2d ic3 oc16 in 61x67 kernel 3 pad 1 + bias, relu; conv2d-transposed oc8 kernel 4 stride 2 pad 1 + bias; conv2d oc1 kernel 3 pad 1",
    "conv2d f64 g6 ic6 oc6 in 19x23 kernel 3 pad 1, relu; conv2d oc10 kernel 1 + bias; conv2d oc6 kernel 3 pad 1 + residual from 1",
    "conv1d f64 nwc ic3 oc8 in 57 kernel 3 pad 1, gelu; conv1d oc3 kernel 5 pad 2 + residual from 0",
];

const VERSIONS: [&[Isa]; 3] = [&[Isa::Avx512], &[Isa::Avx2], &[]];

/// Weight and bias of each step, by the seed that both sides have.
fn seeds(chain: &Program) -> impl Iterator<Item = (usize, u64, Option<(usize, u64)>)> {
    chain.convs().zip(1..).map(|(conv, number)| {
        let bias = conv.spec().bias.then(|| (conv.bias_len(), 2 * number + 1));
        (conv.weight_len(), 2 * number, bias)
    })
}

fn expected<T: Element>(chain: &Program, bits: fn(&T) -> String) -> String {
    let arrays: Vec<(Vec<T>, Option<Vec<T>>)> = seeds(chain)
        .map(|(len, seed, bias)| (fill(len, seed), bias.map(|(len, seed)| fill(len, seed))))
        .collect();
    let steps: Vec<StepWeights<'_, T>> =
        arrays.iter().map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() }).collect();
    let output = run_program(chain, &fill::<T>(chain.len_of(0), 1), &steps).unwrap();
    output.iter().map(bits).collect::<Vec<_>>().join(" ")
}

/// The call of an item, and its result printed.
fn call(chain: &Program, name: &str, form: Form, source: &str) -> String {
    let mut weights = String::new();
    for (len, seed, bias) in seeds(chain) {
        write!(weights, "&fill::<{len}>({seed}), ").unwrap();
        if let Some((len, seed)) = bias {
            write!(weights, "&fill::<{len}>({seed}), ").unwrap();
        }
    }
    let (input, output) = (chain.len_of(0), chain.len_of(chain.steps().len()));
    let (constant, call) = match form {
        Form::Function => (
            format!("{}_SCRATCH", name.to_uppercase()),
            format!("{name}(&fill::<{input}>(1), {weights}"),
        ),
        Form::Type => (
            format!("{name}::SCRATCH"),
            format!("{name}::new({weights}).run(&fill::<{input}>(1), "),
        ),
    };
    let scratch = match source.contains("SCRATCH: usize") {
        true => format!(", &mut [T::NAN; {constant}]"),
        false => String::new(),
    };
    format!(
        "    {{\n    let mut output = [T::NAN; {output}];\n    {call}&mut output{scratch});\n    show(&output);\n    }}\n"
    )
}

fn judge<T: Element>(dtype: DType, bits: fn(&T) -> String) {
    let chains: Vec<Program> =
        CASES.iter().map(|text| text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))).collect();
    let chains = chains.iter().filter(|chain| chain.dtype() == dtype).enumerate();
    let cases: Vec<(&Program, Form, &[Isa])> = chains
        .flat_map(|(at, chain)| {
            let forms = [Form::Function, Form::Type].into_iter().enumerate();
            forms.map(move |(turn, form)| (chain, form, VERSIONS[(at + turn) % VERSIONS.len()]))
        })
        .collect();
    let (mut source, mut calls) = (format!("{MAIN}type T = {dtype};\n"), String::new());
    let mut with_scratch = 0;
    for (at, (chain, form, isas)) in cases.iter().enumerate() {
        let options = Options { form: *form, isas: isas.to_vec(), ..Options::default() };
        let name = format!("Case{at}");
        let one = rust_source(*chain, &name, &options).unwrap_or_else(|e| panic!("{chain}: {e}"));
        with_scratch += usize::from(one.contains("SCRATCH: usize"));
        calls += &call(chain, &name, *form, &one);
        source += &one;
    }
    assert!(dtype == DType::F64 || with_scratch > 0, "no case wants more than a stack");
    // Arrays of a case, and its scratch, are on the stack of the program.
    write!(source, "fn main() {{\n    let run = || {{\n{calls}}};\n    std::thread::Builder::new().stack_size(64 << 20).spawn(run).unwrap().join().unwrap();\n}}\n").unwrap();
    for ((chain, _, isas), found) in
        cases.iter().zip(run(&source, &format!("chains-{dtype}"), CHECKED))
    {
        assert_eq!(found, expected::<T>(chain, bits), "{chain}\n{isas:?}");
    }
}

#[test]
fn f32_chains_give_the_references_bits() {
    judge::<f32>(DType::F32, |x| format!("{:x}", x.to_bits()));
}

#[test]
fn f64_chains_give_the_references_bits() {
    judge::<f64>(DType::F64, |x| format!("{:x}", x.to_bits()));
}

/// Numbers that are too many to be written are bytes, which the versions of a type share.
#[test]
fn steps_with_many_known_numbers_give_the_references_bits() {
    let text = "conv2d ic16 oc96 in 12 kernel 1 + bias, relu6; \
                conv2d g96 oc96 kernel 3 pad 1 + bias, relu6; \
                conv2d oc16 kernel 1 + bias + residual from 0";
    let chain: Program = text.parse().unwrap();
    let known = seeds(&chain).zip(chain.steps()).map(|((len, seed, bias), step)| {
        let bias = bias.map(|(len, seed)| fill::<f32>(len, seed));
        let conv = step.conv.with_weights(&fill::<f32>(len, seed), bias.as_deref()).unwrap();
        conv_ir::program::Step { conv, ..step.clone() }
    });
    let known = Program::new(known.collect()).unwrap();
    let (mut source, mut calls) = (format!("{MAIN}type T = f32;\n"), String::new());
    for (name, form) in [("Known", Form::Type), ("known", Form::Function)] {
        let options = Options { form, ..Options::default() };
        let one = rust_source(&known, name, &options).unwrap();
        if form == Form::Type {
            assert_eq!(one.matches("= numbers(").count(), 3, "{one}");
        }
        let call = call(&known, name, form, &one);
        let passed = seeds(&chain).flat_map(|(len, seed, bias)| [Some((len, seed)), bias]);
        calls += &passed
            .flatten()
            .fold(call, |call, (len, seed)| call.replace(&format!("&fill::<{len}>({seed}), "), ""));
        source += &one;
    }
    source += &format!("fn main() {{\n{calls}}}\n");
    let wanted = expected::<f32>(&chain, |x| format!("{:x}", x.to_bits()));
    assert_eq!(run(&source, "known", CHECKED), [wanted.clone(), wanted]);
}

#[test]
fn one_convolution_that_wants_more_than_a_stack_takes_scratch() {
    let conv: conv_ir::Conv = "conv2d ic64 oc64 in 9x9 kernel 5x5".parse().unwrap();
    let options = Options {
        schedule: Some("lanes oc:4 tile oc:8,ow:5 pack".parse().unwrap()),
        ..Options::default()
    };
    let one = conv_codegen::rust_source(&conv, "layer", &options).unwrap();
    let chain = Program::new(vec![conv.into()]).unwrap();
    let calls = call(&chain, "layer", Form::Function, &one);
    assert!(one.contains("pub const LAYER_SCRATCH: usize = 102415;"), "{one}");
    let source = format!("{MAIN}type T = f32;\n{one}fn main() {{\n{calls}}}\n");
    assert_eq!(
        run(&source, "scratch", CHECKED),
        [expected::<f32>(&chain, |x| format!("{:x}", x.to_bits()))]
    );
}

/// Whole numbers sum exactly in any order, so two passes give what one gives.
#[test]
fn a_window_in_two_passes_gives_the_sums_of_one() {
    let binomial = [1.0f32, 4.0, 6.0, 4.0, 1.0];
    let window: Vec<f32> = binomial.iter().flat_map(|a| binomial.map(|b| a * b)).collect();
    let rows: Vec<String> = window.chunks(5).map(|row| format!("{row:?}")).collect();
    let item = |kind: &str, accuracy: &str| {
        format!(
            "{kind}(input: [f32; 1, 2, 41, 53], residual: [f32; 1, 2, 41, 27]) -> [f32; 1, 2, 41, 27];
            groups: 2, stride: [1, 2], padding: 2, activation: relu, accuracy: {accuracy}, weight: [{}]\n",
            rows.join(", ")
        )
    };
    let items = [
        item("fn one_pass", "exact"),
        item("fn two_passes", "fast"),
        item("struct TwoPasses", "fast"),
    ]
    .concat();
    let source = conv_codegen::expand(items.parse().unwrap());
    let main = "
        fn main() {
            let input = fill::<4346>(1).map(|x| (x * 8.0).trunc());
            let residual = fill::<2214>(2).map(|x| (x * 8.0).trunc());
            let [mut one, mut two, mut three] = [[f32::NAN; 2214]; 3];
            one_pass(&input, &residual, &mut one);
            two_passes(&input, &residual, &mut two);
            TwoPasses::new().run(&input, &residual, &mut three);
            show(&one);
            show(&two);
            show(&three);
        }
        type T = f32;";
    let source = format!("{MAIN}{}{main}", conv_codegen::format_source(source));
    let lines = run(&source, "two-passes", CHECKED);
    let conv = "conv2d f32 n1 g2 ic2 oc2 in 41x53 kernel 5x5 stride 1x2 pad 2 + residual, relu";
    let conv: conv_ir::Conv = conv.parse().unwrap();
    let whole = |len: usize, seed: u64| {
        fill::<f32>(len, seed).iter().map(|x| (x * 8.0).trunc()).collect::<Vec<f32>>()
    };
    let (input, residual) = (whole(4346, 1), whole(2214, 2));
    let arguments = conv_ir::reference::Arguments {
        input: &input,
        weight: &window.repeat(2),
        bias: None,
        residual: Some(&residual),
    };
    let wanted = conv_ir::reference::run(&conv, arguments, &[]).unwrap();
    let wanted: Vec<String> = wanted.iter().map(|x| format!("{:x}", x.to_bits())).collect();
    assert_eq!(lines, vec![wanted.join(" "); 3]);
}
