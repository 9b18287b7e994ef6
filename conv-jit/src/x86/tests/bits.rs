//! Every form of leaf that schedules make today, in f32 and f64, on both machines.

use conv_ir::interp::{Arguments, run};
use conv_ir::nest::BufferRole;
use conv_ir::{DType, Element, Isa, Nest};

use super::driver::{Loaded, Memory};
use super::{BOTH, nest};
use crate::host::is_here;

/// Description and schedule with `L` for the lanes of a vector, `2L` and `3L` for multiples; an
/// empty schedule is the chooser's.
const CASES: &[(&str, &str)] = &[
    (
        "conv2d F n1 g1 ic5 oc32 in 14x14 kernel 3x3 pad 1 + bias",
        "lanes oc:L tile oc:L,ow:7 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic5 oc50 in 14x14 kernel 3x3 pad 1 + bias, relu",
        "lanes oc:L tile oc:L,ow:14 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n2 g1 ic7 oc33 in 9x11 kernel 3x3 pad 1 stride 2 + bias",
        "lanes oc:L tile oc:2L,ow:5 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic16 oc20 in 8x8 kernel 1x1 + bias + residual, hardswish",
        "lanes oc:L tile oc:2L,ow:4 order n,g,oc,ow borders exact pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic3 oc40 in 17x19 kernel 5x5 pad 2 dilation 2, sigmoid",
        "lanes oc:L tile oc:2L,ow:3 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic3 oc18 in 8x9 kernel 3x3 pad 1 mode reflect + bias, tanh",
        "lanes oc:L tile oc:L,ow:4 order n,g,oc,oh,ow borders panel:4 unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic3 oc18 in 8x9 kernel 3x3 pad 1 + bias, gelu",
        "lanes oc:L tile oc:L,ow:4 order n,g,oc,oh,ow borders exact unroll kh,kw pack parallel oh",
    ),
    (
        "conv2d F n1 nhwc g1 ic6 oc37 in 8x9 kernel 3x3 pad 1 + bias + residual, silu",
        "lanes oc:L tile oc:2L,ow:4 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 nhwc g37 ic37 oc37 in 8x9 kernel 3x3 pad 1 + bias, leaky_relu(0.1)",
        "lanes g:L tile g:2L,ow:3 order n,g,oh,ow borders exact unroll kw,kh pack parallel g",
    ),
    (
        "conv2d F n1 g6 ic6 oc6 in 20x21 kernel 3x3 pad 1 + bias, relu6",
        "lanes ow:L tile ow:2L,oh:2 order n,g,oc,oh,ow borders panel:4 unroll kw,kh pack parallel g",
    ),
    (
        "conv2d F n1 g6 ic6 oc12 in 20x37 kernel 5x5 pad 2 stride 2 + bias",
        "lanes ow:L tile ow:L,oh:2 order n,g,oc,oh,ow borders panel:4 unroll kw,kh pack parallel g",
    ),
    (
        "conv2d F n1 g1 ic2 oc2 in 20x40 kernel 3x3 + bias + residual, tanh",
        "lanes ow:L tile oc:2,ow:L order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d-transposed F n1 g1 ic6 oc20 in 9x9 kernel 3x3 stride 2 pad 1 out_pad 1 + bias",
        "lanes oc:L tile oc:2L,ow:4 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d-transposed F n1 g2 ic6 oc20 in 7x5 kernel 4x4 stride 2 + bias, clamp(-0.5,0.5)",
        "lanes oc:L tile oc:L,ow:4 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    // Outputs of a phase are two or four apart: whole vectors under a mask.
    (
        "conv2d-transposed F n1 g1 ic3 oc5 in 9x37 kernel 2x2 stride 2 + bias, relu",
        "lanes ow:L tile oc:2,ow:2L order n,g,oc,oh,ow borders exact pack parallel oc",
    ),
    (
        "conv2d-transposed F n1 g1 ic3 oc20 in 5x40 kernel 2x2 stride 2 + bias",
        "lanes oc:L tile oc:L,ow:L order n,g,oc,oh,ow borders exact pack parallel oc",
    ),
    (
        "conv2d-transposed F n1 g1 ic3 oc20 in 5x23 kernel 2x2 stride 2 + bias",
        "lanes oc:L tile oc:L,ow:21 order n,g,oc,oh,ow borders exact pack parallel oc",
    ),
    (
        "conv1d-transposed F n1 g1 ic3 oc3 in 75 kernel 4 stride 4 + bias, silu",
        "lanes ow:L tile ow:2L order n,g,oc,ow borders exact pack parallel oc",
    ),
    (
        "conv1d-transposed F n1 g1 ic3 oc19 in 75 kernel 8 stride 4 pad 2 + bias",
        "lanes oc:L tile oc:L,ow:6 order n,g,oc,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv1d F n1 g1 ic3 oc19 in 100 kernel 7 pad 6 dilation 2 + bias",
        "lanes oc:L tile oc:L,ow:6 order n,g,oc,ow borders exact pack parallel oc",
    ),
    (
        "conv3d F n1 g1 ic3 oc19 in 5x6x7 kernel 3x3x3 pad 1 + bias",
        "lanes oc:L tile oc:2L,ow:5 order n,g,oc,od,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic3 oc5 in 6x7 kernel 3x3 pad 1 + bias, hardsigmoid",
        "lanes none tile oc:2,ow:3 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic3 oc16 in 6x16 kernel 3x3 pad 1 + bias",
        "lanes oc:L tile oc:L,ow:13 order n,g,oc,oh,ow borders exact unroll kw parallel oc",
    ),
    (
        "conv2d F n1 g1 ic9 oc64 in 7x7 kernel 3x3 pad 1 + bias",
        "lanes oc:L tile oc:3L,ow:3 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic5 oc64 in 14x14 kernel 3x3 pad 1 + bias, gelu",
        "lanes oc:L tile oc:2L,ow:6 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic5 oc64 in 14x14 kernel 3x3 pad 1 + bias + residual, silu",
        "lanes oc:L tile oc:L,ow:14 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 nhwc g1 ic3 oc5 in 9x19 kernel 5x5 pad 2 + bias",
        "lanes ow:L tile oc:2,ow:L order n,g,oc,oh,ow borders mask unroll kh,kw pack parallel oc",
    ),
    // Sums one after the other, of a tall tile: with AVX2 splats stay in registers then.
    (
        "conv2d F n1 g6 ic6 oc6 in 20x21 kernel 3x3 pad 1 + bias + residual, silu",
        "lanes ow:L tile oh:8,ow:L order n,g,oc,oh,ow borders mask unroll kh,kw pack parallel g",
    ),
    (
        "conv2d F n1 g6 ic6 oc6 in 21x23 kernel 3x3 stride 2 pad 1 + bias, relu",
        "lanes ow:L tile oh:10,ow:L order n,g,oc,oh,ow borders mask unroll kh,kw pack parallel g",
    ),
    (
        "conv2d F n1 g5 ic5 oc5 in 30x33 kernel 3x3 pad 2 dilation 2",
        "lanes ow:L tile oh:9,ow:L order n,g,oc,oh,ow borders mask unroll kh,kw pack parallel g",
    ),
    // A residual that is loaded in rows, of cut channels and of columns that are no whole row.
    (
        "conv2d F n1 g1 ic7 oc45 in 6x22 kernel 1x1 + bias + residual, relu",
        "lanes oc:L tile oc:2L,ow:6 order n,g,oc,ow borders exact pack parallel oc",
    ),
    (
        "conv2d F n2 g1 ic7 oc19 in 9x11 kernel 3x3 pad 1 + residual",
        "lanes oc:L tile oc:L,ow:11 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
    ),
    (
        "conv2d F n1 g1 ic4 oc32 in 5x9 kernel 1x1 + bias + residual, gelu",
        "lanes oc:L tile oc:2L,ow:3 order n,g,oc,ow borders exact pack parallel oc",
    ),
    ("conv2d F n1 g1 ic64 oc64 in 14x14 kernel 3x3 pad 1 + bias", ""),
    ("conv2d F n1 g1 ic16 oc64 in 14x14 kernel 3x3 pad 1 + bias, gelu", ""),
    ("conv2d F n1 g1 ic16 oc65 in 7x7 kernel 1x1 + bias, tanh", ""),
    ("conv2d F n1 g1 ic3 oc64 in 33x33 kernel 7x7 stride 2 pad 3 + bias, relu", ""),
    ("conv2d F n1 g32 ic32 oc32 in 15x15 kernel 3x3 stride 2 pad 1 + bias, relu6", ""),
    ("conv2d F n1 g8 ic32 oc32 in 15x15 kernel 3x3 pad 1 + bias", ""),
    ("conv2d-transposed F n1 g1 ic16 oc24 in 8x8 kernel 4x4 stride 2 pad 1 + bias", ""),
    ("conv2d F n1 g1 ic1 oc1 in 40x50 kernel 5x5 pad 2 mode replicate", ""),
    ("conv1d F n2 g1 ic17 oc35 in 333 kernel 3 pad 1 dilation 4 mode circular + bias, silu", ""),
];

/// Numbers in -1..1 that use all their bits.
pub fn numbers<T: Element>(seed: u64, len: usize) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

pub fn given<T: Element>(nest: &Nest, role: BufferRole) -> Option<Vec<T>> {
    let buffer = nest.buffer_of(role)?;
    Some(numbers(role as u64 + 1, nest.constant_len(buffer)? as usize))
}

fn expected<T: Element>(nest: &Nest) -> Vec<T> {
    let array = |role| given::<T>(nest, role);
    let mut output = array(BufferRole::Output).unwrap_or_default();
    let (input, weight) = (
        array(BufferRole::Input).unwrap_or_default(),
        array(BufferRole::Weight).unwrap_or_default(),
    );
    let (bias, residual) = (array(BufferRole::Bias), array(BufferRole::Residual));
    let arguments = Arguments {
        input: &input,
        weight: &weight,
        bias: bias.as_deref(),
        residual: residual.as_deref(),
        output: &mut output,
    };
    run(nest, arguments, &[]).unwrap_or_else(|e| panic!("{e}"));
    output
}

/// Whether the route took it; panics where the bits differ.
fn check<T: Element>(nest: &Nest, isa: Isa, what: &str) -> Result<(), String> {
    let loaded = Loaded::new(nest, isa).map_err(|(leaf, why)| format!("{leaf}: {why}"))?;
    let mut memory = Memory::new(nest, &loaded, |role| given::<T>(nest, role));
    memory.setup();
    memory.body();
    let expected = expected::<T>(nest);
    let wrong = memory.output().iter().zip(&expected).position(|(a, b)| a != b);
    if let Some(at) = wrong {
        let text: Vec<String> = loaded.machines.iter().map(|m| m.text()).collect();
        panic!(
            "{what}: element {at} is {:?}, not {:?}\n{nest}\n{}",
            memory.output()[at],
            expected[at],
            text.join("\n")
        );
    }
    Ok(())
}

#[test]
fn the_same_bits_as_the_interpreter() {
    let mut refused = Vec::new();
    let mut taken = 0;
    for target in BOTH {
        if !is_here(target.isa) {
            eprintln!("this CPU has no {target}: nothing is run");
            continue;
        }
        for (conv, schedule) in CASES {
            for dtype in [DType::F32, DType::F64] {
                let lanes = target.lanes(dtype.bytes());
                let conv = conv.replace(" F ", &format!(" {dtype} "));
                let schedule = schedule
                    .replace("3L", &(3 * lanes).to_string())
                    .replace("2L", &(2 * lanes).to_string());
                let schedule = schedule.replace('L', &lanes.to_string());
                let Some(nest) = try_nest(&conv, &schedule, &target) else {
                    continue;
                };
                let what = format!("{target} {conv} // {schedule}");
                let result =
                    conv_ir::with_element!(dtype, T => check::<T>(&nest, target.isa, &what));
                match result {
                    Ok(()) => taken += 1,
                    Err(why) => refused.push(format!("{what}: {why}")),
                }
            }
        }
    }
    eprintln!("{taken} cases are assembled; refused:\n{}", refused.join("\n"));
    assert!(refused.len() * 4 <= taken, "{refused:#?}");
}

/// The nest, unless the schedule is not for this convolution.
fn try_nest(conv: &str, schedule: &str, target: &conv_ir::Target) -> Option<Nest> {
    let made = std::panic::catch_unwind(|| nest(conv, schedule, target));
    made.map_err(|_| eprintln!("skipped: {conv} // {schedule}")).ok()
}
