//! A transposed convolution becomes ordinary ones, one per output residue: no inserted zero is ever
//! multiplied.
//!
//! ```text
//! before  for ow in 0..16: for kw in 0..4:
//!           acc = fma(in[(ow + kw - 2) / 2], w[3 - kw], acc) when 2 divides ow + kw - 2, inside
//! after   for ow.q in 0..8: for kw.q in 0..2:                                    (ow = 2 ow.q)
//!           acc = fma(in[ow.q + kw.q - 1], w[3 - 2 kw.q], acc) when inside
//!         for ow.q in 0..8: for kw.q in 0..2:                                    (ow = 2 ow.q + 1)
//!           acc = fma(in[ow.q + kw.q    ], w[2 - 2 kw.q], acc) when inside
//! ```
//!
//! requires: one chain.
//! gives: no quotient in an index, no divisibility test.
//!
//! For output `s q + r` the taps with `k dilation = pad - r (mod s)` count: with `g = gcd(dilation,
//! s)`, those are `k0 + (s/g) j`, or none. Up to [`SEPARATE`] residues stand one by one, so that
//! their edges are known constants; more of them are run as a loop over the residue wherever `k0`
//! and the input's start move evenly with it, so that a stride of 32 does not make a thousand
//! nests. How far they do so follows from the numbers: no residue is looked at that does not begin
//! such a run.

use crate::nest::{
    Affine, AxisId, Bound, Cond, Index, Loop, LoopKind, LoopPath, Nest, Part, Quotient, Role,
    map_paths,
};
use crate::numbers::{congruent, first_below, gcd};
use crate::{Error, Schedule, Target};

/// Residues along one axis that get a nest each.
const SEPARATE: i64 = 4;

/// Runs of residues, over all axes: each is a nest. A stride that shares no factor with a large
/// dilation has hardly a pair of residues that move evenly.
const MOST: usize = 1 << 10;

pub(super) fn phases(nest: &mut Nest, _: &Schedule, _: &Target) -> Result<(), Error> {
    let body = std::mem::take(&mut nest.body);
    let mut made = 0;
    nest.body = map_paths(body, &mut |chain| split_all(nest, chain, &mut made))?;
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

/// The phases of a chain along all axes; `made` counts them over all chains.
fn split_all(nest: &mut Nest, chain: LoopPath, made: &mut usize) -> Result<Vec<LoopPath>, Error> {
    let Some(axis) = find(nest, &chain) else {
        *made += 1;
        return Ok(vec![chain]);
    };
    axis.check(nest)?;
    let runs = runs(&axis, &chain).ok_or_else(|| too_many(nest, &axis))?;
    let mut chains = Vec::new();
    for run in runs {
        let phase = phase(nest, &chain, &axis, &run);
        chains.extend(split_all(nest, phase, made)?);
        if *made > MOST {
            return Err(too_many(nest, &axis));
        }
    }
    Ok(chains)
}

fn too_many(nest: &Nest, axis: &Divided) -> Error {
    axis.refused(nest, format!(
        "makes outputs of more than {MOST} kinds, over all axes: each has taps and a loop nest of its own, and {MOST} are the most"
    ))
}

fn find(nest: &Nest, chain: &LoopPath) -> Option<Divided> {
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

/// The residues from `residue` on that one nest serves, with `tap = tap0 + tap_step *
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

fn extent_of(loops: &[Loop], axis: AxisId) -> Option<i64> {
    loops.iter().find(|l| l.axis == axis)?.constant_extent()
}

/// The runs of an axis in order; `None` where there are more than [`MOST`].
fn runs(axis: &Divided, chain: &LoopPath) -> Option<Vec<Run>> {
    let residues = Residues {
        axis,
        taps: axis.tap.and_then(|tap| extent_of(&chain.leaf.reduce, tap)).unwrap_or(1),
        extent: axis.out.and_then(|out| extent_of(&chain.loops, out)),
    };
    match axis.out {
        Some(_) => runs_of(&residues),
        None => Some(vec![residues.one(0)]),
    }
}

fn runs_of(residues: &Residues<'_>) -> Option<Vec<Run>> {
    let stride = residues.axis.stride;
    let (mut runs, mut residue) = (Vec::new(), 0);
    while residue < stride {
        let run = match stride > SEPARATE {
            true => residues.run(residue),
            false => residues.one(residue),
        };
        residue += run.count;
        // Residues beyond the last output have none.
        if run.outputs != Some(0) {
            runs.push(run);
        }
        if runs.len() > MOST {
            return None;
        }
    }
    Some(runs)
}

impl Divided {
    /// A tap's position is written with the least common multiple of both.
    fn check(&self, nest: &Nest) -> Result<(), Error> {
        match self.dilation.checked_mul(self.step()) {
            Some(_) => Ok(()),
            None => Err(self.refused(nest, "has a common multiple beyond 2^63".to_owned())),
        }
    }

    fn refused(&self, nest: &Nest, why: String) -> Error {
        let axis = self.out.or(self.tap);
        let name = axis.map_or(String::new(), |axis| nest.role(axis).to_string());
        Error::Unsupported {
            route: "compiled",
            message: format!(
                "stride {} with dilation {} along {name} {why}",
                self.stride, self.dilation
            ),
        }
    }

    fn common(&self) -> i64 {
        gcd(self.dilation.into(), self.stride.into()) as i64 // divides both
    }

    /// Taps of one residue are so many apart.
    fn step(&self) -> i64 {
        self.stride / self.common()
    }
}

/// The residues of one axis.
struct Residues<'a> {
    axis: &'a Divided,
    taps: i64,
    /// Of the output, where that is a constant.
    extent: Option<i64>,
}

impl Residues<'_> {
    /// The first tap that a residue would have if there were enough of them.
    fn first_tap(&self, residue: i64) -> Option<i64> {
        let Divided { stride, dilation, constant, .. } = *self.axis;
        let at = i128::from(residue) + i128::from(constant);
        congruent(dilation.into(), at, stride.into()).map(|(tap, _)| tap as i64) // below the stride
    }

    /// A residue by itself.
    fn one(&self, residue: i64) -> Run {
        let Divided { stride, dilation, constant, .. } = *self.axis;
        let outputs = self.extent.map(|extent| (extent - residue + stride - 1).div_euclid(stride));
        let run = Run { residue, count: 1, tap: (0, 0), start: (0, 0), taps: 0, outputs };
        let step = self.axis.step();
        match self.first_tap(residue).filter(|tap| *tap < self.taps) {
            None => run,
            Some(tap) => Run {
                tap: (tap, 0),
                start: ((residue + dilation * tap + constant) / stride, 0),
                taps: (self.taps - tap + step - 1) / step,
                ..run
            },
        }
    }

    /// The neighbours from `residue` on that move evenly.
    fn run(&self, residue: i64) -> Run {
        let stride = self.axis.stride;
        let first = self.one(residue);
        if residue + 1 == stride {
            return first;
        }
        let next = self.one(residue + 1);
        if (next.taps, next.outputs) != (first.taps, first.outputs) {
            return first;
        }
        let moves = next.tap.0 - first.tap.0;
        let as_many = match first.taps {
            0 => self.without_taps(residue),
            taps => self.with_taps(first.tap.0, taps, moves),
        };
        let same_outputs = match (self.extent, first.outputs) {
            (Some(extent), Some(outputs)) => extent - residue - (outputs - 1) * stride,
            _ => stride,
        };
        Run {
            count: as_many.min(same_outputs).min(stride - residue),
            tap: (first.tap.0, moves),
            start: (first.start.0, next.start.0 - first.start.0),
            ..first
        }
    }

    /// Residues until one has a tap.
    fn without_taps(&self, residue: i64) -> i64 {
        let Divided { stride, constant, .. } = *self.axis;
        let (common, step) = (self.axis.common(), self.axis.step());
        // Every `common`-th residue would have one, if there were enough of them.
        let gap = (-(residue + constant)).rem_euclid(common);
        let moves = self.first_tap(residue + gap).zip(self.first_tap(residue + gap + common));
        let rounds = moves.and_then(|(tap, next)| {
            let by = i128::from(next - tap);
            first_below(by, tap.into(), step.into(), i128::from(self.taps.min(step)))
        });
        rounds.map_or(stride, |rounds| {
            let until = i128::from(gap) + rounds * i128::from(common);
            i64::try_from(until).unwrap_or(stride)
        })
    }

    /// Residues with as many taps, of which the first is the one before, moved.
    fn with_taps(&self, tap: i64, taps: i64, moves: i64) -> i64 {
        let step = self.axis.step();
        // The last tap of as many is the last there is.
        let least = (self.taps - taps * step).max(0);
        let most = (self.taps - (taps - 1) * step).min(step) - 1;
        match moves {
            0 => self.axis.stride,
            1.. => (most - tap) / moves + 1,
            _ => (tap - least) / -moves + 1,
        }
    }
}

/// The chain for the residues of one run.
fn phase(nest: &mut Nest, chain: &LoopPath, axis: &Divided, run: &Run) -> LoopPath {
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
        let at = chain.find(out).expect("an output axis has its loop");
        let left = |hi: &Quotient| Quotient {
            numerator: hi.numerator.minus(&residue).plus_constant(axis.stride - 1 - run.residue),
            divisor: axis.stride,
        };
        let hi = Bound::Min(chain.loops[at].hi.quotients().iter().map(left).collect());
        let hi = hi.as_constant().or(run.outputs).map_or(hi, Bound::from);
        chain.substitute(out, &by);
        chain.loops[at] = Loop { hi, ..Loop::serial(q, 0) };
        input = input.plus(&Affine::axis(q));
    }
    if let Some(tap) = axis.tap {
        let j = nest.add_axis(format!("{}.q", nest.role(tap)), nest.role(tap), Part::Whole);
        let at = chain.leaf.reduce.iter().position(|l| l.axis == tap);
        let at = at.expect("a kernel axis has its loop");
        chain.leaf.reduce[at] = Loop { kind: LoopKind::Serial, ..Loop::serial(j, run.taps) };
        input = input.plus(&Affine::axis(j).times(axis.dilation / axis.common()));
        let by = Affine::axis(j).times(axis.step()).plus(&tap0);
        chain.leaf.substitute(tap, &by);
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
fn divide(chain: &mut LoopPath, stride: i64, input: &Affine) {
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

#[cfg(test)]
mod tests;
