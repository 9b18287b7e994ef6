//! A quantised network as compiled code: sums, scales and roundings in one program.

mod common;

use std::path::Path;

use conv_files::read_place;
use conv_ir::program::Step;
use conv_ir::requantise::Rounding;
use conv_ir::{Conv, Program, Target, reference, zero_point};
use conv_jit::{Array, Compiled, Options, Packed, StepArrays};

/// A layer of `person_detect`, whose input has its zero point.
struct Layer {
    conv: Conv,
    weight: Vec<i8>,
    bias: Vec<i32>,
}

fn tensor(layer: usize, name: &str) -> conv_files::Array {
    let model = common::file("tests/golden/person_detect.safetensors");
    read_place(Path::new(""), &format!("{model}#{layer}.{name}"), 1 << 20).expect("a tensor")
}

impl Layer {
    /// The layer for an image of some size, padded so.
    fn new(layer: usize, (groups, stride): (usize, usize), size: [usize; 2], pad: &str) -> Layer {
        let [input_scale, input_zero, output_scale, output_zero] =
            tensor(layer, "p").values::<f32>()[..]
        else {
            panic!("four numbers")
        };
        let weight = tensor(layer, "w");
        let [oc, per_group, kh, kw] = weight.shape[..] else { panic!("{:?}", weight.shape) };
        let (ic, [h, w]) = (per_group * groups, size);
        let text = format!(
            "conv2d i8 x i8 -> i8 nhwc g{groups} ic{ic} oc{oc} in {h}x{w} kernel {kh}x{kw} stride \
             {stride} pad {pad} + bias i32"
        );
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let whole = |name: &str| {
            tensor(layer, name).exact().iter().map(|x| *x as i32).collect::<Vec<i32>>()
        };
        let weight: Vec<i8> = whole("w").iter().map(|x| *x as i8).collect();
        let (conv, bias) =
            zero_point::without(&conv, input_zero as i32, &weight, Some(&whole("b"))).unwrap();
        let scales = tensor(layer, "s").values::<f32>();
        let rounding = Rounding::TfliteDouble;
        let scales = scales.iter().map(|s| rounding.scale(input_scale, *s, output_scale));
        let scales = scales.collect::<Vec<f64>>();
        let conv = conv.requantised(rounding, &scales, output_zero as i32).unwrap();
        Layer { conv, weight, bias }
    }

    fn reference(&self, input: &[i8]) -> Vec<i8> {
        let whole = |of: &[i8]| of.iter().map(|x| i32::from(*x)).collect::<Vec<i32>>();
        let (input, weight) = (whole(input), whole(&self.weight));
        let arrays = reference::Arguments {
            input: &input,
            weight: &weight,
            bias: Some(&self.bias),
            residual: None,
        };
        let output = reference::run(&self.conv, arrays, &[]).unwrap();
        output.iter().map(|x| *x as i8).collect()
    }
}

/// What compiled code makes of some layers in a row, on every machine that is here.
fn compiled(layers: &[Layer], input: &[i8]) -> Vec<(Target, Vec<i8>)> {
    let steps = layers.iter().map(|layer| Step { conv: layer.conv.clone(), residual: None });
    let program = Program::new(steps.collect()).unwrap();
    let machines = [Target::CRANELIFT, Target::AVX2, Target::AVX512, Target::AVX512_VNNI];
    let here = machines.into_iter().filter(|target| conv_jit::is_here(target.isa));
    let run = |target| {
        let options = Options { target, ..Options::default() };
        let arrays = layers.iter().map(|layer| StepArrays {
            weight: Some(Array::from(&layer.weight[..])),
            bias: Some(Array::from(&layer.bias[..])),
        });
        let arrays = arrays.collect::<Vec<_>>();
        let packed: Packed<i8> =
            Compiled::new(&program, options).unwrap().pack_arrays(&arrays).unwrap();
        let mut output = vec![0; program.len_of(layers.len())];
        packed.run(input, &mut output).unwrap();
        (target, output)
    };
    here.map(run).collect()
}

fn bytes(array: &conv_files::Array) -> Vec<i8> {
    array.exact().iter().map(|x| *x as i8).collect()
}

/// Against TensorFlow Lite's reference kernels: see `layers_of_a_quantised_network_..` in
/// `types.rs`.
#[test]
fn each_layer_is_tensorflow_lites_without_a_detour() {
    for (layer, groups, stride, pad) in common::PERSON_DETECT {
        let (input, wanted) = (tensor(layer, "x"), bytes(&tensor(layer, "y")));
        let [_, h, w, _] = input.shape[..] else { panic!("{:?}", input.shape) };
        let made = Layer::new(layer, (groups, stride), [h, w], pad);
        let input = bytes(&input);
        assert_eq!(made.reference(&input), wanted, "{layer}");
        for (target, found) in compiled(&[made], &input) {
            assert_eq!(found, wanted, "layer {layer}, {target}");
        }
    }
}

#[test]
fn layers_in_a_row_are_one_program_with_the_same_bytes() {
    let (mut size, mut layers) = ([40, 32], Vec::new());
    for (layer, groups, stride) in
        [(0, 1, 2), (1, 8, 1), (2, 1, 1), (3, 16, 2), (4, 1, 1), (5, 32, 1), (6, 1, 1)]
    {
        layers.push(Layer::new(layer, (groups, stride), size, "same-upper"));
        size = size.map(|extent: usize| extent.div_ceil(stride));
    }
    let input: Vec<i8> = (0..40 * 32).map(|at| (at * 97 % 251 - 125) as i8).collect();
    let wanted = layers.iter().fold(input.clone(), |input, layer| layer.reference(&input));
    let different: std::collections::BTreeSet<i8> = wanted.iter().copied().collect();
    assert!(different.len() > 20, "{different:?}");
    for (target, found) in compiled(&layers, &input) {
        assert_eq!(found, wanted, "{target}");
    }
}
