//! Integers while emitting: known now, or an SSA value; arithmetic folds what is known.
//!
//! Everything that indices, bounds and conditions are made of goes through here, so a constant tap
//! or tile position costs no instruction.

use conv_ir::nest::{Affine, Bound, Cond, Fold, Index, Quotient, Var};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::emitter::Emitter;
use super::terms::Int;

/// The truth of some conditions together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Always,
    Never,
    /// Where this value is not zero.
    When(Value),
}

impl Emitter<'_, '_> {
    /// As an SSA value.
    pub(super) fn value(&mut self, x: Int) -> Value {
        match x {
            Int::Known(known) => self.b.ins().iconst(types::I64, known),
            Int::Value(value) => value,
        }
    }

    pub(super) fn add(&mut self, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(x), Int::Known(y)) => Int::Known(x.wrapping_add(y)),
            (z, Int::Known(0)) | (Int::Known(0), z) => z,
            (Int::Value(v), Int::Known(c)) | (Int::Known(c), Int::Value(v)) => {
                Int::Value(self.b.ins().iadd_imm_s(v, c))
            }
            (Int::Value(x), Int::Value(y)) => Int::Value(self.b.ins().iadd(x, y)),
        }
    }

    pub(super) fn mul(&mut self, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(x), Int::Known(y)) => Int::Known(x.wrapping_mul(y)),
            (_, Int::Known(0)) | (Int::Known(0), _) => Int::Known(0),
            (z, Int::Known(1)) | (Int::Known(1), z) => z,
            (Int::Value(v), Int::Known(c)) | (Int::Known(c), Int::Value(v)) => {
                Int::Value(self.scaled(v, c))
            }
            (Int::Value(x), Int::Value(y)) => Int::Value(self.b.ins().imul(x, y)),
        }
    }

    fn scaled(&mut self, v: Value, c: i64) -> Value {
        match c > 0 && c & (c - 1) == 0 {
            true => self.b.ins().ishl_imm_u(v, i64::from(c.trailing_zeros())),
            false => self.b.ins().imul_imm_s(v, c),
        }
    }

    /// The value of a variable. Axes that no loop has bound yet count as 0, which the lane axis
    /// does between operations.
    pub(super) fn var(&self, var: Var) -> Int {
        match var {
            Var::Axis(axis) => self.env.get(&axis).copied().unwrap_or(Int::Known(0)),
            Var::Symbol(symbol) => Int::Value(self.symbols[symbol.index()]),
        }
    }

    pub(super) fn affine(&mut self, a: &Affine) -> Int {
        let (mut sum, mut known) = (Int::Known(0), a.constant);
        for &(var, coefficient) in a.terms() {
            let (x, c) = (self.var(var), Int::Known(coefficient));
            match self.mul(x, c) {
                Int::Known(k) => known = known.wrapping_add(k),
                term @ Int::Value(_) => sum = self.add(sum, term),
            }
        }
        self.add(sum, Int::Known(known))
    }

    /// Division that rounds down: Cranelift's rounds to zero.
    pub(super) fn quotient(&mut self, q: &Quotient) -> Int {
        let numerator = self.affine(&q.numerator);
        match numerator {
            Int::Known(n) => Int::Known(n.div_euclid(q.divisor)),
            n @ Int::Value(_) if q.divisor == 1 => n,
            Int::Value(n) if q.divisor & (q.divisor - 1) == 0 => {
                Int::Value(self.b.ins().sshr_imm_u(n, i64::from(q.divisor.trailing_zeros())))
            }
            Int::Value(n) => {
                let divisor = self.b.ins().iconst(types::I64, q.divisor);
                let toward_zero = self.b.ins().sdiv(n, divisor);
                let back = self.b.ins().imul(toward_zero, divisor);
                let above = self.b.ins().icmp(IntCC::SignedGreaterThan, back, n);
                let one = self.b.ins().uextend(types::I64, above);
                Int::Value(self.b.ins().isub(toward_zero, one))
            }
        }
    }

    pub(super) fn bound(&mut self, bound: &Bound) -> Int {
        let all: Vec<Int> = bound.quotients().iter().map(|q| self.quotient(q)).collect();
        let picked = all.into_iter().reduce(|x, y| match bound {
            Bound::Max(_) => self.larger(x, y),
            Bound::Min(_) => self.smaller(x, y),
        });
        picked.unwrap_or(Int::Known(0))
    }

    pub(super) fn larger(&mut self, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(x), Int::Known(y)) => Int::Known(x.max(y)),
            _ => self.pick(IntCC::SignedGreaterThan, x, y),
        }
    }

    pub(super) fn smaller(&mut self, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(x), Int::Known(y)) => Int::Known(x.min(y)),
            _ => self.pick(IntCC::SignedLessThan, x, y),
        }
    }

    /// `x` where it compares so with `y`, else `y`. Plain compare and select: not every backend has
    /// 64-bit `smin`.
    fn pick(&mut self, how: IntCC, x: Int, y: Int) -> Int {
        let (x, y) = (self.value(x), self.value(y));
        let wins = self.b.ins().icmp(how, x, y);
        Int::Value(self.b.ins().select(wins, x, y))
    }

    /// All conditions together.
    pub(super) fn truth(&mut self, when: &[Cond]) -> Truth {
        let mut all: Option<Value> = None;
        for cond in when {
            match self.cond(cond) {
                Truth::Always => {}
                Truth::Never => return Truth::Never,
                Truth::When(value) => {
                    all = Some(all.map_or(value, |other| self.b.ins().band(other, value)))
                }
            }
        }
        all.map_or(Truth::Always, Truth::When)
    }

    fn cond(&mut self, cond: &Cond) -> Truth {
        let known = |holds: bool| if holds { Truth::Always } else { Truth::Never };
        match (cond, self.affine(cond.expression())) {
            (Cond::NonNegative(_), Int::Known(x)) => known(x >= 0),
            (Cond::Divides(d, _), Int::Known(x)) => known(x % d == 0),
            (Cond::NonNegative(_), Int::Value(x)) => {
                Truth::When(self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, x, 0))
            }
            (Cond::Divides(d, _), Int::Value(x)) => {
                let divisor = self.b.ins().iconst(types::I64, *d);
                let rest = self.b.ins().srem(x, divisor);
                Truth::When(self.b.ins().icmp_imm_s(IntCC::Equal, rest, 0))
            }
        }
    }

    /// The value of one index.
    pub(super) fn index(&mut self, index: &Index) -> Int {
        match index {
            Index::Affine(a) => self.affine(a),
            Index::Quotient(q) => self.quotient(q),
            Index::Folded { index, extent, fold, pixel } => {
                match (self.affine(index), self.affine(extent)) {
                    (Int::Known(at), Int::Known(extent)) => {
                        Int::Known(fold.apply_to_pixels(at, extent, *pixel))
                    }
                    (at, extent) if *pixel == 1 => self.fold(*fold, at, extent),
                    (at, _) => {
                        let [whole, pixels] = [index, &**extent]
                            .map(|a| self.quotient(&Quotient::floor(a.clone(), *pixel)));
                        let moved = self.fold(*fold, whole, pixels);
                        let before = self.mul(whole, Int::Known(-pixel));
                        let (inside, first) =
                            (self.add(at, before), self.mul(moved, Int::Known(*pixel)));
                        self.add(first, inside)
                    }
                }
            }
        }
    }

    /// [`Fold::apply`] in code. The division is paid for outside the input alone.
    fn fold(&mut self, fold: Fold, at: Int, extent: Int) -> Int {
        let last = self.add(extent, Int::Known(-1));
        if fold == Fold::Replicate {
            let floor = self.larger(at, Int::Known(0));
            return self.smaller(floor, last);
        }
        let (index, limit) = (self.value(at), self.value(extent));
        // As unsigned numbers, negative ones are beyond every extent.
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, index, limit);
        let folded = self.branch(
            inside,
            |_| vec![index],
            |e| {
                let folded = e.fold_outside(fold, index, extent);
                vec![e.value(folded)]
            },
        );
        Int::Value(folded[0])
    }

    fn fold_outside(&mut self, fold: Fold, index: Value, extent: Int) -> Int {
        let period = match fold {
            Fold::Circular | Fold::Replicate => extent,
            Fold::Symmetric => self.mul(extent, Int::Known(2)),
            Fold::Reflect => {
                let last = self.add(extent, Int::Known(-1));
                let twice = self.mul(last, Int::Known(2));
                self.larger(twice, Int::Known(1))
            }
        };
        let divisor = self.value(period);
        let rest = self.b.ins().srem(index, divisor);
        let raised = self.b.ins().iadd(rest, divisor);
        let under = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, rest, 0);
        let at = self.b.ins().select(under, raised, rest);
        if fold == Fold::Circular {
            return Int::Value(at);
        }
        let sum = if fold == Fold::Symmetric { self.add(period, Int::Known(-1)) } else { period };
        let sum = self.value(sum);
        let mirrored = Int::Value(self.b.ins().isub(sum, at));
        self.smaller(Int::Value(at), mirrored)
    }
}
