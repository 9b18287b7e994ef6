//! Code for sizes that were met has the bits of known sizes, is bounded, and may be asked for by
//! many threads at once.

use conv_ir::Schedule;

use super::*;
use crate::StepWeights;
use crate::packed::Packed;
use crate::tests::{bits, fill};
use crate::weights::bias_comes_later;
use crate::{Builder, Scratch, chain, conv1d, conv2d};

fn arrays(program: &Program) -> Vec<(Vec<f32>, Option<Vec<f32>>)> {
    let array = |conv: &conv_ir::Conv| {
        let weight = if conv.known().is_none() { fill(conv.weight_len(), 2) } else { Vec::new() };
        (weight, bias_comes_later(conv).then(|| fill(conv.bias_len(), 3)))
    };
    program.convs().map(array).collect()
}

fn packed(builder: &Builder) -> Packed<f32> {
    let compiled = builder.compile().unwrap();
    let arrays = arrays(compiled.program());
    let steps = arrays.iter().map(|(w, b)| StepWeights { weight: w, bias: b.as_deref() });
    compiled.pack_steps(&steps.collect::<Vec<_>>()).unwrap()
}

/// Runs free sizes, `runs` times, and known ones once.
fn check(packed: &Packed<f32>, sizes: &[(&str, usize)], runs: usize) {
    let sized = packed.program().with_sizes(sizes).unwrap();
    let input: Vec<f32> = fill(sized.len_of(0), 1);
    let run = |packed: &Packed<f32>, sizes: &[(&str, usize)], scratch: Option<&mut Scratch>| {
        let mut output = vec![f32::NAN; sized.len_of(sized.steps().len())];
        let call = packed.call(&input, &mut output).sizes(sizes);
        match scratch {
            Some(scratch) => call.scratch(scratch).run().unwrap(),
            None => call.run().unwrap(),
        }
        bits(&output)
    };
    let compiled = Compiled::new(sized.clone(), Options::default()).unwrap();
    let arrays = arrays(&sized);
    let steps = arrays.iter().map(|(w, b)| StepWeights { weight: w, bias: b.as_deref() });
    let known = compiled.pack_steps(&steps.collect::<Vec<_>>()).unwrap();
    let wanted = run(&known, &[], None);
    let mut scratch = Scratch::new();
    for at in 0..runs {
        assert!(run(packed, sizes, None) == wanted, "{sized}, run {at}");
        assert!(run(packed, sizes, Some(&mut scratch)) == wanted, "{sized}, run {at}, scratch");
    }
}

fn made(packed: &Packed<f32>) -> usize {
    let met = packed.by_size.as_ref().unwrap().lock();
    met.iter().filter(|met| matches!(met.code, Code::Made(_))).count()
}

#[test]
fn the_bits_are_those_of_known_sizes() {
    let same = conv2d(6, 7, 3).batch("N").input(["H", "W"]).padding(1).bias(true);
    let planes = conv2d(6, 6, 5).groups(6).batch("N").input(["H", "W"]).padding(2).stride([2, 1]);
    let folded = same.clone().padding_mode(conv_ir::PaddingMode::Symmetric);
    let steps = chain(3, ["H", "W"])
        .batch("N")
        .conv(8, 3)
        .padding(1)
        .bias(true)
        .depthwise(3)
        .stride([2, 1])
        .padding(1)
        .pointwise(5)
        .stride(2);
    let last = planes.clone().layout(conv_ir::Layout::ChannelsLast);
    for builder in [same, planes, folded, steps, last] {
        let packed = packed(&builder);
        for (n, h, w) in [(1, 3, 3), (2, 5, 31), (1, 33, 8), (3, 17, 16), (1, 64, 65)] {
            check(&packed, &[("N", n), ("W", w), ("H", h)], 2);
        }
        assert_eq!(made(&packed), 5);
        let none = [("N", 0), ("H", 5), ("W", 5)];
        packed.run_sized(&[], &mut [], &none).unwrap();
        packed.run_sized(&[], &mut [], &none).unwrap();
        assert_eq!(made(&packed), 5, "no work, no code");
    }
}

#[test]
fn a_large_size_is_compiled_at_once_and_a_small_one_when_it_comes_again() {
    let packed = packed(&conv2d(16, 16, 3).input(["H", "W"]).padding(1));
    let run = |h: usize, w: usize| {
        let input = vec![1.0; 16 * h * w];
        packed.run_sized(&input, &mut vec![0.0; 16 * h * w], &[("H", h), ("W", w)]).unwrap();
        made(&packed)
    };
    assert_eq!([run(4, 4), run(4, 4), run(4, 4)], [0, 1, 1]);
    assert_eq!(run(64, 64), 2);
}

#[test]
fn the_last_sizes_are_kept() {
    let packed = packed(&conv1d(3, 4, 3).input(["L"]));
    for l in 3..3 + 2 * MOST_SIZES {
        check(&packed, &[("L", l)], 1);
        // It is used all the time.
        check(&packed, &[("L", 100)], 1);
        let met = packed.by_size.as_ref().unwrap().lock();
        assert!(met.len() <= MOST_SIZES);
        assert_eq!(met[0].sizes, [100]);
        assert!(met.iter().any(|met| met.sizes == [l]));
    }
    assert_eq!(made(&packed), MOST_SIZES);
}

#[test]
fn threads_may_bring_different_sizes() {
    let packed = packed(&conv2d(4, 4, 3).input(["H", "W"]).padding(1));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let packed = packed.clone();
            scope.spawn(move || {
                for round in 0..6 {
                    check(&packed, &[("H", 5 + (thread + round) % 12), ("W", 9)], 2);
                }
            });
        }
    });
    assert!(made(&packed) <= MOST_SIZES);
}

#[test]
fn wrong_sizes_and_lengths_are_errors_after_right_ones() {
    let packed = packed(&conv2d(1, 1, 3).input(["H", "W"]).padding(1));
    check(&packed, &[("H", 4), ("W", 5)], 2);
    let said = |sizes: &[(&str, usize)], len: usize| {
        packed.run_sized(&vec![0.0; len], &mut [0.0; 20], sizes).unwrap_err().to_string()
    };
    assert!(said(&[("H", 4), ("W", 5)], 19).contains("input has 19 elements"));
    assert!(said(&[("H", 4)], 20).contains("the size W is missing"));
    assert!(said(&[("H", 4), ("H", 4)], 20).contains("given twice"));
    assert!(said(&[("H", 4), ("W", 5), ("W", 5)], 20).contains("given twice"));
    assert!(said(&[("H", 4), ("X", 5)], 20).contains("no free size X"));
}

#[test]
fn a_given_schedule_is_kept_to_and_explained() {
    let free = conv2d(3, 4, 3).input(["H", "W"]).padding(1);
    let explained = free.compile().unwrap().explain();
    assert!(explained.contains("sizes     free: a run compiles"), "{explained}");
    let compiled = free.compile().unwrap();
    let choice: Schedule = compiled.groups()[0].choice.clone().unwrap().schedule;
    let given = free.clone().schedule(choice);
    let explained = given.compile().unwrap().explain();
    assert!(explained.contains("sizes     free: this code serves them all"), "{explained}");
    let packed = packed(&given);
    assert!(packed.by_size.is_none());
    check(&packed, &[("H", 9), ("W", 10)], 2);
    let known = conv2d(3, 4, 3).input([9, 9]).compile().unwrap().explain();
    assert!(!known.contains("sizes     "), "{known}");
}
