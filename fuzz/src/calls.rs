//! Calls from a program: any description, any sizes, asked everything, compiled, and run where it
//! is small.

use arbitrary::{Result, Unstructured};
use conv_ir::analysis::{
    Matrix, channels_seen, facts, multiply_adds_inside, receptive_field, savings,
};
use conv_ir::interp;
use conv_ir::{
    Activation, Conv, ConvSpec, DType, Element, Layout, Nest, Padding, PaddingMode, PerAxis,
    Reduction, Schedule, Size, Target, passes, reference, separate,
};

use crate::texts::sound;
use crate::{accepted, refused};

/// Elements of an array, and multiply-adds, of what is run.
const SMALL: u128 = 1 << 14;

/// A description out of bytes, and what can be done with it.
pub fn calls(bytes: &[u8]) -> bool {
    let mut draws = Unstructured::new(bytes);
    let Ok(spec) = spec(&mut draws) else { return false };
    let conv = match Conv::new(spec) {
        Ok(conv) => conv,
        Err(error) => return refused(error),
    };
    accepted(&conv);
    asked(&conv);
    let known = sized(&conv, &mut draws);
    for conv in [Some(&conv), known.as_ref()].into_iter().flatten() {
        compiled(conv, &mut draws);
    }
    true
}

/// A size: mostly small, sometimes at an edge of a type, sometimes anything.
fn size(draws: &mut Unstructured<'_>) -> Result<usize> {
    const EDGES: [usize; 12] = [
        0,
        17,
        255,
        1000,
        65_535,
        1_000_007,
        (1 << 31) - 1,
        1 << 32,
        1 << 47,
        1 << 48,
        isize::MAX as usize,
        usize::MAX,
    ];
    Ok(match draws.arbitrary::<u8>()? {
        byte @ 0..240 => 1 + usize::from(byte % 6),
        240..254 => *draws.choose(&EDGES)?,
        _ => draws.arbitrary()?,
    })
}

fn sizes(draws: &mut Unstructured<'_>, count: usize) -> Result<Vec<usize>> {
    (0..count).map(|_| size(draws)).collect()
}

/// Mostly `usual`, which is legal.
fn per_axis(draws: &mut Unstructured<'_>, rank: usize, usual: usize) -> Result<PerAxis<usize>> {
    Ok(match draws.arbitrary::<u8>()? % 4 {
        0 | 1 => PerAxis::All(usual),
        2 => PerAxis::All(size(draws)?),
        _ => PerAxis::Each(sizes(draws, rank)?),
    })
}

fn number(draws: &mut Unstructured<'_>) -> Result<f64> {
    Ok(match draws.arbitrary::<u8>()? % 4 {
        0 => draws.arbitrary()?,
        _ => f64::from(draws.arbitrary::<i8>()?) / 8.0,
    })
}

fn padding(draws: &mut Unstructured<'_>, rank: usize) -> Result<Padding> {
    let pair = |draws: &mut Unstructured<'_>| Ok((size(draws)?, size(draws)?));
    Ok(match draws.arbitrary::<u8>()? % 10 {
        0..3 => Padding::Valid,
        3 => Padding::SameUpper,
        4 => Padding::SameLower,
        5 => Padding::Causal,
        6 => Padding::Same,
        7 => Padding::Full,
        8 => Padding::Explicit(PerAxis::All(pair(draws)?)),
        _ => {
            let each = (0..rank).map(|_| pair(draws)).collect::<Result<_>>()?;
            Padding::Explicit(PerAxis::Each(each))
        }
    })
}

fn mode(draws: &mut Unstructured<'_>) -> Result<PaddingMode> {
    Ok(match draws.arbitrary::<u8>()? % 8 {
        0..3 => PaddingMode::Zeros,
        3 => PaddingMode::Constant(number(draws)?),
        4 => PaddingMode::Reflect,
        5 => PaddingMode::Symmetric,
        6 => PaddingMode::Replicate,
        _ => PaddingMode::Circular,
    })
}

fn activation(draws: &mut Unstructured<'_>) -> Result<Option<Activation>> {
    Ok(match draws.arbitrary::<u8>()? % 16 {
        0 => Some(Activation::Relu),
        1 => Some(Activation::Relu6),
        2 => Some(Activation::LeakyRelu(number(draws)?)),
        3 => Some(Activation::Clamp(number(draws)?, number(draws)?)),
        4 => Some(Activation::Sigmoid),
        5 => Some(Activation::Tanh),
        6 => Some(Activation::Gelu),
        7 => Some(Activation::HardSwish),
        8 => Some(Activation::Elu(number(draws)?)),
        9 => Some(Activation::Softplus),
        10 => Some(Activation::Mish),
        11 => {
            let slopes = (0..draws.int_in_range(1..=4)?).map(|_| number(draws));
            Some(Activation::prelu(&slopes.collect::<Result<Vec<f64>>>()?))
        }
        _ => None,
    })
}

/// Mostly a sum; of a pool mostly each channel by itself.
fn reduced(draws: &mut Unstructured<'_>, spec: ConvSpec) -> Result<ConvSpec> {
    if draws.ratio(2, 3)? {
        return Ok(spec);
    }
    let count_include_pad = draws.arbitrary()?;
    let all = [
        Reduction::Max,
        Reduction::Min,
        Reduction::Average { count_include_pad },
        Reduction::Dilation,
        Reduction::Erosion,
    ];
    let spec = ConvSpec { reduction: *draws.choose(&all)?, ceil_mode: draws.arbitrary()?, ..spec };
    if draws.ratio(1, 8)? {
        return Ok(spec);
    }
    let channels = spec.in_channels;
    let spec = ConvSpec { transposed: false, bias: false, output_padding: 0.into(), ..spec };
    Ok(match spec.reduction.has_weight() {
        true => spec,
        false => ConvSpec { out_channels: channels, groups: channels, flip: false, ..spec },
    })
}

fn spec(draws: &mut Unstructured<'_>) -> Result<ConvSpec> {
    let rank = draws.int_in_range(0..=9)?.clamp(0, 9);
    let rank = if draws.ratio(7, 8)? { 1 + rank % 3 } else { rank };
    let free = draws.ratio(1, 8)?;
    let mut input: Vec<Size> = sizes(draws, rank)?.into_iter().map(Size::Known).collect();
    if free && let Some(last) = input.last_mut() {
        *last = Size::from("W");
    }
    // Channels that groups divide, now and then.
    let groups = if draws.ratio(1, 3)? { size(draws)? } else { 1 };
    let channels = |draws: &mut Unstructured<'_>| -> Result<usize> {
        let size = size(draws)?;
        Ok(if draws.ratio(7, 8)? { groups.wrapping_mul(size) } else { size })
    };
    let spec = ConvSpec {
        types: (*draws.choose(&[DType::F32, DType::F64])?).into(),
        layout: *draws.choose(&[Layout::ChannelsFirst, Layout::ChannelsLast])?,
        batch: if free { Size::from("N") } else { Size::Known(size(draws)?) },
        in_channels: channels(draws)?,
        out_channels: channels(draws)?,
        groups,
        stride: per_axis(draws, rank, 1)?,
        dilation: per_axis(draws, rank, 1)?,
        padding: padding(draws, rank)?,
        padding_mode: mode(draws)?,
        transposed: draws.ratio(1, 3)?,
        output_padding: if draws.ratio(1, 8)? {
            per_axis(draws, rank, 1)?
        } else {
            PerAxis::All(0)
        },
        flip: draws.arbitrary()?,
        bias: draws.arbitrary()?,
        residual: draws.ratio(1, 4)?,
        activation: activation(draws)?,
        input,
        kernel: sizes(draws, rank)?,
        ..ConvSpec::new([], [])
    };
    reduced(draws, spec)
}

/// Every question that has an answer without compiling.
fn asked(conv: &Conv) {
    let convs = std::slice::from_ref(conv);
    facts(conv);
    multiply_adds_inside(conv);
    savings(convs);
    channels_seen(convs);
    receptive_field(convs).map_or_else(refused, |_| true);
    Matrix::of(conv).map_or_else(refused, |_| true);
    separate::separate(conv);
    (0..conv.rank()).for_each(|axis| _ = conv.output_arithmetic(axis));
}

/// The same with values for its free sizes, where it has some and they are legal.
fn sized(conv: &Conv, draws: &mut Unstructured<'_>) -> Option<Conv> {
    let names = conv.free_sizes();
    let values: Vec<(&str, usize)> =
        names.into_iter().map(|name| (name, size(draws).unwrap_or(1))).collect();
    match conv.with_sizes(&values) {
        Ok(known) if !values.is_empty() => Some(known),
        Ok(_) => None,
        Err(error) => {
            refused(error);
            None
        }
    }
}

/// Through every pass, under the model's choice for one of the targets.
fn compiled(conv: &Conv, draws: &mut Unstructured<'_>) {
    let target = draws.choose(Target::ALL).copied().unwrap_or(Target::RUST);
    let choice = Schedule::choose(conv, &target);
    accepted(&choice.schedule);
    let case = format!("{conv}\n{}\n{target}", choice.schedule);
    match passes::compile(conv, &choice.schedule, &target, &mut |_, _| {}) {
        Ok(nest) => {
            sound(&nest, &case);
            if is_small(conv) {
                conv_ir::with_element!(conv.dtype(), T => run::<T>(conv, &nest, &case))
            }
        }
        Err(error) => _ = refused(error),
    }
    #[cfg(feature = "jit")]
    jit::compiled(conv);
}

fn is_small(conv: &Conv) -> bool {
    let lens = conv.input_len().zip(conv.output_len());
    lens.is_some_and(|(input, output)| {
        let taps = conv.in_channels_per_group() as u128 * conv.kernel_volume() as u128;
        [input as u128, conv.weight_len() as u128, output as u128, output as u128 * taps]
            .iter()
            .all(|&count| count <= SMALL)
    })
}

/// Numbers from -1 to 1 whose sums need their order.
fn array<T: Element>(len: usize, seed: usize) -> Vec<T> {
    let number = |at: usize| ((at * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0;
    (0..len).map(|at| T::from_f64(number(at) * 1.000_000_1)).collect()
}

/// The arrays of a run.
struct Arrays<T> {
    input: Vec<T>,
    weight: Vec<T>,
    bias: Option<Vec<T>>,
    residual: Option<Vec<T>>,
    wanted: Vec<T>,
}

impl<T: Element> Arrays<T> {
    fn of(conv: &Conv) -> Arrays<T> {
        let (spec, output) = (conv.spec(), conv.output_len().unwrap_or(0));
        let mut arrays = Arrays {
            input: array(conv.input_len().unwrap_or(0), 1),
            weight: array(conv.weight_len(), 2),
            bias: spec.bias.then(|| array(conv.bias_len(), 3)),
            residual: spec.residual.then(|| array(output, 4)),
            wanted: Vec::new(),
        };
        let arguments = reference::Arguments {
            input: &arrays.input,
            weight: &arrays.weight,
            bias: arrays.bias.as_deref(),
            residual: arrays.residual.as_deref(),
        };
        let wanted = reference::run(conv, arguments, &[]);
        arrays.wanted = wanted.unwrap_or_else(|error| panic!("{conv}: {error}"));
        arrays
    }

    /// Equal, or both NaN.
    fn compare(&self, found: &[T], case: &str) {
        let same = |(a, b): (&T, &T)| a == b || a.to_f64().is_nan() && b.to_f64().is_nan();
        let at = found.iter().zip(&self.wanted).position(|pair| !same(pair));
        if let Some(at) = at {
            panic!("{case}\noutput[{at}] is {:?} and not {:?}", found[at], self.wanted[at]);
        }
    }
}

fn run<T: Element>(conv: &Conv, nest: &Nest, case: &str) {
    let arrays = Arrays::<T>::of(conv);
    let mut output = vec![T::from_f64(f64::NAN); arrays.wanted.len()];
    let arguments = interp::Arguments {
        input: &arrays.input,
        weight: &arrays.weight,
        bias: arrays.bias.as_deref(),
        residual: arrays.residual.as_deref(),
        output: &mut output,
    };
    interp::run(nest, arguments, &[]).unwrap_or_else(|error| panic!("{case}\n{error}"));
    arrays.compare(&output, case);
}

#[cfg(feature = "jit")]
mod jit {
    //! Machine code for this machine.

    use super::*;
    use conv_jit::{Compiled, CurrentThread, Error, Options};

    pub fn compiled(conv: &Conv) {
        let code = match Compiled::new(conv, Options { cache: false, ..Options::default() }) {
            Ok(code) => code,
            Err(error) => {
                refused(error);
                return;
            }
        };
        if !is_small(conv) {
            return;
        }
        conv_ir::with_element!(conv.dtype(), T => run::<T>(conv, &code))
    }

    fn run<T: Element>(conv: &Conv, code: &Compiled) {
        let arrays = Arrays::<T>::of(conv);
        let mut output = vec![T::from_f64(f64::NAN); arrays.wanted.len()];
        let mut run = || -> Result<(), Error> {
            let packed = code.pack(&arrays.weight, arrays.bias.as_deref())?;
            let call = packed.call(&arrays.input, &mut output).threads(2).executor(&CurrentThread);
            match &arrays.residual {
                Some(residual) => call.residual(residual).run(),
                None => call.run(),
            }
        };
        run().unwrap_or_else(|error| panic!("{conv}\n{error}"));
        arrays.compare(&output, &format!("{conv}\n{}", code.target()));
    }

    type Result<T, E> = std::result::Result<T, E>;
}
