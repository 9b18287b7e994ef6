//! The loops that fill a panel: one path per combination of segments.
//!
//! ```text
//! before  panel[row, x] is input[oh + row - 1, x - 1], or the padding outside
//! after   for row in max(0, 1 - oh)..min(3, 9 - oh):       (reflected, 8 columns, 4 lanes)
//!           panel[row, 0] = input[oh + row - 1, 1]
//!           for x.o in 0..2: panel[row, 4 x.o + x.l + 1] = input[oh + row - 1, 4 x.o + x.l]
//!           panel[row, 9] = input[oh + row - 1, 6]
//!         and the same for the rows before and after the image, from rows 1 and 6 of it
//! ```
//!
//! Four channels side by side are four loads of as many columns, and a block store:
//!
//! ```text
//! each b in 0..4: a[b] = input[4 q + b, oh + row - 1, 16 x.o + x.l]
//! panel[q, row, 16 x.o + x.l + 1, b] = a[b], lanes x along b
//! ```
//!
//! Where channels stand innermost pixels turn, and each channel stays in its place:
//!
//! ```text
//! for x.o in 0..1: for x.i in 0..3: panel[row, 3 x.o + x.i] = input[oh + row - 1, 3 - 3 x.o + x.i]
//! ```
//!
//! gives: copies that test nothing, in whole vectors where the columns allow. Padding that turns
//! more than once is folded element by element.

use super::{Dimension, Outside, Woven};
use crate::nest::{
    Access, Affine, AxisId, Base, Bound, BufferId, Expr, FOUR, Fold, Index, Lanes, Leaf, Loop,
    LoopPath, Nest, Op, Part, Quotient, RegId, Register, Role, TileAxis, Var,
};

/// Positions `lo..hi` of a panel's dimension, and where they come from (`None`: the padding value).
struct Segment {
    lo: Bound,
    hi: Bound,
    from: Option<Source>,
}

/// Position in the input: `scale * position + start`, folded into an extent if need be. Where
/// pixels turn, that is so of their first elements, and the others are behind those.
#[derive(Clone)]
struct Source {
    scale: i64,
    start: Affine,
    fold: Option<(Fold, Affine)>,
    /// Elements that turn together.
    pixel: i64,
}

impl Source {
    fn index(&self, position: AxisId) -> Index {
        let index = Affine::axis(position).times(self.scale).plus(&self.start);
        match &self.fold {
            None => Index::Affine(index),
            Some((fold, extent)) => {
                let (extent, fold, pixel) = (Box::new(extent.clone()), *fold, self.pixel);
                Index::Folded { index, extent, fold, pixel }
            }
        }
    }

    /// Elements of a pixel that turns.
    fn turning(&self) -> Option<i64> {
        (self.fold.is_none() && self.pixel > 1).then_some(self.pixel)
    }
}

/// Those of a dimension, whose positions begin further on where a tap has columns of its own.
fn segments(d: &Dimension, further: i64) -> Vec<Segment> {
    let start = &d.start.plus_constant(further);
    // scale * x + start >= 0, and scale * x + start < limit.
    let first = Quotient::ceil(start.times(-1), d.scale);
    let end = Quotient::ceil(d.limit.minus(start), d.scale);
    let zero = Quotient::from(0);
    // No position beyond the panel, none that only outputs beyond the last would read, and none
    // beyond this.
    let until = |bound: Option<&Quotient>| {
        let extent = std::iter::once(Quotient::from(d.extent));
        Bound::Min(extent.chain(d.needed.iter().cloned()).chain(bound.cloned()).collect())
    };
    let inside = Segment {
        lo: Bound::Max(vec![zero.clone(), first.clone()]),
        hi: until(Some(&end)),
        from: Some(Source { scale: d.scale, start: start.clone(), fold: None, pixel: 1 }),
    };
    let (before, after) = match d.outside {
        Outside::Nothing => return vec![inside],
        Outside::Each => {
            let each = |at: i64| Segment {
                lo: Bound::Max(vec![at.into()]),
                hi: (at + 1).into(),
                ..inside.again()
            };
            return (0..d.extent).map(each).collect();
        }
        Outside::Value(_) => (None, None),
        Outside::Turned(fold) => {
            let (before, after) = turned(d, start, fold);
            (Some(before), Some(after))
        }
        Outside::Folded(fold) => {
            let fold = Some((fold, d.limit.clone()));
            let source =
                Some(Source { scale: d.scale, start: start.clone(), fold, pixel: d.pixel });
            (source.clone(), source)
        }
    };
    let before =
        Segment { lo: Bound::Max(vec![zero.clone()]), hi: until(Some(&first)), from: before };
    let after = Segment { lo: Bound::Max(vec![zero, end]), hi: until(None), from: after };
    let never = |s: &Segment| matches!((s.lo.as_constant(), s.hi.as_constant()), (Some(lo), Some(hi)) if hi <= lo);
    [before, inside, after].into_iter().filter(|s| !never(s)).collect()
}

/// Parts of a dimension that are filled by copies of their own.
pub(super) fn parts(d: &Dimension) -> usize {
    match d.outside {
        Outside::Turned(_) | Outside::Folded(_) | Outside::Each => segments(d, 0).len(),
        Outside::Nothing | Outside::Value(_) => 1,
    }
}

/// Where positions before and after the image come from, if they turn once.
fn turned(d: &Dimension, start: &Affine, fold: Fold) -> (Source, Source) {
    let pixel = d.pixel;
    let to = |scale: i64, start: Affine| Source { scale, start, fold: None, pixel };
    let mirror = |sum: Affine| to(-d.scale, sum.minus(start));
    let shifted = |by: Affine| to(d.scale, start.plus(&by));
    let n = &d.limit;
    match fold {
        Fold::Reflect => (mirror(0.into()), mirror(n.times(2).plus_constant(-2 * pixel))),
        Fold::Symmetric => (mirror((-pixel).into()), mirror(n.times(2).plus_constant(-pixel))),
        Fold::Replicate => (to(0, 0.into()), to(0, n.plus_constant(-pixel))),
        Fold::Circular => (shifted(n.clone()), shifted(n.times(-1))),
    }
}

/// The paths that fill the panel: one per combination of segments; once a dimension is outside by
/// value, the ones within need no cutting.
pub(super) fn copies(
    nest: &mut Nest,
    (input, panel): (BufferId, BufferId),
    access: &Access,
    (dimensions, woven): (&[Dimension], Option<Woven>),
    width: i64,
) -> Vec<LoopPath> {
    let mut partial: Vec<Vec<Segment>> = vec![Vec::new()];
    for d in dimensions {
        let mut longer = Vec::new();
        for chosen in partial {
            let constant = chosen.iter().any(|s| s.from.is_none());
            let whole =
                || Segment { lo: Bound::Max(vec![0.into()]), hi: d.extent.into(), from: None };
            let further = tap_before(dimensions, &chosen, d);
            for segment in if constant { vec![whole()] } else { segments(d, further) } {
                let mut next: Vec<Segment> = chosen.iter().map(Segment::again).collect();
                next.push(segment);
                longer.push(next);
            }
        }
        partial = longer;
    }
    let value = dimensions.iter().find_map(|d| match d.outside {
        Outside::Value(value) => Some(value),
        Outside::Nothing | Outside::Each | Outside::Turned(_) | Outside::Folded(_) => None,
    });
    let fours = woven.map(|woven| Fours {
        inside: nest.add_axis("b", Role::Copy, Part::Inner),
        block: woven.block,
        channels: woven.channels,
    });
    let fill = Fill { input, panel, access, dimensions, fours, value: value.unwrap_or(0.0) };
    partial.iter().flat_map(|segments| fill.paths(nest, segments, width)).collect()
}

/// Where the columns of the tap begin that is chosen, if taps have columns of their own.
fn tap_before(dimensions: &[Dimension], chosen: &[Segment], d: &Dimension) -> i64 {
    let mut before = dimensions.iter().zip(chosen);
    let taps = before.find(|(taps, _)| taps.of == d.of);
    taps.map_or(0, |(taps, segment)| segment.lo.as_constant().unwrap_or(0) * taps.scale)
}

impl Segment {
    fn again(&self) -> Segment {
        Segment { lo: self.lo.clone(), hi: self.hi.clone(), from: self.from.clone() }
    }
}

/// Channels that come to lie side by side.
#[derive(Clone, Copy)]
struct Fours {
    /// Counts them in a copy.
    inside: AxisId,
    /// Counts fours where the panel is read.
    block: AxisId,
    /// All channels of the input.
    channels: i64,
}

struct Fill<'a> {
    input: BufferId,
    panel: BufferId,
    access: &'a Access,
    dimensions: &'a [Dimension],
    fours: Option<Fours>,
    value: f64,
}

impl Fill<'_> {
    /// The copy of one combination of segments: whole vectors along the innermost dimension, then
    /// the rest.
    fn paths(&self, nest: &mut Nest, segments: &[Segment], width: i64) -> Vec<LoopPath> {
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
        let path = |name: &str, reduce: Vec<Loop>| LoopPath {
            loops: outer.clone(),
            leaf: self.leaf(name, reduce, segments, &axes),
        };
        if let Some(pixel) = last.from.as_ref().and_then(Source::turning) {
            return vec![LoopPath {
                leaf: self.pixels(nest, pixel, segments, &axes),
                loops: outer,
            }];
        }
        let scalar = |l: Loop| path("fill", vec![l]);
        let (Some(lo), Some(hi)) = (last.lo.as_constant(), last.hi.as_constant()) else {
            return vec![scalar(bounds(inner, last))];
        };
        let (vectors, left) = ((hi - lo) / width, (hi - lo) % width);
        // Lanes fold alike or not at all.
        let folds = last.from.as_ref().is_some_and(|source| source.fold.is_some());
        let is_short = vectors < 1 && self.fours.is_none();
        if width == 1 || is_short || folds {
            return vec![scalar(bounds(inner, last))];
        }
        let lane = nest.add_axis("x.l", Role::Copy, Part::Lane);
        let lanes = Lanes { axis: lane, width, vectors: None, cut: None };
        let mut paths = Vec::new();
        let (together, mut at) = (self.together(nest), lo);
        // As many vectors at a time as fill a register, then one by one.
        for (count, each) in [(vectors / together, together), (vectors % together, 1)] {
            if count == 0 {
                continue;
            }
            let block = nest.add_axis("x.o", Role::Copy, Part::Outer);
            let by = Affine::axis(block).times(width * each).plus(&Affine::axis(lane));
            let by = by.plus_constant(at);
            let mut whole = path("fill_vectors", vec![Loop::serial(block, count)]);
            let by = match each {
                1 => by,
                _ => by.plus(&side_by_side(nest, &mut whole.leaf, each).times(width)),
            };
            whole.leaf.substitute(inner, &by);
            whole.leaf.lanes = Some(lanes);
            paths.push(whole);
            at += count * each * width;
        }
        if left > 0 && self.fours.is_some() {
            let by = Affine::axis(lane).plus_constant(lo + vectors * width);
            let mut rest = path("fill_rest", Vec::new());
            rest.leaf.substitute(inner, &by);
            rest.leaf.lanes = Some(Lanes { cut: Some(left), ..lanes });
            paths.push(rest);
        } else if left > 0 {
            let lo = Bound::Max(vec![(lo + vectors * width).into()]);
            paths.push(scalar(Loop { lo, hi: hi.into(), ..Loop::serial(inner, 0) }));
        }
        paths
    }

    /// Vectors of elements that a register of the sums' width holds, where they stay as they are.
    fn together(&self, nest: &Nest) -> i64 {
        let [from, to] = [self.input, self.panel].map(|id| nest.buffer(id).dtype);
        match from == to && from.is_integer() && self.fours.is_none() {
            true => (nest.dtype.bytes() / from.bytes()) as i64,
            false => 1,
        }
    }

    /// Pixels that turn: their elements do not.
    fn pixels(&self, nest: &mut Nest, pixel: i64, segments: &[Segment], axes: &[AxisId]) -> Leaf {
        let [at, inside] = [("x.o", Part::Outer), ("x.i", Part::Inner)]
            .map(|(name, part)| nest.add_axis(name, Role::Copy, part));
        let mut segments: Vec<Segment> = segments.iter().map(Segment::again).collect();
        let mut loops = vec![Loop::serial(inside, pixel)];
        if let Some(Segment { lo, hi, from: Some(source) }) = segments.last_mut() {
            source.start = source.start.clone().plus_term(Var::Axis(inside), 1 - source.scale);
            let pixels = |q: &Quotient| Quotient { divisor: q.divisor * pixel, ..q.clone() };
            let [lo, hi] = [&*lo, &*hi].map(|b| b.quotients().iter().map(pixels).collect());
            let (lo, hi) = (Bound::Max(lo), Bound::Min(hi));
            loops.insert(0, Loop { lo, hi, ..Loop::serial(at, 0) });
        }
        let mut leaf = self.leaf("fill_pixels", loops, &segments, axes);
        let by = Affine::axis(at).times(pixel).plus(&Affine::axis(inside));
        if let Some(&inner) = axes.last() {
            leaf.substitute(inner, &by);
        }
        leaf
    }

    /// Without lanes.
    fn leaf(&self, name: &str, reduce: Vec<Loop>, segments: &[Segment], axes: &[AxisId]) -> Leaf {
        let inside = self.fours.map(|fours| fours.inside);
        let index = axes.iter().copied().chain(inside).map(Affine::axis);
        let (to, value) = (Access::buffer(self.panel, index), self.value(segments, axes));
        let Some(along) = inside else {
            return Leaf::copy(name, reduce, vec![Op::Store { to, value, when: Vec::new() }]);
        };
        let reg = RegId(0);
        let each = Op::Each(along, vec![Op::set(reg, value)]);
        let mut leaf = Leaf::copy(name, reduce, vec![each, Op::StoreBlock { to, reg, along }]);
        leaf.tile = vec![TileAxis { axis: along, extent: FOUR }];
        leaf.registers = vec![Register { name: "a".to_owned(), axes: vec![along] }];
        leaf
    }

    /// What an element becomes.
    fn value(&self, segments: &[Segment], axes: &[AxisId]) -> Expr {
        let mut from = self.access.clone();
        from.base = Base::Buffer(self.input);
        for ((d, segment), &axis) in self.dimensions.iter().zip(segments).zip(axes) {
            let Some(source) = &segment.from else { return Expr::Const(self.value) };
            from.index[d.of] = match self.fours {
                Some(fours) if d.index == Affine::axis(fours.block) => fours.channel(axis),
                _ => source.index(axis),
            };
        }
        Expr::Load(from)
    }
}

impl Fours {
    /// The channel inside a block. Of fewer than four the last is there again.
    fn channel(&self, block: AxisId) -> Index {
        let inside = Affine::axis(self.inside);
        match self.channels {
            channels if channels < FOUR => Index::Folded {
                index: inside,
                extent: Box::new(channels.into()),
                fold: Fold::Replicate,
                pixel: 1,
            },
            _ => Index::Affine(Affine::axis(block).times(FOUR).plus(&inside)),
        }
    }
}

/// The leaf storing so many elements at a time; which of them.
fn side_by_side(nest: &mut Nest, leaf: &mut Leaf, count: i64) -> Affine {
    let along = nest.add_axis("x.v", Role::Copy, Part::Inner);
    let reg = RegId(0);
    for op in std::mem::take(&mut leaf.update) {
        if let Op::Store { to, value, when } = op {
            let store = Op::Store { to, value: Expr::Reg(reg), when };
            leaf.update.push(Op::Each(along, vec![Op::set(reg, value)]));
            leaf.update.push(Op::Each(along, vec![store]));
        }
    }
    leaf.tile = vec![TileAxis { axis: along, extent: count }];
    leaf.registers = vec![Register { name: "a".to_owned(), axes: vec![along] }];
    Affine::axis(along)
}

fn bounds(axis: AxisId, segment: &Segment) -> Loop {
    Loop { lo: segment.lo.clone(), hi: segment.hi.clone(), ..Loop::serial(axis, 0) }
}
