//! Windows of random programs, and what a change of their input reaches: the bits of the whole run,
//! no output beside the window is touched, and no input beside its cone is read.
//!
//! `PROPTEST_CASES` sets how many programs are drawn (1000 without it); the seed is fixed unless
//! `PROPTEST_RNG_SEED` is set.

#![allow(clippy::single_range_in_vec_init, reason = "an array of one axis has one range")]

use std::cell::Cell;
use std::ops::Range;

use conv_ir::lower::Within;
use conv_ir::program::window::Part;
use conv_ir::reference::{self, run_program};
use conv_ir::{Element, Layout, Program, Schedule, Target, nest, passes, with_element};
use conv_jit::{Compiled, CurrentThread, Error, Options, StepWeights};
use conv_tests::chains::chains_of_one_type;
use conv_tests::routes::machines_here;
use conv_tests::{Fill, Rng, compare};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

/// Weight and bias of each step.
type Weights<T> = Vec<(Vec<T>, Option<Vec<T>>)>;

fn weights<T: Element>(program: &Program, fill: Fill, rng: &mut Rng) -> Weights<T> {
    let of = |conv: &conv_ir::Conv| {
        let bias = conv.spec().bias.then(|| rng.array(fill, conv.bias_len()));
        (rng.weights(fill, conv.weight_len()), bias)
    };
    program.convs().map(of).collect()
}

fn whole<T: Element>(program: &Program, input: &[T], weights: &Weights<T>) -> Vec<T> {
    let steps: Vec<_> = weights
        .iter()
        .map(|(weight, bias)| reference::StepWeights { weight, bias: bias.as_deref() })
        .collect();
    run_program(program, input, &steps).unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// For each element of a tensor, whether its position is in a part.
fn inside(shape: &[usize], layout: Layout, part: &Part) -> Vec<bool> {
    let first = match layout {
        Layout::ChannelsFirst => 2,
        Layout::ChannelsLast => 1,
    };
    let len: usize = shape.iter().product();
    let is_inside = |mut at: usize| {
        let mut inside = true;
        for (dimension, &extent) in shape.iter().enumerate().rev() {
            let axis = dimension.checked_sub(first).and_then(|axis| part.get(axis));
            inside &= axis.is_none_or(|range| range.contains(&((at % extent) as i64)));
            at /= extent;
        }
        inside
    };
    (0..len).map(is_inside).collect()
}

fn window(rng: &mut Rng, extents: &[i64]) -> Vec<Range<usize>> {
    let range = |&extent: &i64| {
        let start = rng.within(0, extent as usize - 1);
        start..rng.within(start + 1, extent as usize)
    };
    extents.iter().map(range).collect()
}

/// One program on one machine, three windows and a change; `false` where windows of it are refused.
fn judge<T: Element>(program: &Program, target: &Target, fill: Fill) -> Result<bool, String> {
    let mut rng = Rng(17);
    let nan = T::from_f64(f64::NAN);
    let weights = weights::<T>(program, fill, &mut rng);
    let mut input = rng.array::<T>(fill, program.len_of(0));
    let output = whole(program, &input, &weights);
    let said = |e: Error| e.to_string();
    let options = Options { target: *target, cache: false, ..Options::default() };
    let given: Vec<StepWeights<'_, T>> = weights
        .iter()
        .map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() })
        .collect();
    let windows = Compiled::new(program, options).and_then(|c| c.windows(&given)).map_err(said)?;
    let steps = program.steps();
    let (layout, last) = (steps[0].conv.spec().layout, steps.len());
    for threads in [1, 1, 3] {
        let ranges = window(&mut rng, &program.extents(last).expect("known"));
        let found = match program.window(&ranges) {
            Ok(found) => found,
            Err(conv_ir::Error::Unsupported { .. }) => return Ok(false),
            Err(e) => return Err(e.to_string()),
        };
        let asked: Part = ranges.iter().map(|r| r.start as i64..r.end as i64).collect();
        // What is not needed is poison, and what is not asked for stays as it was.
        let is_needed = inside(&program.shape(0), layout, &found.needed[0]);
        let poisoned: Vec<T> =
            input.iter().zip(is_needed).map(|(x, here)| if here { *x } else { nan }).collect();
        let mut part = vec![nan; output.len()];
        let call = windows.call(&poisoned, &mut part).threads(threads).executor(&CurrentThread);
        call.run_window(&ranges).map_err(said)?;
        let is_asked = inside(&program.shape(last), layout, &asked);
        let wanted: Vec<T> =
            output.iter().zip(is_asked).map(|(y, here)| if here { *y } else { nan }).collect();
        compare(&part, &wanted).map_err(|e| format!("window {ranges:?}: {e}"))?;
    }
    let ranges = window(&mut rng, &program.extents(0).expect("known"));
    let asked: Part = ranges.iter().map(|r| r.start as i64..r.end as i64).collect();
    let is_changed = inside(&program.shape(0), layout, &asked);
    let fresh = rng.array::<T>(fill, input.len());
    for ((x, new), here) in input.iter_mut().zip(fresh).zip(is_changed) {
        *x = if here { new } else { *x };
    }
    let mut updated = output;
    match windows.run_changed(&input, &mut updated, &ranges) {
        Ok(_) => {}
        Err(Error::Conv(conv_ir::Error::Unsupported { .. })) => return Ok(false),
        Err(e) => return Err(said(e)),
    }
    compare(&updated, &whole(program, &input, &weights))
        .map_err(|e| format!("change of {ranges:?}: {e}"))?;
    Ok(true)
}

#[test]
fn any_window_is_that_of_the_whole() {
    let mut runner = TestRunner::new(Config {
        cases: from_environment("PROPTEST_CASES", 1000) as u32,
        failure_persistence: None,
        max_shrink_iters: 2000,
        max_global_rejects: 100_000,
        rng_seed: RngSeed::Fixed(from_environment("PROPTEST_RNG_SEED", 2026)),
        ..Config::default()
    });
    let targets: Vec<Target> = machines_here().collect();
    let (ran, refused) = (Cell::new(0), Cell::new(0));
    let test = |program: Program| {
        // Every machine has its share.
        let at = ran.get() + refused.get();
        let target = &targets[at % targets.len()];
        let fill = [Fill::Reals, Fill::Integers, Fill::AnyWeights][at % 7 % 3];
        let fill =
            if program.steps().len() > 1 && fill == Fill::AnyWeights { Fill::Reals } else { fill };
        let judged = with_element!(program.dtype(), T => judge::<T>(&program, target, fill));
        match judged {
            Ok(true) => ran.set(ran.get() + 1),
            Ok(false) => refused.set(refused.get() + 1),
            Err(what) => return Err(TestCaseError::fail(format!("{target}: {what}"))),
        }
        Ok(())
    };
    match runner.run(&chains_of_one_type(), test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, least)) => panic!("{reason}\n\n{least}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    conv_tests::say(format_args!(
        "{} random programs in windows, {} have some that are refused",
        ran.get(),
        refused.get()
    ));
    assert!(ran.get() > 20 * refused.get(), "too many are refused to prove much");
}

/// Of a stack of dilated layers: what the nests of a window multiply, against the outputs of each
/// layer that its cone holds.
#[test]
fn a_window_costs_its_cone() {
    let (channels, taps) = (16, 3);
    let dilations = [1, 2, 4, 8, 16, 32];
    let step = |dilation| {
        format!("conv1d ic{channels} oc{channels} kernel {taps} dilation {dilation} pad {dilation}")
    };
    let text: Vec<String> = dilations.iter().map(step).collect();
    let text = text.join("; ").replacen("kernel", "in 8192 kernel", 1);
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let outputs = 64;
    let window = program.window(&[4000..4000 + outputs]).expect("a window inside");
    let mut cone = 0;
    let mut positions = outputs;
    for dilation in dilations.iter().rev() {
        cone += positions * channels * channels * taps;
        positions += (taps - 1) * dilation;
    }
    assert_eq!(window.multiply_adds(), cone as u128);
    for target in [Target::CRANELIFT, Target::AVX2, Target::AVX512] {
        let mut billed = 0;
        for (at, step) in window.steps.iter().enumerate() {
            let len = |part: &Part| part.iter().map(|r| r.end - r.start).collect();
            let within = Within {
                input: len(&window.needed[at]),
                residual: Vec::new(),
                output: len(&window.needed[at + 1]),
            };
            let choice = Schedule::choose_within(&step.conv, &within, &target).expect("a schedule");
            let schedule = &choice.schedule;
            let made =
                passes::compile_within(&step.conv, &within, schedule, &target, &mut |_, _| {});
            let made = made.unwrap_or_else(|e| panic!("{}: {e}", step.conv));
            billed += nest::work::work(&made).iter().sum::<i64>();
        }
        assert!(billed * 5 <= cone as i64 * 6, "{target}: {billed} for {cone}");
    }
}

#[test]
fn what_cannot_be_a_window_is_refused() {
    for (taps, how) in [(3, "tiles"), (31, "blocks by FFT")] {
        let fast = conv_jit::conv2d(16, 16, taps).input([128, 128]);
        let fast = fast.accuracy(conv_ir::Accuracy::Fast).compile().expect("code");
        let weights = vec![0.5f32; 16 * 16 * taps * taps];
        let error = fast.windows(&[weights[..].into()]).expect_err("it is refused").to_string();
        assert!(error.contains(how), "{error}");
    }
    let ceil = conv_jit::chain(1, [12]).avg_pool(4).stride(4).padding(1).ceil_mode(true);
    let ceil =
        ceil.count_include_pad(true).compile().and_then(|c| c.windows(&[Default::default()]));
    let ceil = ceil.expect("windows");
    let (input, mut output) = ([1.0f32; 12], [0.0; 4]);
    ceil.run_window(&input, &mut output, &[0..2]).expect("it hangs over nowhere");
    let error = ceil.run_window(&input, &mut output, &[1..4]).expect_err("it does").to_string();
    assert!(error.contains("ceil_mode") && error.contains("width"), "{error}");
}
