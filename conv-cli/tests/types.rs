//! `convc run` on every type of number: integers as ONNX defines them, judged by plain integers,
//! and f16 and bf16, which are those of converting first.

mod common;
#[path = "types/halves.rs"]
mod halves;

use std::path::Path;

use common::{Folder, ok, refused, routes};
use conv_files::{Array, Kind, Number, encode, npy_of, read_place, safetensors};
use conv_ir::{BF16, F16};

/// Writes an array; gives its path.
fn file<T: Number>(folder: &Folder, name: &str, shape: &[usize], numbers: &[T]) -> String {
    folder.write(name, &encode(shape, numbers).expect("bytes"))
}

/// Runs; gives the output.
#[track_caller]
fn run(folder: &Folder, args: &[&str]) -> Array {
    let out = folder.path("y.npy");
    ok(&[&["run", "-o", &out], args].concat());
    npy_of(Path::new(&out), &std::fs::read(&out).expect("written")).expect("an array")
}

/// Runs on every route; all must give these numbers, in that type.
#[track_caller]
fn gives(folder: &Folder, args: &[&str], kind: Kind, shape: &[usize], numbers: &[f64]) {
    for route in routes() {
        let array = run(folder, &[args, &["--route", route]].concat());
        assert_eq!((array.kind, &array.shape[..]), (kind, shape), "{route}");
        assert_eq!(array.exact(), numbers, "{route}");
    }
}

/// The node cases `test_convinteger_without_padding` and `.._with_padding` of ONNX 1.23.
#[test]
fn onnx_convinteger() {
    let folder = Folder::new();
    let x = file(&folder, "x.npy", &[1, 1, 3, 3], &[2u8, 3, 4, 5, 6, 7, 8, 9, 10]);
    let w = file(&folder, "w.npy", &[1, 1, 2, 2], &[1u8; 4]);
    let args = ["-i", &x, "-w", &w, "--input-zero-point", "1"];
    gives(&folder, &args, Kind::I32, &[1, 1, 2, 2], &[12.0, 16.0, 24.0, 28.0]);
    let w = file(&folder, "w2.npy", &[2, 1, 2, 2], &[1u8; 8]);
    let args = ["-i", &x, "-w", &w, "--input-zero-point", "1", "--weight-zero-point", "0,1"];
    let mut wanted = vec![
        1.0, 3.0, 5.0, 3.0, 5.0, 12.0, 16.0, 9.0, 11.0, 24.0, 28.0, 15.0, 7.0, 15.0, 17.0, 9.0,
    ];
    wanted.resize(32, 0.0);
    let padded = [&args[..], &["--padding", "1"]].concat();
    gives(&folder, &padded, Kind::I32, &[1, 2, 4, 4], &wanted);
}

/// The node case `test_qlinearconv` of ONNX 1.23.
#[test]
fn onnx_qlinearconv() {
    #[rustfmt::skip]
    let input = [
        255u8, 174, 162, 25, 203, 168, 58, 15, 59, 237, 95, 129, 0, 64, 56, 242, 153, 221, 168, 12,
        166, 232, 178, 186, 195, 237, 162, 237, 188, 39, 124, 77, 80, 102, 43, 127, 230, 21, 83, 41,
        40, 134, 255, 154, 92, 141, 42, 148, 247,
    ];
    #[rustfmt::skip]
    let wanted = [
        0u8, 81, 93, 230, 52, 87, 197, 240, 196, 18, 160, 126, 255, 191, 199, 13, 102, 34, 87, 243,
        89, 23, 77, 69, 60, 18, 93, 18, 67, 216, 131, 178, 175, 153, 212, 128, 25, 234, 172, 214,
        215, 121, 0, 101, 163, 114, 213, 107, 8,
    ];
    let folder = Folder::new();
    let x = file(&folder, "x.npy", &[1, 1, 7, 7], &input);
    let w = file(&folder, "w.npy", &[1, 1, 1, 1], &[0u8]);
    let scale = file(&folder, "s.npy", &[1], &[0.001_727_945_8f32]);
    let zero_points = ["--input-zero-point", "132", "--weight-zero-point", "255"];
    let scales = ["--input-scale", "0.003692046971991658", "--weight-scale", &scale];
    let output = ["--output-scale", "0.001626812620088458", "--output-zero-point", "123"];
    let args = [&["-i", &x, "-w", &w, "--output-type", "u8"][..], &zero_points, &scales, &output];
    let wanted = wanted.map(f64::from);
    gives(&folder, &args.concat(), Kind::U8, &[1, 1, 7, 7], &wanted);
}

/// A linear congruential generator.
struct Random(u64);

impl Random {
    /// Below a number.
    fn below(&mut self, end: u64) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % end) as usize
    }

    fn range(&mut self, (least, most): (i32, i32)) -> i64 {
        i64::from(least) + self.below((most - least + 1) as u64) as i64
    }
}

/// One random convolution of integers.
struct Case {
    groups: usize,
    /// Per group.
    channels: [usize; 2],
    input: Vec<usize>,
    kernel: Vec<usize>,
    stride: usize,
    dilation: usize,
    padding: usize,
    transposed: bool,
    kinds: [Kind; 2],
    x: Vec<i64>,
    w: Vec<i64>,
    bias: Vec<i64>,
    input_zero: i64,
    weight_zero: Vec<i64>,
}

impl Case {
    fn draw(random: &mut Random) -> Case {
        let rank = 1 + random.below(3);
        let groups = [1, 1, 2, 4][random.below(4)];
        let channels = [1 + random.below(3), 1 + random.below(3)];
        let (stride, dilation) = (1 + random.below(2), 1 + random.below(2));
        let transposed = random.below(4) == 0;
        let kernel: Vec<usize> = (0..rank).map(|_| 1 + random.below(3)).collect();
        let reach = |k: usize| (k - 1) * dilation;
        // Of a transposed one, padding cuts off what the window reaches.
        let most = kernel.iter().map(|&k| reach(k)).min().unwrap_or(0).min(2);
        let padding = random.below(if transposed { most as u64 + 1 } else { 3 });
        let input: Vec<usize> = kernel.iter().map(|&k| reach(k) + 1 + random.below(4)).collect();
        let kinds = [[Kind::U8, Kind::I8][random.below(2)], [Kind::I8, Kind::U8][random.below(2)]];
        let ranges = kinds.map(|kind| kind.range().expect("integers"));
        let pixels: usize = input.iter().product();
        let taps: usize = kernel.iter().product();
        let adversarial = random.below(4) == 0;
        let mut numbers = |count: usize, range: (i32, i32)| -> Vec<i64> {
            let end = if random.below(2) == 0 { range.0 } else { range.1 };
            let each = |_| if adversarial { end.into() } else { random.range(range) };
            (0..count).map(each).collect()
        };
        let x = numbers(groups * channels[0] * pixels, ranges[0]);
        let w = numbers(groups * channels[0] * channels[1] * taps, ranges[1]);
        let outputs = groups * channels[1];
        let bias = match random.below(2) {
            0 => Vec::new(),
            _ => (0..outputs).map(|_| random.range((-100_000, 100_000))).collect(),
        };
        let input_zero = random.range(ranges[0]);
        let weight_zero = match random.below(3) {
            0 => vec![0],
            1 => vec![random.range(ranges[1])],
            _ => (0..outputs).map(|_| random.range(ranges[1])).collect(),
        };
        let numbers = (x, w, bias, input_zero, weight_zero);
        let (x, w, bias, input_zero, weight_zero) = numbers;
        #[rustfmt::skip]
        let case = Case {
            groups, channels, input, kernel, stride, dilation, padding, transposed, kinds,
            x, w, bias, input_zero, weight_zero,
        };
        case
    }

    fn output(&self) -> Vec<usize> {
        let axis = |(&n, &k): (&usize, &usize)| match self.transposed {
            true => (n - 1) * self.stride + (k - 1) * self.dilation + 1 - 2 * self.padding,
            false => (n + 2 * self.padding - (k - 1) * self.dilation - 1) / self.stride + 1,
        };
        self.input.iter().zip(&self.kernel).map(axis).collect()
    }

    /// The sums, by the definition: every tap of every input, plain integers.
    fn sums(&self) -> Vec<i64> {
        let [inputs, outputs] = self.channels;
        let output = self.output();
        let pixels: usize = output.iter().product();
        let mut sums = vec![0; self.groups * outputs * pixels];
        for g in 0..self.groups {
            for o in 0..outputs {
                let channel = g * outputs + o;
                let zero = self.weight_zero[channel % self.weight_zero.len()];
                let bias = self.bias.get(channel).copied().unwrap_or(0);
                sums[channel * pixels..][..pixels].fill(bias);
                for i in 0..inputs {
                    let window = match self.transposed {
                        true => (g * inputs + i) * outputs + o,
                        false => channel * inputs + i,
                    };
                    self.tap(window, zero, g * inputs + i, &mut sums[channel * pixels..][..pixels]);
                }
            }
        }
        sums
    }

    /// Adds the products of one window and one channel of the input.
    fn tap(&self, window: usize, zero: i64, channel: usize, sums: &mut [i64]) {
        let output = self.output();
        let (outer, taps) = (self.input.iter().product::<usize>(), self.kernel.iter().product());
        // Of a convolution places are outputs and reach inputs; of a transposed one inputs that
        // reach outputs.
        let (places, reached) = match self.transposed {
            true => (&self.input, &output),
            false => (&output, &self.input),
        };
        for place in 0..places.iter().product() {
            for tap in 0..taps {
                let (at, k) = (index(place, places), index(tap, &self.kernel));
                let to = at.iter().zip(&k).map(|(&p, &k)| {
                    (p * self.stride + k * self.dilation).checked_sub(self.padding)
                });
                let to: Option<Vec<usize>> = to.collect();
                let Some(to) = to.filter(|to| to.iter().zip(reached).all(|(q, n)| q < n)) else {
                    continue;
                };
                let to = to.iter().zip(reached).fold(0, |flat, (q, n)| flat * n + q);
                let (from, sum) = if self.transposed { (place, to) } else { (to, place) };
                let x = self.x[channel * outer + from] - self.input_zero;
                sums[sum] += x * (self.w[window * taps + tap] - zero);
            }
        }
    }
}

/// The place of a flat index.
fn index(mut flat: usize, extents: &[usize]) -> Vec<usize> {
    let mut place = vec![0; extents.len()];
    for (place, extent) in place.iter_mut().zip(extents).rev() {
        (*place, flat) = (flat % extent, flat / extent);
    }
    place
}

/// 500 convolutions of every kind and rank, a quarter of them of the largest numbers alone, against
/// plain integers: every second one requantised.
#[test]
fn random_integers_are_those_of_plain_integers() {
    let mut random = Random(15);
    let routes = routes();
    for at in 0..500 {
        let folder = Folder::new();
        let case = Case::draw(&mut random);
        let array = |name: &str, kind: Kind, shape: &[usize], numbers: &[i64]| {
            let numbers: Vec<f64> = numbers.iter().map(|&x| x as f64).collect();
            let array = Array::of(kind, shape.to_vec(), &numbers).expect("an array");
            folder.write(name, &array.to_npy().expect("bytes"))
        };
        let [inputs, outputs] = case.channels;
        let shape = |first: [usize; 2], rest: &[usize]| [&first[..], rest].concat();
        let x_shape = shape([1, case.groups * inputs], &case.input);
        let w_shape = match case.transposed {
            true => shape([case.groups * inputs, outputs], &case.kernel),
            false => shape([case.groups * outputs, inputs], &case.kernel),
        };
        let x = array("x.npy", case.kinds[0], &x_shape, &case.x);
        let w = array("w.npy", case.kinds[1], &w_shape, &case.w);
        let list =
            |numbers: &[i64]| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let words = |words: &[(&str, String)]| -> Vec<String> {
            words.iter().flat_map(|(flag, value)| [format!("--{flag}={value}")]).collect()
        };
        let mut args = words(&[
            ("input", x),
            ("weight", w),
            ("groups", case.groups.to_string()),
            ("stride", case.stride.to_string()),
            ("dilation", case.dilation.to_string()),
            ("padding", case.padding.to_string()),
            ("input-zero-point", case.input_zero.to_string()),
            ("weight-zero-point", list(&case.weight_zero)),
            ("route", routes[at % routes.len()].to_owned()),
        ]);
        if case.transposed {
            args.push("--transposed".to_owned());
        }
        let channels = case.groups * outputs;
        if !case.bias.is_empty() {
            let bias = array("b.npy", Kind::I32, &[channels], &case.bias);
            args.extend(words(&[("bias", bias)]));
        }
        let sums = case.sums();
        let (kind, wanted) = match at % 2 {
            0 => (Kind::I32, sums.iter().map(|&sum| sum as f64).collect()),
            _ => requantised(&mut random, &sums, channels, &mut args),
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let found = run(&folder, &args);
        let output = shape([1, channels], &case.output());
        assert_eq!((found.kind, found.shape.clone()), (kind, output), "{args:?}");
        assert_eq!(found.exact(), wanted, "{args:?}");
    }
}

/// As ONNX's QLinearConv: the scales in f32, the product to even.
fn requantised(
    random: &mut Random,
    sums: &[i64],
    channels: usize,
    args: &mut Vec<String>,
) -> (Kind, Vec<f64>) {
    let kind = [Kind::U8, Kind::I8][random.below(2)];
    let (least, most) = kind.range().expect("an integer");
    let zero_point = random.range((least, most));
    let mut scale = || (1 + random.below(1000)) as f32 / 30_000.0;
    let (input, output) = (scale(), scale());
    let weight: Vec<f32> = (0..channels).map(|_| scale()).collect();
    let list: Vec<String> = weight.iter().map(f32::to_string).collect();
    args.extend([
        format!("--output-type={kind}"),
        format!("--input-scale={input}"),
        format!("--output-scale={output}"),
        format!("--weight-scale={}", list.join(",")),
        format!("--output-zero-point={zero_point}"),
    ]);
    let pixels = sums.len() / channels;
    let each = |(at, &sum): (usize, &i64)| {
        let product = sum as f32 * (input * weight[at / pixels] / output);
        let rounded = f64::from(product.round_ties_even()) + zero_point as f64;
        rounded.clamp(least.into(), most.into())
    };
    (kind, sums.iter().enumerate().map(each).collect())
}

/// Layers of the person detector of TensorFlow Lite Micro, whole or a piece, from its first
/// depthwise convolution of stride 2 on: `N.x` and `N.y` are the tensors around layer N as LiteRT's
/// reference kernels (`ai-edge-litert` 1.2, `BUILTIN_REF`) computed them for random pixels, `N.p`
/// scale and zero point of both. The crate `microflow` 0.1.3 (MIT or Apache-2.0) has the model.
#[test]
fn layers_of_a_quantised_network_are_those_of_tensorflow_lite() {
    let folder = Folder::new();
    let model = common::file("tests/golden/person_detect.safetensors");
    let tensor = |layer: usize, name: &str| {
        read_place(Path::new(""), &format!("{model}#{layer}.{name}"), 1 << 20).expect("a tensor")
    };
    let mut others = 0;
    for (layer, groups, stride, padding) in common::PERSON_DETECT {
        let place = |flag: &str, name: &str| format!("--{flag}={model}#{layer}.{name}");
        let [input_scale, input_zero, output_scale, output_zero] =
            tensor(layer, "p").values::<f32>()[..]
        else {
            panic!("four numbers")
        };
        let args = [
            place("input", "x"),
            place("weight", "w"),
            place("bias", "b"),
            place("weight-scale", "s"),
            format!("--groups={groups}"),
            format!("--stride={stride}"),
            format!("--padding={padding}"),
            format!("--input-scale={input_scale}"),
            format!("--input-zero-point={input_zero}"),
            format!("--output-scale={output_scale}"),
            format!("--output-zero-point={output_zero}"),
            "--layout=nhwc".to_owned(),
            "--output-type=i8".to_owned(),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let wanted = tensor(layer, "y");
        let double = [&args[..], &["--rounding", "tflite-double"]].concat();
        gives(&folder, &double, Kind::I8, &wanted.shape, &wanted.exact());
        let single = run(&folder, &[&args[..], &["--rounding", "tflite-single"]].concat());
        let pairs = single.exact().into_iter().zip(wanted.exact());
        others += pairs.filter(|(one, two)| one != two).count();
    }
    // Each of them by one, which is why roundings have names.
    assert_eq!(others, 45);
}

#[test]
fn each_rounding_is_heard() {
    let folder = Folder::new();
    let x = file(&folder, "x.npy", &[4], &[10i8, -10, 6, -128]);
    let w = file(&folder, "w.npy", &[1], &[1i8]);
    let scaled = ["-i", &x, "-w", &w, "--input-scale", "0.25", "--output-type", "i8"];
    let of = |name: &str, wanted: [f64; 4]| {
        let args = [&scaled[..], &["--rounding", name]].concat();
        gives(&folder, &args, Kind::I8, &[4], &wanted);
    };
    of("onnx", [2.0, -2.0, 2.0, -32.0]);
    of("xnnpack-f32", [2.0, -2.0, 2.0, -32.0]);
    of("tflite-double", [3.0, -3.0, 2.0, -32.0]);
    of("tflite-single", [3.0, -2.0, 2.0, -32.0]);
    let scaled = [&scaled[..7], &["f32"]].concat();
    gives(&folder, &scaled, Kind::F32, &[4], &[2.5, -2.5, 1.5, -32.0]);
    let relu = ["-i", &x, "-w", &w, "--activation", "relu", "--output-type", "u8"];
    gives(&folder, &relu, Kind::U8, &[4], &[10.0, 0.0, 6.0, 0.0]);
}
