//! `conv!`. Its items are compiled here; what it refuses is read from the text that it gives.

use conv_codegen::{Options, rust_source};
use conv_macros::conv;

use super::{Case, plain, text};

/// An item, and its text.
macro_rules! with_text {
    ($text:ident: $($tokens:tt)*) => {
        conv! { $($tokens)* }
        const $text: &str = stringify!($($tokens)*);
    };
}

conv! {
    fn plain_one(input: [f32; 1, 2, 6, 5], weight: [f32; 3, 2, 3, 3], bias: [f32; 3]) -> [f32; 1, 3, 6, 5];
    padding: 1, activation: relu
}

conv! {
    fn plain_two(input: [f32; 1, 2, 6, 5]) -> [f32; 1, 3, 6, 5];
    first: { weight: [f32; 2, 1, 3, 3], groups: 2, padding: 1, activation: relu },
    second: { weight: [f32; 3, 2, 1, 1], bias: [f32; 3] }
}

conv! {
    fn double_one(input: [f64; 1, 2, 6, 5], weight: [f64; 3, 2, 3, 3], bias: [f64; 3]) -> [f64; 1, 3, 6, 5];
    padding: 1, activation: relu
}

conv! {
    fn double_two(input: [f64; 1, 2, 6, 5]) -> [f64; 1, 3, 6, 5];
    first: { weight: [f64; 2, 1, 3, 3], groups: 2, padding: 1, activation: relu },
    second: { weight: [f64; 3, 2, 1, 1], bias: [f64; 3] }
}

with_text! {
    GIVEN:
    fn given(input: [f32; 1, 2, 6, 5], weight: [f32; 3, 2, 3, 3], bias: [f32; 3]) -> [f32; 1, 3, 6, 5];
    padding: 1, activation: relu, schedule: "lanes none"
}

conv! {
    fn flip_one(input: [f32; 1, 2, 6, 5], weight: [f32; 3, 2, 3, 3]) -> [f32; 1, 3, 4, 3];
    flip: true
}

conv! {
    fn flip_two(input: [f32; 1, 2, 6, 5]) -> [f32; 1, 1, 3, 2];
    first: { weight: [f32; 3, 2, 3, 3], flip: true },
    second: { weight: [f32; 1, 3, 2, 2], flip: true }
}

conv! {
    fn up_one(input: [f32; 1, 2, 3, 2], weight: [f32; 2, 3, 3, 3]) -> [f32; 1, 3, 8, 6];
    transposed: true, stride: 2, output_padding: 1
}

conv! {
    fn up_two(input: [f32; 1, 2, 3, 2]) -> [f32; 1, 1, 8, 6];
    first: { weight: [f32; 2, 3, 3, 3], transposed: true, stride: 2, output_padding: 1 },
    second: { weight: [f32; 1, 3, 1, 1] }
}

conv! {
    fn images(input: [f32; N, 2, 6, 5], weight: [f32; 3, 2, 3, 3]) -> [f32; N, 3, 4, 3];
}

conv! {
    fn any_size(input: [f32; 1, 2, H, W], weight: [f32; 3, 2, 3, 3]) -> [f32; 1, 3, H, W];
    padding: 1
}

conv! {
    fn sobel(input: [f32; 1, 1, 6, 5]) -> [f32; 1, 1, 6, 5];
    padding: 1, weight: [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
}

conv! {
    fn sobel_twice(input: [f32; 1, 1, 6, 5]) -> [f32; 1, 1, 6, 5];
    first: { padding: 1, weight: [[1, 0, -1], [2, 0, -2], [1, 0, -1]] },
    second: { padding: 1, weight: [[1, 0, -1], [2, 0, -2], [1, 0, -1]] }
}

with_text! {
    BOX_ONE:
    fn box_one(input: [f32; 1, 1, 40, 40]) -> [f32; 1, 1, 40, 40];
    padding: 2, accuracy: fast,
    weight: [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
}

with_text! {
    BOX_TWO:
    fn box_two(input: [f32; 1, 1, 40, 40]) -> [f32; 1, 1, 40, 40];
    accuracy: fast,
    first: { padding: 2, weight: [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]] },
    second: { padding: 2, weight: [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]] }
}

conv! {
    fn panels(input: [f32; 1, 64, 9, 9], weight: [f32; 64, 64, 5, 5]) -> [f32; 1, 64, 5, 5];
    schedule: "lanes oc:4 tile oc:8,ow:5 pack"
}

conv! {
    fn large(input: [f32; 1, 2, 200, 200]) -> [f32; 1, 2, 200, 200];
    first: { weight: [f32; 2, 2, 3, 3], padding: 1 },
    second: { weight: [f32; 2, 2, 3, 3], padding: 1 }
}

/// An array of a vector.
fn a<T: Copy, const N: usize>(numbers: &[T]) -> [T; N] {
    numbers.try_into().expect("the length of the signature")
}

/// Weight and bias of a step.
macro_rules! arrays {
    ($case:expr, $step:expr) => {
        (a(&$case.weights[$step].0), a(&$case.weights[$step].1.clone().expect("a bias")))
    };
}

pub fn one() {
    let case = Case::<f32>::new(plain(1));
    let ((weight, bias), mut output) = (arrays!(case, 0), [f32::NAN; 90]);
    plain_one(&a(&case.input), &weight, &bias, &mut output);
    case.check(&output);
}

pub fn two() {
    let case = Case::<f32>::new(plain(2));
    let (first, (second, bias)) = (a(&case.weights[0].0), arrays!(case, 1));
    let mut output = [f32::NAN; 90];
    plain_two(&a(&case.input), &first, &second, &bias, &mut output);
    case.check(&output);
}

pub fn one_f64() {
    let case = Case::<f64>::new(plain(1));
    let ((weight, bias), mut output) = (arrays!(case, 0), [f64::NAN; 90]);
    double_one(&a(&case.input), &weight, &bias, &mut output);
    case.check(&output);
}

pub fn two_f64() {
    let case = Case::<f64>::new(plain(2));
    let (first, (second, bias)) = (a(&case.weights[0].0), arrays!(case, 1));
    let mut output = [f64::NAN; 90];
    double_two(&a(&case.input), &first, &second, &bias, &mut output);
    case.check(&output);
}

pub fn scheduled() {
    let case = Case::<f32>::new(plain(1));
    let ((weight, bias), mut output) = (arrays!(case, 0), [f32::NAN; 90]);
    given(&a(&case.input), &weight, &bias, &mut output);
    case.check(&output);
    assert!(expanded(GIVEN).contains("Schedule: `lanes none"), "{}", expanded(GIVEN));
}

/// Packed weights that are too long for a stack.
pub fn panels_scratch() {
    let case = Case::<f32>::new("conv2d ic64 oc64 in 9 kernel 5");
    let (mut output, mut scratch) = (vec![f32::NAN; 1600], vec![0.0; PANELS_SCRATCH]);
    panels(
        &a(&case.input),
        case.weights[0].0[..].try_into().expect("windows"),
        (&mut output[..]).try_into().expect("an image"),
        (&mut scratch[..]).try_into().expect("as it says"),
    );
    case.check(&output);
}

/// Tensors between steps that are too long for a stack.
pub fn scratch() {
    let case = Case::<f32>::new("conv2d ic2 oc2 in 200 kernel 3 pad 1; conv2d oc2 kernel 3 pad 1");
    let (mut output, mut scratch) = (vec![f32::NAN; 80_000], vec![0.0; LARGE_SCRATCH]);
    large(
        case.input[..].try_into().expect("an image"),
        &a(&case.weights[0].0),
        &a(&case.weights[1].0),
        (&mut output[..]).try_into().expect("an image"),
        (&mut scratch[..]).try_into().expect("as it says"),
    );
    case.check(&output);
}

pub fn one_flip() {
    let case = Case::<f32>::new("conv2d ic2 oc3 in 6x5 kernel 3 flip");
    let mut output = [f32::NAN; 36];
    flip_one(&a(&case.input), &a(&case.weights[0].0), &mut output);
    case.check(&output);
}

pub fn two_flip() {
    let case = Case::<f32>::new("conv2d ic2 oc3 in 6x5 kernel 3 flip; conv2d oc1 kernel 2 flip");
    let mut output = [f32::NAN; 6];
    flip_two(&a(&case.input), &a(&case.weights[0].0), &a(&case.weights[1].0), &mut output);
    case.check(&output);
}

const UP: &str = "conv2d-transposed ic2 oc3 in 3x2 kernel 3 stride 2 out_pad 1";

pub fn one_out_pad() {
    let case = Case::<f32>::new(UP);
    let mut output = [f32::NAN; 144];
    up_one(&a(&case.input), &a(&case.weights[0].0), &mut output);
    case.check(&output);
}

pub fn two_out_pad() {
    let case = Case::<f32>::new(&text(2, UP, "conv2d oc1 kernel 1"));
    let mut output = [f32::NAN; 48];
    up_two(&a(&case.input), &a(&case.weights[0].0), &a(&case.weights[1].0), &mut output);
    case.check(&output);
}

/// The same of several steps is refused, with the size's name.
pub fn one_batch() {
    let case = Case::<f32>::sized("conv2d nN ic2 oc3 in 6x5 kernel 3", &[("N", 3)]);
    let mut output = vec![f32::NAN; 108];
    images(3, &case.input, &a(&case.weights[0].0), &mut output);
    case.check(&output);
    refuses_free("conv2d nN in 6x5 kernel 3; conv2d kernel 1", "N");
}

pub fn one_extents() {
    let sizes = [("H", 7), ("W", 9)];
    let case = Case::<f32>::sized("conv2d ic2 oc3 in HxW kernel 3 pad 1", &sizes);
    let mut output = vec![f32::NAN; 3 * 63];
    any_size(7, 9, &case.input, &a(&case.weights[0].0), &mut output);
    case.check(&output);
    refuses_free("conv2d in HxW kernel 3; conv2d kernel 1", "H");
}

fn refuses_free(text: &str, name: &str) {
    let program: conv_ir::Program = text.parse().expect("legal");
    let error = rust_source(&program, "f", &Options::default()).expect_err("free sizes");
    assert!(error.to_string().contains(&format!("the size {name}")), "{error}");
}

const SOBEL: [f64; 9] = [1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0];

pub fn one_known() {
    let case = Case::<f32>::windows("conv2d ic1 oc1 in 6x5 kernel 3 pad 1", &SOBEL);
    let mut output = [f32::NAN; 30];
    sobel(&a(&case.input), &mut output);
    case.check(&output);
}

pub fn two_known() {
    let text = "conv2d ic1 oc1 in 6x5 kernel 3 pad 1; conv2d kernel 3 pad 1";
    let case = Case::<f32>::windows(text, &SOBEL);
    let mut output = [f32::NAN; 30];
    sobel_twice(&a(&case.input), &mut output);
    case.check(&output);
}

/// Sums of whole numbers are exact in any order.
pub fn one_fast() {
    let case = Case::<f32>::windows("conv2d ic1 oc1 in 40 kernel 5 pad 2", &[1.0; 25]);
    let mut output = [f32::NAN; 1600];
    box_one(&a(&case.input), &mut output);
    case.check(&output);
    assert!(expanded(BOX_ONE).contains("rank 1"), "{}", expanded(BOX_ONE));
}

pub fn two_fast() {
    let text = "conv2d ic1 oc1 in 40 kernel 5 pad 2; conv2d kernel 5 pad 2";
    let case = Case::<f32>::windows(text, &[1.0; 25]);
    let mut output = [f32::NAN; 1600];
    box_two(&a(&case.input), &mut output);
    case.check(&output);
    assert!(expanded(BOX_TWO).contains("rank 1"), "{}", expanded(BOX_TWO));
}

/// What the tokens of an item become.
fn expanded(tokens: &str) -> String {
    conv_codegen::expand(tokens.parse::<proc_macro2::TokenStream>().expect("tokens")).to_string()
}

/// What stands in the item's documentation.
pub fn explain(steps: usize) {
    let program: conv_ir::Program = plain(steps).parse().expect("legal");
    let text = rust_source(&program, "f", &Options::default()).expect("it can be");
    let part = if steps == 1 { "/// Schedule: `" } else { "/// Plan:" };
    assert!(text.contains(part) && text.contains("mostly in"), "{text}");
}

/// Of a residual that is said as a key.
pub fn advice() {
    let tokens =
        "fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6]; residual: true";
    let said = expanded(tokens);
    assert!(said.contains("a residual is a parameter behind the others"), "{said}");
    let tokens = "fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3], residual: [f32; 1, 1, 6]) -> [f32; 1, 1, 6];";
    let said = expanded(tokens);
    assert!(!said.contains("compile_error"), "{said}");
}
