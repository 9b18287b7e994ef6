//! Decisions that were wrong by a factor.

use super::*;
use crate::schedule::Borders;

fn conv(text: &str) -> Conv {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A window without a tap of zero.
fn dense(text: &str) -> Conv {
    let conv = conv(text);
    let taps: Vec<f64> = (0..conv.weight_len()).map(|at| 0.5 + at as f64).collect();
    conv.with_weights(&taps, None).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn known_windows_too_large_to_fill_the_pipes_are_packed() {
    let large = "conv3d in 40x40x40 kernel 5 pad 2";
    for target in [Target::AVX512, Target::AVX2, Target::CRANELIFT] {
        let known = Schedule::choose(&dense(large), &target).schedule;
        assert_eq!(known, Schedule::choose(&conv(large), &target).schedule, "{target}");
        let small = Schedule::choose(&dense("conv2d in 40x40 kernel 3 pad 1"), &target);
        assert!(small.reasons.iter().any(|why| why.contains("are known")), "{target}");
    }
    // Most of it is zero.
    let sparse = conv(large);
    let mut taps = vec![0.0; 125];
    taps[62] = 2.0;
    let sparse = sparse.with_weights(&taps, None).expect("125 taps");
    let choice = Schedule::choose(&sparse, &Target::AVX512);
    assert!(choice.reasons.iter().any(|why| why.contains("are known")), "{:?}", choice.reasons);
}

#[test]
fn free_rows_have_no_panel_however_large_the_cache() {
    for text in [
        "conv1d in W kernel 1",
        "conv1d oc2 in W kernel 3 pad 1",
        "conv1d oc2 in W kernel 3 pad 1 mode reflect",
        "conv2d oc2 in HxW kernel 1",
        "conv2d oc2 in 64xW kernel 3 pad 1",
        "conv3d oc2 in DxHxW kernel 1",
    ] {
        for target in [Target::AVX512, Target::AVX2, Target::CRANELIFT] {
            let large = Target { l2_bytes: 8 << 20, ..target };
            let choice = Schedule::choose(&conv(text), &large);
            choice.schedule.check(&conv(text), &large).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }
}

#[test]
fn tall_windows_with_a_folding_border_have_a_panel() {
    for text in [
        "conv2d in 512 kernel 113 pad 56 mode symmetric",
        "conv2d in 2048 kernel 31 pad 15 mode symmetric",
        "conv2d in 2160x3840 kernel 17 pad 8 mode reflect",
    ] {
        let small = Target { l2_bytes: 256 << 10, ..Target::AVX512 };
        let choice = Schedule::choose(&conv(text), &small);
        let panel = matches!(choice.schedule.borders, Borders::Panel { .. });
        assert!(panel, "{text}: {:?}", choice.reasons);
    }
    // Rows alone fold: many taps are read from a panel, few from where they are.
    let borders = |text| Schedule::choose(&conv(text), &Target::AVX512).schedule.borders;
    assert!(matches!(
        borders("conv2d in 512 kernel 15 pad 7x0 mode reflect"),
        Borders::Panel { .. }
    ));
    assert_eq!(borders("conv2d in 512 kernel 5 pad 2x0 mode reflect"), Borders::Mask);
    // A schedule's numbers end at 65535, however high the image is.
    let narrow = conv("conv2d in 200000x16 kernel 140001x3 pad 70000,1 mode reflect");
    let choice = Schedule::choose(&narrow, &Target::AVX512);
    assert!(matches!(choice.schedule.borders, Borders::Panel { .. }), "{:?}", choice.reasons);
    choice.schedule.check(&narrow, &Target::AVX512).unwrap_or_else(|e| panic!("{e}"));
    // Taps that are far apart make a row as long as all between them.
    for text in [
        "conv2d in 7x7 kernel 3 dilation 1,1000007 pad same-upper mode reflect",
        "conv3d in 4x4x4 kernel 3 dilation 1,100000,100000 pad same-upper mode circular",
    ] {
        for target in [Target::AVX512, Target::AVX2, Target::CRANELIFT] {
            let choice = Schedule::choose(&conv(text), &target);
            assert_eq!(choice.schedule.borders, Borders::Exact, "{text}: {:?}", choice.reasons);
        }
    }
    // A few outputs at the edges are less than a copy of a long row; of a free size none is known.
    for text in [
        "conv1d in 1000000 kernel 3 pad 1 mode reflect",
        "conv2d in HxW kernel 113 pad 56 mode symmetric",
    ] {
        let choice = Schedule::choose(&conv(text), &Target::AVX512);
        assert_eq!(choice.schedule.borders, Borders::Exact, "{text}: {:?}", choice.reasons);
    }
}

/// What stands in the lanes for a target with masks and splats as operands.
fn in_the_lanes(conv: &str) -> Option<Role> {
    let conv: Conv = conv.parse().unwrap();
    let schedule = Schedule::choose(&conv, &Target::AVX512).schedule;
    // Instructions for bytes change nothing for floats.
    assert_eq!(schedule, Schedule::choose(&conv, &Target::AVX512_VNNI).schedule, "{conv}");
    schedule.lanes.map(|l| l.0)
}

#[test]
fn channels_that_fill_vectors_badly_leave_the_lanes_to_columns() {
    let columns = Some(Role::Out(0));
    assert_eq!(in_the_lanes("conv2d ic144 oc24 in 56 kernel 1 + bias"), columns);
    assert_eq!(in_the_lanes("conv2d ic240 oc40 in 28 kernel 1 + bias"), columns);
    assert_eq!(in_the_lanes("conv2d ic96 oc24 in 160 kernel 3 pad 1 + bias, relu"), columns);
    assert_eq!(in_the_lanes("conv2d-transposed ic24 oc24 in 160 kernel 2 stride 2"), columns);
    // Too few columns for a vector, or every second one.
    let channels = Some(Role::OutChannel);
    assert_eq!(in_the_lanes("conv2d ic96 oc24 in 7 kernel 3 pad 1"), channels);
    // Eight lanes of 736 are empty.
    assert_eq!(in_the_lanes("conv2d ic728 oc728 in 19 kernel 1"), channels);
    assert_eq!(in_the_lanes("conv2d ic96 oc24 in 160 kernel 3 stride 2 pad 1"), channels);
    assert_eq!(in_the_lanes("conv2d ic144 oc32 in 56 kernel 1 + bias"), channels);
}

#[test]
fn short_sums_are_stored_as_rows() {
    assert_eq!(in_the_lanes("conv2d ic16 oc96 in 112 kernel 1"), Some(Role::Out(0)));
    assert_eq!(in_the_lanes("conv2d ic128 oc96 in 112 kernel 1"), Some(Role::OutChannel));
    for (text, lanes) in [
        ("conv1d ic8 oc8 in 64 kernel 1 + bias + residual", Role::Out(0)),
        ("conv1d ic16 oc16 in 6400 kernel 1", Role::Out(0)),
        ("conv2d ic32 oc16 in 112 kernel 1 + bias", Role::Out(0)),
        ("conv2d ic3 oc64 in 224 kernel 3 pad 1 + bias", Role::Out(0)),
        ("conv1d ic8 oc8 in 78 kernel 15 + bias", Role::OutChannel),
        ("conv2d ic128 oc96 in 112 kernel 1", Role::OutChannel),
    ] {
        assert_eq!(avx2(text).lanes.map(|l| l.0), Some(lanes), "{text}");
    }
}

#[test]
fn channels_a_power_of_two_apart_are_copied_side_by_side() {
    for target in [Target::AVX512, Target::AVX2] {
        let borders = |text: &str| Schedule::choose(&conv(text), &target).schedule.borders;
        let rows = borders("conv2d ic256 oc256 in 64 kernel 3 pad 1");
        assert!(matches!(rows, Borders::Panel { .. }), "{target}: {rows:?}");
        // Rows under windows of one are merged to columns.
        let columns = borders("conv2d ic512 oc512 in 32 kernel 1");
        assert!(matches!(columns, Borders::Panel { rows: 1, columns: Some(_) }), "{columns:?}");
        // 28 rows of 112 bytes are no multiple of a page, and three channels fit anywhere.
        for near in ["conv2d ic256 oc256 in 28 kernel 3 pad 1", "conv2d ic3 oc64 in 64 kernel 3"] {
            let borders = borders(near);
            assert!(!matches!(borders, Borders::Panel { .. }), "{target}: {near}: {borders:?}");
        }
    }
}

#[test]
fn long_rows_are_known_sizes() {
    let borders = |text: &str| Schedule::choose(&conv(text), &Target::AVX512).schedule.borders;
    for columns in ["65535", "65536", "160000"] {
        let text = format!("conv1d in {columns} kernel 15 pad 7");
        assert_eq!(borders(&text), Borders::Mask, "{text}");
    }
    assert_eq!(borders("conv1d in N kernel 15 pad 7"), Borders::Exact);
}

#[test]
fn sums_wait_where_the_weights_of_one_tile_stay_in_no_cache() {
    let aspp = "conv2d ic2048 oc256 in 33 kernel 3 dilation 12 pad 12";
    let choose = |text: &str, target: &Target| Schedule::choose(&conv(text), target).schedule;
    for target in [Target::AVX512, Target::AVX2, Target::CRANELIFT] {
        let schedule = choose(aspp, &target);
        let channels = schedule.cache_in;
        let bytes = channels * 9 * 4 * schedule.tile_of(Role::OutChannel).max(schedule.cache);
        let near = target.l2_bytes as i64 / 4 * 3;
        assert!(channels >= 32 && bytes < near, "{target}: {schedule}");
        assert_eq!(choose("conv2d ic128 oc128 in 28 kernel 3 pad 1", &target).cache_in, 0);
    }
    // Each weight is read once.
    assert_eq!(choose("conv2d ic8192 oc256 in 1 kernel 1", &Target::AVX2).cache_in, 0);
    // Emitted code has no scratch for it.
    let [one] = Schedule::choose_together(&conv(aspp), [&Target::AVX512]);
    assert_eq!(one.schedule.cache_in, 0);
}

#[test]
fn sums_wait_where_neither_weights_nor_input_stay_in_a_cache() {
    for target in [Target::AVX512, Target::AVX2] {
        let large = Target { l2_bytes: 2 << 20, ..target };
        let cache = |text: &str| Schedule::choose(&conv(text), &large).schedule.cache_in;
        // 9.4 MB of weights and 1.6 of input; of 24 or 32 channels less than 600 KB are weights.
        assert!(cache("conv2d ic512 oc512 in 28 kernel 3 pad 4 dilation 4") > 0, "{target}");
        // 0.2 MB of input, and 0.6 MB of weights.
        assert_eq!(cache("conv2d ic256 oc256 in 14 kernel 3 pad 1"), 0, "{target}");
        assert_eq!(cache("conv2d ic128 oc128 in 28 kernel 3 pad 1"), 0, "{target}");
    }
}

#[test]
fn channels_are_innermost_where_rows_of_many_channels_come_from_far_away() {
    // A core of a mesh, as of Intel's servers: the input of 4 MB is read once, not four times.
    let mesh = Target {
        l1_bytes: 48 << 10,
        l2_bytes: 2 << 20,
        l2_cycles: 20,
        far_cycles: 130,
        fma_bytes: 128,
        load_bytes: 128,
        ..Target::AVX512
    };
    let order = |text: &str| Schedule::choose(&conv(text), &mesh).schedule.order;
    let innermost = |text: &str| order(text).last() == Some(&Role::OutChannel);
    assert!(innermost("conv1d ic64 oc128 in 16000 kernel 2 dilation 8 + bias"));
    // Of 0.8 MB, which stay near, a place for each channel's output is dearer.
    assert!(!innermost("conv2d ic64 oc256 in 56 kernel 1 + bias"));
}

/// The choice for AVX2.
fn avx2(conv: &str) -> Schedule {
    Schedule::choose(&conv.parse().unwrap(), &Target::AVX2).schedule
}

#[test]
fn avx2_loads_a_splat_once_for_all_columns() {
    // Sums, splats and what passes fill 16 registers: 12 + 3 + 1, or 12 + 2 + 1.
    for (text, channels, columns) in [
        ("conv2d ic32 oc3 in 160 kernel 3 pad 1 + bias", 3, 32),
        ("conv2d ic64 oc5 in 80 kernel 3 pad 1 + bias", 5, 16),
        ("conv2d ic288 oc288 g32 in 28 kernel 3 pad 1 + bias", 3, 32),
        ("conv2d ic12 oc12 in 160 kernel 3 pad 1 + bias", 6, 16),
        ("conv2d-transposed ic128 oc3 in 32 kernel 4 stride 2 pad 1 + bias", 3, 32),
    ] {
        let schedule = avx2(text);
        let tile = [Role::OutChannel, Role::Out(0)].map(|role| schedule.tile_of(role));
        assert_eq!(tile, [channels, columns], "{text}: {schedule}");
    }
    // Columns that fill vectors badly must gain clearly.
    let lanes = |text: &str| avx2(text).lanes.map(|l| l.0);
    assert_eq!(lanes("conv2d ic64 oc36 in 14 kernel 3 pad 1"), Some(Role::OutChannel));
    assert_eq!(lanes("conv2d ic64 oc20 in 20 kernel 3 pad 1"), Some(Role::OutChannel));
    assert_eq!(lanes("conv2d ic64 oc12 in 28 kernel 3 pad 1"), Some(Role::Out(0)));
}

#[test]
fn avx2_multiplies_two_known_taps_at_a_time_where_sums_are_words() {
    let tile = |text: &str, taps: &[i32], target: &Target| {
        let conv = conv(text).with_weights(taps, None).unwrap();
        let Choice { schedule, reasons } = Schedule::choose(&conv, target);
        let is_so = reasons.iter().any(|reason| reason.starts_with("pairs: "));
        is_so.then(|| [Role::Out(1), Role::Out(0)].map(|role| schedule.tile_of(role)))
    };
    let window = "conv2d u8 x i8 -> u8 in 64x128 kernel 3 pad 1";
    let column = "conv2d i16 x i8 -> u8 in 64x128 kernel 5x1 pad 2,0 mode replicate";
    let words = [1, 2, 1, 2, -128, 2, 1, 2, 1];
    for target in [Target::AVX2, Target::AVX_VNNI] {
        for mode in ["zeros", "replicate"] {
            // Twelve registers of sixteen hold sums of bytes, or of words.
            assert_eq!(tile(&format!("{window} mode {mode}"), &words, &target), Some([6, 32]));
        }
        assert_eq!(tile(column, &[1, 4, 6, 4, 1], &target), Some([3, 32]));
    }
    // Three vectors are left over.
    let narrower = "conv2d u8 x i8 -> u8 in 64x120 kernel 3 pad 1";
    assert_eq!(tile(narrower, &words, &Target::AVX2), Some([3, 32]));
    assert_eq!(tile(window, &[1, 2, 1, -1, -128, 2, 1, 2, 1], &Target::AVX2), None);
    assert_eq!(tile(&format!("{window} + bias"), &words, &Target::AVX2), Some([6, 32]));
    assert_eq!(tile(&format!("{window} + residual"), &words, &Target::AVX2), None);
    let of_rust = Target { dots: crate::Dots::One, ..Target::AVX2 };
    assert_eq!(tile(window, &words, &of_rust), None);
}

#[test]
fn classes_of_transposed_columns_are_cut_one_by_one() {
    // Eight columns of each phase are a tile, and no sixteen of both.
    let text = "conv2d-transposed ic512 oc256 in 8 kernel 4 stride 2 pad 1 + bias";
    let schedule = Schedule::choose(&conv(text), &Target::AVX512).schedule;
    assert_eq!(schedule.tile_of(Role::Out(0)), 8, "{schedule}");
    // Eight sums hide the latency barely: three vectors by four columns are 1.16 times as fast.
    assert_eq!(avx2(text).tile_of(Role::OutChannel), 24);
}

/// Choices that were measured to be up to twice as fast as others, on a core with two 512-bit
/// multiply-adds a cycle and a mesh behind its second-level cache.
#[test]
fn choices_are_those_that_were_measured() {
    let caches = Target { l1_bytes: 48 << 10, l2_bytes: 2 << 20, ..Target::AVX512 };
    let mesh = Target { l2_cycles: 20, far_cycles: 130, ..caches };
    let server = Target { fma_bytes: 128, load_bytes: 128, ..mesh };
    for (text, start) in [
        // Rows share what they load, each tap of which has its own mask.
        ("conv2d g768 ic768 oc768 in 14 kernel 13 pad 6", "lanes ow:16 tile oh:3,ow:16 "),
        // Of a tile with few channels the input is read often.
        ("conv2d ic512 oc24 in 38 kernel 3 pad 1", "lanes oc:16 tile oc:32,ow:13 "),
        (
            "conv1d ic100 oc100 in 2048 kernel 7 dilation 16 pad 96:0",
            "lanes ow:16 tile oc:10,ow:32 ",
        ),
        // All channels' planes begin in the same sets of the cache.
        (
            "conv2d-transposed ic128 oc64 in 64 kernel 3 stride 2 pad 1 output_padding 1",
            "lanes oc:16 tile oc:32,ow:13 ",
        ),
        // Outputs of a phase are stored alone.
        (
            "conv2d-transposed ic21 oc21 in 28 kernel 16 stride 8 pad 4",
            "lanes ow:16 tile oc:7,ow:32 ",
        ),
        ("conv2d ic192 oc192 in 17 kernel 1x7 pad 0,3", "lanes oc:16 tile oc:48,ow:9 "),
        (
            "conv1d ic32 oc64 in 4000 kernel 2 dilation 512 pad 512:0",
            "lanes ow:16 tile oc:8,ow:48 ",
        ),
        // No sums wait: of a 1x1 window, a tile of the image passes by, not all of it.
        (
            "conv2d n4 ic512 oc256 in 28 kernel 1",
            "lanes oc:16 tile oc:32,ow:14 order n,g,oh,ow,oc borders",
        ),
        // Each channel's rows are stored one after the other.
        ("conv2d oc64 in 256 kernel 5 pad 2", "lanes oc:16 tile oc:16,ow:29 order n,g,oc,oh,ow "),
    ] {
        let choice = Schedule::choose(&conv(text), &server);
        assert!(choice.schedule.to_string().starts_with(start), "{text}: {}", choice.schedule);
    }
}
