//! Input channels in blocks whose weights stay in cache: what is summed so far waits in scratch.
//!
//! ```text
//! before  for oc.o parallel:
//!           for oh, ow.o: leaf: acc = bias; for ic in 0..2048, ..: acc = fma(..); output[..] = acc
//! after   for oc.o parallel:
//!           for oh, ow.o: leaf: acc = bias; for ic in 0..256, ..: ..; sums[oh, ow, oc.i] = acc
//!           for ic.c in 0..6:
//!             for oh, ow.o: leaf: acc = sums[..]; for ic in 0..256, ..: ..; sums[..] = acc
//!           for oh, ow.o: leaf: acc = sums[..]; for ic in 0..256, ..: ..; output[..] = acc
//! ```
//!
//! requires: lanes; loops over the image inside the outermost loop over output channels.
//! gives: that loop's body for each block of input channels, and a scratch buffer of its sums.
//!
//! A sum is of the type of the registers and keeps its order, so the bits are those of one leaf. It
//! lies with its lanes side by side, whatever the output's layout: nothing is turned on the way.
//! Threads share loops by their bounds, which are the same in each copy of the body, so that each
//! finds its own sums again.

use crate::nest::{
    Access, Affine, AxisId, BufferId, BufferRole, Expr, Index, Leaf, Loop, LoopKind, Nest, Op,
    Part, RegId, Role, Stmt, Var,
};
use crate::{Error, Schedule, Target};

/// Elements of a buffer of sums at most: a schedule may leave all of the output inside.
const MOST_SUMS: i64 = 1 << 26;

pub(super) fn sums(nest: &mut Nest, schedule: &Schedule, _: &Target) -> Result<(), Error> {
    if schedule.cache_in > 0 {
        let body = std::mem::take(&mut nest.body);
        nest.body = descend(nest, body, &mut Vec::new(), schedule.cache_in)?;
    }
    Ok(())
}

/// Goes down the loops that blocks stand inside of.
fn descend(
    nest: &mut Nest,
    stmts: Vec<Stmt>,
    outside: &mut Vec<AxisId>,
    most: i64,
) -> Result<Vec<Stmt>, Error> {
    let (mut out, mut run) = (Vec::new(), Vec::new());
    for stmt in stmts {
        match stmt {
            Stmt::For(l, body) if stands_outside(nest, &l, outside) => {
                out.extend(cut(nest, std::mem::take(&mut run), outside, most)?);
                outside.push(l.axis);
                let body = descend(nest, body, outside, most)?;
                outside.pop();
                out.push(Stmt::For(l, body));
            }
            other => run.push(other),
        }
    }
    out.extend(cut(nest, run, outside, most)?);
    Ok(out)
}

fn stands_outside(nest: &Nest, l: &Loop, outside: &[AxisId]) -> bool {
    match nest.role(l.axis) {
        Role::Batch | Role::Group => true,
        Role::OutChannel => !outside.iter().any(|&axis| nest.role(axis) == Role::OutChannel),
        Role::Copy => l.kind == LoopKind::Parallel,
        Role::InChannel | Role::Out(_) | Role::Kernel(_) | Role::Param => false,
    }
}

/// The statements once for each block of input channels.
fn cut(
    nest: &mut Nest,
    stmts: Vec<Stmt>,
    outside: &[AxisId],
    most: i64,
) -> Result<Vec<Stmt>, Error> {
    let mut seen = Seen { outside, ranges: Vec::new(), leaves: Vec::new() };
    seen.stmts(nest, &stmts)?;
    let Some(channels) = seen.leaves.first().map(|found| found.channels) else { return Ok(stmts) };
    if seen.leaves.iter().any(|found| found.channels != channels) {
        return illegal("leaves sum over different channels");
    }
    let block = (most / channels.together).max(1);
    if channels.extent <= block {
        return Ok(stmts);
    }
    let sums = Sums::new(nest, outside, &seen.leaves)?;
    let last = (channels.extent - 1) / block;
    let part = |nest: &Nest, (start, extent): (Affine, i64), resumes, pauses| {
        Block { sums: &sums, start, extent, resumes, pauses }.stmts(nest, &stmts)
    };
    let mut out = part(nest, (0.into(), block), false, true);
    if last > 1 {
        let axis = nest.add_axis("ic.c", Role::InChannel, Part::Outer);
        let start = Affine::axis(axis).plus_constant(1).times(block);
        out.push(Stmt::For(Loop::serial(axis, last - 1), part(nest, (start, block), true, true)));
    }
    let start = last * block;
    out.extend(part(nest, (start.into(), channels.extent - start), true, false));
    Ok(out)
}

fn illegal<T>(why: &str) -> Result<T, Error> {
    Err(Error::IllegalSchedule(format!("cache ic: {why}")))
}

/// The loop of a leaf over input channels.
#[derive(Clone, Copy, PartialEq)]
struct Channels {
    extent: i64,
    /// Channels of one turn, which are multiplied at a time.
    together: i64,
}

/// The position of the loop over input channels; none where there is one channel, or the leaf only
/// moves elements.
fn channel_loop(nest: &Nest, leaf: &Leaf) -> Option<usize> {
    let is_it =
        |l: &Loop| nest.role(l.axis) == Role::InChannel && nest.axis(l.axis).part != Part::Inner;
    leaf.reduce.iter().position(is_it).filter(|_| !leaf.init.is_empty())
}

fn channels(nest: &Nest, leaf: &Leaf) -> Option<Channels> {
    let at = channel_loop(nest, leaf)?;
    let (0, extent) = leaf.reduce[at].constant_range()? else { return None };
    let inside = leaf.reduce.iter().filter(|l| nest.role(l.axis) == Role::InChannel);
    let together = inside.skip(1).filter_map(Loop::constant_extent).product();
    Some(Channels { extent, together })
}

/// A leaf, with its place in the output.
struct Found {
    channels: Channels,
    /// By dimension: the part that moves inside, its smallest and largest value.
    spans: Vec<(i64, i64)>,
    /// The part that loops outside decide.
    fixed: Vec<Affine>,
    /// The dimension that lanes run along.
    lanes: Option<usize>,
}

/// The leaves under some loops.
struct Seen<'a> {
    outside: &'a [AxisId],
    ranges: Vec<(AxisId, (i64, i64))>,
    leaves: Vec<Found>,
}

impl Seen<'_> {
    fn stmts(&mut self, nest: &Nest, stmts: &[Stmt]) -> Result<(), Error> {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => {
                    let count = self.ranges.len();
                    self.ranges.extend(range(l).map(|range| (l.axis, range)));
                    self.stmts(nest, body)?;
                    self.ranges.truncate(count);
                }
                Stmt::Leaf(leaf) => {
                    if let Some(channels) = channels(nest, leaf) {
                        let found = self.leaf(nest, leaf, channels)?;
                        self.leaves.push(found);
                    }
                }
                Stmt::Call(_) => {}
            }
        }
        Ok(())
    }

    fn leaf(&self, nest: &Nest, leaf: &Leaf, channels: Channels) -> Result<Found, Error> {
        let own = leaf.tile.iter().map(|t| (t.axis, (0, t.extent - 1)));
        let lane = leaf.lanes.map(|lanes| (lanes.axis, (0, lanes.width - 1)));
        let ranges: Vec<_> = self.ranges.iter().copied().chain(own).chain(lane).collect();
        let of = |axis| ranges.iter().rev().find(|range| range.0 == axis).map(|range| range.1);
        let (mut spans, mut fixed) = (Vec::new(), Vec::new());
        let place = place(nest, leaf, self.outside)?;
        for (moves, stays) in &place {
            let mut span = (0, 0);
            for &(var, by) in moves.terms() {
                let range = match var {
                    Var::Axis(axis) => of(axis),
                    Var::Symbol(_) => None,
                };
                let Some((lo, hi)) = range else {
                    return illegal("the sizes of the image must be known");
                };
                let (a, b) = (by.saturating_mul(lo), by.saturating_mul(hi));
                span = (span.0 + a.min(b), span.1 + a.max(b));
            }
            let here = stays.constant;
            spans.push((span.0 + here, span.1 + here));
            fixed.push(stays.plus_constant(-here));
        }
        let along = |axis| place.iter().position(|(moves, _)| moves.of_axis(axis) != 0);
        let lanes = leaf.lanes.and_then(|lanes| along(lanes.axis));
        Ok(Found { channels, spans, fixed, lanes })
    }
}

/// The first and last value of a loop, where one of its bounds on each side is a number.
fn range(l: &Loop) -> Option<(i64, i64)> {
    let known = |bound: &crate::nest::Bound| {
        bound.quotients().iter().filter_map(|q| q.as_constant()).collect::<Vec<_>>()
    };
    Some((known(&l.lo).into_iter().max()?, known(&l.hi).into_iter().min()? - 1))
}

/// Where a leaf stores, by dimension: the part that moves inside, and what loops outside decide.
fn place(nest: &Nest, leaf: &Leaf, outside: &[AxisId]) -> Result<Vec<(Affine, Affine)>, Error> {
    let output = |access: &&Access| {
        nest.buffer(nest.buffer_behind(leaf, access.base)).role == BufferRole::Output
    };
    let Some(to) = leaf.accesses().into_iter().find(output) else {
        return illegal("a leaf stores no output");
    };
    let split = |index: &Index| Some(index.as_affine()?.split(|axis| !outside.contains(&axis)));
    match to.index.iter().map(split).collect() {
        Some(place) => Ok(place),
        None => illegal("an output's place is folded"),
    }
}

/// Where sums wait.
struct Sums {
    buffer: BufferId,
    outside: Vec<AxisId>,
    /// The output's dimensions in the buffer's order, each with its first position.
    dimensions: Vec<(usize, i64)>,
}

impl Sums {
    fn new(nest: &mut Nest, outside: &[AxisId], leaves: &[Found]) -> Result<Sums, Error> {
        if leaves.iter().any(|found| found.fixed != leaves[0].fixed) {
            return illegal("leaves of different channels share loops");
        }
        let rank = leaves[0].spans.len();
        let last = leaves.iter().find_map(|found| found.lanes).unwrap_or(rank - 1);
        let order = (0..rank).filter(|&at| at != last).chain([last]);
        let (mut dimensions, mut extents, mut all) = (Vec::new(), Vec::new(), 1i64);
        for at in order {
            let spans = || leaves.iter().map(|found| found.spans[at]);
            let (lo, hi) = (spans().map(|s| s.0).min(), spans().map(|s| s.1).max());
            let (lo, hi) = (lo.unwrap_or(0), hi.unwrap_or(0));
            dimensions.push((at, lo));
            extents.push(Affine::constant(hi - lo + 1));
            all = all.saturating_mul(hi - lo + 1);
        }
        if all > MOST_SUMS {
            return illegal("the sums that would be kept are too many: fewer channels in a cache");
        }
        let buffer = nest.add_buffer("sums", BufferRole::Scratch, extents);
        Ok(Sums { buffer, outside: outside.to_vec(), dimensions })
    }

    /// The sums of a leaf.
    fn of(&self, nest: &Nest, leaf: &Leaf) -> Access {
        let place = place(nest, leaf, &self.outside).unwrap_or_default();
        let index = self.dimensions.iter().map(|&(at, first)| {
            let (moves, stays) = &place[at];
            moves.plus_constant(stays.constant - first)
        });
        Access::buffer(self.buffer, index)
    }
}

/// One of the blocks.
struct Block<'a> {
    sums: &'a Sums,
    /// Its first channel, or what is multiplied with it.
    start: Affine,
    extent: i64,
    /// Goes on from sums.
    resumes: bool,
    /// Leaves sums.
    pauses: bool,
}

impl Block<'_> {
    fn stmts(&self, nest: &Nest, stmts: &[Stmt]) -> Vec<Stmt> {
        let one = |stmt: &Stmt| match stmt {
            Stmt::For(l, body) => {
                let body = self.stmts(nest, body);
                (!body.is_empty()).then(|| Stmt::For(l.clone(), body))
            }
            Stmt::Leaf(leaf) if self.pauses && is_without_channels(nest, leaf) => None,
            Stmt::Leaf(leaf) => Some(Stmt::Leaf(Box::new(self.leaf(nest, leaf)))),
            Stmt::Call(call) => Some(Stmt::Call(call.clone())),
        };
        stmts.iter().filter_map(one).collect()
    }

    fn leaf(&self, nest: &Nest, leaf: &Leaf) -> Leaf {
        let Some(at) = channel_loop(nest, leaf) else { return leaf.clone() };
        let sums = self.sums.of(nest, leaf);
        let axis = leaf.reduce[at].axis;
        let by = self.start.plus(&Affine::axis(axis));
        let mut leaf = leaf.clone();
        leaf.substitute(axis, &by);
        leaf.reduce[at] = Loop::serial(axis, self.extent);
        let Some(acc) = summed(&leaf) else { return leaf };
        let axes = leaf.registers[acc.index()].axes.clone();
        let each = |op: Op| axes.iter().rev().fold(op, |op, &axis| Op::Each(axis, vec![op]));
        if self.resumes {
            leaf.init = vec![each(Op::set(acc, Expr::Load(sums.clone())))];
        }
        if self.pauses {
            let store = Op::Store { to: sums, value: Expr::Reg(acc), when: Vec::new() };
            leaf.finish = vec![each(store)];
        }
        leaf
    }
}

/// Whether outputs have no channel to wait for, as those of a transposed convolution's phase
/// without taps: they are stored once, in the last block.
fn is_without_channels(nest: &Nest, leaf: &Leaf) -> bool {
    let is_output = |access: &Access| {
        nest.buffer(nest.buffer_behind(leaf, access.base)).role == BufferRole::Output
    };
    channel_loop(nest, leaf).is_none() && leaf.accesses().into_iter().any(is_output)
}

/// The register that `init` sets and the reduction adds to.
fn summed(leaf: &Leaf) -> Option<RegId> {
    let mut added = Vec::new();
    for op in &leaf.update {
        op.visit(&mut |op| {
            if let Op::Set { reg, .. } = op {
                added.push(*reg);
            }
        });
    }
    leaf.accumulators().into_iter().find(|reg| added.contains(reg))
}
