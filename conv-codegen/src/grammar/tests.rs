//! `mistakes.txt` holds items, each followed by the mistakes that must be found in it: `!
//! line:column token: message`.

use super::*;

fn mistakes(input: &str) -> Vec<String> {
    let (_, errors) = expand_items(input.parse().unwrap());
    let text = |error: &syn::Error| {
        let start = error.span().start();
        let token = error.span().source_text().unwrap_or_default();
        let error = error.to_string().replace(env!("CARGO_MANIFEST_DIR"), "$DIR");
        format!("! {}:{} {token}: {error}", start.line, start.column + 1)
    };
    errors.iter().map(text).collect()
}

/// The file with what is found now; `REWRITE=1 cargo test` accepts it.
fn rewritten(file: &str) -> String {
    let blocks = file.split("\n\n").map(|block| {
        let item: Vec<&str> = block.lines().filter(|line| !line.starts_with("! ")).collect();
        [&item[..], &mistakes(&item.join("\n")).iter().map(String::as_str).collect::<Vec<_>>()]
            .concat()
            .join("\n")
    });
    blocks.collect::<Vec<_>>().join("\n\n") + "\n"
}

#[test]
fn every_mistake_is_found_on_its_token() {
    let (expected, found) = (include_str!("mistakes.txt"), rewritten(include_str!("mistakes.txt")));
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/grammar/mistakes.txt"), found)
            .unwrap();
        return;
    }
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}

#[test]
fn a_stream_is_a_type_with_a_state() {
    let input = "/// Doc.
        pub struct Echo(input: [f32; 1, 1, T]) -> [f32; 1, 1, T];
        taps: { weight: [f32; 4, 1, 8], padding: causal, activation: tanh },
        mix:  { weight: [f32; 1, 4, 1], bias: [f32; 1], residual: input },
        stream: w(32), std: false";
    let (items, errors) = expand_items(input.parse().unwrap());
    assert!(errors.is_empty(), "{}", errors[0]);
    let text = crate::format_source(items);
    for part in [
        "/// Doc.\n///\n/// * taps: `conv1d f32",
        "pub struct Echo {\n    step_1_of_32: echo_stream::Piece1,\n    step_2_of_32:",
        "taps_weight: &[f32; 32],\n        mix_weight: &[f32; 4],\n        mix_bias: &[f32; 1],",
        "pub const STATE: usize = ",
        "pub fn push(\n        &self,\n        state: &mut [f32; Self::STATE],",
        "residual: ::core::option::Option::Some(0)",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[test]
fn sound_items_have_no_mistakes_and_keep_their_attributes() {
    let input = "/// Doc.
        #[inline] pub(crate) fn f(input: [f32; 1, 3, 8, 8], weight: [f32; 4, 3, 3, 3]) -> [f32; 1, 4, 4, 4]; stride: 2, padding: 1
        fn g(input: [f64; B, T, 2], weight: [f64; 2, 1, 3]) -> [f64; B, T, 2];
        layout: nwc, padding: causal, groups: 2, activation: leaky_relu(0.1),
        fn h(input: [f32; 1, 1, H, 5], weight: [f32; 1, 1, 2, 2]) -> [f32; 1, 1, OH, 6];
        padding: [(1, 2), 1], padding_mode: constant, padding_value: -0.5";
    let (functions, errors) = expand_items(input.parse().unwrap());
    assert!(errors.is_empty(), "{}", errors[0]);
    let text = crate::format_source(functions);
    for part in [
        "/// Doc.\n///\n/// `conv2d f32",
        "store\n#[inline]\n#[allow",
        "pub(crate) fn f(input: &[f32; 192], weight: &[f32; 108], output: &mut [f32; 64]) {",
        "fn g(b: usize, t: usize, input: &[f64], weight: &[f64; 6], output: &mut [f64]) {",
        "mode constant(-0.5)",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[test]
fn a_mistaken_item_still_is_a_function_of_its_signature() {
    let input =
        "pub fn f(input: [f32; 1, 3, 8], weight: [f32; 4, 3, 3]) -> [f32; 1, 4, 9]; stide: 2";
    let text = crate::format_source(expand(input.parse().unwrap()));
    assert!(
        text.contains("pub fn f(input: &[f32; 24], weight: &[f32; 36], output: &mut [f32; 36]) {"),
        "{text}"
    );
    assert!(text.contains("::core::compile_error!"), "{text}");
}

/// The text that an item expands to.
fn sound(input: &str) -> String {
    let (functions, errors) = expand_items(input.parse().unwrap());
    assert!(errors.is_empty(), "{}", errors[0]);
    crate::format_source(functions)
}

#[test]
fn known_weights_are_no_parameters() {
    let text = sound(
        "fn f(input: [f32; 1, 2, 8, 8]) -> [f32; 1, 2, 6, 6];
        groups: 2, weight: [[1, 2, 1], [0, 0, 0], [-1, -2.5, -1]], bias: [0.5, -1], activation: relu",
    );
    for part in [
        "fn f(input: &[f32; 128], output: &mut [f32; 72]) {",
        "6 of 9 taps of a window that every channel shares are not zero, 4 of them 1 or -1",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
    assert!(!text.contains("weight: &"), "{text}");
}

#[test]
fn weights_in_files_are_tracked() {
    let text = sound(
        "fn f(input: [f32; 1, 1, H, W]) -> [f32; 1, 1, H, W]; padding: 1, weight: \"tests/data/sobel.npy\"
        fn g(input: [f32; 1, 1, 8]) -> [f32; 1, 2, 6];
        weight: \"tests/data/model.safetensors#conv1.weight\", bias: \"tests/data/model.safetensors#conv1.bias\"",
    );
    // Once each, in a function that nobody calls: a constant would go into the crate's metadata.
    let (_, tracked) = text.split_once("fn tracked() {").expect("files are tracked");
    for file in ["sobel.npy", "model.safetensors"] {
        let file = format!("\"{}/tests/data/{file}\"", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(text.matches(&file).count(), 1, "{text}");
        assert!(tracked.contains(&file), "{tracked}");
    }
    assert!(text.contains("fn g(input: &[f32; 8], output: &mut [f32; 12]) {"), "{text}");
}

#[test]
fn a_window_of_rank_one_is_two_passes_where_that_is_asked_for() {
    let item = |size: &str, accuracy: &str| {
        format!(
            "fn f(input: [f32; 1, 1, 1000, {size}], residual: [f32; 1, 1, 1000, {size}]) -> [f32; 1, 1, 1000, {size}];
            padding: 2, accuracy: {accuracy},
            weight: [[1, 4, 6, 4, 1], [4, 16, 24, 16, 4], [6, 24, 36, 24, 6], [4, 16, 24, 16, 4], [1, 4, 6, 4, 1]]"
        )
    };
    let fast = sound(&item("1000", "fast"));
    for part in [
        "The window is of rank 1: [1 4 6 4 1]^T x [1 4 6 4 1], exact; error at most 1.5e-4 of the largest input. Computed as these two.",
        "fn f(input: &[f32; 1000000], residual: &[f32; 1000000], output: &mut [f32; 1000000]) {",
        "/// * steps 1 to 2: strips of ",
        "let line_1 = &mut Aligned([0.0; ",
    ] {
        assert!(fast.contains(part), "{part}\nnot in\n{fast}");
    }
    assert!(sound(&item("1000", "exact")).contains("One pass: `accuracy: fast` is not asked for."));
    assert!(!sound(&item("W", "fast")).contains("rank"), "sizes of chains are known");
}

const BLOCK: &str = "/// An inverted residual.
    pub struct Block(input: [f32; 1, 16, 28, 28]) -> [f32; 1, 16, 28, 28];
    expand: { weight: [f32; 96, 16, 1, 1], bias: [f32; 96], activation: relu6 },
    depthwise: { weight: [f32; 96, 1, 3, 3], groups: 96, padding: 1, activation: relu6 },
    project: { weight: [f32; 16, 96, 1, 1], residual: input }";

#[test]
fn steps_name_what_they_read() {
    let item = |first: &str, beside: &str, both: &str| {
        format!(
            "pub struct Both(input: [f32; 1, 8, 14, 14]) -> [f32; 1, 8, 14, 14];
            wide: {{ weight: [f32; 16, 8, 1, 1]{first} }},
            beside: {{ weight: [f32; 4, 8, 3, 3], padding: 1{beside} }},
            both: {{ weight: [f32; 8, 20, 1, 1], residual: input{both} }}"
        )
    };
    let text = sound(&item("", ", from: input", ", from: [wide, beside]"));
    for part in [
        "/// * beside: `conv2d f32 n1 g1 ic8 oc4 in 14x14 kernel 3x3 pad 1:1,1:1 from 0`",
        "in 14x14 kernel 1x1 from 1,2 + residual from 0`",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
    for (first, beside, both, why) in [
        (", from: input", "", "", "the first step reads `input`: leave `from` out"),
        ("", ", from: both", "", "a step reads what is there before it: input, wide"),
        ("", ", from: wade", "", "expected the name of what the step reads: input, wide"),
        ("", "", ", from: wide, from: input", "`from` is given twice"),
        ("", ", from: []", "", "`from` names what the step reads: `from: [a, b]`"),
        ("", ", from: input", "", "weight"),
    ] {
        let (_, errors) = expand_items(item(first, beside, both).parse().unwrap());
        assert!(errors.iter().any(|e| e.to_string().contains(why)), "{why}: {errors:?}");
    }
}

#[test]
fn steps_are_a_chain() {
    let text = sound(BLOCK);
    for part in [
        "/// An inverted residual.\n///\n/// * expand: `conv2d f32 n1 g1 ic16 oc96 in 28x28 kernel 1x1 + bias, relu6`",
        "/// * project: `conv2d f32 n1 g1 ic96 oc16 in 28x28 kernel 1x1 + residual from 0`",
        "pub const MULTIPLY_ADDS: u64 = 3085824;",
        "pub struct Block {",
        "expand_weight: &[f32; 1536],",
        "expand_bias: &[f32; 96],",
        "depthwise_weight: &[f32; 864],",
        "project_weight: &[f32; 1536],",
        "pub fn run(&self, input: &[f32; 12544], output: &mut [f32; 12544]",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[test]
fn steps_with_known_weights_pass_nothing_and_share_what_stands_beside_them() {
    let text = sound(
        "fn edges(input: [f32; 1, 40, 60, 2]) -> [f32; 1, 40, 60, 2];
        layout: nhwc, std: false,
        down: { weight: [[1], [4], [6], [4], [1]], groups: 2, padding: [2, 0] },
        across: { weight: [[-1, -2, 0, 2, 1]], groups: 2, padding: [0, 2] }
        fn blur(input: [f32; 1, 1, 64, 64]) -> [f32; 1, 1, 64, 64];
        accuracy: fast,
        blur: { padding: 2, weight: [[1, 4, 6, 4, 1], [4, 16, 24, 16, 4], [6, 24, 36, 24, 6], [4, 16, 24, 16, 4], [1, 4, 6, 4, 1]] },
        sharpen: { padding: 1, weight: [[0, -1, 0], [-1, 5, -1], [0, -1, 0]], residual: input }",
    );
    for part in [
        "fn edges(input: &[f32; 4800], output: &mut [f32; 4800]) {",
        "fn blur(input: &[f32; 4096], output: &mut [f32; 4096]) {",
        "`blur`: The window is of rank 1: [1 4 6 4 1]^T x [1 4 6 4 1], exact;",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[test]
fn a_mistaken_chain_still_is_an_item_of_its_signature() {
    for (kind, wanted) in [
        (
            "struct",
            "pub const fn new(\n        expand_weight: &[f32; 1536],\n        expand_bias: &[f32; 96],",
        ),
        ("fn", "pub fn Block(\n    input: &[f32; 12544],\n    expand_weight: &[f32; 1536],"),
    ] {
        let item = BLOCK.replace("relu6 },", "relu7 },").replace("struct", kind);
        let text = crate::format_source(expand(item.parse().unwrap()));
        assert!(text.contains(wanted) && text.contains("compile_error"), "{text}");
    }
}

#[test]
fn a_struct_packs_its_weights() {
    let text = sound(
        "/// Doc.
        pub struct Stem(input: [f32; 1, 3, H, W], weight: [f32; 16, 3, 3, 3], bias: [f32; 16]) -> [f32; 1, 16, H, W]; padding: 1
        struct Edges(input: [f32; 1, 1, 8, 8]) -> [f32; 1, 1, 6, 6]; weight: [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]",
    );
    for part in [
        "/// Doc.",
        "pub struct Stem {",
        "pub const fn new(weight: &[f32; 432], bias: &[f32; 16]) -> Self {",
        "pub fn boxed(weight: &[f32; 432], bias: &[f32; 16]) -> ::std::boxed::Box<Self> {",
        "pub fn run(&self, h: usize, w: usize, input: &[f32], output: &mut [f32]) {",
        "pub const PADDING: [(usize, usize); 2] = [(1, 1), (1, 1)];",
        "struct Edges {}",
        "pub const fn new() -> Self {",
        "pub fn run(&self, input: &[f32; 64], output: &mut [f32; 36]) {",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[test]
fn a_mistaken_struct_still_is_a_type_of_its_signature() {
    let input = "pub struct F(input: [f32; 1, 3, W], weight: [f32; 4, 3, 3], bias: [f32; 4], residual: [f32; 1, 4, N]) -> [f32; 1, 4, N]; stide: 2";
    let text = crate::format_source(expand(input.parse().unwrap()));
    for part in [
        "pub struct F {}",
        "pub const fn new(weight: &[f32; 36], bias: &[f32; 4]) -> Self {",
        "residual: &[f32],",
        "::core::compile_error!",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[test]
fn slopes_are_words_brackets_or_a_file() {
    let signature =
        "fn f(input: [f32; 1, 1, 8], weight: [f32; 9, 1, 3]) -> [f32; 1, 9, 6]; activation: ";
    for (slopes, written) in [
        ("prelu(0.5, 1, 0.25, 0, 1, 2, 3, 4, 5)", "prelu(0.5,1,0.25,0,1,2,3,4,5)"),
        ("prelu([0.5, -1, 0.25, 0, 1, 2, 3, 4, 5])", "prelu(0.5,-1,0.25,0,1,2,3,4,5)"),
        ("prelu(\"tests/data/sobel.npy\")", "prelu(1,0,-1,2,0,-2,1,0,-1)"),
        ("prelu(0.5)", "leaky_relu(0.5)"),
    ] {
        let (items, errors) = expand_items(format!("{signature}{slopes}").parse().unwrap());
        assert!(errors.is_empty(), "{slopes}: {}", errors[0]);
        let text = crate::format_source(items);
        assert!(text.contains(&format!(", {written}`")), "{slopes}: {text}");
    }
}

#[test]
fn inside_a_chain_what_is_requantised_is_stored_as_its_input_is() {
    let text = sound(
        "fn net(input: [i8; 1, 3, 8, 8]) -> [u8; 1, 2, 4, 4];
        layer: { weight: [i8; 4, 3, 3, 3], padding: 1, stride: 2, activation: relu, requantise: tflite_double(0.002, -128) },
        last: { weight: [i8; 2, 4, 1, 1], bias: [i32; 2], requantise: onnx([0.5, 0.25], 3) }",
    );
    for part in [
        "* layer: `conv2d i8 x i8 -> i8 ",
        ", relu, requantise tflite-double scale 0.002 zero_point -128`",
        ", requantise onnx scale 0.5,0.25 zero_point 3`",
        "output: &mut [u8; 32]",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[test]
fn mistakes_are_short_lines_whatever_the_words() {
    let long = ["x", "9", "N"].map(|part| part.repeat(20_000));
    for long in &long {
        for item in [
            "fn f(input: [f32; 1, 1, @], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6]; @: 1",
            "fn f(@: [@; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, @]; stride: -@",
            "fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6]; weight: [[@.5, 1, 2]], layout: @, activation: @(1)",
            "fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6]; weight: \"@.npy\", schedule: \"@\"",
            "fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6]; weight: \"tests/data/model.safetensors#@\"",
            "fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 8]; input: { @: 1 }, @: { weight: [f32; 1, 1, @] }, @: { residual: @ }",
        ] {
            let item = item.replace('@', long);
            let Ok(tokens) = item.parse() else { continue };
            for error in expand_items(tokens).1 {
                // The path stands as it was given, so that it can be found.
                let message = error.to_string().replace(&format!("{long}.npy"), "");
                assert!(message.len() < 1_000, "{}", &message[..2_000]);
            }
        }
    }
}

/// A measured schedule is the version's; what is not for it is said in the item's documentation.
#[test]
fn measured_schedules_are_read() {
    use conv_files::tuning::{Machine, Measured, merged};
    use conv_ir::nest::Role;
    use conv_ir::program::{Algorithm, Tuned};
    use conv_ir::{Accuracy, Conv, Schedule, Target};
    let conv: Conv = "conv2d ic16 oc64 in 28 kernel 3 pad 1".parse().unwrap();
    let wide = Schedule::choose(&conv, &Target::AVX512).schedule;
    let schedule = Schedule { tile: vec![(Role::OutChannel, 32), (Role::Out(0), 5)], ..wide };
    let way = (Algorithm::Direct, Some(schedule));
    let tuned = Tuned::new(&conv, Accuracy::Exact, way).unwrap();
    let new = [Measured { tuned, ms: 1.0, model_ms: 2.0 }];
    let here = Machine::new("some CPU", "avx512");
    let old = Machine { version: "0.0.1".to_owned(), ..here.clone() };
    let text = merged(Some(&merged(None, &old, &new).unwrap()), &here, &new).unwrap();
    let path = std::env::temp_dir().join(format!("conv-codegen-{}.json", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let item = |head: &str, rest: &str| {
        let sizes = "input: [f32; 1, 16, 28, 28], weight: [f32; 64, 16, 3, 3]";
        let file = path.display();
        sound(&format!("{head}({sizes}) -> [f32; 1, 64, 28, 28]; {rest}, tuning: \"{file}\""))
    };
    let text = item("struct L", "padding: 1");
    for part in
        ["/// Measured for avx512: `lanes oc:16 tile oc:32,ow:5", "version 0.0.1 on some CPU"]
    {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
    assert!(text.contains(&format!("include_bytes!(\"{}\")", path.display())), "{text}");
    let text = item("fn f", "padding: 1");
    assert!(text.contains("it packs weights, which a function does not"), "{text}");
    let text = sound(&format!(
        "struct M(input: [f32; 1, 8, 9], weight: [f32; 8, 8, 3]) -> [f32; 1, 8, 7]; tuning: \"{}\"",
        path.display()
    ));
    assert!(text.contains("Nothing is measured: the model chooses."), "{text}");
    std::fs::remove_file(&path).unwrap();
}
