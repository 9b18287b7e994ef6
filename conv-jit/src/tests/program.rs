//! What one convolution can do, several in a row can, and the other way round.

use std::sync::Mutex;
use std::time::Duration;

use conv_ir::program::fuse::Strips;
use conv_ir::program::plan::{Group, Plan};
use conv_ir::separate::Accuracy;
use conv_ir::{Activation, Layout, PaddingMode, Program};

use super::{bits, fill};
use crate::{
    Builder, Compiled, CurrentThread, Error, Executor, Options, Packed, Scratch, StepWeights,
    chain, conv2d,
};

/// Says into how many parts runs were cut.
#[derive(Default)]
struct Counting(Mutex<Vec<usize>>);

impl Executor for Counting {
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        self.0.lock().unwrap().push(parts);
        CurrentThread.run(parts, job);
    }
}

fn said<T>(result: Result<T, Error>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

/// Weights that come later, for each step.
type Arrays = Vec<(Vec<f32>, Option<Vec<f32>>)>;

fn arrays(program: &Program) -> Arrays {
    let arrays = program.convs().zip(1..).map(|(conv, at)| {
        let weight = if conv.known().is_some() { 0 } else { conv.weight_len() };
        (fill(weight, at), conv.spec().bias.then(|| fill(conv.bias_len(), 90 + at)))
    });
    arrays.collect()
}

fn packed(compiled: &Compiled) -> Packed<f32> {
    let arrays = arrays(compiled.program());
    let steps = arrays.iter().map(|(w, b)| StepWeights { weight: w, bias: b.as_deref() });
    compiled.pack_steps(&steps.collect::<Vec<_>>()).unwrap()
}

/// The steps one after the other, each a program of its own.
fn one_by_one(
    program: &Program,
    input: &[f32],
    outside: Option<&[f32]>,
    sizes: &[(&str, usize)],
) -> Vec<f32> {
    let program = program.with_sizes(sizes).unwrap();
    let mut tensors = vec![input.to_vec()];
    for (step, (weight, bias)) in program.steps().iter().zip(arrays(&program)) {
        let packed = Compiled::new(&step.conv, Options::default()).unwrap();
        let packed = packed.pack(&weight, bias.as_deref()).unwrap();
        let mut output = vec![f32::NAN; step.conv.output_len().unwrap()];
        let call = packed.call(&tensors[tensors.len() - 1], &mut output);
        let residual = match step.residual {
            Some(from) => Some(&tensors[from][..]),
            None => outside.filter(|_| step.conv.spec().residual),
        };
        match residual {
            Some(residual) => call.residual(residual).run().unwrap(),
            None => call.run().unwrap(),
        }
        tensors.push(output);
    }
    tensors.pop().unwrap()
}

/// Whether the model's plan, and every step by itself, have the bits of the steps.
fn check(builder: &Builder, outside: bool, sizes: &[(&str, usize)]) {
    let program = builder.describe().unwrap();
    let sized = program.with_sizes(sizes).unwrap();
    let input = fill(sized.len_of(0), 7);
    let len = sized.len_of(sized.steps().len());
    let residual = outside.then(|| fill(len, 8));
    let wanted = one_by_one(&program, &input, residual.as_deref(), sizes);
    let unfused = Plan::unfused(&program);
    for builder in [builder.clone(), builder.clone().plan(unfused)] {
        let packed = packed(&builder.compile().unwrap());
        for threads in [1, 3] {
            let mut output = vec![f32::NAN; len];
            let call = packed.call(&input, &mut output).sizes(sizes).threads(threads);
            let call = match &residual {
                Some(residual) => call.residual(residual),
                None => call,
            };
            call.executor(&CurrentThread).run().unwrap();
            assert!(bits(&output) == bits(&wanted), "{program}, {threads} threads");
        }
    }
}

#[test]
fn steps_flip_grow_and_read_padding_of_every_kind() {
    let start = chain(3, [12, 17]).conv(5, 3).flip(true).padding(1).bias(true);
    let grown = start.clone().conv(4, [2, 4]).transposed(true).stride(2).output_padding([1, 0]);
    check(&grown.clone().pointwise(6).activation(Activation::Relu), false, &[]);
    let folded = start.depthwise(3).flip(true).padding(1).padding_mode(PaddingMode::Reflect);
    check(&folded.clone().pointwise(2), false, &[]);
    check(&folded.layout(Layout::ChannelsLast).batch(2).pointwise(2), false, &[]);
    check(&grown.batch(2).layout(Layout::ChannelsLast), false, &[]);
}

#[test]
fn a_convolution_grows_into_a_chain() {
    let first = conv2d(3, 8, 3).input([9, 10]).padding(1).bias(true);
    check(&first.clone().depthwise(3).pointwise(4).bias(true), false, &[]);
    check(&first, false, &[]);
}

#[test]
fn steps_have_known_weights() {
    let program = chain(2, [15, 16])
        .conv(4, 3)
        .padding(1)
        .depthwise([1, 3])
        .weights_known(&[1.0f32, 0.0, -1.0].repeat(4))
        .pointwise(3)
        .bias(true);
    check(&program, false, &[]);
    let compiled = program.compile().unwrap();
    let missing = said(compiled.ready::<f32>());
    assert_eq!(missing, "the weight of step 1 is not compiled in: `pack` it");
    let arrays = arrays(compiled.program());
    let mut steps: Vec<StepWeights<'_, f32>> =
        arrays.iter().map(|(w, b)| StepWeights { weight: w, bias: b.as_deref() }).collect();
    steps[1] = StepWeights::default();
    compiled.pack_steps(&steps).unwrap();
    steps[1].weight = &arrays[0].0;
    assert_eq!(
        said(compiled.pack_steps(&steps)),
        "step 2: weights were given, but this convolution has its weights compiled in"
    );
}

#[test]
fn a_residual_comes_from_outside() {
    check(&conv2d(2, 3, 3).input([8, 9]).residual(true), true, &[]);
    let block = chain(4, [14, 15]).pointwise(24).depthwise(3).padding(1).pointwise(4);
    let added = block.clone().residual(true).activation(Activation::Relu);
    check(&added, true, &[]);
    // Fused, where the residual is read strip by strip.
    let strips =
        Strips { rows: 4, keep: vec![true; 3], layouts: vec![Layout::ChannelsLast; 3], chunks: 1 };
    let group = Group { steps: 0..3, strips: Some(strips) };
    let plan = Plan { groups: vec![group], reasons: Vec::new() };
    let (input, residual) = (fill(4 * 14 * 15, 7), fill(4 * 14 * 15, 8));
    let wanted = one_by_one(&added.describe().unwrap(), &input, Some(&residual), &[]);
    let fused = packed(&added.clone().plan(plan).compile().unwrap());
    let mut output = vec![f32::NAN; wanted.len()];
    fused.run_residual(&input, &residual, &mut output).unwrap();
    assert!(bits(&output) == bits(&wanted));
    let missing = said(fused.run(&input, &mut output));
    assert_eq!(missing, "the convolution adds a residual, but none was given");
    let two = said(block.residual(true).pointwise(4).residual(true).compile());
    assert!(two.contains("steps 3, 4 each add a residual of the caller's"), "{two}");
}

#[test]
fn free_sizes_go_through_a_chain() {
    let program = chain(3, ["H", "W"])
        .batch("N")
        .conv(8, 3)
        .padding(1)
        .bias(true)
        .depthwise(3)
        .stride([2, 1])
        .padding((0, 1))
        .pointwise(4)
        .stride(2)
        .conv(4, 3)
        .padding(1)
        .residual(3);
    for sizes in [[9, 12, 1], [33, 7, 2], [16, 64, 1], [8, 8, 0]] {
        let sizes = [("H", sizes[0]), ("W", sizes[1]), ("N", sizes[2])];
        check(&program, false, &sizes);
    }
    let packed = packed(&program.compile().unwrap());
    let missing = said(packed.run(&[0.0; 9], &mut [0.0; 9]));
    assert!(missing.contains("the free sizes are N, H, W"), "{missing}");
    let small = said(packed.run_sized(&[], &mut [], &[("H", 1), ("W", 9), ("N", 1)]));
    assert!(small.contains("step 2: output height is"), "{small}");
}

#[test]
fn a_window_of_low_rank_is_two_steps_planned_as_any_other() {
    let bell = [1.0f32, 4.0, 6.0, 4.0, 1.0];
    let blur: Vec<f32> = bell.iter().flat_map(|a| bell.map(|b| a * b)).collect();
    let sobel = [-1.0f32, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
    let exact = chain(1, [61, 70])
        .conv(1, 5)
        .padding(2)
        .padding_mode(PaddingMode::Symmetric)
        .weights_known(&blur)
        .conv(1, 3)
        .padding(1)
        .weights_known(&sobel)
        .residual(1);
    let fast = exact.clone().accuracy(Accuracy::Fast);
    // Whole numbers that f32 holds, so that the order of sums changes nothing.
    let input: Vec<f32> = (0..61 * 70).map(|at| (at * 7919 % 97) as f32).collect();
    let run = |builder: &Builder| {
        let mut output = vec![f32::NAN; input.len()];
        builder.compile().unwrap().ready::<f32>().unwrap().run(&input, &mut output).unwrap();
        output
    };
    let compiled = fast.compile().unwrap();
    let rewritten = compiled.rewritten();
    assert_eq!((rewritten.program.steps().len(), &rewritten.origins[..]), (3, &[0, 0, 1][..]));
    // The residual is the blurred picture, which both passes make.
    assert_eq!(rewritten.program.steps()[2].residual, Some(2));
    assert!(compiled.explain().contains("step 1: the window is of rank 1"));
    assert_eq!(compiled.program(), &exact.describe().unwrap());
    assert_eq!(run(&fast), run(&exact));
    assert_eq!(exact.compile().unwrap().rewritten().program.steps().len(), 2);
    // One window, with another size, as one program of a single group where that is cheaper.
    let big: Vec<f32> = (0..31 * 31).map(|at| ((at / 31 % 5) * (at % 31 % 7)) as f32).collect();
    let one = conv2d(1, 1, 31).input([200, 220]).padding(15).weights_known(&big);
    let fused = one.accuracy(Accuracy::Fast).compile().unwrap();
    assert_eq!(fused.rewritten().program.steps().len(), 2);
    let groups = &fused.plan().groups;
    assert!(groups.len() == 1 && groups[0].strips.is_some(), "{}", fused.explain());
}

#[test]
fn chains_are_cached_with_their_plan() {
    let program = || chain(5, [21, 22]).pointwise(30).depthwise(3).padding(1).pointwise(5);
    let (first, again) = (program().compile().unwrap(), program().compile().unwrap());
    assert!(std::sync::Arc::ptr_eq(&first.shared, &again.shared));
    assert_eq!(again.compile_time(), first.compile_time());
    assert!(first.compile_time().passes > Duration::ZERO);
    let unfused = program().plan(Plan::unfused(first.program())).compile().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first.shared, &unfused.shared));
    let fast = program().accuracy(Accuracy::Fast).compile().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first.shared, &fast.shared));
    let fresh = program().cache(false).compile().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first.shared, &fresh.shared));
}

/// Planning is most of what it takes to compile a chain, so a figure without it would be a lie.
#[test]
fn planning_is_in_the_figures() {
    let program = chain(16, [40, 40]);
    let program = (0..6).fold(program, |p, _| p.conv(16, 3).padding(1)).cache(false);
    let start = std::time::Instant::now();
    let compiled = program.compile().unwrap();
    let (whole, said) = (start.elapsed(), compiled.compile_time().total());
    assert!(said <= whole && said * 2 > whole, "{said:?} of {whole:?} are accounted for");
}

#[test]
fn small_work_wakes_no_threads() {
    let counts = |builder: &Builder, threads: Option<usize>| {
        let packed = packed(&builder.clone().threads(8).compile().unwrap());
        let (input, executor) = (fill(packed.program().len_of(0), 1), Counting::default());
        let steps = packed.program().steps().len();
        let mut output = vec![0.0; packed.program().len_of(steps)];
        let call = packed.call(&input, &mut output).executor(&executor);
        match threads {
            Some(threads) => call.threads(threads).run().unwrap(),
            None => call.run().unwrap(),
        }
        executor.0.into_inner().unwrap()
    };
    let small = chain(2, [8, 8]).conv(2, 3).pointwise(1);
    assert_eq!(counts(&small, None), []);
    assert_eq!(counts(&small, Some(2)), [2], "threads are woken once for both groups");
    assert_eq!(counts(&conv2d(1, 1, 1).input([8, 8]), Some(1 << 28)), [1024]);
    let large = chain(16, [64, 64]).conv(16, 3).padding(1);
    assert_eq!(counts(&large, None), [8]);
    assert_eq!(counts(&large.threads(usize::MAX), None), [8]);
}

#[test]
fn a_caller_brings_the_scratch_of_a_chain() {
    let packed = packed(&chain(3, [20, 21]).conv(8, 3).pointwise(4).conv(2, 3).compile().unwrap());
    let (input, len) = (fill(3 * 20 * 21, 1), 2 * 16 * 17);
    let (mut wanted, mut output, mut scratch) = (vec![0.0; len], vec![0.0; len], Scratch::new());
    packed.run(&input, &mut wanted).unwrap();
    for threads in [1, 3, 2] {
        output.fill(f32::NAN);
        let call = packed.call(&input, &mut output).scratch(&mut scratch);
        call.threads(threads).run().unwrap();
        assert_eq!(output, wanted);
    }
}

#[test]
fn words_that_are_about_no_step_are_refused() {
    let early = chain(3, [8, 8]).stride(2).padding(1).conv(8, 3);
    assert_eq!(
        said(early.describe()),
        "stride: said before there is a step that it could be about\n\
         padding: said before there is a step that it could be about"
    );
    assert_eq!(
        said(chain(3, [8, 8]).conv(8, 3).from([0]).describe()),
        "from: said behind the last step, but it is about the next one"
    );
    assert_eq!(
        said(chain(3, [8, 8]).from([]).conv(8, 3).describe()),
        "from: no tensor is named, but a step reads at least one"
    );
    let (mut net, x) = crate::graph(3, [8, 8]);
    net.step([x], |step| step);
    assert!(said(net.describe()).contains("step: its closure says no step"));
    // Of the whole program, wherever they stand.
    let whole = chain(3, [8, 8]).batch(2).layout(Layout::ChannelsLast).threads(2).conv(8, 3);
    assert_eq!(whole.describe().unwrap().output_shape(), [2, 6, 6, 8]);
}

#[test]
fn a_schedule_is_for_one_step() {
    let schedule = "lanes none borders exact".parse().unwrap();
    let two = chain(1, [8, 8]).conv(1, 3).conv(1, 3).schedule(schedule);
    assert_eq!(said(two.compile()), "a schedule is for one step, but there are 2: give a plan");
}

#[cfg(feature = "ndarray")]
#[test]
fn views_of_a_chain() {
    use ndarray::{ArrayD, IxDyn};
    let program = chain(3, ["H", "W"]).conv(8, 3).padding(1).bias(true).pointwise(2);
    let array = |shape: &[usize]| ArrayD::from_elem(IxDyn(shape), 0.5f32);
    let (first, bias, second) = (array(&[8, 3, 3, 3]), array(&[8]), array(&[2, 8, 1, 1]));
    let steps = [(first.view(), Some(bias.view())), (second.view(), None)];
    let packed = program.compile().unwrap().pack_step_views(&steps).unwrap();
    let (input, mut output) = (array(&[1, 3, 6, 7]), array(&[1, 2, 6, 7]));
    packed.run_view(input.view(), output.view_mut()).unwrap();
    assert_eq!(output[[0, 0, 2, 2]], 8.0 * 0.5 * (27.0 * 0.25 + 0.5));
    let mut narrow = array(&[1, 2, 7, 6]);
    assert!(matches!(
        packed.run_view(input.view(), narrow.view_mut()),
        Err(Error::Shape { name: "output", .. })
    ));
}
