//! A plan's groups, one after the other, as one nest: a chain for ways out that make one item of
//! one nest.
//!
//! ```text
//! groups  steps 1..3: @input -> line_1 -> @output;  step 4: @input -> @output
//! gives   @input -> line_1 -> tensor_3 -> @output
//! ```
//!
//! In: a chain and its plan. Out: a nest whose inputs, outputs, weights and biases are the chain's.
//! Tensors between groups, and what groups need for themselves, are scratch. What is not alive at
//! the same time shares memory ([`Slots`]). Tensors that a step reads joined are copied. Loops that
//! threads would share run in order, because the groups do.

use std::collections::BTreeMap;

use super::Program;
use super::fuse::{Lower, constants, same_numbers};
use super::memory::{self, Copied, Lives, Slots};
use super::moves;
use super::plan::{self, Group, Plan};
use crate::nest::{
    Access, Affine, Buffer, BufferId, BufferRole, Call, Embedding, LeafId, Loop, Nest, Part, Role,
    Stmt,
};
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
    joined_in(target.lanes(chain.dtype().bytes()) as i64, chain, plan, &nests)
}

/// The nests of a plan's groups as one. What is copied is copied element by element.
///
/// # Errors
/// [`Error::Unsupported`] where a size is free.
pub fn joined<'n>(
    chain: &Program,
    plan: &Plan,
    nests: impl IntoIterator<Item = &'n Nest>,
) -> Result<Nest, Error> {
    joined_in(1, chain, plan, nests)
}

/// The same, where what is copied is copied in vectors of so many elements.
fn joined_in<'n>(
    lanes: i64,
    chain: &Program,
    plan: &Plan,
    nests: impl IntoIterator<Item = &'n Nest>,
) -> Result<Nest, Error> {
    if let Some(free) = chain.free_sizes().first() {
        let message =
            format!("the size {free} is known only at run time: give numbers, or emit each step");
        return Err(Error::Unsupported { route: "source of several steps", message });
    }
    let mut whole = Whole::new(chain, plan, lanes);
    for (at, (group, nest)) in plan.groups.iter().zip(nests).enumerate() {
        if !chain.steps()[group.steps.start].given {
            whole.add(at, group, nest);
        }
    }
    Ok(whole.nest)
}

struct Whole<'a> {
    chain: &'a Program,
    nest: Nest,
    /// The arrays of each step.
    weights: Vec<Option<BufferId>>,
    biases: Vec<Option<BufferId>>,
    /// The memory of each tensor; none before its group is there, and for those inside a group.
    tensors: Vec<Option<BufferId>>,
    slots: Slots,
    /// The buffer of each slot.
    held: Vec<BufferId>,
    lives: Lives,
    /// Leaves that copy, by their buffers, and the width and number of vectors.
    movers: BTreeMap<([BufferId; 2], (i64, i64)), LeafId>,
    /// Elements of a vector.
    lanes: i64,
    embedding: Embedding,
    /// Memory that is seen with other extents.
    views: BTreeMap<(BufferId, Vec<Affine>), BufferId>,
}

impl<'a> Whole<'a> {
    fn new(chain: &'a Program, plan: &Plan, lanes: i64) -> Self {
        let mut nest = Nest::new(chain.dtype(), chain.steps()[0].conv.rank());
        let shape = |tensor: usize| {
            chain.shape(tensor).into_iter().map(|n| Affine::constant(n as i64)).collect()
        };
        let mut tensors = vec![None; chain.tensors()];
        let mut callers = |nest: &mut Nest, role, of: &[usize], name: &str| {
            for (at, &tensor) in of.iter().enumerate() {
                let numbered = format!("{name}_{tensor}");
                let alone = of.len() == 1 || (role == BufferRole::Input && at == 0);
                let name = if alone { name } else { &numbered };
                let id = nest.add_buffer(name, role, shape(tensor));
                nest.store_as(id, chain.type_of(tensor));
                tensors[tensor] = Some(id);
            }
        };
        callers(&mut nest, BufferRole::Input, chain.inputs(), "input");
        let arrays = chain.convs().enumerate();
        let arrays: Vec<_> = arrays.map(|(at, conv)| constants(&mut nest, conv, at + 1)).collect();
        callers(&mut nest, BufferRole::Output, chain.outputs(), "output");
        // Where the first step declares the first input, that is both tensors.
        tensors[0] = tensors[chain.inputs()[0]];
        let (weights, biases) = arrays.into_iter().unzip();
        Whole {
            chain,
            nest,
            weights,
            biases,
            tensors,
            slots: Slots::default(),
            held: Vec::new(),
            lives: Lives::of(chain, &plan.groups, memory::Joining::ByCopies),
            movers: BTreeMap::new(),
            lanes,
            embedding: Embedding::default(),
            views: BTreeMap::new(),
        }
    }

    /// Memory of so many elements, from one group to another.
    fn slot(&mut self, name: &str, len: i64, life: (usize, usize)) -> BufferId {
        let at = self.slots.take(len as u64, life);
        let Some(&id) = self.held.get(at) else {
            let id = self.nest.add_buffer(name, BufferRole::Scratch, vec![len.into()]);
            self.held.push(id);
            return id;
        };
        let longest = self.slots.lengths().nth(at).unwrap_or_default() as i64;
        let buffer = &mut self.nest.buffers[id.index()];
        buffer.extents = vec![longest.into()];
        buffer.name = format!("shared_{}", at + 1);
        id
    }

    /// Memory of a tensor that is written from group `at` on: of at least so many elements, as
    /// there may be gaps in it.
    fn begin(&mut self, at: usize, tensor: usize, least: i64) {
        if self.tensors[tensor].is_some() {
            return;
        }
        let len = least.max(self.chain.len_of(tensor) as i64);
        let life = self.lives.alive[tensor].unwrap_or((at, at));
        self.tensors[tensor] = Some(self.slot(&format!("tensor_{tensor}"), len, life));
    }

    /// Copies a tensor to its channels of a joined one.
    fn copy(&mut self, copied: &Copied) {
        let (from, to) = (self.tensors[copied.from], self.tensors[copied.to]);
        let (Some(from), Some(to)) = (from, to) else {
            panic!("whole: {copied:?} is of no memory\n{}", self.nest)
        };
        let (shape, joined) = (self.chain.shape(copied.from), self.chain.shape(copied.to));
        let channels = self.chain.channel_dimension();
        let product = |shape: &[usize]| shape.iter().product::<usize>() as i64;
        let (rows, inner) = (product(&shape[..channels]), product(&shape[channels + 1..]));
        let (len, row) = (shape[channels] as i64 * inner, joined[channels] as i64 * inner);
        let start = copied.channel as i64 * inner;
        let views =
            [(from, len), (to, row)].map(|(of, row)| self.view(of, vec![rows.into(), row.into()]));
        let plain = views.iter().all(|&id| self.nest.buffer(id).dtype == self.nest.dtype);
        let width = if plain && len >= self.lanes { self.lanes } else { 1 };
        let axis = self.nest.add_axis("c", Role::Copy, Part::Whole);
        let calls = moves::vectors(len, width).map(|(at, count)| {
            let name = format!("join_{width}x{count}_{}", self.movers.len() + 1);
            let key = (views, (width, count));
            let known = self.movers.get(&key).copied();
            let leaf =
                known.unwrap_or_else(|| moves::moving(&mut self.nest, views, (width, count), name));
            self.movers.insert(key, leaf);
            let pointer = |(view, start): (BufferId, i64)| {
                Access::buffer(view, [Affine::axis(axis), Affine::constant(start)])
            };
            let pointers = vec![pointer((views[0], at)), pointer((views[1], start + at))];
            Stmt::Call(Call { leaf, pointers, ints: Vec::new() })
        });
        let calls = calls.collect();
        self.nest.body.push(Stmt::For(Loop::serial(axis, rows), calls));
    }

    /// Adds the group at position `at`, whose nest is `from`.
    fn add(&mut self, at: usize, group: &Group, from: &Nest) {
        let end = group.steps.end;
        let output = from.buffers_of(BufferRole::Output).next();
        let len = output.and_then(|output| from.constant_len(output));
        self.begin(at, end, len.unwrap_or(0));
        for copied in std::mem::take(&mut self.lives.copies[at]) {
            self.begin(at, copied.to, 0);
            self.copy(&copied);
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
            BufferRole::Input => self.tensors[self.chain.input_of(group.steps.start)],
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
        self.view(of, like.extents.clone())
    }

    /// That memory with these extents.
    fn view(&mut self, of: BufferId, extents: Vec<Affine>) -> BufferId {
        if self.nest.buffer(of).extents == extents {
            return of;
        }
        let key = (of, extents);
        if let Some(known) = self.views.get(&key) {
            return *known;
        }
        let id = self.nest.add_view(of, key.1.clone());
        self.views.insert(key, id);
        id
    }
}
