//! A program as a graph: its tensors, who reads them, which are joined, and what a run gives.
//!
//! ```text
//! tensors   0 .. n                 the input, and what each step gives
//!           n + 1 ..               tensors that a step reads joined along the channels
//! ```
//!
//! Joined tensors are numbered behind the others, so that whoever keeps something of every tensor
//! keeps it of these as well. No step computes them: their parts are written side by side, or
//! copied ([`super::memory`]).

use std::collections::BTreeMap;

use super::check;
use super::{Program, Step};
use crate::{DType, Layout};

/// What a graph has beside its steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Graph {
    /// The tensor that each step reads, perhaps a joined one.
    reads: Vec<usize>,
    /// Tensors that are read joined, in the order of their first readers.
    joins: Vec<Vec<usize>>,
    /// The tensors that a run takes.
    inputs: Vec<usize>,
    /// The tensors that a run gives.
    outputs: Vec<usize>,
}

impl Graph {
    /// Of steps that say what they read.
    pub fn of(steps: &[Step], outputs: Vec<usize>) -> Graph {
        let mut joins: Vec<Vec<usize>> = Vec::new();
        let mut known: BTreeMap<&[usize], usize> = BTreeMap::new();
        let reads = steps.iter().enumerate().map(|(at, step)| match &step.from[..] {
            &[one] => one,
            // An input is there.
            [] => at + 1,
            several => *known.entry(several).or_insert_with(|| {
                joins.push(several.to_vec());
                steps.len() + joins.len()
            }),
        });
        let reads = reads.collect();
        let given = (1..=steps.len()).filter(|&tensor| steps[tensor - 1].given);
        let first = (!steps[0].given).then_some(0);
        Graph { reads, joins, inputs: first.into_iter().chain(given).collect(), outputs }
    }
}

impl Program {
    /// Whether its steps are a row: each reads the tensor before it, and the last one's output is
    /// what a run gives.
    ///
    /// ```
    /// let row: conv_ir::Program = "conv1d in 9 kernel 3; conv1d kernel 3".parse()?;
    /// let branch: conv_ir::Program =
    ///     "conv1d in 9 kernel 3; conv1d kernel 3 from 0; conv1d kernel 1 from 1,2".parse()?;
    /// assert!(row.is_row() && !branch.is_row());
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn is_row(&self) -> bool {
        self.steps.iter().enumerate().all(|(at, step)| step.reads_before(at))
            && self.outputs() == [self.steps.len()]
    }

    /// The first step, by position, that keeps it from being a row; none where it is one, or where
    /// several tensors are given.
    pub fn first_branch(&self) -> Option<usize> {
        (0..self.steps.len()).find(|&at| !self.steps[at].reads_before(at))
    }

    /// The tensors that a run takes, in order: 0, and what steps declare ([`Step::input`]). Where
    /// the first step declares one, that is the first, which 0 is as well.
    pub fn inputs(&self) -> &[usize] {
        &self.graph.inputs
    }

    /// Whether a tensor is the caller's to give.
    pub fn is_input(&self, tensor: usize) -> bool {
        tensor == 0 || self.steps.get(tensor - 1).is_some_and(|step| step.given)
    }

    /// The tensors that a run gives, in order. The last step's output is one of them.
    pub fn outputs(&self) -> &[usize] {
        &self.graph.outputs
    }

    /// Tensors that are read joined along the channels, in the order of their first readers.
    pub fn joins(&self) -> &[Vec<usize>] {
        &self.graph.joins
    }

    /// How many tensors there are, joined ones included.
    pub fn tensors(&self) -> usize {
        1 + self.steps.len() + self.joins().len()
    }

    /// The tensors whose join this is; none where it is no join.
    pub fn parts(&self, tensor: usize) -> &[usize] {
        let join = tensor.checked_sub(self.steps.len() + 1).and_then(|at| self.joins().get(at));
        join.map_or(&[], Vec::as_slice)
    }

    /// The tensor that the step at this position reads, which may be a joined one. An input reads
    /// itself.
    pub fn input_of(&self, step: usize) -> usize {
        self.graph.reads[step]
    }

    /// How often each tensor that is no join is read, added, or given.
    pub(super) fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.steps.len() + 1];
        let read = self.steps.iter().flat_map(|step| step.from.iter().chain(&step.residual));
        read.chain(self.outputs()).for_each(|&tensor| readers[tensor] += 1);
        readers
    }

    /// The type of a tensor: 0 is the input, `n` the output of step `n`.
    pub fn type_of(&self, tensor: usize) -> DType {
        let first = self.parts(tensor).first().copied().unwrap_or(tensor);
        check::type_of(&self.steps, first)
    }

    /// Shape of a tensor: 0 is the input, `k` the output of step `k`. It has no dimension where a
    /// size is free.
    pub fn shape(&self, tensor: usize) -> Vec<usize> {
        let of = |tensor: usize| match tensor {
            0 => self.steps[0].conv.input_shape().unwrap_or_default(),
            k => self.steps[k - 1].conv.output_shape().unwrap_or_default(),
        };
        let [first, others @ ..] = self.parts(tensor) else { return of(tensor) };
        let mut shape = of(*first);
        let channels = self.channel_dimension();
        if let Some(joined) = shape.get_mut(channels) {
            *joined += others.iter().map(|&part| of(part)[channels]).sum::<usize>();
        }
        shape
    }

    /// Where channels stand in a tensor's shape.
    pub fn channel_dimension(&self) -> usize {
        let conv = &self.steps[0].conv;
        match conv.spec().layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => 1 + conv.rank(),
        }
    }

    /// Elements of a tensor.
    pub fn len_of(&self, tensor: usize) -> usize {
        self.shape(tensor).iter().product()
    }
}

impl Step {
    /// Whether the step at this position reads the tensor before it, and no other.
    pub(crate) fn reads_before(&self, at: usize) -> bool {
        self.from[..] == [at]
    }
}
