//! Convolutions in tiles: one result for every machine, strip and number of threads, that of a twin
//! in plain loops; and never further from the exact sum than their bound.

use conv_ir::lower::Layouts;
use conv_ir::nest::verify;
use conv_ir::program::fuse::{self, Strips};
use conv_ir::program::plan::{Group, Plan};
use conv_ir::program::tiled;
use conv_ir::reference::{self, Arguments};
use conv_ir::winograd::Tiles;
use conv_ir::{
    Accuracy, Bound, Conv, Error, Layout, Nest, Program, Schedule, Target, interp, passes,
};
use conv_jit::{Compiled, CurrentThread, Lowered, Options, StepWeights};
use conv_tests::judge::quietly;
use conv_tests::routes::{MACHINES, machines_here, skipped};
use conv_tests::{Data, Fill, Rng, compare, say};

/// A random layer that has tiles.
fn drawn(rng: &mut Rng, (least, most): (usize, usize), sides: (usize, usize)) -> Conv {
    loop {
        let mut text = format!(
            "conv2d n{} ic{} oc{} in {}x{} kernel 3 pad {}:{},{}:{}",
            rng.pick(&[0, 1, 1, 1, 2, 3]),
            rng.within(least, most),
            rng.within(least, most),
            rng.within(sides.0, sides.1),
            rng.within(sides.0, sides.1),
            rng.within(0, 2),
            rng.within(0, 2),
            rng.within(0, 2),
            rng.within(0, 2),
        );
        text += rng.pick(&["", " flip"]);
        text += rng.pick(&["", " nhwc"]);
        text += rng.pick(&["", " + bias"]);
        text += rng.pick(&["", "", " + residual"]);
        text += rng.pick(&["", ", relu", ", silu"]);
        // The window may be larger than the input.
        match text.parse::<Conv>() {
            Ok(conv) if Tiles::of(&conv).is_ok() => return conv,
            Err(Error::Invalid(_)) | Ok(_) => {}
            Err(e) => panic!("{text}: {e}"),
        }
    }
}

/// The sum that a row of a matrix stands for: one chain, from the first term that counts.
fn chain(row: &[f64], x: impl Fn(usize) -> f32) -> f32 {
    let mut sum = None;
    for (at, c) in row.iter().enumerate().filter(|(_, c)| **c != 0.0) {
        let c = *c as f32;
        sum = Some(sum.map_or(c * x(at), |sum: f32| c.mul_add(x(at), sum)));
    }
    sum.unwrap_or(0.0)
}

/// The sums of every output in tiles, in plain loops, without bias, residual and activation.
fn sums(conv: &Conv, tiles: &Tiles, data: &Data<f32>, transformed: &[f32]) -> Vec<f32> {
    let [rows, columns] = tiles.transforms();
    let spec = conv.spec();
    let (ic, oc, last) = (spec.in_channels, spec.out_channels, spec.layout == Layout::ChannelsLast);
    let equation = conv.equation();
    let input = [0, 1].map(|at| equation[at].input.known().unwrap());
    let output = [0, 1].map(|at| equation[at].output.known().unwrap());
    let place =
        |n: usize, c: usize, y: usize, x: usize, channels: usize, [h, w]: [usize; 2]| match last {
            true => ((n * h + y) * w + x) * channels + c,
            false => ((n * channels + c) * h + y) * w + x,
        };
    let points = rows.inputs() * columns.inputs();
    let mut sums = vec![f32::NAN; conv.output_len().unwrap()];
    let tiles = |at: usize, of: usize| (0..output[at].div_ceil(of)).map(move |tile| tile * of);
    let images = spec.batch.known().unwrap();
    for n in 0..images {
        for top in tiles(0, rows.outputs()) {
            for left in tiles(1, columns.outputs()) {
                let mut products = vec![0.0f32; oc * points];
                for c in 0..ic {
                    let d = |k: usize, l: usize| {
                        let y = (top + k) as i64 - equation[0].pad_lo;
                        let x = (left + l) as i64 - equation[1].pad_lo;
                        let inside =
                            (0..input[0] as i64).contains(&y) && (0..input[1] as i64).contains(&x);
                        if inside {
                            data.input[place(n, c, y as usize, x as usize, ic, input)]
                        } else {
                            0.0
                        }
                    };
                    for k in 0..rows.inputs() {
                        let down: Vec<f32> = (0..columns.inputs())
                            .map(|l| chain(&rows.b[k], |at| d(at, l)))
                            .collect();
                        for l in 0..columns.inputs() {
                            let u = chain(&columns.b[l], |at| down[at]);
                            let point = k * columns.inputs() + l;
                            for o in 0..oc {
                                let v = transformed[(point * oc + o) * ic + c];
                                let sum = &mut products[o * points + point];
                                *sum = u.mul_add(v, *sum);
                            }
                        }
                    }
                }
                for o in 0..oc {
                    let of = &products[o * points..][..points];
                    for i in (0..rows.outputs()).filter(|i| top + i < output[0]) {
                        let up: Vec<f32> = (0..columns.inputs())
                            .map(|l| chain(&rows.a[i], |k| of[k * columns.inputs() + l]))
                            .collect();
                        for j in (0..columns.outputs()).filter(|j| left + j < output[1]) {
                            sums[place(n, o, top + i, left + j, oc, output)] =
                                chain(&columns.a[j], |l| up[l]);
                        }
                    }
                }
            }
        }
    }
    sums
}

/// With bias, residual and activation: a 1x1 convolution of each channel with a weight of 1.
fn finished(conv: &Conv, data: &Data<f32>, sums: &[f32]) -> Vec<f32> {
    let mut spec = conv.spec().clone();
    let output = conv.equation().iter().map(|axis| axis.output.known().unwrap().into()).collect();
    (spec.in_channels, spec.groups) = (spec.out_channels, spec.out_channels);
    (spec.input, spec.kernel, spec.flip) = (output, vec![1, 1], false);
    spec.padding = conv_ir::Padding::Valid;
    let conv = Conv::new(spec).unwrap_or_else(|e| panic!("{conv}: {e}"));
    let weight = vec![1.0; conv.weight_len()];
    let (bias, residual) = (data.bias.as_deref(), data.residual.as_deref());
    let arguments = Arguments { input: sums, weight: &weight, bias, residual };
    reference::run(&conv, arguments, &[]).unwrap_or_else(|e| panic!("{conv}: {e}"))
}

/// The nest for a machine, and so many threads.
fn nest(conv: &Conv, tiles: &Tiles, (target, threads): (&Target, usize)) -> Nest {
    let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
        let chosen = || Schedule::choose_as(conv, layouts, target).schedule;
        let schedule = given.cloned().unwrap_or_else(chosen);
        let nest = passes::compile_as(conv, layouts, &schedule, target, &mut |_, _| {})?;
        Ok(fuse::Lowered { schedule, nest })
    };
    tiled::nest(conv, tiles, (target, threads), &mut lower)
        .unwrap_or_else(|e| panic!("{conv}: {e}"))
}

fn interpreted(
    nest: &Nest,
    data: &Data<f32>,
    transformed: &[f32],
    len: usize,
    parts: usize,
) -> Vec<f32> {
    let mut output = vec![f32::NAN; len];
    let arrays = interp::Arrays {
        input: &data.input,
        weights: vec![transformed],
        biases: data.bias.as_deref().into_iter().collect(),
        residuals: data.residual.as_deref().into_iter().collect(),
        output: &mut output,
    };
    let ran = quietly(|| interp::run_parts(nest, arrays, &[], parts));
    ran.and_then(|ran| ran.map_err(|e| e.to_string())).unwrap_or_else(|e| panic!("{e}\n{nest}"));
    output
}

/// The largest error of an output, as a part of its channel's bound.
fn part_of_bound(conv: &Conv, data: &Data<f32>, bound: &Bound, found: &[f32]) -> f64 {
    let mut spec = conv.spec().clone();
    spec.activation = None;
    let plain = Conv::new(spec).unwrap();
    let (bias, residual) = (data.bias.as_deref(), data.residual.as_deref());
    let arguments = Arguments { input: &data.input, weight: &data.weight, bias, residual };
    let wanted = reference::run_f64(&plain, arguments, &[]).unwrap();
    let both = data.input.iter().chain(residual.into_iter().flatten());
    let bound = bound.at(both.fold(0.0f64, |most, x| most.max(f64::from(x.abs()))));
    let channels = conv.spec().out_channels;
    let area = found.len() / channels / conv.spec().batch.known().unwrap().max(1);
    let channel = |at: usize| match conv.spec().layout {
        Layout::ChannelsLast => at % channels,
        Layout::ChannelsFirst => at / area % channels,
    };
    let parts = found.iter().zip(&wanted).enumerate();
    parts.map(|(at, (a, b))| (f64::from(*a) - b).abs() / bound[channel(at)]).fold(0.0, f64::max)
}

#[test]
fn every_machine_and_number_of_threads_gives_the_twins_bits() {
    let mut rng = Rng(2029);
    let mut count = 0;
    for _ in 0..40 {
        let conv = drawn(&mut rng, (1, 20), (1, 13));
        let data = Data::<f32>::new(&conv, Fill::Reals, 3);
        let tiles = rng.pick(&Tiles::of(&conv).unwrap());
        let transformed = tiles.weights(&conv, &data.weight).unwrap();
        let wanted = finished(&conv, &data, &sums(&conv, &tiles, &data, &transformed));
        for target in &MACHINES {
            for threads in 1..=3 {
                let nest = nest(&conv, &tiles, (target, threads));
                assert_eq!(verify(&nest), [], "{conv}\n{nest}");
                let found = interpreted(&nest, &data, &transformed, wanted.len(), threads);
                compare(&found, &wanted)
                    .unwrap_or_else(|e| panic!("{conv} for {target}: {e}\n{nest}"));
                count += 1;
            }
        }
    }
    say(format_args!("{count} nests in tiles on the interpreter"));
}

/// Errors of random layers are within their bound, and that is within the one for any weights.
#[test]
fn errors_are_within_their_bound() {
    let mut rng = Rng(2033);
    let mut parts = [Vec::new(), Vec::new()];
    while parts[0].len() + parts[1].len() < 10_000 {
        let conv = drawn(&mut rng, (1, 6), (1, 6));
        let mut data = Data::<f32>::new(&conv, Fill::Reals, rng.bits());
        // What is added hides the sum's own error.
        data.bias.iter_mut().flatten().for_each(|x| *x *= 0.1);
        data.residual.iter_mut().flatten().for_each(|x| *x *= 0.1);
        let at = rng.within(0, 1);
        let tiles = Tiles::of(&conv).unwrap()[at];
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
            parts[at].push(part_of_bound(&conv, &data, &bound, &found));
        }
    }
    for mut parts in parts {
        parts.sort_by(f64::total_cmp);
        let (median, most) = (parts[parts.len() / 2], parts[parts.len() - 1]);
        say(format_args!("{} layers: {median:.3} of the bound, {most:.3} at most", parts.len()));
        assert!(most <= 1.0, "{most}");
    }
}

/// Tiles whose inputs and weights have the signs that make numbers on the way as large as they can
/// be, at one point or in one output: errors are near enough to their bound that it says something.
/// `TILES` sets how many.
#[test]
fn adversarial_tiles_are_within_their_bound() {
    let mut rng = Rng(2039);
    let count = std::env::var("TILES").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let images = 500;
    let mut parts = [Vec::new(), Vec::new()];
    for run in 0..count / images {
        let ic = rng.within(1, 3);
        let (at, side) = rng.pick(&[(0, 6), (1, 4)]);
        let text = format!("conv2d n{images} ic{ic} in {side}x{side} kernel 3");
        let conv: Conv = text.parse().unwrap();
        let tiles = Tiles::of(&conv).unwrap()[at];
        let [rows, columns] = tiles.transforms();
        let (k, l) = (rng.within(0, side - 1), rng.within(0, side - 1));
        let mut data = Data::<f32>::new(&conv, Fill::Reals, run);
        let size = |x: &mut f32, sign: f64| *x = (0.75 + 0.25 * x.abs()).copysign(sign as f32);
        for (tap, w) in data.weight.iter_mut().enumerate() {
            size(w, rows.g[k][tap % 9 / 3] * columns.g[l][tap % 3]);
        }
        let transformed = tiles.weights(&conv, &data.weight).unwrap();
        let output = (rng.within(0, side - 3), rng.within(0, side - 3));
        for (n, image) in data.input.chunks_mut(ic * side * side).enumerate() {
            for (place, x) in image.iter_mut().enumerate() {
                let (c, i, j) = (place / side / side, place / side % side, place % side);
                // In every other image all points of one output add up.
                let point = |k: usize, l: usize| {
                    let v = f64::from(transformed[(k * side + l) * ic + c]);
                    rows.a[output.0][k]
                        * columns.a[output.1][l]
                        * v.abs()
                        * rows.b[k][i]
                        * columns.b[l][j]
                };
                let all = || (0..side * side).map(|kl| point(kl / side, kl % side)).sum();
                size(x, if n % 2 == 0 { rows.b[k][i] * columns.b[l][j] } else { all() });
            }
        }
        let bound = tiles.bound(&conv, (&transformed, &data.weight), None).unwrap();
        let found = sums(&conv, &tiles, &data, &transformed);
        parts[at].push(part_of_bound(&conv, &data, &bound, &found));
    }
    for mut parts in parts {
        parts.sort_by(f64::total_cmp);
        let (median, most) = (parts[parts.len() / 2], parts[parts.len() - 1]);
        let tiles = parts.len() as u64 * images;
        say(format_args!("{tiles} tiles: {median:.3} of the bound, {most:.3} at most"));
        assert!(most <= 1.0 && median >= 0.01, "{median}, {most}");
    }
}

#[test]
fn machine_code_gives_the_twins_bits() {
    let mut rng = Rng(2031);
    let mut count = 0;
    while count < 24 {
        let conv = drawn(&mut rng, (16, 48), (7, 24));
        if tiled::choose(&conv, f64::INFINITY).is_err() {
            continue;
        }
        let data = Data::<f32>::new(&conv, Fill::Reals, 5);
        // Of every third layer only the smaller tiles are exact enough.
        let all = Tiles::of(&conv).unwrap();
        let accuracy = match count % 3 {
            0 => Accuracy::within(all[1].relative_bound(&conv)).unwrap(),
            _ => Accuracy::Fast,
        };
        let Ok(tiles) = tiled::choose(&conv, accuracy.admits().unwrap()) else { continue };
        let transformed = tiles.weights(&conv, &data.weight).unwrap();
        let wanted = finished(&conv, &data, &sums(&conv, &tiles, &data, &transformed));
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

fn fast(program: impl Into<Program>) -> Compiled {
    let options = Options { accuracy: Accuracy::Fast, ..Options::default() };
    Compiled::new(program, options).unwrap_or_else(|e| panic!("{e}"))
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
    let tiles = Tiles::of(&conv).unwrap()[0];
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
    let mut x = input.clone();
    for (at, conv) in convs.iter().enumerate() {
        let packed = fast(*conv).pack(&weights[at], bias(at)).unwrap();
        let mut y = vec![0.0; program.len_of(at + 1)];
        match conv.spec().residual {
            true => packed.run_residual(&x, &input, &mut y).unwrap(),
            false => packed.run(&x, &mut y).unwrap(),
        }
        x = y;
    }
    let steps = weights.iter().enumerate().map(|(at, w)| StepWeights { weight: w, bias: bias(at) });
    let steps: Vec<_> = steps.collect();
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
        input: &input,
        weights: used.iter().map(|w| &w[..]).collect(),
        biases: bias(1).into_iter().collect(),
        residuals: Vec::new(),
        output: &mut interpreted,
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
