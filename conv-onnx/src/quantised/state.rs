//! What is known of a tensor while the graph is written anew.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;

use super::grid::Grid;
use super::layer::Sums;

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
