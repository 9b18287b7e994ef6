//! `DynamicQuantizeLinear`: bytes of real numbers, by the range that they have in a run.
//!
//! ```text
//! scale = (max(x, 0) - min(x, 0)) / 255      zero = saturated(rounded(-min(x, 0) / scale))
//! bytes = saturated(rounded(x / scale) + zero)
//! ```
//!
//! A scale of nothing but zeros is 1, as ONNX Runtime has it. tract goes through the numbers one by
//! one, which takes longer than the convolutions. [`Taken`] is for what such a zero point has added
//! to sums.

use std::sync::Arc;

use conv_jit::{Loop, in_vectors};
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::*;
use tract_onnx::tract_hir::ops::expandable::{Expansion, expand};

use super::grid::rounded;
use crate::node::op;
use crate::outputs::Outputs;

/// One node: the bytes, their scale and their zero point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic;

/// Whole sums without a zero point, which is the second input, times the sums of an input of ones.
/// Those are the third: for each output of an image, or for each channel, which are last.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken(pub Arc<Outputs>);

/// Puts it into tract's reader.
pub fn register(operators: &mut OnnxOpRegister) {
    operators.insert("DynamicQuantizeLinear", |_, _| Ok((expand(Dynamic), vec![])));
}

impl Expansion for Dynamic {
    fn name(&self) -> StaticName {
        "DynamicQuantizeLinear".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(3)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 3)?;
        s.equals(&inputs[0].datum_type, f32::datum_type())?;
        s.equals(&inputs[0].shape, &outputs[0].shape)?;
        let types = [u8::datum_type(), f32::datum_type(), u8::datum_type()];
        for (output, dtype) in outputs.iter().zip(types) {
            s.equals(&output.datum_type, dtype)?;
        }
        s.equals(&outputs[1].rank, 0)?;
        s.equals(&outputs[2].rank, 0)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, Dynamic, inputs)
    }
}

/// The least and the largest number, and zero.
struct Range<'a>(&'a [f32], &'a mut (f32, f32));

impl Loop for Range<'_> {
    #[inline(always)]
    fn run(self) {
        const LANES: usize = 32;
        let (mut least, mut most) = ([0f32; LANES], [0f32; LANES]);
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        for x in chunks {
            for at in 0..LANES {
                least[at] = if x[at] < least[at] { x[at] } else { least[at] };
                most[at] = if x[at] > most[at] { x[at] } else { most[at] };
            }
        }
        let all = |ends: [f32; LANES], of: fn(f32, f32) -> f32| {
            ends.iter().chain(rest).fold(0.0, |end, &x| of(end, x))
        };
        *self.1 = (all(least, f32::min), all(most, f32::max));
    }
}

/// Bytes of numbers.
struct Bytes<'a> {
    from: &'a [f32],
    to: &'a mut [u8],
    scale: f32,
    zero: i32,
}

impl Loop for Bytes<'_> {
    #[inline(always)]
    fn run(self) {
        let of = |x: f32| (rounded(x / self.scale) + self.zero).clamp(0, 255) as u8;
        self.to.iter_mut().zip(self.from).for_each(|(y, x)| *y = of(*x));
    }
}

impl Op for Dynamic {
    fn name(&self) -> StaticName {
        "DynamicQuantise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Dynamic {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let plain = inputs[0].try_as_plain_ram()?;
        let from = plain.as_slice::<f32>()?;
        let mut range = (0.0, 0.0);
        in_vectors(Range(from, &mut range));
        let (least, most) = range;
        let scale = if least == most { 1.0 } else { (most - least) / 255.0 };
        let zero = (-least / scale).round_ties_even().clamp(0.0, 255.0) as i32;
        let mut bytes = Tensor::zero::<u8>(inputs[0].shape())?;
        let mut plain = bytes.try_as_plain_ram_mut()?;
        in_vectors(Bytes { from, to: plain.as_slice_mut::<u8>()?, scale, zero });
        Ok(tvec![
            bytes.into_tvalue(),
            tensor0(scale).into_tvalue(),
            tensor0(zero as u8).into_tvalue()
        ])
    }
}

impl TypedOp for Dynamic {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = inputs[0].shape.clone();
        Ok(tvec![u8::fact(shape), f32::scalar_fact(), u8::scalar_fact()])
    }

    as_op!();
}

/// What is left of sums.
struct Left<'a> {
    sums: &'a [i32],
    ones: &'a [i32],
    zero: i32,
    to: &'a mut [i32],
}

impl Loop for Left<'_> {
    #[inline(always)]
    fn run(self) {
        let len = self.ones.len().max(1);
        for (sums, to) in self.sums.chunks(len).zip(self.to.chunks_mut(len)) {
            for ((to, sum), one) in to.iter_mut().zip(sums).zip(self.ones) {
                *to = sum.wrapping_sub(one.wrapping_mul(self.zero));
            }
        }
    }
}

impl Eq for Taken {}

op!(Taken, "WithoutZero", Taken::computed, |_own, inputs| {
    tvec!(i32::fact(inputs[0].shape.clone()))
});

impl Taken {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let zero = inputs[1].cast_to::<i32>()?;
        let zero = zero.try_as_plain_ram()?.as_slice::<i32>()?[0];
        self.0.of(i32::datum_type(), inputs[0].shape(), |result| {
            let (sums, ones) = (inputs[0].try_as_plain_ram()?, inputs[2].try_as_plain_ram()?);
            let mut to = result.try_as_plain_ram_mut()?;
            let (sums, ones) = (sums.as_slice()?, ones.as_slice()?);
            in_vectors(Left { sums, ones, zero, to: to.as_slice_mut()? });
            Ok(())
        })
    }
}
