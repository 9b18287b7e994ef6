//! Fusion: several steps of a chain become one nest, strip by strip, with line buffers between them.
//!
//! ```text
//! before  step 1: nest over all rows, tensor 1 as a whole, step 2: nest over all rows
//! after   for strip:                                                buffer line_1: scratch f32[96, 6, 112]
//!           move the last 2 rows of line_1 to its front             (or compute them again)
//!           step 1's nest of 4 rows: @input[0, 4 strip + 5, 0] -> @line_1[0, 2, 0]
//!           step 2's nest of 4 rows: @line_1[0, 0, 0] -> @output[0, 4 strip + 4, 0]
//! ```
//!
//! Each computation of a strip is an ordinary convolution of fewer rows, lowered and scheduled like any other. Its finished nest is embedded here, and its input and output
//! become rows of larger buffers: leaves reach memory through pointers alone, and distances follow from a buffer's extents, so seeing the same memory through a
//! view of other extents, from another row on, is exact. The order of each sum is the nest's, so the bits are those of the steps one after the other.
//!
//! Where `canonicalise` merged rows with columns, the dimension that counts both is longer, and a row is as many of its elements as there are columns.

use std::ops::Range;

use super::strips::{Action, Compute, Moves, Repeated, Rows, Walk, extents, repeated};
use super::{Chain, Step};
use crate::lower::Layouts;
use crate::nest::{
    Access, Affine, Base, Bound, Buffer, BufferId, BufferRole, Call, Expr, Lanes, Leaf, LeafId, Loop, LoopKind, Nest,
    Op, Part, PointerId, Quotient, Role, Stmt, add_unit_dimension, embed, for_pointers,
};
use crate::{Conv, Error, Layout, Schedule, Target};

/// How a group of steps is cut into strips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strips {
    /// Rows of the group's output that a strip computes.
    pub rows: usize,
    /// For each step (the last one's says nothing): whether rows that the next strip needs as well are moved to the front of the line buffer (or else computed again).
    pub keep: Vec<bool>,
    /// For each step (the last one's says nothing): where channels stand in its line buffer.
    pub layouts: Vec<Layout>,
    /// Parts of the image that threads may take; each computes its first halo itself.
    pub chunks: usize,
}

/// A convolution lowered through every pass.
pub struct Lowered {
    /// The schedule.
    pub schedule: Schedule,
    /// The finished nest.
    pub nest: Nest,
}

/// Lowers a convolution whose arrays are laid out like this, under this schedule or, where there is none, one of its own choice.
pub type Lower<'a> = dyn FnMut(&Conv, Layouts, Option<&Schedule>) -> Result<Lowered, Error> + 'a;

/// The nest of the steps `steps` of `chain`, which must have known sizes and none of them transposed.
///
/// Residuals from before the group are residual buffers, in the order of their steps.
///
/// # Errors
/// Why these strips cannot be: [`Error::Unsupported`], or a strip's own error.
pub fn fuse(
    chain: &Chain,
    steps: Range<usize>,
    strips: &Strips,
    target: &Target,
    lower: &mut Lower<'_>,
) -> Result<Nest, Error> {
    let group = &chain.steps()[steps.clone()];
    if let Some(at) = group.iter().position(|step| step.conv.spec().transposed) {
        return Err(refused(format!("step {} is transposed", steps.start + at + 1)));
    }
    let first = steps.start;
    // Tensor `k` is the output of step `k`, counted from 1; the group's own are line buffers.
    let residual = |at: usize| group[at].residual.and_then(|from| from.checked_sub(first + 1));
    let mut walk = Walk::new(group, &residual, &strips.keep);
    let chunks = chunks(group, strips, &mut walk)?;
    let most = walk.most.clone();
    let mut fusing = Fusing::new(chain, steps, (strips, &most), target);
    let usual = fusing.usual(&chunks);
    for conv in usual {
        fusing.template(&conv, lower)?;
    }
    fusing.body(&chunks, lower)?;
    Ok(fusing.nest)
}

fn refused(message: String) -> Error {
    Error::Unsupported {
        route: "fused",
        message,
    }
}

/// The strips of each chunk, equal neighbours together.
fn chunks(group: &[Step], strips: &Strips, walk: &mut Walk<'_>) -> Result<Vec<Vec<Repeated>>, Error> {
    let rows = group.last().map_or(0, |step| extents(&step.conv).1);
    let each = strips.rows.max(1) as i64;
    let count = (rows + each - 1) / each;
    let parts = (strips.chunks.max(1) as i64).min(count.max(1));
    let mut chunks = Vec::new();
    for part in 0..parts {
        walk.restart();
        let within = count * part / parts..count * (part + 1) / parts;
        let strip = |at: i64| Rows {
            lo: at * each,
            hi: ((at + 1) * each).min(rows),
        };
        let actions = within.map(|at| walk.strip(strip(at))).collect::<Result<_, _>>()?;
        chunks.push(repeated(actions));
    }
    Ok(chunks)
}

/// A tensor that a strip's nest reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tensor {
    Input,
    Output,
    /// From outside, by position.
    Residual(usize),
    /// The output of a step of the group.
    Line(usize),
}

/// A buffer of a strip's nest that is rows of a larger one.
#[derive(Clone, Copy, Debug)]
struct Port {
    view: BufferId,
    role: BufferRole,
    /// The dimension that counts rows, perhaps with columns, and elements of it a row.
    dimension: usize,
    scale: i64,
    /// What an image is along the first dimension, where there are several.
    image: Option<i64>,
}

/// A strip's nest, embedded.
struct Template {
    step: usize,
    conv: Conv,
    body: Vec<Stmt>,
    ports: Vec<Port>,
}

/// A packed buffer, and what decides its contents.
struct PackedBuffer {
    step: usize,
    role: BufferRole,
    schedule: Schedule,
    id: BufferId,
}

struct Fusing<'a> {
    chain: &'a Chain,
    steps: Range<usize>,
    /// Of each step's line buffer.
    layouts: Vec<Layout>,
    target: &'a Target,
    nest: Nest,
    /// The buffers with memory.
    tensors: Vec<(Tensor, BufferId)>,
    /// Of each step; none where they are known.
    weights: Vec<Option<BufferId>>,
    biases: Vec<Option<BufferId>>,
    packed: Vec<PackedBuffer>,
    /// Scratch of strips' own nests, which use it one after the other.
    shared: Option<BufferId>,
    templates: Vec<Template>,
    /// The schedule of each step's first template.
    schedules: Vec<Option<Schedule>>,
    keeps: Vec<(BufferId, i64, LeafId)>,
}

impl<'a> Fusing<'a> {
    fn new(chain: &'a Chain, steps: Range<usize>, (strips, most): (&Strips, &[i64]), target: &'a Target) -> Self {
        let group = &chain.steps()[steps.clone()];
        let nest = Nest {
            dtype: chain.dtype(),
            accumulator: chain.dtype(),
            rank: group[0].conv.rank(),
            axes: Vec::new(),
            symbols: Vec::new(),
            buffers: Vec::new(),
            leaves: Vec::new(),
            setup: Vec::new(),
            body: Vec::new(),
        };
        let mut fusing = Fusing {
            chain,
            steps: steps.clone(),
            layouts: strips.layouts.clone(),
            target,
            nest,
            tensors: Vec::new(),
            weights: Vec::new(),
            biases: Vec::new(),
            packed: Vec::new(),
            shared: None,
            templates: Vec::new(),
            schedules: vec![None; group.len()],
            keeps: Vec::new(),
        };
        fusing.buffers(most);
        fusing
    }

    /// The callers' arrays, and the line buffers.
    fn buffers(&mut self, most: &[i64]) {
        let shape = |tensor: usize| {
            self.chain
                .shape(tensor)
                .into_iter()
                .map(|n| n as i64)
                .collect::<Vec<_>>()
        };
        let first = self.steps.start;
        let mut wanted = vec![(Tensor::Input, "input".to_owned(), BufferRole::Input, shape(first))];
        let mut residuals = 0;
        for (at, step) in self.chain.steps()[self.steps.clone()].iter().enumerate() {
            if let Some(from) = step.residual.filter(|from| *from <= first) {
                let tensor = Tensor::Residual(residuals);
                wanted.push((
                    tensor,
                    format!("residual_{}", first + at + 1),
                    BufferRole::Residual,
                    shape(from),
                ));
                residuals += 1;
            }
        }
        for (at, &rows) in most.iter().enumerate().take(self.steps.len() - 1) {
            let tensor = Tensor::Line(at);
            // One image, in the line buffer's layout.
            let mut extents = shape(first + at + 1);
            let channels = match self.layout(Tensor::Input) {
                Layout::ChannelsFirst => extents.remove(1),
                Layout::ChannelsLast => extents.pop().unwrap_or(1),
            };
            (extents[0], extents[1]) = (1, rows);
            match self.layout(tensor) {
                Layout::ChannelsFirst => extents.insert(1, channels),
                Layout::ChannelsLast => extents.push(channels),
            }
            wanted.push((tensor, format!("line_{}", first + at + 1), BufferRole::Scratch, extents));
        }
        wanted.push((
            Tensor::Output,
            "output".to_owned(),
            BufferRole::Output,
            shape(self.steps.end),
        ));
        for (tensor, name, role, extents) in wanted {
            let extents = extents.into_iter().map(Affine::constant).collect();
            let id = self.nest.add_buffer(name, role, extents);
            self.tensors.push((tensor, id));
        }
        for at in self.steps.clone() {
            let (weight, bias) = constants(&mut self.nest, &self.chain.steps()[at].conv, at + 1);
            self.weights.push(weight);
            self.biases.push(bias);
        }
    }

    fn layout(&self, tensor: Tensor) -> Layout {
        match tensor {
            Tensor::Line(at) => self.layouts[at],
            Tensor::Input | Tensor::Output | Tensor::Residual(_) => self.chain.steps()[0].conv.spec().layout,
        }
    }

    /// Where rows stand.
    fn row_dimension(&self, tensor: Tensor) -> usize {
        match self.layout(tensor) {
            Layout::ChannelsFirst => 2,
            Layout::ChannelsLast => 1,
        }
    }

    fn memory(&self, tensor: Tensor) -> BufferId {
        let found = self.tensors.iter().find(|(known, _)| *known == tensor);
        found.map_or(BufferId(0), |(_, id)| *id)
    }

    /// The tensor behind a buffer of the nest of step `at` of the group.
    fn tensor(&self, at: usize, role: BufferRole) -> Tensor {
        let first = self.steps.start;
        let group = &self.chain.steps()[self.steps.clone()];
        match role {
            BufferRole::Input if at == 0 => Tensor::Input,
            BufferRole::Input => Tensor::Line(at - 1),
            BufferRole::Residual => match group[at].residual.and_then(|from| from.checked_sub(first + 1)) {
                Some(of) => Tensor::Line(of),
                None => {
                    let outside = |step: &&Step| step.residual.is_some_and(|from| from <= first);
                    Tensor::Residual(group[..at].iter().filter(outside).count())
                }
            },
            _ if at + 1 == group.len() => Tensor::Output,
            _ => Tensor::Line(at),
        }
    }

    /// Each step's most frequent convolution: its schedule is the step's, so that all strips share packed weights.
    fn usual(&self, chunks: &[Vec<Repeated>]) -> Vec<(usize, Conv)> {
        let mut counts: Vec<(usize, &Conv, i64)> = Vec::new();
        for run in chunks.iter().flatten() {
            for action in &run.first {
                let Action::Compute(compute) = action else { continue };
                match counts.iter_mut().find(|c| c.0 == compute.step && *c.1 == compute.conv) {
                    Some(known) => known.2 += run.count,
                    None => counts.push((compute.step, &compute.conv, run.count)),
                }
            }
        }
        let most = |at: usize| counts.iter().filter(|c| c.0 == at).max_by_key(|c| c.2);
        let each = (0..self.steps.len()).filter_map(most);
        each.map(|(at, conv, _)| (*at, (*conv).clone())).collect()
    }

    /// The position of the template of a strip's convolution, made where there is none yet.
    fn template(&mut self, (step, conv): &(usize, Conv), lower: &mut Lower<'_>) -> Result<usize, Error> {
        let known = |t: &Template| t.step == *step && t.conv == *conv;
        if let Some(at) = self.templates.iter().position(known) {
            return Ok(at);
        }
        let layout = |role| self.layout(self.tensor(*step, role));
        let layouts = Layouts {
            input: layout(BufferRole::Input),
            residual: layout(BufferRole::Residual),
            output: layout(BufferRole::Output),
        };
        let mut lowered = match &self.schedules[*step] {
            Some(schedule) => lower(conv, layouts, Some(schedule)).or_else(|_| lower(conv, layouts, None))?,
            None => lower(conv, layouts, None)?,
        };
        if self.schedules[*step].is_none() {
            self.schedules[*step] = Some(lowered.schedule.clone());
        }
        let mut ports = Vec::new();
        let mut fresh = Vec::new();
        let mut buffers = Vec::new();
        for at in 0..lowered.nest.buffers.len() {
            let id = BufferId(at as u32);
            if lowered.nest.buffer(id).values.is_some() {
                buffers.push(same_numbers(&mut self.nest, lowered.nest.buffer(id)));
                continue;
            }
            buffers.push(match lowered.nest.buffer(id).role {
                role @ (BufferRole::Input | BufferRole::Residual | BufferRole::Output) => {
                    let port = self.port(*step, conv, role, &mut lowered.nest, id)?;
                    ports.push(port);
                    port.view
                }
                role @ (BufferRole::Weight | BufferRole::Bias) => {
                    self.constant(*step, role, &lowered.nest.buffer(id).extents)?
                }
                BufferRole::Packed => self.packed(*step, &lowered, id, &mut fresh),
                BufferRole::Scratch => self.scratch(&lowered.nest, id)?,
            });
        }
        let suffix = format!("_s{}", self.steps.start + step + 1);
        let embedded = embed(&mut self.nest, &lowered.nest, &buffers, &suffix);
        let writes_fresh = |stmt: &Stmt| fresh.iter().any(|&id| reaches(&self.nest, stmt, id));
        let setup: Vec<Stmt> = embedded.setup.into_iter().filter(writes_fresh).collect();
        self.nest.setup.extend(setup);
        self.templates.push(Template {
            step: *step,
            conv: conv.clone(),
            body: embedded.body,
            ports,
        });
        Ok(self.templates.len() - 1)
    }

    /// The weight or bias of a step, seen with these extents.
    fn constant(&mut self, step: usize, role: BufferRole, extents: &[Affine]) -> Result<BufferId, Error> {
        let of = match role {
            BufferRole::Bias => self.biases[step],
            _ => self.weights[step],
        };
        let of = of.ok_or_else(|| {
            refused(format!(
                "step {} has no {role:?} of its own",
                self.steps.start + step + 1
            ))
        })?;
        Ok(self.view(of, extents))
    }

    /// The buffer of these extents in that memory.
    fn view(&mut self, of: BufferId, extents: &[Affine]) -> BufferId {
        match self.nest.buffer(of).extents == extents {
            true => of,
            false => self.named_view(of, extents, "view"),
        }
    }

    /// The view of that name and these extents.
    fn named_view(&mut self, of: BufferId, extents: &[Affine], name: &str) -> BufferId {
        let name = format!("{}_{name}", self.nest.buffer(of).name);
        let known = |id: &BufferId| {
            let buffer = self.nest.buffer(*id);
            buffer.view_of == Some(of) && buffer.extents == extents && buffer.name == name
        };
        let found = (0..self.nest.buffers.len() as u32).map(BufferId).find(known);
        found.unwrap_or_else(|| {
            let id = self.nest.add_view(of, extents.to_vec());
            self.nest.buffers[id.index()].name = name;
            id
        })
    }

    /// The rows of a tensor that a buffer of a strip's nest is.
    fn port(
        &mut self,
        step: usize,
        conv: &Conv,
        role: BufferRole,
        nest: &mut Nest,
        id: BufferId,
    ) -> Result<Port, Error> {
        let tensor = self.tensor(step, role);
        let of = self.memory(tensor);
        let shape: Vec<i64> = self
            .nest
            .buffer(of)
            .extents
            .iter()
            .filter_map(Affine::as_constant)
            .collect();
        let local = match role {
            BufferRole::Input => super::strips::extents(conv).0,
            _ => super::strips::extents(conv).1,
        };
        let rows = self.row_dimension(tensor);
        let row: i64 = shape[rows + 1..].iter().product();
        let constants = |nest: &Nest| -> Vec<i64> {
            let all = nest.buffer(id).extents.iter().map(Affine::as_constant).collect();
            Option::unwrap_or_default(all)
        };
        if row * local == 1 && dimension_of_rows(&constants(nest), row, local).is_none() {
            // One row of one element: `canonicalise` has left nothing that counts them.
            add_unit_dimension(nest, id);
        }
        let mut extents = constants(nest);
        let Some((dimension, scale)) = dimension_of_rows(&extents, row, local) else {
            return Err(refused(format!(
                "rows of {local} x {row} elements of step {} are no dimension of {extents:?}",
                self.steps.start + step + 1
            )));
        };
        extents[dimension] = scale * shape[rows];
        let image = (shape[0] > 1).then_some(extents[0]);
        extents[0] *= shape[0];
        let extents: Vec<Affine> = extents.into_iter().map(Affine::constant).collect();
        // A step may add a tensor that it also convolves, from another row on: pointers are told apart by their buffers.
        let view = match role {
            BufferRole::Residual => self.named_view(of, &extents, "added"),
            _ => self.view(of, &extents),
        };
        Ok(Port {
            view,
            role,
            dimension,
            scale,
            image,
        })
    }

    /// The packed buffer of the same contents, or a new one.
    fn packed(&mut self, step: usize, lowered: &Lowered, id: BufferId, fresh: &mut Vec<BufferId>) -> BufferId {
        let buffer = lowered.nest.buffer(id);
        let role = match lowered.nest.buffer_of(BufferRole::Bias) {
            Some(bias) if copies(&lowered.nest, bias, id) => BufferRole::Bias,
            _ => BufferRole::Weight,
        };
        let same = |p: &&PackedBuffer| {
            (p.step, p.role) == (step, role)
                && p.schedule == lowered.schedule
                && self.nest.buffer(p.id).extents == buffer.extents
        };
        if let Some(known) = self.packed.iter().find(same) {
            return known.id;
        }
        let name = format!("{}_{}", buffer.name, self.steps.start + step + 1);
        let id = self.nest.add_buffer(name, BufferRole::Packed, buffer.extents.clone());
        fresh.push(id);
        self.packed.push(PackedBuffer {
            step,
            role,
            schedule: lowered.schedule.clone(),
            id,
        });
        id
    }

    /// A view of the scratch that all strips' nests share.
    fn scratch(&mut self, nest: &Nest, id: BufferId) -> Result<BufferId, Error> {
        let Some(len) = nest.constant_len(id) else {
            return Err(refused("a scratch buffer has a size known only at run time".to_owned()));
        };
        let shared = *self
            .shared
            .get_or_insert_with(|| self.nest.add_buffer("panels", BufferRole::Scratch, vec![len.into()]));
        let longest = self.nest.constant_len(shared).unwrap_or(0).max(len);
        self.nest.buffers[shared.index()].extents = vec![longest.into()];
        // Two buffers of one nest would overlap; no pass makes a second one.
        if nest.buffers_of(BufferRole::Scratch).count() > 1 {
            return Err(refused("a strip has several scratch buffers".to_owned()));
        }
        Ok(self.view(shared, &nest.buffer(id).extents))
    }

    /// All strips of all chunks of all images.
    fn body(&mut self, chunks: &[Vec<Repeated>], lower: &mut Lower<'_>) -> Result<(), Error> {
        let images = self.chain.batch() as i64;
        let n = (images != 1).then(|| self.nest.add_axis("n", Role::Batch, Part::Whole));
        let image = n.map(Affine::axis);
        let chunk = self.nest.add_axis("chunk", Role::Copy, Part::Outer);
        let mut body = Vec::new();
        for (number, runs) in chunks.iter().enumerate() {
            let mut stmts = Vec::new();
            for run in runs {
                stmts.extend(self.run(run, image.as_ref(), lower)?);
            }
            if chunks.len() > 1 {
                let once = self.nest.add_axis("once", Role::Copy, Part::Inner);
                stmts = vec![Stmt::For(only(once, Affine::axis(chunk), number as i64), stmts)];
            }
            body.extend(stmts);
        }
        // Threads share the images, or the chunks of each.
        let over_images = n.filter(|_| chunks.len() == 1);
        let kind = |shared: bool| if shared { LoopKind::Parallel } else { LoopKind::Serial };
        let around = |axis, extent: i64, shared: bool, body| {
            let l = Loop {
                kind: kind(shared),
                ..Loop::serial(axis, extent)
            };
            vec![Stmt::For(l, body)]
        };
        if over_images.is_none() {
            body = around(chunk, chunks.len() as i64, true, body);
        }
        if let Some(n) = n {
            body = around(n, images, over_images.is_some(), body);
        }
        self.nest.body = body;
        Ok(())
    }

    /// The statements of equal strips.
    fn run(&mut self, run: &Repeated, image: Option<&Affine>, lower: &mut Lower<'_>) -> Result<Vec<Stmt>, Error> {
        let axis = (run.count > 1).then(|| self.nest.add_axis("strip", Role::Out(self.nest.rank - 1), Part::Outer));
        let strip = axis.map_or(Affine::constant(0), Affine::axis);
        let mut stmts = Vec::new();
        for (action, by) in run.first.iter().zip(&run.by) {
            match action {
                Action::Keep { step, from, rows } => stmts.extend(self.keep(*step, *from, *rows)),
                Action::Compute(compute) => {
                    let at = self.template(&(compute.step, compute.conv.clone()), lower)?;
                    stmts.extend(self.templates[at].at(compute, by, &strip, image));
                }
            }
        }
        Ok(match axis {
            Some(axis) => vec![Stmt::For(Loop::serial(axis, run.count), stmts)],
            None => stmts,
        })
    }

    /// Moves rows of a line buffer to its front, in vectors where they do not overlap.
    fn keep(&mut self, step: usize, from: i64, rows: i64) -> Vec<Stmt> {
        let of = self.memory(Tensor::Line(step));
        let shape: Vec<i64> = self
            .nest
            .buffer(of)
            .extents
            .iter()
            .filter_map(Affine::as_constant)
            .collect();
        let dimension = self.row_dimension(Tensor::Line(step));
        let row: i64 = shape[dimension + 1..].iter().product();
        let outer: i64 = shape[..dimension].iter().product();
        let extents = [outer, shape[dimension] * row].map(Affine::constant);
        let view = self.view(of, &extents);
        let lanes = self.target.lanes(self.nest.dtype.bytes()) as i64;
        let (len, far) = (rows * row, from * row);
        let width = if len >= lanes && far >= lanes { lanes } else { 1 };
        // A last vector that overlaps the one before moves the rest.
        let ends = if len % width == 0 { vec![] } else { vec![len - width] };
        let pieces = std::iter::once((0, len / width)).chain(ends.into_iter().map(|at| (at, 1)));
        let channel = self.nest.add_axis("c", Role::Copy, Part::Whole);
        let calls = pieces.map(|(start, count)| {
            let leaf = self.keep_leaf(view, width, count);
            let pointer = |at: i64| Access::buffer(view, [Affine::axis(channel), Affine::constant(at)]);
            Stmt::Call(Call {
                leaf,
                pointers: vec![pointer(far + start), pointer(start)],
                ints: Vec::new(),
            })
        });
        let calls: Vec<Stmt> = calls.collect();
        vec![Stmt::For(Loop::serial(channel, outer), calls)]
    }

    /// A leaf that moves `count` vectors.
    fn keep_leaf(&mut self, view: BufferId, width: i64, count: i64) -> LeafId {
        let key = (view, width * count);
        if let Some(known) = self.keeps.iter().find(|k| (k.0, k.1) == key) {
            return known.2;
        }
        let vector = self.nest.add_axis("x.o", Role::Copy, Part::Outer);
        let lane = self.nest.add_axis("x.l", Role::Copy, Part::Lane);
        let at = Affine::axis(vector).times(width).plus(&match width {
            1 => Affine::constant(0),
            _ => Affine::axis(lane),
        });
        let access = |pointer: u32| Access {
            base: Base::Pointer(PointerId(pointer)),
            index: vec![Affine::constant(0).into(), at.clone().into()],
        };
        let store = Op::Store {
            to: access(1),
            value: Expr::Load(access(0)),
            when: Vec::new(),
        };
        let mut leaf = Leaf::copy(
            format!("keep_{}x{count}", width),
            vec![Loop::serial(vector, count)],
            vec![store],
        );
        leaf.name = format!("{}_{}", leaf.name, self.keeps.len() + 1);
        leaf.pointers = vec![view, view];
        leaf.lanes = (width > 1).then_some(Lanes {
            axis: lane,
            width,
            vectors: None,
            cut: None,
        });
        self.nest.leaves.push(leaf);
        let id = LeafId(self.nest.leaves.len() as u32 - 1);
        self.keeps.push((key.0, key.1, id));
        id
    }
}

impl Template {
    /// The body with its buffers' rows where the strip wants them.
    fn at(&self, compute: &Compute, by: &Moves, strip: &Affine, image: Option<&Affine>) -> Vec<Stmt> {
        let mut body = self.body.clone();
        for_pointers(&mut body, &mut |pointer| {
            let Some(port) = self.ports.iter().find(|p| pointer.base == Base::Buffer(p.view)) else {
                return;
            };
            let rows = match port.role {
                BufferRole::Input => strip.times(by.input).plus_constant(compute.input),
                BufferRole::Residual => strip.times(by.residual).plus_constant(compute.residual.unwrap_or(0)),
                _ => strip.times(by.output).plus_constant(compute.output),
            };
            add(pointer, port.dimension, &rows.times(port.scale));
            if let (Some(image), Some(len)) = (image, port.image) {
                add(pointer, 0, &image.times(len));
            }
        });
        body
    }
}

fn add(pointer: &mut Access, dimension: usize, by: &Affine) {
    let index = pointer.index[dimension].as_affine().map(|a| a.plus(by));
    if let Some(index) = index {
        pointer.index[dimension] = index.into();
    }
}

/// Buffers for weight and bias of a step, which the caller passes; none where their numbers are known.
pub(super) fn constants(nest: &mut Nest, conv: &Conv, number: usize) -> (Option<BufferId>, Option<BufferId>) {
    let mut add =
        |name: &str, role, len: usize| nest.add_buffer(format!("{name}_{number}"), role, vec![(len as i64).into()]);
    let (known, has_bias) = (conv.known(), conv.spec().bias);
    let weight = known
        .is_none()
        .then(|| add("weight", BufferRole::Weight, conv.weight_len()));
    let comes = has_bias && known.is_none_or(|known| known.bias.is_none());
    (weight, comes.then(|| add("bias", BufferRole::Bias, conv.bias_len())))
}

/// The buffer of the same role, extents and known numbers, added where there is none.
pub(super) fn same_numbers(nest: &mut Nest, buffer: &Buffer) -> BufferId {
    let same = |b: &Buffer| (b.role, &b.extents, &b.values) == (buffer.role, &buffer.extents, &buffer.values);
    if let Some(at) = nest.buffers.iter().position(same) {
        return BufferId(at as u32);
    }
    let id = nest.add_buffer(buffer.name.clone(), buffer.role, buffer.extents.clone());
    nest.buffers[id.index()].values.clone_from(&buffer.values);
    id
}

/// The dimension that counts `rows` rows of `row` elements, perhaps with columns, and how many of its elements are a row.
fn dimension_of_rows(extents: &[i64], row: i64, rows: i64) -> Option<(usize, i64)> {
    let mut stride = 1;
    for (dimension, &extent) in extents.iter().enumerate().rev() {
        if stride * extent == row * rows && row % stride == 0 {
            return Some((dimension, row / stride));
        }
        stride *= extent;
    }
    None
}

/// `for axis in 0..1` where `value` is `number`, else not at all.
fn only(axis: crate::nest::AxisId, value: Affine, number: i64) -> Loop {
    let below = value.plus_constant(1 - number);
    let above = value.times(-1).plus_constant(1 + number);
    Loop {
        hi: Bound::Min(vec![Quotient::from(below), Quotient::from(above)]),
        ..Loop::serial(axis, 1)
    }
}

/// Whether setup copies `from` into `to`.
fn copies(nest: &Nest, from: BufferId, to: BufferId) -> bool {
    let both = |stmt: &Stmt| reaches(nest, stmt, from) && reaches(nest, stmt, to);
    nest.setup.iter().any(both)
}

/// Whether a statement's calls reach into a buffer.
fn reaches(nest: &Nest, stmt: &Stmt, buffer: BufferId) -> bool {
    match stmt {
        Stmt::For(_, body) => body.iter().any(|stmt| reaches(nest, stmt, buffer)),
        Stmt::Call(call) => nest.leaves[call.leaf.index()].pointers.contains(&buffer),
        Stmt::Leaf(_) => false,
    }
}
