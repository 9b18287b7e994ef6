//! Machine code touches nothing outside the caller's arrays: each lies against pages that nobody
//! may read or write, once with its first byte and once with its last.
//!
//! Machine code checks nothing, so only the hardware can tell: a vector that reads a lane too far
//! faults here, and nowhere else. Packed weights and scratch are the library's own, with room
//! behind them, and are not guarded.
//!
//! A fault ends the process. So cases run in a child, which says each one before it runs; where the
//! child dies, the parent tells the last one.

use std::io::Write;
use std::marker::PhantomData;
use std::process::Command;

use conv_ir::chain::fuse::Strips;
use conv_ir::chain::plan::{Group, Plan};
use conv_ir::reference::{self, Arguments};
use conv_ir::{Conv, DType, Element, Schedule, Target};
use region::{Allocation, Protection};

use super::{Case, bits};
use crate::{Compiled, CurrentThread, Error, Options, StepWeights, targets_here};

#[path = "../../../tests/src/shapes.rs"]
mod shapes;

/// Bytes on either side that nobody may touch: more than a row of any case, so that one row too far
/// is found as well as one lane.
const GUARD: usize = 64 << 10;

/// Beyond the core: widths around vectors' lengths, and windows that hang over the edge by any
/// number of lanes.
fn others() -> Vec<String> {
    let mut cases = Vec::new();
    for width in [7, 14, 19, 33] {
        for stride in [1, 2] {
            for layout in ["nchw", "nhwc"] {
                cases.push(format!(
                    "conv2d f32 {layout} g19 ic19 oc19 in 9x{width} kernel 3 stride {stride} pad 1 + bias, relu6"
                ));
            }
            cases.push(format!(
                "conv2d f32 g6 ic6 oc12 in 7x{width} kernel 5 stride {stride} pad 2"
            ));
        }
    }
    for (kernel, mode) in
        [(3, "zeros"), (3, "reflect"), (5, "zeros"), (5, "circular"), (15, "zeros")]
    {
        for size in ["17x19", "31x33", "23x67"] {
            let pad = kernel / 2;
            cases.push(format!("conv2d f32 in {size} kernel {kernel} pad {pad} mode {mode}"));
            cases.push(format!("conv2d f32 in {size} kernel {kernel}"));
        }
    }
    let rest = [
        "conv2d f32 ic5 oc19 in 13x17 kernel 3 dilation 2 pad 2 + bias",
        "conv2d f32 ic3 oc7 in 15x21 kernel 3 dilation 3x2 pad 3,2 + residual, silu",
        "conv2d f32 g13 ic13 oc13 in 11x21 kernel 3 dilation 2 pad 2 + bias + residual",
        "conv1d f32 ic4 oc19 in 37 kernel 3 dilation 4 pad causal + bias",
        "conv1d f32 ic1 oc1 in 101 kernel 7 pad causal",
        "conv1d f32 g7 ic7 oc7 in 45 kernel 4 pad causal + bias, relu",
        "conv2d f32 ic17 oc35 in 1x1 kernel 1 + bias + residual",
        "conv2d f32 nhwc ic3 oc21 in 17x19 kernel 7 stride 2 pad 3 + bias + residual, gelu",
    ];
    cases.extend(rest.map(str::to_owned));
    cases
}

/// All of them; the core with a residual, so that there is one array more to guard.
fn cases() -> Vec<String> {
    let core = [shapes::core(false), shapes::core(true)].concat();
    let with_residual = core.iter().map(|case| case.replace("+ bias", "+ bias + residual"));
    with_residual.chain(others()).collect()
}

/// With `L` for a vector's lanes. None is the model's choice; where one of the others is illegal,
/// it is left out.
const SCHEDULES: [Option<&str>; 8] = [
    None,
    Some("lanes oc:L tile oc:2L,ow:3 borders exact unroll kw pack parallel oc"),
    Some("lanes oc:L tile oc:L,ow:5 borders panel:4 pack"),
    Some("lanes g:L tile g:L,ow:3 borders exact unroll kh,kw pack"),
    Some("lanes ow:L tile ow:2L,oh:2 borders mask unroll kh,kw pack"),
    Some("lanes ow:L tile oc:2,ow:L borders mask"),
    Some("lanes ow:L tile ow:L borders exact"),
    Some("lanes ow:L tile oc:2,ow:2L borders panel:2 unroll kw pack"),
];

fn schedule(text: &str, dtype: DType, target: Target) -> Schedule {
    let lanes = target.lanes(dtype.bytes());
    let text = text.replace("2L", &(2 * lanes).to_string());
    text.replace('L', &lanes.to_string()).parse().unwrap()
}

/// On which side of an array the pages are that nobody may touch.
#[derive(Clone, Copy, Debug)]
enum Side {
    Before,
    Behind,
}

/// An array between two guards, and directly against one of them.
struct Guarded<T> {
    /// Guard, whole pages, guard.
    memory: Allocation,
    offset: usize,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Element> Guarded<T> {
    fn new(values: &[T], side: Side) -> Self {
        let bytes = size_of_val(values);
        let inner = bytes.div_ceil(region::page::size()).max(1) * region::page::size();
        let mut memory = region::alloc(GUARD + inner + GUARD, Protection::READ_WRITE).unwrap();
        let start = memory.as_mut_ptr::<u8>();
        for guard in [start, start.wrapping_add(GUARD + inner)] {
            // SAFETY: these pages are in the allocation, and nobody has a reference to them.
            unsafe { region::protect(guard, GUARD, Protection::NONE) }.unwrap();
        }
        let offset = match side {
            Side::Before => GUARD,
            Side::Behind => GUARD + inner - bytes,
        };
        let len = values.len();
        let mut guarded = Guarded { memory, offset, len, of: PhantomData };
        guarded.as_mut_slice().copy_from_slice(values);
        guarded
    }

    fn as_slice(&self) -> &[T] {
        let start = self.memory.as_ptr::<u8>().wrapping_add(self.offset).cast();
        // SAFETY: the pages between the guards are readable, hold `len` numbers from `start` on,
        // and start and end on multiples of a number's size.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        let start = self.memory.as_mut_ptr::<u8>().wrapping_add(self.offset).cast();
        // SAFETY: as in `as_slice`; they are writable too, and borrowed as `self` is.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

fn run<T: Element>(compiled: &Compiled, arrays: Arguments<'_, T>, output: &mut [T]) {
    let packed = compiled.pack(arrays.weight, arrays.bias).unwrap();
    let call = packed.call(arrays.input, output).executor(&CurrentThread);
    let call = match arrays.residual {
        Some(residual) => call.residual(residual),
        None => call,
    };
    call.run().unwrap();
}

fn arguments<T>(case: &Case<T>) -> Arguments<'_, T> {
    Arguments {
        input: &case.input,
        weight: &case.weight,
        bias: case.bias.as_deref(),
        residual: case.residual.as_deref(),
    }
}

fn guarded<T: Element>(compiled: &Compiled, case: &Case<T>, len: usize, side: Side) -> Vec<T> {
    let place = |values: &[T]| Guarded::new(values, side);
    let (input, weight) = (place(&case.input), place(&case.weight));
    let (bias, residual) = (case.bias.as_deref().map(place), case.residual.as_deref().map(place));
    let mut output = place(&vec![T::from_f64(f64::NAN); len]);
    let arrays = Arguments {
        input: input.as_slice(),
        weight: weight.as_slice(),
        bias: bias.as_ref().map(Guarded::as_slice),
        residual: residual.as_ref().map(Guarded::as_slice),
    };
    run(compiled, arrays, output.as_mut_slice());
    output.as_slice().to_vec()
}

/// The code, unless the schedule is not for this convolution or this route.
fn compiled(conv: &Conv, target: Target, text: Option<&str>) -> Option<Compiled> {
    let options = Options {
        schedule: text.map(|text| schedule(text, conv.dtype(), target)),
        target,
        cache: false,
        ..Options::default()
    };
    match Compiled::new(conv, options) {
        Ok(compiled) => Some(compiled),
        Err(Error::Conv(conv_ir::Error::IllegalSchedule(_)) | Error::Unsupported(_))
            if text.is_some() =>
        {
            None
        }
        Err(e) => panic!("{conv}, {target}: {e}"),
    }
}

/// Anywhere, the reference's bits; where there is no fused multiply-add, at least the same bits
/// everywhere.
fn check<T: Element>(compiled: &Compiled, target: Target, case: &Case<T>, reference: &[T]) {
    let what = |of: &str| {
        format!(
            "{}, {target}, {of}, schedule {}",
            compiled.program(),
            compiled.groups()[0].choice.as_ref().unwrap().schedule
        )
    };
    let mut want = vec![T::from_f64(f64::NAN); reference.len()];
    run(compiled, arguments(case), &mut want);
    if compiled.shared.isa.has_fma() {
        assert!(bits(&want) == bits(reference), "{}", what("no guard"));
    }
    for side in [Side::Before, Side::Behind] {
        let what = what(&format!("guard {side:?}"));
        say(&what);
        let got = guarded(compiled, case, want.len(), side);
        assert!(bits(&got) == bits(&want), "other bits: {what}");
    }
}

fn on_every_target<T: Element>(conv: &Conv) {
    let case = Case::<T>::new(conv);
    let reference = reference::run(conv, arguments(&case), &[]).unwrap();
    for target in targets_here() {
        for compiled in SCHEDULES.iter().filter_map(|text| compiled(conv, target, *text)) {
            check(&compiled, target, &case, &reference);
        }
    }
}

/// Chains whose strips begin and end at every distance from the edges, between tensors in both
/// layouts.
const CHAINS: [&str; 6] = [
    "conv2d ic3 oc19 in 13x17 kernel 1 + bias, relu6; conv2d g19 oc19 kernel 3 pad 1 + bias, relu6; conv2d oc3 kernel 1 + residual from 0",
    "conv2d g19 ic19 oc19 in 15x14 kernel 3 stride 2 pad 1, relu; conv2d oc33 kernel 1 + bias",
    "conv2d in 23x67 kernel 15x1 pad 7,0; conv2d kernel 1x15 pad 0,7",
    "conv2d ic3 oc16 in 17x19 kernel 3 pad 1; conv2d oc21 kernel 3 stride 2 pad 1 + bias",
    "conv2d n2 nhwc ic5 oc16 in 14x9 kernel 1; conv2d g16 oc16 kernel 5 pad 2; conv2d oc7 kernel 1",
    "conv1d ic2 oc16 in 101 kernel 2 dilation 2 pad causal + bias; conv1d oc3 kernel 3 pad 1",
];

/// A chain's strips of `rows` rows on every target, its arrays between guards.
fn chain_on_every_target(text: &str, rows: usize, layout: conv_ir::Layout) {
    let chain: conv_ir::Chain = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let count = chain.steps().len();
    let strips = Strips {
        rows,
        keep: vec![rows.is_multiple_of(2); count],
        layouts: vec![layout; count],
        chunks: 1,
    };
    let plan =
        Plan { groups: vec![Group { steps: 0..count, strips: Some(strips) }], reasons: Vec::new() };
    let input = super::fill::<f32>(chain.len_of(0), 1);
    for target in targets_here() {
        for side in [Side::Before, Side::Behind] {
            let place = |len: usize, seed: u64| Guarded::new(&super::fill::<f32>(len, seed), side);
            let options = |plan| Options { plan: Some(plan), target, ..Options::default() };
            let numbered = chain.convs().zip(2..);
            let arrays: Vec<_> = numbered
                .map(|(conv, at)| {
                    let bias = conv.spec().bias.then(|| place(conv.bias_len(), 90 + at));
                    (place(conv.weight_len(), at), bias)
                })
                .collect();
            let steps: Vec<StepWeights<'_, f32>> = arrays
                .iter()
                .map(|(weight, bias)| StepWeights {
                    weight: weight.as_slice(),
                    bias: bias.as_ref().map(Guarded::as_slice),
                })
                .collect();
            say(&format!("{text}, {target}, {rows} rows, guard {side:?}"));
            let ready =
                |plan| Compiled::new(&chain, options(plan)).unwrap().pack_steps(&steps).unwrap();
            let mut want = vec![f32::NAN; chain.len_of(count)];
            ready(Plan::unfused(&chain)).run(&input, &mut want).unwrap();
            let (guarded, mut output) = (Guarded::new(&input, side), place(want.len(), 3));
            let fused = ready(plan.clone());
            fused.run(guarded.as_slice(), output.as_mut_slice()).unwrap();
            assert!(
                bits(output.as_slice()) == bits(&want),
                "other bits: {text}, {target}, {rows} rows"
            );
        }
    }
}

/// Past the test harness, whose buffer dies with the process.
fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

#[test]
#[ignore = "run by `nothing_outside_the_arrays_is_touched`, in a process of its own"]
fn child() {
    for case in cases() {
        for dtype in [DType::F32, DType::F64] {
            let text = case.replace(" f32 ", &format!(" {dtype} "));
            let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            match dtype {
                DType::F32 => on_every_target::<f32>(&conv),
                DType::F64 => on_every_target::<f64>(&conv),
            }
        }
    }
    for text in CHAINS {
        for rows in [2, 3, 4, 7] {
            for layout in [conv_ir::Layout::ChannelsFirst, conv_ir::Layout::ChannelsLast] {
                chain_on_every_target(text, rows, layout);
            }
        }
    }
}

#[test]
fn nothing_outside_the_arrays_is_touched() {
    let words = ["tests::guard::child", "--exact", "--ignored", "--nocapture"];
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(words).env("RUST_BACKTRACE", "0").output().unwrap();
    let (stdout, stderr) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = stderr.lines().collect();
    let last = lines.iter().rposition(|line| line.contains(", guard ")).unwrap_or(0);
    assert!(output.status.success(), "{}\n{}", output.status, lines[last..].join("\n"));
    assert!(String::from_utf8_lossy(stdout).contains("1 passed"), "no child ran");
    let ran = stderr.lines().filter(|line| line.contains(", guard ")).count();
    let targets: Vec<&str> = targets_here().map(|target| target.name).collect();
    assert!(ran >= cases().len() * targets.len() * 4, "{stderr}");
    eprintln!("{ran} runs between guards, on: {}", targets.join(", "));
}
