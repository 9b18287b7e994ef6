//! An activation as a straight-line program; the formulas are in the [module](super)'s docs.

use super::coefficients::Coefficients;
use super::{Activation, Binary, Unary};
use crate::dtype::DType;
use crate::element::Element;

/// An operand of an [`Instruction`]: the position of an earlier instruction.
pub type Operand = usize;

/// One instruction of a straight-line program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Instruction {
    /// The argument `x`. Always instruction 0, and only there.
    Input,
    /// A constant.
    Const(f64),
    /// One operand.
    Unary(Unary, Operand),
    /// Two operands.
    Binary(Binary, Operand, Operand),
    /// `a * b + c`, one rounding.
    Fma(Operand, Operand, Operand),
    /// `if a < b { then } else { otherwise }`.
    Choose {
        /// Left of the comparison.
        a: Operand,
        /// Right of the comparison.
        b: Operand,
        /// Taken where `a < b`.
        then: Operand,
        /// Taken elsewhere.
        otherwise: Operand,
    },
}

/// The activation spelled out in operations that every route has: the instructions in order, the
/// last one is the result.
///
/// `Exp2Int` is given an integer in range, or NaN, whose power may then be anything: it is
/// multiplied by NaN.
pub fn program(activation: &Activation, dtype: DType) -> Vec<Instruction> {
    let mut w = Writer { instructions: vec![Instruction::Input], table: Coefficients::of(dtype) };
    match *activation {
        Activation::Relu => w.at_least(0.0, X),
        Activation::Relu6 => w.clamp(0.0, 6.0, X),
        Activation::LeakyRelu(slope) => w.leaky_relu(slope),
        Activation::Clamp(lo, hi) => w.clamp(lo, hi, X),
        Activation::Sigmoid => w.sigmoid(),
        Activation::Tanh => w.tanh(),
        Activation::Silu => w.silu(),
        Activation::Gelu => w.gelu(),
        Activation::HardSwish => w.hard_swish(),
        Activation::HardSigmoid => w.hard_sigmoid(),
        Activation::Elu(alpha) => w.elu(alpha),
        Activation::Softplus => w.softplus(),
        Activation::Mish => w.mish(),
        Activation::Prelu(_) => unreachable!("program: each channel of prelu has its own slope"),
    };
    w.instructions
}

/// Runs a program on one number. A constant is the nearest value of `T`.
pub fn eval<T: Element>(instructions: &[Instruction], x: T) -> T {
    let mut values: Vec<T> = Vec::with_capacity(instructions.len());
    for instruction in instructions {
        values.push(match *instruction {
            Instruction::Input => x,
            Instruction::Const(c) => T::from_f64(c),
            Instruction::Unary(op, a) => unary(op, values[a]),
            Instruction::Binary(op, a, b) => binary(op, values[a], values[b]),
            Instruction::Fma(a, b, c) => values[a].fma(values[b], values[c]),
            Instruction::Choose { a, b, then, otherwise } => {
                values[if values[a] < values[b] { then } else { otherwise }]
            }
        });
    }
    values.last().copied().unwrap_or(x)
}

/// One operation on one number.
pub fn unary<T: Element>(op: Unary, a: T) -> T {
    match op {
        Unary::Neg => a.mul(T::from_f64(-1.0)),
        Unary::Abs => a.abs(),
        Unary::Round => a.round_even(),
        Unary::Exp2Int => a.exp2_int(),
        Unary::To(dtype) => a.rounded_to(dtype),
    }
}

/// One operation on two numbers.
pub fn binary<T: Element>(op: Binary, a: T, b: T) -> T {
    match op {
        Binary::Add => a.add(b),
        Binary::Sub => a.sub(b),
        Binary::Mul => a.mul(b),
        Binary::Div => a.div(b),
        Binary::Min if a < b => a,
        Binary::Max if a > b => a,
        Binary::Min | Binary::Max => b,
        Binary::CopySign => a.copysign(b),
        Binary::Prelu if a < T::from_f64(0.0) => a.mul(b),
        Binary::Prelu => a,
        Binary::Scale => a.scaled(b),
        Binary::MulHigh => a.mul_high(b),
        Binary::ShiftRound => a.shift_round(b),
        Binary::MulFloor => a.mul_floor(b),
        Binary::ShiftUp => a.shift_up(b),
    }
}

/// The argument's position.
const X: Operand = 0;

/// Appends instructions; every method gives the position of its result. `x` goes second into `Min`
/// and
/// `Max`, so that NaN passes.
struct Writer {
    instructions: Vec<Instruction>,
    table: &'static Coefficients,
}

impl Writer {
    fn push(&mut self, instruction: Instruction) -> Operand {
        self.instructions.push(instruction);
        self.instructions.len() - 1
    }

    /// A constant, written once. Compared by bits: `0.0` and `-0.0` are two.
    fn constant(&mut self, c: f64) -> Operand {
        let same = |instruction: &Instruction| matches!(instruction, Instruction::Const(d) if d.to_bits() == c.to_bits());
        self.instructions.iter().position(same).unwrap_or_else(|| self.push(Instruction::Const(c)))
    }

    fn unary(&mut self, op: Unary, a: Operand) -> Operand {
        self.push(Instruction::Unary(op, a))
    }

    fn binary(&mut self, op: Binary, a: Operand, b: Operand) -> Operand {
        self.push(Instruction::Binary(op, a, b))
    }

    /// `c op a`.
    fn with_constant(&mut self, c: f64, op: Binary, a: Operand) -> Operand {
        let c = self.constant(c);
        self.binary(op, c, a)
    }

    /// `a * c + b`.
    fn fma_constant(&mut self, a: Operand, c: f64, b: Operand) -> Operand {
        let c = self.constant(c);
        self.push(Instruction::Fma(a, c, b))
    }

    fn at_least(&mut self, lo: f64, a: Operand) -> Operand {
        self.with_constant(lo, Binary::Max, a)
    }

    fn at_most(&mut self, hi: f64, a: Operand) -> Operand {
        self.with_constant(hi, Binary::Min, a)
    }

    fn clamp(&mut self, lo: f64, hi: f64, a: Operand) -> Operand {
        let raised = self.at_least(lo, a);
        self.at_most(hi, raised)
    }

    /// `coefficients[0] + x * (coefficients[1] + ...)`, innermost first.
    fn horner(
        &mut self,
        coefficients: impl DoubleEndedIterator<Item = f64>,
        x: Operand,
    ) -> Operand {
        let mut inwards = coefficients.rev();
        let mut sum = inwards.next().map_or(X, |c| self.constant(c));
        for c in inwards {
            let c = self.constant(c);
            sum = self.push(Instruction::Fma(sum, x, c));
        }
        sum
    }

    /// `(k, w)` with `e^(-m y) = 2^k * e^(-m w)`: `w = y + k * ln 2 / m`, whose first step is exact
    /// because `ln2_hi` is short.
    fn reduce(&mut self, y: Operand, m: f64) -> (Operand, Operand) {
        let scaled = self.with_constant(-m * self.table.log2_e, Binary::Mul, y);
        let k = self.unary(Unary::Round, scaled);
        let w = self.fma_constant(k, self.table.ln2_hi / m, y);
        (k, self.fma_constant(k, self.table.ln2_lo / m, w))
    }

    /// The coefficients of `scale * e^(-m w)` in `w`, from `w^first` on. Powers of two, so that
    /// they stay exact.
    fn exp_coefficients(
        &self,
        first: usize,
        scale: f64,
        m: f64,
    ) -> impl DoubleEndedIterator<Item = f64> + use<> {
        let exp = self.table.exp;
        (first..exp.len()).map(move |i| scale * exp[i] * (-m).powi(i as i32))
    }

    /// `1 + e^(-y)`. Where `k` is one above the largest exponent the result overflows to infinity,
    /// as it should: hence `2 e^(-w)` times `2^(k-1)`.
    fn one_plus_exp(&mut self, y: Operand) -> Operand {
        let (k, w) = self.reduce(y, 1.0);
        let twice = self.horner(self.exp_coefficients(0, 2.0, 1.0), w);
        let one = self.constant(1.0);
        let k = self.binary(Binary::Sub, k, one);
        let power = self.unary(Unary::Exp2Int, k);
        self.push(Instruction::Fma(twice, power, one))
    }

    /// `w + ...` of `scale * e^(-m w)`, whose linear term is `w`: without its constant term it is
    /// accurate next to zero.
    fn behind_the_constant(&mut self, w: Operand, scale: f64, m: f64) -> Operand {
        let square = self.binary(Binary::Mul, w, w);
        let rest = self.horner(self.exp_coefficients(2, scale, m), w);
        self.push(Instruction::Fma(square, rest, w))
    }

    /// `e^(-m y)`, where its power of two is a normal number.
    fn exp(&mut self, y: Operand, m: f64) -> Operand {
        let (k, w) = self.reduce(y, m);
        let exp = self.horner(self.exp_coefficients(0, 1.0, m), w);
        let power = self.unary(Unary::Exp2Int, k);
        self.binary(Binary::Mul, exp, power)
    }

    fn sigmoid(&mut self) -> Operand {
        let y = self.clamp(self.table.sigmoid_lo, self.table.sigmoid_hi, X);
        let denominator = self.one_plus_exp(y);
        self.with_constant(1.0, Binary::Div, denominator)
    }

    /// The numerator is raised as well, so that minus infinity gives zero and not infinity over
    /// infinity.
    fn silu(&mut self) -> Operand {
        let x = self.at_least(self.table.sigmoid_lo, X);
        let y = self.at_most(self.table.sigmoid_hi, x);
        let denominator = self.one_plus_exp(y);
        self.binary(Binary::Div, x, denominator)
    }

    /// `v = (1 - e^(-2w)) / 2 = w - w^2 + ...` has no constant term, so `u = v * 2^k + (1 - 2^k) /
    /// 2` is accurate next to zero, where `k` is 0.
    fn tanh(&mut self) -> Operand {
        let magnitude = self.unary(Unary::Abs, X);
        let y = self.at_most(self.table.tanh_hi, magnitude);
        let (k, w) = self.reduce(y, 2.0);
        let v = self.behind_the_constant(w, -0.5, 2.0);
        let power = self.unary(Unary::Exp2Int, k);
        let half = self.constant(0.5);
        let missing = self.fma_constant(power, -0.5, half);
        let u = self.push(Instruction::Fma(v, power, missing));
        let denominator = self.with_constant(1.0, Binary::Sub, u);
        let quotient = self.binary(Binary::Div, u, denominator);
        self.binary(Binary::CopySign, quotient, X)
    }

    /// `P / Q` is `e^(y^2 / 2)` times the normal distribution's lower tail at `-y`. The square's
    /// rounding error is taken along: times 87, it would show.
    fn gelu(&mut self) -> Operand {
        let magnitude = self.unary(Unary::Abs, X);
        let y = self.at_most(self.table.gelu_hi, magnitude);
        let minus_y = self.unary(Unary::Neg, y);
        let square = self.binary(Binary::Mul, y, y);
        let excess = self.push(Instruction::Fma(minus_y, y, square));
        let (k, w) = self.reduce(square, 0.5);
        let w = self.binary(Binary::Sub, w, excess);
        let exp = self.horner(self.exp_coefficients(0, 1.0, 0.5), w);
        let power = self.unary(Unary::Exp2Int, k);
        let exp = self.binary(Binary::Mul, exp, power);
        let p = self.horner(self.table.gelu_p.iter().copied(), y);
        let q = self.horner(self.table.gelu_q.iter().copied(), y);
        let p = self.binary(Binary::Mul, minus_y, p);
        let ratio = self.binary(Binary::Div, p, q);
        let positive = self.at_least(0.0, X);
        let inside = self.push(Instruction::Fma(ratio, exp, positive));
        let (end, zero) = (self.constant(-self.table.gelu_hi), self.constant(0.0));
        self.push(Instruction::Choose { a: X, b: end, then: zero, otherwise: inside })
    }

    /// `e^x - 1 = v * 2^k + (2^k - 1)`, as in [`tanh`](Self::tanh). It is -1 long before the lower
    /// bound.
    fn elu(&mut self, alpha: f64) -> Operand {
        let y = self.clamp(-self.table.sigmoid_hi, 0.0, X);
        let (k, w) = self.reduce(y, -1.0);
        let v = self.behind_the_constant(w, 1.0, -1.0);
        let power = self.unary(Unary::Exp2Int, k);
        let one = self.constant(1.0);
        let missing = self.binary(Binary::Sub, power, one);
        let below = self.push(Instruction::Fma(v, power, missing));
        let scaled = self.with_constant(alpha, Binary::Mul, below);
        let zero = self.constant(0.0);
        self.push(Instruction::Choose { a: X, b: zero, then: scaled, otherwise: X })
    }

    /// With `u = e^(-|x|)` at most 1, `s = u / (2 + u)` is at most a third.
    fn softplus(&mut self) -> Operand {
        let magnitude = self.unary(Unary::Abs, X);
        let y = self.at_most(-self.table.exp_lo, magnitude);
        let u = self.exp(y, 1.0);
        let denominator = self.with_constant(2.0, Binary::Add, u);
        let s = self.binary(Binary::Div, u, denominator);
        let square = self.binary(Binary::Mul, s, s);
        let slope = self.horner(self.table.atanh.iter().copied(), square);
        let positive = self.at_least(0.0, X);
        let inside = self.push(Instruction::Fma(s, slope, positive));
        let zero = self.constant(0.0);
        self.or_below_exp(zero, inside)
    }

    /// Above the upper bound of `tanh` the quotient is 1.
    fn mish(&mut self) -> Operand {
        let y = self.clamp(self.table.exp_lo, self.table.tanh_hi, X);
        let exp = self.exp(y, -1.0);
        let plus_two = self.with_constant(2.0, Binary::Add, exp);
        let numerator = self.binary(Binary::Mul, exp, plus_two);
        let denominator = self.with_constant(2.0, Binary::Add, numerator);
        let quotient = self.binary(Binary::Div, numerator, denominator);
        let inside = self.binary(Binary::Mul, X, quotient);
        let zero = self.constant(-0.0);
        self.or_below_exp(zero, inside)
    }

    /// `limit` where `e^x` is subnormal.
    fn or_below_exp(&mut self, limit: Operand, inside: Operand) -> Operand {
        let end = self.constant(self.table.exp_lo);
        self.push(Instruction::Choose { a: X, b: end, then: limit, otherwise: inside })
    }

    fn leaky_relu(&mut self, slope: f64) -> Operand {
        let zero = self.constant(0.0);
        let scaled = self.with_constant(slope, Binary::Mul, X);
        self.push(Instruction::Choose { a: X, b: zero, then: scaled, otherwise: X })
    }

    /// The gate of an `x` that is at least -3.
    fn gate(&mut self, x: Operand) -> Operand {
        let shifted = self.with_constant(3.0, Binary::Add, x);
        let clamped = self.at_most(6.0, shifted);
        self.with_constant(1.0 / 6.0, Binary::Mul, clamped)
    }

    fn hard_sigmoid(&mut self) -> Operand {
        let x = self.at_least(-3.0, X);
        self.gate(x)
    }

    /// The factor is raised as well, so that minus infinity gives zero and not infinity times zero.
    fn hard_swish(&mut self) -> Operand {
        let x = self.at_least(-3.0, X);
        let gate = self.gate(x);
        self.binary(Binary::Mul, x, gate)
    }
}
