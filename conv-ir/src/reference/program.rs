//! The reference of a program: each step's reference on what it reads.

use std::borrow::Cow;

use super::{Arguments, run};
use crate::program::Program;
use crate::{Element, Error, Layout};

/// The constant arrays of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepWeights<'a, T> {
    /// As in [`Arguments`].
    pub weight: &'a [T],
    /// As in [`Arguments`].
    pub bias: Option<&'a [T]>,
}

/// Computes the last step's output, step by step.
///
/// # Errors
/// Those of [`run`], and [`Error::Argument`] unless there are weights for each step.
pub fn run_program<T: Element>(
    chain: &Program,
    input: &[T],
    weights: &[StepWeights<'_, T>],
) -> Result<Vec<T>, Error> {
    let mut tensors = run_tensors(chain, input, weights)?;
    Ok(tensors.pop().expect("the input is a tensor"))
}

/// Computes every tensor: the input first, then what each step gives.
///
/// # Errors
/// As [`run_program`].
pub fn run_tensors<T: Element>(
    chain: &Program,
    input: &[T],
    weights: &[StepWeights<'_, T>],
) -> Result<Vec<Vec<T>>, Error> {
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
        let read = read(chain, &step.from, &tensors);
        let arguments = Arguments {
            input: &read,
            weight: weights.weight,
            bias: weights.bias,
            residual: step.residual.map(|from| tensors[from].as_slice()),
        };
        let output = run(&step.conv, arguments, &[])?;
        tensors.push(output);
    }
    Ok(tensors)
}

/// What a step reads of these tensors: one as it is, several side by side along the channels.
pub fn read<'t, T: Element>(
    chain: &Program,
    from: &[usize],
    tensors: &'t [Vec<T>],
) -> Cow<'t, [T]> {
    if let [from] = from {
        return Cow::Borrowed(&tensors[*from]);
    }
    let spec = chain.steps()[0].conv.spec();
    let channels = |tensor: usize| match tensor {
        0 => spec.in_channels,
        k => chain.steps()[k - 1].conv.spec().out_channels,
    };
    let images = spec.batch.known().unwrap_or(0);
    let elements = |tensor: usize| tensors[tensor].len() / images.max(1);
    let places = from.first().map_or(0, |&tensor| elements(tensor) / channels(tensor));
    let mut joined = Vec::new();
    match spec.layout {
        Layout::ChannelsFirst => {
            for image in 0..images {
                for &from in from {
                    let each = channels(from) * places;
                    joined.extend_from_slice(&tensors[from][image * each..][..each]);
                }
            }
        }
        Layout::ChannelsLast => {
            for place in 0..images * places {
                for &from in from {
                    let each = channels(from);
                    joined.extend_from_slice(&tensors[from][place * each..][..each]);
                }
            }
        }
    }
    Cow::Owned(joined)
}
