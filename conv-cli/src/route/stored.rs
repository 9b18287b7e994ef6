//! Machine code of integers that are stored in fewer bits than they are summed in.
//!
//! ```text
//! numbers (i32) --as each array has them--> u8, i8, .. --machine code--> u8, i8, .. --> numbers
//! ```
//!
//! The reference and the interpreter follow such a program on the numbers as they are.

use conv_files::Number;
use conv_ir::{DType, Program};
use conv_jit::{Array, Compiled, Packed, StepArrays, Stored};

use super::{Scalar, Weights};
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
