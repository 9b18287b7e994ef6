//! Whatever an executor does, and on however small a stack code runs: the bits are those of an
//! ordinary run, the next run is one, and nothing is left behind.

#![deny(clippy::undocumented_unsafe_blocks)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use conv_ir::Conv;
use conv_jit::{Compiled, CurrentThread, Executor, Options, Scratch, conv2d};

/// Bytes that all threads hold.
static HELD: AtomicIsize = AtomicIsize::new(0);

struct Counting;

impl Counting {
    fn count(bytes: isize) {
        HELD.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system allocator's; the counter needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count(layout.size() as isize);
        // SAFETY: the caller's word is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Counting::count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Tests take turns: they count what all threads hold.
static TURN: Mutex<()> = Mutex::new(());

type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// An executor that is a function of the parts and the job.
struct By<F>(F);

impl<F: Fn(usize, Job<'_>) + Sync> Executor for By<F> {
    fn run(&self, parts: usize, job: Job<'_>) {
        (self.0)(parts, job);
    }
}

const PARTS: usize = 5;

/// What an executor should not do.
fn executors() -> Vec<(&'static str, Box<dyn Executor>)> {
    fn by(f: impl Fn(usize, Job<'_>) + Sync + 'static) -> Box<dyn Executor> {
        Box::new(By(f))
    }
    vec![
        ("never calls", by(|_, _| {})),
        ("calls twice", by(|parts, job| (0..2 * parts).for_each(|part| job(part / 2)))),
        ("calls all parts twice", by(|parts, job| (0..2 * parts).for_each(job))),
        ("calls one part only", by(|parts, job| (0..parts).for_each(|_| job(3)))),
        ("invents parts", by(|_, job| [usize::MAX, 1 << 40].into_iter().for_each(job))),
        ("calls half of them, backwards", by(|parts, job| (parts / 2..parts).rev().for_each(job))),
        ("panics first", by(|_, _| panic!("an executor's panic"))),
        (
            "panics in the middle",
            by(|_, job| {
                job(0);
                job(1);
                panic!("an executor's panic")
            }),
        ),
        (
            "panics at the end",
            by(|parts, job| {
                (0..parts).for_each(job);
                panic!("an executor's panic")
            }),
        ),
        (
            "calls all parts from many threads",
            by(|parts, job| {
                thread::scope(|scope| {
                    (0..8).for_each(|_| drop(scope.spawn(|| (0..parts).for_each(job))));
                });
            }),
        ),
        (
            "has a thread that panics",
            by(|_, job| {
                thread::scope(|scope| {
                    let panics = scope.spawn(|| {
                        job(0);
                        panic!("a thread's panic")
                    });
                    scope.spawn(|| job(1));
                    assert!(panics.join().is_err());
                });
            }),
        ),
    ]
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|at| (at * 37 % 101) as f32 / 64.0 - 0.75).collect()
}

#[test]
fn the_bits_do_not_depend_on_what_an_executor_does() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    std::panic::set_hook(Box::new(|_| {})); // these panics are meant
    let conv = conv2d(6, 32, 3).input([20, 20]).padding(1).compile().unwrap();
    let packed = conv.pack(&numbers(6 * 32 * 9), None).unwrap();
    let (input, mut want) = (numbers(6 * 400), vec![0.0; 32 * 400]);
    packed.call(&input, &mut want).executor(&CurrentThread).run().unwrap();
    let mut got = vec![0.0; want.len()];
    let mut scratch = Scratch::new();
    let mut all = || {
        for (what, executor) in executors() {
            for own in [false, true] {
                got.fill(f32::NAN);
                let call = packed.call(&input, &mut got).threads(PARTS).executor(&*executor);
                let call = if own { call.scratch(&mut scratch) } else { call };
                let run = catch_unwind(AssertUnwindSafe(|| call.run().unwrap()));
                assert_eq!(run.is_err(), what.starts_with("panics"), "{what}");
                assert!(run.is_err() || got == want, "{what}");
                // The next one is an ordinary run.
                got.fill(f32::NAN);
                let call = packed.call(&input, &mut got).threads(PARTS).executor(&CurrentThread);
                let call = if own { call.scratch(&mut scratch) } else { call };
                call.run().unwrap();
                assert!(got == want, "the run after an executor that {what}");
            }
        }
    };
    (0..2).for_each(|_| all());
    // The test harness's own threads allocate too, now and then: what leaks does so every time.
    let grown = (0..4).map(|_| {
        let before = HELD.load(Ordering::Relaxed);
        (0..5).for_each(|_| all());
        HELD.load(Ordering::Relaxed) - before
    });
    let least = grown.min();
    let _ = std::panic::take_hook();
    assert!(least <= Some(0), "{least:?} bytes are held that nobody has");
}

#[test]
fn runs_nest() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let conv = conv2d(6, 32, 3).input([20, 20]).padding(1).compile().unwrap();
    let packed = conv.pack(&numbers(6 * 32 * 9), None).unwrap();
    let (input, mut want) = (numbers(6 * 400), vec![0.0; 32 * 400]);
    packed.call(&input, &mut want).executor(&CurrentThread).run().unwrap();
    // The same convolution runs inside of its own run, before, between and after the parts.
    let inner = |parts: usize| {
        let mut output = vec![f32::NAN; want.len()];
        packed.call(&input, &mut output).threads(parts).executor(&CurrentThread).run().unwrap();
        assert!(output == want);
    };
    let nests = By(|parts, job: Job<'_>| {
        (0..parts).for_each(|part| {
            inner(1 + part);
            job(part);
        });
        inner(parts);
    });
    let mut got = vec![f32::NAN; want.len()];
    packed.call(&input, &mut got).threads(PARTS).executor(&nests).run().unwrap();
    assert!(got == want);
}

/// Ordinary layers: none of them may need more stack than the smallest threads have.
const LAYERS: [&str; 12] = [
    "conv2d f32 ic3 oc64 in 56x56 kernel 7 stride 2 pad 3 + bias, relu",
    "conv2d f32 ic64 oc64 in 14x14 kernel 3 pad 1 + bias, relu",
    "conv2d f32 ic64 oc96 in 14x14 kernel 1 + bias + residual, silu",
    "conv2d f32 nhwc ic19 oc35 in 13x14 kernel 3 pad 1 + bias, gelu",
    "conv2d f64 ic16 oc32 in 14x14 kernel 3 pad 1 + bias",
    "conv2d f32 g32 ic32 oc32 in 28x28 kernel 3 stride 2 pad 1 + bias, relu6",
    "conv2d f32 nhwc g32 ic32 oc32 in 28x28 kernel 5 pad 2 + bias",
    "conv2d f32 in 64x65 kernel 15 pad 7 mode reflect",
    "conv2d f32 in 64x65 kernel 5 pad 2 mode circular",
    "conv2d-transposed f32 ic16 oc8 in 14x14 kernel 4 stride 2 pad 1",
    "conv1d f32 ic16 oc24 in 101 kernel 7 dilation 4 pad causal + bias",
    "conv3d f32 ic4 oc8 in 6x9x9 kernel 3 pad 1",
];

fn on_a_small_stack<T: conv_ir::Element + Send + Sync>(conv: &Conv) {
    let numbers = |len: usize| -> Vec<T> {
        numbers(len).into_iter().map(|x| T::from_f64(f64::from(x))).collect()
    };
    let compiled = Compiled::new(conv, Options::default()).unwrap();
    let bias = conv.spec().bias.then(|| numbers(conv.bias_len()));
    let packed = compiled.pack(&numbers(conv.weight_len()), bias.as_deref()).unwrap();
    let input = numbers(conv.input_len().unwrap());
    let residual = conv.spec().residual.then(|| numbers(conv.output_len().unwrap()));
    let run = |parts: usize| {
        let mut output = numbers(conv.output_len().unwrap());
        let call = packed.call(&input, &mut output).threads(parts).executor(&CurrentThread);
        let call = match &residual {
            Some(residual) => call.residual(residual),
            None => call,
        };
        call.run().unwrap();
        output
    };
    let want = run(1);
    thread::scope(|scope| {
        let small = thread::Builder::new().stack_size(64 << 10);
        let got = small.spawn_scoped(scope, || (run(1), run(3))).unwrap().join().unwrap();
        assert!(got == (want.clone(), want.clone()), "{conv}");
    });
}

#[test]
fn code_runs_on_a_stack_of_64_kib() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for text in LAYERS {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        conv_ir::with_element!(conv.dtype(), T => on_a_small_stack::<T>(&conv))
    }
}
