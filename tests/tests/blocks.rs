//! Large windows in blocks through a Fourier transform: one result for every machine and number of
//! threads, never further from the exact sum than the bound; and what such a block cannot hold.

use conv_ir::reference::{self, Arguments};
use conv_ir::{Accuracy, Bound, Conv, DType, Element, Error, Layout, Program, fft};
use conv_jit::{Compiled, CurrentThread, Options, Scratch, StepWeights};
use conv_tests::routes::machines_here;
use conv_tests::tiled::{alone, fast};
use conv_tests::{Data, Fill, Rng, compare, say};

/// A random layer that is computed in blocks.
fn drawn(rng: &mut Rng) -> Conv {
    loop {
        let rank = rng.within(1, 3);
        let (window, side) =
            [((33, 300), (1, 3000)), ((5, 31), (1, 70)), ((4, 9), (2, 20))][rank - 1];
        let axes = |rng: &mut Rng, (least, most): (usize, usize), apart: &str| {
            let all = (0..rank).map(|_| rng.within(least, most).to_string());
            all.collect::<Vec<_>>().join(apart)
        };
        let groups = rng.pick(&[1, 1, 1, 2, 17, 40]);
        let (ic, oc) = rng.pick(&[(1, 1), (1, 1), (1, 1), (2, 3), (1, 2), (3, 1)]);
        let mut text = format!(
            "conv{rank}d {} n{} g{groups} ic{} oc{} in {} kernel {}",
            rng.pick(&["f32", "f32", "f64"]),
            rng.pick(&[1, 1, 1, 2, 3]),
            groups * ic,
            groups * oc,
            axes(rng, side, "x"),
            axes(rng, window, "x"),
        );
        let pads: Vec<String> = (0..rank)
            .map(|_| format!("{}:{}", rng.within(0, window.1), rng.within(0, window.1)))
            .collect();
        text += &format!(" pad {}", pads.join(","));
        text += rng.pick(&[
            "",
            "",
            " mode reflect",
            " mode symmetric",
            " mode replicate",
            " mode circular",
            " mode constant(0.75)",
        ]);
        text += rng.pick(&["", "", "", " stride 2"]);
        text += rng.pick(&["", "", "", " dilation 2"]);
        text += rng.pick(&["", " flip"]);
        text += rng.pick(&["", " channels-last"]);
        text += rng.pick(&["", " + bias"]);
        text += rng.pick(&["", "", " + residual"]);
        text += rng.pick(&["", "", ", relu"]);
        match text.parse::<Conv>() {
            Ok(conv) => {
                let work = conv.output_len().unwrap() * conv.kernel_volume();
                if work < 10_000_000 && fft::choose(&conv, f64::INFINITY).is_ok() {
                    return conv;
                }
            }
            Err(Error::Invalid(_)) => {}
            Err(e) => panic!("{text}: {e}"),
        }
    }
}

/// The output of a run, on so many threads.
fn run<T: Element>(packed: &conv_jit::Packed<T>, data: &Data<T>, parts: usize) -> Vec<T> {
    let mut output = vec![T::from_f64(f64::NAN); packed.program().len_of(1)];
    let mut scratch = Scratch::new();
    let mut call = packed.call(&data.input, &mut output).threads(parts).scratch(&mut scratch);
    if let Some(residual) = &data.residual {
        call = call.residual(residual);
    }
    call.executor(&CurrentThread).run().unwrap();
    output
}

/// The largest error of an output, as a part of its channel's bound.
fn part_of_bound<T: Element>(conv: &Conv, data: &Data<T>, bound: &[f64], found: &[T]) -> f64 {
    let (bias, residual) = (data.bias.as_deref(), data.residual.as_deref());
    let arguments = Arguments { input: &data.input, weight: &data.weight, bias, residual };
    let wanted = reference::run_f64(conv, arguments, &[]).unwrap();
    let channels = conv.spec().out_channels;
    let area = found.len() / channels / conv.spec().batch.known().unwrap();
    let channel = |at: usize| match conv.spec().layout {
        Layout::ChannelsLast => at % channels,
        Layout::ChannelsFirst => at / area % channels,
    };
    // The reference's own sum in f64 is off by so much.
    let own = if T::DTYPE == DType::F64 {
        Bound::direct(conv, &data.weight, bias).at(largest(conv, data))
    } else {
        vec![0.0; channels]
    };
    let parts = found.iter().zip(&wanted).enumerate().map(|(at, (a, b))| {
        let channel = channel(at);
        (a.to_f64() - b).abs() / (bound[channel] + own[channel])
    });
    parts.fold(0.0, f64::max)
}

fn largest<T: Element>(conv: &Conv, data: &Data<T>) -> f64 {
    let all = data.input.iter().chain(data.residual.iter().flatten());
    let padding = match conv.spec().padding_mode {
        conv_ir::PaddingMode::Constant(value) => value.abs(),
        _ => 0.0,
    };
    all.fold(padding, |most, x| most.max(x.to_f64().abs()))
}

/// Compares routes and threads; the part of the bound.
fn judged<T: Element>(conv: &Conv, seed: u64) -> f64 {
    let data = Data::<T>::new(conv, Fill::Reals, seed);
    let known = conv.with_weights(&wide(&data.weight), data.bias.as_deref().map(wide).as_deref());
    let mut first: Option<Vec<T>> = None;
    let mut part = 0.0;
    for target in machines_here() {
        let options =
            || Options { target, accuracy: Accuracy::Fast, cache: false, ..Options::default() };
        let compiled = Compiled::new(conv, options()).unwrap_or_else(|e| panic!("{conv}: {e}"));
        assert_eq!(compiled.rewritten().in_blocks.len(), 1, "{}", compiled.explain());
        let packed = compiled.pack(&data.weight, data.bias.as_deref()).unwrap();
        let with_known = Compiled::new(known.clone().unwrap(), options()).unwrap();
        let ready = with_known.ready::<T>().unwrap();
        for parts in 1..=3 {
            for packed in [&packed, &ready] {
                let found = run(packed, &data, parts);
                let first = first.get_or_insert_with(|| found.clone());
                compare(&found, first).unwrap_or_else(|e| panic!("{conv} for {target}: {e}"));
            }
        }
        let plain = conv.to_string().replace(", relu", "").parse::<Conv>().unwrap();
        if conv.spec().activation.is_none() {
            let bound = packed.bound(largest(conv, &data)).unwrap();
            part = part_of_bound(&plain, &data, &bound, first.as_deref().unwrap());
            assert!(part <= 1.0, "{conv}: {part} of the bound");
        } else {
            let without = Compiled::new(&plain, options()).unwrap();
            let without = without.pack(&data.weight, data.bias.as_deref()).unwrap();
            let zero = T::from_f64(0.0);
            let relu = |x: T| if x > zero { x } else { zero };
            let wanted: Vec<T> = run(&without, &data, 1).into_iter().map(relu).collect();
            compare(first.as_deref().unwrap(), &wanted).unwrap_or_else(|e| panic!("{conv}: {e}"));
        }
    }
    part
}

fn wide<T: Element>(of: impl AsRef<[T]>) -> Vec<f64> {
    of.as_ref().iter().map(|x| x.to_f64()).collect()
}

#[test]
fn every_machine_and_number_of_threads_gives_the_same_bits_within_the_bound() {
    let mut rng = Rng(2043);
    let mut parts = Vec::new();
    for seed in 0..40 {
        let conv = drawn(&mut rng);
        parts.push(match conv.dtype() {
            DType::F64 => judged::<f64>(&conv, seed),
            _ => judged::<f32>(&conv, seed),
        });
    }
    parts.retain(|part| *part > 0.0);
    parts.sort_by(f64::total_cmp);
    let (median, most) = (parts[parts.len() / 2], parts[parts.len() - 1]);
    say(format_args!("{} layers: {median:.4} of the bound, {most:.4} at most", parts.len()));
}

/// One input that is infinite or NaN, or sums that overflow, and the whole result is that of direct
/// sums: the contract's.
#[test]
fn results_that_are_not_finite_are_direct_sums() {
    let conv: Conv = "conv2d ic2 oc2 g2 in 120x120 kernel 21x21 pad 10 + bias".parse().unwrap();
    let mut data = Data::<f32>::new(&conv, Fill::Reals, 1);
    let packed = fast(&conv).pack(&data.weight, data.bias.as_deref()).unwrap();
    let finite = data.input.clone();
    let wanted = data.reference(&conv).unwrap();
    assert!(compare(&run(&packed, &data, 1), &wanted).is_err(), "other sums have other bits");
    for (value, finite_outputs) in [(f32::INFINITY, 28_401), (f32::NAN, 28_401), (1e37, 28_800)] {
        data.input = finite.clone();
        data.input[1000] = value;
        if value.is_finite() {
            data.input.fill(value);
        }
        let wanted = data.reference(&conv).unwrap();
        for parts in 1..=3 {
            let found = run(&packed, &data, parts);
            compare(&found, &wanted).unwrap_or_else(|e| panic!("{value}: {e}"));
            assert_eq!(found.iter().filter(|x| x.is_finite()).count(), finite_outputs);
        }
    }
}

/// Weights that are not finite have direct sums, so that one over the padding has no effect; of
/// those near the largest number sums overflow, and direct ones come.
#[test]
fn weights_that_are_not_finite_have_direct_sums() {
    let conv: Conv = "conv2d in 200x200 kernel 21x21 pad 10".parse().unwrap();
    let mut data = Data::<f32>::new(&conv, Fill::Reals, 1);
    for weight in [f32::INFINITY, f32::NAN, f32::MAX] {
        data.weight[3] = weight;
        let packed = fast(&conv).pack(&data.weight, None).unwrap();
        assert_eq!(packed.compiled().rewritten().in_blocks.is_empty(), !weight.is_finite());
        let wanted = data.reference(&conv).unwrap();
        compare(&run(&packed, &data, 1), &wanted).unwrap_or_else(|e| panic!("{weight}: {e}"));
    }
}

#[test]
fn accuracy_says_whether_there_are_blocks() {
    let conv: Conv = "conv2d in 200x200 kernel 31x31 pad 15".parse().unwrap();
    let compiled = |accuracy: Accuracy| {
        Compiled::new(&conv, Options { accuracy, ..Options::default() }).unwrap()
    };
    let blocks = |accuracy| compiled(accuracy).rewritten().in_blocks.len();
    let bound = fast(&conv).rewritten().in_blocks[0].1.relative_bound(&conv);
    assert_eq!(blocks(Accuracy::Exact), 0);
    assert_eq!(blocks(Accuracy::Unfused), 0);
    assert_eq!(blocks(Accuracy::Fast), 1);
    assert_eq!(blocks(Accuracy::within(bound).unwrap()), 1);
    assert_eq!(blocks(Accuracy::within(1e-7).unwrap()), 0);
    let text = compiled(Accuracy::within(1e-7).unwrap()).explain();
    assert!(
        text.contains("not by FFT: no block is small enough and within the accuracy"),
        "{text}"
    );
    let text = fast("conv2d in 99x99 kernel 7x7 stride 4".parse::<Conv>().unwrap()).explain();
    assert!(text.contains("not by FFT: blocks of"), "{text}");
    let transposed = "conv2d-transposed in 99x99 kernel 16x16 stride 4".parse::<Conv>().unwrap();
    assert!(fast(transposed).explain().contains("not by FFT: it is transposed"));
}

/// Blocks of a window of the output would begin elsewhere.
#[test]
fn windows_of_the_output_are_refused() {
    let compiled = fast("conv2d in 200x200 kernel 31x31 pad 15".parse::<Conv>().unwrap());
    let weight = [0.5f32; 31 * 31];
    let error = compiled.windows(&[StepWeights::from(&weight[..])]).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("step 1 is computed in blocks by FFT"), "{error}");
}

/// What is too large for a block, or has too many axes, has direct sums; and no size makes a run
/// hold more than it says.
#[test]
fn what_no_block_holds_has_direct_sums() {
    for (text, why) in [
        ("conv1d in 2000000 kernel 600000", "no block is small enough"),
        ("conv2d ic512 oc512 in 64x64 kernel 31x31 pad 15", "no block is small enough"),
        ("conv4d in 9x9x9x9 kernel 5x5x5x5 pad 2", "it has more than three spatial axes"),
        ("conv1d in 40 kernel 40", "of the direct sums"),
        ("conv2d in HxW kernel 31x31", "a size is known only at run time"),
        ("conv2d n0 in 99x99 kernel 31x31", "there is no output"),
    ] {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let refused = fft::choose(&conv, f64::INFINITY).expect_err(text);
        assert!(refused.contains(why), "{text}: {refused}");
    }
    for text in [
        "conv1d in 10000000 kernel 60000",
        "conv2d in 30000x30000 kernel 301x301",
        "conv3d in 2000x2000x2000 kernel 41x41x41",
        "conv2d ic16 oc16 in 30000x30000 kernel 31x31 dilation 3",
    ] {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let blocks = fft::choose(&conv, f64::INFINITY).unwrap_or_else(|e| panic!("{text}: {e}"));
        let channels = conv.spec().in_channels;
        let held = if channels > 1 { channels + 1 } else { 1 };
        assert!(blocks.points() * held <= 1 << 18, "{text}: {blocks}");
        let pairs = channels * conv.spec().out_channels;
        assert!(blocks.points() * pairs * 8 <= 1 << 28, "{text}: {blocks}");
    }
}

/// Such a step has a group of its own in a program, and what is added to it is a step.
#[test]
fn steps_in_blocks_stand_alone_in_a_program() {
    let text = "conv2d ic2 oc2 in 150x150 kernel 1, relu; conv2d g2 oc2 kernel 21 pad 10 + bias \
                + residual from 0, relu; conv2d oc1 kernel 3";
    let program: Program = text.parse().unwrap();
    let compiled = fast(&program);
    let rewritten = compiled.rewritten();
    assert_eq!(rewritten.in_blocks.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1]);
    assert_eq!(rewritten.origins, [0, 1, 1, 2]);
    let mut rng = Rng(5);
    let convs: Vec<&Conv> = program.convs().collect();
    let weights: Vec<Vec<f32>> =
        convs.iter().map(|conv| rng.weights(Fill::Reals, conv.weight_len())).collect();
    let bias = [0.5f32, -0.25];
    let bias = |at: usize| (at == 1).then_some(&bias[..]);
    let input: Vec<f32> = rng.array(Fill::Reals, program.len_of(0));
    let steps = weights.iter().enumerate().map(|(at, w)| StepWeights { weight: w, bias: bias(at) });
    let steps: Vec<_> = steps.collect();
    let x = alone(&program, &steps, &input);
    let mut output = vec![0.0; program.len_of(3)];
    compiled.pack_steps(&steps).unwrap().run(&input, &mut output).unwrap();
    compare(&output, &x).unwrap();
    // A plan that was given counts the steps in blocks, which weights that are not finite undo.
    let options = Options {
        accuracy: Accuracy::Fast,
        plan: Some(compiled.plan().clone()),
        ..Options::default()
    };
    let planned = Compiled::new(program, options).unwrap();
    let mut weights = weights;
    weights[0][0] = f32::NAN;
    let steps = weights.iter().enumerate().map(|(at, w)| StepWeights { weight: w, bias: bias(at) });
    planned.pack_steps(&steps.collect::<Vec<_>>()).unwrap().run(&input, &mut output).unwrap();
    assert!(output.iter().any(|y| y.is_nan()));
}
