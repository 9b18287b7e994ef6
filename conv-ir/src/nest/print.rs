//! The nest as text: what dumps, snapshots and `explain` show.
//!
//! In: a nest in any state. Out: the same words as the grammar in the [module](super) docs, with names for ids. Deterministic, and a function of the nest alone.
//! Loops with one statement in them share a line with it, affine expressions put what is added before what is subtracted, and conditions are shown as
//! comparisons without negative terms. A load that gives every lane the same scalar prints as `splat`. Before each leaf stands its [bill](super::bill).
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

use super::bill::Bill;
use super::{
    Access, Affine, AxisId, Base, Binary, Bound, Buffer, BufferRole, Call, Cond, Expr, Fold, Index, Leaf, Loop,
    LoopKind, Nest, Op, PointerId, Quotient, RegId, Stmt, Symbol, Unary, Var,
};
use crate::activation::Activation;
use std::fmt;

impl fmt::Display for Nest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Text {
            names: Names { nest: self, leaf: None },
            lines: String::new(),
            depth: 0,
        };
        text.nest();
        f.write_str(&text.lines)
    }
}

/// Prints parts of a nest, and of a leaf where there is one, by name.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Knows axes, symbols and buffers.
    pub nest: &'a Nest,
    /// Knows registers and pointers.
    pub leaf: Option<&'a Leaf>,
}

impl<'a> Names<'a> {
    /// The name of an axis.
    pub fn axis(&self, axis: AxisId) -> &'a str {
        self.nest.axes.get(axis.index()).map_or("?", |a| &a.name)
    }

    fn axes(&self, axes: &[AxisId]) -> String {
        axes.iter().map(|a| self.axis(*a)).collect::<Vec<_>>().join(", ")
    }

    fn var(&self, var: Var) -> &'a str {
        match var {
            Var::Axis(axis) => self.axis(axis),
            Var::Symbol(s) => self.nest.symbols.get(s.index()).map_or("?", |s| &s.name),
        }
    }

    /// `8 oc.o + oc.l + 3 - 2 oh`.
    pub fn affine(&self, a: &Affine) -> String {
        let (plus, minus) = self.sides(a);
        match (plus.as_slice(), minus.as_slice()) {
            ([], []) => "0".into(),
            ([], [first, rest @ ..]) => join(&format!("-{first}"), rest, " - "),
            ([first, rest @ ..], minus) => join(&join(first, rest, " + "), minus, " - "),
        }
    }

    /// What is added and what is subtracted, all printed as positive, the constant last.
    fn sides(&self, a: &Affine) -> (Vec<String>, Vec<String>) {
        let term = |(var, c): &(Var, i64)| match c.abs() {
            1 => (*c > 0, self.var(*var).to_owned()),
            n => (*c > 0, format!("{n} {}", self.var(*var))),
        };
        let constant = (a.constant != 0).then(|| (a.constant > 0, a.constant.abs().to_string()));
        let (plus, minus): (Vec<_>, Vec<_>) = a.terms().iter().map(term).chain(constant).partition(|(plus, _)| *plus);
        let texts = |side: Vec<(bool, String)>| side.into_iter().map(|(_, text)| text).collect();
        (texts(plus), texts(minus))
    }

    /// `(oh + 2) / 3`.
    pub fn quotient(&self, q: &Quotient) -> String {
        let numerator = self.affine(&q.numerator);
        match q.divisor {
            1 => numerator,
            d => format!("{} / {d}", parenthesised(numerator)),
        }
    }

    /// `min(3, 57 - oh)`.
    pub fn bound(&self, bound: &Bound) -> String {
        let all = |of: &[Quotient]| of.iter().map(|q| self.quotient(q)).collect::<Vec<_>>().join(", ");
        match bound {
            Bound::Max(of) | Bound::Min(of) if of.len() == 1 => self.quotient(&of[0]),
            Bound::Max(of) => format!("max({})", all(of)),
            Bound::Min(of) => format!("min({})", all(of)),
        }
    }

    /// `reflect(oh + kh - 1, 56)`.
    pub fn index(&self, index: &Index) -> String {
        match index {
            Index::Affine(a) => self.affine(a),
            Index::Quotient(q) => self.quotient(q),
            Index::Folded { index, extent, fold } => {
                format!("{}({}, {})", fold_word(*fold), self.affine(index), self.affine(extent))
            }
        }
    }

    /// `input[n, ic, oh + kh - 1, ow + kw - 1]`; a pointer is `@` and the name of its buffer.
    pub fn access(&self, access: &Access) -> String {
        let index: Vec<String> = access.index.iter().map(|i| self.index(i)).collect();
        format!("{}[{}]", self.base(access.base), index.join(", "))
    }

    fn base(&self, base: Base) -> String {
        match base {
            Base::Buffer(buffer) => self
                .nest
                .buffers
                .get(buffer.index())
                .map_or("?".into(), |b| b.name.clone()),
            Base::Pointer(pointer) => self.pointer(pointer),
        }
    }

    /// `@input`, or `@input.1` for a second pointer into the same buffer.
    fn pointer(&self, pointer: PointerId) -> String {
        let pointers = self.leaf.map_or(&[][..], |leaf| &leaf.pointers);
        let Some(buffer) = pointers.get(pointer.index()) else {
            return "@?".into();
        };
        let name = self.base(Base::Buffer(*buffer));
        match pointers[..pointer.index()].iter().filter(|b| *b == buffer).count() {
            0 => format!("@{name}"),
            earlier => format!("@{name}.{earlier}"),
        }
    }

    /// `acc[oc.i, ow.i]`.
    pub fn register(&self, reg: RegId) -> String {
        match self.leaf.and_then(|leaf| leaf.registers.get(reg.index())) {
            None => "?".into(),
            Some(r) if r.axes.is_empty() => r.name.clone(),
            Some(r) => format!("{}[{}]", r.name, self.axes(&r.axes)),
        }
    }

    /// `oh + kh >= 1`.
    pub fn cond(&self, cond: &Cond) -> String {
        match cond {
            Cond::Divides(d, a) => format!("{} % {d} == 0", parenthesised(self.affine(a))),
            Cond::NonNegative(a) => {
                let (plus, minus) = self.sides(a);
                let sum = |side: &[String]| if side.is_empty() { "0".into() } else { side.join(" + ") };
                format!("{} >= {}", sum(&plus), sum(&minus))
            }
        }
    }

    fn conds(&self, when: &[Cond]) -> String {
        when.iter().map(|c| self.cond(c)).collect::<Vec<_>>().join(" and ")
    }

    fn when(&self, when: &[Cond]) -> String {
        if when.is_empty() {
            String::new()
        } else {
            format!(" when {}", self.conds(when))
        }
    }

    /// The expression, in words and infix operators.
    pub fn expr(&self, expr: &Expr) -> String {
        match expr {
            Expr::Const(c) => c.to_string(),
            Expr::Reg(reg) => self.register(*reg),
            Expr::Load(access) => format!("{} {}", self.load_word(access), self.access(access)),
            Expr::Select { when, then, otherwise } => {
                format!(
                    "(if {} then {} else {})",
                    self.conds(when),
                    self.expr(then),
                    self.expr(otherwise)
                )
            }
            Expr::Unary(op, a) => call(unary_word(*op), &[self.expr(a)]),
            Expr::Binary(op, a, b) => self.binary(*op, self.expr(a), self.expr(b)),
            Expr::Fma(a, b, c) => call("fma", &[self.expr(a), self.expr(b), self.expr(c)]),
            Expr::Choose { a, b, then, otherwise } => {
                let [a, b, then, otherwise] = [a, b, then, otherwise].map(|e| self.expr(e));
                format!("({a} < {b} ? {then} : {otherwise})")
            }
            Expr::Activation(which, a) => activation(*which, self.expr(a)),
        }
    }

    fn load_word(&self, access: &Access) -> &'static str {
        match self.leaf.and_then(|leaf| leaf.lanes) {
            Some(lanes) if lanes.width > 1 && !super::bill::follows(access, lanes.axis) => "splat",
            _ => "load",
        }
    }

    fn binary(&self, op: Binary, a: String, b: String) -> String {
        match op {
            Binary::Add => format!("({a} + {b})"),
            Binary::Sub => format!("({a} - {b})"),
            Binary::Mul => format!("({a} * {b})"),
            Binary::Div => format!("({a} / {b})"),
            Binary::Min => call("min", &[a, b]),
            Binary::Max => call("max", &[a, b]),
            Binary::CopySign => call("copysign", &[a, b]),
        }
    }

    /// `ic in 0..64 unrolled`.
    pub fn range(&self, l: &Loop) -> String {
        let kind = match l.kind {
            LoopKind::Serial => "",
            LoopKind::Parallel => " parallel",
            LoopKind::Unrolled => " unrolled",
        };
        let side = |bound: &Bound| match bound.quotients() {
            [_] => parenthesised(self.bound(bound)),
            _ => self.bound(bound),
        };
        format!("{} in {}..{}{kind}", self.axis(l.axis), side(&l.lo), side(&l.hi))
    }

    fn ranges(&self, loops: &[&Loop]) -> String {
        loops.iter().map(|l| self.range(l)).collect::<Vec<_>>().join(", ")
    }
}

fn join(first: &str, rest: &[String], with: &str) -> String {
    rest.iter().fold(first.to_owned(), |text, part| text + with + part)
}

fn parenthesised(text: String) -> String {
    if text.contains(' ') { format!("({text})") } else { text }
}

fn call(word: &str, arguments: &[String]) -> String {
    format!("{word}({})", arguments.join(", "))
}

fn fold_word(fold: Fold) -> &'static str {
    match fold {
        Fold::Reflect => "reflect",
        Fold::Symmetric => "symmetric",
        Fold::Replicate => "replicate",
        Fold::Circular => "circular",
    }
}

fn unary_word(op: Unary) -> &'static str {
    match op {
        Unary::Neg => "neg",
        Unary::Abs => "abs",
        Unary::Round => "round",
        Unary::Exp2Int => "exp2int",
    }
}

fn role_word(role: BufferRole) -> &'static str {
    match role {
        BufferRole::Input => "input",
        BufferRole::Weight => "weight",
        BufferRole::Bias => "bias",
        BufferRole::Residual => "residual",
        BufferRole::Output => "output",
        BufferRole::Packed => "packed",
        BufferRole::Scratch => "scratch",
    }
}

fn activation(which: Activation, x: String) -> String {
    match which {
        Activation::Relu => call("relu", &[x]),
        Activation::Relu6 => call("relu6", &[x]),
        Activation::LeakyRelu(slope) => call("leaky_relu", &[x, slope.to_string()]),
        Activation::Clamp(lo, hi) => call("clamp", &[x, lo.to_string(), hi.to_string()]),
        Activation::Sigmoid => call("sigmoid", &[x]),
        Activation::Tanh => call("tanh", &[x]),
        Activation::Silu => call("silu", &[x]),
        Activation::Gelu => call("gelu", &[x]),
        Activation::HardSwish => call("hardswish", &[x]),
        Activation::HardSigmoid => call("hardsigmoid", &[x]),
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
        let accumulated = if nest.accumulator == nest.dtype {
            String::new()
        } else {
            format!(" in {}", nest.accumulator)
        };
        self.line(format!("nest {}{accumulated}", nest.dtype));
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
        let role = role_word(buffer.role);
        self.line(format!(
            "buffer {}: {role} {}[{}]",
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
        let name = self
            .names
            .nest
            .leaves
            .get(call.leaf.index())
            .map_or("?", |leaf| &leaf.name);
        let pointers: Vec<String> = call.pointers.iter().map(|p| self.names.access(p)).collect();
        let ints: Vec<String> = call.ints.iter().map(|i| self.names.bound(i)).collect();
        let ints = if ints.is_empty() {
            String::new()
        } else {
            format!("; {}", ints.join(", "))
        };
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
        let pointers: Vec<String> = (0..leaf.pointers.len() as u32)
            .map(|p| self.names.pointer(PointerId(p)))
            .collect();
        let ints = if leaf.ints.is_empty() {
            String::new()
        } else {
            format!("; {}", self.names.axes(&leaf.ints))
        };
        let outlined = !(pointers.is_empty() && leaf.ints.is_empty());
        let parameters = if outlined {
            format!("({}{ints})", pointers.join(", "))
        } else {
            String::new()
        };
        let tile: Vec<String> = leaf
            .tile
            .iter()
            .map(|t| format!("{} {}", self.names.axis(t.axis), t.extent))
            .collect();
        let tile = (!tile.is_empty()).then(|| format!("tile {}", tile.join(", ")));
        let shape: Vec<String> = tile.into_iter().chain(self.lanes(leaf)).collect();
        let colon = if shape.is_empty() { ":" } else { ": " };
        format!("{}{parameters}{colon}{}", leaf.name, shape.join(", "))
    }

    fn lanes(&self, leaf: &Leaf) -> Option<String> {
        let lanes = leaf.lanes?;
        let vectors = lanes
            .vectors
            .map_or(String::new(), |v| format!(" of {}", self.names.axis(v)));
        let cut = lanes.cut.map_or(String::new(), |cut| format!(" cut {cut}"));
        Some(format!(
            "lanes {} {}{vectors}{cut}",
            self.names.axis(lanes.axis),
            lanes.width
        ))
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
