//! What is known of a tensor while the graph is written anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::tract_core::internal::*;

use super::grid::Grid;
use super::layer::Sums;
use crate::outputs::Outputs;

/// The way through the graph.
pub struct Rewrite<'a> {
    pub old: &'a TypedModel,
    pub new: TypedModel,
    /// Tensors of the old graph as they are.
    pub plain: HashMap<OutletId, OutletId>,
    pub known: HashMap<OutletId, Known>,
    pub bytes: HashMap<OutletId, Forms>,
    /// Whole sums of images, what follows from them, and real tensors with channels last.
    pub wholes: HashMap<OutletId, Tail>,
    pub tails: HashMap<OutletId, Tail>,
    pub reals: HashSet<OutletId>,
    pub outputs: Arc<Outputs>,
    /// When each old node is evaluated.
    pub order: HashMap<usize, usize>,
    pub names: usize,
}

/// Bytes of a tensor of the new graph.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forms {
    pub first: Option<OutletId>,
    pub last: Option<OutletId>,
}

/// What a real tensor of the old graph is known to be.
#[derive(Clone, Debug)]
pub enum Known {
    /// The old tensor whose bytes they are.
    Bytes(OutletId, Grid),
    /// Sums of a layer that nobody has asked for yet, and the tensor of its input's bytes.
    Sums(OutletId, Arc<Sums>),
}

impl Forms {
    /// Of one tensor, in one form.
    pub fn of(is_last: bool, wire: OutletId) -> Forms {
        match is_last {
            true => Forms { first: None, last: Some(wire) },
            false => Forms { first: Some(wire), last: None },
        }
    }
}

/// A tensor of an image that follows from whole sums.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Of the new graph, channels last.
    pub sums: OutletId,
    pub channels: usize,
    /// Of the old graph: one number.
    pub scale: Option<OutletId>,
    pub bias: Arc<[f32]>,
    pub bounds: (f32, f32),
}

impl Tail {
    pub fn new(sums: OutletId, channels: usize) -> Tail {
        let bounds = (f32::NEG_INFINITY, f32::INFINITY);
        Tail { sums, channels, scale: None, bias: Arc::default(), bounds }
    }
}

/// What a node's output is.
pub enum Found {
    Known(Known),
    /// A tensor of bytes.
    Bytes(Forms),
    /// A real tensor whose bytes these are.
    Both(Grid, Forms),
    /// A constant, which is computed where someone asks for it.
    Nothing,
}

/// An axis, where channels are last.
pub fn turned(axis: usize, rank: usize) -> usize {
    match axis {
        1 => rank - 1,
        axis if axis > 1 => axis - 1,
        axis => axis,
    }
}
