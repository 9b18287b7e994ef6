//! Emitted source, compiled by rustc and run: the bits must be those of the reference.
//!
//! All cases of a type go into one file under `#![deny(warnings)]`, one `rustc` run, with overflow
//! checks: no index may dip below zero on the way. Inputs are reals from a generator that both
//! sides have; outputs come back as hexadecimal bits.

mod common;
mod program;

use common::{MAIN, fill};
use conv_codegen::{Form, Isa, Options};
use conv_ir::{Conv, DType, Element, Schedule, reference};
use program::{CHECKED, run};
use std::fmt::Write;

/// The model's schedule, or the one after the bar.
const CASES: &[&str] = &[
    "conv2d f32 n1 g1 ic3 oc10 in 9x11 kernel 3x3 pad 1 + bias, relu | lanes oc:4 tile oc:8,ow:3 order n,g,oc,oh,ow",
    "conv2d f32 n1 g1 ic3 oc10 in 9x11 kernel 3x3 pad 1 + bias, relu | lanes oc:4 tile oc:8,ow:3 order n,g,oc,oh,ow pack",
    "conv2d f32 n1 g1 ic3 oc4 in 9x16 kernel 3x3 pad 1 + bias + residual, silu | lanes ow:4 tile ow:8,oc:2 order n,g,oc,oh,ow borders panel:2 pack",
    "conv2d f32 nhwc n1 g1 ic3 oc7 in 9x11 kernel 3x3 pad 1 mode replicate + bias, tanh | lanes oc:4 tile oc:4,ow:5 order n,oh,ow,oc pack",
    "conv2d f32 n1 g1 ic3 oc4 in 9x16 kernel 3x3 stride 1x2 + bias, gelu | lanes ow:4 tile ow:8,oc:2 unroll kh,kw",
    "conv1d f32 n2 g1 ic3 oc5 in 17 kernel 3 stride 2 pad 1 + bias",
    "conv1d f32 n1 g1 ic4 oc4 in 20 kernel 5 dilation 2 pad causal + bias + residual",
    "conv2d f32 n1 g1 ic3 oc8 in 9x11 kernel 3x3 pad 1 + bias, relu",
    "conv2d f32 n1 g1 ic8 oc16 in 6x6 kernel 1x1 + bias, relu6",
    "conv2d f32 nhwc n2 g1 ic5 oc12 in 7x9 kernel 3x3 stride 2 pad 1 + bias, sigmoid",
    "conv2d f32 nhwc n1 g12 ic12 oc12 in 7x9 kernel 3x3 pad 1, hardswish",
    "conv2d f32 n1 g8 ic8 oc8 in 9x13 kernel 3x3 pad 1 + bias, silu",
    "conv2d f32 n1 g2 ic4 oc6 in 9x8 kernel 3x2 pad 2:1,0:3, leaky_relu(0.01)",
    "conv2d f32 n1 g1 ic2 oc3 in 8x9 kernel 5x5 pad 2 mode reflect, gelu",
    "conv2d f32 n1 g1 ic2 oc4 in 8x19 kernel 3x3 pad 1 mode constant(0.5), tanh",
    "conv2d f32 n1 g1 ic2 oc4 in 5x6 kernel 3x3 dilation 2 pad 2 mode circular flip",
    "conv2d f32 n1 g1 ic2 oc4 in 5x6 kernel 3x3 pad 3 mode symmetric, clamp(-1, 0.5)",
    "conv2d f32 n1 g1 ic2 oc4 in 5x6 kernel 3x3 pad 4 mode replicate, hardsigmoid",
    "conv2d-transposed f32 n1 g1 ic6 oc4 in 5x6 kernel 3x3 stride 2 pad 1 out_pad 1 + bias",
    "conv2d-transposed f32 n1 g2 ic4 oc4 in 4x5 kernel 2x4 stride 3x2 dilation 1x2 pad 0:1,2:1 + residual, relu",
    "conv3d f32 n1 g1 ic2 oc4 in 4x5x6 kernel 3x3x3 pad 1 + bias",
    "conv4d f32 n1 g1 ic1 oc2 in 3x3x4x5 kernel 2x2x2x2 pad 1",
    "conv2d f32 n0 g1 ic3 oc8 in 9x11 kernel 3x3 pad 1 + bias",
    "conv2d f64 n1 g1 ic3 oc8 in 9x11 kernel 3x3 pad 1 + bias, silu",
    "conv1d f64 n1 g1 ic3 oc10 in 11 kernel 3 pad 1 + bias | lanes oc:2 tile oc:10 borders panel:1 pack oc:2",
    "conv1d f64 nwc n1 g1 ic3 oc4 in 9 kernel 3 pad same-lower, gelu",
    "conv2d-transposed f64 n1 g1 ic3 oc4 in 4x5 kernel 4x4 stride 2 pad 1 flip, tanh",
    "conv2d f32 nB g1 ic3 oc8 in HxW kernel 3x3 stride 2 pad 1 + bias, relu",
    "conv1d f32 n1 g1 ic2 oc4 in T kernel 3 pad 2 mode reflect + residual",
    "conv2d f32 n1 g1 ic1 oc1 in YxX kernel 3x3 pad 1",
    "conv2d f32 n1 g1 ic1 oc1 in YxX kernel 5x5 pad 2 + bias, relu",
    "conv2d f32 n1 g1 ic1 oc1 in YxX kernel 3x3 dilation 2 pad 2",
    "conv2d f32 n1 g1 ic1 oc1 in 20xX kernel 1x15 pad 0,7",
    "conv2d f32 n1 g1 ic1 oc1 in Yx75 kernel 15x1 pad 7,0",
    "conv2d f32 n1 g4 ic4 oc4 in YxX kernel 3x3 pad 1 + bias",
    "conv2d f32 n1 g1 ic1 oc1 in YxX kernel 4x4 pad 3:0,0:3",
    "conv2d f64 n1 g1 ic1 oc1 in YxX kernel 3x3 pad 1",
    "conv2d f32 nhwc n1 g8 ic8 oc8 in HxW kernel 3x3 pad 1",
    "conv2d-transposed f32 n1 g1 ic2 oc4 in HxW kernel 3x3 stride 2 pad 1",
];

/// What each is emitted for, beside the portable version.
const VERSIONS: [&[Isa]; 3] = [&[Isa::Avx512, Isa::Avx2], &[Isa::Avx2], &[]];

/// What the free sizes are.
const SIZES: &[(&str, usize)] = &[("B", 2), ("H", 7), ("W", 12), ("T", 9), ("X", 75), ("Y", 20)];

/// One convolution with the values of its free sizes.
struct Case {
    conv: Conv,
    schedule: Option<Schedule>,
    free: Vec<(&'static str, usize)>,
    sized: Conv,
}

impl Case {
    fn new(text: &str) -> Case {
        let (text, schedule) =
            text.split_once(" | ").map_or((text, None), |(text, schedule)| (text, Some(schedule)));
        let schedule = schedule.map(|s| s.parse().unwrap_or_else(|e| panic!("{s}: {e}")));
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let names: Vec<String> = conv.free_sizes().iter().map(|s| s.to_string()).collect();
        let free: Vec<_> =
            SIZES.iter().copied().filter(|(name, _)| names.iter().any(|n| n == name)).collect();
        let sized = conv.with_sizes(&free).unwrap();
        Case { conv, schedule, free, sized }
    }

    fn lengths(&self) -> [usize; 5] {
        let (spec, c) = (self.sized.spec(), &self.sized);
        let output = c.output_len().unwrap();
        let (bias, residual) = (spec.bias as usize * c.bias_len(), spec.residual as usize * output);
        [c.input_len().unwrap(), c.weight_len(), bias, residual, output]
    }

    /// What the reference makes of it.
    fn expected<T: Element>(&self) -> Vec<T> {
        let [input, weight, bias, residual, _] = self.lengths();
        let (input, weight) = (fill::<T>(input, 1), fill::<T>(weight, 2));
        let (bias, residual) = (fill::<T>(bias, 3), fill::<T>(residual, 4));
        let arguments = reference::Arguments {
            input: &input,
            weight: &weight,
            bias: self.sized.spec().bias.then_some(bias.as_slice()),
            residual: self.sized.spec().residual.then_some(residual.as_slice()),
        };
        reference::run(&self.conv, arguments, &self.free).unwrap()
    }

    /// The call of the function `name`, and its result printed.
    fn call(&self, name: &str) -> String {
        let [input, weight, bias, residual, output] = self.lengths();
        let sizes: String = self
            .conv
            .free_sizes()
            .iter()
            .map(|name| {
                let size = self.free.iter().find(|(n, _)| n == name).unwrap().1;
                format!("{size}, ")
            })
            .collect();
        let mut arguments = format!("{sizes}&fill::<{input}>(1), &fill::<{weight}>(2), ");
        if self.sized.spec().bias {
            write!(arguments, "&fill::<{bias}>(3), ").unwrap();
        }
        if self.sized.spec().residual {
            write!(arguments, "&fill::<{residual}>(4), ").unwrap();
        }
        format!(
            "    let mut output = [T::NAN; {output}];\n    {name}({arguments}&mut output);\n    show(&output);\n"
        )
    }

    /// The same for a type: packed once, then run.
    fn call_type(&self, name: &str) -> String {
        let call = self.call("run");
        let [_, weight, bias, _, _] = self.lengths();
        let bias_argument = match self.sized.spec().bias {
            true => format!("&fill::<{bias}>(3), "),
            false => String::new(),
        };
        let call = call
            .replace(&format!("&fill::<{weight}>(2), "), "")
            .replace(&bias_argument, "")
            .replace("run(", &format!("{name}::new(&fill::<{weight}>(2), {bias_argument}).run("));
        format!("    {{\n{call}    }}\n")
    }
}

/// Emits, compiles and runs all cases of one type; returns a line of bits for each.
fn outputs(cases: &[Case], dtype: &str) -> Vec<String> {
    let mut source = format!("{MAIN}type T = {dtype};\n");
    let mut calls = String::new();
    for (at, (case, isas)) in
        cases.iter().flat_map(|case| VERSIONS.map(|isas| (case, isas))).enumerate()
    {
        // Functions and types take turns.
        let form = [Form::Function, Form::Type][(at / VERSIONS.len() + at) % 2];
        let name = format!("Case{at}");
        let options = Options {
            form,
            isas: isas.to_vec(),
            schedule: case.schedule.clone(),
            ..Options::default()
        };
        source += &conv_codegen::rust_source(&case.conv, &name, &options)
            .unwrap_or_else(|e| panic!("{}: {e}", case.conv));
        calls += &match form {
            Form::Function => case.call(&name),
            Form::Type => case.call_type(&name),
        };
    }
    write!(source, "fn main() {{\n{calls}}}\n").unwrap();
    run(&source, dtype, CHECKED)
}

#[test]
fn f32_cases_give_the_references_bits() {
    let cases: Vec<Case> =
        CASES.iter().map(|text| Case::new(text)).filter(|c| c.conv.dtype() == DType::F32).collect();
    let cases_by_version = cases.iter().flat_map(|case| VERSIONS.map(|_| case));
    for (case, found) in cases_by_version.zip(outputs(&cases, "f32")) {
        let bits: Vec<String> =
            case.expected::<f32>().iter().map(|x| format!("{:x}", x.to_bits())).collect();
        assert_eq!(found, bits.join(" "), "{}", case.conv);
    }
}

#[test]
fn f64_cases_give_the_references_bits() {
    let cases: Vec<Case> =
        CASES.iter().map(|text| Case::new(text)).filter(|c| c.conv.dtype() == DType::F64).collect();
    let cases_by_version = cases.iter().flat_map(|case| VERSIONS.map(|_| case));
    for (case, found) in cases_by_version.zip(outputs(&cases, "f64")) {
        let bits: Vec<String> =
            case.expected::<f64>().iter().map(|x| format!("{:x}", x.to_bits())).collect();
        assert_eq!(found, bits.join(" "), "{}", case.conv);
    }
}

#[test]
fn a_name_must_be_one() {
    let conv: conv_ir::Conv = "conv2d in 9 kernel 3".parse().unwrap();
    let error =
        conv_codegen::rust_source(&conv, "two words", &Options::default()).unwrap_err().to_string();
    assert_eq!(error, "`two words` cannot be the name of a Rust item");
}
