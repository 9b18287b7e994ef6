//! The activation, which may have a slope for each output channel.

use crate::activation::Activation;
use crate::conv::Conv;
use crate::nest::{Binary, BufferId, BufferRole, Expr, Nest};
use crate::values::Values;

/// The table of prelu's slopes in a nest, one for each output channel, with these extents.
pub(crate) fn slopes(conv: &Conv, nest: &mut Nest, extents: &[i64]) -> Option<BufferId> {
    let Some(Activation::Prelu(slopes)) = &conv.spec().activation else { return None };
    let extents = extents.iter().map(|&extent| extent.into()).collect();
    let table = nest.add_buffer("slope", BufferRole::Packed, extents);
    let rounded = Values::rounded("slope", nest.dtype, slopes);
    nest.buffers[table.index()].values = Some(rounded.expect("slopes were checked to be finite"));
    Some(table)
}

/// The activation of a value, with its channel's slope where there is one.
pub(crate) fn activated(conv: &Conv, value: Expr, slope: Option<Expr>) -> Expr {
    match (&conv.spec().activation, slope) {
        (_, Some(slope)) => Expr::Binary(Binary::Prelu, Box::new(value), Box::new(slope)),
        (Some(activation), None) => Expr::Activation(activation.clone(), Box::new(value)),
        (None, None) => value,
    }
}
