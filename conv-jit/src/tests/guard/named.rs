//! Cases by name: benchdnn's core, widths around vectors' lengths, chains whose strips begin and
//! end everywhere, and what random cases found once.

use conv_ir::program::fuse::Strips;
use conv_ir::program::plan::{Group, Plan};
use conv_ir::{Accuracy, Conv, DType, Layout, Program, Schedule, Target};

use super::case::{Case, EXACT};
use crate::targets_here;

#[path = "../../../../tests/src/shapes.rs"]
mod shapes;

/// Found once, a line a case.
const KEPT: &str = include_str!("kept.txt");

pub(super) fn cases() -> impl Iterator<Item = Case> {
    kept().chain(scheduled()).chain(fused()).chain(tiled())
}

fn kept() -> impl Iterator<Item = Case> {
    let lines = KEPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| line.parse::<Case>().unwrap_or_else(|e| panic!("{line}: {e}"));
    lines.map(read).filter(|case| targets_here().any(|target| target.name == case.target.name))
}

/// Every convolution in both types, and one in three of integers, on every target, under every
/// schedule.
fn scheduled() -> impl Iterator<Item = Case> {
    let types = |(at, text): (usize, String)| {
        let of = |types: &str| text.replace(" f32 ", &format!(" {types} "));
        let integers = of(["u8 x i8 -> i8", "i8 x i8", "i16 x u8 -> u16"][at / 3 % 3]);
        // Some activations are none of integers.
        let integers = Some(integers).filter(|text| at % 3 == 0 && text.parse::<Conv>().is_ok());
        ["f32", "f64"].map(of).into_iter().chain(integers)
    };
    convs().into_iter().enumerate().flat_map(types).flat_map(|text| {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let on = move |target: Target| {
            let conv = conv.clone();
            SCHEDULES.into_iter().map(move |text| {
                let schedule = text.map(|text| schedule(text, conv.dtype(), target));
                let (program, sizes) = (conv.clone().into(), Vec::new());
                Case { program, sizes, known: false, target, schedule, plan: None, accuracy: EXACT }
            })
        };
        targets_here().flat_map(on)
    })
}

/// Every chain in strips of some rows, its line buffers in both layouts.
fn fused() -> impl Iterator<Item = Case> {
    CHAINS.into_iter().flat_map(|text| {
        let chain: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let layouts = [Layout::ChannelsFirst, Layout::ChannelsLast];
        let rows = [2, 3, 4, 7].into_iter().flat_map(move |rows| layouts.map(|l| (rows, l)));
        rows.flat_map(move |(rows, layout)| {
            let chain = chain.clone();
            targets_here().map(move |target| {
                let plan = Some(strips(chain.steps().len(), rows, layout));
                let (program, sizes) = (chain.clone(), Vec::new());
                Case { program, sizes, known: false, target, schedule: None, plan, accuracy: EXACT }
            })
        })
    })
}

/// What is computed in tiles, with weights that come later or are compiled in.
fn tiled() -> impl Iterator<Item = Case> {
    let on = |text: &str| -> Program {
        text.parse::<Conv>().unwrap_or_else(|e| panic!("{text}: {e}")).into()
    };
    let both = |text| [false, true].map(|known| (text, known));
    TILED.into_iter().flat_map(both).flat_map(move |(text, known)| {
        let program = on(text);
        targets_here().map(move |target| {
            let (program, sizes, accuracy) = (program.clone(), Vec::new(), Accuracy::Fast);
            Case { program, sizes, known, target, schedule: None, plan: None, accuracy }
        })
    })
}

/// Of one to three axes, in both layouts, with edges, tails of channels and large extents.
const TILED: [&str; 8] = [
    "conv2d ic24 oc40 in 13x17 kernel 3 pad 1 + bias, relu",
    "conv2d nhwc ic27 oc33 in 14x15 kernel 3 pad 2:1,0 + residual",
    "conv2d n3 ic48 oc64 in 7x7 kernel 3 pad 1 + bias + residual, silu",
    "conv2d g2 ic64 oc64 in 9x11 kernel 5 pad 2 + bias",
    "conv2d ic64 oc64 in 9x15 kernel 1x7 pad 0,3",
    "conv1d ic32 oc48 in 3001 kernel 3 pad 1 + bias",
    "conv2d ic40 oc96 in 4x400 kernel 3 pad 1",
    "conv3d ic24 oc32 in 5x9x10 kernel 3 pad 1 + bias, relu",
];

fn strips(count: usize, rows: usize, layout: Layout) -> Plan {
    let strips = Strips {
        rows,
        keep: vec![rows.is_multiple_of(2); count],
        layouts: vec![layout; count],
        chunks: 1,
    };
    Plan { groups: vec![Group { steps: 0..count, strips: Some(strips) }], reasons: Vec::new() }
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

/// The core and others; the core with a residual, so that there is one array more to guard.
fn convs() -> Vec<String> {
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
