//! What compiling costs follows from the loop nest, never from the size of a loop: descriptions
//! with one number, or several, as large as they can be are described, scheduled, passed, printed
//! and compiled in the time and memory of small ones, or refused by name.
//!
//! A test binary of its own, because it replaces the allocator with one that counts what its thread
//! holds.

#![deny(clippy::undocumented_unsafe_blocks)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use conv_ir::nest::bill::Bill;
use conv_ir::nest::verify;
use conv_ir::{Conv, Program, Target, analysis, passes};
use conv_jit::x86;
use conv_jit::{Compiled, Lowered, Options};

/// Of one description for one target.
const MOST_TIME: Duration = Duration::from_secs(1);
const MOST_BYTES: i64 = 100 << 20;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count(bytes: i64) {
        // A thread that ends has no counters any more.
        let _ = HELD.try_with(|held| {
            held.set(held.get() + bytes);
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        });
    }
}

// SAFETY: everything is the system allocator's; the counters are a thread's own, need no memory
// from here and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count(layout.size() as i64);
        // SAFETY: the caller's word is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::count(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::count(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Counting::count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What was measured, where that is too much.
fn measured(work: impl FnOnce()) -> Result<(Duration, i64), String> {
    let held = HELD.get();
    PEAK.set(held);
    let start = busy();
    work();
    let (time, bytes) = (busy() - start, PEAK.get() - held);
    match time <= MOST_TIME && bytes <= MOST_BYTES {
        true => Ok((time, bytes)),
        false => Err(format!("{time:?}, {} KiB", bytes >> 10)),
    }
}

/// The time that this thread has run: others may share its core. Where the system does not say, the
/// time that has passed.
fn busy() -> Duration {
    thread_local!(static BORN: Instant = Instant::now());
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| BORN.with(Instant::elapsed), Duration::from_nanos)
}

const TARGETS: [Target; 4] = [Target::CRANELIFT, Target::RUST, Target::AVX2, Target::AVX512];

/// Everything before code, and the leaves' code.
fn explained(conv: &Conv, target: &Target) -> Result<(), conv_jit::Error> {
    let options = Options { target: *target, ..Options::default() };
    let lowered = Lowered::new(&Program::from(conv.clone()), &options)?;
    let Some(choice) = &lowered.groups[0].choice else { return Ok(()) };
    let nest = passes::compile(conv, &choice.schedule, target, &mut |pass, nest| {
        let broken = verify(nest);
        assert!(broken.is_empty(), "{conv}, {target}: after {pass}: {broken:?}");
        let _ = nest.to_string();
    })?;
    for leaf in &nest.leaves {
        let _ = Bill::of(leaf);
        let _ = x86::assemble(&nest, leaf, target.isa).map(|kernel| kernel.text());
    }
    Ok(())
}

fn analysed(conv: &Conv) {
    let _ = analysis::facts(conv);
    let _ = analysis::multiply_adds_inside(conv);
    let _ = analysis::receptive_field(std::slice::from_ref(conv));
    let _ = analysis::savings(std::slice::from_ref(conv));
    let _ = conv.to_string();
}

/// Judges descriptions; those that break a rule are left out. How many there were, and how many
/// were refused for a target.
fn judge(texts: impl IntoIterator<Item = String>) -> (usize, usize) {
    let (mut judged, mut refused, mut wrong) = (0, 0, Vec::new());
    for text in texts {
        let mut check = |what: &str, work: &mut dyn FnMut()| {
            let found = catch_unwind(AssertUnwindSafe(|| measured(work)));
            if let Err(found) = found.unwrap_or_else(|_| Err("panic".to_owned())) {
                wrong.push(format!("{text}: {what}: {found}"));
            }
        };
        let mut conv = None;
        check("described", &mut || conv = text.parse::<Conv>().ok());
        let Some(conv) = conv else { continue };
        judged += 1;
        check("analysed", &mut || analysed(&conv));
        for target in TARGETS {
            check(target.name, &mut || {
                refused += usize::from(explained(&conv, &target).is_err());
            });
        }
        check("compiled", &mut || {
            // Where it is refused, so it was above.
            let options = Options { cache: false, ..Options::default() };
            let _ = Compiled::new(conv.clone(), options);
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    (judged, refused)
}

/// Those that took minutes, gigabytes or the process, and their siblings.
const MONSTERS: &[&str] = &[
    "conv1d-transposed in 2 kernel 3 stride 2147483648",
    "conv1d-transposed in 2 kernel 3 stride 8796093022208",
    "conv1d-transposed in 1000 kernel 48000 stride 24000",
    "conv1d-transposed in 1000 kernel 3 stride 1000003 dilation 2",
    "conv1d-transposed in 1000 kernel 100000 stride 1000003 dilation 7",
    "conv1d-transposed in 1 kernel 2 stride 8796093022208 dilation 8796093022209",
    "conv1d-transposed in 8 kernel 65536 stride 4096",
    "conv2d-transposed in 7x7 kernel 1x1000000",
    "conv2d-transposed in 7x7 kernel 1000x1000 stride 100 pad 300",
    "conv1d in 4 kernel 100000001 pad 50000000",
    "conv1d in 100000 kernel 100000 pad 99999",
    "conv1d in 100000 kernel 500 dilation 100 pad 25000",
    "conv1d in 10000 kernel 200 dilation 40 pad 4000 mode reflect",
    "conv1d in 1000000000 kernel 3 pad 999999999 mode reflect",
    "conv1d in 1000000000 kernel 300 pad 999999999 mode circular",
    "conv2d in 1000000x1000000 kernel 3 pad 999999 mode circular",
    "conv2d in HxW kernel 3 pad 1000000 mode symmetric",
    "conv2d in HxW kernel 1000000x3 pad 703687",
    "conv2d-transposed in HxW kernel 3 stride 1000000",
    "conv2d g1000000000 ic1000000000 oc1000000000 in 8 kernel 3",
    "conv2d ic16777216 oc2097152 in 1 kernel 1",
    "conv7d in 8 kernel 3 pad 1",
    "conv7d in 4 kernel 3 pad 1 mode reflect",
    "conv7d-transposed in 4 kernel 3 stride 2 pad 1",
    "conv8d in 3 kernel 2 pad 1 mode circular",
    "conv8d-transposed in 2 kernel 3 stride 4",
    "conv8d-transposed in 2 kernel 4 stride 3 pad 1",
    "conv8d in AxBxCxDxExFxGxI kernel 3 pad 1",
    "conv8d-transposed in AxBxCxDxExFxGxI kernel 3 stride 2 pad 1",
];

#[test]
fn monsters_cost_what_small_ones_do() {
    let (judged, refused) = judge(MONSTERS.iter().map(|&text| text.to_owned()));
    assert_eq!(judged, MONSTERS.len(), "all of them are descriptions");
    eprintln!("counted: {judged} monsters, {refused} refused for a target");
}

/// Those whose edges were up to 1.2 MiB of code, a fold for each tap of each output.
const FOLDED: &[&str] = &[
    "conv2d ic64 oc64 in 56 kernel 3 pad 1 mode reflect",
    "conv2d ic64 oc64 in 56 kernel 7 pad 3 mode circular",
    "conv2d in 512 kernel 15 pad 7x0 mode reflect",
    "conv3d in 64 kernel 5 pad 2x2x0 mode reflect",
    "conv3d in 64 kernel 7 pad 3x3x0 mode circular",
    "conv3d ic8 oc8 in 64 kernel 5 pad 2x2x0 mode replicate",
    "conv3d ic16 oc16 in 24 kernel 5 pad 2 mode symmetric",
    "conv3d ndhwc g16 ic16 oc16 in 12 kernel 7 pad 3 mode replicate",
    "conv3d ndhwc ic16 oc16 in 12 kernel 3 pad 1 mode reflect",
    "conv3d ic16 oc16 in 12 kernel 3 pad 1 mode reflect",
];

#[test]
fn edges_that_fold_are_short_code() {
    let targets = [conv_jit::Options::default().target, Target::CRANELIFT];
    for (text, target) in FOLDED.iter().flat_map(|text| targets.map(|target| (text, target))) {
        let options = Options { target, cache: false, ..Options::default() };
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let bytes = Compiled::new(conv, options).map(|compiled| compiled.code_bytes());
        let bytes = bytes.unwrap_or_else(|e| panic!("{text}: {e}"));
        eprintln!("counted: {bytes} bytes of code on {} for {text}", target.name);
        assert!(bytes <= 256 << 10, "{text} on {}: {bytes} bytes of code", target.name);
    }
}

/// Every field of a few descriptions as large as it can be, beside words that change the nest.
fn enlarged() -> Vec<String> {
    let bases = [
        "conv1d in 64 kernel 3",
        "conv2d nhwc in 16 kernel 3",
        "conv3d in 12 kernel 3",
        "conv1d-transposed in 32 kernel 3",
        "conv2d-transposed in 9 kernel 3",
        "conv1d in W kernel 3",
        "conv2d in HxW kernel 3",
        "conv2d-transposed in HxW kernel 3",
    ];
    let fields =
        ["n#", "ic#", "oc#", "g# ic# oc#", "in #", "kernel #", "stride #", "dilation #", "pad #"];
    let others = [
        "",
        "pad 1",
        "pad 2 mode reflect",
        "pad 2 mode circular",
        "pad 3 mode replicate",
        "mode constant(2)",
        "pad 1 stride 3",
        "dilation 2",
        "out_pad 1 stride 5",
        "pad same",
    ];
    let large = [255, 4097, 1 << 20, (1 << 31) - 1, 1 << 31, (1u64 << 40) + 1, 1 << 45];
    let mut texts = Vec::new();
    for base in bases {
        for field in fields {
            // What the field's word says is not said again.
            let word = field.trim_end_matches(" #");
            let said: Vec<&str> = base.split_whitespace().collect();
            let kept = |at: &usize| said[*at] != word && (*at == 0 || said[at - 1] != word);
            let rest: Vec<&str> = (0..said.len()).filter(kept).map(|at| said[at]).collect();
            for (other, value) in others.iter().flat_map(|o| large.map(|value| (o, value))) {
                let field = field.replace('#', &value.to_string());
                texts.push(format!("{} {field} {other}", rest.join(" ")));
            }
        }
    }
    texts
}

/// `COMPILE_COST=all` judges all of them, not one in 31.
#[test]
fn any_field_may_be_large() {
    let all = std::env::var("COMPILE_COST").is_ok_and(|which| which == "all");
    let (judged, refused) = judge(enlarged().into_iter().step_by(if all { 1 } else { 31 }));
    eprintln!("counted: {judged} large descriptions, {refused} refused for a target");
    assert!(judged > 60, "{judged}");
}
