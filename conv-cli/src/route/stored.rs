//! Machine code of integers that are stored in fewer bits than they are summed in.
//!
//! ```text
//! numbers (i32) --as each array has them--> u8, i8, .. --machine code--> u8, i8, .. --> numbers
//! ```
//!
//! The reference and the interpreter follow such a program on the numbers as they are.

use std::time::Instant;

use conv_files::Number;
use conv_ir::{DType, Program};
use conv_jit::{Array, Compiled, Packed, StepArrays, Stored};

use super::{About, Chosen, How, Route, Scalar, Weights};
use crate::failure::Failure;

/// A packed program, whatever its arrays hold.
pub trait Run<T> {
    /// Fills `output`.
    fn run(&self, input: &[T], output: &mut [T]) -> Result<(), Failure>;
    /// What was compiled.
    fn compiled(&self) -> Compiled;
}

impl<T: Scalar, I: Stored, O: Stored> Run<T> for Packed<I, O> {
    fn run(&self, input: &[T], output: &mut [T]) -> Result<(), Failure> {
        let input = stored::<T, I>(input);
        let mut made = vec![O::default(); output.len()];
        Packed::run(self, &input, &mut made)?;
        output.iter_mut().zip(made).for_each(|(to, from)| *to = T::nearest(from.to_f64()));
        Ok(())
    }

    fn compiled(&self) -> Compiled {
        Packed::compiled(self)
    }
}

/// An expression in which `T` is the type of an array of integers.
macro_rules! with_integer {
    ($dtype:expr, $T:ident => $body:expr) => {{
        macro_rules! of {
            ($t:ty) => {{
                type $T = $t;
                $body
            }};
        }
        match $dtype {
            DType::I8 => of!(i8),
            DType::U8 => of!(u8),
            DType::I16 => of!(i16),
            DType::U16 => of!(u16),
            DType::I32 => of!(i32),
            other => return Err(Failure::usage(format!("{other} is no type of integers"))),
        }
    }};
}

/// A run that can be repeated.
pub type Work = Box<dyn FnMut() -> Result<(), Failure>>;

/// A program of integers on arrays of its own, as they are stored, of numbers that are the same in
/// every run.
pub fn at_work(program: &Program, how: &How) -> Result<(About, Work), Failure> {
    if matches!(how.route, Route::Reference | Route::Interp) {
        let message = "integers are timed as they are stored, by machine code: leave the route out";
        return Err(Failure::usage(message));
    }
    if program.convs().any(|conv| conv.spec().residual) {
        return Err(Failure::usage("of integers with a residual nothing is timed"));
    }
    let start = Instant::now();
    let compiled = Compiled::new(program, how.options())?;
    let (route, compile) = (conv_jit::route_name(compiled.target()), start.elapsed());
    let drawn = |dtype: DType, count: usize, seed: u64| -> Result<Vec<f64>, Failure> {
        let (least, greatest) = dtype.range().unwrap_or((0, 1));
        // Sums of i32 beside products of bytes are small ones.
        let (least, greatest) = (least.max(-1 << 15), greatest.min(1 << 15));
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut all = super::zeros(count)?;
        all.fill_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (least + (state >> 33) as i64 % (greatest - least + 1)) as f64
        });
        Ok(all)
    };
    let steps = program.convs().map(|conv| {
        let (types, needs) = (conv.types(), conv.has_weight() && conv.known().is_none());
        let weight = needs.then(|| drawn(types.weight, conv.weight_len(), 2)).transpose()?;
        let bias = conv.spec().bias.then(|| drawn(types.bias, conv.bias_len(), 3)).transpose()?;
        Ok(StepArrays {
            weight: weight.map(|numbers| array(types.weight, &numbers)).transpose()?,
            bias: bias.map(|numbers| array(types.bias, &numbers)).transpose()?,
        })
    });
    let steps = steps.collect::<Result<Vec<_>, Failure>>()?;
    let input = drawn(program.type_of(0), program.len_of(0), 1)?;
    let count = program.output_shape().iter().product();
    let (from, to) = (program.type_of(0), program.type_of(program.steps().len()));
    let start = Instant::now();
    let (packed, run) = with_integer!(from, I => with_integer!(to, O => {
        let packed = compiled.pack_arrays::<I, O>(&steps)?;
        let (input, mut output) = (stored::<f64, I>(&input), super::zeros::<O>(count)?);
        let of = packed.compiled();
        let run: Work = Box::new(move || Ok(packed.run(&input, &mut output)?));
        (of, run)
    }));
    let packing = start.elapsed();
    let (rewritten, plan) = (packed.rewritten(), packed.plan());
    let chosen = Chosen::of(program, rewritten, plan, packed.groups());
    let code_bytes = packed.code_bytes();
    Ok((About { route, compile, packing, code_bytes, chosen }, run))
}

/// Whether an array of integers holds another type than `T`.
pub fn is_narrow<T: Scalar>(program: &Program) -> bool {
    program.dtype().is_integer() && program.convs().any(|conv| conv.types() != T::DTYPE.into())
}

/// Packs the weights of each step in the types that they are described in.
pub fn packed<T: Scalar>(
    compiled: &Compiled,
    program: &Program,
    weights: &[Weights<T>],
) -> Result<Box<dyn Run<T>>, Failure> {
    let mut steps = Vec::new();
    for (conv, step) in program.convs().zip(weights) {
        let types = conv.types();
        let (is_known, has_bias) = match conv.known() {
            Some(known) => (true, known.bias.is_some()),
            None => (!conv.has_weight(), false),
        };
        let weight = (!is_known).then(|| array(types.weight, &step.weight)).transpose()?;
        let bias = step.bias.as_deref().filter(|_| !has_bias);
        let bias = bias.map(|bias| array(types.bias, bias)).transpose()?;
        steps.push(StepArrays { weight, bias });
    }
    let (input, output) = (program.type_of(0), program.type_of(program.steps().len()));
    Ok(with_integer!(input, I => with_integer!(output, O => {
        Box::new(compiled.pack_arrays::<I, O>(&steps)?)
    })))
}

fn array<T: Scalar>(dtype: DType, numbers: &[T]) -> Result<Array<'static>, Failure> {
    Ok(with_integer!(dtype, W => Array::from(stored::<T, W>(numbers))))
}

fn stored<T: Number, W: Stored>(numbers: &[T]) -> Vec<W> {
    numbers.iter().map(|x| W::from_f64(x.exact())).collect()
}
