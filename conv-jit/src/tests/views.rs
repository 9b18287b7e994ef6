//! Arrays that are boxes of larger ones: the bits of dense ones, and nothing around is touched.

use conv_ir::Element;
use ndarray::{ArrayView, ArrayViewMut, IxDyn, ShapeBuilder};

use super::fill;
use crate::memory::guard::{Guarded, Side};
use crate::{Compiled, Options, Packed, Program, StepWeights, targets_here};

/// What an array has in each place, from the outermost axis on, where the box has `shape`: so many
/// more elements along each axis.
fn strides(shape: &[usize], more: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len() - 1).rev() {
        strides[axis] = strides[axis + 1] * (shape[axis + 1] + more[axis + 1]);
    }
    strides
}

/// Elements from the first to the last of a box.
fn span(shape: &[usize], strides: &[usize]) -> usize {
    1 + shape.iter().zip(strides).map(|(n, stride)| (n - 1) * stride).sum::<usize>()
}

/// Of a box in an array against a page that nobody may touch.
struct Boxed<T> {
    memory: Guarded<T>,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<T: Element> Boxed<T> {
    fn new(shape: &[usize], more: &[usize], side: Side) -> Self {
        let strides = strides(shape, more);
        let mut memory = Guarded::zeroed(span(shape, &strides), side);
        memory.as_mut_slice().fill(T::from_f64(7.0));
        Boxed { memory, shape: shape.to_vec(), strides }
    }

    fn view(&self) -> ndarray::ArrayViewD<'_, T> {
        let shape = IxDyn(&self.shape).strides(IxDyn(&self.strides));
        ArrayView::from_shape(shape, self.memory.as_slice()).unwrap()
    }

    fn view_mut(&mut self) -> ndarray::ArrayViewMutD<'_, T> {
        let shape = IxDyn(&self.shape).strides(IxDyn(&self.strides));
        ArrayViewMut::from_shape(shape, self.memory.as_mut_slice()).unwrap()
    }
}

fn packed<T: Element>(program: &Program, options: Options) -> Packed<T> {
    let weights = program.convs().map(|conv| match conv.has_weight() {
        true => fill::<T>(conv.weight_len(), 3),
        false => Vec::new(),
    });
    let biases = program.convs().map(|conv| {
        let len = if conv.spec().bias { conv.bias_len() } else { 0 };
        fill::<T>(len, 4)
    });
    let (weights, biases): (Vec<_>, Vec<_>) = (weights.collect(), biases.collect());
    let steps = weights.iter().zip(&biases).map(|(weight, bias)| StepWeights {
        weight,
        bias: (!bias.is_empty()).then_some(&bias[..]),
    });
    let steps: Vec<_> = steps.collect();
    Compiled::new(program.clone(), options).unwrap().pack_steps(&steps).unwrap()
}

/// Runs that took an end as it lies.
fn check<T: Element>(text: &str) -> usize {
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let (shape, out_shape) = (program.input_shape(), program.output_shape());
    let mut taken = 0;
    for target in targets_here() {
        let packed = packed::<T>(&program, Options { target, ..Options::default() });
        let input = fill::<T>(shape.iter().product(), 1);
        let mut wanted = vec![T::default(); out_shape.iter().product()];
        packed.run(&input, &mut wanted).unwrap();
        for (number, side) in [Side::Before, Side::Behind, Side::Before].into_iter().enumerate() {
            let more = |seed: usize| -> Vec<usize> {
                (0..shape.len()).map(|axis| (seed * 5 + axis * 7 + number) % 4).collect()
            };
            let mut from = Boxed::<T>::new(&shape, &more(1), side);
            from.view_mut().iter_mut().zip(&input).for_each(|(to, from)| *to = *from);
            let mut to = Boxed::<T>::new(&out_shape, &more(2), side);
            // The first time arrays are copied, then there is code.
            for time in 0..3 {
                to.memory.as_mut_slice().fill(T::from_f64(7.0));
                let call = packed.call_view(from.view(), to.view_mut());
                call.threads(1 + time).run().unwrap_or_else(|e| panic!("{text}: {e}"));
                assert!(to.view().iter().eq(&wanted), "{text} for {}, {number}", target.name);
                let outside = to.memory.as_slice().iter().filter(|x| **x == T::from_f64(7.0));
                let inside = wanted.iter().filter(|x| **x == T::from_f64(7.0)).count();
                let around = to.memory.as_slice().len() - wanted.len();
                assert_eq!(outside.count(), around + inside, "{text} for {}", target.name);
            }
            taken += packed.inner.strided.len();
        }
    }
    taken
}

#[test]
fn boxes_of_larger_arrays_have_the_bits_of_dense_ones() {
    for text in [
        "conv2d in 9x13 kernel 3 pad 1",
        "conv2d n2 ic3 oc5 in 9x13 kernel 3 pad 1 + bias, relu",
        "conv2d n2 ic3 oc20 in 9x33 kernel 3 pad 1 stride 2",
        "conv2d n2 ic16 oc32 in 7x7 kernel 1 + bias",
        "conv2d n2 g4 ic8 oc8 in 7x17 kernel 3 pad 1 mode reflect",
        "conv2d nhwc n2 ic5 oc18 in 6x7 kernel 3 pad 1",
        "conv2d nhwc g20 ic20 oc20 in 6x7 kernel 3 pad 1",
        "conv1d n3 ic2 oc2 in 40 kernel 5 dilation 2",
        "conv3d n2 in 5x6x20 kernel 3 pad 1 mode symmetric",
        "conv2d-transposed n2 ic4 oc3 in 5x6 kernel 3 stride 2",
        "maxpool2d n2 ic3 in 9x21 kernel 3 stride 2 pad 1",
        "conv2d n2 ic8 oc8 in 9x9 kernel 3 pad 1; conv2d oc8 kernel 3 pad 1",
        "conv2d n2 ic16 oc64 in 30 kernel 1, relu; conv2d oc16 kernel 1",
        "conv2d ic2 oc2 in 30 kernel 3 pad 1, relu; conv2d oc2 kernel 5 pad 2 + residual from 1",
        "conv2d ic2 oc2 in 30 kernel 3 pad 1, relu; conv2d oc2 kernel 5 pad 2 + residual from 0",
        "conv2d ic2 oc2 in 9 kernel 3 pad 1 + residual from 0; conv2d oc2 kernel 3 pad 1",
        "conv2d ic64 oc64 in 14 kernel 3 pad 1; conv2d oc64 kernel 3 pad 1; conv2d oc8 kernel 1",
    ] {
        let taken = check::<f32>(text);
        println!("counted: {taken} of {text}");
        check::<f64>(&text.replacen(' ', " f64 ", 1));
    }
}

#[test]
fn rows_of_a_crop_are_not_copied() {
    for text in [
        "conv2d in 9x13 kernel 3 pad 1",
        "conv2d n2 ic3 oc5 in 9x13 kernel 3 pad 1 + bias, relu",
        "conv3d n2 in 5x6x20 kernel 3 pad 1",
        "conv2d nhwc n2 ic5 oc18 in 6x7 kernel 3 pad 1",
    ] {
        assert!(check::<f32>(text) > 0, "{text}");
    }
}
