//! A finished nest becomes part of another one.
//!
//! ```text
//! into    axes 0..9, leaves 0..3
//! from    axes 0..5, leaves 0..2      call 1(@input[0, oh], ..)
//! after   axes 0..14, leaves 0..5     call 4(@line_view[0, oh], ..)      axis 3 is axis 12 now
//! ```
//!
//! Every axis becomes one of the same name, role and part; what is side by side may share them.
//! Every leaf gets a new number, unless there is an equal one: strips differ in their edges more
//! than in their inner tiles. Every buffer becomes the one that the caller says. Loops that threads
//! would share run in order: the nest around them decides what threads share.

use std::collections::{BTreeMap, BTreeSet};

use super::{Access, AxisId, Base, BufferId, Call, Leaf, LeafId, Loop, LoopKind, Nest, Stmt};

/// The statements of the embedded nest, in the numbers of the nest around it.
pub(crate) struct Embedded {
    pub setup: Vec<Stmt>,
    pub body: Vec<Stmt>,
}

/// Embeds one nest after the other into the same one.
#[derive(Default)]
pub(crate) struct Embedding {
    /// Leaves of the nest around that are listed below.
    listed: usize,
    /// By the buffers that they reach: others are not equal.
    leaves: BTreeMap<Vec<BufferId>, Vec<LeafId>>,
    names: BTreeSet<String>,
    /// For the stem of a name the number to try next.
    next: BTreeMap<String, usize>,
}

impl Embedding {
    /// Adds the axes and leaves of `from`, an outlined nest of known sizes. `buffers` says what
    /// each of its buffers is in `into`; names of leaves get `suffix`.
    pub fn embed(
        &mut self,
        into: &mut Nest,
        from: &Nest,
        buffers: &[BufferId],
        suffix: &str,
    ) -> Embedded {
        into.needs_finite_weights |= from.needs_finite_weights;
        let mut moved = Moved { axes: axes(into, from), leaves: Vec::new(), buffers };
        for leaf in &from.leaves {
            let leaf = moved.leaf(leaf);
            let id = self.intern(into, leaf, suffix);
            moved.leaves.push(id);
        }
        Embedded { setup: moved.stmts(&from.setup), body: moved.stmts(&from.body) }
    }

    /// The id of a leaf that does the same, or of this one, added.
    fn intern(&mut self, nest: &mut Nest, mut leaf: Leaf, suffix: &str) -> LeafId {
        self.list(nest);
        let name = std::mem::take(&mut leaf.name);
        for &id in self.leaves.get(&leaf.pointers).into_iter().flatten() {
            let known = &nest.leaves[id.index()];
            leaf.name.clone_from(&known.name);
            if *known == leaf {
                return id;
            }
        }
        leaf.name = self.unused(&format!("{name}{suffix}"));
        nest.leaves.push(leaf);
        LeafId(nest.leaves.len() as u32 - 1)
    }

    /// Lists leaves that were added since.
    fn list(&mut self, nest: &Nest) {
        for (at, leaf) in nest.leaves.iter().enumerate().skip(self.listed) {
            self.leaves.entry(leaf.pointers.clone()).or_default().push(LeafId(at as u32));
            self.names.insert(leaf.name.clone());
        }
        self.listed = nest.leaves.len();
    }

    /// A name that no leaf has.
    fn unused(&mut self, stem: &str) -> String {
        if !self.names.contains(stem) {
            return stem.to_owned();
        }
        let next = self.next.entry(stem.to_owned()).or_insert(2);
        loop {
            let name = format!("{stem}_v{next}");
            *next += 1;
            if !self.names.contains(&name) {
                return name;
            }
        }
    }
}

/// Maps the k-th axis with some name, role and part in `from` to the k-th such axis of `into`.
fn axes(into: &mut Nest, from: &Nest) -> Vec<AxisId> {
    let mut taken = vec![false; into.axes.len()];
    let moved = from.axes.iter().map(|axis| {
        match (0..taken.len()).find(|&at| !taken[at] && into.axes[at] == *axis) {
            Some(at) => {
                taken[at] = true;
                AxisId(at as u32)
            }
            None => into.add_axis(axis.name.clone(), axis.role, axis.part),
        }
    });
    moved.collect()
}

/// From old numbers to new ones.
struct Moved<'a> {
    axes: Vec<AxisId>,
    leaves: Vec<LeafId>,
    buffers: &'a [BufferId],
}

impl Moved<'_> {
    fn axis(&self, axis: AxisId) -> AxisId {
        self.axes[axis.index()]
    }

    fn renamed(&self, a: &super::Affine) -> super::Affine {
        let mut renamed = a.clone();
        renamed.rename(|axis| self.axis(axis));
        renamed
    }

    fn leaf(&self, leaf: &Leaf) -> Leaf {
        let mut leaf = leaf.clone().rename_axes(&|axis| self.axis(axis));
        leaf.pointers.iter_mut().for_each(|b| *b = self.buffers[b.index()]);
        leaf
    }

    fn stmts(&self, stmts: &[Stmt]) -> Vec<Stmt> {
        stmts.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&self, stmt: &Stmt) -> Stmt {
        let mut f = |a: &super::Affine| self.renamed(a);
        match stmt {
            Stmt::For(l, body) => {
                let l = Loop {
                    axis: self.axis(l.axis),
                    lo: l.lo.map(&mut f),
                    hi: l.hi.map(&mut f),
                    kind: match l.kind {
                        LoopKind::Parallel => LoopKind::Serial,
                        kind => kind,
                    },
                };
                Stmt::For(l, self.stmts(body))
            }
            Stmt::Leaf(leaf) => unreachable!("embed: leaf {} is not outlined", leaf.name),
            Stmt::Call(call) => Stmt::Call(Call {
                leaf: self.leaves[call.leaf.index()],
                pointers: call.pointers.iter().map(|p| self.pointer(p)).collect(),
                ints: call.ints.iter().map(|b| b.map(&mut f)).collect(),
            }),
        }
    }

    fn pointer(&self, access: &Access) -> Access {
        let mut moved = access.map(&mut |a| self.renamed(a));
        if let Base::Buffer(buffer) = access.base {
            moved.base = Base::Buffer(self.buffers[buffer.index()]);
        }
        moved
    }
}

/// Applies `f` to every pointer of every call.
pub(crate) fn for_pointers(stmts: &mut [Stmt], f: &mut impl FnMut(&mut Access)) {
    for stmt in stmts {
        match stmt {
            Stmt::For(_, body) => for_pointers(body, f),
            Stmt::Call(call) => call.pointers.iter_mut().for_each(&mut *f),
            Stmt::Leaf(_) => {}
        }
    }
}

/// Gives a buffer of an outlined nest one more dimension of extent 1, the innermost.
pub(crate) fn add_unit_dimension(nest: &mut Nest, buffer: BufferId) {
    nest.buffers[buffer.index()].extents.push(1.into());
    let longer = |access: &Access| {
        let mut access = access.clone();
        access.index.push(super::Affine::constant(0).into());
        access
    };
    for leaf in &mut nest.leaves {
        let pointers = leaf.pointers.clone();
        let is_behind =
            |base: Base| matches!(base, Base::Pointer(p) if pointers[p.index()] == buffer);
        *leaf = leaf.map(
            &mut |access| {
                if is_behind(access.base) { longer(access) } else { access.clone() }
            },
            &mut |cond| cond.clone(),
            &mut |bound| bound.clone(),
        );
    }
    let mut edit = |pointer: &mut Access| {
        if pointer.base == Base::Buffer(buffer) {
            *pointer = longer(pointer);
        }
    };
    for_pointers(&mut nest.setup, &mut edit);
    for_pointers(&mut nest.body, &mut edit);
}
