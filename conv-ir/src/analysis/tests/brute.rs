//! Which inputs matter, found by marking them: through the equation without edges, and through the
//! reference with all of its edges.

use std::ops::Range;

use super::{Rng, conv};
use crate::analysis::{Layer, Needed, Node, Stack, Window, channels_needed, read};
use crate::{Conv, reference};

/// Inputs that any output in the range meets, by looking at every tap of every output.
fn marked(window: &Window, outputs: Range<i64>) -> Vec<i64> {
    let mut met: Vec<i64> = Vec::new();
    for p in outputs {
        for k in 0..window.kernel {
            let at = p * window.stride + k * window.dilation - window.pad_lo;
            if at % window.lhs_dilation == 0 {
                met.push(at / window.lhs_dilation);
            }
        }
    }
    met.sort_unstable();
    met.dedup();
    met
}

fn hull_of(marks: &[i64]) -> Range<i64> {
    marks.first().map_or(0..0, |first| *first..marks[marks.len() - 1] + 1)
}

#[test]
fn one_window_needs_what_its_taps_meet() {
    let mut rng = Rng(1);
    let mut empty = 0;
    for _ in 0..20_000 {
        let window = Window {
            kernel: 1 + rng.below(5),
            stride: 1 + rng.below(6),
            dilation: 1 + rng.below(4),
            pad_lo: rng.below(16) - 5,
            lhs_dilation: 1 + rng.below(6),
        };
        let start = rng.below(20) - 10;
        let outputs = start..start + rng.below(9);
        let marks = hull_of(&marked(&window, outputs.clone()));
        assert_eq!(window.needed(outputs.clone()), Some(marks.clone()), "{window:?} {outputs:?}");
        empty += usize::from(marks.is_empty() && !outputs.is_empty());
    }
    assert!(empty > 100, "holes: {empty}");
}

/// Convolutions whose extents follow from each other; zero padding only, so that what lies outside
/// is not read.
fn random_stack(rng: &mut Rng) -> Vec<Conv> {
    let mut extent = 6 + rng.below(20);
    let mut convs = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let kind = ["conv1d", "conv1d", "conv1d-transposed"][rng.below(3) as usize];
        let groups = [1, 2][rng.below(2) as usize];
        let [kernel, stride, dilation] = [4, 3, 3].map(|n| 1 + rng.below(n));
        let padding = format!("{}:{}", rng.below(4), rng.below(4));
        let text = format!(
            "{kind} ic2 oc2 g{groups} in {extent} kernel {kernel} stride {stride} dilation {dilation} pad {padding}"
        );
        let Ok(conv) = text.parse::<Conv>() else { continue };
        let output = conv.axes()[0].output.known().unwrap_or(0) as i64;
        if output == 0 || output > 60 {
            continue;
        }
        extent = output;
        convs.push(conv);
    }
    convs
}

/// The inputs that the reference lets an output depend on: all weights one, one input one at a
/// time.
fn depends(convs: &[Conv]) -> Vec<Vec<bool>> {
    let inputs = convs[0].axes()[0].input.known().unwrap();
    let column = |input: usize| {
        let mut values = vec![0f64; convs[0].input_len().unwrap()];
        for (at, value) in values.iter_mut().enumerate() {
            *value = f64::from(u8::from(at % inputs == input));
        }
        for conv in convs {
            let weight = vec![1f64; conv.weight_len()];
            let arguments = reference::Arguments {
                input: &values,
                weight: &weight,
                bias: None,
                residual: None,
            };
            values = reference::run_f64(conv, arguments, &[]).unwrap();
        }
        let outputs = convs[convs.len() - 1].axes()[0].output.known().unwrap();
        values[..outputs].iter().map(|value| *value != 0.0).collect::<Vec<_>>()
    };
    (0..inputs).map(column).collect()
}

/// No element of a range is left out between those that are met.
fn dense(conv: &Conv) -> bool {
    let axis = &conv.axes()[0];
    !conv.spec().transposed && axis.dilation == 1 && axis.stride <= axis.kernel
}

/// What each layer holds for a range of outputs, by marks: one range a layer, cut at its ends.
fn layers(convs: &[Conv], outputs: Range<i64>) -> Vec<Needed> {
    let mut range = outputs;
    let mut found = Vec::new();
    for conv in convs.iter().rev() {
        let axis = &conv.equation()[0];
        let extent = axis.input.known().unwrap() as i64;
        let all = hull_of(&marked(&Window::from(axis), range));
        let count = |here: &dyn Fn(i64) -> bool| all.clone().filter(|&at| here(at)).count() as i64;
        let inside: Vec<i64> = all.clone().filter(|at| (0..extent).contains(at)).collect();
        found.insert(
            0,
            Needed {
                inside: hull_of(&inside),
                before: count(&|at| at < 0),
                after: count(&|at| at >= extent),
            },
        );
        range = hull_of(&inside);
    }
    found
}

#[test]
fn a_stack_needs_what_the_reference_depends_on() {
    let mut rng = Rng(2);
    let (mut seen, mut transposed, mut exact) = (0, 0, 0);
    while seen < 300 {
        let convs = random_stack(&mut rng);
        if convs.is_empty() {
            continue;
        }
        let stack = Stack::of(&convs).unwrap();
        let depends = depends(&convs);
        let outputs = convs[convs.len() - 1].axes()[0].output.known().unwrap() as i64;
        let start = rng.below(outputs as u64);
        for range in [start..start + 1, start..outputs.min(start + 4), 0..outputs] {
            let matters = |input: &i64| range.clone().any(|p| depends[*input as usize][p as usize]);
            let marks: Vec<i64> = (0..depends.len() as i64).filter(matters).collect();
            let needed = stack.needed(0, range.clone()).unwrap();
            let (found, hull) = (needed.inside.clone(), hull_of(&marks));
            let holds = hull.is_empty() || (found.start <= hull.start && hull.end <= found.end);
            assert!(holds, "{range:?} of {convs:?}: {found:?} {hull:?}");
            if convs.iter().all(dense) {
                assert_eq!(found, hull, "{range:?} of {convs:?}");
                exact += 1;
            }
            assert_eq!(stack.trace(0, range.clone()).unwrap(), layers(&convs, range));
        }
        seen += 1;
        transposed += usize::from(convs.iter().any(|conv| conv.spec().transposed));
    }
    assert!(transposed > 100 && exact > 50, "{transposed} {exact}");
}

#[test]
fn fields_are_the_marks_of_every_output_far_from_the_edges() {
    let mut rng = Rng(3);
    let mut fractional = 0;
    for _ in 0..500 {
        let windows: Vec<Window> = (0..1 + rng.below(4)).map(|_| random_window(&mut rng)).collect();
        let nodes =
            windows.iter().map(|window| Node::Layer(Layer::pooling(vec![*window], vec![None])));
        let field = Stack::new(nodes.collect()).unwrap().field(0).unwrap();
        let see = |p: i64| {
            let marks = windows.iter().rev().fold(vec![p], |marks, window| {
                let mut below: Vec<i64> =
                    marks.iter().flat_map(|&at| marked(window, at..at + 1)).collect();
                below.sort_unstable();
                below.dedup();
                below
            });
            hull_of(&marks)
        };
        let moved = see(field.period);
        let shift = field.stride.times(field.period).unwrap().whole().unwrap();
        assert_eq!(moved, shift_by(see(0), shift), "{windows:?}");
        let sizes = (0..field.period).map(|p| see(p).end - see(p).start);
        let (least, most) = sizes.fold((i64::MAX, 0), |(a, b), size| (a.min(size), b.max(size)));
        assert_eq!((least, most), (field.least, field.size), "{windows:?}");
        if windows.iter().all(|window| window.lhs_dilation == 1) {
            let twice = field.centre.times(2).unwrap();
            assert_eq!(twice.whole(), Some(2 * field.start + field.size - 1), "{windows:?}");
        }
        fractional += usize::from(field.period > 1);
    }
    assert!(fractional > 100, "{fractional}");
}

fn random_window(rng: &mut Rng) -> Window {
    let transposed = rng.below(3) == 0;
    Window {
        kernel: 1 + rng.below(4),
        stride: if transposed { 1 } else { 1 + rng.below(3) },
        dilation: 1 + rng.below(3),
        pad_lo: rng.below(4),
        lhs_dilation: if transposed { 1 + rng.below(3) } else { 1 },
    }
}

fn shift_by(range: Range<i64>, by: i64) -> Range<i64> {
    if range.is_empty() { range } else { range.start + by..range.end + by }
}

#[test]
fn folded_padding_is_read_from_where_the_reference_reads_it() {
    let mut rng = Rng(4);
    let mut seen = 0;
    while seen < 400 {
        let mode =
            ["zeros", "reflect", "symmetric", "replicate", "circular"][rng.below(5) as usize];
        let [extent, kernel, stride, dilation] = [9, 4, 2, 3].map(|n| 1 + rng.below(n));
        let padding = format!("{}:{}", rng.below(7), rng.below(7));
        let text = format!(
            "conv1d in {extent} kernel {kernel} stride {stride} dilation {dilation} pad {padding} mode {mode}"
        );
        let Ok(one) = text.parse::<Conv>() else { continue };
        let depends = depends(std::slice::from_ref(&one));
        let window = Window::from(&one.equation()[0]);
        for p in 0..one.axes()[0].output.known().unwrap() as i64 {
            let marks: Vec<i64> =
                (0..extent).filter(|&q| depends[q as usize][p as usize]).collect();
            let found = read(window.needed(p..p + 1).unwrap(), extent, one.spec().padding_mode);
            // The hull of the window is read, also between taps: at least what matters, and nothing
            // outside.
            let hull = hull_of(&marks);
            let holds = hull.is_empty() || (found.start <= hull.start && hull.end <= found.end);
            assert!(
                holds && found.start >= 0 && found.end <= extent,
                "{text} at {p}: {found:?} {hull:?}"
            );
            if dilation == 1 && mode != "circular" {
                assert_eq!(found, hull, "{text} at {p}");
            }
        }
        seen += 1;
    }
    let wraps = conv("conv1d in 9 kernel 3 pad 1 mode circular");
    let window = Window::from(&wraps.equation()[0]);
    assert_eq!(read(window.needed(8..9).unwrap(), 9, wraps.spec().padding_mode), 0..9);
}

/// A branch: windows of stride 1 with one of stride `stride` among them, so that branches have the
/// same rate.
fn random_branch(rng: &mut Rng, stride: i64, depth: i64) -> Stack {
    let length = 1 + rng.below(3);
    let strided = rng.below(length as u64);
    let node = |at: i64, rng: &mut Rng| {
        let stride = if at == strided { stride } else { 1 };
        if depth > 0 && rng.below(3) == 0 {
            let branches = (0..2 + rng.below(2)).map(|_| random_branch(rng, stride, depth - 1));
            return Node::Join(branches.collect());
        }
        let window = Window {
            kernel: 1 + rng.below(4),
            stride,
            dilation: 1 + rng.below(2),
            pad_lo: rng.below(3),
            lhs_dilation: 1,
        };
        Node::Layer(Layer::pooling(vec![window], vec![None]))
    };
    let nodes = (0..length).map(|at| node(at, rng)).collect();
    Stack::new(nodes).unwrap()
}

/// Marks through steps and branches, by walking the equation.
fn marked_through(stack: &Stack, outputs: Vec<i64>) -> Vec<i64> {
    stack.nodes().iter().rev().fold(outputs, |above, node| {
        let mut below: Vec<i64> = match node {
            Node::Layer(step) => {
                above.iter().flat_map(|&at| marked(&step.windows[0], at..at + 1)).collect()
            }
            Node::Join(branches) => {
                branches.iter().flat_map(|branch| marked_through(branch, above.clone())).collect()
            }
        };
        below.sort_unstable();
        below.dedup();
        below
    })
}

#[test]
fn branches_need_what_any_of_them_marks() {
    let mut rng = Rng(7);
    let mut unaligned = 0;
    for _ in 0..400 {
        let stride = 1 + rng.below(3);
        let stack = random_branch(&mut rng, stride, 2);
        let field = stack.field(0).unwrap();
        let start = rng.below(9) - 4;
        let range = start..start + 1 + rng.below(5);
        let marks = marked_through(&stack, range.clone().collect());
        assert_eq!(stack.needed(0, range).unwrap().inside, hull_of(&marks), "{stack:?}");
        let one = marked_through(&stack, vec![start]);
        assert_eq!(stack.met(0, start).unwrap()[0], one, "{stack:?}");
        assert_eq!(field.stride.whole(), Some(stride));
        let shift = start * stride;
        assert_eq!(
            hull_of(&one),
            field.start + shift..field.start + shift + field.size,
            "{stack:?}"
        );
        unaligned += usize::from(!field.aligned);
    }
    assert!(unaligned > 50, "{unaligned}");
}

#[test]
fn groups_need_the_channels_that_the_reference_depends_on() {
    let mut rng = Rng(8);
    let mut partial = 0;
    for _ in 0..200 {
        let mut channels = 4 * (1 + rng.below(3));
        let conv = |rng: &mut Rng, from: &mut i64| {
            let groups = [1, 2, 4][rng.below(3) as usize];
            let kind = ["conv1d", "conv1d-transposed"][rng.below(2) as usize];
            let to = 4 * (1 + rng.below(3));
            let text = format!("{kind} ic{from} oc{to} g{groups} in 1 kernel 1");
            *from = to;
            conv(&text)
        };
        let convs: Vec<Conv> =
            (0..1 + rng.below(3)).map(|_| conv(&mut rng, &mut channels)).collect();
        let first = rng.below(channels as u64) as usize;
        let last = first + rng.below((channels as usize - first) as u64) as usize;
        // One element a channel, so that an input that matters is a channel that matters.
        let matters = |input: usize| {
            let mut values = vec![0.0; convs[0].in_channels()];
            values[input] = 1.0;
            for conv in &convs {
                let weight = vec![1.0; conv.weight_len()];
                let arguments = reference::Arguments {
                    input: &values,
                    weight: &weight,
                    bias: None,
                    residual: None,
                };
                values = reference::run_f64::<f64>(conv, arguments, &[]).unwrap();
            }
            values[first..=last].iter().any(|value| *value != 0.0)
        };
        let marks: Vec<i64> =
            (0..convs[0].in_channels()).filter(|&at| matters(at)).map(|at| at as i64).collect();
        let needed =
            convs.iter().rev().fold(first..last + 1, |range, conv| channels_needed(conv, range));
        assert_eq!(needed.start as i64..needed.end as i64, hull_of(&marks), "{convs:?}");
        partial += usize::from(needed.len() < convs[0].in_channels());
    }
    assert!(partial > 30, "{partial}");
}
