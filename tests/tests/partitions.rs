//! Long windows of streams in parts by FFT: one result for every machine and every block length,
//! never further from the exact sum than the bound; and what a part cannot hold.

use conv_ir::reference::{self, Arguments};
use conv_ir::{Accuracy, Conv, DType, Element, PaddingMode, Program, Target, fft, with_element};
use conv_jit::{Options, StepWeights, Stream};
use conv_tests::routes::machines_here;
use conv_tests::{Fill, Rng, compare, say};

/// A random step along an axis without a length that is computed in parts.
fn drawn(rng: &mut Rng) -> Conv {
    loop {
        let taps = rng.pick(&[385, 400, 449, 577, 700, 1500]);
        let groups = rng.pick(&[1, 1, 1, 2, 3]);
        let (ic, oc) = rng.pick(&[(1, 1), (1, 1), (2, 3), (1, 2), (3, 1)]);
        let mut text = format!(
            "conv1d {} n{} g{groups} ic{} oc{} in T kernel {taps}",
            rng.pick(&["f32", "f32", "f64"]),
            rng.pick(&[1, 1, 1, 2]),
            groups * ic,
            groups * oc,
        );
        let most = taps + 20;
        text += &match rng.within(0, 2) {
            0 => " padding causal".to_owned(),
            1 => format!(" pad {}:{}", rng.within(0, most), rng.within(0, most)),
            _ => String::new(),
        };
        text += rng.pick(&["", "", "", " mode reflect", " mode replicate", " mode constant(0.75)"]);
        text += rng.pick(&["", " flip"]);
        text += rng.pick(&["", "", " channels-last"]);
        text += rng.pick(&["", " + bias"]);
        text += rng.pick(&["", "", ", relu"]);
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        if fft::Partitions::choose(&conv, f64::INFINITY).is_ok() {
            return conv;
        }
    }
}

/// A step, its arrays, and its input.
struct Case<T> {
    program: Program,
    weight: Vec<T>,
    bias: Option<Vec<T>>,
    input: Vec<T>,
    length: usize,
}

impl<T: Element> Case<T> {
    fn new(conv: &Conv, rng: &mut Rng, length: usize) -> Self {
        let spec = conv.spec();
        let rows = spec.in_channels * spec.batch.known().unwrap();
        Case {
            program: conv.clone().into(),
            weight: rng.array(Fill::Reals, conv.weight_len()),
            bias: spec.bias.then(|| rng.array(Fill::Reals, conv.bias_len())),
            input: rng.array(Fill::Reals, rows * length),
            length,
        }
    }

    fn conv(&self) -> &Conv {
        self.program.single().unwrap()
    }

    fn stream(&self, target: Target, accuracy: Accuracy, pieces: &[usize]) -> Stream<T> {
        let options = Options { target, accuracy, cache: false, ..Options::default() };
        let given = StepWeights { weight: &self.weight[..], bias: self.bias.as_deref() };
        Stream::new(&self.program, (0, pieces), &[given], &options).unwrap()
    }

    /// Rows of positions, each so many elements.
    fn rows(&self, channels: usize) -> (usize, usize) {
        let batch = self.conv().spec().batch.known().unwrap();
        match self.conv().spec().layout {
            conv_ir::Layout::ChannelsFirst => (batch * channels, 1),
            conv_ir::Layout::ChannelsLast => (batch, channels),
        }
    }

    /// The whole output, row after row, of blocks of so many inputs; 0: of random ones.
    fn streamed(
        &self,
        stream: &Stream<T>,
        state: &mut conv_jit::State<T>,
        length: usize,
    ) -> Vec<T> {
        let spec = self.conv().spec();
        let (rows, inner) = self.rows(spec.in_channels);
        let (out_rows, out_inner) = self.rows(spec.out_channels);
        let mut all = vec![Vec::new(); out_rows];
        let mut rng = Rng(length as u64 + 5);
        let mut keep = |output: Vec<T>, count: usize| {
            for (all, row) in all.iter_mut().zip(output.chunks(count * out_inner)) {
                all.extend_from_slice(row);
            }
        };
        let mut at = 0;
        while at < self.length {
            let length = if length > 0 { length } else { rng.within(1, 200) };
            let end = (at + length).min(self.length);
            let whole = self.input.chunks(self.length * inner);
            let block = whole.flat_map(|row| row[at * inner..end * inner].iter().copied());
            let block: Vec<T> = block.collect();
            assert_eq!(block.len(), rows * (end - at) * inner);
            let next = stream.next(state, end - at);
            let mut output = vec![T::from_f64(f64::NAN); out_rows * next * out_inner];
            stream.push(state, &block, &mut output).unwrap();
            if next > 0 {
                keep(output, next);
            }
            at = end;
        }
        let left = stream.left(state);
        let mut output = vec![T::from_f64(f64::NAN); out_rows * left * out_inner];
        stream.flush(state, &mut output).unwrap();
        if left > 0 {
            keep(output, left);
        }
        stream.reset(state).unwrap();
        all.concat()
    }
}

const LENGTHS: [usize; 6] = [1, 3, 64, 1000, 100, 0];

/// The largest error as a part of the bound; nothing where the input is too short for an output.
fn judged<T: Element>(conv: &Conv, rng: &mut Rng) -> f64 {
    let parts = fft::Partitions::choose(conv, f64::INFINITY).unwrap();
    let length = conv.kernel_volume() + rng.within(0, 600);
    let case = Case::<T>::new(conv, rng, length);
    let pieces: &[usize] = rng.pick(&[&[64, 8, 1][..], &[16], &[200, 3]]);
    let mut first: Option<Vec<T>> = None;
    for target in machines_here() {
        let stream = case.stream(target, Accuracy::Fast, pieces);
        let mut state = stream.state().unwrap();
        for length in LENGTHS {
            let found = case.streamed(&stream, &mut state, length);
            let first = first.get_or_insert_with(|| found.clone());
            compare(&found, first)
                .unwrap_or_else(|e| panic!("{conv}, {target}, blocks of {length}: {e}"));
        }
    }
    let found = first.unwrap();
    let sized = case.program.with_sizes(&[("T", length)]).unwrap();
    let sized = sized.single().unwrap();
    let bias = case.bias.as_deref();
    let arguments = Arguments { input: &case.input, weight: &case.weight, bias, residual: None };
    let wanted = reference::run_f64(sized, arguments, &[]).unwrap();
    assert_eq!(wanted.len(), found.len(), "{conv}");
    let largest = |all: &[T]| all.iter().fold(0.0f64, |most, x| most.max(x.to_f64().abs()));
    let padding = match conv.spec().padding_mode {
        PaddingMode::Constant(value) => value.abs(),
        _ => 0.0,
    };
    let taps = conv.weight_len() / conv.spec().out_channels;
    let sums = case.weight.chunks(taps).map(|w| w.iter().map(|w| w.to_f64().abs()).sum::<f64>());
    let sum = sums.fold(0.0, f64::max) * largest(&case.input).max(padding)
        + largest(bias.unwrap_or_default());
    // The reference's own sum in f64 is off by so much at most.
    let own = if T::DTYPE == DType::F64 { taps as f64 * f64::EPSILON } else { 0.0 };
    let bound = (parts.relative_bound(conv) + own) * sum;
    found.iter().zip(&wanted).fold(0.0, |most, (a, b)| most.max((a.to_f64() - b).abs() / bound))
}

#[test]
fn parts_have_the_same_bits_for_any_blocks() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let (mut rng, mut most) = (Rng(17), 0.0f64);
    for _ in 0..cases {
        let conv = drawn(&mut rng);
        let part = with_element!(conv.dtype(), T => judged::<T>(&conv, &mut rng));
        assert!(part <= 1.0, "{conv}: {part} of the bound");
        most = most.max(part);
    }
    assert!(most > 1e-4, "the bound is about these errors: {most}");
    say(format_args!("{cases} streams in parts, off by {most:.3} of the bound at most"));
}

/// What is infinite, NaN or too large in a block has the direct sums' results, in that block's
/// outputs alone.
#[test]
fn what_is_not_finite_has_direct_sums() {
    let mut rng = Rng(23);
    for (at, bad) in [f32::INFINITY, f32::NAN, f32::NEG_INFINITY, 3e38].into_iter().enumerate() {
        let layout = ["", " channels-last"][at % 2];
        let conv = format!("conv1d ic2 oc2 in T kernel 900 padding causal{layout} + bias, relu");
        let conv: Conv = conv.parse().unwrap();
        let mut case = Case::<f32>::new(&conv, &mut rng, 2000);
        case.input[150 + 37 * at] = bad;
        case.weight[17] = 3.0;
        let mut first: Option<Vec<f32>> = None;
        for target in machines_here() {
            let exact = case.stream(target, Accuracy::Exact, &[64]);
            let exact = case.streamed(&exact, &mut exact.state().unwrap(), 64);
            let fast = case.stream(target, Accuracy::Fast, &[64, 8, 1]);
            let mut state = fast.state().unwrap();
            for length in LENGTHS {
                let found = case.streamed(&fast, &mut state, length);
                let first = first.get_or_insert_with(|| found.clone());
                compare(&found, first).unwrap_or_else(|e| panic!("{target}, {length}: {e}"));
                for (found, exact) in found.iter().zip(&exact) {
                    let is_same = found.to_bits() == exact.to_bits();
                    let largest = if bad.is_finite() { bad } else { 1.0 };
                    let is_close = exact.is_finite() && (found - exact).abs() < 1e-4 * largest;
                    assert!(is_same || is_close, "{bad}: {found} for {exact}");
                }
            }
            let direct = first.iter().flatten().zip(&exact).filter(|(a, b)| a == b).count();
            assert!(direct > 0 && direct < exact.len(), "some outputs have direct sums");
        }
    }
}

/// Weights that are not finite, and accuracies that parts do not have.
#[test]
fn what_parts_cannot_give_is_the_whole() {
    let conv: Conv = "conv1d in T kernel 500".parse().unwrap();
    let mut case = Case::<f32>::new(&conv, &mut Rng(3), 1000);
    let run = |case: &Case<f32>, accuracy: Accuracy| {
        let stream = case.stream(conv_jit::host_target(), accuracy, &[64]);
        case.streamed(&stream, &mut stream.state().unwrap(), 64)
    };
    let exact = run(&case, Accuracy::Exact);
    assert_ne!(run(&case, Accuracy::Fast), exact);
    assert_eq!(run(&case, Accuracy::within(1e-9).unwrap()), exact);
    assert_ne!(run(&case, Accuracy::within(1e-2).unwrap()), exact);
    case.weight[5] = f32::INFINITY;
    compare(&run(&case, Accuracy::Fast), &run(&case, Accuracy::Exact)).unwrap();
}

/// Whatever stands before and behind a step in parts.
#[test]
fn parts_are_steps_of_a_program() {
    let text = "conv1d oc2 in T kernel 3 pad 1, relu; conv1d oc3 kernel 1500 padding causal + bias; \
                conv1d oc3 kernel 5 pad 2 g3 + residual from 2; conv1d oc1 kernel 500 pad 30:90";
    let program: Program = text.parse().unwrap();
    let mut rng = Rng(5);
    let mut array = |len: usize| rng.array::<f32>(Fill::Reals, len);
    let arrays: Vec<_> = program
        .convs()
        .map(|conv| (array(conv.weight_len()), conv.spec().bias.then(|| array(conv.bias_len()))))
        .collect();
    let input = array(1500);
    let given: Vec<_> = arrays
        .iter()
        .map(|(weight, bias)| StepWeights { weight: &weight[..], bias: bias.as_deref() })
        .collect();
    let run = |accuracy: Accuracy, target: Target, length: usize| {
        let options = Options { accuracy, target, ..Options::default() };
        let stream = Stream::new(&program, (0, &[64, 8, 1]), &given, &options).unwrap();
        let (mut state, mut all) = (stream.state().unwrap(), Vec::new());
        for block in input.chunks(length) {
            let mut output = vec![f32::NAN; stream.next(&state, block.len())];
            stream.push(&mut state, block, &mut output).unwrap();
            all.extend(output);
        }
        let mut output = vec![f32::NAN; stream.left(&state)];
        stream.flush(&mut state, &mut output).unwrap();
        all.extend(output);
        all
    };
    let exact = run(Accuracy::Exact, conv_jit::host_target(), 64);
    let fast = run(Accuracy::Fast, conv_jit::host_target(), 64);
    assert_ne!(exact, fast);
    let largest = exact.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (a, b) in exact.iter().zip(&fast) {
        assert!((a - b).abs() < 1e-5 * largest, "{a} and {b}");
    }
    for target in machines_here() {
        for length in [1, 7, 500] {
            compare(&run(Accuracy::Fast, target, length), &fast).unwrap();
        }
    }
}
