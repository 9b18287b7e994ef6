//! Known weights go into the program: what `setup` would copy is copied now, and a window whose
//! taps are repeated in the code has its numbers spelled out there.
//!
//! ```text
//! before  for kh in 0..3, kw in 0..3 unrolled:                 weight = -1 0 1 -2 0 2 -1 0 1
//!           a = load input[oh + kh, ow + kw]
//!           acc = fma(a, load weight[kh, kw], acc)
//! after   a = load input[oh, ow];         acc = acc - a
//!         a = load input[oh, ow + 2];     acc = acc + a
//!         a = load input[oh + 1, ow];     acc = fma(a, -2, acc)      ..
//! ```
//!
//! requires: reduce loops marked as unrolled; a setup that copies.
//! gives: no setup from known numbers; leaves without unrolled loops around known taps: taps of
//! zero gone with the loads that nobody else needs, multiplications by 1 and -1 gone. Weights whose
//! place depends on a loop that stays one, or on the lanes, are read from memory as before, only
//! that nobody passes them.
//!
//! The bits stay: `fma(x, 1, acc)` and `acc + x` round once, and a tap of zero adds nothing to a
//! finite sum but the sign of a zero. Of an infinite or NaN input it would make NaN; left out, it
//! does not.

use crate::nest::{
    Access, Affine, AxisId, Base, Binary, BufferId, Cond, Expr, Leaf, Loop, LoopKind, Nest, Op,
    RegId, Stmt, TileAxis, Var, for_leaves,
};
use crate::{Error, Schedule, Target, Values};

pub(super) fn constants(nest: &mut Nest, _: &Schedule, _: &Target) -> Result<(), Error> {
    for stmt in std::mem::take(&mut nest.setup) {
        match copied(nest, &stmt) {
            Some((to, values)) => nest.buffers[to.index()].values = Some(values),
            None => nest.setup.push(stmt),
        }
    }
    let mut body = std::mem::take(&mut nest.body);
    for_leaves(&mut body, &mut |leaf| {
        spell_out(nest, leaf);
        Ok::<_, Error>(())
    })?;
    nest.body = body;
    forget_unread(nest);
    Ok(())
}

/// What a copy from known numbers leaves in its buffer.
fn copied(nest: &Nest, stmt: &Stmt) -> Option<(BufferId, Values)> {
    let (mut loops, mut inner) = (Vec::new(), stmt);
    let leaf = loop {
        match inner {
            Stmt::For(l, body) => {
                loops.push(l);
                inner = body.first().filter(|_| body.len() == 1)?;
            }
            Stmt::Leaf(leaf) => break leaf,
            Stmt::Call(_) => return None,
        }
    };
    loops.extend(&leaf.reduce);
    let [Op::Store { to, value: Expr::Load(from), when }] = &leaf.update[..] else {
        return None;
    };
    let (Base::Buffer(source), Base::Buffer(target), true) = (from.base, to.base, when.is_empty())
    else {
        return None;
    };
    let values = nest.buffer(source).values.as_ref()?;
    let places = [position(nest, target, to)?, position(nest, source, from)?];
    let mut filled = vec![0.0; nest.constant_len(target)? as usize];
    let start = places.each_ref().map(|place| place.constant);
    copy(&loops, &mut vec![0; nest.axes.len()], &places, start, &mut |[to, from]| {
        filled[to as usize] = values[from as usize];
    });
    Some((target, Values::exact(filled)))
}

/// Where an element goes and where it comes from, in every iteration of the loops. Places move by
/// their steps: there may be millions of them.
fn copy(
    loops: &[&Loop],
    at: &mut Vec<i64>,
    places: &[Affine; 2],
    start: [i64; 2],
    move_one: &mut impl FnMut([i64; 2]),
) {
    let Some((first, rest)) = loops.split_first() else {
        return move_one(start);
    };
    let [to, from] = places.each_ref().map(|place| place.of_axis(first.axis));
    let (lo, hi) = range(first, at);
    for here in lo..hi {
        let start = [start[0] + to * here, start[1] + from * here];
        if rest.is_empty() {
            move_one(start);
        } else {
            at[first.axis.index()] = here;
            copy(rest, at, places, start, move_one);
        }
    }
}

/// The values of a loop's axis where those around it stand at `at`.
fn range(l: &Loop, at: &[i64]) -> (i64, i64) {
    let value = |var| match var {
        Var::Axis(axis) => at[AxisId::index(axis)],
        Var::Symbol(_) => 0,
    };
    (l.lo.eval(value), l.hi.eval(value))
}

/// Every iteration of the loops, outermost first.
fn walk(loops: &[&Loop], at: &mut Vec<i64>, f: &mut impl FnMut(&[i64])) {
    let Some((first, rest)) = loops.split_first() else {
        return f(at);
    };
    let (lo, hi) = range(first, at);
    for here in lo..hi {
        at[first.axis.index()] = here;
        walk(rest, at, f);
    }
}

/// The element's place in its buffer, as one expression. `None` where a size is not known.
fn position(nest: &Nest, buffer: BufferId, access: &Access) -> Option<Affine> {
    let extents = &nest.buffer(buffer).extents;
    access.index.iter().zip(extents).try_fold(Affine::default(), |sum, (index, extent)| {
        Some(sum.times(extent.as_constant()?).plus(index.as_affine()?))
    })
}

/// Buffers of known numbers that no leaf reads any more hold nothing.
fn forget_unread(nest: &mut Nest) {
    let mut read = vec![false; nest.buffers.len()];
    for leaf in nest.all_leaves() {
        for access in leaf.accesses() {
            read[nest.buffer_behind(leaf, access.base).index()] = true;
        }
    }
    let unread = nest.buffers.iter_mut().zip(read).filter(|(b, read)| b.values.is_some() && !read);
    for (buffer, _) in unread {
        buffer.values = Some(Values::exact(Vec::new()));
        buffer.extents = vec![Affine::constant(0)];
    }
}

/// The taps of the leaf one by one, each with its number.
fn spell_out(nest: &Nest, leaf: &mut Leaf) {
    let first =
        leaf.reduce.iter().rposition(|l| l.kind != LoopKind::Unrolled).map_or(0, |at| at + 1);
    let taps = Taps::of(nest, leaf, first);
    if taps.is_empty() {
        return;
    }
    let loops: Vec<&Loop> = leaf.reduce[first..].iter().collect();
    let (mut update, mut at) = (Vec::new(), vec![0; nest.axes.len()]);
    walk(&loops, &mut at, &mut |at| {
        let by = |a: &Affine| {
            let fixed =
                |a: Affine, l: &&Loop| a.substitute(Var::Axis(l.axis), &at[l.axis.index()].into());
            loops.iter().fold(a.clone(), fixed)
        };
        update.extend(taps.at(&leaf.update, &by));
    });
    leaf.update = update;
    leaf.reduce.truncate(first);
}

/// The loads of a leaf's update whose numbers are known once its unrolled loops are walked.
struct Taps<'a> {
    nest: &'a Nest,
    tile: &'a [TileAxis],
    /// Axes of the unrolled loops.
    walked: Vec<AxisId>,
    /// Registers that hold such a load, and nothing else.
    held: Vec<(RegId, Access)>,
    direct: bool,
    /// Registers that live on from tap to tap.
    carried: Vec<RegId>,
    /// The update is a sum of products: a known factor can go into its code.
    multiplies: bool,
}

impl<'a> Taps<'a> {
    fn of(nest: &'a Nest, leaf: &'a Leaf, first: usize) -> Taps<'a> {
        let mut taps = Taps {
            nest,
            tile: &leaf.tile,
            walked: leaf.reduce[first..].iter().map(|l| l.axis).collect(),
            held: Vec::new(),
            direct: false,
            carried: leaf.accumulators(),
            multiplies: false,
        };
        for op in &leaf.update {
            op.visit(&mut |op| match op {
                Op::Set { reg, value: Expr::Load(access), when }
                    if taps.knows(access) && when.is_empty() =>
                {
                    taps.held.push((*reg, access.clone()));
                }
                Op::Set { value: Expr::Fma(a, b, _), .. } => {
                    taps.multiplies = true;
                    let known = |e: &Expr| matches!(e, Expr::Load(access) if taps.knows(access));
                    taps.direct |= known(a) || known(b);
                }
                Op::Each(..) | Op::Set { .. } | Op::Store { .. } | Op::StoreBlock { .. } => {}
            });
        }
        taps
    }

    fn is_empty(&self) -> bool {
        !self.multiplies || self.held.is_empty() && !self.direct
    }

    /// Whether the number is known once the unrolled loops and the tile are walked.
    fn knows(&self, access: &Access) -> bool {
        let Base::Buffer(buffer) = access.base else {
            return false;
        };
        let bound = |axis| self.walked.contains(&axis) || self.tile.iter().any(|t| t.axis == axis);
        let fixed = |a: &Affine| {
            a.terms().iter().all(|(var, _)| matches!(var, Var::Axis(axis) if bound(*axis)))
        };
        self.nest.buffer(buffer).values.is_some()
            && access.index.iter().all(|i| i.as_affine().is_some_and(fixed))
    }

    /// The update at one tap.
    fn at(&self, ops: &[Op], by: &dyn Fn(&Affine) -> Affine) -> Vec<Op> {
        let spelled = self.ops(ops, by);
        let mut read = self.carried.clone();
        for op in &spelled {
            op.visit(&mut |op| match op {
                Op::Set { value, .. } | Op::Store { value, .. } => value.visit(&mut |e| {
                    if let Expr::Reg(reg) = e {
                        read.push(*reg);
                    }
                }),
                Op::StoreBlock { reg, .. } => read.push(*reg),
                Op::Each(..) => {}
            });
        }
        needed(spelled, &read)
    }

    fn ops(&self, ops: &[Op], by: &dyn Fn(&Affine) -> Affine) -> Vec<Op> {
        let mut out = Vec::new();
        for op in ops {
            match op {
                Op::Each(axis, body) => out.push(Op::Each(*axis, self.ops(body, by))),
                Op::Set { reg, .. } if self.held.iter().any(|h| h.0 == *reg) => {}
                Op::Set { reg, value: Expr::Fma(a, b, sum), when } => {
                    let (a, b) = (self.operand(a), self.operand(b));
                    let fma = Op::Set {
                        reg: *reg,
                        value: Expr::Fma(a, b, sum.clone()),
                        when: when.clone(),
                    };
                    self.multiply_add(&map(&fma, by), &mut out);
                }
                other => out.push(map(other, by)),
            }
        }
        out
    }

    /// A register that holds a known number, as the load of it.
    fn operand(&self, e: &Expr) -> Box<Expr> {
        let held = |reg: &RegId| self.held.iter().find(|h| h.0 == *reg);
        match e {
            Expr::Reg(reg) => Box::new(held(reg).map_or(e.clone(), |h| Expr::Load(h.1.clone()))),
            _ => Box::new(e.clone()),
        }
    }

    /// A multiply-add whose tap is fixed now: by its number, where that is the same at all points
    /// of the tile, else point by point.
    fn multiply_add(&self, op: &Op, out: &mut Vec<Op>) {
        let Op::Set { reg, value: Expr::Fma(a, b, sum), when } = op else {
            return;
        };
        let known = |e: &Expr| match e {
            Expr::Load(access) if self.knows(access) => Some(access.clone()),
            _ => None,
        };
        let (x, access) = match (known(a), known(b)) {
            (_, Some(access)) => (a, access),
            (Some(access), None) => (b, access),
            (None, None) => return out.push(op.clone()),
        };
        let all = self.numbers(&access);
        let same = all.iter().all(|(_, tap)| *tap == all[0].1);
        for (at, tap) in if same { &all[..1] } else { &all[..] } {
            let Some(value) = added(x, *tap, sum) else { continue };
            let here = if same { &[][..] } else { at };
            let equal = here.iter().flat_map(|&(axis, at)| {
                let axis = Affine::axis(axis);
                [axis.plus_constant(-at), axis.times(-1).plus_constant(at)].map(Cond::NonNegative)
            });
            out.push(Op::Set {
                reg: *reg,
                value,
                when: when.iter().cloned().chain(equal).collect(),
            });
        }
    }

    /// The numbers that a load gives at each point of the tile axes it follows.
    fn numbers(&self, access: &Access) -> Vec<(Vec<(AxisId, i64)>, f64)> {
        let Base::Buffer(buffer) = access.base else {
            return Vec::new();
        };
        let (Some(place), Some(values)) =
            (position(self.nest, buffer, access), &self.nest.buffer(buffer).values)
        else {
            return Vec::new();
        };
        let follows = self.tile.iter().filter(|t| place.of_axis(t.axis) != 0);
        let mut points = vec![Vec::new()];
        for t in follows {
            let more = |point: Vec<(AxisId, i64)>| {
                (0..t.extent).map(move |at| [&point[..], &[(t.axis, at)]].concat())
            };
            points = points.into_iter().flat_map(more).collect();
        }
        let number = |point: &Vec<(AxisId, i64)>| {
            let fixed =
                |a: Affine, &(axis, at): &(AxisId, i64)| a.substitute(Var::Axis(axis), &at.into());
            let at = point.iter().fold(place.clone(), fixed).constant;
            // A tile may stick out of the domain: what its dead points multiply is nobody's
            // business.
            usize::try_from(at).ok().and_then(|at| values.get(at)).copied().unwrap_or(0.0)
        };
        points.iter().map(|p| (p.clone(), number(p))).collect()
    }
}

/// `x * tap + sum`; nothing, where the tap is zero.
fn added(x: &Expr, tap: f64, sum: &Expr) -> Option<Expr> {
    let (x, sum) = (Box::new(x.clone()), Box::new(sum.clone()));
    match tap {
        0.0 => None,
        1.0 => Some(Expr::Binary(Binary::Add, sum, x)),
        -1.0 => Some(Expr::Binary(Binary::Sub, sum, x)),
        tap => Some(Expr::Fma(x, Box::new(Expr::Const(tap)), sum)),
    }
}

fn map(op: &Op, by: &dyn Fn(&Affine) -> Affine) -> Op {
    op.map(&mut |a| a.map(&mut |a: &Affine| by(a)), &mut |c| c.map(&mut |a: &Affine| by(a)))
}

/// The operations without those that set what nobody reads, or can never happen.
fn needed(ops: Vec<Op>, read: &[RegId]) -> Vec<Op> {
    let mut out = Vec::new();
    for op in ops {
        match op {
            Op::Each(axis, body) => {
                let body = needed(body, read);
                if !body.is_empty() {
                    out.push(Op::Each(axis, body));
                }
            }
            Op::Set { reg, .. } if !read.contains(&reg) => {}
            Op::Set { ref when, .. } if when.iter().any(|c| c.as_constant() == Some(false)) => {}
            op => out.push(op),
        }
    }
    out
}
