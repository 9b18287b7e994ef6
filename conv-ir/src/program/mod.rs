//! The program: one convolution, several in a row (a chain), or a graph, as one description.
//!
//! In: [`Step`]s, each a checked [`Conv`] with its epilogue. Out: a [`Program`] whose shapes fit:
//! each step takes what the tensors that it reads are, and a step that adds a residual says whose.
//! Like [`Conv`], there is no other way to make one, so that the code behind it tests nothing
//! again.
//!
//! Tensors are numbered along the program: 0 is its input, `k` the output of the `k`-th step,
//! counted from 1. A step reads the tensor before it unless it says `from`, which names others; a
//! residual names a tensor as well. Only tensors before a step are there, so no graph has a circle.
//!
//! ```text
//! conv2d n1 ic16 oc96 in 56x56 kernel 1 + bias, relu6    tensor 0 -> 1
//! conv2d g96 oc96 kernel 3 pad 1 + bias, relu6           1 -> 2    sizes and channels follow
//! conv2d oc16 kernel 1 + bias + residual from 0          2 -> 3    tensor 0 is added
//! conv2d oc8 kernel 3 pad 1 from 0, relu                 0 -> 4    a branch
//! conv2d oc8 kernel 1 from 3,4                           3, 4 -> 5 joined along the channels
//! input2d ic8 in 56x56                                   6, an input behind the first
//! ```
//!
//! Inputs behind the first are declared by steps that compute nothing ([`Step::input`]): the caller
//! gives such a tensor, and whoever computes leaves it alone. Where the first step declares one,
//! that is the first input: tensors 0 and 1 are the same array.
//!
//! What understands rows of steps alone asks [`Program::is_row`], or sees a graph as rows that
//! whole tensors join: steps that are fused read the one before, each but the first of them.
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
mod check;
pub mod fuse;
mod graph;
pub mod layouts;
pub mod memory;
mod moves;
pub mod plan;
mod repeat;
pub mod rewrite;
mod rows;
pub mod stream;
mod strides;
mod strips;
mod text;
pub mod tiled;
mod tuning;
pub mod whole;
pub mod window;

pub use algorithm::{Algorithm, Rewritten};
pub use check::read_behind;
pub use tuning::{Tuned, Tuning};

use std::sync::Arc;

use crate::conv::Given;
use crate::{Conv, ConvSpec, DType, Error, Issue, Reduction};
use check::issue;
use graph::Graph;

/// One convolution of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The convolution, its epilogue included.
    pub conv: Conv,
    /// The tensors that it reads, joined along the channels. None: the one before it, which a
    /// [`Program`]'s steps say as well.
    pub from: Vec<usize>,
    /// The tensor that is added before the activation, where the convolution adds one of the
    /// chain's.
    pub residual: Option<usize>,
    /// The caller gives what the step would: it is an input, of the shape that the convolution has,
    /// and nothing is computed. See [`Step::input`].
    pub given: bool,
}

impl Step {
    /// An input of a program behind the first, or the first where this is the first step. It reads
    /// nothing.
    ///
    /// ```
    /// use conv_ir::Program;
    /// let text = "conv1d in 9 kernel 3; input1d ic2 in 7; conv1d kernel 1 from 1,2";
    /// let net: Program = text.parse()?;
    /// assert_eq!(net.inputs(), [0, 2]);
    /// assert_eq!(net.shape(2), [1, 2, 7]);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Conv::new`] for a shape that no input may have.
    pub fn input(tensor: Given) -> Result<Step, Error> {
        let Given { types, layout, batch, channels, extents } = tensor;
        let kernel = vec![1; extents.len()];
        let conv = Conv::new(ConvSpec {
            types: types.giving(types.input),
            layout,
            batch,
            in_channels: channels,
            out_channels: channels,
            groups: channels,
            input: extents,
            reduction: Reduction::Max,
            ..ConvSpec::new([], kernel)
        })?;
        Ok(Step { given: true, ..conv.into() })
    }

    /// Whether it adds a residual that is there before a group of steps, which begins with tensor
    /// `first`, is computed.
    pub(crate) fn adds_from_before(&self, first: usize) -> bool {
        self.conv.spec().residual && self.residual.is_none_or(|from| from <= first)
    }
}

impl From<Conv> for Step {
    /// A step that reads the tensor before it, without a residual.
    fn from(conv: Conv) -> Step {
        Step { conv, from: Vec::new(), residual: None, given: false }
    }
}

impl From<Conv> for Program {
    /// The program of one step. Its residual, if it adds one, is the caller's.
    fn from(conv: Conv) -> Program {
        let step = Step { from: vec![0], ..conv.into() };
        Program {
            graph: Arc::new(Graph::of(std::slice::from_ref(&step), vec![1])),
            steps: Arc::new([step]),
        }
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
    /// Whoever keeps a program beside what was made of it keeps the same steps. Each says what it
    /// reads.
    steps: Arc<[Step]>,
    graph: Arc<Graph>,
}

impl Program {
    /// Checks that the steps fit together.
    ///
    /// # Errors
    /// [`Error::Invalid`] lists every broken rule, each with the step, the edge and the shapes.
    pub fn new(steps: Vec<Step>) -> Result<Program, Error> {
        let last = steps.len();
        Program::new_giving(steps, vec![last])
    }

    /// The same, of a graph that gives these tensors, in this order.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_giving(steps: Vec<Step>, outputs: Vec<usize>) -> Result<Program, Error> {
        let lacks_source = |step: &Step| step.conv.spec().residual && step.residual.is_none();
        let unsaid = steps.iter().enumerate().filter(|(_, step)| lacks_source(step));
        let issues: Vec<Issue> = unsaid
            .map(|(at, _)| {
                let number = at + 1;
                issue(format!("step {number} adds a residual, but does not say from which tensor"))
            })
            .collect();
        match issues.is_empty() {
            true => Program::giving(steps, outputs),
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
        let last = steps.len();
        Program::giving(steps, vec![last])
    }

    /// The same, of a graph that gives these tensors, in this order.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn giving(steps: Vec<Step>, outputs: Vec<usize>) -> Result<Program, Error> {
        Program::giving_named(steps, outputs, &[])
    }

    /// The same, where messages have names for the numbers of tensors, the input's first.
    ///
    /// ```
    /// use conv_ir::Program;
    /// let net: Program = "conv1d in 9 kernel 3; conv1d kernel 1; outputs 1,2".parse()?;
    /// let names = ["input", "edges", "sums"].map(str::to_owned);
    /// let error = Program::giving_named(net.steps().to_vec(), vec![1], &names).unwrap_err();
    /// assert!(error.to_string().contains("nobody reads what `sums` gives"));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn giving_named(
        mut steps: Vec<Step>,
        outputs: Vec<usize>,
        names: &[String],
    ) -> Result<Program, Error> {
        for (at, step) in steps.iter_mut().enumerate() {
            if step.from.is_empty() && !step.given {
                step.from.push(at);
            }
        }
        let issues = check::issues(&steps, &outputs, names);
        if !issues.is_empty() {
            return Err(Error::Invalid(issues));
        }
        let graph = Graph::of(&steps, outputs);
        Ok(Program { steps: steps.into(), graph: graph.into() })
    }

    /// A program of other steps, in the order of these, that gives the same tensors.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_steps(&self, steps: Vec<Step>) -> Result<Program, Error> {
        Program::giving(steps, self.outputs().to_vec())
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

    /// The convolution, where it is one.
    pub fn single(&self) -> Option<&Conv> {
        match &self.steps[..] {
            [step] if step.residual.is_none() && !step.given => Some(&step.conv),
            _ => None,
        }
    }

    /// Names of the free sizes, which are those of the inputs.
    pub fn free_sizes(&self) -> Vec<&str> {
        let mut names = self.steps[0].conv.free_sizes();
        for step in self.steps[1..].iter().filter(|step| step.given) {
            let others = step.conv.free_sizes();
            let new: Vec<&str> = others.into_iter().filter(|name| !names.contains(name)).collect();
            names.extend(new);
        }
        names
    }

    /// The same program with values for its free sizes.
    ///
    /// # Errors
    /// As [`Conv::with_sizes`], and where a value breaks a rule of a step behind the first one.
    pub fn with_sizes(&self, free: &[(&str, usize)]) -> Result<Program, Error> {
        let mut steps = self.steps.to_vec();
        let all = self.free_sizes();
        let unknown = free.iter().any(|(name, _)| !all.contains(name));
        for (at, step) in steps.iter_mut().enumerate().filter(|(at, step)| *at == 0 || step.given) {
            let own = step.conv.free_sizes();
            let is_own = |(name, _): &&(&str, usize)| own.contains(name) || (at == 0 && unknown);
            let own: Vec<(&str, usize)> = free.iter().filter(is_own).copied().collect();
            step.conv = step.conv.with_sizes(&own)?;
        }
        follow(&mut steps)?;
        self.with_steps(steps)
    }

    /// Shape of the first input.
    pub fn input_shape(&self) -> Vec<usize> {
        self.shape(0)
    }

    /// Shape of the last step's output.
    pub fn output_shape(&self) -> Vec<usize> {
        self.shape(self.steps.len())
    }

    /// Images in a batch.
    pub fn batch(&self) -> usize {
        self.steps[0].conv.spec().batch.known().unwrap_or(0)
    }
}

/// Every step takes the sizes of what it reads.
fn follow(steps: &mut [Step]) -> Result<(), Error> {
    for at in 1..steps.len() {
        let (before, [step, ..]) = steps.split_at_mut(at) else { continue };
        if step.given {
            continue;
        }
        let Some(read) = check::read(before, &step.from, at) else { continue };
        if (&read.batch, &read.extents) != (&step.conv.spec().batch, &step.conv.spec().input) {
            let resized = step.conv.resized(read.batch, read.extents);
            step.conv = resized.map_err(|error| of_step(at + 1, error))?;
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

#[cfg(test)]
mod tests;
