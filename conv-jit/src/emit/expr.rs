//! Expressions: values of registers, chunk by chunk.

use conv_ir::nest::{Expr, Unary};

use super::emitter::Emitter;
use super::int::Truth;
use super::requantise;
use super::stored;
use super::tile::Tile;
use super::vector::{self, Vector};

impl Tile<'_> {
    pub(super) fn eval(&self, e: &mut Emitter<'_, '_>, expr: &Expr) -> Vector {
        match expr {
            Expr::Const(c) => self.constant(e, *c),
            Expr::Reg(reg) => {
                let slot = self.slot(e, *reg);
                self.register(e, slot)
            }
            Expr::Load(access) => self.load(e, access),
            Expr::Select { when, then, otherwise } => match e.truth(when) {
                Truth::Always => self.eval(e, then),
                Truth::Never => self.eval(e, otherwise),
                Truth::When(holds) => {
                    e.branch(holds, |e| self.eval(e, then), |e| self.eval(e, otherwise))
                }
            },
            Expr::Unary(Unary::To(dtype), a) => {
                let a = self.eval(e, a);
                self.per_chunk(|at, chunk| stored::nearest(e, chunk, *dtype, a[at]))
            }
            Expr::Unary(op, a) => {
                let a = self.eval(e, a);
                self.per_chunk(|at, chunk| vector::unary(e, chunk, *op, a[at]))
            }
            Expr::Binary(op, a, b) if requantise::is_one(*op) => {
                let (a, b) = (self.eval(e, a), self.eval(e, b));
                self.per_chunk(|at, chunk| requantise::each_lane(e, chunk, *op, (a[at], b[at])))
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.eval(e, a), self.eval(e, b));
                self.per_chunk(|at, chunk| vector::binary(e, chunk, *op, a[at], b[at]))
            }
            Expr::Fma(a, b, c) => self.fma(e, a, b, c),
            Expr::Choose { a, b, then, otherwise } => {
                let (a, b) = (self.eval(e, a), self.eval(e, b));
                let (then, otherwise) = (self.eval(e, then), self.eval(e, otherwise));
                self.per_chunk(|at, chunk| {
                    vector::choose(e, chunk, (a[at], b[at]), then[at], otherwise[at])
                })
            }
            Expr::Activation(which, _) => unreachable!("emit: {which:?} after the check for it"),
        }
    }

    /// On x86, Cranelift has only the form that overwrites the first factor. So the first one is a
    /// value loaded on the spot, or one that dies here.
    fn fma(&self, e: &mut Emitter<'_, '_>, a: &Expr, b: &Expr, c: &Expr) -> Vector {
        let spare = |x: &Expr, dies: bool| dies || !matches!(x, Expr::Reg(_));
        let [a_dies, b_dies] = self.now;
        let swap = spare(b, b_dies) && !spare(a, a_dies);
        let (first, second) = if swap { (b, a) } else { (a, b) };
        let (x, y, z) = (self.eval(e, first), self.eval(e, second), self.eval(e, c));
        self.per_chunk(|at, chunk| vector::multiply_add(e, chunk, [x[at], y[at], z[at]]))
    }
}
