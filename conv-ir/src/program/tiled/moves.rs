//! The leaves that move: from the caller's layout to channels last and back, with padding before
//! and what is added behind.
//!
//! Where channels stand first, a block of as many channels as columns is turned in registers.

use std::ops::Range;

use super::leaves::{Run, runs};
use super::sizes::Along;
use super::{Making, inside, largest, least};
use crate::Layout;
use crate::lower::prelu;
use crate::nest::{
    Access, Affine, Binary, BufferId, Expr, Leaf, Loop, LoopPath, Op, Part, RegId, Register, Role,
    Stmt, TileAxis,
};

/// A place in an image: where it is along every axis but the last, the first column, and the first
/// channel.
#[derive(Clone)]
struct Spot {
    buffer: BufferId,
    outer: Vec<Affine>,
    column: Affine,
    channel: Affine,
}

impl Spot {
    /// So many columns and channels further on, in an array whose channels stand last.
    fn last(&self, column: &Affine, channel: &Affine) -> Access {
        let ends = [self.column.plus(column), self.channel.plus(channel)];
        let index: Vec<Affine> = self.outer.iter().cloned().chain(ends).collect();
        Access::buffer(self.buffer, index)
    }

    /// The same in an array of the caller's.
    fn callers(&self, layout: Layout, column: &Affine, channel: &Affine) -> Access {
        let mut index = self.outer.clone();
        index.push(self.column.plus(column));
        let channel = self.channel.plus(channel);
        match layout {
            Layout::ChannelsFirst => index.insert(1, channel),
            Layout::ChannelsLast => index.push(channel),
        }
        Access::buffer(self.buffer, index)
    }
}

/// Strips along the columns that hold the same ones of their first `before + live`.
struct Columns {
    strips: Range<i64>,
    before: i64,
    live: i64,
}

/// Strips at each end that may see padding; the others do not.
const ENDS: i64 = 16;

impl Making<'_> {
    /// The strips along the columns, those together of which the same is said.
    fn columns(&self, of: impl Fn(&Along, i64) -> (i64, i64)) -> Vec<Columns> {
        let axis = self.sizes.axes[self.sizes.axes.len() - 1];
        let count = axis.strips();
        let (front, behind) = (count.min(ENDS), (count - ENDS).max(count.min(ENDS)));
        let mut all: Vec<Columns> = Vec::new();
        let middle = (front < behind).then_some(front..behind);
        let single = |at: i64| at..at + 1;
        let parts = (0..front).map(single).chain(middle).chain((behind..count).map(single));
        for strips in parts {
            let (before, live) = of(&axis, strips.start);
            match all.last_mut().filter(|last| (last.before, last.live) == (before, live)) {
                Some(last) => last.strips.end = strips.end,
                None => all.push(Columns { strips, before, live }),
            }
        }
        all
    }

    /// Which strip along the columns it is, and a loop around where it is one of these alone: one
    /// turn, or none.
    fn one_of(&mut self, strips: &Range<i64>) -> (Affine, Vec<Loop>) {
        let last = self.sizes.axes.len() - 1;
        let at = self.strip[last].clone();
        if *strips == (0..self.sizes.axes[last].strips()) {
            return (at, Vec::new());
        }
        let axis = self.axis("here");
        let lo = largest(&[at.clone(), strips.start.into()]);
        let hi = least(&[at.plus_constant(1), strips.end.into()]);
        (Affine::axis(axis), vec![Loop { lo, hi, ..Loop::serial(axis, 0) }])
    }

    /// The strip's part of the input with channels last, and zeros around it.
    pub(super) fn padded(&mut self, input: BufferId) -> Vec<Stmt> {
        let axes = self.sizes.axes.clone();
        let channels = self.sizes.channels;
        let piece = self.sizes.piece_there(self.sizes.transformed().len());
        let (mut extents, mut stmts, mut loops) = (Vec::new(), Vec::new(), Vec::new());
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let last = axes.len() - 1;
        for (at, axis) in axes[..last].iter().enumerate() {
            let padded = axis.padded();
            let rest = axes[at + 1..].iter().fold(channels, |all, axis| all * axis.padded());
            extents.push(padded);
            let flat = [&extents[..], &[rest]].concat();
            let flat = self.array(piece, "padded_rows", &flat);
            // The input's position that the strip begins with, and the strip's that the input does.
            let (first, apart) = axis.first();
            let first = self.strip[at].times(apart).plus_constant(first);
            let start = first.times(-1);
            let mut zeros = |making: &mut Self, name: &str, hi: Affine, from: i64, step: i64| {
                let axis = making.axis(name);
                let each = Loop { hi: hi.into(), ..Loop::serial(axis, 0) };
                let row = Affine::axis(axis).times(step).plus_constant(from);
                let around = [&loops[..], &[each]].concat();
                let row = [&here[..], &[row]].concat();
                stmts.extend(making.zeros(&around, (flat, &row), 0..rest));
            };
            if axis.pad > 0 {
                zeros(self, "above", start.clone(), 0, 1);
            }
            if axis.sees_end() {
                let over = first.plus_constant(padded - axis.input);
                zeros(self, "below", over, padded - 1, -1);
            }
            let id = self.axis("inside");
            let hi = least(&[padded.into(), start.plus_constant(axis.input)]);
            loops.push(Loop { lo: largest(&[0.into(), start]), hi, ..Loop::serial(id, 0) });
            here.push(Affine::axis(id));
            there.push(Affine::axis(id).plus(&first));
        }
        let columns = axes[last].padded();
        extents.push(columns);
        let flat = [&extents[..last], &[columns * channels]].concat();
        let flat = self.array(piece, "padded_rows", &flat);
        let padded = self.array(piece, "padded", &[&extents[..], &[channels]].concat());
        let (first, apart) = axes[last].first();
        let seen = |axis: &Along, strip: i64| {
            let first = first + strip * apart;
            let before = (-first).clamp(0, columns);
            (before, (axis.input - first.max(0)).clamp(0, columns - before))
        };
        for Columns { strips, before, live } in self.columns(seen) {
            let (strip, around) = self.one_of(&strips);
            let mut part = self.zeros(&loops, (flat, &here), 0..before * channels);
            let rest = (before + live) * channels..columns * channels;
            part.extend(self.zeros(&loops, (flat, &here), rest));
            let column = strip.times(apart).plus_constant(first + before);
            let zero = || Affine::constant(0);
            let from = Spot { buffer: input, outer: there.clone(), column, channel: zero() };
            let column = Affine::constant(before);
            let to = Spot { buffer: padded, outer: here.clone(), column, channel: zero() };
            let layout = self.layouts.input;
            part.extend(self.turned(layout, &loops, (&from, &to), (live, channels)));
            stmts.extend(inside(&around, part));
        }
        stmts
    }

    /// So many columns of a row of the caller's, with channels last.
    fn turned(
        &mut self,
        layout: Layout,
        loops: &[Loop],
        (from, to): (&Spot, &Spot),
        (columns, channels): (i64, i64),
    ) -> Vec<Stmt> {
        let mut stmts = Vec::new();
        for block in runs(channels, self.lanes) {
            match layout {
                Layout::ChannelsFirst => {
                    let blocks = runs(columns, self.lanes)
                        .map(|run| self.turned_block(loops, (from, to), (&run, &block)));
                    stmts.extend(blocks);
                }
                Layout::ChannelsLast if columns > 0 => {
                    stmts.push(self.copied(loops, (from, to), (columns, &block)));
                }
                Layout::ChannelsLast => {}
            }
        }
        stmts
    }

    /// The same of channels that stand last there, too.
    fn copied(
        &mut self,
        loops: &[Loop],
        (from, to): (&Spot, &Spot),
        (columns, block): (i64, &Run),
    ) -> Stmt {
        let lane = self.lane();
        let (inner, channel) = self.vectors(block, lane);
        let column = self.nest.add_axis("column", Role::Copy, Part::Inner);
        let at = Affine::axis(column);
        let copy = Op::Store {
            to: to.last(&at, &channel),
            value: Expr::Load(from.callers(Layout::ChannelsLast, &at, &channel)),
            when: Vec::new(),
        };
        let over = std::iter::once(Loop::serial(column, columns)).chain(inner).collect();
        let mut leaf = Leaf::copy("copied", over, vec![copy]);
        leaf.lanes = self.lanes(lane, block.cut);
        LoopPath { loops: loops.to_vec(), leaf }.into_stmt()
    }

    /// The same of channels that stand first there, with columns in the lanes.
    fn turned_block(
        &mut self,
        loops: &[Loop],
        (from, to): (&Spot, &Spot),
        (run, block): (&Run, &Run),
    ) -> Stmt {
        let lane = self.lane();
        let channel = self.nest.add_axis("channel", Role::Copy, Part::Inner);
        let (columns, column) = self.blocks("columns", run);
        let (channels, first) = self.blocks("channels", block);
        let (column, at) = (column.plus(&Affine::axis(lane)), first.plus(&Affine::axis(channel)));
        let load = Expr::Load(from.callers(Layout::ChannelsFirst, &column, &at));
        let store = Op::StoreBlock { to: to.last(&column, &at), reg: RegId(0), along: channel };
        let ops = vec![Op::Each(channel, vec![Op::set(RegId(0), load)]), store];
        let mut leaf = Leaf::copy("turned", Vec::new(), ops);
        leaf.lanes = self.lanes(lane, run.cut);
        leaf.tile = vec![TileAxis { axis: channel, extent: block.cut.unwrap_or(self.lanes) }];
        leaf.registers = vec![Register { name: "a".to_owned(), axes: vec![channel] }];
        LoopPath { loops: [loops, &[channels, columns]].concat(), leaf }.into_stmt()
    }

    /// A driver loop over the vectors of a run, and the first element of each.
    fn blocks(&mut self, name: &str, run: &Run) -> (Loop, Affine) {
        let axis = self.axis(name);
        let first = Affine::axis(axis).times(self.lanes).plus_constant(run.start);
        (Loop::serial(axis, run.vectors), first)
    }

    /// A block of output channels from its tiles, with what is added and the activation.
    pub(super) fn finished(
        &mut self,
        [bias, slopes]: [Option<BufferId>; 2],
        residual: Option<BufferId>,
        to: BufferId,
    ) -> Vec<Stmt> {
        let axes = self.sizes.axes.clone();
        let steps = self.sizes.transformed().len();
        let channels = self.sizes.block;
        let shape: Vec<i64> = axes.iter().map(Along::done).chain([channels]).collect();
        let done = self.array(self.sizes.piece_back(steps), "done", &shape);
        let added = residual
            .map(|from| (from, self.array(self.sizes.piece_back(steps + 1), "added", &shape)));
        let (mut loops, mut here, mut there) = (Vec::new(), Vec::new(), Vec::new());
        let last = axes.len() - 1;
        for (at, axis) in axes[..last].iter().enumerate() {
            let first = self.strip[at].times(axis.done());
            let left = first.times(-1).plus_constant(axis.output);
            let id = self.axis("inside");
            let hi = least(&[axis.done().into(), left]);
            loops.push(Loop { hi, ..Loop::serial(id, 0) });
            here.push(Affine::axis(id));
            there.push(Affine::axis(id).plus(&first));
        }
        let zero = || Affine::constant(0);
        let here = |buffer| Spot { buffer, outer: here.clone(), column: zero(), channel: zero() };
        let channel = self.block.times(channels);
        let callers = |buffer, column: &Affine| {
            let (outer, column) = (there.clone(), column.clone());
            Spot { buffer, outer, column, channel: channel.clone() }
        };
        let seen =
            |axis: &Along, strip: i64| (0, axis.done().min(axis.output - strip * axis.done()));
        let mut stmts = Vec::new();
        for Columns { strips, live, .. } in self.columns(seen) {
            let (strip, around) = self.one_of(&strips);
            let column = strip.times(axes[last].done());
            let mut part = Vec::new();
            if let Some((from, to)) = added {
                let both = (&callers(from, &column), &here(to));
                let layout = self.layouts.residual;
                part.extend(self.turned(layout, &loops, both, (live, channels)));
            }
            let added = added.map(|(_, added)| here(added));
            let ends = Ends { done: here(done), bias, slopes, added, to: callers(to, &column) };
            for block in runs(channels, self.lanes) {
                let blocks = runs(live, self.lanes)
                    .map(|columns| self.finished_block(&loops, &ends, (&columns, &block)));
                part.extend(blocks);
            }
            stmts.extend(inside(&around, part));
        }
        stmts
    }

    fn finished_block(&mut self, loops: &[Loop], ends: &Ends, (run, block): (&Run, &Run)) -> Stmt {
        let lane = self.lane();
        let column = self.nest.add_axis("column", Role::Copy, Part::Inner);
        let (columns, first) = self.blocks("columns", run);
        let (channels, channel) = self.blocks("channels", block);
        let (at, channel) = (first.plus(&Affine::axis(column)), channel.plus(&Affine::axis(lane)));
        let mut leaf = Leaf::copy("finished", Vec::new(), Vec::new());
        leaf.lanes = self.lanes(lane, block.cut);
        leaf.tile = vec![TileAxis { axis: column, extent: run.cut.unwrap_or(self.lanes) }];
        leaf.registers = vec![Register { name: "acc".to_owned(), axes: vec![column] }];
        let add = |a: Expr, b: Expr| Expr::Binary(Binary::Add, Box::new(a), Box::new(b));
        let mut value = Expr::Load(ends.done.last(&at, &channel));
        let mut of_channel = |name: &str, array: BufferId| {
            let reg = RegId(leaf.registers.len() as u32);
            leaf.registers.push(Register { name: name.to_owned(), axes: Vec::new() });
            let load = Expr::Load(Access::buffer(array, [ends.to.channel.plus(&channel)]));
            leaf.finish.push(Op::set(reg, load));
            Expr::Reg(reg)
        };
        let slope = ends.slopes.map(|slopes| of_channel("s", slopes));
        if let Some(bias) = ends.bias {
            value = add(value, of_channel("b", bias));
        }
        if let Some(added) = &ends.added {
            value = add(value, Expr::Load(added.last(&at, &channel)));
        }
        let value = prelu::activated(self.conv, value, slope);
        leaf.finish.push(Op::Each(column, vec![Op::set(RegId(0), value)]));
        let layout = self.layouts.output;
        let to = ends.to.callers(layout, &at, &channel);
        leaf.finish.push(match layout {
            Layout::ChannelsFirst => Op::StoreBlock { to, reg: RegId(0), along: column },
            Layout::ChannelsLast => {
                let store = Op::Store { to, value: Expr::Reg(RegId(0)), when: Vec::new() };
                Op::Each(column, vec![store])
            }
        });
        LoopPath { loops: [loops, &[channels, columns]].concat(), leaf }.into_stmt()
    }
}

/// What the output is made of, and where it goes.
struct Ends {
    done: Spot,
    bias: Option<BufferId>,
    slopes: Option<BufferId>,
    added: Option<Spot>,
    to: Spot,
}
