//! What is computed in the place of what was described: the one place where a program is rewritten
//! by algorithm.
//!
//! ```text
//! exact   strides of 1x1 windows move to the step before                            same bits
//! fast    before that, a known window of low rank is two steps                      within a bound
//! ```
//!
//! In: a program and how exact its result must be. Out: a program of the same input, output and
//! arrays that come later, and what was done.

use super::{Program, Step};
use crate::separate::{Accuracy, Separable, separate};

/// A program in the place of another: the same input and output, and the same weights to pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    /// What is computed.
    pub program: Program,
    /// For each of its steps, the step described that it belongs to, by position.
    pub origins: Vec<usize>,
    /// Windows that are two steps now, with the step described, by position.
    pub separated: Vec<(usize, Separable)>,
    /// Whether strides moved to the step before.
    pub skips: bool,
}

impl Rewritten {
    /// What was done, a sentence each.
    pub fn reasons(&self) -> Vec<String> {
        let split = |(at, found): &(usize, Separable)| {
            format!("step {}: the window is of {found}; computed as these two", at + 1)
        };
        let moved = "strides of 1x1 windows moved to the step before".to_owned();
        self.separated.iter().map(split).chain(self.skips.then_some(moved)).collect()
    }
}

impl Program {
    /// What is computed in the place of this program.
    ///
    /// ```
    /// use conv_ir::separate::Accuracy;
    /// let chain: conv_ir::Program = "conv2d in 9 kernel 3; conv2d kernel 1 stride 2".parse()?;
    /// let rewritten = chain.rewritten(Accuracy::Exact);
    /// assert_eq!(rewritten.program.shape(1), [1, 1, 4, 4]);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn rewritten(&self, accuracy: Accuracy) -> Rewritten {
        let (split, origins, separated) = match accuracy {
            Accuracy::Exact | Accuracy::Unfused => self.whole_windows(),
            Accuracy::Fast => self.split_windows(),
        };
        let program = split.skipping_strides();
        let skips = program != split;
        Rewritten { program, origins, separated, skips }
    }

    fn whole_windows(&self) -> Split {
        (self.clone(), (0..self.steps.len()).collect(), Vec::new())
    }

    fn split_windows(&self) -> Split {
        let (mut steps, mut origins, mut separated) = (Vec::new(), Vec::new(), Vec::new());
        // Where each tensor is, counted in the steps made.
        let mut tensors = vec![0];
        for (at, step) in self.steps.iter().enumerate() {
            let residual = step.residual.map(|tensor| tensors[tensor]);
            match separate(&step.conv) {
                Some(found) => {
                    steps.push(found.first.clone().into());
                    steps.push(Step { conv: found.second.clone(), residual });
                    origins.extend([at, at]);
                    separated.push((at, found));
                }
                None => {
                    steps.push(Step { conv: step.conv.clone(), residual });
                    origins.push(at);
                }
            }
            tensors.push(steps.len());
        }
        match Program::with_residuals_from_outside(steps) {
            Ok(program) => (program, origins, separated),
            Err(_) => self.whole_windows(),
        }
    }
}

/// The program, the origin of each step, and the windows that became two.
type Split = (Program, Vec<usize>, Vec<(usize, Separable)>);
