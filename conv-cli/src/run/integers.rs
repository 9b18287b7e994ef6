//! Integers in, sums of integers out, or what they are requantised to.
//!
//! ```text
//! input - its zero point, weight - its zero point --any route--> sums, exact
//!     --> i32, or times a scale: f32, or rounded, the zero point added, saturated
//! ```
//!
//! A description with scales, or with several steps, runs as it stands. Scales of flags are part of
//! compiled code where it has them.
//!
//! The sums are computed in i32 where no sum of magnitudes passes 2^31 and in f64 where none passes
//! 2^53: there every partial sum is an integer that the type holds, so that nothing wraps or is
//! rounded, in whatever order. ONNX's `ConvInteger` and `QLinearConv` have this meaning.

use std::io::Write;

use conv_files::{Array, Kind};
use conv_ir::requantise::Rescale;
use conv_ir::separate::Accuracy;
use conv_ir::{Activation, Conv, ConvSpec, DType, Layout, PaddingMode, Program, Reduction};

use super::described::is_of_stored_integers;
use super::place::Place;
use super::quantised::Quantised;
use super::seen::Seen;
use super::{Args, Files, Said, compute, constants, report, residual};
use crate::failure::Failure;
use crate::route::{Scalar, Weights};

/// Integers up to this are all numbers of i32, and up to the second of f64.
const EXACT: [f64; 2] = [i32::MAX as f64, (1u64 << 53) as f64];

/// The arrays as whole numbers, their zero points subtracted.
struct Whole {
    input: Vec<f64>,
    weights: Weights<f64>,
    residual: Option<Vec<f64>>,
}

/// The command, where the input holds integers.
pub fn run(
    args: &Args,
    files: &Files,
    (program, seen, described): (&Program, &Seen, Option<Kind>),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if is_of_stored_integers(program) {
        return as_described(args, files, (program, seen, described), out);
    }
    let kind = files.input.array.kind;
    let conv = step(args, program, kind)?;
    let output = output_kind(args, conv, (kind, described))?;
    let whole = Whole::read(args, files, program, &seen.output_shape(program))?;
    let bound = whole.bound(conv);
    let is_described = !matches!(conv.spec().reduction, Reduction::Dilation | Reduction::Erosion);
    let dtype = match EXACT {
        [whole, _] if bound <= whole && is_described => DType::I32,
        [_, double] if bound <= double => DType::F64,
        _ => {
            return Err(Failure::usage(format!(
                "a sum may reach {bound:e}: integers are exact up to 2^53"
            )));
        }
    };
    let conv = Conv::new(ConvSpec {
        types: dtype.into(),
        padding_mode: padding(args, conv.spec().padding_mode, kind)?,
        ..conv.spec().clone()
    })?;
    let requantised = requantised(args, &conv, output)?.filter(|_| dtype == DType::I32);
    let (numbers, said) = match (requantised, dtype) {
        (Some(conv), _) => sums::<i32>(args, conv, whole)?,
        (None, dtype) => {
            let (sums, said) = match dtype {
                DType::I32 => sums::<i32>(args, conv.clone(), whole)?,
                _ => sums::<f64>(args, conv.clone(), whole)?,
            };
            (outputs(args, &conv, output, sums)?, said)
        }
    };
    let shape = seen.output_shape(program);
    let what = format!("{output} {shape:?}");
    let place = Place::of(&args.output[0]);
    let bytes = place.bytes(&Array::of(output, shape, &numbers).map_err(Failure::Usage)?)?;
    report(&[(place, bytes, what)], &said, out)
}

/// A program whose arrays hold what they are described to hold, scales with them.
fn as_described(
    args: &Args,
    files: &Files,
    (program, seen, described): (&Program, &Seen, Option<Kind>),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if args.quantised != Quantised::default() {
        return Err(Failure::usage(
            "the description says scales and zero points of its steps: leave the flags of integers \
             out",
        ));
    }
    let output = described.unwrap_or(Kind::I32);
    if let Some(other) = args.output_type.filter(|other| *other != output) {
        return Err(Failure::usage(format!(
            "--output-type {other}: the description gives {output}; say `-> {other}` in it"
        )));
    }
    let shape = seen.output_shape(program);
    let weights = constants::<i32>(args, files, program)?;
    let residual = residual::<i32>(files, program, &shape)?;
    let input = files.input.array.values::<i32>();
    let inputs = [&input[..]];
    let arrays = (&inputs[..], residual.as_deref());
    let (numbers, said) = compute(args, Accuracy::Exact, program, weights, arrays)?;
    let numbers: Vec<f64> = numbers[0].iter().map(|x| f64::from(*x)).collect();
    let what = format!("{output} {shape:?}");
    let place = Place::of(&args.output[0]);
    let bytes = place.bytes(&Array::of(output, shape, &numbers).map_err(Failure::Usage)?)?;
    report(&[(place, bytes, what)], &said, out)
}

/// The step with its scales in it, where compiled code has them.
fn requantised(args: &Args, conv: &Conv, output: Kind) -> Result<Option<Conv>, Failure> {
    let quantised = &args.quantised;
    let Some(dtype) = DType::named(output.name()).filter(|dtype| dtype.is_integer()) else {
        return Ok(None);
    };
    if !quantised.is_scaled() || dtype == DType::I32 || !conv.dtype().is_integer() {
        return Ok(None);
    }
    let scales = quantised.scales(conv.out_channels())?;
    let types = conv.types().giving(dtype);
    let conv = Conv::new(ConvSpec { types, ..conv.spec().clone() })?;
    let zero_point = quantised.output_zero_point.unwrap_or(0);
    Ok(conv.requantised(quantised.rounding(), &scales, zero_point).ok())
}

/// The only step, if integers can be given to it.
fn step<'a>(args: &Args, program: &'a Program, kind: Kind) -> Result<&'a Conv, Failure> {
    let no = |what: &str| {
        let message = format!(
            "the input holds {kind}, but {what}; convert it to f32 (in NumPy: x.astype('float32'))"
        );
        Err(Failure::file(&args.input[0], message))
    };
    let Some(conv) = program.single() else {
        return no("several steps are computed in floating point");
    };
    let (spec, quantised) = (conv.spec(), &args.quantised);
    if conv.has_weight() && conv.known().is_some() {
        return no("upsampling is computed in floating point");
    }
    if let Reduction::Average { .. } = spec.reduction {
        return no("an average of integers is none");
    }
    let (least, most) = kind.range().unwrap_or_default();
    if let Some(zero) = quantised.input_zero_point.filter(|zero| !(least..=most).contains(zero)) {
        let message = format!("--input-zero-point {zero}: {kind} holds {least} to {most}");
        return Err(Failure::usage(message));
    }
    match &spec.activation {
        None | Some(Activation::Relu) => {}
        Some(Activation::Relu6) if !quantised.is_scaled() => {}
        Some(Activation::Clamp(least, most))
            if !quantised.is_scaled() && least.fract() == 0.0 && most.fract() == 0.0 => {}
        Some(other) => return no(&format!("{other} is computed in floating point")),
    }
    let has_flags = quantised.is_scaled()
        || quantised.input_zero_point.is_some()
        || quantised.output_zero_point.is_some();
    if !conv.has_weight() && has_flags {
        return no(&format!(
            "{} has no zero points or scales: it chooses among the input's numbers",
            spec.reduction.name()
        ));
    }
    Ok(conv)
}

/// The type that is written: that of the flag, or of the description.
fn output_kind(
    args: &Args,
    conv: &Conv,
    (input, described): (Kind, Option<Kind>),
) -> Result<Kind, Failure> {
    let sums = if conv.has_weight() { Kind::I32 } else { input };
    let output = args.output_type.or(described).unwrap_or(sums);
    let quantised = &args.quantised;
    if output.range().is_none() && output != Kind::F32 {
        return Err(Failure::usage(format!(
            "--output-type {output}: sums of integers are written as i8, u8, i16, u16, i32 or f32"
        )));
    }
    if quantised.is_scaled() && output == Kind::I32 {
        return Err(Failure::usage(
            "scales make another number of a sum: say which, --output-type u8, i8, u16, i16 or f32",
        ));
    }
    if output == Kind::F32 && quantised.is_rounded() {
        return Err(Failure::usage("--rounding: a sum times its scale is not rounded to be f32"));
    }
    let Some(zero_point) = quantised.output_zero_point else { return Ok(output) };
    match output.range().filter(|_| output != Kind::I32) {
        Some((least, most)) if (least..=most).contains(&zero_point) => Ok(output),
        Some((least, most)) => Err(Failure::usage(format!(
            "--output-zero-point {zero_point}: {output} holds {least} to {most}"
        ))),
        None => Err(Failure::usage(format!(
            "--output-zero-point: {output} has none; say --output-type u8, i8, u16 or i16"
        ))),
    }
}

/// The padding of an input whose zero point is subtracted: zeros stay zeros.
fn padding(args: &Args, mode: PaddingMode, kind: Kind) -> Result<PaddingMode, Failure> {
    let PaddingMode::Constant(value) = mode else { return Ok(mode) };
    let (least, most) = kind.range().unwrap_or_default();
    if value.fract() != 0.0 || value < least.into() || value > most.into() {
        return Err(Failure::usage(format!(
            "--padding-value {value}: the input holds {kind}, from {least} to {most}"
        )));
    }
    Ok(PaddingMode::Constant(value - f64::from(args.quantised.input_zero_point.unwrap_or(0))))
}

impl Whole {
    fn read(
        args: &Args,
        files: &Files,
        program: &Program,
        shape: &[usize],
    ) -> Result<Whole, Failure> {
        let conv = &program.steps()[0].conv;
        let mut weights = constants::<f64>(args, files, program)?.remove(0);
        if let Some(numbers) = &args.quantised.weight_zero_point {
            let zero_points = numbers.of("weight-zero-point", conv.out_channels())?;
            if let Some(part) = zero_points.iter().find(|zero| zero.fract() != 0.0) {
                return Err(Failure::usage(format!(
                    "--weight-zero-point {part}: a zero point must be a whole number"
                )));
            }
            for (at, weight) in weights.weight.iter_mut().enumerate() {
                *weight -= zero_points[channel_of_weight(conv, at)];
            }
        }
        let mut input = files.input.array.exact();
        let zero_point = f64::from(args.quantised.input_zero_point.unwrap_or(0));
        input.iter_mut().for_each(|x| *x -= zero_point);
        Ok(Whole { input, weights, residual: residual(files, program, shape)? })
    }

    /// No partial sum is farther from 0.
    fn bound(&self, conv: &Conv) -> f64 {
        let most = |numbers: &[f64]| numbers.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let input = match conv.spec().padding_mode {
            // As far from the zero point as a number of 16 bits can be.
            PaddingMode::Constant(value) => most(&self.input).max(value.abs() + 65536.0),
            _ => most(&self.input),
        };
        let mut sums = vec![0.0; conv.out_channels()];
        for (at, weight) in self.weights.weight.iter().enumerate() {
            sums[channel_of_weight(conv, at)] += weight.abs();
        }
        let products = match conv.spec().reduction {
            Reduction::Sum => most(&sums) * input,
            // A number and one of the structuring element.
            _ => most(&self.weights.weight) + input,
        };
        let added = [self.weights.bias.as_deref(), self.residual.as_deref()];
        products + added.into_iter().flatten().map(most).sum::<f64>()
    }
}

/// The output channel of the weight's number at a place.
fn channel_of_weight(conv: &Conv, at: usize) -> usize {
    let shape = conv.weight_shape();
    let inner = at / conv.kernel_volume();
    if !conv.spec().transposed {
        return inner / shape[1];
    }
    // [in, out/groups, kernel..]
    let group = inner / shape[1] / (shape[0] / conv.groups());
    group * shape[1] + inner % shape[1]
}

/// The sums, computed as `T`, and who computed them.
fn sums<T: Scalar>(args: &Args, conv: Conv, whole: Whole) -> Result<(Vec<f64>, Said), Failure> {
    let of = |numbers: &[f64]| numbers.iter().map(|&x| T::nearest(x)).collect::<Vec<T>>();
    let Whole { input, weights, residual } = whole;
    let weights = Weights { weight: of(&weights.weight), bias: weights.bias.as_deref().map(of) };
    let (input, residual) = (of(&input), residual.as_deref().map(of));
    let inputs = [&input[..]];
    let arrays = (&inputs[..], residual.as_deref());
    // Exact sums are as exact as any accuracy asks for.
    let (sums, said) = compute(args, Accuracy::Exact, &conv.into(), vec![weights], arrays)?;
    Ok((sums[0].iter().map(|sum| sum.exact()).collect(), said))
}

/// Sums as numbers of the type that is written.
fn outputs(args: &Args, conv: &Conv, kind: Kind, sums: Vec<f64>) -> Result<Vec<f64>, Failure> {
    if let Some(at) = sums.iter().position(|sum| f64::from(*sum as i32) != *sum) {
        return Err(Failure::usage(format!(
            "output {at} is {}, more than i32 holds: convolve in f64",
            sums[at]
        )));
    }
    if kind == Kind::I32 {
        return Ok(sums);
    }
    let channels = conv.out_channels();
    let inner = match conv.spec().layout {
        Layout::ChannelsFirst => conv.output_shape().unwrap_or_default()[2..].iter().product(),
        _ => 1,
    };
    let zero_point = args.quantised.output_zero_point.unwrap_or(0);
    let rescales = args.quantised.rescales(channels)?;
    let output = |(at, sum): (usize, f64)| {
        let rescale = rescales[at / inner % channels];
        match (kind.range(), rescale) {
            (Some(range), rescale) => f64::from(rescale.output(sum as i32, zero_point, range)),
            (None, Rescale::Float(scale)) => f64::from(sum as i32 as f32 * scale),
            (None, _) => unreachable!("f32 is scaled as f32"),
        }
    };
    Ok(sums.into_iter().enumerate().map(output).collect())
}
