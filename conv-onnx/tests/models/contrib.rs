//! Operators of ONNX Runtime's quantiser against their definitions, and networks that it wrote
//! against what it computes.

use std::path::PathBuf;

use conv_onnx::{Model, Options, Tensor};

use crate::graph::{Attribute, Graph};
use crate::quantised::{Random, bytes, range, run, wide};
use Attribute::{Float, Int, Ints};

/// What a file of the folder `data` has.
fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The numbers of a `.npy` file.
fn numbers(name: &str) -> Vec<f32> {
    let array = conv_files::read_npy(&data(name)).expect("an array");
    array.exact().into_iter().map(|x| x as f32).collect()
}

/// The outputs of a model of the folder for its image, one behind the other, and tract's operators.
fn outputs(name: &str) -> (Vec<f32>, Vec<String>) {
    let model = std::fs::read(data(name)).expect("a model");
    let image = Tensor::new(&[1, 3, 21, 18], &numbers("image.npy")).expect("an image");
    let (outputs, left) = run(&model, &[("x", image)]);
    let real = |output: &Tensor| match output.values::<f32>() {
        Some(values) => values.to_vec(),
        None => wide(output).into_iter().map(|x| x as f32).collect(),
    };
    (outputs.iter().flat_map(real).collect(), left)
}

#[test]
fn every_step_of_a_network_of_byte_operators_has_onnx_runtimes_bytes() {
    let (found, _) = outputs("steps.onnx");
    assert_eq!(found, numbers("steps.npy"));
}

#[test]
fn networks_of_onnx_runtimes_quantiser_give_its_outputs() {
    for name in ["qdq", "qoperator"] {
        let (found, left) = outputs(&format!("{name}.onnx"));
        assert_eq!(found, numbers(&format!("{name}.npy")), "{name}");
        // Bytes are moved, and nothing is computed with real numbers but the last node.
        assert_eq!(left, ["Concat", "IntoShape", "Normalise"], "{name}");
    }
    let (found, left) = outputs("dynamic.onnx");
    for (found, expected) in found.iter().zip(numbers("dynamic.npy")) {
        assert!((found - expected).abs() <= 1e-6, "{found} is not {expected}");
    }
    assert!(left.iter().all(|op| !op.contains("MatMul") && !op.contains("EinSum")), "{left:?}");
}

/// A product `[m, k] * [k, n]` of bytes, with a scale for each column.
struct Product {
    sizes: [usize; 3],
    signed: [bool; 3],
    a: Vec<i32>,
    b: Vec<i32>,
    bias: Vec<i32>,
    zeros: [i32; 3],
    scales: (f32, Vec<f32>, f32),
}

impl Product {
    fn random(random: &mut Random) -> Product {
        let [m, k, n] = [1, 12, 9].map(|least| random.next(least, 20) as usize);
        let signed = [0; 3].map(|_| random.next(0, 1) == 1);
        let zeros = signed.map(|is_signed| {
            let (least, most) = range(is_signed);
            random.next(least / 4, most / 4)
        });
        let scale = |random: &mut Random| random.next(1, 1000) as f32 / 7919.0;
        let count = if random.next(0, 1) == 0 { 1 } else { n };
        Product {
            sizes: [m, k, n],
            a: random.list(m * k, range(signed[0])),
            b: random.list(k * n, range(signed[1])),
            bias: random.list(n, (-4000, 4000)),
            scales: (
                scale(random),
                (0..count).map(|_| scale(random)).collect(),
                scale(random) * 90.0,
            ),
            signed,
            zeros,
        }
    }

    fn sums(&self) -> Vec<i32> {
        let [m, k, n] = self.sizes;
        let at = |row: usize, column: usize| {
            let term = |at: usize| {
                let (a, b) = (self.a[row * k + at], self.b[at * n + column]);
                (a - self.zeros[0]) * (b - self.zeros[1])
            };
            (0..k).map(term).sum()
        };
        (0..m * n).map(|o| at(o / n, o % n)).collect()
    }

    /// Of sums, with the bias where there is one.
    fn requantised(&self, bias: bool) -> Vec<i32> {
        let n = self.sizes[2];
        let (least, most) = range(self.signed[2]);
        let of = |(at, sum): (usize, i32)| {
            let own = self.scales.1[at % n % self.scales.1.len()];
            let sum = sum + if bias { self.bias[at % n] } else { 0 };
            let x = sum as f32 * (self.scales.0 * own / self.scales.2);
            (x.round_ties_even() as i32 + self.zeros[2]).clamp(least, most)
        };
        self.sums().into_iter().enumerate().map(of).collect()
    }

    /// Names of scale and zero point of `a`, `b` and the output.
    fn words(&self, graph: &mut Graph) -> [String; 6] {
        let zero = |graph: &mut Graph, at: usize| {
            graph.bytes_constant(&[], &[self.zeros[at]], self.signed[at])
        };
        let count = self.scales.1.len();
        let scales = self.scales.1.clone();
        let columns: Vec<i64> = if count == 1 { vec![] } else { vec![count as i64] };
        let zeros = vec![self.zeros[1]; count];
        [
            graph.scalar(self.scales.0),
            zero(graph, 0),
            graph.constant(&columns, scales),
            graph.bytes_constant(&columns, &zeros, self.signed[1]),
            graph.scalar(self.scales.2),
            zero(graph, 2),
        ]
    }

    fn matrix(&self, graph: &mut Graph, is_turned: bool) -> String {
        let [_, k, n] = self.sizes;
        match is_turned {
            false => graph.bytes_constant(&[k as i64, n as i64], &self.b, self.signed[1]),
            true => {
                let turned: Vec<i32> = (0..n * k).map(|at| self.b[at % k * n + at / k]).collect();
                graph.bytes_constant(&[n as i64, k as i64], &turned, self.signed[1])
            }
        }
    }

    fn input(&self, graph: &mut Graph, leading: &[usize]) -> Tensor {
        let shape = [leading, &self.sizes[..2]].concat();
        let extents: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        graph.bytes_input("x", &extents, self.signed[0]);
        bytes(&shape, &self.a, self.signed[0])
    }
}

#[test]
fn products_of_bytes_are_compiled_to_the_bit() {
    let mut random = Random(11);
    for at in 0..60 {
        let product = Product::random(&mut random);
        let mut graph = Graph::default();
        let is_turned = at % 2 == 1;
        let (matrix, words) = (product.matrix(&mut graph, is_turned), product.words(&mut graph));
        let [xs, xz, ws, wz, ys, yz] = words.each_ref().map(String::as_str);
        let has_bias = at % 3 > 0;
        let bias = match has_bias {
            true => graph.sums_constant(&[product.bias.len() as i64], &product.bias),
            false => String::new(),
        };
        let x = product.input(&mut graph, &[]);
        let attributes = vec![Int("transB", is_turned.into()), Float("alpha", 1.0)];
        let inputs = ["x", xs, xz, &matrix, ws, wz, &bias, ys, yz];
        let y = graph.node("QGemm", &inputs, attributes);
        let (outputs, left) = run(&graph.bytes(&[&y]), &[("x", x)]);
        assert_eq!(wide(&outputs[0]), product.requantised(has_bias), "{at}");
        assert_eq!(left, [""; 0], "{at}");
    }
}

#[test]
fn products_that_are_not_quantised_again_are_real_numbers() {
    let mut random = Random(12);
    for at in 0..20 {
        let product = Product::random(&mut random);
        let n = product.sizes[2];
        let mut graph = Graph::default();
        let (matrix, words) = (product.matrix(&mut graph, false), product.words(&mut graph));
        let [xs, xz, ws, wz, ..] = words.each_ref().map(String::as_str);
        let x = product.input(&mut graph, &[]);
        let bias = graph.sums_constant(&[n as i64], &product.bias);
        let inputs = ["x", xs, xz, &matrix, ws, wz, &bias];
        let y = graph.node("QGemm", &inputs, vec![Float("alpha", 0.5)]);
        let (outputs, left) = run(&graph.bytes(&[&y]), &[("x", x)]);
        let found = outputs[0].values::<f32>().expect("f32");
        for (at, (found, sum)) in found.iter().zip(product.sums()).enumerate() {
            let own = product.scales.1[at % n % product.scales.1.len()];
            let expected = f64::from(sum + product.bias[at % n])
                * f64::from(product.scales.0)
                * f64::from(own)
                * 0.5;
            let near = 1e-5 * expected.abs().max(1.0);
            assert!((f64::from(*found) - expected).abs() <= near, "{found} is not {expected}");
        }
        assert_eq!(left, [""; 0], "{at}");
    }
}

#[test]
fn products_with_images_before_the_rows_are_compiled() {
    let mut random = Random(13);
    for at in 0..20 {
        let product = Product::random(&mut random);
        let mut graph = Graph::default();
        let (matrix, words) = (product.matrix(&mut graph, false), product.words(&mut graph));
        let [xs, xz, ws, wz, ys, yz] = words.each_ref().map(String::as_str);
        let x = product.input(&mut graph, &[1]);
        let y = graph.node("QLinearMatMul", &["x", xs, xz, &matrix, ws, wz, ys, yz], vec![]);
        let (outputs, left) = run(&graph.bytes(&[&y]), &[("x", x)]);
        assert_eq!(wide(&outputs[0]), product.requantised(false), "{at}");
        assert_eq!(left, [""; 0], "{at}");
    }
}

#[test]
fn sums_of_products_may_have_a_zero_point_that_a_run_knows() {
    let mut random = Random(14);
    for at in 0..30 {
        let product = Product::random(&mut random);
        let mut graph = Graph::default();
        let (matrix, words) = (product.matrix(&mut graph, false), product.words(&mut graph));
        let [_, xz, _, wz, ..] = words.each_ref().map(String::as_str);
        let mut inputs = vec![("x", product.input(&mut graph, &[]))];
        let zero = if at % 2 == 0 { xz } else { "zero" };
        if zero == "zero" {
            graph.bytes_input("zero", &[], product.signed[0]);
            inputs.push(("zero", bytes(&[], &product.zeros[..1], product.signed[0])));
        }
        let y = graph.node("MatMulInteger", &["x", &matrix, zero, wz], vec![]);
        let (outputs, left) = run(&graph.bytes(&[&y]), &inputs);
        assert_eq!(wide(&outputs[0]), product.sums(), "{at}");
        assert!(left.iter().all(|op| !op.contains("MatMul") && !op.contains("EinSum")), "{left:?}");
    }
}

/// Scales of which many sums are ties, and such as have none.
#[test]
fn sums_and_products_of_bytes_are_what_the_operators_say() {
    let mut random = Random(15);
    for at in 0..80 {
        let signed = random.next(0, 1) == 1;
        let (least, most) = range(signed);
        let shape = [1, 3, random.next(3, 9) as usize, random.next(3, 9) as usize];
        let count = shape.iter().product();
        let (a, b) = (random.list(count, (least, most)), random.list(count, (least, most)));
        let zeros = [0; 3].map(|_| random.next(least, most));
        let scales = match at % 2 {
            0 => [0.25f32, 0.5, 0.5],
            _ => [0; 3].map(|_| random.next(1, 1000) as f32 / 7919.0),
        };
        let is_sum = at % 4 < 2;
        let expected = a.iter().zip(&b).map(|(a, b)| {
            let (a, b) = ((a - zeros[0]) as f32 * scales[0], (b - zeros[1]) as f32 * scales[1]);
            let x = if is_sum { a + b } else { a * b } / scales[2];
            ((x.round_ties_even() as i32).saturating_add(zeros[2])).clamp(least, most)
        });
        let expected: Vec<i32> = expected.collect();
        let mut graph = Graph::default();
        let words: Vec<String> = scales.iter().map(|&scale| graph.scalar(scale)).collect();
        let points = zeros.map(|zero| graph.bytes_constant(&[], &[zero], signed));
        let extents: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        graph.bytes_input("a", &extents, signed);
        graph.bytes_input("b", &extents, signed);
        let op = if is_sum { "QLinearAdd" } else { "QLinearMul" };
        let inputs =
            ["a", &words[0], &points[0], "b", &words[1], &points[1], &words[2], &points[2]];
        let y = graph.node(op, &inputs, vec![]);
        let inputs = [("a", bytes(&shape, &a, signed)), ("b", bytes(&shape, &b, signed))];
        let (outputs, left) = run(&graph.bytes(&[&y]), &inputs);
        assert_eq!(wide(&outputs[0]), expected, "{op} {at}: {scales:?} {zeros:?}");
        assert_eq!(left, [""; 0], "{at}");
    }
}

/// The numbers are NumPy's, of the operators' formulas.
#[test]
fn other_operators_are_spelled_as_real_ones() {
    let x = [0, 40, 90, 128, 200, 255];
    let tensor = || bytes(&[2, 3], &x, false);
    let one = |op: &str, opset: i64, attributes: Vec<Attribute>| {
        let mut graph = Graph::default();
        graph.bytes_input("x", &[2, 3], false);
        let (xs, xz) = (graph.scalar(0.02), graph.bytes_constant(&[], &[128], false));
        let (ys, yz) = (graph.scalar(0.004), graph.bytes_constant(&[], &[5], false));
        let y = graph.node(op, &["x", &xs, &xz, &ys, &yz], attributes);
        wide(&run(&graph.bytes_of(opset, &[&y]), &[("x", tensor())]).0[0])
    };
    assert_eq!(one("QLinearSoftmax", 13, vec![Int("axis", -1)]), [32, 65, 168, 19, 64, 182]);
    assert_eq!(one("QLinearSigmoid", 13, vec![]), [23, 42, 85, 130, 207, 237]);
    assert_eq!(one("QLinearLeakyRelu", 13, vec![Float("alpha", 0.01)]), [0, 1, 3, 5, 255, 255]);
    for opset in [13, 18] {
        let attributes = || vec![Ints("axes", vec![1]), Int("keepdims", 0)];
        assert_eq!(one("QLinearReduceMean", opset, attributes()), [0, 255], "{opset}");
    }
    let mut graph = Graph::default();
    graph.bytes_input("x", &[2, 3], false);
    let condition = graph.truths_constant(&[1, 3], &[true, false, true]);
    let [s, t, z] = [0.5, 0.25, 1.0].map(|scale| graph.scalar(scale));
    let [xz, yz, zz] = [10, 0, 3].map(|zero| graph.bytes_constant(&[], &[zero], false));
    let y = graph.bytes_constant(&[2, 3], &[4, 10, 16, 22, 28, 34], false);
    let inputs = [&condition, "x", &s, &xz, &y, &t, &yz, &z, &zz];
    let y = graph.node("QLinearWhere", &inputs, vec![]);
    let found = run(&graph.bytes(&[&y]), &[("x", tensor())]).0;
    assert_eq!(wide(&found[0]), [0, 5, 43, 62, 10, 125]);
}

#[test]
fn a_range_that_a_run_knows_has_onnxs_scale_and_zero_point() {
    let range = |x: &[f32]| {
        let mut graph = Graph::new(&[x.len() as i64]);
        let names = graph.node_of("DynamicQuantizeLinear", &["x"], 3);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let x = Tensor::new(&[x.len()], x).expect("a tensor");
        let (outputs, left) = run(&graph.bytes(&names), &[("x", x)]);
        assert_eq!(left, [""; 0]);
        let scale = outputs[1].values::<f32>().expect("f32")[0];
        (wide(&outputs[0]), scale, wide(&outputs[2])[0])
    };
    // From ONNX's own cases.
    let (bytes, scale, zero) = range(&[0.0, 2.0, -3.0, -2.5, 1.34, 0.5]);
    assert_eq!((bytes, zero), (vec![153, 255, 0, 26, 221, 179], 153));
    assert!((scale - 0.019_607_844).abs() < 1e-8);
    let (bytes, _, zero) = range(&[-1.0, -2.1, -1.3, -2.5, -3.34, -4.0]);
    assert_eq!((bytes, zero), (vec![191, 121, 172, 96, 42, 0], 255));
    assert_eq!(range(&[0.0; 3]), (vec![0; 3], 1.0, 0));
    // More than a vector, and a tail.
    let many: Vec<f32> = (0..77).map(|at| (at as f32 - 20.0) * 0.5).collect();
    let (bytes, scale, zero) = range(&many);
    let own = 38.0f32 / 255.0;
    assert_eq!((scale, zero), (own, 67));
    let expected = many.iter().map(|x| ((x / own).round_ties_even() as i32 + 67).clamp(0, 255));
    assert_eq!(bytes, expected.collect::<Vec<_>>());
}

#[test]
fn products_of_the_optimiser_are_real_numbers() {
    let mut random = Random(16);
    let product = Product { zeros: [7, 0, 0], ..Product::random(&mut random) };
    let product = Product { signed: [false, true, false], ..product };
    let a = random.list(product.a.len(), (0, 255));
    let b = random.list(product.b.len(), (-128, 127));
    let product = Product { a, b, ..product };
    let mut graph = Graph::default();
    let (matrix, words) = (product.matrix(&mut graph, false), product.words(&mut graph));
    let [xs, xz, ws, wz, ..] = words.each_ref().map(String::as_str);
    let n = product.sizes[2];
    let bias = graph.constant(&[n as i64], vec![0.75; n]);
    let x = product.input(&mut graph, &[]);
    let inputs = ["x", &matrix, xs, ws, xz, wz, &bias];
    let y = graph.node("MatMulIntegerToFloat", &inputs, vec![]);
    let (outputs, left) = run(&graph.bytes(&[&y]), &[("x", x)]);
    assert!(left.iter().all(|op| !op.contains("MatMul")), "{left:?}");
    let found = outputs[0].values::<f32>().expect("f32");
    for (at, (found, sum)) in found.iter().zip(product.sums()).enumerate() {
        let own = product.scales.1[at % n % product.scales.1.len()];
        let expected = sum as f32 * (product.scales.0 * own) + 0.75;
        assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} {expected}");
    }
    // -1 to 2 in bytes: the scale is 3 / 255, and zero is 85.
    let mut graph = Graph::new(&[1, 4]);
    let (ws, b) = (graph.scalar(0.5), graph.bytes_constant(&[4, 1], &[1, 2, 3, 4], true));
    let y = graph.node("DynamicQuantizeMatMul", &["x", &b, &ws], vec![]);
    let x = Tensor::new(&[1, 4], &[-1.0f32, 0.0, 2.0, 0.5]).expect("a tensor");
    let (outputs, _) = run(&graph.bytes(&[&y]), &[("x", x)]);
    let (found, scale) = (outputs[0].values::<f32>().expect("f32")[0], 3.0 / 255.0);
    // 0.5 is 42.5 scales, and 127.5 with the zero point: 127 or 128, to even of 42.5.
    let expected = scale * 0.5 * (-85.0 + 3.0 * 170.0 + 4.0 * 42.0);
    assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let refused = |op: &str, inputs: usize, attributes: Vec<Attribute>| {
        let mut graph = Graph::default();
        graph.bytes_input("x", &[1, 4, 4, 4], false);
        let y = graph.node(op, &vec!["x"; inputs], attributes);
        let error = Model::parse(&graph.bytes(&[&y]), Options::default()).expect_err(op);
        let message = error.to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    };
    let last = refused("QLinearConv", 8, vec![Int("channels_last", 1)]);
    assert!(last.contains("QLinearConv with channels_last is not read"), "{last}");
    assert!(last.contains("without ONNX Runtime's layout optimisation"), "{last}");
    let attention = refused("QAttention", 8, vec![]);
    assert!(attention.contains("QAttention of ONNX Runtime is not read"), "{attention}");
    let softmax = refused("QLinearSoftmax", 5, vec![Int("opset", 11)]);
    assert!(softmax.contains("opset 11 in a model of opset 17"), "{softmax}");
}
