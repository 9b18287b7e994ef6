//! Convolutions in tiles: one result for every machine, strip and number of threads, that of a twin
//! in plain loops; and never further from the exact sum than their bound.

use std::collections::BTreeMap;

use conv_ir::lower::Layouts;
use conv_ir::nest::verify;
use conv_ir::program::fuse::{self, Strips};
use conv_ir::program::plan::{Group, Plan};
use conv_ir::program::tiled::{self, Room};
use conv_ir::winograd::{Tiles, Transform};
use conv_ir::{
    Accuracy, Conv, Element, Error, Layout, Nest, Program, Schedule, Target, interp, passes,
};
use conv_jit::{Compiled, CurrentThread, Lowered, Options, StepWeights};
use conv_tests::emitted::{Emitted, numbers};
use conv_tests::judge::quietly;
use conv_tests::routes::{MACHINES, machines_here, skipped};
use conv_tests::tiled::{alone, drawn, fast, finished, part_of_bound, points, sums, twin};
use conv_tests::{Data, Fill, Rng, compare, say};

/// The nest for a machine, or nothing where there is not enough room.
fn nest(conv: &Conv, tiles: &Tiles, (target, room): (&Target, Room)) -> Option<Nest> {
    let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
        let chosen = || Schedule::choose_as(conv, layouts, target).schedule;
        let schedule = given.cloned().unwrap_or_else(chosen);
        let nest = passes::compile_as(conv, layouts, &schedule, target, &mut |_, _| {})?;
        Ok(fuse::Lowered { schedule, nest })
    };
    match tiled::nest((conv, Layouts::of(conv)), tiles, (target, room), &mut lower) {
        Err(Error::Unsupported { message, .. }) if message.contains("too much scratch") => None,
        made => Some(made.unwrap_or_else(|e| panic!("{conv}: {e}"))),
    }
}

fn interpreted<T: Element>(
    nest: &Nest,
    data: &Data<T>,
    transformed: &[T],
    len: usize,
    parts: usize,
) -> Vec<T> {
    let mut output = vec![T::from_f64(f64::NAN); len];
    let arrays = interp::Arrays {
        inputs: vec![&data.input],
        weights: vec![transformed],
        biases: data.bias.as_deref().into_iter().collect(),
        residuals: data.residual.as_deref().into_iter().collect(),
        outputs: vec![&mut output],
    };
    let ran = quietly(|| interp::run_parts(nest, arrays, &[], parts));
    ran.and_then(|ran| ran.map_err(|e| e.to_string())).unwrap_or_else(|e| panic!("{e}\n{nest}"));
    output
}

/// Runs a layer on the interpreter for every machine, by so many threads, in so much scratch; how
/// often that was.
fn on_every_machine<T: Element>(conv: &Conv, tiles: &Tiles, scratch: Option<usize>) -> usize {
    let data = Data::<T>::new(conv, Fill::Reals, 3);
    let transformed = tiles.weights(conv, &data.weight).unwrap();
    let wanted = twin(conv, tiles, &data);
    let mut count = 0;
    for target in &MACHINES {
        for threads in 1..=3 {
            let room = Room { threads, scratch };
            let Some(nest) = nest(conv, tiles, (target, room)) else { continue };
            assert_eq!(verify(&nest), [], "{conv}\n{nest}");
            let found = interpreted(&nest, &data, &transformed, wanted.len(), threads);
            compare(&found, &wanted).unwrap_or_else(|e| {
                panic!("{conv} in {tiles} for {target}, {room:?}: {e}\n{nest}")
            });
            count += 1;
        }
    }
    count
}

#[test]
fn every_machine_and_number_of_threads_gives_the_twins_bits() {
    let mut rng = Rng(2029);
    let mut count = 0;
    for at in 0..60 {
        let conv = drawn(&mut rng, (1, 12), (1, 11));
        let tiles = rng.pick(&Tiles::of(&conv).unwrap());
        let scratch = rng.pick(&[None, Some(4 << 10), Some(16 << 10), Some(64 << 10)]);
        count += match at % 5 {
            0 => {
                let text = conv.to_string().replacen("f32", "f64", 1);
                let conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
                on_every_machine::<f64>(&conv, &tiles, scratch)
            }
            _ => on_every_machine::<f32>(&conv, &tiles, scratch),
        };
    }
    say(format_args!("{count} nests in tiles on the interpreter"));
}

/// Strips that are cut along any axis, blocks of output channels, and padding that several strips
/// see.
#[test]
fn strips_and_blocks_leave_the_bits() {
    for (text, outputs, scratch) in [
        ("conv2d ic3 oc64 in 13x22 kernel 3 pad 1 + bias, relu", vec![4, 4], 24 << 10),
        ("conv2d ic3 oc96 in 5x60 kernel 3 pad 1 + residual", vec![2, 4], 20 << 10),
        ("conv2d channels-last n3 ic5 oc64 in 9x11 kernel 3x1 pad 1,0", vec![2, 1], 16 << 10),
        ("conv1d ic4 oc64 in 150 kernel 7 pad 6 + bias", vec![2], 6 << 10),
        ("conv1d ic2 oc3 in 40 kernel 7 pad 5:6", vec![2], 1 << 10),
        ("conv3d ic2 oc64 in 5x6x9 kernel 3 pad 1 + bias", vec![2, 2, 4], 80 << 10),
        ("conv3d n2 ic2 oc5 in 5x6x9 kernel 3x1x3 pad 2,0,1", vec![2, 1, 4], 5 << 10),
        ("conv2d ic3 oc6 in 7x51 kernel 3x1 pad 1,0", vec![4, 1], 2 << 10),
        ("conv2d n5 g2 ic8 oc6 in 7x7 kernel 3 pad 1", vec![4, 4], 20 << 10),
        ("conv2d ic4 oc6 in 11x61 kernel 3 dilation 2 pad 2 + bias", vec![2, 4], 12 << 10),
        ("conv2d ic2 oc64 in 9x33 kernel 3 dilation 3,2 pad 3,2 + residual", vec![2, 2], 32 << 10),
        ("conv2d channels-last ic3 oc5 in 40x9 kernel 3x1 dilation 5 pad 5,0", vec![4, 1], 8 << 10),
        ("conv1d ic4 oc64 in 150 kernel 3 dilation 5 pad 5:10", vec![4], 9 << 10),
        ("conv3d ic2 oc5 in 6x7x19 kernel 3 dilation 2 pad 2", vec![2, 2, 2], 48 << 10),
    ] {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let tiles = Tiles::new(&conv, &outputs).unwrap();
        let count = on_every_machine::<f32>(&conv, &tiles, Some(scratch));
        assert_eq!(count, 9, "{text}: too little scratch");
    }
}

/// Errors of random layers are within their bound, and that is within the one for any weights.
#[test]
fn errors_are_within_their_bound() {
    let mut rng = Rng(2033);
    let mut parts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..10_000 {
        let conv = drawn(&mut rng, (1, 4), (1, 5));
        let mut data = Data::<f32>::new(&conv, Fill::Reals, rng.bits());
        // What is added hides the sum's own error.
        data.bias.iter_mut().flatten().for_each(|x| *x *= 0.1);
        data.residual.iter_mut().flatten().for_each(|x| *x *= 0.1);
        let tiles = rng.pick(&Tiles::of(&conv).unwrap());
        let transformed = tiles.weights(&conv, &data.weight).unwrap();
        let bias = data.bias.as_deref();
        let bound = tiles.bound(&conv, (&transformed, &data.weight), bias).unwrap();
        let relative = tiles.relative_bound(&conv);
        let window = data.weight.len() / conv.spec().out_channels;
        for (channel, weights) in data.weight.chunks(window).enumerate() {
            let sum: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
            let added = f64::from(u8::from(conv.spec().residual));
            let most = relative * (sum + added) * (1.0 + 1e-12);
            assert!(bound.at(1.0)[channel] - bound.at(0.0)[channel] <= most, "{conv}");
        }
        let plain = conv.to_string().replace(", silu", "").replace(", relu", "");
        let plain: Conv = plain.parse().unwrap();
        let found = finished(&plain, &data, &sums(&conv, &tiles, &data, &transformed));
        if !found.is_empty() {
            let part = part_of_bound(&conv, &data, &bound, &found);
            let axes = tiles.taps().iter().filter(|taps| **taps > 1).count();
            parts.entry(format!("along {axes} axes")).or_default().push(part);
        }
    }
    judged(parts, 0.0);
}

/// Errors as parts of their bounds: none is larger, and it says something of most.
fn judged(parts: BTreeMap<String, Vec<f64>>, least: f64) {
    for (name, mut parts) in parts {
        parts.sort_by(f64::total_cmp);
        let (median, most) = (parts[parts.len() / 2], parts[parts.len() - 1]);
        say(format_args!(
            "{name}: {} times {median:.3} of the bound, {most:.3} at most",
            parts.len()
        ));
        assert!(most <= 1.0 && median >= least, "{name}: {median}, {most}");
    }
}

/// Every size of a tile along one axis, and some of several.
fn every_size() -> Vec<(Vec<usize>, Vec<usize>)> {
    let one = (2..=7).flat_map(|m| (2..=7).map(move |r| (m, r))).filter(|(m, r)| m + r <= 9);
    let mut all: Vec<_> = one.map(|(m, r)| (vec![m], vec![r])).collect();
    for (outputs, taps) in [
        (&[2, 2][..], &[3, 3][..]),
        (&[4, 4], &[3, 3]),
        (&[6, 4], &[3, 3]),
        (&[3, 2], &[5, 5]),
        (&[2, 2, 2], &[3, 3, 3]),
        (&[2, 4, 4], &[3, 3, 3]),
    ] {
        all.push((outputs.to_vec(), taps.to_vec()));
    }
    all
}

/// Tiles whose inputs and weights have the signs that make numbers on the way as large as they can
/// be, at one point or in one output: errors are near enough to their bound that it says something.
#[test]
fn adversarial_tiles_are_within_their_bound() {
    adversarial_tiles(100_000);
}

/// The same of ten times as many.
#[test]
#[ignore = "half a minute: cargo test -p conv-tests --test tiles -- --ignored"]
fn a_million_adversarial_tiles_are_within_their_bound() {
    adversarial_tiles(1_000_000);
}

fn adversarial_tiles(count: usize) {
    let mut rng = Rng(2039);
    let images = 100;
    let mut parts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let sizes = every_size();
    for run in 0..count / images {
        let (outputs, taps) = &sizes[run % sizes.len()];
        let ic = rng.within(1, 3);
        let inputs: Vec<usize> = outputs.iter().zip(taps).map(|(m, r)| m + r - 1).collect();
        let by = |of: &[usize]| of.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let rank = outputs.len();
        let text = format!("conv{rank}d n{images} ic{ic} in {} kernel {}", by(&inputs), by(taps));
        let conv: Conv = text.parse().unwrap();
        let tiles = Tiles::new(&conv, outputs).unwrap_or_else(|| panic!("{text}"));
        let axes = tiles.transforms();
        let (all, windows) = (points(&inputs), points(taps));
        let (one, output) = (rng.pick(&all), rng.pick(&points(outputs)));
        // The product along all axes of an entry of each one's matrix.
        let entry = |matrix: fn(&Transform) -> &Vec<Vec<f64>>, row: &[usize], at: &[usize]| {
            let of = axes.iter().zip(row.iter().zip(at));
            of.map(|(axis, (row, at))| matrix(axis)[*row][*at]).product::<f64>()
        };
        let mut data = Data::<f32>::new(&conv, Fill::Reals, run as u64);
        let size = |x: &mut f32, sign: f64| *x = (0.75 + 0.25 * x.abs()).copysign(sign as f32);
        for (tap, w) in data.weight.iter_mut().enumerate() {
            size(w, entry(|axis| &axis.g, &one, &windows[tap % windows.len()]));
        }
        let transformed = tiles.weights(&conv, &data.weight).unwrap();
        // In every other image all points of one output add up.
        let signs = |c: usize, at: &[usize], adds_up: bool| match adds_up {
            false => entry(|axis| &axis.b, &one, at),
            true => all.iter().enumerate().fold(0.0, |sum, (point, k)| {
                let v = f64::from(transformed[point * ic + c].abs());
                sum + entry(|axis| &axis.a, &output, k) * v * entry(|axis| &axis.b, k, at)
            }),
        };
        let signs: Vec<Vec<f64>> = [false, true]
            .map(|adds_up| {
                (0..ic)
                    .flat_map(|c| all.iter().map(move |at| (c, at)))
                    .map(|(c, at)| signs(c, at, adds_up))
                    .collect()
            })
            .to_vec();
        for (n, image) in data.input.chunks_mut(ic * all.len()).enumerate() {
            image.iter_mut().zip(&signs[n % 2]).for_each(|(x, sign)| size(x, *sign));
        }
        let bound = tiles.bound(&conv, (&transformed, &data.weight), None).unwrap();
        let found = sums(&conv, &tiles, &data, &transformed);
        let part = part_of_bound(&conv, &data, &bound, &found);
        parts.entry(tiles.to_string()).or_default().push(part);
    }
    judged(parts, 0.01);
}

#[test]
fn machine_code_gives_the_twins_bits() {
    let mut rng = Rng(2031);
    let mut count = 0;
    while count < 24 {
        let conv = drawn(&mut rng, (12, 40), (7, 20));
        if tiled::choose(&conv, f64::INFINITY).is_err() {
            continue;
        }
        let data = Data::<f32>::new(&conv, Fill::Reals, 5);
        // Of every third layer only the more exact half is admitted.
        let all = Tiles::of(&conv).unwrap().into_iter();
        let mut bounds: Vec<f64> = all.map(|tiles| tiles.relative_bound(&conv)).collect();
        bounds.sort_by(f64::total_cmp);
        let accuracy = match count % 3 {
            0 => Accuracy::within(bounds[bounds.len() / 2]).unwrap(),
            _ => Accuracy::Fast,
        };
        let Ok(tiles) = tiled::choose(&conv, accuracy.admits().unwrap()) else { continue };
        let wanted = twin(&conv, &tiles, &data);
        count += 1;
        let known = conv.with_weights(&data.weight, data.bias.as_deref()).unwrap();
        for target in machines_here() {
            for parts in 1..=3 {
                let options = Options {
                    target,
                    threads: parts,
                    cache: false,
                    accuracy,
                    ..Options::default()
                };
                let compiled = Compiled::new(&conv, options.clone()).unwrap();
                assert_eq!(compiled.rewritten().tiled, [(0, tiles)], "{}", compiled.explain());
                let later = compiled.pack(&data.weight, data.bias.as_deref()).unwrap();
                let known = Compiled::new(&known, options).unwrap().ready::<f32>().unwrap();
                for packed in [later, known] {
                    let mut output = vec![f32::NAN; wanted.len()];
                    let call = packed
                        .call(&data.input, &mut output)
                        .threads(parts)
                        .executor(&CurrentThread);
                    let call = match &data.residual {
                        Some(residual) => call.residual(residual),
                        None => call,
                    };
                    call.run().unwrap();
                    compare(&output, &wanted)
                        .unwrap_or_else(|e| panic!("{conv} for {target}, {parts} part(s): {e}"));
                }
            }
        }
    }
    say(format_args!("{count} layers in tiles as machine code{}", skipped()));
}

/// Types of `conv!` transform their weights when they pack them; a function, which would do so at
/// each call, has direct sums. Each layer has versions for other machines.
#[test]
fn emitted_types_give_the_twins_bits() {
    let (mut program, mut wanted) = (Emitted::of(Accuracy::Fast), Vec::new());
    for text in [
        "conv2d ic24 oc32 in 14x15 kernel 3 pad 1 + bias, relu",
        "conv2d channels-last n2 g2 ic64 oc64 in 12x24 kernel 3 pad 1 flip + residual, silu",
        "conv1d ic64 oc48 in 150 kernel 7 pad 5:6 + bias",
        "conv3d ic16 oc16 in 5x6x9 kernel 3 pad 1",
        "conv2d ic64 oc96 in 12x40 kernel 1x5 pad 0,2",
        "conv2d ic48 oc64 in 22x26 kernel 3 dilation 2 pad 2 + bias",
    ] {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let tiles = tiled::choose(&conv, f64::INFINITY).unwrap_or_else(|e| panic!("{text}: {e}"));
        let data = Data::<f32>::new(&conv, Fill::Reals, 7);
        let exact = data.reference(&conv).unwrap_or_else(|e| panic!("{text}: {e}"));
        for of in [exact, twin(&conv, &tiles, &data)] {
            let item = program.function(&conv).unwrap_or_else(|e| panic!("{e}"));
            program.call(&item, &[], &data, of.len());
            wanted.push((text, of));
        }
    }
    let found = program.run();
    assert_eq!(found.len(), wanted.len());
    for (found, (text, wanted)) in found.iter().zip(&wanted) {
        compare(&numbers::<f32>(found), wanted).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
}

/// Weights whose transform would not be of numbers have direct sums, whose bits are the contract's.
#[test]
fn weights_that_are_not_finite_have_direct_sums() {
    let conv: Conv = "conv2d ic24 oc24 in 12x12 kernel 3 pad 1".parse().unwrap();
    let mut data = Data::<f32>::new(&conv, Fill::Reals, 1);
    for weight in [f32::INFINITY, f32::NAN, 3e38, 1e38, 1e30] {
        data.weight[100] = weight;
        let packed = fast(&conv).pack(&data.weight, None).unwrap();
        assert!(packed.compiled().rewritten().tiled.is_empty());
        let wanted = data.reference(&conv).unwrap();
        let mut output = vec![0.0; wanted.len()];
        packed.run(&data.input, &mut output).unwrap();
        compare(&output, &wanted).unwrap_or_else(|e| panic!("{weight}: {e}"));
    }
    data.weight[100] = f32::MAX;
    let tiles = Tiles::new(&conv, &[4, 4]).unwrap();
    assert!(tiles.weights(&conv, &data.weight[1..]).is_err());
    let known = fast(conv.with_weights(&data.weight, None).unwrap());
    assert!(
        known.explain().contains("not in tiles: the weights are so large"),
        "{}",
        known.explain()
    );
}

/// A step in tiles has a group of its own, and gives what it gives alone; one that a given plan
/// fuses has direct sums.
#[test]
fn steps_in_tiles_stand_alone_in_a_program() {
    let text = "conv2d ic24 oc32 in 30x30 kernel 1, relu; conv2d oc32 kernel 3 pad 1 + bias, relu; \
                conv2d oc24 kernel 1 + residual from 0";
    let program: Program = text.parse().unwrap();
    let compiled = fast(&program);
    assert_eq!(compiled.rewritten().tiled.len(), 1, "{}", compiled.explain());
    let mut rng = Rng(5);
    let convs: Vec<&Conv> = program.convs().collect();
    let weights: Vec<Vec<f32>> =
        convs.iter().map(|conv| rng.weights(Fill::Reals, conv.weight_len())).collect();
    let bias: Vec<f32> = rng.array(Fill::Reals, 32);
    let input: Vec<f32> = rng.array(Fill::Reals, program.len_of(0));
    let bias = |at: usize| (at == 1).then_some(&bias[..]);
    let steps = weights.iter().enumerate().map(|(at, w)| StepWeights { weight: w, bias: bias(at) });
    let steps: Vec<_> = steps.collect();
    let mut x = alone(&program, &steps, &input);
    let mut output = vec![0.0; program.len_of(3)];
    compiled.pack_steps(&steps).unwrap().run(&input, &mut output).unwrap();
    compare(&output, &x).unwrap();

    // All groups as one nest, for the interpreter.
    let options = Options { accuracy: Accuracy::Fast, ..Options::default() };
    let lowered = Lowered::new(&program, &options).unwrap();
    let used = weights.iter().enumerate();
    let used: Vec<_> =
        used.map(|(step, w)| lowered.rewritten.weights_of(step, w).unwrap()).collect();
    let mut interpreted = vec![f32::NAN; output.len()];
    let arrays = interp::Arrays {
        inputs: vec![&input],
        weights: used.iter().map(|w| &w[..]).collect(),
        biases: bias(1).into_iter().collect(),
        residuals: Vec::new(),
        outputs: vec![&mut interpreted],
    };
    let nest = lowered.whole_nest().unwrap();
    assert_eq!(verify(&nest), [], "{nest}");
    interp::run(&nest, arrays, &[]).unwrap();
    compare(&interpreted, &output).unwrap();

    let exact = Compiled::new(&program, Options::default()).unwrap();
    exact.pack_steps(&steps).unwrap().run(&input, &mut x).unwrap();
    assert!(compare(&output, &x).is_err(), "tiles show in no bit");
    let strips =
        Strips { rows: 4, keep: vec![true; 3], layouts: vec![Layout::ChannelsLast; 3], chunks: 1 };
    let plan =
        Plan { groups: vec![Group { steps: 0..3, strips: Some(strips) }], reasons: Vec::new() };
    let options = Options { plan: Some(plan), accuracy: Accuracy::Fast, ..Options::default() };
    let fused = Compiled::new(&program, options).unwrap();
    assert!(fused.explain().contains("step 2: not in tiles: it is fused"), "{}", fused.explain());
    fused.pack_steps(&steps).unwrap().run(&input, &mut output).unwrap();
    compare(&output, &x).unwrap();
}
