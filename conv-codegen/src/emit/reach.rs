//! How far a leaf reaches: asserted once, in front of its loops, so that no access inside needs a
//! test.
//!
//! ```text
//! each ow.i in 0..14, for ic in 0..64: splat input[ic, ow.i]
//!     ->  assert!(input_at + 63 * 3136 + 13 < input.len());
//! .. for kh in kh_lo..kh_hi
//!     ->  if kh_lo < kh_hi { assert!(..) }
//! ```
//!
//! Every dimension's smallest and largest index are found over all points that the conditions let
//! through; the corner of both is inside the array if every access is, because each dimension is.
//! Loops whose bounds are known only at run time add their ends as text. What cannot be bounded so
//! (folded indices, tests of run-time numbers) is not asserted, and is checked where it stands.
//!
//! `unsafe` trusts these assertions, so they must not wrap. They are sums of terms of the accesses
//! that they stand for, at the ends of their loops; [`magnitude`](super::magnitude) bounds every
//! such sum, and the door has refused sizes for which one would not fit.

use conv_ir::nest::{Access, Affine, Cond, Expr, Index, Leaf, Loop, Op, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::scope::{Scope, Truth};
use super::sum::{Factor, Sum};
use super::tokens;

/// Points that are tried one by one, at most.
const POINTS: i64 = 1 << 15;

/// The accesses that the assertions in front of a leaf cover.
#[derive(Default)]
pub(super) struct Asserted {
    accesses: Vec<Access>,
}

impl Asserted {
    pub fn holds(&self, access: &Access) -> bool {
        self.accesses.contains(access)
    }
}

/// A place that a leaf touches, and when.
struct Touch<'a> {
    access: &'a Access,
    when: Vec<Cond>,
    /// Inside the reduction, whose loops may be empty.
    in_update: bool,
}

/// The corner of an access: offsets from its buffer's start.
struct Corner {
    buffer: usize,
    low: Sum,
    high: Sum,
    in_update: bool,
}

/// Whether the reduction runs over something.
fn runs(leaf: &Leaf, scope: &Scope<'_>) -> Truth {
    let mut tests = Vec::new();
    for l in &leaf.reduce {
        match l.constant_range() {
            Some((lo, hi)) if lo >= hi => return Truth::Never,
            Some(_) => {}
            None => {
                let signed = [&l.lo, &l.hi].iter().any(|b| !scope.bound_range(b).non_negative());
                let [lo, hi] = [&l.lo, &l.hi].map(|bound| operand(scope.bound(bound, signed)));
                tests.push(format!("{lo} < {hi}"));
            }
        }
    }
    match tests.is_empty() {
        true => Truth::Always,
        false => Truth::If(tests.join(" && ")),
    }
}

/// The assertions of a leaf with lanes, and what they cover.
pub(super) fn assertions(leaf: &Leaf, scope: &mut Scope<'_>) -> (TokenStream, Asserted) {
    let mut asserted = Asserted::default();
    let mut corners: Vec<Corner> = Vec::new();
    let mut failed: Vec<Access> = Vec::new();
    let runs = runs(leaf, scope);
    for touch in touches(leaf) {
        if touch.in_update && matches!(runs, Truth::Never) {
            asserted.accesses.push(touch.access.clone());
            continue;
        }
        match corner(leaf, scope, &touch) {
            Some(corner) => {
                asserted.accesses.push(touch.access.clone());
                corner.into_iter().for_each(|corner| merge(&mut corners, corner));
            }
            None => failed.push(touch.access.clone()),
        }
    }
    asserted.accesses.retain(|access| !failed.contains(access));
    let text = |in_update: bool| -> TokenStream {
        let corners = corners.iter().filter(|corner| corner.in_update == in_update);
        corners.map(|corner| corner.assertions(scope)).collect()
    };
    let (inside, outside) = (text(true), text(false));
    let inside = match runs {
        Truth::If(test) if !inside.is_empty() => {
            let test = tokens(&test);
            quote!(if #test { #inside })
        }
        _ => inside,
    };
    (quote!(#inside #outside), asserted)
}

impl Corner {
    fn assertions(&self, scope: &Scope<'_>) -> TokenStream {
        let name = &scope.buffers[self.buffer];
        let high = match self.high.signed() {
            true => format!("{} < {name}.len() as isize", operand(self.high.isize_text())),
            false => format!("{} < {name}.len()", self.high.usize_text()),
        };
        let tests = self.low.non_negative_text().into_iter().chain([high]);
        tests
            .map(|test| {
                let test = tokens(&test);
                quote!(assert!(#test);)
            })
            .collect()
    }
}

/// In parentheses, where it is more than a name or a number.
fn operand(text: String) -> String {
    match text.contains(' ') {
        true => format!("({text})"),
        false => text,
    }
}

/// Corners that differ in a constant are one.
fn merge(corners: &mut Vec<Corner>, corner: Corner) {
    let same = |known: &&mut Corner| {
        (known.buffer, known.in_update) == (corner.buffer, corner.in_update)
            && known.low.varies_as(&corner.low)
            && known.high.varies_as(&corner.high)
    };
    match corners.iter_mut().find(same) {
        Some(known) => {
            known.low.constant = known.low.constant.min(corner.low.constant);
            known.high.constant = known.high.constant.max(corner.high.constant);
        }
        None => corners.push(corner),
    }
}

/// Every access of a leaf.
fn touches(leaf: &Leaf) -> Vec<Touch<'_>> {
    let mut all = Vec::new();
    let sections = [(&leaf.init, false), (&leaf.update, true), (&leaf.finish, false)];
    for (op, in_update) in
        sections.into_iter().flat_map(|(ops, inside)| ops.iter().map(move |op| (op, inside)))
    {
        let first = all.len();
        op.visit(&mut |op| match op {
            Op::Each(..) => {}
            Op::Set { value, when, .. } => loads(value, when, &mut all),
            Op::Store { to, value, when } => {
                loads(value, when, &mut all);
                all.push(Touch { access: to, when: when.clone(), in_update });
            }
            Op::StoreBlock { to, .. } => {
                all.push(Touch { access: to, when: Vec::new(), in_update })
            }
        });
        all[first..].iter_mut().for_each(|touch| touch.in_update = in_update);
    }
    let cut = leaf.lanes.and_then(|lanes| {
        let reached =
            lanes.vectors.map_or(Affine::default(), |axis| Affine::axis(axis).times(-lanes.width));
        lanes.cut.map(|cut| {
            (
                lanes.axis,
                Cond::NonNegative(
                    reached.plus_term(Var::Axis(lanes.axis), -1).plus_constant(cut - 1),
                ),
            )
        })
    });
    for touch in &mut all {
        let of_lanes = cut.iter().filter(|(axis, _)| touch.access.follows(*axis));
        touch.when.extend(of_lanes.map(|(_, cond)| cond.clone()));
    }
    all
}

fn loads<'a>(value: &'a Expr, when: &[Cond], all: &mut Vec<Touch<'a>>) {
    match value {
        Expr::Load(access) => all.push(Touch { access, when: when.to_vec(), in_update: false }),
        Expr::Select { when: also, then, otherwise } => {
            loads(then, &[when, also].concat(), all);
            loads(otherwise, when, all);
        }
        Expr::Unary(_, a) | Expr::Activation(_, a) => loads(a, when, all),
        Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|e| loads(e, when, all)),
        Expr::Fma(a, b, c) => [a, b, c].into_iter().for_each(|e| loads(e, when, all)),
        Expr::Choose { a, b, then, otherwise } => {
            [a, b, then, otherwise].into_iter().for_each(|e| loads(e, when, all))
        }
        Expr::Const(_) | Expr::Reg(_) => {}
    }
}

/// The numbers that a variable takes, if they are known: tile axes, lanes, loops with constant
/// bounds.
fn numbers(leaf: &Leaf, var: Var) -> Option<(i64, i64)> {
    let Var::Axis(axis) = var else { return None };
    if let Some(extent) = leaf.tile_extent(axis) {
        return Some((0, extent));
    }
    if let Some(lanes) = leaf.lanes.filter(|l| l.axis == axis) {
        return Some((0, lanes.width));
    }
    leaf.reduce.iter().find(|l| l.axis == axis).and_then(Loop::constant_range)
}

/// `None` where it cannot be told; `Some(None)` where the access never happens.
fn corner(leaf: &Leaf, scope: &mut Scope<'_>, touch: &Touch<'_>) -> Option<Option<Corner>> {
    let index: Vec<&Affine> =
        touch.access.index.iter().map(Index::as_affine).collect::<Option<_>>()?;
    let mut tested: Vec<(Var, (i64, i64))> = Vec::new();
    for &(var, _) in touch.when.iter().flat_map(|c| c.expression().terms()) {
        if tested.iter().all(|(known, _)| *known != var) {
            tested.push((var, numbers(leaf, var)?));
        }
    }
    let Some(boxes) = boxes(&index, &touch.when, &tested)? else {
        return Some(None);
    };
    let origin = scope.address(Some(leaf), &at_origin(touch.access), None);
    let strides = scope.strides(origin.buffer);
    let (mut low, mut high) = (origin.at.clone(), origin.at);
    for ((a, stride), (lo, hi)) in index.iter().zip(&strides).zip(boxes) {
        let mut ends = (Sum::constant(lo), Sum::constant(hi));
        for &(var, by) in
            a.terms().iter().filter(|(var, _)| tested.iter().all(|(known, _)| known != var))
        {
            let (first, last) = ends_of(leaf, scope, var)?;
            let (to_low, to_high) = if by > 0 { (first, last) } else { (last, first) };
            ends.0.add(&to_low, by);
            ends.1.add(&to_high, by);
        }
        low = low.plus(&ends.0.times(stride));
        high = high.plus(&ends.1.times(stride));
    }
    Some(Some(Corner { buffer: origin.buffer, low, high, in_update: touch.in_update }))
}

/// The smallest and the largest index of each dimension.
type Boxes = Vec<(i64, i64)>;

/// The access with every index zero: its pointer.
fn at_origin(access: &Access) -> Access {
    Access {
        base: access.base,
        index: access.index.iter().map(|_| Index::Affine(Affine::default())).collect(),
    }
}

/// Per dimension: constant and tested variables at their smallest and largest, over the points
/// where all conditions hold. `None` for too many points, `Some(None)` where no point passes.
fn boxes(index: &[&Affine], when: &[Cond], tested: &[(Var, (i64, i64))]) -> Option<Option<Boxes>> {
    let count = tested.iter().try_fold(1, |all: i64, (_, (lo, hi))| {
        all.checked_mul(hi.checked_sub(*lo)?.max(0)).filter(|count| *count <= POINTS)
    })?;
    let mut boxes: Option<Boxes> = None;
    for at in 0..count {
        let mut rest = at;
        let point: Vec<(Var, i64)> = tested
            .iter()
            .map(|&(var, (lo, hi))| {
                let value = lo + rest % (hi - lo);
                rest /= hi - lo;
                (var, value)
            })
            .collect();
        let value =
            |var: Var| point.iter().find(|(known, _)| *known == var).map_or(0, |(_, value)| *value);
        if !when.iter().all(|cond| cond.eval(value)) {
            continue;
        }
        let values: Vec<i64> = index.iter().map(|a| a.eval(value)).collect();
        match &mut boxes {
            None => boxes = Some(values.into_iter().map(|v| (v, v)).collect()),
            Some(boxes) => {
                boxes.iter_mut().zip(values).for_each(|(b, v)| *b = (b.0.min(v), b.1.max(v)))
            }
        }
    }
    Some(boxes)
}

/// The first and the last value of a variable that no condition speaks of.
fn ends_of(leaf: &Leaf, scope: &Scope<'_>, var: Var) -> Option<(Sum, Sum)> {
    if let Some((lo, hi)) = numbers(leaf, var) {
        return Some((Sum::constant(lo), Sum::constant(hi - 1)));
    }
    let Var::Axis(axis) = var else {
        return Some((scope.var(var), scope.var(var)));
    };
    let Some(l) = leaf.reduce.iter().find(|l| l.axis == axis) else {
        return Some((scope.var(var), scope.var(var)));
    };
    let bounds = [&l.lo, &l.hi];
    let inner = bounds.iter().flat_map(|b| b.quotients()).flat_map(|q| q.numerator.axes());
    if inner.into_iter().any(|axis| leaf.reduce.iter().any(|l| l.axis == axis)) {
        return None;
    }
    let [lo, hi] = bounds.map(|bound| {
        let range = scope.bound_range(bound);
        let signed = !range.non_negative();
        Sum::factor(Factor { text: operand(scope.bound(bound, signed)), signed, range })
    });
    Some((lo, hi.plus(&Sum::constant(-1))))
}
