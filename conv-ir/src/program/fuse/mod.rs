//! Fusion: several steps of a chain become one nest, strip by strip, with line buffers between
//! them.
//!
//! ```text
//! before  step 1: nest over all rows, tensor 1 as a whole, step 2: nest over all rows
//! after   buffer line_1: scratch f32[96, 6, 112]
//!         for strip:
//!           move the last 2 rows of line_1 to its front             (or compute them again)
//!           step 1's nest of 4 rows: @input[0, 4 strip + 5, 0] -> @line_1[0, 2, 0]
//!           step 2's nest of 4 rows: @line_1[0, 0, 0] -> @output[0, 4 strip + 4, 0]
//! ```
//!
//! Each computation of a strip is an ordinary convolution of fewer rows, lowered and scheduled like
//! any other. Its finished nest is embedded here, and its input and output become rows of larger
//! buffers: leaves reach memory through pointers alone, and distances follow from a buffer's
//! extents, so seeing the same memory through a view of other extents, from another row on, is
//! exact. The order of each sum is the nest's, so the bits are those of the steps one after the
//! other.
//!
//! Where `canonicalise` merged rows with columns, the dimension that counts both is longer, and a
//! row is as many of its elements as there are columns.

mod buffers;
mod keep;
mod template;

use std::ops::Range;

use super::repeat::{Moves, Repeated, repeated};
use super::strips::{Action, Compute, Walk};
use super::{Program, Step};
use crate::lower::Layouts;
use crate::nest::{
    Affine, Bound, BufferId, BufferRole, Embedding, LeafId, Loop, LoopKind, Nest, Part, Quotient,
    Role, Stmt,
};
use crate::{Conv, DType, Error, Layout, Schedule, Target};
use buffers::PackedBuffer;
pub(super) use buffers::{constants, same_numbers};
use template::Template;

/// How a group of steps is cut into strips.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strips {
    /// Rows of the group's output that a strip computes.
    pub rows: usize,
    /// For each step (the last entry is ignored): whether rows that the next strip needs as well
    /// are moved to the front of the line buffer (or else computed again).
    pub keep: Vec<bool>,
    /// For each step (the last entry is ignored): where channels stand in its line buffer.
    pub layouts: Vec<Layout>,
    /// Parts of the image that threads may take; each computes its first halo itself. No more are
    /// made than there are strips, nor than [`MOST_CHUNKS`].
    pub chunks: usize,
}

/// Each chunk is code of its own.
pub const MOST_CHUNKS: usize = 256;

impl Strips {
    /// Whether a group of steps can be computed like this.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the rule; the error of a strip that cannot be.
    pub fn check(&self, chain: &Program, steps: Range<usize>) -> Result<(), Error> {
        cut(chain, steps, self).map(drop)
    }

    fn check_numbers(&self, steps: usize) -> Result<(), Error> {
        for (what, entries) in [("keep", self.keep.len()), ("layouts", self.layouts.len())] {
            if entries != steps {
                return Err(refused(format!("{what} has {entries} entries for {steps} steps")));
            }
        }
        match (self.rows, self.chunks) {
            (0, _) => Err(refused("strips of 0 rows, but at least 1 is needed".to_owned())),
            (_, 0) => Err(refused("0 chunks, but at least 1 is needed".to_owned())),
            _ => Ok(()),
        }
    }
}

/// A convolution lowered through every pass.
pub struct Lowered {
    /// The schedule.
    pub schedule: Schedule,
    /// The finished nest.
    pub nest: Nest,
}

/// Lowers a convolution whose arrays are laid out like this, under this schedule or, where there is
/// none, one of its own choice.
pub type Lower<'a> = dyn FnMut(&Conv, Layouts, Option<&Schedule>) -> Result<Lowered, Error> + 'a;

/// The nest of the steps `steps` of `chain`, which must have known sizes and none of them
/// transposed.
///
/// Residuals from before the group are residual buffers, in the order of their steps.
///
/// # Errors
/// Why these strips cannot be: [`Error::Unsupported`], or a strip's own error.
pub fn fuse(
    chain: &Program,
    steps: Range<usize>,
    strips: &Strips,
    target: &Target,
    lower: &mut Lower<'_>,
) -> Result<Nest, Error> {
    let (chunks, most) = cut(chain, steps.clone(), strips)?;
    let mut fusing = Fusing::new(chain, steps, (strips, &most), target);
    let usual = fusing.usual(&chunks);
    for conv in usual {
        fusing.template(&conv, lower)?;
    }
    fusing.body(&chunks, lower)?;
    Ok(fusing.nest)
}

fn refused(message: String) -> Error {
    Error::Unsupported { route: "fused", message }
}

/// The strips of each chunk, and the most rows of each line buffer.
fn cut(
    chain: &Program,
    steps: Range<usize>,
    strips: &Strips,
) -> Result<(Vec<Vec<Repeated>>, Vec<i64>), Error> {
    let group = &chain.steps()[steps.clone()];
    if let Some(at) = group.iter().position(|step| step.conv.spec().transposed) {
        return Err(refused(format!("step {} is transposed", steps.start + at + 1)));
    }
    if let Some(at) = group.iter().position(|step| step.given) {
        return Err(refused(format!(
            "step {} is an input, of which nothing is computed",
            steps.start + at + 1
        )));
    }
    if let Some(at) = group.iter().position(|step| step.conv.scales()) {
        return Err(refused(format!(
            "step {} scales by a number for each channel, which has no rows",
            steps.start + at + 1
        )));
    }
    let branch = (1..group.len()).find(|&at| !group[at].reads_before(steps.start + at));
    if let Some(at) = branch {
        return Err(refused(format!(
            "step {} reads another tensor than the one before it: it begins a group",
            steps.start + at + 1
        )));
    }
    if let Some(free) = chain.free_sizes().first() {
        return Err(refused(format!("the size {free} is known only at run time")));
    }
    strips.check_numbers(group.len())?;
    let mut walk = Walk::new(group, steps.start, &strips.keep);
    let chunks = chunks(strips, &mut walk)?;
    Ok((chunks, walk.halos.most))
}

/// The strips of each chunk, equal neighbours together.
fn chunks(strips: &Strips, walk: &mut Walk<'_>) -> Result<Vec<Vec<Repeated>>, Error> {
    let rows = walk.halos.axes.last().map_or(0, |axis| axis.output).max(1);
    let at_most = |n: usize, most: i64| i64::try_from(n).unwrap_or(most).clamp(1, most);
    let each = at_most(strips.rows, rows);
    let count = (rows + each - 1) / each;
    let parts = at_most(strips.chunks.min(MOST_CHUNKS), count);
    let chunk = |part: i64| {
        // Of a product that may be large.
        let start = |part: i64| (count as i128 * part as i128 / parts as i128) as i64;
        repeated(walk, start(part)..start(part + 1), each)
    };
    (0..parts).map(chunk).collect()
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

struct Fusing<'a> {
    chain: &'a Program,
    steps: Range<usize>,
    /// Of each step's line buffer.
    layouts: Vec<Layout>,
    target: &'a Target,
    nest: Nest,
    embedding: Embedding,
    /// The buffers with memory.
    tensors: Vec<(Tensor, BufferId)>,
    /// Of each step; none where they are known.
    weights: Vec<Option<BufferId>>,
    biases: Vec<Option<BufferId>>,
    packed: Vec<PackedBuffer>,
    /// Scratch of strips' own nests, which use it one after the other.
    shared: Vec<BufferId>,
    templates: Vec<Template>,
    /// The schedule of each step's first template.
    schedules: Vec<Option<Schedule>>,
    keeps: Vec<(BufferId, i64, LeafId)>,
}

impl<'a> Fusing<'a> {
    fn new(
        chain: &'a Program,
        steps: Range<usize>,
        (strips, most): (&Strips, &[i64]),
        target: &'a Target,
    ) -> Self {
        let group = &chain.steps()[steps.clone()];
        let nest = Nest::new(chain.dtype(), group[0].conv.rank());
        let mut fusing = Fusing {
            chain,
            steps: steps.clone(),
            layouts: strips.layouts.clone(),
            target,
            nest,
            embedding: Embedding::default(),
            tensors: Vec::new(),
            weights: Vec::new(),
            biases: Vec::new(),
            packed: Vec::new(),
            shared: Vec::new(),
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
            self.chain.shape(tensor).into_iter().map(|n| n as i64).collect::<Vec<_>>()
        };
        let first = self.steps.start;
        let mut wanted = vec![(
            Tensor::Input,
            "input".to_owned(),
            BufferRole::Input,
            shape(self.chain.input_of(first)),
        )];
        let mut residuals = 0;
        for (at, step) in self.chain.steps()[self.steps.clone()].iter().enumerate() {
            if step.adds_from_before(first) {
                let tensor = Tensor::Residual(residuals);
                wanted.push((
                    tensor,
                    format!("residual_{}", first + at + 1),
                    BufferRole::Residual,
                    shape(first + at + 1),
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
                Layout::ChannelsLast => extents.pop().expect("an image has channels"),
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
            if let Some(dtype) = self.type_of(tensor) {
                self.nest.store_as(id, dtype);
            }
            self.tensors.push((tensor, id));
        }
        for at in self.steps.clone() {
            let (weight, bias) = constants(&mut self.nest, &self.chain.steps()[at].conv, at + 1);
            self.weights.push(weight);
            self.biases.push(bias);
        }
    }

    /// The type of a tensor, where it is not that of the sums. Those inside the group are in that
    /// type, rounded to their own; but whole numbers of few bits are multiplied faster.
    fn type_of(&self, tensor: Tensor) -> Option<DType> {
        let steps = &self.chain.steps()[self.steps.clone()];
        let mut adds = steps.iter().filter(|step| step.adds_from_before(self.steps.start));
        match tensor {
            Tensor::Input => steps.first().map(|step| step.conv.types().input),
            Tensor::Output => steps.last().map(|step| step.conv.types().output),
            Tensor::Residual(at) => adds.nth(at).map(|step| step.conv.types().output),
            Tensor::Line(at) => {
                steps.get(at).map(|step| step.conv.types().output).filter(|of| of.is_integer())
            }
        }
    }

    fn layout(&self, tensor: Tensor) -> Layout {
        match tensor {
            Tensor::Line(at) => self.layouts[at],
            Tensor::Input | Tensor::Output | Tensor::Residual(_) => {
                self.chain.steps()[0].conv.spec().layout
            }
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
            BufferRole::Residual => {
                match group[at].residual.and_then(|from| from.checked_sub(first + 1)) {
                    Some(of) => Tensor::Line(of),
                    None => {
                        let outside = |step: &&Step| step.adds_from_before(first);
                        Tensor::Residual(group[..at].iter().filter(outside).count())
                    }
                }
            }
            _ if at + 1 == group.len() => Tensor::Output,
            _ => Tensor::Line(at),
        }
    }

    /// Each step's most frequent convolution: its schedule is the step's, so that all strips share
    /// packed weights.
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
            let l = Loop { kind: kind(shared), ..Loop::serial(axis, extent) };
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
    fn run(
        &mut self,
        run: &Repeated,
        image: Option<&Affine>,
        lower: &mut Lower<'_>,
    ) -> Result<Vec<Stmt>, Error> {
        let axis = (run.count > 1)
            .then(|| self.nest.add_axis("strip", Role::Out(self.nest.rank - 1), Part::Outer));
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
