//! Rows of the input are copied, with their padding, into a panel that stays in cache.
//!
//! ```text
//! before  for n, g, oc, oh, ow: .. in[n, g, ic, oh + kh - 1, ow + kw - 1] when inside
//! after   for n, g, oh.o:
//!           for ic, row: panel[ic, row, ..] = 0 | in[n, g, ic, 8 oh.o + row - 1, ..] | 0
//!           for oc, oh in 0..8, ow: .. panel[ic, oh + kh, ow + kw]
//! ```
//!
//! gives: no condition and no fold; every tile is an inner one, in every padding mode.
//!
//! The copy is made of segments per axis: before the image, inside, after it. Outside, an element is the padding value or, folded, an
//! affine function of the position again, so that no copy loop tests anything. One row at a time (`rows` 1) the panel holds only the
//! rows under taps, whatever the dilation; with more rows, neighbours share what they have in common.

use super::drop_tests;
use crate::nest::{
    Access, Affine, AxisId, Base, Bound, BufferId, BufferRole, Chain, Expr, Fold, Index, Lanes, Leaf, Loop, Nest, Op,
    Part, Quotient, Role, Stmt, Var,
};
use crate::schedule::Borders;
use crate::{Error, Schedule};

/// What lies outside the image.
#[derive(Clone, Copy)]
enum Outside {
    /// Never read.
    Nothing,
    Value(f64),
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
    /// The panel's index at a tap of an output.
    index: Affine,
}

pub(super) fn panel(nest: &mut Nest, schedule: &Schedule, chain: Chain, rows: i64) -> Result<Vec<Stmt>, Error> {
    let Some(input) = nest.buffer_of(BufferRole::Input) else {
        return Ok(vec![chain.into_stmt()]);
    };
    let Some(access) = input_access(&chain.leaf, input) else {
        return Ok(vec![chain.into_stmt()]);
    };
    let chain = block_rows(nest, chain, rows);
    let access = input_access(&chain.leaf, input).unwrap_or(access);
    let mut dimensions = Vec::new();
    for of in 0..access.index.len() {
        if let Some(dimension) = dimension(nest, schedule, &chain, &access, of)? {
            dimensions.push(dimension);
        }
    }
    if dimensions.is_empty() {
        return Ok(vec![chain.into_stmt()]); // nothing of the input varies inside a panel
    }
    // Channels, planes, rows, columns, whatever the input's layout.
    let columns_last = |d: &Dimension| innermost_axis(nest, &access.index[d.of]);
    dimensions.sort_by_key(columns_last);
    let width = schedule.lanes.map_or(1, |l| l.1);
    let spare = |at: usize| if at + 1 == dimensions.len() { width } else { 0 };
    let extents = dimensions
        .iter()
        .enumerate()
        .map(|(at, d)| Affine::constant(d.extent + spare(at)))
        .collect();
    let panel = nest.add_buffer("panel", BufferRole::Scratch, extents);
    let (outer, inner): (Vec<Loop>, Vec<Loop>) = chain.loops.iter().cloned().partition(|l| is_outer(nest, schedule, l));
    let copies = copies(nest, (input, panel), &access, &dimensions, width);
    let compute = compute(&chain.leaf, &access, panel, &dimensions);
    let mut body: Vec<Stmt> = copies.into_iter().map(Chain::into_stmt).collect();
    body.push(
        Chain {
            loops: inner,
            leaf: compute,
        }
        .into_stmt(),
    );
    Ok(outer.into_iter().rev().fold(body, |body, l| vec![Stmt::For(l, body)]))
}

fn input_access(leaf: &Leaf, input: BufferId) -> Option<Access> {
    leaf.accesses()
        .into_iter()
        .find(|a| a.base == Base::Buffer(input))
        .cloned()
}

/// The loops that a panel is filled in: all but those over what shares it. A tile of groups shares a panel of all groups.
fn is_outer(nest: &Nest, schedule: &Schedule, l: &Loop) -> bool {
    let axis = nest.axis(l.axis);
    match axis.role {
        Role::OutChannel => false,
        Role::Group => schedule.tile_of(Role::Group) == 1,
        Role::Out(0) => axis.part == Part::Inner,
        Role::Out(1) => axis.part != Part::Whole,
        _ => true,
    }
}

/// The row loop in blocks of `rows`.
fn block_rows(nest: &mut Nest, chain: Chain, rows: i64) -> Chain {
    let is_rows = |l: &Loop| nest.role(l.axis) == Role::Out(1) && nest.axis(l.axis).part == Part::Whole;
    let Some(at) = chain.loops.iter().position(is_rows) else {
        return chain;
    };
    let (axis, hi) = (chain.loops[at].axis, chain.loops[at].hi.quotients().to_vec());
    let block = nest.add_axis("oh.o", Role::Out(1), Part::Outer);
    let row = nest.add_axis("oh", Role::Out(1), Part::Whole);
    let start = Affine::axis(block).times(rows);
    let mut chain = chain.substitute(axis, &start.plus(&Affine::axis(row)));
    let blocks = hi.iter().map(|q| ceil_of(q, rows)).collect();
    let left = |q: &Quotient| Quotient {
        numerator: q.numerator.minus(&start.times(q.divisor)),
        divisor: q.divisor,
    };
    let inner = std::iter::once(Quotient::from(rows))
        .chain(hi.iter().map(left))
        .collect();
    chain.loops[at] = Loop {
        hi: Bound::Min(blocks),
        ..Loop::serial(block, 0)
    };
    chain.loops.insert(
        at + 1,
        Loop {
            hi: exact(Bound::Min(inner), &hi, rows),
            ..Loop::serial(row, 0)
        },
    );
    chain
}

/// `ceil(q / rows)` as one quotient.
fn ceil_of(q: &Quotient, rows: i64) -> Quotient {
    Quotient {
        numerator: q.numerator.plus_constant(q.divisor * (rows - 1)),
        divisor: q.divisor * rows,
    }
}

/// The bound of a block's rows: a constant where every block is whole.
fn exact(bound: Bound, hi: &[Quotient], rows: i64) -> Bound {
    match hi {
        [only] if only.as_constant().is_some_and(|n| n % rows == 0) => rows.into(),
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

/// The panel's dimension for one of the input's; none where the input's index does not vary inside a panel.
fn dimension(
    nest: &Nest,
    schedule: &Schedule,
    chain: &Chain,
    access: &Access,
    of: usize,
) -> Result<Option<Dimension>, Error> {
    let (a, fold) = match &access.index[of] {
        Index::Affine(a) => (a.clone(), None),
        Index::Folded { index, fold, .. } => (index.clone(), Some(*fold)),
        Index::Quotient(_) => return Err(Error::IllegalSchedule("borders panel: before pass phases".to_owned())),
    };
    let shared = |axis: AxisId| match chain.find(axis) {
        Some(at) => !is_outer(nest, schedule, &chain.loops[at]),
        None => true,
    };
    let (inner, start) = a.split(shared);
    if inner.terms().is_empty() {
        return Ok(None);
    }
    let taps_only = inner.axes().all(|axis| matches!(nest.role(axis), Role::Kernel(_)));
    let is_rows = inner
        .axes()
        .any(|axis| matches!(nest.role(axis), Role::Out(1) | Role::Kernel(1)));
    // With one row at a time only the rows under taps are copied.
    let by_tap = taps_only || (is_rows && schedule.borders == Borders::Panel { rows: 1 });
    let tap = inner
        .axes()
        .find(|&axis| matches!(nest.role(axis), Role::Kernel(_)))
        .filter(|_| by_tap);
    let (scale, index) = match tap {
        Some(tap) => (inner.of_axis(tap), Affine::axis(tap)),
        None => (1, inner),
    };
    let needed = needed(chain, &index);
    let highest = highest(chain, &index).ok_or_else(|| unknown(nest, &index))?;
    let buffer = match access.base {
        Base::Buffer(buffer) => buffer,
        Base::Pointer(_) => return Ok(None),
    };
    let tests = chain
        .leaf
        .conditions()
        .iter()
        .any(|c| about_same_axis(nest, c.expression(), &a));
    let outside = match fold {
        Some(fold) => Outside::Folded(fold),
        None if tests => Outside::Value(padding_value(&chain.leaf)),
        None => Outside::Nothing,
    };
    let limit = nest.buffer(buffer).extents[of].clone();
    Ok(Some(Dimension {
        of,
        extent: highest + 1,
        needed,
        scale,
        start,
        limit,
        outside,
        index,
    }))
}

fn unknown(nest: &Nest, index: &Affine) -> Error {
    let name = index
        .axes()
        .next()
        .map_or(String::new(), |axis| nest.axis(axis).name.clone());
    Error::IllegalSchedule(format!(
        "borders panel: the extent of {name} is known only at run time; use borders exact"
    ))
}

/// The largest value of an index over constant loops that start at 0.
fn highest(chain: &Chain, index: &Affine) -> Option<i64> {
    let mut high = index.constant;
    for &(var, coefficient) in index.terms() {
        let Var::Axis(axis) = var else { return None };
        let l = chain.loops.iter().chain(&chain.leaf.reduce).find(|l| l.axis == axis)?;
        let constants = l.hi.quotients().iter().filter_map(Quotient::as_constant);
        high += coefficient * (constants.min()? - 1).max(0);
    }
    Some(high)
}

/// One past the largest index, for each bound of a loop in it that is not a constant.
fn needed(chain: &Chain, index: &Affine) -> Vec<Quotient> {
    let mut needed = Vec::new();
    for l in &chain.loops {
        let step = index.of_axis(l.axis);
        let varying =
            l.hi.quotients()
                .iter()
                .filter(|q| step > 0 && q.as_constant().is_none());
        // step * (floor(n / d) - 1) + the rest is one quotient if either is 1; no description makes both larger.
        for q in varying.filter(|q| step == 1 || q.divisor == 1) {
            let others = index.clone().plus_term(Var::Axis(l.axis), -step);
            let Some(rest) = highest(chain, &others) else { continue };
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

/// What a test reads where it fails.
fn padding_value(leaf: &Leaf) -> f64 {
    let mut value = 0.0;
    leaf.visit_exprs(&mut |e| {
        if let Expr::Select { otherwise, .. } = e
            && let Expr::Const(c) = **otherwise
        {
            value = c;
        }
    });
    value
}

/// Positions `lo..hi` of a panel's dimension, and where they come from (`None`: the padding value).
struct Segment {
    lo: Bound,
    hi: Bound,
    from: Option<Source>,
}

/// Position in the input: `scale * position + start`.
struct Source {
    scale: i64,
    start: Affine,
}

fn segments(d: &Dimension) -> Vec<Segment> {
    // scale * x + start >= 0, and scale * x + start < limit.
    let first = Quotient::ceil(d.start.times(-1), d.scale);
    let end = Quotient::ceil(d.limit.minus(&d.start), d.scale);
    let zero = Quotient::from(0);
    // No position beyond the panel, none that only outputs beyond the last would read, and none beyond this.
    let until = |bound: Option<&Quotient>| {
        let extent = std::iter::once(Quotient::from(d.extent));
        Bound::Min(extent.chain(d.needed.iter().cloned()).chain(bound.cloned()).collect())
    };
    let inside = Segment {
        lo: Bound::Max(vec![zero.clone(), first.clone()]),
        hi: until(Some(&end)),
        from: Some(Source {
            scale: d.scale,
            start: d.start.clone(),
        }),
    };
    let (before, after) = match d.outside {
        Outside::Nothing => return vec![inside],
        Outside::Value(_) => (None, None),
        Outside::Folded(fold) => {
            let (before, after) = folded(d, fold);
            (Some(before), Some(after))
        }
    };
    let before = Segment {
        lo: Bound::Max(vec![zero.clone()]),
        hi: until(Some(&first)),
        from: before,
    };
    let after = Segment {
        lo: Bound::Max(vec![zero, end]),
        hi: until(None),
        from: after,
    };
    let never = |s: &Segment| matches!((s.lo.as_constant(), s.hi.as_constant()), (Some(lo), Some(hi)) if hi <= lo);
    [before, inside, after].into_iter().filter(|s| !never(s)).collect()
}

/// Where positions before and after the image come from.
fn folded(d: &Dimension, fold: Fold) -> (Source, Source) {
    let mirror = |sum: Affine| Source {
        scale: -d.scale,
        start: sum.minus(&d.start),
    };
    let shifted = |by: Affine| Source {
        scale: d.scale,
        start: d.start.plus(&by),
    };
    let fixed = |at: Affine| Source { scale: 0, start: at };
    let n = &d.limit;
    match fold {
        Fold::Reflect => (mirror(0.into()), mirror(n.times(2).plus_constant(-2))),
        Fold::Symmetric => (mirror((-1).into()), mirror(n.times(2).plus_constant(-1))),
        Fold::Replicate => (fixed(0.into()), fixed(n.plus_constant(-1))),
        Fold::Circular => (shifted(n.clone()), shifted(n.times(-1))),
    }
}

/// The chains that fill the panel: one per combination of segments; once a dimension is outside by value, the ones within need no cutting.
fn copies(
    nest: &mut Nest,
    (input, panel): (BufferId, BufferId),
    access: &Access,
    dimensions: &[Dimension],
    width: i64,
) -> Vec<Chain> {
    let mut partial: Vec<Vec<Segment>> = vec![Vec::new()];
    for d in dimensions {
        let mut longer = Vec::new();
        for chosen in partial {
            let constant = chosen.iter().any(|s| s.from.is_none());
            let whole = || Segment {
                lo: Bound::Max(vec![0.into()]),
                hi: d.extent.into(),
                from: None,
            };
            for segment in if constant { vec![whole()] } else { segments(d) } {
                let mut next: Vec<Segment> = chosen.iter().map(Segment::again).collect();
                next.push(segment);
                longer.push(next);
            }
        }
        partial = longer;
    }
    let value = dimensions.iter().find_map(|d| match d.outside {
        Outside::Value(value) => Some(value),
        Outside::Nothing | Outside::Folded(_) => None,
    });
    let fill = Fill {
        input,
        panel,
        access,
        dimensions,
        value: value.unwrap_or(0.0),
    };
    partial
        .iter()
        .flat_map(|segments| fill.chains(nest, segments, width))
        .collect()
}

impl Segment {
    fn again(&self) -> Segment {
        let from = self.from.as_ref().map(|s| Source {
            scale: s.scale,
            start: s.start.clone(),
        });
        Segment {
            lo: self.lo.clone(),
            hi: self.hi.clone(),
            from,
        }
    }
}

struct Fill<'a> {
    input: BufferId,
    panel: BufferId,
    access: &'a Access,
    dimensions: &'a [Dimension],
    value: f64,
}

impl Fill<'_> {
    /// The copy of one combination of segments: whole vectors along the innermost dimension, then the rest.
    fn chains(&self, nest: &mut Nest, segments: &[Segment], width: i64) -> Vec<Chain> {
        let axes: Vec<AxisId> = segments
            .iter()
            .enumerate()
            .map(|(at, _)| nest.add_axis(format!("x{at}"), Role::Copy, Part::Whole))
            .collect();
        let (Some(last), Some(&inner)) = (segments.last(), axes.last()) else {
            return Vec::new();
        };
        let outer: Vec<Loop> = axes
            .iter()
            .zip(segments)
            .map(|(&axis, s)| bounds(axis, s))
            .take(axes.len() - 1)
            .collect();
        let scalar = |l: Loop| Chain {
            loops: outer.clone(),
            leaf: Leaf::copy("fill", vec![l], vec![self.store(segments, &axes)]),
        };
        let (Some(lo), Some(hi)) = (last.lo.as_constant(), last.hi.as_constant()) else {
            return vec![scalar(bounds(inner, last))];
        };
        let vectors = (hi - lo) / width;
        if width == 1 || vectors < 1 {
            return vec![scalar(bounds(inner, last))];
        }
        let block = nest.add_axis("x.o", Role::Copy, Part::Outer);
        let lane = nest.add_axis("x.l", Role::Copy, Part::Lane);
        let by = Affine::axis(block)
            .times(width)
            .plus(&Affine::axis(lane))
            .plus_constant(lo);
        let leaf = Leaf::copy(
            "fill",
            vec![Loop::serial(block, vectors)],
            vec![self.store(segments, &axes)],
        );
        let mut leaf = leaf.map_affine(&mut |a| a.substitute(Var::Axis(inner), &by));
        leaf.lanes = Some(Lanes {
            axis: lane,
            width,
            vectors: None,
            cut: None,
        });
        leaf.name = "fill_vectors".to_owned();
        let rest = Loop {
            lo: Bound::Max(vec![(lo + vectors * width).into()]),
            hi: hi.into(),
            ..Loop::serial(inner, 0)
        };
        let mut chains = vec![Chain {
            loops: outer.clone(),
            leaf,
        }];
        if lo + vectors * width < hi {
            chains.push(scalar(rest));
        }
        chains
    }

    fn store(&self, segments: &[Segment], axes: &[AxisId]) -> Op {
        let to = Access::buffer(self.panel, axes.iter().map(|&axis| Affine::axis(axis)));
        let mut from = self.access.clone();
        from.base = Base::Buffer(self.input);
        for ((d, segment), &axis) in self.dimensions.iter().zip(segments).zip(axes) {
            match &segment.from {
                Some(source) => {
                    from.index[d.of] = Index::Affine(Affine::axis(axis).times(source.scale).plus(&source.start));
                }
                None => {
                    return Op::Store {
                        to,
                        value: Expr::Const(self.value),
                        when: Vec::new(),
                    };
                }
            }
        }
        Op::Store {
            to,
            value: Expr::Load(from),
            when: Vec::new(),
        }
    }
}

fn bounds(axis: AxisId, segment: &Segment) -> Loop {
    Loop {
        lo: segment.lo.clone(),
        hi: segment.hi.clone(),
        ..Loop::serial(axis, 0)
    }
}

/// The leaf reading the panel, testing nothing.
fn compute(leaf: &Leaf, access: &Access, panel: BufferId, dimensions: &[Dimension]) -> Leaf {
    let tests: Vec<Affine> = leaf.conditions().iter().map(|c| c.expression().clone()).collect();
    let to = Access::buffer(panel, dimensions.iter().map(|d| d.index.clone()));
    let leaf = leaf.map(
        &mut |a| if a == access { to.clone() } else { a.clone() },
        &mut |c| c.clone(),
        &mut |b| b.clone(),
    );
    drop_tests(&leaf, &tests)
}
