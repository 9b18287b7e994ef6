//! `convc explain` and `convc emit`: what they say about well-known examples.

mod common;
#[path = "explain/streams.rs"]
mod streams;

use common::{Folder, ok};

#[track_caller]
fn says(args: &[&str], parts: &[&str]) {
    let text = ok(args);
    for part in parts {
        assert!(text.contains(part), "{args:?}\nmust say: {part}\nbut says:\n{text}");
    }
}

#[test]
fn the_three_forms_of_a_description_agree() {
    let text = ok(&["explain", "conv2d f32 n2 g1 ic3 oc64 in 224x224 kernel 7x7 stride 2 pad 3"]);
    assert_eq!(text, ok(&["explain", "ic3ih224oc64oh112kh7sh2ph3"]));
    let flags = [
        "--batch",
        "2",
        "--in-channels",
        "3",
        "--out-channels",
        "64",
        "--size",
        "224x224",
        "--kernel",
        "7",
    ];
    assert_eq!(text, ok(&[&["explain", "--stride", "2", "--padding", "3"], &flags[..]].concat()));
    assert!(text.contains("[2, 64, 112, 112]"), "{text}");
}

#[test]
fn shapes_costs_and_schedule_are_shown() {
    says(
        &["explain", "conv2d ic3 oc64 in 224 kernel 7 stride 2 pad 3 + bias, relu"],
        &[
            "[1, 3, 224, 224]",
            "[64, 3, 7, 7]",
            "[1, 64, 112, 112]",
            "height: (224 + 3 + 3 - 7) / 2 + 1 = 112",
            "parameters     9 472",
            "multiply-adds  118 013 952",
            "intensity      61.3 operations a byte",
            "sees           7 x 7",
            "schedule       lanes ",
            "because        lanes ",
            "accumulators",
            "a strided 2-D convolution: 3 channels -> 64",
            "(--leaves shows all)",
        ],
    );
}

#[test]
fn a_target_is_explained_on_any_machine() {
    let conv = "conv2d ic8 oc32 in 14 kernel 3 pad 1";
    let explained = |target: &str| ok(&["explain", conv, "--leaves", "--target", target]);
    for (target, route, assembled) in [
        ("avx512", "route          avx512, 512-bit vectors", true),
        ("avx2", "route          avx2, 256-bit vectors", true),
        ("cranelift128", "route          cranelift, 128-bit vectors", false),
    ] {
        let text = explained(target);
        assert!(text.contains(route), "{text}");
        assert_eq!(text.contains("  assembled: "), assembled, "{text}");
    }
    // Without a target it is this machine, on the same route but with its own caches and pipes.
    let default = ok(&["explain", "conv2d ic8 oc32 in 14 kernel 3 pad 1"]);
    let route = |text: &str| text.lines().find(|line| line.starts_with("route")).map(str::to_owned);
    assert_eq!(route(&default), route(&explained(conv_jit::host_target().name)));
}

#[test]
fn a_leaf_that_is_not_assembled_says_why() {
    let conv = ["explain", "--size", "HxW", "--kernel", "3", "--target", "avx512"];
    says(&conv, &["by cranelift: a stride is known only at run time"]);
}

#[test]
fn leaves_are_listed_most_work_first() {
    let conv = ["explain", "conv2d ic8 oc32 in 14 kernel 3 pad 1", "--target", "avx512"];
    let text = ok(&[&conv[..], &["--leaves"]].concat());
    let share = |line: &str| line.split_once(" %  ")?.0.trim().parse::<u32>().ok();
    let shares: Vec<u32> = text.lines().filter_map(share).collect();
    assert!(shares.len() > 1 && shares.is_sorted_by(|a, b| a >= b), "{text}");
    assert!((95..=105).contains(&shares.iter().sum::<u32>()), "{text}");
    assert!(text.contains("pack_weight"), "{text}");
    // Nothing is folded into a line but what is equal.
    let up = "conv2d-transposed ic16 oc8 in 14 kernel 4 stride 2 pad 1";
    says(&["explain", up, "--target", "avx512", "--leaves"], &[" and 1 like it: tile "]);
    assert!(!ok(&conv).contains("pack_weight"));
}

/// Of the multiply-adds that a core can do, nobody does more, nor is any kind told to be slow.
#[test]
fn what_to_expect_is_said() {
    for text in [
        "conv2d ic64 oc64 in 56 kernel 3 pad 1",
        "conv3d ic4 oc8 in 8x16x16 kernel 3 pad 1",
        "conv2d-transposed ic16 oc8 in 14 kernel 4 stride 2 pad 1",
        "conv1d ic16 oc16 in 1000 kernel 5",
        "conv2d g32 ic32 oc32 in 56 kernel 3 pad 1",
        "conv2d n4 in 64 kernel 3; conv2d kernel 3",
    ] {
        let said = ok(&["explain", text, "--target", "avx2"]);
        let line = said.lines().find(|line| line.starts_with("expect")).expect("it is said");
        let share = line.split_once(" GHz: ").and_then(|(_, rest)| rest.split_once(" %"));
        let share = share.and_then(|(share, _)| share.parse::<u32>().ok());
        assert!(share.is_some_and(|share| (50..=101).contains(&share)), "{text}: {line}");
    }
    let free = ok(&["explain", "conv2d in HxW kernel 3; conv2d kernel 3"]);
    assert!(!free.contains("cycles"), "{free}");
}

/// What is multiplied several bytes at a time is not what the model of programs prices.
#[test]
fn of_bytes_nothing_is_expected_where_products_are_several() {
    let layer = "conv2d u8 x i8 -> i32 ic64 oc64 in 28 kernel 3 pad 1";
    for (target, is_said) in [("cranelift128", true), ("avx2", false), ("avx512amx", false)] {
        let text = ok(&["explain", layer, "--target", target]);
        assert_eq!(text.contains("\nexpect"), is_said, "{target}: {text}");
    }
}

#[test]
fn nests_of_several_steps_are_shown_after_any_pass() {
    let steps = "conv1d in 8 kernel 3; conv1d kernel 3";
    let text = ok(&["explain", steps, "--after", "tile"]);
    assert_eq!(text.matches("; after tile").count(), 2, "{text}");
    assert!(text.contains("; step 2 alone"), "{text}");
}

#[test]
fn a_given_schedule_is_explained() {
    let args = ["explain", "conv2d in 8 kernel 3", "--schedule", "lanes none"];
    says(&args, &["schedule       lanes none", "because        the schedule was given"]);
}

#[test]
fn two_by_two_transposed_gives_four_and_five() {
    let args = ["explain", "--transposed", "--size", "2x2", "--kernel", "3x3"];
    says(&args, &["output         [1, 1, 4, 4]"]);
    says(&[&args[..], &["--stride", "2"]].concat(), &["output         [1, 1, 5, 5]"]);
}

#[test]
fn dilated_stack_sees_3_7_and_15() {
    let text = ok(&[
        "explain",
        "conv2d in 64 kernel 3",
        "conv2d in 62 kernel 3 dilation 2",
        "conv2d in 58 kernel 3 dilation 4",
    ]);
    let sees: Vec<&str> = text.lines().filter(|line| line.contains("conv2d")).collect();
    assert!(
        sees[0].contains("3 x 3  1 x 1")
            && sees[1].contains("7 x 7")
            && sees[2].contains("15 x 15"),
        "{text}"
    );
}

#[test]
fn a_chain_shows_its_plan_both_costs_and_its_scratch() {
    let block = "conv2d ic16 oc96 in 56 kernel 1, relu6; conv2d g96 oc96 kernel 3 pad 1, relu6; conv2d oc16 kernel 1 + residual from 0";
    let text = ok(&["explain", block, "--target", "avx512"]);
    for part in [
        "steps 1 to 3 fused",
        "cycles of one core",
        "step by step",
        "(halo kept)",
        "where whole tensors would take 2.3 MiB",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let nests = ok(&["emit", block, "--as", "nest", "--target", "avx512"]);
    assert!(
        nests.contains("buffer line_1: scratch f32[1, ") && nests.contains("call keep_16x"),
        "{nests}"
    );
    let rust = ok(&["emit", block, "--as", "rust-type", "--name", "Block"]);
    assert!(
        rust.contains("pub struct Block {") && rust.contains("weight_3: &[f32; 1536]"),
        "{rust}"
    );
    // What follows from the first step may be left out, or said in texts of their own.
    let apart = ["explain", "conv2d g3 ic3 oc3 in 7 kernel 3", "conv2d oc128 kernel 1"];
    says(&apart, &["[1, 128, 5, 5]", "depthwise separable convolution 3 -> 128"]);
}

#[test]
fn depthwise_separable_needs_fewer_weights() {
    says(
        &["explain", "conv2d g3 ic3 oc3 in 7 kernel 3", "conv2d ic3 oc128 in 5 kernel 1"],
        &[
            "layers 1 and 2 are a depthwise separable convolution 3 -> 128: 27 + 384 = 411 weights, where a dense one needs 3 456 (8.4 times",
            "10 275 multiply-adds against 86 400 (8.4 times",
        ],
    );
}

#[test]
fn savings_are_those_of_the_textbook() {
    let separable = ["explain", "conv2d in 5 kernel 3x1", "conv2d in 3x5 kernel 1x3"];
    says(
        &separable,
        &["3 + 3 = 6 weights, where a dense one needs 9", "72 multiply-adds against 81"],
    );
    let video =
        ["explain", "conv3d ic8 oc8 in 4x9x9 kernel 1x3x3", "conv3d ic8 oc8 in 4x7x7 kernel 3x1x1"];
    says(
        &video,
        &[
            "are a (2+1)-D convolution 8 -> 8: 576 + 192 = 768 weights, where a dense one needs 1 728",
        ],
    );
    says(&["explain", "conv2d ic8 oc8 g4 in 9 kernel 3 + bias"], &["152; without groups 584"]);
}

#[test]
fn groups_on_groups_see_no_more() {
    let grouped = "conv2d ic8 oc8 g4 in 9 kernel 1";
    says(
        &["explain", grouped, grouped],
        &["an output sees 2 of the 8 input channels: no layer mixes the groups"],
    );
    let mixed = ok(&["explain", grouped, "conv2d ic8 oc8 in 9 kernel 1"]);
    assert!(!mixed.contains("input channels"), "{mixed}");
}

#[test]
fn fields_through_transposed_layers_have_fractions() {
    says(
        &["explain", "--transposed", "--size", "8", "--kernel", "3", "--stride", "2"],
        &["sees           1 to 2 of the input"],
    );
    let text = ok(&[
        "explain",
        "conv1d in 9 kernel 3 stride 2",
        "conv1d-transposed in 4 kernel 3 stride 4",
    ]);
    assert!(text.contains("1/2"), "{text}");
}

#[test]
fn a_roofline_says_what_memory_allows() {
    let conv = "conv2d ic3 oc64 in 224 kernel 7 stride 2 pad 3 + bias, relu";
    let bound = "150 GFLOP/s and 20.0 GB/s meet at 7.50 operations a byte: bound by arithmetic, 150 GFLOP/s, 100 % of the peak";
    says(&["explain", conv, "--roofline", "150:20"], &[bound]);
    says(
        &["explain", conv, "--target", "avx2"],
        &["roofline       32 operations a cycle on avx2 use 0.522 bytes"],
    );
    let bytes = "conv2d u8 x i8 -> u8 ic64 oc64 in 56 kernel 1 + bias i32";
    says(
        &["explain", bytes, "--target", "avx2"],
        &["roofline       48 operations a cycle on avx2"],
    );
    let pair =
        ["explain", "conv2d g32 ic32 oc32 in 56 kernel 3 pad 1", "conv2d ic32 oc64 in 56 kernel 1"];
    says(
        &[&pair[..], &["--roofline", "150:20"]].concat(),
        &["layer by layer at most ", "as one, without moving what is between"],
    );
}

#[test]
fn nothing_to_compute_and_rows_that_do_not_fit_have_no_roofline_to_fall_off() {
    let none = ok(&["explain", "conv2d n0 in 8 kernel 3", "--roofline", "150:20"]);
    assert!(!none.contains("inf") && !none.contains("NaN"), "{none}");
    let apart =
        ["conv2d in 3 kernel 3", "conv2d in 100 kernel 1 stride 50", "--roofline", "150:20"];
    says(&[&["explain"], &apart[..]].concat(), &["as one, without moving what is between"]);
    let empty = ok(&[
        "explain",
        "conv2d n0 in 8 kernel 3",
        "conv2d n0 in 6 kernel 3",
        "--roofline",
        "150:20",
    ]);
    assert!(!empty.contains("NaN %"), "{empty}");
}

#[test]
fn the_matrix_is_printed_lined_up() {
    let row = "  0 w00 w01 w02   0 w10 w11 w12   0 w20 w21 w22   0   0   0   0\n";
    says(
        &["explain", "conv2d in 4 kernel 3", "--matrix"],
        &[row, "4 outputs = this matrix * 16 inputs", "36 places have a weight, 28 are zero"],
    );
    let up = ok(&["explain", "conv2d-transposed in 2 kernel 3", "--matrix"]);
    assert!(up.contains("\nw01 w00   0   0\n") && up.contains("16 outputs"), "{up}");
}

#[test]
fn nests_are_shown_after_any_pass() {
    let conv = "conv1d in 8 kernel 3";
    says(&["explain", conv, "--after", "lower"], &["; after lower\n", "for "]);
    let one = ok(&["explain", conv, "--after", "tile"]);
    assert_eq!(one.matches("; after ").count(), 1, "{one}");
    let all = ok(&["explain", conv, "--all"]);
    for pass in [
        "lower",
        "canonicalise",
        "phases",
        "borders",
        "tile",
        "reorder",
        "vectorise",
        "outline",
        "simplify",
    ] {
        assert!(all.contains(&format!("; after {pass}")), "{pass}: {all}");
    }
}

#[test]
fn sizes_may_be_known_only_at_run_time() {
    says(
        &["explain", "--size", "HxW", "--kernel", "3"],
        &["known at run time", "height: (H + 0 + 0 - 3) / 1 + 1", "schedule"],
    );
}

#[test]
fn every_form_is_emitted() {
    let conv = "conv2d ic4 oc8 in 8 kernel 3 pad 1";
    says(&["emit", conv, "--as", "rust", "--name", "smooth"], &["pub fn smooth(", "mul_add"]);
    let emit = |form, target| ["emit", conv, "--target", target, "--as", form];
    says(&emit("nest", "cranelift128"), &["for ", "call "]);
    says(&emit("clif", "cranelift128"), &["function ", "fma"]);
    says(&emit("asm", "cranelift128"), &["; run (", "bytes"]);
    let nest = ok(&[&emit("nest", "cranelift128")[..], &["--schedule", "lanes none"]].concat());
    assert_ne!(nest, ok(&emit("nest", "cranelift128")));
    assert_ne!(nest, ok(&emit("nest", "avx512")));
}

#[test]
fn rust_is_emitted_for_a_machine_and_without_std() {
    let emit = |more: &[&str]| {
        let conv = "conv2d ic4 oc32 in 32 kernel 3 pad 1";
        ok(&[&["emit", conv, "--as", "rust"], more].concat())
    };
    let versions =
        |text: &str| ["mod avx512", "mod avx2", "mod portable"].map(|m| text.contains(m));
    assert_eq!(versions(&emit(&[])), [true, true, true]);
    assert_eq!(versions(&emit(&["--target", "avx2"])), [false, true, true]);
    assert_eq!(versions(&emit(&["--target", "avx512"])), [true, false, true]);
    let plain = emit(&["--target", "cranelift128"]);
    assert!(!plain.contains("avx") && plain.contains("pub fn convolution("), "{plain}");
    assert!(emit(&[]).contains("std::") && !emit(&["--std", "false"]).contains("std::"));
}

#[test]
fn weights_of_every_step_are_compiled_in() {
    let two = ["emit", "conv1d in 8 kernel 2; conv1d kernel 1", "--as", "rust"];
    let text = ok(&[&two[..], &["--weight", "[1,-1]", "--weight", "[3]"]].concat());
    assert!(text.contains("input: &[f32; 8]") && !text.contains("weight_1:"), "{text}");
}

/// Elsewhere, Cranelift's x86-64 is not compiled in.
#[cfg(target_arch = "x86_64")]
#[test]
fn wide_micro_kernels_are_emitted_whatever_the_cpu_has() {
    let conv = "conv2d ic4 oc32 in 32 kernel 3 pad 1";
    for (target, register) in [("avx512", "zmm"), ("avx2", "ymm")] {
        let emit = |form| ["emit", conv, "--target", target, "--as", form];
        says(&emit("asm"), &[register, " registers, 0 spills; a step: ", "; run ("]);
        says(&emit("clif"), &[register, "; run\nfunction "]);
    }
}

#[test]
fn emitted_text_goes_to_a_file_when_asked() {
    let folder = Folder::new();
    let out = folder.path("conv.rs");
    assert_eq!(ok(&["emit", "--size", "8", "--kernel", "3", "--as", "rust", "-o", &out]), "");
    assert!(std::fs::read_to_string(out).is_ok_and(|text| text.contains("pub fn convolution(")));
}

#[test]
fn help_is_there_for_everyone() {
    for command in
        ["filter", "run", "explain", "emit", "bench", "networks", "gallery", "completions", "man"]
    {
        says(&["help", command], &["Usage: convc", "Examples:"]);
        says(&["--help"], &[command]);
    }
}

#[test]
fn a_stride_of_a_1x1_window_is_taken_a_step_earlier() {
    let chain = "conv2d ic8 oc16 in 14 kernel 3 pad 1; conv2d oc8 kernel 1 stride 2";
    says(
        &["explain", chain, "--target", "avx512"],
        &[
            "computed as",
            "kernel 3x3 stride 2x2 pad 1:1,1:1;",
            "strides of 1x1 windows moved to the step before",
        ],
    );
}

#[test]
fn layers_that_do_not_fit_are_named() {
    says(
        &["explain", "conv2d oc8 in 32 kernel 3", "conv2d ic4 in 30 kernel 3"],
        &[
            "layer 1 gives [1, 8, 30, 30], but layer 2 takes [1, 4, 30, 30]: they do not fit each other",
        ],
    );
}

#[test]
fn help_has_the_grammar() {
    for command in ["explain", "emit", "run", "bench"] {
        let text = ok(&[command, "--help"]);
        assert!(text.contains("The text form of a convolution"), "{command}: {text}");
    }
    // What it shows can be read.
    let said = [
        "conv2d in 224x224 kernel 7x7 stride 2 pad 3 ic3 oc64 + bias, relu",
        "conv_transpose2d in 4 kernel 3",
        "deconv2d in 4 kernel 3",
    ];
    for text in said {
        ok(&["explain", text]);
    }
    let ours = ok(&["explain", "conv2d ic3 oc4 g1 n2 in 8 kernel 3 pad 1,2:3 mode reflect"]);
    let theirs = "conv2d in_channels 3 out_channels 4 groups 1 batch 2 in 8 kernel 3 padding 1,2:3 padding_mode reflect";
    assert_eq!(ok(&["explain", theirs]), ours);
    let flags = ["--size", "8", "--kernel", "3", "--pad", "1", "--mode", "reflect"];
    ok(&[&["explain"][..], &flags].concat());
}

#[test]
fn shells_and_manuals_are_served() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        says(&["completions", shell], &["convc", "explain", "leaves"]);
    }
    says(&["man"], &[".TH convc 1", "explain"]);
    says(&["man", "run"], &["The array to convolve"]);
    assert!(common::refused(&["man", "rnu"]).contains("there is no command 'rnu'; there are"));
}
