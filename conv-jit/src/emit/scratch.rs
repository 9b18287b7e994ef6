//! Where a thread's scratch buffers lie in its scratch block, worked out twice: by the host, which
//! allocates it, and by the driver, which uses it.
//!
//! Buffers follow one another in the nest's order, each on a cache line of its own.

use conv_ir::Nest;
use conv_ir::nest::{Base, Buffer, BufferId, BufferRole, Var};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::int::Int;

/// Buffers start on a cache line.
pub(crate) const ALIGN: i64 = 64;
/// Bytes behind a buffer of ours: a vector load may read lanes beyond a tile's cut.
pub(crate) const SLACK: i64 = 256;

/// Bytes that a buffer of ours takes, slack included. `None` where that does not fit.
pub(crate) fn bytes(buffer: &Buffer, symbols: &[i64]) -> Option<i64> {
    let value = |var| match var {
        Var::Symbol(symbol) => symbols[symbol.index()],
        Var::Axis(_) => 0,
    };
    let mut len = buffer.dtype.bytes() as i64;
    for extent in &buffer.extents {
        len = len.checked_mul(extent.eval(value).max(0))?;
    }
    len.checked_add(SLACK + ALIGN - 1).map(|len| len & -ALIGN)
}

/// Bytes of one thread's block.
pub(crate) fn block_bytes(nest: &Nest, symbols: &[i64]) -> Option<i64> {
    scratch_buffers(nest)
        .try_fold(0i64, |sum, id| sum.checked_add(bytes(nest.buffer(id), symbols)?))
}

fn scratch_buffers(nest: &Nest) -> impl Iterator<Item = BufferId> + '_ {
    nest.buffers_of(BufferRole::Scratch)
}

/// The same in code: the address of every scratch buffer.
pub(super) fn load_bases(e: &mut Emitter<'_, '_>, block: Value) {
    let nest = e.nest;
    let mut offset = Int::Known(0);
    for id in scratch_buffers(nest) {
        let base = e.add(Int::Value(block), offset);
        let base = e.value(base);
        e.bases.insert(Base::Buffer(id), base);
        let len = len(e, nest.buffer(id), id);
        offset = e.add(offset, len);
    }
    for id in (0..nest.buffers.len() as u32).map(BufferId) {
        if let (BufferRole::Scratch, Some(of)) = (nest.buffer(id).role, nest.buffer(id).view_of) {
            let base = e.bases[&Base::Buffer(of)];
            e.bases.insert(Base::Buffer(id), base);
        }
    }
}

fn len(e: &mut Emitter<'_, '_>, buffer: &Buffer, id: BufferId) -> Int {
    let bytes = Int::Known(buffer.dtype.bytes() as i64);
    let Some(first) = buffer.extents.first() else {
        return Int::Known(SLACK + ALIGN);
    };
    let (first, stride) = (e.affine(first), e.strides[&id][0]);
    let elements = e.mul(first, stride);
    let len = e.mul(elements, bytes);
    match e.add(len, Int::Known(SLACK + ALIGN - 1)) {
        Int::Known(len) => Int::Known(len & -ALIGN),
        Int::Value(len) => {
            let mask = e.value(Int::Known(-ALIGN));
            Int::Value(e.b.ins().band(len, mask))
        }
    }
}
