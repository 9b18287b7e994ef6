//! A program as a graph, said by handles: a step gives a tensor, which later ones read and add.
//!
//! The words of a step are the [`Builder`]'s, and what comes of it is the same program as with
//! numbers ([`Builder::from`], [`Builder::residual`], [`Builder::outputs`]).

use conv_ir::{Program, Size};

use super::{Builder, Residual, chain};
use crate::{Compiled, Error};

/// A tensor of a [`Graph`]: its input, or what a step gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tensor(usize);

impl Tensor {
    /// Its number in the program: 0 is the input, `k` the output of the `k`-th step.
    pub fn number(self) -> usize {
        self.0
    }
}

impl From<Tensor> for Residual {
    fn from(tensor: Tensor) -> Residual {
        Residual::Tensor(tensor.0)
    }
}

/// A graph being described. Made by [`graph`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `compile`"]
pub struct Graph {
    builder: Builder,
    outputs: Vec<usize>,
}

/// A graph whose input has so many channels and these extents, and the handle of that.
///
/// ```
/// use conv_jit::Activation::Relu;
/// // A residual block whose input is joined to what it gives.
/// let (mut net, x) = conv_jit::graph(8, [14, 14]);
/// let a = net.step([x], |s| s.conv(8, 3).padding(1).bias(true).activation(Relu));
/// let b = net.step([a], |s| s.conv(8, 3).padding(1).residual(x));
/// let c = net.add(a, b);
/// let d = net.step([x, c], |s| s.pointwise(4));
/// net.output(b);
/// net.output(d);
/// let net = net.compile()?;
/// assert_eq!(net.program().outputs(), [2, 4]);
/// # Ok::<(), conv_jit::Error>(())
/// ```
pub fn graph<S: Into<Size>>(
    in_channels: usize,
    input: impl IntoIterator<Item = S>,
) -> (Graph, Tensor) {
    (Graph { builder: chain(in_channels, input), outputs: Vec::new() }, Tensor(0))
}

impl Graph {
    /// Steps that read these tensors, joined along the channels: `say` says them in the builder's
    /// words. Of several each reads the one before. The handle is that of the last one's output.
    pub fn step(
        &mut self,
        from: impl IntoIterator<Item = Tensor>,
        say: impl FnOnce(Builder) -> Builder,
    ) -> Tensor {
        let before = self.builder.clone().from(from.into_iter().map(|tensor| tensor.0));
        let steps = before.steps.len();
        self.builder = say(before);
        if self.builder.steps.len() <= steps {
            self.builder.misplaced.push(("step", "its closure says no step"));
        }
        self.builder.next.clear();
        Tensor(self.builder.steps.len())
    }

    /// An input behind the first, of so many channels and these extents; batch, type and layout are
    /// the program's. A run takes the inputs in the order of their handles
    /// ([`Call::other_inputs`](crate::Call::other_inputs)). It stands among the steps, and has no
    /// weights.
    pub fn input<S: Into<Size>>(
        &mut self,
        channels: usize,
        extents: impl IntoIterator<Item = S>,
    ) -> Tensor {
        self.builder = self.builder.clone().input_of(channels, extents);
        Tensor(self.builder.steps.len())
    }

    /// The sum of two tensors of the same shape, element by element, as a step by itself. What
    /// [`Builder::residual`] adds to a step's output needs none.
    pub fn add(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.step([a], |step| step.max_pool(1).residual(b))
    }

    /// The product of two tensors of the same shape, element by element, as a step by itself. What
    /// [`Builder::multiply`] multiplies a step's output by needs none.
    pub fn multiply(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.step([a], |step| step.max_pool(1).multiply(b))
    }

    /// A tensor with each channel multiplied by a number of `[n, c, 1, 1]`, as a step by itself.
    /// [`Builder::scale`] needs none.
    pub fn scale(&mut self, a: Tensor, by: Tensor) -> Tensor {
        self.step([a], |step| step.max_pool(1).scale(by))
    }

    /// The activation of a tensor, as a step by itself. [`Builder::activation`] needs none.
    pub fn activation(&mut self, of: Tensor, activation: conv_ir::Activation) -> Tensor {
        self.step([of], |step| step.max_pool(1).activation(activation))
    }

    /// A run gives this tensor, behind those that were named before. Where none is named, it gives
    /// the last step's.
    pub fn output(&mut self, tensor: Tensor) {
        self.outputs.push(tensor.0);
    }

    /// The builder, for the words of the whole program.
    pub fn into_builder(self) -> Builder {
        self.builder.outputs(self.outputs)
    }

    /// The checked description.
    ///
    /// # Errors
    /// As [`Builder::describe`].
    pub fn describe(&self) -> Result<Program, Error> {
        self.clone().into_builder().describe()
    }

    /// Machine code.
    ///
    /// # Errors
    /// As [`Builder::compile`].
    pub fn compile(&self) -> Result<Compiled, Error> {
        self.clone().into_builder().compile()
    }
}
