//! From a leaf to its [`LeafCode`]: tile axes and unrolled loops are walked with constants, so
//! conditions are decided, folds are folded, and every access becomes a cursor and a displacement.
//!
//! ```text
//! each ow.i: a = splat @input[ic, kh, ow.i + kw] when ow.i + kw >= 1
//!
//! ow.i = 0, kw = 0    nothing
//! ow.i = 1, kw = 0    %7 = splat c1[4], c1 moves with ic and kh
//! ```
//!
//! What stays unknown here (a condition on an int, a stride that is a symbol) is a [`Refusal`].

use conv_ir::Machine;
use conv_ir::nest::{Affine, AxisId, Binary, Cond, Expr, Leaf, Loop, Nest, Op, RegId, Unary};
use smallvec::SmallVec;

use super::inst::{Arg, Inst, Kind, LeafCode, Live, Source, Value};
use super::loops::{around, serial};
use super::{Refusal, scales_down};

/// The code of a leaf, section by section.
pub(super) fn straight(nest: &Nest, leaf: &Leaf, machine: &Machine) -> Result<LeafCode, Refusal> {
    let mut walk = Walk::new(nest, leaf, machine)?;
    walk.code.init = walk.section(&leaf.init)?;
    if walk.code.loops.iter().all(|l| l.count() != Some(0)) {
        let unrolled: Vec<&Loop> = leaf.reduce[walk.serial.len()..].iter().collect();
        walk.unrolled(&unrolled, &leaf.update)?;
        walk.code.update = std::mem::take(&mut walk.out);
    }
    walk.code.finish = walk.section(&leaf.finish)?;
    Ok(walk.code)
}

/// A leaf being walked: where we are, and what came out so far.
pub(super) struct Walk<'a> {
    pub(super) nest: &'a Nest,
    pub(super) leaf: &'a Leaf,
    machine: &'a Machine,
    /// The value of each axis that has one now.
    known: Vec<Option<i64>>,
    /// Axes of the loops that stay.
    pub(super) serial: Vec<AxisId>,
    /// The axes of each register, and their extents.
    axes: Vec<SmallVec<[(AxisId, i64); 3]>>,
    /// The value that holds each register at a point.
    values: Vec<Vec<Option<Value>>>,
    /// Per register: whether it lives through the loops.
    pub(super) carried: Vec<bool>,
    /// Elements between neighbours, per pointer and dimension, where that is a number.
    pub(super) strides: Vec<Vec<Option<i64>>>,
    pub(super) out: Vec<Inst>,
    pub(super) code: LeafCode,
}

impl<'a> Walk<'a> {
    fn new(nest: &'a Nest, leaf: &'a Leaf, machine: &'a Machine) -> Result<Self, Refusal> {
        let serial = &leaf.reduce[..serial(leaf)];
        if leaf.reduce[serial.len()..].iter().any(|l| l.constant_range().is_none()) {
            return Err(Refusal::Loop("a loop of unknown length inside an unrolled one".into()));
        }
        let loops = serial.iter().map(|l| around(leaf, l)).collect::<Result<_, _>>()?;
        let code = LeafCode { loops, pointers: leaf.pointers.len(), ..LeafCode::default() };
        Ok(Walk {
            nest,
            leaf,
            machine,
            known: vec![None; nest.axes.len()],
            serial: serial.iter().map(|l| l.axis).collect(),
            axes: leaf
                .registers
                .iter()
                .map(|r| r.axes.iter().map(|&axis| (axis, leaf.extent(axis))).collect())
                .collect(),
            values: leaf
                .registers
                .iter()
                .map(|r| vec![None; leaf.points(&r.axes) as usize])
                .collect(),
            carried: carried(leaf),
            strides: leaf.pointers.iter().map(|&b| strides(&nest.buffer(b).extents)).collect(),
            out: Vec::new(),
            code,
        })
    }

    fn section(&mut self, ops: &[Op]) -> Result<Vec<Inst>, Refusal> {
        self.ops(ops)?;
        Ok(std::mem::take(&mut self.out))
    }

    fn unrolled(&mut self, loops: &[&Loop], ops: &[Op]) -> Result<(), Refusal> {
        let Some((first, rest)) = loops.split_first() else {
            return self.ops(ops);
        };
        let (lo, hi) = first.constant_range().unwrap_or((0, 0));
        for at in lo..hi {
            self.bind(first.axis, Some(at));
            self.unrolled(rest, ops)?;
        }
        self.bind(first.axis, None);
        Ok(())
    }

    fn ops(&mut self, ops: &[Op]) -> Result<(), Refusal> {
        ops.iter().try_for_each(|op| self.op(op))
    }

    fn op(&mut self, op: &Op) -> Result<(), Refusal> {
        match op {
            Op::Each(axis, body) => {
                for at in 0..self.leaf.extent(*axis) {
                    self.bind(*axis, Some(at));
                    self.ops(body)?;
                }
                self.bind(*axis, None);
                Ok(())
            }
            Op::Set { reg, value, when } if self.holds(when)? => self.set(*reg, value),
            Op::Store { to, value, when } if self.holds(when)? => self.store(to, value),
            Op::Set { .. } | Op::Store { .. } => Ok(()),
            Op::StoreBlock { to, reg, along } => self.block(to, *reg, *along),
        }
    }

    fn holds(&self, when: &[Cond]) -> Result<bool, Refusal> {
        Cond::all_at(when, |axis| self.known(axis)).ok_or(Refusal::Condition)
    }

    fn set(&mut self, reg: RegId, value: &Expr) -> Result<(), Refusal> {
        let point = self.point(reg);
        if self.carried[reg.index()] {
            let to = match self.values[reg.index()][point] {
                Some(to) => to,
                None => self.fresh(true),
            };
            self.expr(value, Some(to))?;
            self.values[reg.index()][point] = Some(to);
            return Ok(());
        }
        let to = match self.expr(value, None)? {
            // A carried register may change before this copy of it is read.
            Arg::Value(v) if self.code.carried[v] => self.emit(None, Kind::Copy, &[Arg::Value(v)]),
            Arg::Value(v) => v,
            from => self.emit(None, Kind::Copy, &[from]),
        };
        self.values[reg.index()][point] = Some(to);
        Ok(())
    }

    /// The value of an axis, where it has one now.
    pub(super) fn known(&self, axis: AxisId) -> Option<i64> {
        self.known[axis.index()]
    }

    pub(super) fn bind(&mut self, axis: AxisId, value: Option<i64>) {
        self.known[axis.index()] = value;
    }

    /// Which of a register's points we are at.
    fn point(&self, reg: RegId) -> usize {
        let along =
            |point, &(axis, extent): &(AxisId, i64)| Some(point * extent + self.known(axis)?);
        let point = self.axes[reg.index()].iter().try_fold(0, along);
        // Who asks outside of an axis hears which.
        point.unwrap_or_else(|| self.leaf.register_at(reg, |axis| self.known(axis))) as usize
    }

    pub(super) fn fresh(&mut self, carried: bool) -> Value {
        self.code.carried.fresh(carried)
    }

    fn emit(&mut self, to: Option<Value>, kind: Kind, args: &[Arg]) -> Value {
        let to = to.unwrap_or_else(|| self.fresh(false));
        self.out.push(Inst::Set { to, kind, args: SmallVec::from_slice(args) });
        to
    }

    /// The expression as an operand; computed into `to`, where given.
    pub(super) fn expr(&mut self, expr: &Expr, to: Option<Value>) -> Result<Arg, Refusal> {
        let arg = match expr {
            Expr::Const(c) => Arg::From(Source::Bits(self.bits(*c))),
            Expr::Reg(reg) => Arg::Value(self.register(*reg)?),
            Expr::Load(access) => Arg::From(self.load(access, Live::first(self.leaf.width()))?),
            Expr::Select { when, then, otherwise } if self.leaf.is_tested_by_lane(when) => {
                if !self.machine.masks {
                    return Err(Refusal::Operation("a masked load".into()));
                }
                let (Expr::Load(access), Expr::Const(fill)) = (&**then, &**otherwise) else {
                    return Err(Refusal::Condition);
                };
                let lanes = self.leaf.lanes_where(when, |axis| self.known(axis));
                let lanes = lanes.ok_or(Refusal::Condition)?;
                let all = Live::first(self.leaf.width());
                let live = Live::new(lanes.start, lanes.end).and(all);
                let load = Arg::From(self.load(access, live)?);
                if *fill == 0.0 || live == all {
                    load
                } else {
                    // Lanes that are not loaded are zero, to which the fill's bits are added.
                    let load = Arg::Value(self.emit(None, Kind::Copy, &[load]));
                    let around = Source::Around { live, bits: self.bits(*fill) };
                    let around = Arg::Value(self.emit(None, Kind::Copy, &[Arg::From(around)]));
                    return Ok(Arg::Value(self.emit(to, Kind::Or, &[load, around])));
                }
            }
            Expr::Select { when, then, otherwise } => {
                let taken = if self.holds(when)? { then } else { otherwise };
                return self.expr(taken, to);
            }
            Expr::Unary(op, a) => return self.unary(*op, a, to),
            Expr::Binary(op, a, b) => return self.binary(*op, a, b, to),
            Expr::Fma(a, b, c) => return self.compute(to, Kind::Fma, &[a, b, c]),
            Expr::Choose { .. } if self.nest.dtype.is_integer() => {
                return Err(Refusal::Operation("a choice between integers".into()));
            }
            Expr::Choose { a, b, then, otherwise } => {
                return self.compute(to, Kind::Choose, &[a, b, then, otherwise]);
            }
            Expr::Activation(..) => {
                return Err(Refusal::Operation("an activation that is not spelled out".into()));
            }
        };
        Ok(match to {
            Some(_) => Arg::Value(self.emit(to, Kind::Copy, &[arg])),
            None => arg,
        })
    }

    fn compute(
        &mut self,
        to: Option<Value>,
        kind: Kind,
        operands: &[&Expr],
    ) -> Result<Arg, Refusal> {
        let mut args: SmallVec<[Arg; 4]> = SmallVec::new();
        for operand in operands {
            args.push(self.expr(operand, None)?);
        }
        Ok(Arg::Value(self.emit(to, kind, &args)))
    }

    fn unary(&mut self, op: Unary, a: &Expr, to: Option<Value>) -> Result<Arg, Refusal> {
        let is_integer = self.nest.dtype.is_integer();
        if is_integer && !matches!(op, Unary::Neg | Unary::To(_)) {
            return Err(Refusal::Operation(format!("{op:?} of integers")));
        }
        // Integers up to the magic number have their last digit in the last bit: adding it turns
        // the number into bits, which move to where the exponent is.
        let format = self.nest.dtype.format();
        let magic = (3u64 << (format.mantissa - 1)) as f64 + format.bias as f64;
        let a = self.expr(a, None)?;
        let constant = |bits| Arg::From(Source::Bits(bits));
        let result = match op {
            Unary::Neg => self.emit(to, Kind::Mul, &[a, constant(self.bits(-1.0))]),
            Unary::Abs => self.emit(to, Kind::And, &[a, constant(self.sign() - 1)]),
            Unary::Round => self.emit(to, Kind::Round, &[a]),
            Unary::To(dtype) => match dtype.range() {
                Some((least, greatest)) => {
                    let [least, greatest] = [least, greatest].map(|x| self.bits(x as f64));
                    let raised = self.emit(None, Kind::Max, &[a, constant(least)]);
                    self.emit(to, Kind::Min, &[Arg::Value(raised), constant(greatest)])
                }
                None => self.emit(to, Kind::To(dtype), &[a]),
            },
            Unary::Exp2Int => {
                let sum = self.emit(None, Kind::Add, &[a, constant(self.bits(magic))]);
                self.emit(to, Kind::Shift(format.mantissa as i32), &[Arg::Value(sum)])
            }
        };
        Ok(Arg::Value(result))
    }

    fn binary(
        &mut self,
        op: Binary,
        a: &Expr,
        b: &Expr,
        to: Option<Value>,
    ) -> Result<Arg, Refusal> {
        if self.nest.dtype.is_integer() && matches!(op, Binary::Div | Binary::CopySign) {
            return Err(Refusal::Operation(format!("{op:?} of integers")));
        }
        let kind = match op {
            Binary::Add => Kind::Add,
            Binary::Sub => Kind::Sub,
            Binary::Mul => Kind::Mul,
            Binary::Div => Kind::Div,
            Binary::Min => Kind::Min,
            Binary::Max => Kind::Max,
            Binary::Scale => Kind::Scale { is_small: self.is_small(b) },
            Binary::MulHigh => Kind::MulHigh,
            Binary::ShiftRound => Kind::ShiftRound,
            Binary::MulFloor => Kind::MulFloor,
            Binary::ShiftUp => Kind::ShiftUp,
            Binary::Prelu => {
                return Err(Refusal::Operation("a prelu that is not spelled out".into()));
            }
            Binary::CopySign => {
                let (a, b, sign) = (self.expr(a, None)?, self.expr(b, None)?, self.sign());
                let magnitude = self.emit(None, Kind::And, &[a, Arg::From(Source::Bits(sign - 1))]);
                let sign = self.emit(None, Kind::And, &[b, Arg::From(Source::Bits(sign))]);
                return Ok(Arg::Value(self.emit(
                    to,
                    Kind::Or,
                    &[Arg::Value(magnitude), Arg::Value(sign)],
                )));
            }
        };
        self.compute(to, kind, &[a, b])
    }

    fn is_small(&self, scale: &Expr) -> bool {
        let Expr::Load(access) = scale else { return false };
        scales_down(self.nest.buffer(self.nest.buffer_behind(self.leaf, access.base)))
    }

    fn bits(&self, c: f64) -> u64 {
        self.nest.dtype.bits_of(c)
    }

    fn sign(&self) -> u64 {
        self.bits(-0.0)
    }

    pub(super) fn register(&self, reg: RegId) -> Result<Value, Refusal> {
        let known = self.values[reg.index()][self.point(reg)];
        known.ok_or_else(|| {
            Refusal::Operation(format!(
                "{} is read where nothing set it",
                self.leaf.registers[reg.index()].name
            ))
        })
    }
}

/// Elements between neighbours along each dimension.
fn strides(extents: &[Affine]) -> Vec<Option<i64>> {
    let mut stride = Some(1);
    let mut all: Vec<Option<i64>> = Vec::with_capacity(extents.len());
    for extent in extents.iter().rev() {
        all.push(stride);
        stride = stride.zip(extent.as_constant()).map(|(s, e)| s * e);
    }
    all.reverse();
    all
}

/// Per register: whether it occurs in more than one section, and so lives through the loops.
fn carried(leaf: &Leaf) -> Vec<bool> {
    let mut count = vec![0; leaf.registers.len()];
    for ops in [&leaf.init, &leaf.update, &leaf.finish] {
        let mut here = vec![false; leaf.registers.len()];
        for op in ops {
            op.visit(&mut |op| match op {
                Op::Set { reg, value, .. } => {
                    here[reg.index()] = true;
                    value.visit(&mut |e| mark(e, &mut here));
                }
                Op::Store { value, .. } => value.visit(&mut |e| mark(e, &mut here)),
                Op::StoreBlock { reg, .. } => here[reg.index()] = true,
                Op::Each(..) => {}
            });
        }
        here.iter().zip(&mut count).for_each(|(here, count)| *count += i32::from(*here));
    }
    count.iter().map(|c| *c > 1).collect()
}

fn mark(e: &Expr, here: &mut [bool]) {
    if let Expr::Reg(reg) = e {
        here[reg.index()] = true;
    }
}
