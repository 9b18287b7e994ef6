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
    run_graph(chain, &[input], weights)
}

/// Computes every tensor of a program of several inputs, in the order of [`Program::inputs`].
///
/// # Errors
/// As [`run_program`], and [`Error::Argument`] unless there are as many inputs.
pub fn run_graph<T: Element>(
    chain: &Program,
    inputs: &[&[T]],
    weights: &[StepWeights<'_, T>],
) -> Result<Vec<Vec<T>>, Error> {
    if inputs.len() != chain.inputs().len() {
        let (found, needed) = (inputs.len(), chain.inputs().len());
        let message = format!("there are {found} inputs, but the program takes {needed}");
        return Err(Error::Argument(message));
    }
    let steps = chain.steps();
    if weights.len() != steps.len() {
        let message = format!(
            "there are weights for {} steps, but the chain has {}",
            weights.len(),
            steps.len()
        );
        return Err(Error::Argument(message));
    }
    let mut inputs = inputs.iter();
    let mut tensors: Vec<Vec<T>> = Vec::new();
    if steps[0].given {
        // The first input is tensor 1, which the next lines take.
        tensors.push(Vec::new());
    } else {
        tensors.extend(inputs.next().map(|input| input.to_vec()));
    }
    for (step, weights) in steps.iter().zip(weights) {
        if step.given {
            let input = inputs.next().map(|input| input.to_vec()).unwrap_or_default();
            let needed = chain.len_of(tensors.len());
            if input.len() != needed {
                let shape = format!("{:?}", chain.shape(tensors.len()));
                return Err(Error::Length { name: "input", found: input.len(), needed, shape });
            }
            if tensors.len() == 1 {
                tensors[0].clone_from(&input);
            }
            tensors.push(input);
            continue;
        }
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
