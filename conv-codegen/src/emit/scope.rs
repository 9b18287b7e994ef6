//! Names in scope: which Rust variable an axis, a run-time size or a pointer is at this place, its
//! type and its range.
//!
//! Every name is unique against everything visible, so that nothing is shadowed by accident. Here
//! also live the two translations that need nothing but names: index expressions to [`Sum`]s, and
//! loop bounds to text.

use conv_ir::nest::{
    Access, Affine, AxisId, Base, Bound, Cond, Index, Leaf, PointerId, Quotient, SymbolId, Var,
};
use conv_ir::{DType, Nest};

use super::lanes::LaneFn;
use super::range::Range;
use super::sum::{Factor, Sum};

/// Where an access points.
pub(super) struct Address {
    /// Position in the nest's buffer table.
    pub buffer: usize,
    /// Offset of the element, or of the first lane's.
    pub at: Sum,
    /// How far apart the lanes are: `None` if all read the same element.
    pub step: Option<Sum>,
}

/// Everything visible inside one emitted function.
pub(super) struct Scope<'a> {
    pub nest: &'a Nest,
    /// Names of the buffers, by id.
    pub buffers: Vec<String>,
    vars: Vec<(Var, Factor)>,
    pointers: Vec<Factor>,
    taken: Vec<String>,
    /// Functions that the text made here calls.
    pub called: Vec<LaneFn>,
    /// The text stands in a `const fn`.
    pub is_const: bool,
    /// Weights are read through a [transform](super::Transformed).
    pub transforms: bool,
}

impl<'a> Scope<'a> {
    /// A scope that knows the buffers' names and no variable.
    pub fn new(nest: &'a Nest) -> Scope<'a> {
        let words =
            ["V", "row", "scratch", "portable", "avx2", "avx512", "transformed"].map(str::to_owned);
        let types = || std::iter::once(None).chain(DType::ALL.iter().map(|dtype| Some(*dtype)));
        let functions = LaneFn::ALL.iter().flat_map(|f| types().map(|stored| f.text(stored)));
        let taken = functions.chain(words).collect();
        let mut scope = Scope {
            nest,
            buffers: Vec::new(),
            vars: Vec::new(),
            pointers: Vec::new(),
            taken,
            called: Vec::new(),
            is_const: false,
            transforms: false,
        };
        scope.buffers = nest.buffers.iter().map(|b| scope.fresh(&b.name)).collect();
        scope
    }

    /// A valid, unused Rust name like `wanted`, from now on taken.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let stem = identifier(wanted);
        let numbered = (2..).map(|number| format!("{stem}_{number}"));
        let mut names = std::iter::once(stem.clone()).chain(numbered);
        let name = names.find(|name| !self.taken.contains(name)).unwrap_or(stem.clone());
        self.taken.push(name.clone());
        name
    }

    /// Where to [`close`](Self::close) what is bound from now on.
    pub fn open(&self) -> (usize, usize) {
        (self.vars.len(), self.taken.len())
    }

    pub fn close(&mut self, mark: (usize, usize)) {
        self.vars.truncate(mark.0);
        self.taken.truncate(mark.1);
    }

    /// Gives a variable a name. It is an `isize` where its range is not known to be non-negative.
    pub fn bind(&mut self, var: Var, wanted: &str, range: Range) -> String {
        let text = self.fresh(wanted);
        self.vars.push((var, Factor { text: text.clone(), signed: !range.non_negative(), range }));
        text
    }

    /// Gives an axis a value: the text around it is repeated for each.
    pub fn bind_constant(&mut self, axis: AxisId, value: i64) {
        self.vars.push((
            Var::Axis(axis),
            Factor { text: value.to_string(), signed: false, range: Range::exactly(value) },
        ));
    }

    pub fn bind_axis(&mut self, axis: AxisId, range: Range) -> String {
        let nest = self.nest;
        self.bind(Var::Axis(axis), &nest.axis(axis).name, range)
    }

    /// A variable under the name and range it has in another scope.
    pub fn adopt(&mut self, symbol: SymbolId, factor: &Factor) {
        self.taken.push(factor.text.clone());
        self.vars.push((Var::Symbol(symbol), factor.clone()));
    }

    /// Gives the next pointer parameter a name.
    pub fn bind_pointer(&mut self, wanted: &str, range: Range) -> String {
        let text = self.fresh(wanted);
        self.pointers.push(Factor { text: text.clone(), signed: !range.non_negative(), range });
        text
    }

    pub fn factor(&self, var: Var) -> Option<&Factor> {
        self.vars.iter().rev().find(|(known, _)| *known == var).map(|(_, factor)| factor)
    }

    /// The variable of that name.
    pub fn named(&self, text: &str) -> Option<Factor> {
        let found = self.vars.iter().find(|(_, factor)| factor.text == text);
        found.map(|(_, factor)| factor.clone())
    }

    pub fn is_bound(&self, var: Var) -> bool {
        self.factor(var).is_some()
    }

    /// A variable as a sum. An unbound one is the lane axis; it contributes 0, the first lane.
    pub fn var(&self, var: Var) -> Sum {
        match self.factor(var) {
            Some(factor) => {
                factor.range.value().map_or_else(|| Sum::factor(factor.clone()), Sum::constant)
            }
            None => Sum::default(),
        }
    }

    pub fn affine(&self, a: &Affine) -> Sum {
        let mut sum = Sum::default();
        for &(var, coefficient) in a.terms() {
            sum.add(&self.var(var), coefficient);
        }
        sum.plus(&Sum::constant(a.constant))
    }

    fn index(&mut self, index: &Index) -> Sum {
        let (text, range) = match index {
            Index::Affine(a) => return self.affine(a),
            Index::Quotient(q) => {
                let q = self.quotient(q);
                (if q.signed { format!("({} as usize)", q.atom) } else { q.atom }, Range::size())
            }
            Index::Folded { index, extent, fold, pixel } => {
                let function = LaneFn::of_fold(*fold);
                self.called.push(function);
                let (index, extent) = (self.affine(index), self.affine(extent));
                if *pixel > 1 {
                    return folded_pixels(function, (&index, &extent), *pixel);
                }
                let text =
                    format!("{}({}, {})", function.name(), index.isize_text(), extent.isize_text());
                (text, Range::size())
            }
        };
        Sum::factor(Factor { text, signed: false, range })
    }

    /// The offset behind an access, lanes along `lane`.
    pub fn address(
        &mut self,
        leaf: Option<&Leaf>,
        access: &Access,
        lane: Option<AxisId>,
    ) -> Address {
        let (buffer, mut at) = match (access.base, leaf) {
            (Base::Buffer(buffer), _) => (buffer, Sum::default()),
            (Base::Pointer(p), Some(leaf)) => (leaf.pointers[p.index()], self.pointer(p)),
            (Base::Pointer(_), None) => {
                unreachable!("a pointer outside a leaf is refused by the verifier")
            }
        };
        let strides = self.strides(buffer.index());
        let mut step = None;
        for (index, stride) in access.index.iter().zip(&strides) {
            at = at.plus(&self.index(index).times(stride));
            if let (Some(lane), Some(a)) = (lane, index.as_affine())
                && a.of_axis(lane) != 0
            {
                step.get_or_insert_with(Sum::default).add(stride, a.of_axis(lane));
            }
        }
        Address { buffer: buffer.index(), at, step }
    }

    /// Elements between neighbours along each dimension of a buffer.
    pub fn strides(&self, buffer: usize) -> Vec<Sum> {
        let mut stride = Sum::constant(1);
        let mut strides = Vec::new();
        for extent in self.nest.buffers[buffer].extents.iter().rev() {
            strides.push(stride.clone());
            stride = stride.times(&self.affine(extent));
        }
        strides.reverse();
        strides
    }

    pub fn pointer_name(&self, pointer: PointerId) -> Option<String> {
        self.pointers.get(pointer.index()).map(|factor| factor.text.clone())
    }

    fn pointer(&self, pointer: PointerId) -> Sum {
        self.pointers
            .get(pointer.index())
            .map_or(Sum::default(), |factor| Sum::factor(factor.clone()))
    }

    /// The elements of a buffer.
    pub fn length(&self, buffer: usize) -> Sum {
        let extents = &self.nest.buffers[buffer].extents;
        extents.iter().fold(Sum::constant(1), |product, extent| product.times(&self.affine(extent)))
    }

    fn quotient(&self, q: &Quotient) -> Value {
        let numerator = self.affine(&q.numerator);
        let (numerator, divisor) = match numerator.divided(q.divisor) {
            Some(divided) => (divided, 1),
            None => (numerator, q.divisor),
        };
        let range = numerator.range().floor_div(divisor);
        let plain = numerator.plain();
        let text = match (divisor, plain) {
            (1, true) => numerator.usize_text(),
            (1, false) => numerator.isize_text(),
            (d, true) => format!("({}) / {d}", numerator.usize_text()),
            (d, false) => format!("{}.div_euclid({d})", numerator.isize_atom()),
        };
        let atom = if numerator.as_constant().is_some() || !text.contains(' ') {
            text.clone()
        } else {
            format!("({text})")
        };
        Value {
            atom,
            text,
            signed: !plain,
            range,
            down_to_zero: numerator.saturating_text().filter(|_| divisor == 1),
            numerator,
            divisor,
        }
    }

    pub fn bound_range(&self, bound: &Bound) -> Range {
        let ranges = bound
            .quotients()
            .iter()
            .map(|q| self.affine(&q.numerator).range().floor_div(q.divisor));
        Range::of_bound(bound, ranges)
    }

    /// A bound as an expression: `isize` if `signed`, else `usize` with everything below zero
    /// raised to zero.
    pub fn bound(&self, bound: &Bound, signed: bool) -> String {
        if let Some(constant) = bound.as_constant() {
            return if signed { format!("{constant}isize") } else { constant.max(0).to_string() };
        }
        let mut values: Vec<Value> = bound.quotients().iter().map(|q| self.quotient(q)).collect();
        drop_what_never_counts(bound, &mut values);
        let any_signed = signed || values.iter().any(|v| v.signed);
        if let (Bound::Max(_), false, false, Some(text)) =
            (bound, signed, self.is_const, down_to_zero(&values))
        {
            return text;
        }
        let (pick, less) = match bound {
            Bound::Max(_) => ("max", ">"),
            Bound::Min(_) => ("min", "<"),
        };
        let integer = if any_signed { "isize" } else { "usize" };
        let is_non_negative = self.bound_range(bound).non_negative();
        let several = values.len() > 1;
        let texts = values
            .iter()
            .map(|v| if any_signed && !v.signed { v.as_isize() } else { v.text.clone() });
        let text = texts
            .reduce(|a, b| match self.is_const {
                true => {
                    format!("{{ let (a, b) = ({a}, {b}); if a {less} b {{ a }} else {{ b }} }}")
                }
                false => format!("{integer}::{pick}({a}, {b})"),
            })
            .unwrap_or_default();
        match (any_signed, signed) {
            (true, false) if is_non_negative && several => format!("{text} as usize"),
            (true, false) if is_non_negative => format!("({text}) as usize"),
            (true, false) if self.is_const => {
                format!("{{ let a = {text}; if a > 0 {{ a as usize }} else {{ 0 }} }}")
            }
            (true, false) => format!("isize::max(0, {text}) as usize"),
            _ => text,
        }
    }

    /// What is known of a condition here.
    fn cond(&self, cond: &Cond) -> Truth {
        let sum = self.affine(cond.expression());
        let range = sum.range();
        let test = match cond {
            Cond::NonNegative(_) if range.hi.is_some_and(|hi| hi < 0) => return Truth::Never,
            Cond::NonNegative(_) => sum.non_negative_text(),
            Cond::Divides(1, _) => None,
            Cond::Divides(d, _) if range.value().is_some() => {
                match range.value().map(|v| v.rem_euclid(*d)) {
                    Some(0) => None,
                    _ => return Truth::Never,
                }
            }
            Cond::Divides(d, _) if sum.plain() => {
                Some(format!("({}) % {d} == 0", sum.usize_text()))
            }
            Cond::Divides(d, _) => Some(format!("{} % {d} == 0", sum.isize_atom())),
        };
        test.map_or(Truth::Always, Truth::If)
    }

    /// What is known of all conditions together.
    pub fn conds(&self, conds: &[Cond]) -> Truth {
        let mut texts = Vec::new();
        for cond in conds {
            match self.cond(cond) {
                Truth::Always => {}
                Truth::Never => return Truth::Never,
                Truth::If(text) => texts.push(text),
            }
        }
        if texts.is_empty() { Truth::Always } else { Truth::If(texts.join(" && ")) }
    }
}

/// Where an element is of pixels of so many, which fold together.
fn folded_pixels(function: LaneFn, (index, extent): (&Sum, &Sum), pixel: i64) -> Sum {
    let atom = match index.as_constant() {
        Some(at) => format!("({at}_isize)"),
        None => index.isize_atom(),
    };
    let pixels = extent.divided(pixel).unwrap_or_default().isize_text();
    let sum = |text| Sum::factor(Factor { text, signed: false, range: Range::size() });
    let first = sum(format!("{}({atom}.div_euclid({pixel}), {pixels})", function.name()));
    let inside = sum(format!("({atom}.rem_euclid({pixel}) as usize)"));
    first.times(&Sum::constant(pixel)).plus(&inside)
}

/// What is known of a condition when the text is made.
pub(super) enum Truth {
    Always,
    Never,
    /// Depends: the test.
    If(String),
}

/// `max(0, x)` is `x` where `x` is known to be zero or more, and 0 where it is known to be zero or
/// less; `max(x, x + 1)` is the second. Likewise for minima.
fn drop_what_never_counts(bound: &Bound, values: &mut Vec<Value>) {
    let beats = |one: &Value, other: &Value| {
        let same = one.divisor == other.divisor && one.numerator.varies_as(&other.numerator);
        let apart = one.numerator.constant - other.numerator.constant;
        let (one, other) = (one.range, other.range);
        match bound {
            Bound::Max(_) => {
                same && apart >= 0 || one.lo.zip(other.hi).is_some_and(|(lo, hi)| lo >= hi)
            }
            Bound::Min(_) => {
                same && apart <= 0 || one.hi.zip(other.lo).is_some_and(|(hi, lo)| hi <= lo)
            }
        }
    };
    let mut at = 0;
    while at < values.len() {
        let beaten =
            (0..values.len()).any(|other| other != at && beats(&values[other], &values[at]));
        if beaten {
            values.remove(at);
        } else {
            at += 1;
        }
    }
}

/// `max(0, 1 - oh)` as `1usize.saturating_sub(oh)`, where all of it is without a sign.
fn down_to_zero(values: &[Value]) -> Option<String> {
    let [one, other] = values else {
        return None;
    };
    let (zero, value) = match one.range.value() {
        Some(0) => (one, other),
        _ => (other, one),
    };
    let is_zero = zero.range.value() == Some(0);
    value.down_to_zero.clone().filter(|_| is_zero && value.signed)
}

/// One quotient as text.
struct Value {
    text: String,
    atom: String,
    signed: bool,
    range: Range,
    numerator: Sum,
    divisor: i64,
    /// As `usize`, zero where it would be less; where that can be said without a sign.
    down_to_zero: Option<String>,
}

impl Value {
    fn as_isize(&self) -> String {
        match self.range {
            Range { lo: Some(lo), hi: Some(hi) } if lo == hi => lo.to_string(),
            _ => format!("{} as isize", self.atom),
        }
    }
}

/// `oc.i` as `oc_i`, in lower case, no keyword.
pub(super) fn identifier(name: &str) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }
    };
    let mut text: String = name.chars().map(legal).collect();
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        text.insert(0, 'v');
    }
    if syn::parse_str::<syn::Ident>(&text).is_err() {
        text.push('_');
    }
    text
}
