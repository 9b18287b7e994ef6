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

/// Pieces of some layers, and what goes in and comes out of each.
const PIECES: &str = "person_detect";

/// All layers: the input `x`, the output `y`, and of each layer's bytes an FNV hash.
const WHOLE: &str = "person_detect_whole";

fn tensor(file: &str, name: &str) -> conv_files::Array {
    let model = common::file(&format!("tests/golden/{file}.safetensors"));
    read_place(Path::new(""), &format!("{model}#{name}"), 1 << 20).expect("a tensor")
}

impl Layer {
    /// The layer for an image of some size, padded so.
    fn new(
        (file, layer): (&str, usize),
        (groups, stride): (usize, usize),
        size: [usize; 2],
        pad: &str,
    ) -> Layer {
        let tensor = |name: &str| tensor(file, &format!("{layer}.{name}"));
        let [input_scale, input_zero, output_scale, output_zero] = tensor("p").values::<f32>()[..]
        else {
            panic!("four numbers")
        };
        let weight = tensor("w");
        let [oc, per_group, kh, kw] = weight.shape[..] else { panic!("{:?}", weight.shape) };
        let (ic, [h, w]) = (per_group * groups, size);
        let text = format!(
            "conv2d i8 x i8 -> i8 nhwc g{groups} ic{ic} oc{oc} in {h}x{w} kernel {kh}x{kw} stride \
             {stride} pad {pad} + bias i32"
        );
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let whole =
            |name: &str| tensor(name).exact().iter().map(|x| *x as i32).collect::<Vec<i32>>();
        let weight: Vec<i8> = whole("w").iter().map(|x| *x as i8).collect();
        let (conv, bias) =
            zero_point::without(&conv, input_zero as i32, &weight, Some(&whole("b"))).unwrap();
        let scales = tensor("s").values::<f32>();
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
    let steps = layers.iter().map(|layer| Step::from(layer.conv.clone()));
    let program = Program::new(steps.collect()).unwrap();
    let machines = Target::ALL.iter().copied().filter(|target| *target != Target::RUST);
    let here = machines.filter(|target| conv_jit::is_here(target.isa));
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
        let tensor = |name: &str| tensor(PIECES, &format!("{layer}.{name}"));
        let (input, wanted) = (tensor("x"), bytes(&tensor("y")));
        let [_, h, w, _] = input.shape[..] else { panic!("{:?}", input.shape) };
        let made = Layer::new((PIECES, layer), (groups, stride), [h, w], pad);
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
        layers.push(Layer::new((PIECES, layer), (groups, stride), size, "same-upper"));
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

/// The mean of 3 x 3 bytes as TensorFlow Lite has it: to the nearest, and nine numbers have no
/// mean between two bytes.
fn mean(channels: usize) -> Layer {
    let text = format!(
        "conv2d i8 x i8 -> i8 nhwc g{channels} ic{channels} oc{channels} in 3x3 kernel 3 + bias, \
         requantise onnx scale {}",
        1.0 / 9.0
    );
    let conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    Layer { conv, weight: vec![1; 9 * channels], bias: vec![0; channels] }
}

fn fnv(bytes: &[i8]) -> u64 {
    let next = |hash: u64, byte: &i8| (hash ^ u64::from(*byte as u8)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, next)
}

/// All 28 layers and the pool before the last, for random pixels: LiteRT's reference kernels
/// (`ai-edge-litert` 1.2, `BUILTIN_REF`) gave each layer's bytes.
#[test]
fn the_whole_network_is_one_program_with_the_bytes_of_tensorflow_lite() {
    let input = bytes(&tensor(WHOLE, "x"));
    let (mut size, mut channels, mut layers) = ([96, 96], 1, Vec::new());
    let mut piece = input.clone();
    for layer in 0..28 {
        if layer == 27 {
            layers.push(mean(channels));
            piece = layers[27].reference(&piece);
            size = [1, 1];
        }
        let is_depthwise = layer % 2 == 1 && layer < 27;
        let stride = if [0, 3, 7, 11, 23].contains(&layer) { 2 } else { 1 };
        let groups = if is_depthwise { channels } else { 1 };
        layers.push(Layer::new((WHOLE, layer), (groups, stride), size, "same-upper"));
        let made = &layers[layers.len() - 1];
        piece = made.reference(&piece);
        let hash = tensor(WHOLE, &format!("{layer}.h")).exact();
        let [low, high] = [hash[0], hash[1]].map(|half| u64::from(half as i32 as u32));
        assert_eq!(fnv(&piece), low | high << 32, "layer {layer}: {}", made.conv);
        (size, channels) = (size.map(|n: usize| n.div_ceil(stride)), made.conv.out_channels());
    }
    assert_eq!(piece, bytes(&tensor(WHOLE, "y")));
    let network = compiled(&layers, &input);
    assert!(!network.is_empty());
    for (target, found) in network {
        assert_eq!(found, piece, "{target}");
    }
}

/// The text says all of a layer but its weights, so `convc run` has the same bytes.
#[test]
fn the_text_of_the_network_runs_from_files() {
    let folder = common::Folder::new();
    let (mut size, mut text, mut args) = ([40, 32], Vec::new(), Vec::new());
    let mut layers = Vec::new();
    for (layer, groups, stride) in [(0, 1, 2), (1, 8, 1), (2, 1, 1), (3, 16, 2)] {
        let made = Layer::new((PIECES, layer), (groups, stride), size, "same-upper");
        size = size.map(|extent: usize| extent.div_ceil(stride));
        text.push(made.conv.to_string());
        let array = |name: &str, shape: &[usize], numbers: Vec<f64>, kind| {
            let array = conv_files::Array::of(kind, shape.to_vec(), &numbers).expect("an array");
            folder.write(&format!("{layer}.{name}.npy"), &array.to_npy().expect("bytes"))
        };
        let numbers = made.weight.iter().map(|x| f64::from(*x)).collect();
        let weight = array("w", &made.conv.weight_shape(), numbers, conv_files::Kind::I8);
        let numbers = made.bias.iter().map(|x| f64::from(*x)).collect();
        let bias = array("b", &[made.bias.len()], numbers, conv_files::Kind::I32);
        args.extend([format!("--weight={weight}"), format!("--bias={bias}")]);
        layers.push(made);
    }
    let input: Vec<i8> = (0..40 * 32).map(|at| (at * 97 % 251 - 125) as i8).collect();
    let wanted = layers.iter().fold(input.clone(), |input, layer| layer.reference(&input));
    let numbers: Vec<f64> = input.iter().map(|x| f64::from(*x)).collect();
    let array = conv_files::Array::of(conv_files::Kind::I8, vec![1, 40, 32, 1], &numbers).unwrap();
    let input = folder.write("x.npy", &array.to_npy().unwrap());
    for route in ["auto", "reference", "interp", "cranelift"] {
        let output = folder.path("y.npy");
        let text = text.join("; ");
        let given = ["run", &text, "--input", &input, "--output", &output, "--route", route];
        let all: Vec<&str> = given.into_iter().chain(args.iter().map(String::as_str)).collect();
        common::ok(&all);
        let found = conv_files::read_npy(Path::new(&output)).unwrap();
        assert_eq!((found.kind, &found.shape[..]), (conv_files::Kind::I8, &[1, 10, 8, 16][..]));
        assert_eq!(bytes(&found), wanted, "{route}");
    }
    // What stands in the text is said once.
    let text = text.join("; ");
    let refused = |more: &[&str], why: &str| {
        let given = ["run", &text, "--input", &input, "--output", "y.npy"];
        let args = args.iter().map(String::as_str).chain(more.iter().copied());
        let output = common::convc(&given.into_iter().chain(args).collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
    };
    refused(&["--output-scale", "2"], "says scales and zero points of its steps: leave the flags");
    refused(&["--output-type", "u8"], "the description gives i8; say `-> u8` in it");
}
