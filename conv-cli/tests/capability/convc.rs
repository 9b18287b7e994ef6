//! The command line.

use std::path::Path;

use conv_files::{encode, npy_of};

use super::{Case, Scalar, plain as text_of, text};
use crate::common::{Folder, auto, ok, refused};

/// Runs the case; gives what is printed.
#[track_caller]
fn checked<T: Scalar>(case: &Case<T>, more: &[&str]) -> String {
    let folder = Folder::new();
    let write = |name: &str, shape: &[usize], numbers: &[T]| {
        folder.write(name, &encode(shape, numbers).expect("little"))
    };
    let input = write("x.npy", &case.sized.input_shape(), &case.input);
    let output = folder.path("y.npy");
    let mut args = vec!["run".to_owned(), case.text.clone(), "-i".to_owned(), input];
    for (at, (conv, (weight, bias))) in case.sized.convs().zip(&case.weights).enumerate() {
        let file = write(&format!("w{at}.npy"), &conv.weight_shape(), weight);
        args.extend(["-w".to_owned(), file]);
        if let Some(bias) = bias {
            let file = write(&format!("b{at}.npy"), &conv.bias_shape(), bias);
            args.extend(["-b".to_owned(), file]);
        }
    }
    args.extend(["-o", &output].into_iter().chain(more.iter().copied()).map(str::to_owned));
    let said = ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let bytes = std::fs::read(&output).expect("written");
    let found = npy_of(Path::new(&output), &bytes).expect("an array");
    assert_eq!(found.shape, case.sized.output_shape());
    case.check(&found.values::<T>());
    said
}

pub fn plain<T: Scalar>(steps: usize) {
    checked(&Case::<T>::new(text_of(steps)), &[]);
}

pub fn accuracy(steps: usize) {
    let first = "conv2d ic1 oc1 in 40x40 kernel 9 pad 4";
    let case = Case::<f32>::windows(&text(steps, first, "conv2d kernel 9"), &[1.0; 81]);
    let said = checked(&case, &["--accuracy", "fast"]);
    assert!(said.contains("rank 1") || said.contains(" x ["), "{said}");
    unfused(steps);
}

/// Multiply-adds of two roundings are Cranelift's, and no text shows fused ones for them.
fn unfused(steps: usize) {
    let (case, unfused) = (Case::<f32>::new(text_of(steps)), ["--accuracy", "unfused"]);
    assert!(checked(&case, &unfused).contains("route cranelift"));
    let said = ok(&[&["explain", text_of(steps)][..], &unfused].concat());
    assert!(said.contains("cranelift"), "{said}");
    let assembly = ok(&[&["emit", text_of(steps), "--as", "asm"][..], &unfused].concat());
    assert!(!assembly.contains("fmadd") && !assembly.contains("fmla"), "{assembly}");
}

pub fn schedule() {
    let case = Case::<f32>::new(text_of(1));
    checked(&case, &["--schedule", "lanes none"]);
    let said = ok(&["explain", text_of(1), "--schedule", "lanes none"]);
    assert!(said.contains("schedule       lanes none"), "{said}");
    let steps = refused(&["emit", text_of(2), "--as", "nest", "--schedule", "lanes none"]);
    assert!(steps.contains("a schedule is for one step"), "{steps}");
}

pub fn target(steps: usize) {
    let case = Case::<f32>::new(text_of(steps));
    let said = checked(&case, &["--route", "cranelift"]);
    assert!(said.contains("route cranelift"), "{said}");
    for target in ["avx2", "avx512"] {
        let said = ok(&["explain", text_of(steps), "--target", target]);
        assert!(said.contains(&format!("{target}, ")), "{said}");
    }
}

pub fn threads(steps: usize) {
    let said = checked(&Case::<f32>::new(text_of(steps)), &["--threads", "3"]);
    assert!(said.contains(&format!("route {}", auto())), "{said}");
}

/// In what is emitted no weight is left to pass.
pub fn known(steps: usize) {
    let text = text(steps, "conv2d in 6x5 kernel 3 pad 1", "conv2d kernel 2");
    let weights = ["--weight", "[[1,0,-1],[2,0,-2],[1,0,-1]]", "--weight", "[[1,2],[3,4]]"];
    let args = [&["emit", &text, "--as", "rust"], &weights[..2 * steps]].concat();
    let source = ok(&args);
    let run = source.split("fn convolution(").nth(1).and_then(|rest| rest.split(')').next());
    assert!(run.is_some_and(|run| run.contains("input:") && !run.contains("weight")), "{run:?}");
}

pub fn flip(steps: usize) {
    let text = text(steps, "conv2d ic2 oc3 in 6x5 kernel 3 flip", "conv2d oc1 kernel 2 flip");
    checked(&Case::<f32>::new(&text), &[]);
}

pub fn out_pad(steps: usize) {
    let first = "conv2d-transposed ic2 oc3 in 3x2 kernel 3 stride 2 out_pad 1";
    checked(&Case::<f32>::new(&text(steps, first, "conv2d oc1 kernel 1")), &[]);
}

pub fn batch(steps: usize) {
    let text = text(steps, "conv2d nN ic2 oc3 in 6x5 kernel 3", "conv2d oc1 kernel 1");
    checked(&Case::<f32>::sized(&text, &[("N", 3)]), &[]);
}

pub fn extents(steps: usize) {
    let text = text(steps, "conv2d ic2 oc3 in HxW kernel 3 stride 2", "conv2d oc1 kernel 2");
    checked(&Case::<f32>::sized(&text, &[("H", 9), ("W", 8)]), &[]);
}

pub fn explain(steps: usize) {
    let said = ok(&["explain", text_of(steps)]);
    assert!(said.contains("cycles of one core") && said.contains("because"), "{said}");
}
