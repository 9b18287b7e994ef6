//! Where a thread's scratch buffers lie in its scratch block, and how long buffers of ours are. The
//! host works it out for each run; the driver finds the offsets in the buffer table.
//!
//! Buffers follow one another in the nest's order, each on a cache line of its own, with its
//! [slack](Nest::slack) behind it.

use conv_ir::Nest;
use conv_ir::nest::{Buffer, BufferId, BufferRole, Var};

use crate::memory;

/// Bytes of a buffer of ours and of its slack. `None` where that does not fit.
pub(crate) fn bytes(buffer: &Buffer, slack: i64, symbols: &[i64]) -> Option<usize> {
    let value = |var| match var {
        Var::Symbol(symbol) => symbols[symbol.index()],
        Var::Axis(_) => 0,
    };
    let extents = buffer.extents.iter().map(|extent| extent.eval(value).max(0));
    let len = extents.into_iter().try_fold(1i64, i64::checked_mul)?;
    let bytes = len.checked_add(slack)?.checked_mul(buffer.dtype.bytes() as i64)?;
    usize::try_from(bytes).ok()
}

/// Bytes of one thread's block. `place` is told of each buffer where it begins there, and its
/// bytes.
pub(crate) fn layout(
    nest: &Nest,
    slack: &[i64],
    symbols: &[i64],
    mut place: impl FnMut(BufferId, usize, usize),
) -> Option<usize> {
    nest.buffers_of(BufferRole::Scratch).try_fold(0, |end, id| {
        let bytes = bytes(nest.buffer(id), slack[id.index()], symbols)?;
        let (start, end) = memory::place(end, bytes)?;
        place(id, start, bytes);
        Some(end)
    })
}
