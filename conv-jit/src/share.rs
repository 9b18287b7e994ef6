//! Into how many parts work may be cut, and other questions to a nest that decide how a run may
//! use it.

use conv_ir::analysis::facts;
use conv_ir::nest::{Base, BufferId, BufferRole, Leaf, LoopKind, Op, Stmt};
use conv_ir::{Conv, Nest};

/// Multiply-adds that are worth a thread: about 5 us, which waking one takes.
const WORTH_A_THREAD: u128 = 1 << 18;

/// The most threads that a run is cut for. More is a mistake, or an attack on memory.
pub(crate) const MOST_THREADS: usize = 1 << 10;

/// Multiply-adds that take as long as moving a byte of an array from or to a near cache.
const OF_A_BYTE: u128 = 2;

/// As many threads as there is work for in these convolutions.
pub(crate) fn useful_threads<'a>(convs: impl Iterator<Item = &'a Conv>) -> usize {
    let work = |conv: &Conv| {
        let facts = facts(conv)?;
        Some((facts.operations / 2).max(OF_A_BYTE * u128::from(facts.total_bytes())))
    };
    let work: Option<u128> = convs.map(work).sum();
    let threads = work.map(|work| usize::try_from(work / WORTH_A_THREAD).unwrap_or(MOST_THREADS));
    threads.unwrap_or(MOST_THREADS).clamp(1, MOST_THREADS)
}

/// Whether threads can share the body: every store to the output happens inside a parallel loop.
pub(crate) fn is_divisible(nest: &Nest) -> bool {
    nest.body.iter().all(|stmt| is_shared(nest, stmt))
}

fn is_shared(nest: &Nest, stmt: &Stmt) -> bool {
    let writes_output =
        |leaf: &Leaf| stored(nest, leaf).any(|b| nest.buffer(b).role == BufferRole::Output);
    match stmt {
        Stmt::For(l, _) if l.kind == LoopKind::Parallel => true,
        Stmt::For(_, body) => body.iter().all(|stmt| is_shared(nest, stmt)),
        Stmt::Leaf(leaf) => !writes_output(leaf),
        Stmt::Call(call) => !writes_output(&nest.leaves[call.leaf.index()]),
    }
}

fn stored<'a>(nest: &'a Nest, leaf: &'a Leaf) -> impl Iterator<Item = BufferId> + 'a {
    let mut found = Vec::new();
    leaf.ops().for_each(|op| {
        op.visit(&mut |op| match op {
            Op::Store { to, .. } | Op::StoreBlock { to, .. } => {
                found.push(nest.buffer_behind(leaf, to.base))
            }
            Op::Each(..) | Op::Set { .. } => {}
        });
    });
    found.into_iter()
}

/// Whether the body itself reads that buffer, rather than a packed copy of it.
pub(crate) fn body_reads(nest: &Nest, buffer: BufferId) -> bool {
    nest.body.iter().any(|stmt| reads(nest, stmt, buffer))
}

fn reads(nest: &Nest, stmt: &Stmt, buffer: BufferId) -> bool {
    let is = |id: BufferId| nest.memory_of(id) == buffer;
    match stmt {
        Stmt::For(_, body) => body.iter().any(|stmt| reads(nest, stmt, buffer)),
        Stmt::Call(call) => nest.leaves[call.leaf.index()].pointers.iter().any(|&id| is(id)),
        Stmt::Leaf(leaf) => {
            leaf.accesses().iter().any(|a| matches!(a.base, Base::Buffer(id) if is(id)))
        }
    }
}
