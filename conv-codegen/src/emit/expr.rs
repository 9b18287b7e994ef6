//! Expressions of a leaf: vectors and calls of lane functions in a leaf with lanes, plain operators
//! in a scalar one.

use conv_ir::nest::{
    Access, AxisId, Binary, BufferRole, Cond, Expr, Lanes, Leaf, Reach, RegId, Unary, Var,
};
use conv_ir::{DType, Isa};
use proc_macro2::TokenStream;
use quote::quote;

use super::emission::Emission;
use super::lanes::{LaneFn, type_name};
use super::range::Range;
use super::scope::{Address, Scope, Truth};
use super::sum::Sum;
use super::{Unsupported, tokens};

/// A register's declaration: its name, and the tile axes that index it there (those it shares with
/// the surrounding loops are gone).
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub name: String,
    pub axes: Vec<AxisId>,
}

/// What the text of one leaf needs to know.
pub(super) struct LeafText<'s, 'a> {
    pub leaf: &'a Leaf,
    pub scope: &'s mut Scope<'a>,
    pub emission: &'s mut Emission,
    /// By register.
    pub registers: Vec<Declared>,
    /// What the leaf asserted of its reach, so that an access needs no test of its own.
    pub asserted: super::reach::Asserted,
}

/// An expression, and whether it can be an operand without parentheses.
struct Text {
    tokens: TokenStream,
    atomic: bool,
}

fn atom(tokens: TokenStream) -> Text {
    Text { tokens, atomic: true }
}

impl Text {
    fn operand(self) -> TokenStream {
        let tokens = self.tokens;
        if self.atomic { tokens } else { quote!((#tokens)) }
    }
}

impl LeafText<'_, '_> {
    /// The lanes, where values are vectors.
    pub fn lanes(&self) -> Option<Lanes> {
        self.leaf.lanes.filter(|lanes| lanes.width > 1 || lanes.cut.is_some())
    }

    pub fn call_tokens(&mut self, function: LaneFn, arguments: &[TokenStream]) -> TokenStream {
        self.call_of(function, None, arguments)
    }

    /// A function that reads or writes a buffer.
    pub fn memory_tokens(
        &mut self,
        function: LaneFn,
        buffer: usize,
        arguments: &[TokenStream],
    ) -> TokenStream {
        self.call_of(function, self.stored(buffer), arguments)
    }

    fn call_of(
        &mut self,
        function: LaneFn,
        stored: Option<DType>,
        arguments: &[TokenStream],
    ) -> TokenStream {
        let width = self.lanes().map_or(0, |lanes| lanes.width);
        self.emission.call_of(width, function, stored);
        let name = function.ident(stored);
        quote!(#name(#(#arguments),*))
    }

    /// The type of a buffer's elements, where sums are computed in another.
    pub fn stored(&self, buffer: usize) -> Option<DType> {
        self.emission.stored(self.scope.nest.buffers[buffer].dtype)
    }

    /// A number brought from the type that it is stored in to that of the sums, or back.
    pub fn converted(
        &mut self,
        function: LaneFn,
        stored: DType,
        number: TokenStream,
    ) -> TokenStream {
        self.call_of(function, Some(stored), &[number])
    }

    fn memory(&mut self, function: LaneFn, buffer: usize, arguments: &[TokenStream]) -> Text {
        atom(self.memory_tokens(function, buffer, arguments))
    }

    fn call(&mut self, function: LaneFn, arguments: &[TokenStream]) -> Text {
        atom(self.call_tokens(function, arguments))
    }

    fn lane_axis(&self) -> Option<AxisId> {
        self.leaf.lanes.map(|lanes| lanes.axis)
    }

    pub fn address(&mut self, access: &Access) -> Address {
        let address = self.scope.address(Some(self.leaf), access, self.lane_axis());
        let called: Vec<LaneFn> = self.scope.called.drain(..).collect();
        called.into_iter().for_each(|f| self.emission.call(0, f));
        address
    }

    /// A buffer as an argument of a lane function.
    pub fn buffer(&self, buffer: usize) -> TokenStream {
        tokens(&self.scope.buffers[buffer])
    }

    /// The buffer and the offset as arguments: an access that the leaf has not asserted goes
    /// through a slice of what it may touch.
    pub fn place(
        &self,
        access: &Access,
        buffer: usize,
        at: &Sum,
        span: &str,
        mutable: bool,
    ) -> [TokenStream; 2] {
        let whole = self.buffer(buffer);
        let offset = tokens(&at.usize_text());
        if self.emission.isa == Isa::Portable || self.asserted.holds(access) {
            return [whole, offset];
        }
        let (name, span) = (tokens(&self.scope.buffers[buffer]), tokens(span));
        let reference = if mutable { quote!(&mut) } else { quote!(&) };
        [quote!(#reference #name[#offset..#offset + #span]), quote!(0)]
    }

    /// How many lanes live, as text; `None` where all do.
    pub fn live(&self) -> Option<String> {
        let lanes = self.lanes()?;
        let cut = lanes.cut?;
        let count = lanes.vectors.map_or(1, |axis| self.leaf.extent(axis));
        match lanes.vectors {
            _ if cut >= count * lanes.width => None,
            None => Some(cut.to_string()),
            Some(axis) => {
                let vector = self.scope.var(Var::Axis(axis));
                let mut live = Sum::constant(cut);
                live.add(&vector, -lanes.width);
                match live.as_constant() {
                    Some(live) => Some(live.max(0).to_string()),
                    None => live.saturating_text(),
                }
            }
        }
    }

    /// The lanes that live, or all.
    pub fn live_or_all(&self) -> String {
        let width = self.lanes().map_or(1, |lanes| lanes.width);
        self.live().unwrap_or_else(|| width.to_string())
    }

    /// A register at the current point of the tile.
    pub fn register(&self, reg: RegId) -> TokenStream {
        let Declared { name, axes } = &self.registers[reg.index()];
        let name = tokens(name);
        let points = axes.iter().map(|&axis| {
            let point = self.scope.factor(Var::Axis(axis)).map_or("0", |f| f.text.as_str());
            tokens(point)
        });
        quote!(#name #([#points])*)
    }

    pub fn expr(&mut self, e: &Expr) -> Result<TokenStream, Unsupported> {
        self.text(e).map(|text| text.tokens)
    }

    fn text(&mut self, e: &Expr) -> Result<Text, Unsupported> {
        Ok(match e {
            Expr::Const(value) => atom(self.everywhere(constant(*value, self.emission.dtype))),
            Expr::Reg(reg) => atom(self.register(*reg)),
            Expr::Load(access) => self.load(access),
            Expr::Select { when, then, otherwise } => self.select(e, when, then, otherwise)?,
            Expr::Unary(op, a) => self.unary(*op, a)?,
            Expr::Binary(op, a, b) => self.binary(*op, a, b)?,
            Expr::Fma(a, b, c) => {
                let operands = [self.expr(a)?, self.expr(b)?, self.expr(c)?];
                match self.lanes() {
                    Some(_) => self.call(LaneFn::Fma, &operands),
                    None => self.call(LaneFn::FmaScalar, &operands),
                }
            }
            Expr::Choose { a, b, then, otherwise } => self.choose([a, b, then, otherwise])?,
            Expr::Activation(..) => return Err(unspelled()),
        })
    }

    /// A scalar in every lane.
    pub fn everywhere(&mut self, scalar: TokenStream) -> TokenStream {
        match self.lanes() {
            Some(_) => self.call_tokens(LaneFn::Every, &[scalar]),
            None => scalar,
        }
    }

    /// `f32::name(operands)`, for scalar leaves.
    fn method(&self, name: &str, operands: &[TokenStream]) -> Text {
        let (t, name) = (type_name(self.emission.dtype), tokens(name));
        atom(quote!(#t::#name(#(#operands),*)))
    }

    fn load(&mut self, access: &Access) -> Text {
        let Address { buffer, at, step } = self.address(access);
        let Some(lanes) = self.lanes() else {
            let (name, at) = (tokens(&self.scope.buffers[buffer]), tokens(&at.usize_text()));
            let is_weight = self.scope.nest.buffers[buffer].role == BufferRole::Weight;
            return atom(match self.stored(buffer) {
                _ if is_weight && self.scope.transforms => quote!(transformed(#name, #at)),
                None => quote!(#name[#at]),
                Some(dtype) => self.converted(LaneFn::Widen, dtype, quote!(#name[#at])),
            });
        };
        let width = lanes.width;
        match self.scope.nest.reach(self.leaf, access) {
            Reach::Splat => {
                let place = self.place(access, buffer, &at, "1", false);
                self.memory(LaneFn::Splat, buffer, &place)
            }
            Reach::Row | Reach::Pairs if self.live().is_some() => {
                self.load_between(access, &[], 0.0)
            }
            Reach::Row => {
                let place = self.place(access, buffer, &at, &width.to_string(), false);
                self.memory(LaneFn::Load, buffer, &place)
            }
            Reach::Pairs => {
                let place = self.place(access, buffer, &at, &(2 * width - 1).to_string(), false);
                self.memory(LaneFn::LoadPairs, buffer, &place)
            }
            Reach::Apart(_) => {
                let step = step.unwrap_or_default().isize_text();
                let (live, step) = (tokens(&self.live_or_all()), tokens(&step));
                let (from, at) = (self.buffer(buffer), tokens(&at.usize_text()));
                self.memory(LaneFn::Gather, buffer, &[from, at, step, live])
            }
        }
    }

    /// A load whose conditions may differ from lane to lane; their lanes are an interval, and the
    /// others hold `fill`. Steps of 1 or 2.
    fn load_between(&mut self, access: &Access, when: &[Cond], fill: f64) -> Text {
        let Address { buffer, at, .. } = self.address(access);
        let width = self.lanes().map_or(1, |lanes| lanes.width);
        let (mut first, mut end) = (Vec::new(), Vec::new());
        end.extend(self.live().map(|live| match live.parse::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) => format!("{live} as isize"),
        }));
        for cond in when {
            let lane = self.lane_axis().map_or(0, |axis| cond.expression().of_axis(axis));
            let rest = self.scope.affine(cond.expression());
            let floor = |sum: &Sum, by: i64| match (sum.as_constant(), by) {
                (Some(value), _) => format!("{}", value.div_euclid(by)),
                (None, 1) => sum.isize_text(),
                (None, _) => format!("{}.div_euclid({by})", sum.isize_atom()),
            };
            match lane > 0 {
                true if lane == 1 => {
                    let mut from = Sum::default();
                    from.add(&rest, -1);
                    first.push(from.isize_text());
                }
                true => first.push(format!("-({})", floor(&rest, lane))),
                false => end.push(format!("{} + 1", floor(&rest, -lane))),
            }
        }
        let one = |all: Vec<String>, pick: &str, otherwise: String| {
            let one = all.into_iter().reduce(|a, b| format!("isize::{pick}({a}, {b})"));
            tokens(&one.unwrap_or(otherwise))
        };
        let (first, end) = (one(first, "max", "0".to_owned()), one(end, "min", width.to_string()));
        let function = match self.scope.nest.reach(self.leaf, access) {
            Reach::Pairs => LaneFn::LoadPairsBetween,
            Reach::Splat | Reach::Row | Reach::Apart(_) => LaneFn::LoadBetween,
        };
        let (from, at) = (self.buffer(buffer), tokens(&at.isize_text()));
        let loaded = self.memory(function, buffer, &[from, at, first.clone(), end.clone()]);
        if fill == 0.0 {
            return loaded;
        }
        let fill = constant(fill, self.emission.dtype);
        self.call(LaneFn::Between, &[loaded.tokens, first, end, fill])
    }

    /// A choice by conditions on loops, or a masked load.
    fn select(
        &mut self,
        e: &Expr,
        when: &[Cond],
        then: &Expr,
        otherwise: &Expr,
    ) -> Result<Text, Unsupported> {
        let lane = self.lane_axis().filter(|_| self.lanes().is_some());
        let (by_lane, by_loop): (Vec<&Cond>, Vec<&Cond>) = when
            .iter()
            .partition(|cond| lane.is_some_and(|lane| cond.expression().of_axis(lane) != 0));
        let by_loop: Vec<Cond> = by_loop.into_iter().cloned().collect();
        let tested: Vec<Cond> =
            by_lane.into_iter().filter(|cond| !self.holds_in_every_lane(cond)).cloned().collect();
        let taken = match (then, tested.as_slice()) {
            (_, []) => self.text(then)?,
            (Expr::Load(access), _) if e.is_masked_load() => {
                let Expr::Const(fill) = *otherwise else {
                    unreachable!("a masked load has a fill")
                };
                let reach = self.scope.nest.reach(self.leaf, access);
                if !matches!(reach, Reach::Row | Reach::Pairs) {
                    return Err(Unsupported(
                        "a masked load of elements that are further apart than two".to_owned(),
                    ));
                }
                self.load_between(access, &tested, fill)
            }
            _ => return Err(Unsupported("a condition that depends on the lane".to_owned())),
        };
        match self.scope.conds(&by_loop) {
            Truth::Always => Ok(taken),
            Truth::Never => self.text(otherwise),
            Truth::If(test) => {
                let (test, then, otherwise) = (tokens(&test), taken.tokens, self.expr(otherwise)?);
                Ok(Text { tokens: quote!(if #test { #then } else { #otherwise }), atomic: false })
            }
        }
    }

    fn holds_in_every_lane(&mut self, cond: &Cond) -> bool {
        let Some(lanes) = self.lanes() else { return false };
        let mark = self.scope.open();
        self.scope.bind_axis(lanes.axis, Range::below(lanes.width));
        let truth = self.scope.conds(std::slice::from_ref(cond));
        self.scope.close(mark);
        matches!(truth, Truth::Always)
    }

    fn unary(&mut self, op: Unary, a: &Expr) -> Result<Text, Unsupported> {
        let value = self.text(a)?;
        let vector = match op {
            Unary::Neg => LaneFn::Neg,
            Unary::Abs => LaneFn::Abs,
            Unary::Round => LaneFn::Round,
            Unary::Exp2Int => LaneFn::Exp2,
            Unary::To(_) => LaneFn::To,
        };
        let is_integer = self.emission.dtype.is_integer();
        Ok(match (self.lanes(), op) {
            (Some(_), Unary::To(dtype)) => atom(self.converted(LaneFn::To, dtype, value.tokens)),
            (None, Unary::To(dtype)) => atom(self.converted(LaneFn::ToScalar, dtype, value.tokens)),
            (Some(_), _) => self.call(vector, &[value.tokens]),
            (None, Unary::Exp2Int) => self.call(LaneFn::Exp2Scalar, &[value.tokens]),
            (None, Unary::Round) => self.call(LaneFn::RoundScalar, &[value.tokens]),
            (None, Unary::Neg | Unary::Abs) if is_integer => {
                let name = if op == Unary::Neg { "wrapping_neg" } else { "wrapping_abs" };
                self.method(name, &[value.tokens])
            }
            (None, Unary::Neg) => {
                let value = value.operand();
                Text { tokens: quote!(-#value), atomic: false }
            }
            (None, Unary::Abs) => self.method("abs", &[value.tokens]),
        })
    }

    fn binary(&mut self, op: Binary, a: &Expr, b: &Expr) -> Result<Text, Unsupported> {
        let (a, b) = (self.text(a)?, self.text(b)?);
        let (vector, scalar) = match op {
            Binary::Add => (LaneFn::Add, quote!(+)),
            Binary::Sub => (LaneFn::Sub, quote!(-)),
            Binary::Mul => (LaneFn::Mul, quote!(*)),
            Binary::Div => (LaneFn::Div, quote!(/)),
            Binary::Min => (LaneFn::Min, quote!()),
            Binary::Max => (LaneFn::Max, quote!()),
            Binary::CopySign => (LaneFn::CopySign, quote!()),
            Binary::Scale => (LaneFn::Scale, quote!()),
            Binary::MulHigh => (LaneFn::MulHigh, quote!()),
            Binary::ShiftRound => (LaneFn::ShiftRound, quote!()),
            Binary::MulFloor => (LaneFn::MulFloor, quote!()),
            Binary::ShiftUp => (LaneFn::ShiftUp, quote!()),
            Binary::Prelu => return Err(unspelled()),
        };
        Ok(match (self.lanes(), op) {
            (Some(_), _) | (None, Binary::Prelu) => self.call(vector, &[a.tokens, b.tokens]),
            (None, Binary::Min) => self.call(LaneFn::MinScalar, &[a.tokens, b.tokens]),
            (None, Binary::Max) => self.call(LaneFn::MaxScalar, &[a.tokens, b.tokens]),
            (None, Binary::Scale) => self.call(LaneFn::ScaleScalar, &[a.tokens, b.tokens]),
            (None, Binary::MulHigh) => self.call(LaneFn::MulHighScalar, &[a.tokens, b.tokens]),
            (None, Binary::ShiftRound) => {
                self.call(LaneFn::ShiftRoundScalar, &[a.tokens, b.tokens])
            }
            (None, Binary::MulFloor) => self.call(LaneFn::MulFloorScalar, &[a.tokens, b.tokens]),
            (None, Binary::ShiftUp) => self.call(LaneFn::ShiftUpScalar, &[a.tokens, b.tokens]),
            (None, Binary::CopySign) => self.method("copysign", &[a.tokens, b.tokens]),
            (None, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
                if self.emission.dtype.is_integer() =>
            {
                self.method(&format!("wrapping_{}", vector.name()), &[a.tokens, b.tokens])
            }
            (None, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div) => {
                let (a, b) = (a.operand(), b.operand());
                Text { tokens: quote!(#a #scalar #b), atomic: false }
            }
        })
    }

    fn choose(&mut self, [a, b, then, otherwise]: [&Expr; 4]) -> Result<Text, Unsupported> {
        let (a, b, then, otherwise) =
            (self.text(a)?, self.text(b)?, self.expr(then)?, self.expr(otherwise)?);
        if self.lanes().is_some() {
            return Ok(self.call(LaneFn::Choose, &[a.tokens, b.tokens, then, otherwise]));
        }
        let (a, b) = (a.operand(), b.operand());
        Ok(Text { tokens: quote!(if #a < #b { #then } else { #otherwise }), atomic: false })
    }
}

fn unspelled() -> Unsupported {
    Unsupported("an activation that pass `epilogue` has not spelled out".to_owned())
}

/// The nearest value of the type, as a literal that reads back exactly.
pub(crate) fn constant(value: f64, dtype: DType) -> TokenStream {
    match dtype.round(value).is_finite() {
        true => tokens(&dtype.digits(value)),
        false if value.is_nan() => tokens(&format!("{dtype}::NAN")),
        false if value > 0.0 => tokens(&format!("{dtype}::INFINITY")),
        false => tokens(&format!("{dtype}::NEG_INFINITY")),
    }
}
