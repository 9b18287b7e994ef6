//! A run allocates nothing: neither the second one, whose scratch comes from the pool, nor one
//! whose scratch is passed in.
//!
//! A test binary of its own, because it replaces the allocator with one that counts what its thread
//! asks for.

#![deny(clippy::undocumented_unsafe_blocks)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use conv_ir::nest::BufferRole;
use conv_ir::program::plan::Plan;
use conv_ir::{Conv, Element, Program, Target};
use conv_jit::{Compiled, Options, Scratch, StepWeights, targets_here};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count() {
        // A thread that ends has no counter any more, and runs no convolution.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: everything is the system allocator's; the counter is a thread's own, needs no memory from
// here and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count();
        // SAFETY: the caller's word is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread while `f` runs.
fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

/// Description, and schedule where it is not the model's choice.
const CASES: &[(&str, &str)] = &[
    ("conv2d f32 ic16 oc32 in 14x14 kernel 3 pad 1 + bias, relu", ""),
    ("conv2d f64 ic16 oc32 in 14x14 kernel 3 pad 1 + bias, relu", ""),
    ("conv2d f32 ic3 oc19 in 33x35 kernel 7 stride 2 pad 3 + bias", ""),
    ("conv2d f32 nhwc ic17 oc35 in 9x9 kernel 1 + bias, gelu", ""),
    ("conv2d f32 g32 ic32 oc32 in 15x19 kernel 3 pad 1 + bias, relu6", ""),
    ("conv2d f32 nhwc g19 ic19 oc19 in 15x19 kernel 3 stride 2 pad 1", ""),
    ("conv2d f32 in 33x65 kernel 5 pad 2", ""),
    ("conv2d f32 in 33x65 kernel 5 pad 2 mode reflect", ""),
    ("conv2d f32 g6 ic6 oc6 in 20x21 kernel 3 pad 1 mode circular + bias", PANEL),
    ("conv2d f32 g6 ic6 oc6 in 20x21 kernel 3 pad 1 + bias", PANEL),
    ("conv1d f32 ic4 oc19 in 101 kernel 3 dilation 4 pad causal + bias", ""),
    ("conv3d f32 ic3 oc5 in 5x6x7 kernel 3 pad 1 + bias", ""),
    ("conv2d-transposed f32 ic8 oc12 in 9x9 kernel 4 stride 2 pad 1", ""),
];

/// Rows are copied into scratch.
const PANEL: &str =
    "lanes ow:4 tile ow:8,oh:2 order n,g,oc,oh,ow borders panel:4 unroll kw,kh pack parallel g";

fn compile(text: &str, schedule: &str, target: Target) -> Compiled {
    let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let given = (!schedule.is_empty())
        .then(|| schedule.parse().unwrap_or_else(|e| panic!("{schedule}: {e}")));
    let options = Options { schedule: given, target, threads: 1, ..Options::default() };
    Compiled::new(&conv, options).unwrap_or_else(|e| panic!("{text}, {target}: {e}"))
}

fn check<T: Element>(compiled: &Compiled, what: &str) {
    let conv = compiled.program().single().unwrap();
    let array = |len| vec![T::from_f64(0.5); len];
    let bias = conv.spec().bias.then(|| array(conv.bias_len()));
    let packed = compiled.pack(&array(conv.weight_len()), bias.as_deref()).unwrap();
    let input = array(conv.input_len().unwrap());
    let mut output = array(conv.output_len().unwrap());
    let mut scratch = Scratch::new();
    packed.run(&input, &mut output).unwrap();
    let again = allocations(|| packed.run(&input, &mut output).unwrap());
    assert_eq!(again, 0, "{what}: a second run");
    packed.call(&input, &mut output).scratch(&mut scratch).run().unwrap();
    let passed_in =
        allocations(|| packed.call(&input, &mut output).scratch(&mut scratch).run().unwrap());
    assert_eq!(passed_in, 0, "{what}: scratch passed in");
}

#[test]
fn a_stream_allocates_nothing() {
    let causal = conv_jit::chain(1, ["T"]).conv(8, 3).padding(conv_jit::Padding::Causal);
    let text = causal.conv(8, 3).dilation(4).padding(4).residual(1);
    let text = text.conv(2, 900).padding(conv_jit::Padding::Causal).describe().unwrap();
    let weights: Vec<Vec<f32>> = text.convs().map(|conv| vec![0.5; conv.weight_len()]).collect();
    let weights: Vec<StepWeights<'_, f32>> = weights.iter().map(|w| w[..].into()).collect();
    // The last step is in parts.
    let accuracy = conv_jit::Accuracy::Fast;
    for target in targets_here() {
        let options = Options { target, accuracy, ..Options::default() };
        let stream = conv_jit::Stream::new(&text, (0, &conv_jit::PIECES), &weights, &options);
        let stream = stream.unwrap();
        let mut state = stream.state().unwrap();
        let (mut input, mut output) = ([0.5; 300], [0.0; 2 * 300]);
        let count = allocations(|| {
            for block in [1, 300, 0, 63, 64, 300] {
                // In the end what the parts add is not finite.
                input[0] = if block == 64 { f32::INFINITY } else { 0.5 };
                let next = stream.next(&state, block);
                stream.push(&mut state, &input[..block], &mut output[..2 * next]).unwrap();
            }
            let left = stream.left(&state);
            stream.flush(&mut state, &mut output[..2 * left]).unwrap();
            stream.reset(&mut state).unwrap();
        });
        assert_eq!(count, 0, "{target}");
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn finding_what_was_compiled_allocates_nothing() {
    let chain = "conv2d ic4 oc8 in 9 kernel 3; conv2d oc4 kernel 1";
    for text in [chain, "conv2d ic4 oc8 in 9 kernel 3 + bias, clamp(-1,1)"] {
        let program: Program = text.parse().unwrap();
        let first = Compiled::new(&program, Options::default()).unwrap();
        // Read again: the same program, not the same memory.
        let (again, options): (Program, _) = (text.parse().unwrap(), Options::default());
        let mut found = None;
        let count = allocations(|| found = Some(Compiled::new(again, options).unwrap()));
        assert_eq!(count, 0, "{text}");
        assert!(std::ptr::eq(first.plan(), found.unwrap().plan()), "{text}");
    }
}

#[test]
fn a_run_allocates_nothing() {
    for target in targets_here() {
        let mut panels = 0;
        for (text, schedule) in CASES {
            let compiled = compile(text, schedule, target);
            panels +=
                usize::from(compiled.groups()[0].nest.buffer_of(BufferRole::Scratch).is_some());
            let what = format!("{text}, {target}");
            conv_ir::with_element!(compiled.dtype(), T => check::<T>(&compiled, &what))
        }
        assert!(panels >= 2, "{target}: {panels} cases use scratch");
    }
}

#[test]
fn a_run_of_a_chain_allocates_nothing() {
    let chain: Program = "conv2d ic16 oc96 in 28 kernel 1 + bias, relu6; conv2d g96 oc96 kernel 3 pad 1 + bias, relu6; conv2d oc16 kernel 1 + bias + residual from 0"
        .parse()
        .unwrap();
    let fused = Plan::choose(&chain, &Target::AVX512, 1);
    assert_eq!(fused.groups.len(), 1, "{:?}", fused.reasons);
    let arrays: Vec<(Vec<f32>, Vec<f32>)> = chain
        .convs()
        .map(|conv| (vec![0.5; conv.weight_len()], vec![0.5; conv.bias_len()]))
        .collect();
    let steps: Vec<StepWeights<'_, f32>> =
        arrays.iter().map(|(w, b)| (w.as_slice(), b.as_slice()).into()).collect();
    let input = vec![0.5; chain.len_of(0)];
    let mut output = vec![0.0; chain.len_of(3)];
    for plan in [fused, Plan::unfused(&chain)] {
        let options = Options { plan: Some(plan), ..Options::default() };
        let packed = Compiled::new(&chain, options).unwrap().pack_steps(&steps).unwrap();
        packed.run(&input, &mut output).unwrap();
        assert_eq!(allocations(|| packed.run(&input, &mut output).unwrap()), 0);
        let mut scratch = Scratch::new();
        packed.call(&input, &mut output).scratch(&mut scratch).run().unwrap();
        let passed_in =
            allocations(|| packed.call(&input, &mut output).scratch(&mut scratch).run().unwrap());
        assert_eq!(passed_in, 0, "scratch passed in");
    }
}

#[test]
fn a_run_of_sizes_that_were_met_allocates_nothing() {
    let conv: Conv = "conv2d ic4 oc8 in HxW kernel 3 pad 1 + bias".parse().unwrap();
    let compiled = Compiled::new(&conv, Options { threads: 1, ..Options::default() }).unwrap();
    let packed = compiled.pack(&vec![0.5f32; conv.weight_len()], Some(&[0.5; 8])).unwrap();
    let run = |h: usize, w: usize, scratch: &mut Scratch| {
        let (input, mut output) = (vec![0.5; 4 * h * w], vec![0.0; 8 * h * w]);
        let sizes = [("H", h), ("W", w)];
        let own = allocations(|| packed.run_sized(&input, &mut output, &sizes).unwrap());
        let call = packed.call(&input, &mut output).sizes(&sizes).scratch(scratch);
        (own, allocations(|| call.run().unwrap()))
    };
    let mut scratch = Scratch::new();
    let sizes = [(9, 17), (33, 5), (16, 16)];
    // The second run of a size compiles it, the third brings scratch.
    for (h, w) in sizes.into_iter().chain(sizes) {
        run(h, w, &mut scratch);
    }
    for (h, w) in sizes {
        assert_eq!(run(h, w, &mut scratch), (0, 0), "{h}x{w}");
    }
}
