//! Convolutions in tiles, in plain loops: what every route must give to the bit.
//!
//! ```text
//! drawn     a random convolution that has tiles, of one to three axes
//! twin      its result by the definition of the matrices, one tile after the other
//! part      how much of its bound the error of a result is
//! alone     a program by a call for each step
//! ```

use conv_ir::reference::{self, Arguments};
use conv_ir::winograd::{Tiles, Transform};
use conv_ir::{Accuracy, Bound, Conv, Element, Error, Layout, Program};
use conv_jit::{Compiled, Options, StepWeights};

use crate::{Data, Rng};

/// A random convolution that has tiles: so many channels of each group, and so many positions along
/// an axis at most.
pub fn drawn(rng: &mut Rng, (least, most): (usize, usize), sides: (usize, usize)) -> Conv {
    loop {
        let rank = rng.pick(&[1, 2, 2, 2, 3]);
        let (least_side, most_side) = match rank {
            1 => (sides.0, 4 * sides.1),
            2 => sides,
            _ => (sides.0.div_ceil(2), sides.1.div_ceil(2)),
        };
        let by = |numbers: Vec<usize>| {
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
        };
        let kernel: Vec<usize> = match rng.within(0, 1) {
            0 => vec![3; rank],
            _ => (0..rank).map(|_| rng.pick(&[1, 2, 3, 3, 4, 5, 7])).collect(),
        };
        let input = (0..rank).map(|_| rng.within(least_side, most_side)).collect();
        let groups = rng.pick(&[1, 1, 1, 2, 3]);
        let mut text = format!(
            "conv{rank}d n{} g{groups} ic{} oc{} in {} kernel {} pad ",
            rng.pick(&[0, 1, 1, 1, 2, 3]),
            groups * rng.within(least, most),
            groups * rng.within(least, most),
            by(input),
            by(kernel.clone()),
        );
        let pads = kernel.iter().map(|taps| {
            let most = (taps - 1).min(3);
            format!("{}:{}", rng.within(0, most), rng.within(0, most))
        });
        text += &pads.collect::<Vec<_>>().join(",");
        let dilation = |_| rng.pick(&["1", "1", "1", "1", "2", "3"]);
        text += &format!(" dilation {}", (0..rank).map(dilation).collect::<Vec<_>>().join(","));
        text += rng.pick(&["", " flip"]);
        text += rng.pick(&["", " channels-last"]);
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
fn chain<T: Element>(row: &[f64], x: impl Fn(usize) -> T) -> T {
    let mut sum: Option<T> = None;
    for (at, c) in row.iter().enumerate().filter(|(_, c)| **c != 0.0) {
        let c = T::from_f64(*c);
        sum = Some(sum.map_or(c.mul(x(at)), |sum| c.fma(x(at), sum)));
    }
    sum.unwrap_or_default()
}

/// An array of dimensions `[before, columns of the matrix, behind]` times the matrix.
fn along<T: Element>(from: &[T], matrix: &[Vec<f64>], behind: usize) -> Vec<T> {
    let mut to = Vec::new();
    for block in from.chunks(matrix[0].len() * behind) {
        for row in matrix {
            to.extend((0..behind).map(|at| chain(row, |k| block[k * behind + at])));
        }
    }
    to
}

/// Each axis in its turn, the first one first.
fn transformed<T: Element>(mut of: Vec<T>, matrices: &[&Vec<Vec<f64>>]) -> Vec<T> {
    let mut behind: usize = matrices.iter().map(|matrix| matrix[0].len()).product();
    for (at, matrix) in matrices.iter().enumerate() {
        behind = matrices[at + 1..].iter().map(|matrix| matrix[0].len()).product();
        if matrix.len() * matrix[0].len() > 1 {
            of = along(&of, matrix, behind);
        }
    }
    debug_assert_eq!(behind, 1);
    of
}

/// All points of a box, the last axis fastest.
pub fn points(extents: &[usize]) -> Vec<Vec<usize>> {
    extents.iter().fold(vec![Vec::new()], |points, &extent| {
        let longer = |point: Vec<usize>| {
            (0..extent).map(move |at| point.iter().copied().chain([at]).collect())
        };
        points.into_iter().flat_map(longer).collect()
    })
}

/// Where an element of an image is in its array.
fn place(
    last: bool,
    image: usize,
    (channel, channels): (usize, usize),
    at: &[usize],
    sizes: &[usize],
) -> usize {
    let position = at.iter().zip(sizes).fold(0, |all, (at, size)| all * size + at);
    let area: usize = sizes.iter().product();
    match last {
        true => (image * area + position) * channels + channel,
        false => (image * channels + channel) * area + position,
    }
}

/// The sums of every output in tiles, without bias, residual and activation.
pub fn sums<T: Element>(conv: &Conv, tiles: &Tiles, data: &Data<T>, weights: &[T]) -> Vec<T> {
    let axes = tiles.transforms();
    let spec = conv.spec();
    let (ic, oc) = (spec.in_channels, spec.out_channels);
    let (per_in, per_out) = (ic / spec.groups, oc / spec.groups);
    let last = spec.layout == Layout::ChannelsLast;
    let equation = conv.equation();
    let input: Vec<usize> = equation.iter().map(|axis| axis.input.known().unwrap()).collect();
    let output: Vec<usize> = equation.iter().map(|axis| axis.output.known().unwrap()).collect();
    // Tiles lie in one another where what they take is apart.
    let apart = axes.iter().zip(&equation);
    let apart = apart.map(|(axis, of)| if axis.inputs() > 1 { of.dilation as usize } else { 1 });
    let apart: Vec<usize> = apart.collect();
    let count = |((output, axis), apart): ((&usize, &&Transform), &usize)| {
        output.div_ceil(axis.outputs() * apart) * apart
    };
    let counts: Vec<usize> = output.iter().zip(&axes).zip(&apart).map(count).collect();
    let inputs: Vec<usize> = axes.iter().map(|axis| axis.inputs()).collect();
    let outputs: Vec<usize> = axes.iter().map(|axis| axis.outputs()).collect();
    let there: Vec<_> = axes.iter().map(|axis| &axis.b).collect();
    let back: Vec<_> = axes.iter().map(|axis| &axis.a).collect();
    let mut sums = vec![T::from_f64(f64::NAN); conv.output_len().unwrap()];
    for (image, tile) in (0..spec.batch.known().unwrap())
        .flat_map(|n| points(&counts).into_iter().map(move |t| (n, t)))
    {
        let first = tile.iter().zip(&outputs).zip(&apart);
        let first = first.map(|((at, m), apart)| at / apart * m * apart + at % apart);
        let first: Vec<usize> = first.collect();
        let seen = |channel: usize, at: &[usize]| {
            let mut here = Vec::new();
            for (i, at) in at.iter().enumerate() {
                let x = (first[i] + at * apart[i]) as i64 - equation[i].pad_lo;
                match usize::try_from(x) {
                    Ok(x) if x < input[i] => here.push(x),
                    _ => return T::default(),
                }
            }
            data.input[place(last, image, (channel, ic), &here, &input)]
        };
        let all = points(&inputs);
        let mut products = vec![vec![T::default(); all.len()]; oc];
        for c in 0..ic {
            let tile = all.iter().map(|at| seen(c, at)).collect();
            let tile = transformed(tile, &there);
            for o in 0..per_out {
                let o = c / per_in * per_out + o;
                for (point, u) in tile.iter().enumerate() {
                    let v = weights[(point * oc + o) * per_in + c % per_in];
                    products[o][point] = u.fma(v, products[o][point]);
                }
            }
        }
        for (o, product) in products.into_iter().enumerate() {
            let done = transformed(product, &back);
            for (at, y) in points(&outputs).iter().zip(done) {
                let here = at.iter().zip(&first).zip(&apart);
                let here = here.map(|((at, first), apart)| first + at * apart);
                let here: Vec<usize> = here.collect();
                if here.iter().zip(&output).all(|(at, size)| at < size) {
                    sums[place(last, image, (o, oc), &here, &output)] = y;
                }
            }
        }
    }
    sums
}

/// Sums with bias, residual and activation: a 1x1 convolution of each channel with a weight of 1.
pub fn finished<T: Element>(conv: &Conv, data: &Data<T>, sums: &[T]) -> Vec<T> {
    let mut spec = conv.spec().clone();
    let output = conv.equation().iter().map(|axis| axis.output.known().unwrap().into()).collect();
    (spec.in_channels, spec.groups) = (spec.out_channels, spec.out_channels);
    (spec.input, spec.kernel, spec.flip) = (output, vec![1; conv.rank()], false);
    spec.padding = conv_ir::Padding::Valid;
    let conv = Conv::new(spec).unwrap_or_else(|e| panic!("{conv}: {e}"));
    let weight = vec![T::from_f64(1.0); conv.weight_len()];
    let (bias, residual) = (data.bias.as_deref(), data.residual.as_deref());
    let arguments = Arguments { input: sums, weight: &weight, bias, residual };
    reference::run(&conv, arguments, &[]).unwrap_or_else(|e| panic!("{conv}: {e}"))
}

/// The result in tiles.
pub fn twin<T: Element>(conv: &Conv, tiles: &Tiles, data: &Data<T>) -> Vec<T> {
    let weights = tiles.weights(conv, &data.weight).unwrap_or_else(|e| panic!("{conv}: {e}"));
    finished(conv, data, &sums(conv, tiles, data, &weights))
}

/// The largest error of an output, as a part of its channel's bound.
pub fn part_of_bound(conv: &Conv, data: &Data<f32>, bound: &Bound, found: &[f32]) -> f64 {
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

/// Compiled with every algorithm allowed.
pub fn fast(program: impl Into<Program>) -> Compiled {
    let options = Options { accuracy: Accuracy::Fast, ..Options::default() };
    Compiled::new(program, options).unwrap_or_else(|e| panic!("{e}"))
}

/// A program, each step packed and run by itself; a residual is the program's input.
pub fn alone(program: &Program, steps: &[StepWeights<'_, f32>], input: &[f32]) -> Vec<f32> {
    let mut x = input.to_vec();
    for (at, (conv, step)) in program.convs().zip(steps).enumerate() {
        let packed = fast(conv.clone()).pack(step.weight, step.bias).unwrap();
        let mut y = vec![0.0; program.len_of(at + 1)];
        match conv.spec().residual {
            true => packed.run_residual(&x, input, &mut y).unwrap(),
            false => packed.run(&x, &mut y).unwrap(),
        }
        x = y;
    }
    x
}
