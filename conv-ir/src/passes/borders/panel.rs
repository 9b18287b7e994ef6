//! Rows of the input are copied, with their padding, into a panel that stays in cache.
//!
//! ```text
//! before  for n, g, oc, oh, ow: .. in[n, g, ic, oh + kh - 1, ow + kw - 1] when inside
//! after   for n, g, oh.o:
//!           for ic, row: panel[ic, row, ..] = 0 | in[n, g, ic, 8 oh.o + row - 1, ..] | 0
//!           for oc, oh in 0..8, ow: .. panel[ic, oh + kh, ow + kw]
//! ```
//!
//! gives: no condition, no fold but in a copy; every tile is an inner one, in every padding mode.
//!
//! The copy is made of segments per axis: before the image, inside, after it. Outside, an element
//! is the padding value or, folded, an affine function of the position again, so that no copy loop
//! tests anything. Where padding is so wide that it turns more than once, each element is folded.
//! One row at a time (`rows` 1) the panel holds only the rows under taps, whatever the dilation;
//! with more rows, neighbours share what they have in common.
//!
//! Where bytes are multiplied four at a time, the panel has four channels side by side:
//!
//! ```text
//! after   for n, g, oh.o:
//!           for ic.q, row, b in 0..4: panel[ic.q, row, .., b] = 0 | in[n, g, 4 ic.q + b, ..] | 0
//!           for oc, oh in 0..8, ow, ic.q, ic.b in 0..4: .. panel[ic.q, oh + kh, ow + kw, ic.b]
//! ```
//!
//! It is of bytes then, as the input is, and so is one of columns in the lanes where the machine
//! has such products: neighbouring taps find neighbouring bytes. Others are of the sums' type,
//! widened once.

mod copy;
mod woven;

use super::drop_tests;
use crate::nest::{
    Access, Affine, AxisId, Base, Bound, BufferId, BufferRole, Cond, Expr, FOUR, Fold, Index, Leaf,
    Loop, LoopPath, Nest, Part, Quotient, Role, Stmt, Var,
};
use crate::schedule::Borders;
use crate::{Error, Schedule};
use woven::{
    Woven, are_of_tiles, leave_holes_out, sort_for_tiles, spare_of_tiles, taps_apart, weave,
};

pub(super) use woven::weaves;

/// Copies that fill a panel: those of five axes that fold.
const COPIES: usize = 243;

/// What lies outside the image.
#[derive(Clone, Copy)]
enum Outside {
    /// Never read.
    Nothing,
    /// Never read, and each position is copied by itself.
    Each,
    Value(f64),
    /// Turned once at either end.
    Turned(Fold),
    /// Turned as often as it takes.
    Folded(Fold),
}

/// One dimension of the panel.
struct Dimension {
    /// Which dimension of the input it copies.
    of: usize,
    extent: i64,
    /// Where the last block of rows is short: one past the last position that an output needs.
    needed: Vec<Quotient>,
    /// Position in the input: `scale * (position in the panel) + start`.
    scale: i64,
    start: Affine,
    /// Extent of the input along it.
    limit: Affine,
    outside: Outside,
    /// Elements that fold together.
    pixel: i64,
    /// The panel's index at a tap of an output.
    index: Affine,
}

/// How rows are copied.
#[derive(Clone, Copy)]
pub(super) struct Copying {
    /// Rows of the output that a panel serves.
    pub rows: i64,
    /// Columns of it; `None`: all.
    pub columns: Option<i64>,
    /// With four channels side by side.
    pub weaves: bool,
    /// Bytes stay bytes, where the padding is one: several are multiplied at a time.
    pub stays: bool,
}

pub(super) fn panel(
    nest: &mut Nest,
    schedule: &Schedule,
    path: LoopPath,
    Copying { rows, columns, weaves, stays }: Copying,
) -> Result<Vec<Stmt>, Error> {
    let Some(input) = nest.buffer_of(BufferRole::Input) else {
        return Ok(vec![path.into_stmt()]);
    };
    let Some(access) = input_access(&path.leaf, input) else {
        return Ok(vec![path.into_stmt()]);
    };
    let once: Vec<bool> = access.index.iter().map(|index| turns_once(&path, index)).collect();
    let mut path = in_blocks(nest, path, Role::Out(1), rows);
    if let Some(columns) = columns {
        check_pixels(&access, (rows, columns))?;
        path = in_blocks(nest, path, Role::Out(0), columns);
    }
    let (dtype, padding) = (nest.buffer(input).dtype, padding_value(&path.leaf));
    let stays =
        stays && dtype.is_integer() && dtype.bytes() == 1 && dtype.round(padding) == padding;
    let woven = if weaves { weave(nest, &mut path.leaf) } else { None };
    let is_of_tiles = woven.is_some() && are_of_tiles(schedule);
    let access = input_access(&path.leaf, input).unwrap_or(access);
    let mut dimensions = Vec::new();
    for of in 0..access.index.len() {
        if let Some(mut dimension) = dimension(nest, schedule, &path, &access, of)? {
            if let Outside::Turned(fold) = dimension.outside
                && !once[of]
            {
                dimension.outside = Outside::Folded(fold);
            }
            if woven.is_some() {
                leave_holes_out(nest, &path, &mut dimension);
            }
            if let Some(woven) = woven.filter(|w| dimension.index.of_axis(w.block) != 0) {
                dimension.extent = (woven.channels + FOUR - 1) / FOUR;
                (dimension.scale, dimension.index) = (FOUR, Affine::axis(woven.block));
            }
            if is_of_tiles {
                dimensions.extend(taps_apart(nest, &path, &mut dimension));
            }
            dimensions.push(dimension);
        }
    }
    if dimensions.is_empty() {
        return Ok(vec![path.into_stmt()]); // nothing of the input varies inside a panel
    }
    check_copies(&dimensions)?;
    // Channels, planes, rows, columns, whatever the input's layout.
    let columns_last = |d: &Dimension| innermost_axis(nest, &access.index[d.of]);
    dimensions.sort_by_key(columns_last);
    if let Some(woven) = woven.filter(|_| is_of_tiles) {
        sort_for_tiles(&mut dimensions, woven);
    }
    let width = schedule.lanes.map_or(1, |l| l.1);
    let spare = |at: usize| match at + 1 == dimensions.len() {
        true if is_of_tiles => spare_of_tiles(dimensions[at].extent, width),
        true => width,
        false => 0,
    };
    let extents = dimensions.iter().enumerate().map(|(at, d)| d.extent + spare(at));
    let extents = extents.chain(woven.map(|_| FOUR)).map(Affine::constant).collect();
    let panel = nest.add_buffer("panel", BufferRole::Scratch, extents);
    if stays || woven.is_some() {
        nest.store_as(panel, dtype);
    }
    let (outer, inner): (Vec<Loop>, Vec<Loop>) =
        path.loops.iter().cloned().partition(|l| is_outer(nest, schedule, l));
    let copies = copy::copies(nest, (input, panel), &access, (&dimensions, woven), width);
    let index = dimensions.iter().map(|d| d.index.clone());
    let index = index.chain(woven.map(|w| Affine::axis(w.inside)));
    let compute = compute(&path.leaf, &access, Access::buffer(panel, index));
    let mut body: Vec<Stmt> = copies.into_iter().map(LoopPath::into_stmt).collect();
    body.push(LoopPath { loops: inner, leaf: compute }.into_stmt());
    Ok(outer.into_iter().rev().fold(body, |body, l| vec![Stmt::For(l, body)]))
}

/// Blocks of columns must hold whole pixels, where interleaved channels fold together.
fn check_pixels(access: &Access, (rows, columns): (i64, i64)) -> Result<(), Error> {
    let pixel = |index: &Index| if let Index::Folded { pixel, .. } = index { *pixel } else { 1 };
    match access.index.iter().map(pixel).find(|pixel| columns % pixel != 0) {
        None => Ok(()),
        Some(pixel) => Err(Error::IllegalSchedule(format!(
            "borders panel:{rows}x{columns}: {pixel} interleaved channels fold together; say a \
             multiple of {pixel} columns"
        ))),
    }
}

/// One that would be filled by too many copies is refused.
fn check_copies(dimensions: &[Dimension]) -> Result<(), Error> {
    let copies: usize = dimensions.iter().map(copy::parts).product();
    if copies <= COPIES {
        return Ok(());
    }
    Err(Error::IllegalSchedule(format!(
        "borders panel: {copies} copies would fill it, one for each combination of parts before, \
         inside and behind the image, but the limit is {COPIES}; use borders exact"
    )))
}

fn input_access(leaf: &Leaf, input: BufferId) -> Option<Access> {
    leaf.accesses().into_iter().find(|a| a.base == Base::Buffer(input)).cloned()
}

/// The loops that a panel is filled in: all but those over what shares it. A tile of groups shares
/// a panel of all groups.
fn is_outer(nest: &Nest, schedule: &Schedule, l: &Loop) -> bool {
    let axis = nest.axis(l.axis);
    match axis.role {
        Role::OutChannel => false,
        Role::Group => schedule.tile_of(Role::Group) == 1,
        Role::Out(0 | 1) => axis.part != Part::Whole,
        _ => true,
    }
}

/// The loop over an axis of the output in blocks of `size`.
fn in_blocks(nest: &mut Nest, mut path: LoopPath, role: Role, size: i64) -> LoopPath {
    let is_it = |l: &Loop| nest.role(l.axis) == role && nest.axis(l.axis).part == Part::Whole;
    let Some(at) = path.loops.iter().position(is_it) else {
        return path;
    };
    let (axis, hi) = (path.loops[at].axis, path.loops[at].hi.quotients().to_vec());
    let block = nest.add_axis(format!("{role}.o"), role, Part::Outer);
    let inside = nest.add_axis(role.to_string(), role, Part::Whole);
    let start = Affine::axis(block).times(size);
    path.substitute(axis, &start.plus(&Affine::axis(inside)));
    let blocks = hi.iter().map(|q| ceil_of(q, size)).collect();
    let left = |q: &Quotient| Quotient {
        numerator: q.numerator.minus(&start.times(q.divisor)),
        divisor: q.divisor,
    };
    let inner = std::iter::once(Quotient::from(size)).chain(hi.iter().map(left)).collect();
    path.loops[at] = Loop { hi: Bound::Min(blocks), ..Loop::serial(block, 0) };
    let hi = exact(Bound::Min(inner), &hi, size);
    path.loops.insert(at + 1, Loop { hi, ..Loop::serial(inside, 0) });
    path
}

/// `ceil(q / size)` as one quotient.
fn ceil_of(q: &Quotient, size: i64) -> Quotient {
    Quotient {
        numerator: q.numerator.plus_constant(q.divisor * (size - 1)),
        divisor: q.divisor * size,
    }
}

/// The bound inside a block: a constant where every block is whole.
fn exact(bound: Bound, hi: &[Quotient], size: i64) -> Bound {
    match hi {
        [only] if only.as_constant().is_some_and(|n| n % size == 0) => size.into(),
        _ => bound,
    }
}

/// Columns last, rows before them, planes before those, channels first.
fn innermost_axis(nest: &Nest, index: &Index) -> std::cmp::Reverse<usize> {
    let mut at = usize::MAX;
    index.map(&mut |a| {
        for axis in a.axes() {
            if let Role::Out(i) | Role::Kernel(i) = nest.role(axis) {
                at = at.min(i);
            }
        }
        a.clone()
    });
    std::cmp::Reverse(at)
}

/// The panel's dimension for one of the input's; none where the input's index does not vary inside
/// a panel.
fn dimension(
    nest: &Nest,
    schedule: &Schedule,
    path: &LoopPath,
    access: &Access,
    of: usize,
) -> Result<Option<Dimension>, Error> {
    let (a, fold, pixel) = match &access.index[of] {
        Index::Affine(a) => (a.clone(), None, 1),
        Index::Folded { index, fold, pixel, .. } => (index.clone(), Some(*fold), *pixel),
        Index::Quotient(_) => {
            return Err(Error::IllegalSchedule("borders panel: before pass phases".to_owned()));
        }
    };
    let shared = |axis: AxisId| match path.find(axis) {
        Some(at) => !is_outer(nest, schedule, &path.loops[at]),
        None => true,
    };
    let (inner, start) = a.split(shared);
    if inner.terms().is_empty() {
        return Ok(None);
    }
    let taps_only = inner.axes().all(|axis| matches!(nest.role(axis), Role::Kernel(_)));
    let is_rows =
        inner.axes().any(|axis| matches!(nest.role(axis), Role::Out(1) | Role::Kernel(1)));
    // With one row at a time only the rows under taps are copied.
    let by_tap =
        taps_only || (is_rows && matches!(schedule.borders, Borders::Panel { rows: 1, .. }));
    let tap =
        inner.axes().find(|&axis| matches!(nest.role(axis), Role::Kernel(_))).filter(|_| by_tap);
    let (scale, index) = match tap {
        Some(tap) => (inner.of_axis(tap), Affine::axis(tap)),
        None => (1, inner),
    };
    let needed = needed(path, &index);
    let highest = highest(path, &index).ok_or_else(|| unknown(nest, &index))?;
    let buffer = match access.base {
        Base::Buffer(buffer) => buffer,
        Base::Pointer(_) => return Ok(None),
    };
    let tests = path.leaf.conditions().iter().any(|c| about_same_axis(nest, c.expression(), &a));
    let outside = match fold {
        Some(fold) => Outside::Turned(fold),
        None if tests => Outside::Value(padding_value(&path.leaf)),
        None => Outside::Nothing,
    };
    let limit = match &access.index[of] {
        Index::Folded { extent, .. } => (**extent).clone(),
        _ => tested_extent(&path.leaf, &a).unwrap_or(nest.buffer(buffer).extents[of].clone()),
    };
    let extent = highest + 1;
    Ok(Some(Dimension { of, extent, needed, scale, start, limit, outside, pixel, index }))
}

/// The input's extent as a test of an index has it: the array may be longer than the input. None
/// where no index reaches the end.
fn tested_extent(leaf: &Leaf, index: &Affine) -> Option<Affine> {
    let tests = leaf.conditions().into_iter().filter_map(|c| match c {
        // `last - index >= 0`
        Cond::NonNegative(left) => Some(left.plus(index).plus_constant(1)),
        Cond::Divides(..) => None,
    });
    tests.into_iter().find(|extent| extent.axes().next().is_none())
}

fn unknown(nest: &Nest, index: &Affine) -> Error {
    let name = index.axes().next().map_or(String::new(), |axis| nest.axis(axis).name.clone());
    Error::IllegalSchedule(format!(
        "borders panel: the extent of {name} is known only at run time; use borders exact"
    ))
}

/// Whether a folded index is known to turn at most once at either end of the image.
fn turns_once(path: &LoopPath, index: &Index) -> bool {
    let Index::Folded { index, extent, fold, pixel } = index else { return true };
    // Strides and dilations are positive, so the first index is the lowest.
    let range = highest(path, index).map(|highest| {
        let [lowest, highest] = [index.constant, highest].map(|at| at.div_euclid(*pixel));
        (lowest, highest)
    });
    range.zip(extent.as_constant()).is_some_and(|(range, n)| fold.is_one_turn(range, n / pixel))
}

/// The largest value of an index over constant loops that start at 0.
fn highest(path: &LoopPath, index: &Affine) -> Option<i64> {
    let mut high = index.constant;
    for &(var, coefficient) in index.terms() {
        let Var::Axis(axis) = var else { return None };
        let l = path.loops.iter().chain(&path.leaf.reduce).find(|l| l.axis == axis)?;
        let constants = l.hi.quotients().iter().filter_map(Quotient::as_constant);
        high += coefficient * (constants.min()? - 1).max(0);
    }
    Some(high)
}

/// One past the largest index, for each bound of a loop in it that is not a constant.
fn needed(path: &LoopPath, index: &Affine) -> Vec<Quotient> {
    let mut needed = Vec::new();
    for l in &path.loops {
        let step = index.of_axis(l.axis);
        let varying = l.hi.quotients().iter().filter(|q| step > 0 && q.as_constant().is_none());
        // step * (floor(n / d) - 1) + the rest is one quotient if either is 1; no description makes
        // both larger.
        for q in varying.filter(|q| step == 1 || q.divisor == 1) {
            let others = index.clone().plus_term(Var::Axis(l.axis), -step);
            let Some(rest) = highest(path, &others) else { continue };
            let constant = (rest + 1 - step) * q.divisor;
            needed.push(Quotient {
                numerator: q.numerator.times(step).plus_constant(constant),
                divisor: q.divisor,
            });
        }
    }
    needed
}

/// Whether two expressions are about the same spatial axis.
fn about_same_axis(nest: &Nest, a: &Affine, b: &Affine) -> bool {
    let spatial = |axis: AxisId| match nest.role(axis) {
        Role::Out(at) | Role::Kernel(at) => Some(at),
        _ => None,
    };
    let of: Vec<usize> = b.axes().filter_map(spatial).collect();
    a.axes().filter_map(spatial).any(|at| of.contains(&at))
}

/// What a test reads where it fails, or, where a tap is left out then, what changes nothing.
fn padding_value(leaf: &Leaf) -> f64 {
    let mut value = leaf.neutral();
    leaf.visit_exprs(&mut |e| {
        if let Expr::Select { otherwise, .. } = e
            && let Expr::Const(c) = **otherwise
        {
            value = c;
        }
    });
    value
}

/// The leaf reading the panel, testing nothing.
fn compute(leaf: &Leaf, access: &Access, to: Access) -> Leaf {
    let tests: Vec<Affine> = leaf.conditions().iter().map(|c| c.expression().clone()).collect();
    let leaf = leaf.map(
        &mut |a| if a == access { to.clone() } else { a.clone() },
        &mut |c| c.clone(),
        &mut |b| b.clone(),
    );
    drop_tests(&leaf, &tests)
}
