//! Transforms of as many blocks at a time as there are lanes, in place.
//!
//! ```text
//! x^(r m) - c^r = product over k of (x^m - c z^k)          z: the r-th root of unity
//! child k:  a_k[j] = sum over t of (c z^k)^t a[t m + j]     a polynomial modulo its factor
//! ```
//!
//! A step cuts a polynomial's modulus into factors, until the numbers are its values at the roots.
//! Those of the folded axis are the roots of `i`, those of the others of 1. Every node of a step
//! has its own `c`, whatever the position within it, so the innermost loop runs over whole lanes
//! with the same numbers. What comes out is in no natural order; the way back undoes the steps in
//! turn, so nobody puts it in one.
//!
//! The lanes never meet: a block's bits do not depend on what stands beside it, nor on how wide the
//! machine's vectors are. There is no fused multiply-add, which some machines do not have.

use std::ops::Range;

use conv_ir::fft::radices;

use super::roots::root;
use super::vector::{Lanes, Real, Vector};

/// A complex point of as many blocks as there are lanes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Point<T, const L: usize> {
    pub re: [T; L],
    pub im: [T; L],
}

/// A complex number, the same in every lane.
pub(super) type Root<T> = (T, T);

impl<T: Real, const L: usize> Point<T, L> {
    pub fn zero() -> Self {
        Point { re: [T::default(); L], im: [T::default(); L] }
    }

    #[inline(always)]
    pub fn get<V: Vector<T, L>>(&self) -> Pair<V> {
        Pair { re: V::of(self.re), im: V::of(self.im) }
    }

    #[inline(always)]
    pub fn set<V: Vector<T, L>>(&mut self, pair: Pair<V>) {
        (self.re, self.im) = (pair.re.numbers(), pair.im.numbers());
    }
}

/// A point in registers. One vector each, real and imaginary.
#[derive(Clone, Copy)]
pub(super) struct Pair<V> {
    re: V,
    im: V,
}

impl<V: Lanes> Pair<V> {
    /// The same number in every lane.
    #[inline(always)]
    pub fn splat<T: Copy, const L: usize>((re, im): Root<T>) -> Self
    where
        V: Vector<T, L>,
    {
        Pair { re: V::splat(re), im: V::splat(im) }
    }

    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        Pair { re: self.re.plus(other.re), im: self.im.plus(other.im) }
    }

    #[inline(always)]
    pub fn minus(self, other: Self) -> Self {
        Pair { re: self.re.minus(other.re), im: self.im.minus(other.im) }
    }

    /// `self + i other`
    #[inline(always)]
    fn plus_turned(self, other: Self) -> Self {
        Pair { re: self.re.minus(other.im), im: self.im.plus(other.re) }
    }

    /// `self - i other`
    #[inline(always)]
    fn minus_turned(self, other: Self) -> Self {
        Pair { re: self.re.plus(other.im), im: self.im.minus(other.re) }
    }

    #[inline(always)]
    pub fn by(self, Pair { re, im }: Self) -> Self {
        Pair {
            re: self.re.times(re).minus(self.im.times(im)),
            im: self.re.times(im).plus(self.im.times(re)),
        }
    }

    /// Times the conjugate.
    #[inline(always)]
    pub fn back_by(self, Pair { re, im }: Self) -> Self {
        Pair {
            re: self.re.times(re).plus(self.im.times(im)),
            im: self.im.times(re).minus(self.re.times(im)),
        }
    }

    /// As [`Vector::exchanged`].
    #[inline(always)]
    pub fn exchanged<T: Copy, const L: usize, const APART: usize>(self, other: Self) -> (Self, Self)
    where
        V: Vector<T, L>,
    {
        let (re, other_re) = self.re.exchanged::<APART>(other.re);
        let (im, other_im) = self.im.exchanged::<APART>(other.im);
        (Pair { re, im }, Pair { re: other_re, im: other_im })
    }

    #[inline(always)]
    fn scaled(self, by: V) -> Self {
        Pair { re: self.re.times(by), im: self.im.times(by) }
    }
}

/// The transform of one axis.
#[derive(Clone, Debug)]
pub(super) struct Axis<T> {
    points: usize,
    /// The first step first.
    steps: Vec<Step<T>>,
}

/// One step: nodes of `len` numbers become `radix` nodes each.
#[derive(Clone, Debug)]
struct Step<T> {
    radix: usize,
    len: usize,
    /// The powers of `c` from the first one, node after node.
    roots: Vec<Root<T>>,
    /// `c` of the first node is 1.
    plain: bool,
}

impl<T: Real> Axis<T> {
    /// Of so many points, which [`radices`] takes apart.
    fn new(points: usize, folded: bool) -> Axis<T> {
        Axis::grown(points, folded).0
    }

    /// The same, and of each node that is left the turn of its root, of so many.
    pub fn grown(points: usize, folded: bool) -> (Axis<T>, Vec<u64>, u64) {
        let mut steps = Vec::new();
        // The modulus of each node is x^len - e^(2 pi i turn / of).
        let mut nodes: Vec<u64> = vec![u64::from(folded)];
        let (mut len, mut of) = (points, if folded { 4 } else { 1 });
        for radix in radices(points).unwrap_or_else(|| panic!("fft: no transform of {points}")) {
            let (count, whole) = (radix as u64, of * radix as u64);
            let powers = |turn: &u64| (1..count).map(move |t| root(t * turn, whole)).collect();
            let roots = nodes.iter().flat_map(|turn| -> Vec<(f64, f64)> { powers(turn) });
            let roots = roots.map(|(re, im)| (T::of(re), T::of(im))).collect();
            steps.push(Step { radix, len, roots, plain: !folded });
            nodes = nodes.iter().flat_map(|turn| (0..count).map(move |k| turn + k * of)).collect();
            (len, of) = (len / radix, whole);
        }
        (Axis { points, steps }, nodes, of)
    }
}

/// Where the points of a block lie: three axes, the outer ones of length 1 where there are fewer.
#[derive(Clone, Debug)]
pub(super) struct Grid<T> {
    axes: [Axis<T>; 3],
    /// In points.
    pub strides: [usize; 3],
}

/// Points that are a quarter of a first-level cache.
const NEAR: usize = 96;

impl<T: Real> Grid<T> {
    pub fn new(points: [usize; 3], folded: usize) -> Grid<T> {
        let axes = [0, 1, 2].map(|at| Axis::new(points[at], at == folded));
        // A power of two as a stride would have all points of an axis in a few sets of the cache.
        let apart = |len: usize, outer: usize| if outer > 1 { len | 1 } else { len };
        let row = apart(points[2], points[0] * points[1]);
        let plane = apart(points[1] * row, points[0]);
        Grid { axes, strides: [plane, row, 1] }
    }

    /// Along each axis.
    pub fn points(&self) -> [usize; 3] {
        [0, 1, 2].map(|at| self.axes[at].points)
    }

    /// Points from the first to behind the last one.
    pub fn len(&self) -> usize {
        self.axes[0].points * self.strides[0]
    }

    /// The values of a block's polynomial.
    #[inline(always)]
    pub fn forward<V: Vector<T, L>, const L: usize>(&self, data: &mut [Point<T, L>]) {
        for at in 0..3 {
            self.along::<V, L, false>(at, data);
        }
    }

    /// The polynomial of a block's values, times the number of points.
    #[inline(always)]
    pub fn back<V: Vector<T, L>, const L: usize>(&self, data: &mut [Point<T, L>]) {
        for at in 0..3 {
            self.along::<V, L, true>(2 - at, data);
        }
    }

    /// One axis: neighbouring lines, as many as stay near.
    #[inline(always)]
    fn along<V: Vector<T, L>, const L: usize, const BACK: bool>(
        &self,
        at: usize,
        data: &mut [Point<T, L>],
    ) {
        let (points, axis) = (self.points(), &self.axes[at]);
        if axis.points == 1 {
            return;
        }
        let inner = [points[1] * self.strides[1], points[2], 1][at];
        let outer = [[1, 1], [points[0], 1], [points[0], points[1]]][at];
        let most = (NEAR / axis.points).max(1);
        for i in 0..outer[0] {
            for j in 0..outer[1] {
                let start = i * self.strides[0] + j * self.strides[1];
                for first in (0..inner).step_by(most) {
                    let run = most.min(inner - first);
                    let lines = Lines { start: start + first, stride: self.strides[at], run };
                    match BACK {
                        false => axis.forward::<V, L>(data, lines),
                        true => axis.back::<V, L>(data, lines),
                    }
                }
            }
        }
    }
}

/// Where a step's numbers are: the first one, how far apart they are, and how many lines.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    pub start: usize,
    pub stride: usize,
    pub run: usize,
}

impl<T: Real> Axis<T> {
    /// Steps until a node is small, all nodes at a time; then node by node.
    fn cut(&self) -> usize {
        self.steps.iter().position(|step| step.len <= 2 * NEAR).unwrap_or(self.steps.len())
    }

    #[inline(always)]
    pub fn forward<V: Vector<T, L>, const L: usize>(&self, data: &mut [Point<T, L>], lines: Lines) {
        let (wide, near) = self.steps.split_at(self.cut());
        for step in wide {
            step.run::<V, L, false>(data, 0..self.points / step.len, lines);
        }
        let Some(first) = near.first() else { return };
        for block in 0..self.points / first.len {
            for step in near {
                let nodes = first.len / step.len;
                step.run::<V, L, false>(data, block * nodes..(block + 1) * nodes, lines);
            }
        }
    }

    #[inline(always)]
    pub fn back<V: Vector<T, L>, const L: usize>(&self, data: &mut [Point<T, L>], lines: Lines) {
        let (wide, near) = self.steps.split_at(self.cut());
        if let Some(first) = near.first() {
            for block in 0..self.points / first.len {
                for step in near.iter().rev() {
                    let nodes = first.len / step.len;
                    step.run::<V, L, true>(data, block * nodes..(block + 1) * nodes, lines);
                }
            }
        }
        for step in wide.iter().rev() {
            step.run::<V, L, true>(data, 0..self.points / step.len, lines);
        }
    }
}

impl<T: Real> Step<T> {
    /// The step, or the way back, of some nodes.
    #[inline(always)]
    fn run<V: Vector<T, L>, const L: usize, const BACK: bool>(
        &self,
        data: &mut [Point<T, L>],
        nodes: Range<usize>,
        lines: Lines,
    ) {
        for node in nodes {
            match (self.radix, self.plain && node == 0) {
                (4, true) => self.node::<V, L, 4, true, BACK>(data, node, lines),
                (4, false) => self.node::<V, L, 4, false, BACK>(data, node, lines),
                (3, _) => self.node::<V, L, 3, false, BACK>(data, node, lines),
                _ => self.node::<V, L, 2, false, BACK>(data, node, lines),
            }
        }
    }

    #[inline(always)]
    fn node<
        V: Vector<T, L>,
        const L: usize,
        const RADIX: usize,
        const PLAIN: bool,
        const BACK: bool,
    >(
        &self,
        data: &mut [Point<T, L>],
        node: usize,
        Lines { start, stride, run }: Lines,
    ) {
        let children = self.len / RADIX;
        let apart = children * stride;
        let own = &self.roots[node * (RADIX - 1)..][..RADIX - 1];
        let mut roots = [Pair::<V>::splat(own[0]); 3];
        for (to, from) in roots.iter_mut().zip(own) {
            *to = Pair::splat(*from);
        }
        for j in 0..children {
            let at = start + (node * self.len + j) * stride;
            for at in at..at + run {
                match RADIX {
                    4 => four::<T, V, L, PLAIN, BACK>(data, at, apart, &roots),
                    3 => three::<T, V, L, BACK>(data, at, apart, &roots),
                    _ => two::<T, V, L, BACK>(data, at, apart, roots[0]),
                }
            }
        }
    }
}

/// The sums with the fourth roots of unity; those with their inverses are the same, the second and
/// the last one in each other's place.
#[inline(always)]
fn four<T: Real, V: Vector<T, L>, const L: usize, const PLAIN: bool, const BACK: bool>(
    data: &mut [Point<T, L>],
    at: usize,
    apart: usize,
    roots: &[Pair<V>; 3],
) {
    let (mut a, mut b) = (data[at].get::<V>(), data[at + apart].get::<V>());
    let (mut c, mut d) = (data[at + 2 * apart].get::<V>(), data[at + 3 * apart].get::<V>());
    if !PLAIN && !BACK {
        (b, c, d) = (b.by(roots[0]), c.by(roots[1]), d.by(roots[2]));
    }
    let (sum, difference) = (a.plus(c), a.minus(c));
    let (other, turned) = (b.plus(d), b.minus(d));
    (a, c) = (sum.plus(other), sum.minus(other));
    (b, d) = (difference.plus_turned(turned), difference.minus_turned(turned));
    if BACK {
        (b, d) = (d, b);
    }
    if !PLAIN && BACK {
        (b, c, d) = (b.back_by(roots[0]), c.back_by(roots[1]), d.back_by(roots[2]));
    }
    data[at].set(a);
    data[at + apart].set(b);
    data[at + 2 * apart].set(c);
    data[at + 3 * apart].set(d);
}

/// The sums with the third roots of unity.
#[inline(always)]
fn three<T: Real, V: Vector<T, L>, const L: usize, const BACK: bool>(
    data: &mut [Point<T, L>],
    at: usize,
    apart: usize,
    roots: &[Pair<V>; 3],
) {
    let (a, mut b) = (data[at].get::<V>(), data[at + apart].get::<V>());
    let mut c = data[at + 2 * apart].get::<V>();
    if !BACK {
        (b, c) = (b.by(roots[0]), c.by(roots[1]));
    }
    let both = b.plus(c);
    let middle = a.minus(both.scaled(V::splat(T::of(0.5))));
    let side = b.minus(c).scaled(V::splat(T::of(SIDE)));
    data[at].set(a.plus(both));
    (b, c) = (middle.plus_turned(side), middle.minus_turned(side));
    if BACK {
        (b, c) = (c.back_by(roots[0]), b.back_by(roots[1]));
    }
    data[at + apart].set(b);
    data[at + 2 * apart].set(c);
}

/// The square root of 3/4.
const SIDE: f64 = 0.866_025_403_784_438_6;

#[inline(always)]
fn two<T: Real, V: Vector<T, L>, const L: usize, const BACK: bool>(
    data: &mut [Point<T, L>],
    at: usize,
    apart: usize,
    root: Pair<V>,
) {
    let (a, mut b) = (data[at].get::<V>(), data[at + apart].get::<V>());
    if !BACK {
        b = b.by(root);
    }
    data[at].set(a.plus(b));
    b = a.minus(b);
    data[at + apart].set(if BACK { b.back_by(root) } else { b });
}
