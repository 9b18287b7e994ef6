//! The leaves that move: from the caller's layout to channels last and back, with padding before
//! and what is added behind.
//!
//! Where channels stand first, a block of as many channels as columns is turned in registers.

use super::leaves::{Run, runs};
use super::{Making, Sizes, largest, least};
use crate::Layout;
use crate::nest::{
    Access, Affine, Binary, BufferId, Chain, Expr, Leaf, Loop, Op, Part, RegId, Register, Role,
    Stmt, TileAxis,
};

/// A place in an image: row and first column.
#[derive(Clone)]
struct Spot {
    buffer: BufferId,
    row: Affine,
    column: i64,
}

impl Spot {
    /// So many columns and channels further on, in an array without images whose channels stand
    /// last.
    fn last(&self, column: &Affine, channel: &Affine) -> Access {
        let column = column.plus_constant(self.column);
        Access::buffer(self.buffer, [self.row.clone(), column, channel.clone()])
    }
}

impl Making<'_> {
    /// The same in an array of the caller's.
    fn callers(&self, spot: &Spot, column: &Affine, channel: &Affine) -> Access {
        let (image, row) = (self.image.clone(), spot.row.clone());
        let (column, channel) = (column.plus_constant(spot.column), channel.clone());
        let index = match self.conv.spec().layout {
            Layout::ChannelsFirst => [image, channel, row, column],
            Layout::ChannelsLast => [image, row, column, channel],
        };
        Access::buffer(spot.buffer, index)
    }

    /// The strip's rows of the input with channels last, and zeros around them.
    pub(super) fn padded(&mut self, input: BufferId) -> Vec<Stmt> {
        let Sizes { channels, outputs, pad, input: [height, width], .. } = self.sizes;
        let [rows, columns] = self.sizes.padded();
        let flat = self.view(self.left, "padded_rows", &[rows, columns * channels]);
        let padded = self.view(self.left, "padded", &[rows, columns, channels]);
        // The image's row that the strip begins with, and the strip's row that the image does.
        let first = self.strip.times(self.sizes.strip * outputs[0]).plus_constant(-pad[0]);
        let start = first.times(-1);
        let (above, below, inside) = (self.axis("above"), self.axis("below"), self.axis("inside"));
        let whole = 0..columns * channels;
        let mut stmts = Vec::new();
        if pad[0] > 0 {
            let each = Loop { hi: start.clone().into(), ..Loop::serial(above, 0) };
            stmts.extend(self.zeros(&each, (flat, &Affine::axis(above)), whole.clone()));
        }
        let over = first.plus_constant(rows - height);
        let each = Loop { hi: over.into(), ..Loop::serial(below, 0) };
        let row = Affine::axis(below).times(-1).plus_constant(rows - 1);
        stmts.extend(self.zeros(&each, (flat, &row), whole.clone()));
        let each = Loop {
            lo: largest(&[0.into(), start.clone()]),
            hi: least(&[rows.into(), start.plus_constant(height)]),
            ..Loop::serial(inside, 0)
        };
        let row = Affine::axis(inside);
        let (to, from) = (pad[1].max(0), (-pad[1]).max(0));
        let live = (width - from).min(columns - to);
        stmts.extend(self.zeros(&each, (flat, &row), 0..to * channels));
        stmts.extend(self.zeros(&each, (flat, &row), (to + live) * channels..whole.end));
        let from = Spot { buffer: input, row: row.plus(&first), column: from };
        let to = Spot { buffer: padded, row, column: to };
        stmts.extend(self.turned(&each, (&from, &to), (live, channels)));
        stmts
    }

    /// So many columns of a row of the caller's, with channels last.
    fn turned(
        &mut self,
        each: &Loop,
        (from, to): (&Spot, &Spot),
        (columns, channels): (i64, i64),
    ) -> Vec<Stmt> {
        let mut stmts = Vec::new();
        for block in runs(channels, self.lanes) {
            match self.conv.spec().layout {
                Layout::ChannelsFirst => {
                    let blocks = runs(columns, self.lanes)
                        .map(|run| self.turned_block(each, (from, to), (&run, &block)));
                    stmts.extend(blocks);
                }
                Layout::ChannelsLast => {
                    stmts.push(self.copied(each, (from, to), (columns, &block)));
                }
            }
        }
        stmts
    }

    /// The same of channels that stand last there, too.
    fn copied(
        &mut self,
        each: &Loop,
        (from, to): (&Spot, &Spot),
        (columns, block): (i64, &Run),
    ) -> Stmt {
        let lane = self.lane();
        let (inner, channel) = self.vectors(block, lane);
        let column = self.nest.add_axis("column", Role::Copy, Part::Inner);
        let at = Affine::axis(column);
        let copy = Op::Store {
            to: to.last(&at, &channel),
            value: Expr::Load(self.callers(from, &at, &channel)),
            when: Vec::new(),
        };
        let loops = std::iter::once(Loop::serial(column, columns)).chain(inner).collect();
        let mut leaf = Leaf::copy("copied", loops, vec![copy]);
        leaf.lanes = self.lanes(lane, block.cut);
        Chain { loops: vec![each.clone()], leaf }.into_stmt()
    }

    /// The same of channels that stand first there, with columns in the lanes.
    fn turned_block(
        &mut self,
        each: &Loop,
        (from, to): (&Spot, &Spot),
        (run, block): (&Run, &Run),
    ) -> Stmt {
        let lane = self.lane();
        let channel = self.nest.add_axis("channel", Role::Copy, Part::Inner);
        let (columns, column) = self.blocks("columns", run);
        let (channels, first) = self.blocks("channels", block);
        let (column, at) = (column.plus(&Affine::axis(lane)), first.plus(&Affine::axis(channel)));
        let load = Expr::Load(self.callers(from, &column, &at));
        let store = Op::StoreBlock { to: to.last(&column, &at), reg: RegId(0), along: channel };
        let ops = vec![Op::Each(channel, vec![Op::set(RegId(0), load)]), store];
        let mut leaf = Leaf::copy("turned", Vec::new(), ops);
        leaf.lanes = self.lanes(lane, run.cut);
        leaf.tile = vec![TileAxis { axis: channel, extent: block.cut.unwrap_or(self.lanes) }];
        leaf.registers = vec![Register { name: "a".to_owned(), axes: vec![channel] }];
        Chain { loops: vec![each.clone(), channels, columns], leaf }.into_stmt()
    }

    /// A driver loop over the vectors of a run, and the first element of each.
    fn blocks(&mut self, name: &str, run: &Run) -> (Loop, Affine) {
        let axis = self.axis(name);
        let first = Affine::axis(axis).times(self.lanes).plus_constant(run.start);
        (Loop::serial(axis, run.vectors), first)
    }

    /// The output from its tiles, with what is added and the activation.
    pub(super) fn finished(
        &mut self,
        (bias, residual): (Option<BufferId>, Option<BufferId>),
        to: BufferId,
    ) -> Vec<Stmt> {
        let Sizes { out_channels, outputs, tiles, strip, output, .. } = self.sizes;
        let shape = [strip * outputs[0], tiles[1] * outputs[1], out_channels];
        let done = self.view(self.right, "done", &shape);
        let first = self.strip.times(strip * outputs[0]);
        let inside = self.axis("inside");
        let left = first.times(-1).plus_constant(output[0]);
        let each = Loop { hi: least(&[shape[0].into(), left]), ..Loop::serial(inside, 0) };
        let row = Affine::axis(inside);
        let here = |buffer| Spot { buffer, row: row.clone(), column: 0 };
        let callers = |buffer| Spot { buffer, row: row.plus(&first), column: 0 };
        let mut stmts = Vec::new();
        let added = residual.map(|residual| {
            let added = here(self.view(self.left, "added", &shape));
            let size = (output[1], out_channels);
            stmts.extend(self.turned(&each, (&callers(residual), &added), size));
            added
        });
        let ends = Ends { done: here(done), bias, added, to: callers(to) };
        for block in runs(out_channels, self.lanes) {
            let blocks = runs(output[1], self.lanes)
                .map(|columns| self.finished_block(&each, &ends, (&columns, &block)));
            stmts.extend(blocks);
        }
        stmts
    }

    fn finished_block(&mut self, each: &Loop, ends: &Ends, (run, block): (&Run, &Run)) -> Stmt {
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
        if let Some(bias) = ends.bias {
            leaf.registers.push(Register { name: "b".to_owned(), axes: Vec::new() });
            let load = Expr::Load(Access::buffer(bias, [channel.clone()]));
            leaf.finish.push(Op::set(RegId(1), load));
            value = add(value, Expr::Reg(RegId(1)));
        }
        if let Some(added) = &ends.added {
            value = add(value, Expr::Load(added.last(&at, &channel)));
        }
        if let Some(activation) = self.conv.spec().activation {
            value = Expr::Activation(activation, Box::new(value));
        }
        leaf.finish.push(Op::Each(column, vec![Op::set(RegId(0), value)]));
        let to = self.callers(&ends.to, &at, &channel);
        leaf.finish.push(match self.conv.spec().layout {
            Layout::ChannelsFirst => Op::StoreBlock { to, reg: RegId(0), along: column },
            Layout::ChannelsLast => {
                let store = Op::Store { to, value: Expr::Reg(RegId(0)), when: Vec::new() };
                Op::Each(column, vec![store])
            }
        });
        Chain { loops: vec![each.clone(), channels, columns], leaf }.into_stmt()
    }
}

/// What the output is made of, and where it goes.
struct Ends {
    done: Spot,
    bias: Option<BufferId>,
    added: Option<Spot>,
    to: Spot,
}
