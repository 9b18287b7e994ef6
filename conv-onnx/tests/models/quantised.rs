//! Quantised models against an oracle in plain integers, written from ONNX's definitions.

use conv_onnx::{Model, Options, Tensor};

use crate::graph::{Attribute, Graph};
use crate::tracts;
use Attribute::{Int, Ints};

/// A stream of numbers.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, from: i32, to: i32) -> i32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        from + ((self.0 >> 33) % (to - from + 1) as u64) as i32
    }

    pub fn list(&mut self, count: usize, (from, to): (i32, i32)) -> Vec<i32> {
        (0..count).map(|_| self.next(from, to)).collect()
    }
}

/// The range of a type of 8 bits.
pub fn range(is_signed: bool) -> (i32, i32) {
    if is_signed { (-128, 127) } else { (0, 255) }
}

/// A layer as ONNX says it.
struct Layer {
    batch: usize,
    channels: [usize; 2],
    groups: usize,
    image: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
    pads: [usize; 4],
    signed: [bool; 3],
    input: Vec<i32>,
    weight: Vec<i32>,
    bias: Vec<i32>,
    zeros: (i32, Vec<i32>, i32),
    scales: (f32, Vec<f32>, f32),
}

impl Layer {
    fn random(random: &mut Random) -> Layer {
        let groups = random.next(1, 3) as usize;
        let per_group = [random.next(1, 5) as usize, random.next(1, 5) as usize];
        let per_group = if random.next(0, 2) == 0 { [1, 1] } else { per_group };
        let channels = per_group.map(|n| n * groups);
        let kernel = [random.next(1, 3) as usize, random.next(1, 3) as usize];
        let dilation = random.next(1, 2) as usize;
        let image = [random.next(5, 9) as usize, random.next(5, 12) as usize];
        let batch = random.next(1, 2) as usize;
        let signed = [0; 3].map(|_| random.next(0, 1) == 1);
        let weights = channels[1] * per_group[0] * kernel[0] * kernel[1];
        let zero = |random: &mut Random, is_signed| {
            let (least, most) = range(is_signed);
            random.next(least, most)
        };
        let is_each = random.next(0, 1) == 1;
        let each = if is_each { channels[1] } else { 1 };
        let zeros = (
            zero(random, signed[0]),
            // Of signed weights mostly zero, as runtimes ask for.
            match signed[1] && random.next(0, 3) > 0 {
                true => vec![0; each],
                false => (0..each).map(|_| zero(random, signed[1])).collect(),
            },
            zero(random, signed[2]),
        );
        let scale = |random: &mut Random| random.next(1, 1000) as f32 / 7919.0;
        let own = (scale(random), (0..each).map(|_| scale(random) / 9.0).collect());
        // Most outputs are inside of the range.
        let output = own.0 * scale(random) * (weights as f32 / channels[1] as f32).sqrt() + 0.01;
        Layer {
            batch,
            channels,
            groups,
            image,
            kernel,
            stride: random.next(1, 2) as usize,
            dilation,
            pads: [0; 4].map(|_| random.next(0, 2) as usize),
            input: random.list(batch * channels[0] * image[0] * image[1], range(signed[0])),
            weight: random.list(weights, range(signed[1])),
            bias: random.list(channels[1], (-4000, 4000)),
            signed,
            zeros,
            scales: (own.0, own.1, output),
        }
    }

    fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let window = (self.kernel[axis] - 1) * self.dilation + 1;
            (self.image[axis] + self.pads[axis] + self.pads[axis + 2] - window) / self.stride + 1
        })
    }

    /// Exact sums, without the bias.
    fn sums(&self) -> Vec<i32> {
        let (inputs, outputs) = (self.channels[0] / self.groups, self.channels[1] / self.groups);
        let ([h, w], [kh, kw], [oh, ow]) = (self.image, self.kernel, self.output());
        let mut sums = Vec::new();
        for n in 0..self.batch {
            for o in 0..self.channels[1] {
                for at in 0..oh * ow {
                    let mut sum = 0;
                    for i in 0..inputs {
                        let channel = o / outputs * inputs + i;
                        for tap in 0..kh * kw {
                            let y = at / ow * self.stride + tap / kw * self.dilation;
                            let x = at % ow * self.stride + tap % kw * self.dilation;
                            let (Some(y), Some(x)) =
                                (y.checked_sub(self.pads[0]), x.checked_sub(self.pads[1]))
                            else {
                                continue;
                            };
                            if y < h && x < w {
                                let input = ((n * self.channels[0] + channel) * h + y) * w + x;
                                let weight = (o * inputs + i) * kh * kw + tap;
                                let zero = self.zeros.1[o % self.zeros.1.len()];
                                sum += (self.input[input] - self.zeros.0)
                                    * (self.weight[weight] - zero);
                            }
                        }
                    }
                    sums.push(sum);
                }
            }
        }
        sums
    }

    /// `saturated(rounded(sum * scale) + zero)`, the scale and the product of f32.
    fn requantised(&self) -> Vec<i32> {
        let [oh, ow] = self.output();
        let (least, most) = range(self.signed[2]);
        let of = |(at, sum): (usize, i32)| {
            let o = at / (oh * ow) % self.channels[1];
            let scale = self.scales.0 * self.scales.1[o % self.scales.1.len()] / self.scales.2;
            let rounded = ((sum + self.bias[o]) as f32 * scale).round_ties_even();
            (rounded as i32).saturating_add(self.zeros.2).clamp(least, most)
        };
        self.sums().into_iter().enumerate().map(of).collect()
    }

    fn attributes(&self) -> Vec<Attribute> {
        let ints = |values: &[usize]| values.iter().map(|&n| n as i64).collect::<Vec<i64>>();
        vec![
            Int("group", self.groups as i64),
            Ints("strides", vec![self.stride as i64; 2]),
            Ints("dilations", vec![self.dilation as i64; 2]),
            Ints("pads", ints(&self.pads)),
            Ints("kernel_shape", ints(&self.kernel)),
        ]
    }

    fn input_shape(&self) -> [usize; 4] {
        [self.batch, self.channels[0], self.image[0], self.image[1]]
    }

    fn weight_shape(&self) -> Vec<i64> {
        let per_group = self.channels[0] / self.groups;
        [self.channels[1], per_group, self.kernel[0], self.kernel[1]].map(|n| n as i64).to_vec()
    }

    fn graph(&self) -> (Graph, [String; 5]) {
        let mut graph = Graph::default();
        let shape: Vec<i64> = self.input_shape().iter().map(|&n| n as i64).collect();
        graph.bytes_input("x", &shape, self.signed[0]);
        let each = self.zeros.1.len() as i64;
        let shape: &[i64] = if each == 1 { &[] } else { &[each] };
        let names = [
            graph.bytes_constant(&self.weight_shape(), &self.weight, self.signed[1]),
            graph.bytes_constant(&[], &[self.zeros.0], self.signed[0]),
            graph.bytes_constant(shape, &self.zeros.1, self.signed[1]),
            graph.scalar(self.scales.0),
            graph.constant(shape, self.scales.1.clone()),
        ];
        (graph, names)
    }

    fn tensor(&self) -> Tensor {
        bytes(&self.input_shape(), &self.input, self.signed[0])
    }
}

pub fn bytes(shape: &[usize], values: &[i32], is_signed: bool) -> Tensor {
    let tensor = match is_signed {
        true => Tensor::new(shape, &values.iter().map(|&x| x as i8).collect::<Vec<_>>()),
        false => Tensor::new(shape, &values.iter().map(|&x| x as u8).collect::<Vec<_>>()),
    };
    tensor.expect("a tensor")
}

/// The numbers of a tensor of whole ones.
pub fn wide(tensor: &Tensor) -> Vec<i32> {
    let signed = tensor.values::<i8>().map(|values| values.iter().map(|&x| x.into()).collect());
    let bytes = tensor.values::<u8>().map(|values| values.iter().map(|&x| x.into()).collect());
    let sums = tensor.values::<i32>().map(<[i32]>::to_vec);
    signed.or(bytes).or(sums).expect("whole numbers")
}

/// What a model gives, and tract's operators that are left in it.
pub fn run(model: &[u8], inputs: &[(&str, Tensor)]) -> (Vec<Tensor>, Vec<String>) {
    let model = Model::parse(model, Options::default()).expect("a model");
    let outputs = model.run(inputs).expect("it runs");
    let explanation = model.explain(inputs).expect("it is explained");
    let left = tracts(&explanation).into_iter().filter(|op| *op != "MoveAxis");
    (outputs.into_iter().map(|(_, output)| output).collect(), left.map(str::to_owned).collect())
}

#[test]
fn operators_of_bytes_are_compiled_to_the_bit() {
    let mut random = Random(1);
    for at in 0..120 {
        let layer = Layer::random(&mut random);
        let (mut graph, [w, xz, wz, xs, ws]) = layer.graph();
        let (ys, yz) = (
            graph.scalar(layer.scales.2),
            graph.bytes_constant(&[], &[layer.zeros.2], layer.signed[2]),
        );
        let b = graph.sums_constant(&[layer.bias.len() as i64], &layer.bias);
        let inputs = ["x", &xs, &xz, &w, &ws, &wz, &ys, &yz, &b];
        let y = graph.node("QLinearConv", &inputs, layer.attributes());
        let (outputs, left) = run(&graph.bytes(&[&y]), &[("x", layer.tensor())]);
        assert_eq!(wide(&outputs[0]), layer.requantised(), "{at}: {:?}", layer.weight_shape());
        assert_eq!(left, [""; 0], "{at}");
    }
}

#[test]
fn dequantised_layers_are_the_same() {
    let mut random = Random(2);
    for at in 0..60 {
        let layer = Layer::random(&mut random);
        let (mut graph, [w, xz, wz, xs, ws]) = layer.graph();
        let (ys, yz) = (
            graph.scalar(layer.scales.2),
            graph.bytes_constant(&[], &[layer.zeros.2], layer.signed[2]),
        );
        let b = graph.sums_constant(&[layer.bias.len() as i64], &layer.bias);
        let scales: Vec<f32> = layer.scales.1.iter().map(|scale| scale * layer.scales.0).collect();
        let shape = [scales.len() as i64];
        let bs = graph.constant(if scales.len() == 1 { &[] } else { &shape }, scales);
        let x = graph.node("DequantizeLinear", &["x", &xs, &xz], vec![]);
        let w = graph.node("DequantizeLinear", &[&w, &ws, &wz], vec![Int("axis", 0)]);
        let b = graph.node("DequantizeLinear", &[&b, &bs], vec![Int("axis", 0)]);
        let y = graph.node("Conv", &[&x, &w, &b], layer.attributes());
        let y = graph.node("Relu", &[&y], vec![]);
        let y = graph.node("QuantizeLinear", &[&y, &ys, &yz], vec![]);
        let (outputs, left) = run(&graph.bytes(&[&y]), &[("x", layer.tensor())]);
        let positive = |q: i32| q.max(layer.zeros.2);
        let expected: Vec<i32> = layer.requantised().into_iter().map(positive).collect();
        assert_eq!(wide(&outputs[0]), expected, "{at}");
        assert_eq!(left, [""; 0], "{at}");
    }
}

#[test]
fn sums_that_are_not_quantised_again_are_real_numbers() {
    let mut random = Random(3);
    for at in 0..30 {
        let layer = Layer::random(&mut random);
        let (mut graph, [w, xz, wz, xs, ws]) = layer.graph();
        let x = graph.node("DequantizeLinear", &["x", &xs, &xz], vec![]);
        let w = graph.node("DequantizeLinear", &[&w, &ws, &wz], vec![Int("axis", 0)]);
        let y = graph.node("Conv", &[&x, &w], layer.attributes());
        let (outputs, left) = run(&graph.bytes(&[&y]), &[("x", layer.tensor())]);
        let [oh, ow] = layer.output();
        let found = outputs[0].values::<f32>().expect("f32");
        for (at, (found, sum)) in found.iter().zip(layer.sums()).enumerate() {
            let o = at / (oh * ow) % layer.channels[1];
            let scale = layer.scales.0 * layer.scales.1[o % layer.scales.1.len()];
            assert_eq!(*found, sum as f32 * scale);
        }
        assert_eq!(left, [""; 0], "{at}");
    }
}

#[test]
fn sums_of_bytes_are_an_output_of_their_own() {
    let mut random = Random(4);
    for at in 0..30 {
        let layer = Layer::random(&mut random);
        let (mut graph, [w, xz, wz, ..]) = layer.graph();
        // The zero point of the input may be known in a run alone.
        let mut inputs = vec![("x", layer.tensor())];
        let zero = if at % 2 == 0 { &xz } else { "zero" };
        if at % 2 == 1 {
            graph.bytes_input("zero", &[], layer.signed[0]);
            inputs.push(("zero", bytes(&[], &[layer.zeros.0], layer.signed[0])));
        }
        let y = graph.node("ConvInteger", &["x", &w, zero, &wz], layer.attributes());
        let (outputs, left) = run(&graph.bytes(&[&y]), &inputs);
        assert_eq!(wide(&outputs[0]), layer.sums(), "{at}");
        // tract widens the zero point.
        assert!(left.iter().all(|op| op == "Cast" && at % 2 == 1), "{at}: {left:?}");
    }
}
