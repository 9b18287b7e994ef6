//! Shows what a door can, on one step or two: the bits are the reference's.

pub mod convc;
pub mod jit;
pub mod made;

use conv_files::Number;
use conv_ir::reference::{StepWeights, run_program};
use conv_ir::{Element, Program};

/// A number that files hold and that is computed in.
pub trait Scalar: Number + Element {}

impl<T: Number + Element> Scalar for T {}

/// A program, arrays of small whole numbers, and the reference's output.
pub struct Case<T> {
    /// As it was described.
    pub text: String,
    pub program: Program,
    /// With its free sizes filled in.
    pub sized: Program,
    pub input: Vec<T>,
    pub weights: Vec<(Vec<T>, Option<Vec<T>>)>,
    pub wanted: Vec<T>,
}

/// The plain program of so many steps.
pub fn plain(steps: usize) -> &'static str {
    match steps {
        1 => "conv2d ic2 oc3 in 6x5 kernel 3 pad 1 + bias, relu",
        _ => "conv2d g2 ic2 oc2 in 6x5 kernel 3 pad 1, relu; conv2d oc3 kernel 1 + bias",
    }
}

/// `first`, or with a second step.
pub fn text(steps: usize, first: &str, second: &str) -> String {
    match steps {
        1 => first.to_owned(),
        _ => format!("{first}; {second}"),
    }
}

/// Whole numbers from -3 to 3.
pub fn numbers<T: Scalar>(count: usize) -> Vec<T> {
    (0..count).map(|at| T::from_f64((at * 5 % 7) as f64 - 3.0)).collect()
}

impl<T: Scalar> Case<T> {
    pub fn new(text: &str) -> Case<T> {
        Case::sized(text, &[])
    }

    pub fn sized(text: &str, sizes: &[(&str, usize)]) -> Case<T> {
        let weights = |program: &Program| {
            let step = |conv: &conv_ir::Conv| {
                let bias = conv.spec().bias.then(|| numbers(conv.bias_len()));
                (numbers(conv.weight_len()), bias)
            };
            program.convs().map(step).collect()
        };
        Case::with(text, sizes, weights)
    }

    /// Every step with this window.
    pub fn windows(text: &str, window: &[f64]) -> Case<T> {
        let taps: Vec<T> = window.iter().map(|tap| T::from_f64(*tap)).collect();
        Case::with(text, &[], |program| program.convs().map(|_| (taps.clone(), None)).collect())
    }

    fn with(
        text: &str,
        sizes: &[(&str, usize)],
        weights: impl Fn(&Program) -> Vec<(Vec<T>, Option<Vec<T>>)>,
    ) -> Case<T> {
        let of = match T::DTYPE {
            conv_ir::DType::F32 => text.to_owned(),
            other => text.replacen(" ic", &format!(" {other} ic"), 1),
        };
        let program: Program = of.parse().expect("legal");
        let sized = program.with_sizes(sizes).expect("legal");
        let weights = weights(&program);
        let input = numbers(sized.len_of(0));
        let steps: Vec<StepWeights<'_, T>> = weights
            .iter()
            .map(|(weight, bias)| StepWeights { weight, bias: bias.as_deref() })
            .collect();
        let wanted = run_program(&sized, &input, &steps).expect("the reference runs");
        Case { text: of, program, sized, input, weights, wanted }
    }

    /// The program with its weights compiled in.
    pub fn known(&self) -> Program {
        let mut steps = self.program.steps().to_vec();
        for (step, (weight, bias)) in steps.iter_mut().zip(&self.weights) {
            step.conv = step.conv.with_weights(weight, bias.as_deref()).expect("they fit");
        }
        self.program.with_steps(steps).expect("nothing else changed")
    }

    /// Whether these are the reference's bits.
    #[track_caller]
    pub fn check(&self, found: &[T]) {
        let same = |(a, b): (&T, &T)| a.to_f64() == b.to_f64();
        assert_eq!(found.len(), self.wanted.len());
        assert!(found.iter().zip(&self.wanted).all(same), "{}: {found:?}", self.text);
    }
}
