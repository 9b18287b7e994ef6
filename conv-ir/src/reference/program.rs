//! The reference of a program: each step's reference on what the one before gave.

use super::{Arguments, run};
use crate::program::Program;
use crate::{Element, Error};

/// The constant arrays of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepWeights<'a, T> {
    /// As in [`Arguments`].
    pub weight: &'a [T],
    /// As in [`Arguments`].
    pub bias: Option<&'a [T]>,
}

/// Computes the chain's output, step by step.
///
/// # Errors
/// Those of [`run`], and [`Error::Argument`] unless there are weights for each step.
pub fn run_program<T: Element>(
    chain: &Program,
    input: &[T],
    weights: &[StepWeights<'_, T>],
) -> Result<Vec<T>, Error> {
    let steps = chain.steps();
    if weights.len() != steps.len() {
        let message = format!(
            "there are weights for {} steps, but the chain has {}",
            weights.len(),
            steps.len()
        );
        return Err(Error::Argument(message));
    }
    let mut tensors = vec![input.to_vec()];
    for (step, weights) in steps.iter().zip(weights) {
        let arguments = Arguments {
            input: &tensors[tensors.len() - 1],
            weight: weights.weight,
            bias: weights.bias,
            residual: step.residual.map(|from| tensors[from].as_slice()),
        };
        let output = run(&step.conv, arguments, &[])?;
        tensors.push(output);
    }
    Ok(tensors.pop().expect("the input is a tensor"))
}
