//! The nest as text: what dumps, snapshots and `explain` show.
//!
//! In: a nest in any state. Out: the same words as the grammar in the [module](super) docs, with
//! names for ids. Deterministic, and a function of the nest alone. Loops with one statement in them
//! share a line with it, affine expressions put what is added before what is subtracted, and
//! conditions are shown as comparisons without negative terms. A load that gives every lane the
//! same scalar prints as `splat`. Before each leaf stands its [bill](super::bill).
//!
//! ```text
//! body:
//!   for n in 0..1, oc.o in 0..8 parallel:
//!     ; tile 2, lanes 4: ...
//!     leaf row: tile oc.i 2, lanes oc.l 4
//!       each oc.i: acc[oc.i] = load bias[8 oc.o + 4 oc.i + oc.l]
//!       for ic in 0..64, kw in 0..3 unrolled:
//!         ...
//! ```
//!
//! The text is not parsed back. [`Names`] prints the parts, for messages.

mod names;

pub use names::Names;

use super::bill::Bill;
use super::{Buffer, Call, Leaf, Loop, Nest, Op, PointerId, Stmt, Symbol};
use std::fmt;

impl fmt::Display for Nest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text =
            Text { names: Names { nest: self, leaf: None }, lines: String::new(), depth: 0 };
        text.nest();
        f.write_str(&text.lines)
    }
}

/// Writes lines.
struct Text<'a> {
    names: Names<'a>,
    lines: String,
    depth: usize,
}

impl<'a> Text<'a> {
    fn line(&mut self, line: impl AsRef<str>) {
        let indent = "  ".repeat(self.depth);
        self.lines += &format!("{indent}{}\n", line.as_ref());
    }

    fn inside(&mut self, body: impl FnOnce(&mut Self)) {
        self.depth += 1;
        body(self);
        self.depth -= 1;
    }

    fn nest(&mut self) {
        let nest = self.names.nest;
        self.line(format!("nest {}", nest.dtype));
        nest.symbols.iter().for_each(|symbol| self.symbol(symbol));
        nest.buffers.iter().for_each(|buffer| self.buffer(buffer));
        nest.leaves.iter().for_each(|leaf| self.leaf(leaf));
        self.section("setup:", &nest.setup);
        self.section("body:", &nest.body);
    }

    fn symbol(&mut self, symbol: &Symbol) {
        match &symbol.value {
            None => self.line(format!("size {}", symbol.name)),
            Some(value) => self.line(format!("size {} = {}", symbol.name, self.names.bound(value))),
        }
    }

    fn buffer(&mut self, buffer: &Buffer) {
        let extents: Vec<String> = buffer.extents.iter().map(|e| self.names.affine(e)).collect();
        let role = names::role_word(buffer.role);
        let values = buffer.values.as_ref().map_or(String::new(), |values| known(values));
        let of = buffer
            .view_of
            .map_or(String::new(), |of| format!(" views {}", self.names.nest.buffer(of).name));
        self.line(format!(
            "buffer {}: {role} {}[{}]{values}{of}",
            buffer.name,
            buffer.dtype,
            extents.join(", ")
        ));
    }

    fn section(&mut self, title: &str, stmts: &'a [Stmt]) {
        if !stmts.is_empty() {
            self.line(title);
            self.inside(|text| text.stmts(stmts));
        }
    }

    fn stmts(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => self.for_loops(l, body),
                Stmt::Leaf(leaf) => self.leaf(leaf),
                Stmt::Call(call) => self.call(call),
            }
        }
    }

    fn for_loops(&mut self, l: &'a Loop, mut body: &'a [Stmt]) {
        let mut loops = vec![l];
        while let [Stmt::For(inner, rest)] = body {
            loops.push(inner);
            body = rest;
        }
        self.line(format!("for {}:", self.names.ranges(&loops)));
        self.inside(|text| text.stmts(body));
    }

    fn call(&mut self, call: &Call) {
        let name = self.names.nest.leaves.get(call.leaf.index()).map_or("?", |leaf| &leaf.name);
        let pointers: Vec<String> = call.pointers.iter().map(|p| self.names.access(p)).collect();
        let ints: Vec<String> = call.ints.iter().map(|i| self.names.bound(i)).collect();
        let ints = if ints.is_empty() { String::new() } else { format!("; {}", ints.join(", ")) };
        self.line(format!("call {name}({}{ints})", pointers.join(", ")));
    }

    fn leaf(&mut self, leaf: &'a Leaf) {
        let outer = self.names;
        self.names.leaf = Some(leaf);
        self.line(format!("; {}", Bill::of(leaf)));
        self.line(format!("leaf {}", self.header(leaf)));
        self.inside(|text| {
            text.ops(&leaf.init);
            text.reduction(leaf);
            text.ops(&leaf.finish);
        });
        self.names = outer;
    }

    /// `row(@input, @output; kh.lo): tile ow.i 5, oc.i 2, lanes oc.l 4`.
    fn header(&self, leaf: &Leaf) -> String {
        let pointers: Vec<String> =
            (0..leaf.pointers.len() as u32).map(|p| self.names.pointer(PointerId(p))).collect();
        let ints = if leaf.ints.is_empty() {
            String::new()
        } else {
            format!("; {}", self.names.axes(&leaf.ints))
        };
        let outlined = !(pointers.is_empty() && leaf.ints.is_empty());
        let parameters =
            if outlined { format!("({}{ints})", pointers.join(", ")) } else { String::new() };
        let tile: Vec<String> =
            leaf.tile.iter().map(|t| format!("{} {}", self.names.axis(t.axis), t.extent)).collect();
        let tile = (!tile.is_empty()).then(|| format!("tile {}", tile.join(", ")));
        let shape: Vec<String> = tile.into_iter().chain(self.lanes(leaf)).collect();
        let colon = if shape.is_empty() { ":" } else { ": " };
        format!("{}{parameters}{colon}{}", leaf.name, shape.join(", "))
    }

    fn lanes(&self, leaf: &Leaf) -> Option<String> {
        let lanes = leaf.lanes?;
        let vectors =
            lanes.vectors.map_or(String::new(), |v| format!(" of {}", self.names.axis(v)));
        let cut = lanes.cut.map_or(String::new(), |cut| format!(" cut {cut}"));
        Some(format!("lanes {} {}{vectors}{cut}", self.names.axis(lanes.axis), lanes.width))
    }

    fn reduction(&mut self, leaf: &'a Leaf) {
        if leaf.reduce.is_empty() {
            return self.ops(&leaf.update);
        }
        let loops: Vec<&Loop> = leaf.reduce.iter().collect();
        self.line(format!("for {}:", self.names.ranges(&loops)));
        self.inside(|text| text.ops(&leaf.update));
    }

    fn ops(&mut self, ops: &'a [Op]) {
        ops.iter().for_each(|op| self.op(op));
    }

    fn op(&mut self, op: &'a Op) {
        let (mut axes, mut inner) = (Vec::new(), op);
        while let Op::Each(axis, body) = inner {
            axes.push(*axis);
            match body.as_slice() {
                [one] => inner = one,
                body => {
                    self.line(format!("each {}:", self.names.axes(&axes)));
                    return self.inside(|text| text.ops(body));
                }
            }
        }
        let each = if axes.is_empty() {
            String::new()
        } else {
            format!("each {}: ", self.names.axes(&axes))
        };
        self.line(each + &self.plain_op(inner));
    }

    fn plain_op(&self, op: &Op) -> String {
        let names = &self.names;
        match op {
            Op::Each(..) => String::new(),
            Op::Set { reg, value, when } => {
                format!("{} = {}{}", names.register(*reg), names.expr(value), names.when(when))
            }
            Op::Store { to, value, when } => {
                format!("store {} = {}{}", names.access(to), names.expr(value), names.when(when))
            }
            Op::StoreBlock { to, reg, along } => {
                format!(
                    "store block {} = {}, lanes x {}",
                    names.access(to),
                    names.register(*reg),
                    names.axis(*along)
                )
            }
        }
    }
}

/// Known numbers: a window's in full, the first few of more.
fn known(values: &[f64]) -> String {
    const SHOWN: usize = 27;
    if values.is_empty() {
        return String::new();
    }
    let numbers: Vec<String> = values.iter().take(SHOWN).map(f64::to_string).collect();
    let more = match values.len() {
        len if len > SHOWN => format!(" ... ({len} numbers)"),
        _ => String::new(),
    };
    format!(" = {}{more}", numbers.join(" "))
}

#[cfg(test)]
mod tests;
