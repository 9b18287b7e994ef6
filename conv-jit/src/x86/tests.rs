//! Whole convolutions, their leaves assembled, against the interpreter: the same bits.

#[cfg(target_arch = "x86_64")]
mod bits;
#[cfg(target_arch = "x86_64")]
mod driver;
#[cfg(target_arch = "x86_64")]
mod speed;

use conv_ir::{Conv, Isa, Nest, Target, passes};

use super::assemble;

const BOTH: [Target; 2] = [Target::AVX512, Target::AVX2];

fn nest(conv: &str, schedule: &str, target: &Target) -> Nest {
    let conv: Conv = conv.parse().unwrap_or_else(|e| panic!("{conv}: {e}"));
    let schedule = match schedule {
        "" => conv_ir::Schedule::choose(&conv, target).schedule,
        text => text.parse().unwrap_or_else(|e| panic!("{text}: {e}")),
    };
    passes::compile(&conv, &schedule, target, &mut |_, _| {})
        .unwrap_or_else(|e| panic!("{schedule}: {e}"))
}

/// The text form is stable on every host: nothing here asks what the CPU can do.
#[test]
fn the_hot_loop_is_multiply_adds_and_nothing_else() {
    // One vector of channels takes each splat inside its multiply-add; two share it in the register
    // that is left.
    hot_loop("tile oc:16,ow:28", (84, 84, 3));
    hot_loop("tile oc:32,ow:14", (84, 0, 6 + 42));
    // With two vectors and 15 columns none is left.
    hot_loop("tile oc:32,ow:15", (90, 90, 6));
}

/// Multiply-adds, splats inside them, and loads of the innermost loop under a tile.
fn hot_loop(tile: &str, (fmas, broadcasts, loads): (usize, usize, usize)) {
    let schedule =
        format!("lanes oc:16 {tile} order n,g,oc,oh,ow borders exact unroll kw pack parallel oc");
    let nest = nest(
        "conv2d f32 n1 g1 ic64 oc64 in 56x86 kernel 3x3 pad 1 + bias, relu",
        &schedule,
        &Target::AVX512,
    );
    let inner = nest
        .leaves
        .iter()
        .filter_map(|l| assemble(&nest, l, Isa::Avx512).ok())
        .filter(|m| m.bill().fmas == fmas);
    let inner: Vec<_> = inner.collect();
    assert!(!inner.is_empty());
    for machine in inner {
        let bill = machine.bill();
        assert_eq!(
            (bill.broadcasts, bill.loads, bill.others),
            (broadcasts, loads, 0),
            "{}",
            machine.text()
        );
        assert_eq!(
            bill.instructions - bill.fmas - bill.loads - bill.prefetches,
            4,
            "two cursors and the count: {}",
            machine.text()
        );
    }
}

/// Eight rows have ten rows of input, of three loads each, and nine weights, bias and two masks.
#[test]
fn weights_stay_in_registers_where_sums_come_one_after_the_other() {
    let text = "conv2d f32 n1 g8 ic8 oc8 in 32x32 kernel 3x3 pad 1 + bias";
    for (target, rows) in [(Target::AVX2, 8), (Target::AVX512, 8)] {
        let lanes = target.lanes(4);
        let schedule = format!(
            "lanes ow:{lanes} tile oh:{rows},ow:{lanes} order n,g,oc,oh,ow borders mask \
             unroll kh,kw pack parallel g"
        );
        let nest = nest(text, &schedule, &target);
        let kernels = nest.leaves.iter().filter_map(|l| assemble(&nest, l, target.isa).ok());
        let whole = kernels.filter(|m| m.bill().fmas == 72).collect::<Vec<_>>();
        assert!(!whole.is_empty(), "{target}");
        for machine in whole {
            let bill = machine.bill();
            assert!(bill.loads < 72, "{} loads:\n{}", bill.loads, machine.text());
            assert_eq!(machine.spills, 0, "{target}");
        }
    }
}

/// Rows that came together would share 12 of 27 vectors, and give each of 81 multiply-adds its own
/// splat.
#[test]
fn rows_keep_their_order_where_splats_would_come_apart() {
    let text = "conv2d ic16 oc12 in 160 kernel 3 pad 1";
    let schedule = "lanes ow:8 tile oc:3,oh:3,ow:8 order n,g,oc,oh,ow borders mask unroll kh,kw \
                    pack parallel oh";
    let nest = nest(text, schedule, &Target::AVX2);
    let kernels = nest.leaves.iter().filter_map(|l| assemble(&nest, l, Isa::Avx2).ok());
    let loads: Vec<usize> =
        kernels.map(|m| m.bill()).filter(|b| b.fmas == 81).map(|b| b.loads).collect();
    assert!(loads.contains(&54), "{loads:?}");
}

/// Tiles that fill all registers leave enough to what stands behind the sums.
#[test]
fn tiles_of_columns_are_assembled_whatever_is_done_with_the_sums() {
    let endings = [
        "",
        " + bias, silu",
        " + bias + residual, gelu",
        ", tanh",
        ", hardswish",
        " + bias, clamp(-1.5, 4)",
    ];
    for text in [
        "ic32 oc3 in 13x47 kernel 3 pad 1",
        "ic16 oc5 in 20 kernel 3 pad 1",
        "ic36 oc36 g4 in 31 kernel 3 pad 1",
        "ic24 oc12 in 28 kernel 1",
        "ic3 oc64 in 40 kernel 3 pad 1",
        "ic4 oc12 in 30 kernel 3 dilation 8 pad 8",
    ] {
        for dtype in ["f32", "f64", "f16", "bf16"] {
            for ending in endings {
                let text = format!("conv2d {dtype} {text}{ending}");
                let nest = nest(&text, "", &Target::AVX2);
                for leaf in &nest.leaves {
                    let refused = assemble(&nest, leaf, Isa::Avx2).err();
                    assert_eq!(refused, None, "{text}: {}", leaf.name);
                }
            }
        }
    }
}

/// A residual is loaded as the output is stored, and not gathered.
#[test]
fn a_residual_is_loaded_in_rows() {
    for target in BOTH {
        let text = "conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 1x1 + bias + residual, relu";
        let nest = nest(text, "", &target);
        for leaf in &nest.leaves {
            let Ok(kernel) = assemble(&nest, leaf, target.isa) else { continue };
            assert!(!kernel.text().contains("gather"), "{target}:\n{}", kernel.text());
        }
    }
}

#[test]
fn too_many_accumulators_are_refused() {
    let schedule =
        "lanes oc:16 tile oc:48,ow:14 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc";
    let nest = nest("conv2d f32 n1 g1 ic8 oc48 in 14x14 kernel 1x1", schedule, &Target::AVX512);
    let refusals = nest
        .leaves
        .iter()
        .filter_map(|l| assemble(&nest, l, Isa::Avx512).err())
        .collect::<Vec<_>>();
    assert_eq!(refusals, [super::Refusal::Registers]);
}

/// Four products of bytes at a time want more registers than one product does.
#[test]
fn where_fours_do_not_fit_products_are_added_one_by_one() {
    for text in [
        "conv2d u8 x i8 ic16 oc16 in 56 kernel 9 pad 4",
        "conv2d u8 x i8 ic16 oc32 in 28 kernel 11 pad 5",
    ] {
        let nest = nest(text, "", &Target::AVX512_VNNI);
        for leaf in &nest.leaves {
            let refused = assemble(&nest, leaf, Isa::Avx512Vnni).err();
            assert_eq!(refused, None, "{text}: {}", leaf.name);
        }
    }
}

/// Nine taps are three pairs and three alone, in whichever lanes, and what instructions that store
/// saturate is not limited before.
#[test]
fn taps_of_bytes_are_multiplied_in_pairs() {
    for (text, vectors) in [
        ("g8 ic8 oc8 in 56 kernel 3 pad 1", 8),
        ("g8 ic8 oc8 in 112 kernel 3 stride 2 pad 1", 7),
        ("nhwc g16 ic16 oc16 in 56 kernel 3 pad 1", 10),
        ("nhwc g16 ic16 oc16 in 112 kernel 3 stride 2 pad 1", 10),
    ] {
        for (types, scale) in [("u8 x i8 -> u8", 0.002), ("i8 x i8 -> i8", 0.6)] {
            let text = format!("conv2d {types} {text} + bias i32, requantise onnx scale {scale}");
            let nest = nest(&text, "", &Target::AVX2);
            let kernels = nest.leaves.iter().filter_map(|l| assemble(&nest, l, Isa::Avx2).ok());
            let all = kernels.filter(|m| m.bill().fmas == 6 * vectors).collect::<Vec<_>>();
            assert!(!all.is_empty(), "{text}");
            for machine in all {
                let text = machine.text();
                assert_eq!(machine.spills, 0, "{text}");
                assert!(!text.contains("vpmaxsd") && !text.contains("vpminsd"), "{text}");
                // Only numbers that large scales make may be beyond 32 bits.
                assert_eq!(text.contains("vmaxps"), scale > 0.5, "{text}");
            }
        }
    }
}
