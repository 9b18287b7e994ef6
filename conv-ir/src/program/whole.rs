//! A plan's groups, one after the other, as one nest: a chain for ways out that make one item of
//! one nest.
//!
//! ```text
//! groups  steps 1..3: @input -> line_1 -> @output;  step 4: @input -> @output
//! gives   @input -> line_1 -> tensor_3 -> @output
//! ```
//!
//! In: a chain and its plan. Out: a nest whose input, output, weights and biases are the chain's.
//! Tensors between groups, and what groups need for themselves, are scratch. What is not alive at
//! the same time shares memory: each *slot* is as long as its longest tenant. Loops that threads
//! would share run in order, because the groups do.

use std::collections::BTreeMap;

use super::Program;
use super::fuse::{Lower, constants, same_numbers};
use super::plan::{self, Group, Plan};
use crate::nest::{Affine, Buffer, BufferId, BufferRole, Embedding, Nest};
use crate::{Error, Target};

/// The nest of a whole chain.
///
/// # Errors
/// Those of [`plan::nest`] and [`Plan::check`].
pub fn nest(
    chain: &Program,
    plan: &Plan,
    target: &Target,
    lower: &mut Lower<'_>,
) -> Result<Nest, Error> {
    plan.check(chain)?;
    let nests = plan.groups.iter().map(|group| plan::nest(chain, group, target, lower));
    let nests: Vec<Nest> = nests.collect::<Result<_, _>>()?;
    joined(chain, plan, &nests)
}

/// The nests of a plan's groups as one.
///
/// # Errors
/// [`Error::Unsupported`] where a size is free.
pub fn joined<'n>(
    chain: &Program,
    plan: &Plan,
    nests: impl IntoIterator<Item = &'n Nest>,
) -> Result<Nest, Error> {
    if let Some(free) = chain.free_sizes().first() {
        let message =
            format!("the size {free} is known only at run time: give numbers, or emit each step");
        return Err(Error::Unsupported { route: "source of several steps", message });
    }
    let mut joining = Joining::new(chain, plan);
    for (at, (group, nest)) in plan.groups.iter().zip(nests).enumerate() {
        joining.add(at, group, nest);
    }
    Ok(joining.nest)
}

/// Memory that several buffers use one after the other.
struct Slot {
    id: BufferId,
    /// The last group that needs what it holds now.
    until: usize,
}

struct Joining<'a> {
    chain: &'a Program,
    nest: Nest,
    /// The arrays of each step.
    weights: Vec<Option<BufferId>>,
    biases: Vec<Option<BufferId>>,
    /// The memory of each tensor; none before its group is there, and for those inside a group.
    tensors: Vec<Option<BufferId>>,
    slots: Vec<Slot>,
    /// For each tensor the last group that reads it.
    last_reader: Vec<usize>,
    embedding: Embedding,
    /// Memory that is seen with other extents.
    views: BTreeMap<(BufferId, Vec<Affine>), BufferId>,
}

impl<'a> Joining<'a> {
    fn new(chain: &'a Program, plan: &Plan) -> Self {
        let mut nest = Nest::new(chain.dtype(), chain.steps()[0].conv.rank());
        let count = chain.steps().len();
        let shape = |tensor: usize| {
            chain.shape(tensor).into_iter().map(|n| Affine::constant(n as i64)).collect()
        };
        let mut tensors = vec![None; count + 1];
        let input = nest.add_buffer("input", BufferRole::Input, shape(0));
        nest.store_as(input, chain.type_of(0));
        tensors[0] = Some(input);
        let arrays = chain.convs().enumerate();
        let arrays: Vec<_> = arrays.map(|(at, conv)| constants(&mut nest, conv, at + 1)).collect();
        let output = nest.add_buffer("output", BufferRole::Output, shape(count));
        nest.store_as(output, chain.type_of(count));
        tensors[count] = Some(output);
        let (weights, biases) = arrays.into_iter().unzip();
        let mut last_reader = vec![0; count + 1];
        for (at, group) in plan.groups.iter().enumerate() {
            last_reader[group.steps.start] = at;
            for from in chain.steps()[group.steps.clone()].iter().filter_map(|step| step.residual) {
                last_reader[from] = at;
            }
        }
        Joining {
            chain,
            nest,
            weights,
            biases,
            tensors,
            slots: Vec::new(),
            last_reader,
            embedding: Embedding::default(),
            views: BTreeMap::new(),
        }
    }

    /// Memory of so many elements, from group `from` to group `until`.
    fn slot(&mut self, name: &str, len: i64, (from, until): (usize, usize)) -> BufferId {
        let length = |slot: &Slot| {
            self.nest.constant_len(slot.id).expect("a slot is made with a known length")
        };
        let free = (0..self.slots.len()).filter(|&at| self.slots[at].until < from);
        // The one that grows least, and of those the shortest.
        let best = free.min_by_key(|&at| {
            let before = length(&self.slots[at]);
            (len.max(before) - before, before)
        });
        let Some(at) = best else {
            let id = self.nest.add_buffer(name, BufferRole::Scratch, vec![len.into()]);
            self.slots.push(Slot { id, until });
            return id;
        };
        let longest = length(&self.slots[at]).max(len);
        self.slots[at].until = until;
        let buffer = &mut self.nest.buffers[self.slots[at].id.index()];
        buffer.extents = vec![longest.into()];
        buffer.name = format!("shared_{}", at + 1);
        self.slots[at].id
    }

    /// Adds the group at position `at`, whose nest is `from`.
    fn add(&mut self, at: usize, group: &Group, from: &Nest) {
        let end = group.steps.end;
        if self.tensors[end].is_none() {
            let len = self.chain.len_of(end) as i64;
            let until = self.last_reader[end];
            self.tensors[end] = Some(self.slot(&format!("tensor_{end}"), len, (at, until)));
        }
        let mut memory: Vec<Option<BufferId>> = vec![None; from.buffers.len()];
        for id in (0..from.buffers.len() as u32).map(BufferId) {
            if from.buffer(id).view_of.is_none() {
                memory[id.index()] = Some(self.memory(at, group, from, id));
            }
        }
        let of =
            |id: BufferId| memory[from.memory_of(id).index()].expect("what views see has memory");
        let ids = (0..from.buffers.len() as u32).map(BufferId);
        let buffers: Vec<BufferId> = ids.map(|id| self.seen(of(id), from.buffer(id))).collect();
        let suffix = match group.strips {
            Some(_) => String::new(),
            None => format!("_s{end}"),
        };
        let embedded = self.embedding.embed(&mut self.nest, from, &buffers, &suffix);
        self.nest.setup.extend(embedded.setup);
        self.nest.body.extend(embedded.body);
    }

    /// The memory here of a buffer that has memory of its own in a group's nest.
    fn memory(&mut self, at: usize, group: &Group, from: &Nest, id: BufferId) -> BufferId {
        let buffer = from.buffer(id);
        if buffer.values.is_some() {
            return same_numbers(&mut self.nest, buffer);
        }
        let position = from.position_in_role(id);
        let nth = |arrays: &[Option<BufferId>]| {
            arrays[group.steps.clone()].iter().flatten().nth(position).copied()
        };
        let found = match buffer.role {
            BufferRole::Input => self.tensors[group.steps.start],
            BufferRole::Output => self.tensors[group.steps.end],
            BufferRole::Weight => {
                let found = nth(&self.weights);
                // Those of a step in tiles are transformed, and more.
                let len = from.constant_len(id).expect("nests that are joined have known sizes");
                if let Some(id) = found.filter(|&id| self.nest.constant_len(id) < Some(len)) {
                    self.nest.buffers[id.index()].extents = vec![len.into()];
                }
                found
            }
            BufferRole::Bias => nth(&self.biases),
            BufferRole::Residual => {
                let steps = &self.chain.steps()[group.steps.clone()];
                let mut outside =
                    steps.iter().filter(|step| step.adds_from_before(group.steps.start));
                match outside.nth(position).and_then(|step| step.residual) {
                    Some(tensor) => self.tensors[tensor],
                    None => {
                        let extents = buffer.extents.clone();
                        let id = self.nest.add_buffer("residual", BufferRole::Residual, extents);
                        self.nest.store_as(id, buffer.dtype);
                        Some(id)
                    }
                }
            }
            BufferRole::Packed => {
                let name = match group.strips {
                    Some(_) => buffer.name.clone(),
                    None => format!("{}_{}", buffer.name, group.steps.end),
                };
                let extents = buffer.extents.clone();
                let id = self.nest.add_buffer(name, BufferRole::Packed, extents);
                self.nest.store_as(id, buffer.dtype);
                Some(id)
            }
            BufferRole::Scratch => {
                let len = from.constant_len(id).expect("nests that are joined have known sizes");
                Some(self.slot(&buffer.name, len, (at, at)))
            }
        };
        found.unwrap_or_else(|| {
            panic!("whole: no buffer of the chain is `{}` of group {at}\n{from}", buffer.name)
        })
    }

    /// That memory with the extents of `like`.
    fn seen(&mut self, of: BufferId, like: &Buffer) -> BufferId {
        let base = self.nest.buffer(of);
        if base.extents == like.extents {
            return of;
        }
        let key = (of, like.extents.clone());
        if let Some(known) = self.views.get(&key) {
            return *known;
        }
        let id = self.nest.add_view(of, like.extents.clone());
        self.views.insert(key, id);
        id
    }
}
