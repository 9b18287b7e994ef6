//! `conv!` of integers and halves: what each is by definition.

use conv_codegen::{Form, Library, Options, rust_source};
use conv_ir::program::plan::Plan;
use conv_ir::{Conv, F16, Program, Stored, reference};
use conv_jit::{Compiled, Packed, StepArrays};

conv_macros::conv! {
    /// Bytes by signed bytes, with a type of its own for each array.
    fn bytes(
        input: [u8; 1, 6, 5, 4], weight: [i8; 8, 4, 3, 3], bias: [i32; 8]
    ) -> [u8; 1, 6, 5, 8];
    layout: channels_last, padding: 1, activation: relu
}

conv_macros::conv! {
    /// Halves are their bits.
    struct Halves(
        input: [f16; 1, 5, 9], weight: [f16; 6, 5, 3], bias: [f32; 6]
    ) -> [f16; 1, 6, 9];
    padding: 1
}

conv_macros::conv! {
    /// A window that is known, beside bytes of any size.
    fn sharpened(input: [u8; 1, 1, H, W]) -> [u8; 1, 1, H, W];
    padding: 1, padding_mode: replicate, weight: [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
}

conv_macros::conv! {
    /// The greatest of bytes is a byte.
    struct Steps(input: [u8; 1, 4, 8, 8]) -> [i32; 1, 2, 4, 4];
    pool: { reduction: max, kernel: 2, stride: 2 },
    mix: { weight: [i8; 2, 4, 1, 1], bias: [i32; 2] }
}

/// Numbers of a type, the ends of its range among them.
fn numbers<T: Stored, const N: usize>(seed: u64) -> [T; N] {
    let mut rng = conv_tests::data::Rng(seed);
    std::array::from_fn(|_| T::from_bits(rng.bits() >> (64 - 8 * T::DTYPE.bytes())))
}

fn whole<T: Stored>(numbers: &[T]) -> Vec<i32> {
    numbers.iter().map(|x| x.to_f64() as i32).collect()
}

/// What the reference makes of integers.
fn of_integers(text: &str, input: &[i32], weight: &[i32], bias: Option<&[i32]>) -> Vec<i32> {
    let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let arguments = reference::Arguments { input, weight, bias, residual: None };
    reference::run(&conv, arguments, &[]).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn bytes_are_summed_in_i32_and_end_at_their_range() {
    let (input, weight) = (numbers::<u8, 120>(1), numbers::<i8, 288>(2));
    let bias = std::array::from_fn(|at| at as i32 * 500 - 2000);
    let mut output = [0; 240];
    bytes(&input, &weight, &bias, &mut output);
    let text = "conv2d u8 x i8 -> u8 nhwc ic4 oc8 in 6x5 kernel 3 pad 1 + bias, relu";
    let expected = of_integers(text, &whole(&input), &whole(&weight), Some(&bias));
    assert_eq!(whole(&output), expected);
    assert!(output.contains(&255) && output.contains(&0));
}

#[test]
fn halves_are_computed_in_f32_and_rounded_once() {
    let number = |at: usize| F16::from_f64(((at * 37 % 101) as f64 - 50.0) / 64.0);
    let bits = |at: usize| number(at).to_bits();
    let (input, weight) = (std::array::from_fn(bits), std::array::from_fn(bits));
    let bias: [f32; 6] = std::array::from_fn(|at| at as f32 / 3.0);
    let mut output = [0; 54];
    Halves::new(&weight, &bias).run(&input, &mut output);
    let conv: Conv = "conv1d f16 ic5 oc6 in 9 kernel 3 pad 1 + bias f32".parse().unwrap();
    let wide = |len: usize| (0..len).map(|at| number(at).to_f32()).collect::<Vec<_>>();
    let (input, weight) = (wide(45), wide(90));
    let arguments =
        reference::Arguments { input: &input, weight: &weight, bias: Some(&bias), residual: None };
    let expected = reference::run(&conv, arguments, &[]).unwrap();
    let expected: Vec<u16> = expected.iter().map(|x| F16::from_f32(*x).to_bits()).collect();
    assert_eq!(output[..], expected);
}

#[test]
fn known_windows_and_steps_are_of_integers_too() {
    let input = numbers::<u8, 130>(5);
    let mut output = [0; 130];
    sharpened(10, 13, &input, &mut output);
    let window = [0, -1, 0, -1, 5, -1, 0, -1, 0];
    let text = "conv2d u8 x i32 -> u8 in 10x13 kernel 3 pad 1 mode replicate";
    assert_eq!(whole(&output), of_integers(text, &whole(&input), &window, None));

    let (input, weight, bias) = (numbers::<u8, 256>(6), numbers::<i8, 8>(7), [1000, -1000]);
    let mut output = [0; 32];
    Steps::new(&weight, &bias).run(&input, &mut output);
    let pool = "maxpool2d u8 ic4 in 8 kernel 2 stride 2";
    let pooled = of_integers(pool, &whole(&input), &[], None);
    let text = "conv2d u8 x i8 ic4 oc2 in 4 kernel 1 + bias";
    assert_eq!(output[..], of_integers(text, &pooled, &whole(&weight), Some(&bias)));
}

/// What saturates in sixteen bits, or when a byte is shifted: the ends of both ranges, at edges and
/// inside, with a zero point outside.
#[test]
fn products_of_the_ends_of_ranges_are_exact_in_machine_code() {
    fn check<A: Stored, W: Stored>(mode: &str) {
        let (input_type, weight_type) = (A::DTYPE, W::DTYPE);
        let text = format!(
            "conv2d {input_type} x {weight_type} -> i32 nhwc ic8 oc33 in 5x6 kernel 3 pad 1 {mode}"
        );
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let ends = |at: usize| [0, 0x7f, 0x80, 0xff][at % 4];
        for pattern in [|at: usize| at, |at| at / 4, |at| at / 7 + at / 33, |_| 1, |_| 2, |_| 3] {
            let input: [A; 240] = std::array::from_fn(|at| A::from_bits(ends(pattern(at))));
            let weight: [W; 2376] = std::array::from_fn(|at| W::from_bits(ends(pattern(at + 1))));
            let expected = of_integers(&text, &whole(&input), &whole(&weight), None);
            let arrays = StepArrays { weight: W::array(&weight), bias: None };
            let compiled = Compiled::new(&conv, Default::default()).unwrap();
            let packed: Packed<A, i32> = compiled.pack_arrays(&[arrays]).unwrap();
            let mut output = [0; 990];
            packed.run(&input, &mut output).unwrap();
            assert_eq!(output[..], expected, "{text}");
        }
    }
    check::<u8, i8>("mode constant(255)");
    check::<i8, u8>("mode constant(-128)");
    check::<i8, i8>("mode constant(-128)");
    check::<u8, u8>("mode constant(255)");
    check::<i8, i8>("");
    check::<u8, u8>("mode constant(3)");
}

/// Nor where nothing but `core` may be used, in no form and on no version.
#[test]
fn a_layer_of_integers_has_no_float_in_its_expansion() {
    let floats = |source: &str| {
        let words = source.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut words = words.filter(|word| ["f32", "f64"].iter().any(|f| word.contains(f)));
        words.next().map(str::to_owned)
    };
    for text in [
        "conv2d u8 x i8 nhwc ic8 oc16 in 9 kernel 3 pad 1 + bias, relu",
        "conv2d i8 x i8 -> i8 g8 ic8 oc8 in 9x20 kernel 3 stride 2 pad 1",
        "conv1d-transposed i16 x i8 -> i16 ic3 oc4 in 20 kernel 4 stride 2 + residual",
        "maxpool2d u8 ic3 in HxW kernel 3 stride 2 pad 1",
    ] {
        for (form, runtime) in [(Form::Function, Library::Std), (Form::Type, Library::Core)] {
            let options = Options { form, runtime, ..Options::default() };
            let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            if conv.free_sizes().is_empty() || form == Form::Function {
                let source = rust_source(&conv, "Layer", &options).unwrap();
                assert_eq!(floats(&source), None, "{text}");
            }
        }
    }
    // Tensors between steps that are longer than a stack are the caller's memory.
    let program: Program =
        "conv1d u8 x i8 -> u8 ic1 oc64 in 9000 kernel 3 pad 1; conv1d u8 x i8 -> u8 oc1 kernel 1"
            .parse()
            .unwrap();
    let options = Options { plan: Some(Plan::unfused(&program)), ..Options::default() };
    let source = rust_source(&program, "steps", &options).unwrap();
    assert!(source.contains("STEPS_SCRATCH"));
    assert_eq!(floats(&source), None);
}
