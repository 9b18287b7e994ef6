//! The run-time API.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use conv_ir::program::plan::Plan;
use conv_ir::separate::Accuracy;
use conv_ir::{Layout, Target};
use conv_jit::{Compiled, Executor, Options, Packed, Scratch, StepWeights};
use ndarray::{Array, ArrayD, IxDyn};

use super::{Case, Scalar, plain as text_of, text};

fn options() -> Options {
    Options { cache: false, ..Options::default() }
}

fn steps<T>(case: &Case<T>) -> Vec<StepWeights<'_, T>> {
    let steps = case.weights.iter();
    steps.map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() }).collect()
}

fn packed<T: Scalar>(case: &Case<T>, options: Options) -> Packed<T> {
    let compiled = Compiled::new(&case.program, options).expect("it compiles");
    compiled.pack_steps(&steps(case)).expect("they fit")
}

fn output<T: Scalar>(case: &Case<T>) -> Vec<T> {
    vec![T::from_f64(f64::NAN); case.wanted.len()]
}

#[track_caller]
fn checked<T: Scalar>(case: &Case<T>, packed: &Packed<T>, sizes: &[(&str, usize)]) {
    let mut output = output(case);
    packed.call(&case.input, &mut output).sizes(sizes).run().expect("it runs");
    case.check(&output);
}

pub fn plain<T: Scalar>(steps: usize) {
    let case = Case::<T>::new(text_of(steps));
    checked(&case, &packed(&case, options()), &[]);
}

pub fn scratch(steps: usize) {
    let case = Case::<f32>::new(text_of(steps));
    let (packed, mut scratch) = (packed(&case, options()), Scratch::new());
    for _ in 0..2 {
        let mut output = output(&case);
        packed.call(&case.input, &mut output).scratch(&mut scratch).run().expect("it runs");
        case.check(&output);
    }
}

/// A program that nobody else has is compiled once.
pub fn cache(steps: usize) {
    let case = Case::<f32>::new(&text(steps, "conv2d ic3 oc5 in 7x9 kernel 2", "conv2d kernel 2"));
    let options = || Options { cache: true, ..options() };
    let bytes = |_| Compiled::new(&case.program, options()).expect("it compiles").compile_time();
    // What took so long, to the nanosecond, was done once.
    let [first, second] = [0, 1].map(bytes);
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    checked(&case, &packed(&case, options()), &[]);
}

pub fn accuracy(steps: usize) {
    let first = "conv2d ic1 oc1 in 40x40 kernel 9 pad 4";
    let case = Case::<f32>::windows(&text(steps, first, "conv2d kernel 9"), &[1.0; 81]);
    let options = Options { accuracy: Accuracy::Fast, ..options() };
    let fast = Compiled::new(case.known(), options).expect("it compiles");
    assert!(!fast.rewritten().separated.is_empty(), "{}", fast.explain());
    checked(&case, &fast.ready().expect("all is known"), &[]);
}

pub fn schedule() {
    let case = Case::<f32>::new(text_of(1));
    let schedule = Some("lanes none".parse().expect("a schedule"));
    let packed = packed(&case, Options { schedule, ..options() });
    assert!(packed.compiled().explain().contains("the schedule was given"));
    checked(&case, &packed, &[]);
}

pub fn plan() {
    let case = Case::<f32>::new(text_of(2));
    let plan = Plan::unfused(&case.program);
    let packed = packed(&case, Options { plan: Some(plan.clone()), ..options() });
    assert_eq!(packed.compiled().plan(), &plan);
    checked(&case, &packed, &[]);
}

pub fn target(steps: usize) {
    let case = Case::<f32>::new(text_of(steps));
    let packed = packed(&case, Options { target: Target::CRANELIFT, ..options() });
    assert_eq!(packed.compiled().target().name, Target::CRANELIFT.name);
    checked(&case, &packed, &[]);
}

/// Counts the parts that it is given.
struct Counting(AtomicUsize);

impl Executor for Counting {
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_max(parts, Relaxed);
        (0..parts).for_each(job);
    }
}

/// As many as there is work for, however many are allowed; and as many as a call asks for.
pub fn threads(steps: usize) {
    let parts = |text: &str, asked: Option<usize>| {
        let case = Case::<f32>::new(text);
        let (packed, counting) =
            (packed(&case, Options { threads: 4, ..options() }), Counting(AtomicUsize::new(1)));
        let mut output = output(&case);
        let call = packed.call(&case.input, &mut output).executor(&counting);
        let call = match asked {
            Some(asked) => call.threads(asked),
            None => call,
        };
        call.run().expect("it runs");
        case.check(&output);
        counting.0.into_inner()
    };
    let large = text(steps, "conv2d ic64 oc64 in 40x40 kernel 3 pad 1", "conv2d oc64 kernel 1");
    assert_eq!(parts(text_of(steps), None), 1);
    assert_eq!(parts(text_of(steps), Some(2)), 2);
    assert!(parts(&large, None) > 1);
}

pub fn known(steps: usize) {
    let case = Case::<f32>::new(text_of(steps));
    let compiled = Compiled::new(case.known(), options()).expect("it compiles");
    checked(&case, &compiled.ready().expect("all is known"), &[]);
}

pub fn flip(steps: usize) {
    let text = text(steps, "conv2d ic2 oc3 in 6x5 kernel 3 flip", "conv2d oc1 kernel 2 flip");
    let case = Case::<f32>::new(&text);
    checked(&case, &packed(&case, options()), &[]);
}

pub fn out_pad(steps: usize) {
    let first = "conv2d-transposed ic2 oc3 in 3x2 kernel 3 stride 2 out_pad 1";
    let case = Case::<f32>::new(&text(steps, first, "conv2d oc1 kernel 1"));
    checked(&case, &packed(&case, options()), &[]);
}

fn sized(text: &str, sizes: &[&[(&str, usize)]]) {
    let free = packed(&Case::<f32>::sized(text, sizes[0]), options());
    for sizes in sizes {
        checked(&Case::sized(text, sizes), &free, sizes);
    }
}

pub fn batch(steps: usize) {
    let text = text(steps, "conv2d nN ic2 oc3 in 6x5 kernel 3", "conv2d oc1 kernel 1");
    sized(&text, &[&[("N", 2)], &[("N", 3)]]);
}

pub fn extents(steps: usize) {
    let text = text(steps, "conv2d ic2 oc3 in HxW kernel 3 stride 2", "conv2d oc1 kernel 2");
    sized(&text, &[&[("H", 9), ("W", 8)], &[("H", 12), ("W", 7)]]);
}

fn array<T: Scalar>(shape: &[usize], numbers: &[T]) -> ArrayD<T> {
    Array::from_shape_vec(IxDyn(shape), numbers.to_vec()).expect("they fit")
}

pub fn views(steps: usize) {
    let case = Case::<f32>::new(text_of(steps));
    let compiled = Compiled::new(&case.program, options()).expect("it compiles");
    let shaped = case.program.convs().zip(&case.weights).map(|(conv, (weight, bias))| {
        let bias = bias.as_ref().map(|bias| array(&conv.bias_shape(), bias));
        (array(&conv.weight_shape(), weight), bias)
    });
    let arrays: Vec<_> = shaped.collect();
    let views = arrays.iter().map(|(w, b)| (w.view(), b.as_ref().map(|b| b.view())));
    let packed = compiled.pack_step_views(&views.collect::<Vec<_>>()).expect("they fit");
    let input = array(&case.program.input_shape(), &case.input);
    let mut output = ArrayD::zeros(IxDyn(&case.program.output_shape()));
    packed.run_view(input.view(), output.view_mut()).expect("it runs");
    case.check(output.as_slice().expect("in order"));
}

pub fn explain(steps: usize) {
    let case = Case::<f32>::new(text_of(steps));
    let text = packed(&case, options()).compiled().explain();
    let part = if steps == 1 { "schedule  " } else { "plan  " };
    assert!(text.contains("route  ") && text.contains(part), "{text}");
}

/// Of arrays in any order, missing sizes and missing weights.
pub fn advice() {
    let case = Case::<f32>::new("conv2d ic2 oc1 in 3x4 kernel 2");
    let packed = packed(&case, options());
    let shape = case.program.output_shape();
    let mut output = ArrayD::<f32>::zeros(IxDyn(&shape));
    let turned = array(&[1, 2, 4, 3], &case.input).permuted_axes(IxDyn(&[0, 1, 3, 2]));
    packed.run_view(turned.as_standard_layout().view(), output.view_mut()).expect("it is in order");
    let mut again = output.clone();
    packed.run_view(turned.view(), again.view_mut()).expect("it is copied");
    assert_eq!(again, output);
    // A picture whose channels stand last, seen as if they stood first.
    let picture = array(&[1, 3, 4, 2], &case.input);
    let first = picture.view().permuted_axes(IxDyn(&[0, 3, 1, 2]));
    packed.run_view(first, again.view_mut()).expect("it is copied");
    let last = conv_jit::conv2d(2, 1, 2).input([3, 4]).layout(Layout::ChannelsLast);
    let last = last.compile().expect("it compiles").pack(&case.weights[0].0, None).expect("fits");
    let mut output = ArrayD::zeros(IxDyn(&[1, 2, 3, 1]));
    last.run_view(picture.view(), output.view_mut()).expect("it lies as described");
    assert!(output.iter().eq(&again));

    let error = conv_jit::conv2d(2, 1, 2).compile().expect_err("no sizes");
    assert!(error.to_string().contains("say `.input([height, width])`"), "{error}");
    let compiled = conv_jit::conv2d(2, 1, 2).input([3, 4]).compile().expect("it compiles");
    let error = compiled.ready::<f32>().expect_err("no weights");
    assert!(error.to_string().contains("`pack` it"), "{error}");
    compiled.pack(&case.weights[0].0, None).expect("fits");
}
