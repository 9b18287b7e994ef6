//! What was made for one program before: networks repeat their blocks, and strips of one step are
//! many convolutions of the same leaves.
//!
//! In: a convolution, or a leaf of a finished nest. Out: what a first one like it became. Of leaves
//! everything is compared that an encoder may ask: the leaf itself, its axes by their order and not
//! by their numbers, and the buffers behind its pointers.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use conv_ir::lower::Layouts;
use conv_ir::nest::{Affine, AxisId, Buffer, BufferRole, Expr, Leaf};
use conv_ir::schedule::Choice;
use conv_ir::{Conv, DType, Isa, Nest, Program, Schedule};
use rustc_hash::{FxHashMap, FxHasher};

use crate::ahead;
use crate::leaf;
use crate::x86::{self, Kernels, MicroKernel, Refusal};

/// A convolution alone, as it was lowered.
pub(crate) type Alone = (Choice, Nest, Kernels);

type Asked = (Conv, Layouts, Option<Schedule>);

type Assembled = (LeafKey, Result<MicroKernel, Refusal>);

/// Of one program, for the time that it is compiled.
pub(crate) struct Memo {
    /// A step alone is met once.
    is_kept: bool,
    alone: Mutex<HashMap<Asked, Alone>>,
    leaves: Mutex<FxHashMap<u64, Vec<Assembled>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Entries are whole: nothing else happens under the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memo {
    pub fn of(program: &Program) -> Memo {
        let is_kept = program.steps().len() > 1;
        Memo { is_kept, alone: Mutex::default(), leaves: Mutex::default() }
    }

    /// Different leaves that were met.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.leaves).values().map(Vec::len).sum()
    }

    /// The convolution as it was lowered before, or as `make` lowers it now. Errors are not kept.
    pub fn alone<E>(
        &self,
        (conv, layouts, given): (&Conv, Layouts, Option<&Schedule>),
        make: impl FnOnce() -> Result<Alone, E>,
    ) -> Result<Alone, E> {
        if !self.is_kept {
            return make();
        }
        let asked = (conv.clone(), layouts, given.cloned());
        if let Some(known) = lock(&self.alone).get(&asked) {
            return Ok(known.clone());
        }
        let made = make()?;
        lock(&self.alone).insert(asked, made.clone());
        Ok(made)
    }

    /// [`x86::assemble_asking`].
    pub fn assemble(
        &self,
        nest: &Nest,
        leaf: &Leaf,
        (isa, share): (Isa, Option<i64>),
    ) -> Result<MicroKernel, Refusal> {
        let make = || x86::assemble_asking(nest, leaf, isa, share);
        let key = if self.is_kept { LeafKey::of(nest, leaf, (isa, share)) } else { None };
        let Some(key) = key else { return make() };
        let hash = key.hash();
        let known = lock(&self.leaves)
            .get(&hash)
            .and_then(|all| all.iter().find(|(known, _)| *known == key))
            .map(|(_, made)| made.clone());
        if let Some(made) = known {
            return made.map(|mut kernel| {
                kernel.name.clone_from(&leaf.name);
                kernel
            });
        }
        let made = make();
        lock(&self.leaves).entry(hash).or_default().push((key, made.clone()));
        made
    }

    /// Adds the kernels of all leaves that the assembler takes.
    pub fn complete(&self, nest: &Nest, isa: Isa, kernels: &mut Kernels) {
        if !self.is_kept || isa == Isa::Portable {
            return;
        }
        let mut is_there = vec![false; nest.leaves.len()];
        kernels.iter().for_each(|(at, _)| is_there[*at] = true);
        for (at, leaf) in nest.leaves.iter().enumerate().filter(|(at, _)| !is_there[*at]) {
            // Who emits the nest asks again, and hears why.
            let share = ahead::of_leaf(nest, at, isa).map(|ahead| ahead.share);
            let made = self.assemble(nest, leaf, (isa, share));
            // Not every leaf can ask.
            let made = made.or_else(|why| match share {
                Some(_) => self.assemble(nest, leaf, (isa, None)),
                None => Err(why),
            });
            kernels.extend(made.ok().map(|kernel| (at, kernel)));
        }
    }
}

/// By position: the first nest that has the same code.
pub(crate) fn twins<'a>(nests: impl Iterator<Item = &'a Nest>) -> Vec<usize> {
    let mut seen: Vec<(&Nest, usize)> = Vec::new();
    let first = |(at, nest): (usize, &'a Nest)| {
        let known = seen.iter().find(|(known, _)| is_same_code(known, nest)).map(|known| known.1);
        known.unwrap_or_else(|| {
            seen.push((nest, at));
            at
        })
    };
    nests.enumerate().map(first).collect()
}

/// Whether two nests are made into the same code, however their buffers and leaves are called.
/// Numbers that are known are no part of it, as it reads them where its buffers say.
fn is_same_code(a: &Nest, b: &Nest) -> bool {
    let is_alike = |(a, b): (&Buffer, &Buffer)| {
        (a.role, a.dtype, a.view_of, &a.extents) == (b.role, b.dtype, b.view_of, &b.extents)
            && a.values.is_some() == b.values.is_some()
    };
    let buffers = || a.buffers.iter().zip(&b.buffers);
    (a.dtype, a.rank, a.buffers.len()) == (b.dtype, b.rank, b.buffers.len())
        && buffers().all(is_alike)
        && (&a.body, &a.setup) == (&b.body, &b.setup)
        && (&a.axes, &a.symbols, a.leaves.len()) == (&b.axes, &b.symbols, b.leaves.len())
        && a.leaves.iter().zip(&b.leaves).all(|(a, b)| is_same_leaf(a, b))
        && constants(a.all_leaves()) == constants(b.all_leaves())
        && buffers().all(|(a, b)| leaf::scales_down(a) == leaf::scales_down(b))
}

fn is_same_leaf(a: &Leaf, b: &Leaf) -> bool {
    let axes = |leaf: &Leaf| leaf.registers.iter().map(|r| r.axes.clone()).collect::<Vec<_>>();
    (&a.pointers, &a.ints, &a.tile, a.lanes) == (&b.pointers, &b.ints, &b.tile, b.lanes)
        && (&a.init, &a.reduce, &a.update, &a.finish) == (&b.init, &b.reduce, &b.update, &b.finish)
        && axes(a) == axes(b)
}

/// The bits of constants: zeros of two signs are equal, but not the same.
fn constants<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Vec<u64> {
    let mut constants = Vec::new();
    for leaf in leaves {
        leaf.visit_exprs(&mut |e| {
            if let Expr::Const(c) = e {
                constants.push(c.to_bits());
            }
        });
    }
    constants
}

/// What a kernel is made from.
#[derive(PartialEq)]
struct LeafKey {
    isa: Isa,
    /// What it asks for.
    share: Option<i64>,
    dtype: DType,
    /// Without a name and buffers, its axes counted from 0.
    leaf: Leaf,
    constants: Vec<u64>,
    /// And whether it is a table of small scales.
    buffers: Vec<(BufferRole, DType, Vec<Affine>, bool)>,
}

impl LeafKey {
    /// None where something is named that is not the leaf's own.
    fn of(nest: &Nest, leaf: &Leaf, (isa, share): (Isa, Option<i64>)) -> Option<LeafKey> {
        let tile = leaf.tile.iter().map(|t| t.axis).chain(leaf.lanes.map(|l| l.axis));
        let reduce = leaf.reduce.iter().map(|l| l.axis).chain(leaf.ints.iter().copied());
        let vectors = leaf.lanes.and_then(|l| l.vectors);
        let mut own: Vec<AxisId> = Vec::new();
        for axis in tile.chain(vectors).chain(reduce) {
            if !own.contains(&axis) {
                own.push(axis);
            }
        }
        let mut is_closed = nest.symbols.is_empty();
        let mut closed = |axis| is_closed &= own.contains(&axis);
        leaf.visit_affine(&mut |a| a.axes().for_each(&mut closed));
        if !is_closed {
            return None;
        }
        let number = |axis: AxisId| {
            let at = own.iter().position(|known| *known == axis);
            AxisId(at.unwrap_or(own.len()) as u32)
        };
        let buffers = leaf.pointers.iter().map(|&id| {
            let buffer = nest.buffer(id);
            (buffer.role, buffer.dtype, buffer.extents.clone(), leaf::scales_down(buffer))
        });
        let buffers = buffers.collect();
        let constants = constants([leaf]);
        let mut leaf = leaf.clone().rename_axes(&number);
        leaf.name.clear();
        leaf.pointers.clear();
        Some(LeafKey { isa, share, dtype: nest.dtype, leaf, constants, buffers })
    }

    fn hash(&self) -> u64 {
        let Leaf { tile, lanes, reduce, ints, .. } = &self.leaf;
        let mut hasher = FxHasher::default();
        (self.isa, self.share, self.dtype, &self.buffers, tile, lanes, reduce, ints)
            .hash(&mut hasher);
        hasher.finish()
    }
}
