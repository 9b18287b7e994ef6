//! The judge: runs a nest, in any state, slowly and strictly.
//!
//! In: a [`Nest`], the arrays of one run, the free sizes. Out: the output array. A nest that means
//! what its convolution means gives the same bits before and after every pass, so each pass is
//! checked by running both. It imports the nest's grammar and nothing that made it.
//!
//! Everything a route may not do is a panic here, because it is our bug and not the user's: an
//! index outside its dimension, a register or a scratch element read before it was written, an
//! output element written twice or never, a store to an array that is only read, an axis or symbol
//! used where it is not bound. Dead lanes (beyond [`Lanes::cut`](crate::nest::Lanes)) read as NaN
//! and write nothing, so that a route may do anything with them, and a leak shows; those that a
//! load touches lie within their buffer's slack.
//!
//! All arrays hold values of the nest's type; a buffer of a narrower one holds those values that it
//! has. A store of any other is a bug, as every nest rounds before it stores.
//!
//! Values are computed lane by lane: an index is evaluated with the lane axis bound to each lane in
//! turn, which makes splats and vectors one rule. No speed is sought, except that nothing is looked
//! up by name inside loops.

mod leaf;
mod memory;

use crate::activation::{Activation, Instruction};
use crate::nest::{AxisId, Call, Loop, LoopKind, Nest, Stmt, Var};
use crate::{DType, Element, Error};
use leaf::LeafRun;
use memory::Memory;

/// The arrays of one run.
pub struct Arguments<'a, T> {
    /// Input.
    pub input: &'a [T],
    /// Weight; empty where there is none.
    pub weight: &'a [T],
    /// Bias.
    pub bias: Option<&'a [T]>,
    /// Residual.
    pub residual: Option<&'a [T]>,
    /// Output.
    pub output: &'a mut [T],
}

/// The arrays of a run of fused convolutions: the n-th buffer of a role takes the n-th array.
pub struct Arrays<'a, T> {
    /// Inputs, the first one first.
    pub inputs: Vec<&'a [T]>,
    /// Weights, one per convolution; empty ones stand for those that have none.
    pub weights: Vec<&'a [T]>,
    /// Biases, one per convolution that has one.
    pub biases: Vec<&'a [T]>,
    /// Residuals from outside, one per convolution that has one.
    pub residuals: Vec<&'a [T]>,
    /// Outputs.
    pub outputs: Vec<&'a mut [T]>,
}

impl<'a, T> From<Arguments<'a, T>> for Arrays<'a, T> {
    fn from(one: Arguments<'a, T>) -> Self {
        Arrays {
            inputs: vec![one.input],
            weights: vec![one.weight],
            biases: one.bias.into_iter().collect(),
            residuals: one.residual.into_iter().collect(),
            outputs: vec![one.output],
        }
    }
}

/// Runs setup, then body on one thread. `free` gives the sizes known only now, by name.
///
/// # Errors
/// [`Error::Argument`] for a missing or unknown array or size, [`Error::Length`] for an array of
/// the wrong length.
///
/// # Panics
/// Where the nest does what no nest may do: a bug of the pass that made it.
pub fn run<'a, T: Element>(
    nest: &'a Nest,
    arrays: impl Into<Arrays<'a, T>>,
    free: &[(&str, usize)],
) -> Result<(), Error> {
    run_parts(nest, arrays, free, 1)
}

/// Runs setup, then body once for each of `parts` threads, one after the other, each with scratch
/// of its own. Together they must write each output element exactly once. Errors and panics as
/// [`run`].
pub fn run_parts<'a, T: Element>(
    nest: &'a Nest,
    arrays: impl Into<Arrays<'a, T>>,
    free: &[(&str, usize)],
    parts: usize,
) -> Result<(), Error> {
    types_match(nest, T::DTYPE)?;
    let symbols = symbols(nest, free)?;
    let memory = Memory::new(nest, arrays.into(), &symbols)?;
    let env = Env { nest, axes: vec![None; nest.axes.len()], symbols };
    let slack = nest.slack();
    let mut machine = Machine { nest, slack, env, memory, programs: Vec::new(), part: 0, parts: 1 };
    machine.stmts(&nest.setup);
    machine.memory.setup_is_done();
    machine.parts = parts.max(1) as i64;
    for part in 0..machine.parts {
        machine.part = part;
        machine.memory.forget_scratch();
        machine.stmts(&nest.body);
    }
    machine.memory.assert_output_complete();
    Ok(())
}

fn types_match(nest: &Nest, dtype: DType) -> Result<(), Error> {
    if nest.dtype != dtype {
        return Err(Error::Argument(format!(
            "the arrays are {dtype}, but the convolution is {}",
            nest.dtype
        )));
    }
    Ok(())
}

/// The largest free size taken. Sizes come from arrays in memory; beyond this, index arithmetic
/// would come near the limits of `i64`.
const LARGEST_SIZE: usize = 1 << 40;

/// The value of every symbol, in order.
fn symbols(nest: &Nest, free: &[(&str, usize)]) -> Result<Vec<i64>, Error> {
    let given = |name: &str| nest.symbols.iter().any(|s| s.value.is_none() && s.name == name);
    if let Some((name, _)) = free.iter().find(|(name, _)| !given(name)) {
        return Err(Error::Argument(format!("there is no free size {}", crate::cut(name))));
    }
    let mut values: Vec<i64> = Vec::new();
    for symbol in &nest.symbols {
        let value = match &symbol.value {
            None => given_size(&symbol.name, free)?,
            Some(quotient) => quotient.eval(|var| match var {
                Var::Symbol(s) if s.index() < values.len() => values[s.index()],
                Var::Symbol(_) | Var::Axis(_) => {
                    panic!("interp: symbol {} is not made of earlier ones", symbol.name)
                }
            }),
        };
        values.push(value);
    }
    Ok(values)
}

fn given_size(name: &str, free: &[(&str, usize)]) -> Result<i64, Error> {
    match free.iter().find(|(n, _)| *n == name) {
        None => Err(Error::Argument(format!("the free size {name} is missing"))),
        Some((_, size)) if *size > LARGEST_SIZE => Err(Error::Argument(format!(
            "the free size {name} is {size}, more than {LARGEST_SIZE}"
        ))),
        Some((_, size)) => Ok(*size as i64),
    }
}

/// What the names in index expressions stand for right now.
struct Env<'a> {
    nest: &'a Nest,
    axes: Vec<Option<i64>>,
    symbols: Vec<i64>,
}

impl Env<'_> {
    fn value(&self, var: Var) -> i64 {
        match var {
            Var::Axis(axis) => {
                self.axes[axis.index()].unwrap_or_else(|| self.unbound(&self.nest.axis(axis).name))
            }
            Var::Symbol(s) => *self
                .symbols
                .get(s.index())
                .unwrap_or_else(|| self.unbound(&self.nest.symbols[s.index()].name)),
        }
    }

    fn bind(&mut self, axis: AxisId, value: i64) {
        self.axes[axis.index()] = Some(value);
    }

    fn unbind(&mut self, axis: AxisId) {
        self.axes[axis.index()] = None;
    }

    /// `oc.o = 1, ow = 3`: where we are, for messages.
    fn place(&self) -> String {
        let bound = self
            .nest
            .axes
            .iter()
            .zip(&self.axes)
            .filter_map(|(axis, value)| Some((axis, (*value)?)));
        bound.map(|(axis, value)| format!("{} = {value}", axis.name)).collect::<Vec<_>>().join(", ")
    }

    fn unbound(&self, name: &str) -> ! {
        panic!("interp: {name} is used where it is not bound; bound are {}", self.place())
    }
}

struct Machine<'a, T> {
    nest: &'a Nest,
    /// By buffer.
    slack: Vec<i64>,
    env: Env<'a>,
    memory: Memory<'a, T>,
    /// Activations spelled out, so that each is spelled once.
    programs: Vec<(Activation, Vec<Instruction>)>,
    part: i64,
    parts: i64,
}

impl<'a, T: Element> Machine<'a, T> {
    fn stmts(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => self.for_loop(l, body),
                Stmt::Leaf(leaf) => LeafRun::new(self, leaf, Vec::new()).run(),
                Stmt::Call(call) => self.call(call),
            }
        }
    }

    fn for_loop(&mut self, l: &Loop, body: &'a [Stmt]) {
        let (lo, hi) = self.range(l);
        let (lo, hi) = match l.kind {
            LoopKind::Serial | LoopKind::Unrolled => (lo, hi),
            LoopKind::Parallel => self.share(lo, hi),
        };
        for value in lo..hi {
            self.env.bind(l.axis, value);
            self.stmts(body);
        }
        self.env.unbind(l.axis);
    }

    fn range(&self, l: &Loop) -> (i64, i64) {
        (l.lo.eval(|v| self.env.value(v)), l.hi.eval(|v| self.env.value(v)))
    }

    fn share(&self, lo: i64, hi: i64) -> (i64, i64) {
        let len = (hi - lo).max(0);
        (lo + len * self.part / self.parts, lo + len * (self.part + 1) / self.parts)
    }

    /// A call hides everything of the caller: the leaf sees its pointers and ints only.
    fn call(&mut self, call: &Call) {
        let leaf = &self.nest.leaves[call.leaf.index()];
        assert!(
            call.pointers.len() == leaf.pointers.len() && call.ints.len() == leaf.ints.len(),
            "interp: call of {} does not match its parameters",
            leaf.name
        );
        let value = |v| self.env.value(v);
        let address =
            |access: &crate::nest::Access| access.index.iter().map(|i| i.eval(value)).collect();
        let pointers: Vec<Vec<i64>> = call.pointers.iter().map(address).collect();
        let mut axes = vec![None; self.nest.axes.len()];
        for (axis, int) in leaf.ints.iter().zip(&call.ints) {
            axes[axis.index()] = Some(int.eval(value));
        }
        let axes = std::mem::replace(&mut self.env.axes, axes);
        let symbols = std::mem::take(&mut self.env.symbols);
        LeafRun::new(self, leaf, pointers).run();
        self.env.axes = axes;
        self.env.symbols = symbols;
    }
}

#[cfg(test)]
mod tests;
