//! Parts of a nest as text: axes, affine expressions, accesses, conditions, expressions.

use crate::activation::Activation;
use crate::nest::{
    Access, Affine, AxisId, Base, Binary, Bound, BufferRole, Cond, Expr, Fold, Index, Leaf, Loop,
    LoopKind, Nest, PointerId, Quotient, RegId, Unary, Var,
};

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

    pub(super) fn axes(&self, axes: &[AxisId]) -> String {
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
        let (plus, minus): (Vec<_>, Vec<_>) =
            a.terms().iter().map(term).chain(constant).partition(|(plus, _)| *plus);
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
        let all =
            |of: &[Quotient]| of.iter().map(|q| self.quotient(q)).collect::<Vec<_>>().join(", ");
        match bound {
            Bound::Max(of) | Bound::Min(of) if of.len() == 1 => self.quotient(&of[0]),
            Bound::Max(of) => format!("max({})", all(of)),
            Bound::Min(of) => format!("min({})", all(of)),
        }
    }

    /// `reflect(oh + kh - 1, 56)`; `reflect(ow + 3 kw - 3, 168 by 3)` where pixels fold.
    pub fn index(&self, index: &Index) -> String {
        match index {
            Index::Affine(a) => self.affine(a),
            Index::Quotient(q) => self.quotient(q),
            Index::Folded { index, extent, fold, pixel } => {
                let (word, index, extent) =
                    (fold_word(*fold), self.affine(index), self.affine(extent));
                match pixel {
                    1 => format!("{word}({index}, {extent})"),
                    by => format!("{word}({index}, {extent} by {by})"),
                }
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
            Base::Buffer(buffer) => {
                self.nest.buffers.get(buffer.index()).map_or("?".into(), |b| b.name.clone())
            }
            Base::Pointer(pointer) => self.pointer(pointer),
        }
    }

    /// `@input`, or `@input.1` for a second pointer into the same buffer.
    pub(super) fn pointer(&self, pointer: PointerId) -> String {
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
                let sum =
                    |side: &[String]| if side.is_empty() { "0".into() } else { side.join(" + ") };
                format!("{} >= {}", sum(&plus), sum(&minus))
            }
        }
    }

    fn conds(&self, when: &[Cond]) -> String {
        when.iter().map(|c| self.cond(c)).collect::<Vec<_>>().join(" and ")
    }

    pub(super) fn when(&self, when: &[Cond]) -> String {
        if when.is_empty() { String::new() } else { format!(" when {}", self.conds(when)) }
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
            Expr::Activation(which, a) => activation(which, self.expr(a)),
        }
    }

    fn load_word(&self, access: &Access) -> &'static str {
        match self.leaf.and_then(|leaf| leaf.lanes) {
            Some(lanes) if lanes.width > 1 && !access.follows(lanes.axis) => "splat",
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
            Binary::Prelu => call("prelu", &[a, b]),
            Binary::Scale => call("scale", &[a, b]),
            Binary::MulHigh => call("mul_high", &[a, b]),
            Binary::ShiftRound => call("shift_round", &[a, b]),
            Binary::MulFloor => call("mul_floor", &[a, b]),
            Binary::ShiftUp => call("shift_up", &[a, b]),
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

    pub(super) fn ranges(&self, loops: &[&Loop]) -> String {
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
        Unary::To(dtype) => dtype.format().name,
    }
}

pub(super) fn role_word(role: BufferRole) -> &'static str {
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

fn activation(which: &Activation, x: String) -> String {
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
        Activation::Elu(alpha) => call("elu", &[x, alpha.to_string()]),
        Activation::Softplus => call("softplus", &[x]),
        Activation::Mish => call("mish", &[x]),
        // Lowering makes it an operation of two operands.
        Activation::Prelu(_) => call("prelu", &[x]),
    }
}
