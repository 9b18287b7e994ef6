//! A transposed convolution becomes ordinary ones, one per output residue: no inserted zero is ever
//! multiplied.
//!
//! ```text
//! before  for ow in 0..16: for kw in 0..4: acc = fma(in[(ow + kw - 2) / 2], w[3 - kw], acc) when 2 divides ow + kw - 2, inside
//! after   for ow.q in 0..8: for kw.q in 0..2: acc = fma(in[ow.q + kw.q - 1], w[3 - 2 kw.q], acc) when inside          (ow = 2 ow.q)
//!         for ow.q in 0..8: for kw.q in 0..2: acc = fma(in[ow.q + kw.q    ], w[2 - 2 kw.q], acc) when inside          (ow = 2 ow.q + 1)
//! ```
//!
//! requires: one chain.
//! gives: no quotient in an index, no divisibility test.
//!
//! For output `s q + r` the taps with `k dilation = pad - r (mod s)` count: with `g = gcd(dilation,
//! s)`, those are `k0 + (s/g) j`, or none. Up to [`SEPARATE`] residues stand one by one, so that
//! their edges are known constants; more of them are run as a loop over the residue wherever `k0`
//! and the input's start move evenly with it, so that a stride of 32 does not make a thousand
//! nests.

use crate::nest::{
    Affine, AxisId, Bound, Chain, Cond, Index, Loop, LoopKind, Nest, Part, Quotient, Role, Var,
    map_chains,
};
use crate::{Error, Schedule, Target};

/// Residues along one axis that get a nest each.
const SEPARATE: i64 = 4;

pub(super) fn phases(nest: &mut Nest, _: &Schedule, _: &Target) -> Result<(), Error> {
    let body = std::mem::take(&mut nest.body);
    nest.body = map_chains(body, &mut |chain| Ok::<_, Error>(split_all(nest, chain)))?;
    Ok(())
}

/// One spatial axis that still divides: `position / stride`, where `position =
/// out + dilation * tap + constant`.
struct Divided {
    stride: i64,
    dilation: i64,
    /// `-pad_lo`.
    constant: i64,
    out: Option<AxisId>,
    tap: Option<AxisId>,
}

fn split_all(nest: &mut Nest, chain: Chain) -> Vec<Chain> {
    match find(nest, &chain) {
        None => vec![chain],
        Some(axis) => {
            split(nest, &chain, &axis).into_iter().flat_map(|c| split_all(nest, c)).collect()
        }
    }
}

fn find(nest: &Nest, chain: &Chain) -> Option<Divided> {
    let quotient =
        chain.leaf.accesses().into_iter().flat_map(|a| &a.index).find_map(|i| match i {
            Index::Quotient(q) => Some(q.clone()),
            Index::Affine(_) | Index::Folded { .. } => None,
        })?;
    let is = |axis: &AxisId, tap: bool| matches!(nest.role(*axis), Role::Kernel(_)) == tap;
    let tap = quotient.numerator.axes().find(|a| is(a, true));
    Some(Divided {
        stride: quotient.divisor,
        dilation: tap.map_or(0, |tap| quotient.numerator.of_axis(tap)),
        constant: quotient.numerator.constant,
        out: quotient.numerator.axes().find(|a| is(a, false)),
        tap,
    })
}

/// The residues `first + step_count` that one nest serves, with `tap = tap0 + tap_step *
/// residue_index + ..`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    residue: i64,
    count: i64,
    /// First tap of the first residue, and how it moves with the residue.
    tap: (i64, i64),
    /// Input position of the first tap for output 0, and how it moves.
    start: (i64, i64),
    /// Taps of each residue.
    taps: i64,
    /// Outputs of each residue, where that is a constant.
    outputs: Option<i64>,
}

fn split(nest: &mut Nest, chain: &Chain, axis: &Divided) -> Vec<Chain> {
    let taps = axis.tap.and_then(|tap| extent_of(&chain.leaf.reduce, tap)).unwrap_or(1);
    let (residues, step) = (axis.stride, axis.stride / gcd(axis.dilation, axis.stride));
    let extent = axis.out.and_then(|out| extent_of(&chain.loops, out));
    let outputs = |r: i64| extent.map(|extent| (extent - r + residues - 1).div_euclid(residues));
    let run = |r: i64| Run { outputs: outputs(r), ..run_of(axis, r, taps, step) };
    let runs = match axis.out {
        Some(_) => join((0..residues).map(run).collect(), residues > SEPARATE),
        None => vec![run(0)],
    };
    runs.into_iter().map(|run| phase(nest, chain, axis, &run, step)).collect()
}

fn extent_of(loops: &[Loop], axis: AxisId) -> Option<i64> {
    loops.iter().find(|l| l.axis == axis)?.constant_extent()
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

/// The taps of one residue.
fn run_of(axis: &Divided, residue: i64, taps: i64, step: i64) -> Run {
    let position = |tap: i64| residue + axis.dilation * tap + axis.constant;
    let first = (0..step.min(taps)).find(|&tap| position(tap) % axis.stride == 0);
    match first {
        None => Run { residue, count: 1, tap: (0, 0), start: (0, 0), taps: 0, outputs: None },
        Some(tap) => Run {
            residue,
            count: 1,
            tap: (tap, 0),
            start: (position(tap) / axis.stride, 0),
            taps: (taps - tap + step - 1) / step,
            outputs: None,
        },
    }
}

/// Neighbouring residues that move evenly become one run.
fn join(runs: Vec<Run>, wanted: bool) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        let last = joined
            .last_mut()
            .filter(|last| wanted && (last.taps, last.outputs) == (run.taps, run.outputs));
        match last {
            Some(last) if last.count == 1 => {
                last.tap.1 = run.tap.0 - last.tap.0;
                last.start.1 = run.start.0 - last.start.0;
                last.count = 2;
            }
            Some(last)
                if last.tap.0 + last.tap.1 * last.count == run.tap.0
                    && last.start.0 + last.start.1 * last.count == run.start.0 =>
            {
                last.count += 1;
            }
            _ => joined.push(run),
        }
    }
    joined
}

/// The chain for the residues of one run.
fn phase(nest: &mut Nest, chain: &Chain, axis: &Divided, run: &Run, step: i64) -> Chain {
    let mut chain = chain.clone();
    let mut residue = Affine::constant(0);
    if run.count > 1 {
        let out = axis.out.map_or(Role::Copy, |out| nest.role(out));
        let id = nest.add_axis(format!("{out}.r"), out, Part::Inner);
        residue = Affine::axis(id);
        let l = Loop::serial(id, run.count);
        chain.loops.insert(0, l);
    }
    let tap0 = residue.times(run.tap.1).plus_constant(run.tap.0);
    let mut input = residue.times(run.start.1).plus_constant(run.start.0);
    if let Some(out) = axis.out {
        let q = nest.add_axis(format!("{}.q", nest.role(out)), nest.role(out), Part::Whole);
        let by = Affine::axis(q).times(axis.stride).plus(&residue).plus_constant(run.residue);
        let at = chain.find(out).unwrap_or_default();
        let left = |hi: &Quotient| Quotient {
            numerator: hi.numerator.minus(&residue).plus_constant(axis.stride - 1 - run.residue),
            divisor: axis.stride,
        };
        let hi = Bound::Min(chain.loops[at].hi.quotients().iter().map(left).collect());
        let hi = hi.as_constant().or(run.outputs).map_or(hi, Bound::from);
        chain = chain.substitute(out, &by);
        chain.loops[at] = Loop { hi, ..Loop::serial(q, 0) };
        input = input.plus(&Affine::axis(q));
    }
    if let Some(tap) = axis.tap {
        let j = nest.add_axis(format!("{}.q", nest.role(tap)), nest.role(tap), Part::Whole);
        let at = chain.leaf.reduce.iter().position(|l| l.axis == tap).unwrap_or_default();
        chain.leaf.reduce[at] = Loop { kind: LoopKind::Serial, ..Loop::serial(j, run.taps) };
        input = input.plus(&Affine::axis(j).times(axis.dilation * step / axis.stride));
        let by = Affine::axis(j).times(step).plus(&tap0);
        chain.leaf = chain.leaf.map_affine(&mut |a| a.substitute(Var::Axis(tap), &by));
    }
    if run.taps == 0 {
        // No tap meets this residue: the output is the epilogue of the bias.
        chain.leaf.reduce.clear();
        chain.leaf.update.clear();
    }
    divide(&mut chain, axis.stride, &input);
    chain
}

/// What is divided is replaced by its exact quotient; conditions on it lose the factor.
fn divide(chain: &mut Chain, stride: i64, input: &Affine) {
    let undivided = input.times(stride);
    let is_it = |q: &Quotient| q.divisor == stride && q.numerator == undivided;
    let access = &mut |access: &crate::nest::Access| {
        let mut access = access.clone();
        for index in &mut access.index {
            if matches!(index, Index::Quotient(q) if is_it(q)) {
                *index = Index::Affine(input.clone());
            }
        }
        access
    };
    // `stride * x + c >= 0` is `x >= ceil(-c / stride)`; the multiples that occur make it exact.
    let cond = &mut |cond: &Cond| match cond {
        Cond::Divides(d, a) if *d == stride && *a == undivided => {
            Cond::NonNegative(Affine::constant(0))
        }
        Cond::NonNegative(a) => Cond::NonNegative(reduced(a, stride, &undivided)),
        Cond::Divides(..) => cond.clone(),
    };
    chain.leaf = chain.leaf.map(access, cond, &mut |b| b.clone());
    for op in &mut chain.leaf.update {
        if let crate::nest::Op::Set { when, .. } = op {
            when.retain(|c| c.as_constant() != Some(true));
        }
    }
}

/// `a`, or `a / stride` rounded down, where `a` is a condition about the divided position.
fn reduced(a: &Affine, stride: i64, undivided: &Affine) -> Affine {
    let varying = |x: &Affine| x.plus_constant(-x.constant);
    let about_it = [1, -1].iter().any(|&sign| {
        let rest = a.minus(&undivided.times(sign));
        rest.axes().next().is_none()
            && rest.terms().iter().all(|t| t.1 % stride == 0)
            && !undivided.terms().is_empty()
    });
    if !about_it || varying(a).terms().iter().any(|t| t.1 % stride != 0) {
        return a.clone();
    }
    let mut out = Affine::constant(a.constant.div_euclid(stride));
    for &(var, coefficient) in a.terms() {
        out = out.plus_term(var, coefficient / stride);
    }
    out
}
