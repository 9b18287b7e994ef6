//! Random programs along an axis without a length: blocks of 1, 3, 64, 1000 and random lengths give
//! the bits of the whole run, and each call gives what is known by then. Machine code, and some of
//! them as emitted Rust.
//!
//! `PROPTEST_CASES` sets how many programs are drawn (1000 without it); the seed is fixed unless
//! `PROPTEST_RNG_SEED` is set.

use std::cell::Cell;

use conv_codegen::Along;
use conv_ir::program::{Step, stream as plan};
use conv_ir::reference::{self, run_program};
use conv_ir::{
    Conv, ConvSpec, Element, Error as IrError, Layout, Program, Size, Target, with_element,
};
use conv_jit::{Error, Options, StepWeights, Stream};
use conv_tests::chains::chains_of_one_type;
use conv_tests::emitted::{Blocks, Emitted, numbers};
use conv_tests::routes::machines_here;
use conv_tests::{Fill, Rng, compare};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

/// The same program with a name for the extent of an axis, where it is one.
fn freed(program: &Program, axis: usize) -> Result<Program, IrError> {
    let mut steps: Vec<Step> = Vec::new();
    for step in program.steps() {
        let mut input = step.conv.spec().input.clone();
        input[axis] = match steps.last() {
            None => Size::Free("T".to_owned()),
            Some(before) => before.conv.sizes_behind(steps.len())[axis].clone(),
        };
        let conv = Conv::new(ConvSpec { input, ..step.conv.spec().clone() })?;
        steps.push(Step { conv, ..step.clone() });
    }
    Program::new(steps)
}

/// Which dimension positions along an axis are counted by.
fn dimension(program: &Program, axis: usize) -> usize {
    match program.steps()[0].conv.spec().layout {
        Layout::ChannelsFirst => axis + 2,
        Layout::ChannelsLast => axis + 1,
    }
}

/// Positions `from..to` along a dimension of an array.
fn part<T: Copy>(
    array: &[T],
    shape: &[usize],
    dimension: usize,
    (from, to): (usize, usize),
) -> Vec<T> {
    let inner: usize = shape[dimension + 1..].iter().product();
    let blocks = array.chunks_exact((shape[dimension] * inner).max(1));
    blocks.flat_map(|block| block[from * inner..to * inner].iter().copied()).collect()
}

/// Puts the parts of an array together again.
fn joined<T: Copy>(parts: &[(Vec<T>, usize)], blocks: usize, inner: usize) -> Vec<T> {
    let block = |at: usize| {
        parts
            .iter()
            .flat_map(move |(part, len)| part[at * len * inner..][..len * inner].iter().copied())
    };
    (0..blocks).flat_map(block).collect()
}

/// One program along one axis; `false` where it cannot be streamed.
fn judge<T: Element>(whole: &Program, target: &Target, at: usize) -> Result<bool, String> {
    let mut rng = Rng(at as u64);
    let axis = rng.within(0, whole.steps()[0].conv.rank() - 1);
    let Ok(free) = freed(whole, axis) else { return Ok(false) };
    if free.batch() == 0 {
        return Ok(false);
    }
    let fill = Fill::Reals;
    let of = |conv: &Conv| {
        let bias = conv.spec().bias.then(|| rng.array::<T>(fill, conv.bias_len()));
        (rng.weights::<T>(fill, conv.weight_len()), bias)
    };
    let weights: Vec<_> = free.convs().map(of).collect();
    let given: Vec<_> = weights
        .iter()
        .map(|(weight, bias)| StepWeights { weight: &weight[..], bias: bias.as_deref() })
        .collect();
    let options = Options { target: *target, cache: false, ..Options::default() };
    let pieces: &[usize] = [&[16, 4, 1][..], &[64], &[7]][at % 3];
    let stream = match Stream::new(&free, (axis, pieces), &given, &options) {
        Ok(stream) => stream,
        Err(Error::Conv(IrError::Unsupported { .. })) => return Ok(false),
        Err(e) => return Err(e.to_string()),
    };
    let mut state = stream.state().map_err(|e| e.to_string())?;
    let volume: usize = whole.input_shape().iter().product();
    for length in [1, 3, 64, 1000, 0] {
        // Not so long that the reference takes long.
        let most = (200_000 / (volume + 1)).clamp(4, 150);
        let inputs = rng.within(1, most);
        let Ok(sized) = free.with_sizes(&[("T", inputs)]) else { continue };
        let work: usize = sized.convs().map(conv_tests::random::work).sum();
        if work > 400_000 {
            continue;
        }
        let input = rng.array::<T>(fill, sized.len_of(0));
        let steps: Vec<_> = weights
            .iter()
            .map(|(weight, bias)| reference::StepWeights { weight, bias: bias.as_deref() })
            .collect();
        let wanted = run_program(&sized, &input, &steps).map_err(|e| e.to_string())?;
        let (shape, along) = (sized.output_shape(), dimension(&free, axis));
        let (blocks, inner) = (
            shape[..along].iter().product::<usize>(),
            shape[along + 1..].iter().product::<usize>(),
        );
        let mut parts = Vec::new();
        let (mut at, mut known) = (0, 0);
        while at < inputs {
            let block = if length > 0 { length } else { rng.within(0, 40) };
            let end = (at + block).min(inputs);
            let block = part(&input, &sized.input_shape(), along, (at, end));
            let next = stream.next(&state, end - at);
            let mut output = vec![T::from_f64(f64::NAN); blocks * next * inner];
            stream.push(&mut state, &block, &mut output).map_err(|e| e.to_string())?;
            parts.push((output, next));
            (at, known) = (end, known + next);
            // Nothing that is known stays away: whatever comes, what is there is there.
            if known > 0 && at < inputs {
                let now = free.with_sizes(&[("T", at)]);
                let least = now.map_or(0, |now| now.output_shape()[along]);
                if known > least {
                    return Err(format!(
                        "{known} outputs are known of {at} inputs, which have {least}"
                    ));
                }
            }
        }
        let left = stream.left(&state);
        let mut output = vec![T::from_f64(f64::NAN); blocks * left * inner];
        stream.flush(&mut state, &mut output).map_err(|e| e.to_string())?;
        parts.push((output, left));
        compare(&joined(&parts, blocks, inner), &wanted)
            .map_err(|e| format!("axis {axis}, {inputs} inputs in blocks of {length}: {e}"))?;
        stream.reset(&mut state).map_err(|e| e.to_string())?;
    }
    Ok(true)
}

/// What an emitted stream is judged by.
type Judge = Box<dyn Fn(&[u8]) -> Result<(), String>>;

/// Adds a program along one axis to those that are emitted, with a judge for each of its inputs;
/// none where it cannot be streamed.
fn emit<T: Element>(
    whole: &Program,
    (emitted, judges): (&mut Emitted, &mut Vec<Judge>),
    at: usize,
) -> Result<bool, String> {
    let mut rng = Rng(at as u64);
    let axis = rng.within(0, whole.steps()[0].conv.rank() - 1);
    let Ok(free) = freed(whole, axis) else { return Ok(false) };
    let fill = Fill::Reals;
    let of = |conv: &Conv| {
        let bias = conv.spec().bias.then(|| rng.array::<T>(fill, conv.bias_len()));
        (rng.weights::<T>(fill, conv.weight_len()), bias)
    };
    let weights: Vec<_> = free.convs().map(of).collect();
    let pieces: &[usize] = [&[16, 4, 1][..], &[32], &[7]][at % 3];
    let Ok(plan) = plan::Stream::new(&free, axis, pieces) else { return Ok(false) };
    let along = dimension(&free, axis);
    let mut inputs = Vec::new();
    let mut these: Vec<Judge> = Vec::new();
    for length in [1, 3, 64, 0] {
        let count = rng.within(1, 90);
        let Ok(sized) = free.with_sizes(&[("T", count)]) else { continue };
        if sized.convs().map(conv_tests::random::work).sum::<usize>() > 400_000 {
            continue;
        }
        let array = rng.array::<T>(fill, sized.len_of(0));
        let steps: Vec<_> = weights
            .iter()
            .map(|(weight, bias)| reference::StepWeights { weight, bias: bias.as_deref() })
            .collect();
        let wanted = run_program(&sized, &array, &steps).map_err(|e| e.to_string())?;
        let (mut blocks, mut input, mut outputs, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while at < count {
            let length = if length > 0 { length } else { rng.within(0, 40) };
            let end = (at + length).min(count);
            input.extend(part(&array, &sized.input_shape(), along, (at, end)));
            blocks.push(end - at);
            outputs.push((plan.known(end as i64) - plan.known(at as i64)) as usize);
            at = end;
        }
        let shape = sized.output_shape();
        outputs.push(shape[along] - outputs.iter().sum::<usize>());
        let rows = shape[..along].iter().product::<usize>();
        let inner = shape[along + 1..].iter().product::<usize>();
        let (each, text) = (rows * inner, free.to_string());
        inputs.push(Blocks { input, blocks, outputs: wanted.len(), each });
        these.push(Box::new(move |bytes| {
            let (all, mut at) = (numbers::<T>(bytes), 0);
            let parts: Vec<_> = outputs
                .iter()
                .map(|&len| {
                    at += len * each;
                    (all[at - len * each..at].to_vec(), len)
                })
                .collect();
            compare(&joined(&parts, rows, inner), &wanted)
                .map_err(|e| format!("{text}\naxis {axis}, {count} inputs: {e}"))
        }));
    }
    let arrays = free.convs().zip(&weights).flat_map(|(conv, (weight, bias))| {
        conv.has_weight().then_some(&weight[..]).into_iter().chain(bias.as_deref())
    });
    let arrays: Vec<&[T]> = arrays.collect();
    let along = Along { axis, pieces: pieces.to_vec() };
    match emitted.stream(&free, &along, &arrays, &inputs) {
        Ok(()) => judges.extend(these),
        Err(IrError::Unsupported { .. }) => return Ok(false),
        Err(e) => return Err(format!("{free}\n{e}")),
    }
    Ok(true)
}

/// The same bits as Rust, in state that the caller owns.
#[test]
fn emitted_streams_give_the_whole() {
    let (mut emitted, mut judges, mut streamed) = (Emitted::default(), Vec::new(), 0);
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(from_environment("PROPTEST_RNG_SEED", 2026)),
        ..Config::default()
    });
    let mut drawn = 0;
    while streamed < 24 {
        let program = chains_of_one_type().new_tree(&mut runner).expect("a program").current();
        let of = (&mut emitted, &mut judges);
        let is_one = with_element!(program.dtype(), T => emit::<T>(&program, of, drawn));
        streamed += usize::from(is_one.unwrap_or_else(|e| panic!("{e}")));
        drawn += 1;
    }
    let results = emitted.run();
    assert_eq!(results.len(), judges.len());
    for (bytes, judge) in results.iter().zip(&judges) {
        judge(bytes).unwrap_or_else(|e| panic!("{e}"));
    }
    conv_tests::say(format_args!("{streamed} random programs streamed by emitted Rust"));
}

/// ONNX's CausalConvWithState: a depthwise window over what came before and the input. Its past
/// state is inputs that were pushed, its present state the last of them. The shapes are those of
/// its node tests: batch 2, 4 channels, 4 taps, with and without bias, past and SiLU; one input at
/// a time; a window of one tap.
#[test]
fn a_causal_convolution_with_state_is_a_stream() {
    const BATCH: usize = 2;
    const CHANNELS: usize = 4;
    let mut rng = Rng(11);
    for (length, taps, bias, past, silu) in [
        (8, 4, false, false, false),
        (8, 4, true, false, false),
        (8, 4, false, true, false),
        (8, 4, false, false, true),
        (1, 4, true, true, true),
        (2, 4, true, true, false),
        (8, 1, true, false, false),
    ] {
        let channels = format!("n{BATCH} g{CHANNELS} ic{CHANNELS} oc{CHANNELS}");
        let mut text = format!("conv1d {channels} in T kernel {taps} padding causal");
        text += if bias { " + bias" } else { "" };
        text += if silu { ", silu" } else { "" };
        let program = Program::from(text.parse::<Conv>().unwrap_or_else(|e| panic!("{text}: {e}")));
        let weight = rng.array::<f32>(Fill::Reals, CHANNELS * taps);
        let bias = bias.then(|| rng.array::<f32>(Fill::Reals, CHANNELS));
        let given = StepWeights { weight: &weight[..], bias: bias.as_deref() };
        let stream = Stream::new(&program, (0, &[8, 1]), &[given], &Options::default());
        let stream = stream.unwrap_or_else(|e| panic!("{text}: {e}"));
        let mut state = stream.state().expect("memory");
        let before = if past { taps - 1 } else { 0 };
        let all = rng.array::<f32>(Fill::Reals, BATCH * CHANNELS * (before + length));
        let shape = [BATCH, CHANNELS, before + length];
        let mut output = Vec::new();
        for (from, to) in [(0, before), (before, before + length)] {
            output = vec![0.0; BATCH * CHANNELS * (to - from)];
            let block = part(&all, &shape, 2, (from, to));
            stream.push(&mut state, &block, &mut output).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
        let whole = program.with_sizes(&[("T", before + length)]).expect("a length");
        let step = reference::StepWeights { weight: &weight, bias: bias.as_deref() };
        let whole = run_program(&whole, &all, &[step]).expect("a run");
        let wanted = part(&whole, &shape, 2, (before, before + length));
        compare(&output, &wanted).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
}

#[test]
fn any_blocks_give_the_whole() {
    let wanted = from_environment("PROPTEST_CASES", 1000) as usize;
    let targets: Vec<Target> = machines_here().collect();
    let (ran, refused) = (Cell::new(0), Cell::new(0));
    let test = |program: Program| {
        let at = ran.get() + refused.get();
        let target = &targets[at % targets.len()];
        let judged = with_element!(program.dtype(), T => judge::<T>(&program, target, at));
        match judged {
            Ok(true) => ran.set(ran.get() + 1),
            Ok(false) => refused.set(refused.get() + 1),
            Err(what) => return Err(TestCaseError::fail(format!("{target}: {what}"))),
        }
        Ok(())
    };
    // Until as many were streamed.
    for seed in from_environment("PROPTEST_RNG_SEED", 2026).. {
        let mut runner = TestRunner::new(Config {
            cases: (wanted - ran.get()) as u32,
            failure_persistence: None,
            max_shrink_iters: 2000,
            max_global_rejects: 100_000,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        });
        match runner.run(&chains_of_one_type(), test) {
            Ok(()) => {}
            Err(TestError::Fail(reason, least)) => panic!("{reason}\n\n{least}"),
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
        if ran.get() >= wanted {
            break;
        }
    }
    conv_tests::say(format_args!(
        "{} random programs streamed, {} depend on the end, or have no free size",
        ran.get(),
        refused.get()
    ));
}
