//! The program: one convolution, or several in a row (a chain), as one description.
//!
//! In: [`Step`]s, each a checked [`Conv`] with its epilogue. Out: a [`Program`] whose shapes fit:
//! each step takes what the one before gives, and a step that adds a residual says whose. Like
//! [`Conv`], there is no other way to make one, so that the code behind it tests nothing again.
//!
//! Tensors are numbered along the program: 0 is its input, `k` the output of the `k`-th step,
//! counted from 1. A residual names a tensor before its step.
//!
//! ```text
//! conv2d n1 ic16 oc96 in 56x56 kernel 1 + bias, relu6    tensor 0 -> 1
//! conv2d g96 oc96 kernel 3 pad 1 + bias, relu6           1 -> 2    sizes and channels follow
//! conv2d oc16 kernel 1 + bias + residual from 0          2 -> 3    tensor 0 is added
//! ```
//!
//! A convolution is a program of one step, by `From`: then a residual may be the caller's, as the
//! input is. Free sizes pass from step to step ([`Conv::sizes_behind`]); such steps are not fused.
//!
//! A program computes what its steps compute one after the other, to the bit. Whether intermediates
//! ever exist as a whole is decided by [`plan`]; the nests of fused steps are made in [`fuse`],
//! that of a whole program in [`whole`]. What is computed in the place of what was described is
//! decided by [`Program::rewritten`]: strides move to where they save most
//! ([`Program::skipping_strides`]), and what changes the order of sums is never done unasked.

mod algorithm;
mod blocks;
pub mod fuse;
pub mod plan;
mod repeat;
pub mod rewrite;
mod rows;
pub mod stream;
mod strides;
mod strips;
mod text;
pub mod tiled;
pub mod whole;
pub mod window;

pub use algorithm::{Algorithm, Rewritten};

use std::sync::Arc;

use crate::conv::axis_name;
use crate::{Conv, DType, Error, Issue, Layout, Size};

/// One convolution of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The convolution, its epilogue included.
    pub conv: Conv,
    /// The tensor that is added before the activation, where the convolution adds one of the
    /// chain's.
    pub residual: Option<usize>,
}

impl Step {
    /// Whether it adds a residual that is there before a group of steps, which begins with tensor
    /// `first`, is computed.
    pub(crate) fn adds_from_before(&self, first: usize) -> bool {
        self.conv.spec().residual && self.residual.is_none_or(|from| from <= first)
    }
}

impl From<Conv> for Step {
    /// A step without a residual.
    fn from(conv: Conv) -> Step {
        Step { conv, residual: None }
    }
}

impl From<Conv> for Program {
    /// The program of one step. Its residual, if it adds one, is the caller's.
    fn from(conv: Conv) -> Program {
        Program { steps: Arc::new([conv.into()]) }
    }
}

impl From<&Conv> for Program {
    fn from(conv: &Conv) -> Program {
        conv.clone().into()
    }
}

impl From<&Program> for Program {
    fn from(chain: &Program) -> Program {
        chain.clone()
    }
}

/// A checked program. Made by [`Program::new`] or by parsing its text form.
///
/// ```
/// let chain: conv_ir::Program =
///     "conv2d g8 ic8 oc8 in 14 kernel 3 pad 1, relu; conv2d oc16 kernel 1".parse()?;
/// assert_eq!(chain.output_shape(), [1, 16, 14, 14]);
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// Whoever keeps a program beside what was made of it keeps the same steps.
    steps: Arc<[Step]>,
}

/// A rule broken between steps.
fn issue(message: String) -> Issue {
    Issue { field: "chain", axis: None, rank: 0, message }
}

impl Program {
    /// Checks that the steps fit together.
    ///
    /// # Errors
    /// [`Error::Invalid`] lists every broken rule, each with the step, the edge and the shapes.
    pub fn new(steps: Vec<Step>) -> Result<Program, Error> {
        let lacks_source = |step: &Step| step.conv.spec().residual && step.residual.is_none();
        let unsaid = steps.iter().enumerate().filter(|(_, step)| lacks_source(step));
        let issues: Vec<Issue> = unsaid
            .map(|(at, _)| {
                let number = at + 1;
                issue(format!("step {number} adds a residual, but does not say from which tensor"))
            })
            .collect();
        match issues.is_empty() {
            true => Program::with_residuals_from_outside(steps),
            false => Err(Error::Invalid(issues)),
        }
    }

    /// The same, where a residual of no tensor of the chain is the caller's, as the input is. For
    /// those who put two steps in the place of a convolution that adds one; nests of such a chain
    /// have a residual buffer for it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_residuals_from_outside(steps: Vec<Step>) -> Result<Program, Error> {
        let mut issues = Vec::new();
        if steps.is_empty() {
            issues.push(issue("there is no step, but a chain has at least one".to_owned()));
        }
        for (at, pair) in steps.windows(2).enumerate() {
            issues.extend(edge(at + 1, &pair[0].conv, &pair[1].conv));
        }
        for at in 0..steps.len() {
            issues.extend(residual(&steps, at));
        }
        match issues.is_empty() {
            true => Ok(Program { steps: steps.into() }),
            false => Err(Error::Invalid(issues)),
        }
    }

    /// The steps, first one first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Their convolutions.
    pub fn convs(&self) -> impl ExactSizeIterator<Item = &Conv> {
        self.steps.iter().map(|step| &step.conv)
    }

    /// The type that all steps compute in.
    pub fn dtype(&self) -> DType {
        self.steps[0].conv.dtype()
    }

    /// The type of a tensor: 0 is the input, `n` the output of step `n`.
    pub fn type_of(&self, tensor: usize) -> DType {
        type_of(&self.steps, tensor)
    }

    /// The convolution, where it is one.
    pub fn single(&self) -> Option<&Conv> {
        match &self.steps[..] {
            [step] if step.residual.is_none() => Some(&step.conv),
            _ => None,
        }
    }

    /// Names of the free sizes, which are those of the first step's input.
    pub fn free_sizes(&self) -> Vec<&str> {
        self.steps[0].conv.free_sizes()
    }

    /// The same program with values for its free sizes.
    ///
    /// # Errors
    /// As [`Conv::with_sizes`], and where a value breaks a rule of a step behind the first one.
    pub fn with_sizes(&self, free: &[(&str, usize)]) -> Result<Program, Error> {
        let mut steps = self.steps.to_vec();
        steps[0].conv = steps[0].conv.with_sizes(free)?;
        follow(&mut steps)?;
        Program::with_residuals_from_outside(steps)
    }

    /// Shape of a tensor: 0 is the input, `k` the output of step `k`. It has no dimension where a
    /// size is free.
    pub fn shape(&self, tensor: usize) -> Vec<usize> {
        match tensor {
            0 => self.steps[0].conv.input_shape().unwrap_or_default(),
            k => self.steps[k - 1].conv.output_shape().unwrap_or_default(),
        }
    }

    /// Elements of a tensor.
    pub fn len_of(&self, tensor: usize) -> usize {
        self.shape(tensor).iter().product()
    }

    /// Shape of the input.
    pub fn input_shape(&self) -> Vec<usize> {
        self.shape(0)
    }

    /// Shape of the output.
    pub fn output_shape(&self) -> Vec<usize> {
        self.shape(self.steps.len())
    }

    /// Images in a batch.
    pub fn batch(&self) -> usize {
        self.steps[0].conv.spec().batch.known().unwrap_or(0)
    }
}

/// Every step takes the sizes that the one before gives.
fn follow(steps: &mut [Step]) -> Result<(), Error> {
    for at in 1..steps.len() {
        let (before, [step, ..]) = steps.split_at_mut(at) else { continue };
        let before = &before[at - 1].conv;
        let (batch, input) = (before.spec().batch.clone(), before.sizes_behind(at));
        if (&batch, &input) != (&step.conv.spec().batch, &step.conv.spec().input) {
            step.conv = step.conv.resized(batch, input).map_err(|error| of_step(at + 1, error))?;
        }
    }
    Ok(())
}

/// The error of a step, with its number.
pub fn of_step(number: usize, error: Error) -> Error {
    match error {
        Error::Invalid(mut issues) => {
            issues
                .iter_mut()
                .for_each(|issue| issue.message = format!("step {number}: {}", issue.message));
            Error::Invalid(issues)
        }
        other => other,
    }
}

/// Sizes of a tensor, in the description's layout.
type Sizes = Vec<Size>;

fn taken(conv: &Conv) -> Sizes {
    let spec = conv.spec();
    sizes(conv, spec.in_channels, spec.input.clone())
}

fn given(number: usize, conv: &Conv) -> Sizes {
    sizes(conv, conv.spec().out_channels, conv.sizes_behind(number))
}

fn sizes(conv: &Conv, channels: usize, spatial: Sizes) -> Sizes {
    let mut sizes = vec![conv.spec().batch.clone()];
    sizes.extend(spatial);
    let position = match conv.spec().layout {
        Layout::ChannelsFirst => 1,
        Layout::ChannelsLast => sizes.len(),
    };
    sizes.insert(position, channels.into());
    sizes
}

/// `[1, 8, 7, W]`
fn list(sizes: &[Size]) -> String {
    format!("[{}]", sizes.iter().map(Size::to_string).collect::<Vec<_>>().join(", "))
}

/// What does not fit between step `number` and the next.
fn edge(number: usize, before: &Conv, after: &Conv) -> Vec<Issue> {
    let (gives, takes) = (given(number, before), taken(after));
    let next = number + 1;
    let mut found = Vec::new();
    if before.dtype() != after.dtype() {
        let types = (before.dtype(), after.dtype());
        found.push(format!(
            "step {number} computes in {}, but step {next} in {}: a chain has one type",
            types.0, types.1
        ));
    } else if before.types().output != after.types().input {
        let types = (before.types().output, after.types().input);
        found.push(format!("step {number} gives {}, but step {next} takes {}", types.0, types.1));
    }
    if before.spec().layout != after.spec().layout {
        let layouts = (layout_name(before), layout_name(after));
        found.push(format!(
            "step {number} has {}, but step {next} {}: a chain has one layout",
            layouts.0, layouts.1
        ));
    }
    if before.rank() != after.rank() {
        let ranks = (before.rank(), after.rank());
        found.push(format!(
            "step {number} has {} spatial axes, but step {next} has {}",
            ranks.0, ranks.1
        ));
    } else if found.is_empty() && gives != takes {
        let why = differences(number, before, after);
        let (gives, takes) = (list(&gives), list(&takes));
        found.push(format!("step {number} gives {gives}, but step {next} takes {takes}: {why}"));
    }
    found.into_iter().map(issue).collect()
}

fn layout_name(conv: &Conv) -> &'static str {
    match conv.spec().layout {
        Layout::ChannelsFirst => "channels first",
        Layout::ChannelsLast => "channels last",
    }
}

/// `channels 32 and 64, width 56 and 28`.
fn differences(number: usize, before: &Conv, after: &Conv) -> String {
    let (gives, takes) = (before.spec(), after.spec());
    let mut differences = vec![
        ("batch".to_owned(), gives.batch.clone(), takes.batch.clone()),
        ("channels".to_owned(), gives.out_channels.into(), takes.in_channels.into()),
    ];
    let spatial = before.sizes_behind(number).into_iter().zip(&takes.input).enumerate();
    differences.extend(spatial.map(|(axis, (gives, takes))| {
        (axis_name(before.rank(), axis).into_owned(), gives, takes.clone())
    }));
    differences.retain(|(_, gives, takes)| gives != takes);
    let texts =
        differences.iter().map(|(name, gives, takes)| format!("{name} {gives} and {takes}"));
    texts.collect::<Vec<_>>().join(", ")
}

fn type_of(steps: &[Step], tensor: usize) -> DType {
    match tensor.checked_sub(1) {
        None => steps[0].conv.types().input,
        Some(step) => steps[step].conv.types().output,
    }
}

/// What is wrong with the residual of the step at position `at`.
fn residual(steps: &[Step], at: usize) -> Option<Issue> {
    let (step, number) = (&steps[at], at + 1);
    let message = match (step.conv.spec().residual, step.residual) {
        (_, None) => return None,
        (false, Some(from)) => {
            format!("step {number} has a residual from {from}, but its convolution adds none")
        }
        (true, Some(from)) if from > at => {
            format!(
                "step {number} adds a residual from {from}, but only tensors 0 (the input) to {at} are there before it"
            )
        }
        (true, Some(from)) => {
            let there = match from {
                0 => taken(&steps[0].conv),
                from => given(from, &steps[from - 1].conv),
            };
            let needed = given(number, &step.conv);
            let types = [steps[at].conv.types().output, type_of(steps, from)];
            if there == needed && types[0] == types[1] {
                return None;
            }
            if there == needed {
                let [gives, adds] = types;
                let message =
                    format!("step {number} gives {gives}, but the residual from {from} is {adds}");
                return Some(issue(message));
            }
            let (needed, there) = (list(&needed), list(&there));
            format!("step {number} gives {needed}, but the residual from {from} has shape {there}")
        }
    };
    Some(issue(message))
}

#[cfg(test)]
mod tests;
