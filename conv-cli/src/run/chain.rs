//! `convc run --chain`: a file for the input, one for each step's weight, and one for each bias, in
//! the order of the steps.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use conv_files::{Number, encode};
use conv_ir::reference::{self, run_program};
use conv_ir::{DType, Program, interp};
use conv_jit::{Compiled, Lowered, Options, StepWeights};

use super::{Args, Named};
use crate::failure::Failure;
use crate::output;
use crate::route::{self, Route};
use crate::table::milliseconds;

/// Runs a chain.
pub fn run(args: &Args, chain: &Program, out: &mut dyn Write) -> Result<(), Failure> {
    match chain.dtype() {
        DType::F32 => run_as::<f32>(args, chain, out),
        DType::F64 => run_as::<f64>(args, chain, out),
    }
}

fn run_as<T: Number>(args: &Args, chain: &Program, out: &mut dyn Write) -> Result<(), Failure> {
    let read = |role, path, shape: &[usize], rule: &str| -> Result<Vec<T>, Failure> {
        let file = Named::read(role, path)?;
        file.check_type(T::DTYPE)?;
        file.check_shape(shape, rule)?;
        Ok(file.array.values::<T>())
    };
    let input = read("input", &args.input, &chain.input_shape(), "the chain's input")?;
    let biased = chain.convs().filter(|conv| conv.spec().bias).count();
    counted("weight", &args.weight, chain.steps().len(), "step")?;
    counted("bias", &args.bias, biased, "step with a bias")?;
    let mut biases = args.bias.iter();
    let mut arrays = Vec::new();
    for (at, (conv, path)) in chain.convs().zip(&args.weight).enumerate() {
        let rule = format!("step {} is {conv}", at + 1);
        let weight = read("weight", path, &conv.weight_shape(), &rule)?;
        let path = if conv.spec().bias { biases.next() } else { None };
        let bias = path.map(|path| read("bias", path, &conv.bias_shape(), &rule)).transpose()?;
        arrays.push((weight, bias));
    }
    let shape = chain.output_shape();
    let mut result = route::zeros(shape.iter().product())?;
    let done = compute(args, chain, (&input, &arrays), &mut result)?;
    output::write(&[(&args.output, &encode(&shape, &result).map_err(Failure::Usage)?)])?;
    let (path, dtype) = (args.output.display(), T::DTYPE);
    Ok(writeln!(out, "{path}: {dtype} {shape:?}, {done}")?)
}

/// As many files as there are steps that want one.
fn counted(role: &str, paths: &[PathBuf], needed: usize, what: &str) -> Result<(), Failure> {
    if paths.len() == needed {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--{role} is given {} times, but the chain has {needed}: one file for each {what}",
        paths.len()
    )))
}

type Arrays<T> = [(Vec<T>, Option<Vec<T>>)];

/// Fills the result, and says by whom and how fast.
fn compute<T: Number>(
    args: &Args,
    chain: &Program,
    (input, arrays): (&[T], &Arrays<T>),
    result: &mut [T],
) -> Result<String, Failure> {
    match args.route {
        Route::Interp => {
            let target = args.route.target();
            let finite = |(weight, _): &(Vec<T>, _)| weight.iter().all(|w| w.to_f64().is_finite());
            let finite_weights = arrays.iter().all(finite);
            let options = Options { target, finite_weights, ..Options::default() };
            let nest = Lowered::new(chain, &options)?.whole_nest()?;
            let arrays = interp::Arrays {
                input,
                weights: arrays.iter().map(|(weight, _)| weight.as_slice()).collect(),
                biases: arrays.iter().filter_map(|(_, bias)| bias.as_deref()).collect(),
                residuals: Vec::new(),
                output: result,
            };
            interp::run(&nest, arrays, &[])?;
            Ok("route interp".to_owned())
        }
        Route::Reference => {
            let steps: Vec<_> = arrays
                .iter()
                .map(|(weight, bias)| reference::StepWeights { weight, bias: bias.as_deref() })
                .collect();
            result.copy_from_slice(&run_program(chain, input, &steps)?);
            Ok("route reference".to_owned())
        }
        Route::Auto | Route::Cranelift | Route::Avx2 | Route::Avx512 => {
            let target = args.route.target();
            let start = Instant::now();
            let options =
                Options { target, threads: args.threads, cache: false, ..Options::default() };
            let compiled = Compiled::new(chain, options)?;
            let compile = start.elapsed();
            let steps: Vec<_> = arrays
                .iter()
                .map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() })
                .collect();
            let packed = compiled.pack_steps(&steps)?;
            let start = Instant::now();
            packed.run(input, result)?;
            let (route, run) = (conv_jit::route_name(&target), milliseconds(start.elapsed()));
            Ok(format!("route {route}, compiled in {}, ran in {run}", milliseconds(compile)))
        }
    }
}
