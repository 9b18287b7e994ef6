//! Layers one after the other, with branches that join: the plain model that halos and receptive
//! fields are worked out on.
//!
//! In: convolutions, poolings and how they follow each other. Out: for any range of outputs, the
//! range of every layer below that it needs ([`Stack::trace`]), and the receptive field
//! ([`Stack::field`], in [`super::field`]). There are no channels here and no values: a layer is
//! the window it slides along each axis, and the convolution it computes, if it is one. Branches
//! join by the hull of what they need, which is the largest field where their centres agree (and
//! [`ReceptiveField::aligned`](super::ReceptiveField::aligned) says whether they do).

use std::ops::Range;

use super::window::{Needed, Window, hull};
use crate::conv::Conv;
use crate::error::Error;

/// One layer: a window an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The windows, outermost axis first.
    pub windows: Vec<Window>,
    /// Extents of the input per axis, where they are known: what is needed of the layer below ends
    /// there.
    pub inputs: Vec<Option<i64>>,
    /// What is computed; none for a pooling.
    pub conv: Option<Box<Conv>>,
}

impl Layer {
    /// A pooling, or any other window without weights.
    pub fn pooling(windows: Vec<Window>, inputs: Vec<Option<i64>>) -> Layer {
        Layer { windows, inputs, conv: None }
    }
}

impl From<&Conv> for Layer {
    fn from(conv: &Conv) -> Self {
        let axes = conv.equation();
        Layer {
            windows: axes.iter().map(Window::from).collect(),
            inputs: axes.iter().map(|axis| Some(axis.input.known()? as i64)).collect(),
            conv: Some(Box::new(conv.clone())),
        }
    }
}

/// One place in a stack.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A layer on what is below.
    Layer(Layer),
    /// Each branch on what is below; their results are added, or put side by side. An empty branch
    /// is a shortcut.
    Join(Vec<Stack>),
}

/// Layers in order, the one nearest to the input first.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Stack {
    nodes: Vec<Node>,
    rank: usize,
}

impl Stack {
    /// Puts nodes in a row.
    ///
    /// # Errors
    /// [`Error::Argument`] where the layers differ in rank, or a join has no branches.
    pub fn new(nodes: Vec<Node>) -> Result<Stack, Error> {
        let mut rank = 0;
        for (at, node) in nodes.iter().enumerate() {
            let found = match node {
                Node::Layer(layer) => layer.windows.len(),
                Node::Join(branches) if branches.is_empty() => {
                    return Err(Error::Argument(format!("join {at} has no branches")));
                }
                Node::Join(branches) => {
                    branches.iter().map(|branch| branch.rank).max().unwrap_or(0)
                }
            };
            if rank != 0 && found != 0 && found != rank {
                let message =
                    format!("layer {at} has {found} spatial axes, but the first has {rank}");
                return Err(Error::Argument(message));
            }
            rank = rank.max(found);
        }
        Ok(Stack { nodes, rank })
    }

    /// Convolutions in a row.
    ///
    /// # Errors
    /// [`Error::Argument`] where their ranks differ.
    pub fn of(convs: &[Conv]) -> Result<Stack, Error> {
        Stack::new(convs.iter().map(|conv| Node::Layer(conv.into())).collect())
    }

    /// The nodes, the one nearest to the input first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Number of spatial axes; none where there is no layer.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The first so many nodes.
    pub fn first(&self, nodes: usize) -> Stack {
        Stack { nodes: self.nodes[..nodes.min(self.nodes.len())].to_vec(), rank: self.rank }
    }

    /// Every convolution, branches one after the other.
    pub fn convs(&self) -> Vec<&Conv> {
        self.nodes.iter().flat_map(Node::convs).collect()
    }

    /// What the outputs in this range need of each layer below, along one axis: of the input first,
    /// of the last node's input last.
    ///
    /// Each layer's part is one range, from the first element to the last, because that is what a
    /// tile holds; dilation and stride may leave elements in it that nobody reads. A layer's
    /// positions outside its extent are padding, and nothing below is needed for them.
    ///
    /// ```
    /// use conv_ir::analysis::Stack;
    /// let stack = Stack::of(&[
    ///     "conv1d in 16 kernel 3 pad 1".parse()?,
    ///     "conv1d in 16 kernel 5 pad 2".parse()?,
    /// ])?;
    /// let below = stack.trace(0, 0..4)?;
    /// assert_eq!((below[1].inside.clone(), below[1].before), (0..6, 2));
    /// assert_eq!((below[0].inside.clone(), below[0].before), (0..7, 1));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such axis, or a position is too large to count.
    pub fn trace(&self, axis: usize, outputs: Range<i64>) -> Result<Vec<Needed>, Error> {
        self.check_axis(axis)?;
        let mut layers = Vec::new();
        let mut range = outputs;
        for node in self.nodes.iter().rev() {
            let needed = node.needed(axis, range).ok_or_else(too_large)?;
            range = needed.inside.clone();
            layers.push(needed);
        }
        layers.reverse();
        Ok(layers)
    }

    /// What the outputs in this range need of the input, along one axis.
    ///
    /// # Errors
    /// As [`Stack::trace`].
    pub fn needed(&self, axis: usize, outputs: Range<i64>) -> Result<Needed, Error> {
        self.check_axis(axis)?;
        self.through(axis, outputs).ok_or_else(too_large)
    }

    /// Down to the input; `None` where a position is too large to count.
    fn through(&self, axis: usize, outputs: Range<i64>) -> Option<Needed> {
        let mut needed = Needed { inside: outputs, ..Needed::default() };
        for node in self.nodes.iter().rev() {
            needed = node.needed(axis, needed.inside)?;
        }
        Some(needed)
    }

    pub(super) fn check_axis(&self, axis: usize) -> Result<(), Error> {
        if axis < self.rank {
            return Ok(());
        }
        let message = format!("there is no axis {axis}: the stack has {} spatial axes", self.rank);
        Err(Error::Argument(message))
    }
}

impl Node {
    /// Every convolution, branches one after the other.
    pub fn convs(&self) -> Vec<&Conv> {
        match self {
            Node::Layer(layer) => layer.conv.as_deref().into_iter().collect(),
            Node::Join(branches) => branches.iter().flat_map(Stack::convs).collect(),
        }
    }

    fn needed(&self, axis: usize, outputs: Range<i64>) -> Option<Needed> {
        let layer = match self {
            Node::Layer(layer) => layer,
            Node::Join(branches) => {
                let of = |branch: &Stack| branch.through(axis, outputs.clone());
                let parts: Vec<Needed> = branches.iter().map(of).collect::<Option<_>>()?;
                return parts.into_iter().reduce(Needed::and);
            }
        };
        let range = layer.windows[axis].needed(outputs)?;
        Some(match layer.inputs[axis] {
            Some(extent) => Needed::cut(range, extent),
            None => Needed { inside: range, ..Needed::default() },
        })
    }
}

impl Needed {
    /// What two users of the same layer need together.
    fn and(self, other: Needed) -> Needed {
        Needed {
            inside: hull(self.inside, other.inside),
            before: self.before.max(other.before),
            after: self.after.max(other.after),
        }
    }
}

fn too_large() -> Error {
    Error::Argument("a position is too large to count".to_owned())
}
