//! Source for `core` alone: a `#![no_std]` crate with a function and a type, built for a bare
//! target where rustc has one, linked into a program here, and its bits judged.

use conv_codegen::{Along, Form, Library, Options, rust_source};
use conv_ir::program::plan::Plan;
use conv_ir::{Conv, Program, reference};
use std::path::Path;
use std::process::Command;

const F32: &str = "conv2d f32 n1 g1 ic3 oc10 in 9x11 kernel 3x3 pad 1 + bias, gelu";
const F64: &str = "conv2d f64 n1 g1 ic2 oc5 in 6x7 kernel 3x3 pad 1 + bias, silu";
/// The tensor between its steps is longer than a stack.
const CHAIN: &str = "conv1d ic1 oc64 in 2000 kernel 3 pad 1 + bias, relu; conv1d oc1 kernel 1";

/// Looks two ahead, and two steps are added to each other.
const STREAM: &str = "conv1d oc6 in T kernel 5 pad 2 + bias, tanh; conv1d oc6 kernel 1 + residual from 1; conv1d-transposed oc1 kernel 4 stride 2 pad 1";
const SAMPLES: usize = 90;

/// Versions are chosen by these.
const FEATURES: [&str; 3] = ["", "+avx2,+fma", "+avx512f,+avx512vl,+avx512dq,+avx2,+fma"];

fn source() -> String {
    let one = |text: &str, name: &str, form: Form| {
        let options = Options { form, runtime: Library::Core, ..Options::default() };
        rust_source(text.parse::<Conv>().unwrap(), name, &options).unwrap()
    };
    let chain: Program = CHAIN.parse().unwrap();
    let options = Options {
        form: Form::Type,
        runtime: Library::Core,
        plan: Some(Plan::unfused(&chain)),
        ..Options::default()
    };
    let chain = rust_source(&chain, "Program", &options).unwrap();
    let options = Options {
        form: Form::Type,
        runtime: Library::Core,
        stream: Some(Along { axis: 0, pieces: vec![16, 1] }),
        ..Options::default()
    };
    let stream: Program = STREAM.parse().unwrap();
    let stream = rust_source(&stream, "Stream", &options).unwrap();
    let items = [
        chain,
        stream,
        one(F32, "function", Form::Function),
        one(F32, "Type", Form::Type),
        one(F64, "function64", Form::Function),
    ];
    items.concat()
}

fn rustc(arguments: &[&str], dir: &Path) {
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    let built = Command::new(rustc)
        .args(["--edition=2024", "-O", "-Coverflow-checks=on"])
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{arguments:?}\n{errors}");
}

fn can_run(features: &str) -> bool {
    match features {
        "" => true,
        #[cfg(target_arch = "x86_64")]
        "+avx2,+fma" => {
            std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
        }
        #[cfg(target_arch = "x86_64")]
        _ => {
            std::arch::is_x86_feature_detected!("avx512vl")
                && std::arch::is_x86_feature_detected!("avx512dq")
        }
        #[cfg(not(target_arch = "x86_64"))]
        _ => false,
    }
}

/// `(i * 37 % 101 - 50) / 64`, which the program works out as well.
fn fill(len: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 37 % 101) as f64 - 50.0) / 64.0).collect()
}

const MAIN: &str = "
fn fill<const N: usize>() -> [f64; N] { core::array::from_fn(|i| ((i * 37 % 101) as f64 - 50.0) / 64.0) }
fn short<const N: usize>() -> [f32; N] { fill::<N>().map(|x| x as f32) }
fn main() {
    let mut output = [0.0; 990];
    bare::function(&short(), &short(), &short(), &mut output);
    for x in output { println!(\"{:x}\", x.to_bits()); }
    bare::Type::new(&short(), &short()).run(&short(), &mut output);
    for x in output { println!(\"{:x}\", x.to_bits()); }
    let mut output = [0.0; 210];
    bare::function64(&fill(), &fill(), &fill(), &mut output);
    for x in output { println!(\"{:x}\", x.to_bits()); }
    static mut SCRATCH: [f32; bare::Program::SCRATCH] = [f32::NAN; bare::Program::SCRATCH];
    let mut output = [0.0; 2000];
    let chain = bare::Program::new(&short(), &short(), &short());
    chain.run(&short(), &mut output, unsafe { &mut *(&raw mut SCRATCH) });
    for x in output { println!(\"{:x}\", x.to_bits()); }
    let stream = bare::Stream::new(&short(), &short(), &short(), &short());
    let (mut state, input) = ([0.0; bare::Stream::STATE], short::<90>());
    for block in input.chunks(7) {
        let mut output = [0.0; 99];
        let output = &mut output[..bare::Stream::next(&state, block.len())];
        stream.push(&mut state, block, output).unwrap();
        for x in output { println!(\"{:x}\", x.to_bits()); }
    }
    let mut output = [0.0; 99];
    let output = &mut output[..bare::Stream::left(&state)];
    stream.flush(&mut state, output).unwrap();
    for x in output { println!(\"{:x}\", x.to_bits()); }
}
";

fn expected() -> Vec<String> {
    let (conv, conv64): (Conv, Conv) = (F32.parse().unwrap(), F64.parse().unwrap());
    let short = |len: usize| fill(len).into_iter().map(|x| x as f32).collect::<Vec<_>>();
    let (input, weight, bias) = (short(297), short(270), short(10));
    let arguments =
        reference::Arguments { input: &input, weight: &weight, bias: Some(&bias), residual: None };
    let output = reference::run(&conv, arguments, &[]).unwrap();
    let (input, weight, bias) = (fill(84), fill(90), fill(5));
    let arguments =
        reference::Arguments { input: &input, weight: &weight, bias: Some(&bias), residual: None };
    let output64 = reference::run(&conv64, arguments, &[]).unwrap();
    let stream: Program = STREAM.parse().unwrap();
    let stream = stream.with_sizes(&[("T", SAMPLES)]).unwrap();
    let chained = [of_steps(&CHAIN.parse().unwrap()), of_steps(&stream)].concat();
    let first = output.iter().chain(&output).map(|x| format!("{:x}", x.to_bits()));
    first
        .chain(output64.iter().map(|x| format!("{:x}", x.to_bits())))
        .chain(chained.iter().map(|x| format!("{:x}", x.to_bits())))
        .collect()
}

/// What the reference makes of a program.
fn of_steps(chain: &Program) -> Vec<f32> {
    let short = |len: usize| fill(len).into_iter().map(|x| x as f32).collect::<Vec<_>>();
    let arrays: Vec<(Vec<f32>, Option<Vec<f32>>)> = chain
        .convs()
        .map(|conv| (short(conv.weight_len()), conv.spec().bias.then(|| short(conv.bias_len()))))
        .collect();
    let steps: Vec<_> = arrays
        .iter()
        .map(|(weight, bias)| reference::StepWeights { weight, bias: bias.as_deref() })
        .collect();
    reference::run_program(chain, &short(chain.len_of(0)), &steps).unwrap()
}

#[test]
fn a_crate_without_std_has_the_references_bits() {
    let source = source();
    for word in ["std ::", "::std", "alloc"] {
        assert!(!source.contains(word), "the source says `{word}`");
    }
    let dir = std::env::temp_dir().join(format!("conv-codegen-core-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(
        dir.join("bare.rs"),
        format!("#![no_std]\n#![deny(warnings)]\n#![allow(missing_docs)]\n{source}"),
    )
    .unwrap();
    std::fs::write(dir.join("main.rs"), MAIN).unwrap();
    let expected = expected();
    for features in FEATURES {
        if !features.is_empty() && cfg!(not(target_arch = "x86_64")) {
            continue;
        }
        let features_argument = format!("-Ctarget-feature={features}");
        rustc(&["--crate-type=rlib", "--crate-name=bare", &features_argument, "bare.rs"], &dir);
        rustc(&["--extern=bare=libbare.rlib", &features_argument, "main.rs"], &dir);
        if !can_run(features) {
            continue;
        }
        let ran = Command::new(dir.join("main")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let found: Vec<String> =
            String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect();
        assert!(found == expected, "other bits with features `{features}`");
    }
    for target in ["x86_64-unknown-none", "aarch64-unknown-none", "thumbv7em-none-eabihf"] {
        let path = Command::new("rustc")
            .args(["--print=target-libdir", "--target", target])
            .output()
            .unwrap();
        if !Path::new(String::from_utf8_lossy(&path.stdout).trim()).exists() {
            println!("skipped: rustc has no core for {target} here");
            continue;
        }
        rustc(&["--crate-type=rlib", "--crate-name=bare", "--target", target, "bare.rs"], &dir);
        println!("built for {target}");
    }
    std::fs::remove_dir_all(&dir).ok();
}
